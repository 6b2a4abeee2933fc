//! The ConneX-style source against the real sample directory, and against raw sockets that break every promise.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rollcall::cli::directory::{Running, start};
use rollcall::domain::entry::{Batch, Received};
use rollcall::domain::id::{ExternalId, SourceName};
use rollcall::sources::connex::{Auth, Connex, Settings};
use rollcall::sources::{Listing, ListingScope, Lookup, Source, SourceError, SourceErrorKind as Kind};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use url::Url;

use crate::directory::{Hands, options};
use crate::harness::raw_server::{RawServer, Reply, Request, answer};

const CANARY: &str = "canary-secret-3141";

/// Settings with limits that a test can wait for.
fn settings(url: Url) -> Settings {
    let mut settings = Settings::new(SourceName::parse("connex").expect("a name"), url);
    settings.auth = Auth::Bearer { token: CANARY.into() };
    settings.wanted = ["email", "roles", "status"].map(Arc::from).into();
    settings.page_size = 20;
    settings.retries_max = 2;
    settings.retry_delay_min = Duration::from_millis(1);
    settings.retry_delay_max = Duration::from_millis(2);
    settings.retry_after_max = Duration::from_millis(5);
    settings
}

fn connex(url: Url) -> Connex {
    Connex::new(settings(url)).expect("settings that can work")
}

fn oauth(url: Url) -> Connex {
    let mut settings = settings(url);
    settings.auth = Auth::OAuth2 {
        token_url: None,
        client_id: "agency".into(),
        client_secret: CANARY.into(),
        scope: None,
    };
    Connex::new(settings).expect("settings that can work")
}

async fn list(source: &Connex, scope: ListingScope) -> (Result<Listing, SourceError>, Vec<Batch>) {
    let (sender, mut receiver) = mpsc::channel(1);
    let collect = async {
        let mut batches = Vec::new();
        while let Some(batch) = receiver.recv().await {
            batches.push(batch);
        }
        batches
    };
    let (listing, batches) = tokio::join!(source.list(&scope, sender), collect);
    if let Err(error) = &listing {
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(CANARY), "{shown}");
        assert!(
            !error.message.contains('\n') && error.message.contains(": "),
            "one sentence with a remedy: {error}"
        );
    }
    (listing, batches)
}

async fn list_all(source: &Connex) -> (Result<Listing, SourceError>, Vec<String>) {
    let (listing, batches) = list(source, ListingScope::Source).await;
    (listing, ids(&batches))
}

fn ids(batches: &[Batch]) -> Vec<String> {
    let entries = batches.iter().flat_map(|batch| &batch.entries);
    let id = |received: &Received| match received {
        Received::Entry(entry) => entry.id.as_str().to_owned(),
        Received::Unreadable { id, .. } => id.as_ref().map_or("?", |id| id.as_str()).to_owned(),
    };
    entries.map(id).collect()
}

fn id(text: &str) -> ExternalId {
    ExternalId::parse(text).expect("an id")
}

async fn sample() -> Running {
    let mut options = options(&Hands::new());
    options.tokens = vec![CANARY.into()];
    options.clients = vec![("agency".into(), CANARY.into())];
    start(options).await.expect("started")
}

const NO_ORGANIZATIONS: &str = r#"{"items": [], "next": null, "total": 0}"#;

