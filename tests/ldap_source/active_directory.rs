//! What an Active Directory does and slapd does not: attributes in ranges, and binary ids.

use std::io::Write as _;

use rollcall::domain::entry::Received;
use rollcall::sources::ldap::{Bind, Ldap, Organization, Settings};
use rollcall::sources::{Lookup, Source, SourceErrorKind};

use super::raw_directory::{EXTENDED, RawDirectory, SEARCH, done, entry, person, reference, result};
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
    for spelling in [text.to_uppercase(), format!("{{{text}}}")] {
        let error = source.lookup(&id(&spelling)).await.expect_err("another spelling");
        assert_eq!(error.kind, SourceErrorKind::NotFound);
        assert!(error.message.ends_with(&format!("ask for `{text}`.")), "{error}");
    }
}

/// Samba's directory: no size limit is kept, whoever asks.
fn without_size_limits() -> RawDirectory {
    RawDirectory::searching(|asked| {
        if asked.contains(b"gone") {
            return done(asked.id, 0, None);
        }
        let everybody = (0..600).flat_map(|n| person(asked.id, &format!("u{n}")));
        everybody.chain(done(asked.id, 0, Some(b"1"))).collect()
    })
}

#[tokio::test]
async fn who_is_gone_is_said_by_a_server_without_size_limits() {
    for page_size in [0, 500] {
        let directory = without_size_limits();
        let source = Ldap::new(Settings {
            page_size,
            ..directory.settings()
        })
        .expect("settings");
        assert_eq!(source.lookup(&id("gone")).await.expect("sure"), Lookup::NotFound);
    }
}

#[tokio::test]
async fn a_large_organization_is_found_by_a_server_without_size_limits() {
    let directory = RawDirectory::searching(|asked| {
        let one = |n: usize| {
            entry(
                asked.id,
                format!("uid=u{n}").as_bytes(),
                &[("o", &[b"Large".as_slice()])],
            )
        };
        (0..600).flat_map(one).chain(done(asked.id, 0, Some(b""))).collect()
    });
    let source = Ldap::new(directory.settings()).expect("settings");
    let found = source.find_organization("large").await.expect("readable");
    assert_eq!(found.iter().map(|o| o.id.as_str()).collect::<Vec<_>>(), ["Large"]);
}

#[tokio::test]
async fn a_probe_says_that_a_listing_would_not_be_complete() {
    let directory = RawDirectory::start(|asked, stream| {
        let referred = reference(asked.id, "ldap://other.example/dc=x");
        let control = asked.contains(b"1.2.840.113556.1.4.319");
        let answer = match (asked.operation, control) {
            (EXTENDED, _) => result(asked.id, 0x78, 2, ""),
            (_, true) => [person(asked.id, "u1"), referred, done(asked.id, 0, Some(b""))].concat(),
            (_, false) => [person(asked.id, "u1"), done(asked.id, 0, None)].concat(),
        };
        stream.write_all(&answer).is_ok()
    });
    let steps = Ldap::new(directory.settings()).expect("settings").probe().await;
    let failed: Vec<_> = steps.iter().filter(|step| step.outcome.is_err()).collect();
    assert_eq!(
        failed.iter().map(|step| step.step.as_str()).collect::<Vec<_>>(),
        ["first page"]
    );
    let said = failed[0].outcome.as_ref().expect_err("not whole").to_string();
    assert!(
        said.starts_with("1 entry; ") && said.contains("never followed"),
        "{said}"
    );
    assert!(
        steps.iter().any(|step| step.step == "external id"),
        "the rest is said all the same"
    );
}
