//! The stored plan of a run: written while it is decided, read back to be shown, weighed and applied.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::error::{StoreError, StoreErrorKind};
use super::organizations::OrganizationChange;
use super::row::{Arg, Row, args};
use super::sql::statements;
use super::{Store, Tx, json};
use crate::domain::decide::Policy;
use crate::domain::field::{Authority, Field, Value};
use crate::domain::id::{Digest, ExternalId, RunId, SourceName, UserId};
use crate::domain::mapping::Mapped;
use crate::domain::plan::{Action, Change, FieldChange, PlanHasher, Reason};

/// Most quarantined entries of a run that are kept with their reasons; the rest are counted.
pub const QUARANTINE_STORED_MAX: usize = 10_000;

/// How many rows of a plan are written at once.
const ROWS_AT_ONCE: usize = 2_000;

const CHANGES: &str = "changes (run_id, position, action, reason, external_id, organization, user_id, email, drift, \
    fields, entry, created, attribute_patch, digest, record_digest, covered)";
const CHANGE_COLUMNS: usize = 16;

statements! {
    INSERT_ORGANIZATION = "INSERT INTO run_organizations (run_id, external_id, organization_id, is_new, name, kind, status, \
        followed, attributes) VALUES ($1::uuid, $2, $3::uuid, $4, $5, $6, $7, $8, $9::jsonb)";
    READ_CHANGES = "SELECT c.position, c.action, c.reason, c.external_id, c.organization, o.name, c.user_id::text, c.email, \
        c.fields::text, coalesce(c.created, c.entry)::text, r.source FROM changes c JOIN runs r ON r.id = c.run_id \
        LEFT JOIN organizations o ON o.source = r.source AND o.external_id = c.organization \
        WHERE c.run_id = $1::uuid AND c.action <> 'remember' AND c.position > $2 ORDER BY c.position LIMIT $3";
    FIRST_CHANGES = "SELECT c.position, c.action, c.reason, c.external_id, c.organization, o.name, c.user_id::text, c.email, \
        c.fields::text, coalesce(c.created, c.entry)::text, r.source FROM \
        (SELECT n.*, row_number() OVER (PARTITION BY n.organization ORDER BY n.position) AS nth FROM changes n \
         WHERE n.run_id = $1::uuid AND n.action <> 'remember' AND n.position < $4) c JOIN runs r ON r.id = c.run_id \
        LEFT JOIN organizations o ON o.source = r.source AND o.external_id = c.organization \
        WHERE c.nth <= $2 ORDER BY c.position LIMIT $3";
    TALLIES = "SELECT organization, action, CASE WHEN drift THEN 1 ELSE 0 END, count(*) FROM changes \
        WHERE run_id = $1::uuid AND action <> 'remember' GROUP BY 1, 2, 3";
    USER_CHANGES = "SELECT c.position, c.action, c.reason, c.external_id, c.organization, o.name, c.user_id::text, c.email, \
        c.fields::text, coalesce(c.created, c.entry)::text, r.source, r.id::text, r.finished_at::text, r.answered_at::text, r.actor \
        FROM changes c JOIN runs r ON r.id = c.run_id \
        LEFT JOIN organizations o ON o.source = r.source AND o.external_id = c.organization \
        WHERE c.user_id = $1::uuid AND r.state = 'applied' AND c.action <> 'remember' ORDER BY r.id DESC LIMIT $2";
    ORGANIZATIONS_OF_PLAN = "SELECT external_id, name, kind, status, followed, attributes::text FROM run_organizations \
        WHERE run_id = $1::uuid ORDER BY external_id";
}

/// Writes a plan, row by row, in the order in which it is decided.
///
/// On SQLite each portion is a transaction of its own, so that the write lock is never held while the directory is
/// compared. A plan that is cut off belongs to a run that never reaches a state in which it could be applied.
#[derive(Debug)]
pub struct PlanWriter {
    store: Store,
    run: RunId,
    position: u64,
    rows: Vec<Vec<Arg>>,
}

impl PlanWriter {
    /// A writer for the plan of `run`.
    pub fn new(store: &Store, run: RunId) -> Self {
        Self {
            store: store.clone(),
            run,
            position: 0,
            rows: Vec::with_capacity(ROWS_AT_ONCE),
        }
    }

