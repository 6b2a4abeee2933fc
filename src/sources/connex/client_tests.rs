//! Requests: what is sent, refused and tried again.

use super::*;
use crate::domain::id::SourceName;

fn settings(url: &str, auth: Auth) -> Settings {
    let mut settings = Settings::new(
        SourceName::parse("connex").expect("a name"),
        url.parse().expect("a URL"),
    );
    settings.auth = auth;
    settings
}

fn bearer() -> Auth {
    Auth::Bearer {
        token: "canary-token".into(),
    }
}

#[test]
fn an_id_is_one_path_segment_whatever_stands_in_it() {
    let client = Client::new(&settings("http://127.0.0.1:1/base/", Auth::None)).expect("a client");
    for (id, path) in [
        ("u-1", "/base/api/v1/users/u-1"),
        ("../../x", "/base/api/v1/users/..%2F..%2Fx"),
        ("a?b#c%2e", "/base/api/v1/users/a%3Fb%23c%252e"),
        ("other-source:17", "/base/api/v1/users/other-source:17"),
        ("ü x", "/base/api/v1/users/%C3%BC%20x"),
    ] {
        assert_eq!(client.url(&["users", id]).expect("a URL").path(), path);
    }
    for id in [".", ".."] {
        assert_eq!(client.url(&["users", id]).expect_err(id).kind, Kind::Protocol);
    }
}

#[test]
fn urls_that_cannot_be_right_are_refused_without_showing_a_secret() {
    for (url, auth, said) in [
        ("ftp://connex.example", Auth::None, "https://"),
        ("http://user:canary-token@127.0.0.1", Auth::None, "user part"),
        ("http://127.0.0.1/?key=canary-token", Auth::None, "query"),
        ("http://connex.example", bearer(), "unencrypted"),
    ] {
        let error = Client::new(&settings(url, auth)).expect_err(url);
        assert_eq!(error.kind, Kind::Configuration, "{url}");
        assert!(error.message.contains(said), "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    for url in ["http://127.0.0.1:8481", "http://localhost", "http://[::1]:80/"] {
        let client = Client::new(&settings(url, bearer())).expect(url);
        assert!(!format!("{client:?}").contains("canary"));
    }
    let mut plain = settings("http://connex.example", bearer());
    plain.allow_plaintext = true;
    assert!(Client::new(&plain).is_ok());
    plain.page_size = PAGE_SIZE_MAX + 1;
    assert!(
        Client::new(&plain)
            .expect_err("too large")
            .message
            .contains("page_size")
    );
}

#[test]
fn content_types_of_json() {
    assert!(is_json("application/json") && is_json("application/problem+json"));
    assert!(!is_json("text/html") && !is_json("") && !is_json("text/json") && !is_json("+json"));
}
