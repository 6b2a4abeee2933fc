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
    /// The newest run that made a plan for the same scope, or that applied one for the whole source around it.
    NEWEST_PLAN = "SELECT n.id::text, CASE WHEN n.plan_hash = h.plan_hash THEN 1 ELSE 0 END FROM runs h \
        JOIN runs n ON n.source = h.source AND n.id > h.id AND n.plan_hash IS NOT NULL \
        AND ((coalesce(n.organization, '') = coalesce(h.organization, '') AND coalesce(n.external_id, '') = coalesce(h.external_id, '')) \
          OR (n.organization IS NULL AND n.external_id IS NULL AND n.state = 'applied' AND (h.organization IS NULL OR EXISTS \
            (SELECT 1 FROM organizations o WHERE o.source = h.source AND o.external_id = h.organization AND o.followed)))) \
        WHERE h.id = $1::uuid ORDER BY n.id DESC LIMIT 1";
    GRANT_ROLES = "INSERT INTO memberships (user_id, group_id, origin) SELECT c.user_id, g.id, 'directory' FROM changes c \
        CROSS JOIN {roles} JOIN groups g ON g.kind = 'role' AND g.name = role.value \
        WHERE c.run_id = $1::uuid AND c.action <> 'remember' ON CONFLICT DO NOTHING";
}

/// The roles that a change grants: all of a new user's, or what the change of the field says.
const GRANTED: &str = "CASE WHEN c.action = 'create' THEN coalesce(c.created, c.entry) -> 'roles' ELSE c.fields -> 'roles' -> 'after' END";

/// Columns of text that are set as they are.
const TEXT_COLUMNS: [&str; 7] = ["email", "first_name", "last_name", "phone", "title", "kind", "license"];

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

/// The condition under which a change of the plan no longer fits what it was decided on.
fn stale(engine: Engine, attributes: &[String]) -> String {
    let differs = |field: &str, held: &str| {
        format!("(c.fields -> '{field}' IS NOT NULL AND (c.fields -> '{field}' ->> 'before') IS DISTINCT FROM {held})")
    };
    let mut any = vec![
        "c.record_digest IS DISTINCT FROM r.digest".to_owned(),
        "(r.user_id IS NOT NULL AND r.user_id <> c.user_id)".to_owned(),
        "(c.action <> 'create' AND u.id IS NULL)".to_owned(),
        "(c.action = 'create' AND u.id IS NOT NULL)".to_owned(),
        "(c.action = 'enable' AND u.disabled_by IS DISTINCT FROM 'directory')".to_owned(),
        "(c.action NOT IN ('create', 'remember') AND (u.kind = 'employee' OR uo.kind = 'self'))".to_owned(),
        differs("status", "u.status"),
        differs(
            "billable",
            "CASE u.billable WHEN true THEN 'true' WHEN false THEN 'false' END",
        ),
        differs(
            "organization",
            "CASE WHEN uo.id IS NULL THEN NULL WHEN uo.source = $2 THEN uo.external_id ELSE 'local:' || uo.id::text END",
        ),
    ];
    any.extend(
        TEXT_COLUMNS
            .iter()
            .map(|column| differs(column, &format!("nullif(u.{column}, '')"))),
    );
    any.extend(attributes.iter().map(|key| {
        differs(
            &format!("attributes.{key}"),
            &format!("nullif(u.attributes ->> '{key}', '')"),
        )
    }));
    let before = engine.each_role("c.fields -> 'roles' -> 'before'");
    any.push(format!(
        "(c.fields -> 'roles' IS NOT NULL AND coalesce((SELECT string_agg(role.value, '\n' ORDER BY role.value) FROM {before}), '') <> \
         coalesce((SELECT string_agg(g.name, '\n' ORDER BY g.name) FROM memberships m JOIN groups g ON g.id = m.group_id \
         WHERE m.user_id = u.id AND g.kind = 'role' AND m.origin = 'directory'), ''))"
    ));
    any.join(" OR ")
}

