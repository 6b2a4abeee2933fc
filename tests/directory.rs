//! The sample directory from outside, over real sockets: walks, edits, tokens and its page.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use rollcall::cli::directory::{Clock, Data, Options, Running, Sample, serve, start};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A clock that a test turns.
#[derive(Clone)]
pub(crate) struct Hands(Arc<AtomicI64>);

impl Hands {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_795_000_000)))
    }

    pub(crate) fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let hands = Arc::clone(&self.0);
        Clock::new(move || Timestamp::from_second(hands.load(Ordering::SeqCst)).expect("a moment"))
    }
}

pub(crate) fn options(hands: &Hands) -> Options {
    let mut options = Options::new(SocketAddr::from(([127, 0, 0, 1], 0)), hands.clock());
    options.sample = Sample {
        organizations: 6,
        accounts: 60,
        seed: 3,
    };
    options
}

struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

async fn send(running: &Running, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut socket = TcpStream::connect(running.addr).await.expect("connected");
    let mut text = format!(
        "{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
        running.addr
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    socket.write_all(text.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
    Answer {
        status: status.parse().expect("a number"),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}

async fn get(running: &Running, target: &str) -> Answer {
    send(running, "GET", target, &[], "").await
}

async fn edit(running: &Running, method: &str, target: &str, body: &Value) -> Answer {
    send(
        running,
        method,
        target,
        &[("content-type", "application/json")],
        &body.to_string(),
    )
    .await
}

async fn form(running: &Running, target: &str, fields: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("sec-fetch-site", "same-origin"),
    ];
    send(running, "POST", target, &headers, &body).await
}

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("items");
    items
        .iter()
        .map(|item| item["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn a_walk_is_stable_by_id_whatever_is_edited_meanwhile() {
    let running = start(options(&Hands::new())).await.expect("started");
    let all: Vec<String> = running
        .directory
        .accounts()
        .into_iter()
        .map(|account| account.id)
        .collect();
    let first = get(&running, "/api/v1/users?limit=20").await.json();
    assert_eq!((ids(&first), &first["total"]), (all[..20].to_vec(), &json!(60)));
    // Offset paging would now let the 21st slip past.
    running.directory.delete_account(&all[3]).expect("deleted");
    running.directory.delete_account(&all[30]).expect("deleted");
    let next = first["next"].as_str().expect("a cursor");
    let second = get(&running, &format!("/api/v1/users?limit=20&cursor={next}"))
        .await
        .json();
    assert_eq!(ids(&second)[0], all[20]);
    assert_eq!((&second["total"], &second["as_of"]), (&first["total"], &first["as_of"]));
    let next = second["next"].as_str().expect("a cursor");
    let third = get(&running, &format!("/api/v1/users?limit=20&cursor={next}"))
        .await
        .json();
    assert_eq!(third["next"], Value::Null);
    assert_eq!(20 + ids(&second).len() + ids(&third).len(), 59);
}

#[tokio::test]
async fn pages_are_bounded_and_odd_questions_refused() {
    let running = start(options(&Hands::new())).await.expect("started");
    assert_eq!(ids(&get(&running, "/api/v1/users?limit=5000").await.json()).len(), 60);
    assert_eq!(ids(&get(&running, "/api/v1/organizations").await.json()).len(), 6);
    for (target, status) in [
        ("/api/v1/users?limit=0", 400),
        ("/api/v1/users?limit=many", 400),
        ("/api/v1/users?updated_since=yesterday", 400),
        ("/api/v1/users?cursor=garbage", 410),
        ("/api/v1/users/nobody", 404),
        ("/api/v1/users/..%2F..%2Fx", 404),
        ("/api/v1/organizations/none", 404),
        ("/api/v1/organizations/none/users", 404),
        ("/api/v2", 404),
    ] {
        let answer = get(&running, target).await;
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{target}");
        assert_eq!(answer.json()["status"], json!(status), "{target}");
    }
    assert_eq!(send(&running, "PUT", "/api/v1/users", &[], "").await.status, 405);
}

#[tokio::test]
async fn a_cursor_expires_and_belongs_to_its_listing() {
    let hands = Hands::new();
    let running = start(options(&hands)).await.expect("started");
    let page = get(&running, "/api/v1/users?limit=1").await.json();
    let next = page["next"].as_str().expect("a cursor").to_owned();
    let again = format!("/api/v1/users?limit=1&cursor={next}");
    assert_eq!(get(&running, &again).await.status, 200);
    assert_eq!(
        get(&running, &format!("/api/v1/organizations?cursor={next}"))
            .await
            .status,
        410
    );
    hands.forward(3601);
    assert_eq!(get(&running, &again).await.status, 410);
}

#[tokio::test]
async fn what_changed_since_is_listed_with_tombstones() {
    let hands = Hands::new();
    let running = start(options(&hands)).await.expect("started");
    let accounts = running.directory.accounts();
    let (kept, gone) = (&accounts[0], &accounts[1]);
    hands.forward(60);
    let since = get(&running, "/api/v1/users").await.json()["as_of"]
        .as_str()
        .expect("a time")
        .to_owned();
    assert_eq!(
        get(&running, &format!("/api/v1/users?updated_since={since}"))
            .await
            .json()["total"],
        json!(0)
    );
    hands.forward(60);
    running
        .directory
        .update_account(&kept.id, |account| account.phone = None)
        .expect("changed");
    running.directory.delete_account(&gone.id).expect("deleted");
    let of = &gone.organization_id;
    for target in ["/api/v1/users".to_owned(), format!("/api/v1/organizations/{of}/users")] {
        let page = get(&running, &format!("{target}?updated_since={since}")).await.json();
        assert_eq!(ids(&page), [kept.id.clone(), gone.id.clone()], "{target}");
        assert_eq!(
            (&page["total"], &page["items"][1]["deleted"]),
            (&json!(2), &json!(true))
        );
        assert_eq!(page["items"][0]["phone"], Value::Null);
        let first = get(&running, &format!("{target}?updated_since={since}&limit=1"))
            .await
            .json();
        let next = first["next"].as_str().expect("a cursor");
        assert_eq!(
            ids(&get(&running, &format!("{target}?cursor={next}")).await.json()),
            std::slice::from_ref(&gone.id)
        );
    }
    let full = get(&running, "/api/v1/users").await.json();
    assert!(!ids(&full).contains(&gone.id), "a full listing has no tombstones");
}

#[tokio::test]
async fn an_unchanged_page_is_answered_304() {
    let running = start(options(&Hands::new())).await.expect("started");
    let tag = get(&running, "/api/v1/users?limit=5").await.headers["etag"].clone();
    let again = send(&running, "GET", "/api/v1/users?limit=5", &[("if-none-match", &tag)], "").await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(
        send(&running, "GET", "/api/v1/users?limit=6", &[("if-none-match", &tag)], "")
            .await
            .status,
        200
    );
    running.directory.retain_accounts(|_| false).expect("emptied");
    assert_eq!(
        send(&running, "GET", "/api/v1/users?limit=5", &[("if-none-match", &tag)], "")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn tokens_are_asked_for_issued_and_expire() {
    let hands = Hands::new();
    let mut options = options(&hands);
    options.tokens = vec!["fixed-token".into()];
    options.clients = vec![("agency".into(), "client-secret".into())];
    options.token_life = SignedDuration::from_secs(30);
    let running = start(options).await.expect("started");
    let with = |token: &str| {
        let value = format!("Bearer {token}");
        let running = &running;
        async move {
            send(running, "GET", "/api/v1/users", &[("authorization", &value)], "")
                .await
                .status
        }
    };
    let refused = get(&running, "/api/v1/users").await;
    assert_eq!(
        (refused.status, refused.headers["www-authenticate"].as_str()),
        (401, "Bearer")
    );
    assert_eq!((with("fixed-token").await, with("other").await), (200, 401));
    let grant = |fields: &'static str| send(&running, "POST", "/oauth/token", &[], fields);
    assert_eq!(
        grant("grant_type=client_credentials&client_id=agency&client_secret=wrong")
            .await
            .status,
        401
    );
    assert_eq!(grant("grant_type=password").await.status, 400);
    let granted = grant("grant_type=client_credentials&client_id=agency&client_secret=client-secret")
        .await
        .json();
    assert_eq!(
        (&granted["token_type"], &granted["expires_in"]),
        (&json!("Bearer"), &json!(30))
    );
    let token = granted["access_token"].as_str().expect("a token");
    assert_eq!(with(token).await, 200);
    hands.forward(30);
    assert_eq!(with(token).await, 401);
    // agency:client-secret
    let basic = [("authorization", "Basic YWdlbmN5OmNsaWVudC1zZWNyZXQ=")];
    let granted = send(
        &running,
        "POST",
        "/oauth/token",
        &basic,
        "grant_type=client_credentials",
    )
    .await
    .json();
    assert_eq!(with(granted["access_token"].as_str().expect("a token")).await, 200);
}

#[tokio::test]
async fn accounts_and_organizations_are_edited_over_the_api_and_kept_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("directory.json");
    std::fs::write(&file, r#"{"organizations": [], "accounts": []}"#).expect("written");
    let mut options = options(&Hands::new());
    options.data = Some(file.clone());
    let running = start(options).await.expect("started");
    let firm = json!({"id": "o/1", "name": "Sample Paving", "kind": "contractor", "requested_access": true});
    assert_eq!(edit(&running, "POST", "/api/v1/organizations", &firm).await.status, 201);
    assert_eq!(edit(&running, "POST", "/api/v1/organizations", &firm).await.status, 409);
    let person = json!({"organization_id": "o/1", "email": "avery@paving.example", "first_name": "Avery",
        "last_name": "Sampleton", "phone": "+1 512 555 0100"});
    let made = edit(&running, "POST", "/api/v1/users", &person).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/v1/users/{id}");
    let changed = edit(&running, "PATCH", &path, &json!({"phone": null, "status": "disabled"}))
        .await
        .json();
    assert_eq!(
        (&changed["phone"], &changed["status"]),
        (&Value::Null, &json!("disabled"))
    );
    for (patch, status) in [
        (json!({"email": "nobody"}), 400),
        (json!({"organization_id": "o-9"}), 400),
        (json!({"nonsense": 1}), 400),
        (json!([]), 400),
    ] {
        assert_eq!(edit(&running, "PATCH", &path, &patch).await.status, status, "{patch}");
    }
    assert_eq!(
        edit(&running, "PATCH", "/api/v1/users/nobody", &json!({})).await.status,
        404
    );
    assert_eq!(
        send(&running, "PATCH", &path, &[("content-type", "text/plain")], "{}")
            .await
            .status,
        415
    );
    assert_eq!(
        ids(&get(&running, "/api/v1/organizations/o%2F1/users").await.json()),
        [id]
    );
    assert_eq!(
        edit(&running, "DELETE", "/api/v1/organizations/o%2F1", &json!({}))
            .await
            .status,
        409
    );
    let saved = Data::load(&file).expect("readable");
    assert_eq!((saved.organizations.len(), saved.accounts.len()), (1, 1));
    assert_eq!(edit(&running, "DELETE", &path, &json!({})).await.status, 204);
    assert_eq!(
        edit(&running, "DELETE", "/api/v1/organizations/o%2F1", &json!({}))
            .await
            .status,
        204
    );
    assert_eq!(Data::load(&file).expect("readable"), Data::default());
    running.stop().await.expect("stopped");
}

#[tokio::test]
async fn the_page_escapes_searches_edits_and_has_a_strict_policy() {
    let running = start(options(&Hands::new())).await.expect("started");
    let account = running.directory.accounts().remove(7);
    let script = "<script>alert(1)</script>";
    running
        .directory
        .update_account(&account.id, |one| one.last_name = script.into())
        .expect("changed");
    let page = get(&running, &format!("/?organization={}", account.organization_id)).await;
    assert_eq!(page.status, 200);
    assert!(!page.body.contains("<script"), "escaped");
    assert!(page.body.contains("&#60;script&#62;alert(1)"), "{}", page.body);
    assert!(page.headers["content-security-policy"].contains("default-src 'none'"));
    let found = get(&running, &format!("/?q={}", account.email)).await.body;
    assert!(
        found.contains(&account.email) && found.contains("/edit") != found.contains("edit="),
        "found"
    );
    assert!(
        get(&running, "/?q=%22%3E%3Cb")
            .await
            .body
            .contains(r#"value="&#34;&#62;&#60;b""#)
    );

    let other = running.directory.organizations().pop().expect("one").id;
    let target = format!("/page/accounts/{}", account.id);
    let fields = [
        ("first_name", "Wren"),
        ("last_name", "Mockford"),
        ("email", "wren@paving.example"),
        ("phone", ""),
        ("roles", "member, bid submitter"),
        ("organization_id", other.as_str()),
    ];
    assert_eq!(form(&running, &target, &fields).await.status, 303);
    let changed = running.directory.account(&account.id).expect("there");
    assert_eq!(
        (changed.organization_id.as_str(), changed.phone),
        (other.as_str(), None)
    );
    assert_eq!(changed.roles, ["member", "bid submitter"]);
    let refused = form(&running, &target, &[("email", "nobody")]).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.body.contains("Nothing was changed: the account has"),
        "{}",
        refused.body
    );
    assert_eq!(form(&running, &format!("{target}/status"), &[]).await.status, 303);
    assert_eq!(form(&running, "/page/accounts", &fields).await.status, 303);
    assert_eq!(form(&running, &format!("{target}/delete"), &[]).await.status, 303);
    assert_eq!(running.directory.account(&account.id), None);
    let asked = running.directory.organization(&other).expect("there").requested_access;
    assert_eq!(
        form(&running, &format!("/page/organizations/{other}/access"), &[])
            .await
            .status,
        303
    );
    assert_eq!(
        running.directory.organization(&other).expect("there").requested_access,
        !asked
    );
    assert_eq!(
        form(&running, &format!("/page/organizations/{other}/status"), &[])
            .await
            .status,
        303
    );
    assert_eq!(
        get(&running, "/style.css").await.headers["content-type"],
        "text/css; charset=utf-8"
    );
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let running = start(options(&Hands::new())).await.expect("started");
    let id = running.directory.accounts().remove(0).id;
    for headers in [
        [
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://elsewhere.example"),
        ],
        [
            ("origin", "https://elsewhere.example"),
            ("content-type", "application/x-www-form-urlencoded"),
        ],
        [("origin", "null"), ("content-type", "application/json")],
    ] {
        for (method, target) in [
            ("POST", format!("/page/accounts/{id}/delete")),
            ("DELETE", format!("/api/v1/users/{id}")),
        ] {
            assert_eq!(
                send(&running, method, &target, &headers, "").await.status,
                403,
                "{headers:?}"
            );
        }
    }
    assert!(running.directory.account(&id).is_some());
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let running = start(options(&Hands::new())).await.expect("started");
    let mut taken = options(&Hands::new());
    taken.listen = running.addr;
    let error = start(taken).await.expect_err("taken").to_string();
    assert!(
        error.contains(&running.addr.to_string()) && error.contains("--listen"),
        "{error}"
    );
    let mut none = options(&Hands::new());
    none.data = Some("/nonexistent/directory.json".into());
    assert!(
        start(none)
            .await
            .expect_err("no file")
            .to_string()
            .contains("/nonexistent/directory.json")
    );
}

#[tokio::test]
async fn serving_ends_with_the_shutdown_even_beside_a_half_sent_request() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let tell = move |addr: SocketAddr| tell.send(addr).expect("somebody waits");
    let serving = serve(options(&Hands::new()), tell, async {
        stopped.await.expect("told to stop")
    });
    let visit = async {
        let mut socket = TcpStream::connect(told.await.expect("an address"))
            .await
            .expect("connected");
        socket.write_all(b"GET / HTTP/1.1\r\nhost:").await.expect("sent");
        stop.send(()).expect("still serving");
        socket
    };
    let (outcome, _open) = tokio::join!(serving, visit);
    outcome.expect("stopped");
}
