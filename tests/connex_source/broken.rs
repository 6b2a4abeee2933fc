//! Servers that break a promise of the protocol: nothing they do may look like an empty directory or a whole one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rollcall::sources::SourceErrorKind as Kind;
use rollcall::sources::connex::Connex;

use super::{accounts, connex, list_all, oauth, page, settings};
use crate::harness::raw_server::{RawServer, Reply, Request, answer};

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
    // Also where no total says that something is lacking.
    for (total, expiries) in [Some(3), None].into_iter().flat_map(|t| [1, 2, 3].map(|n| (t, n))) {
        let complete = expiries < 3;
        let expired = AtomicUsize::new(0);
        let server = accounts(move |request| match request.cursor() {
            None => Reply::json(200, page(&["u-1", "u-2"], Some("c"), total)),
            Some(_) if expired.fetch_add(1, Ordering::SeqCst) < expiries => Reply::problem(410, &[]),
            Some(_) => Reply::json(200, page(&["u-3"], None, None)),
        })
        .await;
        let (listing, ids) = list_all(&connex(server.url())).await;
        let listing = listing.expect("a listing");
        assert_eq!(listing.complete, complete, "{total:?}: {listing:?}");
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
    let body = r#"{"items": [{"id": "o-1", "name": "Sample Paving"}], "next": null, "total": 2}"#;
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

#[tokio::test]
async fn an_account_without_an_id_is_sent_on_as_present() {
    let body =
        r#"{"items": [{"id": "u-1"}, 17, {"id": "u-2", "email": {}}, {"id": "u-9", "deleted": true}], "next": null}"#;
    let server = accounts(move |_| Reply::json(200, body)).await;
    let (listing, ids) = list_all(&connex(server.url())).await;
    let listing = listing.expect("a listing");
    assert_eq!((listing.complete, listing.entries), (true, 3));
    assert_eq!(ids, ["u-1", "?", "u-2"]);
}
