//! The `ldap` source against a real slapd, and against sockets that play a server which slapd will not be.

mod active_directory;
mod errors;
mod faults;
mod listings;
mod organizations;
mod raw_directory;

use std::sync::Arc;
use std::time::Duration;

use rollcall::domain::entry::{Batch, Entry, Received};
use rollcall::domain::id::{ExternalId, SourceName};
use rollcall::sources::ldap::{Bind, Ldap, Limits, Organization, Settings, Timeouts};
use rollcall::sources::{BATCHES_IN_FLIGHT_MAX, Listing, ListingScope, Source, SourceError};
use tokio::sync::mpsc;

use crate::harness::slapd::{PARTNERS, PASSWORD, READER};

/// How the reader of the tests reads `url`: `uid` is the id, `o` the organization.
fn settings(url: impl Into<String>) -> Settings {
    Settings {
        name: SourceName::parse("partners").expect("a name"),
        url: url.into(),
        starttls: false,
        ca_file: None,
        client_certificate: None,
        bind: bind(READER),
        allow_plaintext: false,
        base_dn: PARTNERS.into(),
        filter: "(objectClass=inetOrgPerson)".into(),
        external_id: "uid".into(),
        organization: Organization::Attribute("o".into()),
        wanted: ["mail", "givenname", "sn"].map(Arc::from).into(),
        ignore_referrals: false,
        page_size: 1000,
        timeouts: Timeouts {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(10),
            listing: Duration::from_secs(60),
        },
        limits: Limits::default(),
    }
}

fn bind(dn: &str) -> Bind {
    Bind::Simple {
        dn: dn.into(),
        password: PASSWORD.into(),
    }
}

/// Everything that a listing gave.
struct Read {
    batches: Vec<Batch>,
    listing: Listing,
}

impl Read {
    fn received(&self) -> Vec<&Received> {
        self.batches.iter().flat_map(|batch| &batch.entries).collect()
    }

    fn entries(&self) -> Vec<&Entry> {
        let entries = self.received().into_iter().map(|received| match received {
            Received::Entry(entry) => entry,
            Received::Unreadable { reason, .. } => panic!("unreadable: {reason}"),
        });
        entries.collect()
    }

    /// The ids of all entries, sorted.
    fn ids(&self) -> Vec<&str> {
        let mut ids: Vec<_> = self.entries().iter().map(|entry| entry.id.as_str()).collect();
        ids.sort_unstable();
        ids
    }

    /// Why it is not complete; one sentence.
    fn reason(&self) -> &str {
        assert!(!self.listing.complete, "complete: {:?}", self.listing);
        let reason = self.listing.reason.as_deref().expect("an incomplete listing says why");
        assert!(reason.ends_with('.') && !reason.contains(PASSWORD), "{reason}");
        reason
    }
}

async fn try_list(settings: Settings, scope: ListingScope) -> Result<Read, SourceError> {
    let source = Ldap::new(settings)?;
    let (sender, mut receiver) = mpsc::channel(BATCHES_IN_FLIGHT_MAX);
    let collect = async {
        let mut batches = Vec::new();
        while let Some(batch) = receiver.recv().await {
            batches.push(batch);
        }
        batches
    };
    let (listing, batches) = tokio::join!(source.list(&scope, sender), collect);
    let read = Read {
        batches,
        listing: listing?,
    };
    let entries: usize = read.batches.iter().map(|batch| batch.entries.len()).sum();
    assert_eq!(read.listing.entries, entries as u64);
    assert_eq!(
        read.listing.pages,
        read.batches.iter().map(|batch| batch.pages).sum::<u64>()
    );
    Ok(read)
}

async fn list(settings: Settings) -> Read {
    try_list(settings, ListingScope::Source)
        .await
        .unwrap_or_else(|error| panic!("{error}: {error:?}"))
}

/// Why a listing failed; one sentence without a secret.
async fn failure(settings: Settings) -> SourceError {
    let Err(error) = try_list(settings, ListingScope::Source).await else {
        panic!("it was read")
    };
    assert!(
        error.message.ends_with('.') && !error.message.contains(PASSWORD),
        "{error}"
    );
    assert!(!format!("{error:?}").contains(PASSWORD), "{error:?}");
    error
}

fn id(text: &str) -> ExternalId {
    ExternalId::parse(text).expect("an id")
}
