//! `rollcall config`: the built-in default, the effective values, the schema. Prints no secret.

use super::cells::document;
use super::context::Context;
use super::exit::{Exit, Failure};
use crate::config;

/// The configuration.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:\n  rollcall config default > rollcall.toml\n  rollcall config show")]
pub(super) enum Command {
    /// The built-in default, with every key
    #[command(after_help = "Example:\n  rollcall config default > /etc/rollcall/rollcall.toml")]
    Default,
    /// The effective values, each with where it came from; no secrets
    #[command(after_help = "Example:\n  rollcall --config site.toml config show")]
    Show,
    /// A JSON Schema of the configuration file, for editors
    #[command(after_help = "Example:\n  rollcall config schema > rollcall.schema.json")]
    Schema,
}

/// Prints what was asked for.
pub(super) fn run(context: &Context<'_>, command: Command) -> Result<Exit, Failure> {
    let text = match command {
        Command::Default => config::DEFAULT_TOML.to_owned(),
        Command::Show => context.config()?.show(),
        Command::Schema => document(&config::schema()),
    };
    context.terminal.print(&text)?;
    Ok(Exit::Done)
}
