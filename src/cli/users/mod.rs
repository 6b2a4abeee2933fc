//! `rollcall users`: the local user table on the command line. Every write goes through the store, with its audit row.

mod edit;
mod explain;
mod explain_view;
mod export;
mod history;
mod list;
mod rules;
mod show;
mod status;

use serde_json::Value as Json;

use super::Output;
use super::cells::plain;
use super::context::Context;
use super::exit::{Exit, Failure};
use crate::config::{Config, Source};
use crate::domain::id::UserId;
use crate::domain::roles::RolePolicy;
use crate::http::wire;
use crate::store::{Store, UserRow};

/// The local user table.
#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "Examples:\n  rollcall users list --organization 'Example Paving'\n  rollcall users explain avery@paving.example"
)]
pub(super) enum Command {
    /// List them
    List(list::List),
    /// Show one: every field with who decides it, and what happened to it
    #[command(after_help = "Example:\n  rollcall users show avery.sampleton@paving.example")]
    Show {
        #[command(flatten)]
        wanted: Wanted,
        /// How to answer
        #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
    /// Explain one: what its directory says, how that is mapped, what is held here, and what the next sync does
    Explain(explain::Arguments),
    /// Create one here, whom no directory owns
    Create(edit::Create),
    /// Change one here
    Edit(edit::Edit),
    /// Disable one: it may no longer sign in, and no sync enables it
    #[command(after_help = "Example:\n  rollcall users disable avery.sampleton@paving.example")]
    Disable(status::Arguments),
    /// Enable one that is disabled
    #[command(after_help = "Example:\n  rollcall users enable avery.sampleton@paving.example")]
    Enable(status::Arguments),
    /// Delete one: its address is free again, and no directory brings it back
    #[command(after_help = "Example:\n  rollcall users delete avery.sampleton@paving.example --yes")]
    Delete(status::Arguments),
    /// Let the directory create a user again that was deleted here
    Lift(status::Lift),
    /// Write every user as CSV
    Export(export::Arguments),
}

/// Which user is meant.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Wanted {
    /// Its id, its e-mail address, or its id at the directory
    #[arg(value_name = "ID")]
    id: String,
}

/// Does what was asked for.
pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<Exit, Failure> {
    let config = context.config()?;
    match command {
        Command::List(arguments) => list::run(context, &config, arguments).await,
        Command::Show { wanted, output } => show::run(context, &config, &wanted.id, output).await,
        Command::Explain(arguments) => explain::run(context, &config, arguments).await,
        Command::Create(arguments) => edit::create(context, &config, arguments).await,
        Command::Edit(arguments) => edit::edit(context, &config, arguments).await,
        Command::Disable(arguments) => status::disable(context, &config, arguments).await,
        Command::Enable(arguments) => status::enable(context, &config, arguments).await,
        Command::Delete(arguments) => status::delete(context, &config, arguments).await,
        Command::Lift(arguments) => status::lift(context, &config, arguments).await,
        Command::Export(arguments) => export::run(context, &config, arguments).await,
    }
}

/// The one user that `wanted` means, or nobody.
async fn find(store: &Store, wanted: &str) -> Result<Option<UserRow>, Failure> {
    let found: Vec<UserId> = store.find_users(wanted).await?;
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(store.user(*one).await?),
        several => {
            let ids: Vec<String> = several.iter().take(5).map(ToString::to_string).collect();
            Err(Failure::usage(format!(
                "user {} means several: {}; name one of these ids",
                plain(wanted),
                ids.join(", ")
            )))
        }
    }
}

/// The one user that `wanted` means.
async fn one(store: &Store, wanted: &str) -> Result<UserRow, Failure> {
    find(store, wanted).await?.ok_or_else(|| nobody(wanted))
}

fn nobody(wanted: &str) -> Failure {
    Failure::new(
        Exit::Failed,
        format!(
            "there is no user {} here; `rollcall users list` shows those that there are",
            plain(wanted)
        ),
    )
}

/// The configured source that a user is linked to.
fn source_of<'c>(config: &'c Config, user: &UserRow) -> Option<&'c Source> {
    let (source, _) = user.link.as_ref()?;
    config.source(source.as_str())
}

fn role_policy(config: &Config) -> RolePolicy {
    super::context::roles(config)
}

/// One user for programs.
fn user_json(user: &UserRow) -> Json {
    wire::json(&wire::user(user))
}

/// Who granted a role.
fn origin(of_directory: bool) -> &'static str {
    if of_directory { "directory" } else { "local" }
}

/// Given and family name, or a dash.
fn full_name(user: &UserRow) -> String {
    let parts: Vec<&str> = [&user.first_name, &user.last_name]
        .into_iter()
        .filter_map(|part| part.as_deref().filter(|p| !p.is_empty()))
        .collect();
    super::cells::optional(Some(&parts.join(" ")))
}
