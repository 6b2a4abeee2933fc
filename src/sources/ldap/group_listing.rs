//! Reads the people of one group, member by member, where they are few: a small firm in a large directory is then
//! read without the whole of it. Never takes a member that was not answered for as one that is gone.

use std::collections::BTreeMap;

use ldap3::Scope;

use super::connection::{Connection, Few};
use super::dn::Dn;
use super::failure::Verdict;
use super::groups::{GroupEntry, group_entry};
use super::listing::{Outlet, directory_organization, foreign, of_one, receive};
use super::organization::Membership;
use super::{Ldap, Organization};
use crate::domain::id::ExternalId;
use crate::sources::{Listing, SourceError};

/// Most members that are asked for one by one. Each takes two round trips; past this, reading everything in pages is
/// sooner done.
const MEMBERS_MAX: usize = 500;

const NO_SUCH_OBJECT: u32 = 32;

impl Ldap {
    /// Reads the organization `only`; `None` where it is no small group, and everything is to be read.
    pub(super) async fn read_small_group(
        &self,
        connection: &mut Connection,
        only: &ExternalId,
        outlet: &mut Outlet<'_>,
    ) -> Result<Option<Listing>, SourceError> {
        let Organization::Group {
            base_dn,
            filter,
            member,
        } = &self.settings.organization
        else {
            return Ok(None);
        };
        let base = Dn::parse(base_dn).expect("checked when the source was made");
        if !Dn::parse(only.as_str()).is_some_and(|dn| dn.is_within(&base)) {
            return Err(foreign(only, base_dn));
        }
        let mut query = of_one(only.as_str(), &["cn", member]);
        query.filter.clone_from(filter);
        let few = connection.few(&query, 1).await?;
        let group = match few.result.rc {
            0 => few
                .entries
                .into_iter()
                .next()
                .and_then(|entry| group_entry(&entry, member)),
            NO_SUCH_OBJECT => None,
            _ => return Err(self.failure(connection, only.as_str(), &few)),
        };
        let group = group.ok_or_else(|| foreign(only, base_dn))?;
        if group.ranged.is_some() || group.members.len() > MEMBERS_MAX {
            return Ok(None);
        }
        self.read_each_member(connection, only, group, outlet).await.map(Some)
    }

    async fn read_each_member(
        &self,
        connection: &mut Connection,
        only: &ExternalId,
        group: GroupEntry,
        outlet: &mut Outlet<'_>,
    ) -> Result<Listing, SourceError> {
        let members = self.members_below_base(&group);
        let mut proof = vec![format!(
            "each of the {} members of {} was asked for",
            members.len(),
            group.dn
        )];
        outlet
            .batch
            .organizations
            .push(directory_organization(only.clone(), group.group.name));
        let mut reason = None;
        for dn in members.values() {
            let query = self.query(dn, Scope::Base, self.settings.filter.clone(), 1);
            let few = connection.few(&query, 1).await?;
            reason = self.not_answered(connection, dn, &few)?;
            if reason.is_some() {
                break;
            }
            for entry in few.entries {
                let mut raw = self.decoder.decode(&entry);
                self.complete(connection, &mut raw).await?;
                let groups = self.groups_of(connection, dn).await?;
                let membership = Membership::new(&self.settings.organization, groups);
                if let Some(received) = receive(&membership, Some(only), raw) {
                    outlet.push(received).await?;
                }
            }
        }
        outlet.page(1).await?;
        if outlet.entries == 0 {
            proof.push(format!(
                "no member was seen; an identity without the right to read looks the same, so check what {} may read",
                connection.context.identity
            ));
        }
        Ok(match reason {
            Some(reason) => Listing::incomplete(outlet.entries, 1, Vec::new(), reason),
            None => Listing::complete(outlet.entries, 1, proof, None),
        })
    }

    /// The members that can be accounts, each once.
    fn members_below_base(&self, group: &GroupEntry) -> BTreeMap<String, String> {
        let named = group
            .members
            .iter()
            .filter_map(|name| Some((Dn::parse(name)?, name.to_owned())));
        named
            .filter(|(dn, _)| dn.is_within(&self.base))
            .map(|(dn, name)| (dn.normalized(), name))
            .collect()
    }

    /// Why nothing is known of the member `dn`. One that is not there any more is known of: a group may go on naming
    /// people who left.
    fn not_answered(&self, connection: &Connection, dn: &str, few: &Few) -> Result<Option<String>, SourceError> {
        match few.result.rc {
            0 if few.entries.is_empty() && !few.references.is_empty() && !self.settings.ignore_referrals => {
                Ok(Some(format!(
                    "{} keeps the member {dn} on another server, which is never followed: set `ignore_referrals = true` if no accounts are there.",
                    connection.context.place
                )))
            }
            0 | NO_SUCH_OBJECT => Ok(None),
            _ => match connection.context.search(dn, 0, &few.result) {
                Verdict::Incomplete(reason) => Ok(Some(reason)),
                Verdict::Failed(error) => Err(error),
            },
        }
    }
}
