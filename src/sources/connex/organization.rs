//! Decodes one organization. What it does not say is left open, and nothing is guessed. No I/O.

use serde::de::{DeserializeSeed, Deserializer};
use serde_json::Value;

use super::wire::Item;
use crate::domain::entry::{ATTRIBUTE_VALUE_BYTES_MAX, DirectoryOrganization};
use crate::domain::id::ExternalId;

/// What an organization may carry beside its own columns; sorted, as the entry wants it.
const ORGANIZATION_ATTRIBUTES: [&str; 3] = ["city", "founder_id", "phone"];

/// Reads an organization by way of a JSON tree: there are few of them, and the depth was checked.
#[derive(Clone, Copy)]
pub(super) struct OrganizationSeed;

impl<'de> DeserializeSeed<'de> for OrganizationSeed {
    type Value = Item<DirectoryOrganization>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        <Value as serde::Deserialize>::deserialize(json).map(|value| read(&value))
    }
}

/// Reads one organization; [`Item::Nameless`] where it cannot be told what is meant.
pub(super) fn read(value: &Value) -> Item<DirectoryOrganization> {
    let text = |key: &str| match value.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_u64() => Some(number.to_string()),
        _ => None,
    };
    if value.get("deleted") == Some(&Value::Bool(true)) {
        return Item::Deleted;
    }
    let Some(Ok(id)) = text("id").map(ExternalId::parse) else {
        return Item::Nameless;
    };
    let requested_access = match value.get("requested_access") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(asked)) => Some(*asked),
        // Neither yes nor no: guessing would follow a firm that never asked, or drop one that did.
        Some(_) => return Item::Nameless,
    };
    let name = text("name")
        .filter(|name| !name.trim().is_empty())
        .unwrap_or_else(|| id.as_str().to_owned());
    let attributes = ORGANIZATION_ATTRIBUTES
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), text(key)?)))
        .filter(|(_, value)| value.len() <= ATTRIBUTE_VALUE_BYTES_MAX)
        .collect();
    Item::Present(DirectoryOrganization {
        id,
        name,
        kind: text("kind"),
        closed: text("status").is_some_and(|status| status.eq_ignore_ascii_case("closed")),
        requested_access,
        attributes,
    })
}

#[cfg(test)]
mod tests {
    use super::super::wire::organizations;
    use super::*;

    #[test]
    fn organizations_are_read_and_odd_ones_are_nameless() {
        let body = r#"{"items": [
            {"id": "o-1", "name": "Example Paving", "kind": "bidder", "status": "closed", "requested_access": false,
             "phone": "+1 512 555 0100", "city": "Sampleville", "founder_id": "u-1", "updated_at": "x"},
            {"id": "o-2"}, {"name": "no id"}, {"id": "o-3", "requested_access": "maybe"}, 7,
            {"id": "o-4", "deleted": true}], "next": "abc"}"#;
        let page = organizations(body.as_bytes(), 32).expect("a page");
        let Item::Present(first) = &page.items[0] else {
            panic!("{:?}", page.items[0])
        };
        assert!(first.closed);
        assert_eq!(first.requested_access, Some(false));
        let keys: Vec<_> = first.attributes.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["city", "founder_id", "phone"]);
        let Item::Present(second) = &page.items[1] else {
            panic!("{:?}", page.items[1])
        };
        assert_eq!(
            (second.name.as_str(), second.requested_access, second.closed),
            ("o-2", None, false)
        );
        assert_eq!(page.items[2], Item::Nameless);
        assert_eq!(page.items[3], Item::Nameless);
        assert_eq!(page.items[4], Item::Nameless);
        assert_eq!(page.items[5], Item::Deleted);
    }
}
