//! A source as a document.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::run::{Run, run};
use crate::scheduler::{Managed, Schedule};
use crate::store::{RunRow, SourceState};

/// How many of the next times are told.
const NEXT_TIMES: usize = 3;

/// What a source is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceWord {
    /// A run is under way.
    Running,
    /// A run waits for its turn.
    Queued,
    /// The latest run of the whole source is held: somebody has to answer.
    Held,
    /// Its schedule rests.
    Paused,
    /// Nothing.
    Idle,
}

/// A source, and how it stands.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Source {
    /// Its name.
    #[schema(example = "connex")]
    pub name: String,
    /// `connex`, `ldap` or `file`.
    pub kind: String,
    /// What it is about, the most pressing first.
    pub state: SourceWord,
    /// When it is read by itself; null where only when somebody asks.
    #[schema(required)]
    pub schedule: Option<ScheduleTimes>,
    /// When its next scheduled run begins; null while it is paused, or has no schedule.
    #[schema(required, format = DateTime)]
    pub due_at: Option<String>,
    /// That its schedule rests.
    #[schema(required)]
    pub paused: Option<Paused>,
    /// When a complete listing of it was last applied.
    #[schema(required, format = DateTime)]
    pub complete_at: Option<String>,
    /// How many seconds ago that was.
    #[schema(required)]
    pub complete_age_seconds: Option<i64>,
    /// The run that is under way, else the next that waits.
    #[schema(required)]
    pub current_run: Option<Run>,
    /// The latest run that has ended.
    #[schema(required)]
    pub last_run: Option<Run>,
    /// The latest run that is held.
    #[schema(required)]
    pub held_run: Option<Run>,
}

/// When a source is read by itself.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ScheduleTimes {
    /// Six fields of cron, seconds first.
    #[schema(example = "0 */15 * * * *")]
    pub cron: String,
    /// The zone in which they are meant.
    #[schema(example = "America/Chicago")]
    pub timezone: String,
    /// The next times, without the small delay that keeps sources apart.
    #[schema(value_type = Vec<String>)]
    pub next: Vec<String>,
}

/// That the schedule of a source rests.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Paused {
    /// Since when.
    #[schema(format = DateTime)]
    pub at: String,
    /// By whose order.
    pub by: String,
    /// Why, where somebody said so.
    #[schema(required)]
    pub reason: Option<String>,
}

/// The runs of a source that its document shows.
#[derive(Debug, Clone, Default)]
pub struct SourceRuns {
    /// The one under way, else the next that waits.
    pub current: Option<RunRow>,
    /// The latest that has ended.
    pub last: Option<RunRow>,
    /// The latest that is held.
    pub held: Option<RunRow>,
}

/// The document of one source.
pub fn source(managed: &Managed, state: &SourceState, runs: &SourceRuns, now: Timestamp) -> Source {
    let word = match (&runs.current, &runs.held, &state.paused) {
        (Some(current), ..) if current.state == "running" => SourceWord::Running,
        (Some(_), ..) => SourceWord::Queued,
        (None, Some(_), _) => SourceWord::Held,
        (None, None, Some(_)) => SourceWord::Paused,
        (None, None, None) => SourceWord::Idle,
    };
    let is_scheduled = managed.schedule.is_some() && state.paused.is_none();
    Source {
        name: managed.setup.name().to_string(),
        kind: managed.kind.clone(),
        state: word,
        schedule: managed.schedule.as_ref().map(|schedule| times(schedule, now)),
        due_at: state.due_at.filter(|_| is_scheduled).map(|t| t.to_string()),
        paused: state.paused.as_ref().map(|pause| Paused {
            at: pause.at.to_string(),
            by: pause.by.clone(),
            reason: pause.reason.clone(),
        }),
        complete_at: state.complete_at.map(|t| t.to_string()),
        complete_age_seconds: state.complete_at.map(|t| now.duration_since(t).as_secs()),
        current_run: runs.current.as_ref().map(run),
        last_run: runs.last.as_ref().map(run),
        held_run: runs.held.as_ref().map(run),
    }
}

fn times(schedule: &Schedule, now: Timestamp) -> ScheduleTimes {
    let text = schedule.text();
    let (cron, zone) = text.rsplit_once(' ').unwrap_or((text, ""));
    ScheduleTimes {
        cron: cron.to_owned(),
        timezone: zone.to_owned(),
        next: schedule
            .next_times(now, NEXT_TIMES)
            .iter()
            .map(ToString::to_string)
            .collect(),
    }
}
