//! Digests over values: every text with its length before it, so that no two contents share one. Never a shortcut
//! over something shorter than SHA-256: whoever can choose a name must not be able to choose a digest.

use sha2::{Digest as _, Sha256};

use super::field::{Field, Value};
use super::id::{Digest, ExternalId};

/// What an entry usually comes to, in bytes.
const ENTRY_BYTES_USUAL: usize = 512;

/// Bytes to be digested, gathered first: the hash function works best on all of them at once.
#[derive(Debug)]
pub(super) struct Digester(Vec<u8>);

impl Digester {
    /// Begins with the id of an entry.
    pub(super) fn new(id: &ExternalId) -> Self {
        let mut digester = Self(Vec::with_capacity(ENTRY_BYTES_USUAL));
        digester.feed(id.as_str());
        digester
    }

    fn feed(&mut self, text: &str) {
        self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// The field of the value that comes next.
    pub(super) fn field(&mut self, field: &Field) {
        match field {
            Field::Attribute(name) => {
                self.0.push(255);
                self.feed(name);
            }
            column => self
                .0
                .push(1 + Field::COLUMNS.iter().position(|f| f == column).unwrap_or(0) as u8),
        }
    }

    /// One text, or none.
    pub(super) fn text(&mut self, text: Option<&str>) {
        match text {
            None => self.0.push(0),
            Some(text) => {
                self.0.push(1);
                self.feed(text);
            }
        }
    }

    /// A set: sorted, each item once.
    pub(super) fn set<'i>(&mut self, items: impl ExactSizeIterator<Item = &'i str>) {
        self.0.push(2);
        self.0.extend_from_slice(&(items.len() as u64).to_be_bytes());
        items.for_each(|item| self.feed(item));
    }

    /// One value, told apart from every other.
    pub(super) fn value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => self.text(text.as_deref()),
            Value::Set(set) => self.set(set.iter().map(String::as_str)),
        }
    }

    /// The first 128 bits of the hash over all of it.
    pub(super) fn finish(self) -> Digest {
        let bytes = Sha256::digest(&self.0);
        let mut first = [0; 16];
        first.copy_from_slice(&bytes[..16]);
        Digest(u128::from_be_bytes(first))
    }
}

/// Feeds one value into a hash that is under way, as [`Digester`] would.
pub(super) fn hash_value(hash: &mut Sha256, value: &Value) {
    let mut digester = Digester(Vec::new());
    digester.value(value);
    hash.update(&digester.0);
}
