//! What a run says of itself while it is under way, for a progress display.

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading what we hold.
    Preparing,
    /// Reading the directory.
    Reading,
    /// Asking once more for entries that the listing lacks.
    Confirming,
    /// Deciding what becomes of each difference.
    Deciding,
    /// Weighing the plan.
    Weighing,
    /// Writing.
    Applying,
}

impl Phase {
    /// In a word, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Reading => "reading",
            Self::Confirming => "confirming",
            Self::Deciding => "deciding",
            Self::Weighing => "weighing",
            Self::Applying => "applying",
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Where it is.
    pub phase: Phase,
    /// Entries read so far.
    pub entries: u64,
    /// Pages read so far.
    pub pages: u64,
    /// Changes decided so far.
    pub changes: u64,
}

/// Watches a run. Called from the run itself, so it must be quick.
pub trait Observer: Send + Sync {
    /// Something has moved.
    fn progress(&self, progress: Progress);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {
    fn progress(&self, _: Progress) {}
}
