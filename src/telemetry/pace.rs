//! What strangers can cause as often as they like is counted each time, and written now and then: who floods the
//! listener must not flood the log.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::events::Event;

/// How long a refusal is not written again after one for the same reason.
const PAUSE: Duration = Duration::from_secs(10);

/// When each kind was last written. Reasons are words of the program's own, so there are few.
static WRITTEN: Mutex<BTreeMap<(&str, &str), Instant>> = Mutex::new(BTreeMap::new());

/// Whether an event is to be written now.
pub(super) fn is_due(event: &Event<'_>, now: Instant) -> bool {
    let reason = match event {
        Event::TokenRefused { reason, .. } | Event::HttpRefused { reason } => *reason,
        _ => return true,
    };
    let mut written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (event.name(), reason);
    let recent = |at: &Instant| now.duration_since(*at) < PAUSE;
    if written.get(&key).is_some_and(recent) {
        return false;
    }
    written.insert(key, now);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_written_now_and_then_and_everything_else_always() {
        let refused = |reason| Event::HttpRefused { reason };
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(is_due(&refused("a"), at(0)));
        assert!(!is_due(&refused("a"), at(9)));
        assert!(is_due(&refused("b"), at(9)));
        assert!(is_due(&refused("a"), at(10)));
        let stopped = Event::DaemonStopped { duration_ms: 1 };
        assert!(is_due(&stopped, at(0)) && is_due(&stopped, at(0)));
    }
}
