//! `[sources.fields]`: reads rules from TOML. A rule is one of a closed set of functions; nothing is evaluated here.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::config::{Map, Value, ValueKind};
use schemars::JsonSchema;

use super::read::{self, Cell, Decoded, Table};
use crate::domain::field::Field;
use crate::domain::rule::Rule;

/// Largest compiled pattern of `capture`, in bytes: enough for anything that a person writes.
const PATTERN_COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// The fields that can be mapped by name; further ones stand in `attributes`.
pub(super) const MAPPED_FIELDS: [&str; 10] = [
    "email",
    "first_name",
    "last_name",
    "phone",
    "title",
    "kind",
    "license",
    "billable",
    "status",
    "roles",
];

/// What is mapped where the configuration does not say otherwise.
pub(super) fn defaults_of(kind: &str) -> &'static [(&'static str, &'static str)] {
    match kind {
        "connex" => &[
            ("email", "email"),
            ("first_name", "first_name"),
            ("last_name", "last_name"),
            ("phone", "phone"),
            ("title", "title"),
            ("kind", "kind"),
            ("status", "status"),
            ("roles", "roles"),
        ],
        "ldap" => &[
            ("email", "mail"),
            ("first_name", "givenName"),
            ("last_name", "sn"),
            ("phone", "telephoneNumber"),
            ("title", "title"),
        ],
        _ => &[],
    }
}

/// Reads `fields` of a source, which the defaults of its kind were laid under.
pub(super) fn mapping(source: &mut Table<'_>) -> Option<BTreeMap<Field, Rule>> {
    if !source.has("fields") {
        source.know(&["fields"]);
        source.problem(
            "fields",
            "nothing is mapped; add `[sources.fields]` with at least `email = \"…\"`",
        );
        return None;
    }
    let mut table = source.table("fields")?;
    let mut rules = BTreeMap::new();
    let mut failed = false;
    for name in MAPPED_FIELDS {
        if table.has(name) {
            match table.get(name, |cell| rule(cell, name)) {
                Some(Some(rule)) => drop(rules.insert(Field::parse(name)?, rule)),
                // `false`: a default that is not wanted.
                Some(None) => {}
                None => failed = true,
            }
        } else {
            table.know(&[name]);
        }
    }
    if let Some(attributes) = table.table("attributes") {
        for (name, value) in attributes.free() {
            let field = Field::parse(&format!("attributes.{name}"));
            match (field, rule(read::lone(value), name)) {
                (Some(field), Ok(Some(rule))) => drop(rules.insert(field, rule)),
                (Some(_), Ok(None)) => {}
                (None, _) => attributes.problem(
                    name,
                    "that is no name for an attribute; write letters, digits, `_` and `-`, such as \"badge\"",
                ),
                (_, Err(expected)) => attributes.problem(name, format!("the rule does not fit; write {expected}")),
            }
        }
    }
    if table.has("organization") {
        table.know(&["organization"]);
        table.problem(
            "organization",
            "the organization is no mapped field; use the key `organization` of the source",
        );
    }
    if !failed && !rules.contains_key(&Field::Email) {
        table.problem(
            "email",
            "the e-mail address is not mapped, and nobody can be told apart without it; write `email = \"…\"`",
        );
    }
    table.finish();
    Some(rules)
}

/// The functions of a rule, each with what it looks like.
const FUNCTIONS: [(&str, &str); 8] = [
    ("lower", "{ lower = \"ATTRIBUTE\" }"),
    ("trim", "{ trim = \"ATTRIBUTE\" }"),
    ("first_of", "{ first_of = [\"ATTRIBUTE\", \"ATTRIBUTE\"] }"),
    (
        "lookup",
        "{ lookup = \"ATTRIBUTE\", table = { \"THERE\" = \"here\" }, default = \"other\" }",
    ),
    ("capture", "{ capture = \"ATTRIBUTE\", pattern = \"^(.*)@\" }"),
    ("join", "{ join = [\"ATTRIBUTE\", \"ATTRIBUTE\"], separator = \" \" }"),
    ("constant", "{ constant = \"TEXT\" }"),
    ("disabled_bit", "{ disabled_bit = 2, of = \"userAccountControl\" }"),
];

/// Reads one rule; `None` is `false`, which maps nothing.
fn rule(cell: Cell<'_>, field: &str) -> Decoded<Option<Rule>> {
    match &cell.value.kind {
        ValueKind::Boolean(false) => Ok(None),
        ValueKind::Table(table) => function(table, field).map(Some),
        _ => match read::text(cell) {
            Ok(name) => Ok(Some(Rule::Copy(name.into()))),
            Err(_) => {
                Err("the name of an attribute in quotes, a function such as { lower = \"mail\" }, or `false`".into())
            }
        },
    }
}

