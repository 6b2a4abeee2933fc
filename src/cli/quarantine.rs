//! `rollcall quarantine`: the entries that are kept out, and why. Changes nothing.

use serde_json::{Value as Json, json};

use super::cells::{document, optional, plain, time};
use super::context::Context;
use super::exit::{Exit, Failure};
use super::terminal::{BOLD, DIM, YELLOW, number, paint, wrap};
use super::{Output, orgs};
use crate::store::QuarantineRow;

/// Entries that are kept out of the user table, and why.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rollcall quarantine --source connex\n\nAn entry leaves the quarantine by itself, with the first run in which it is in order."
)]
pub(super) struct Arguments {
    /// One source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    limit: u64,
    /// How to answer
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// Lists them.
pub(super) async fn run(context: &Context<'_>, arguments: Arguments) -> Result<Exit, Failure> {
    let config = context.config()?;
    let source = orgs::source_name(&config, arguments.source.as_deref())?;
    let store = context.store(&config).await?;
    let mut rows = store.quarantine(source.as_ref(), arguments.limit + 1).await?;
    let more = rows.len() as u64 > arguments.limit;
    rows.truncate(usize::try_from(arguments.limit).unwrap_or(usize::MAX));
    if arguments.output == Output::Json {
        let all: Vec<Json> = rows.iter().map(row_json).collect();
        context.terminal.print(&document(&json!(all)))?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for row in &rows {
        let seen = match row.times {
            1 => "seen in 1 run".to_owned(),
            n => format!("seen in {n} runs"),
        };
        text.push_str(&format!(
            "{}  {}\n",
            paint(BOLD, format!("{} {}", row.source, plain(&row.external_id))),
            paint(
                DIM,
                format!(
                    "organization {}, since {}, {seen}, {}",
                    optional(row.organization.as_deref()),
                    time(row.first_seen_at),
                    row.code
                )
            )
        ));
        text.push_str(&wrap(&plain(&row.detail), context.terminal.width, "  "));
    }
    match (rows.is_empty(), more) {
        (true, _) => text.push_str("nothing is in quarantine\n"),
        (false, false) => text.push_str(&format!("{} in quarantine\n", paint(YELLOW, entries(rows.len())))),
        (false, true) => text.push_str(&format!(
            "the first {}; there are more: use --limit or --source\n",
            entries(rows.len())
        )),
    }
    context.terminal.print(&text)?;
    Ok(Exit::Done)
}

fn entries(n: usize) -> String {
    match n {
        1 => "1 entry".to_owned(),
        n => format!("{} entries", number(n as u64)),
    }
}

/// One of them for programs.
pub(super) fn row_json(row: &QuarantineRow) -> Json {
    json!({
        "source": row.source.as_str(),
        "external_id": row.external_id,
        "organization": row.organization,
        "code": row.code,
        "detail": row.detail,
        "first_seen_at": row.first_seen_at.to_string(),
        "last_seen_at": row.last_seen_at.to_string(),
        "times": row.times,
    })
}
