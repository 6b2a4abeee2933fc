//! The layers of a configuration: the built-in default, files, the environment. Reads TOML and remembers where each
//! key stands; the `config` crate lays one layer over another. Judges no value.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use ::config::{Map, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::error::{Place, Problem};
use crate::domain::id::SourceName;

/// Largest configuration file, in bytes: a person writes a few kilobytes, a wrong path may be a disk image.
const CONFIG_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where each key stands, by its path such as `sources.ad.url`.
pub(super) type Places = BTreeMap<String, Place>;

/// One layer: a tree in which `sources` is a table by name, and the place of every key in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    pub(super) tree: Map<String, Value>,
    pub(super) places: Places,
    /// The sources that the layer names, in its order.
    pub(super) source_names: Vec<String>,
    /// Whether the layer sets single keys (the environment) and so never replaces a whole table.
    pub(super) single_keys: bool,
}

impl ::config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn ::config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ::config::ConfigError> {
        Ok(self.tree.clone())
    }
}

/// All layers laid over each other.
pub(super) struct Merged {
    /// The sections.
    pub(super) tree: Map<String, Value>,
    /// Where each key came from: the last layer that has it.
    pub(super) places: Places,
    /// The sources in the order in which they were first named.
    pub(super) source_names: Vec<String>,
}

/// Lays the layers over each other; later ones win.
pub(super) fn merge(mut layers: Vec<Layer>) -> Merged {
    for later in 1..layers.len() {
        let (earlier, rest) = layers.split_at_mut(later);
        if !rest[0].single_keys {
            for layer in earlier {
                drop_replaced(layer, &rest[0]);
            }
        }
    }
    let mut places = Places::new();
    let mut source_names: Vec<String> = Vec::new();
    let mut builder = ::config::Config::builder();
    for layer in layers {
        places.extend(layer.places.iter().map(|(path, place)| (path.clone(), place.clone())));
        for name in &layer.source_names {
            if !source_names.contains(name) {
                source_names.push(name.clone());
            }
        }
        builder = builder.add_source(layer);
    }
    let merged = builder
        .build()
        .expect("layers are trees of values already, so laying them over each other cannot fail");
    let ValueKind::Table(tree) = merged.cache.kind else {
        return Merged {
            tree: Map::new(),
            places,
            source_names,
        };
    };
    Merged {
        tree,
        places,
        source_names,
    }
}

/// Tables of a source that state one thing: a later layer replaces them whole, so that
/// `{ lower = "mail" }` under `{ trim = "mail" }` does not become a rule with two functions.
const WHOLE_KEYS: [&str; 3] = ["auth", "organization", "roles"];

fn drop_replaced(earlier: &mut Layer, later: &Layer) {
    let Some(ValueKind::Table(new)) = later.tree.get("sources").map(|v| &v.kind) else {
        return;
    };
    let Some(ValueKind::Table(old)) = earlier.tree.get_mut("sources").map(|v| &mut v.kind) else {
        return;
    };
    for (name, new_source) in new {
        let (ValueKind::Table(new_source), Some(ValueKind::Table(old_source))) =
            (&new_source.kind, old.get_mut(name).map(|v| &mut v.kind))
        else {
            continue;
        };
        for key in WHOLE_KEYS.iter().filter(|key| new_source.contains_key(**key)) {
            old_source.remove(*key);
        }
        if let (Some(ValueKind::Table(new_fields)), Some(ValueKind::Table(old_fields))) = (
            new_source.get("fields").map(|v| &v.kind),
            old_source.get_mut("fields").map(|v| &mut v.kind),
        ) {
            drop_rules(old_fields, new_fields);
        }
    }
}

fn drop_rules(old: &mut Map<String, Value>, new: &Map<String, Value>) {
    for (field, rule) in new {
        match (field.as_str(), &rule.kind, old.get_mut(field).map(|v| &mut v.kind)) {
            ("attributes", ValueKind::Table(new), Some(ValueKind::Table(old))) => drop_rules(old, new),
            _ => {
                old.remove(field);
            }
        }
    }
}

/// Where the text of a layer comes from.
#[derive(Clone)]
pub(super) enum Origin {
    /// Built into the program.
    Default,
    /// A file.
    File(Arc<PathBuf>),
}

