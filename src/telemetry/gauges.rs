//! Gauges: how things stand at a scrape. What the database said last is kept, so that ages go on growing while it is
//! away. Written by hand, because a gauge of the library would stay for ever when its source is gone.

use std::fmt::{Display, Write as _};

use jiff::Timestamp;

use super::instruments::METRICS;
use super::process;
use crate::domain::id::SourceName;
use crate::domain::vitals::Vitals;

/// How things stand.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    started: Timestamp,
    vitals: Vec<Vitals>,
    is_database_up: bool,
    pub(super) last_tick: Option<Timestamp>,
    pub(super) is_reloaded: bool,
}

impl Standing {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            started: now,
            vitals: Vec::new(),
            is_database_up: false,
            last_tick: None,
            is_reloaded: true,
        }
    }

    /// Takes these sources and no others, and keeps what is known of them.
    pub(super) fn watch(&mut self, sources: &[SourceName]) {
        let known = std::mem::take(&mut self.vitals);
        self.vitals = sources
            .iter()
            .map(|name| {
                let found = known.iter().find(|vitals| vitals.source == *name).cloned();
                found.unwrap_or_else(|| Vitals::new(name.clone()))
            })
            .collect();
    }

    /// Takes what the database says of the sources that are watched.
    pub(super) fn saw(&mut self, vitals: Option<Vec<Vitals>>) {
        self.is_database_up = vitals.is_some();
        let Some(seen) = vitals else { return };
        for one in &mut self.vitals {
            let found = seen.iter().find(|vitals| vitals.source == one.source).cloned();
            *one = found.unwrap_or_else(|| Vitals::new(one.source.clone()));
        }
    }
}

/// A gauge that each source has.
type OfSource = (&'static str, fn(&Vitals, Timestamp) -> f64);

const OF_EACH_SOURCE: &[OfSource] = &[
    ("rollcall_runs_queued", |v, _| v.queued as f64),
    ("rollcall_runs_running", |v, _| v.running as f64),
    ("rollcall_runs_held", |v, _| v.held as f64),
    ("rollcall_run_held_age_seconds", |v, now| {
        age(v.held_since, now).unwrap_or(0.0)
    }),
    ("rollcall_last_complete_listing_timestamp_seconds", |v, _| {
        seconds(v.complete_at)
    }),
    ("rollcall_listing_age_seconds", |v, now| {
        age(v.complete_at, now).unwrap_or(f64::INFINITY)
    }),
    ("rollcall_quarantined_entries", |v, _| v.quarantined as f64),
    ("rollcall_source_paused", |v, _| truth(v.is_paused)),
    ("rollcall_source_due_timestamp_seconds", |v, _| seconds(v.due_at)),
];

/// Writes every gauge.
pub(super) fn write(out: &mut String, standing: &Standing, connections: i64, now: Timestamp) {
    for (name, value) in OF_EACH_SOURCE {
        head(out, name);
        for vitals in &standing.vitals {
            // A source's name has no character that a label would have to escape.
            sample(
                out,
                name,
                format_args!("{{source=\"{}\"}}", vitals.source),
                value(vitals, now),
            );
        }
    }
    let plain = [
        ("rollcall_http_connections", connections as f64),
        ("rollcall_database_up", truth(standing.is_database_up)),
        (
            "rollcall_scheduler_last_tick_timestamp_seconds",
            seconds(standing.last_tick),
        ),
        ("rollcall_config_last_reload_successful", truth(standing.is_reloaded)),
        ("process_start_time_seconds", seconds(Some(standing.started))),
    ];
    for (name, value) in plain.into_iter().chain(process::read()) {
        head(out, name);
        sample(out, name, "", value);
    }
    head(out, "rollcall_build_info");
    let version = env!("CARGO_PKG_VERSION");
    sample(
        out,
        "rollcall_build_info",
        format_args!("{{version=\"{version}\"}}"),
        1.0,
    );
}

fn head(out: &mut String, name: &str) {
    if let Some(metric) = METRICS.iter().find(|metric| metric.name == name) {
        let _ = writeln!(out, "# HELP {name} {}", metric.means);
        let _ = writeln!(out, "# TYPE {name} {}", metric.kind.as_str());
    }
}

fn sample(out: &mut String, name: &str, labels: impl Display, value: f64) {
    let _ = match value == f64::INFINITY {
        true => writeln!(out, "{name}{labels} +Inf"),
        false => writeln!(out, "{name}{labels} {value}"),
    };
}

fn truth(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// Seconds since 1970; 0 for never.
fn seconds(at: Option<Timestamp>) -> f64 {
    at.map_or(0.0, |at| at.as_millisecond() as f64 / 1_000.0)
}

/// How long ago, never negative: clocks differ.
fn age(at: Option<Timestamp>, now: Timestamp) -> Option<f64> {
    at.map(|at| (seconds(Some(now)) - seconds(Some(at))).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("time")
    }

    fn source(name: &str) -> SourceName {
        SourceName::parse(name).expect("name")
    }

    fn value(standing: &Standing, now: &str, series: &str) -> Option<String> {
        let mut out = String::new();
        write(&mut out, standing, 0, at(now));
        let line = out
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(str::to_owned)
    }

    #[test]
    fn ages_are_there_from_the_start_and_grow_without_the_database() {
        let mut standing = Standing::new(at("2026-01-01T00:00:00Z"));
        standing.watch(&[source("a"), source("b")]);
        let age_of = "rollcall_listing_age_seconds{source=\"a\"}";
        let noon = "2026-01-01T12:00:00Z";
        assert_eq!(value(&standing, noon, age_of).as_deref(), Some("+Inf"));
        standing.saw(Some(vec![Vitals {
            complete_at: Some(at("2026-01-01T11:00:00Z")),
            held: 1,
            held_since: Some(at("2026-01-01T11:59:00Z")),
            ..Vitals::new(source("a"))
        }]));
        assert_eq!(value(&standing, noon, age_of).as_deref(), Some("3600"));
        assert_eq!(value(&standing, noon, "rollcall_database_up").as_deref(), Some("1"));
        standing.saw(None);
        assert_eq!(
            value(&standing, "2026-01-01T13:00:00Z", age_of).as_deref(),
            Some("7200")
        );
        assert_eq!(value(&standing, noon, "rollcall_database_up").as_deref(), Some("0"));
        let held = "rollcall_run_held_age_seconds{source=\"a\"}";
        assert_eq!(value(&standing, noon, held).as_deref(), Some("60"));
        // The clock of the database is ahead.
        assert_eq!(value(&standing, "2026-01-01T10:00:00Z", held).as_deref(), Some("0"));
        standing.watch(&[source("a")]);
        assert_eq!(value(&standing, noon, held).as_deref(), Some("60"));
        assert_eq!(value(&standing, noon, "rollcall_runs_held{source=\"b\"}"), None);
    }
}
