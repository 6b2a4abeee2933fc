//! Writing the plan of a run: creations while the directory is read, all other changes while they are decided.
//! Never judges, and never reads a plan back.

use super::bulk::Bulk;
use super::error::StoreError;
use super::organizations::OrganizationChange;
use super::row::{Arg, args};
use super::said::{self, ALL_ATTRIBUTES, SAID_CELLS, bit, said_columns};
use super::sql::{Engine, statements};
use super::{Store, Tx, json};
use crate::domain::field::Field;
use crate::domain::id::{Digest, ExternalId, RunId, UserId};
use crate::domain::mapping::Mapped;
use crate::domain::plan::{Action, Change, Given, Reason};

/// How many rows of a plan are written at once.
const ROWS_AT_ONCE: usize = 2_000;

const CHANGES: &str = concat!(
    "changes (run_id, position, action, reason, external_id, organization, user_id, address, drift, fields, \
     attribute_patch, record_digest, given, given_attributes, ",
    said_columns!(),
    ")"
);
const CHANGE_COLUMNS: usize = 14 + SAID_CELLS;

/// Of a creation: what is the same in each comes first.
const CREATIONS: &str = concat!(
    "changes (run_id, action, reason, given, position, external_id, organization, user_id, given_attributes, ",
    said_columns!(),
    ")"
);
const CREATION_COLUMNS: usize = 5 + SAID_CELLS;

statements! {
    INSERT_ORGANIZATION = "INSERT INTO run_organizations (run_id, external_id, organization_id, is_new, name, kind, status, \
        followed, attributes) VALUES ($1::uuid, $2, $3::uuid, $4, $5, $6, $7, $8, $9::jsonb)";
}

/// A creation, as it is written.
#[derive(Debug)]
pub(super) struct Creation {
    pub(super) position: u64,
    /// The id that the new user gets.
    pub(super) user: UserId,
    /// The digest of the entry.
    pub(super) digest: Digest,
    /// What the directory says.
    pub(super) entry: Mapped,
}

/// What new users get, as columns.
#[derive(Debug)]
pub(super) struct GivenColumns {
    mask: i64,
    /// The attributes, where a new user does not get all that there are.
    attributes: Option<Vec<Field>>,
}

impl GivenColumns {
    /// `given` out of all that `entry` states.
    pub(super) fn new<'f>(given: &Given, stated: impl Iterator<Item = &'f Field>) -> Self {
        let is_attribute = |field: &&Field| matches!(field, Field::Attribute(_));
        let attributes: Vec<Field> = given.fields().iter().filter(is_attribute).cloned().collect();
        let all = stated.filter(is_attribute).count() == attributes.len();
        let columns = given.fields().iter().map(bit).sum::<i64>();
        Self {
            mask: columns | if all { ALL_ATTRIBUTES } else { 0 },
            attributes: (!all).then_some(attributes),
        }
    }

    fn attributes_of(&self, entry: &Mapped) -> Option<String> {
        let given = self.attributes.as_ref()?;
        let of_entry = entry.values.iter().filter(|(field, _)| given.contains(field));
        json::attributes(of_entry).map(|attributes| attributes.to_string())
    }
}

/// Writes a portion of creations, in a transaction of its own.
pub(super) async fn write_creations(
    store: &Store,
    run: RunId,
    given: &GivenColumns,
    portion: Vec<Creation>,
) -> Result<(), StoreError> {
    let (run, mask) = (run.to_string(), given.mask.to_string());
    let same = [&run, Action::Create.as_str(), Reason::New.as_str(), &mask];
    let mut bulk = Bulk::new(store.engine(), &same, CREATION_COLUMNS);
    for creation in portion {
        let attributes = given.attributes_of(&creation.entry);
        let Mapped {
            id,
            organization,
            values,
            ..
        } = creation.entry;
        let cells = bulk.row();
        cells.int(i64::try_from(creation.position).unwrap_or(i64::MAX));
        cells.text(Some(id.into()));
        cells.text(Some(organization.map(String::from).unwrap_or_default()));
        let mut text = uuid::Uuid::encode_buffer();
        cells.plain(creation.user.0.hyphenated().encode_lower(&mut text));
        cells.text(attributes);
        said::put(cells, creation.digest, values);
    }
    let mut tx = begin_portion(store).await?;
    tx.conn().insert(CREATIONS, bulk).await?;
    tx.commit().await
}

