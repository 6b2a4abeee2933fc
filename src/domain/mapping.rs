//! From an entry to fields: every rule of a source applied, every value normalized and checked.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::digest::Digester;
use super::entry::{ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTE_VALUES_MAX, Attributes, Entry};
use super::field::{Field, Value, Values};
use super::id::{Digest, ExternalId};
use super::quarantine::{QuarantineCode, Quarantined};
use super::roles::RolePolicy;
use super::rule::{Rule, lower, short};
use super::text::{EmailAddress, normalized_cow};
use super::user::EMPLOYEE;

/// The mapping of one source: every field that its directory states, and how.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// Every field that the directory states, sorted, and its rule where it has one.
    stated: Vec<(Field, Option<Rule>)>,
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
        let mut stated: BTreeMap<Field, Option<Rule>> =
            rules.into_iter().map(|(field, rule)| (field, Some(rule))).collect();
        for implied in [Field::Organization, Field::Status, Field::Kind, Field::Roles] {
            stated.entry(implied).or_default();
        }
        Self {
            stated: stated.into_iter().collect(),
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
        self.stated
            .iter()
            .filter_map(|(_, rule)| rule.as_ref())
            .flat_map(Rule::attributes)
            .cloned()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Whether the directory states `field` at all.
    pub fn covers(&self, field: &Field) -> bool {
        self.stated.iter().any(|(known, _)| known == field)
    }

    /// Every field that the directory states.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        self.stated.iter().map(|(field, _)| field.clone())
    }

    /// The rule of `field`, for explanations.
    pub fn rule(&self, field: &Field) -> Option<&Rule> {
        let (_, rule) = self.stated.iter().find(|(known, _)| known == field)?;
        rule.as_ref()
    }

    /// Maps one entry. `organization_kind` is the kind of its organization, used where the entry states none.
    pub fn map(&self, entry: &Entry, organization_kind: Option<&str>) -> Result<Mapped, Quarantined> {
        self.view(entry, organization_kind).map(|view| view.to_mapped())
    }

    /// As [`Mapping::map`], without copying what the entry holds already: most entries say what they said before, and
    /// all that is wanted of them is their digest.
    pub fn view<'v>(
        &'v self,
        entry: &'v Entry,
        organization_kind: Option<&'v str>,
    ) -> Result<MappedView<'v>, Quarantined> {
        check_sizes(&entry.attributes)?;
        let organization = entry.organization.as_ref().map(|o| &o.id);
        if organization.is_none() && self.requires_organization {
            return Err(Quarantined::new(
                QuarantineCode::NoOrganization,
                "the entry names no organization; state it in the directory, or set require_organization = false",
            ));
        }
        let mut view = MappedView {
            id: &entry.id,
            organization,
            values: Vec::with_capacity(self.stated.len()),
            refused_roles: vec![],
        };
        for (field, rule) in &self.stated {
            let value = match (field, rule) {
                (Field::Organization, _) => Stated::Text(organization.map(|id| id.as_str().into())),
                (Field::Roles, rule) => {
                    let wanted = match rule {
                        Some(rule) => rule.all(field, &entry.attributes)?,
                        None => vec![],
                    };
                    let (granted, refused) = self.roles.grants(normalized_set(wanted)?);
                    view.refused_roles = refused;
                    Stated::Set(granted)
                }
                (field, rule) => {
                    let raw = match rule {
                        Some(rule) => rule.first(field, &entry.attributes)?,
                        None => None,
                    };
                    Stated::Text(self.text(field, raw, organization_kind)?)
                }
            };
            view.values.push((field, value));
        }
        if !matches!(self.stated.first(), Some((Field::Email, _))) {
            return Err(Quarantined::new(
                QuarantineCode::NoEmail,
                "no rule maps the e-mail address",
            ));
        }
        Ok(view)
    }

    /// The value of a field that has one text or none.
    fn text<'v>(
        &'v self,
        field: &Field,
        raw: Option<Cow<'v, str>>,
        organization_kind: Option<&'v str>,
    ) -> Result<Option<Cow<'v, str>>, Quarantined> {
        match (field, raw) {
            (Field::Email, raw) => EmailAddress::normalized(raw.unwrap_or_default()).map(Some),
            (Field::Status, raw) => status(raw.as_deref()).map(|word| Some(word.into())),
            (Field::Kind, raw) => self.kind(raw, organization_kind).map(Some),
            (Field::Billable, raw) => billable(raw.as_deref()).map(|word| word.map(Cow::Borrowed)),
            (_, None) => Ok(None),
            (other, Some(text)) => normalized_cow(other, text),
        }
    }

    fn kind<'v>(
        &'v self,
        stated: Option<Cow<'v, str>>,
        organization_kind: Option<&'v str>,
    ) -> Result<Cow<'v, str>, Quarantined> {
        let stated = match stated {
            Some(text) => normalized_cow(&"kind", text)?,
            None => None,
        };
        let kind = lower(stated.unwrap_or_else(|| organization_kind.unwrap_or(&self.default_kind).into()));
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
        Ok(kind)
    }
}

