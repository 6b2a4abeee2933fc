//! What goes into a statement and what comes out of one, alike for both engines.

use super::error::{StoreError, StoreErrorKind};

/// One argument of a statement. Ids, times and JSON travel as text, and are cast in the statement where the engine
/// has a type for them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Arg {
    /// Text, or NULL.
    Text(Option<String>),
    /// A 64-bit integer, or NULL.
    Int(Option<i64>),
    /// A truth value, or NULL.
    Bool(Option<bool>),
}

macro_rules! arg_from {
    ($($from:ty => |$value:ident| $make:expr;)*) => {
        $(impl From<$from> for Arg { fn from($value: $from) -> Self { $make } })*
    };
}

arg_from! {
    &str => |v| Arg::Text(Some(v.to_owned()));
    String => |v| Arg::Text(Some(v));
    &String => |v| Arg::Text(Some(v.clone()));
    Option<String> => |v| Arg::Text(v);
    Option<&str> => |v| Arg::Text(v.map(str::to_owned));
    i64 => |v| Arg::Int(Some(v));
    u64 => |v| Arg::Int(i64::try_from(v).ok());
    Option<i64> => |v| Arg::Int(v);
    bool => |v| Arg::Bool(Some(v));
    Option<bool> => |v| Arg::Bool(v);
    &crate::domain::id::SourceName => |v| Arg::Text(Some(v.as_str().to_owned()));
    &crate::domain::id::ExternalId => |v| Arg::Text(Some(v.as_str().to_owned()));
    crate::domain::id::UserId => |v| Arg::Text(Some(v.to_string()));
    crate::domain::id::RunId => |v| Arg::Text(Some(v.to_string()));
    crate::domain::id::OrganizationId => |v| Arg::Text(Some(v.to_string()));
    crate::domain::id::Digest => |v| Arg::Text(Some(v.to_string()));
    jiff::Timestamp => |v| Arg::Text(Some(super::sql::time_text(v)));
}

/// The arguments of a statement, in order.
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::store::row::Arg::from($value)),*] };
}
pub(super) use args;

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    /// NULL.
    Null,
    /// Text.
    Text(String),
    /// An integer; truth values of SQLite arrive so too.
    Int(i64),
}

/// One row, read from left to right in the order of the statement's columns.
#[derive(Debug)]
pub(super) struct Row {
    cells: std::vec::IntoIter<Cell>,
    read: usize,
}

impl Row {
    pub(super) fn new(cells: Vec<Cell>) -> Self {
        Self {
            cells: cells.into_iter(),
            read: 0,
        }
    }

    fn next(&mut self) -> Result<Cell, StoreError> {
        self.read += 1;
        self.cells.next().ok_or_else(|| self.wrong("a value"))
    }

    fn wrong(&self, expected: &str) -> StoreError {
        StoreError::new(
            StoreErrorKind::Internal,
            format!(
                "column {} of a row was expected to be {expected}; the table was changed by hand, or this is a defect",
                self.read
            ),
        )
    }

    /// Text that may be NULL.
    pub(super) fn opt_text(&mut self) -> Result<Option<String>, StoreError> {
        match self.next()? {
            Cell::Null => Ok(None),
            Cell::Text(text) => Ok(Some(text)),
            Cell::Int(number) => Ok(Some(number.to_string())),
        }
    }

    /// Text.
    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        self.opt_text()?.ok_or_else(|| self.wrong("text"))
    }

    /// An integer that may be NULL.
    pub(super) fn opt_int(&mut self) -> Result<Option<i64>, StoreError> {
        match self.next()? {
            Cell::Null => Ok(None),
            Cell::Int(number) => Ok(Some(number)),
            Cell::Text(_) => Err(self.wrong("an integer")),
        }
    }

    /// An integer.
    pub(super) fn int(&mut self) -> Result<i64, StoreError> {
        self.opt_int()?.ok_or_else(|| self.wrong("an integer"))
    }

    /// A number of things.
    pub(super) fn count(&mut self) -> Result<u64, StoreError> {
        u64::try_from(self.int()?).map_err(|_| self.wrong("no less than zero"))
    }

    /// A truth value; NULL is false.
    pub(super) fn flag(&mut self) -> Result<bool, StoreError> {
        Ok(self.opt_int()?.is_some_and(|n| n != 0))
    }

    /// Text that parses, such as an id.
    pub(super) fn parsed<T: std::str::FromStr>(&mut self) -> Result<T, StoreError> {
        self.text()?.parse().map_err(|_| self.wrong("an id"))
    }

    /// Text that parses, or NULL.
    pub(super) fn opt_parsed<T: std::str::FromStr>(&mut self) -> Result<Option<T>, StoreError> {
        self.opt_text()?
            .map(|text| text.parse().map_err(|_| self.wrong("an id")))
            .transpose()
    }

    /// A time.
    pub(super) fn time(&mut self) -> Result<jiff::Timestamp, StoreError> {
        parse_time(&self.text()?).ok_or_else(|| self.wrong("a time"))
    }

    /// A time, or NULL.
    pub(super) fn opt_time(&mut self) -> Result<Option<jiff::Timestamp>, StoreError> {
        self.opt_text()?
            .map(|text| parse_time(&text).ok_or_else(|| self.wrong("a time")))
            .transpose()
    }

    /// JSON, or NULL.
    pub(super) fn opt_json(&mut self) -> Result<Option<serde_json::Value>, StoreError> {
        self.opt_text()?
            .map(|text| serde_json::from_str(&text).map_err(|_| self.wrong("JSON")))
            .transpose()
    }
}

/// A time as either engine writes it, or as an application does in SQLite: without a zone it is UTC.
fn parse_time(text: &str) -> Option<jiff::Timestamp> {
    let without_zone = || {
        text.parse::<jiff::civil::DateTime>()
            .ok()?
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
    };
    text.parse()
        .ok()
        .or_else(|| without_zone().map(|zoned| zoned.timestamp()))
}
