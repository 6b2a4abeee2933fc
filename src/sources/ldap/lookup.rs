//! Asks for one account, or for organizations by name. Never says "not found" unless the same identity was seen to
//! read other accounts there: without that right the answer would be the same.

use std::fmt::Write as _;

use ldap3::{Scope, ldap_escape};

use super::connection::{Connection, Few, Query};
use super::decode::is_guid;
use super::dn::{Dn, same_value};
use super::entry::EntryBytes;
use super::failure::Verdict;
use super::groups::group_entry;
use super::listing::{directory_organization, receive};
use super::organization::Membership;
use super::pager::{Pager, Step};
use super::{ANY, Ldap, Organization, attributes};
use crate::domain::entry::{DirectoryOrganization, Received};
use crate::domain::id::ExternalId;
use crate::domain::quarantine::{QuarantineCode, Quarantined};
use crate::sources::{Lookup, SourceError, SourceErrorKind};

/// Most organizations that a search by name gives, and most entries that it looks at.
const FOUND_MAX: i32 = 500;

/// What the name of an organization is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// Its attribute `cn`.
    Cn,
    /// The value of its RDN.
    Rdn,
}

const SIZE_LIMIT_EXCEEDED: u32 = 4;
const NO_SUCH_OBJECT: u32 = 32;

impl Ldap {
    /// Asks for one account; see [`crate::sources::Source::lookup`].
    pub(super) async fn look_up(&self, id: &ExternalId) -> Result<Lookup, SourceError> {
        let filter = self.filter_of(id)?;
        let mut connection = self.endpoint.connect().await?;
        let query = self.query(&self.settings.base_dn, Scope::Subtree, filter, 2);
        let few = connection.few(&query, 2).await?;
        if few.entries.len() > 1 {
            let detail = "Several entries have this external id: use an attribute with unique values as `external_id`.";
            let reason = Quarantined::new(QuarantineCode::DuplicateId, detail);
            return Ok(Lookup::Found(Box::new(Received::Unreadable {
                id: Some(id.clone()),
                reason,
            })));
        }
        self.check_whole(&connection, &few)?;
        let Some(entry) = few.entries.into_iter().next() else {
            self.check_sight(&mut connection).await?;
            return Ok(Lookup::NotFound);
        };
        let mut raw = self.decoder.decode(&entry);
        self.complete(&mut connection, &mut raw).await?;
        if raw.id.as_ref().is_some_and(|found| found != id) {
            // A directory compares without regard to case, we byte by byte.
            raw.problem = Some(Quarantined::new(
                QuarantineCode::BadId,
                "The directory spells this external id in another way now: use an attribute that never changes, such as entryUUID.",
            ));
            raw.id = Some(id.clone());
        }
        let groups = match &raw.dn {
            Some(dn) => self.groups_of(&mut connection, dn).await?,
            None => Default::default(),
        };
        let membership = Membership::new(&self.settings.organization, groups);
        let received = receive(&membership, None, raw).expect("no organization was asked for, so none is left out");
        Ok(Lookup::Found(Box::new(received)))
    }

    /// The configured filter, and the external id equal to `id`.
    fn filter_of(&self, id: &ExternalId) -> Result<String, SourceError> {
        let name = &self.settings.external_id;
        if !is_guid(name) {
            return Ok(self.filter_with(name, id.as_str()));
        }
        let guid = uuid::Uuid::try_parse(id.as_str()).map_err(|error| {
            let message = format!("`{id}` is no GUID, which `{name}` holds: check whether `external_id` was changed.");
            SourceError::new(SourceErrorKind::Configuration, message).because(error)
        })?;
        // A directory finds it in any spelling, but what is known of it here stands under one.
        let spelled = guid.hyphenated().to_string();
        if spelled != id.as_str() {
            let message = format!("`{id}` is a GUID in another spelling than ours: ask for `{spelled}`.");
            return Err(SourceError::new(SourceErrorKind::NotFound, message));
        }
        let mut value = String::with_capacity(48);
        for byte in guid.to_bytes_le() {
            write!(value, "\\{byte:02x}").expect("a string takes everything");
        }
        Ok(format!("(&{}({name}={value}))", self.settings.filter))
    }

