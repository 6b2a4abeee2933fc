//! What is read from a real server: people, organizations in each of their forms, one organization, one account.

use rollcall::domain::entry::Received;
use rollcall::domain::quarantine::QuarantineCode;
use rollcall::sources::ldap::{Bind, ClientCertificate, Ldap, Organization, Settings};
use rollcall::sources::{ListingScope, Lookup, Source, SourceErrorKind};
use tokio::sync::mpsc;

use super::{bind, id, list, settings, try_list};
use crate::harness::slapd::{BLIND, LIMITED, Options, PARTNERS, Slapd};

pub(crate) const EVERYONE: [&str; 6] = ["aklein", "bnovak", "cmoreau", "dpetrov", "eokafor", "fsilva"];

#[tokio::test]
async fn everybody_is_read_over_each_kind_of_connection() {
    let slapd = Slapd::start();
    let ca_file = Some(slapd.ca_file());
    let client = slapd.authority.client("reader");
    let client_certificate = Some(ClientCertificate {
        certificate_file: client.certificate_file,
        key_file: client.key_file,
    });
    let over_tls = Settings {
        ca_file,
        ..settings(slapd.ldaps_url())
    };
    for way in [
        settings(slapd.url()),
        over_tls.clone(),
        Settings {
            starttls: true,
            url: slapd.url(),
            ..over_tls.clone()
        },
        Settings {
            url: over_tls.url.replace("localhost", "127.0.0.1"),
            ..over_tls.clone()
        },
        Settings {
            bind: Bind::External,
            client_certificate,
            ..over_tls
        },
        settings(slapd.ldapi_url()),
        Settings {
            bind: Bind::External,
            ..settings(slapd.ldapi_url())
        },
    ] {
        let url = way.url.clone();
        let read = list(way).await;
        assert!(read.listing.complete, "{url}");
        assert_eq!(read.ids(), EVERYONE, "{url}");
    }
}

#[tokio::test]
async fn attributes_arrive_under_the_names_of_the_mapping() {
    let slapd = Slapd::start();
    let read = list(settings(slapd.url())).await;
    let chloe = read
        .entries()
        .into_iter()
        .find(|entry| entry.id == id("cmoreau"))
        .expect("listed")
        .clone();
    assert_eq!(chloe.attributes.all("givenname"), ["Chloé"]);
    assert_eq!(chloe.attributes.first("mail"), Some("cmoreau@bolt.example"));
    assert_eq!(chloe.attributes.iter().count(), 3);
    let firm = chloe.organization.expect("a firm");
    assert_eq!(
        (firm.id.as_str(), firm.name.as_deref()),
        ("Bolt Surveying", Some("Bolt Surveying"))
    );
    assert_eq!(read.listing.proof.len(), 1);
}

#[tokio::test]
async fn any_page_size_reads_the_same() {
    let slapd = Slapd::with(Options {
        more_people: 1194,
        ..Options::default()
    });
    for (page_size, pages) in [(0, 1), (1, 1200), (7, 172), (600, 2), (1200, 1), (5000, 1)] {
        let read = list(Settings {
            page_size,
            ..settings(slapd.url())
        })
        .await;
        let ids = read.ids();
        assert!(
            read.listing.complete && ids.len() == 1200,
            "{page_size}: {:?}",
            read.listing
        );
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{page_size}");
        // slapd ends a search that fills its last page exactly with an empty page.
        assert!(
            [pages, pages + 1].contains(&read.listing.pages),
            "{page_size}: {:?}",
            read.listing
        );
        assert!(read.batches.iter().all(|batch| batch.entries.len() <= 1000));
    }
}

#[tokio::test]
async fn a_size_limit_makes_a_listing_incomplete_and_is_named_with_the_identity() {
    let slapd = Slapd::with(Options {
        more_people: 94,
        ..Options::default()
    });
    for page_size in [0, 20, 1000] {
        let read = list(Settings {
            bind: bind(LIMITED),
            page_size,
            ..settings(slapd.url())
        })
        .await;
        let reason = read.reason();
        assert!(
            reason.contains("size limit") && reason.contains(LIMITED) && reason.contains("code 4"),
            "{reason}"
        );
        assert!(read.listing.entries <= 50);
    }
    // Below the limit the same identity proves its listing.
    let few = Settings {
        bind: bind(LIMITED),
        filter: "(uid=p00000*)".into(),
        ..settings(slapd.url())
    };
    let read = list(few).await;
    assert!(read.listing.complete && read.listing.entries == 9);
}

