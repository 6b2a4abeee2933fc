//! Applying a stored plan: set-based, in one transaction with records, audit and outbox, behind the lease.
//!
//! Either everything of it is in the tables afterwards, or nothing.

use serde_json::json;

use super::audit::Actor;
use super::edits::{administrators, keeps_an_administrator};
use super::error::{StoreError, StoreErrorKind};
use super::lease::{self, Lease};
use super::plan::moves_addresses;
use super::row::{Arg, args};
use super::runs::{self, counts_json};
use super::sql::{Engine, statements};
use super::stale::taken_meanwhile;
use super::{Store, Tx, quarantine};
use crate::domain::id::{ExternalId, RunId};
use crate::domain::quarantine::Quarantined;
use crate::domain::roles::RolePolicy;
use crate::domain::run::PlanSummary;
use crate::domain::run::Scope;

/// From how many changed rows on the planner's statistics are renewed afterwards.
const ANALYZE_FROM: u64 = 1_000;

/// How a plan came to be applied.
#[derive(Debug)]
pub enum Released<'a> {
    /// By the run itself, which leaves the quarantine and the time of its listing behind.
    ByRun {
        /// Every entry that was kept out, within the limit.
        quarantined: &'a [(String, Option<ExternalId>, Quarantined)],
        /// Whether `quarantined` is all of them.
        all_known: bool,
        /// The server's clock when the listing began.
        as_of: Option<String>,
    },
    /// By an administrator, after a brake had held it.
    ByAnswer,
}

/// What is needed to apply a plan.
#[derive(Debug)]
pub struct Applied<'a> {
    /// The run.
    pub run: RunId,
    /// What it covers.
    pub scope: &'a Scope,
    /// Its plan.
    pub plan: &'a PlanSummary,
    /// The right to write.
    pub lease: &'a Lease,
    /// Which roles administer.
    pub roles: &'a RolePolicy,
    /// Who asked, or who released it.
    pub actor: &'a Actor,
    /// How it came to be applied.
    pub released: Released<'a>,
}

statements! {
    INSERT_ORGANIZATIONS = "INSERT INTO organizations (id, name, kind, source, external_id, followed, status, attributes, created_at, updated_at) \
        SELECT organization_id, name, kind, $2, external_id, followed, status, attributes, $3::timestamptz, $3::timestamptz \
        FROM run_organizations WHERE run_id = $1::uuid AND is_new ON CONFLICT (source, external_id) DO NOTHING";
    UPDATE_ORGANIZATIONS = "UPDATE organizations SET name = c.name, kind = c.kind, status = c.status, followed = c.followed, \
        attributes = c.attributes, updated_at = $2::timestamptz \
        FROM run_organizations c WHERE c.run_id = $1::uuid AND NOT c.is_new AND c.organization_id = organizations.id \
        AND organizations.updated_at <= (SELECT r.started_at FROM runs r WHERE r.id = $1::uuid)";
    PARK_ADDRESSES = "UPDATE users SET email = users.id::text || '@parked.invalid' FROM changes c \
        WHERE c.run_id = $1::uuid AND c.user_id = users.id AND c.action <> 'create' AND c.fields -> 'email' IS NOT NULL";
    DELETE_USERS = "DELETE FROM users WHERE id IN (SELECT user_id FROM changes WHERE run_id = $1::uuid AND action = 'delete')";
    INSERT_USERS = "INSERT INTO users (id, kind, email, first_name, last_name, phone, title, organization_id, license, billable, \
        status, disabled_by, attributes, created_at, updated_at) \
        SELECT n.user_id, n.entry ->> 'kind', n.entry ->> 'email', n.entry ->> 'first_name', n.entry ->> 'last_name', \
        n.entry ->> 'phone', n.entry ->> 'title', o.id, n.entry ->> 'license', \
        CASE n.entry ->> 'billable' WHEN 'true' THEN true WHEN 'false' THEN false END, n.entry ->> 'status', \
        CASE WHEN n.entry ->> 'status' = 'disabled' THEN 'directory' END, n.entry -> 'attributes', $3::timestamptz, $3::timestamptz \
        FROM (SELECT position, user_id, coalesce(created, entry) AS entry FROM changes \
              WHERE run_id = $1::uuid AND action = 'create') n \
        LEFT JOIN organizations o ON o.source = $2 AND o.external_id = n.entry ->> 'organization' ORDER BY n.position";
    INSERT_RECORDS = "INSERT INTO records (source, external_id, user_id, organization_id, digest, covered, email, first_name, last_name, \
        phone, title, kind, license, billable, status, roles, attributes, absent, run_id, created_at, changed_at) \
        SELECT $2, c.external_id, c.user_id, o.id, c.digest, c.covered, c.entry ->> 'email', c.entry ->> 'first_name', \
        c.entry ->> 'last_name', c.entry ->> 'phone', c.entry ->> 'title', c.entry ->> 'kind', c.entry ->> 'license', \
        CASE c.entry ->> 'billable' WHEN 'true' THEN true WHEN 'false' THEN false END, c.entry ->> 'status', \
        coalesce((SELECT string_agg(role.value, '\n' ORDER BY role.value) FROM {roles}), ''), \
        c.entry -> 'attributes', false, c.run_id, $3::timestamptz, $3::timestamptz \
        FROM changes c LEFT JOIN organizations o ON o.source = $2 AND o.external_id = c.entry ->> 'organization' \
        WHERE c.run_id = $1::uuid AND c.entry IS NOT NULL \
        ON CONFLICT (source, external_id) DO UPDATE SET organization_id = excluded.organization_id, digest = excluded.digest, \
        covered = excluded.covered, email = excluded.email, first_name = excluded.first_name, last_name = excluded.last_name, \
        phone = excluded.phone, title = excluded.title, kind = excluded.kind, license = excluded.license, billable = excluded.billable, \
        status = excluded.status, roles = excluded.roles, attributes = excluded.attributes, absent = false, run_id = excluded.run_id, \
        changed_at = excluded.changed_at";
    MARK_ABSENT = "UPDATE records SET absent = true, run_id = c.run_id, changed_at = $3::timestamptz FROM changes c \
        WHERE c.run_id = $1::uuid AND c.reason = 'absent' AND records.source = $2 AND records.external_id = c.external_id";
    NEW_ROLES = "SELECT DISTINCT role.value FROM changes c CROSS JOIN {roles} WHERE c.run_id = $1::uuid \
        AND c.action <> 'remember' AND NOT EXISTS (SELECT 1 FROM groups g WHERE g.kind = 'role' AND g.name = role.value)";
    INSERT_ROLE = "INSERT INTO groups (id, kind, name) VALUES ($1::uuid, 'role', $2) ON CONFLICT DO NOTHING";
    REVOKE_ROLES = "DELETE FROM memberships WHERE origin = 'directory' AND user_id IN \
        (SELECT user_id FROM changes WHERE run_id = $1::uuid AND action <> 'create' AND fields -> 'roles' IS NOT NULL) \
        AND group_id IN (SELECT id FROM groups WHERE kind = 'role')";
    GRANT_ROLES = "INSERT INTO memberships (user_id, group_id, origin) SELECT c.user_id, g.id, 'directory' FROM changes c \
        CROSS JOIN {roles} JOIN groups g ON g.kind = 'role' AND g.name = role.value \
        WHERE c.run_id = $1::uuid AND c.action <> 'remember' ON CONFLICT DO NOTHING";
}

