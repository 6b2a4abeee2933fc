//! One search result entry (RFC 4511, section 4.5.2), from its bytes to what the source hands out.
//! Never panics: whatever cannot be read becomes the reason why that entry is unreadable.

use std::borrow::Cow;
use std::sync::Arc;

use crate::domain::entry::{ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTE_VALUES_MAX, Attributes};
use crate::domain::id::ExternalId;
use crate::domain::quarantine::{QuarantineCode, Quarantined};

use super::entry::EntryBytes;

/// Attributes of Active Directory that hold 16 bytes of a GUID.
const GUID_ATTRIBUTES: [&str; 2] = ["objectGUID", "mS-DS-ConsistencyGuid"];

/// Which attributes matter, and for what.
#[derive(Debug)]
pub(super) struct Decoder {
    wanted: Arc<[Arc<str>]>,
    external_id: Arc<str>,
    /// The attribute that states the organization, where one does.
    organization: Option<Arc<str>>,
    /// What a search asks for.
    requested: Arc<[Arc<str>]>,
}

/// An entry taken apart, before its organization is worked out.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) dn: Option<String>,
    pub(super) id: Option<ExternalId>,
    pub(super) attributes: Attributes,
    /// Values of the attribute that states the organization.
    pub(super) organization: Vec<String>,
    /// Attributes of which the server gave a part only (`member;range=0-1499`).
    pub(super) ranged: Vec<Ranged>,
    /// The first thing that was wrong.
    pub(super) problem: Option<Quarantined>,
}

/// An attribute of which more is to be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranged {
    pub(super) name: String,
    /// The first value that is missing.
    pub(super) next: usize,
}

impl Raw {
    fn refuse(&mut self, code: QuarantineCode, detail: impl Into<String>) {
        self.problem.get_or_insert_with(|| Quarantined::new(code, detail));
    }
}

/// Whether `name` holds 16 bytes that are printed as a GUID.
pub(super) fn is_guid(name: &str) -> bool {
    GUID_ATTRIBUTES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

impl Decoder {
    pub(super) fn new(wanted: &Arc<[Arc<str>]>, external_id: &str, organization: Option<&str>) -> Self {
        let external_id: Arc<str> = external_id.into();
        let organization: Option<Arc<str>> = organization.map(Into::into);
        let mut requested: Vec<Arc<str>> = Vec::new();
        for name in wanted.iter().chain([&external_id]).chain(&organization) {
            if !requested.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                requested.push(Arc::clone(name));
            }
        }
        Self {
            wanted: Arc::clone(wanted),
            external_id,
            organization,
            requested: requested.into(),
        }
    }

    pub(super) fn requested(&self) -> Arc<[Arc<str>]> {
        Arc::clone(&self.requested)
    }

    /// Takes one entry apart.
    pub(super) fn decode(&self, entry: &EntryBytes) -> Raw {
        let mut raw = Raw {
            attributes: Attributes::new(&self.wanted),
            ..Raw::default()
        };
        match entry.name().map(std::str::from_utf8) {
            Some(Ok(dn)) => raw.dn = Some(dn.to_owned()),
            _ => raw.refuse(
                QuarantineCode::Unreadable,
                "The DN of the entry is no UTF-8: correct it in the directory.",
            ),
        }
        for attribute in entry.attributes() {
            match (attribute.description, attribute.values) {
                (Some(name), Some(values)) => self.take(&mut raw, name, values),
                _ => raw.refuse(
                    QuarantineCode::Unreadable,
                    "An attribute of the entry has no name or no values.",
                ),
            }
        }
        if raw.id.is_none() {
            raw.refuse(
                QuarantineCode::BadId,
                format!("The entry has no attribute `{}`, which is the external id: add it, or leave the entry out by `filter`.", self.external_id),
            );
        }
        raw
    }

    /// Hands the values of one attribute to whatever it is for; `None` is a value that is no string of bytes.
    pub(super) fn take<'v>(
        &self,
        raw: &mut Raw,
        description: &[u8],
        values: impl Iterator<Item = Option<&'v [u8]>> + Clone,
    ) {
        let Ok(description) = std::str::from_utf8(description) else {
            // A name that is no text was not asked for.
            return;
        };
        let (name, range) = split_range(description);
        if let Some(Some(next)) = range {
            raw.ranged.push(Ranged {
                name: name.to_owned(),
                next,
            });
        }
        if values.clone().any(|value| value.is_none()) {
            return raw.refuse(
                QuarantineCode::Unreadable,
                format!("A value of `{name}` is no string of bytes."),
            );
        }
        let values = values.flatten();
        let is = |known: &Arc<str>| known.eq_ignore_ascii_case(name);
        if is(&self.external_id) {
            self.take_id(raw, values.clone());
        }
        if self.organization.as_ref().is_some_and(is) {
            for value in values.clone() {
                match std::str::from_utf8(value) {
                    Ok(text) => raw.organization.push(text.to_owned()),
                    Err(_) => raw.refuse(
                        QuarantineCode::Unreadable,
                        format!("A value of `{name}`, which states the organization, is no UTF-8: correct it in the directory."),
                    ),
                }
            }
        }
        for (at, wanted) in self.wanted.iter().enumerate() {
            if is(wanted) {
                take_wanted(raw, at, wanted, values.clone());
            }
        }
    }

    fn take_id<'v>(&self, raw: &mut Raw, mut values: impl Iterator<Item = &'v [u8]>) {
        let name = &self.external_id;
        let Some(value) = values.next() else { return };
        let more = values.count();
        if more > 0 {
            let count = more + 1;
            return raw.refuse(
                QuarantineCode::BadId,
                format!("The entry has {count} values of `{name}`, which is the external id: use an attribute with one value, such as entryUUID or objectGUID."),
            );
        }
        let text = match printed(name, value) {
            Some(text) => text,
            None => {
                return raw.refuse(
                    QuarantineCode::BadId,
                    format!("The value of `{name}`, which is the external id, is no text: use another attribute as `external_id`."),
                );
            }
        };
        match ExternalId::parse(text) {
            Ok(id) => raw.id = Some(id),
            Err(error) => raw.refuse(
                QuarantineCode::BadId,
                format!(
                    "The value of `{name}` cannot be an external id, because {error}: correct it in the directory."
                ),
            ),
        }
    }
}

