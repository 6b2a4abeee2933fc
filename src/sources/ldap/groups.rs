//! Reads the groups that are organizations, with their members. Never goes on with half of them: an account whose
//! group was not read would look as if it had left its organization.

use ldap3::{Scope, ldap_escape};

use super::connection::{Connection, Query};
use super::decode::{Ranged, split_range};
use super::dn::Dn;
use super::entry::{EntryBytes, texts};
use super::failure::Verdict;
use super::organization::{Group, Groups};
use super::pager::{Pager, Step};
use super::{Ldap, Organization, attributes, ranges};
use crate::sources::{SourceError, SourceErrorKind};

/// Most groups of one account that are looked at.
const GROUPS_OF_ONE_MAX: usize = 1_000;

/// A group taken apart.
#[derive(Debug)]
pub(super) struct GroupEntry {
    pub(super) dn: String,
    pub(super) group: Group,
    /// The members whose names are text; another name cannot be that of an entry.
    pub(super) members: Vec<String>,
    pub(super) ranged: Option<Ranged>,
}

/// Takes a group apart; `None` where its DN cannot be read.
pub(super) fn group_entry(entry: &EntryBytes, member: &str) -> Option<GroupEntry> {
    let dn = std::str::from_utf8(entry.name()?).ok()?.to_owned();
    let name = Dn::parse(&dn)?;
    let group = Group {
        id: name.normalized(),
        name: name.first_value().unwrap_or_default().to_owned(),
    };
    let mut read = GroupEntry {
        dn,
        group,
        members: Vec::new(),
        ranged: None,
    };
    for attribute in entry.attributes() {
        let Some(Ok(description)) = attribute.description.map(std::str::from_utf8) else {
            continue;
        };
        let Some(values) = attribute.values else { continue };
        let (name, range) = split_range(description);
        if name.eq_ignore_ascii_case(member) {
            read.members.extend(texts(values).map(str::to_owned));
            if let Some(Some(next)) = range {
                read.ranged = Some(Ranged {
                    name: name.to_owned(),
                    next,
                });
            }
        } else if name.eq_ignore_ascii_case("cn") {
            // Of several names the first in byte order: a directory gives them in any.
            if let Some(name) = texts(values).min() {
                read.group.name = name.to_owned();
            }
        }
    }
    Some(read)
}

impl Ldap {
    /// Reads all groups, where groups are the organizations.
    pub(super) async fn read_groups(&self, connection: &mut Connection) -> Result<Groups, SourceError> {
        let Organization::Group {
            base_dn,
            filter,
            member,
        } = &self.settings.organization
        else {
            return Ok(Groups::default());
        };
        let settings = &self.settings;
        let query = Query {
            base: base_dn.clone(),
            scope: Scope::Subtree,
            filter: filter.clone(),
            attributes: attributes(&["cn", member]),
            size_limit: 0,
        };
        let mut groups = Groups::default();
        let mut pager = Pager::new(
            connection,
            query,
            settings.page_size,
            settings.limits,
            settings.ignore_referrals,
        );
        loop {
            let mut ranged = Vec::new();
            let ending = loop {
                match pager.next().await? {
                    Step::Entry(entry) => {
                        let read = group_entry(&entry, member).ok_or_else(|| self.unreadable_group(base_dn))?;
                        let index = groups.begin(read.group);
                        read.members.iter().for_each(|dn| groups.add_member(index, dn));
                        ranged.extend(read.ranged.map(|part| (index, read.dn, part)));
                    }
                    Step::Page => break None,
                    Step::End(ending) => break Some(ending),
                }
            };
            if let Some(reason) = ending.as_ref().and_then(|ending| ending.reason.clone()) {
                return Err(Self::not_whole(reason));
            }
            for (index, dn, part) in ranged {
                self.read_members(pager.connection, index, &dn, part, &mut groups)
                    .await?;
            }
            if ending.is_some() && groups.is_empty() {
                return Err(SourceError::new(
                    SourceErrorKind::NotFound,
                    format!(
                        "{} shows no group below {base_dn} that matches {filter}, and everybody would lose their organization: correct `base_dn` and `filter` of `organization`, or give that identity the right to read the groups.",
                        pager.connection.context.place
                    ),
                ));
            }
            if ending.is_some() {
                groups.finish();
                return Ok(groups);
            }
        }
    }

    /// Follows a member attribute that came in part.
    async fn read_members(
        &self,
        connection: &mut Connection,
        index: u32,
        dn: &str,
        mut part: Ranged,
        groups: &mut Groups,
    ) -> Result<(), SourceError> {
        loop {
            let Some(next) = ranges::next(connection, dn, &part).await? else {
                return Err(SourceError::new(
                    SourceErrorKind::Protocol,
                    format!(
                        "{} gives `{}` of {dn} in parts, and not the part from {} on: try again, or use `memberOf` instead.",
                        connection.context.place, part.name, part.next
                    ),
                ));
            };
            next.values
                .iter()
                .filter_map(|member| std::str::from_utf8(member.as_deref()?).ok())
                .for_each(|member| groups.add_member(index, member));
            match split_range(&next.description).1 {
                Some(Some(from)) => part.next = from,
                _ => return Ok(()),
            }
        }
    }

    /// The groups that one entry is a member of.
    pub(super) async fn groups_of(&self, connection: &mut Connection, dn: &str) -> Result<Groups, SourceError> {
        let Organization::Group {
            base_dn,
            filter,
            member,
        } = &self.settings.organization
        else {
            return Ok(Groups::default());
        };
        let query = Query {
            base: base_dn.clone(),
            scope: Scope::Subtree,
            filter: format!("(&{filter}({member}={}))", ldap_escape(dn)),
            attributes: attributes(&["cn"]),
            size_limit: 0,
        };
        let few = connection.few(&query, GROUPS_OF_ONE_MAX).await?;
        if few.result.rc != 0 {
            return Err(
                match connection
                    .context
                    .search(base_dn, few.entries.len() as u64, &few.result)
                {
                    Verdict::Incomplete(reason) => Self::not_whole(reason),
                    Verdict::Failed(error) => error,
                },
            );
        }
        let mut groups = Groups::default();
        for entry in few.entries {
            let read = group_entry(&entry, member).ok_or_else(|| self.unreadable_group(base_dn))?;
            let index = groups.begin(read.group);
            groups.add_member(index, dn);
        }
        groups.finish();
        Ok(groups)
    }

    fn unreadable_group(&self, base_dn: &str) -> SourceError {
        SourceError::new(
            SourceErrorKind::Protocol,
            format!(
                "A group below {base_dn} at {} has a DN that cannot be read: correct it in the directory, or leave it out by the groups' filter.",
                self.endpoint.context.place
            ),
        )
    }
}
