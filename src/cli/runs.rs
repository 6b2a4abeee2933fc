//! `rollcall runs`: what runs did, and the answers to a held one.

use std::io::Write;

use super::context::{Context, actor, roles};
use super::exit::{Exit, Failure};
use super::plan_view::View;
use super::terminal::{DIM, GREEN, RED, Table, YELLOW, number, paint, written};
use super::{Output, plan_view};
use crate::engine::Engine;
use crate::http::wire;
use crate::store::{RunRow, Store, StoredChange};

/// How many changes are read from the store at once.
const CHANGES_AT_ONCE: u64 = 2_000;

#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  rollcall runs list --state held
  rollcall runs show last
  rollcall runs changes last --output json
  rollcall runs release 0197… --plan 5c1f…")]
pub(super) enum Command {
    /// The latest runs, newest first
    #[command(after_help = "Example:\n  rollcall runs list --source connex --limit 50")]
    List {
        /// Runs of one source
        #[arg(long)]
        source: Option<String>,
        /// Runs in one state (held, applied, failed, …)
        #[arg(long)]
        state: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u64,
        /// How to answer
        #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
    /// One run with its plan
    #[command(after_help = "Example:\n  rollcall runs show last")]
    Show {
        /// Its id, or `last`
        run: String,
        /// How to answer
        #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
    /// Every change of a run; as JSON one line each
    #[command(
        after_help = "Example:\n  rollcall runs changes last --output json | jq 'select(.action == \"disable\") | .email'"
    )]
    Changes {
        /// Its id, or `last`
        run: String,
        /// How to answer
        #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
    /// Apply the plan of a held run: exactly the plan of this hash, or nothing
    #[command(after_help = "Example:\n  rollcall runs release last --plan 5c1f…   (`runs show` prints the hash)")]
    Release {
        /// Its id, or `last`
        run: String,
        /// The hash of the plan that you have read
        #[arg(long, value_name = "HASH")]
        plan: String,
        /// How to answer
        #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
    /// Refuse the plan of a held run
    #[command(after_help = "Example:\n  rollcall runs reject last")]
    Reject {
        /// Its id, or `last`
        run: String,
    },
}

pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<Exit, Failure> {
    let config = context.config()?;
    let engine = context.engine(&config).await?;
    let store = engine.store();
    match command {
        Command::List {
            source,
            state,
            limit,
            output,
        } => {
            let runs = store.runs(source.as_deref(), state.as_deref(), limit).await?;
            list(context, &runs, output)?;
        }
        Command::Show { run, output } => {
            let row = row(context, &engine, &run).await?;
            show(context, store, &row, output).await?;
        }
        Command::Changes { run, output } => {
            let row = row(context, &engine, &run).await?;
            changes(context, store, &row, output).await?;
        }
        Command::Release { run, plan, output } => {
            let id = context.run_id(store, &run).await?;
            let source = engine.known_run(id).await?.source;
            // A source that is not configured any more may grant nothing.
            let granted = config
                .source(&source)
                .map(|source| source.mapping(&config.agency).roles().clone());
            let roles = granted.unwrap_or_else(|| roles(&config));
            let released = engine.release(id, &plan, &roles, &actor()).await?;
            show(context, store, &released, output).await?;
        }
        Command::Reject { run } => {
            let id = context.run_id(store, &run).await?;
            let rejected = engine.reject(id, &actor()).await?;
            show(context, store, &rejected, Output::Text).await?;
        }
    }
    Ok(Exit::Done)
}

async fn row(context: &Context<'_>, engine: &Engine, wanted: &str) -> Result<RunRow, Failure> {
    let id = context.run_id(engine.store(), wanted).await?;
    Ok(engine.known_run(id).await?)
}

fn list(context: &Context<'_>, runs: &[RunRow], output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        let all = wire::json(&runs.iter().map(wire::run).collect::<Vec<_>>());
        return context.terminal.print(&format!("{all:#}\n"));
    }
    if runs.is_empty() {
        return context.terminal.print("No runs. Start one with `rollcall sync`.\n");
    }
    let mut table = Table::new(&["started", "source", "scope", "state", "changes", "run"]);
    for run in runs {
        let scope = match (&run.organization, &run.external_id) {
            (_, Some(id)) => format!("user {id}"),
            (Some(id), _) => format!("org {id}"),
            _ => "all".into(),
        };
        let state = if run.dry_run {
            format!("{} (dry run)", run.state)
        } else {
            run.state.clone()
        };
        let style = match run.state.as_str() {
            "applied" => GREEN,
            "held" | "incomplete" => YELLOW,
            "failed" => RED,
            _ => DIM,
        };
        table.row(vec![
            run.started_at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            run.source.clone(),
            scope,
            paint(style, state),
            summary(run),
            run.id.to_string(),
        ]);
    }
    context.terminal.print(&table.render(context.terminal))
}

fn summary(run: &RunRow) -> String {
    let Some(c) = &run.counts else { return String::new() };
    let parts = [
        (c.create + c.enable, GREEN, "+"),
        (c.update, YELLOW, "~"),
        (c.disable + c.delete, RED, "-"),
    ];
    let shown: Vec<String> = parts
        .into_iter()
        .filter(|(n, ..)| *n > 0)
        .map(|(n, style, sign)| paint(style, format!("{sign}{}", number(n))))
        .collect();
    if shown.is_empty() {
        paint(DIM, "none")
    } else {
        shown.join(" ")
    }
}

async fn show(context: &Context<'_>, store: &Store, row: &RunRow, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => context.terminal.print(&format!("{:#}\n", wire::json(&wire::run(row)))),
        Output::Text => context
            .terminal
            .print(&plan_view::run(store, row, &[], context.terminal).await?),
    }
}

async fn changes(context: &Context<'_>, store: &Store, row: &RunRow, output: Output) -> Result<(), Failure> {
    let view = View {
        names: plan_view::names(store, row).await?,
        tallies: store.tallies(row.id).await?,
        terminal: context.terminal,
        shortened: false,
    };
    let mut out = std::io::BufWriter::new(anstream::stdout());
    let mut last: Option<StoredChange> = None;
    loop {
        let page = store
            .changes(row.id, last.as_ref().map(|c| c.position), CHANGES_AT_ONCE)
            .await?;
        if page.is_empty() {
            break;
        }
        let text = match output {
            Output::Json => page
                .iter()
                .map(|c| format!("{}\n", wire::json(&wire::change(c, row.state == "applied"))))
                .collect(),
            Output::Text => view.groups(&page, last.as_ref()),
        };
        written(out.write_all(text.as_bytes()))?;
        last = page.into_iter().next_back();
    }
    if last.is_none() && output == Output::Text {
        written(out.write_all(b"This run has no changes.\n"))?;
    }
    written(out.flush())
}
