//! The tick: tokio-cron-scheduler wakes us every second. It is watched, and set up anew where it falls silent.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// How often a tick comes.
const TICK_EVERY: Duration = Duration::from_secs(1);

/// After how long without a tick the library has stopped: it goes by the clock on the wall, which can be put back.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(5);

/// Ticks, one at a time: what is not taken in time is not piled up.
pub(super) struct Ticker {
    ticks: mpsc::Receiver<()>,
    jobs: Option<JobScheduler>,
}

impl Ticker {
    /// A ticker that has begun, or begins at its first silence.
    pub(super) async fn new() -> Self {
        let (jobs, ticks) = match begin().await {
            Ok((jobs, ticks)) => (Some(jobs), ticks),
            Err(_) => (None, mpsc::channel(1).1),
        };
        Self { ticks, jobs }
    }

    /// Waits for the next tick; answers whether the library gave it. Otherwise it was set up anew.
    pub(super) async fn tick(&mut self) -> bool {
        match tokio::time::timeout(SILENT_AFTER, self.ticks.recv()).await {
            Ok(Some(())) => true,
            Ok(None) | Err(_) => {
                // Without a library there is nobody to wait for; the pause keeps this from spinning.
                tokio::time::sleep(TICK_EVERY).await;
                self.end().await;
                *self = Self::new().await;
                false
            }
        }
    }

    /// Ends the library's own tasks.
    pub(super) async fn end(&mut self) {
        if let Some(mut jobs) = self.jobs.take() {
            // It ends with the process in any case.
            let _ = jobs.shutdown().await;
        }
    }
}

async fn begin() -> Result<(JobScheduler, mpsc::Receiver<()>), JobSchedulerError> {
    let (sender, ticks) = mpsc::channel(1);
    let jobs = JobScheduler::new().await?;
    let tick = Job::new_repeated_async(TICK_EVERY, move |_, _| {
        let sender = sender.clone();
        Box::pin(async move {
            // Full where the last one was not taken yet: one is enough.
            let _ = sender.try_send(());
        })
    })?;
    jobs.add(tick).await?;
    jobs.start().await?;
    Ok((jobs, ticks))
}
