//! `rollcall check`: is everything there that the configuration names? Each step with what was seen, or with the cause
//! and the remedy. Makes no database, migrates none, and leaves nothing behind.

use std::path::Path;

use futures_util::future::join_all;

use super::compose;
use super::context::{Context, connect};
use super::exit::{Exit, Failure};
use super::terminal::{DIM, GREEN, RED, Terminal, pad, paint, wrap};
use crate::config::{Config, Source, SourceKind};
use crate::engine::Setup;
use crate::store::{Engine, Store, StoreError};

/// Check the configuration; with --connect also the database and every source.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rollcall check\n  rollcall --config site.toml check --connect\n\nExit codes: 0 all is well · 1 the database · 4 a source · 78 the configuration"
)]
pub(super) struct Arguments {
    /// Also try the database and every source, without changing anything
    #[arg(long)]
    connect: bool,
}

/// The sign of a step that is neither good nor bad.
const NEITHER: &str = "-";

/// One step.
struct Line {
    what: String,
    outcome: Outcome,
}

enum Outcome {
    Good(String),
    Bad(String),
    /// Neither: left out, or not there yet.
    Note(String),
}

/// Every step so far, and the worst of their exit codes.
struct Report {
    lines: Vec<Line>,
    exit: Exit,
}

impl Report {
    fn good(&mut self, what: impl Into<String>, seen: impl Into<String>) {
        self.push(what, Outcome::Good(seen.into()));
    }

    fn note(&mut self, what: impl Into<String>, text: impl Into<String>) {
        self.push(what, Outcome::Note(text.into()));
    }

    fn bad(&mut self, what: impl Into<String>, failure: &Failure) {
        self.exit = self.exit.worse(failure.exit);
        self.push(what, Outcome::Bad(failure.messages.join("; ")));
    }

    fn push(&mut self, what: impl Into<String>, outcome: Outcome) {
        let what = what.into();
        self.lines.push(Line { what, outcome });
    }

    fn render(&self, terminal: &Terminal) -> String {
        let signs = terminal.signs;
        let sign_width = [signs.yes, signs.no, NEITHER]
            .map(|s| s.chars().count())
            .into_iter()
            .max()
            .unwrap_or(1);
        let what_width = self.lines.iter().map(|l| l.what.chars().count()).max().unwrap_or(0);
        let indent = " ".repeat(sign_width + 2 + what_width + 2);
        let mut out = String::new();
        for line in &self.lines {
            let (style, sign, text) = match &line.outcome {
                Outcome::Good(text) => (GREEN, signs.yes, text),
                Outcome::Bad(text) => (RED, signs.no, text),
                Outcome::Note(text) => (DIM, NEITHER, text),
            };
            let wrapped = wrap(text, terminal.width, &indent);
            let text = wrapped.get(indent.len()..).unwrap_or_default();
            let sign = paint(style, pad(sign, sign_width));
            out.push_str(&format!("{sign}  {}  {text}", pad(&line.what, what_width)));
        }
        out
    }
}

/// Checks, and prints what was found.
pub(super) async fn run(context: &Context<'_>, arguments: Arguments) -> Result<Exit, Failure> {
    let mut report = Report {
        lines: Vec::new(),
        exit: Exit::Done,
    };
    let config = match context.config() {
        Ok(config) => config,
        Err(failure) => {
            let problems = match failure.messages.len() {
                1 => "1 problem, see below".to_owned(),
                n => format!("{n} problems, see below"),
            };
            report.bad("configuration", &Failure::new(failure.exit, problems));
            context.terminal.print(&report.render(context.terminal))?;
            return Err(failure);
        }
    };
    report.good("configuration", loaded(context));
    let setups = sources(&config, &mut report);
    if arguments.connect {
        database(&config, &mut report).await;
        let probes = join_all(setups.iter().map(|setup| setup.source.probe())).await;
        for (setup, steps) in setups.iter().zip(probes) {
            for step in steps {
                let what = format!("{}: {}", setup.name(), step.step);
                match step.outcome {
                    Ok(seen) => report.good(what, seen),
                    Err(error) => {
                        let exit = Exit::of_code(error.kind.code());
                        report.bad(what, &Failure::new(exit, error.message));
                    }
                }
            }
        }
    } else {
        match password(&config) {
            Ok(()) => report.note(
                "database",
                format!("{} (not tried; use --connect)", config.database.url),
            ),
            Err(failure) => report.bad("database", &failure),
        }
    }
    context.terminal.print(&report.render(context.terminal))?;
    Ok(report.exit)
}

