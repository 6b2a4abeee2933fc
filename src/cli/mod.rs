//! The command line and the composition root: it reads the clock, the environment and the configuration, builds what
//! the configuration names, and prints. Nothing else imports it, and nothing of the judgement happens here.

mod cells;
mod changes_view;
mod check;
mod completion;
mod compose;
mod configuration;
mod context;
mod demo;
pub mod directory;
mod exit;
mod migrate;
mod orgs;
mod plan_view;
mod progress;
mod quarantine;
mod runs;
mod serve;
mod sources;
mod sync;
mod terminal;
mod token;
mod users;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use context::Context;
use exit::{Exit, Failure};
use terminal::Terminal;

/// Keeps an application's local user table in step with the outside directory that owns part of it.
#[derive(Debug, Parser)]
#[command(name = "rollcall", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// A configuration file; may be given several times, later ones win. Without it: /etc/rollcall/rollcall.toml
    #[arg(long, value_name = "FILE", global = true)]
    config: Vec<PathBuf>,
    /// How log lines are written (to standard error)
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text", global = true)]
    log_format: LogFormat,
    /// When to use colour; NO_COLOR and a missing terminal mean never
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", global = true)]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  rollcall demo --once                       see it work, on a sample directory
  rollcall check --connect                   is everything there that the configuration names?
  rollcall sync --dry-run                    what would change?
  rollcall sync connex --organization 'Example Paving'
  rollcall runs show last

Exit codes: 0 done · 1 failed · 2 the dry run has changes (--detailed-exitcode) · 3 applied, with quarantine
  4 the source failed or its listing was incomplete · 10 held by a brake · 11 another run holds the source
  64 usage · 78 configuration or schema";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How a command answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon: the schedule, the API and the console
    Serve(serve::Arguments),
    /// Run a source, one of its organizations or one user, here and now
    Sync(sync::Arguments),
    /// Sources: when they are due, and letting a schedule rest
    #[command(subcommand)]
    Sources(sources::Command),
    /// What runs did, and the answers to a held one
    #[command(subcommand)]
    Runs(runs::Command),
    /// Organizations: list, show, follow, unfollow
    #[command(subcommand)]
    Orgs(orgs::Command),
    /// The local user table
    #[command(subcommand)]
    Users(users::Command),
    /// Entries that are kept out of the user table, and why
    Quarantine(quarantine::Arguments),
    /// Check the configuration; with --connect also the database and every source
    Check(check::Arguments),
    /// The configuration: its default, its effective values, its schema
    #[command(subcommand)]
    Config(configuration::Command),
    /// Bring the database to this version's schema
    Migrate(migrate::Arguments),
    /// Tokens of the API: make, list, revoke
    #[command(subcommand)]
    Token(token::Command),
    /// Print the OpenAPI document of the API
    #[command(after_help = "Example:\n  rollcall openapi > openapi.json")]
    Openapi,
    /// Serve a sample ConneX-style directory
    Directory(directory::arguments::Arguments),
    /// See the whole of it at work on one machine, with nothing installed
    Demo(demo::Arguments),
    /// Print a completion script for a shell
    Completions(completion::Arguments),
    /// Print the manual page
    #[command(after_help = "Example:\n  rollcall man | man -l -")]
    Man,
}

/// Runs the program with the arguments of the process, and answers its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, everything else is a usage error; a closed pipe is nobody's fault.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Done.into()
            };
        }
    };
    let terminal = Terminal::new(cli.color);
    context::log(cli.log_format, log_level(&cli.command));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(dispatch(cli, &terminal));
            // A blocking read of a source that was given up must not keep the program.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(Failure::new(
            Exit::Failed,
            format!("the program cannot start its worker threads ({error}); look at the limits of the system"),
        )),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            terminal.fail(&failure);
            failure.exit.into()
        }
    }
}

/// What is logged where `ROLLCALL_LOG` does not say: a command that somebody started says itself how it ended.
fn log_level(command: &Command) -> &'static str {
    match command {
        Command::Serve(_) => "info",
        _ => "off",
    }
}

async fn dispatch(cli: Cli, terminal: &Terminal) -> Result<Exit, Failure> {
    let context = Context {
        files: cli.config,
        terminal,
    };
    match cli.command {
        Command::Serve(arguments) => serve::run(&context, arguments).await,
        Command::Sync(arguments) => sync::run(&context, arguments).await,
        Command::Sources(command) => sources::run(&context, command).await,
        Command::Runs(command) => runs::run(&context, command).await,
        Command::Orgs(command) => orgs::run(&context, command).await,
        Command::Users(command) => users::run(&context, command).await,
        Command::Quarantine(arguments) => quarantine::run(&context, arguments).await,
        Command::Check(arguments) => check::run(&context, arguments).await,
        Command::Config(command) => configuration::run(&context, command),
        Command::Migrate(arguments) => migrate::run(&context, arguments).await,
        Command::Token(command) => token::run(&context, command).await,
        Command::Openapi => completion::openapi(&context),
        Command::Directory(arguments) => demo::directory(&context, arguments).await,
        Command::Demo(arguments) => demo::run(&context, arguments).await,
        Command::Completions(arguments) => completion::completions(&context, &mut Cli::command(), arguments),
        Command::Man => completion::man(&context, &Cli::command()),
    }
}
