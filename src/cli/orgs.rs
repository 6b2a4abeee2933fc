//! `rollcall orgs`: the organizations that are here, and whom scheduled runs cover. Never asks a directory.

use serde_json::{Value as Json, json};

use super::Output;
use super::cells::{NOTHING, document, of_json, optional, plain, time};
use super::context::{Context, actor};
use super::exit::{Exit, Failure};
use super::terminal::{BOLD, DIM, GREEN, Table, paint, plural};
use crate::config::Config;
use crate::domain::id::{OrganizationId, SourceName};
use crate::domain::user::SELF;
use crate::store::{Expected, Organization, OrganizationFilter, Store};

/// Organizations.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:\n  rollcall orgs list paving\n  rollcall orgs follow 'Example Paving'")]
pub(super) enum Command {
    /// List them
    List(List),
    /// Show one
    #[command(after_help = "Example:\n  rollcall orgs show 'Example Paving'")]
    Show {
        /// Its id, its id at the directory, or its name
        #[arg(value_name = "ID")]
        id: String,
        /// How to answer
        #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
    /// Let scheduled runs cover it
    #[command(after_help = "Example:\n  rollcall orgs follow 'Example Paving'")]
    Follow {
        /// Its id, its id at the directory, or its name
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Leave it out of scheduled runs; its users stay as they are
    #[command(after_help = "Example:\n  rollcall orgs unfollow 'Example Paving'")]
    Unfollow {
        /// Its id, its id at the directory, or its name
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// List organizations.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rollcall orgs list paving\n  rollcall orgs list --source connex --not-followed")]
pub(super) struct List {
    /// Part of the name, or the whole id at the directory
    #[arg(value_name = "QUERY")]
    query: Option<String>,
    /// One source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only those that scheduled runs cover
    #[arg(long, conflicts_with = "not_followed")]
    followed: bool,
    /// Only those that scheduled runs leave out
    #[arg(long)]
    not_followed: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=99_999))]
    limit: u64,
    /// How to answer
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// Does what was asked for.
pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<Exit, Failure> {
    let config = context.config()?;
    match command {
        Command::List(arguments) => list(context, &config, arguments).await,
        Command::Show { id, output } => {
            let store = context.store(&config).await?;
            let organization = find(&store, &id).await?;
            let text = match output {
                Output::Json => document(&organization_json(&organization)),
                Output::Text => card(context, &organization),
            };
            context.terminal.print(&text)?;
            Ok(Exit::Done)
        }
        Command::Follow { id } => follow(context, &config, &id, true).await,
        Command::Unfollow { id } => follow(context, &config, &id, false).await,
    }
}

async fn list(context: &Context<'_>, config: &Config, arguments: List) -> Result<Exit, Failure> {
    let followed = match (arguments.followed, arguments.not_followed) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    let filter = OrganizationFilter {
        query: arguments.query.filter(|q| !q.is_empty()),
        source: source_name(config, arguments.source.as_deref())?,
        followed,
        limit: arguments.limit + 1,
        ..OrganizationFilter::default()
    };
    let store = context.store(config).await?;
    let mut all = store.organizations(&filter).await?;
    let more = all.len() as u64 > arguments.limit;
    all.truncate(usize::try_from(arguments.limit).unwrap_or(usize::MAX));
    if arguments.output == Output::Json {
        let all: Vec<Json> = all.iter().map(organization_json).collect();
        context.terminal.print(&document(&json!(all)))?;
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        context.terminal.print(
            "no organization matches; `rollcall orgs list` shows all, and a sync brings those of the directory\n",
        )?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        "name",
        "kind",
        "followed",
        "status",
        "users",
        "active",
        "source",
        "external id",
    ]);
    for one in &all {
        table.row(cells(one));
    }
    let mut text = table.render(context.terminal);
    if more {
        text.push_str(&format!(
            "the first {}; there are more: name a part of the name, or use --limit\n",
            plural(all.len() as u64, "organization")
        ));
    }
    context.terminal.print(&text)?;
    Ok(Exit::Done)
}

fn cells(one: &Organization) -> Vec<String> {
    let (source, external_id) = match &one.link {
        Some((source, id)) => (source.to_string(), plain(id.as_str())),
        None => (NOTHING.to_owned(), NOTHING.to_owned()),
    };
    vec![
        plain(&one.name),
        plain(&one.kind),
        match (one.kind == SELF, one.followed) {
            (true, _) => NOTHING.to_owned(),
            (false, true) => paint(GREEN, "yes"),
            (false, false) => paint(DIM, "no"),
        },
        one.status.clone(),
        one.users.to_string(),
        one.active_users.to_string(),
        source,
        external_id,
    ]
}

fn card(context: &Context<'_>, one: &Organization) -> String {
    let mut table = Table::new(&["", ""]);
    let mut row = |name: &str, value: String| table.row(vec![name.to_owned(), value]);
    row("id", one.id.to_string());
    row("kind", plain(&one.kind));
    row("status", one.status.clone());
    match &one.link {
        Some((source, id)) => {
            row("source", source.to_string());
            row("external id", plain(id.as_str()));
            let covered = if one.followed {
                "yes: scheduled runs cover it"
            } else {
                "no: scheduled runs leave it out (`rollcall orgs follow` changes that)"
            };
            row("followed", covered.to_owned());
        }
        None if one.kind == SELF => row(
            "source",
            "none: it is the agency's own, and no sync touches it".to_owned(),
        ),
        None => row("source", "none: it was made here".to_owned()),
    }
    row("users", format!("{} ({} active)", one.users, one.active_users));
    if let Some(attributes) = one.attributes.as_object() {
        for (name, value) in attributes {
            row(&format!("attributes.{}", plain(name)), of_json(value));
        }
    }
    row("updated", time(one.updated_at));
    let rows = table.render(context.terminal);
    // The head is empty: the name stands in its place.
    let body = rows.split_once('\n').map_or("", |(_, body)| body);
    format!("{}\n{body}", paint(BOLD, plain(&one.name)))
}

async fn follow(context: &Context<'_>, config: &Config, wanted: &str, followed: bool) -> Result<Exit, Failure> {
    let store = context.store(config).await?;
    let organization = find(&store, wanted).await?;
    let name = plain(&organization.name);
    if organization.link.is_none() {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "organization {name} comes from no directory, so there is nothing to follow; name one that has a source (`rollcall orgs list`)"
            ),
        ));
    }
    let changed = store
        .follow(organization.id, followed, &Expected::Any, &actor())
        .await?;
    let text = match (changed, followed) {
        (true, true) => format!("{name} is followed now: scheduled runs cover it from the next one on\n"),
        (true, false) => format!(
            "{name} is no longer followed: its {} stay as they are, and scheduled runs no longer cover them\n",
            plural(organization.users, "user")
        ),
        (false, true) => format!("{name} is followed already; nothing was changed\n"),
        (false, false) => format!("{name} is not followed; nothing was changed\n"),
    };
    context.terminal.print(&text)?;
    Ok(Exit::Done)
}

