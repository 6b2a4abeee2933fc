//! Who did what, when: one row for each action, written in the transaction that does it.

use jiff::Timestamp;
use serde_json::Value as Json;

use uuid::Uuid;

use super::conditions::{Conditions, Page};
use super::error::StoreError;
use super::row::{Row, args};
use super::sql::statements;
use super::{Store, Tx};
use crate::domain::id::{OrganizationId, RunId, SourceName, UserId};

/// Who acts: `cli:root`, `schedule`, `api:TOKEN-NAME`. Never an e-mail address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(pub String);

/// One row of the audit trail.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// Its id (UUIDv7): later rows sort after earlier ones.
    pub id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What: `user.edited`, `run.applied`, ….
    pub action: String,
    /// Of which source.
    pub source: Option<String>,
    /// In which run.
    pub run: Option<RunId>,
    /// Of which user.
    pub user: Option<UserId>,
    /// Of which organization.
    pub organization: Option<OrganizationId>,
    /// The rest.
    pub details: Json,
}

/// Which rows of the audit trail to read.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of one source.
    pub source: Option<SourceName>,
    /// Of one organization.
    pub organization: Option<OrganizationId>,
    /// Of one user.
    pub user: Option<UserId>,
    /// Of one run.
    pub run: Option<RunId>,
    /// By one actor.
    pub actor: Option<String>,
    /// Of one action, or of all that begin with it where it ends with a dot: `user.`.
    pub action: Option<String>,
}

statements! {
    INSERT_AUDIT = "INSERT INTO audit (id, at, actor, action, details) \
        VALUES ($1::uuid, $2::timestamptz, $3, $4, $5::jsonb)";
    INSERT_ORGANIZATION_AUDIT = "INSERT INTO audit (id, at, actor, action, source, organization_id, details) \
        VALUES ($1::uuid, $2::timestamptz, $3, $4, (SELECT o.source FROM organizations o WHERE o.id = $5::uuid), \
        $5::uuid, $6::jsonb)";
    INSERT_USER_AUDIT = "INSERT INTO audit (id, at, actor, action, source, user_id, organization_id, details) \
        VALUES ($1::uuid, $2::timestamptz, $3, $4, (SELECT r.source FROM records r WHERE r.user_id = $5::uuid), $5::uuid, \
        (SELECT u.organization_id FROM users u WHERE u.id = $5::uuid), $6::jsonb)";
    INSERT_SOURCE_AUDIT = "INSERT INTO audit (id, at, actor, action, source, details) \
        VALUES ($1::uuid, $2::timestamptz, $3, $4, $5, $6::jsonb)";
    INSERT_RUN_AUDIT = "INSERT INTO audit (id, at, actor, action, source, run_id, user_id, organization_id, details) \
        SELECT $1::uuid, $2::timestamptz, $3, $4, $5, r.id, r.user_id, r.organization_id, $7::jsonb \
        FROM runs r WHERE r.id = $6::uuid";
    INSERT_OUTBOX = "INSERT INTO outbox (id, created_at, kind, payload) VALUES ($1::uuid, $2::timestamptz, $3, $4::jsonb)";
}

const AUDIT: &str = "SELECT id::text, at::text, actor, action, source, run_id::text, user_id::text, organization_id::text, \
    details::text FROM audit";

/// How many rows of the audit trail one page looks at for what no index serves.
const WALKED_MAX: u64 = 10_000;

fn read(mut row: Row) -> Result<AuditRow, StoreError> {
    let r = &mut row;
    Ok(AuditRow {
        id: r.parsed()?,
        at: r.time()?,
        actor: r.text()?,
        action: r.text()?,
        source: r.opt_text()?,
        run: r.opt_parsed()?,
        user: r.opt_parsed()?,
        organization: r.opt_parsed()?,
        details: r.opt_json()?.unwrap_or_default(),
    })
}

impl Store {
    /// The audit row of what was done to nothing that has an id.
    pub(super) async fn audit(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        action: &str,
        details: Json,
    ) -> Result<(), StoreError> {
        let id = self.new_id().to_string();
        let row = args![id, self.now(), &actor.0, action, details.to_string()];
        tx.execute(INSERT_AUDIT, row).await.map(drop)
    }

