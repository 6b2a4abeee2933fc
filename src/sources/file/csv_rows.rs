//! The rows of a CSV file (RFC 4180, UTF-8, with a header line). A row that cannot be read is a value of its own; only
//! a header that cannot be used, or a record without end, is an error.

use std::sync::Arc;

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::Settings;
use super::proof::{self, Watched};
use super::scan::{Raw, Row};
use crate::domain::entry::{Attributes, Received};
use crate::domain::quarantine::QuarantineCode;
use crate::sources::{SourceError, SourceErrorKind};

/// What the last line begins with when it is an end marker.
const END_MARKER: &str = "#END ";

/// Most columns that an error lists.
const COLUMNS_NAMED_MAX: usize = 30;

/// One column that is asked for.
struct Column<'s> {
    name: &'s Arc<str>,
    at: usize,
    separated: bool,
}

/// The rows behind the header.
pub(super) struct CsvRows<'s> {
    settings: &'s Settings,
    reader: Reader<Watched>,
    record: ByteRecord,
    columns: usize,
    id: usize,
    organization: Option<usize>,
    organization_name: Option<usize>,
    wanted: Vec<Column<'s>>,
}

impl<'s> CsvRows<'s> {
    /// Reads the header and finds the columns.
    pub(super) fn new(settings: &'s Settings, watched: Watched) -> Result<Self, SourceError> {
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(watched);
        let mut record = ByteRecord::new();
        if !read(&mut reader, &mut record, settings)? {
            return Err(proof::fail(
                SourceErrorKind::Protocol,
                &settings.path,
                "is empty, without even a header line; deliver it again",
            ));
        }
        let header = header(settings, &record)?;
        let find = |name: &str| find_column(settings, &header, name);
        let find_optional = |name: &Option<Arc<str>>| name.as_deref().map(find).transpose();
        let wanted = settings
            .wanted
            .iter()
            .map(|name| {
                find(name).map(|at| Column {
                    name,
                    at,
                    separated: settings.separated_columns.contains(name),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            columns: header.len(),
            id: find(&settings.external_id)?,
            organization: find_optional(&settings.organization)?,
            organization_name: find_optional(&settings.organization_name)?,
            wanted,
            settings,
            reader,
            record,
        })
    }

    /// The next row; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Row>, SourceError> {
        if !read(&mut self.reader, &mut self.record, self.settings)? {
            return Ok(None);
        }
        if let Some(count) = end_marker(&self.record) {
            return Ok(Some(Row::End(count)));
        }
        Ok(Some(Row::Record {
            received: self.received(),
            id_is_safe: self.id + 1 < self.columns,
        }))
    }

    fn received(&self) -> Received {
        let raw = Raw {
            settings: self.settings,
            line: self.record.position().map_or(0, csv::Position::line),
        };
        let text = |at: usize| self.record.get(at).map(std::str::from_utf8);
        if self.record.len() != self.columns {
            // A separator too many or too few shifts what follows it: only a first column is where it should be.
            let id = (self.id == 0)
                .then(|| text(0)?.ok())
                .flatten()
                .and_then(|id| raw.id(Some(id)).ok());
            let what = format!(
                "the row has {} columns and the header {}; put values with commas in quotation marks",
                self.record.len(),
                self.columns
            );
            return raw.unreadable(id, QuarantineCode::Unreadable, &what);
        }
        let not_utf8 = "it is not valid UTF-8; save the file as UTF-8";
        let id = match text(self.id).transpose() {
            Ok(text) => match raw.id(text) {
                Ok(id) => id,
                Err(unreadable) => return *unreadable,
            },
            Err(_) => return raw.unreadable(None, QuarantineCode::Unreadable, not_utf8),
        };
        let mut attributes = Attributes::new(&self.settings.wanted);
        for column in &self.wanted {
            match text(column.at).transpose() {
                Err(_) => return raw.unreadable(Some(id), QuarantineCode::Unreadable, not_utf8),
                // CSV has no difference between an empty text and none.
                Ok(None | Some("")) => {}
                Ok(Some(cell)) if column.separated => {
                    let values = cell.split(self.settings.separator.as_str()).map(str::trim);
                    for value in values.filter(|value| !value.is_empty()) {
                        attributes.push(column.name, value);
                    }
                }
                Ok(Some(cell)) => attributes.push(column.name, cell),
            }
        }
        let optional = |at: Option<usize>| at.and_then(text).transpose();
        match (optional(self.organization), optional(self.organization_name)) {
            (Ok(organization), Ok(name)) => raw.entry(id, organization, name, attributes),
            _ => raw.unreadable(Some(id), QuarantineCode::Unreadable, not_utf8),
        }
    }

    /// Whether the file, read to its end, stops in the middle of a row: without a line end, or inside quotation marks.
    pub(super) fn stops_within_a_row(&self) -> bool {
        let watched = self.reader.get_ref();
        watched.last_byte != Some(b'\n') || watched.quotes_are_odd
    }

    pub(super) fn into_watched(self) -> Watched {
        self.reader.into_inner()
    }
}

/// Reads one record within the limit of its bytes.
fn read(reader: &mut Reader<Watched>, record: &mut ByteRecord, settings: &Settings) -> Result<bool, SourceError> {
    reader.get_mut().allowance = settings.limits.record_bytes_max;
    let line = reader.position().line();
    reader.read_byte_record(record).map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            let what = format!(
                "has a record of more than {} bytes that begins on line {line}; look for a quotation mark that is never closed",
                settings.limits.record_bytes_max
            );
            proof::fail(SourceErrorKind::Limit, &settings.path, &what)
        }
        csv::ErrorKind::Io(error) => proof::io_error(&settings.path, error),
        _ => proof::fail(
            SourceErrorKind::Protocol,
            &settings.path,
            &format!("cannot be read as CSV on line {line}; correct the line"),
        ),
    })
}