    /// Adds a change, with what the directory says of the entry.
    pub async fn change(
        &mut self,
        change: &Change,
        entry: Option<&Mapped>,
        policy: &Policy<'_>,
    ) -> Result<(), StoreError> {
        let is_new = change.action == Action::Create;
        let created = match entry {
            Some(e) if is_new => created(e, policy),
            _ => None,
        };
        let user = change.user.unwrap_or_else(|| UserId(self.store.new_id()));
        let row = vec![
            change.action.as_str().into(),
            change.reason.as_str().into(),
            (&change.external_id).into(),
            change.organization.as_ref().map(ExternalId::as_str).into(),
            user.into(),
            change.email.as_str().into(),
            change.has_drift().into(),
            (!is_new).then(|| json::fields(change).to_string()).into(),
            entry.map(|e| json::values(e.values.iter()).to_string()).into(),
            created.into(),
            json::attribute_patch(change)
                .filter(|_| !is_new)
                .map(|p| p.to_string())
                .into(),
            json::digest(change.digest).into(),
            json::digest(change.record_digest).into(),
            entry.map_or(0, |e| json::covered(&e.values)).into(),
        ];
        self.push(row).await
    }

    /// Adds an entry whose user stays as it is, and whose record is to be brought up to date.
    pub async fn remember(&mut self, entry: &Mapped, user: UserId, record: Digest) -> Result<(), StoreError> {
        let none: Arg = Arg::Text(None);
        let row = vec![
            "remember".into(),
            none.clone(),
            (&entry.id).into(),
            entry.organization.as_ref().map(ExternalId::as_str).into(),
            user.into(),
            entry.email.as_str().into(),
            false.into(),
            none.clone(),
            json::values(entry.values.iter()).to_string().into(),
            none.clone(),
            none,
            entry.digest().into(),
            record.into(),
            json::covered(&entry.values).into(),
        ];
        self.push(row).await
    }

    async fn push(&mut self, rest: Vec<Arg>) -> Result<(), StoreError> {
        let mut row: Vec<Arg> = vec![self.run.into(), self.position.into()];
        row.extend(rest);
        self.rows.push(row);
        self.position += 1;
        if self.rows.len() >= ROWS_AT_ONCE {
            self.flush().await
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut tx = self.store.begin().await?;
        tx.conn().bulk_insert(CHANGES, CHANGE_COLUMNS, &self.rows).await?;
        self.rows.clear();
        tx.commit().await
    }

    /// Writes what is left, and the organizations that the run found.
    pub async fn finish(mut self, organizations: &[OrganizationChange]) -> Result<(), StoreError> {
        self.flush().await?;
        if organizations.is_empty() {
            return Ok(());
        }
        let mut tx = self.store.begin().await?;
        for o in organizations {
            let status = if o.closed { "closed" } else { "active" };
            let row = args![
                self.run,
                &o.external_id,
                o.id,
                o.is_new,
                &o.name,
                &o.kind,
                status,
                o.followed,
                o.attributes.to_string()
            ];
            tx.execute(INSERT_ORGANIZATION, row).await?;
        }
        tx.commit().await
    }
}

/// What a new user gets, where that is less than what the directory says.
fn created(entry: &Mapped, policy: &Policy<'_>) -> Option<String> {
    let given = |field: &Field| policy.authority(field) != Authority::Local;
    if entry.values.iter().all(|(field, _)| given(field)) {
        return None;
    }
    Some(json::values(entry.values.iter().filter(|(field, _)| given(field))).to_string())
}

/// How many changes of a plan are looked at for its shortened form.
const FIRST_CHANGES_OF: u64 = 20_000;

/// How many changes of each kind, in one organization.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Users who may sign in afterwards and could not before.
    pub gained: u64,
    /// Users who stay active or disabled, and change.
    pub updated: u64,
    /// Users who may no longer sign in.
    pub lost: u64,
    /// Users of whom a field is put back.
    pub put_back: u64,
}

impl Tally {
    /// All changes.
    pub fn all(&self) -> u64 {
        self.gained + self.updated + self.lost
    }
}

/// Reads a stored plan back as it was hashed.
pub(super) struct PlanReader;

