//! Errors as RFC 9457 problem documents, with a closed set of codes. Never says more of the inside than the sentence
//! that the error has for people.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json};

use super::telling::Said;
use crate::domain::token::TokenScope;
use crate::engine::EngineError;
use crate::store::{StoreError, StoreErrorKind};

/// The media type of a problem document.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// Seconds after which a request that failed for a passing reason may be repeated.
const RETRY_AFTER_SECONDS: &str = "5";

macro_rules! codes {
    ($($name:ident = $word:literal, $status:ident, $title:literal;)*) => {
        /// Every way in which a request can fail. The words are stable, and docs/http-api.md lists them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $title] $name),*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// The status that it is sent with.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),* }
            }

            /// What it means, in a few words that never change.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }
        }
    };
}

codes! {
    BadRequest = "bad_request", BAD_REQUEST, "The request cannot be read";
    BadQuery = "bad_query", BAD_REQUEST, "The query has a parameter that is unknown or cannot be used";
    BadCursor = "bad_cursor", BAD_REQUEST, "The cursor was not given by this list";
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "A valid token is needed";
    Forbidden = "forbidden", FORBIDDEN, "The token may not do this";
    NotFound = "not_found", NOT_FOUND, "What is named does not exist";
    NoSuchPath = "no_such_path", NOT_FOUND, "There is nothing at this path";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "This path does not know the method";
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT, "The body of the request took too long";
    Conflict = "conflict", CONFLICT, "Something else stands in the way";
    Refused = "refused", CONFLICT, "The state of what is named does not allow it";
    AddressTaken = "address_taken", CONFLICT, "Another user has the e-mail address";
    PlanStale = "plan_stale", CONFLICT, "The table has changed since the plan was made";
    Busy = "busy", CONFLICT, "Another run holds the source";
    LastAdministrator = "last_administrator", CONFLICT, "The last administrator would be gone";
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED, "What is named has changed since it was read";
    PreconditionRequired = "precondition_required", PRECONDITION_REQUIRED, "The request must say which version it is based on";
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, "The body of the request is too large";
    NotJson = "not_json", UNSUPPORTED_MEDIA_TYPE, "The body of the request is not said to be JSON";
    Invalid = "invalid", UNPROCESSABLE_ENTITY, "The body of the request says something that cannot be";
    TooManyStreams = "too_many_streams", SERVICE_UNAVAILABLE, "Too many event streams are open";
    NotReady = "not_ready", SERVICE_UNAVAILABLE, "The daemon cannot do its work now";
    Stopping = "stopping", SERVICE_UNAVAILABLE, "The daemon is stopping";
    StoreUnavailable = "store_unavailable", SERVICE_UNAVAILABLE, "The database cannot do it now";
    SourceFailed = "source_failed", BAD_GATEWAY, "The directory of the source cannot be read";
    Internal = "internal", INTERNAL_SERVER_ERROR, "This is a defect of the program";
}

/// A problem document.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    more: Map<String, Json>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem with its sentence: what, where, what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            more: Map::new(),
            headers: Vec::new(),
        }
    }

    /// That something which was named by `id` is not there.
    pub fn not_found(what: &str, id: &str) -> Self {
        let id: String = id.chars().take(80).collect();
        Self::new(Code::NotFound, format!("there is no {what} `{}`", id.escape_debug()))
    }

    /// That a cursor is none of this list's.
    pub(super) fn bad_cursor() -> Self {
        Self::new(
            Code::BadCursor,
            "the cursor was not given by this list with these filters; start it again without `cursor`",
        )
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The sentence.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Adds what else is to be known, or done.
    #[must_use]
    pub(super) fn hint(mut self, more: &str) -> Self {
        self.detail = format!("{}, {more}", self.detail);
        self
    }

    /// Adds a member of its own to the document (RFC 9457, section 3.2).
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// That no valid token came. `sent` says whether one came at all (RFC 6750, section 3).
    pub(super) fn unauthenticated(detail: impl Into<String>, sent: bool) -> Self {
        let challenge = if sent {
            "Bearer realm=\"rollcall\", error=\"invalid_token\""
        } else {
            "Bearer realm=\"rollcall\""
        };
        Self::new(Code::Unauthenticated, detail).header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// That the token lacks a scope.
    pub(super) fn forbidden(has: TokenScope, needed: TokenScope) -> Self {
        let challenge = match needed {
            TokenScope::Read => "Bearer realm=\"rollcall\", error=\"insufficient_scope\", scope=\"read\"",
            TokenScope::Sync => "Bearer realm=\"rollcall\", error=\"insufficient_scope\", scope=\"sync\"",
            TokenScope::Admin => "Bearer realm=\"rollcall\", error=\"insufficient_scope\", scope=\"admin\"",
        };
        let (has, needed) = (has.as_str(), needed.as_str());
        Self::new(
            Code::Forbidden,
            format!("this needs a token of scope {needed}, and this one has scope {has}; make one with `rollcall token create NAME --scope {needed}`"),
        )
        .with("needed_scope", needed)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        use StoreErrorKind as K;
        let code = match error.kind {
            K::Unreachable | K::Busy | K::Schema | K::Configuration | K::Storage => Code::StoreUnavailable,
            K::Constraint => Code::Conflict,
            K::AddressTaken => Code::AddressTaken,
            K::NotFound => Code::NotFound,
            K::VersionMismatch => Code::PreconditionFailed,
            K::Stale => Code::PlanStale,
            K::LeaseHeld | K::LeaseLost => Code::Busy,
            K::LastAdministrator => Code::LastAdministrator,
            K::Internal => Code::Internal,
        };
        Self::new(code, error.message).with("cause", error.kind.code())
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let cause = error.code();
        let code = match error {
            EngineError::Store(error) => return error.into(),
            EngineError::Source(_) => Code::SourceFailed,
            EngineError::Refused(_) => Code::Refused,
            EngineError::NotFound(_) => Code::NotFound,
            EngineError::Panicked(_) => Code::Internal,
        };
        Self::new(code, error.to_string()).with("cause", cause)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let mut document = Map::new();
        document.insert("type".into(), "about:blank".into());
        document.insert("title".into(), self.code.title().into());
        document.insert("status".into(), status.as_u16().into());
        document.insert("code".into(), self.code.as_str().into());
        document.insert("detail".into(), self.detail.as_str().into());
        document.extend(self.more);
        let mut response = Response::new(Body::from(Json::Object(document).to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response.extensions_mut().insert(Said {
            code: self.code.as_str(),
            detail: self.detail,
        });
        response
    }
}

/// The answer where a handler panicked: that request fails, alone.
pub(super) fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    Problem::new(
        Code::Internal,
        "answering this request ended in a defect of the program; please report it with the log",
    )
    .into_response()
}

/// The answer at a path that there is not.
pub(super) async fn no_such_path(uri: axum::http::Uri) -> Problem {
    let path: String = uri.path().chars().take(80).collect();
    Problem::new(
        Code::NoSuchPath,
        format!("there is nothing at `{path}`; GET /api/v1/openapi.json says what there is"),
    )
}

/// The answer to a method that the path does not know; the router adds `Allow`.
pub(super) async fn no_such_method(method: axum::http::Method) -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        format!("{method} cannot be done here; the header Allow says what can"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_words_and_differ() {
        let words: std::collections::BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(
                code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{code:?}"
            );
            assert!(
                code.status().is_client_error() || code.status().is_server_error(),
                "{code:?}"
            );
        }
    }
}
