//! A delivered file, CSV or JSON Lines, as a source. The file is read whole, from one handle, in batches; it counts as
//! complete only with a checksum beside it or an end marker in it. Never writes, and never trusts a file that changed
//! while it was read.

mod csv_rows;
mod json_rows;
mod proof;
mod scan;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{BatchSender, Listing, ListingScope, Lookup, Probe, Source, SourceError, SourceErrorKind};
use crate::domain::entry::{Batch, DirectoryOrganization, OrganizationRef, Received};
use crate::domain::id::{ExternalId, SourceName};
use crate::domain::quarantine::{QuarantineCode, Quarantined};

/// Entries in one batch: the unit of back-pressure.
const BATCH_ENTRIES_MAX: usize = 1_000;

/// Most organizations that a search answers: a list for a person to pick from.
const ORGANIZATIONS_FOUND_MAX: usize = 100;

/// What is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with a header line (RFC 4180), UTF-8.
    Csv,
    /// One JSON object a line, UTF-8.
    Jsonl,
}

/// What has to show that the file is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// A checksum or an end marker, whichever is there.
    Any,
    /// `FILE.sha256` beside it, as `sha256sum` writes it.
    Checksum,
    /// A last line with the number of records: `#END 1234` in CSV, `{"end": 1234}` in JSON Lines.
    EndMarker,
}

/// Limits of one listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub entries_max: u64,
    /// Bytes of one record: a quotation mark that is never closed makes the rest of a file one record.
    pub record_bytes_max: u64,
    /// Time for the whole listing.
    pub listing_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries_max: 10_000_000,
            record_bytes_max: 4 * 1024 * 1024,
            listing_time_max: Duration::from_secs(2 * 60 * 60),
        }
    }
}

/// What a file source is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configured name.
    pub name: SourceName,
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub format: Format,
    /// The column (or key) that is the external id.
    pub external_id: Arc<str>,
    /// The column with the id or name of the organization.
    pub organization: Option<Arc<str>>,
    /// The column with the organization's name, where `organization` is an id.
    pub organization_name: Option<Arc<str>>,
    /// The columns that the mapping asks for.
    pub wanted: Arc<[Arc<str>]>,
    /// What separates several values in one CSV cell.
    pub separator: String,
    /// The CSV columns that hold several values.
    pub separated_columns: Vec<Arc<str>>,
    /// What has to show that the file is whole.
    pub completeness: Completeness,
    /// Limits of one listing.
    pub limits: Limits,
}

/// A delivered file.
#[derive(Debug)]
pub struct File {
    settings: Arc<Settings>,
}

impl File {
    /// A source that reads the file of `settings`; the file is first looked at when it is read.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
        }
    }

    /// Runs a scan where blocking is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Settings) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let settings = Arc::clone(&self.settings);
        let name = settings.path.display().to_string();
        tokio::task::spawn_blocking(move || work(&settings))
            .await
            .unwrap_or_else(|error| {
                let message = format!("reading {name} was broken off inside the program; report this as a defect");
                Err(SourceError::new(SourceErrorKind::Cancelled, message).because(error))
            })
    }
}

#[async_trait]
impl Source for File {
    fn name(&self) -> &SourceName {
        &self.settings.name
    }

    async fn list(&self, scope: &ListingScope, batches: BatchSender) -> Result<Listing, SourceError> {
        let scope = scope.clone();
        self.blocking(move |settings| list(settings, &scope, &batches)).await
    }

    async fn lookup(&self, id: &ExternalId) -> Result<Lookup, SourceError> {
        let id = id.clone();
        self.blocking(move |settings| lookup(settings, &id)).await
    }

    async fn find_organization(&self, wanted: &str) -> Result<Vec<DirectoryOrganization>, SourceError> {
        let wanted = wanted.to_owned();
        self.blocking(move |settings| find_organization(settings, &wanted))
            .await
    }

    async fn probe(&self) -> Vec<Probe> {
        let probes = self.blocking(|settings| Ok(scan::probe(settings))).await;
        probes.unwrap_or_else(|error| {
            vec![Probe {
                step: "open".into(),
                outcome: Err(error),
            }]
        })
    }
}

