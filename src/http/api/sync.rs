//! Asking for a run: of a source, of one organization, of one user. Asked again while that run waits or is under way,
//! it is the same run.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::auth::Caller;
use super::super::error::{Code, Problem};
use super::super::extract::{Json, Path, Query};
use super::super::server::Stopping;
use super::super::{App, wire};
use super::{PREFIX, ProblemDocument, sources};
use crate::domain::id::{ExternalId, RunId, SourceName};
use crate::domain::token::TokenScope;
use crate::engine::{EngineError, Request, find_organization, find_user};
use crate::store::RunRow;

/// Longest time that an answer waits for its run, in seconds: what lies between us and the client may wait no longer.
const WAIT_SECONDS_MAX: u64 = 60;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(source))
        .routes(routes!(organization))
        .routes(routes!(user))
}

/// How much is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// What the source does best; today that is always a full listing.
    #[default]
    Auto,
    /// Everything.
    Full,
    /// What changed since the last run.
    Incremental,
}

/// What the run is to do.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Ask {
    /// How much is read: `auto` or `full`. `incremental` is refused: this version reads every source in full.
    mode: Mode,
    /// Whether to stop before the first write, and show the plan.
    dry_run: bool,
}

/// How to answer.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wait {
    /// Answer the finished run, if it has ended after so many seconds; more than 60 count as 60.
    #[param(minimum = 0)]
    wait: Option<u64>,
}

/// How to answer, and what the path means.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Answer the finished run, if it has ended after so many seconds; more than 60 count as 60.
    #[param(minimum = 0)]
    wait: Option<u64>,
    /// The source that the id is of; needed where several sources know it, or where none here does yet.
    source: Option<String>,
}

/// Runs a source.
#[utoipa::path(
    post, path = "/sources/{name}/sync", tag = "sources", operation_id = "syncSource",
    params(("name" = String, Path, description = "The source's name"), Wait),
    request_body = Option<Ask>,
    responses(
        (status = 200, description = "The finished run, where `wait` was long enough", body = wire::Run, headers(("Location" = String, description = "The run"))),
        (status = 202, description = "The run, waiting or under way", body = wire::Run, headers(("Location" = String, description = "The run"))),
    )
)]
async fn source(
    caller: Caller,
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<Wait>,
    stopping: Option<Extension<Stopping>>,
    Json(ask): Json<Ask>,
) -> Result<Response, Problem> {
    caller.need(TokenScope::Sync)?;
    let managed = sources::known(&app, &name)?;
    let request = request(&caller, &ask)?;
    let wait = Waiting(query.wait, stopping);
    run(&app, managed.setup.name(), request, wait).await
}