/// The one organization that `wanted` means.
pub(super) async fn find(store: &Store, wanted: &str) -> Result<Organization, Failure> {
    let found: Vec<OrganizationId> = store.find_organizations(None, wanted).await?;
    let shown = plain(wanted);
    let one = match found.as_slice() {
        [one] => store.organization(*one).await?,
        [] => None,
        several => {
            let ids: Vec<String> = several.iter().take(5).map(ToString::to_string).collect();
            return Err(Failure::usage(format!(
                "organization {shown} means several: {}; name one of these ids",
                ids.join(", ")
            )));
        }
    };
    one.ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            format!("there is no organization {shown} here; `rollcall orgs list` shows those that there are, and a sync brings new ones"),
        )
    })
}

/// A source's name from the command line: one that is configured, or one that may have left users behind.
pub(super) fn source_name(config: &Config, wanted: Option<&str>) -> Result<Option<SourceName>, Failure> {
    let Some(wanted) = wanted else { return Ok(None) };
    if config.source(wanted).is_none() {
        let known: Vec<&str> = config.sources.iter().map(|s| s.name.as_str()).collect();
        return Err(Failure::usage(match known.is_empty() {
            true => format!("there is no source {}: the configuration has none", plain(wanted)),
            false => format!(
                "there is no source {}; the configuration has {}",
                plain(wanted),
                known.join(", ")
            ),
        }));
    }
    SourceName::parse(wanted)
        .map(Some)
        .map_err(|e| Failure::usage(optional(Some(&e.0))))
}

/// One organization for programs.
fn organization_json(one: &Organization) -> Json {
    json!({
        "id": one.id.to_string(),
        "name": one.name,
        "kind": one.kind,
        "source": one.link.as_ref().map(|(source, _)| source.as_str()),
        "external_id": one.link.as_ref().map(|(_, id)| id.as_str()),
        "followed": one.followed,
        "status": one.status,
        "attributes": one.attributes,
        "users": one.users,
        "active_users": one.active_users,
        "updated_at": one.updated_at.to_string(),
    })
}
