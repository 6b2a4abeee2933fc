//! Why a run, or an answer to one, could not be carried out.

use crate::domain::run::Refused;
use crate::sources::SourceError;
use crate::store::{RunError, StoreError, StoreErrorKind};

/// The cause, with its sentence.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The directory could not be read.
    #[error("{0}")]
    Source(#[from] SourceError),
    /// The database could not do it.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The run is not in a state in which this can be asked.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// What was named does not exist, or means several.
    #[error("{0}")]
    NotFound(String),
    /// The code of a source panicked: that run fails, alone.
    #[error(
        "reading source {0} ended in a defect of this program; that run failed and nothing was applied; please report it with the log"
    )]
    Panicked(String),
}

impl EngineError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Source(e) => e.kind.code(),
            Self::Store(e) => e.kind.code(),
            Self::Refused(_) => "refused",
            Self::NotFound(_) => "not_found",
            Self::Panicked(_) => "source_panicked",
        }
    }

    /// As it is stored with the run and printed.
    pub fn to_run_error(&self) -> RunError {
        RunError {
            code: self.code().into(),
            message: self.to_string(),
        }
    }

    /// Whether another run holds the source.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Store(e) if e.kind == StoreErrorKind::LeaseHeld)
    }

    /// Whether the plan no longer fits the table.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Store(e) if e.kind == StoreErrorKind::Stale)
    }
}
