//! Reads accounts from an LDAP server or an Active Directory. Never writes to a directory, follows no referral, and
//! calls a listing complete only where every page arrived with success and the end was stated.
//!
//! The library `ldap3` speaks the protocol; `guard` stands between it and the server, and takes the entries out of the
//! stream (`entry`, `decode`); `pager` looks at every page.

mod address;
mod ber;
mod connection;
mod decode;
mod dn;
mod entry;
mod failure;
mod group_listing;
mod groups;
mod guard;
mod listing;
mod lookup;
mod organization;
mod pager;
mod probe;
mod ranges;
mod settings;
mod tls;

use std::sync::Arc;

use async_trait::async_trait;
use ldap3::{Scope, ldap_escape, parse_filter};
use tokio::time::timeout;

pub use settings::{Bind, ClientCertificate, Limits, Organization, PAGE_SIZE_DEFAULT, Settings, Timeouts};

use self::connection::{Endpoint, Query};
use self::decode::Decoder;
use self::dn::Dn;
use super::{BatchSender, Listing, ListingScope, Lookup, Probe, Source, SourceError, SourceErrorKind};
use crate::domain::entry::DirectoryOrganization;
use crate::domain::id::{ExternalId, SourceName};

/// The filter that every entry matches.
const ANY: &str = "(objectClass=*)";

/// A directory that is read over LDAP.
#[derive(Debug)]
pub struct Ldap {
    settings: Settings,
    endpoint: Endpoint,
    decoder: Decoder,
    base: Dn,
}

impl Ldap {
    /// Checks everything that can be checked without a connection: URL, names, filters, files.
    pub fn new(mut settings: Settings) -> Result<Self, SourceError> {
        let base = checked_base("base_dn", &settings.base_dn)?;
        settings.filter = checked_filter("filter", &settings.filter)?;
        check_attribute("external_id", &settings.external_id)?;
        for name in settings.wanted.iter() {
            check_attribute("fields", name)?;
        }
        let mut stated_by = None;
        match &mut settings.organization {
            Organization::None | Organization::Parent => {}
            Organization::Attribute(name) => {
                check_attribute("organization", name)?;
                stated_by = Some(name.as_str());
            }
            Organization::Group {
                base_dn,
                filter,
                member,
            } => {
                checked_base("organization.base_dn", base_dn)?;
                *filter = checked_filter("organization.filter", filter)?;
                check_attribute("organization.member", member)?;
            }
            Organization::MemberOf { attribute, base_dn } => {
                if !base_dn.is_empty() {
                    checked_base("organization.base_dn", base_dn)?;
                }
                check_attribute("organization.attribute", attribute)?;
                stated_by = Some(attribute.as_str());
            }
        }
        let decoder = Decoder::new(&settings.wanted, &settings.external_id, stated_by);
        let endpoint = Endpoint::new(&settings)?;
        Ok(Self {
            settings,
            endpoint,
            decoder,
            base,
        })
    }

    /// A search for whole entries.
    fn query(&self, base: &str, scope: Scope, filter: String, size_limit: i32) -> Query {
        Query {
            base: base.to_owned(),
            scope,
            filter,
            attributes: self.decoder.requested(),
            size_limit,
        }
    }

    /// The configured filter, and `attribute` equal to `value`.
    fn filter_with(&self, attribute: &str, value: &str) -> String {
        format!("(&{}({attribute}={}))", self.settings.filter, ldap_escape(value))
    }

    /// An error where a search that had to be whole was not.
    fn not_whole(reason: String) -> SourceError {
        SourceError::new(SourceErrorKind::Limit, reason)
    }
}

#[async_trait]
impl Source for Ldap {
    fn name(&self) -> &SourceName {
        &self.settings.name
    }

    async fn list(&self, scope: &ListingScope, batches: BatchSender) -> Result<Listing, SourceError> {
        let limit = self.settings.timeouts.listing;
        tokio::select! {
            listing = timeout(limit, self.read(scope, &batches)) => listing.unwrap_or_else(|_| {
                Err(SourceError::new(
                    SourceErrorKind::Timeout,
                    format!(
                        "Reading {} from {} took longer than {} s: raise the time limit for listings, or narrow `filter`.",
                        self.settings.base_dn, self.endpoint.context.place, limit.as_secs_f32()
                    ),
                ))
            }),
            () = batches.closed() => Err(cancelled()),
        }
    }

    async fn lookup(&self, id: &ExternalId) -> Result<Lookup, SourceError> {
        self.look_up(id).await
    }

    async fn find_organization(&self, wanted: &str) -> Result<Vec<DirectoryOrganization>, SourceError> {
        self.find(wanted).await
    }

    async fn probe(&self) -> Vec<Probe> {
        self.try_steps().await
    }
}

/// Nobody wants the rest.
fn cancelled() -> SourceError {
    SourceError::new(
        SourceErrorKind::Cancelled,
        "The reading of the directory was stopped: start the run again.",
    )
}

fn configuration(message: String) -> SourceError {
    SourceError::new(SourceErrorKind::Configuration, message)
}

fn checked_base(key: &str, text: &str) -> Result<Dn, SourceError> {
    match Dn::parse(text) {
        Some(dn) if !text.trim().is_empty() => Ok(dn),
        _ => Err(configuration(format!(
            "`{}` in `{key}` of the LDAP source is no distinguished name: write one such as `ou=partners,dc=example,dc=com`.",
            text.escape_debug()
        ))),
    }
}

/// The filter, in brackets, so that it can be part of another.
fn checked_filter(key: &str, text: &str) -> Result<String, SourceError> {
    let text = text.trim();
    let filter = if text.starts_with('(') {
        text.to_owned()
    } else {
        format!("({text})")
    };
    match parse_filter(&filter) {
        Ok(_) => Ok(filter),
        Err(()) => Err(configuration(format!(
            "`{}` in `{key}` of the LDAP source is no search filter: check its brackets and escapes, as in `(&(objectClass=person)(mail=*))`.",
            text.escape_debug()
        ))),
    }
}

fn check_attribute(key: &str, name: &str) -> Result<(), SourceError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b';');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(configuration(format!(
        "`{}` in `{key}` of the LDAP source is no attribute name: write one such as `mail`.",
        name.escape_debug()
    )))
}

/// Attribute names for a search.
fn attributes(names: &[&str]) -> Arc<[Arc<str>]> {
    names.iter().map(|name| Arc::from(*name)).collect()
}
