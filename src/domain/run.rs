//! A run as a state machine. A transition consumes the state it leaves, and can be refused.

use super::brake::Hold;
use super::id::{ExternalId, RunId, SourceName};
use super::plan::{Counts, PlanHash};

/// What a run covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The source that is read.
    pub source: SourceName,
    /// One organization of it, by its id at the directory.
    pub organization: Option<ExternalId>,
    /// One entry of it.
    pub external_id: Option<ExternalId>,
}

impl Scope {
    /// The whole of a source.
    pub fn source(source: SourceName) -> Self {
        Self {
            source,
            organization: None,
            external_id: None,
        }
    }
}

/// The plan of a run in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanSummary {
    /// Its hash.
    pub hash: PlanHash,
    /// Its counts.
    pub counts: Counts,
}

/// Where a run stands. The words of `as_str` are stored and printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// Waiting for its turn.
    Queued,
    /// Reading, comparing and deciding.
    Running,
    /// A dry run has ended; nothing was written.
    Planned(PlanSummary),
    /// A brake stopped it before its first write.
    Held(PlanSummary, Vec<Hold>),
    /// Everything is in the table.
    Applied(PlanSummary),
    /// An administrator refused a held plan.
    Rejected(PlanSummary),
    /// The listing was not complete; nothing was applied.
    Incomplete(String),
    /// It could not be done; nothing was applied.
    Failed(String),
}

/// What becomes of a decided plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Stop here: it was a dry run.
    Show,
    /// Stop here: a brake holds it.
    Hold(Vec<Hold>),
    /// Go on and write.
    Proceed,
}

/// The one place where a run stops early. A dry run that a brake would hold is still a dry run, and says so.
pub fn verdict(dry_run: bool, holds: Vec<Hold>) -> Verdict {
    match (dry_run, holds.is_empty()) {
        (true, _) => Verdict::Show,
        (false, false) => Verdict::Hold(holds),
        (false, true) => Verdict::Proceed,
    }
}

/// A transition that cannot be made, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl RunState {
    /// The stable word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Planned(_) => "planned",
            Self::Held(..) => "held",
            Self::Applied(_) => "applied",
            Self::Rejected(_) => "rejected",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(_) => "failed",
        }
    }

    /// The answer "apply it" to a held run: refused unless it is held, and holds exactly this plan.
    pub fn release(self, run: RunId, hash: &str) -> Result<Self, Refused> {
        match self {
            Self::Held(plan, _) if plan.hash.to_string() == hash => Ok(Self::Applied(plan)),
            Self::Held(plan, _) => Err(Refused(format!(
                "run {run} holds plan {}, not {hash}; read it with `rollcall runs show {run}` and release that hash",
                plan.hash
            ))),
            other => Err(other.not_held(run)),
        }
    }

    /// The answer "do not" to a held run.
    pub fn reject(self, run: RunId) -> Result<Self, Refused> {
        match self {
            Self::Held(plan, _) => Ok(Self::Rejected(plan)),
            other => Err(other.not_held(run)),
        }
    }

    fn not_held(&self, run: RunId) -> Refused {
        Refused(format!(
            "run {run} is {}, not held: only a held run can be answered, and only once",
            self.as_str()
        ))
    }
}
