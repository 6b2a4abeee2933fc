//! Versions of rows: what an edit was based on. Worked out of the content and not of a counter, because an application
//! may change the columns with plain SQL.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::error::{StoreError, StoreErrorKind};
use super::organizations::Organization;
use super::users::UserRow;

/// Bytes of a version: enough that no two contents have the same by accident.
const VERSION_BYTES: usize = 16;

impl UserRow {
    /// The version of the row, its roles and its link.
    pub fn version(&self) -> String {
        let roles: Vec<_> = self
            .roles
            .iter()
            .map(|(name, by_directory)| json!([name, by_directory]))
            .collect();
        version(&json!([
            self.id.to_string(),
            self.kind,
            self.email,
            self.first_name,
            self.last_name,
            self.phone,
            self.title,
            self.organization.as_ref().map(|(id, _)| id.to_string()),
            self.license,
            self.billable,
            self.status,
            self.disabled_by,
            self.attributes,
            roles,
            self.link.as_ref().map(|(source, id)| [source.as_str(), id.as_str()]),
            self.created_at.to_string(),
            self.updated_at.to_string(),
        ]))
    }
}

impl Organization {
    /// The version of the row; how many users it has is no part of it.
    pub fn version(&self) -> String {
        version(&json!([
            self.id.to_string(),
            self.name,
            self.kind,
            self.link.as_ref().map(|(source, id)| [source.as_str(), id.as_str()]),
            self.followed,
            self.status,
            self.attributes,
            self.updated_at.to_string(),
        ]))
    }
}

fn version(content: &Json) -> String {
    let digest = Sha256::digest(content.to_string().as_bytes());
    digest
        .iter()
        .take(VERSION_BYTES)
        .fold(String::with_capacity(2 * VERSION_BYTES), |mut text, byte| {
            // A string takes any text, so writing to it cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Which version of a row an edit may meet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there.
    #[default]
    Any,
    /// One of these.
    OneOf(Vec<String>),
}

impl Expected {
    /// Whether an edit may meet this version.
    pub fn admits(&self, version: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.iter().any(|v| v == version),
        }
    }

    /// Refuses a row of another version.
    pub(super) fn check(&self, version: &str) -> Result<(), StoreError> {
        match self.admits(version) {
            true => Ok(()),
            false => Err(StoreError::version_mismatch()),
        }
    }
}

impl StoreError {
    /// That a row is not the one that an edit was based on.
    pub fn version_mismatch() -> Self {
        Self::new(
            StoreErrorKind::VersionMismatch,
            "it was changed since it was read, so nothing was written; read it again and repeat the edit",
        )
    }
}
