//! Who did what, when: one row for each action, written in the transaction that does it.

use jiff::Timestamp;
use serde_json::Value as Json;

use super::error::StoreError;
use super::row::args;
use super::sql::statements;
use super::{Store, Tx};
use crate::domain::id::{RunId, SourceName, UserId};

/// Who acts: `cli:root`, `schedule`, `api:TOKEN-NAME`. Never an e-mail address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(pub String);

/// One row of the audit trail.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What: `user.edited`, `run.applied`, ….
    pub action: String,
    /// In which run.
    pub run: Option<RunId>,
    /// The rest.
    pub details: Json,
}

statements! {
    INSERT_AUDIT = "INSERT INTO audit (id, at, actor, action, source, run_id, user_id, details) \
        VALUES ($1::uuid, $2::timestamptz, $3, $4, $5, $6::uuid, $7::uuid, $8::jsonb)";
    INSERT_OUTBOX = "INSERT INTO outbox (id, created_at, kind, payload) VALUES ($1::uuid, $2::timestamptz, $3, $4::jsonb)";
    USER_AUDIT = "SELECT at::text, actor, action, run_id::text, details::text FROM audit \
        WHERE user_id = $1::uuid ORDER BY id DESC LIMIT $2";
}

impl Store {
    pub(super) async fn audit(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        action: &str,
        details: Json,
    ) -> Result<(), StoreError> {
        let (id, now) = (self.new_id().to_string(), self.now());
        let none: Option<String> = None;
        let row = args![
            id,
            now,
            &actor.0,
            action,
            none.clone(),
            none.clone(),
            none,
            details.to_string()
        ];
        tx.execute(INSERT_AUDIT, row).await.map(drop)
    }

    pub(super) async fn audit_user(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        action: &str,
        user: UserId,
        details: Json,
    ) -> Result<(), StoreError> {
        let (id, now) = (self.new_id().to_string(), self.now());
        let none: Option<String> = None;
        let row = args![id, now, &actor.0, action, none.clone(), none, user, details.to_string()];
        tx.execute(INSERT_AUDIT, row).await.map(drop)
    }

    /// The audit row of a run's outcome, and the same for whoever delivers it onwards.
    pub(super) async fn audit_run(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        action: &str,
        source: &SourceName,
        run: RunId,
        details: Json,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let none: Option<String> = None;
        let row = args![
            self.new_id().to_string(),
            now,
            &actor.0,
            action,
            source,
            run,
            none,
            details.to_string()
        ];
        tx.execute(INSERT_AUDIT, row).await?;
        let payload = serde_json::json!({"run": run.to_string(), "source": source.as_str(), "actor": actor.0, "outcome": details});
        tx.execute(
            INSERT_OUTBOX,
            args![self.new_id().to_string(), now, action, payload.to_string()],
        )
        .await
        .map(drop)
    }

    /// What administrators did to one user, newest first.
    pub async fn user_audit(&self, user: UserId, limit: u64) -> Result<Vec<AuditRow>, StoreError> {
        let rows = self.rows(USER_AUDIT, args![user, limit]).await?;
        rows.into_iter()
            .map(|mut r| {
                Ok(AuditRow {
                    at: r.time()?,
                    actor: r.text()?,
                    action: r.text()?,
                    run: r.opt_parsed()?,
                    details: r.opt_json()?.unwrap_or_default(),
                })
            })
            .collect()
    }
}
