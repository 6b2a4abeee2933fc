//! The loop of the daemon: at every tick what is due is queued, what waits is started, and what a dead process left
//! behind is written down.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;

use super::due::Step;
use super::pump::Pump;
use super::ticker::{SILENT_AFTER, Ticker};
use super::{Schedule, Scheduler};
use crate::domain::id::SourceName;
use crate::engine::{EngineError, Request};
use crate::store::{Actor, Engine, StoreError, StoreErrorKind};
use crate::telemetry::{self, Event, Sentence, emit};

/// How long the database may take for the work of one tick before the tick is given up.
const TICK_WITHIN: Duration = Duration::from_secs(15);

/// Every how many ticks runs are looked for that a dead process left behind.
const RECOVER_EVERY: u64 = 10;

/// How long a run that is writing may go on after the daemon was told to stop. systemd waits for thirty seconds.
const GRACE: Duration = Duration::from_secs(20);

/// From how late on a scheduled run counts as missed, and is said to be.
const LATE_FROM: SignedDuration = SignedDuration::from_secs(60);

/// From how much on the clock has jumped, and was not only set right.
const JUMP_FROM: SignedDuration = SignedDuration::from_secs(30);

/// Who asks for scheduled runs.
const SCHEDULE_ACTOR: &str = "schedule";

impl Scheduler {
    /// Ticks until `stop` becomes true, then lets what is writing finish and cuts everything else off. `alive` is
    /// called after every tick, whatever became of it: it feeds the watchdog.
    pub async fn run(&self, mut stop: watch::Receiver<bool>, alive: impl Fn() + Send) {
        let mut ticker = Ticker::new().await;
        let mut pump = Pump::new();
        let mut ticks = 0_u64;
        // The first look is now, not in a second.
        self.inner.wake.notify_one();
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                ticked = ticker.tick() => if !ticked {
                    emit(&Event::SchedulerStalled { silent_s: SILENT_AFTER.as_secs() });
                },
                () = self.inner.wake.notified() => {}
            }
            let work = self.tick(&mut pump, ticks.is_multiple_of(RECOVER_EVERY));
            let failure = match tokio::time::timeout(TICK_WITHIN, work).await {
                Ok(done) => done.err(),
                Err(_) => Some(self.too_slow()),
            };
            ticks += 1;
            self.ticked(failure.filter(|error| !is_in_the_way(error)).as_ref());
            alive();
        }
        self.state().stopping = true;
        ticker.end().await;
        pump.stop(self, GRACE).await;
    }

    /// A tick that was given up: on SQLite somebody else writes, on PostgreSQL the server does not answer.
    fn too_slow(&self) -> EngineError {
        let seconds = TICK_WITHIN.as_secs();
        let kind = match self.engine().store().engine() {
            Engine::Sqlite => StoreErrorKind::Busy,
            Engine::Postgres => StoreErrorKind::Unreachable,
        };
        let message = format!("the database did not answer within {seconds} seconds; check that it runs");
        StoreError::new(kind, message).into()
    }

    /// Remembers that the clock was looked at, and says what is new about the database and the clock.
    fn ticked(&self, failure: Option<&EngineError>) {
        let (now, moment) = (self.engine().store().now(), Instant::now());
        let mut state = self.state();
        if let Some((at, then)) = state.health {
            let passed = SignedDuration::try_from(moment - then).unwrap_or(SignedDuration::MAX);
            let jump = now.duration_since(at) - passed;
            if jump.abs() > JUMP_FROM {
                emit(&Event::ClockJumped { by_s: jump.as_secs() });
            }
        }
        state.health = Some((now, moment));
        telemetry::metrics::ticked(now);
        match (failure, state.down_since) {
            (Some(error), None) => {
                state.down_since = Some(moment);
                emit(&Event::DatabaseUnreachable {
                    code: error.code(),
                    error: Sentence(&error.to_string()),
                });
            }
            (None, Some(since)) => {
                state.down_since = None;
                emit(&Event::DatabaseBack {
                    down_ms: u64::try_from((moment - since).as_millis()).unwrap_or(u64::MAX),
                });
            }
            _ => {}
        }
    }

    async fn tick(&self, pump: &mut Pump, recover: bool) -> Result<(), EngineError> {
        if recover {
            self.engine().recover().await?;
        }
        let registry = self.registry();
        for managed in &registry.sources {
            if let Some(schedule) = &managed.schedule {
                let name = managed.setup.name();
                self.look(name, schedule, self.engine().store().now()).await?;
            }
        }
        pump.start(self).await
    }

    /// Queues a run of a source that is due, and writes down when it is due next.
    async fn look(&self, source: &SourceName, schedule: &Schedule, now: Timestamp) -> Result<(), EngineError> {
        let state = self.engine().store().source_state(source).await?;
        let step = schedule.step(source.as_str(), state.schedule.as_deref(), state.due_at, now);
        let (next, request) = match step {
            Step::Wait => return Ok(()),
            Step::Plan(next) => (next, None),
            // It rests: the time passes, and no run is made up for afterwards.
            Step::Run(next) if state.paused.is_some() => (next, None),
            Step::Run(next) => (next, Some(scheduled())),
        };
        let engine = self.engine();
        let moved = engine
            .set_due(source, schedule.text(), state.due_at, next, request.as_ref())
            .await?;
        if let (true, Some(due), Some(_)) = (moved, state.due_at, &request) {
            let late = now.duration_since(due);
            if late > LATE_FROM {
                emit(&Event::SourceMissed {
                    source,
                    due,
                    late_s: u64::try_from(late.as_secs()).unwrap_or(0),
                });
            } else {
                emit(&Event::SourceDue { source, due });
            }
        }
        Ok(())
    }
}

/// Whether somebody else's transaction holds a lock: the next tick is soon enough.
fn is_in_the_way(error: &EngineError) -> bool {
    matches!(error, EngineError::Store(error) if error.kind == StoreErrorKind::Busy)
}

fn scheduled() -> Request {
    Request {
        organization: None,
        user: None,
        dry_run: false,
        actor: Actor(SCHEDULE_ACTOR.into()),
    }
}
