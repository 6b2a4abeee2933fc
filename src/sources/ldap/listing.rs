//! Reads a scope from beginning to end into batches. Never decides what a missing entry means.

use ldap3::{Scope, ldap_escape};

use super::connection::Query;
use super::decode::Raw;
use super::dn::Dn;
use super::organization::{Groups, Membership};
use super::pager::{Ending, Pager, Step};
use super::{ANY, Ldap, Organization, cancelled};
use crate::domain::entry::{Batch, DirectoryOrganization, Entry, Received};
use crate::domain::id::ExternalId;
use crate::domain::quarantine::{QuarantineCode, Quarantined};
use crate::sources::{BatchSender, Listing, ListingScope, SourceError, SourceErrorKind};

/// Most accounts in one batch: a page of the usual size.
const BATCH_ENTRIES_MAX: usize = 1_000;

/// Most entries of one page whose ranged attributes are followed; more are unreadable. Active Directory gives ranges
/// only past 1500 values, so one of them is rare and a thousand a fault.
const RANGED_MAX: usize = 1_000;

/// What a listing sends, and what it has sent.
pub(super) struct Outlet<'a> {
    batches: &'a BatchSender,
    pub(super) batch: Batch,
    /// Accounts that were sent.
    pub(super) entries: u64,
    pages: u64,
}

impl Outlet<'_> {
    pub(super) async fn push(&mut self, received: Received) -> Result<(), SourceError> {
        self.entries += 1;
        self.batch.entries.push(received);
        if self.batch.entries.len() >= BATCH_ENTRIES_MAX {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), SourceError> {
        let batch = std::mem::take(&mut self.batch);
        if batch.entries.is_empty() && batch.organizations.is_empty() && batch.pages == 0 {
            return Ok(());
        }
        self.batches.send(batch).await.map_err(|_| cancelled())
    }

    /// Sends what there is, with the pages that it completes; `pages` is how many arrived by now.
    pub(super) async fn page(&mut self, pages: u64) -> Result<(), SourceError> {
        self.batch.pages += pages - self.pages;
        self.pages = pages;
        self.flush().await
    }
}

impl Ldap {
    /// Reads `scope`; see [`crate::sources::Source::list`].
    pub(super) async fn read(&self, scope: &ListingScope, batches: &BatchSender) -> Result<Listing, SourceError> {
        let query = self.query_of(scope)?;
        let only = match scope {
            ListingScope::Source => None,
            ListingScope::Organization(id) => Some(id),
        };
        let mut connection = self.endpoint.connect().await?;
        let mut outlet = Outlet {
            batches,
            batch: Batch::default(),
            entries: 0,
            pages: 0,
        };
        if let Some(only) = only
            && let Some(listing) = self.read_small_group(&mut connection, only, &mut outlet).await?
        {
            return Ok(listing);
        }
        let groups = self.read_groups(&mut connection).await?;
        let mut proof = Vec::new();
        if let Organization::Group { base_dn, .. } = &self.settings.organization {
            proof.push(format!(
                "{} groups with {} members were read to the end",
                groups.all().len(),
                groups.members()
            ));
            outlet.batch.organizations = organizations_of(&groups, only, base_dn)?;
        }
        let membership = Membership::new(&self.settings.organization, groups);
        let settings = &self.settings;
        let mut pager = Pager::new(
            &mut connection,
            query,
            settings.page_size,
            settings.limits,
            settings.ignore_referrals,
        );
        let mut ranged = Vec::new();
        let ending = loop {
            match pager.next().await? {
                Step::Entry(entry) => {
                    let raw = self.decoder.decode(&entry);
                    if !raw.ranged.is_empty() && ranged.len() < RANGED_MAX {
                        ranged.push(raw);
                    } else if let Some(received) = receive(&membership, only, raw) {
                        outlet.push(received).await?;
                    }
                    continue;
                }
                Step::Page => {
                    self.send_ranged(&mut pager, &mut ranged, &membership, only, &mut outlet)
                        .await?
                }
                Step::End(ending) => {
                    self.send_ranged(&mut pager, &mut ranged, &membership, only, &mut outlet)
                        .await?;
                    outlet.page(pager.pages).await?;
                    break ending;
                }
            }
            outlet.page(pager.pages).await?;
        };
        Ok(listing(ending, outlet.entries, pager.pages, proof))
    }

    /// Entries of which the server gave a part only: completed while no search is under way, then sent.
    async fn send_ranged(
        &self,
        pager: &mut Pager<'_>,
        ranged: &mut Vec<Raw>,
        membership: &Membership<'_>,
        only: Option<&ExternalId>,
        outlet: &mut Outlet<'_>,
    ) -> Result<(), SourceError> {
        for mut raw in ranged.drain(..) {
            if !pager.connection.is_busy() {
                self.complete(pager.connection, &mut raw).await?;
            }
            if let Some(received) = receive(membership, only, raw) {
                outlet.push(received).await?;
            }
        }
        Ok(())
    }

