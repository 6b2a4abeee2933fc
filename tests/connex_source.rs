//! The ConneX-style source against the real sample directory, and against raw sockets that break every promise.

mod broken;
mod hostile;

use std::sync::Arc;
use std::time::Duration;

use rollcall::cli::directory::{Running, start};
use rollcall::domain::entry::{Batch, Received};
use rollcall::domain::id::{ExternalId, SourceName};
use rollcall::sources::connex::{Auth, Connex, Settings};
use rollcall::sources::{Listing, ListingScope, Lookup, Source, SourceError, SourceErrorKind as Kind};
use tokio::sync::mpsc;
use url::Url;

use crate::directory::{Hands, options};
use crate::harness::raw_server::{RawServer, Reply, Request};

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
        (Reply::full(404, &html, r#"{"status": 404}"#), Kind::Protocol),
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

#[tokio::test]
async fn every_way_of_saying_who_asks_is_sent_as_its_standard_says() {
    let basic = Auth::Basic {
        user: "agency".into(),
        password: "pass:word".into(),
    };
    for (auth, header) in [
        (Auth::None, None),
        (Auth::Bearer { token: "t".into() }, Some("Bearer t")),
        (basic, Some("Basic YWdlbmN5OnBhc3M6d29yZA==")),
    ] {
        let server = accounts(|_| Reply::json(200, page(&["u-1"], None, None))).await;
        let mut settings = settings(server.url());
        settings.auth = auth;
        let (listing, _) = list_all(&Connex::new(settings).expect("settings")).await;
        assert!(listing.expect("a listing").complete);
        for request in server.requests() {
            assert_eq!(request.headers.get("authorization").map(String::as_str), header);
            assert_eq!(request.query["limit"], "20");
        }
    }
}