async fn write_rows(store: &Store, rows: Vec<Vec<Arg>>) -> Result<(), StoreError> {
    let mut tx = begin_portion(store).await?;
    tx.conn().bulk_insert(CHANGES, CHANGE_COLUMNS, rows).await?;
    tx.commit().await
}

/// A transaction that writes a part of a plan. A part need not be on the disk by itself: the commit that makes the plan
/// one to be applied comes later, and takes everything before it there.
async fn begin_portion(store: &Store) -> Result<Tx, StoreError> {
    let mut tx = store.begin().await?;
    if store.engine() == Engine::Postgres {
        tx.execute("SET LOCAL synchronous_commit = off", args![]).await?;
    }
    Ok(tx)
}

fn organization_column(organization: Option<&ExternalId>) -> Arg {
    organization.map_or("", ExternalId::as_str).into()
}

/// Writes a plan, row by row, in any order.
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
    /// A writer for the plan of `run`, of which the rows before `position` are written.
    pub fn new(store: &Store, run: RunId, position: u64) -> Self {
        Self {
            store: store.clone(),
            run,
            position,
            rows: Vec::new(),
        }
    }

    /// Adds a change, with what the directory says of the entry.
    pub async fn change(&mut self, change: &Change, entry: Option<Mapped>) -> Result<(), StoreError> {
        let is_new = change.action == Action::Create;
        let given = match &entry {
            Some(entry) if is_new => {
                let given = Given::new(change.fields.iter().map(|(field, _)| field.clone()).collect());
                let columns = GivenColumns::new(&given, entry.values.iter().map(|(field, _)| field));
                (columns.mask, columns.attributes_of(entry))
            }
            _ => (0, None),
        };
        let user = change.user.unwrap_or_else(|| UserId(self.store.new_id()));
        let mut row: Vec<Arg> = Vec::with_capacity(CHANGE_COLUMNS);
        row.extend([
            self.run.into(),
            self.position.into(),
            change.action.as_str().into(),
            change.reason.as_str().into(),
            (&change.external_id).into(),
            organization_column(change.organization.as_ref()),
            user.into(),
            (!is_new).then_some(change.email.as_str()).into(),
            change.has_drift().into(),
            (!is_new).then(|| json::fields(change).to_string()).into(),
            json::attribute_patch(change)
                .filter(|_| !is_new)
                .map(|patch| patch.to_string())
                .into(),
            change.record_digest.map(|digest| digest.to_string()).into(),
            given.0.into(),
            given.1.into(),
        ]);
        match (entry, change.digest) {
            (Some(entry), Some(digest)) => said::put(&mut row, digest, entry.values),
            _ => said::put_nothing(&mut row),
        }
        self.push(row).await
    }

    /// Adds an entry whose user stays as it is, and whose record is to be brought up to date.
    pub async fn remember(
        &mut self,
        entry: Mapped,
        digest: Digest,
        user: UserId,
        record: Digest,
    ) -> Result<(), StoreError> {
        let none: Arg = Arg::Text(None);
        let mut row: Vec<Arg> = Vec::with_capacity(CHANGE_COLUMNS);
        row.extend([
            self.run.into(),
            self.position.into(),
            "remember".into(),
            none.clone(),
            (&entry.id).into(),
            organization_column(entry.organization.as_ref()),
            user.into(),
            none.clone(),
            false.into(),
            none.clone(),
            none.clone(),
            record.into(),
            0_i64.into(),
            none,
        ]);
        said::put(&mut row, digest, entry.values);
        self.push(row).await
    }

    async fn push(&mut self, row: Vec<Arg>) -> Result<(), StoreError> {
        self.rows.push(row);
        self.position += 1;
        if self.rows.len() >= ROWS_AT_ONCE {
            self.flush().await
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        match std::mem::take(&mut self.rows) {
            rows if rows.is_empty() => Ok(()),
            rows => write_rows(&self.store, rows).await,
        }
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