    /// What to search for. For a large group the whole base is read, and who belongs elsewhere is left out.
    fn query_of(&self, scope: &ListingScope) -> Result<Query, SourceError> {
        let settings = &self.settings;
        let everything = || self.query(&settings.base_dn, Scope::Subtree, settings.filter.clone(), 0);
        let ListingScope::Organization(id) = scope else {
            return Ok(everything());
        };
        match &settings.organization {
            Organization::None => Err(SourceError::new(
                SourceErrorKind::Configuration,
                format!(
                    "The source {} states no organizations, so none of them can be read alone: set `organization`.",
                    settings.name
                ),
            )),
            Organization::Attribute(name) => {
                let filter = self.filter_with(name, id.as_str());
                Ok(self.query(&settings.base_dn, Scope::Subtree, filter, 0))
            }
            Organization::Parent => match Dn::parse(id.as_str()) {
                Some(dn) if dn.is_within(&self.base) => {
                    Ok(self.query(id.as_str(), Scope::OneLevel, settings.filter.clone(), 0))
                }
                _ => Err(foreign(id, &settings.base_dn)),
            },
            Organization::Group { .. } => Ok(everything()),
            Organization::MemberOf { attribute, base_dn } => {
                let base = Dn::parse(base_dn).expect("checked when the source was made");
                match Dn::parse(id.as_str()) {
                    Some(dn) if dn.is_within(&base) => {
                        let filter = format!("(&{}({attribute}={}))", settings.filter, ldap_escape(id.as_str()));
                        Ok(self.query(&settings.base_dn, Scope::Subtree, filter, 0))
                    }
                    _ => Err(foreign(id, base_dn)),
                }
            }
        }
    }

    /// Asks for the rest of what `raw` lacks.
    pub(super) async fn complete(
        &self,
        connection: &mut super::connection::Connection,
        raw: &mut Raw,
    ) -> Result<(), SourceError> {
        // Past the first thing that is wrong, nothing more of the entry is used.
        while raw.problem.is_none() {
            let Some(ranged) = raw.ranged.pop() else { return Ok(()) };
            let dn = raw.dn.clone().unwrap_or_default();
            match super::ranges::next(connection, &dn, &ranged).await? {
                Some(part) => self.decoder.take(
                    raw,
                    part.description.as_bytes(),
                    part.values.iter().map(|value| value.as_deref()),
                ),
                None => raw.problem = Some(part_missing(&ranged.name)),
            }
        }
        Ok(())
    }
}

/// A filter that every entry matches, for searches of one entry.
pub(super) fn of_one(dn: &str, names: &[&str]) -> Query {
    Query {
        base: dn.to_owned(),
        scope: Scope::Base,
        filter: ANY.to_owned(),
        attributes: super::attributes(names),
        size_limit: 1,
    }
}

/// Makes an entry of `raw`; `None` where it belongs to another organization than the one that is read.
pub(super) fn receive(membership: &Membership<'_>, only: Option<&ExternalId>, mut raw: Raw) -> Option<Received> {
    if let (Some(ranged), None) = (raw.ranged.first(), &raw.problem) {
        raw.problem = Some(part_missing(&ranged.name));
    }
    let organization = membership.of(&raw);
    if let (Some(only), Ok(organization)) = (only, &organization)
        && organization
            .as_ref()
            .is_none_or(|organization| organization.id != *only)
    {
        return None;
    }
    Some(match (raw.problem, raw.id, organization) {
        (None, Some(id), Ok(organization)) => Received::Entry(Entry {
            id,
            organization,
            attributes: raw.attributes,
        }),
        (Some(reason), id, _) | (None, id, Err(reason)) => Received::Unreadable { id, reason },
        (None, None, Ok(_)) => unreachable!("the decoder gives a reason with every missing id"),
    })
}

fn part_missing(name: &str) -> Quarantined {
    Quarantined::new(
        QuarantineCode::Unreadable,
        format!("The attribute `{name}` could not be read to its end: try again, or map another attribute."),
    )
}

fn organizations_of(
    groups: &Groups,
    only: Option<&ExternalId>,
    base_dn: &str,
) -> Result<Vec<DirectoryOrganization>, SourceError> {
    let mut listed = Vec::new();
    for group in groups.all() {
        // A name that is too long for an id is refused with each entry that it concerns.
        let Ok(id) = ExternalId::parse(group.id.as_str()) else {
            continue;
        };
        if only.is_none_or(|only| *only == id) {
            listed.push(directory_organization(id, group.name.clone()));
        }
    }
    match only {
        Some(id) if listed.is_empty() => Err(foreign(id, base_dn)),
        _ => Ok(listed),
    }
}

/// An organization of which the directory says no more than its name.
pub(super) fn directory_organization(id: ExternalId, name: String) -> DirectoryOrganization {
    DirectoryOrganization {
        id,
        name,
        kind: None,
        closed: false,
        requested_access: None,
        attributes: Vec::new(),
    }
}

/// There is no such organization where it would have to be.
pub(super) fn foreign(id: &ExternalId, base: &str) -> SourceError {
    SourceError::new(
        SourceErrorKind::NotFound,
        format!("There is no organization {id} below {base}: check its id, or `organization` of the source."),
    )
}

fn listing(ending: Ending, entries: u64, pages: u64, mut proof: Vec<String>) -> Listing {
    proof.extend(ending.proof);
    match ending.reason {
        Some(reason) => Listing::incomplete(entries, pages, proof, reason),
        None => Listing::complete(entries, pages, proof, None),
    }
}
