//! From an entry to fields: every rule of a source applied, every value normalized and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::entry::{ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTE_VALUES_MAX, Attributes, Entry};
use super::field::{Field, Value, Values};
use super::id::{Digest, ExternalId};
use super::quarantine::{QuarantineCode, Quarantined};
use super::roles::RolePolicy;
use super::rule::{Rule, short};
use super::text::{EmailAddress, normalize};
use super::user::EMPLOYEE;

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
        Self::digest_of(&self.id, &self.values)
    }

    /// The digest of the entry of this id that says `values`.
    pub fn digest_of(id: &ExternalId, values: &Values) -> Digest {
        let mut hash = Sha256::new();
        feed(&mut hash, id.as_str());
        hash_values(&mut hash, values);
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
#[path = "mapping_tests.rs"]
mod tests;
