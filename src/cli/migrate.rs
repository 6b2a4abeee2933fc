//! `rollcall migrate`: brings the database to this version's schema. Refuses one that is newer.

use super::context::{Context, connect};
use super::exit::{Exit, Failure};

/// Bring the database to this version's schema.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rollcall --config /etc/rollcall/rollcall.toml migrate\n\nOther commands migrate by themselves; this one is for doing it at a time of your choosing, after a backup."
)]
pub(super) struct Arguments {}

/// Migrates, and says from which version to which.
pub(super) async fn run(context: &Context<'_>, _: Arguments) -> Result<Exit, Failure> {
    let config = context.config()?;
    let store = connect(&config).await?;
    let before = store.schema_version().await?;
    let applied = store.migrate().await?;
    store.ensure_self_organization(&config.agency.name).await?;
    let text = match applied.last() {
        Some(now) => format!(
            "the database schema is at version {now} now (before: {})\n",
            if before == 0 {
                "none".to_owned()
            } else {
                before.to_string()
            }
        ),
        None => format!("the database schema is current (version {before}); nothing to do\n"),
    };
    context.terminal.print(&text)?;
    Ok(Exit::Done)
}
