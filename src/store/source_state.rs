//! What is known of a source between its runs: when it was last read whole, when it is due, and whether it is paused.

use jiff::Timestamp;
use serde_json::json;

use super::Store;
use super::audit::Actor;
use super::error::StoreError;
use super::row::args;
use super::runs::NewRun;
use super::sql::statements;
use crate::domain::id::{RunId, SourceName};

statements! {
    STATE = "SELECT s.complete_at::text, s.run_id::text, d.schedule, d.due_at::text, d.paused_at::text, d.paused_by, \
        d.paused_reason FROM (SELECT $1::text AS source) k LEFT JOIN source_state s ON s.source = k.source \
        LEFT JOIN schedules d ON d.source = k.source";
    /// Only who saw the time that is there may move it: of two daemons one starts the run.
    SET_DUE = "INSERT INTO schedules (source, schedule, due_at) VALUES ($1, $2, $3::timestamptz) \
        ON CONFLICT (source) DO UPDATE SET schedule = excluded.schedule, due_at = excluded.due_at \
        WHERE schedules.due_at IS NOT DISTINCT FROM $4::timestamptz";
    PAUSE = "INSERT INTO schedules (source, paused_at, paused_by, paused_reason) VALUES ($1, $2::timestamptz, $3, $4) \
        ON CONFLICT (source) DO UPDATE SET paused_at = excluded.paused_at, paused_by = excluded.paused_by, \
        paused_reason = excluded.paused_reason WHERE schedules.paused_at IS NULL";
    RESUME = "UPDATE schedules SET paused_at = NULL, paused_by = NULL, paused_reason = NULL \
        WHERE source = $1 AND paused_at IS NOT NULL";
}

/// A source between its runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceState {
    /// When a complete listing of it was last applied.
    pub complete_at: Option<Timestamp>,
    /// By which run.
    pub complete_run: Option<RunId>,
    /// The schedule and zone that `due_at` was worked out from.
    pub schedule: Option<String>,
    /// When its next scheduled run begins.
    pub due_at: Option<Timestamp>,
    /// Since when, by whom and why its schedule rests.
    pub paused: Option<Pause>,
}

/// That the schedule of a source rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why, where somebody said so.
    pub reason: Option<String>,
}

impl Store {
    /// What is known of a source; one that was never read has nothing.
    pub async fn source_state(&self, source: &SourceName) -> Result<SourceState, StoreError> {
        let Some(mut row) = self.row(STATE, args![source]).await? else {
            return Ok(SourceState::default());
        };
        let r = &mut row;
        let (complete_at, complete_run) = (r.opt_time()?, r.opt_parsed()?);
        let (schedule, due_at) = (r.opt_text()?, r.opt_time()?);
        let (paused_at, by, reason) = (r.opt_time()?, r.opt_text()?, r.opt_text()?);
        Ok(SourceState {
            complete_at,
            complete_run,
            schedule,
            due_at,
            paused: paused_at.map(|at| Pause {
                at,
                by: by.unwrap_or_default(),
                reason,
            }),
        })
    }

    /// Moves the time at which a source is due from `seen` to `next`, and queues `run`, both or neither; `None` where
    /// another process has moved it already.
    pub async fn set_due(
        &self,
        source: &SourceName,
        schedule: &str,
        seen: Option<Timestamp>,
        next: Option<Timestamp>,
        run: Option<&NewRun>,
    ) -> Result<Option<Option<(RunId, bool)>>, StoreError> {
        let text = |time: Option<Timestamp>| time.map(super::sql::time_text);
        let mut tx = self.begin().await?;
        if tx
            .execute(SET_DUE, args![source, schedule, text(next), text(seen)])
            .await?
            == 0
        {
            return Ok(None);
        }
        let queued = match run {
            Some(new) => Some(self.queue_in(&mut tx, new).await?),
            None => None,
        };
        tx.commit().await?;
        Ok(Some(queued))
    }

    /// Lets the schedule of a source rest; answers whether it did not rest before.
    pub async fn pause_source(
        &self,
        source: &SourceName,
        reason: Option<&str>,
        actor: &Actor,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let paused = tx.execute(PAUSE, args![source, self.now(), &actor.0, reason]).await? > 0;
        if paused {
            let details = json!({"reason": reason});
            self.audit_source(&mut tx, actor, "source.paused", source, details)
                .await?;
        }
        tx.commit().await?;
        Ok(paused)
    }

    /// Lets the schedule of a source go on; answers whether it rested.
    pub async fn resume_source(&self, source: &SourceName, actor: &Actor) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let resumed = tx.execute(RESUME, args![source]).await? > 0;
        if resumed {
            self.audit_source(&mut tx, actor, "source.resumed", source, json!({}))
                .await?;
        }
        tx.commit().await?;
        Ok(resumed)
    }
}
