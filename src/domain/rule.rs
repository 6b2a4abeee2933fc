//! How one field comes from the attributes of an entry: a small closed set of functions. No expression language: a
//! configuration cannot loop, allocate without bound or fail at run time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;

use super::entry::Attributes;
use super::field::Field;
use super::quarantine::{QuarantineCode, Quarantined};

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

    /// The raw value that the rule gives, before normalization.
    pub(super) fn first<'v>(
        &'v self,
        field: &Field,
        from: &'v Attributes,
    ) -> Result<Option<Cow<'v, str>>, Quarantined> {
        Ok(match self {
            Self::Copy(a) => from.first(a).map(Cow::Borrowed),
            Self::Trim(a) => from.first(a).map(|v| v.trim().into()),
            Self::Lower(a) => from.first(a).map(|v| lower(v.into())),
            Self::FirstOf(all) => all
                .iter()
                .filter_map(|a| from.first(a))
                .find(|v| !v.trim().is_empty())
                .map(Cow::Borrowed),
            Self::Lookup {
                attribute,
                table,
                default,
            } => look_up(field, from.first(attribute), table, default.as_deref())?.map(Cow::Borrowed),
            Self::Capture { attribute, pattern } => from
                .first(attribute)
                .and_then(|v| pattern.captures(v)?.get(1).map(|m| Cow::Borrowed(m.as_str()))),
            Self::Join { attributes, separator } => {
                let parts: Vec<&str> = attributes
                    .iter()
                    .filter_map(|a| from.first(a))
                    .map(str::trim)
                    .filter(|v| !v.is_empty())
                    .collect();
                (!parts.is_empty()).then(|| parts.join(separator).into())
            }
            Self::Constant(text) => Some(text.into()),
            Self::DisabledBit { attribute, bit } => disabled_bit(from.first(attribute), *bit)?.map(Cow::Borrowed),
        })
    }

    /// The raw values that the rule gives for a field that has several.
    pub(super) fn all<'v>(&'v self, field: &Field, from: &'v Attributes) -> Result<Vec<Cow<'v, str>>, Quarantined> {
        match self {
            Self::Copy(a) => Ok(from.each(a).map(Cow::Borrowed).collect()),
            other => Ok(other.first(field, from)?.into_iter().collect()),
        }
    }
}

/// Lower case (Unicode simple mapping); what is in lower case already is not copied.
pub(super) fn lower(text: Cow<'_, str>) -> Cow<'_, str> {
    match text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        true => text,
        false => text.to_lowercase().into(),
    }
}

fn look_up<'v>(
    field: &Field,
    value: Option<&str>,
    table: &'v BTreeMap<String, String>,
    default: Option<&'v str>,
) -> Result<Option<&'v str>, Quarantined> {
    match (value.map(|v| (v, table.get(v))), default) {
        (Some((_, Some(found))), _) => Ok(Some(found)),
        (_, Some(default)) => Ok(Some(default)),
        (None, None) => Ok(None),
        (Some((value, None)), None) => Err(Quarantined::new(
            QuarantineCode::BadValue,
            format!(
                "the look-up table of {field} has no `{}`; add it to the table, or give the table a default",
                short(value)
            ),
        )),
    }
}

fn disabled_bit(value: Option<&str>, bit: u32) -> Result<Option<&'static str>, Quarantined> {
    let Some(value) = value else { return Ok(None) };
    match value.trim().parse::<i64>() {
        Ok(flags) if flags & i64::from(bit) != 0 => Ok(Some("disabled")),
        Ok(_) => Ok(Some("active")),
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
pub(super) fn short(value: &str) -> String {
    value.chars().take(60).flat_map(char::escape_debug).collect()
}
