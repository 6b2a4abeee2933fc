//! The metrics: counters that events move, and gauges of how things stand when they are asked for.
//! Labels take their values from closed sets: configured sources, codes, templates of routes. Never an id or a path.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use metrics::{counter, describe_counter, describe_histogram, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::count;
use super::gauges::{self, Standing};
use super::instruments::{Kind, METRICS};
use crate::domain::id::SourceName;
use crate::domain::vitals::Vitals;

/// Upper ends of the buckets for runs, in seconds.
const RUN_SECONDS: &[f64] = &[
    0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0,
];

/// Upper ends of the buckets for requests, in seconds.
const REQUEST_SECONDS: &[f64] = &[
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

static ALL: OnceLock<Metrics> = OnceLock::new();

struct Metrics {
    counted: PrometheusHandle,
    standing: Mutex<Standing>,
    connections: AtomicI64,
}

impl Metrics {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to count. Before that nothing is counted: a command that ends is asked by nobody. The first call counts.
pub fn start(now: Timestamp) {
    ALL.get_or_init(|| {
        let named = |name: &str| Matcher::Full(name.to_owned());
        let builder = PrometheusBuilder::new();
        let builder = builder
            .set_buckets_for_metric(named("rollcall_run_duration_seconds"), RUN_SECONDS)
            .and_then(|b| b.set_buckets_for_metric(named("rollcall_http_request_duration_seconds"), REQUEST_SECONDS))
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let counted = recorder.handle();
        // Refused only where a recorder is there already, and nothing else here sets one.
        let _ = metrics::set_global_recorder(recorder);
        for metric in METRICS {
            match metric.kind {
                Kind::Counter => describe_counter!(metric.name, metric.means),
                Kind::Histogram => describe_histogram!(metric.name, metric.means),
                Kind::Gauge | Kind::Process => {}
            }
        }
        for (name, labels) in count::FROM_THE_START {
            counter!(*name, *labels).increment(0);
        }
        Metrics {
            counted,
            standing: Mutex::new(Standing::new(now)),
            connections: AtomicI64::new(0),
        }
    });
}

/// Whether anybody counts.
pub(super) fn is_started() -> bool {
    ALL.get().is_some()
}

/// The sources that the configuration names, from now on: each has every series of its own, from zero.
pub fn watch(sources: &[SourceName]) {
    let Some(all) = ALL.get() else { return };
    for source in sources {
        let name = source.as_str();
        for (metric, label, values) in count::OF_EACH_SOURCE {
            for value in *values {
                counter!(*metric, "source" => name.to_owned(), *label => *value).increment(0);
            }
        }
        for metric in count::PLAIN_OF_EACH_SOURCE {
            counter!(*metric, "source" => name.to_owned()).increment(0);
        }
        // Asking for it is enough to have it rendered.
        let _ = histogram!("rollcall_run_duration_seconds", "source" => name.to_owned());
    }
    all.standing().watch(sources);
}

/// How the sources stand, as the database says; `None` where it did not answer.
pub fn saw(vitals: Option<Vec<Vitals>>) {
    if let Some(all) = ALL.get() {
        all.standing().saw(vitals);
    }
}

/// The scheduler has looked at its sources. What histograms have gathered is summed up on this occasion: an API that
/// nobody scrapes would keep the duration of each request.
pub fn ticked(now: Timestamp) {
    if let Some(all) = ALL.get() {
        all.standing().last_tick = Some(now);
        all.counted.run_upkeep();
    }
}

/// The configuration was read again, or could not be.
pub(super) fn reloaded(is_in_force: bool) {
    if let Some(all) = ALL.get() {
        all.standing().is_reloaded = is_in_force;
    }
}

/// A connection of the API, counted for as long as this lives.
#[derive(Debug)]
pub struct Connection(());

/// Counts a connection of the API.
pub fn connected() -> Connection {
    if let Some(all) = ALL.get() {
        all.connections.fetch_add(1, Ordering::Relaxed);
    }
    Connection(())
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(all) = ALL.get() {
            all.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Everything, in Prometheus' text format, as of `now`. Ages grow also while the database does not answer.
pub fn render(now: Timestamp) -> String {
    let Some(all) = ALL.get() else { return String::new() };
    let mut text = all.counted.render();
    let standing = all.standing().clone();
    let connections = all.connections.load(Ordering::Relaxed);
    gauges::write(&mut text, &standing, connections, now);
    text
}