/// An address that was free when the plan was made, and is another user's by now.
fn taken_meanwhile(run: RunId, error: StoreError) -> StoreError {
    let of_the_database = error.cause.as_deref().and_then(sqlx::Error::as_database_error);
    if !of_the_database.is_some_and(|said| said.message().contains("users_email")) {
        return error;
    }
    StoreError {
        kind: StoreErrorKind::Stale,
        message: format!(
            "the plan of run {run} no longer fits: an e-mail address that it gives to a user was taken by another since, so nothing was applied; start a new run, which tells whose it is"
        ),
        ..error
    }
}

/// Refuses a plan where the directory was read again since it was held, and said something else: no row here shows
/// that somebody who was missing is listed again.
async fn refuse_outdated(tx: &mut Tx, run: RunId) -> Result<(), StoreError> {
    let Some(mut row) = tx.row(NEWEST_PLAN, args![run]).await? else {
        return Ok(());
    };
    let (newest, same) = (row.text()?, row.flag()?);
    if same {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::Stale,
        format!(
            "the plan of run {run} no longer fits: run {newest} has read the directory since, and came to another plan, so nothing was applied; read that one, or start a new run"
        ),
    ))
}

impl Store {
    /// Applies the stored plan of a run, whole, or not at all.
    ///
    /// # Errors
    /// [`StoreErrorKind::Stale`] where a row that the plan touches has changed since it was decided,
    /// [`StoreErrorKind::LeaseLost`], [`StoreErrorKind::LastAdministrator`], or as the database says.
    pub async fn apply(&self, what: &Applied<'_>) -> Result<(), StoreError> {
        let now = self.now();
        let mut tx = self.begin().await?;
        lease::guard(&mut tx, what.lease, now).await?;
        if matches!(what.released, Released::ByAnswer) {
            refuse_outdated(&mut tx, what.run).await?;
        }
        let administrators = administrators(&mut tx, what.roles).await?;
        let by_source: &[Arg] = args![what.run, &what.scope.source, now];
        tx.execute(INSERT_ORGANIZATIONS, by_source).await?;
        tx.execute(UPDATE_ORGANIZATIONS, args![what.run, now]).await?;
        if self.has_rows(&mut tx, what.run).await? {
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

    async fn refuse_stale(&self, tx: &mut Tx, what: &Applied<'_>) -> Result<(), StoreError> {
        let keys = format!(
            "SELECT DISTINCT item.key FROM changes c CROSS JOIN {} WHERE c.run_id = $1::uuid AND c.attribute_patch IS NOT NULL",
            self.engine().each_key("c.attribute_patch")
        );
        let mut attributes = Vec::new();
        for mut row in tx.rows(&keys, args![what.run]).await? {
            let key = row.text()?;
            // Only names that the configuration accepts get here; anything else is not put into a statement.
            if crate::domain::field::Field::parse(&format!("attributes.{key}")).is_some() {
                attributes.push(key);
            }
        }
        let sql = format!(
            "SELECT c.external_id FROM changes c LEFT JOIN records r ON r.source = $2 AND r.external_id = c.external_id \
             LEFT JOIN users u ON u.id = c.user_id LEFT JOIN organizations uo ON uo.id = u.organization_id \
             WHERE c.run_id = $1::uuid AND ({}) ORDER BY c.position LIMIT 4",
            stale(self.engine(), &attributes)
        );
        let mut rows = tx.rows(&sql, args![what.run, &what.scope.source]).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = rows
            .iter_mut()
            .take(3)
            .map(super::row::Row::text)
            .collect::<Result<_, _>>()?;
        let more = if rows.len() > 3 { ", and more" } else { "" };
        Err(StoreError::new(
            StoreErrorKind::Stale,
            format!(
                "the plan of run {} no longer fits: {}{more} changed since it was made, so nothing was applied; start a new run",
                what.run,
                ids.join(", ")
            ),
        ))
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
