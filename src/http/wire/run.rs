//! A run as a document.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::plan::Counts;
use crate::engine;
use crate::store::{Held, Listed, RunError, RunRow};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It waits for its turn.
    Queued,
    /// It is reading, comparing or deciding.
    Running,
    /// A dry run has ended; nothing was written.
    Planned,
    /// A brake stopped it before its first write.
    Held,
    /// Everything is in the table.
    Applied,
    /// An administrator refused its plan.
    Rejected,
    /// The listing was not complete; nothing was applied.
    Incomplete,
    /// It could not be done; nothing was applied.
    Failed,
}

impl RunState {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Planned => "planned",
            Self::Held => "held",
            Self::Applied => "applied",
            Self::Rejected => "rejected",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }
}

/// What a run was asked, saw, planned, and how it ended.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Run {
    /// Its id.
    #[schema(format = Uuid)]
    pub run: String,
    /// Its source.
    #[schema(example = "connex")]
    pub source: String,
    /// The organization that it covers: its id here, else at the directory; null where it covers more or less.
    #[schema(required)]
    pub organization: Option<String>,
    /// The user that it covers: its id here, else at the directory; null where it covers more.
    #[schema(required)]
    pub user: Option<String>,
    /// `full` or `incremental`.
    pub mode: String,
    /// Whether it stops before its first write.
    pub dry_run: bool,
    /// Who asked.
    #[schema(example = "api:nightly")]
    pub actor: String,
    /// Where it stands.
    #[schema(value_type = RunState)]
    pub state: String,
    /// What it read.
    pub listing: Listing,
    /// What it would change, or did.
    pub plan: Plan,
    /// The first of `brakes`; null where none holds it.
    #[schema(required)]
    pub brake: Option<Brake>,
    /// Why it is held.
    pub brakes: Vec<Brake>,
    /// Why it ended without applying.
    #[schema(required)]
    pub error: Option<RunFailure>,
    /// Who released or rejected it.
    #[schema(required)]
    pub answered_by: Option<String>,
    /// When.
    #[schema(required, format = DateTime)]
    pub answered_at: Option<String>,
    /// When it began.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// When it ended.
    #[schema(required, format = DateTime)]
    pub finished_at: Option<String>,
    /// How long it took.
    #[schema(required)]
    pub duration_ms: Option<i64>,
}

/// What a run read, and how it is known to be all.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Listing {
    /// Whether it can show that somebody is missing.
    pub complete: bool,
    /// Entries that arrived.
    pub entries: u64,
    /// Pages that arrived.
    pub pages: u64,
    /// What speaks for completeness.
    pub proof: Vec<String>,
    /// Why it is not complete.
    #[schema(required)]
    pub reason: Option<String>,
}

/// How much a plan changes.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Plan {
    /// Its hash, by which it is released; null where there is no plan.
    #[schema(required)]
    pub hash: Option<String>,
    /// Users created.
    pub create: u64,
    /// Users updated.
    pub update: u64,
    /// Users disabled.
    pub disable: u64,
    /// Users enabled.
    pub enable: u64,
    /// Users deleted.
    pub delete: u64,
    /// Entries that ask for nothing.
    pub unchanged: u64,
    /// Users of whom at least one field is put back; they are in `update` too.
    pub drift: u64,
    /// Entries kept out.
    pub quarantine: u64,
}

/// A brake that holds a run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Brake {
    /// Which brake.
    #[schema(example = "disable")]
    pub name: String,
    /// `run`, or `organization:` and its id at the directory.
    #[schema(example = "run")]
    pub scope: String,
    /// What was counted.
    pub value: u64,
    /// What would have passed.
    pub limit: u64,
    /// In words.
    pub explanation: String,
}

/// Why a run ended without applying.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunFailure {
    /// The stable code.
    #[schema(example = "source_unreachable")]
    pub code: String,
    /// One sentence.
    pub message: String,
}

/// A run that has just ended, with what was kept out.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The run.
    #[serde(flatten)]
    pub run: Run,
    /// Entries kept out.
    pub quarantined: Vec<Quarantined>,
    /// Entries that asked for an administrative role that the source may not grant.
    pub refused_roles: u64,
}

