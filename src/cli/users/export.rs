//! `users export`: every user as CSV (RFC 4180), page by page.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::super::terminal::{plural, written};
use super::{Context, Exit, Failure};
use crate::config::Config;
use crate::http::csv;
use crate::store::{Store, UserFilter, UserOrder};

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
async fn export(store: &Store, mut out: impl Write, check: &Check<'_>) -> Result<u64, Failure> {
    check(out.write_all(&csv::header()))?;
    let (mut count, mut after) = (0, None::<String>);
    loop {
        let order = UserOrder::default();
        let filter = UserFilter::default();
        let page = store
            .user_page(&filter, order, after.as_deref(), csv::PAGE_USERS)
            .await?;
        let Some(page) = page else { break };
        check(out.write_all(&csv::rows(&page.items)))?;
        count += page.items.len() as u64;
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    check(out.flush())?;
    Ok(count)
}
