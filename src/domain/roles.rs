//! What a source may say about roles: how they are translated, and which of them it may not grant.

use std::borrow::Cow;
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
        self.administrative.iter().any(|administrative| {
            if administrative.is_ascii() && role.is_ascii() {
                administrative.eq_ignore_ascii_case(role)
            } else {
                administrative.to_lowercase() == role.to_lowercase()
            }
        })
    }

    /// Whether it is a role that this source may not grant.
    pub fn refuses(&self, role: &str) -> bool {
        self.administers(role) && !self.grantable.contains(role)
    }

    /// What a source grants of what it asks for, and what it is refused; each sorted and without doubles.
    pub(super) fn grants<'v>(&'v self, wanted: Vec<Cow<'v, str>>) -> (Vec<Cow<'v, str>>, Vec<Cow<'v, str>>) {
        let mut translated: Vec<Cow<'v, str>> = match &self.table {
            None => wanted,
            Some(table) => wanted
                .iter()
                .filter_map(|role| table.get(&**role))
                .map(|role| Cow::Borrowed(role.as_str()))
                .collect(),
        };
        translated.sort_unstable();
        translated.dedup();
        let (refused, mut granted): (Vec<_>, Vec<_>) = translated.into_iter().partition(|role| self.refuses(role));
        if granted.is_empty() {
            granted.extend(self.default.as_deref().map(Cow::Borrowed));
        }
        (granted, refused)
    }
}
