//! One account as a source states it, before mapping. Never a wire format: sources decode into this.

use std::sync::Arc;

use super::id::ExternalId;
use super::quarantine::Quarantined;

/// Most values of one attribute that are kept; an entry with more is quarantined.
pub const ATTRIBUTE_VALUES_MAX: usize = 1_000;

/// Longest value of one attribute, in bytes; an entry with a longer one is quarantined.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 64 * 1024;

/// What room is made for a value before it is known.
const VALUE_BYTES_USUAL: usize = 16;

/// The attributes of one entry.
///
/// Only attributes that the mapping asks for are in it, under the names the configuration uses. An attribute that
/// the directory states without a value, or as JSON `null`, is not in it; an empty string is in it as an empty string.
///
/// All values lie in one text: a listing has a million entries, which are made on one thread and dropped on another,
/// and a text of its own for each value would be most of the work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    names: Arc<[Arc<str>]>,
    text: String,
    /// In the order of arrival: which name, and where in the text the value ends.
    values: Vec<(usize, usize)>,
}

impl Attributes {
    /// No value yet of any of `names`.
    pub fn new(names: &Arc<[Arc<str>]>) -> Self {
        Self {
            names: Arc::clone(names),
            text: String::with_capacity(names.len() * VALUE_BYTES_USUAL),
            values: Vec::with_capacity(names.len()),
        }
    }

    /// Appends one value to the attribute `name`; one that was not asked for is left out.
    pub fn push(&mut self, name: &str, value: &str) {
        if let Some(at) = self.position(name) {
            self.push_at(at, value);
        }
    }

    /// Appends one value to the attribute whose name is the one numbered `at`.
    pub fn push_at(&mut self, at: usize, value: &str) {
        self.text.push_str(value);
        self.values.push((at, self.text.len()));
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| **known == *name)
    }

    /// Number and value, in the order of arrival.
    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut start = 0;
        self.values.iter().map(move |(at, end)| {
            let value = &self.text[start..*end];
            start = *end;
            (*at, value)
        })
    }

    /// All values of the attribute whose name is the one numbered `wanted`.
    pub fn all_at(&self, wanted: usize) -> impl Iterator<Item = &str> {
        self.numbered()
            .filter_map(move |(at, value)| (at == wanted).then_some(value))
    }

    /// Each value of the attribute `name`; none where it is absent.
    pub fn each(&self, name: &str) -> impl Iterator<Item = &str> {
        // A name that was not asked for has a number that no value has.
        self.all_at(self.position(name).unwrap_or(usize::MAX))
    }

    /// All values of the attribute `name`; none where it is absent.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.each(name).collect()
    }

    /// The first value of the attribute `name`.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.each(name).next()
    }

    /// Every attribute that has a value, with all of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let named = self.names.iter().enumerate();
        named
            .map(|(at, name)| (&**name, self.all_at(at).collect::<Vec<_>>()))
            .filter(|(_, values)| !values.is_empty())
    }

    /// Whether the attribute `name` has a value.
    pub fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// How many values there are in all.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// The first attribute that has more or longer values than it may: its name, their number, and the bytes of the
    /// longest.
    pub fn too_large(&self) -> Option<(&str, usize, usize)> {
        // What is small as a whole is small in every part.
        if self.values.len() <= ATTRIBUTE_VALUES_MAX && self.text.len() <= ATTRIBUTE_VALUE_BYTES_MAX {
            return None;
        }
        self.names.iter().enumerate().find_map(|(at, name)| {
            let (count, longest) = self
                .all_at(at)
                .fold((0, 0), |(count, longest), value| (count + 1, value.len().max(longest)));
            (count > ATTRIBUTE_VALUES_MAX || longest > ATTRIBUTE_VALUE_BYTES_MAX).then_some((&**name, count, longest))
        })
    }

    /// The names that were asked for, whether they have a value or not.
    pub fn names(&self) -> &Arc<[Arc<str>]> {
        &self.names
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
