//! What an Active Directory does and slapd does not: attributes in ranges, and binary ids.

use rollcall::domain::entry::Received;
use rollcall::sources::ldap::{Bind, Ldap, Organization, Settings};
use rollcall::sources::{Lookup, Source, SourceErrorKind};

use super::raw_directory::{RawDirectory, SEARCH, done, entry, person};
use super::{failure, id, list};

/// Answers in ranges, as Active Directory does; `last` is the highest value that there is.
fn ranges(name: &'static str, last: usize, broken: bool) -> RawDirectory {
    RawDirectory::searching(move |asked| {
        let value = |n: usize| format!("uid=u{n},dc=raw,dc=example");
        let start = (0..=last)
            .rev()
            .find(|n| asked.contains(format!("{name};range={n}-*").as_bytes()));
        let (from, to) = (start.unwrap_or(0), (start.unwrap_or(0) + 1).min(last));
        let range = if to == last {
            format!("{name};range={from}-*")
        } else {
            format!("{name};Range={from}-{to}")
        };
        let values: Vec<_> = (from..=to).map(value).collect();
        let values: Vec<_> = values.iter().map(String::as_bytes).collect();
        let none: &[&[u8]] = &[];
        let values = if broken && start.is_some() { none } else { &values };
        let found = entry(
            asked.id,
            b"cn=firm,dc=raw,dc=example",
            &[("uid", &[b"firm"]), (&range, values)],
        );
        let control: Option<&[u8]> = if asked.contains(b"1.2.840.113556.1.4.319") {
            Some(b"")
        } else {
            None
        };
        match asked.contains(b"groupFilter") || name == "mail" {
            true => [found, done(asked.id, 0, control)].concat(),
            false if start.is_some() => [found, done(asked.id, 0, control)].concat(),
            false => [
                person(asked.id, "u4"),
                person(asked.id, "u99"),
                done(asked.id, 0, control),
            ]
            .concat(),
        }
    })
}

#[tokio::test]
async fn ranged_attributes_are_followed_to_the_end() {
    let read = list(ranges("mail", 6, false).settings()).await;
    assert!(read.listing.complete);
    assert_eq!(read.entries()[0].attributes.all("mail").len(), 7);
    let read = list(ranges("mail", 6, true).settings()).await;
    assert!(matches!(read.received()[0], Received::Unreadable { id: Some(_), .. }));
}

#[tokio::test]
async fn members_in_ranges_are_all_members() {
    let organization = Organization::Group {
        base_dn: "dc=raw,dc=example".into(),
        filter: "(cn=groupFilter)".into(),
        member: "member".into(),
    };
    let read = list(Settings {
        organization: organization.clone(),
        ..ranges("member", 6, false).settings()
    })
    .await;
    let with_firm: Vec<_> = read
        .entries()
        .iter()
        .map(|entry| entry.organization.is_some())
        .collect();
    assert_eq!(with_firm, [true, false], "u4 is a member, u99 is not");
    let error = failure(Settings {
        organization,
        ..ranges("member", 6, true).settings()
    })
    .await;
    assert_eq!(error.kind, SourceErrorKind::Protocol, "{error}");
}

#[tokio::test]
async fn an_active_directory_guid_is_read_printed_and_asked_for() {
    const GUID: [u8; 16] = [0x78, 0x56, 0x34, 0x12, 0xbc, 0x9a, 0xf0, 0xde, 1, 2, 3, 4, 5, 6, 7, 8];
    let directory = RawDirectory::searching(|asked| {
        assert_eq!(asked.operation, SEARCH);
        let found = entry(asked.id, b"cn=a,dc=raw,dc=example", &[("objectGUID", &[&GUID])]);
        let cookie: Option<&[u8]> = if asked.contains(b"1.2.840.113556.1.4.319") {
            Some(b"")
        } else {
            None
        };
        match cookie.is_some() || asked.contains(&GUID) {
            true => [found, done(asked.id, 0, cookie)].concat(),
            false => done(asked.id, 0, cookie),
        }
    });
    let with = Settings {
        external_id: "objectguid".into(),
        bind: Bind::Anonymous,
        ..directory.settings()
    };
    let read = list(with.clone()).await;
    let text = "12345678-9abc-def0-0102-030405060708";
    assert_eq!(read.ids(), [text]);
    let source = Ldap::new(with).expect("settings");
    assert!(matches!(source.lookup(&id(text)).await, Ok(Lookup::Found(_))));
    let error = source.lookup(&id("aklein")).await.expect_err("no GUID");
    assert_eq!(error.kind, SourceErrorKind::Configuration);
}
