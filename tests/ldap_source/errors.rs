//! What a wrong host, port, password, certificate, base or filter is answered with: the kind, and a sentence that
//! names the place and says what to do.

use std::net::TcpListener;
use std::time::Duration;

use rollcall::sources::ldap::{Bind, Ldap, Organization, Settings};
use rollcall::sources::{Source, SourceErrorKind};

use super::{bind, failure, settings};
use crate::harness::certificates::Flaw;
use crate::harness::slapd::{Options, PARTNERS, PASSWORD, READER, Slapd};

#[tokio::test]
async fn what_the_server_refuses_is_said() {
    let slapd = Slapd::start();
    let good = settings(slapd.url());
    let wrong_password = Bind::Simple {
        dn: READER.into(),
        password: "guess".to_owned().into(),
    };
    for (with, kind, parts) in [
        (
            Settings {
                bind: wrong_password,
                ..good.clone()
            },
            SourceErrorKind::Authentication,
            [READER, "check the bind DN and the password"],
        ),
        (
            Settings {
                bind: bind("cn=nobody,dc=elsewhere,dc=example"),
                ..good.clone()
            },
            SourceErrorKind::Authentication,
            ["cn=nobody", "localhost:"],
        ),
        (
            Settings {
                base_dn: format!("ou=gone,{PARTNERS}"),
                ..good.clone()
            },
            SourceErrorKind::NotFound,
            ["ou=gone,ou=partners", "correct `base_dn`"],
        ),
        (
            Settings {
                base_dn: "dc=elsewhere,dc=example".into(),
                ..good.clone()
            },
            SourceErrorKind::NotFound,
            ["dc=elsewhere,dc=example", READER],
        ),
        (
            Settings {
                organization: Organization::Group {
                    base_dn: "ou=gone,dc=directory,dc=example".into(),
                    filter: "(cn=*)".into(),
                    member: "member".into(),
                },
                ..good
            },
            SourceErrorKind::NotFound,
            ["ou=gone,dc=directory", "localhost:"],
        ),
    ] {
        let error = failure(with).await;
        assert_eq!(error.kind, kind, "{error}");
        assert!(parts.iter().all(|part| error.message.contains(part)), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_wants_tls_is_told_from_a_wrong_password() {
    let slapd = Slapd::with(Options {
        config: "localSSF 256\nsecurity simple_bind=128".into(),
        ..Options::default()
    });
    let error = failure(settings(slapd.url())).await;
    assert_eq!(error.kind, SourceErrorKind::Authentication, "{error}");
    assert!(error.message.contains("starttls"), "{error}");
    let error = failure(Settings {
        bind: Bind::External,
        ..anonymous_over_tls(&slapd)
    })
    .await;
    assert_eq!(error.kind, SourceErrorKind::Configuration, "{error}");
}

fn anonymous_over_tls(slapd: &Slapd) -> Settings {
    Settings {
        ca_file: Some(slapd.ca_file()),
        bind: Bind::Anonymous,
        ..settings(slapd.ldaps_url())
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_good_is_refused_with_its_fault() {
    for (flaw, part) in [
        (Flaw::Expired, "has expired"),
        (Flaw::OtherHost, "elsewhere.example"),
        (Flaw::SelfSigned, "`tls.ca_file`"),
    ] {
        let slapd = Slapd::with(Options {
            flaw,
            ..Options::default()
        });
        for (url, starttls) in [(slapd.ldaps_url(), false), (slapd.url(), true)] {
            let error = failure(Settings {
                url,
                starttls,
                ..anonymous_over_tls(&slapd)
            })
            .await;
            assert_eq!(error.kind, SourceErrorKind::Tls, "{error}");
            assert!(
                error.message.contains(part) && error.message.contains("localhost"),
                "{error}"
            );
        }
    }
    // Trusted by the CA file alone: the machine's own store does not know this CA.
    let slapd = Slapd::start();
    let error = failure(Settings {
        ca_file: None,
        ..anonymous_over_tls(&slapd)
    })
    .await;
    assert_eq!(error.kind, SourceErrorKind::Tls, "{error}");
}

#[tokio::test]
async fn tls_where_there_is_none_is_said() {
    let slapd = Slapd::with(Options {
        tls: false,
        ..Options::default()
    });
    let ca_file = Some(slapd.ca_file());
    let plain_port = format!("ldaps://localhost:{}", slapd.port());
    let error = failure(Settings {
        ca_file: ca_file.clone(),
        ..settings(plain_port)
    })
    .await;
    assert_eq!(error.kind, SourceErrorKind::Tls, "{error}");
    let error = failure(Settings {
        ca_file,
        starttls: true,
        ..settings(slapd.url())
    })
    .await;
    assert_eq!(error.kind, SourceErrorKind::Tls, "{error}");
    assert!(error.message.contains("no credentials were sent"), "{error}");
}

#[tokio::test]
async fn a_place_without_a_server_is_said() {
    let free = TcpListener::bind(("127.0.0.1", 0))
        .expect("a port")
        .local_addr()
        .expect("bound");
    for (url, part) in [
        (format!("ldap://{free}"), "refuses connections"),
        ("ldap://localhost.invalid".to_owned(), "spelling"),
        ("ldapi://%2Fnonexistent%2Fldapi".to_owned(), "/nonexistent/ldapi"),
    ] {
        let error = failure(Settings {
            bind: Bind::Anonymous,
            ..settings(url)
        })
        .await;
        assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
        assert!(error.message.contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_probe_ends_with_the_step_that_failed() {
    let slapd = Slapd::start();
    let free = TcpListener::bind(("127.0.0.1", 0))
        .expect("a port")
        .local_addr()
        .expect("bound");
    let mut wrong_password = settings(slapd.url());
    wrong_password.bind = Bind::Simple {
        dn: READER.into(),
        password: "guess".to_owned().into(),
    };
    let mut wrong_base = settings(slapd.url());
    wrong_base.base_dn = format!("ou=gone,{PARTNERS}");
    let mut wrong_id = settings(slapd.url());
    wrong_id.external_id = "objectGUID".into();
    for (with, step, before) in [
        (settings(format!("ldap://{free}")), "connect", 0),
        (wrong_password, "bind", 1),
        (wrong_base, "base DN", 3),
        (wrong_id, "external id", 5),
    ] {
        let mut steps = Ldap::new(with).expect("settings").probe().await;
        let last = steps.pop().expect("a step");
        assert_eq!((last.step.as_str(), steps.len()), (step, before));
        let error = last.outcome.expect_err(step);
        assert!(
            error.message.ends_with('.') && !error.message.contains(PASSWORD),
            "{error}"
        );
        assert!(steps.iter().all(|step| step.outcome.is_ok()), "{steps:?}");
    }
}

#[tokio::test]
async fn a_silent_server_runs_into_the_time_limit() {
    // Accepts, by the backlog, and never answers.
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let url = format!("ldap://{}", listener.local_addr().expect("bound"));
    let mut with = settings(url);
    with.timeouts.connect = Duration::from_millis(50);
    let error = failure(with.clone()).await;
    assert_eq!(error.kind, SourceErrorKind::Timeout, "{error}");
    with.bind = Bind::Anonymous;
    with.timeouts.connect = Duration::from_secs(10);
    with.timeouts.idle = Duration::from_millis(50);
    let error = failure(with.clone()).await;
    assert_eq!(error.kind, SourceErrorKind::Timeout, "{error}");
    with.timeouts.idle = Duration::from_secs(10);
    with.timeouts.listing = Duration::from_millis(50);
    let error = failure(with).await;
    assert!(
        error.kind == SourceErrorKind::Timeout && error.message.contains("listings"),
        "{error}"
    );
}

fn refused(with: Settings, part: &str) {
    let error = Ldap::new(with).expect_err(part);
    assert_eq!(error.kind, SourceErrorKind::Configuration, "{error}");
    assert!(error.message.contains(part) && error.message.ends_with('.'), "{error}");
    assert!(!error.message.contains(PASSWORD), "{error}");
}

#[test]
fn connections_that_cannot_work_are_refused_at_once() {
    let good = settings("ldaps://dc1.example");
    refused(settings("ldap://dc1.example"), "in the clear");
    let mut with = good.clone();
    with.bind = Bind::Simple {
        dn: READER.into(),
        password: String::new().into(),
    };
    refused(with, "empty");
    let mut with = good.clone();
    with.bind = Bind::External;
    refused(with, "client certificate");
    let mut with = good;
    with.ca_file = Some("/nonexistent/ca.pem".into());
    refused(with, "/nonexistent/ca.pem");
    let mut allowed = settings("ldap://dc1.example");
    allowed.allow_plaintext = true;
    let source = Ldap::new(allowed).expect("allowed");
    assert_eq!(source.name().as_str(), "partners");
    let shown = format!("{source:?}");
    assert!(shown.contains(READER) && !shown.contains(PASSWORD), "{shown}");
}

#[test]
fn names_and_filters_that_cannot_work_are_refused_at_once() {
    let with = |change: &dyn Fn(&mut Settings)| {
        let mut with = settings("ldaps://dc1.example");
        change(&mut with);
        with
    };
    let group = |base_dn: &str, filter: &str| Organization::Group {
        base_dn: base_dn.into(),
        filter: filter.into(),
        member: "member".into(),
    };
    refused(with(&|s| s.filter = "(uid=a".into()), "(uid=a");
    refused(with(&|s| s.filter = String::new()), "`filter`");
    refused(with(&|s| s.base_dn = "partners".into()), "base_dn");
    refused(with(&|s| s.base_dn = " ".into()), "base_dn");
    refused(with(&|s| s.external_id = "a)(b".into()), "external_id");
    refused(with(&|s| s.wanted = ["m a".into()].into()), "m a");
    refused(
        with(&|s| s.organization = Organization::Attribute("é".into())),
        "organization",
    );
    refused(with(&|s| s.organization = group("x", "(cn=*)")), "organization.base_dn");
    refused(with(&|s| s.organization = group("ou=x", "(cn=")), "organization.filter");
}
