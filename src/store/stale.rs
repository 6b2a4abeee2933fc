//! Whether a stored plan still fits: the rows that it touches, what the directory said since, and the plan itself.
//! Everything is asked inside the transaction that is about to apply it.

use futures_util::stream::StreamExt;

use super::apply::{Applied, TEXT_COLUMNS};
use super::error::{StoreError, StoreErrorKind};
use super::plan::PlanReader;
use super::row::args;
use super::sql::{Engine, statements};
use super::{Store, Tx, grants};
use crate::domain::id::RunId;
use crate::domain::plan::PlanHasher;

statements! {
    /// A later run that has read some of what the held plan touches, and did not come to the same plan.
    READ_SINCE = "SELECT n.id::text FROM runs h JOIN runs n ON n.source = h.source AND n.id > h.id AND n.listing IS NOT NULL \
        AND n.plan_hash IS DISTINCT FROM h.plan_hash \
        AND ((n.organization IS NULL AND n.external_id IS NULL) OR EXISTS (SELECT 1 FROM changes c WHERE c.run_id = h.id \
            AND (c.organization = n.organization OR c.external_id = n.external_id))) \
        WHERE h.id = $1::uuid ORDER BY n.id DESC LIMIT 1";
    /// An organization of the plan that was unfollowed since.
    UNFOLLOWED = "SELECT o.name FROM organizations o WHERE o.source = $2 AND NOT o.followed AND EXISTS \
        (SELECT 1 FROM changes c WHERE c.run_id = $1::uuid AND c.organization = o.external_id) \
        AND NOT EXISTS (SELECT 1 FROM run_organizations r WHERE r.run_id = $1::uuid AND r.external_id = o.external_id AND r.followed) \
        ORDER BY o.name LIMIT 1";
}

/// The condition under which a change of the plan no longer fits what it was decided on. A creation fits as long as the
/// database takes its user and its record; see [`taken_meanwhile`].
fn stale(engine: Engine, attributes: &[String]) -> String {
    let differs = |field: &str, held: &str| {
        let before = format!("(c.fields -> '{field}' ->> 'before')");
        // SQLite keeps bytes that are no UTF-8. They were read with U+FFFD in their place, so they never equal what was
        // read of them: such a value is not compared, or no sync could ever put it right.
        let readable = match engine {
            Engine::Sqlite => format!(" AND coalesce({before}, '') NOT LIKE '%\u{fffd}%'"),
            Engine::Postgres => String::new(),
        };
        format!("(c.fields -> '{field}' IS NOT NULL AND {before} IS DISTINCT FROM {held}{readable})")
    };
    let mut any = vec![
        "c.record_digest IS DISTINCT FROM r.digest".to_owned(),
        "(r.user_id IS NOT NULL AND r.user_id <> c.user_id)".to_owned(),
        "u.id IS NULL".to_owned(),
        "(c.action = 'enable' AND u.disabled_by IS DISTINCT FROM 'directory')".to_owned(),
        "(c.action <> 'remember' AND (lower(u.kind) = 'employee' OR uo.kind = 'self'))".to_owned(),
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
    // What an application keeps there as anything but a text has no one way of being written: it is not compared.
    any.extend(attributes.iter().map(|key| {
        let held = format!("CAST(u.attributes -> '{key}' AS text)");
        let same = differs(
            &format!("attributes.{key}"),
            &format!("nullif(u.attributes ->> '{key}', '')"),
        );
        format!("(({held} IS NULL OR {held} = 'null' OR substr({held}, 1, 1) = '\"') AND {same})")
    }));
    let before = engine.each_role("c.fields -> 'roles' -> 'before'");
    any.push(format!(
        "(c.fields -> 'roles' IS NOT NULL AND coalesce((SELECT string_agg(role.value, '\n' ORDER BY role.value) FROM {before}), '') <> \
         coalesce((SELECT string_agg(g.name, '\n' ORDER BY g.name) FROM memberships m JOIN groups g ON g.id = m.group_id \
         WHERE m.user_id = u.id AND g.kind = 'role' AND m.origin = 'directory'), ''))"
    ));
    any.join(" OR ")
}

/// An address that was free when the plan was made, and is another user's by now; or an entry that had no record then.
pub(super) fn taken_meanwhile(run: RunId, error: StoreError) -> StoreError {
    let of_the_database = error.cause.as_deref().and_then(sqlx::Error::as_database_error);
    let names = |index: &str| of_the_database.is_some_and(|said| said.message().contains(index));
    // PostgreSQL names the constraint, SQLite its columns.
    if names("records_pkey") || names("records.external_id") {
        return StoreError {
            kind: StoreErrorKind::Stale,
            message: format!(
                "the plan of run {run} no longer fits: an entry for which it creates a user was linked to one since, so nothing was applied; start a new run"
            ),
            ..error
        };
    }
    if !names("users_email") {
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

impl Store {
    /// Refuses a held plan that is not the one that was held, that the directory has outdated, or that does what the
    /// configuration of today forbids.
    pub(super) async fn refuse_outdated(
        &self,
        tx: &mut Tx,
        what: &Applied<'_>,
        creates: bool,
    ) -> Result<(), StoreError> {
        let run = what.run;
        let stale = |why: String| Err(StoreError::new(StoreErrorKind::Stale, why));
        if let Some(mut row) = tx.row(READ_SINCE, args![run]).await? {
            let newest = row.text()?;
            return stale(format!(
                "the plan of run {run} no longer fits: run {newest} has read the directory since, and came to another plan, so nothing was applied; read that one, or start a new run"
            ));
        }
        if let Some(mut row) = tx.row(UNFOLLOWED, args![run, &what.scope.source]).await? {
            let name = row.text()?;
            return stale(format!(
                "the plan of run {run} no longer fits: {name} is not followed any more, so nothing was applied; start a new run"
            ));
        }
        for role in grants::all_roles(tx, self.engine(), run, creates).await? {
            if what.roles.refuses(&role) {
                return stale(format!(
                    "the plan of run {run} grants the role {role}, which this source may not grant any more (grant_administrator_roles), so nothing was applied; start a new run"
                ));
            }
        }
        self.refuse_altered(tx, what).await
    }

    /// Refuses a plan whose rows are not those that were hashed.
    async fn refuse_altered(&self, tx: &mut Tx, what: &Applied<'_>) -> Result<(), StoreError> {
        let mut hasher = PlanHasher::default();
        for (id, organization) in super::plan::stored_organizations(tx, what.run).await? {
            hasher.add_organization(&id, &organization);
        }
        let mut rows = tx.conn().stream(PlanReader::SQL, args![what.run]);
        while let Some(row) = rows.next().await {
            PlanReader::hash(row?, &mut hasher)?;
        }
        drop(rows);
        if hasher.finish() == what.plan.hash {
            return Ok(());
        }
        Err(StoreError::new(
            StoreErrorKind::Stale,
            format!(
                "the stored plan of run {} is not the one that was held: its rows were changed by hand, so nothing was applied; start a new run",
                what.run
            ),
        ))
    }

    pub(super) async fn refuse_stale(&self, tx: &mut Tx, what: &Applied<'_>) -> Result<(), StoreError> {
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
             WHERE c.run_id = $1::uuid AND c.action <> 'create' AND ({}) ORDER BY c.position LIMIT 4",
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
}
