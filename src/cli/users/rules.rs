//! A mapping rule in words, for `users explain`. Applies none.

use std::sync::Arc;

use super::super::cells::plain;
use crate::domain::field::Field;
use crate::domain::mapping::Mapping;
use crate::domain::rule::Rule;

/// How a field comes about.
pub(super) fn words(mapping: &Mapping, field: &Field) -> String {
    match mapping.rule(field) {
        Some(rule) => rule_words(rule, field),
        None => match field {
            Field::Organization => "the organization that the directory names for the entry".to_owned(),
            Field::Status => "active, as no attribute says otherwise".to_owned(),
            Field::Kind => "the kind of its organization, else the source's default".to_owned(),
            Field::Roles => "the default role, as no attribute names roles".to_owned(),
            _ => "not mapped".to_owned(),
        },
    }
}

fn rule_words(rule: &Rule, field: &Field) -> String {
    match rule {
        Rule::Copy(a) if *field == Field::Roles => format!("every value of {}", name(a)),
        Rule::Copy(a) => format!("{} as it is", name(a)),
        Rule::Lower(a) => format!("{} in lower case", name(a)),
        Rule::Trim(a) => format!("{} without white space around it", name(a)),
        Rule::FirstOf(all) => format!("the first of {} that has a value", names(all)),
        Rule::Lookup {
            attribute,
            table,
            default,
        } => {
            let pairs: Vec<String> = table
                .iter()
                .take(8)
                .map(|(from, to)| format!("`{}` is {}", plain(from), plain(to)))
                .collect();
            let more = if table.len() > pairs.len() { ", …" } else { "" };
            let default = match default {
                Some(text) => format!("; anything else is {}", plain(text)),
                None => "; anything else is kept out".to_owned(),
            };
            format!(
                "{} looked up in a table ({}{more}{default})",
                name(attribute),
                pairs.join(", ")
            )
        }
        Rule::Capture { attribute, pattern } => {
            format!("what `{}` captures of {}", plain(pattern.as_str()), name(attribute))
        }
        Rule::Join { attributes, separator } => {
            format!("{} joined with `{}`", names(attributes), plain(separator))
        }
        Rule::Constant(text) => format!("always `{}`", plain(text)),
        Rule::DisabledBit { attribute, bit } => format!("disabled where {} has the bit {bit}", name(attribute)),
    }
}

fn name(attribute: &Arc<str>) -> String {
    format!("`{}`", plain(attribute))
}

fn names(attributes: &[Arc<str>]) -> String {
    attributes.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_as_sentences() {
        let says = |rule: Rule| rule_words(&rule, &Field::Phone);
        assert_eq!(says(Rule::Lower("mail".into())), "`mail` in lower case");
        assert_eq!(
            says(Rule::FirstOf(vec!["mobile".into(), "phone".into()])),
            "the first of `mobile`, `phone` that has a value"
        );
        assert_eq!(
            says(Rule::Lookup {
                attribute: "type".into(),
                table: [("C".to_owned(), "consultant".to_owned())].into(),
                default: None
            }),
            "`type` looked up in a table (`C` is consultant; anything else is kept out)"
        );
        assert_eq!(
            rule_words(&Rule::Copy("roles".into()), &Field::Roles),
            "every value of `roles`"
        );
    }
}
