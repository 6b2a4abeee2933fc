//! What a source may say about roles: how they are translated, and which of them it may not grant.

use std::collections::{BTreeMap, BTreeSet};

/// What a source may say about roles.
#[derive(Debug, Clone, Default)]
pub struct RolePolicy {
    /// From directory role to local role; `None` takes them as they are, and what is not in a table is dropped.
    pub table: Option<BTreeMap<String, String>>,
    /// Granted to whom the directory grants none.
    pub default: Option<String>,
    /// Roles that administer this application.
    pub administrative: BTreeSet<String>,
    /// Those of them that this source may grant (invariant 12).
    pub grantable: BTreeSet<String>,
}

impl RolePolicy {
    /// Whether a role administers. Compared without regard to case, or `ADMIN` would slip past.
    pub fn administers(&self, role: &str) -> bool {
        self.administrative
            .iter()
            .any(|a| a.to_lowercase() == role.to_lowercase())
    }

    /// Whether it is a role that this source may not grant.
    pub fn refuses(&self, role: &str) -> bool {
        self.administers(role) && !self.grantable.contains(role)
    }

    pub(super) fn grants(&self, wanted: BTreeSet<String>) -> (BTreeSet<String>, BTreeSet<String>) {
        let translated: BTreeSet<String> = match &self.table {
            None => wanted,
            Some(table) => wanted.iter().filter_map(|role| table.get(role).cloned()).collect(),
        };
        let (refused, mut granted): (BTreeSet<_>, BTreeSet<_>) =
            translated.into_iter().partition(|role| self.refuses(role));
        if granted.is_empty() {
            granted.extend(self.default.clone());
        }
        (granted, refused)
    }
}
