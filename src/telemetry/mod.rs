//! What the program tells of itself: events for the log, counters for the metrics.
//! One closed enum of events makes both, so that neither says what the other does not. Knows ids and sentences of the
//! program's own; never an address, a person's name or a secret.

mod count;
mod declare;
mod events;
mod gauges;
mod instruments;
mod line;
mod log;
pub mod metrics;
mod pace;
mod process;
mod value;

pub use declare::Entry;
pub use events::{CATALOGUE, Event, FIELDS};
pub use instruments::{Kind, METRICS, Metric};
pub use log::{Clock, Format, Settings, start};
pub use metrics::render;
pub use value::{Extent, Sentence, Who, Word};

/// Writes an event to the log, and moves its counters. A refusal that strangers can cause is not written each time.
pub fn emit(event: &Event<'_>) {
    if pace::is_due(event, std::time::Instant::now()) {
        event.write();
    }
    count::count(event);
}