impl Origin {
    fn at(&self, line: usize) -> Place {
        match self {
            Self::Default => Place::Default { line: Some(line) },
            Self::File(file) => Place::File {
                file: Arc::clone(file),
                line,
            },
        }
    }
}

/// Reads one configuration file.
pub(super) fn read_file(file: &Arc<PathBuf>, problems: &mut Vec<Problem>) -> Option<Layer> {
    let origin = Origin::File(Arc::clone(file));
    let mut whole = |line: usize, message: String| {
        problems.push(Problem {
            place: origin.at(line),
            key: None,
            message,
        });
        None
    };
    let mut bytes = Vec::new();
    let read = std::fs::File::open(file.as_path())
        .and_then(|open| open.take(CONFIG_FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return whole(
            1,
            format!("the file cannot be read ({error}); check the path and its permissions"),
        );
    }
    if bytes.len() as u64 > CONFIG_FILE_BYTES_MAX {
        return whole(
            1,
            format!("the file is larger than {CONFIG_FILE_BYTES_MAX} bytes; name a configuration file"),
        );
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(text.strip_prefix('\u{feff}').unwrap_or(text), &origin, problems),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            whole(line, "the line is not valid UTF-8; save the file as UTF-8".into())
        }
    }
}

/// Reads the text of one layer. `None` where it is no TOML; the problem is reported then.
pub(super) fn parse(text: &str, origin: &Origin, problems: &mut Vec<Problem>) -> Option<Layer> {
    let lines = Lines::of(text);
    let document = match DeTable::parse(text) {
        Ok(document) => document.into_inner(),
        Err(error) => {
            // Only the parser's message: the line itself may hold a secret that was written in the wrong place.
            let line = error.span().map_or(1, |span| lines.line(span.start));
            problems.push(Problem {
                place: origin.at(line),
                key: None,
                message: format!(
                    "this is not valid TOML ({}); correct the line",
                    error.message().replace('\n', ", ")
                ),
            });
            return None;
        }
    };
    let mut reader = TomlReader {
        lines,
        origin,
        layer: Layer::default(),
        problems,
    };
    for (key, value) in document {
        let line = reader.lines.line(key.span().start);
        let name = key.into_inner().into_owned();
        let value = value.into_inner();
        reader.layer.places.insert(name.clone(), origin.at(line));
        let value = match (name.as_str(), value) {
            ("sources", DeValue::Array(items)) => reader.sources(items),
            ("sources", _) => {
                reader.problem(
                    line,
                    "sources",
                    "each source is a table of its own; write `[[sources]]` with `name = \"…\"`",
                );
                continue;
            }
            (_, value) => reader.value(value, &name),
        };
        reader.layer.tree.insert(name, value);
    }
    Some(reader.layer)
}

/// The beginnings of lines, to turn an offset into a line number.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(
            text.bytes()
                .enumerate()
                .filter(|(_, byte)| *byte == b'\n')
                .map(|(at, _)| at)
                .collect(),
        )
    }

    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|newline| *newline < offset) + 1
    }
}

struct TomlReader<'a> {
    lines: Lines,
    origin: &'a Origin,
    layer: Layer,
    problems: &'a mut Vec<Problem>,
}

