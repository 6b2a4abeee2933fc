//! The schema, the default and the documents say the same.

use std::collections::BTreeSet;

use rollcall::config;
use serde_json::Value;

use super::{BASE, accepted};

/// Every key in the schema, by its path without the names of sources.
fn schema_keys(schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            for (key, below) in object {
                match (key.as_str(), below) {
                    ("properties", Value::Object(properties)) => {
                        for (name, below) in properties {
                            let path = if path.is_empty() {
                                name.clone()
                            } else {
                                format!("{path}.{name}")
                            };
                            keys.insert(path.clone());
                            schema_keys(below, &path, keys);
                        }
                    }
                    ("additionalProperties" | "const" | "enum" | "required", _) => {}
                    _ => schema_keys(below, path, keys),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| schema_keys(item, path, keys)),
        _ => {}
    }
}

fn all_schema_keys() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    schema_keys(&config::schema(), "", &mut keys);
    keys
}

#[test]
fn every_key_of_the_schema_is_in_the_default_and_in_the_documents() {
    let documents = include_str!("../../docs/configuration.md");
    let default = config::DEFAULT_TOML;
    let mut count = 0;
    for path in all_schema_keys() {
        let key = path.rsplit('.').next().expect("a last part");
        let word = |text: &str| {
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .any(|word| word == key)
        };
        assert!(word(default), "`{path}` is not in config/default.toml");
        let named = [format!("`{key}`"), format!("`[{key}]`"), format!("`[[{key}]]`")];
        assert!(
            named.iter().any(|name| documents.contains(name)),
            "`{path}` is not in docs/configuration.md"
        );
        if let Some((section @ ("database" | "agency" | "http" | "brakes" | "source_defaults"), _)) =
            path.split_once('.')
        {
            let (_, below) = documents.split_once(&format!("## `[{section}]`")).expect("a heading");
            let table = below.split("\n## ").next().expect("a part");
            assert!(
                table.contains(&format!("| `{key}` |")),
                "`{path}` has no row in its section of the documents"
            );
        }
        count += 1;
    }
    assert!(count > 80, "{count}");
}

/// Every key that stands below `table`, by its path.
fn toml_keys(table: &toml::Table, path: &str, keys: &mut BTreeSet<String>) {
    for (key, value) in table {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        if let toml::Value::Table(below) = value {
            toml_keys(below, &path, keys);
        }
        keys.insert(path);
    }
}

#[test]
fn the_live_default_and_the_schema_have_the_same_keys() {
    let mut live = BTreeSet::new();
    toml_keys(&config::DEFAULT_TOML.parse().expect("TOML"), "", &mut live);
    let schema = all_schema_keys();
    let missing: Vec<&String> = schema
        .difference(&live)
        .filter(|path| !path.starts_with("sources"))
        .collect();
    // These have no default: they are shown as comments.
    assert_eq!(
        missing,
        ["database.password_file", "fields.attributes", "http.metrics_listen"]
    );
    assert_eq!(live.difference(&schema).count(), 0, "{:?}", live.difference(&schema));
}

#[test]
fn every_key_of_the_default_and_of_the_documents_is_in_the_schema() {
    let keys = all_schema_keys();
    let known: BTreeSet<&str> = keys
        .iter()
        .map(|path| path.rsplit('.').next().expect("a last part"))
        .collect();
    // The default with its commented keys made live, except alternatives, has every key in its place.
    for line in config::DEFAULT_TOML.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some((key, _)) = line.split_once(" = ")
            && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        {
            assert!(
                known.contains(key) || key == "login",
                "`{key}` of config/default.toml is not in the schema"
            );
        }
    }
    let documents = include_str!("../../docs/configuration.md");
    let mut rows = 0;
    for row in documents.lines().filter(|line| line.starts_with("| `")) {
        let key = row.split('`').nth(1).expect("a key");
        assert!(
            known.contains(key) || key == "attributes.NAME",
            "`{key}` of docs/configuration.md is not in the schema"
        );
        rows += 1;
    }
    assert!(rows > 70, "{rows}");
}

/// The commented sources of the default are examples that work.
#[test]
fn the_commented_sources_of_the_default_are_valid() {
    let (_, commented) = config::DEFAULT_TOML
        .split_once("may stand in it, too.\n")
        .expect("the heading");
    let live: String = commented
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(""))
        .filter(|line| !line.starts_with('#') && !line.starts_with("tls = "))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = accepted(&live);
    assert_eq!(config.sources.len(), 3);
}

#[test]
fn the_schema_knows_what_the_program_accepts() {
    let keys = all_schema_keys();
    for (_, key) in BASE
        .lines()
        .filter_map(|line| line.split_once(" = ").map(|(key, value)| (value, key)))
    {
        assert!(
            keys.iter().any(|path| path.rsplit('.').next() == Some(key)) || ["login", "office"].contains(&key),
            "{key}"
        );
    }
}
