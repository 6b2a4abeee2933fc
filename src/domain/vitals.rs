//! How a source stands, in numbers, for the metrics: what an alert is made of. Judges nothing.

use jiff::Timestamp;

use super::id::SourceName;

/// One source as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vitals {
    /// The source.
    pub source: SourceName,
    /// When a complete listing of it was last applied, or left nothing to apply.
    pub complete_at: Option<Timestamp>,
    /// When it is due next.
    pub due_at: Option<Timestamp>,
    /// Whether its schedule is paused.
    pub is_paused: bool,
    /// Runs that wait for their turn.
    pub queued: u64,
    /// Runs under way, by any process.
    pub running: u64,
    /// Runs that wait for an answer.
    pub held: u64,
    /// Since when the oldest of them waits.
    pub held_since: Option<Timestamp>,
    /// Entries kept out of the user table.
    pub quarantined: u64,
}

impl Vitals {
    /// A source of which nothing is known yet.
    pub fn new(source: SourceName) -> Self {
        Self {
            source,
            complete_at: None,
            due_at: None,
            is_paused: false,
            queued: 0,
            running: 0,
            held: 0,
            held_since: None,
            quarantined: 0,
        }
    }
}