fn loaded(context: &Context<'_>) -> String {
    let files: Vec<String> = context.files.iter().map(|f| f.display().to_string()).collect();
    match files.is_empty() {
        true => format!(
            "read: the built-in default and, where it exists, {}",
            crate::config::SYSTEM_FILE
        ),
        false => format!("read: {}", files.join(", ")),
    }
}

/// Builds every enabled source, which reads its secrets.
fn sources(config: &Config, report: &mut Report) -> Vec<Setup> {
    let mut setups = Vec::new();
    for source in &config.sources {
        let what = format!("source {}", source.name);
        if !source.enabled {
            report.note(what, "not enabled, so it is left out");
            continue;
        }
        match compose::setup(config, source) {
            Ok(setup) => {
                setups.push(setup);
                report.good(what, described(source));
            }
            Err(failure) => report.bad(what, &failure),
        }
    }
    if config.sources.is_empty() {
        report.note(
            "sources",
            "none is configured; add a [[sources]] table (`rollcall config default` shows how)",
        );
    }
    setups
}

fn described(source: &Source) -> String {
    let at = match &source.kind {
        SourceKind::Connex(kind) => format!("connex, {}", kind.url),
        SourceKind::Ldap(kind) => format!("ldap, {}", kind.url),
        SourceKind::File(kind) => format!("file, {}", kind.path.display()),
    };
    match source.secret() {
        Some(_) => format!("{at}; its secret can be read"),
        None => at,
    }
}

fn password(config: &Config) -> Result<(), Failure> {
    if let Some(file) = &config.database.password_file {
        file.read(&config.lookup)?;
    }
    Ok(())
}

/// Tries the database step by step, up to the first that fails.
async fn database(config: &Config, report: &mut Report) {
    if let Err((step, failure)) = database_steps(config, report).await {
        report.bad(format!("database: {step}"), &failure);
    }
}

async fn database_steps(config: &Config, report: &mut Report) -> Result<(), (&'static str, Failure)> {
    let at = |step: &'static str| move |error: StoreError| (step, Failure::from(error));
    let url = &config.database.url;
    if let Some(file) = Store::file_of(url).map_err(at("connect"))?
        && !file.exists()
    {
        let folder = file
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        return match try_folder(folder) {
            Ok(()) => {
                let text = format!(
                    "{} would be created by `rollcall migrate` or the first sync",
                    file.display()
                );
                report.note("database: file", text);
                Ok(())
            }
            Err(e) => {
                let why = format!(
                    "{} does not exist, and cannot be created in {} ({e}); make the directory, or let this user write to it",
                    file.display(),
                    folder.display()
                );
                Err(("file", Failure::new(Exit::Failed, why)))
            }
        };
    }
    let store = connect(config).await.map_err(|failure| ("connect", failure))?;
    let version = store.engine_version().await.map_err(at("connect"))?;
    let engine = match store.engine() {
        Engine::Sqlite => "SQLite",
        Engine::Postgres => "PostgreSQL",
    };
    report.good("database: connect", format!("{engine} {version}, {url}"));
    schema(&store, report).await?;
    store.try_writing().await.map_err(at("write"))?;
    report.good("database: write", "may be written (tried, and rolled back)");
    Ok(())
}

async fn schema(store: &Store, report: &mut Report) -> Result<(), (&'static str, Failure)> {
    let newest = Store::newest_schema();
    let found = store.schema_version().await.map_err(|e| ("schema", Failure::from(e)))?;
    match found {
        0 => report.note(
            "database: schema",
            "none yet; `rollcall migrate` or the first sync makes it",
        ),
        n if n < newest => report.note(
            "database: schema",
            format!("version {n}; `rollcall migrate` or the next sync brings it to {newest}"),
        ),
        n if n == newest => report.good("database: schema", format!("version {n}, current")),
        n => {
            let why = format!(
                "version {n} is newer than this program's {newest}; install the newer program, or restore a backup from before the upgrade"
            );
            return Err(("schema", Failure::new(Exit::Configuration, why)));
        }
    }
    Ok(())
}

/// Whether a file can be made there: SQLite needs that beside its own file, too.
fn try_folder(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".rollcall-check-{}", std::process::id()));
    std::fs::OpenOptions::new().write(true).create_new(true).open(&probe)?;
    std::fs::remove_file(&probe)
}