/// The roles that a change grants: all of a new user's, or what the change of the field says.
pub(super) const GRANTED: &str = "CASE WHEN c.action = 'create' THEN coalesce(c.created, c.entry) -> 'roles' ELSE c.fields -> 'roles' -> 'after' END";

/// Columns of text that are set as they are.
pub(super) const TEXT_COLUMNS: [&str; 7] = ["email", "first_name", "last_name", "phone", "title", "kind", "license"];

/// The statement that updates users. `{merged}` is their attributes with the patch.
fn update_users(engine: Engine) -> String {
    let changed = |field: &str| format!("c.fields -> '{field}' IS NOT NULL");
    let after = |field: &str| format!("c.fields -> '{field}' ->> 'after'");
    let mut sets: Vec<String> = TEXT_COLUMNS
        .iter()
        .map(|column| {
            format!(
                "{column} = CASE WHEN {} THEN {} ELSE users.{column} END",
                changed(column),
                after(column)
            )
        })
        .collect();
    sets.push(format!(
        "organization_id = CASE WHEN {} THEN (SELECT o.id FROM organizations o WHERE o.source = $2 AND o.external_id = {}) ELSE users.organization_id END",
        changed("organization"),
        after("organization")
    ));
    sets.push(format!(
        "billable = CASE WHEN {} THEN CASE {} WHEN 'true' THEN true WHEN 'false' THEN false END ELSE users.billable END",
        changed("billable"),
        after("billable")
    ));
    sets.push(format!(
        "status = CASE WHEN {} THEN {} ELSE users.status END",
        changed("status"),
        after("status")
    ));
    sets.push(format!(
        "disabled_by = CASE {} WHEN 'disabled' THEN 'directory' WHEN 'active' THEN NULL ELSE users.disabled_by END",
        after("status")
    ));
    sets.push(format!(
        "session_epoch = users.session_epoch + CASE WHEN {} = 'disabled' THEN 1 ELSE 0 END",
        format_args!("coalesce({}, '')", after("status"))
    ));
    sets.push(format!(
        "attributes = CASE WHEN c.attribute_patch IS NOT NULL THEN {} ELSE users.attributes END",
        engine.json_merge("users.attributes", "c.attribute_patch")
    ));
    sets.push("updated_at = $3::timestamptz".into());
    format!(
        "UPDATE users SET {} FROM changes c WHERE c.run_id = $1::uuid AND c.user_id = users.id \
         AND c.action IN ('update', 'disable', 'enable') AND c.fields <> '{{}}'",
        sets.join(", ")
    )
}