/// An entry that was kept out.
#[derive(Debug, Clone, Serialize)]
pub struct Quarantined {
    /// Its id.
    pub external_id: String,
    /// Its organization, where that is known.
    pub organization: Option<String>,
    /// The stable code of the reason.
    pub code: &'static str,
    /// What was seen and what to do.
    pub detail: String,
}

/// A run that could not begin.
#[derive(Debug, Clone, Serialize)]
pub struct NotBegun {
    run: Option<String>,
    source: String,
    organization: Option<String>,
    user: Option<String>,
    mode: &'static str,
    dry_run: bool,
    state: String,
    listing: Listing,
    plan: Plan,
    brake: Option<Brake>,
    brakes: Vec<Brake>,
    error: RunFailure,
    started_at: String,
    finished_at: String,
    duration_ms: u64,
}

/// The document of one run.
pub fn run(row: &RunRow) -> Run {
    let brakes: Vec<Brake> = row.holds.iter().map(Brake::from).collect();
    Run {
        run: row.id.to_string(),
        source: row.source.clone(),
        organization: row
            .organization_id
            .map(|o| o.to_string())
            .or_else(|| row.organization.clone()),
        user: row.user_id.map(|u| u.to_string()).or_else(|| row.external_id.clone()),
        mode: row.mode.clone(),
        dry_run: row.dry_run,
        actor: row.actor.clone(),
        state: row.state.clone(),
        listing: row.listing.as_ref().map(Listing::from).unwrap_or_default(),
        plan: Plan::new(row.plan_hash.clone(), row.counts.unwrap_or_default()),
        brake: brakes.first().cloned(),
        brakes,
        error: row.error.as_ref().map(RunFailure::from),
        answered_by: row.answered_by.clone(),
        answered_at: row.answered_at.map(|t| t.to_string()),
        started_at: row.started_at.to_string(),
        finished_at: row.finished_at.map(|t| t.to_string()),
        duration_ms: row
            .finished_at
            .and_then(|t| i64::try_from(t.duration_since(row.started_at).as_millis()).ok()),
    }
}

/// The document of a run that has just ended.
pub fn report(report: &engine::Report) -> Report {
    let kept_out = |(id, organization, why): &engine::Quarantine| Quarantined {
        external_id: id.clone(),
        organization: organization.as_ref().map(|o| o.as_str().to_owned()),
        code: why.code.as_str(),
        detail: why.detail.clone(),
    };
    Report {
        run: run(&report.run),
        quarantined: report.quarantined.iter().map(kept_out).collect(),
        refused_roles: report.refused_roles,
    }
}

/// The document of a run that could not begin.
pub fn not_begun(source: &str, state: &str, dry_run: bool, code: &str, message: &str, now: Timestamp) -> NotBegun {
    NotBegun {
        run: None,
        source: source.to_owned(),
        organization: None,
        user: None,
        mode: "full",
        dry_run,
        state: state.to_owned(),
        listing: Listing::default(),
        plan: Plan::new(None, Counts::default()),
        brake: None,
        brakes: vec![],
        error: RunFailure {
            code: code.to_owned(),
            message: message.to_owned(),
        },
        started_at: now.to_string(),
        finished_at: now.to_string(),
        duration_ms: 0,
    }
}

impl Plan {
    fn new(hash: Option<String>, counts: Counts) -> Self {
        Self {
            hash,
            create: counts.create,
            update: counts.update,
            disable: counts.disable,
            enable: counts.enable,
            delete: counts.delete,
            unchanged: counts.unchanged,
            drift: counts.drift,
            quarantine: counts.quarantine,
        }
    }
}

impl From<&Listed> for Listing {
    fn from(listed: &Listed) -> Self {
        Self {
            complete: listed.complete,
            entries: listed.entries,
            pages: listed.pages,
            proof: listed.proof.clone(),
            reason: listed.reason.clone(),
        }
    }
}

impl From<&Held> for Brake {
    fn from(held: &Held) -> Self {
        Self {
            name: held.name.clone(),
            scope: held.scope.clone(),
            value: held.value,
            limit: held.limit,
            explanation: held.explanation.clone(),
        }
    }
}

impl From<&RunError> for RunFailure {
    fn from(error: &RunError) -> Self {
        Self {
            code: error.code.clone(),
            message: error.message.clone(),
        }
    }
}