impl TomlReader<'_> {
    fn problem(&mut self, line: usize, key: &str, message: impl Into<String>) {
        self.problems.push(Problem {
            place: self.origin.at(line),
            key: Some(key.into()),
            message: message.into(),
        });
    }

    fn table(&mut self, table: DeTable<'_>, path: &str) -> Map<String, Value> {
        let mut values = Map::new();
        for (key, value) in table {
            let line = self.lines.line(key.span().start);
            let name = key.into_inner().into_owned();
            let path = format!("{path}.{name}");
            self.layer.places.insert(path.clone(), self.origin.at(line));
            let value = self.value(value.into_inner(), &path);
            values.insert(name, value);
        }
        values
    }

    fn value(&mut self, value: DeValue<'_>, path: &str) -> Value {
        let kind = match value {
            DeValue::String(text) => ValueKind::String(text.into_owned()),
            // A number that no key can take is kept as text: its key then says what it expects.
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| ValueKind::String(number.to_string()), ValueKind::I64),
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .map_or_else(|_| ValueKind::String(number.to_string()), ValueKind::Float),
            DeValue::Boolean(truth) => ValueKind::Boolean(truth),
            // No key takes a date, and the layering crate has none: `Nil` is what a date becomes.
            DeValue::Datetime(_) => ValueKind::Nil,
            DeValue::Array(items) => ValueKind::Array(
                items
                    .into_iter()
                    .map(|item| self.value(item.into_inner(), path))
                    .collect(),
            ),
            DeValue::Table(table) => ValueKind::Table(self.table(table, path)),
        };
        Value::new(None, kind)
    }

    /// Turns `[[sources]]` into a table by name, so that a later layer can speak of one source.
    fn sources(&mut self, items: toml::de::DeArray<'_>) -> Value {
        let mut sources = Map::new();
        for item in items {
            let line = self.lines.line(item.span().start);
            let DeValue::Table(table) = item.into_inner() else {
                self.problem(
                    line,
                    "sources",
                    "a source is a table; write `[[sources]]` with `name = \"…\"`",
                );
                continue;
            };
            let name = table.iter().find(|(key, _)| key.get_ref() == "name");
            let name_line = name.map_or(line, |(key, _)| self.lines.line(key.span().start));
            let name = match name.map(|(_, value)| value.get_ref()) {
                Some(DeValue::String(name)) => SourceName::parse(name),
                Some(_) => {
                    self.problem(
                        name_line,
                        "sources.name",
                        "the name is no text; write a name such as \"connex\"",
                    );
                    continue;
                }
                None => {
                    self.problem(
                        line,
                        "sources.name",
                        "the source has no name; write a name such as \"connex\"",
                    );
                    continue;
                }
            };
            let name = match name {
                Ok(name) => name.as_str().to_owned(),
                Err(error) => {
                    self.problem(name_line, "sources.name", format!("{error}; correct it"));
                    continue;
                }
            };
            if self.layer.source_names.contains(&name) {
                let message = format!("another source in this file is called `{name}`; give each a name of its own");
                self.problem(name_line, "sources.name", message);
                continue;
            }
            let path = format!("sources.{name}");
            self.layer.places.insert(path.clone(), self.origin.at(line));
            let values = self.table(table, &path);
            self.layer.source_names.push(name.clone());
            sources.insert(name, Value::new(None, ValueKind::Table(values)));
        }
        Value::new(None, ValueKind::Table(sources))
    }
}

/// An array or inline table written in a variable; anything else is text.
pub(super) fn structured(text: &str) -> Value {
    let mut layer = Layer::default();
    let mut ignored = Vec::new();
    if text.starts_with(['[', '{'])
        && let Ok(value) = DeValue::parse(text)
    {
        let origin = Origin::Default;
        let mut reader = TomlReader {
            lines: Lines::of(text),
            origin: &origin,
            layer: std::mem::take(&mut layer),
            problems: &mut ignored,
        };
        return reader.value(value.into_inner(), "");
    }
    Value::new(None, ValueKind::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines() {
        let lines = Lines::of("a\nb\n\nc");
        assert_eq!([0, 1, 2, 3, 4, 5].map(|at| lines.line(at)), [1, 1, 2, 2, 3, 4]);
    }

    #[test]
    fn a_rule_of_a_later_file_replaces_the_whole_rule() {
        let mut problems = Vec::new();
        let layer = |text: &str, problems: &mut Vec<Problem>| parse(text, &Origin::Default, problems).expect("valid");
        let first = layer(
            "[[sources]]\nname='a'\nurl='x'\n[sources.fields]\nemail={lower='mail'}\n",
            &mut problems,
        );
        let second = layer(
            "[[sources]]\nname='a'\n[sources.fields]\nemail={trim='mail'}\n",
            &mut problems,
        );
        let merged = merge(vec![first, second]);
        let text = format!("{:?}", merged.tree);
        assert!(
            text.contains("trim") && !text.contains("lower") && text.contains("url"),
            "{text}"
        );
        assert!(problems.is_empty());
    }
}
