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
use super::said::{ALL_ATTRIBUTES, bit, said_columns};
use super::sql::{Engine, statements};
use super::stale::taken_meanwhile;
use super::{Store, Tx, grants, quarantine};
use crate::domain::field::Field;
use crate::domain::id::{ExternalId, RunId};
use crate::domain::quarantine::Quarantined;
use crate::domain::roles::RolePolicy;
use crate::domain::run::{PlanSummary, Scope};

/// From how many changed rows on the planner's statistics are renewed afterwards.
const ANALYZE_FROM: u64 = 1_000;

/// And from which part of those that stayed as they were: one in so many. Less moves no statistics worth a pass.
const ANALYZE_SHARE: u64 = 10;

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
    /// What a plan does, so that what it does not do need not be looked for.
    ACTIONS = "SELECT DISTINCT action FROM changes WHERE run_id = $1::uuid";
    PARK_ADDRESSES = "UPDATE users SET email = users.id::text || '@parked.invalid' FROM changes c \
        WHERE c.run_id = $1::uuid AND c.user_id = users.id AND c.action <> 'create' AND c.fields -> 'email' IS NOT NULL";
    DELETE_USERS = "DELETE FROM users WHERE id IN (SELECT user_id FROM changes WHERE run_id = $1::uuid AND action = 'delete')";
    INSERT_USERS = "INSERT INTO users (id, kind, email, first_name, last_name, phone, title, organization_id, license, billable, \
        status, disabled_by, attributes, created_at, updated_at) \
        SELECT c.user_id, {kind}, {email}, {first_name}, {last_name}, {phone}, {title}, o.id, {license}, {billable}, \
        c.status, CASE WHEN c.status = 'disabled' THEN 'directory' END, \
        coalesce(CASE WHEN c.given & {attributes} <> 0 THEN c.attributes ELSE c.given_attributes END, '{}'::jsonb), \
        $3::timestamptz, $3::timestamptz \
        FROM changes c LEFT JOIN organizations o ON o.source = $2 AND o.external_id = c.organization \
        WHERE c.run_id = $1::uuid AND c.action = 'create'";
    /// `{which}`: creations, whose entries have no record yet; or what else says something, which may have one.
    INSERT_RECORDS = concat!("INSERT INTO records (source, external_id, user_id, organization_id, absent, run_id, \
        created_at, changed_at, ", said_columns!(), ") \
        SELECT $2, c.external_id, c.user_id, o.id, false, c.run_id, $3::timestamptz, $3::timestamptz, \
        c.digest, c.covered, c.email, c.first_name, c.last_name, c.phone, c.title, c.kind, c.license, c.billable, c.status, \
        coalesce(c.roles, ''), coalesce(c.attributes, '{}'::jsonb) \
        FROM changes c LEFT JOIN organizations o ON o.source = $2 AND o.external_id = c.organization \
        WHERE c.run_id = $1::uuid AND {which}");
    INSERT_ROLE = "INSERT INTO groups (id, kind, name) VALUES ($1::uuid, 'role', $2) ON CONFLICT DO NOTHING";
    MARK_ABSENT = "UPDATE records SET absent = true, run_id = c.run_id, changed_at = $3::timestamptz FROM changes c \
        WHERE c.run_id = $1::uuid AND c.reason = 'absent' AND records.source = $2 AND records.external_id = c.external_id";
}

/// How a record that there is becomes what [`INSERT_RECORDS`] says.
const REPLACE_RECORDS: &str = "ON CONFLICT (source, external_id) DO UPDATE SET organization_id = excluded.organization_id, \
    digest = excluded.digest, covered = excluded.covered, email = excluded.email, first_name = excluded.first_name, \
        last_name = excluded.last_name, phone = excluded.phone, title = excluded.title, kind = excluded.kind, \
        license = excluded.license, billable = excluded.billable, status = excluded.status, roles = excluded.roles, \
        attributes = excluded.attributes, absent = false, run_id = excluded.run_id, changed_at = excluded.changed_at";

/// Columns of text that are set as they are.
pub(super) const TEXT_COLUMNS: [&str; 7] = ["email", "first_name", "last_name", "phone", "title", "kind", "license"];

