//! What every command needs: the configuration, the store, the sources, and who is asking.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::ExposeSecret;

use super::exit::{Exit, Failure};
use super::terminal::Terminal;
use super::{LogFormat, compose};
use crate::config::{self, Config};
use crate::domain::id::RunId;
use crate::domain::roles::RolePolicy;
use crate::engine::{Engine, Setup};
use crate::store::{Actor, Clock, Store};
use crate::telemetry;

/// What a command was called with.
#[derive(Debug)]
pub(super) struct Context<'t> {
    pub(super) files: Vec<PathBuf>,
    pub(super) terminal: &'t Terminal,
}

impl Context<'_> {
    /// The effective configuration.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        Ok(config::load(&self.files, std::env::vars_os().filter_map(text))?)
    }

    /// The configured database, brought to this version's schema.
    pub(super) async fn store(&self, config: &Config) -> Result<Store, Failure> {
        let store = connect(config).await?;
        store.migrate().await?;
        store.ensure_self_organization(&config.agency.name).await?;
        Ok(store)
    }

    /// The engine on the configured database.
    pub(super) async fn engine(&self, config: &Config) -> Result<Engine, Failure> {
        Ok(Engine::new(self.store(config).await?))
    }

    /// The run that `wanted` means: an id, or `last`.
    pub(super) async fn run_id(&self, store: &Store, wanted: &str) -> Result<RunId, Failure> {
        if wanted == "last" {
            let runs = store.runs(None, None, 1).await?;
            return runs
                .first()
                .map(|run| run.id)
                .ok_or_else(|| Failure::new(Exit::Failed, "there is no run yet; start one with `rollcall sync`"));
        }
        wanted.parse().map_err(|e| {
            Failure::usage(format!(
                "{e}; `rollcall runs list` shows them, and `last` is the latest"
            ))
        })
    }
}

/// An environment variable as text. One that is no UTF-8 is none of ours.
fn text((name, value): (std::ffi::OsString, std::ffi::OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

/// Connects to the configured database without looking at its schema.
pub(super) async fn connect(config: &Config) -> Result<Store, Failure> {
    let database = &config.database;
    let password = database
        .password_file
        .as_ref()
        .map(|file| file.read(&config.lookup))
        .transpose()?;
    let password = password.as_ref().map(|secret| secret.expose_secret());
    Ok(Store::connect(&database.url, password, database.max_connections, clock()).await?)
}

/// Which roles administer, for what administrators do by hand.
pub(super) fn roles(config: &Config) -> RolePolicy {
    RolePolicy {
        administrative: config.agency.administrator_roles.iter().cloned().collect(),
        default: Some(config.agency.default_role.clone()).filter(|role| !role.is_empty()),
        ..RolePolicy::default()
    }
}

/// The sources that a command is about: the named one, or every enabled one.
pub(super) fn setups(config: &Config, name: Option<&str>) -> Result<Vec<Setup>, Failure> {
    let known = || {
        config
            .sources
            .iter()
            .map(|s| s.name.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match name {
        Some(name) => {
            let source = config.source(name).ok_or_else(|| match config.sources.is_empty() {
                true => no_sources(),
                false => Failure::usage(format!(
                    "there is no source {}; the configuration has {}",
                    name.escape_debug(),
                    known()
                )),
            })?;
            Ok(vec![compose::setup(config, source)?])
        }
        None if config.sources.is_empty() => Err(no_sources()),
        None => config
            .sources
            .iter()
            .filter(|s| s.enabled)
            .map(|source| compose::setup(config, source))
            .collect(),
    }
}

fn no_sources() -> Failure {
    Failure::new(
        Exit::Configuration,
        "the configuration has no source; add a [[sources]] table (`rollcall config default` shows how), or see it work with `rollcall demo`",
    )
}

/// The real time.
pub(super) fn clock() -> Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the composition root is where the clock is read"
    )]
    Arc::new(jiff::Timestamp::now)
}

/// Who is asking: the account of the system.
pub(super) fn actor() -> Actor {
    let name = ["SUDO_USER", "LOGNAME", "USER"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    let plain: String = name
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .take(32)
        .collect();
    Actor(format!("cli:{}", if plain.is_empty() { "unknown" } else { &plain }))
}

/// Starts logging. `ROLLCALL_LOG` says what (`info`, `rollcall=debug`); without it, `level` and above. Follows the
/// choice of colour that the terminal was made with.
pub(super) fn log(format: LogFormat, level: &'static str) {
    telemetry::start(telemetry::Settings {
        format: match format {
            LogFormat::Text => telemetry::Format::Text,
            LogFormat::Json => telemetry::Format::Json,
        },
        color: anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never,
        level,
        clock: clock(),
    });
}
