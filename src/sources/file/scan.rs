//! Reads a delivered file once from beginning to end, row by row, and judges in the end whether it was whole. Holds
//! one row in memory, however large the file is.

use std::time::Instant;

use super::csv_rows::CsvRows;
use super::json_rows::JsonRows;
use super::proof::{self, End, Watched};
use super::{Format, Settings};
use crate::domain::entry::{
    ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTE_VALUES_MAX, Attributes, Entry, OrganizationRef, Received,
};
use crate::domain::id::ExternalId;
use crate::domain::quarantine::{QuarantineCode, Quarantined};
use crate::sources::{Listing, Probe, SourceError, SourceErrorKind};

/// Rows that a probe looks at.
const PROBE_ROWS_MAX: u64 = 1_000;

/// How many rows pass between two looks at the time.
const ROWS_PER_TIME_CHECK: u64 = 1_000;

/// One row of a file.
pub(super) enum Row {
    /// A record, readable or not.
    Record {
        received: Received,
        /// Whether its id would survive if the end of the row were cut off.
        id_is_safe: bool,
    },
    /// The end marker with its count.
    End(u64),
}

enum Rows<'s> {
    Csv(CsvRows<'s>),
    Jsonl(JsonRows<'s>),
}

impl Rows<'_> {
    fn next(&mut self) -> Result<Option<Row>, SourceError> {
        match self {
            Self::Csv(rows) => rows.next(),
            Self::Jsonl(rows) => rows.next(),
        }
    }

    fn into_watched(self) -> Watched {
        match self {
            Self::Csv(rows) => rows.into_watched(),
            Self::Jsonl(rows) => rows.into_watched(),
        }
    }

    fn stops_within_a_row(&self) -> bool {
        match self {
            Self::Csv(rows) => rows.stops_within_a_row(),
            // A JSON object that was cut off is no JSON: it is seen as unreadable anyway.
            Self::Jsonl(_) => false,
        }
    }
}

fn rows(settings: &Settings, watched: Watched) -> Result<Rows<'_>, SourceError> {
    Ok(match settings.format {
        Format::Csv => Rows::Csv(CsvRows::new(settings, watched)?),
        Format::Jsonl => Rows::Jsonl(JsonRows::new(settings, watched)),
    })
}

/// Where the rows of a scan go; an error stops it.
pub(super) type Sink<'a> = &'a mut dyn FnMut(Received) -> Result<(), SourceError>;

/// Reads the whole file into `sink`.
pub(super) fn scan(settings: &Settings, sink: Sink<'_>) -> Result<Listing, SourceError> {
    let began = Instant::now();
    let path = &settings.path;
    let checksum = proof::delivered_checksum(settings)?;
    let (file, stamp) = proof::open(path)?;
    let mut rows = rows(settings, Watched::new(file, checksum.is_some()))?;
    let mut end = End {
        checksum: checksum.is_some(),
        ..End::default()
    };
    // The last row is held back until it is known to be whole.
    let mut held: Option<(Received, bool)> = None;
    while let Some(row) = rows.next()? {
        match row {
            Row::End(count) if end.marker.is_none() => end.marker = Some(count),
            Row::End(_) => end.rows_after_marker = true,
            Row::Record { received, id_is_safe } => {
                end.rows_after_marker |= end.marker.is_some();
                end.rows += 1;
                if let Some((before, _)) = held.replace((received, id_is_safe)) {
                    sink(before)?;
                }
                check_limits(settings, end.rows, began)?;
            }
        }
    }
    let cut_off = end.marker.is_none() && checksum.is_none() && rows.stops_within_a_row();
    if let Some((last, id_is_safe)) = held {
        let last = if cut_off { doubt(last, id_is_safe) } else { last };
        sink(last)?;
    }
    let watched = rows.into_watched();
    let bytes = watched.bytes;
    let (file, digest) = watched.into_parts();
    proof::unchanged(path, &file, stamp, bytes)?;
    if digest != checksum {
        return Err(proof::fail(
            SourceErrorKind::Protocol,
            path,
            "does not have the SHA-256 sum that was delivered with it; deliver both again, the sum last",
        ));
    }
    let (proof, reason) = proof::judge(settings, &end);
    Ok(match reason {
        None => Listing::complete(end.rows, 1, proof, stamp.modified()),
        Some(reason) => Listing::incomplete(end.rows, 1, proof, reason),
    })
}

fn check_limits(settings: &Settings, rows: u64, began: Instant) -> Result<(), SourceError> {
    if rows > settings.limits.entries_max {
        let what = format!(
            "has more than {} records; raise `max_entries` if that is right",
            settings.limits.entries_max
        );
        return Err(proof::fail(SourceErrorKind::Limit, &settings.path, &what));
    }
    if rows.is_multiple_of(ROWS_PER_TIME_CHECK) && began.elapsed() > settings.limits.listing_time_max {
        let what = format!(
            "could not be read within {} seconds; raise `listing_timeout`, or look at the disk",
            settings.limits.listing_time_max.as_secs()
        );
        return Err(proof::fail(SourceErrorKind::Timeout, &settings.path, &what));
    }
    Ok(())
}

