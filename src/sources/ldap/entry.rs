//! One search result entry (RFC 4511, section 4.5.2) in the bytes in which it came: its name, its attributes, their
//! values. The guard has checked the outside; what is odd inside reads as missing, and never panics.
//!
//! The library builds a tree of every entry, with an allocation for each name and each value: that alone takes longer
//! than a directory needs to send it.

use std::ops::Range;
use std::sync::Arc;

use super::ber::{self, Elements};

/// One entry. Cheap to move; holds on to the bytes that arrived with it.
#[derive(Debug, Clone)]
pub(super) struct EntryBytes {
    arrived: Arc<Vec<u8>>,
    at: Range<usize>,
}

impl EntryBytes {
    /// The entry whose whole message is at `at` of `arrived`.
    pub(super) fn new(arrived: &Arc<Vec<u8>>, at: Range<usize>) -> Self {
        Self {
            arrived: Arc::clone(arrived),
            at,
        }
    }

    fn parts(&self) -> Elements<'_> {
        ber::operation_parts(&self.arrived[self.at.clone()])
    }

    /// The distinguished name; `None` where there is none.
    pub(super) fn name(&self) -> Option<&[u8]> {
        self.parts().next_good()?.bytes()
    }

    /// The attributes, in the order of arrival.
    pub(super) fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        let mut parts = self.parts();
        parts.next_good();
        let mut attributes = parts.next_good().map_or(Elements::none(), |list| list.elements());
        std::iter::from_fn(move || {
            let mut halves = attributes.next_good()?.elements();
            Some(Attribute {
                description: halves.next_good().and_then(|name| name.bytes()),
                values: halves.next_good().map(|values| Values(values.elements())),
            })
        })
    }
}

/// One attribute of an entry.
#[derive(Debug, Clone)]
pub(super) struct Attribute<'a> {
    /// Its name with its options (RFC 4512, section 2.5); `None` where there is none.
    pub(super) description: Option<&'a [u8]>,
    /// Its values; `None` where there is no list of them.
    pub(super) values: Option<Values<'a>>,
}

/// The values of an attribute, in the order of arrival; `None` for what is no string of bytes.
#[derive(Debug, Clone)]
pub(super) struct Values<'a>(Elements<'a>);

impl<'a> Iterator for Values<'a> {
    type Item = Option<&'a [u8]>;
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_good().map(|value| value.bytes())
    }
}

/// Values that are text; others are left out.
pub(super) fn texts<'a>(values: Values<'a>) -> impl Iterator<Item = &'a str> {
    values.filter_map(|value| std::str::from_utf8(value?).ok())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).expect("short").to_be_bytes();
        [&[tag, 0x84][..], &length, content].concat()
    }

    /// A string of bytes.
    pub(in super::super) fn string(bytes: &[u8]) -> Vec<u8> {
        tlv(4, bytes)
    }

    /// A list of elements.
    pub(in super::super) fn list(elements: &[Vec<u8>]) -> Vec<u8> {
        tlv(0x30, &elements.concat())
    }

    /// An entry of any parts.
    pub(in super::super) fn entry_of(parts: &[Vec<u8>]) -> EntryBytes {
        let message = list(&[tlv(2, &[1]), tlv(0x64, &parts.concat())]);
        ber::message(&message).expect("the guard lets it through");
        let all = 0..message.len();
        EntryBytes::new(&Arc::new(message), all)
    }

    /// An entry as a server would send it.
    pub(in super::super) fn entry(dn: &[u8], attributes: &[(&str, &[&[u8]])]) -> EntryBytes {
        let attributes: Vec<Vec<u8>> = attributes
            .iter()
            .map(|(name, values)| {
                let values: Vec<Vec<u8>> = values.iter().map(|value| string(value)).collect();
                list(&[string(name.as_bytes()), list(&values)])
            })
            .collect();
        entry_of(&[string(dn), list(&attributes)])
    }

    #[test]
    fn an_entry_is_read_in_place() {
        let entry = entry(b"uid=a", &[("uid", &[b"a"]), ("mail", &[b"x", b"\xff", b"y"])]);
        assert_eq!(entry.name(), Some(&b"uid=a"[..]));
        let read: Vec<_> = entry.attributes().collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].description, Some(&b"mail"[..]));
        let values = read[1].values.clone().expect("a list");
        assert_eq!(values.clone().count(), 3);
        assert_eq!(texts(values).collect::<Vec<_>>(), ["x", "y"]);
    }

    #[test]
    fn odd_shapes_read_as_missing() {
        assert_eq!(entry_of(&[]).name(), None);
        assert_eq!(entry_of(&[list(&[])]).name(), None);
        assert_eq!(entry_of(&[string(b"a"), string(b"b")]).attributes().count(), 0);
        let odd = entry_of(&[string(b"a"), list(&[string(b"no list"), list(&[list(&[])])])]);
        assert!(odd.attributes().all(|attribute| attribute.description.is_none()));
        assert_eq!(odd.attributes().count(), 2);
    }
}