    /// An error unless the server said that this was all.
    fn check_whole(&self, connection: &Connection, few: &Few) -> Result<(), SourceError> {
        if few.result.rc != 0 {
            return Err(self.failure(connection, &self.settings.base_dn, few));
        }
        if few.entries.is_empty() && !few.references.is_empty() && !self.settings.ignore_referrals {
            return Err(SourceError::new(
                SourceErrorKind::ForeignOrigin,
                format!(
                    "{} refers to other servers below {}, which are never followed: choose a `base_dn` without them, or set `ignore_referrals = true`.",
                    connection.context.place, self.settings.base_dn
                ),
            ));
        }
        Ok(())
    }

    /// Why a search that had to be whole was not.
    pub(super) fn failure(&self, connection: &Connection, base: &str, few: &Few) -> SourceError {
        match connection.context.search(base, few.entries.len() as u64, &few.result) {
            Verdict::Incomplete(reason) => Self::not_whole(reason),
            Verdict::Failed(error) => error,
        }
    }

    /// An error unless this identity reads at least one account. Leaves a search under way on the connection.
    async fn check_sight(&self, connection: &mut Connection) -> Result<(), SourceError> {
        // Samba's directory takes no notice of a size limit, and much of pages.
        let mut query = self.query(&self.settings.base_dn, Scope::Subtree, self.settings.filter.clone(), 0);
        query.attributes = attributes(&["1.1"]);
        let mut pager = self.glance(connection, query, 1);
        let ending = loop {
            match pager.next().await? {
                Step::Entry(_) => return Ok(()),
                Step::Page => {}
                Step::End(ending) => break ending,
            }
        };
        Err(match ending.reason {
            Some(reason) => Self::not_whole(reason),
            None => SourceError::new(
                SourceErrorKind::Forbidden,
                format!(
                    "{} sees no account at all below {} at {}, so nobody can be said to be gone: check its right to read, and `filter`.",
                    self.endpoint.context.identity, self.settings.base_dn, self.endpoint.context.place
                ),
            ),
        })
    }

