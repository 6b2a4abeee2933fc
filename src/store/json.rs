//! Values as JSON, for the columns `entry`, `created` and `fields` of a plan.

use serde_json::{Map, Value as Json, json};

use crate::domain::field::{Field, Value, Values};
use crate::domain::id::Digest;
use crate::domain::plan::{Change, FieldChange};

/// One value: a text, null, or an array.
pub(super) fn value(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Set(set) => json!(set),
    }
}

fn value_from(json: &Json) -> Value {
    match json {
        Json::String(text) => Value::text(text.as_str()),
        Json::Array(items) => Value::Set(items.iter().filter_map(Json::as_str).map(str::to_owned).collect()),
        _ => Value::Text(None),
    }
}

/// Values as one object; keys of `attributes` in an object of their own, which is always there.
pub(super) fn values<'v>(values: impl Iterator<Item = (&'v Field, &'v Value)>) -> Json {
    let mut columns = Map::new();
    let mut attributes = Map::new();
    for (field, held) in values {
        match field {
            Field::Attribute(name) => attributes.insert(name.to_string(), value(held)),
            column => columns.insert(column.to_string(), value(held)),
        };
    }
    columns.insert("attributes".into(), attributes.into());
    columns.into()
}

/// The values of such an object.
pub(super) fn values_from(json: &Json) -> Values {
    let Json::Object(columns) = json else {
        return Values::default();
    };
    let mut all = Vec::with_capacity(columns.len());
    for (name, held) in columns {
        if let (Json::Object(attributes), "attributes") = (held, name.as_str()) {
            all.extend(
                attributes
                    .iter()
                    .map(|(key, held)| (Field::Attribute(key.as_str().into()), value_from(held))),
            );
        } else if let Some(field) = Field::parse(name) {
            all.push((field, value_from(held)));
        }
    }
    Values::new(all)
}

/// The fields of a change: name → before, after, directory_before, drift.
pub(super) fn fields(change: &Change) -> Json {
    let object: Map<String, Json> = change
        .fields
        .iter()
        .map(|(field, step)| {
            let step = json!({
                "before": value(&step.before),
                "after": value(&step.after),
                "directory_before": step.directory_before.as_ref().map(value),
                "drift": step.drift,
            });
            (field.to_string(), step)
        })
        .collect();
    object.into()
}

/// The fields of such an object.
pub(super) fn fields_from(json: &Json) -> Vec<(Field, FieldChange)> {
    let Json::Object(object) = json else { return vec![] };
    let mut all: Vec<(Field, FieldChange)> = object
        .iter()
        .filter_map(|(name, step)| {
            let directory_before = step.get("directory_before").filter(|v| !v.is_null()).map(value_from);
            let step = FieldChange {
                before: value_from(&step["before"]),
                after: value_from(&step["after"]),
                directory_before,
                drift: step["drift"] == json!(true),
            };
            Some((Field::parse(name)?, step))
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// The keys of `users.attributes` that a change sets, or `None`.
pub(super) fn attribute_patch(change: &Change) -> Option<Json> {
    let patch: Map<String, Json> = change
        .fields
        .iter()
        .filter_map(|(field, step)| match field {
            Field::Attribute(name) => Some((name.to_string(), value(&step.after))),
            _ => None,
        })
        .collect();
    (!patch.is_empty()).then(|| patch.into())
}

/// One bit for each column that `values` states, in the order of [`Field::COLUMNS`].
pub(super) fn covered(values: &Values) -> i64 {
    Field::COLUMNS
        .iter()
        .enumerate()
        .filter(|(_, field)| values.get(field).is_some())
        .map(|(bit, _)| 1 << bit)
        .sum()
}

/// A digest, as an argument that may be NULL.
pub(super) fn digest(digest: Option<Digest>) -> Option<String> {
    digest.map(|d| d.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn values_round_trip() {
        let v = Values::new(vec![
            (Field::Email, Value::text("a@x.example")),
            (Field::Phone, Value::Text(None)),
            (Field::Roles, Value::Set(BTreeSet::from(["editor".to_owned()]))),
            (Field::Attribute("city".into()), Value::text("Sampleton")),
        ]);
        assert_eq!(values_from(&values(v.iter())), v);
        assert_eq!(covered(&v), 0b100_0000_1001);
    }
}
