//! `rollcall sources`: what is read when, and letting a schedule rest. Reads no directory.

use serde_json::{Value as Json, json};

use super::cells::{document, optional, time};
use super::context::{Context, actor};
use super::exit::{Exit, Failure};
use super::terminal::{Table, YELLOW, paint};
use super::{Output, compose, orgs};
use crate::config::Config;
use crate::domain::id::SourceName;
use crate::scheduler::Managed;
use crate::store::{SourceState, Store};

/// How many of the next times are told.
const NEXT_TIMES: usize = 3;

/// Sources: list, pause, resume.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Sources, when they are due, and how old their last complete listing is
    #[command(after_help = "Example:\n  rollcall sources list")]
    List {
        /// How to answer
        #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
    /// Let the schedule of a source rest; a run that somebody asks for still begins
    #[command(after_help = "Example:\n  rollcall sources pause connex --reason 'the directory is being moved'")]
    Pause {
        /// The source
        source: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let the schedule of a source go on
    #[command(after_help = "Example:\n  rollcall sources resume connex")]
    Resume {
        /// The source
        source: String,
    },
}

pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<Exit, Failure> {
    let config = context.config()?;
    match command {
        Command::List { output } => list(context, &config, output).await,
        Command::Pause { source, reason } => {
            let (store, source) = named(context, &config, &source).await?;
            let paused = store.pause_source(&source, reason.as_deref(), &actor()).await?;
            context.terminal.print(&match paused {
                true => format!("The schedule of {source} rests until `rollcall sources resume {source}`; its users stay as they are.\n"),
                false => format!("The schedule of {source} rests already.\n"),
            })?;
            Ok(Exit::Done)
        }
        Command::Resume { source } => {
            let (store, source) = named(context, &config, &source).await?;
            let resumed = store.resume_source(&source, &actor()).await?;
            context.terminal.print(&match resumed {
                true => format!("The schedule of {source} goes on.\n"),
                false => format!("The schedule of {source} does not rest.\n"),
            })?;
            Ok(Exit::Done)
        }
    }
}

async fn named(context: &Context<'_>, config: &Config, name: &str) -> Result<(Store, SourceName), Failure> {
    let source = orgs::source_name(config, Some(name))?;
    let source = source.ok_or_else(|| Failure::usage("name a source; `rollcall sources list` shows them"))?;
    Ok((context.store(config).await?, source))
}

async fn list(context: &Context<'_>, config: &Config, output: Output) -> Result<Exit, Failure> {
    let registry = compose::registry(config)?;
    let store = context.store(config).await?;
    let mut table = Table::new(&["SOURCE", "KIND", "SCHEDULE", "NEXT", "LAST COMPLETE LISTING"]);
    let mut documents = Vec::new();
    for managed in &registry.sources {
        let state = store.source_state(managed.setup.name()).await?;
        documents.push(source_json(managed, &state, store.now()));
        let schedule = managed.schedule.as_ref().map(|schedule| schedule.text());
        let next = match (&state.paused, state.due_at) {
            (Some(_), _) => paint(YELLOW, "paused"),
            (None, Some(due)) if managed.schedule.is_some() => time(due),
            _ => optional(None),
        };
        table.row(vec![
            managed.setup.name().to_string(),
            managed.kind.clone(),
            optional(schedule),
            next,
            state.complete_at.map_or_else(|| "never".into(), time),
        ]);
    }
    match output {
        Output::Json => context.terminal.print(&document(&Json::Array(documents)))?,
        Output::Text => context.terminal.print(&table.render(context.terminal))?,
    }
    Ok(Exit::Done)
}

/// One of them for programs.
fn source_json(managed: &Managed, state: &SourceState, now: jiff::Timestamp) -> Json {
    let next = managed.schedule.as_ref().map(|s| s.next_times(now, NEXT_TIMES));
    let next: Vec<String> = next.unwrap_or_default().iter().map(ToString::to_string).collect();
    json!({
        "name": managed.setup.name().as_str(),
        "kind": managed.kind,
        "schedule": managed.schedule.as_ref().map(|s| s.text()),
        "next": next,
        "due_at": state.due_at.map(|t| t.to_string()),
        "complete_at": state.complete_at.map(|t| t.to_string()),
        "paused": state.paused.as_ref().map(|p| json!({"at": p.at.to_string(), "by": p.by, "reason": p.reason})),
    })
}