/// Runs one organization of its source, also one that only the directory knows yet.
#[utoipa::path(
    post, path = "/organizations/{id}/sync", tag = "organizations", operation_id = "syncOrganization",
    params(("id" = String, Path, description = "The organization's id here, or at the directory"), Which),
    request_body = Option<Ask>,
    responses(
        (status = 200, description = "The finished run, where `wait` was long enough", body = wire::Run, headers(("Location" = String, description = "The run"))),
        (status = 202, description = "The run, waiting or under way", body = wire::Run, headers(("Location" = String, description = "The run"))),
        (status = 409, description = "No source lists the organization, or several do", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 502, description = "The directory was asked what the id means, and cannot be read", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn organization(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<Which>,
    stopping: Option<Extension<Stopping>>,
    Json(ask): Json<Ask>,
) -> Result<Response, Problem> {
    caller.need(TokenScope::Sync)?;
    let mut request = request(&caller, &ask)?;
    let (source, organization) = organization_of(&app, &id, query.source.as_deref()).await?;
    request.organization = Some(organization);
    run(&app, &source, request, Waiting(query.wait, stopping)).await
}

/// Runs one user's entry, also one that only the directory knows yet.
#[utoipa::path(
    post, path = "/users/{id}/sync", tag = "users", operation_id = "syncUser",
    params(("id" = String, Path, description = "The user's id here, or at the directory"), Which),
    request_body = Option<Ask>,
    responses(
        (status = 200, description = "The finished run, where `wait` was long enough", body = wire::Run, headers(("Location" = String, description = "The run"))),
        (status = 202, description = "The run, waiting or under way", body = wire::Run, headers(("Location" = String, description = "The run"))),
        (status = 409, description = "No directory owns the user, or the id means several", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn user(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<Which>,
    stopping: Option<Extension<Stopping>>,
    Json(ask): Json<Ask>,
) -> Result<Response, Problem> {
    caller.need(TokenScope::Sync)?;
    let mut request = request(&caller, &ask)?;
    let (source, user) = user_of(&app, &id, query.source.as_deref()).await?;
    request.user = Some(user);
    run(&app, &source, request, Waiting(query.wait, stopping)).await
}

fn request(caller: &Caller, ask: &Ask) -> Result<Request, Problem> {
    if ask.mode == Mode::Incremental {
        return Err(Problem::new(
            Code::Invalid,
            "`mode` is `incremental`: this version reads every source in full, which alone can show that somebody is missing; leave `mode` away",
        ));
    }
    Ok(Request {
        organization: None,
        user: None,
        dry_run: ask.dry_run,
        actor: caller.actor.clone(),
    })
}

/// How many seconds a client waits for its run, and what ends that early.
struct Waiting(Option<u64>, Option<Extension<Stopping>>);

impl Waiting {
    /// The run when it has ended, or as it stands when the time is over or the daemon stops.
    async fn wait(self, app: &App, run: RunId) -> Result<RunRow, Problem> {
        let Self(seconds, stopping) = self;
        let most = Duration::from_secs(seconds.unwrap_or(0).min(WAIT_SECONDS_MAX));
        let stopped = async {
            match stopping {
                Some(Extension(stopping)) => stopping.stopped().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            row = app.scheduler().wait(run, most) => Ok(row?),
            () = stopped => Ok(app.engine().known_run(run).await?),
        }
    }
}

/// Asks for the run, waits for it where that is wanted, and answers it with its place.
async fn run(app: &App, source: &SourceName, request: Request, wait: Waiting) -> Result<Response, Problem> {
    let scheduler = app.scheduler();
    if scheduler.health().stopping {
        return Err(Problem::new(
            Code::Stopping,
            "the daemon is stopping and takes no more runs; ask again when it is back",
        ));
    }
    let asked = scheduler.request(source, request).await?;
    let row = wait.wait(app, asked.run).await?;
    let status = if super::runs::has_ended(&row) {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let mut response = (status, axum::Json(wire::run(&row))).into_response();
    let place = format!("{PREFIX}/runs/{}", asked.run);
    if let Ok(place) = HeaderValue::try_from(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// The source and the directory's id of the organization that a path names.
async fn organization_of(app: &App, id: &str, source: Option<&str>) -> Result<(SourceName, ExternalId), Problem> {
    let store = app.store();
    if let Some(source) = source {
        let setup = sources::known(app, source)?.setup;
        let organization = find_organization(store, &setup, id).await?;
        return Ok((setup.name().clone(), organization));
    }
    match store.find_organizations(None, id).await?.as_slice() {
        [one] => {
            let found = store.organization(*one).await?;
            found.and_then(|organization| organization.link).ok_or_else(|| {
                Problem::new(
                    Code::Refused,
                    format!("organization {one} is listed by no source, so there is nothing to sync"),
                )
            })
        }
        [] => {
            let registry = app.scheduler().registry();
            let [only] = registry.sources.as_slice() else {
                return Err(elsewhere("organization", id));
            };
            let organization = find_organization(store, &only.setup, id).await?;
            Ok((only.setup.name().clone(), organization))
        }
        _ => Err(ambiguous("organization", id)),
    }
}

/// The source and the directory's id of the user that a path names.
async fn user_of(app: &App, id: &str, source: Option<&str>) -> Result<(SourceName, ExternalId), Problem> {
    let store = app.store();
    if let Some(source) = source {
        let setup = sources::known(app, source)?.setup;
        let user = find_user(store, &setup, id).await?;
        return Ok((setup.name().clone(), user));
    }
    match store.find_users(id).await?.as_slice() {
        [one] => store.link_of(*one).await?.ok_or_else(|| {
            Problem::new(
                Code::Refused,
                format!("user {one} is a local account: no directory owns it, so there is nothing to sync"),
            )
        }),
        [] => {
            let registry = app.scheduler().registry();
            match (registry.sources.as_slice(), ExternalId::parse(id)) {
                ([only], Ok(entry)) => Ok((only.setup.name().clone(), entry)),
                (_, Ok(_)) => Err(elsewhere("user", id)),
                (_, Err(error)) => Err(EngineError::NotFound(format!("no user: {error}")).into()),
            }
        }
        _ => Err(ambiguous("user", id)),
    }
}

fn elsewhere(what: &str, id: &str) -> Problem {
    Problem::not_found(what, id).hint("and there are several directories that may know it; name one with `?source=`")
}

fn ambiguous(what: &str, id: &str) -> Problem {
    let id: String = id.chars().take(80).collect();
    Problem::new(
        Code::Conflict,
        format!(
            "{what} `{}` means several; name its source with `?source=`, or send its id here",
            id.escape_debug()
        ),
    )
}
