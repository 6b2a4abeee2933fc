//! The fields of a user, who decides each, and their values.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A column of the user that a directory may state. The order is the order of display and of hashing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The sign-in name.
    Email,
    /// Given name.
    FirstName,
    /// Family name.
    LastName,
    /// Telephone number, as text.
    Phone,
    /// Job title.
    Title,
    /// `consultant`, `bidder`, …; never `employee` from a directory.
    Kind,
    /// A licence number or class.
    License,
    /// Whether the person's time is billable: `true` or `false`.
    Billable,
    /// The organization, by its external id (see [`Value`]).
    Organization,
    /// `active` or `disabled`.
    Status,
    /// The roles that the directory grants.
    Roles,
    /// A key of the `attributes` column.
    Attribute(Arc<str>),
}

impl Field {
    /// Every field that is a column of its own.
    pub const COLUMNS: [Self; 11] = [
        Self::Email,
        Self::FirstName,
        Self::LastName,
        Self::Phone,
        Self::Title,
        Self::Kind,
        Self::License,
        Self::Billable,
        Self::Organization,
        Self::Status,
        Self::Roles,
    ];

    /// The column of `users` that holds it.
    pub fn column(&self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::Phone => "phone",
            Self::Title => "title",
            Self::Kind => "kind",
            Self::License => "license",
            Self::Billable => "billable",
            Self::Organization => "organization",
            Self::Status => "status",
            Self::Roles => "roles",
            Self::Attribute(_) => "attributes",
        }
    }

    /// The field of a name; `attributes.NAME` for a key of `attributes`, whose name has letters, digits, `_` and `-`.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(key) = name.strip_prefix("attributes.") {
            let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            return (plain && !key.is_empty() && key.len() <= 63).then(|| Self::Attribute(key.into()));
        }
        Self::COLUMNS.into_iter().find(|field| field.to_string() == name)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(name) => write!(f, "attributes.{name}"),
            column => f.write_str(column.column()),
        }
    }
}

/// Who decides a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Authority {
    /// The directory, always: a local edit is put back.
    Directory,
    /// The directory once, when the user is created; afterwards it is local.
    Initial,
    /// Nobody but the agency.
    Local,
}

impl Authority {
    /// The authority of a configured word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "directory" => Some(Self::Directory),
            "initial" => Some(Self::Initial),
            "local" => Some(Self::Local),
            _ => None,
        }
    }

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Initial => "initial",
            Self::Local => "local",
        }
    }
}

/// Who decides each field. What is not named here has the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorities(BTreeMap<Field, Authority>);

impl Authorities {
    /// Sets the authority of one field.
    pub fn set(&mut self, field: Field, authority: Authority) {
        self.0.insert(field, authority);
    }

    /// Who decides `field`. `license` and `billable` are the agency's unless configured; organization and status
    /// are always the directory's.
    pub fn of(&self, field: &Field) -> Authority {
        match field {
            Field::Organization | Field::Status => Authority::Directory,
            other => self.0.get(other).copied().unwrap_or(match other {
                Field::License | Field::Billable => Authority::Local,
                _ => Authority::Directory,
            }),
        }
    }
}

/// The value of a field.
///
/// The rule for absence: an attribute that is absent, JSON `null`, or empty after trimming states no value, and is
/// `Text(None)` here and NULL in the table; an empty string in the table reads as `Text(None)` too. A field that is
/// not mapped at all is not in an entry's values, and never touched.
///
/// An organization is written as its external id where this source listed it, else as `local:` and its local id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// One text, or none.
    Text(Option<String>),
    /// Several, without order.
    Set(BTreeSet<String>),
}

impl Value {
    /// A text that is there.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Some(text.into()))
    }

    /// The text, where there is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(Some(text)) => Some(text),
            _ => None,
        }
    }
}

/// Values of fields, sorted by field, each field at most once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values(Vec<(Field, Value)>);

impl Values {
    /// Sorted values from any order; of two for one field the later stays.
    pub fn new(mut values: Vec<(Field, Value)>) -> Self {
        if !values.is_sorted_by(|a, b| a.0 < b.0) {
            values = values.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect();
        }
        Self(values)
    }

    /// The value of `field`, where it is stated.
    pub fn get(&self, field: &Field) -> Option<&Value> {
        self.0
            .binary_search_by(|(known, _)| known.cmp(field))
            .ok()
            .map(|at| &self.0[at].1)
    }

    /// The text of `field`, where it is stated and not empty.
    pub fn text(&self, field: &Field) -> Option<&str> {
        self.get(field).and_then(Value::as_text)
    }

    /// The set of `field`; empty where it is not stated.
    pub fn set(&self, field: &Field) -> BTreeSet<String> {
        match self.get(field) {
            Some(Value::Set(set)) => set.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// All, in the order of [`Field`].
    pub fn iter(&self) -> impl Iterator<Item = (&Field, &Value)> {
        self.0.iter().map(|(field, value)| (field, value))
    }
}

impl IntoIterator for Values {
    type Item = (Field, Value);
    type IntoIter = std::vec::IntoIter<(Field, Value)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for field in Field::COLUMNS {
            assert_eq!(Field::parse(&field.to_string()), Some(field));
        }
        assert_eq!(
            Field::parse("attributes.cost-center"),
            Some(Field::Attribute("cost-center".into()))
        );
        for bad in ["attributes.", "attributes.a'b", "attributes.a b", "mail", ""] {
            assert_eq!(Field::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_directory_always_decides_status_and_organization() {
        let mut a = Authorities::default();
        a.set(Field::Status, Authority::Local);
        a.set(Field::Phone, Authority::Local);
        assert_eq!(a.of(&Field::Status), Authority::Directory);
        assert_eq!(a.of(&Field::Phone), Authority::Local);
        assert_eq!(a.of(&Field::License), Authority::Local);
        assert_eq!(a.of(&Field::Title), Authority::Directory);
    }

    #[test]
    fn values_are_sorted_and_found() {
        let v = Values::new(vec![
            (Field::Title, Value::text("b")),
            (Field::Email, Value::text("a")),
            (Field::Title, Value::Text(None)),
        ]);
        assert_eq!(v.get(&Field::Title), Some(&Value::Text(None)));
        assert_eq!(v.text(&Field::Email), Some("a"));
        assert_eq!(v.get(&Field::Phone), None);
    }
}
