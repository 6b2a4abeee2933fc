//! Reading the directory: stable walks by id in pages, single organizations and accounts. Changes nothing.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::model::{Account, Organization};
use super::problem::Problem;
use super::{App, PAGE_ITEMS_MAX, cursor::Cursor};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/organizations", get(organizations))
        .route("/api/v1/organizations/{id}", get(organization))
        .route("/api/v1/organizations/{id}/users", get(organization_users))
        .route("/api/v1/users", get(users))
        .route("/api/v1/users/{id}", get(user))
}

/// A checked request for one page.
struct Walk {
    path: String,
    limit: usize,
    after: Option<String>,
    since: Option<Timestamp>,
    /// What the first page found, on any later one.
    begun: Option<(usize, Timestamp)>,
    now: Timestamp,
}

impl Walk {
    fn begin(app: &App, uri: &Uri) -> Result<Self, Problem> {
        let query = uri.query().unwrap_or_default().as_bytes();
        let field = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(query);
            pairs.find_map(|(key, value)| (key == name).then_some(value))
        };
        let limit = match field("limit").map(|text| text.parse::<usize>()) {
            None => app.page_items_max,
            Some(Ok(limit)) if limit > 0 => limit.min(app.page_items_max),
            Some(_) => {
                let detail = format!("`limit` is no number from 1 to {PAGE_ITEMS_MAX}: correct it");
                return Err(Problem::bad_request(detail));
            }
        };
        let (path, now) = (uri.path().to_owned(), app.directory.now());
        if let Some(text) = field("cursor") {
            let cursor = Cursor::decode(&text, &path, now, app.cursor_life).ok_or_else(|| {
                let detail = "the cursor has expired, or was never given: start the listing again";
                Problem::new(StatusCode::GONE, "cursor_expired", detail)
            })?;
            return Ok(Self {
                path,
                limit,
                since: cursor.since(),
                begun: Some((cursor.total, cursor.as_of())),
                after: Some(cursor.after),
                now,
            });
        }
        let since = field("updated_since").map(|text| text.parse::<Timestamp>()).transpose();
        let since = since.map_err(|_| {
            Problem::bad_request("`updated_since` is no time as 2026-11-21T17:00:00Z: pass an earlier `as_of`")
        })?;
        Ok(Self {
            path,
            limit,
            after: None,
            since,
            begun: None,
            now,
        })
    }

    /// The ids that come next in a map sorted by id.
    fn range(&self) -> (Bound<&str>, Bound<&str>) {
        let from = self.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        (from, Bound::Unbounded)
    }

    fn wants(&self, changed: Timestamp) -> bool {
        self.since.is_none_or(|since| changed >= since)
    }

    /// Makes the page of `live` and `dead` rows, both sorted by id and beyond the cursor; `total` counts all of
    /// them, and is asked for on the first page alone.
    fn page<'a, T: Serialize + 'a>(
        &self,
        live: impl Iterator<Item = (&'a str, &'a T)>,
        dead: impl Iterator<Item = (&'a str, Timestamp)>,
        total: impl FnOnce() -> usize,
    ) -> Vec<u8> {
        let mut rows: Vec<(&str, Row<'a, T>)> = live
            .map(|(id, row)| (id, Row::Live(row)))
            .take(self.limit + 1)
            .collect();
        if self.since.is_some() {
            let tombstone = |(id, at)| {
                (
                    id,
                    Row::Deleted(Tombstone {
                        id,
                        deleted: true,
                        updated_at: Time(at),
                    }),
                )
            };
            rows.extend(dead.map(tombstone).take(self.limit + 1));
            rows.sort_unstable_by_key(|(id, _)| *id);
        }
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let (total, as_of) = self.begun.unwrap_or_else(|| (total(), self.now));
        let next = match rows.last() {
            Some((last, _)) if more => Some(Cursor::new(&self.path, last, total, as_of, self.since).encode()),
            _ => None,
        };
        let page = Page {
            items: rows.iter().map(|(_, row)| row).collect(),
            next,
            total,
            as_of: Time(as_of),
        };
        serde_json::to_vec(&page).expect("texts and numbers make JSON")
    }
}

#[derive(Serialize)]
struct Page<'a, T> {
    items: Vec<&'a T>,
    next: Option<String>,
    total: usize,
    as_of: Time,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Row<'a, T> {
    Live(&'a T),
    Deleted(Tombstone<'a>),
}

#[derive(Serialize)]
struct Tombstone<'a> {
    id: &'a str,
    deleted: bool,
    updated_at: Time,
}

struct Time(Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

async fn organizations(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let walk = Walk::begin(&app, &uri)?;
    let state = app.directory.read();
    answer(&app, state.revision, &uri, &headers, || {
        let wanted = |one: &&Organization| walk.wants(one.updated_at);
        let live = state
            .organizations
            .range::<str, _>(walk.range())
            .map(|(_, one)| one)
            .filter(wanted);
        let dead = state
            .deleted_organizations
            .range::<str, _>(walk.range())
            .map(|(id, at)| (id.as_str(), *at));
        walk.page(
            live.map(|one| (one.id.as_str(), one)),
            dead.filter(|(_, at)| walk.wants(*at)),
            || match walk.since {
                None => state.organizations.len(),
                Some(_) => {
                    state.organizations.values().filter(wanted).count()
                        + state
                            .deleted_organizations
                            .values()
                            .filter(|at| walk.wants(**at))
                            .count()
                }
            },
        )
    })
}

async fn users(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let walk = Walk::begin(&app, &uri)?;
    let state = app.directory.read();
    answer(&app, state.revision, &uri, &headers, || {
        let wanted = |one: &&Account| walk.wants(one.updated_at);
        let live = state
            .accounts
            .range::<str, _>(walk.range())
            .map(|(_, one)| one)
            .filter(wanted);
        let dead = state
            .deleted_accounts
            .range::<str, _>(walk.range())
            .map(|(id, (_, at))| (id.as_str(), *at));
        walk.page(
            live.map(|one| (one.id.as_str(), one)),
            dead.filter(|(_, at)| walk.wants(*at)),
            || match walk.since {
                None => state.accounts.len(),
                Some(_) => {
                    state.accounts.values().filter(wanted).count()
                        + state
                            .deleted_accounts
                            .values()
                            .filter(|(_, at)| walk.wants(*at))
                            .count()
                }
            },
        )
    })
}

async fn organization_users(
    State(app): State<App>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let walk = Walk::begin(&app, &uri)?;
    let state = app.directory.read();
    if !state.organizations.contains_key(&id) {
        return Err(Problem::not_found("organization"));
    }
    answer(&app, state.revision, &uri, &headers, || {
        let members = state.members.get(&id);
        let wanted = |one: &&Account| walk.wants(one.updated_at);
        let account = |member: &String| state.accounts.get(member);
        let from = walk.range();
        let live = members
            .into_iter()
            .flat_map(|members| members.range::<str, _>(from))
            .filter_map(account);
        let theirs = |dead: &BTreeMap<String, (String, Timestamp)>| -> usize {
            dead.values().filter(|(of, at)| *of == id && walk.wants(*at)).count()
        };
        let dead = state.deleted_accounts.range::<str, _>(walk.range());
        let dead = dead.filter(|(_, (of, at))| *of == id && walk.wants(*at));
        let rows = live.filter(wanted).map(|one| (one.id.as_str(), one));
        walk.page(rows, dead.map(|(id, (_, at))| (id.as_str(), *at)), || {
            match walk.since {
                None => members.map_or(0, |members| members.len()),
                Some(_) => {
                    members.into_iter().flatten().filter_map(account).filter(wanted).count()
                        + theirs(&state.deleted_accounts)
                }
            }
        })
    })
}

async fn organization(
    State(app): State<App>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let state = app.directory.read();
    let one = state
        .organizations
        .get(&id)
        .ok_or_else(|| Problem::not_found("organization"))?;
    answer(&app, state.revision, &uri, &headers, || to_json(one))
}

async fn user(
    State(app): State<App>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let state = app.directory.read();
    let one = state.accounts.get(&id).ok_or_else(|| Problem::not_found("account"))?;
    answer(&app, state.revision, &uri, &headers, || to_json(one))
}

/// One resource as JSON.
pub(super) fn to_json<T: Serialize>(one: &T) -> Vec<u8> {
    serde_json::to_vec(one).expect("texts and numbers make JSON")
}

/// Answers with `body`, or with 304 where the client has it already: a URL says the same as long as nothing was
/// edited (RFC 9110, section 13.1.2).
fn answer(
    app: &App,
    revision: u64,
    uri: &Uri,
    headers: &HeaderMap,
    body: impl FnOnce() -> Vec<u8>,
) -> Result<Response, Problem> {
    let mut hasher = DefaultHasher::new();
    (app.started.as_nanosecond(), revision, uri.path(), uri.query()).hash(&mut hasher);
    let tag = format!("\"{revision:x}-{:x}\"", hasher.finish());
    let held = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let same = held
        .split(',')
        .any(|one| matches!(one.trim(), "*") || one.trim().trim_start_matches("W/") == tag);
    if same {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
        (header::ETAG, tag),
    ];
    Ok((headers, body()).into_response())
}
