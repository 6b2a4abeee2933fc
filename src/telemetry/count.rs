//! Which counters an event moves. Whatever is a label is one of a closed set.

use ::metrics::{counter, histogram};
use tracing::Level;

use super::events::Event;
use super::metrics;

/// How a run ends.
const STATES: &[&str] = &["planned", "applied", "held", "incomplete", "failed"];

/// What happens to a user.
const KINDS: &[&str] = &["create", "update", "enable", "disable", "delete"];

/// Why a source could not be read. Another code is counted as the last.
const CODES: &[&str] = &[
    "source_unreachable",
    "source_timeout",
    "source_tls",
    "source_authentication",
    "source_forbidden",
    "source_not_found",
    "source_protocol",
    "source_limit",
    "source_unavailable",
    "source_foreign_origin",
    "source_configuration",
    "source_panicked",
    "incomplete",
    "source_other",
];

/// Counters with a label that each source has from the start: name, label, values.
pub(super) const OF_EACH_SOURCE: &[(&str, &str, &[&str])] = &[
    ("rollcall_runs_total", "state", STATES),
    ("rollcall_answers_total", "answer", &["released", "rejected"]),
    ("rollcall_changes_total", "kind", KINDS),
    ("rollcall_source_errors_total", "code", CODES),
];

/// Counters without another label that each source has from the start.
pub(super) const PLAIN_OF_EACH_SOURCE: &[&str] = &[
    "rollcall_drift_users_total",
    "rollcall_missed_runs_total",
    "rollcall_leases_taken_over_total",
];

/// Counters that are there from the start.
pub(super) const FROM_THE_START: &[(&str, &[(&str, &str)])] = &[
    ("rollcall_http_refused_total", &[]),
    ("rollcall_tokens_refused_total", &[]),
    ("rollcall_database_outages_total", &[]),
    ("rollcall_panics_total", &[]),
    ("rollcall_log_events_total", &[("level", "warn")]),
    ("rollcall_log_events_total", &[("level", "error")]),
];

/// Moves the counters of an event.
pub(super) fn count(event: &Event<'_>) {
    if !metrics::is_started() {
        return;
    }
    match event.level() {
        Level::ERROR => counter!("rollcall_log_events_total", "level" => "error").increment(1),
        Level::WARN => counter!("rollcall_log_events_total", "level" => "warn").increment(1),
        _ => {}
    }
    runs(event);
    rest(event);
}

fn runs(event: &Event<'_>) {
    let (source, state, duration_ms) = match event {
        Event::RunPlanned {
            source, duration_ms, ..
        } => (source, "planned", duration_ms),
        Event::RunApplied {
            source, duration_ms, ..
        } => (source, "applied", duration_ms),
        Event::RunHeld {
            source, duration_ms, ..
        } => (source, "held", duration_ms),
        Event::RunIncomplete {
            source, duration_ms, ..
        } => (source, "incomplete", duration_ms),
        Event::RunFailed {
            source, duration_ms, ..
        } => (source, "failed", duration_ms),
        Event::RunUnwritten { source, .. } => {
            of(source.as_str(), "rollcall_runs_total", "state", "failed", 1);
            return;
        }
        _ => return,
    };
    let source = source.as_str();
    of(source, "rollcall_runs_total", "state", state, 1);
    histogram!("rollcall_run_duration_seconds", "source" => source.to_owned()).record(*duration_ms as f64 / 1_000.0);
}

fn rest(event: &Event<'_>) {
    match event {
        Event::RunApplied {
            source,
            create,
            update,
            enable,
            disable,
            delete,
            drift,
            ..
        } => changes(source.as_str(), [*create, *update, *enable, *disable, *delete], *drift),
        Event::RunReleased {
            source,
            create,
            update,
            enable,
            disable,
            delete,
            drift,
            ..
        } => {
            of(source.as_str(), "rollcall_answers_total", "answer", "released", 1);
            changes(source.as_str(), [*create, *update, *enable, *disable, *delete], *drift);
        }
        Event::RunRejected { source, .. } => {
            of(source.as_str(), "rollcall_answers_total", "answer", "rejected", 1);
        }
        Event::RunIncomplete { source, .. } => {
            of(source.as_str(), "rollcall_source_errors_total", "code", "incomplete", 1);
        }
        Event::RunFailed { source, code, .. } => {
            if let Some(code) = source_code(code.0) {
                of(source.as_str(), "rollcall_source_errors_total", "code", code, 1);
            }
        }
        Event::SourceMissed { source, .. } => plain("rollcall_missed_runs_total", source.as_str(), 1),
        Event::LeaseTakenOver { source, .. } => plain("rollcall_leases_taken_over_total", source.as_str(), 1),
        Event::HttpRequest {
            method,
            route,
            status,
            duration_us,
        } => request(method, route.0, *status, *duration_us),
        Event::HttpRefused { .. } => counter!("rollcall_http_refused_total").increment(1),
        Event::TokenRefused { .. } => counter!("rollcall_tokens_refused_total").increment(1),
        Event::DatabaseUnreachable { .. } => counter!("rollcall_database_outages_total").increment(1),
        Event::TaskPanicked { .. } => counter!("rollcall_panics_total").increment(1),
        Event::DaemonReloaded { .. } => metrics::reloaded(true),
        Event::DaemonReloadRefused { .. } => metrics::reloaded(false),
        _ => {}
    }
}

fn of(source: &str, name: &'static str, label: &'static str, value: &'static str, by: u64) {
    counter!(name, "source" => source.to_owned(), label => value).increment(by);
}

fn plain(name: &'static str, source: &str, by: u64) {
    counter!(name, "source" => source.to_owned()).increment(by);
}

fn changes(source: &str, counts: [u64; 5], drift: u64) {
    for (kind, n) in KINDS.iter().zip(counts) {
        of(source, "rollcall_changes_total", "kind", kind, n);
    }
    plain("rollcall_drift_users_total", source, drift);
}

fn request(method: &'static str, route: &str, status: u16, duration_us: u64) {
    counter!("rollcall_http_requests_total", "method" => method, "route" => route.to_owned(), "status" => status.to_string())
        .increment(1);
    histogram!("rollcall_http_request_duration_seconds", "method" => method, "route" => route.to_owned())
        .record(duration_us as f64 / 1_000_000.0);
}

/// The code as a label, if it is one of a source.
fn source_code(code: &str) -> Option<&'static str> {
    let known = CODES.iter().find(|known| **known == code).copied();
    known.or_else(|| code.starts_with("source_").then_some("source_other"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_makes_no_new_series() {
        assert_eq!(source_code("source_tls"), Some("source_tls"));
        assert_eq!(source_code("source_of_the_nile"), Some("source_other"));
        assert_eq!(source_code("store_busy"), None);
    }

    #[test]
    fn every_code_of_a_source_has_a_series() {
        let files = [include_str!("../sources/error.rs"), include_str!("../engine/error.rs")];
        let words = files.iter().flat_map(|text| text.split('"').skip(1).step_by(2));
        let codes: Vec<&str> = words.filter(|word| word.starts_with("source_")).collect();
        assert!(codes.len() >= 12, "{codes:?}");
        for code in codes {
            assert_eq!(source_code(code), Some(code));
        }
    }
}
