//! One account as a source states it, before mapping. Never a wire format: sources decode into this.

use std::sync::Arc;

use super::id::ExternalId;
use super::quarantine::Quarantined;

/// Most values of one attribute that are kept; an entry with more is quarantined.
pub const ATTRIBUTE_VALUES_MAX: usize = 1_000;

/// Longest value of one attribute, in bytes; an entry with a longer one is quarantined.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 64 * 1024;

/// The attributes of one entry, in the order of arrival.
///
/// Only attributes that the mapping asks for are in it, under the names the configuration uses. An attribute that
/// the directory states without a value, or as JSON `null`, is not in it; an empty string is in it as an empty string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(Vec<(Arc<str>, Vec<String>)>);

impl Attributes {
    /// Room for as many attributes as the mapping asks for.
    pub fn with_capacity(attributes: usize) -> Self {
        Self(Vec::with_capacity(attributes))
    }

    /// Appends one value to the attribute `name`.
    pub fn push(&mut self, name: &Arc<str>, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value),
            None => self.0.push((Arc::clone(name), vec![value])),
        }
    }

    /// All values of the attribute `name`; empty where it is absent.
    pub fn all(&self, name: &str) -> &[String] {
        self.0
            .iter()
            .find(|(known, _)| &**known == name)
            .map_or(&[], |(_, values)| values.as_slice())
    }

    /// The first value of the attribute `name`.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str)
    }

    /// Every attribute with its values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(name, values)| (&**name, values.as_slice()))
    }
}

/// An organization as an entry names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationRef {
    /// Its id at the directory; where the directory only knows a name, the name.
    pub id: ExternalId,
    /// What to call it when it is new here; `None` where the organization was listed by itself.
    pub name: Option<String>,
}

/// One account as a source states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id at the directory.
    pub id: ExternalId,
    /// The organization that it belongs to, where the directory says so.
    pub organization: Option<OrganizationRef>,
    /// What the mapping asked for.
    pub attributes: Attributes,
}

/// One organization as a source lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryOrganization {
    /// Its id at the directory.
    pub id: ExternalId,
    /// Its name, not yet normalized.
    pub name: String,
    /// Its kind (`consultant`, `bidder`, …), where the directory says so.
    pub kind: Option<String>,
    /// Whether the directory calls it closed.
    pub closed: bool,
    /// Whether it asked this agency for access; `None` where the directory knows no such thing, which follows it.
    pub requested_access: Option<bool>,
    /// Further plain values worth keeping (`city`, `phone`), sorted by name.
    pub attributes: Vec<(String, String)>,
}

/// What arrives from a source for one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A readable entry.
    Entry(Entry),
    /// One that could not be read. It counts as present (invariant 3), so its id matters: with `None` nobody knows
    /// who it was, and the listing cannot prove anybody's absence.
    Unreadable {
        /// Its id, where that much could be read.
        id: Option<ExternalId>,
        /// Why.
        reason: Quarantined,
    },
}

/// A handful of what a source read: the unit of back-pressure. At most a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Organizations, before the entries that belong to them.
    pub organizations: Vec<DirectoryOrganization>,
    /// Accounts.
    pub entries: Vec<Received>,
    /// Pages (HTTP answers, LDAP result pages) that this batch completes; for the progress display.
    pub pages: u64,
}
