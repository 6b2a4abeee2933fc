//! `users export`: every user as CSV (RFC 4180), page by page. No cell is a formula to a spreadsheet.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::super::terminal::{plural, written};
use super::{Context, Exit, Failure};
use crate::config::Config;
use crate::store::{Store, UserFilter, UserRow};

/// Users read at once.
const PAGE_USERS: u64 = 1_000;

/// The columns, in order.
const HEADER: [&str; 19] = [
    "id",
    "kind",
    "email",
    "first_name",
    "last_name",
    "phone",
    "title",
    "organization",
    "organization_id",
    "license",
    "billable",
    "status",
    "disabled_by",
    "roles",
    "source",
    "external_id",
    "attributes",
    "created_at",
    "updated_at",
];

/// Write every user as CSV.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rollcall users export > users.csv\n  rollcall users export --output-file users.csv\n\nColumns: id, kind, email, first_name, last_name, phone, title, organization, organization_id, license, billable,\nstatus, disabled_by, roles (with `;` between), source, external_id, attributes (JSON), created_at, updated_at.\nA cell that begins with = + - @, a tab or a return gets an apostrophe before it, so that a spreadsheet shows it as text."
)]
pub(crate) struct Arguments {
    /// Write to this file, which its owner alone may read, in the place of standard output
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
}

/// Exports them.
pub(super) async fn run(context: &Context<'_>, config: &Config, arguments: Arguments) -> Result<Exit, Failure> {
    let store = context.store(config).await?;
    match arguments.output_file {
        None => {
            // Not through the colour filter: what is in a cell stays in it.
            let out = std::io::BufWriter::new(std::io::stdout());
            export(&store, out, &|result| written(result)).await?;
        }
        Some(file) => {
            let count = to_file(&store, &file).await?;
            context
                .terminal
                .note(&format!("wrote {} to {}", plural(count, "user"), file.display()));
        }
    }
    Ok(Exit::Done)
}

/// Into a file beside it first: whoever reads `file` finds all of it or the one before.
async fn to_file(store: &Store, file: &Path) -> Result<u64, Failure> {
    let failed = |e: std::io::Error| {
        Failure::new(
            Exit::Failed,
            format!(
                "{} cannot be written ({e}); check that its directory exists, may be written and has room",
                file.display()
            ),
        )
    };
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = file.with_file_name(name);
    let result = fill(store, &part, &failed).await;
    let result = result.and_then(|count| fs::rename(&part, file).map_err(failed).map(|()| count));
    if result.is_err() {
        // It may not be there at all; there is nothing more to do about it.
        let _ = fs::remove_file(&part);
    }
    result
}

async fn fill(store: &Store, part: &Path, failed: &dyn Fn(std::io::Error) -> Failure) -> Result<u64, Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let open = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(part);
    let out = open.map_err(failed)?;
    let count = export(store, std::io::BufWriter::new(&out), &|result| result.map_err(failed)).await?;
    out.sync_all().map_err(failed)?;
    Ok(count)
}

type Check<'c> = dyn Fn(std::io::Result<()>) -> Result<(), Failure> + 'c;

/// Writes every user in the order of addresses; answers how many. A user created meanwhile may or may not be in it.
async fn export(store: &Store, out: impl Write, check: &Check<'_>) -> Result<u64, Failure> {
    let mut csv = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    let io = |result: Result<(), csv::Error>| check(result.map_err(into_io));
    io(csv.write_record(HEADER))?;
    let mut filter = UserFilter {
        limit: PAGE_USERS,
        ..UserFilter::default()
    };
    let mut count = 0;
    loop {
        let page = store.users(&filter).await?;
        for user in &page {
            io(csv.write_record(cells(user).iter().map(|cell| guarded(cell))))?;
        }
        count += page.len() as u64;
        match page.last() {
            Some(last) if page.len() as u64 == PAGE_USERS => filter.after = Some(last.email.clone()),
            _ => break,
        }
    }
    check(csv.flush())?;
    Ok(count)
}

fn into_io(error: csv::Error) -> std::io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(io) => io,
        other => std::io::Error::other(format!("{other:?}")),
    }
}

fn cells(user: &UserRow) -> [String; HEADER.len()] {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let roles: Vec<&str> = user.roles.iter().map(|(name, _)| name.as_str()).collect();
    let (organization_id, organization) = user
        .organization
        .as_ref()
        .map_or_else(Default::default, |(id, name)| (id.to_string(), name.clone()));
    let (source, external_id) = user
        .link
        .as_ref()
        .map_or_else(Default::default, |(source, id)| (source.to_string(), id.to_string()));
    [
        user.id.to_string(),
        user.kind.clone(),
        user.email.clone(),
        text(&user.first_name),
        text(&user.last_name),
        text(&user.phone),
        text(&user.title),
        organization,
        organization_id,
        text(&user.license),
        user.billable.map(|b| b.to_string()).unwrap_or_default(),
        user.status.clone(),
        text(&user.disabled_by),
        roles.join(";"),
        source,
        external_id,
        user.attributes.to_string(),
        user.created_at.to_string(),
        user.updated_at.to_string(),
    ]
}

/// A cell that a spreadsheet shows as text, whatever it begins with (OWASP, "CSV Injection").
fn guarded(cell: &str) -> String {
    let risky = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    if cell.starts_with(risky) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for bad in ["=1+1", "+1 555 0100", "-2", "@SUM(A1)", "\tx", "\rx", "＝1"] {
            assert_eq!(guarded(bad), format!("'{bad}"));
        }
        for good in ["", "a=b", "'=1", "ada@x.example", "{}"] {
            assert_eq!(guarded(good), good);
        }
    }
}