    /// The audit row of what was done to an organization.
    pub(super) async fn audit_organization(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        action: &str,
        organization: OrganizationId,
        details: Json,
    ) -> Result<(), StoreError> {
        let id = self.new_id().to_string();
        let row = args![id, self.now(), &actor.0, action, organization, details.to_string()];
        tx.execute(INSERT_ORGANIZATION_AUDIT, row).await.map(drop)
    }

    /// The audit row of what was done to a user, while it is there.
    pub(super) async fn audit_user(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        action: &str,
        user: UserId,
        details: Json,
    ) -> Result<(), StoreError> {
        let id = self.new_id().to_string();
        let row = args![id, self.now(), &actor.0, action, user, details.to_string()];
        tx.execute(INSERT_USER_AUDIT, row).await.map(drop)
    }

    /// The audit row of what was done to a source.
    pub(super) async fn audit_source(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        action: &str,
        source: &SourceName,
        details: Json,
    ) -> Result<(), StoreError> {
        let id = self.new_id().to_string();
        let row = args![id, self.now(), &actor.0, action, source, details.to_string()];
        tx.execute(INSERT_SOURCE_AUDIT, row).await.map(drop)
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
        let id = self.new_id().to_string();
        let row = args![id, now, &actor.0, action, source, run, details.to_string()];
        tx.execute(INSERT_RUN_AUDIT, row).await?;
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
        let filter = AuditFilter {
            user: Some(user),
            ..AuditFilter::default()
        };
        Ok(self.audit_page(&filter, None, limit).await?.items)
    }

    /// One page of the audit trail, newest first; `after` is the `next` of the page before.
    pub async fn audit_page(
        &self,
        filter: &AuditFilter,
        after: Option<Uuid>,
        limit: u64,
    ) -> Result<Page<AuditRow>, StoreError> {
        let mut conditions = Conditions::default();
        if let Some(user) = filter.user {
            conditions.and("user_id = $1::uuid", args![user]);
        }
        if let Some(organization) = filter.organization {
            conditions.and("organization_id = $1::uuid", args![organization]);
        }
        if let Some(source) = &filter.source {
            conditions.and("source = $1", args![source]);
        }
        if let Some(after) = after {
            conditions.and("id < $1::uuid", args![after.to_string()]);
        }
        let walks = filter.run.is_some() || filter.actor.is_some() || filter.action.is_some();
        let bound = match walks {
            true => self.audit_bound(&conditions).await?,
            false => None,
        };
        if let Some(bound) = &bound {
            conditions.and("id >= $1::uuid", args![bound]);
        }
        if let Some(run) = filter.run {
            conditions.and("run_id = $1::uuid", args![run]);
        }
        if let Some(actor) = &filter.actor {
            conditions.and("actor = $1", args![actor]);
        }
        match &filter.action {
            Some(group) if group.ends_with('.') => {
                let to = format!("{group}{}", char::MAX);
                let within = format!(
                    "{} AND {}",
                    self.engine().in_bytes("action", ">= $1"),
                    self.engine().in_bytes("action", "< $2")
                );
                conditions.and(&within, args![group, to]);
            }
            Some(action) => conditions.and("action = $1", args![action]),
            None => {}
        }
        let sql = format!("{AUDIT}{} ORDER BY id DESC LIMIT {}", conditions.sql(), limit + 1);
        let rows = self.rows(&sql, conditions.args()).await?;
        let rows = rows.into_iter().map(read).collect::<Result<_, _>>()?;
        let mut page = Page::cut(rows, limit, |row: &AuditRow| row.id.to_string());
        page.next = page.next.or(bound);
        Ok(page)
    }

    /// The last row that a page may look at; `None` where the trail ends before.
    async fn audit_bound(&self, conditions: &Conditions) -> Result<Option<String>, StoreError> {
        let sql = format!(
            "SELECT count(*), min(walked.k) FROM (SELECT id::text AS k FROM audit{} ORDER BY id DESC LIMIT {WALKED_MAX}) AS walked",
            conditions.sql()
        );
        let Some(mut row) = self.row(&sql, conditions.args()).await? else {
            return Ok(None);
        };
        let walked = row.count()?;
        Ok(row.opt_text()?.filter(|_| walked == WALKED_MAX))
    }
}
