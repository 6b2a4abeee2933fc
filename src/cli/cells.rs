//! What stands in one cell: values, times and ids as people read them. Never lets a value steer the terminal.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::domain::field::Value;

/// What stands where there is no value.
pub(super) const NOTHING: &str = "-";

/// Text on one line: a control or direction character in it is shown by its code, or a name could repaint the screen.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = c.is_control()
            || matches!(c, '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}');
        if hidden {
            // A string takes any text, so writing to it cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Text that may be missing.
pub(super) fn optional(text: Option<&str>) -> String {
    text.filter(|t| !t.is_empty()).map_or_else(|| NOTHING.to_owned(), plain)
}

/// A field's value.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Text(text) => optional(text.as_deref()),
        Value::Set(set) if set.is_empty() => NOTHING.to_owned(),
        Value::Set(set) => set.iter().map(|one| plain(one)).collect::<Vec<_>>().join(", "),
    }
}

/// A field's value for programs.
pub(super) fn value_json(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Set(set) => json!(set),
    }
}

/// A JSON value that an audit row holds.
pub(super) fn of_json(value: &Json) -> String {
    match value {
        Json::Null => NOTHING.to_owned(),
        Json::String(text) => optional(Some(text)),
        other => plain(&other.to_string()),
    }
}

/// A time, in UTC, to the second.
pub(super) fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A document for programs, with its line end.
pub(super) fn document(json: &Json) -> String {
    format!("{json:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_steers_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\n"), "a\\u{1b}[31mb\\u{a}");
        assert_eq!(plain("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(plain("Zoë 山田"), "Zoë 山田");
    }

    #[test]
    fn nothing_is_a_dash() {
        assert_eq!(value(&Value::Text(None)), "-");
        assert_eq!(value(&Value::Set(["b".to_owned(), "a".to_owned()].into())), "a, b");
        assert_eq!(of_json(&Json::Null), "-");
        assert_eq!(time(Timestamp::UNIX_EPOCH), "1970-01-01 00:00:00Z");
    }
}
