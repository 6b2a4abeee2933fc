//! A user as a document.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use crate::domain::field::{Authority, Field};
use crate::store::UserRow;

/// A user.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct User {
    /// Its id.
    #[schema(format = Uuid)]
    pub id: String,
    /// `employee`, `consultant`, `bidder`, `contractor`, `vendor`, or another word.
    #[schema(example = "consultant")]
    pub kind: String,
    /// The sign-in name.
    pub email: String,
    /// Given name.
    #[schema(required)]
    pub first_name: Option<String>,
    /// Family name.
    #[schema(required)]
    pub last_name: Option<String>,
    /// Telephone number.
    #[schema(required)]
    pub phone: Option<String>,
    /// Job title.
    #[schema(required)]
    pub title: Option<String>,
    /// Its organization.
    #[schema(required)]
    pub organization: Option<UserOrganization>,
    /// Licence.
    #[schema(required)]
    pub license: Option<String>,
    /// Whether its time is billable.
    #[schema(required)]
    pub billable: Option<bool>,
    /// `active` or `disabled`.
    #[schema(example = "active")]
    pub status: String,
    /// `directory` or `admin`, where it is disabled and somebody wrote down by whom.
    #[schema(required)]
    pub disabled_by: Option<String>,
    /// Further attributes.
    #[schema(value_type = Object)]
    pub attributes: Json,
    /// Its roles.
    pub roles: Vec<UserRole>,
    /// The entry of a directory that it is linked to.
    #[schema(required)]
    pub link: Option<UserLink>,
    /// When it was created.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When Rollcall last changed it.
    #[schema(format = DateTime)]
    pub updated_at: String,
}

/// The organization of a user.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserOrganization {
    /// Its id here.
    #[schema(format = Uuid)]
    pub id: String,
    /// Its name.
    pub name: String,
}

/// A role of a user.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserRole {
    /// Its name.
    pub name: String,
    /// Who granted it: `directory` or `local`.
    pub origin: &'static str,
}

/// The entry of a directory that a user is linked to.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserLink {
    /// The source.
    pub source: String,
    /// The entry's id there.
    pub external_id: String,
}

/// A user, with what is known of it beyond the row.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserDetail {
    /// The row.
    #[serde(flatten)]
    pub user: User,
    /// Whether no sync ever touches it: an employee, or somebody of the agency's own organization.
    pub own: bool,
    /// Who decides each field: `directory` (of the source in `link`: a local edit is put back), `initial` (the directory
    /// at creation, local ever since) or `local`.
    pub authorities: BTreeMap<String, &'static str>,
    /// Why it may not sign in, in a sentence.
    #[schema(required)]
    pub why_disabled: Option<String>,
}

/// A user that was changed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EditedUser {
    /// How it stands now.
    #[serde(flatten)]
    pub user: UserDetail,
    /// What whoever changed it should know, such as that the next sync puts something back.
    pub warnings: Vec<String>,
}

/// The document of one user.
pub fn user(row: &UserRow) -> User {
    let role = |(name, of_directory): &(String, bool)| UserRole {
        name: name.clone(),
        origin: if *of_directory { "directory" } else { "local" },
    };
    User {
        id: row.id.to_string(),
        kind: row.kind.clone(),
        email: row.email.clone(),
        first_name: row.first_name.clone(),
        last_name: row.last_name.clone(),
        phone: row.phone.clone(),
        title: row.title.clone(),
        organization: row.organization.as_ref().map(|(id, name)| UserOrganization {
            id: id.to_string(),
            name: name.clone(),
        }),
        license: row.license.clone(),
        billable: row.billable,
        status: row.status.clone(),
        disabled_by: row.disabled_by.clone(),
        attributes: row.attributes.clone(),
        roles: row.roles.iter().map(role).collect(),
        link: row.link.as_ref().map(|(source, id)| UserLink {
            source: source.as_str().to_owned(),
            external_id: id.as_str().to_owned(),
        }),
        created_at: row.created_at.to_string(),
        updated_at: row.updated_at.to_string(),
    }
}

/// The document of one user with all that is known. `authority` says who decides a field, where a configured directory
/// has a say at all.
pub fn user_detail(
    row: &UserRow,
    authority: impl Fn(&Field) -> Option<Authority>,
    why_disabled: Option<String>,
) -> UserDetail {
    let decided = |field: &Field| match authority(field).filter(|_| !row.own) {
        Some(authority) => authority.as_str(),
        None => Authority::Local.as_str(),
    };
    let authorities = Field::COLUMNS.iter().map(|field| (field.to_string(), decided(field)));
    UserDetail {
        user: user(row),
        own: row.own,
        authorities: authorities.collect(),
        why_disabled,
    }
}