impl Store {
    /// Applies the stored plan of a run, whole, or not at all.
    ///
    /// # Errors
    /// [`StoreErrorKind::Stale`] where a row that the plan touches has changed since it was decided,
    /// [`StoreErrorKind::LeaseLost`], [`StoreErrorKind::LastAdministrator`], or as the database says.
    pub async fn apply(&self, what: &Applied<'_>) -> Result<(), StoreError> {
        let now = self.now();
        let mut tx = self.begin_apply().await?;
        lease::guard(&mut tx, what.lease, now).await?;
        if matches!(what.released, Released::ByAnswer) {
            self.refuse_outdated(&mut tx, what).await?;
        }
        let by_source: &[Arg] = args![what.run, &what.scope.source, now];
        tx.execute(INSERT_ORGANIZATIONS, by_source).await?;
        tx.execute(UPDATE_ORGANIZATIONS, args![what.run, now]).await?;
        if self.has_rows(&mut tx, what.run).await? {
            let administrators = administrators(&mut tx, what.roles).await?;
            self.refuse_stale(&mut tx, what).await?;
            let users = self.write_users(&mut tx, what, by_source).await;
            users.map_err(|error| taken_meanwhile(what.run, error))?;
            self.write_roles(&mut tx, what.run).await?;
            let records = INSERT_RECORDS.replace("{roles}", &self.engine().each_role("c.entry -> 'roles'"));
            tx.execute(&records, by_source).await?;
            tx.execute(MARK_ABSENT, by_source).await?;
            keeps_an_administrator(&mut tx, what.roles, &administrators).await?;
        }
        self.write_outcome(&mut tx, what, now).await?;
        tx.commit().await?;
        let counts = &what.plan.counts;
        if counts.create + counts.update + counts.disable >= ANALYZE_FROM {
            self.analyze().await?;
        }
        Ok(())
    }

    async fn has_rows(&self, tx: &mut Tx, run: RunId) -> Result<bool, StoreError> {
        Ok(tx
            .row("SELECT 1 FROM changes WHERE run_id = $1::uuid LIMIT 1", args![run])
            .await?
            .is_some())
    }

    async fn write_users(&self, tx: &mut Tx, what: &Applied<'_>, by_source: &[Arg]) -> Result<(), StoreError> {
        if moves_addresses(tx, what.run).await? {
            tx.execute(PARK_ADDRESSES, args![what.run]).await?;
        }
        tx.execute(DELETE_USERS, args![what.run]).await?;
        tx.execute(&update_users(self.engine()), by_source).await?;
        let created = tx.execute(INSERT_USERS, by_source).await?;
        if created != what.plan.counts.create {
            return Err(StoreError::new(
                StoreErrorKind::Internal,
                format!(
                    "the plan of run {} creates {} users and {created} were written, so it was rolled back; this is a defect worth reporting",
                    what.run, what.plan.counts.create
                ),
            ));
        }
        Ok(())
    }

    async fn write_roles(&self, tx: &mut Tx, run: RunId) -> Result<(), StoreError> {
        let granted = self.engine().each_role(GRANTED);
        for mut row in tx.rows(&NEW_ROLES.replace("{roles}", &granted), args![run]).await? {
            tx.execute(INSERT_ROLE, args![self.new_id().to_string(), row.text()?])
                .await?;
        }
        tx.execute(REVOKE_ROLES, args![run]).await?;
        tx.execute(&GRANT_ROLES.replace("{roles}", &granted), args![run])
            .await
            .map(drop)
    }

    async fn write_outcome(&self, tx: &mut Tx, what: &Applied<'_>, now: jiff::Timestamp) -> Result<(), StoreError> {
        let source = &what.scope.source;
        let details = json!({"plan": what.plan.hash.to_string(), "counts": counts_json(&what.plan.counts)});
        match &what.released {
            Released::ByAnswer => {
                runs::answer(tx, what.run, "applied", what.actor, now).await?;
                self.audit_run(tx, what.actor, "run.released", source, what.run, details)
                    .await
            }
            Released::ByRun {
                quarantined,
                all_known,
                as_of,
            } => {
                runs::finish(tx, what.run, "applied", Some(what.plan), &[], None, now).await?;
                quarantine::replace(tx, what.scope, what.run, now, quarantined, *all_known).await?;
                if what.scope.organization.is_none() && what.scope.external_id.is_none() {
                    tx.execute(runs::COMPLETE, args![source, now, as_of.clone(), what.run])
                        .await?;
                }
                // A run that changed nothing is in `runs`; neither the audit trail nor a receiver needs to hear of it.
                if !what.plan.counts.has_changes() {
                    return Ok(());
                }
                self.audit_run(tx, what.actor, "run.applied", source, what.run, details)
                    .await
            }
        }
    }
}
