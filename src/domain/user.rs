//! One row of the local user table, as the core sees it.

use std::collections::BTreeSet;

use super::field::{Field, Value, Values};
use super::id::{ExternalId, SourceName, UserId};

/// The kind of the agency's own people, whom no sync touches.
pub const EMPLOYEE: &str = "employee";

/// The kind of the agency's own organization.
pub const SELF: &str = "self";

/// Who disabled a user. Only what the directory disabled may a sync enable again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisabledBy {
    /// A sync, because the directory says so or no longer lists the entry.
    Directory,
    /// A person here, by whatever way; also where nobody wrote down who.
    Administrator,
}

/// Whether a user may sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// May sign in.
    Active,
    /// May not, and who decided it.
    Disabled(DisabledBy),
}

impl Status {
    /// The status of the two columns `status` and `disabled_by`.
    pub fn from_columns(status: &str, disabled_by: Option<&str>) -> Self {
        match (status, disabled_by) {
            ("active", _) => Self::Active,
            (_, Some("directory")) => Self::Disabled(DisabledBy::Directory),
            _ => Self::Disabled(DisabledBy::Administrator),
        }
    }
}

/// A user as it stands in the table now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Every column that a directory may state. `Roles` holds the memberships of origin `directory`.
    pub values: Values,
    /// Whether it may sign in.
    pub status: Status,
    /// Roles that were granted here.
    pub local_roles: BTreeSet<String>,
    /// Whether it belongs to the agency's own organization.
    pub of_self: bool,
    /// Whether one of its roles administers.
    pub administrator: bool,
}

impl User {
    /// Whether no sync may touch it: an employee, or somebody of the agency's own organization.
    pub fn is_own(&self) -> bool {
        self.of_self
            || self
                .values
                .text(&Field::Kind)
                .is_some_and(|kind| kind.eq_ignore_ascii_case(EMPLOYEE))
    }

    /// The value of `field`; no value where the column is empty.
    pub fn value(&self, field: &Field) -> Value {
        match (self.values.get(field), field) {
            (Some(value), _) => value.clone(),
            (None, Field::Roles) => Value::Set(BTreeSet::new()),
            (None, _) => Value::Text(None),
        }
    }

    /// The address that it signs in with.
    pub fn email(&self) -> &str {
        self.values.text(&Field::Email).unwrap_or_default()
    }
}

/// Who has an address that an entry wants, or would have it after the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The user with the address.
    pub user: User,
    /// The entry that it is linked to, if any.
    pub link: Option<(SourceName, ExternalId)>,
    /// Whether its organization is this source's, nobody's, or it has none.
    pub ownable_organization: bool,
}