impl PlanReader {
    /// Every row of a plan, in its order.
    pub(super) const SQL: &str = "SELECT c.position, c.action, c.reason, c.external_id, c.organization, NULL, c.user_id::text, c.email, \
        c.fields::text, coalesce(c.created, c.entry)::text, r.source, c.digest, c.record_digest \
        FROM changes c JOIN runs r ON r.id = c.run_id WHERE c.run_id = $1::uuid ORDER BY c.position";

    /// Hashes one row.
    pub(super) fn hash(mut row: Row, hasher: &mut PlanHasher) -> Result<(), StoreError> {
        let stored = read(&mut row)?;
        let (digest, record_digest): (Option<Digest>, Option<Digest>) = (row.opt_parsed()?, row.opt_parsed()?);
        match stored {
            None => {
                if let Some(digest) = digest {
                    hasher.add_remembered(digest);
                }
            }
            Some(StoredChange { change, .. }) => {
                let user = change.user.filter(|_| change.action != Action::Create);
                hasher.add(&Change {
                    user,
                    digest,
                    record_digest,
                    ..change
                });
            }
        }
        Ok(())
    }
}

/// What becomes of an organization, written in one way only, for the hash of a plan.
pub(super) fn organization_text(name: &str, kind: &str, status: &str, followed: bool, attributes: &Json) -> String {
    serde_json::json!([name, kind, status, followed, attributes]).to_string()
}

impl OrganizationChange {
    /// What it becomes, written in one way only, for the hash of a plan.
    pub fn text(&self) -> String {
        let status = if self.closed { "closed" } else { "active" };
        organization_text(&self.name, &self.kind, status, self.followed, &self.attributes)
    }
}

/// The organizations of a stored plan, in the order of their ids, each as it was hashed.
pub(super) async fn stored_organizations(tx: &mut Tx, run: RunId) -> Result<Vec<(ExternalId, String)>, StoreError> {
    let rows = tx.rows(ORGANIZATIONS_OF_PLAN, args![run]).await?;
    rows.into_iter()
        .map(|mut r| {
            let id = super::case::parse_id(r.text()?)?;
            let (name, kind, status, followed) = (r.text()?, r.text()?, r.text()?, r.flag()?);
            let attributes = r.opt_json()?.unwrap_or_default();
            Ok((id, organization_text(&name, &kind, &status, followed, &attributes)))
        })
        .collect()
}

/// A change read back from a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredChange {
    /// Its place in the plan; the next page begins after it.
    pub position: u64,
    /// The change. For a creation `user` is the id that the new user gets.
    pub change: Change,
    /// What the organization is called here, where it is here already.
    pub organization_name: Option<String>,
}

/// A change that was applied to one user.
#[derive(Debug, Clone, PartialEq)]
pub struct AppliedChange {
    /// What changed.
    pub change: StoredChange,
    /// In which run.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
    /// Who asked for the run.
    pub actor: String,
}

/// A change with its run and the organization here, to be filtered.
pub(super) const CHANGE: &str = "SELECT c.position, c.action, c.reason, c.external_id, c.organization, o.name, c.user_id::text, c.email, \
    c.fields::text, coalesce(c.created, c.entry)::text, r.source FROM changes c JOIN runs r ON r.id = c.run_id \
    LEFT JOIN organizations o ON o.source = r.source AND o.external_id = c.organization";

/// Reads one row; `None` for an entry that is only to be remembered.
pub(super) fn read(r: &mut Row) -> Result<Option<StoredChange>, StoreError> {
    let wrong = |what: &str| {
        StoreError::new(
            StoreErrorKind::Internal,
            format!("a stored plan has no valid {what}; was it changed by hand?"),
        )
    };
    let position = r.count()?;
    let action = r.text()?;
    let reason = r.opt_text()?;
    let external_id = ExternalId::parse(r.text()?).map_err(|_| wrong("external id"))?;
    let organization = r.opt_text()?.and_then(|o| ExternalId::parse(o).ok());
    let organization_name = r.opt_text()?;
    let user = Some(r.parsed()?);
    let email = r.text()?;
    let (fields, created) = (r.opt_json()?, r.opt_json()?);
    let source = SourceName::parse(&r.text()?).map_err(|_| wrong("source"))?;
    if action == "remember" {
        return Ok(None);
    }
    let action = Action::parse(&action).ok_or_else(|| wrong("action"))?;
    let reason = reason.and_then(|w| Reason::parse(&w)).ok_or_else(|| wrong("reason"))?;
    let fields = match (fields, created) {
        (Some(fields), _) => json::fields_from(&fields),
        (None, created) => created_fields(&created.unwrap_or_default()),
    };
    let change = Change {
        action,
        reason,
        source,
        external_id,
        organization,
        user,
        email,
        fields,
        digest: None,
        record_digest: None,
    };
    Ok(Some(StoredChange {
        position,
        change,
        organization_name,
    }))
}

