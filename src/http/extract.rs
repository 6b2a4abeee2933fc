//! What a request says, as types: the body as JSON, the query, the path. What does not fit is a problem document that
//! names it. Never reads more than the limits allow.

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use futures_util::StreamExt as _;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::App;
use super::error::{Code, Problem};

/// What PostgreSQL keeps in no text: refused at the door, or it would come back as a failure of the database.
const NUL: &str = "a NUL character, which no text here can have; leave it away";

/// The body, as JSON. An empty body is an empty object.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

/// The query. A parameter that `T` does not know is refused where `T` denies unknown fields, as all of them do.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

/// What the path names, percent-decoded.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let is_json = says_json(request.headers());
        let body = read(request.into_body(), app).await?;
        if body.is_empty() {
            return parse(b"{}").map(Self);
        }
        if !is_json {
            return Err(Problem::new(
                Code::NotJson,
                "the body must be JSON, and say so; send it with the header `Content-Type: application/json`",
            ));
        }
        parse(&body).map(Self)
    }
}

fn says_json(headers: &HeaderMap) -> bool {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = said.and_then(|text| text.split(';').next()).unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

async fn read(body: Body, app: &App) -> Result<Vec<u8>, Problem> {
    let settings = app.settings();
    let most = settings.max_body_bytes;
    let too_large = || {
        Problem::new(
            Code::TooLarge,
            format!("the body has more than {most} bytes (http.max_body_bytes); send less at once"),
        )
    };
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let all = async {
        let mut bytes = Vec::new();
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece =
                piece.map_err(|error| Problem::new(Code::BadRequest, format!("the body ended too early ({error})")))?;
            if bytes.len() + piece.len() > most {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    };
    tokio::time::timeout(settings.body_timeout, all)
        .await
        .unwrap_or_else(|_| {
            Err(Problem::new(
                Code::BodyTimeout,
                format!(
                    "the body had not arrived after {} seconds (http.request_timeout); send it faster",
                    settings.body_timeout.as_secs()
                ),
            ))
        })
}

/// Whether a text in the body has a NUL character, which JSON can only write escaped: with an odd number of
/// backslashes before it, for two of them are a backslash.
fn has_escaped_nul(body: &[u8]) -> bool {
    let escape = b"u0000";
    let found = body
        .windows(escape.len())
        .enumerate()
        .filter(|(_, piece)| *piece == escape);
    found
        .map(|(at, _)| body[..at].iter().rev().take_while(|byte| **byte == b'\\').count())
        .any(|backslashes| backslashes % 2 == 1)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // A list would be taken for an object's values in their order.
    if body.trim_ascii_start().first() == Some(&b'[') && serde_json::from_slice::<IgnoredAny>(body).is_ok() {
        return Err(Problem::new(Code::Invalid, "the body is a list; send an object"));
    }
    if has_escaped_nul(body) {
        return Err(Problem::new(Code::Invalid, format!("the body has {NUL}")));
    }
    serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            Problem::new(Code::Invalid, format!("the body cannot be used: {error}"))
        } else {
            Problem::new(Code::BadRequest, format!("the body is no valid JSON: {error}"))
        }
    })
}

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        // PostgreSQL has no text with a NUL in it, and nothing that is stored here has one.
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            let detail = "the query cannot be used: it has a NUL character";
            return Err(Problem::new(Code::BadQuery, detail));
        }
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|rejection| {
                let text = rejection.body_text();
                let why = text.rsplit_once("query string: ").map_or(text.as_str(), |(_, why)| why);
                Problem::new(Code::BadQuery, format!("the query cannot be used: {why}"))
            })
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        if parts.uri.path().contains("%00") {
            return Err(Problem::new(Code::NotFound, format!("the path has {NUL}")));
        }
        axum::extract::Path::from_request_parts(parts, app)
            .await
            .map(|axum::extract::Path(path)| Self(path))
            .map_err(|rejection| {
                Problem::new(
                    Code::NotFound,
                    format!("the path names nothing: {}", rejection.body_text()),
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_nul_is_found_and_nothing_that_looks_like_one() {
        for bad in [r#"{"a":"\u0000"}"#, r#"{"a":"x\\\u0000"}"#, r#"{"\u0000":1}"#] {
            assert!(has_escaped_nul(bad.as_bytes()), "{bad}");
        }
        for good in [r#"{"a":"u0000"}"#, r#"{"a":"\\u0000"}"#, r#"{"a":"\u0001"}"#, ""] {
            assert!(!has_escaped_nul(good.as_bytes()), "{good}");
        }
    }
}
