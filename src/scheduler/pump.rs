//! Carrying out what waits in the queue: one worker a source, each run in a task of its own, so that a panic, a hang or
//! a shutdown ends that run and says so.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::{Managed, Scheduler};
use crate::domain::id::{RunId, SourceName};
use crate::engine::{Claimed, EngineError, INTERRUPTED, Observer, Phase, Progress, Request};
use crate::store::{Lease, RunError};

/// How many runs are under way at once; the others wait. Each holds some of the memory that the whole may use.
const RUNS_AT_ONCE: usize = 4;

/// How long writing down the end of a run that was cut off may take.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(5);

/// The workers, and what tells them to stop.
pub(super) struct Pump {
    workers: JoinSet<()>,
    places: Arc<Semaphore>,
    /// `true` when every run is to be cut off.
    cut: watch::Sender<bool>,
}

/// Passes the progress of a run on to whoever watches it.
struct Reporter(watch::Sender<Progress>);

impl Observer for Reporter {
    fn progress(&self, progress: Progress) {
        self.0.send_replace(progress);
    }
}

/// Takes a source's worker out of the list when it ends, however that is.
struct Busy<'a>(&'a Scheduler, SourceName);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.state().busy.remove(&self.1);
    }
}

impl Pump {
    pub(super) fn new() -> Self {
        Self {
            workers: JoinSet::new(),
            places: Arc::new(Semaphore::new(RUNS_AT_ONCE)),
            cut: watch::Sender::new(false),
        }
    }

    /// Starts a worker for each source that has runs waiting and none yet.
    pub(super) async fn start(&mut self, scheduler: &Scheduler) -> Result<(), EngineError> {
        while self.workers.try_join_next().is_some() {}
        let registry = scheduler.registry();
        for source in scheduler.engine().store().waiting_sources().await? {
            let Some(managed) = registry.source(&source) else {
                let why = RunError {
                    code: "source_configuration".into(),
                    message: format!(
                        "source {source} is not in the configuration any more, or not enabled, so its waiting runs were dropped"
                    ),
                };
                scheduler.engine().store().refuse_waiting(&source, &why).await?;
                continue;
            };
            if scheduler.state().busy.insert(source) {
                let (scheduler, managed) = (scheduler.clone(), managed.clone());
                let (places, cut) = (Arc::clone(&self.places), self.cut.subscribe());
                self.workers.spawn(async move {
                    let busy = Busy(&scheduler, managed.setup.name().clone());
                    let Ok(_place) = places.acquire().await else { return };
                    drain(&scheduler, &managed, cut).await;
                    drop(busy);
                });
            }
        }
        Ok(())
    }

    /// Ends: what is writing may finish within `grace`, everything else is cut off now.
    pub(super) async fn stop(mut self, scheduler: &Scheduler, grace: Duration) {
        let until = tokio::time::Instant::now() + grace;
        while scheduler.is_applying() && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.cut.send_replace(true);
        while self.workers.join_next().await.is_some() {}
    }
}

/// Carries out what waits for one source, until nothing does.
async fn drain(scheduler: &Scheduler, managed: &Managed, cut: watch::Receiver<bool>) {
    while !*cut.borrow() {
        match scheduler.engine().claim(managed.setup.name()).await {
            Ok(Some(claimed)) => one(scheduler, managed, claimed, cut.clone()).await,
            // Another process has the source, or the database is away: the next tick tries again.
            Ok(None) | Err(_) => return,
        }
    }
}

/// Carries out one run, and sees to it that it ends.
async fn one(scheduler: &Scheduler, managed: &Managed, claimed: Claimed, mut cut: watch::Receiver<bool>) {
    let (run, lease, asked) = (claimed.run(), claimed.lease(), claimed.request().clone());
    let (sender, receiver) = watch::channel(Progress {
        phase: Phase::Preparing,
        entries: 0,
        pages: 0,
        changes: 0,
    });
    scheduler.state().under_way.insert(run, receiver);
    let (engine, setup) = (scheduler.engine().clone(), managed.setup.clone());
    let mut task = tokio::spawn(async move {
        let reporter = Reporter(sender);
        engine.carry_out(&setup, claimed, &reporter).await
    });
    let outcome = tokio::select! {
        ended = &mut task => match ended {
            // What went wrong in it is written down with it.
            Ok(_report) => None,
            Err(_) => Some(Cut::new("panicked", "the run ended in a defect of this program; nothing of it was applied; please report it with the log")),
        },
        () = tokio::time::sleep(managed.run_timeout) => Some(Cut::new("timed_out", &format!(
            "the run took longer than run_timeout ({} seconds) allows, so it was cut off; nothing of it was applied; look at why the directory is slow, or raise run_timeout",
            managed.run_timeout.as_secs()
        ))),
        _ = cut.wait_for(|cut| *cut) => Some(Cut::new(INTERRUPTED, "the daemon was stopped, so the run was cut off; nothing of it was applied; it waits in the queue again")),
    };
    if let Some(cut) = outcome {
        task.abort();
        // What it was writing is rolled back when its connection is dropped.
        let _ = (&mut task).await;
        // Where this fails too, the next holder of the lease writes it down.
        let _ = tokio::time::timeout(GIVE_UP_WITHIN, give_up(scheduler, &asked, run, &lease, &cut.0)).await;
    }
    scheduler.state().under_way.remove(&run);
    scheduler.inner.ended.send_modify(|n| *n += 1);
}

/// Why a run was cut off.
struct Cut(RunError);

impl Cut {
    fn new(code: &str, message: &str) -> Self {
        Self(RunError {
            code: code.into(),
            message: message.into(),
        })
    }
}

/// Writes down that a run was cut off. What the daemon's own end cut off is asked for again: whoever asked has not
/// changed their mind.
async fn give_up(
    scheduler: &Scheduler,
    asked: &Request,
    run: RunId,
    lease: &Lease,
    why: &RunError,
) -> Result<(), EngineError> {
    let engine = scheduler.engine();
    if engine.give_up(run, lease, why).await? && why.code == INTERRUPTED {
        engine.queue(&lease.source, asked).await?;
    }
    Ok(())
}