    /// A pager for the first `most` entries, also from a server that knows no pages.
    fn glance<'a>(&self, connection: &'a mut Connection, mut query: Query, most: i32) -> Pager<'a> {
        let page_size = self.settings.page_size.min(most.unsigned_abs());
        if page_size == 0 {
            query.size_limit = most;
        }
        Pager::new(connection, query, page_size, self.settings.limits, true)
    }

    /// Asks for organizations; see [`crate::sources::Source::find_organization`].
    pub(super) async fn find(&self, wanted: &str) -> Result<Vec<DirectoryOrganization>, SourceError> {
        let wanted = wanted.trim();
        let settings = &self.settings;
        if wanted.is_empty() || settings.organization == Organization::None {
            return Ok(Vec::new());
        }
        let escaped = ldap_escape(wanted);
        let mut found = match &settings.organization {
            Organization::None => Vec::new(),
            Organization::Attribute(name) => self.find_values(name, wanted).await?,
            Organization::Parent => {
                let filter = format!("(|(o={escaped})(ou={escaped})(cn={escaped})(dc={escaped}))");
                self.find_entries(&settings.base_dn, wanted, ANY, &filter, Naming::Rdn)
                    .await?
            }
            Organization::Group { base_dn, filter, .. } => {
                self.find_entries(
                    base_dn,
                    wanted,
                    filter,
                    &format!("(&{filter}(cn={escaped}))"),
                    Naming::Cn,
                )
                .await?
            }
            Organization::MemberOf { base_dn, .. } => {
                let base_dn = if base_dn.is_empty() { &settings.base_dn } else { base_dn };
                self.find_entries(base_dn, wanted, ANY, &format!("(cn={escaped})"), Naming::Cn)
                    .await?
            }
        };
        found.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        found.dedup_by(|a, b| a.id == b.id);
        Ok(found)
    }

    /// The values of `name` that the directory holds equal to `wanted`.
    async fn find_values(&self, name: &str, wanted: &str) -> Result<Vec<DirectoryOrganization>, SourceError> {
        let mut query = self.query(
            &self.settings.base_dn,
            Scope::Subtree,
            self.filter_with(name, wanted),
            0,
        );
        query.attributes = attributes(&[name, &self.settings.external_id]);
        let entries = self.first_found(query).await?;
        let folded = wanted.to_lowercase();
        let values = entries
            .into_iter()
            .flat_map(|entry| self.decoder.decode(&entry).organization);
        let names = values
            .map(|value| value.trim().to_owned())
            .filter(|value| value.to_lowercase() == folded);
        Ok(names
            .filter_map(|name| Some(directory_organization(ExternalId::parse(name.clone()).ok()?, name)))
            .collect())
    }

    /// Entries below `base` that are organizations: the one with the DN `wanted`, or those that match `by_name`.
    async fn find_entries(
        &self,
        base: &str,
        wanted: &str,
        filter: &str,
        by_name: &str,
        naming: Naming,
    ) -> Result<Vec<DirectoryOrganization>, SourceError> {
        let within = Dn::parse(base).expect("checked when the source was made");
        let by_dn = Dn::parse(wanted).is_some_and(|dn| dn.is_within(&within));
        let (start, scope, filter) = if by_dn {
            (wanted, Scope::Base, filter)
        } else {
            (base, Scope::Subtree, by_name)
        };
        let query = Query {
            base: start.to_owned(),
            scope,
            filter: filter.to_owned(),
            attributes: attributes(match naming {
                Naming::Cn => &["cn"],
                Naming::Rdn => &["1.1"],
            }),
            size_limit: FOUND_MAX,
        };
        let mut connection = self.endpoint.connect().await?;
        let few = connection.few(&query, FOUND_MAX as usize).await?;
        if by_dn && few.result.rc == NO_SUCH_OBJECT {
            return Ok(Vec::new());
        }
        let few = self.bounded(&connection, start, few)?;
        let read = few.entries.into_iter().filter_map(|entry| group_entry(&entry, ""));
        // An account may have the name of its organization as an attribute; it is not the organization.
        let named = read.filter(|read| by_dn || naming == Naming::Cn || same_value(&read.group.name, wanted));
        Ok(named
            .filter_map(|read| {
                Some(directory_organization(
                    ExternalId::parse(read.group.id).ok()?,
                    read.group.name,
                ))
            })
            .collect())
    }

    /// The first entries of a search by name; with one of them it does not matter why there are no more.
    async fn first_found(&self, query: Query) -> Result<Vec<EntryBytes>, SourceError> {
        let mut connection = self.endpoint.connect().await?;
        let mut pager = self.glance(&mut connection, query, FOUND_MAX);
        let mut entries = Vec::new();
        while entries.len() < FOUND_MAX as usize {
            match pager.next().await? {
                Step::Entry(entry) => entries.push(entry),
                Step::Page => {}
                Step::End(ending) => match ending.reason {
                    Some(reason) if entries.is_empty() => return Err(Self::not_whole(reason)),
                    _ => break,
                },
            }
        }
        Ok(entries)
    }

    /// A search by name may end at the size limit: the person who searches then types more.
    fn bounded(&self, connection: &Connection, base: &str, few: Few) -> Result<Few, SourceError> {
        match few.result.rc {
            0 | SIZE_LIMIT_EXCEEDED => Ok(few),
            _ => Err(self.failure(connection, base, &few)),
        }
    }
}
