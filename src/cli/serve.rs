//! `rollcall serve`: the daemon. Everything that the configuration names is started, kept going and stopped in order.

use std::fmt::Write as _;
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::compose;
use super::context::Context;
use super::exit::{Exit, Failure};
use crate::config::Config;
use crate::engine::Engine;
use crate::http;
use crate::lifecycle::{self, Asked, Signals};
use crate::scheduler::{Registry, Scheduler};
use crate::store::{self, Store};
use crate::telemetry::{self, Event, Sentence, emit};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rollcall serve                                       in the foreground, as a service manager starts it
  rollcall --config rollcall.toml serve
  systemctl reload rollcall                            reads the configuration again (SIGHUP)

It ends on SIGTERM and SIGINT: what is writing may finish, everything else is cut off and asked for again.")]
pub(super) struct Arguments {}

pub(super) async fn run(context: &Context<'_>, _: Arguments) -> Result<Exit, Failure> {
    let mut signals = Signals::new().map_err(|e| {
        Failure::new(
            Exit::Failed,
            format!("the daemon cannot listen for signals ({e}); look at the limits of the system"),
        )
    })?;
    let prepared = tokio::select! {
        prepared = prepare(context) => prepared?,
        () = stop_asked(&mut signals) => return Ok(Exit::Done),
    };
    let Prepared {
        config,
        registry,
        store,
    } = prepared;
    telemetry::metrics::start(store.now());
    emit(&Event::DaemonStarted {
        version: env!("CARGO_PKG_VERSION"),
        sources: registry.sources.len() as u64,
        database: match store.engine() {
            store::Engine::Sqlite => "sqlite",
            store::Engine::Postgres => "postgres",
        },
    });
    let scheduler = Scheduler::new(Engine::new(store), registry);
    let (stop, stopping) = watch::channel(false);
    // An address that is taken is said before anything is begun, and nobody is answered before the schedule runs.
    let bound = Bound::new(&config, &scheduler).await?;
    let ticking = {
        let (scheduler, stopping) = (scheduler.clone(), stopping.clone());
        tokio::spawn(async move { scheduler.run(stopping, lifecycle::alive).await })
    };
    scheduler.first_tick().await;
    let api = bound.serve(&config, &stopping);
    lifecycle::ready(&in_short(&scheduler.registry()));
    while signals.next().await == Asked::Reload {
        reload(context, &config, &scheduler);
    }
    let asked = Instant::now();
    lifecycle::stopping("what is writing may finish, everything else is cut off");
    emit(&Event::DaemonStopping {
        running: scheduler.under_way(),
    });
    stop.send_replace(true);
    let ended = ticking.await;
    api.ended().await;
    emit(&Event::DaemonStopped {
        duration_ms: u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    scheduler.engine().store().close().await;
    match ended {
        Ok(()) => Ok(Exit::Done),
        Err(_) => Err(Failure::new(
            Exit::Failed,
            "the scheduler ended in a defect of this program; please report it with the log",
        )),
    }
}

/// What has to be there before anything is started.
struct Prepared {
    config: Config,
    registry: Registry,
    store: Store,
}

/// Reads the configuration, and brings the database to this version's schema. That may take long, and the database may
/// not answer: it can be broken off at any point.
async fn prepare(context: &Context<'_>) -> Result<Prepared, Failure> {
    let config = context.config()?;
    let registry = compose::registry(&config)?;
    let store = context.store(&config).await?;
    Ok(Prepared {
        config,
        registry,
        store,
    })
}

/// Returns when the daemon is to end; there is nothing yet to read again.
async fn stop_asked(signals: &mut Signals) {
    while signals.next().await == Asked::Reload {}
}

/// The addresses of the API, taken, and what will be answered there.
struct Bound {
    listeners: Vec<(TcpListener, http::Router)>,
}

impl Bound {
    /// Takes the addresses that the configuration says.
    async fn new(config: &Config, scheduler: &Scheduler) -> Result<Self, Failure> {
        let app = http::App::new(scheduler.clone(), compose::http_settings(&config.http));
        let mut places = vec![(config.http.listen, http::router(app.clone()))];
        if let Some(apart) = config.http.metrics_listen {
            places.push((apart, http::metrics_router(app)));
        }
        let mut listeners = Vec::with_capacity(places.len());
        for (listen, router) in places {
            let listener = http::bind(listen)
                .await
                .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
            listeners.push((listener, router));
        }
        Ok(Self { listeners })
    }

    /// Answers there until `stopping` says so.
    fn serve(self, config: &Config, stopping: &watch::Receiver<bool>) -> Api {
        let mut tasks = JoinSet::new();
        for (listener, router) in self.listeners {
            emit(&Event::DaemonReady {
                listen: listener.local_addr().unwrap_or(config.http.listen),
            });
            let mut stopping = stopping.clone();
            let stopped = async move {
                // A sender that is gone has stopped, too.
                let _ = stopping.wait_for(|stopping| *stopping).await;
            };
            let limits = compose::http_limits(&config.http);
            tasks.spawn(http::serve(listener, router, limits, stopped));
        }
        Api { tasks }
    }
}

/// What answers.
struct Api {
    tasks: JoinSet<()>,
}

impl Api {
    /// Returns when every answer that was under way has ended, or has had its time.
    async fn ended(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Reads the configuration again. One that is broken leaves the old one in force.
fn reload(context: &Context<'_>, running: &Config, scheduler: &Scheduler) {
    lifecycle::reloading();
    let read = context.config().and_then(|config| {
        let registry = compose::registry(&config)?;
        Ok((config, registry))
    });
    match read {
        Ok((config, registry)) => {
            let changed = [
                ("database", config.database != running.database),
                ("http", config.http != running.http),
            ];
            for (section, _) in changed.into_iter().filter(|(_, changed)| *changed) {
                emit(&Event::DaemonRestartNeeded { section });
            }
            emit(&Event::DaemonReloaded {
                sources: registry.sources.len() as u64,
            });
            scheduler.reload(registry);
        }
        Err(failure) => emit(&Event::DaemonReloadRefused {
            error: Sentence(&failure.messages.join("; ")),
        }),
    }
    lifecycle::ready(&in_short(&scheduler.registry()));
}

/// The state of the daemon in one line.
fn in_short(registry: &Registry) -> String {
    let mut line = String::from("looks after");
    for (n, managed) in registry.sources.iter().enumerate() {
        let _ = write!(line, "{} {}", if n == 0 { "" } else { "," }, managed.setup.name());
    }
    if registry.sources.is_empty() {
        line.push_str(" no source: the configuration names none that is enabled");
    }
    line
}
