//! What the log and the metrics hear of requests: method, template of the path, status and time. Never the path itself,
//! the query or a header: there is somebody's address or a token in them.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;

use super::error::Code;
use crate::telemetry::{self, Event, Sentence, Word};

/// What a problem document said, for the log.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) code: &'static str,
    pub(super) detail: String,
}

/// What stands for a path that there is not.
const NO_ROUTE: &str = "none";

/// Tells of one request.
pub(super) async fn tell(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = method(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    let route = Word(route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str));
    let status = response.status().as_u16();
    let said = response.extensions_mut().remove::<Said>();
    telemetry::emit(&Event::HttpRequest {
        method,
        route,
        status,
        duration_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
    });
    let (code, error) = said
        .as_ref()
        .map_or(("internal", ""), |said| (said.code, said.detail.as_str()));
    // "Not ready" is an answer, and whoever asks for it asks often.
    if response.status().is_server_error() && code != Code::NotReady.as_str() {
        telemetry::emit(&Event::HttpFailed {
            method,
            route,
            status,
            code: Word(code),
            error: Sentence(error),
        });
    }
    response
}

/// The method, of those that there are: what a client makes up is not told.
fn method(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