fn list(settings: &Settings, scope: &ListingScope, batches: &BatchSender) -> Result<Listing, SourceError> {
    let wanted = match scope {
        ListingScope::Source => None,
        ListingScope::Organization(_) if settings.organization.is_none() => {
            return Err(SourceError::new(
                SourceErrorKind::Configuration,
                format!(
                    "the source `{}` knows no organizations; set `organization` to the column of {} that names the firm",
                    settings.name,
                    settings.path.display()
                ),
            ));
        }
        ListingScope::Organization(id) => Some(id),
    };
    let cancelled = |_| SourceError::new(SourceErrorKind::Cancelled, "the listing was stopped; start it again");
    let mut batch = Batch::default();
    let mut sent = 0_u64;
    let listing = scan::scan(settings, &mut |received| {
        // A row that could not be read may be anybody's: it counts as present in every scope.
        let in_scope = match (&received, wanted) {
            (Received::Entry(entry), Some(wanted)) => entry.organization.as_ref().is_some_and(|o| o.id == *wanted),
            _ => true,
        };
        if in_scope {
            sent += 1;
            batch.entries.push(received);
        }
        if batch.entries.len() >= BATCH_ENTRIES_MAX {
            batches.blocking_send(std::mem::take(&mut batch)).map_err(cancelled)?;
        }
        if batches.is_closed() {
            return Err(SourceError::new(
                SourceErrorKind::Cancelled,
                "the listing was stopped; start it again",
            ));
        }
        Ok(())
    })?;
    batch.pages = 1;
    batches.blocking_send(batch).map_err(cancelled)?;
    Ok(Listing {
        entries: sent,
        ..listing
    })
}

fn lookup(settings: &Settings, id: &ExternalId) -> Result<Lookup, SourceError> {
    let mut found: Option<Received> = None;
    let mut nameless = 0_u64;
    let listing = scan::scan(settings, &mut |received| {
        nameless += u64::from(matches!(received, Received::Unreadable { id: None, .. }));
        let same = match &received {
            Received::Entry(entry) => entry.id == *id,
            Received::Unreadable { id: unreadable, .. } => unreadable.as_ref() == Some(id),
        };
        if same {
            found = Some(match found.take() {
                Some(first) if first != received => Received::Unreadable {
                    id: Some(id.clone()),
                    reason: Quarantined::new(
                        QuarantineCode::DuplicateId,
                        format!(
                            "the external id is on several different rows of {}; leave one of them",
                            settings.path.display()
                        ),
                    ),
                },
                _ => received,
            });
        }
        Ok(())
    })?;
    let unproven = (nameless > 0).then(|| format!("{nameless} records have no readable id, and each may be the one"));
    match (found, listing.reason.or(unproven)) {
        (Some(found), _) => Ok(Lookup::Found(Box::new(found))),
        (None, None) => Ok(Lookup::NotFound),
        (None, Some(reason)) => Err(SourceError::new(
            SourceErrorKind::Protocol,
            format!("the account was not found, which proves nothing here: {reason}"),
        )),
    }
}

fn find_organization(settings: &Settings, wanted: &str) -> Result<Vec<DirectoryOrganization>, SourceError> {
    let mut found: Vec<OrganizationRef> = Vec::new();
    let folded = wanted.to_lowercase();
    scan::scan(settings, &mut |received| {
        if let Received::Entry(entry) = received
            && let Some(organization) = entry.organization
            && found.len() < ORGANIZATIONS_FOUND_MAX
        {
            let named = organization
                .name
                .as_ref()
                .is_some_and(|name| name.to_lowercase() == folded);
            if (named || organization.id.as_str() == wanted) && !found.iter().any(|known| known.id == organization.id) {
                found.push(organization);
            }
        }
        Ok(())
    })?;
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(found
        .into_iter()
        .map(|organization| DirectoryOrganization {
            name: organization.name.unwrap_or_else(|| organization.id.as_str().to_owned()),
            id: organization.id,
            kind: None,
            closed: false,
            requested_access: None,
            attributes: Vec::new(),
        })
        .collect())
}
