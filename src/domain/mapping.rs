//! How attributes of an entry become fields of a user: a small closed set of rules. Evaluates no expressions.

use std::collections::BTreeMap;
use std::sync::Arc;

/// One rule of a mapping.
#[derive(Debug, Clone)]
pub enum Rule {
    /// The attribute as it is.
    Copy(Arc<str>),
    /// The attribute in lower case.
    Lower(Arc<str>),
    /// The attribute without white space around it.
    Trim(Arc<str>),
    /// The first of these attributes that has a value.
    FirstOf(Vec<Arc<str>>),
    /// What a table says for the attribute's value.
    Lookup {
        /// The attribute.
        attribute: Arc<str>,
        /// Directory value to local value.
        table: BTreeMap<String, String>,
        /// For values that the table lacks; without it they are quarantined.
        default: Option<String>,
    },
    /// The first group of a pattern.
    Capture {
        /// The attribute.
        attribute: Arc<str>,
        /// The pattern, with at least one group.
        pattern: regex::Regex,
    },
    /// Several attributes with a separator between those that have a value.
    Join {
        /// The attributes.
        attributes: Vec<Arc<str>>,
        /// What stands between them.
        separator: String,
    },
    /// The same for everybody.
    Constant(String),
    /// Disabled where this bit of a number is set; for the status alone.
    DisabledBit {
        /// The attribute.
        attribute: Arc<str>,
        /// The bit, as its value (`2`).
        bit: u32,
    },
}

impl Rule {
    /// The attributes that the rule reads.
    pub fn attributes(&self) -> impl Iterator<Item = &Arc<str>> {
        let attributes: &[Arc<str>] = match self {
            Self::Copy(attribute) | Self::Lower(attribute) | Self::Trim(attribute) => std::slice::from_ref(attribute),
            Self::Lookup { attribute, .. } | Self::Capture { attribute, .. } | Self::DisabledBit { attribute, .. } => {
                std::slice::from_ref(attribute)
            }
            Self::FirstOf(attributes) | Self::Join { attributes, .. } => attributes,
            Self::Constant(_) => &[],
        };
        attributes.iter()
    }
}
