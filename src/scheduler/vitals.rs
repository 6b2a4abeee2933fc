//! How the sources stand, asked of the database for the metrics; a database that does not answer keeps nobody waiting.

use std::time::Duration;

use tokio::time::Instant;

use super::Scheduler;
use crate::telemetry;

/// How long the database may take. A scrape gives up after ten seconds by default.
const WITHIN: Duration = Duration::from_secs(2);

/// How old an answer may be that is used again: whoever asks for the metrics all the time does not load the database.
const FRESH_FOR: Duration = Duration::from_secs(1);

impl Scheduler {
    /// Brings the metrics up to what the database says. Where it does not answer, they keep what it said last.
    pub async fn take_vitals(&self) {
        if self.asked_lately() {
            return;
        }
        let answer = tokio::time::timeout(WITHIN, self.engine().store().vitals()).await;
        telemetry::metrics::saw(answer.ok().and_then(Result::ok));
    }

    /// Whether the database was asked a moment ago; if not, it is now.
    fn asked_lately(&self) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        let lately = state.vitals_at.is_some_and(|at| now.duration_since(at) < FRESH_FOR);
        if !lately {
            state.vitals_at = Some(now);
        }
        lately
    }
}
