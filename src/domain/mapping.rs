//! From attributes to fields, by a small closed set of functions. No expression language: a configuration cannot loop,
//! allocate without bound or fail at run time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regex::Regex;
use sha2::{Digest as _, Sha256};

use super::entry::{ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTE_VALUES_MAX, Attributes, Entry};
use super::field::{Field, Value, Values};
use super::id::{Digest, ExternalId};
use super::quarantine::{QuarantineCode, Quarantined};
use super::text::{EmailAddress, normalize};
use super::user::EMPLOYEE;

/// How one field comes from the attributes of an entry.
#[derive(Debug, Clone)]
pub enum Rule {
    /// The first value; all of them for `roles`.
    Copy(Arc<str>),
    /// The first value in lower case (Unicode simple mapping).
    Lower(Arc<str>),
    /// The first value without outer white space. Every field is trimmed; the name says it where it matters.
    Trim(Arc<str>),
    /// The first of several attributes that has a value.
    FirstOf(Vec<Arc<str>>),
    /// The value that a table gives for the attribute's value, or the default for what is not in the table or absent.
    Lookup {
        /// The attribute whose value is looked up, byte by byte.
        attribute: Arc<str>,
        /// From attribute value to field value.
        table: BTreeMap<String, String>,
        /// For everything else; without it an unknown value is a quarantine and an absent one no value.
        default: Option<String>,
    },
    /// The first capture group of the first match, or no value where nothing matches.
    Capture {
        /// The attribute that is searched.
        attribute: Arc<str>,
        /// The expression, with at least one group.
        pattern: Regex,
    },
    /// The values of several attributes that have one, with a separator between.
    Join {
        /// The attributes, in order.
        attributes: Vec<Arc<str>>,
        /// What stands between two.
        separator: String,
    },
    /// Always this.
    Constant(String),
    /// For `status` alone: disabled where this bit of an integer is set (Active Directory's `userAccountControl`, 2).
    DisabledBit {
        /// The attribute with the integer.
        attribute: Arc<str>,
        /// The bit's value, a power of two.
        bit: u32,
    },
}

impl Rule {
    /// The attributes that it reads.
    pub fn attributes(&self) -> impl Iterator<Item = &Arc<str>> {
        let (one, many): (Option<&Arc<str>>, &[Arc<str>]) = match self {
            Self::Copy(a) | Self::Lower(a) | Self::Trim(a) => (Some(a), &[]),
            Self::Lookup { attribute, .. } | Self::Capture { attribute, .. } | Self::DisabledBit { attribute, .. } => {
                (Some(attribute), &[])
            }
            Self::FirstOf(all) | Self::Join { attributes: all, .. } => (None, all),
            Self::Constant(_) => (None, &[]),
        };
        one.into_iter().chain(many)
    }

    /// The raw values that the rule gives, before normalization.
    fn apply(&self, field: &Field, from: &Attributes) -> Result<Vec<String>, Quarantined> {
        let first = |a: &Arc<str>| from.first(a).map(str::to_owned);
        Ok(match self {
            Self::Copy(a) if *field == Field::Roles => from.all(a).to_vec(),
            Self::Copy(a) => first(a).into_iter().collect(),
            Self::Trim(a) => from.first(a).map(|v| v.trim().to_owned()).into_iter().collect(),
            Self::Lower(a) => from.first(a).map(str::to_lowercase).into_iter().collect(),
            Self::FirstOf(all) => all
                .iter()
                .filter_map(|a| from.first(a))
                .find(|v| !v.trim().is_empty())
                .map(str::to_owned)
                .into_iter()
                .collect(),
            Self::Lookup {
                attribute,
                table,
                default,
            } => look_up(field, from.first(attribute), table, default.as_deref())?,
            Self::Capture { attribute, pattern } => from
                .first(attribute)
                .and_then(|v| pattern.captures(v)?.get(1).map(|m| m.as_str().to_owned()))
                .into_iter()
                .collect(),
            Self::Join { attributes, separator } => {
                let parts: Vec<&str> = attributes
                    .iter()
                    .filter_map(|a| from.first(a))
                    .map(str::trim)
                    .filter(|v| !v.is_empty())
                    .collect();
                if parts.is_empty() {
                    vec![]
                } else {
                    vec![parts.join(separator)]
                }
            }
            Self::Constant(text) => vec![text.clone()],
            Self::DisabledBit { attribute, bit } => disabled_bit(from.first(attribute), *bit)?,
        })
    }
}

