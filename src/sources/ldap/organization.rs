//! Which organization an account belongs to, and the groups that say so. Keeps a hash for each member, never a name:
//! a million members take some thirty megabytes.

use std::cmp::Reverse;

use sha2::{Digest as _, Sha256};

use super::decode::Raw;
use super::dn::Dn;
use super::settings::Organization;
use crate::domain::entry::OrganizationRef;
use crate::domain::id::ExternalId;
use crate::domain::quarantine::{QuarantineCode, Quarantined};

/// Works out the organization of an entry.
#[derive(Debug)]
pub(super) struct Membership<'a> {
    rule: &'a Organization,
    /// The base of the groups, for [`Organization::MemberOf`].
    base: Option<Dn>,
    groups: Groups,
}

impl<'a> Membership<'a> {
    /// `groups` is what was read for [`Organization::Group`], and empty otherwise.
    pub(super) fn new(rule: &'a Organization, groups: Groups) -> Self {
        let base = match rule {
            Organization::MemberOf { base_dn, .. } => Dn::parse(base_dn),
            _ => None,
        };
        Self { rule, base, groups }
    }

    /// The organization of `raw`; `None` where it has none.
    pub(super) fn of(&self, raw: &Raw) -> Result<Option<OrganizationRef>, Quarantined> {
        match self.rule {
            Organization::None => Ok(None),
            Organization::Attribute(_) => {
                let first = raw
                    .organization
                    .iter()
                    .map(|value| value.trim())
                    .filter(|value| !value.is_empty())
                    .min();
                first.map(|name| organization(name.to_owned(), Some(name))).transpose()
            }
            Organization::Parent => {
                let Some(parent) = own_dn(raw)?.parent() else {
                    return Ok(None);
                };
                organization(parent.normalized(), parent.first_value()).map(Some)
            }
            Organization::Group { .. } => {
                let found = self.groups.of(&own_dn(raw)?);
                found
                    .map(|group| organization(group.id.clone(), Some(&group.name)))
                    .transpose()
            }
            Organization::MemberOf { .. } => self.first_group(raw),
        }
    }

    fn first_group(&self, raw: &Raw) -> Result<Option<OrganizationRef>, Quarantined> {
        let base = self.base.as_ref().expect("checked when the source was made");
        let mut first: Option<(String, Dn)> = None;
        for value in &raw.organization {
            let Some(group) = Dn::parse(value) else {
                return Err(Quarantined::new(
                    QuarantineCode::Unreadable,
                    "A group of the entry is no distinguished name: correct it in the directory.",
                ));
            };
            let id = group.normalized();
            if group.is_within(base) && first.as_ref().is_none_or(|(least, _)| id < *least) {
                first = Some((id, group));
            }
        }
        first
            .map(|(id, group)| organization(id, group.first_value()))
            .transpose()
    }
}

fn own_dn(raw: &Raw) -> Result<Dn, Quarantined> {
    raw.dn.as_deref().and_then(Dn::parse).ok_or_else(|| {
        Quarantined::new(
            QuarantineCode::Unreadable,
            "The DN of the entry, which states the organization, cannot be read: correct it in the directory.",
        )
    })
}

fn organization(id: String, name: Option<&str>) -> Result<OrganizationRef, Quarantined> {
    match ExternalId::parse(id) {
        Ok(id) => Ok(OrganizationRef {
            id,
            name: name.map(str::to_owned),
        }),
        Err(error) => Err(Quarantined::new(
            QuarantineCode::BadValue,
            format!("What states the organization cannot be an id, because {error}: correct it in the directory."),
        )),
    }
}

/// One group that is an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Its normalized DN.
    pub(super) id: String,
    /// Its `cn`.
    pub(super) name: String,
}

/// Groups and who is in them.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Vec<Group>,
    /// Hash of a member's normalized DN, and the index of the group; sorted by hash once all are read.
    members: Vec<(MemberHash, u32)>,
}

/// 128 bits of a SHA-256: nobody can make two names collide. Two words, so that a member takes 24 bytes and not 32.
type MemberHash = (u64, u64);

fn hash(dn: &Dn) -> MemberHash {
    let digest: [u8; 32] = Sha256::digest(dn.normalized()).into();
    let word = |at: usize| u64::from_be_bytes(digest[at..at + 8].try_into().expect("eight bytes"));
    (word(0), word(8))
}

impl Groups {
    /// Adds a group; gives the index under which its members are added.
    pub(super) fn begin(&mut self, group: Group) -> u32 {
        self.groups.push(group);
        u32::try_from(self.groups.len() - 1).expect("fewer groups than fit 32 bits")
    }