fn function(table: &Map<String, Value>, field: &str) -> Decoded<Rule> {
    let mut named = FUNCTIONS.iter().filter(|(name, _)| table.contains_key(*name));
    let (name, form) = match (named.next(), named.next()) {
        (Some(one), None) => *one,
        (Some(_), Some(_)) => return Err("one function only".into()),
        (None, _) => {
            return Err(format!(
                "one of the functions {}",
                FUNCTIONS.map(|(name, _)| name).join(", ")
            ));
        }
    };
    let allowed: &[&str] = match name {
        "lookup" => &["lookup", "table", "default"],
        "capture" => &["capture", "pattern"],
        "join" => &["join", "separator"],
        "disabled_bit" => &["disabled_bit", "of"],
        _ => &[name],
    };
    let mut others: Vec<&String> = table.keys().filter(|key| !allowed.contains(&key.as_str())).collect();
    others.sort();
    if let Some(other) = others.first() {
        return Err(match read::nearest(other, allowed) {
            Some((nearest, true)) => format!(
                "{form}: it has no `{}`, did you mean `{nearest}`?",
                other.escape_debug()
            ),
            _ => format!("{form}: it has no `{}`", other.escape_debug()),
        });
    }
    if name == "disabled_bit" && field != "status" {
        return Err("another function: `disabled_bit` is for `status` alone".into());
    }
    build(name, form, table)
}

fn build(name: &str, form: &str, table: &Map<String, Value>) -> Decoded<Rule> {
    let shape = |_: String| form.to_owned();
    let cell = |key: &str| table.get(key).map(read::lone).ok_or_else(|| form.to_owned());
    let attribute = |key: &str| cell(key).and_then(read::text).map(Arc::from).map_err(shape);
    let attributes = |key: &str| -> Decoded<Vec<Arc<str>>> {
        let names = cell(key).and_then(read::texts).map_err(shape)?;
        if names.is_empty() {
            Err(form.to_owned())
        } else {
            Ok(names.into_iter().map(Arc::from).collect())
        }
    };
    // A text that may be empty: a separator, a constant, a default.
    let any_text = |key: &str| match table.get(key).map(|value| &value.kind) {
        Some(ValueKind::String(text)) => Ok(Some(text.clone())),
        None => Ok(None),
        Some(_) => Err(form.to_owned()),
    };
    Ok(match name {
        "lower" => Rule::Lower(attribute(name)?),
        "trim" => Rule::Trim(attribute(name)?),
        "first_of" => Rule::FirstOf(attributes(name)?),
        "lookup" => Rule::Lookup {
            attribute: attribute(name)?,
            table: cell("table").and_then(read::table_of_texts).map_err(shape)?,
            default: any_text("default")?,
        },
        "capture" => {
            let pattern = cell("pattern").and_then(read::text).map_err(shape)?;
            Rule::Capture {
                attribute: attribute(name)?,
                pattern: pattern_of(&pattern)?,
            }
        }
        "join" => Rule::Join {
            attributes: attributes(name)?,
            separator: any_text("separator")?.unwrap_or_else(|| " ".to_owned()),
        },
        "constant" => Rule::Constant(any_text(name)?.ok_or_else(|| form.to_owned())?),
        _ => {
            let bit = cell(name).and_then(read::integer(1..=1 << 31)).map_err(shape)?;
            let bit = u32::try_from(bit).map_err(|_| form.to_owned())?;
            if !bit.is_power_of_two() {
                return Err(format!("{form} with one bit: 1, 2, 4, 8, …"));
            }
            Rule::DisabledBit {
                attribute: attribute("of")?,
                bit,
            }
        }
    })
}

fn pattern_of(text: &str) -> Decoded<regex::Regex> {
    let pattern = regex::RegexBuilder::new(text)
        .size_limit(PATTERN_COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let why = text
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            format!("a regular expression such as \"^(.*)@\" ({why})")
        })?;
    if pattern.captures_len() < 2 {
        return Err("a pattern with a group in round brackets, such as \"^(.*)@\"".into());
    }
    Ok(pattern)
}

/// The schema of one rule.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(
    dead_code,
    reason = "only its schema is used: rules are read into the core's own type"
)]
pub(super) enum RuleSchema {
    /// The attribute as it is.
    Copy(String),
    /// `false`: not mapped.
    NotMapped(bool),
    /// One of the functions.
    Function(Box<FunctionSchema>),
}

/// The schema of the functions of a rule.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "only its schema is used: rules are read into the core's own type"
)]
pub(super) enum FunctionSchema {
    Lower {
        lower: String,
    },
    Trim {
        trim: String,
    },
    FirstOf {
        first_of: Vec<String>,
    },
    Lookup {
        lookup: String,
        table: BTreeMap<String, String>,
        default: Option<String>,
    },
    Capture {
        capture: String,
        pattern: String,
    },
    Join {
        join: Vec<String>,
        separator: Option<String>,
    },
    Constant {
        constant: String,
    },
    DisabledBit {
        disabled_bit: u32,
        of: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_checked() {
        assert!(pattern_of("^(.*)@").is_ok());
        assert!(pattern_of("(").expect_err("broken").contains("regular expression"));
        assert!(pattern_of("abc").expect_err("no group").contains("group"));
        assert!(pattern_of("(a{1000}){1000}").is_err());
    }
}