fn check_sizes(attributes: &Attributes) -> Result<(), Quarantined> {
    let Some((name, values, longest)) = attributes.too_large() else {
        return Ok(());
    };
    Err(Quarantined::new(
        QuarantineCode::TooLarge,
        format!(
            "attribute {name} has {values} values, the longest of {longest} bytes; {ATTRIBUTE_VALUES_MAX} values of {ATTRIBUTE_VALUE_BYTES_MAX} bytes are allowed"
        ),
    ))
}

/// Absent is not false: without a status an entry is active. A status that is there must be one of the two words;
/// anything else (`0`, `N`, an empty string) is not guessed at.
fn status(raw: Option<&str>) -> Result<&'static str, Quarantined> {
    let Some(word) = raw.map(str::trim) else {
        return Ok("active");
    };
    let known = ["active", "disabled"]
        .into_iter()
        .find(|known| word.eq_ignore_ascii_case(known));
    known.ok_or_else(|| {
        Quarantined::new(
            QuarantineCode::BadStatus,
            format!(
                "`{}` is no status; map it to `active` or `disabled` with a look-up table",
                short(&word.to_ascii_lowercase())
            ),
        )
    })
}

fn billable(raw: Option<&str>) -> Result<Option<&'static str>, Quarantined> {
    let Some(word) = raw.map(str::trim).filter(|word| !word.is_empty()) else {
        return Ok(None);
    };
    let known = ["true", "false"]
        .into_iter()
        .find(|known| word.eq_ignore_ascii_case(known));
    known.map(Some).ok_or_else(|| {
        Quarantined::new(
            QuarantineCode::BadValue,
            format!(
                "`{}` is neither `true` nor `false`; map billable with a look-up table",
                short(&word.to_ascii_lowercase())
            ),
        )
    })
}

fn normalized_set(raw: Vec<Cow<'_, str>>) -> Result<Vec<Cow<'_, str>>, Quarantined> {
    raw.into_iter()
        .filter_map(|role| normalized_cow(&"a role", role).transpose())
        .collect()
}

/// The value of one field.
#[derive(Debug)]
enum Stated<'v> {
    Text(Option<Cow<'v, str>>),
    /// Sorted, each once.
    Set(Vec<Cow<'v, str>>),
}

/// An entry after mapping, in the words of the entry itself.
#[derive(Debug)]
pub struct MappedView<'v> {
    id: &'v ExternalId,
    organization: Option<&'v ExternalId>,
    /// Sorted by field; the address comes first.
    values: Vec<(&'v Field, Stated<'v>)>,
    refused_roles: Vec<Cow<'v, str>>,
}

impl MappedView<'_> {
    /// Whether it asks for an administrative role that this source may not grant.
    pub fn asks_too_much(&self) -> bool {
        !self.refused_roles.is_empty()
    }

    /// As [`Mapped::digest`].
    pub fn digest(&self) -> Digest {
        let mut digester = Digester::new(self.id);
        for (field, value) in &self.values {
            digester.field(field);
            match value {
                Stated::Text(text) => digester.text(text.as_deref()),
                Stated::Set(set) => digester.set(set.iter().map(|item| &**item)),
            }
        }
        digester.finish()
    }

    /// The same in words of its own.
    pub fn to_mapped(&self) -> Mapped {
        let own = |set: &[Cow<'_, str>]| set.iter().map(|item| item.as_ref().to_owned()).collect();
        let email = match self.values.first() {
            Some((Field::Email, Stated::Text(Some(email)))) => email.as_ref(),
            _ => unreachable!("a view is made with an address"),
        };
        Mapped {
            id: self.id.clone(),
            organization: self.organization.cloned(),
            email: EmailAddress::of_normalized(email),
            values: Values::new(
                self.values
                    .iter()
                    .map(|(field, value)| {
                        let value = match value {
                            Stated::Text(text) => Value::Text(text.as_deref().map(str::to_owned)),
                            Stated::Set(set) => Value::Set(own(set)),
                        };
                        ((*field).clone(), value)
                    })
                    .collect(),
            ),
            refused_roles: own(&self.refused_roles),
        }
    }
}

impl Mapped {
    /// Digest over the id and every value, each with its length before it, so that no two contents share one.
    pub fn digest(&self) -> Digest {
        Self::digest_of(&self.id, &self.values)
    }

    /// The digest of the entry of this id that says `values`.
    pub fn digest_of(id: &ExternalId, values: &Values) -> Digest {
        let mut digester = Digester::new(id);
        for (field, value) in values.iter() {
            digester.field(field);
            digester.value(value);
        }
        digester.finish()
    }
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