fn look_up(
    field: &Field,
    value: Option<&str>,
    table: &BTreeMap<String, String>,
    default: Option<&str>,
) -> Result<Vec<String>, Quarantined> {
    match (value.map(|v| (v, table.get(v))), default) {
        (Some((_, Some(found))), _) => Ok(vec![found.clone()]),
        (_, Some(default)) => Ok(vec![default.to_owned()]),
        (None, None) => Ok(vec![]),
        (Some((value, None)), None) => Err(Quarantined::new(
            QuarantineCode::BadValue,
            format!(
                "the look-up table of {field} has no `{}`; add it to the table, or give the table a default",
                short(value)
            ),
        )),
    }
}

fn disabled_bit(value: Option<&str>, bit: u32) -> Result<Vec<String>, Quarantined> {
    let Some(value) = value else { return Ok(vec![]) };
    match value.trim().parse::<i64>() {
        Ok(flags) if flags & i64::from(bit) != 0 => Ok(vec!["disabled".into()]),
        Ok(_) => Ok(vec!["active".into()]),
        Err(_) => Err(Quarantined::new(
            QuarantineCode::BadStatus,
            format!(
                "`{}` is no integer, so its bit {bit} cannot say whether the entry is disabled",
                short(value)
            ),
        )),
    }
}

/// A value as a message may show it.
fn short(value: &str) -> String {
    value.chars().take(60).flat_map(char::escape_debug).collect()
}

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

    fn grants(&self, wanted: BTreeSet<String>) -> (BTreeSet<String>, BTreeSet<String>) {
        let translated: BTreeSet<String> = match &self.table {
            None => wanted,
            Some(table) => wanted.iter().filter_map(|role| table.get(role).cloned()).collect(),
        };
        let (refused, mut granted): (BTreeSet<_>, BTreeSet<_>) = translated
            .into_iter()
            .partition(|role| self.administers(role) && !self.grantable.contains(role));
        if granted.is_empty() {
            granted.extend(self.default.clone());
        }
        (granted, refused)
    }
}

/// The mapping of one source: every field that its directory states, and how.
#[derive(Debug, Clone)]
pub struct Mapping {
    rules: BTreeMap<Field, Rule>,
    roles: RolePolicy,
    default_kind: String,
    requires_organization: bool,
}

/// An entry after mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// Its id at the directory.
    pub id: ExternalId,
    /// Its organization there.
    pub organization: Option<ExternalId>,
    /// Its address.
    pub email: EmailAddress,
    /// Every mapped field, the address and the organization included.
    pub values: Values,
    /// Administrative roles that it asks for and that this source may not grant.
    pub refused_roles: BTreeSet<String>,
}

impl Mapping {
    /// A mapping. `rules` has one for `email`; rules for `organization` have no effect (the source states it).
    pub fn new(
        rules: BTreeMap<Field, Rule>,
        roles: RolePolicy,
        default_kind: String,
        requires_organization: bool,
    ) -> Self {
        Self {
            rules,
            roles,
            default_kind,
            requires_organization,
        }
    }

    /// Who may grant what.
    pub fn roles(&self) -> &RolePolicy {
        &self.roles
    }

    /// The attributes that the rules read, sorted, each once.
    pub fn attributes(&self) -> Arc<[Arc<str>]> {
        self.rules
            .values()
            .flat_map(Rule::attributes)
            .cloned()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Whether the directory states `field` at all.
    pub fn covers(&self, field: &Field) -> bool {
        matches!(field, Field::Organization | Field::Status | Field::Kind | Field::Roles)
            || self.rules.contains_key(field)
    }

    /// Every field that the directory states.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        let implied = [Field::Organization, Field::Status, Field::Kind, Field::Roles];
        self.rules
            .keys()
            .cloned()
            .chain(implied)
            .collect::<BTreeSet<_>>()
            .into_iter()
    }

    /// The rule of `field`, for explanations.
    pub fn rule(&self, field: &Field) -> Option<&Rule> {
        self.rules.get(field)
    }

