//! When runs start, and that each ends: due times, the queue, one worker a source, and their supervision.
//!
//! A tick looks at the clock and at the database, and never waits for a run. What goes wrong in a run fails that run.

mod due;
mod pump;
mod tick;
mod ticker;
mod vitals;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub use due::Schedule;

use crate::domain::id::{RunId, SourceName};
use crate::domain::roles::RolePolicy;
use crate::engine::{Engine, EngineError, Phase, Progress, Request, Setup};
use crate::store::RunRow;
use crate::telemetry;

/// How often somebody who waits for a run looks for one that another process carries out.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the start of the daemon looks whether the schedule runs.
const FIRST_TICK_LOOK: Duration = Duration::from_millis(5);

/// A source that the daemon looks after.
#[derive(Debug, Clone)]
pub struct Managed {
    /// The source, and what decides about its entries.
    pub setup: Setup,
    /// `connex`, `ldap` or `file`.
    pub kind: String,
    /// When it is read by itself; `None` where only when it is asked for.
    pub schedule: Option<Schedule>,
    /// Longest time that one of its runs may take.
    pub run_timeout: Duration,
}

/// What the configuration names. Swapped whole when it is read again.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// The enabled sources, in the order of the configuration.
    pub sources: Vec<Managed>,
    /// Which roles administer, for what people do by hand.
    pub roles: RolePolicy,
}

impl Registry {
    /// The source of that name.
    pub fn source(&self, name: &SourceName) -> Option<&Managed> {
        self.sources.iter().find(|managed| managed.setup.name() == name)
    }

    /// Has the metrics show these sources and no others.
    fn watch(&self) {
        let names: Vec<SourceName> = self.sources.iter().map(|m| m.setup.name().clone()).collect();
        telemetry::metrics::watch(&names);
    }
}

/// A run that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The run.
    pub run: RunId,
    /// Whether it is a new one, and not one that was waiting or under way already.
    pub is_new: bool,
}

/// How the scheduler is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// When it last looked at the clock; `None` before it ever did.
    pub last_tick: Option<Timestamp>,
    /// How long ago that is, by a clock that nobody puts back.
    pub since_tick: Option<Duration>,
    /// Whether the database answered then.
    pub database: bool,
    /// Whether the daemon is about to end.
    pub stopping: bool,
}

/// Starts runs, and knows those that are under way here.
#[derive(Clone)]
pub struct Scheduler {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    registry: RwLock<Arc<Registry>>,
    state: Mutex<State>,
    /// Somebody asked for a run: no need to wait for the next tick.
    wake: Notify,
    /// Grows with every run that ends here.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    health: Option<(Timestamp, Instant)>,
    /// Since when the database does not answer.
    down_since: Option<Instant>,
    stopping: bool,
    /// When the database was last asked for the metrics.
    vitals_at: Option<Instant>,
    /// Sources that have a worker here.
    busy: HashSet<SourceName>,
    under_way: HashMap<RunId, watch::Receiver<Progress>>,
}

impl std::fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduler").finish_non_exhaustive()
    }
}

impl Scheduler {
    /// A scheduler that does nothing until [`Scheduler::run`].
    pub fn new(engine: Engine, registry: Registry) -> Self {
        registry.watch();
        Self {
            inner: Arc::new(Inner {
                engine,
                registry: RwLock::new(Arc::new(registry)),
                state: Mutex::default(),
                wake: Notify::new(),
                ended: watch::Sender::new(0),
            }),
        }
    }

    /// The engine that carries out the runs.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// What the configuration names now.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.inner.registry.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Swaps what the configuration names. A run that is under way goes on as it began.
    pub fn reload(&self, registry: Registry) {
        registry.watch();
        *self.inner.registry.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(registry);
        self.inner.wake.notify_one();
    }

    /// Asks for a run. Asked again for the same scope while it is waiting or under way, it is the same run.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] where no such source is configured, else as the database says.
    pub async fn request(&self, source: &SourceName, request: Request) -> Result<Asked, EngineError> {
        if self.registry().source(source).is_none() {
            return Err(EngineError::NotFound(format!(
                "there is no enabled source {source} in the configuration; look at `rollcall config show`"
            )));
        }
        let (run, is_new) = self.inner.engine.queue(source, &request).await?;
        self.inner.wake.notify_one();
        Ok(Asked { run, is_new })
    }

    /// How far a run is that this process carries out.
    pub fn progress(&self, run: RunId) -> Option<watch::Receiver<Progress>> {
        self.state().under_way.get(&run).cloned()
    }

    /// The run when it has ended, or as it stands when the time is over.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] where there is no such run, else as the database says.
    pub async fn wait(&self, run: RunId, at_most: Duration) -> Result<RunRow, EngineError> {
        let until = Instant::now() + at_most;
        let mut ended = self.inner.ended.subscribe();
        loop {
            let row = self.inner.engine.known_run(run).await?;
            let now = Instant::now();
            if !matches!(row.state.as_str(), "queued" | "running") || now >= until {
                return Ok(row);
            }
            // One that another process carries out ends without a word here.
            let look = until.min(now + LOOK_EVERY);
            let _ = tokio::time::timeout_at(look, ended.changed()).await;
        }
    }

    /// Returns when the clock was looked at for the first time, whatever the database said then; at once where the
    /// scheduler is stopping already.
    pub async fn first_tick(&self) {
        loop {
            let health = self.health();
            if health.last_tick.is_some() || health.stopping {
                return;
            }
            tokio::time::sleep(FIRST_TICK_LOOK).await;
        }
    }

    /// How the scheduler is.
    pub fn health(&self) -> Health {
        let state = self.state();
        Health {
            last_tick: state.health.map(|(at, _)| at),
            since_tick: state.health.map(|(_, at)| at.elapsed()),
            database: state.down_since.is_none(),
            stopping: state.stopping,
        }
    }

    /// How many runs this process carries out now.
    pub fn under_way(&self) -> u64 {
        self.state().under_way.len() as u64
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_applying(&self) -> bool {
        let state = self.state();
        state
            .under_way
            .values()
            .any(|progress| progress.borrow().phase == Phase::Applying)
    }
}
