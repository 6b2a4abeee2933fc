//! Who may use the directory: fixed tokens, tokens issued to clients, and nobody from another site's page.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::{NoContext, Uuid};

use super::problem::Problem;
use super::{App, Options};

/// Issued tokens that are remembered; the oldest go first.
const ISSUED_MAX: usize = 10_000;

type Hash = [u8; 32];

/// What is accepted. Only hashes are kept and compared, so that the time of a comparison tells nothing.
#[derive(Debug)]
pub(super) struct Access {
    tokens: Vec<Hash>,
    clients: Vec<(Hash, Hash)>,
    life: SignedDuration,
    issued: Mutex<HashMap<Hash, Timestamp>>,
}

fn hash(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

impl Access {
    pub(super) fn new(options: &Options) -> Self {
        let client = |(id, secret): &(String, secrecy::SecretString)| (hash(id), hash(secret.expose_secret()));
        Self {
            tokens: options.tokens.iter().map(|token| hash(token.expose_secret())).collect(),
            clients: options.clients.iter().map(client).collect(),
            life: options.token_life,
            issued: Mutex::default(),
        }
    }

    /// Whether everybody is let in.
    pub(super) fn is_open(&self) -> bool {
        self.tokens.is_empty() && self.clients.is_empty()
    }

    pub(super) fn revoke_issued(&self) {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn accepts(&self, token: &str, now: Timestamp) -> bool {
        let token = hash(token);
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        self.tokens.contains(&token) || issued.get(&token).is_some_and(|until| now < *until)
    }

    fn issue(&self, now: Timestamp) -> String {
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let random = || Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, 0)).simple();
        let token = format!("sample-{}{}", random(), random());
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.retain(|_, until| now < *until);
        if issued.len() >= ISSUED_MAX
            && let Some(oldest) = issued.iter().min_by_key(|(_, until)| **until).map(|(hash, _)| *hash)
        {
            issued.remove(&oldest);
        }
        issued.insert(hash(&token), now + self.life);
        token
    }

    fn knows(&self, id: &str, secret: &str) -> bool {
        self.is_open() || self.clients.contains(&(hash(id), hash(secret)))
    }
}

/// Lets a request pass that carries a good token, or that needs none.
pub(super) async fn require_token(State(app): State<App>, request: Request, next: Next) -> Response {
    let value = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let token = value
        .and_then(|value| value.split_once(' '))
        .and_then(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer").then_some(token.trim()));
    if app.access.is_open() || token.is_some_and(|token| app.access.accepts(token, app.directory.now())) {
        return next.run(request).await;
    }
    let detail = "the token is missing, unknown or expired: send `Authorization: Bearer TOKEN`";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).into_response()
}

/// Refuses what another site's page makes a browser send: anything but reading needs `Sec-Fetch-Site` to say
/// `same-origin` or `none`, or, from browsers without it, an `Origin` that is this host. Programs send neither.
pub(super) async fn same_origin(request: Request, next: Next) -> Response {
    let reading = matches!(*request.method(), Method::GET | Method::HEAD);
    if reading || is_same_origin(request.headers()) {
        return next.run(request).await;
    }
    let detail = "this came from the page of another site: use the directory's own page";
    Problem::new(StatusCode::FORBIDDEN, "cross_site", detail).into_response()
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    if !headers.contains_key(header::ORIGIN) {
        return true;
    }
    let origin = text("origin").and_then(|origin| origin.parse::<Uri>().ok());
    let authority = origin
        .as_ref()
        .and_then(Uri::authority)
        .map(|authority| authority.as_str());
    authority.is_some() && authority == text("host")
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/oauth/token", post(token))
}

/// `POST /oauth/token`: client credentials (RFC 6749, section 4.4), as HTTP Basic or in the form.
async fn token(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Response {
    let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let field = |name: &str| form.get(name).cloned().unwrap_or_default();
    if field("grant_type") != "client_credentials" {
        return refuse_token(StatusCode::BAD_REQUEST, "unsupported_grant_type");
    }
    let (id, secret) = basic(&headers).unwrap_or_else(|| (field("client_id"), field("client_secret")));
    if !app.access.knows(&id, &secret) {
        return refuse_token(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let grant = json!({
        "access_token": app.access.issue(app.directory.now()),
        "token_type": "Bearer",
        "expires_in": app.access.life.as_secs(),
    });
    token_response(StatusCode::OK, &grant)
}

fn refuse_token(status: StatusCode, error: &str) -> Response {
    let mut response = token_response(status, &json!({ "error": error }));
    if status == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
    }
    response
}

fn token_response(status: StatusCode, body: &serde_json::Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body.to_string()).into_response()
}

/// The client of an `Authorization: Basic` header, whose two halves are form-encoded (RFC 6749, section 2.3.1).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(base64(encoded.trim())?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let plain = |text: &str| {
        let pair = format!("x={text}");
        let value = url::form_urlencoded::parse(pair.as_bytes())
            .next()
            .map(|(_, value)| value.into_owned());
        value.unwrap_or_default()
    };
    Some((plain(id), plain(secret)))
}

/// Decodes base64 (RFC 4648, section 4), too short a thing to bring in a crate for.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for letter in text.trim_end_matches('=').bytes() {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xFF).expect("eight bits"));
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded() {
        for (text, plain) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("YWJjOmRlZg", "abc:def"),
        ] {
            assert_eq!(base64(text).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(base64("Zm 9v"), None);
    }

    #[test]
    fn pages_of_other_sites_are_told_from_our_own_and_from_programs() {
        let judge = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().expect("a header value"));
            }
            is_same_origin(&headers)
        };
        let host = ("host", "127.0.0.1:8481");
        assert!(judge(&[host]));
        assert!(judge(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(judge(&[host, ("origin", "http://127.0.0.1:8481")]));
        assert!(!judge(&[host, ("origin", "http://127.0.0.1:9999")]));
        assert!(!judge(&[host, ("origin", "null")]));
        assert!(!judge(&[
            host,
            ("sec-fetch-site", "same-site"),
            ("origin", "http://127.0.0.1:8481")
        ]));
        assert!(!judge(&[host, ("sec-fetch-site", "cross-site")]));
    }
}
