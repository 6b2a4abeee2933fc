//! Reading directories. Each source yields batches of entries with back-pressure and ends with a proof of
//! completeness. A source never decides what a missing entry means, and never sees the store.

pub mod connex;
pub mod error;
pub mod file;
pub mod ldap;
pub mod listing;

use async_trait::async_trait;
use tokio::sync::mpsc;

pub use error::{SourceError, SourceErrorKind};
pub use listing::{Listing, Lookup};

use crate::domain::entry::{Batch, DirectoryOrganization};
use crate::domain::id::{ExternalId, SourceName};

/// How many batches may wait between a source and the comparison: enough to overlap the two, few enough to keep
/// memory flat.
pub const BATCHES_IN_FLIGHT_MAX: usize = 8;

/// Where a source puts what it reads. Sending waits while the receiver is behind.
pub type BatchSender = mpsc::Sender<Batch>;

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListingScope {
    /// Everything that the configuration of the source covers.
    Source,
    /// One organization, by its id at the directory.
    Organization(ExternalId),
}

/// One thing that `check --connect` looked at in a source.
#[derive(Debug)]
pub struct Probe {
    /// What was tried, in a few words: `connect`, `bind`, `base DN`, `first page`.
    pub step: String,
    /// What was seen, or why it failed.
    pub outcome: Result<String, SourceError>,
}

/// A configured external system that we read.
#[async_trait]
pub trait Source: Send + Sync {
    /// The configured name.
    fn name(&self) -> &SourceName;

    /// Reads `scope` from beginning to end into `batches`.
    ///
    /// `Ok` with `complete: false` means that what arrived is true but not all; `Err` that nothing can be said.
    /// When the receiver is dropped, stops and answers [`SourceErrorKind::Cancelled`].
    async fn list(&self, scope: &ListingScope, batches: BatchSender) -> Result<Listing, SourceError>;

    /// Asks for one account by its id.
    async fn lookup(&self, id: &ExternalId) -> Result<Lookup, SourceError>;

    /// Asks for organizations whose id or name is `wanted`, also those that are not known here yet.
    async fn find_organization(&self, wanted: &str) -> Result<Vec<DirectoryOrganization>, SourceError>;

    /// Tries each step of a connection, in order, up to the first that fails. Reads at most one page.
    async fn probe(&self) -> Vec<Probe>;
}
