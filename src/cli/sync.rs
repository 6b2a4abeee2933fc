//! `rollcall sync`: one run of each source that is asked for, shown as people or programs like to read it.

use clap::ValueEnum;
use serde_json::Value as Json;

use super::context::{Context, actor, setups};
use super::exit::{Exit, Failure};
use super::progress::Display;
use super::terminal::{YELLOW, paint, plural};
use super::{Output, plan_view};
use crate::engine::{Engine, EngineError, Report, Request, Setup, find_organization, find_user};
use crate::http::wire;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rollcall sync                                        every enabled source
  rollcall sync connex --dry-run --detailed-exitcode   exits 2 where there is something to do
  rollcall sync connex --organization 'Example Paving'
  rollcall sync --user avery@paving.example --output json")]
pub(super) struct Arguments {
    /// The source; without it, every enabled one
    source: Option<String>,
    /// One organization: its id here or at the directory, or its name
    #[arg(long, value_name = "ID", conflicts_with = "user")]
    organization: Option<String>,
    /// One user: its id here or at the directory, or its e-mail address
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// How much to read
    #[arg(long, value_enum, value_name = "MODE", default_value = "auto")]
    mode: Mode,
    /// Stop before the first write, and show the plan
    #[arg(long)]
    dry_run: bool,
    /// Exit with 2 where the dry run has changes
    #[arg(long, requires = "dry_run")]
    detailed_exitcode: bool,
    /// How to answer
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// What the source does best; today that is always a full listing.
    Auto,
    /// Everything.
    Full,
    /// What changed since the last run.
    Incremental,
}

pub(super) async fn run(context: &Context<'_>, arguments: Arguments) -> Result<Exit, Failure> {
    if arguments.mode == Mode::Incremental {
        return Err(Failure::usage(
            "this version reads every source in full, which alone can show that somebody is missing; leave --mode away",
        ));
    }
    let config = context.config()?;
    let mut setups = setups(&config, arguments.source.as_deref())?;
    let engine = context.engine(&config).await?;
    if setups.len() > 1 && (arguments.organization.is_some() || arguments.user.is_some()) {
        setups = vec![pick(&engine, setups, &arguments).await?];
    }
    let single = arguments.source.is_some() || setups.len() == 1;
    let mut exit = Exit::Done;
    let mut documents = Vec::new();
    for setup in &setups {
        let (one, document) = one(context, &engine, setup, &arguments).await?;
        exit = exit.worse(one);
        documents.extend(document);
    }
    if arguments.output == Output::Json {
        let document = if single {
            documents.pop().unwrap_or_default()
        } else {
            Json::Array(documents)
        };
        context.terminal.print(&format!("{document:#}\n"))?;
    }
    engine.store().close().await;
    Ok(exit)
}

/// The one source that an organization or user of several sources belongs to.
async fn pick(engine: &Engine, setups: Vec<Setup>, arguments: &Arguments) -> Result<Setup, Failure> {
    let wanted = arguments
        .organization
        .as_deref()
        .or(arguments.user.as_deref())
        .unwrap_or_default();
    let store = engine.store();
    let mut owner = None;
    if arguments.organization.is_some() {
        if let [one] = store.find_organizations(None, wanted).await?.as_slice() {
            owner = store
                .organization(*one)
                .await?
                .and_then(|o| o.link)
                .map(|(source, _)| source);
        }
    } else if let [one] = store.find_users(wanted).await?.as_slice() {
        owner = store.link_of(*one).await?.map(|(source, _)| source);
    }
    setups.into_iter().find(|setup| Some(setup.name()) == owner.as_ref()).ok_or_else(|| {
        Failure::usage(format!("several sources are configured, and which of them {} belongs to is not known here; name the source: rollcall sync SOURCE …", wanted.escape_debug()))
    })
}

async fn one(
    context: &Context<'_>,
    engine: &Engine,
    setup: &Setup,
    arguments: &Arguments,
) -> Result<(Exit, Option<Json>), Failure> {
    let display = Display::new(context.terminal, setup.name().as_str());
    let result = sync(engine, setup, arguments, &display).await;
    display.end();
    match result {
        Ok(report) => {
            if arguments.output == Output::Text {
                show(context, engine, &report).await?;
            }
            Ok((
                exit_of(&report, arguments.detailed_exitcode),
                Some(wire::json(&wire::report(&report))),
            ))
        }
        Err(error) => {
            let state = if error.is_busy() { "busy" } else { "failed" };
            let (code, message) = (error.code(), error.to_string());
            let failure = Failure::from(error);
            if arguments.output == Output::Text {
                context.terminal.fail(&failure);
            }
            let document = wire::not_begun(
                setup.name().as_str(),
                state,
                arguments.dry_run,
                code,
                &message,
                engine.store().now(),
            );
            Ok((failure.exit, Some(wire::json(&document))))
        }
    }
}

async fn sync(engine: &Engine, setup: &Setup, arguments: &Arguments, display: &Display) -> Result<Report, EngineError> {
    let organization = match &arguments.organization {
        Some(wanted) => Some(find_organization(engine.store(), setup, wanted).await?),
        None => None,
    };
    let user = match &arguments.user {
        Some(wanted) => Some(find_user(engine.store(), setup, wanted).await?),
        None => None,
    };
    let request = Request {
        organization,
        user,
        dry_run: arguments.dry_run,
        actor: actor(),
    };
    engine.sync(setup, &request, display).await
}

async fn show(context: &Context<'_>, engine: &Engine, report: &Report) -> Result<(), Failure> {
    let terminal = context.terminal;
    let mut text = plan_view::run(engine.store(), &report.run, &report.quarantined, terminal).await?;
    if report.refused_roles > 0 {
        let who = plural(report.refused_roles, "entry").replace("entrys", "entries");
        text.push_str(&paint(
            YELLOW,
            format!("{who} asked for an administrative role, which this source may not grant (grant_administrator_roles); the role was left out\n"),
        ));
    }
    terminal.print(&text)
}

fn exit_of(report: &Report, detailed: bool) -> Exit {
    let counts = report.run.counts.unwrap_or_default();
    match report.run.state.as_str() {
        "planned" if detailed && counts.has_changes() => Exit::HasChanges,
        "planned" => Exit::Done,
        "applied" if counts.quarantine > 0 => Exit::Quarantine,
        "applied" => Exit::Done,
        "held" => Exit::Held,
        "incomplete" => Exit::Source,
        _ => report
            .run
            .error
            .as_ref()
            .map_or(Exit::Failed, |e| Exit::of_code(&e.code)),
    }
}