/// A server without organizations whose accounts `script` plays.
async fn accounts(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> RawServer {
    RawServer::start(move |request| match request.path.ends_with("/organizations") {
        true => Reply::json(200, NO_ORGANIZATIONS),
        false => script(request),
    })
    .await
}

/// A page of accounts.
fn page(ids: &[&str], next: Option<&str>, total: Option<u64>) -> String {
    let items: Vec<_> = ids
        .iter()
        .map(|id| serde_json::json!({"id": id, "email": format!("{id}@paving.example")}))
        .collect();
    let mut page = serde_json::json!({"items": items, "next": next});
    if let Some(total) = total {
        page["total"] = total.into();
    }
    page.to_string()
}

#[tokio::test]
async fn a_whole_directory_is_read_with_its_proof() {
    let running = sample().await;
    let source = connex(running.url());
    let (listing, batches) = list(&source, ListingScope::Source).await;
    let listing = listing.expect("a listing");
    assert!(listing.complete, "{listing:?}");
    assert_eq!((listing.entries, listing.pages), (60, 4));
    assert_eq!(listing.as_of.as_deref(), Some("2026-11-18T11:06:40Z"));
    assert!(
        listing.proof.iter().any(|line| line.contains("60 different accounts")),
        "{:?}",
        listing.proof
    );
    assert_eq!(batches[0].organizations.len(), 6, "organizations come first");
    assert_eq!(batches.iter().map(|batch| batch.pages).sum::<u64>(), 4);
    let held = running.directory.accounts();
    assert_eq!(
        ids(&batches),
        held.iter().map(|account| account.id.clone()).collect::<Vec<_>>()
    );
    let Received::Entry(entry) = &batches[1].entries[0] else {
        panic!("{:?}", batches[1].entries[0])
    };
    let account = &held[0];
    assert_eq!(
        entry.organization.as_ref().map(|of| of.id.as_str()),
        Some(account.organization_id.as_str())
    );
    assert_eq!(entry.attributes.first("email"), Some(account.email.as_str()));
    assert_eq!(entry.attributes.all("roles"), account.roles);
    assert_eq!(entry.attributes.first("first_name"), None, "not asked for");
}

#[tokio::test]
async fn one_organization_is_read_and_an_unknown_one_is_said() {
    let running = sample().await;
    let source = connex(running.url());
    let wanted = running.directory.organizations().remove(2);
    let (listing, batches) = list(&source, ListingScope::Organization(id(&wanted.id))).await;
    let listing = listing.expect("a listing");
    assert!(listing.complete, "{listing:?}");
    assert_eq!(batches[0].organizations[0].name, wanted.name);
    let held = running
        .directory
        .accounts()
        .into_iter()
        .filter(|account| account.organization_id == wanted.id);
    assert_eq!(ids(&batches), held.map(|account| account.id).collect::<Vec<_>>());
    let (listing, batches) = list(&source, ListingScope::Organization(id("org/none"))).await;
    let error = listing.expect_err("not there");
    assert_eq!((error.kind, batches.len()), (Kind::NotFound, 0));
    assert!(error.message.contains("org/none"), "{error}");
}

#[tokio::test]
async fn an_emptied_directory_is_complete_and_empty() {
    let running = sample().await;
    running.directory.retain_accounts(|_| false).expect("emptied");
    let (listing, ids) = list_all(&connex(running.url())).await;
    let listing = listing.expect("a listing");
    assert_eq!((listing.complete, listing.entries, ids.len()), (true, 0, 0));
}

#[tokio::test]
async fn single_accounts_are_found_or_proven_absent() {
    let running = sample().await;
    let mut odd = running.directory.accounts().remove(0);
    odd.id = "../../x?y#z%2e".into();
    running.directory.put_account(odd.clone()).expect("added");
    let source = connex(running.url());
    let Lookup::Found(found) = source.lookup(&id(&odd.id)).await.expect("answered") else {
        panic!("not found")
    };
    assert!(matches!(*found, Received::Entry(entry) if entry.id.as_str() == odd.id));
    for absent in ["nobody", "../users", "../../organizations"] {
        assert_eq!(
            source.lookup(&id(absent)).await.expect("answered"),
            Lookup::NotFound,
            "{absent}"
        );
    }
    assert!(source.lookup(&id("..")).await.is_err());
}

#[tokio::test]
async fn only_the_api_itself_can_say_that_an_account_is_gone() {
    let html = [("content-type", "text/html")];
    let json = [("content-type", "application/json")];
    for (reply, kind) in [
        (Reply::full(404, &html, "<h1>Not Found</h1>"), Kind::Protocol),
        (Reply::full(404, &[], ""), Kind::Protocol),
        (Reply::full(404, &json, ""), Kind::Protocol),
        (Reply::problem(410, &[]), Kind::Protocol),
        (Reply::problem(403, &[]), Kind::Forbidden),
        (Reply::problem(401, &[]), Kind::Authentication),
        (Reply::problem(400, &[]), Kind::Protocol),
        (Reply::problem(500, &[]), Kind::Unavailable),
        (Reply::json(200, r#"{"id": "u-2"}"#), Kind::Protocol),
        (Reply::json(200, r#"{"id": "u-1", "deleted": true}"#), Kind::Protocol),
        (Reply::json(200, "null"), Kind::Protocol),
        (Reply::json(200, ""), Kind::Protocol),
        (Reply::full(200, &html, r#"{"id": "u-1"}"#), Kind::Protocol),
        (Reply::full(204, &json, ""), Kind::Protocol),
    ] {
        let shown = format!("{reply:?}");
        let server = RawServer::start(move |_| reply.clone()).await;
        let error = connex(server.url()).lookup(&id("u-1")).await.expect_err(&shown);
        assert_eq!(error.kind, kind, "{shown}: {error}");
    }
    let server = RawServer::start(|_| Reply::problem(404, &[])).await;
    assert_eq!(
        connex(server.url()).lookup(&id("u-1")).await.expect("answered"),
        Lookup::NotFound
    );
    assert_eq!(server.requests()[0].path, "/api/v1/users/u-1");
}

#[tokio::test]
async fn organizations_are_found_by_id_and_by_name() {
    let running = sample().await;
    let source = connex(running.url());
    let wanted = running.directory.organizations().remove(4);
    for text in [wanted.id.clone(), wanted.name.clone(), wanted.name.to_uppercase()] {
        let found = source.find_organization(&text).await.expect("answered");
        assert_eq!(
            found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(),
            [wanted.id.as_str()],
            "{text}"
        );
    }
    assert!(
        source
            .find_organization("No Such Firm")
            .await
            .expect("answered")
            .is_empty()
    );
}

#[tokio::test]
async fn a_probe_says_how_far_it_came() {
    let running = sample().await;
    let steps = connex(running.url()).probe().await;
    let seen: Vec<_> = steps
        .iter()
        .map(|probe| (probe.step.as_str(), probe.outcome.as_deref().ok()))
        .collect();
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(
        seen[2]
            .1
            .is_some_and(|text| text.contains("6 organizations") && text.contains("5 want access")),
        "{seen:?}"
    );
    assert!(
        seen[3]
            .1
            .is_some_and(|text| text.contains("of 60 in all") && text.contains("`email` in 20")),
        "{seen:?}"
    );

    let mut wrong = settings(running.url());
    wrong.auth = Auth::Bearer { token: "wrong".into() };
    let steps = Connex::new(wrong).expect("settings").probe().await;
    assert_eq!(
        steps.last().map(|probe| (probe.step.as_str(), probe.outcome.is_err())),
        Some(("authenticate", true))
    );
    running.stop().await.expect("stopped");

    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let steps = connex(format!("http://{closed}").parse().expect("a URL")).probe().await;
    assert_eq!(steps.len(), 1);
    assert_eq!(
        (
            steps[0].step.as_str(),
            steps[0].outcome.as_ref().err().map(|error| error.kind)
        ),
        ("connect", Some(Kind::Unreachable))
    );
}

#[tokio::test]
async fn an_issued_token_that_is_refused_in_mid_walk_is_renewed() {
    let running = sample().await;
    let source = oauth(running.url());
    let (sender, mut receiver) = mpsc::channel::<Batch>(1);
    let read = async {
        let mut entries = 0;
        while let Some(batch) = receiver.recv().await {
            entries += batch.entries.len();
            running.revoke_issued_tokens();
        }
        entries
    };
    let (listing, entries) = tokio::join!(source.list(&ListingScope::Source, sender), read);
    let listing = listing.expect("a listing");
    assert!(listing.complete, "{listing:?}");
    assert_eq!((entries, listing.entries), (60, 60));
}

#[tokio::test]
async fn page_37_is_asked_for_again_with_the_new_token_and_only_once() {
    let issued = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&issued);
    let server = accounts(move |request| {
        if request.path == "/oauth/token" {
            let number = count.fetch_add(1, Ordering::SeqCst);
            return Reply::json(
                200,
                format!(r#"{{"access_token": "t{number}", "token_type": "bearer", "expires_in": 600}}"#),
            );
        }
        let at: usize = request.cursor().map_or(0, |cursor| cursor.parse().expect("a number"));
        if at >= 36 && request.headers["authorization"] == "Bearer t0" {
            return Reply::problem(401, &[]);
        }
        let next = (at + 1).to_string();
        Reply::json(
            200,
            page(&[&format!("u-{at}")], (at < 39).then_some(next.as_str()), Some(40)),
        )
    })
    .await;
    let (listing, ids) = list_all(&oauth(server.url())).await;
    assert!(listing.expect("a listing").complete);
    assert_eq!((ids.len(), issued.load(Ordering::SeqCst)), (40, 2));
    let asked = server
        .requests()
        .iter()
        .filter(|request| request.cursor() == Some("36"))
        .count();
    assert_eq!(asked, 2, "the same page again");
    let posted = server
        .requests()
        .iter()
        .filter(|request| request.method == "POST")
        .count();
    assert_eq!(posted, 2, "tokens alone are posted for");
}

#[tokio::test]
async fn credentials_that_stay_refused_end_the_run() {
    let issued = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&issued);
    let server = RawServer::start(move |request| match request.path.as_str() {
        "/oauth/token" if request.headers.contains_key("authorization") => {
            Reply::json(401, r#"{"error": "invalid_client"}"#)
        }
        "/oauth/token" => {
            assert!(request.body.contains("client_id=agency"), "the other way of sending it");
            count.fetch_add(1, Ordering::SeqCst);
            Reply::json(200, r#"{"access_token": "t", "token_type": "Bearer"}"#)
        }
        _ => Reply::problem(401, &[]),
    })
    .await;
    let (listing, _) = list_all(&oauth(server.url())).await;
    assert_eq!(listing.expect_err("refused").kind, Kind::Authentication);
    assert_eq!(issued.load(Ordering::SeqCst), 2, "renewed once");
}

#[tokio::test]
async fn what_is_no_page_is_an_error_and_no_empty_directory() {
    let html = "<!doctype html><title>Sign in</title>";
    for (reply, said) in [
        (Reply::json(200, "[]"), "bare JSON array"),
        (Reply::json(200, "null"), "null"),
        (Reply::json(200, "{}"), "without `items`"),
        (Reply::json(200, ""), "empty body"),
        (Reply::json(200, html), "HTML"),
        (
            Reply::full(200, &[("content-type", "text/html; charset=utf-8")], html),
            "HTML",
        ),
        (
            Reply::full(200, &[], r#"{"items": [], "next": null}"#),
            "no content type",
        ),
        (Reply::json(200, r#"{"items": []}"#), "without `next`"),
        (
            Reply::json(200, r#"{"items": [{"id": "u-1"}], "next": nul"#),
            "breaks off",
        ),
        (
            Reply::json(200, format!(r#"{{"items": [{}"#, "[".repeat(1_000_000))),
            "nested",
        ),
        (Reply::full(304, &[], ""), "304"),
    ] {
        let shown = format!("{reply:?}").chars().take(80).collect::<String>();
        let server = accounts(move |_| reply.clone()).await;
        let (listing, ids) = list_all(&connex(server.url())).await;
        let error = listing.expect_err(&shown);
        assert_eq!((error.kind, ids.len()), (Kind::Protocol, 0), "{shown}: {error}");
        assert!(
            error.message.contains(said) && error.message.contains("/api/v1/users"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_connection_that_breaks_after_any_byte_proves_nothing() {
    let whole = |body: String| {
        answer(
            200,
            &[("content-type", "application/json")],
            body.as_bytes(),
            body.len(),
        )
    };
    let pages = [
        whole(page(&["u-1"], Some("c"), Some(2))),
        whole(page(&["u-2"], None, Some(2))),
    ];
    for broken in [0, 1] {
        let kept = Arc::new(AtomicUsize::new(0));
        let (bytes_kept, answers) = (Arc::clone(&kept), pages.clone());
        let server = accounts(move |request| {
            let at = usize::from(request.cursor().is_some());
            let mut bytes = answers[at].clone();
            if at == broken {
                bytes.truncate(bytes_kept.load(Ordering::SeqCst));
            }
            Reply::Bytes(bytes)
        })
        .await;
        let mut settings = settings(server.url());
        settings.retries_max = 0;
        let source = Connex::new(settings).expect("settings");
        for bytes in 0..=pages[broken].len() {
            kept.store(bytes, Ordering::SeqCst);
            let complete = list_all(&source).await.0.is_ok_and(|listing| listing.complete);
            assert_eq!(complete, bytes == pages[broken].len(), "{bytes} bytes of page {broken}");
        }
    }
}

#[tokio::test]
async fn a_chunked_body_that_ends_early_is_no_answer() {
    let server = accounts(|_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        Reply::Bytes(format!("{head}1b\r\n{{\"items\": [], \"next\": null}}\r\n").into_bytes())
    })
    .await;
    let (listing, _) = list_all(&connex(server.url())).await;
    assert_eq!(listing.expect_err("cut").kind, Kind::Unreachable);
    assert_eq!(server.requests().len(), 4, "tried three times");
}

#[tokio::test]
async fn a_page_that_stays_away_leaves_the_listing_incomplete() {
    for status in [500, 502, 503, 504, 429] {
        let server = accounts(move |request| match request.cursor() {
            None => Reply::json(200, page(&["u-1"], Some("c"), None)),
            Some(_) => Reply::problem(status, &[("retry-after", "86400")]),
        })
        .await;
        let (listing, ids) = list_all(&connex(server.url())).await;
        let listing = listing.expect("what arrived is true");
        assert!(!listing.complete, "{status}");
        assert_eq!((listing.entries, ids), (1, vec!["u-1".to_owned()]));
        assert!(
            listing
                .reason
                .is_some_and(|reason| reason.contains(&status.to_string()))
        );
        let asked = server
            .requests()
            .iter()
            .filter(|request| request.cursor() == Some("c"))
            .count();
        assert_eq!(asked, 3);
        let (listing, _) = list_all(&connex(accounts(move |_| Reply::problem(status, &[])).await.url())).await;
        assert!(listing.is_err(), "not one page");
    }
}

#[tokio::test]
async fn retry_after_of_every_kind_is_survived() {
    for value in [
        "0",
        "1",
        "99999999999999999999",
        "-1",
        "soon",
        "",
        "Sat, 21 Nov 2099 17:00:00 GMT",
    ] {
        let server = accounts(move |request| match request.number {
            1 => Reply::problem(503, &[("retry-after", value)]),
            2 => Reply::problem(
                429,
                &[("retry-after", value), ("date", "Sat, 21 Nov 2026 17:00:00 GMT")],
            ),
            _ => Reply::json(200, page(&["u-1"], None, Some(1))),
        })
        .await;
        let (listing, _) = list_all(&connex(server.url())).await;
        assert!(listing.expect(value).complete, "{value}");
        assert_eq!(server.requests().len(), 4, "{value}");
    }
}

#[tokio::test]
async fn an_expired_cursor_starts_the_walk_again_twice_at_most() {
    for (expiries, complete) in [(1, true), (2, true), (3, false)] {
        let expired = AtomicUsize::new(0);
        let server = accounts(move |request| match request.cursor() {
            None => Reply::json(200, page(&["u-1", "u-2"], Some("c"), Some(3))),
            Some(_) if expired.fetch_add(1, Ordering::SeqCst) < expiries => Reply::problem(410, &[]),
            Some(_) => Reply::json(200, page(&["u-3"], None, None)),
        })
        .await;
        let (listing, ids) = list_all(&connex(server.url())).await;
        let listing = listing.expect("a listing");
        assert_eq!(listing.complete, complete, "{listing:?}");
        let all: &[&str] = if complete {
            &["u-1", "u-2", "u-3"]
        } else {
            &["u-1", "u-2"]
        };
        assert_eq!(ids, all, "nothing is sent on twice");
    }
}

#[tokio::test]
async fn counts_that_disagree_and_cursors_that_repeat_prove_nothing() {
    type Script = fn(&Request) -> Reply;
    let cases: [(Script, &str); 5] = [
        (
            |_| Reply::json(200, page(&["u-1", "u-2"], None, Some(5))),
            "counts 5 accounts, and 2 different",
        ),
        // Offset pages: one was deleted, and another slipped past.
        (
            |request| match request.cursor() {
                None => Reply::json(200, page(&["u-1", "u-2"], Some("c"), Some(4))),
                Some(_) => Reply::json(200, page(&["u-4"], None, Some(3))),
            },
            "counts 4 accounts, and 3 different",
        ),
        (
            |request| match request.cursor() {
                None => Reply::json(200, page(&["u-1", "u-2"], Some("c"), None)),
                Some(_) => Reply::json(200, page(&["u-2"], None, None)),
            },
            "more than once",
        ),
        (|_| Reply::json(200, page(&["u-1"], Some("same"), None)), "second time"),
        (
            |request| match request.cursor() {
                Some("a") => Reply::json(200, page(&["u-1"], Some("b"), None)),
                _ => Reply::json(200, page(&["u-2"], Some("a"), None)),
            },
            "second time",
        ),
    ];
    for (script, said) in cases {
        let server = accounts(script).await;
        let (listing, _) = list_all(&connex(server.url())).await;
        let listing = listing.expect("a listing");
        assert!(!listing.complete, "{said}");
        assert!(
            listing.reason.as_deref().is_some_and(|reason| reason.contains(said)),
            "{listing:?}"
        );
        assert!(server.requests().len() < 6, "it stopped");
    }
}

#[tokio::test]
async fn organizations_that_are_not_all_there_leave_the_listing_incomplete() {
    for body in [
        r#"{"items": [{"id": "o-1", "name": "Sample Paving"}], "next": null, "total": 2}"#,
        r#"{"items": [{"id": "o-1", "name": "Sample Paving"}, {"name": "no id"}], "next": null}"#,
    ] {
        let server = RawServer::start(move |request| match request.path.ends_with("/organizations") {
            true => Reply::json(200, body),
            false => Reply::json(200, page(&["u-1"], None, Some(1))),
        })
        .await;
        let (listing, ids) = list_all(&connex(server.url())).await;
        let listing = listing.expect("a listing");
        assert_eq!((listing.complete, ids.len()), (false, 1));
        assert!(listing.reason.is_some_and(|reason| reason.contains("organizations")));
    }
}

#[tokio::test]
async fn an_account_without_an_id_is_sent_on_and_no_absence_proven() {
    let body =
        r#"{"items": [{"id": "u-1"}, 17, {"id": "u-2", "email": {}}, {"id": "u-9", "deleted": true}], "next": null}"#;
    let server = accounts(move |_| Reply::json(200, body)).await;
    let (listing, ids) = list_all(&connex(server.url())).await;
    let listing = listing.expect("a listing");
    assert_eq!((listing.complete, listing.entries), (false, 3));
    assert_eq!(ids, ["u-1", "?", "u-2"]);
}

#[tokio::test]
async fn nothing_is_followed_to_another_place() {
    let trap = Arc::new(RawServer::start(|_| Reply::json(200, page(&["u-1"], None, None))).await);
    let elsewhere = trap.url().join("/api/v1/users").expect("a URL");
    for status in [301, 302, 303, 307, 308] {
        let target = elsewhere.clone();
        let server = accounts(move |_| Reply::full(status, &[("location", target.as_str())], "")).await;
        let error = list_all(&connex(server.url())).await.0.expect_err("redirected");
        assert_eq!(error.kind, Kind::ForeignOrigin, "{error}");
        assert!(
            error
                .message
                .contains(&format!("127.0.0.1:{}", elsewhere.port().expect("one"))),
            "{error}"
        );
    }
    for next in [
        elsewhere.as_str(),
        "https://user:pw@elsewhere.example/",
        "//169.254.169.254/latest",
    ] {
        let body = page(&["u-1"], Some(next), None);
        let link = format!("<{elsewhere}>; rel=\"next\"");
        let server =
            accounts(move |_| Reply::full(200, &[("content-type", "application/json"), ("link", &link)], &body)).await;
        let error = list_all(&connex(server.url())).await.0.expect_err("foreign");
        assert_eq!(error.kind, Kind::ForeignOrigin, "{error}");
        assert_eq!(server.requests().len(), 2);
    }
    let target = elsewhere.clone();
    let server = RawServer::start(move |_| Reply::full(307, &[("location", target.as_str())], "")).await;
    let error = list_all(&oauth(server.url()))
        .await
        .0
        .expect_err("the token endpoint redirects");
    assert_eq!(error.kind, Kind::ForeignOrigin, "{error}");
    assert!(trap.requests().is_empty(), "nothing was sent there");
}

#[tokio::test]
async fn servers_that_are_silent_or_drip_are_given_up() {
    let body = page(&["u-1"], None, None);
    let whole = answer(
        200,
        &[("content-type", "application/json")],
        body.as_bytes(),
        body.len(),
    );
    let half = whole[..whole.len() / 2].to_vec();
    for reply in [
        Reply::Stall(Vec::new()),
        Reply::Stall(half),
        Reply::Drip(whole, Duration::from_millis(20)),
    ] {
        let shown = format!("{reply:?}").chars().take(20).collect::<String>();
        let server = accounts(move |_| reply.clone()).await;
        let mut settings = settings(server.url());
        settings.retries_max = 0;
        settings.connect_timeout = Duration::from_millis(500);
        settings.first_byte_timeout = Duration::from_millis(100);
        settings.idle_timeout = Duration::from_millis(200);
        settings.page_timeout = Duration::from_millis(900);
        let source = Connex::new(settings.clone()).expect("settings");
        let error = list_all(&source).await.0.expect_err(&shown);
        assert_eq!(error.kind, Kind::Timeout, "{shown}: {error}");
        settings.listing_timeout = Duration::from_millis(50);
        let error = list_all(&Connex::new(settings).expect("settings"))
            .await
            .0
            .expect_err(&shown);
        assert!(
            error.kind == Kind::Timeout && error.message.contains("listing"),
            "{shown}: {error}"
        );
    }
}

/// A gzip stream of a fixed Huffman block that says "the last byte again, 258 times" `times` over.
fn gzip_bomb(times: usize) -> Vec<u8> {
    let mut bits = vec![true, true, false];
    // The literal 0x20 is code 0x30 + 0x20 in eight bits, most significant first.
    bits.extend((0..8).rev().map(|bit| (0x50 >> bit) & 1 == 1));
    for _ in 0..times {
        // Length 258 is symbol 285, code 0b11000101; distance 1 is code 0 in five bits.
        bits.extend((0..8).rev().map(|bit| (0b1100_0101 >> bit) & 1 == 1));
        bits.extend([false; 5]);
    }
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for byte in bits.chunks(8) {
        stream.push(
            byte.iter()
                .enumerate()
                .fold(0, |sum, (at, bit)| sum | (u8::from(*bit) << at)),
        );
    }
    stream
}

#[tokio::test]
async fn bodies_without_end_and_bombs_meet_a_limit() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"items\": [".to_vec();
    let zipped = [("content-type", "application/json"), ("content-encoding", "gzip")];
    for reply in [
        Reply::Endless(head, br#"{"id": "u-1"},"#.repeat(100)),
        Reply::full(200, &zipped, gzip_bomb(20_000)),
    ] {
        let server = accounts(move |_| reply.clone()).await;
        let mut settings = settings(server.url());
        settings.page_bytes_max = 1024 * 1024;
        let error = list_all(&Connex::new(settings).expect("settings"))
            .await
            .0
            .expect_err("too much");
        assert_eq!(error.kind, Kind::Limit, "{error}");
        assert_eq!(server.requests().len(), 2, "not tried again");
    }
}

#[tokio::test]
async fn a_dropped_receiver_stops_the_walk() {
    let server = accounts(|request| {
        let next = request.number.to_string();
        Reply::json(200, page(&[&next], Some(&next), None))
    })
    .await;
    let source = connex(server.url());
    let (sender, mut receiver) = mpsc::channel(1);
    let stop = async move {
        receiver.recv().await;
        drop(receiver);
    };
    let (listing, ()) = tokio::join!(source.list(&ListingScope::Source, sender), stop);
    assert_eq!(listing.expect_err("stopped").kind, Kind::Cancelled);
}

/// An authority, written to a file, and a server's certificate that it signed.
fn certificates(folder: &tempfile::TempDir, names: &[&str], expired: bool) -> (PathBuf, TlsAcceptor) {
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).expect("signed");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certificate.pem()).expect("written");
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut server = rcgen::CertificateParams::new(names).expect("parameters");
    if expired {
        server.not_before = rcgen::date_time_ymd(2020, 1, 1);
        server.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    let key = rcgen::KeyPair::generate().expect("a key");
    let signed = server.signed_by(&key, &issuer).expect("signed");
    let configuration = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![signed.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .expect("a certificate");
    (file, TlsAcceptor::from(Arc::new(configuration)))
}

#[tokio::test]
async fn a_certificate_that_is_not_good_is_refused_before_anything_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let (other_authority, _) = certificates(&elsewhere, &["localhost"], false);
    for (names, expired, trusted, good) in [
        (&["localhost"][..], false, true, true),
        (&["localhost"], true, true, false),
        (&["elsewhere.example"], false, true, false),
        (&["localhost"], false, false, false),
    ] {
        let (authority, tls) = certificates(&folder, names, expired);
        let server = RawServer::start_with(Some(tls), |_| Reply::json(200, NO_ORGANIZATIONS)).await;
        let mut settings = settings(server.url_of("localhost"));
        settings.ca_file = Some(if trusted { authority } else { other_authority.clone() });
        let (listing, _) = list_all(&Connex::new(settings).expect("settings")).await;
        if good {
            assert!(listing.expect("a listing").complete);
            assert_eq!(
                server.requests()[0].headers["authorization"],
                format!("Bearer {CANARY}")
            );
        } else {
            let error = listing.expect_err("refused");
            assert_eq!(error.kind, Kind::Tls, "{error}");
            assert!(
                error.message.contains("localhost") && error.message.contains("ca_file"),
                "{error}"
            );
            assert!(server.requests().is_empty(), "nothing was sent");
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_was_asked_for() {
    let running = sample().await;
    let mut url = running.url();
    url.set_scheme("https").expect("a scheme");
    let error = list_all(&connex(url)).await.0.expect_err("no TLS");
    assert_eq!(error.kind, Kind::Tls, "{error}");
}
