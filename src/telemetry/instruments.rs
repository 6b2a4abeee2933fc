//! Every metric, once: name, kind, labels and meaning. docs/metrics.md is compared with this file, and so is what a
//! daemon answers to a scrape.

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows, moved by events.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations, moved by events.
    Histogram,
    /// Grows, read from the system.
    Process,
}

impl Kind {
    /// As Prometheus calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter | Self::Process => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric, as the catalogue has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with its unit.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub means: &'static str,
}

const fn of(kind: Kind, name: &'static str, labels: &'static [&'static str], means: &'static str) -> Metric {
    Metric {
        name,
        kind,
        labels,
        means,
    }
}

/// Every metric.
pub const METRICS: &[Metric] = &[
    of(
        Kind::Counter,
        "rollcall_runs_total",
        &["source", "state"],
        "Runs that ended in this process, by how: planned (a dry run), applied, held, incomplete, failed.",
    ),
    of(
        Kind::Counter,
        "rollcall_answers_total",
        &["source", "answer"],
        "Held runs that were answered in this process: released or rejected.",
    ),
    of(
        Kind::Counter,
        "rollcall_changes_total",
        &["source", "kind"],
        "Users changed by runs of this process: create, update, enable, disable, delete.",
    ),
    of(
        Kind::Counter,
        "rollcall_drift_users_total",
        &["source"],
        "Users of whom a local edit of a directory's field was put back.",
    ),
    of(
        Kind::Counter,
        "rollcall_source_errors_total",
        &["source", "code"],
        "Runs that could not read their source, by the code of the error; incomplete is a listing without proof.",
    ),
    of(
        Kind::Counter,
        "rollcall_missed_runs_total",
        &["source"],
        "Times at which a source was due and not run, caught up by one run.",
    ),
    of(
        Kind::Counter,
        "rollcall_leases_taken_over_total",
        &["source"],
        "Expired leases of another process that were taken over.",
    ),
    of(
        Kind::Histogram,
        "rollcall_run_duration_seconds",
        &["source"],
        "How long runs took, from their start to their end.",
    ),
    of(
        Kind::Gauge,
        "rollcall_runs_queued",
        &["source"],
        "Runs that wait for their turn.",
    ),
    of(
        Kind::Gauge,
        "rollcall_runs_running",
        &["source"],
        "Runs under way, in any process.",
    ),
    of(
        Kind::Gauge,
        "rollcall_runs_held",
        &["source"],
        "Runs that a brake holds, and that wait for an answer.",
    ),
    of(
        Kind::Gauge,
        "rollcall_run_held_age_seconds",
        &["source"],
        "How long the oldest held run has waited for its answer; 0 where none waits.",
    ),
    of(
        Kind::Gauge,
        "rollcall_last_complete_listing_timestamp_seconds",
        &["source"],
        "When a complete listing was last applied; 0 where there never was one.",
    ),
    of(
        Kind::Gauge,
        "rollcall_listing_age_seconds",
        &["source"],
        "How long ago a complete listing was last applied; +Inf where there never was one.",
    ),
    of(
        Kind::Gauge,
        "rollcall_quarantined_entries",
        &["source"],
        "Entries that are kept out of the user table.",
    ),
    of(
        Kind::Gauge,
        "rollcall_source_paused",
        &["source"],
        "1 while the schedule of the source is paused.",
    ),
    of(
        Kind::Gauge,
        "rollcall_source_due_timestamp_seconds",
        &["source"],
        "When the source is due next; 0 where it has no schedule.",
    ),
    of(
        Kind::Counter,
        "rollcall_http_requests_total",
        &["method", "route", "status"],
        "Requests that were answered; the route is a template.",
    ),
    of(
        Kind::Histogram,
        "rollcall_http_request_duration_seconds",
        &["method", "route"],
        "How long requests took, until their answer began.",
    ),
    of(
        Kind::Counter,
        "rollcall_http_refused_total",
        &[],
        "Connections that were refused at a limit.",
    ),
    of(
        Kind::Counter,
        "rollcall_tokens_refused_total",
        &[],
        "Requests whose API token was refused.",
    ),
    of(
        Kind::Gauge,
        "rollcall_http_connections",
        &[],
        "Connections of the API that are open.",
    ),
    of(
        Kind::Gauge,
        "rollcall_database_up",
        &[],
        "1 where the database answered this scrape in time; what comes from it is as of its last answer.",
    ),
    of(
        Kind::Counter,
        "rollcall_database_outages_total",
        &[],
        "Times the database stopped answering.",
    ),
    of(
        Kind::Gauge,
        "rollcall_scheduler_last_tick_timestamp_seconds",
        &[],
        "When the scheduler last looked at its sources; 0 before it did.",
    ),
    of(
        Kind::Gauge,
        "rollcall_config_last_reload_successful",
        &[],
        "0 where the configuration was read again and is broken, so that the one before is in force.",
    ),
    of(
        Kind::Counter,
        "rollcall_panics_total",
        &[],
        "Defects that ended a part of the program.",
    ),
    of(
        Kind::Counter,
        "rollcall_log_events_total",
        &["level"],
        "Events written to the log, by level, from warnings on.",
    ),
    of(
        Kind::Gauge,
        "rollcall_build_info",
        &["version"],
        "Always 1; the version of the program is its label.",
    ),
    of(
        Kind::Gauge,
        "process_start_time_seconds",
        &[],
        "When the process began to count.",
    ),
    of(
        Kind::Process,
        "process_cpu_seconds_total",
        &[],
        "Processor time of the process, user and system.",
    ),
    of(
        Kind::Gauge,
        "process_resident_memory_bytes",
        &[],
        "Memory of the process that is in RAM.",
    ),
    of(
        Kind::Gauge,
        "process_virtual_memory_bytes",
        &[],
        "Address space of the process.",
    ),
    of(
        Kind::Gauge,
        "process_open_fds",
        &[],
        "Open files and sockets of the process.",
    ),
    of(Kind::Gauge, "process_max_fds", &[], "How many the process may open."),
    of(Kind::Gauge, "process_threads", &[], "Threads of the process."),
];