/// Keeps the values of the wanted attribute numbered `at`.
fn take_wanted<'v>(raw: &mut Raw, at: usize, wanted: &Arc<str>, values: impl Iterator<Item = &'v [u8]> + Clone) {
    if values.clone().count() + raw.attributes.all_at(at).count() > ATTRIBUTE_VALUES_MAX {
        return raw.refuse(
            QuarantineCode::TooLarge,
            format!("The attribute `{wanted}` has more than {ATTRIBUTE_VALUES_MAX} values: map another attribute."),
        );
    }
    for value in values {
        if value.len() > ATTRIBUTE_VALUE_BYTES_MAX {
            return raw.refuse(
                QuarantineCode::TooLarge,
                format!("A value of `{wanted}` has {} bytes, more than {ATTRIBUTE_VALUE_BYTES_MAX}: shorten it in the directory.", value.len()),
            );
        }
        match printed(wanted, value) {
            Some(text) => raw.attributes.push_at(at, &text),
            None => {
                return raw.refuse(
                    QuarantineCode::Unreadable,
                    format!(
                        "A value of `{wanted}` is no UTF-8: correct it in the directory, or map another attribute."
                    ),
                );
            }
        }
    }
}

/// A value as text: a GUID where the attribute holds one, UTF-8 otherwise.
fn printed<'v>(name: &str, value: &'v [u8]) -> Option<Cow<'v, str>> {
    match <[u8; 16]>::try_from(value) {
        Ok(guid) if is_guid(name) => Some(uuid::Uuid::from_bytes_le(guid).hyphenated().to_string().into()),
        _ => std::str::from_utf8(value).ok().map(Cow::Borrowed),
    }
}

