//! What the program tells of itself: events for the log, counters for the metrics.
//! One closed enum of events makes both, so that neither says what the other does not. Knows ids and sentences of the
//! program's own; never an address, a person's name or a secret.

mod declare;
mod events;
mod line;
mod log;
mod value;

pub use declare::Entry;
pub use events::{CATALOGUE, Event, FIELDS};
pub use log::{Clock, Format, Settings, start};
pub use value::{Extent, Sentence, Who, Word};

/// Writes an event to the log.
pub fn emit(event: &Event<'_>) {
    event.write();
}
