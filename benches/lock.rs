//! How long at a stretch the program keeps others from writing to a SQLite file: a second connection asks for the write
//! lock every millisecond, and gives it back at once. That costs the program a little, so no time is taken of such a run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tokio::runtime::Handle;

use crate::Outcome;

/// Between two attempts.
const ATTEMPT: Duration = Duration::from_millis(1);

/// Somebody who would like to write.
pub(crate) struct Bystander {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Outcome<Duration>>,
}

impl Bystander {
    /// Begins to ask for the lock of `file`.
    pub(crate) fn start(runtime: &Handle, file: &Path) -> Self {
        let (url, runtime) = (format!("sqlite://{}", file.display()), runtime.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || runtime.block_on(ask(&url, &stopped)));
        Self { stop, thread }
    }

    /// The longest time for which the lock was not to be had.
    pub(crate) fn end(self) -> Outcome<Duration> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().map_err(|_| "the second connection broke off")?
    }
}

async fn ask(url: &str, stop: &AtomicBool) -> Outcome<Duration> {
    let mut connection = SqliteConnection::connect(url).await?;
    connection.execute("PRAGMA busy_timeout = 0").await?;
    let mut longest = Duration::ZERO;
    let mut refused_since = None;
    while !stop.load(Ordering::Acquire) {
        let asked = Instant::now();
        match connection.execute("BEGIN IMMEDIATE").await {
            Ok(_) => {
                connection.execute("ROLLBACK").await?;
                refused_since = None;
            }
            // Any other error comes again, and then lasts longer than every run.
            Err(_) => longest = longest.max(refused_since.get_or_insert(asked).elapsed()),
        }
        tokio::time::sleep(ATTEMPT).await;
    }
    connection.close().await?;
    Ok(longest)
}