    /// Maps one entry. `organization_kind` is the kind of its organization, used where the entry states none.
    pub fn map(&self, entry: &Entry, organization_kind: Option<&str>) -> Result<Mapped, Quarantined> {
        check_sizes(&entry.attributes)?;
        let organization = entry.organization.as_ref().map(|o| o.id.clone());
        if organization.is_none() && self.requires_organization {
            return Err(Quarantined::new(
                QuarantineCode::NoOrganization,
                "the entry names no organization; state it in the directory, or set require_organization = false",
            ));
        }
        let mut values = Vec::with_capacity(self.rules.len() + 4);
        let mut email = None;
        let mut refused_roles = BTreeSet::new();
        for field in self.fields() {
            let raw = match self.rules.get(&field) {
                Some(rule) => rule.apply(&field, &entry.attributes)?,
                None => vec![],
            };
            let value = match &field {
                Field::Email => {
                    let address = EmailAddress::parse(raw.first().map_or("", String::as_str))?;
                    let value = Value::text(address.as_str());
                    email = Some(address);
                    value
                }
                Field::Organization => Value::Text(organization.as_ref().map(|id| id.as_str().to_owned())),
                Field::Status => status(raw.into_iter().next())?,
                Field::Kind => self.kind(raw.into_iter().next(), organization_kind)?,
                Field::Billable => billable(raw.into_iter().next())?,
                Field::Roles => {
                    let (granted, refused) = self.roles.grants(normalized_set(raw)?);
                    refused_roles = refused;
                    Value::Set(granted)
                }
                other => Value::Text(match raw.into_iter().next() {
                    Some(text) => normalize(&other.to_string(), &text)?,
                    None => None,
                }),
            };
            values.push((field, value));
        }
        let email =
            email.ok_or_else(|| Quarantined::new(QuarantineCode::NoEmail, "no rule maps the e-mail address"))?;
        Ok(Mapped {
            id: entry.id.clone(),
            organization,
            email,
            values: Values::new(values),
            refused_roles,
        })
    }

    fn kind(&self, stated: Option<String>, organization_kind: Option<&str>) -> Result<Value, Quarantined> {
        let stated = match stated {
            Some(text) => normalize("kind", &text)?,
            None => None,
        };
        let kind = stated
            .unwrap_or_else(|| organization_kind.unwrap_or(&self.default_kind).to_owned())
            .to_lowercase();
        if kind == EMPLOYEE {
            return Err(Quarantined::new(
                QuarantineCode::EmployeeKind,
                "the directory calls this entry an employee; employees are local accounts and never come from a directory",
            ));
        }
        let plain = kind
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if !plain || kind.len() > 63 {
            return Err(Quarantined::new(
                QuarantineCode::BadValue,
                format!(
                    "`{}` is no kind (lower-case letters, digits, `-`, `_`); map it with a look-up table",
                    short(&kind)
                ),
            ));
        }
        Ok(Value::text(kind))
    }
}

fn check_sizes(attributes: &Attributes) -> Result<(), Quarantined> {
    for (name, values) in attributes.iter() {
        let longest = values.iter().map(String::len).max().unwrap_or(0);
        if values.len() > ATTRIBUTE_VALUES_MAX || longest > ATTRIBUTE_VALUE_BYTES_MAX {
            return Err(Quarantined::new(
                QuarantineCode::TooLarge,
                format!(
                    "attribute {name} has {} values, the longest of {longest} bytes; {ATTRIBUTE_VALUES_MAX} values of {ATTRIBUTE_VALUE_BYTES_MAX} bytes are allowed",
                    values.len()
                ),
            ));
        }
    }
    Ok(())
}

/// Absent is not false: without a status an entry is active. A status that is there must be one of the two words;
/// anything else (`0`, `N`, an empty string) is not guessed at.
fn status(raw: Option<String>) -> Result<Value, Quarantined> {
    match raw.as_deref().map(|s| s.trim().to_ascii_lowercase()).as_deref() {
        None | Some("active") => Ok(Value::text("active")),
        Some("disabled") => Ok(Value::text("disabled")),
        Some(other) => Err(Quarantined::new(
            QuarantineCode::BadStatus,
            format!(
                "`{}` is no status; map it to `active` or `disabled` with a look-up table",
                short(other)
            ),
        )),
    }
}

fn billable(raw: Option<String>) -> Result<Value, Quarantined> {
    match raw.as_deref().map(|s| s.trim().to_ascii_lowercase()).as_deref() {
        None | Some("") => Ok(Value::Text(None)),
        Some(word @ ("true" | "false")) => Ok(Value::text(word)),
        Some(other) => Err(Quarantined::new(
            QuarantineCode::BadValue,
            format!(
                "`{}` is neither `true` nor `false`; map billable with a look-up table",
                short(other)
            ),
        )),
    }
}

