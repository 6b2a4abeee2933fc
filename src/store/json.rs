//! Values as JSON, for the attributes of an entry, and for the column `fields` of a plan.

use serde_json::{Map, Value as Json, json};

use crate::domain::field::{Field, Value};
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

/// The attributes among values, as an object of their own; `None` where there is none.
pub(super) fn attributes<'v>(values: impl Iterator<Item = (&'v Field, &'v Value)>) -> Option<Json> {
    let attributes: Map<String, Json> = values
        .filter_map(|(field, held)| match field {
            Field::Attribute(name) => Some((name.to_string(), value(held))),
            _ => None,
        })
        .collect();
    (!attributes.is_empty()).then(|| attributes.into())
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