    /// Whether there is no group at all.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Adds a member. A value that is no DN names nobody that can be an entry.
    pub(super) fn add_member(&mut self, group: u32, dn: &str) {
        if let Some(dn) = Dn::parse(dn) {
            self.members.push((hash(&dn), group));
        }
    }

    /// Sorts what was read. Of several groups of one member, the one whose id comes first counts.
    pub(super) fn finish(&mut self) {
        let groups = &self.groups;
        // The winner stands last, so that keeping one of each hash can drop the ones before it.
        self.members.sort_unstable_by(|(a, in_a), (b, in_b)| {
            (a, Reverse(&groups[*in_a as usize].id)).cmp(&(b, Reverse(&groups[*in_b as usize].id)))
        });
        self.members.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = later.1;
            }
            same
        });
    }

    /// Members that were read.
    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    /// All groups, in the order of arrival.
    pub(super) fn all(&self) -> &[Group] {
        &self.groups
    }

    fn of(&self, dn: &Dn) -> Option<&Group> {
        let wanted = hash(dn);
        let at = self.members.binary_search_by_key(&wanted, |(hash, _)| *hash).ok()?;
        Some(&self.groups[self.members[at].1 as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(dn: &str, organization: &[&str]) -> Raw {
        Raw {
            dn: Some(dn.into()),
            organization: organization.iter().map(|value| (*value).to_owned()).collect(),
            ..Raw::default()
        }
    }

    fn id_of(membership: &Membership<'_>, raw: &Raw) -> Option<(String, String)> {
        let found = membership.of(raw).expect("readable")?;
        Some((found.id.as_str().to_owned(), found.name.expect("a name")))
    }

    #[test]
    fn an_attribute_counts_whatever_the_order_of_its_values() {
        let rule = Organization::Attribute("company".into());
        let membership = Membership::new(&rule, Groups::default());
        let expected = Some(("Acme".to_owned(), "Acme".to_owned()));
        assert_eq!(id_of(&membership, &raw("cn=a", &[" Acme ", "Bolt"])), expected);
        assert_eq!(id_of(&membership, &raw("cn=a", &["Bolt", "", " Acme "])), expected);
        assert_eq!(id_of(&membership, &raw("cn=a", &[" "])), None);
        assert!(membership.of(&raw("cn=a", &[&"x".repeat(600)])).is_err());
    }

    #[test]
    fn the_parent_is_named_by_its_value() {
        let membership = Membership::new(&Organization::Parent, Groups::default());
        let found = id_of(&membership, &raw("uid=a,o=Acme\\2C Inc,dc=Example", &[]));
        assert_eq!(found, Some(("o=acme\\, inc,dc=example".into(), "Acme, Inc".into())));
        assert!(membership.of(&raw("no name", &[])).is_err());
    }

    #[test]
    fn groups_of_the_entry_count_below_their_base() {
        let rule = Organization::MemberOf {
            attribute: "memberOf".into(),
            base_dn: "ou=firms,dc=example".into(),
        };
        let membership = Membership::new(&rule, Groups::default());
        let values = [
            "cn=Admins,dc=example",
            "cn=Bolt,OU=Firms,dc=example",
            "cn=Acme,ou=firms,dc=example",
        ];
        let found = id_of(&membership, &raw("cn=a", &values));
        assert_eq!(found, Some(("cn=acme,ou=firms,dc=example".into(), "Acme".into())));
        assert_eq!(id_of(&membership, &raw("cn=a", &values[..1])), None);
    }

    #[test]
    fn the_same_members_in_any_order_give_the_same_group() {
        let rule = Organization::Group {
            base_dn: String::new(),
            filter: String::new(),
            member: "member".into(),
        };
        let lists = [
            ("cn=bolt", ["uid=A,dc=Example", "uid=b,dc=example"]),
            ("cn=acme", ["uid=c", "uid=a, dc=example"]),
        ];
        for turned in [false, true] {
            let mut groups = Groups::default();
            let mut lists = lists.to_vec();
            if turned {
                lists.reverse();
            }
            for (id, members) in lists {
                let group = groups.begin(Group {
                    id: id.into(),
                    name: id[3..].into(),
                });
                members.iter().for_each(|member| groups.add_member(group, member));
                groups.add_member(group, "no name at all");
            }
            groups.finish();
            assert_eq!(groups.members(), 3);
            let membership = Membership::new(&rule, groups);
            assert_eq!(
                id_of(&membership, &raw("UID=a,DC=example", &[])),
                Some(("cn=acme".into(), "acme".into()))
            );
            assert_eq!(
                id_of(&membership, &raw("uid=b,dc=example", &[])).map(|found| found.0),
                Some("cn=bolt".into())
            );
            assert_eq!(id_of(&membership, &raw("uid=z,dc=example", &[])), None);
        }
    }
}