#[tokio::test]
async fn an_identity_without_rights_gets_a_hint_and_no_not_found() {
    let slapd = Slapd::start();
    let blind = Settings {
        bind: bind(BLIND),
        ..settings(slapd.url())
    };
    let read = list(blind.clone()).await;
    assert!(read.listing.complete && read.listing.entries == 0);
    assert!(
        read.listing.proof.iter().any(|line| line.contains(BLIND)),
        "{:?}",
        read.listing.proof
    );
    let error = Ldap::new(blind)
        .expect("settings")
        .lookup(&id("aklein"))
        .await
        .expect_err("blind");
    assert_eq!(error.kind, SourceErrorKind::Forbidden);
}

#[tokio::test]
async fn a_change_at_the_directory_is_seen() {
    let slapd = Slapd::start();
    let source = Ldap::new(settings(slapd.url())).expect("settings");
    let anna = format!("uid=aklein,o=Acme Engineering,{PARTNERS}");
    slapd.set(&anna, "mail", "anna.klein@acme.example");
    slapd.delete(&format!("uid=bnovak,o=Acme Engineering,{PARTNERS}"));
    slapd.rename(&anna, "uid=aklein", Some(&format!("o=Crane Works,{PARTNERS}")));
    let Lookup::Found(found) = source.lookup(&id("aklein")).await.expect("readable") else {
        panic!("gone")
    };
    let Received::Entry(entry) = *found else {
        panic!("{found:?}")
    };
    assert_eq!(entry.attributes.first("mail"), Some("anna.klein@acme.example"));
    assert_eq!(source.lookup(&id("bnovak")).await.expect("readable"), Lookup::NotFound);
    let parents = list(Settings {
        organization: Organization::Parent,
        ..settings(slapd.url())
    })
    .await;
    let anna = parents
        .entries()
        .into_iter()
        .find(|entry| entry.id == id("aklein"))
        .expect("listed")
        .clone();
    assert_eq!(anna.organization.expect("a firm").name.as_deref(), Some("Crane Works"));
}

#[tokio::test]
async fn odd_ids_are_escaped_and_never_a_filter() {
    let slapd = Slapd::start();
    let source = Ldap::new(settings(slapd.url())).expect("settings");
    for odd in ["*", "*)(uid=*", "aklein)(objectClass=*", "a\\2a", "(", "ü*"] {
        assert_eq!(
            source.lookup(&id(odd)).await.expect("readable"),
            Lookup::NotFound,
            "{odd}"
        );
        let scope = ListingScope::Organization(id(odd));
        let read = try_list(settings(slapd.url()), scope).await.expect("readable");
        assert_eq!(read.listing.entries, 0, "{odd}");
    }
    let comma = "Dewey, Howe + \\\"Sons\\\"";
    let dn = format!("o=Dewey\\, Howe \\+ \\\"Sons\\\",{PARTNERS}");
    slapd.load(&format!(
        "dn: {dn}\nobjectClass: organization\no: {}\n",
        comma.replace('\\', "")
    ));
    slapd.load(&format!(
        "dn: uid=x\\,y,{dn}\nobjectClass: inetOrgPerson\nuid: x,y\ncn: X\nsn: Y\nmail: x@dewey.example\n"
    ));
    let parents = Settings {
        organization: Organization::Parent,
        ..settings(slapd.url())
    };
    let read = list(parents.clone()).await;
    let entry = read
        .entries()
        .into_iter()
        .find(|entry| entry.id == id("x,y"))
        .expect("listed")
        .clone();
    let firm = entry.organization.expect("a firm");
    assert_eq!(firm.name.as_deref(), Some("Dewey, Howe + \"Sons\""));
    let one = try_list(parents, ListingScope::Organization(firm.id))
        .await
        .expect("readable");
    assert_eq!(one.ids(), ["x,y"]);
}

#[tokio::test]
async fn what_is_wrong_with_one_entry_is_that_entrys_alone() {
    let slapd = Slapd::start();
    let acme = format!("o=Acme Engineering,{PARTNERS}");
    let start = "objectClass: inetOrgPerson\ncn: N\nsn: N\n";
    let values: String = (0..1001).map(|n| format!("mail: n{n}@acme.example\n")).collect();
    slapd.load(&format!("dn: uid=many,{acme}\n{start}uid: many\n{values}"));
    slapd.load(&format!("dn: uid=two,{acme}\n{start}uid: two\nuid: deux\n"));
    slapd.load(&format!("dn: cn=N,{acme}\n{start}"));
    let read = list(settings(slapd.url())).await;
    assert_eq!(read.listing.entries, 9);
    let bad = read.received().into_iter().filter_map(|received| match received {
        Received::Unreadable { id, reason } => Some((id.as_ref().map(|id| id.as_str()), reason.code)),
        Received::Entry(_) => None,
    });
    let mut bad: Vec<_> = bad.collect();
    bad.sort_unstable();
    let no_id = (None, QuarantineCode::BadId);
    assert_eq!(bad, [no_id, no_id, (Some("many"), QuarantineCode::TooLarge)]);
}

