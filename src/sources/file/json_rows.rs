//! The rows of a JSON Lines file: one object a line, UTF-8. A line that cannot be read is a value of its own; only a
//! line without end is an error.

use std::io::{BufRead as _, BufReader, Read as _};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Settings;
use super::proof::{self, Watched};
use super::scan::{Raw, Row};
use crate::domain::entry::{Attributes, Received};
use crate::domain::quarantine::QuarantineCode;
use crate::sources::{SourceError, SourceErrorKind};

/// Bytes that are read from the file at once.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// The lines of the file.
pub(super) struct JsonRows<'s> {
    settings: &'s Settings,
    reader: BufReader<Watched>,
    buffer: Vec<u8>,
    line: u64,
}

impl<'s> JsonRows<'s> {
    pub(super) fn new(settings: &'s Settings, watched: Watched) -> Self {
        Self {
            settings,
            reader: BufReader::with_capacity(READ_BUFFER_BYTES, watched),
            buffer: Vec::new(),
            line: 0,
        }
    }

    /// The next row; `None` at the end of the file. Empty lines are passed over.
    pub(super) fn next(&mut self) -> Result<Option<Row>, SourceError> {
        loop {
            self.buffer.clear();
            self.line += 1;
            let most = self.settings.limits.record_bytes_max;
            let read = (&mut self.reader)
                .take(most + 1)
                .read_until(b'\n', &mut self.buffer)
                .map_err(|error| proof::io_error(&self.settings.path, error))?;
            if read as u64 > most {
                let what = format!(
                    "has more than {most} bytes on line {}; write one object a line",
                    self.line
                );
                return Err(proof::fail(SourceErrorKind::Limit, &self.settings.path, &what));
            }
            if read == 0 {
                return Ok(None);
            }
            let mut line = self.buffer.as_slice();
            if self.line == 1 {
                line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            }
            let line = line.trim_ascii();
            if !line.is_empty() {
                return Ok(Some(self.row(line)));
            }
        }
    }

    fn row(&self, line: &[u8]) -> Row {
        let raw = Raw {
            settings: self.settings,
            line: self.line,
        };
        let record = |received| Row::Record {
            received,
            id_is_safe: true,
        };
        if std::str::from_utf8(line).is_err() {
            let what = "it is not valid UTF-8; save the file as UTF-8";
            return record(raw.unreadable(None, QuarantineCode::Unreadable, what));
        }
        match serde_json::from_slice::<Value>(line) {
            Ok(Value::Object(object)) => match end_marker(&object) {
                Some(count) => Row::End(count),
                None => record(self.received(&raw, &object)),
            },
            Ok(_) => {
                let what = "it is no JSON object; write one object a line";
                record(raw.unreadable(None, QuarantineCode::Unreadable, what))
            }
            Err(error) => {
                // Only the place: serde's text may repeat a value.
                let what = format!("it is not valid JSON at column {}; correct the line", error.column());
                record(raw.unreadable(None, QuarantineCode::Unreadable, &what))
            }
        }
    }

    fn received(&self, raw: &Raw<'_>, object: &Map<String, Value>) -> Received {
        let one = |key: &str| object.get(key).map(scalar);
        let id = match one(&self.settings.external_id) {
            Some(Ok(text)) => match raw.id(text.as_deref()) {
                Ok(id) => id,
                Err(unreadable) => return *unreadable,
            },
            None => {
                let what = format!("it has no `{}`; add it", self.settings.external_id);
                return raw.unreadable(None, QuarantineCode::BadId, &what);
            }
            Some(Err(())) => {
                let what = format!("`{}` is neither text nor number; correct it", self.settings.external_id);
                return raw.unreadable(None, QuarantineCode::BadId, &what);
            }
        };
        let mut attributes = Attributes::new(&self.settings.wanted);
        for name in self.settings.wanted.iter() {
            if object
                .get(&**name)
                .is_some_and(|value| push(&mut attributes, name, value).is_err())
            {
                let what = format!("`{name}` is neither a plain value nor a list of them; correct it");
                return raw.unreadable(Some(id), QuarantineCode::Unreadable, &what);
            }
        }
        let optional = |key: &Option<Arc<str>>| key.as_deref().and_then(one).transpose().map(Option::flatten);
        match (
            optional(&self.settings.organization),
            optional(&self.settings.organization_name),
        ) {
            (Ok(organization), Ok(name)) => raw.entry(id, organization.as_deref(), name.as_deref(), attributes),
            _ => {
                let what = "the organization is neither text nor number; correct it";
                raw.unreadable(Some(id), QuarantineCode::Unreadable, what)
            }
        }
    }

    pub(super) fn into_watched(self) -> Watched {
        self.reader.into_inner()
    }
}

/// A scalar as text; `None` is `null`.
fn scalar(value: &Value) -> Result<Option<String>, ()> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(truth) => Ok(Some(truth.to_string())),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Array(_) | Value::Object(_) => Err(()),
    }
}

fn push(attributes: &mut Attributes, name: &str, value: &Value) -> Result<(), ()> {
    let values = match value {
        Value::Array(values) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    for value in values {
        if let Some(text) = scalar(value)? {
            attributes.push(name, &text);
        }
    }
    Ok(())
}

fn end_marker(object: &Map<String, Value>) -> Option<u64> {
    if object.len() != 1 {
        return None;
    }
    object.get("end")?.as_u64()
}
