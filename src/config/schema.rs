//! `config schema`: a JSON Schema of the configuration file, drawn from the types that it is read into.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::http::Http;
use super::ldap::Ldap;
use super::mapping::{MAPPED_FIELDS, RuleSchema};
use super::sections::{AUTHORITY_FIELDS, Agency, Brakes, Database};
use super::source::{Common, KINDS};
use super::source_kinds::{Connex, FileSource};

/// The JSON Schema (draft 2020-12) of a configuration file.
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Rollcall configuration",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "database": section::<Database>(),
            "agency": section::<Agency>(),
            "http": section::<Http>(),
            "fields": fields(),
            "brakes": section::<Brakes>(),
            "source_defaults": section::<Common>(),
            "sources": { "type": "array", "items": source() },
        },
    })
}

/// The schema of one type. Nothing in a section is required: the built-in default has every key.
fn section<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.remove("required");
        object.remove("title");
        // A brake may be given in part, too.
        if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
            for below in properties.values_mut().filter_map(Value::as_object_mut) {
                below.remove("required");
            }
        }
    }
    schema
}

fn properties(schema: Value) -> Map<String, Value> {
    match schema {
        Value::Object(mut object) => match object.remove("properties") {
            Some(Value::Object(properties)) => properties,
            _ => Map::new(),
        },
        _ => Map::new(),
    }
}

fn fields() -> Value {
    let authority = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": { "authority": { "enum": ["directory", "initial", "local"] } },
        "required": ["authority"],
    });
    let mut named: Map<String, Value> = AUTHORITY_FIELDS
        .iter()
        .map(|name| ((*name).to_owned(), authority.clone()))
        .collect();
    named.insert(
        "attributes".into(),
        json!({ "type": "object", "additionalProperties": authority }),
    );
    json!({ "type": "object", "additionalProperties": false, "properties": named })
}

/// One source: the keys of every kind side by side, as they stand in the file.
fn source() -> Value {
    let mut all = properties(section::<Common>());
    // `organization` differs by kind: a column of a file, an attribute or a table with LDAP, which covers both.
    for kind in [section::<FileSource>(), section::<Connex>(), section::<Ldap>()] {
        all.extend(properties(kind));
    }
    if let Some(table) = all.remove("organization") {
        all.insert("organization".into(), json!({ "anyOf": [{ "type": "string" }, table] }));
    }
    let text = |what: &str| json!({ "type": "string", "description": what });
    all.insert(
        "name".into(),
        json!({ "type": "string", "pattern": "^[a-z][a-z0-9_-]{0,62}$" }),
    );
    all.insert("kind".into(), json!({ "enum": KINDS }));
    all.insert("enabled".into(), json!({ "type": "boolean" }));
    all.insert("bind_dn".into(), text("The distinguished name to sign in with."));
    all.insert("bind_password_file".into(), text("The file with its password."));
    all.insert("sasl".into(), json!({ "enum": ["external"] }));
    all.insert(
        "grant_administrator_roles".into(),
        json!({ "type": "array", "items": { "type": "string" } }),
    );
    all.insert(
        "roles".into(),
        json!({ "type": "object", "additionalProperties": { "type": "string" } }),
    );
    let rule = section::<RuleSchema>();
    let mut mapped: Map<String, Value> = MAPPED_FIELDS
        .iter()
        .map(|name| ((*name).to_owned(), rule.clone()))
        .collect();
    mapped.insert(
        "attributes".into(),
        json!({ "type": "object", "additionalProperties": rule }),
    );
    all.insert(
        "fields".into(),
        json!({ "type": "object", "additionalProperties": false, "properties": mapped }),
    );
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": all,
        "required": ["name", "kind"],
    })
}
