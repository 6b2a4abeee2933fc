//! Organizations in each of their forms: as an attribute, as the entry above, as groups, as groups of the entry.

use rollcall::domain::entry::{Entry, Received};
use rollcall::sources::ldap::{Ldap, Organization, Settings};
use rollcall::sources::{ListingScope, Lookup, Source, SourceErrorKind};

use super::listings::EVERYONE;
use super::{id, list, settings, try_list};
use crate::harness::slapd::{FIRMS, Options, PARTNERS, Slapd};

fn by_group() -> Organization {
    Organization::Group {
        base_dn: FIRMS.into(),
        filter: "objectClass=groupOfNames".into(),
        member: "member".into(),
    }
}

fn by_member_of() -> Organization {
    Organization::MemberOf {
        attribute: "memberOf".into(),
        base_dn: FIRMS.to_uppercase(),
    }
}

#[tokio::test]
async fn each_form_of_organization_is_read_found_and_listed_alone() {
    let slapd = Slapd::start();
    let group = format!("cn=bolt surveying,{FIRMS}");
    let parent = format!("o=bolt surveying,{PARTNERS}");
    for (organization, expected) in [
        (Organization::Attribute("O".into()), "Bolt Surveying".to_owned()),
        (Organization::Parent, parent),
        (by_group(), group.clone()),
        (by_member_of(), group),
    ] {
        let with = Settings {
            organization,
            ..settings(slapd.url())
        };
        let all = list(with.clone()).await;
        assert!(all.listing.complete && all.ids() == EVERYONE, "{expected}");
        let firms: Vec<_> = all
            .entries()
            .iter()
            .filter_map(|entry| entry.organization.clone())
            .collect();
        assert_eq!(firms.len(), 6, "{expected}");
        assert_eq!(
            firms.iter().filter(|firm| firm.id == id(&expected)).count(),
            2,
            "{expected}"
        );

        let one = try_list(with.clone(), ListingScope::Organization(id(&expected)))
            .await
            .expect("readable");
        assert!(one.listing.complete, "{expected}");
        assert_eq!(one.ids(), ["cmoreau", "dpetrov"], "{expected}");

        let source = Ldap::new(with).expect("settings");
        for wanted in ["bolt SURVEYING", &expected] {
            let found = source.find_organization(wanted).await.expect("readable");
            assert_eq!(found.len(), 1, "{wanted} {expected}");
            assert_eq!(
                (found[0].id.as_str(), found[0].name.as_str()),
                (expected.as_str(), "Bolt Surveying")
            );
        }
        assert!(
            source.find_organization("*").await.expect("readable").is_empty(),
            "{expected}"
        );
        assert!(
            source
                .find_organization("no such firm")
                .await
                .expect("readable")
                .is_empty()
        );
        let Lookup::Found(found) = source.lookup(&id("dpetrov")).await.expect("readable") else {
            panic!("gone")
        };
        let Received::Entry(entry) = *found else {
            panic!("{found:?}")
        };
        assert_eq!(entry.organization.map(|firm| firm.id), Some(id(&expected)));
    }
}

#[tokio::test]
async fn groups_of_the_entry_count_anywhere_where_no_base_is_given() {
    let slapd = Slapd::start();
    let anywhere = Organization::MemberOf {
        attribute: "memberOf".into(),
        base_dn: String::new(),
    };
    let with = Settings {
        organization: anywhere,
        ..settings(slapd.url())
    };
    let firm = id(&format!("cn=crane works,{FIRMS}"));
    let one = try_list(with.clone(), ListingScope::Organization(firm))
        .await
        .expect("readable");
    assert_eq!(one.ids(), ["eokafor", "fsilva"]);
    let source = Ldap::new(with).expect("settings");
    assert!(
        source
            .find_organization("Crane Works")
            .await
            .expect("readable")
            .is_empty(),
        "below the people's base"
    );
    assert!(source.probe().await.iter().all(|step| step.outcome.is_ok()));
}

#[tokio::test]
async fn groups_are_listed_even_without_people_here() {
    let slapd = Slapd::start();
    slapd.load(&format!(
        "dn: cn=Empty Firm,{FIRMS}\nobjectClass: groupOfNames\ncn: Empty Firm\nmember: cn=x\n"
    ));
    let read = list(Settings {
        organization: by_group(),
        ..settings(slapd.url())
    })
    .await;
    let names: Vec<_> = read.batches[0]
        .organizations
        .iter()
        .map(|firm| firm.name.as_str())
        .collect();
    assert_eq!(names.len(), 4);
    assert!(names.contains(&"Empty Firm"));
    let unknown = ListingScope::Organization(id(&format!("cn=gone,{FIRMS}")));
    let result = try_list(
        Settings {
            organization: by_group(),
            ..settings(slapd.url())
        },
        unknown,
    )
    .await;
    assert!(matches!(result, Err(error) if error.kind == SourceErrorKind::NotFound));
}

#[tokio::test]
async fn a_group_alone_is_read_as_it_is_among_all_be_it_small_or_large() {
    let slapd = Slapd::with(Options {
        more_people: 600,
        ..Options::default()
    });
    // Of the three groups that name Anna, the first in byte order is hers; the other members are gone, or no accounts.
    slapd.modify(&format!(
        "dn: cn=Bolt Surveying,{FIRMS}\nchangetype: modify\nadd: member\nmember: uid=AKlein,o=Acme Engineering,{PARTNERS}\nmember: uid=gone,{PARTNERS}\nmember: {PARTNERS}\nmember: cn=reader,dc=directory,dc=example\n"
    ));
    let firms = ["Acme Engineering", "Bolt Surveying", "Crane Works"];
    let members = (1..=501).map(|number| {
        let firm = firms[number % firms.len()];
        format!("member: uid=p{number:06},o={firm},{PARTNERS}\n")
    });
    let anna = format!("member: uid=aklein,o=Acme Engineering,{PARTNERS}\n");
    let members = members.collect::<String>() + &anna;
    slapd.load(&format!(
        "dn: cn=Large,{FIRMS}\nobjectClass: groupOfNames\ncn: Large\n{members}"
    ));
    let with = Settings {
        organization: by_group(),
        ..settings(slapd.url())
    };
    let all = list(with.clone()).await;
    for (firm, count) in [("acme engineering", 2), ("bolt surveying", 2), ("large", 501)] {
        let firm = id(&format!("cn={firm},{FIRMS}"));
        let named = |entry: &&&Entry| entry.organization.as_ref().is_some_and(|o| o.id == firm);
        let mut expected: Vec<_> = all
            .entries()
            .iter()
            .filter(named)
            .map(|entry| entry.id.as_str().to_owned())
            .collect();
        expected.sort_unstable();
        let one = try_list(with.clone(), ListingScope::Organization(firm.clone()))
            .await
            .expect("readable");
        assert!(
            one.listing.complete && one.ids() == expected,
            "{firm}: {:?}",
            one.listing
        );
        assert_eq!(expected.len(), count, "{firm}");
        assert_eq!(one.batches[0].organizations.len(), 1, "{firm}");
    }
}