fn normalized_set(raw: Vec<String>) -> Result<BTreeSet<String>, Quarantined> {
    raw.iter()
        .filter_map(|role| normalize("a role", role).transpose())
        .collect()
}

impl Mapped {
    /// Digest over the id and every value, each with its length before it, so that no two contents share one.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        feed(&mut hash, self.id.as_str());
        hash_values(&mut hash, &self.values);
        let bytes = hash.finalize();
        let mut first = [0; 16];
        first.copy_from_slice(&bytes[..16]);
        Digest(u128::from_be_bytes(first))
    }
}

fn feed(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text);
}

fn hash_values(hash: &mut Sha256, values: &Values) {
    for (field, value) in values.iter() {
        match field {
            Field::Attribute(name) => {
                hash.update([255]);
                feed(hash, name);
            }
            column => hash.update([1 + Field::COLUMNS.iter().position(|f| f == column).unwrap_or(0) as u8]),
        }
        hash_value(hash, value);
    }
}

/// Feeds one value, told apart from every other.
pub(super) fn hash_value(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Text(None) => hash.update([0]),
        Value::Text(Some(text)) => {
            hash.update([1]);
            feed(hash, text);
        }
        Value::Set(set) => {
            hash.update([2]);
            hash.update((set.len() as u64).to_be_bytes());
            set.iter().for_each(|item| feed(hash, item));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entry::OrganizationRef;

    fn a(name: &str) -> Arc<str> {
        name.into()
    }

    fn entry(pairs: &[(&str, &str)]) -> Entry {
        let mut attributes = Attributes::default();
        for (name, value) in pairs {
            attributes.push(&a(name), (*value).to_owned());
        }
        Entry {
            id: ExternalId::parse("e1").expect("id"),
            organization: Some(OrganizationRef {
                id: ExternalId::parse("o1").expect("id"),
                name: None,
            }),
            attributes,
        }
    }

    fn mapping(extra: Vec<(Field, Rule)>) -> Mapping {
        let mut rules = BTreeMap::from([(Field::Email, Rule::Copy(a("mail")))]);
        rules.extend(extra);
        let roles = RolePolicy {
            table: None,
            default: Some("authenticated user".into()),
            administrative: BTreeSet::from(["Admin".into()]),
            grantable: BTreeSet::new(),
        };
        Mapping::new(rules, roles, "consultant".into(), false)
    }

    fn mapped(m: &Mapping, pairs: &[(&str, &str)]) -> Result<Mapped, QuarantineCode> {
        let mut all = vec![("mail", "a@x.example")];
        all.extend_from_slice(pairs);
        m.map(&entry(&all), None).map_err(|q| q.code)
    }

    #[test]
    fn each_function_does_what_its_name_says() {
        let table = BTreeMap::from([("c".to_owned(), "Civil".to_owned())]);
        let cases: Vec<(Rule, Option<&str>)> = vec![
            (Rule::Copy(a("x")), Some("A b")),
            (Rule::Lower(a("x")), Some("a b")),
            (Rule::Trim(a("x")), Some("A b")),
            (Rule::FirstOf(vec![a("none"), a("blank"), a("y")]), Some("c")),
            (
                Rule::Lookup {
                    attribute: a("y"),
                    table: table.clone(),
                    default: None,
                },
                Some("Civil"),
            ),
            (
                Rule::Lookup {
                    attribute: a("none"),
                    table: table.clone(),
                    default: None,
                },
                None,
            ),
            (
                Rule::Lookup {
                    attribute: a("x"),
                    table,
                    default: Some("Other".into()),
                },
                Some("Other"),
            ),
            (
                Rule::Capture {
                    attribute: a("x"),
                    pattern: Regex::new("A +(.)").expect("regex"),
                },
                Some("b"),
            ),
            (
                Rule::Capture {
                    attribute: a("x"),
                    pattern: Regex::new("Z(.)").expect("regex"),
                },
                None,
            ),
            (
                Rule::Join {
                    attributes: vec![a("x"), a("none"), a("y")],
                    separator: "/".into(),
                },
                Some("A b/c"),
            ),
            (Rule::Constant("k".into()), Some("k")),
        ];
        for (rule, expected) in cases {
            let m = mapping(vec![(Field::Title, rule.clone())]);
            let got = mapped(&m, &[("x", "  A  b "), ("y", "c"), ("blank", " ")]).expect("mapped");
            let want = expected.map(str::to_owned);
            // Copy and Lower see the raw value, the normalization comes after.
            assert_eq!(got.values.get(&Field::Title), Some(&Value::Text(want)), "{rule:?}");
        }
    }

    #[test]
    fn absent_is_not_false_and_nothing_is_guessed() {
        let m = mapping(vec![(Field::Status, Rule::Copy(a("active")))]);
        assert_eq!(
            mapped(&m, &[]).expect("absent").values.text(&Field::Status),
            Some("active")
        );
        assert_eq!(
            mapped(&m, &[("active", "Disabled")])
                .expect("word")
                .values
                .text(&Field::Status),
            Some("disabled")
        );
        for unreadable in ["N", "0", "", "false", "true", "inactive?"] {
            assert_eq!(
                mapped(&m, &[("active", unreadable)]),
                Err(QuarantineCode::BadStatus),
                "{unreadable:?}"
            );
        }
    }

    #[test]
    fn the_disabled_bit_is_read_as_an_integer() {
        let m = mapping(vec![(
            Field::Status,
            Rule::DisabledBit {
                attribute: a("uac"),
                bit: 2,
            },
        )]);
        let status = |v: &str| mapped(&m, &[("uac", v)]).map(|x| x.values.text(&Field::Status).map(str::to_owned));
        assert_eq!(status("514"), Ok(Some("disabled".into())));
        assert_eq!(status("512"), Ok(Some("active".into())));
        assert_eq!(status("-2147483646"), Ok(Some("disabled".into())));
        assert_eq!(status("x"), Err(QuarantineCode::BadStatus));
        assert_eq!(
            mapped(&m, &[]).expect("absent").values.text(&Field::Status),
            Some("active")
        );
    }

    #[test]
    fn an_administrative_role_is_refused_whatever_its_case() {
        let m = mapping(vec![(Field::Roles, Rule::Copy(a("role")))]);
        let got = mapped(&m, &[("role", "ADMIN"), ("role", "editor")]).expect("mapped");
        assert_eq!(got.values.set(&Field::Roles), BTreeSet::from(["editor".to_owned()]));
        assert_eq!(got.refused_roles, BTreeSet::from(["ADMIN".to_owned()]));
        let nothing = mapped(&m, &[("role", "admin")]).expect("mapped");
        assert_eq!(
            nothing.values.set(&Field::Roles),
            BTreeSet::from(["authenticated user".to_owned()])
        );
    }

    #[test]
    fn kinds_come_from_entry_then_organization_then_default() {
        let m = mapping(vec![(Field::Kind, Rule::Copy(a("k")))]);
        let e = entry(&[("mail", "a@x.example")]);
        let kind = |org: Option<&str>| m.map(&e, org).map(|x| x.values.text(&Field::Kind).map(str::to_owned));
        assert_eq!(kind(Some("bidder")), Ok(Some("bidder".into())));
        assert_eq!(kind(None), Ok(Some("consultant".into())));
        assert_eq!(
            mapped(&m, &[("k", "Vendor")]).expect("kind").values.text(&Field::Kind),
            Some("vendor")
        );
        assert_eq!(mapped(&m, &[("k", "Employee")]), Err(QuarantineCode::EmployeeKind));
        assert_eq!(mapped(&m, &[("k", "a b")]), Err(QuarantineCode::BadValue));
    }

    #[test]
    fn the_digest_sees_every_value_and_the_id() {
        let m = mapping(vec![
            (Field::Title, Rule::Copy(a("t"))),
            (Field::Phone, Rule::Copy(a("p"))),
        ]);
        let base = mapped(&m, &[("t", "x")]).expect("mapped");
        let other_field = mapped(&m, &[("p", "x")]).expect("mapped");
        assert_ne!(base.digest(), other_field.digest());
        assert_eq!(base.digest(), mapped(&m, &[("t", " x ")]).expect("mapped").digest());
        let renamed = Mapped {
            id: ExternalId::parse("e2").expect("id"),
            ..base.clone()
        };
        assert_ne!(base.digest(), renamed.digest());
    }

    #[test]
    fn oversized_attributes_are_quarantined() {
        let m = mapping(vec![(Field::Title, Rule::Copy(a("t")))]);
        assert_eq!(
            mapped(&m, &[("t", &"x".repeat(1_000_000))]),
            Err(QuarantineCode::TooLarge)
        );
    }
}