#[tokio::test]
async fn an_id_that_is_not_unique_or_spelled_anew_counts_as_present() {
    let slapd = Slapd::start();
    slapd.rename(
        &format!("uid=bnovak,o=Acme Engineering,{PARTNERS}"),
        "uid=AKLEIN",
        Some(&format!("o=Crane Works,{PARTNERS}")),
    );
    let source = Ldap::new(settings(slapd.url())).expect("settings");
    slapd.rename(&format!("uid=cmoreau,o=Bolt Surveying,{PARTNERS}"), "uid=CMoreau", None);
    for (asked, code) in [
        ("aklein", QuarantineCode::DuplicateId),
        ("cmoreau", QuarantineCode::BadId),
    ] {
        let Lookup::Found(found) = source.lookup(&id(asked)).await.expect("readable") else {
            panic!("gone")
        };
        let Received::Unreadable {
            id: Some(found),
            reason,
        } = *found
        else {
            panic!("{found:?}")
        };
        assert_eq!((found, reason.code), (id(asked), code));
    }
}

#[tokio::test]
async fn a_dropped_receiver_stops_the_reading() {
    let slapd = Slapd::with(Options {
        more_people: 3000,
        ..Options::default()
    });
    let source = Ldap::new(Settings {
        page_size: 10,
        ..settings(slapd.url())
    })
    .expect("settings");
    let (sender, mut receiver) = mpsc::channel(1);
    let stop = async {
        let batch = receiver.recv().await.expect("a first batch");
        drop(receiver);
        batch
    };
    let (result, first) = tokio::join!(source.list(&ListingScope::Source, sender), stop);
    assert_eq!(first.entries.len(), 10);
    assert!(matches!(result, Err(error) if error.kind == SourceErrorKind::Cancelled));
}

#[tokio::test]
async fn limits_of_ours_make_a_listing_incomplete() {
    let slapd = Slapd::start();
    let mut with = Settings {
        page_size: 2,
        ..settings(slapd.url())
    };
    with.limits.pages = 2;
    let read = list(with.clone()).await;
    assert!(read.reason().contains("more than 2 pages"), "{:?}", read.listing);
    assert_eq!(read.listing.entries, 4);
    for (entries, complete) in [(5, false), (6, true), (7, true)] {
        with.limits.pages = 10;
        with.limits.entries = entries;
        let read = list(with.clone()).await;
        assert_eq!(read.listing.complete, complete, "{entries}");
        assert_eq!(read.listing.entries, entries.min(6));
    }
}

#[tokio::test]
async fn a_probe_says_what_it_saw() {
    let slapd = Slapd::start();
    let ca_file = Some(slapd.ca_file());
    let source = Ldap::new(Settings {
        ca_file,
        ..settings(slapd.ldaps_url())
    })
    .expect("settings");
    let steps = source.probe().await;
    let said: Vec<_> = steps
        .iter()
        .map(|step| format!("{}: {}", step.step, step.outcome.as_ref().expect("each step succeeds")))
        .collect();
    let port = slapd.ldaps_url().rsplit(':').next().expect("a port").to_owned();
    assert_eq!(
        said,
        [
            format!("connect: localhost:{port}, TLS 1.3, certificate and host name verified"),
            "bind: as cn=reader,dc=directory,dc=example".into(),
            "who am I: dn:cn=reader,dc=directory,dc=example".into(),
            format!("base DN: {PARTNERS} exists"),
            "first page: 6 entries".into(),
            "external id: 6 of 6 have `uid`".into(),
            "organization: 6 of 6 name one".into(),
            "attributes: of 6 entries have: mail 6, givenname 6, sn 6".into(),
        ]
    );
    let blind = Ldap::new(Settings {
        bind: bind(BLIND),
        ..settings(slapd.url())
    })
    .expect("settings");
    let last = blind.probe().await.pop().expect("steps");
    assert!(
        last.outcome.expect("an empty page").contains("check that cn=blind"),
        "{}",
        last.step
    );
    let wrong = Ldap::new(Settings {
        external_id: "entryUUID".into(),
        ..settings(slapd.url())
    })
    .expect("settings");
    assert!(wrong.probe().await.iter().any(|step| {
        step.outcome
            .as_ref()
            .is_ok_and(|said| said == "6 of 6 have `entryUUID`")
    }));
}
