//! Runs: what each was asked, saw, planned, and how it ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::audit::Actor;
use super::error::{StoreError, StoreErrorKind};
use super::lease::Lease;
use super::row::{Row, args};
use super::sql::statements;
use super::{Store, Tx};
use crate::domain::brake::{BrakeName, Hold};
use crate::domain::id::{ExternalId, OrganizationId, RunId, SourceName, UserId};
use crate::domain::plan::Counts;
use crate::domain::run::{PlanSummary, Scope};

/// What a run read, and how it is known to be all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Whether it can show that somebody is missing.
    pub complete: bool,
    /// Entries that arrived.
    pub entries: u64,
    /// Pages that arrived.
    pub pages: u64,
    /// What speaks for completeness.
    pub proof: Vec<String>,
    /// Why it is not complete.
    pub reason: Option<String>,
}

/// Why a run ended without applying.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// The stable code.
    pub code: String,
    /// One sentence.
    pub message: String,
}

/// A run to be started.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// What it covers.
    pub scope: Scope,
    /// The organization here, where it has one.
    pub organization_id: Option<OrganizationId>,
    /// The user here, where it has one.
    pub user_id: Option<UserId>,
    /// `full` or `incremental`.
    pub mode: String,
    /// Whether it stops before its first write.
    pub dry_run: bool,
    /// Who asked.
    pub actor: Actor,
}

/// A run as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// Its source.
    pub source: String,
    /// The organization that it covered, by its id at the directory.
    pub organization: Option<String>,
    /// The entry that it covered.
    pub external_id: Option<String>,
    /// The organization here.
    pub organization_id: Option<OrganizationId>,
    /// The user here.
    pub user_id: Option<UserId>,
    /// `full` or `incremental`.
    pub mode: String,
    /// Whether it was to stop before its first write.
    pub dry_run: bool,
    /// Who asked.
    pub actor: String,
    /// The state's word.
    pub state: String,
    /// Whether the source had no record before it.
    pub first_run: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What it read.
    pub listing: Option<Listed>,
    /// The hash of its plan.
    pub plan_hash: Option<String>,
    /// What its plan has.
    pub counts: Option<Counts>,
    /// Why it was held.
    pub holds: Vec<Held>,
    /// Why it ended without applying.
    pub error: Option<RunError>,
    /// Who released or rejected it.
    pub answered_by: Option<String>,
    /// When.
    pub answered_at: Option<Timestamp>,
}

/// A brake that held a run, as it is stored and printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which brake.
    pub name: String,
    /// `run`, or `organization:` and its id at the directory.
    pub scope: String,
    /// What was counted.
    pub value: u64,
    /// What would have passed.
    pub limit: u64,
    /// In words.
    pub explanation: String,
}

impl From<&Hold> for Held {
    fn from(hold: &Hold) -> Self {
        let scope = match &hold.organization {
            Some(id) => format!("organization:{id}"),
            None => "run".into(),
        };
        Self {
            name: hold.name.as_str().into(),
            scope,
            value: hold.value,
            limit: hold.limit,
            explanation: hold.explanation.clone(),
        }
    }
}

impl Held {
    /// The hold that was stored.
    pub fn to_hold(&self) -> Option<Hold> {
        let names = [
            BrakeName::Disable,
            BrakeName::Create,
            BrakeName::EmailChange,
            BrakeName::RoleChange,
            BrakeName::Empty,
            BrakeName::FirstRun,
        ];
        Some(Hold {
            name: names.into_iter().find(|n| n.as_str() == self.name)?,
            organization: self
                .scope
                .strip_prefix("organization:")
                .and_then(|id| ExternalId::parse(id).ok()),
            value: self.value,
            limit: self.limit,
            explanation: self.explanation.clone(),
        })
    }
}

