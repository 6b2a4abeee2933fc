//! Runs: what each was asked, saw, planned, how it ended, and the answers to a held one.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::auth::Caller;
use super::super::error::{Code, Problem};
use super::super::extract::{Json, Path, Query};
use super::super::page::{Page, PageRequest};
use super::super::{App, wire};
use crate::domain::field::Field;
use crate::domain::id::RunId;
use crate::domain::plan::Action;
use crate::domain::token::TokenScope;
use crate::store::{ChangeFilter, RunFilter, RunRow};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(changes))
        .routes(routes!(release))
        .routes(routes!(reject))
}

/// Which runs.
#[derive(Debug, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Of one source.
    source: Option<String>,
    /// In one state.
    state: Option<wire::RunState>,
    /// That covered this organization alone: its id here, or at the directory.
    organization: Option<String>,
    /// That covered this user alone: the id here, or at the directory.
    user: Option<String>,
    /// Most items to answer.
    #[serde(skip_serializing)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(skip_serializing)]
    cursor: Option<String>,
}

/// Runs, the newest first.
#[utoipa::path(
    get, path = "/runs", tag = "runs", operation_id = "listRuns",
    params(ListQuery),
    responses((status = 200, description = "A page of runs", body = Page<wire::Run>))
)]
async fn list(
    caller: Caller,
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<Page<wire::Run>>, Problem> {
    caller.need(TokenScope::Read)?;
    let page = PageRequest::<String>::of("runs", &query, query.limit, query.cursor.as_deref())?;
    let filter = RunFilter {
        source: query.source,
        state: query.state.map(|state| state.as_str().to_owned()),
        organization: query.organization,
        user: query.user,
        ended: None,
        before: page.after.as_deref().and_then(|id| id.parse().ok()),
    };
    let rows = app.store().list_runs(&filter, page.read()).await?;
    Ok(axum::Json(page.page(
        rows,
        |run| run.id.to_string(),
        |run| wire::run(&run),
    )))
}

/// One run.
#[utoipa::path(
    get, path = "/runs/{id}", tag = "runs", operation_id = "showRun",
    params(("id" = String, Path, description = "The run's id")),
    responses((status = 200, description = "The run", body = wire::Run))
)]
async fn show(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<axum::Json<wire::Run>, Problem> {
    caller.need(TokenScope::Read)?;
    Ok(axum::Json(wire::run(&known(&app, &id).await?)))
}

/// Which changes.
#[derive(Debug, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ChangesQuery {
    /// Of one kind.
    action: Option<wire::ActionWord>,
    /// Of one organization: its id here, or at the directory.
    organization: Option<String>,
    /// That touch this field.
    #[param(example = "phone")]
    field: Option<String>,
    /// That put something back, or do not.
    drift: Option<bool>,
    /// Most items to answer.
    #[serde(skip_serializing)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(skip_serializing)]
    cursor: Option<String>,
}

/// The changes of a run, in the order of its plan.
#[utoipa::path(
    get, path = "/runs/{id}/changes", tag = "runs", operation_id = "listChanges",
    params(("id" = String, Path, description = "The run's id"), ChangesQuery),
    responses((status = 200, description = "A page of changes", body = Page<wire::Change>))
)]
async fn changes(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<ChangesQuery>,
) -> Result<axum::Json<Page<wire::Change>>, Problem> {
    caller.need(TokenScope::Read)?;
    let run = known(&app, &id).await?;
    let list = format!("runs/{}/changes", run.id);
    let page = PageRequest::<u64>::of(&list, &query, query.limit, query.cursor.as_deref())?;
    if let Some(field) = &query.field
        && Field::parse(field).is_none()
    {
        let detail = format!("`field` is `{}`, which no user has", field.escape_debug());
        return Err(Problem::new(Code::BadQuery, detail));
    }
    let filter = ChangeFilter {
        action: query.action.map(Action::from),
        organization: query.organization,
        field: query.field,
        drift: query.drift,
        after: page.after,
    };
    let rows = app.store().list_changes(run.id, &filter, page.read()).await?;
    let applied = run.state == "applied";
    Ok(axum::Json(page.page(
        rows,
        |change| change.position,
        |change| wire::change(&change, applied),
    )))
}

/// The plan that is meant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Release {
    /// The hash of the plan that was read, as the run has it in `plan.hash`.
    plan: String,
}

/// Applies the plan of a held run: exactly the plan of this hash, or nothing.
#[utoipa::path(
    post, path = "/runs/{id}/release", tag = "runs", operation_id = "releaseRun",
    params(("id" = String, Path, description = "The run's id")),
    request_body = Release,
    responses(
        (status = 200, description = "The run, applied", body = wire::Run),
        (status = 409, description = "The run is not held, holds another plan, or its plan is stale", body = super::ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn release(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
    Json(answer): Json<Release>,
) -> Result<axum::Json<wire::Run>, Problem> {
    caller.need(TokenScope::Admin)?;
    let run = known(&app, &id).await?;
    let roles = app.roles_of(&run.source);
    let released = app
        .engine()
        .release(run.id, &answer.plan, &roles, &caller.actor)
        .await?;
    Ok(axum::Json(wire::run(&released)))
}

/// Refuses the plan of a held run.
#[utoipa::path(
    post, path = "/runs/{id}/reject", tag = "runs", operation_id = "rejectRun",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, description = "The run, rejected", body = wire::Run),
        (status = 409, description = "The run is not held", body = super::ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn reject(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<axum::Json<wire::Run>, Problem> {
    caller.need(TokenScope::Admin)?;
    let run = known(&app, &id).await?;
    let rejected = app.engine().reject(run.id, &caller.actor).await?;
    Ok(axum::Json(wire::run(&rejected)))
}

/// The run that the path names.
pub(super) async fn known(app: &App, id: &str) -> Result<RunRow, Problem> {
    let missing = || Problem::not_found("run", id);
    let id: RunId = id.parse().map_err(|_| missing())?;
    app.store().run(id).await?.ok_or_else(missing)
}

/// Whether nothing more becomes of a run by itself.
pub(super) fn has_ended(run: &RunRow) -> bool {
    !matches!(run.state.as_str(), "queued" | "running")
}