fn created_fields(json: &Json) -> Vec<(Field, FieldChange)> {
    let step = |after: &Value| FieldChange {
        before: Value::Text(None),
        after: after.clone(),
        directory_before: None,
        drift: false,
    };
    json::values_from(json)
        .iter()
        .map(|(field, after)| (field.clone(), step(after)))
        .collect()
}

impl Store {
    /// Changes of a run after `position`, in the order of the plan: organizations together, then external ids.
    pub async fn changes(&self, run: RunId, after: Option<u64>, limit: u64) -> Result<Vec<StoredChange>, StoreError> {
        let after = after.map_or(-1, |a| i64::try_from(a).unwrap_or(i64::MAX));
        let rows = self.rows(READ_CHANGES, args![run, after, limit]).await?;
        rows.into_iter()
            .filter_map(|mut row| read(&mut row).transpose())
            .collect()
    }

    /// The first changes of each organization, for a plan that is cut to a readable length: at most `each` of one
    /// organization and `limit` in all, out of the first 20,000 of the plan.
    pub async fn first_changes(&self, run: RunId, each: u64, limit: u64) -> Result<Vec<StoredChange>, StoreError> {
        let rows = self
            .rows(FIRST_CHANGES, args![run, each, limit, FIRST_CHANGES_OF])
            .await?;
        rows.into_iter()
            .filter_map(|mut row| read(&mut row).transpose())
            .collect()
    }

    /// How many changes of each kind a plan has, by organization.
    pub async fn tallies(&self, run: RunId) -> Result<BTreeMap<Option<ExternalId>, Tally>, StoreError> {
        let mut tallies: BTreeMap<Option<ExternalId>, Tally> = BTreeMap::new();
        for mut r in self.rows(TALLIES, args![run]).await? {
            let key = r.opt_text()?.and_then(|o| ExternalId::parse(o).ok());
            let (action, drift, n) = (r.text()?, r.flag()?, r.count()?);
            let tally = tallies.entry(key).or_default();
            match action.as_str() {
                "create" | "enable" => tally.gained += n,
                "disable" | "delete" => tally.lost += n,
                _ => tally.updated += n,
            }
            tally.put_back += if drift { n } else { 0 };
        }
        Ok(tallies)
    }

    /// What runs did to one user, newest first.
    pub async fn user_changes(&self, user: UserId, limit: u64) -> Result<Vec<AppliedChange>, StoreError> {
        let rows = self.rows(USER_CHANGES, args![user, limit]).await?;
        rows.into_iter()
            .map(|mut r| {
                let wrong = || {
                    StoreError::new(
                        StoreErrorKind::Internal,
                        "an applied change cannot be read back; was it changed by hand?",
                    )
                };
                let change = read(&mut r)?.ok_or_else(wrong)?;
                let run = r.parsed()?;
                let (finished, answered) = (r.opt_time()?, r.opt_time()?);
                let at = answered.or(finished).unwrap_or(Timestamp::UNIX_EPOCH);
                Ok(AppliedChange {
                    change,
                    run,
                    at,
                    actor: r.text()?,
                })
            })
            .collect()
    }
}

/// Whether the plan of `run` moves more than one address, so that two users may swap theirs.
pub(super) async fn moves_addresses(tx: &mut Tx, run: RunId) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM changes WHERE run_id = $1::uuid AND fields -> 'email' IS NOT NULL";
    Ok(match tx.row(sql, args![run]).await? {
        Some(mut row) => row.count()? > 1,
        None => false,
    })
}
