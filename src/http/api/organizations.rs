//! Organizations: those that are here, those that only a directory knows yet, and whom scheduled runs cover.

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::auth::Caller;
use super::super::error::{Code, Problem};
use super::super::extract::{Json, Path, Query};
use super::super::page::{Page, PageRequest};
use super::super::precondition::{etag, expected};
use super::super::wire::AskedDirectory;
use super::super::{App, wire};
use super::filters;
use crate::domain::id::OrganizationId;
use crate::domain::token::TokenScope;
use crate::engine::Setup;
use crate::store::{Organization, OrganizationFilter};
use crate::telemetry::{Event, Who, emit};

/// How long a directory may take to say whether it knows an organization: somebody is waiting for the list.
const DIRECTORY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many requests may ask directories at once: a search is no way to flood one.
static ASKING: Semaphore = Semaphore::const_new(4);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, patch))
}

/// Whether a directory calls an organization closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum StatusWord {
    /// It is not.
    Active,
    /// It is.
    Closed,
}

/// Which organizations.
#[derive(Debug, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Part of the name or of the city, or the whole id at the directory.
    #[param(max_length = 200)]
    q: Option<String>,
    /// Of one source.
    source: Option<String>,
    /// Of one status.
    #[param(inline)]
    status: Option<StatusWord>,
    /// Whether scheduled runs cover it.
    followed: Option<bool>,
    /// Most items to answer.
    #[serde(skip_serializing)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(skip_serializing)]
    cursor: Option<String>,
}

/// Organizations, in the order of their names.
///
/// Where nothing here matches `q`, the directories are asked for an organization with this id or name: what they answer
/// has `known: false` and no id yet, and `asked` says how each of them answered.
#[utoipa::path(
    get, path = "/organizations", tag = "organizations", operation_id = "listOrganizations",
    params(ListQuery),
    responses((status = 200, description = "A page of organizations", body = wire::OrganizationPage))
)]
async fn list(
    caller: Caller,
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<wire::OrganizationPage>, Problem> {
    caller.need(TokenScope::Read)?;
    let page = PageRequest::<String>::of("organizations", &query, query.limit, query.cursor.as_deref())?;
    let filter = OrganizationFilter {
        query: filters::search(query.q)?,
        source: filters::source(query.source.as_deref())?,
        status: query.status.map(|status| match status {
            StatusWord::Active => "active".to_owned(),
            StatusWord::Closed => "closed".to_owned(),
        }),
        followed: query.followed,
        ..OrganizationFilter::default()
    };
    let limit = u64::from(page.limit);
    let read = app
        .store()
        .organization_page(&filter, page.after.as_deref(), limit)
        .await?
        .ok_or_else(Problem::bad_cursor)?;
    let nothing = read.items.is_empty() && page.after.is_none() && filter.followed != Some(true);
    let Page { mut items, next } = page.given(read.items, read.next, |one| wire::organization(&one));
    let mut asked = Vec::new();
    if let Some(wanted) = filter.query.as_deref().filter(|_| nothing) {
        (items, asked) = elsewhere(&app, &filter, wanted).await?;
        items.truncate(page.limit as usize);
    }
    Ok(axum::Json(wire::OrganizationPage { items, next, asked }))
}

/// The organizations of this id or name that only their directories know, and how each of them answered.
async fn elsewhere(
    app: &App,
    filter: &OrganizationFilter,
    wanted: &str,
) -> Result<(Vec<wire::Organization>, Vec<AskedDirectory>), Problem> {
    let (mut found, mut asked) = (Vec::new(), Vec::new());
    let setups = app.setups().into_iter();
    let setups: Vec<Setup> = setups
        .filter(|setup| filter.source.as_ref().is_none_or(|source| source == setup.name()))
        .collect();
    let permit = ASKING.try_acquire();
    let answer = |setup: &Setup, outcome, detail: Option<String>| AskedDirectory {
        source: setup.name().as_str().to_owned(),
        outcome,
        detail,
    };
    if permit.is_err() {
        let all = setups.iter().map(|setup| answer(setup, "busy", None)).collect();
        return Ok((found, all));
    }
    let questions = setups
        .iter()
        .map(|setup| tokio::time::timeout(DIRECTORY_TIMEOUT, setup.source.find_organization(wanted)));
    for (setup, answered) in setups.iter().zip(join_all(questions).await) {
        let there = match answered {
            Err(_) => {
                let why = format!(
                    "the directory of source {} did not say within {} s whether it knows the organization",
                    setup.name(),
                    DIRECTORY_TIMEOUT.as_secs()
                );
                asked.push(answer(setup, "timed_out", Some(why)));
                continue;
            }
            Ok(Err(error)) => {
                asked.push(answer(setup, "failed", Some(error.to_string())));
                continue;
            }
            Ok(Ok(there)) => there,
        };
        asked.push(answer(setup, if there.is_empty() { "none" } else { "found" }, None));
        for one in &there {
            let here = app
                .store()
                .find_organizations(Some(setup.name()), one.id.as_str())
                .await?;
            let status = if one.closed { "closed" } else { "active" };
            if here.is_empty() && filter.status.as_deref().is_none_or(|wanted| wanted == status) {
                found.push(wire::unknown_organization(setup.name(), one));
            }
        }
    }
    Ok((found, asked))
}

/// One organization, with how it stands.
#[utoipa::path(
    get, path = "/organizations/{id}", tag = "organizations", operation_id = "showOrganization",
    params(("id" = String, Path, description = "The organization's id")),
    responses((
        status = 200, description = "The organization", body = wire::OrganizationDetail,
        headers(("ETag" = String, description = "The version of the organization"))
    ))
)]
async fn show(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse + use<>, Problem> {
    caller.need(TokenScope::Read)?;
    let organization = known(&app, &id).await?;
    Ok(([etag(&organization.version())], detail(&app, &organization).await?))
}

/// What to change of an organization.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OrganizationPatch {
    /// Whether scheduled runs cover it.
    followed: Option<bool>,
}

