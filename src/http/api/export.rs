//! Every user as CSV, streamed: the whole table never stands in memory.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::auth::Caller;
use super::super::error::Problem;
use super::super::{App, csv};
use crate::domain::token::TokenScope;
use crate::store::{Store, StoreError, UserFilter, UserOrder};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(export))
}

/// Every user as CSV (RFC 4180), in the order of their addresses; no cell is a formula to a spreadsheet.
///
/// A user created meanwhile may or may not be in it. Where the database fails in the middle, the connection ends without
/// the end of the body, so that nobody takes a part for the whole.
#[utoipa::path(
    get, path = "/users/export.csv", tag = "users", operation_id = "exportUsers",
    responses((status = 200, description = "The users", body = String, content_type = "text/csv"))
)]
async fn export(caller: Caller, State(app): State<App>) -> Result<Response, Problem> {
    caller.need(TokenScope::Read)?;
    let store = app.store().clone();
    // The first page now: a database that does not answer is said with a status.
    let (first, next) = page(&store, None).await?;
    let mut head = csv::header();
    head.extend(first);
    let rest = stream::try_unfold(next, move |next| {
        let store = store.clone();
        async move {
            match next {
                None => Ok::<_, StoreError>(None),
                Some(after) => Ok(Some(page(&store, Some(&after)).await?)),
            }
        }
    });
    let body = stream::once(async { Ok(head) })
        .chain(rest)
        .map(|lines| lines.map(Bytes::from));
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"users.csv\""),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// The lines of one page, and where the next one begins.
async fn page(store: &Store, after: Option<&str>) -> Result<(Vec<u8>, Option<String>), StoreError> {
    let read = store
        .user_page(&UserFilter::default(), UserOrder::default(), after, csv::PAGE_USERS)
        .await?;
    Ok(read.map_or_else(Default::default, |page| (csv::rows(&page.items), page.next)))
}