/// The last row of a file that stops within a row, and that nothing shows to be whole, may lack the end of its last value.
fn doubt(last: Received, id_is_safe: bool) -> Received {
    match last {
        Received::Entry(entry) => Received::Unreadable {
            id: id_is_safe.then_some(entry.id),
            reason: Quarantined::new(
                QuarantineCode::Unreadable,
                "the last row of the file may be cut off; deliver the file again, with an end marker",
            ),
        },
        unreadable => unreadable,
    }
}

/// Steps of `check --connect`: the file, then its first rows.
pub(super) fn probe(settings: &Settings) -> Vec<Probe> {
    let mut probes = Vec::new();
    let opened = proof::open(&settings.path);
    let step = |step: &str, outcome| Probe {
        step: step.into(),
        outcome,
    };
    let file = match opened {
        Ok((file, stamp)) => {
            let changed = stamp.modified().unwrap_or_else(|| "an unknown time".into());
            let seen = format!(
                "{} has {} bytes, last changed {changed}",
                settings.path.display(),
                stamp.size
            );
            probes.push(step("open", Ok(seen)));
            file
        }
        Err(error) => {
            probes.push(step("open", Err(error)));
            return probes;
        }
    };
    match proof::delivered_checksum(settings) {
        Ok(Some(_)) => probes.push(step("checksum", Ok("a SHA-256 sum was delivered".into()))),
        Ok(None) => probes.push(step(
            "checksum",
            Ok("none; an end marker has to show that the file is whole".into()),
        )),
        Err(error) => {
            probes.push(step("checksum", Err(error)));
            return probes;
        }
    }
    probes.push(step("first rows", first_rows(settings, file)));
    probes
}

fn first_rows(settings: &Settings, file: std::fs::File) -> Result<String, SourceError> {
    let mut rows = rows(settings, Watched::new(file, false))?;
    let mut have = vec![0_u64; settings.wanted.len()];
    let (mut count, mut unreadable) = (0_u64, 0_u64);
    while count < PROBE_ROWS_MAX
        && let Some(row) = rows.next()?
    {
        let Row::Record { received, .. } = row else {
            continue;
        };
        count += 1;
        match received {
            Received::Entry(entry) => {
                for (have, name) in have.iter_mut().zip(settings.wanted.iter()) {
                    *have += u64::from(entry.attributes.first(name).is_some());
                }
            }
            Received::Unreadable { .. } => unreadable += 1,
        }
    }
    let columns: Vec<String> = settings
        .wanted
        .iter()
        .zip(have)
        .map(|(name, have)| format!("{name} {have}"))
        .collect();
    Ok(format!(
        "{count} records, {unreadable} unreadable; with a value: {}",
        columns.join(", ")
    ))
}

/// What a row gives before it is an entry: values by column, raw.
pub(super) struct Raw<'s> {
    pub(super) settings: &'s Settings,
    /// The line, for people.
    pub(super) line: u64,
}

impl Raw<'_> {
    /// A row that cannot be read.
    pub(super) fn unreadable(&self, id: Option<ExternalId>, code: QuarantineCode, what: &str) -> Received {
        let detail = format!("line {} of {}: {what}", self.line, self.settings.path.display());
        Received::Unreadable {
            id,
            reason: Quarantined::new(code, detail),
        }
    }

    /// The external id, or why the row has none.
    pub(super) fn id(&self, text: Option<&str>) -> Result<ExternalId, Box<Received>> {
        ExternalId::parse(text.unwrap_or_default()).map_err(|error| {
            let what = format!("{error}; correct `{}`", self.settings.external_id);
            Box::new(self.unreadable(None, QuarantineCode::BadId, &what))
        })
    }

    /// The entry of `id`, or why it is none.
    pub(super) fn entry(
        &self,
        id: ExternalId,
        organization: Option<&str>,
        organization_name: Option<&str>,
        attributes: Attributes,
    ) -> Received {
        if let Some((name, ..)) = attributes.too_large() {
            let what = format!(
                "`{name}` has a value of more than {ATTRIBUTE_VALUE_BYTES_MAX} bytes, or more than {ATTRIBUTE_VALUES_MAX} values; shorten it"
            );
            return self.unreadable(Some(id), QuarantineCode::TooLarge, &what);
        }
        let organization = match organization.map(str::trim).filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => match ExternalId::parse(text) {
                Ok(organization) => Some(OrganizationRef {
                    name: Some(
                        organization_name
                            .map(str::trim)
                            .filter(|name| !name.is_empty())
                            .unwrap_or(text)
                            .to_owned(),
                    ),
                    id: organization,
                }),
                Err(error) => {
                    let what = format!("the organization cannot be read, {error}; correct it");
                    return self.unreadable(Some(id), QuarantineCode::BadValue, &what);
                }
            },
        };
        Received::Entry(Entry {
            id,
            organization,
            attributes,
        })
    }
}
