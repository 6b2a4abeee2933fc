//! Quarantine, drift and the audit trail as documents.

use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::change::value;
use crate::store;

/// An entry that is kept out of the user table.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct QuarantinedEntry {
    /// Its source.
    pub source: String,
    /// Its id there; `?` and a number where the directory gave none.
    pub external_id: String,
    /// Its organization, by its id at the directory.
    #[schema(required)]
    pub organization: Option<String>,
    /// The stable code of the reason.
    #[schema(example = "no_email")]
    pub code: String,
    /// What was seen and what to do.
    pub detail: String,
    /// When it was first seen so.
    #[schema(format = DateTime)]
    pub first_seen_at: String,
    /// When it was last seen so.
    #[schema(format = DateTime)]
    pub last_seen_at: String,
    /// In how many runs.
    pub times: u64,
}

/// The document of one entry in quarantine.
pub fn quarantined(row: &store::QuarantineRow) -> QuarantinedEntry {
    QuarantinedEntry {
        source: row.source.as_str().to_owned(),
        external_id: row.external_id.clone(),
        organization: row.organization.clone(),
        code: row.code.clone(),
        detail: row.detail.clone(),
        first_seen_at: row.first_seen_at.to_string(),
        last_seen_at: row.last_seen_at.to_string(),
        times: row.times,
    }
}

/// A field that was edited here and put back.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DriftedField {
    /// Whose it is.
    #[schema(format = Uuid)]
    pub user: String,
    /// The source whose directory decides it.
    pub source: String,
    /// The entry that the user is linked to.
    pub external_id: String,
    /// The organization, by its id at the directory.
    #[schema(required)]
    pub organization: Option<String>,
    /// Which field.
    #[schema(example = "phone")]
    pub field: String,
    /// What it had been set to here: a text, a list of texts, or null.
    #[schema(required)]
    pub before: Json,
    /// What the directory says, and what it is now.
    #[schema(required)]
    pub after: Json,
    /// The run that put it back.
    #[schema(format = Uuid)]
    pub run: String,
    /// Who asked for that run.
    pub actor: String,
    /// When it was put back.
    #[schema(format = DateTime)]
    pub at: String,
}

/// The document of one field that was put back.
pub fn drifted(row: &store::Drift) -> DriftedField {
    DriftedField {
        user: row.user.to_string(),
        source: row.source.clone(),
        external_id: row.external_id.clone(),
        organization: row.organization.clone(),
        field: row.field.to_string(),
        before: value(&row.before),
        after: value(&row.after),
        run: row.place.run.to_string(),
        actor: row.actor.clone(),
        at: row.at.to_string(),
    }
}

/// Something that was done.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Its id; later ones sort after earlier ones.
    #[schema(format = Uuid)]
    pub id: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who: `cli:` and an account of the system, `api:` and the name of a token, or `schedule`.
    #[schema(example = "api:example")]
    pub actor: String,
    /// What.
    #[schema(example = "user.edited")]
    pub action: String,
    /// Of which source.
    #[schema(required)]
    pub source: Option<String>,
    /// In which run.
    #[schema(required, format = Uuid)]
    pub run: Option<String>,
    /// Of which user, who may be gone.
    #[schema(required, format = Uuid)]
    pub user: Option<String>,
    /// Of which organization.
    #[schema(required, format = Uuid)]
    pub organization: Option<String>,
    /// The rest: fields with before and after, roles, counts.
    #[schema(required)]
    pub details: Json,
}

/// The document of one row of the audit trail.
pub fn audited(row: &store::AuditRow) -> AuditEntry {
    AuditEntry {
        id: row.id.to_string(),
        at: row.at.to_string(),
        actor: row.actor.clone(),
        action: row.action.clone(),
        source: row.source.clone(),
        run: row.run.map(|run| run.to_string()),
        user: row.user.map(|user| user.to_string()),
        organization: row.organization.map(|organization| organization.to_string()),
        details: row.details.clone(),
    }
}