/// The statement that creates users: each gets what is given to it of what the directory says.
fn insert_users() -> String {
    let columns = TEXT_COLUMNS.iter().copied().chain(["billable"]);
    let sql = columns.fold(INSERT_USERS.to_owned(), |sql, column| {
        let given = Field::parse(column).map_or(0, |field| bit(&field));
        let value = format!("CASE WHEN c.given & {given} <> 0 THEN c.{column} END");
        sql.replace(&format!("{{{column}}}"), &value)
    });
    sql.replace("{attributes}", &ALL_ATTRIBUTES.to_string())
}

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

/// What a plan does.
#[derive(Debug, Clone, Copy, Default)]
struct Actions {
    /// It creates users.
    create: bool,
    /// It changes users, or remembers what the directory said of them.
    other: bool,
}

impl Actions {
    async fn of(tx: &mut Tx, run: RunId) -> Result<Self, StoreError> {
        let mut does = Self::default();
        for mut row in tx.rows(ACTIONS, args![run]).await? {
            match row.text()?.as_str() {
                "create" => does.create = true,
                _ => does.other = true,
            }
        }
        Ok(does)
    }

    fn anything(self) -> bool {
        self.create || self.other
    }
}

async fn write_records(tx: &mut Tx, does: Actions, by_source: &[Arg]) -> Result<(), StoreError> {
    if does.create {
        let sql = INSERT_RECORDS.replace("{which}", "c.action = 'create'");
        tx.execute(&sql, by_source).await?;
    }
    if does.other {
        let which = "c.action <> 'create' AND c.digest IS NOT NULL";
        let sql = format!("{} {REPLACE_RECORDS}", INSERT_RECORDS.replace("{which}", which));
        tx.execute(&sql, by_source).await?;
        tx.execute(MARK_ABSENT, by_source).await?;
    }
    Ok(())
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
        let does = Actions::of(&mut tx, what.run).await?;
        if does.create {
            grants::list(&mut tx, what.run).await?;
        }
        if matches!(what.released, Released::ByAnswer) {
            self.refuse_outdated(&mut tx, what, does.create).await?;
        }
        let by_source: &[Arg] = args![what.run, &what.scope.source, now];
        tx.execute(INSERT_ORGANIZATIONS, by_source).await?;
        tx.execute(UPDATE_ORGANIZATIONS, args![what.run, now]).await?;
        if does.anything() {
            let administrators = administrators(&mut tx, what.roles).await?;
            if does.other {
                self.refuse_stale(&mut tx, what).await?;
            }
            let users = self.write_users(&mut tx, what, does, by_source).await;
            users.map_err(|error| taken_meanwhile(what.run, error))?;
            self.write_roles(&mut tx, what.run, does).await?;
            let records = write_records(&mut tx, does, by_source).await;
            records.map_err(|error| taken_meanwhile(what.run, error))?;
            keeps_an_administrator(&mut tx, what.roles, &administrators).await?;
        }
        self.write_outcome(&mut tx, what, now).await?;
        tx.commit().await?;
        let counts = &what.plan.counts;
        let changed = counts.create + counts.update + counts.disable;
        if changed >= ANALYZE_FROM && changed >= counts.unchanged / ANALYZE_SHARE {
            self.analyze().await?;
        }
        Ok(())
    }

    async fn write_users(
        &self,
        tx: &mut Tx,
        what: &Applied<'_>,
        does: Actions,
        by_source: &[Arg],
    ) -> Result<(), StoreError> {
        if does.other {
            if moves_addresses(tx, what.run).await? {
                tx.execute(PARK_ADDRESSES, args![what.run]).await?;
            }
            tx.execute(DELETE_USERS, args![what.run]).await?;
            tx.execute(&update_users(self.engine()), by_source).await?;
        }
        let created = match does.create {
            true => tx.execute(&insert_users(), by_source).await?,
            false => 0,
        };
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

    async fn write_roles(&self, tx: &mut Tx, run: RunId, does: Actions) -> Result<(), StoreError> {
        let mut new = Vec::new();
        if does.create {
            new.extend(grants::new_roles(tx).await?);
        }
        if does.other {
            new.extend(grants::new_roles_of_others(tx, self.engine(), run).await?);
        }
        for role in new {
            tx.execute(INSERT_ROLE, args![self.new_id().to_string(), role]).await?;
        }
        if does.other {
            grants::write_others(tx, self.engine(), run).await?;
        }
        if does.create {
            grants::write(tx, run).await?;
        }
        Ok(())
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
