//! What cannot be answered is a problem document that names what is wrong; what can has the headers that keep it where
//! it belongs.

use reqwest::Method;

use super::Served;
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(what_no_database_keeps_is_refused_at_the_door);

async fn what_no_database_keeps_is_refused_at_the_door(db: Database) {
    let served = Served::new(db).await;
    let api = &served.admin;
    for path in [
        "/runs?source=%00",
        "/runs?organization=a%00b",
        "/users?q=%00",
        "/organizations?q=%00",
        "/audit?user=%00",
    ] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 400, "{path}: {answer:#?}");
    }
    for path in ["/sources/%00", "/runs/%00", "/organizations/%00", "/users/a%00"] {
        api.get(path).await.problem(404, "not_found");
    }
    api.post("/users/%00/sync", serde_json::json!({}))
        .await
        .problem(404, "not_found");
    let pause = api
        .post("/sources/connex/pause", serde_json::json!({"reason": "a\0b"}))
        .await;
    assert!(pause.problem(422, "invalid").contains("NUL"));
    // What else is strange in a text is merely not found.
    for odd in [
        "%27%3B--",
        "%F0%9F%98%80",
        "..%2F..",
        "%E2%80%AE",
        "%25",
        "a".repeat(600).as_str(),
    ] {
        assert_eq!(
            api.get(&format!("/runs?source={odd}&organization={odd}&user={odd}"))
                .await
                .status,
            200,
            "{odd}"
        );
        let answer = api
            .post(&format!("/users/{odd}/sync?source=nobody"), serde_json::json!({}))
            .await;
        assert_eq!(answer.status, 404, "{odd}: {answer:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_request_is_named() {
    let served = Served::new(Database::sqlite().await).await;
    let api = &served.admin;
    for (path, code, named) in [
        ("/runs?sorce=connex", "bad_query", "sorce"),
        ("/runs?limit=many", "bad_query", "limit"),
        ("/runs?limit=0", "bad_query", "limit"),
        ("/runs?limit=1001", "bad_query", "1000"),
        ("/runs?limit=1&limit=2", "bad_query", "limit"),
        ("/runs?state=finished", "bad_query", "state"),
        ("/runs?cursor=00", "bad_cursor", "cursor"),
        ("/runs?cursor=%F0%9F", "bad_cursor", "cursor"),
        ("/sources?x=%00", "bad_query", "NUL"),
    ] {
        let said = api.get(path).await.problem(400, code);
        assert!(said.contains(named), "{path}: {said}");
    }
    for (path, code) in [
        ("/nothing", "no_such_path"),
        ("/runs/", "no_such_path"),
        ("/runs/last", "not_found"),
        ("/runs/0197c2a4-0000-7000-8000-000000000000", "not_found"),
        ("/runs/0197c2a4-0000-7000-8000-000000000000/changes", "not_found"),
        ("/runs/0197c2a4-0000-7000-8000-000000000000/events", "not_found"),
        ("/sources/other", "not_found"),
        ("/sources/..%2F..%2Fetc", "not_found"),
    ] {
        api.get(path).await.problem(404, code);
    }
    for (method, path, allowed) in [
        (Method::DELETE, "/runs", "GET"),
        (Method::GET, "/sources/connex/sync", "POST"),
        (Method::PUT, "/healthz", "GET"),
    ] {
        let answer = api.send(api.request(method, path)).await;
        answer.problem(405, "method_not_allowed");
        assert!(answer.header("allow").contains(allowed), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_body_is_named() {
    let served = Served::with(Database::sqlite().await, "max_body_bytes = 2048\n").await;
    let api = &served.admin;
    let long = format!("{{\"dry_run\": true, \"mode\": \"{}\"}}", "x".repeat(3000));
    let deep = "[".repeat(1500);
    for (kind, body, status, code, named) in [
        ("application/json", "{\"dry\": true}", 422, "invalid", "dry"),
        ("application/json", "{\"dry_run\": \"yes\"}", 422, "invalid", "bool"),
        ("application/json", "{\"mode\": \"some\"}", 422, "invalid", "some"),
        (
            "application/json",
            "{\"mode\": \"incremental\"}",
            422,
            "invalid",
            "mode",
        ),
        ("application/json", "[]", 422, "invalid", ""),
        ("application/json", "{\"dry_run\": true", 400, "bad_request", "JSON"),
        ("application/json", &deep, 400, "bad_request", "JSON"),
        ("application/json", &long, 413, "too_large", "2048"),
        ("text/plain", "{}", 415, "not_json", "Content-Type"),
        ("", "{}", 415, "not_json", "Content-Type"),
    ] {
        let mut request = api.request(Method::POST, "/sources/connex/sync").body(body.to_owned());
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let said = api.send(request).await.problem(status, code);
        assert!(said.contains(named), "{body}: {said}");
    }
    // None of them started anything.
    assert_eq!(api.get("/runs").await.is(200)["items"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_kept_by_nobody_and_packed_where_they_are_large() {
    let served = Served::new(Database::sqlite().await).await;
    let api = &served.admin;
    for answer in [
        api.get("/runs").await,
        api.get("/nothing").await,
        api.get("/healthz").await,
    ] {
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(
            answer
                .header("content-security-policy")
                .starts_with("default-src 'none'")
        );
        assert!(!answer.headers.contains_key("server"), "{answer:#?}");
        assert!(
            !answer.headers.contains_key("access-control-allow-origin"),
            "{answer:#?}"
        );
    }
    let packed = api
        .request(Method::GET, "/openapi.json")
        .header("accept-encoding", "gzip");
    let response = packed.send().await.expect("an answer");
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let packed = response.bytes().await.expect("bytes").len();
    assert!(packed * 4 < api.get("/openapi.json").await.text.len(), "{packed}");
}
