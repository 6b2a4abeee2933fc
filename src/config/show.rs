//! `config show`: the effective configuration as TOML, each key with where it came from. Prints no secret: secrets
//! are files, and a password in an address is blotted out.

use std::fmt::Write as _;

use ::config::{Map, Value, ValueKind};

use super::error::Place;
use super::layers::Merged;

/// The whole configuration as TOML that can be read again.
pub(super) fn show(merged: &Merged) -> String {
    let mut out = String::new();
    let mut sections: Vec<(&String, &Value)> = merged.tree.iter().filter(|(name, _)| *name != "sources").collect();
    sections.sort_by_key(|(name, _)| *name);
    for (name, value) in sections {
        if let ValueKind::Table(table) = &value.kind {
            section(&mut out, merged, name, &format!("[{name}]"), table);
        }
    }
    if let Some(ValueKind::Table(sources)) = merged.tree.get("sources").map(|sources| &sources.kind) {
        for name in &merged.source_names {
            if let Some(ValueKind::Table(source)) = sources.get(name).map(|source| &source.kind) {
                let mut source = source.clone();
                // A source that only the environment names has no `name` of its own.
                source.insert("name".into(), Value::new(None, name.as_str()));
                section(&mut out, merged, &format!("sources.{name}"), "[[sources]]", &source);
            }
        }
    }
    out
}

/// One table: its plain keys first, then the tables below it under headers of their own.
fn section(out: &mut String, merged: &Merged, path: &str, header: &str, table: &Map<String, Value>) {
    let mut keys: Vec<(&String, &Value)> = table.iter().collect();
    keys.sort_by_key(|(key, _)| (*key != "name", *key));
    // A string takes any text, so writing to it cannot fail.
    let _ = writeln!(out, "{}{header}", if out.is_empty() { "" } else { "\n" });
    for (key, value) in &keys {
        if !has_header(value, path, key) {
            let place = merged
                .places
                .get(&format!("{path}.{key}"))
                .cloned()
                .unwrap_or(Place::Default { line: None });
            let _ = writeln!(
                out,
                "{} = {}  # {}",
                bare(key),
                inline(value),
                one_line(&place.to_string())
            );
        }
    }
    for (key, value) in keys {
        if let (true, ValueKind::Table(below)) = (has_header(value, path, key), &value.kind) {
            let header = match header.strip_prefix("[[") {
                Some(_) => format!("[sources.{}]", bare(key)),
                None => format!("[{}.{}]", header.trim_matches(['[', ']']), bare(key)),
            };
            section(out, merged, &format!("{path}.{key}"), &header, below);
        }
    }
}

/// Tables get a header of their own, except the rules of a mapping, which read better on one line.
fn has_header(value: &Value, path: &str, key: &str) -> bool {
    let in_fields = path.starts_with("sources.") && path.ends_with(".fields") && key != "attributes";
    let is_rule = in_fields || path.ends_with(".fields.attributes");
    matches!(value.kind, ValueKind::Table(_)) && !is_rule
}

fn bare(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if plain { key.to_owned() } else { quoted(key) }
}

/// A basic string on one line: over several lines it would take the comment behind it into itself.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                // A string takes any text, so writing to it cannot fail.
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn inline(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => quoted(&without_password(text)),
        ValueKind::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        ValueKind::Table(table) => {
            let mut keys: Vec<_> = table.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            let pairs: Vec<String> = keys
                .iter()
                .map(|(key, value)| format!("{} = {}", bare(key), inline(value)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        ValueKind::Float(number) => format!("{number:?}"),
        ValueKind::Nil => "\"\"".into(),
        other => other.to_string(),
    }
}

fn without_password(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(mut url) if url.password().is_some() => match url.set_password(Some("redacted")) {
            Ok(()) => url.to_string(),
            Err(()) => "redacted".into(),
        },
        _ => text.to_owned(),
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_stays_on_one_line_and_can_be_read_again() {
        for text in ["a\nb\r\t", "\"\\", "ü\u{7f}\u{1}", ""] {
            let table: toml::Table = format!("x = {}", quoted(text)).parse().expect("TOML");
            assert_eq!(table["x"].as_str(), Some(text));
            assert_eq!(quoted(text).lines().count(), 1);
        }
    }

    #[test]
    fn passwords_in_addresses_are_blotted_out() {
        let shown = without_password("postgres://rollcall:canary@db.example/rollcall");
        assert_eq!(shown, "postgres://rollcall:redacted@db.example/rollcall");
        assert_eq!(without_password("sqlite:///x.db"), "sqlite:///x.db");
    }
}
