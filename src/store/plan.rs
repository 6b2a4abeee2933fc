//! The stored plan of a run, read back to be shown, weighed and checked against its hash.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::error::{StoreError, StoreErrorKind};
use super::organizations::OrganizationChange;
use super::row::{Row, args};
use super::said::{ALL_ATTRIBUTES, Said, bit, said_of};
use super::sql::statements;
use super::{Store, Tx, json};
use crate::domain::field::{Field, Value, Values};
use crate::domain::id::{Digest, ExternalId, RunId, SourceName, UserId};
use crate::domain::mapping::Mapped;
use crate::domain::plan::{Action, Change, ChangeDigest, FieldChange, PlanHasher, Reason};

/// Most quarantined entries of a run that are kept with their reasons; the rest are counted.
pub const QUARANTINE_STORED_MAX: usize = 10_000;

/// The columns that [`read`] reads, of a change `c` and its organization `o`; the source comes after them.
macro_rules! change_columns {
    () => {
        concat!(
            "c.position, c.action, c.reason, c.external_id, c.organization, o.name, c.user_id::text, \
             coalesce(c.address, c.email), c.fields::text, c.given, c.given_attributes::text, ",
            said_of!("c")
        )
    };
}

statements! {
    PLACE = "SELECT organization, external_id FROM changes WHERE run_id = $1::uuid AND position = $2";
    READ_CHANGES = concat!("SELECT ", change_columns!(), ", r.source FROM changes c JOIN runs r ON r.id = c.run_id \
        LEFT JOIN organizations o ON o.source = r.source AND o.external_id = c.organization \
        WHERE c.run_id = $1::uuid AND c.action <> 'remember' AND (c.organization, c.external_id) > ($2, $3) \
        ORDER BY c.organization, c.external_id LIMIT $4");
    FIRST_CHANGES = concat!("SELECT ", change_columns!(), ", r.source FROM \
        (SELECT n.*, row_number() OVER (PARTITION BY n.organization ORDER BY n.external_id) AS nth FROM \
         (SELECT * FROM changes WHERE run_id = $1::uuid AND action <> 'remember' \
          ORDER BY organization, external_id LIMIT $4) n) c JOIN runs r ON r.id = c.run_id \
        LEFT JOIN organizations o ON o.source = r.source AND o.external_id = c.organization \
        WHERE c.nth <= $2 ORDER BY c.organization, c.external_id LIMIT $3");
    TALLIES = "SELECT organization, action, CASE WHEN drift THEN 1 ELSE 0 END, count(*) FROM changes \
        WHERE run_id = $1::uuid AND action <> 'remember' GROUP BY 1, 2, 3";
    USER_CHANGES = concat!("SELECT ", change_columns!(), ", r.source, r.id::text, r.finished_at::text, r.answered_at::text, r.actor \
        FROM changes c JOIN runs r ON r.id = c.run_id \
        LEFT JOIN organizations o ON o.source = r.source AND o.external_id = c.organization \
        WHERE c.user_id = $1::uuid AND r.state = 'applied' AND c.action <> 'remember' ORDER BY r.id DESC LIMIT $2");
    /// Every row of a plan, to be hashed again.
    ALL_CHANGES = concat!("SELECT ", change_columns!(), ", r.source, c.record_digest \
        FROM changes c JOIN runs r ON r.id = c.run_id LEFT JOIN organizations o ON false WHERE c.run_id = $1::uuid");
    ORGANIZATIONS_OF_PLAN = "SELECT external_id, name, kind, status, followed, attributes::text FROM run_organizations \
        WHERE run_id = $1::uuid ORDER BY external_id";
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
    /// Every row of a plan.
    pub(super) const SQL: &str = ALL_CHANGES;

    /// Hashes one row.
    pub(super) fn hash(mut row: Row, hasher: &mut PlanHasher) -> Result<(), StoreError> {
        let (stored, digest) = read(&mut row)?;
        let record_digest = row.opt_parsed()?;
        let Some(StoredChange { change, .. }) = stored else {
            if let Some(digest) = digest {
                hasher.add(ChangeDigest::remembered(digest));
            }
            return Ok(());
        };
        let user = change.user.filter(|_| change.action != Action::Create);
        hasher.add(ChangeDigest::of(&Change {
            user,
            digest,
            record_digest,
            ..change
        }));
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
    /// Names it within its plan; the next page begins after it.
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
pub(super) const CHANGE: &str = concat!(
    "SELECT ",
    change_columns!(),
    ", r.source FROM changes c JOIN runs r ON r.id = c.run_id \
     LEFT JOIN organizations o ON o.source = r.source AND o.external_id = c.organization"
);

/// Reads one row; no change for an entry that is only to be remembered. With it goes the digest of what the directory
/// said, if it is still that of what is stored of it.
fn read(r: &mut Row) -> Result<(Option<StoredChange>, Option<Digest>), StoreError> {
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
    let organization = ExternalId::parse(r.text()?).ok();
    let organization_name = r.opt_text()?;
    let user = Some(r.parsed()?);
    let email = r.opt_text()?;
    let fields = r.opt_json()?;
    let (given, given_attributes) = (r.int()?, r.opt_json()?);
    let said = Said::read(r)?;
    let stored = said.digest;
    let said = said.values(organization.as_ref());
    let digest = stored.filter(|stored| Mapped::digest_of(&external_id, &said) == *stored);
    let source = SourceName::parse(&r.text()?).map_err(|_| wrong("source"))?;
    if action == "remember" {
        return Ok((None, digest));
    }
    let action = Action::parse(&action).ok_or_else(|| wrong("action"))?;
    let reason = reason.and_then(|w| Reason::parse(&w)).ok_or_else(|| wrong("reason"))?;
    let fields = match fields {
        Some(fields) => json::fields_from(&fields),
        None => created_fields(said, given, given_attributes.as_ref()),
    };
    let change = Change {
        action,
        reason,
        source,
        external_id,
        organization,
        user,
        email: email.ok_or_else(|| wrong("address"))?,
        fields,
        digest: None,
        record_digest: None,
    };
    let stored = StoredChange {
        position,
        change,
        organization_name,
    };
    Ok((Some(stored), digest))
}

/// The condition under which the new user of a creation `c` gets a field.
pub(super) fn is_given(field: Option<&Field>) -> String {
    match field {
        None => "false".into(),
        Some(Field::Attribute(name)) => format!(
            "((c.given & {ALL_ATTRIBUTES} <> 0 AND c.attributes -> '{name}' IS NOT NULL) \
             OR c.given_attributes -> '{name}' IS NOT NULL)"
        ),
        Some(column) => format!("c.given & {} <> 0", bit(column)),
    }
}

/// What a new user gets of what the directory said.
fn created_fields(said: Values, given: i64, given_attributes: Option<&Json>) -> Vec<(Field, FieldChange)> {
    let is_given = |field: &Field| match field {
        Field::Attribute(name) => {
            given & ALL_ATTRIBUTES != 0 || given_attributes.is_some_and(|some| some.get(&**name).is_some())
        }
        column => given & bit(column) != 0,
    };
    let step = |after| FieldChange {
        before: Value::Text(None),
        after,
        directory_before: None,
        drift: false,
    };
    said.into_iter()
        .filter(|(field, _)| is_given(field))
        .map(|(field, after)| (field, step(after)))
        .collect()
}

pub(super) fn stored_changes(rows: Vec<Row>) -> Result<Vec<StoredChange>, StoreError> {
    rows.into_iter()
        .filter_map(|mut row| read(&mut row).map(|(change, _)| change).transpose())
        .collect()
}

impl Store {
    /// Changes of a run after the one at `position`, in the order of the plan: organizations together, then external ids.
    pub async fn changes(&self, run: RunId, after: Option<u64>, limit: u64) -> Result<Vec<StoredChange>, StoreError> {
        let (organization, external_id) = match after {
            None => (String::new(), String::new()),
            Some(position) => match self.row(PLACE, args![run, position]).await? {
                Some(mut row) => (row.text()?, row.text()?),
                None => return Ok(vec![]),
            },
        };
        let rows = self
            .rows(READ_CHANGES, args![run, organization, external_id, limit])
            .await?;
        stored_changes(rows)
    }

    /// The first changes of each organization, for a plan that is cut to a readable length: at most `each` of one
    /// organization and `limit` in all, out of the first 20,000 of the plan.
    pub async fn first_changes(&self, run: RunId, each: u64, limit: u64) -> Result<Vec<StoredChange>, StoreError> {
        let rows = self
            .rows(FIRST_CHANGES, args![run, each, limit, FIRST_CHANGES_OF])
            .await?;
        stored_changes(rows)
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
                let change = read(&mut r)?.0.ok_or_else(wrong)?;
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
    let sql =
        "SELECT count(*) FROM changes WHERE run_id = $1::uuid AND action <> 'create' AND fields -> 'email' IS NOT NULL";
    Ok(match tx.row(sql, args![run]).await? {
        Some(mut row) => row.count()? > 1,
        None => false,
    })
}
