//! What goes into a comparison, and the cases that come out of it: rows on one side, the core's words on the other.

use std::collections::BTreeSet;

use super::error::{StoreError, StoreErrorKind};
use super::row::Row;
use super::said::{SAID_CELLS, Said};
use super::users::read_user;
use crate::domain::field::Field;
use crate::domain::id::{ExternalId, UserId};
use crate::domain::mapping::Mapped;
use crate::domain::quarantine::{QuarantineCode, Quarantined};
use crate::domain::record::Record;
use crate::domain::roles::RolePolicy;
use crate::domain::text::EmailAddress;
use crate::domain::user::User;

/// What is staged of one entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Staged {
    /// As mapped.
    Mapped(Box<Mapped>),
    /// It cannot be used; it counts as present.
    Bad(Quarantined),
}

/// One entry to be staged.
#[derive(Debug, Clone, PartialEq)]
pub struct StagedEntry {
    /// Its id; `None` where the directory gave none that can be read.
    pub id: Option<ExternalId>,
    /// Its organization, where that is known.
    pub organization: Option<ExternalId>,
    /// What it says.
    pub content: Staged,
}

/// One case, as it comes back from the database.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The entry's id; `?` and a number where there was none.
    pub id: String,
    /// Its organization.
    pub organization: Option<ExternalId>,
    /// What the directory says; `None` where a complete listing lacks it.
    pub content: Option<Staged>,
    /// What it said last.
    pub record: Option<Record>,
    /// What we hold.
    pub user: Option<User>,
    /// The user who has the entry's address now and would still have it afterwards.
    pub holder: Option<UserId>,
}

pub(super) fn parse_id(text: String) -> Result<ExternalId, StoreError> {
    ExternalId::parse(text).map_err(|e| {
        StoreError::new(
            StoreErrorKind::Internal,
            format!("a stored external id cannot be read: {e}"),
        )
    })
}

pub(super) fn read_case(mut row: Row, roles: &RolePolicy) -> Result<Case, StoreError> {
    let r = &mut row;
    let id = r.text()?;
    let organization = Some(r.text()?).filter(|o| !o.is_empty()).map(parse_id).transpose()?;
    let absent = r.flag()?;
    let (code, detail) = (r.opt_text()?, r.opt_text()?);
    let holder = r.opt_parsed()?;
    let said = Said::read(r)?;
    let content = match (absent, code) {
        (true, _) => None,
        (false, Some(code)) => {
            let code = QuarantineCode::parse(&code).unwrap_or(QuarantineCode::Unreadable);
            Some(Staged::Bad(Quarantined::new(code, detail.unwrap_or_default())))
        }
        (false, None) => Some(Staged::Mapped(Box::new(mapped(&id, organization.clone(), said)?))),
    };
    let record = read_record(r, &id)?;
    let user = read_user(r, roles)?;
    Ok(Case {
        id,
        organization,
        content,
        record,
        user,
        holder,
    })
}

fn mapped(id: &str, organization: Option<ExternalId>, said: Said) -> Result<Mapped, StoreError> {
    let values = said.values(organization.as_ref());
    let email = EmailAddress::parse(values.text(&Field::Email).unwrap_or_default()).map_err(|e| {
        StoreError::new(
            StoreErrorKind::Internal,
            format!("a staged entry cannot be read back: {e}"),
        )
    })?;
    Ok(Mapped {
        id: parse_id(id.to_owned())?,
        organization,
        email,
        values,
        refused_roles: BTreeSet::new(),
    })
}

/// The columns of a record `r` and its organization `ro`, as [`read_record`] reads them.
macro_rules! record_columns {
    () => {
        concat!(
            "r.user_id::text, ",
            $crate::store::said::said_of!("r"),
            ", r.absent, ro.external_id"
        )
    };
}
pub(super) use record_columns;

/// How many cells [`record_columns`] has.
const RECORD_CELLS: usize = SAID_CELLS + 3;

/// Reads [`record_columns`]; `None` where an outer join found no record.
pub(super) fn read_record(r: &mut Row, id: &str) -> Result<Option<Record>, StoreError> {
    let Some(user) = r.opt_parsed::<UserId>()? else {
        for _ in 1..RECORD_CELLS {
            r.opt_text()?;
        }
        return Ok(None);
    };
    let said = Said::read(r)?;
    let absent = r.flag()?;
    let organization = r.opt_text()?.map(parse_id).transpose()?;
    let no_digest = || {
        StoreError::new(
            StoreErrorKind::Internal,
            "a record has no digest; was it changed by hand?",
        )
    };
    let digest = said.digest.ok_or_else(no_digest)?;
    Ok(Some(Record {
        id: parse_id(id.to_owned())?,
        user,
        values: said.values(organization.as_ref()),
        organization,
        digest,
        absent,
    }))
}