statements! {
    INSERT_RUN = "INSERT INTO runs (id, source, organization, external_id, organization_id, user_id, mode, dry_run, actor, \
        state, first_run, epoch, started_at) VALUES ($1::uuid, $2, $3, $4, $5::uuid, $6::uuid, $7, $8, $9, 'running', \
        NOT EXISTS (SELECT 1 FROM records WHERE source = $2), $10, $11::timestamptz)";
    SET_LISTING = "UPDATE runs SET listing = $2::jsonb WHERE id = $1::uuid";
    FINISH = "UPDATE runs SET state = $2, finished_at = $3::timestamptz, plan_hash = $4, counts = $5::jsonb, \
        holds = $6::jsonb, error = $7::jsonb WHERE id = $1::uuid AND state = 'running'";
    ANSWER = "UPDATE runs SET state = $2, answered_by = $3, answered_at = $4::timestamptz WHERE id = $1::uuid AND state = 'held'";
    COMPLETE = "INSERT INTO source_state (source, complete_at, as_of, run_id) VALUES ($1, $2::timestamptz, $3, $4::uuid) \
        ON CONFLICT (source) DO UPDATE SET complete_at = excluded.complete_at, as_of = excluded.as_of, run_id = excluded.run_id";
    FORGET_ORGANIZATIONS = "DELETE FROM run_organizations WHERE run_id = $1::uuid \
        AND EXISTS (SELECT 1 FROM runs WHERE id = $1::uuid AND state = 'running')";
    FORGET_PLAN = "DELETE FROM changes WHERE run_id = $1::uuid \
        AND EXISTS (SELECT 1 FROM runs WHERE id = $1::uuid AND state = 'running')";
}

pub(super) const RUN: &str = "SELECT id::text, source, organization, external_id, organization_id::text, user_id::text, mode, dry_run, actor, \
    state, first_run, started_at::text, finished_at::text, listing::text, plan_hash, counts::text, holds::text, error::text, \
    answered_by, answered_at::text FROM runs";

pub(super) fn read(mut row: Row) -> Result<RunRow, StoreError> {
    let r = &mut row;
    Ok(RunRow {
        id: r.parsed()?,
        source: r.text()?,
        organization: r.opt_text()?,
        external_id: r.opt_text()?,
        organization_id: r.opt_parsed()?,
        user_id: r.opt_parsed()?,
        mode: r.text()?,
        dry_run: r.flag()?,
        actor: r.text()?,
        state: r.text()?,
        first_run: r.flag()?,
        started_at: r.time()?,
        finished_at: r.opt_time()?,
        listing: typed(r.opt_json()?)?,
        plan_hash: r.opt_text()?,
        counts: r.opt_json()?.map(|json| counts_from(&json)),
        holds: typed(r.opt_json()?)?.unwrap_or_default(),
        error: typed(r.opt_json()?)?,
        answered_by: r.opt_text()?,
        answered_at: r.opt_time()?,
    })
}

fn typed<T: serde::de::DeserializeOwned>(json: Option<Json>) -> Result<Option<T>, StoreError> {
    json.map(serde_json::from_value).transpose().map_err(|e| {
        StoreError::new(
            StoreErrorKind::Internal,
            format!("a run's row cannot be read ({e}); was it changed by hand?"),
        )
    })
}

/// Counts as they are stored.
pub(super) fn counts_json(counts: &Counts) -> Json {
    json!({
        "create": counts.create, "update": counts.update, "disable": counts.disable, "enable": counts.enable,
        "delete": counts.delete, "email_change": counts.email_change, "role_change": counts.role_change,
        "drift": counts.drift, "unchanged": counts.unchanged, "quarantine": counts.quarantine,
    })
}

fn counts_from(json: &Json) -> Counts {
    let n = |key: &str| json.get(key).and_then(Json::as_u64).unwrap_or(0);
    Counts {
        create: n("create"),
        update: n("update"),
        disable: n("disable"),
        enable: n("enable"),
        delete: n("delete"),
        email_change: n("email_change"),
        role_change: n("role_change"),
        drift: n("drift"),
        unchanged: n("unchanged"),
        quarantine: n("quarantine"),
    }
}

