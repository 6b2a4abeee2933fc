//! Log lines on standard error: text for people, or one JSON object a line. A line is written at once and stays one
//! line, whatever is in its values.

use std::fmt;
use std::io::Write as _;

use jiff::Timestamp;
use serde_json::Value as Json;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::declare::{NAME_FIELD, TARGET};
use super::log::Clock;
use super::value::escape;

/// The column in which messages begin, after level and name.
const NAME_WIDTH: usize = 24;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text { color: bool },
    Json,
}

/// Writes lines to standard error.
pub(super) struct Lines {
    pub(super) shape: Shape,
    pub(super) clock: Clock,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let meta = event.metadata();
        // Only an event of ours has a name that a script can rely on.
        if meta.target() != TARGET {
            said.name = None;
            said.fields.push(("target".into(), meta.target().into()));
        }
        let mut line = said.line(self.shape, *meta.level(), (self.clock)());
        line.push('\n');
        // One write, so that lines of several threads do not mix. Where standard error is gone there is nobody to tell.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    name: Option<String>,
    message: String,
    fields: Vec<(String, Json)>,
}

impl Said {
    fn line(self, shape: Shape, level: Level, at: Timestamp) -> String {
        match shape {
            Shape::Json => self.json(level, at),
            Shape::Text { color } => self.text(level, at, color),
        }
    }

    fn json(self, level: Level, at: Timestamp) -> String {
        let mut object = format!(
            "{{\"ts\":\"{at:.3}\",\"level\":\"{}\"",
            level.as_str().to_ascii_lowercase()
        );
        let name = self.name.map(|name| (NAME_FIELD, name));
        let message = ("message", self.message);
        for (name, value) in name.into_iter().chain([message]) {
            object.push_str(&format!(",\"{name}\":{}", Json::from(value)));
        }
        for (name, value) in self.fields {
            // A library's field of the same name as one of the line's own is set apart.
            let name = match name.as_str() {
                "ts" | "level" => format!("field_{name}"),
                _ => name,
            };
            object.push_str(&format!(",{}:{value}", Json::from(name)));
        }
        object.push('}');
        object
    }

    fn text(self, level: Level, at: Timestamp, color: bool) -> String {
        let paint = |code: &str, text: String| match color {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text,
        };
        let tone = match level {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            _ => "2",
        };
        let mut line = paint("2", format!("{at:.3}"));
        line.push(' ');
        line.push_str(&paint(tone, format!("{:<5}", level.as_str())));
        line.push(' ');
        let name = self.name.unwrap_or_default();
        line.push_str(&paint("1", format!("{name:<NAME_WIDTH$}")));
        line.push(' ');
        line.push_str(&self.message);
        for (name, value) in self.fields {
            let value = match value {
                // What the message says already is not said twice.
                Json::String(text) if self.message.contains(&text) => continue,
                Json::String(text) if is_plain(&text) => text,
                other => other.to_string(),
            };
            line.push_str(&paint("2", format!(" {name}={value}")));
        }
        line
    }

    fn set(&mut self, field: &Field, value: Json) {
        match (field.name(), value) {
            (NAME_FIELD, Json::String(name)) => self.name = Some(name),
            ("message", Json::String(message)) => self.message = message,
            (name, value) => {
                self.fields.push((name.to_owned(), value));
            }
        }
    }
}

/// Whether a value needs no quotes to be read as one.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains([' ', '"', '='])
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.set(field, escape(&text).into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, escape(value).into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> Said {
        let mut said = Said {
            name: Some("run.held".into()),
            message: "run 0197 is held".into(),
            ..Said::default()
        };
        said.fields.push(("run".into(), "0197".into()));
        said.fields.push(("value".into(), 7.into()));
        said.fields.push(("level".into(), "info".into()));
        said.fields.push(("error".into(), "two words".into()));
        said
    }

    fn at() -> Timestamp {
        "2026-01-02T03:04:05.678912Z".parse().expect("time")
    }

    #[test]
    fn a_line_of_text() {
        assert_eq!(
            said().line(Shape::Text { color: false }, Level::WARN, at()),
            "2026-01-02T03:04:05.678Z WARN  run.held                 run 0197 is held value=7 level=info error=\"two words\""
        );
        let colored = said().line(Shape::Text { color: true }, Level::WARN, at());
        assert!(colored.contains("\u{1b}[33mWARN \u{1b}[0m"), "{colored}");
    }

    #[test]
    fn a_line_of_json() {
        let line = said().line(Shape::Json, Level::WARN, at());
        let object: Json = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            object,
            serde_json::json!({
                "ts": "2026-01-02T03:04:05.678Z", "level": "warn", "event": "run.held", "message": "run 0197 is held",
                "run": "0197", "value": 7, "error": "two words", "field_level": "info",
            })
        );
    }
}