/// Lets scheduled runs cover an organization, or not. Its users stay as they are.
#[utoipa::path(
    patch, path = "/organizations/{id}", tag = "organizations", operation_id = "editOrganization",
    params(
        ("id" = String, Path, description = "The organization's id"),
        ("If-Match" = Option<String>, Header, description = "The ETag that the edit is based on, or `*`"),
    ),
    request_body(content((OrganizationPatch = "application/merge-patch+json"), (OrganizationPatch = "application/json"))),
    responses(
        (status = 200, description = "The organization as it is now", body = wire::OrganizationDetail, headers(("ETag" = String, description = "The version of the organization"))),
        (status = 409, description = "It comes from no directory", body = super::ProblemDocument, content_type = "application/problem+json"),
        (status = 412, description = "The organization was changed since", body = super::ProblemDocument, content_type = "application/problem+json"),
        (status = 428, description = "There is no If-Match", body = super::ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn patch(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(patch): Json<OrganizationPatch>,
) -> Result<impl IntoResponse + use<>, Problem> {
    caller.need(TokenScope::Admin)?;
    let organization = known(&app, &id).await?;
    let expected = expected(&headers)?;
    if organization.link.is_none() && patch.followed.is_some() {
        return Err(Problem::new(
            Code::Refused,
            "the organization comes from no directory, so there is nothing to follow; name one that has a source",
        ));
    }
    // Where nothing is to change, what was read is still compared.
    let followed = patch.followed.unwrap_or(organization.followed);
    let changed = app
        .store()
        .follow(organization.id, followed, &expected, &caller.actor)
        .await?;
    if changed {
        let (organization, actor) = (organization.id, Who(&caller.actor.0));
        emit(&match followed {
            true => Event::OrganizationFollowed { organization, actor },
            false => Event::OrganizationUnfollowed { organization, actor },
        });
    }
    let now = known(&app, &id).await?;
    Ok(([etag(&now.version())], detail(&app, &now).await?))
}

async fn detail(app: &App, organization: &Organization) -> Result<axum::Json<wire::OrganizationDetail>, Problem> {
    let standing = app.store().organization_standing(organization).await?;
    Ok(axum::Json(wire::OrganizationDetail {
        organization: wire::organization(organization),
        synced_at: standing.synced_at.map(|at| at.to_string()),
        drift: standing.put_back,
        quarantine: standing.quarantined,
    }))
}

/// The organization that the path names.
async fn known(app: &App, id: &str) -> Result<Organization, Problem> {
    let missing = || Problem::not_found("organization", id);
    let id: OrganizationId = id.parse().map_err(|_| missing())?;
    app.store().organization(id).await?.ok_or_else(missing)
}