impl Store {
    /// Writes down that a run begins.
    pub async fn start_run(&self, new: &NewRun, lease: &Lease) -> Result<RunId, StoreError> {
        let id = RunId(self.new_id());
        let scope = &new.scope;
        let row = args![
            id,
            &scope.source,
            scope.organization.as_ref().map(|o| o.as_str()),
            scope.external_id.as_ref().map(|i| i.as_str()),
            new.organization_id.map(|o| o.to_string()),
            new.user_id.map(|u| u.to_string()),
            &new.mode,
            new.dry_run,
            &new.actor.0,
            lease.epoch,
            self.now()
        ];
        self.execute(INSERT_RUN, row).await?;
        Ok(id)
    }

    /// Writes down what a run has read.
    pub async fn set_listing(&self, run: RunId, listed: &Listed) -> Result<(), StoreError> {
        self.execute(SET_LISTING, args![run, json!(listed).to_string()])
            .await
            .map(drop)
    }

    /// Ends a run that applies nothing: a dry run, a held one, an incomplete listing, a failure.
    pub async fn finish_run(
        &self,
        run: RunId,
        state: &str,
        plan: Option<&PlanSummary>,
        holds: &[Hold],
        error: Option<&RunError>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        if plan.is_none() {
            tx.execute(FORGET_PLAN, args![run]).await?;
        }
        finish(&mut tx, run, state, plan, holds, error, self.now()).await?;
        tx.commit().await
    }

    /// Drops the plan of a run that is to be decided anew. One that was applied after all (the connection broke behind
    /// its commit) keeps its history.
    pub async fn forget_plan(&self, run: RunId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.execute(FORGET_PLAN, args![run]).await?;
        tx.execute(FORGET_ORGANIZATIONS, args![run]).await?;
        tx.commit().await
    }

    /// Ends a held run without applying it.
    pub async fn reject_run(&self, run: &RunRow, actor: &Actor) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        answer(&mut tx, run.id, "rejected", actor, self.now()).await?;
        let source =
            SourceName::parse(&run.source).map_err(|e| StoreError::new(StoreErrorKind::Internal, e.to_string()))?;
        self.audit_run(
            &mut tx,
            actor,
            "run.rejected",
            &source,
            run.id,
            json!({"plan": run.plan_hash}),
        )
        .await?;
        tx.commit().await
    }

    /// One run.
    pub async fn run(&self, id: RunId) -> Result<Option<RunRow>, StoreError> {
        let row = self.row(&format!("{RUN} WHERE id = $1::uuid"), args![id]).await?;
        row.map(read).transpose()
    }

    /// The latest runs, newest first; of one state and one source where asked.
    pub async fn runs(&self, source: Option<&str>, state: Option<&str>, limit: u64) -> Result<Vec<RunRow>, StoreError> {
        let sql = format!(
            "{RUN} WHERE ($1::text IS NULL OR source = $1) AND ($2::text IS NULL OR state = $2) ORDER BY id DESC LIMIT $3"
        );
        self.rows(&sql, args![source, state, limit])
            .await?
            .into_iter()
            .map(read)
            .collect()
    }
}

pub(super) async fn finish(
    tx: &mut Tx,
    run: RunId,
    state: &str,
    plan: Option<&PlanSummary>,
    holds: &[Hold],
    error: Option<&RunError>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let holds: Vec<Held> = holds.iter().map(Held::from).collect();
    let row = args![
        run,
        state,
        now,
        plan.map(|p| p.hash.to_string()),
        plan.map(|p| counts_json(&p.counts).to_string()),
        (!holds.is_empty()).then(|| json!(holds).to_string()),
        error.map(|e| json!(e).to_string())
    ];
    match tx.execute(FINISH, row).await? {
        1 => Ok(()),
        _ => Err(StoreError::new(
            StoreErrorKind::LeaseLost,
            format!("run {run} was ended by another process, so this one wrote nothing"),
        )),
    }
}

pub(super) async fn answer(
    tx: &mut Tx,
    run: RunId,
    state: &str,
    actor: &Actor,
    now: Timestamp,
) -> Result<(), StoreError> {
    match tx.execute(ANSWER, args![run, state, &actor.0, now]).await? {
        1 => Ok(()),
        _ => Err(StoreError::new(
            StoreErrorKind::Stale,
            format!("run {run} was answered already; look at it with `rollcall runs show {run}`"),
        )),
    }
}