fn header(settings: &Settings, record: &ByteRecord) -> Result<Vec<String>, SourceError> {
    record
        .iter()
        .enumerate()
        .map(|(index, name)| {
            // The mark that some programs put before UTF-8 is no part of the first name.
            let name = if index == 0 {
                name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name)
            } else {
                name
            };
            std::str::from_utf8(name).map(|name| name.trim().to_owned())
        })
        .collect::<Result<_, _>>()
        .map_err(|_| {
            let what = "has a header line that is not valid UTF-8; save the file as UTF-8";
            proof::fail(SourceErrorKind::Protocol, &settings.path, what)
        })
}

fn find_column(settings: &Settings, header: &[String], name: &str) -> Result<usize, SourceError> {
    let mut found = header.iter().enumerate().filter(|(_, column)| *column == name);
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Ok(at),
        (Some(_), Some(_)) => {
            let what = format!("has two columns `{name}`; rename one of them");
            Err(proof::fail(SourceErrorKind::Protocol, &settings.path, &what))
        }
        (None, _) => {
            let mut columns: Vec<String> = header
                .iter()
                .take(COLUMNS_NAMED_MAX)
                .map(|column| format!("`{}`", column.chars().take(60).collect::<String>().escape_debug()))
                .collect();
            if header.len() > COLUMNS_NAMED_MAX {
                columns.push("…".into());
            }
            let what = format!(
                "has no column `{name}`, only {}; correct the configuration, or the file",
                columns.join(", ")
            );
            Err(proof::fail(SourceErrorKind::Protocol, &settings.path, &what))
        }
    }
}

fn end_marker(record: &ByteRecord) -> Option<u64> {
    if record.len() != 1 {
        return None;
    }
    std::str::from_utf8(record.get(0)?)
        .ok()?
        .strip_prefix(END_MARKER)?
        .trim()
        .parse()
        .ok()
}
