//! An organization as a document: one that is here, or one that only its directory knows yet.

use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use crate::domain::entry::DirectoryOrganization;
use crate::domain::id::SourceName;
use crate::store;

/// An organization.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Organization {
    /// Its id here; null where only its directory knows it yet.
    #[schema(required, format = Uuid)]
    pub id: Option<String>,
    /// Whether it is here. One that is not comes with the first sync that covers it.
    pub known: bool,
    /// Its name.
    pub name: String,
    /// `consultant`, `bidder`, …, or `self` for the agency's own; null where the directory does not say.
    #[schema(required)]
    pub kind: Option<String>,
    /// The source that lists it.
    #[schema(required)]
    pub source: Option<String>,
    /// Its id at the directory.
    #[schema(required)]
    pub external_id: Option<String>,
    /// Whether scheduled runs cover it.
    pub followed: bool,
    /// `active` or `closed`.
    #[schema(example = "active")]
    pub status: String,
    /// Further attributes, such as the city.
    #[schema(value_type = Object)]
    pub attributes: Json,
    /// How many users it has here.
    pub users: u64,
    /// How many of them are active.
    pub active_users: u64,
    /// The last run that was applied to all of it.
    #[schema(required, format = Uuid)]
    pub last_run: Option<String>,
    /// When it was last changed here.
    #[schema(required, format = DateTime)]
    pub updated_at: Option<String>,
}

/// An organization, with how it stands.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OrganizationDetail {
    /// The row.
    #[serde(flatten)]
    pub organization: Organization,
    /// When a run was last applied to all of it.
    #[schema(required, format = DateTime)]
    pub synced_at: Option<String>,
    /// Of how many of its users that run put a local edit back.
    pub drift: u64,
    /// How many of its entries are in quarantine.
    pub quarantine: u64,
}

/// What a directory answered that was asked for an organization which is not here.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AskedDirectory {
    /// The source that was asked.
    pub source: String,
    /// `found`, `none`, `failed`, `timed_out`, or `busy` where too many ask at once.
    #[schema(example = "none")]
    pub outcome: &'static str,
    /// Why it failed, in a sentence.
    #[schema(required)]
    pub detail: Option<String>,
}

/// A page of organizations.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OrganizationPage {
    /// The organizations.
    pub items: Vec<Organization>,
    /// What to send as `cursor` for the next page; null on the last one.
    #[schema(required)]
    pub next: Option<String>,
    /// The directories that were asked, because nothing here matches `q`.
    pub asked: Vec<AskedDirectory>,
}

/// The document of one that is here.
pub fn organization(row: &store::Organization) -> Organization {
    Organization {
        id: Some(row.id.to_string()),
        known: true,
        name: row.name.clone(),
        kind: Some(row.kind.clone()),
        source: row.link.as_ref().map(|(source, _)| source.as_str().to_owned()),
        external_id: row.link.as_ref().map(|(_, id)| id.as_str().to_owned()),
        followed: row.followed,
        status: row.status.clone(),
        attributes: row.attributes.clone(),
        users: row.users,
        active_users: row.active_users,
        last_run: row.last_run.map(|run| run.to_string()),
        updated_at: Some(row.updated_at.to_string()),
    }
}

/// The document of one that only its directory knows.
pub fn unknown_organization(source: &SourceName, there: &DirectoryOrganization) -> Organization {
    let attributes = there
        .attributes
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()));
    Organization {
        id: None,
        known: false,
        name: there.name.clone(),
        kind: there.kind.clone(),
        source: Some(source.as_str().to_owned()),
        external_id: Some(there.id.as_str().to_owned()),
        followed: false,
        status: if there.closed { "closed" } else { "active" }.to_owned(),
        attributes: Json::Object(attributes.collect()),
        users: 0,
        active_users: 0,
        last_run: None,
        updated_at: None,
    }
}
