//! What goes into a comparison, and the cases that come out of it: rows on one side, the core's words on the other.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::error::{StoreError, StoreErrorKind};
use super::json;
use super::row::Row;
use super::users::{attribute_values, lines, read_user, text_value};
use crate::domain::field::{Field, Value, Values};
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
    let (entry, code, detail) = (r.opt_json()?, r.opt_text()?, r.opt_text()?);
    let holder = r.opt_parsed()?;
    let content = match (absent, code, entry) {
        (true, ..) => None,
        (false, Some(code), _) => {
            let code = QuarantineCode::parse(&code).unwrap_or(QuarantineCode::Unreadable);
            Some(Staged::Bad(Quarantined::new(code, detail.unwrap_or_default())))
        }
        (false, None, entry) => Some(Staged::Mapped(Box::new(mapped(
            &id,
            organization.clone(),
            &entry.unwrap_or_default(),
        )?))),
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

fn mapped(id: &str, organization: Option<ExternalId>, entry: &Json) -> Result<Mapped, StoreError> {
    let values = json::values_from(entry);
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

/// Reads the record's columns; `None` where there is none.
pub(super) fn read_record(r: &mut Row, id: &str) -> Result<Option<Record>, StoreError> {
    let Some(user) = r.opt_parsed::<UserId>()? else {
        for _ in 0..15 {
            r.opt_text()?;
        }
        return Ok(None);
    };
    let digest = r.parsed()?;
    let covered = r.int()?;
    let mut values = Vec::with_capacity(12);
    for field in [
        Field::Email,
        Field::FirstName,
        Field::LastName,
        Field::Phone,
        Field::Title,
        Field::Kind,
        Field::License,
    ] {
        values.push((field, text_value(r.opt_text()?)));
    }
    let billable = r.opt_int()?.map(|b| if b == 0 { "false" } else { "true" });
    values.push((Field::Billable, Value::Text(billable.map(str::to_owned))));
    values.push((Field::Status, text_value(r.opt_text()?)));
    values.push((Field::Roles, Value::Set(lines(r.opt_text()?))));
    let attributes = attribute_values(r.opt_json()?);
    let absent = r.flag()?;
    let organization = r.opt_text()?.map(parse_id).transpose()?;
    values.push((
        Field::Organization,
        Value::Text(organization.as_ref().map(|o| o.as_str().to_owned())),
    ));
    let is_covered = |field: &Field| {
        Field::COLUMNS
            .iter()
            .position(|c| c == field)
            .is_some_and(|bit| covered & (1 << bit) != 0)
    };
    let values = values
        .into_iter()
        .filter(|(field, _)| is_covered(field))
        .chain(attributes)
        .collect();
    Ok(Some(Record {
        id: parse_id(id.to_owned())?,
        user,
        organization,
        digest,
        values: Values::new(values),
        absent,
    }))
}
