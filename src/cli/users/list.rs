//! `users list`. Changes nothing.

use serde_json::{Value as Json, json};
use unicode_width::UnicodeWidthStr as _;

use super::super::cells::{document, optional, plain};
use super::super::terminal::{DIM, GREEN, Table, Terminal, cut, paint, plural};
use super::super::{Output, orgs};
use super::{Context, Exit, Failure, full_name, user_json};
use crate::config::Config;
use crate::store::{UserFilter, UserRow};

/// List users.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rollcall users list sampleton\n  rollcall users list --organization 'Example Paving' --status disabled"
)]
pub(crate) struct List {
    /// Part of a name or an e-mail address
    #[arg(value_name = "QUERY")]
    query: Option<String>,
    /// One organization: its id, its id at the directory, or its name
    #[arg(long, value_name = "ID|NAME")]
    organization: Option<String>,
    /// One kind: employee, consultant, bidder, …
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// One role
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Who may sign in, who may not, or both
    #[arg(long, value_enum, value_name = "STATUS", default_value = "all")]
    status: StatusWord,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=99_999))]
    limit: u64,
    /// How to answer
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum StatusWord {
    /// Who may sign in.
    Active,
    /// Who may not.
    Disabled,
    /// Both.
    All,
}

/// Lists them.
pub(super) async fn run(context: &Context<'_>, config: &Config, arguments: List) -> Result<Exit, Failure> {
    let store = context.store(config).await?;
    let organization = match &arguments.organization {
        Some(wanted) => Some(orgs::find(&store, wanted).await?.id),
        None => None,
    };
    let filter = UserFilter {
        query: arguments.query.filter(|q| !q.is_empty()),
        organization,
        kind: arguments.kind,
        role: arguments.role,
        status: match arguments.status {
            StatusWord::Active => Some("active".into()),
            StatusWord::Disabled => Some("disabled".into()),
            StatusWord::All => None,
        },
        limit: arguments.limit + 1,
        ..UserFilter::default()
    };
    let mut users = store.users(&filter).await?;
    let more = users.len() as u64 > arguments.limit;
    users.truncate(usize::try_from(arguments.limit).unwrap_or(usize::MAX));
    if arguments.output == Output::Json {
        let all: Vec<Json> = users.iter().map(user_json).collect();
        context.terminal.print(&document(&json!(all)))?;
        return Ok(Exit::Done);
    }
    if users.is_empty() {
        context.terminal.print(
            "no user matches; `rollcall users list` shows all, `rollcall sync` brings those of the directories, and `rollcall users create` makes one\n",
        )?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["name", "e-mail", "kind", "organization", "roles", "status"]);
    for row in fitted(users.iter().map(cells).collect(), context.terminal) {
        table.row(row);
    }
    let mut text = table.render(context.terminal);
    if more {
        text.push_str(&format!(
            "the first {}; there are more: narrow it down, use --limit {}, or `rollcall users export` for all\n",
            plural(users.len() as u64, "user"),
            (arguments.limit * 10).min(99_999)
        ));
    }
    context.terminal.print(&text)?;
    Ok(Exit::Done)
}

/// Cuts the columns that can be read in part, so that the last one, the status, is always there.
fn fitted(mut rows: Vec<Vec<String>>, terminal: &Terminal) -> Vec<Vec<String>> {
    // Column and how narrow it may become: roles, organization, name, e-mail.
    for (column, least) in [(4, 14), (3, 16), (0, 14), (1, 24)] {
        let widths: Vec<usize> = (0..6)
            .map(|at| rows.iter().map(|row| row[at].width()).max().unwrap_or(0).max(12))
            .collect();
        // The last column is painted; it has at most this many columns on the screen.
        let total: usize = widths[..5].iter().map(|width| width + 2).sum::<usize>() + "disabled by directory".len();
        let wanted = widths[column]
            .saturating_sub(total.saturating_sub(terminal.width))
            .max(least);
        for row in &mut rows {
            row[column] = cut(&row[column], wanted, terminal.signs);
        }
    }
    rows
}

fn cells(user: &UserRow) -> Vec<String> {
    let roles: Vec<String> = user.roles.iter().map(|(name, _)| plain(name)).collect();
    vec![
        full_name(user),
        plain(&user.email),
        plain(&user.kind),
        optional(user.organization.as_ref().map(|(_, name)| name.as_str())),
        optional(Some(&roles.join(", "))),
        match (user.status.as_str(), user.disabled_by.as_deref()) {
            ("active", _) => paint(GREEN, "active"),
            (status, Some(by)) => paint(DIM, format!("{status} by {by}")),
            (status, None) => paint(DIM, status),
        },
    ]
}
