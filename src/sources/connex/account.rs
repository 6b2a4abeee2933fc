//! Decodes one account from JSON without building a tree: what the mapping does not ask for is skipped unread.
//! Whatever stands in an account, only that account is lost by it: no error for anything but broken JSON.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::domain::entry::{
    ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTE_VALUES_MAX, Attributes, Entry, OrganizationRef, Received,
};
use crate::domain::id::ExternalId;
use crate::domain::quarantine::{QuarantineCode, Quarantined};

use super::wire::{Item, Scalar, ScalarSeed};

/// Stands where bytes could not be read.
const REPLACEMENT: char = '\u{FFFD}';

/// Reads one account.
#[derive(Clone, Copy)]
pub(super) struct AccountSeed<'a> {
    /// The JSON keys that the mapping asks for.
    pub(super) wanted: &'a Arc<[Arc<str>]>,
    /// Whether broken characters were replaced in the text, so that a replacement character speaks against an entry.
    pub(super) suspect: bool,
}

impl<'de> DeserializeSeed<'de> for AccountSeed<'_> {
    type Value = Item<Received>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AccountSeed<'_> {
    type Value = Item<Received>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an account")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut draft = Draft {
            id: None,
            organization: None,
            deleted: false,
            attributes: Attributes::new(self.wanted),
            problem: None,
        };
        while let Some(key) = map.next_key_seed(KeySeed(self.wanted))? {
            let mut values = ValueSeed {
                at: key.wanted,
                draft: &mut draft,
                inside_array: false,
                suspect: self.suspect,
            };
            match key.role {
                None if key.wanted.is_none() => {
                    map.next_value::<IgnoredAny>()?;
                }
                None => {
                    values.refuse_twice();
                    map.next_value_seed(values)?;
                }
                Some(role) => {
                    let value = map.next_value_seed(ScalarSeed)?;
                    values.keep(&value);
                    draft.set(role, value);
                }
            }
        }
        Ok(draft.finish(self.suspect))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(no_object())
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(no_object())
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(no_object())
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(no_object())
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(no_object())
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(no_object())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(no_object())
    }
}

fn no_object() -> Item<Received> {
    let sentence = "the directory lists something that is no account (a JSON object was expected): tell its operator";
    unreadable(None, QuarantineCode::Unreadable, sentence.into())
}

fn unreadable(id: Option<ExternalId>, code: QuarantineCode, detail: String) -> Item<Received> {
    let reason = Quarantined::new(code, detail);
    Item::Present(Received::Unreadable { id, reason })
}

/// The keys that mean something to the source itself.
#[derive(Clone, Copy)]
enum Role {
    Id,
    Organization,
    Deleted,
}

/// What an account holds so far.
struct Draft {
    id: Option<Scalar>,
    organization: Option<Scalar>,
    deleted: bool,
    attributes: Attributes,
    problem: Option<(QuarantineCode, String)>,
}

impl Draft {
    /// Keeps the first problem: one sentence is enough for a person to look.
    fn object(&mut self, code: QuarantineCode, detail: impl FnOnce() -> String) {
        if self.problem.is_none() {
            self.problem = Some((code, detail()));
        }
    }

    /// The name of a wanted attribute, for messages.
    fn name(&self, at: usize) -> Arc<str> {
        Arc::clone(&self.attributes.names()[at])
    }

    fn set(&mut self, role: Role, value: Scalar) {
        let twice = match role {
            Role::Id => self.id.replace(value).is_some(),
            Role::Organization => self.organization.replace(value).is_some(),
            Role::Deleted => {
                self.deleted = value == Scalar::Bool(true);
                false
            }
        };
        if twice {
            self.object(QuarantineCode::Unreadable, || {
                "the account states its id or its organization twice: tell the directory's operator".into()
            });
        }
    }

    fn finish(mut self, suspect: bool) -> Item<Received> {
        let id = match self.id.take() {
            Some(Scalar::Text(text)) if suspect && text.contains(REPLACEMENT) => Err("is no valid UTF-8".to_owned()),
            Some(Scalar::Text(text)) => ExternalId::parse(text).map_err(|error| format!("cannot be used: {error}")),
            Some(Scalar::Count(number)) => ExternalId::parse(number.to_string()).map_err(|error| error.to_string()),
            None | Some(Scalar::Null) => Err("is missing".to_owned()),
            Some(_) => Err("is no text".to_owned()),
        };
        let id = match id {
            Ok(id) => id,
            Err(why) => {
                let detail = format!("the id of an account {why}: have it mended at the directory");
                return unreadable(None, QuarantineCode::BadId, detail);
            }
        };
        if self.deleted {
            return Item::Deleted;
        }
        let organization = match self.organization.take() {
            None | Some(Scalar::Null) => None,
            Some(Scalar::Text(text)) if suspect && text.contains(REPLACEMENT) => Some(Err(())),
            Some(Scalar::Text(text)) => Some(ExternalId::parse(text).map_err(|_| ())),
            Some(Scalar::Count(number)) => Some(ExternalId::parse(number.to_string()).map_err(|_| ())),
            Some(_) => Some(Err(())),
        };
        if organization == Some(Err(())) {
            // Read as "none" it would move a person out of the firm.
            self.object(QuarantineCode::BadValue, || {
                "`organization_id` can be no id: have it mended at the directory".into()
            });
        }
        let organization = organization
            .and_then(Result::ok)
            .map(|id| OrganizationRef { id, name: None });
        match self.problem {
            Some((code, detail)) => unreadable(Some(id), code, detail),
            None => Item::Present(Received::Entry(Entry {
                id,
                organization,
                attributes: self.attributes,
            })),
        }
    }
}

