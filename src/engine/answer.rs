//! The answers of an administrator to a held run: release exactly this plan, or reject it.

use std::time::Duration;

use tokio::time::Instant;

use super::heartbeat::Heartbeat;
use super::{Engine, EngineError, telling};
use crate::domain::id::{ExternalId, RunId, SourceName};
use crate::domain::roles::RolePolicy;
use crate::domain::run::{PlanSummary, RunState, Scope};
use crate::store::{Actor, Applied, Held, Lease, Released, RunRow, StoreError, StoreErrorKind};

/// How often a release is tried where somebody else's transaction is in the way.
const APPLICATIONS_MAX: u32 = 3;

/// How long a release waits for the source: a run whose end is written holds it for another moment, and whoever
/// watched it end may answer at once.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// How often it looks meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Engine {
    /// Applies the plan of a held run, if it is the plan of this hash and still fits the table. `roles` is what its
    /// source may grant today.
    ///
    /// # Errors
    /// [`EngineError::Refused`] where the run is not held or holds another plan; a stale plan as
    /// [`EngineError::is_stale`].
    pub async fn release(
        &self,
        run: RunId,
        hash: &str,
        roles: &RolePolicy,
        actor: &Actor,
    ) -> Result<RunRow, EngineError> {
        let released = self.apply_held(run, hash, roles, actor).await;
        match &released {
            Ok((source, row)) => telling::released(source, row, actor),
            Err(error) => telling::release_refused(run, actor, error),
        }
        released.map(|(_, row)| row)
    }

    /// The lease of a source, also where it has to be waited for.
    async fn lease_soon(&self, source: &SourceName) -> Result<Lease, EngineError> {
        let until = Instant::now() + BUSY_WAIT;
        loop {
            match self.lease(source).await {
                Err(error) if error.kind == StoreErrorKind::LeaseHeld && Instant::now() < until => {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                other => return Ok(other?),
            }
        }
    }

    async fn apply_held(
        &self,
        run: RunId,
        hash: &str,
        roles: &RolePolicy,
        actor: &Actor,
    ) -> Result<(SourceName, RunRow), EngineError> {
        let row = self.known_run(run).await?;
        state_of(&row)?.release(run, hash)?;
        let scope = scope_of(&row)?;
        let plan = plan_of(&row)?;
        let lease = self.lease_soon(&scope.source).await?;
        let heartbeat = Heartbeat::start(self, &lease);
        let what = Applied {
            run,
            scope: &scope,
            plan: &plan,
            lease: &lease,
            roles,
            actor,
            released: Released::ByAnswer,
        };
        let mut applied = self.store.apply(&what).await;
        for _ in 1..APPLICATIONS_MAX {
            match &applied {
                Err(error) if error.is_transient() => applied = self.store.apply(&what).await,
                _ => break,
            }
        }
        drop(heartbeat);
        let returned = self.store.release_lease(&lease).await;
        applied?;
        returned?;
        let row = self.known_run(run).await?;
        Ok((scope.source, row))
    }

    /// Ends a held run without applying it.
    ///
    /// # Errors
    /// [`EngineError::Refused`] where it is not held.
    pub async fn reject(&self, run: RunId, actor: &Actor) -> Result<RunRow, EngineError> {
        let row = self.known_run(run).await?;
        state_of(&row)?.reject(run)?;
        let scope = scope_of(&row)?;
        self.store.reject_run(&row, actor).await?;
        telling::rejected(&scope.source, run, actor);
        self.known_run(run).await
    }

    /// The run of an id.
    pub async fn known_run(&self, run: RunId) -> Result<RunRow, EngineError> {
        let found = self.store.run(run).await?;
        found
            .ok_or_else(|| EngineError::NotFound(format!("there is no run {run}; list them with `rollcall runs list`")))
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::new(
        StoreErrorKind::Internal,
        format!("the row of the run has no valid {what}; was it changed by hand?"),
    )
}

pub(super) fn scope_of(row: &RunRow) -> Result<Scope, StoreError> {
    let id = |text: &Option<String>| {
        text.clone()
            .map(ExternalId::parse)
            .transpose()
            .map_err(|_| damaged("scope"))
    };
    Ok(Scope {
        source: SourceName::parse(&row.source).map_err(|_| damaged("source"))?,
        organization: id(&row.organization)?,
        external_id: id(&row.external_id)?,
    })
}

fn plan_of(row: &RunRow) -> Result<PlanSummary, StoreError> {
    let hash = row
        .plan_hash
        .as_deref()
        .and_then(|h| h.parse().ok())
        .ok_or_else(|| damaged("plan hash"))?;
    Ok(PlanSummary {
        hash,
        counts: row.counts.ok_or_else(|| damaged("counts"))?,
    })
}

fn state_of(row: &RunRow) -> Result<RunState, StoreError> {
    let message = || row.error.as_ref().map(|e| e.message.clone()).unwrap_or_default();
    Ok(match row.state.as_str() {
        "queued" => RunState::Queued,
        "running" => RunState::Running,
        "planned" => RunState::Planned(plan_of(row)?),
        "held" => RunState::Held(plan_of(row)?, row.holds.iter().filter_map(Held::to_hold).collect()),
        "applied" => RunState::Applied(plan_of(row)?),
        "rejected" => RunState::Rejected(plan_of(row)?),
        "incomplete" => RunState::Incomplete(message()),
        _ => RunState::Failed(message()),
    })
}