/// Takes the range option of Active Directory off an attribute description: `member;range=0-1499` is `member`, and
/// goes on at 1500; `member;range=1500-*` is its end.
pub(super) fn split_range(description: &str) -> (&str, Option<Option<usize>>) {
    let Some((name, option)) = description.split_once(';') else {
        return (description, None);
    };
    let lower = option.to_ascii_lowercase();
    let Some((_, end)) = lower.strip_prefix("range=").and_then(|range| range.split_once('-')) else {
        return (description, None);
    };
    match end {
        "*" => (name, Some(None)),
        // A range that cannot be read is followed from its start: the server then says what it has.
        end => (
            name,
            Some(Some(end.parse::<usize>().map_or(0, |last| last.saturating_add(1)))),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::{entry, entry_of, list, string};
    use super::*;

    fn decoder(id: &str) -> Decoder {
        Decoder::new(&["mail".into(), "givenName".into()].into(), id, Some("company"))
    }

    #[test]
    fn names_are_matched_without_regard_to_case_and_given_as_wanted() {
        let raw = decoder("uid").decode(&entry(
            b"uid=a,dc=example",
            &[
                ("UID", &[b"a"]),
                ("MAIL", &[b"a@firm.example", b""]),
                ("Company", &[b"Firm"]),
                ("cn", &[b"no"]),
            ],
        ));
        assert_eq!(raw.problem, None);
        assert_eq!(raw.id.expect("an id").as_str(), "a");
        assert_eq!(raw.attributes.all("mail"), ["a@firm.example", ""]);
        assert_eq!(raw.attributes.iter().count(), 1);
        assert_eq!(raw.organization, ["Firm"]);
    }

    #[test]
    fn a_guid_is_printed_as_active_directory_does() {
        let bytes = [0x78, 0x56, 0x34, 0x12, 0xbc, 0x9a, 0xf0, 0xde, 1, 2, 3, 4, 5, 6, 7, 8];
        let raw = decoder("objectguid").decode(&entry(b"cn=a", &[("objectGUID", &[&bytes])]));
        assert_eq!(raw.id.expect("an id").as_str(), "12345678-9abc-def0-0102-030405060708");
    }

    #[test]
    fn what_cannot_be_read_keeps_its_id() {
        let huge = vec![b'x'; ATTRIBUTE_VALUE_BYTES_MAX + 1];
        let many = vec![&b"v"[..]; ATTRIBUTE_VALUES_MAX + 1];
        for (values, code) in [
            (&[&b"\xff"[..]][..], QuarantineCode::Unreadable),
            (&[&huge[..]][..], QuarantineCode::TooLarge),
            (&many[..], QuarantineCode::TooLarge),
        ] {
            let raw = decoder("uid").decode(&entry(b"uid=a", &[("mail", values), ("uid", &[b"a"])]));
            assert_eq!(raw.problem.expect("a problem").code, code);
            assert!(raw.id.is_some());
        }
        let raw = decoder("uid").decode(&entry(b"uid=\xff", &[("uid", &[b"a"])]));
        assert!(raw.problem.is_some() && raw.id.is_some() && raw.dn.is_none());
    }

    #[test]
    fn no_single_readable_id_is_no_id() {
        for values in [
            &[][..],
            &[&b"a"[..], b"b"][..],
            &[&b"\xff"[..]][..],
            &[&b""[..]][..],
            &[&b"a\0"[..]][..],
        ] {
            let raw = decoder("uid").decode(&entry(b"uid=a", &[("uid", values)]));
            assert_eq!(raw.id, None);
            assert_eq!(raw.problem.expect("a problem").code, QuarantineCode::BadId);
        }
    }

    #[test]
    fn odd_shapes_are_values_not_panics() {
        for odd in [
            entry_of(&[]),
            entry_of(&[list(&[]), string(b"")]),
            entry_of(&[string(b"cn=a"), list(&[string(b"x"), list(&[]), list(&[string(b"a")])])]),
        ] {
            assert!(decoder("uid").decode(&odd).problem.is_some());
        }
    }

    #[test]
    fn ranges_are_seen() {
        assert_eq!(split_range("member;range=0-1499"), ("member", Some(Some(1500))));
        assert_eq!(split_range("member;Range=1500-*"), ("member", Some(None)));
        assert_eq!(split_range("cn;lang-de"), ("cn;lang-de", None));
        assert_eq!(split_range("cn"), ("cn", None));
        let raw = decoder("uid").decode(&entry(b"uid=a", &[("uid", &[b"a"]), ("mail;range=0-1", &[b"x", b"y"])]));
        assert_eq!(
            raw.ranged,
            [Ranged {
                name: "mail".into(),
                next: 2
            }]
        );
        assert_eq!(raw.attributes.all("mail").len(), 2);
    }
}