/// Which key of an account this is.
struct Key {
    role: Option<Role>,
    wanted: Option<usize>,
}

struct KeySeed<'a>(&'a [Arc<str>]);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Key, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
        let role = match key {
            "id" => Some(Role::Id),
            "organization_id" => Some(Role::Organization),
            "deleted" => Some(Role::Deleted),
            _ => None,
        };
        let wanted = self.0.iter().position(|name| &**name == key);
        Ok(Key { role, wanted })
    }
}

/// Reads the value of one wanted key into the draft.
struct ValueSeed<'a> {
    /// The number of its name; `None` where it is not wanted.
    at: Option<usize>,
    draft: &'a mut Draft,
    inside_array: bool,
    suspect: bool,
}

impl ValueSeed<'_> {
    fn refuse_twice(&mut self) {
        let Some(at) = self.at else { return };
        if self.draft.attributes.all_at(at).next().is_some() {
            let name = self.draft.name(at);
            self.draft.object(QuarantineCode::Unreadable, || {
                format!("the account states `{name}` twice: tell the directory's operator")
            });
        }
    }

    fn keep(&mut self, value: &Scalar) {
        match value {
            Scalar::Text(text) => self.text(text),
            Scalar::Count(number) => self.text(&number.to_string()),
            Scalar::Bool(true) => self.text("true"),
            Scalar::Bool(false) => self.text("false"),
            Scalar::Null => {}
            Scalar::Other => self.nested(),
        }
    }

    fn text(&mut self, text: &str) {
        let Some(at) = self.at else { return };
        if self.suspect && text.contains(REPLACEMENT) {
            let name = self.draft.name(at);
            return self.draft.object(QuarantineCode::Unreadable, || {
                format!("`{name}` holds characters that are no valid UTF-8: have it corrected at the directory")
            });
        }
        if text.len() > ATTRIBUTE_VALUE_BYTES_MAX {
            let name = self.draft.name(at);
            return self.draft.object(QuarantineCode::TooLarge, || {
                let bytes = text.len();
                format!("`{name}` has {bytes} bytes, more than {ATTRIBUTE_VALUE_BYTES_MAX}: have it shortened at the directory")
            });
        }
        // Counted only where it can matter: counting at each value would make a long list quadratic.
        if self.inside_array
            && self.draft.attributes.count() >= ATTRIBUTE_VALUES_MAX
            && self.draft.attributes.all_at(at).count() >= ATTRIBUTE_VALUES_MAX
        {
            let name = self.draft.name(at);
            return self.draft.object(QuarantineCode::TooLarge, || {
                format!("`{name}` has more than {ATTRIBUTE_VALUES_MAX} values: have some removed at the directory")
            });
        }
        self.draft.attributes.push_at(at, text);
    }

    fn nested(&mut self) {
        let Some(at) = self.at else { return };
        let name = self.draft.name(at);
        self.draft.object(QuarantineCode::Unreadable, || {
            format!("`{name}` is a nested value where a text was expected: change the mapping, or have it mended at the directory")
        });
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(mut self, value: bool) -> Result<(), E> {
        self.text(if value { "true" } else { "false" });
        Ok(())
    }
    fn visit_u64<E>(mut self, value: u64) -> Result<(), E> {
        self.text(&value.to_string());
        Ok(())
    }
    fn visit_i64<E>(mut self, value: i64) -> Result<(), E> {
        self.text(&value.to_string());
        Ok(())
    }
    fn visit_f64<E>(mut self, value: f64) -> Result<(), E> {
        self.text(&value.to_string());
        Ok(())
    }
    fn visit_str<E>(mut self, value: &str) -> Result<(), E> {
        self.text(value);
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        if self.inside_array {
            self.nested();
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        loop {
            let element = ValueSeed {
                at: self.at,
                draft: self.draft,
                inside_array: true,
                suspect: self.suspect,
            };
            if seq.next_element_seed(element)?.is_none() {
                return Ok(());
            }
        }
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.nested();
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire;
    use super::*;

    fn one(item: &str) -> Item<Received> {
        one_of_bytes(item.as_bytes())
    }

    fn one_of_bytes(item: &[u8]) -> Item<Received> {
        let wanted: Arc<[Arc<str>]> = ["email", "roles", "phone", "active", "id"].map(Arc::from).into();
        let mut body = br#"{"items": ["#.to_vec();
        body.extend_from_slice(item);
        body.extend_from_slice(br#"], "next": null}"#);
        let mut page = wire::accounts(&body, &wanted, 32).expect("a page");
        assert_eq!(page.items.len(), 1);
        page.items.remove(0)
    }

    fn entry(item: &str) -> Entry {
        match one(item) {
            Item::Present(Received::Entry(entry)) => entry,
            other => panic!("{item}: {other:?}"),
        }
    }

    fn refused(item: &[u8]) -> (Option<String>, QuarantineCode) {
        match one_of_bytes(item) {
            Item::Present(Received::Unreadable { id, reason }) => (id.map(|id| id.as_str().to_owned()), reason.code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn wanted_keys_are_kept_as_text_and_the_rest_is_skipped() {
        let entry = entry(
            r#"{"id": "u-1", "organization_id": "o-1", "email": "avery@paving.example", "roles": ["a", 5, null, "b"],
               "active": true, "phone": null, "unknown": {"deep": [1, {"er": 2}]}, "title": "x"}"#,
        );
        assert_eq!(entry.id.as_str(), "u-1");
        assert_eq!(entry.organization.expect("one").id.as_str(), "o-1");
        assert_eq!(entry.attributes.all("roles"), ["a", "5", "b"]);
        assert_eq!(entry.attributes.first("active"), Some("true"));
        assert_eq!(entry.attributes.first("id"), Some("u-1"));
        assert_eq!(entry.attributes.first("phone"), None);
        assert_eq!(entry.attributes.first("title"), None);
    }

    #[test]
    fn null_empty_and_absent_are_three_things() {
        assert_eq!(entry(r#"{"id": "1", "phone": ""}"#).attributes.first("phone"), Some(""));
        assert_eq!(entry(r#"{"id": "1", "phone": null}"#).attributes.first("phone"), None);
        assert_eq!(entry(r#"{"id": "1"}"#).organization, None);
    }

    #[test]
    fn one_bad_account_is_lost_alone() {
        use QuarantineCode::{BadId, TooLarge, Unreadable};
        let long_value = format!(
            r#"{{"id": "u", "email": "{}"}}"#,
            "x".repeat(ATTRIBUTE_VALUE_BYTES_MAX + 1)
        );
        let many_values = format!(r#"{{"roles": [{}1], "id": "u"}}"#, "1,".repeat(ATTRIBUTE_VALUES_MAX));
        let long_id = format!(r#"{{"id": "{}"}}"#, "x".repeat(10_000));
        for (item, id, code) in [
            (&b"17"[..], None, Unreadable),
            (b"[1, {}]", None, Unreadable),
            (b"null", None, Unreadable),
            (br#""text""#, None, Unreadable),
            (b"{}", None, BadId),
            (br#"{"id": ""}"#, None, BadId),
            (br#"{"id": {"a": 1}}"#, None, BadId),
            (br#"{"id": "a\u0000"}"#, None, BadId),
            (long_id.as_bytes(), None, BadId),
            (br#"{"id": "u", "email": {"primary": "x"}}"#, Some("u"), Unreadable),
            (br#"{"id": "u", "roles": [["x"]]}"#, Some("u"), Unreadable),
            (br#"{"id": "u", "email": "a", "email": "b"}"#, Some("u"), Unreadable),
            (
                br#"{"id": "u", "organization_id": [1]}"#,
                Some("u"),
                QuarantineCode::BadValue,
            ),
            (
                br#"{"id": "u", "organization_id": ""}"#,
                Some("u"),
                QuarantineCode::BadValue,
            ),
            (br#"{"id": "u", "id": "v"}"#, Some("v"), Unreadable),
            (b"{\"id\": \"u\", \"email\": \"\xff\"}", Some("u"), Unreadable),
            (br#"{"id": "u", "email": "\ud800"}"#, Some("u"), Unreadable),
            (b"{\"id\": \"\xff\"}", None, BadId),
            (long_value.as_bytes(), Some("u"), TooLarge),
            (many_values.as_bytes(), Some("u"), TooLarge),
        ] {
            let shown = String::from_utf8_lossy(&item[..item.len().min(60)]).into_owned();
            assert_eq!(refused(item), (id.map(str::to_owned), code), "{shown}");
        }
    }

    #[test]
    fn tombstones_are_told_from_accounts() {
        assert_eq!(one(r#"{"id": "u", "deleted": true}"#), Item::Deleted);
        assert_eq!(entry(r#"{"id": "u", "deleted": false}"#).id.as_str(), "u");
        assert_eq!(entry(r#"{"id": "u", "deleted": "yes"}"#).id.as_str(), "u");
        assert!(matches!(
            one(r#"{"deleted": true}"#),
            Item::Present(Received::Unreadable { id: None, .. })
        ));
    }
}
