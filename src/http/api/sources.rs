//! Sources: how each stands, and letting its schedule rest.

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
use crate::domain::id::SourceName;
use crate::domain::token::TokenScope;
use crate::scheduler::Managed;
use crate::store::{RunFilter, RunRow};
use crate::telemetry::{self, Event, Who};

/// Longest reason of a pause, in characters.
const REASON_CHARS_MAX: usize = 500;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(pause))
        .routes(routes!(resume))
}

/// Which sources.
#[derive(Debug, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Most items to answer.
    #[serde(skip_serializing)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(skip_serializing)]
    cursor: Option<String>,
}

/// The enabled sources, in the order of the configuration.
#[utoipa::path(
    get, path = "/sources", tag = "sources", operation_id = "listSources",
    params(ListQuery),
    responses((status = 200, description = "A page of sources", body = Page<wire::Source>))
)]
async fn list(
    caller: Caller,
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<Page<wire::Source>>, Problem> {
    caller.need(TokenScope::Read)?;
    let page = PageRequest::<usize>::of("sources", &query, query.limit, query.cursor.as_deref())?;
    let begin = page.after.map_or(0, |after| after.saturating_add(1));
    let most = usize::try_from(page.read()).unwrap_or(usize::MAX);
    let mut sources = Vec::new();
    let registry = app.scheduler().registry();
    for (at, managed) in registry.sources.iter().enumerate().skip(begin).take(most) {
        sources.push((at, describe(&app, managed).await?));
    }
    Ok(axum::Json(page.page(sources, |(at, _)| *at, |(_, source)| source)))
}

/// One source.
#[utoipa::path(
    get, path = "/sources/{name}", tag = "sources", operation_id = "showSource",
    params(("name" = String, Path, description = "The source's name")),
    responses((status = 200, description = "The source", body = wire::Source))
)]
async fn show(
    caller: Caller,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<axum::Json<wire::Source>, Problem> {
    caller.need(TokenScope::Read)?;
    let managed = known(&app, &name)?;
    Ok(axum::Json(describe(&app, &managed).await?))
}

/// Why the schedule is to rest.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PauseReason {
    /// For whoever asks later. It is kept and shown, so it is no place for a person's name.
    #[schema(example = "the directory is being moved", max_length = 500)]
    reason: Option<String>,
}

/// Lets the schedule of a source rest. A run that somebody asks for still begins.
#[utoipa::path(
    post, path = "/sources/{name}/pause", tag = "sources", operation_id = "pauseSource",
    params(("name" = String, Path, description = "The source's name")),
    request_body = Option<PauseReason>,
    responses((status = 200, description = "The source, paused; also where it was before", body = wire::Source))
)]
async fn pause(
    caller: Caller,
    State(app): State<App>,
    Path(name): Path<String>,
    Json(why): Json<PauseReason>,
) -> Result<axum::Json<wire::Source>, Problem> {
    caller.need(TokenScope::Admin)?;
    let managed = known(&app, &name)?;
    let reason = why.reason.as_deref();
    if reason.is_some_and(|text| text.chars().count() > REASON_CHARS_MAX || text.chars().any(char::is_control)) {
        let detail = format!("`reason` is longer than {REASON_CHARS_MAX} characters, or has a control character");
        return Err(Problem::new(Code::Invalid, detail));
    }
    let source = managed.setup.name();
    if app.store().pause_source(source, reason, &caller.actor).await? {
        let actor = Who(&caller.actor.0);
        telemetry::emit(&Event::SourcePaused { source, actor });
    }
    Ok(axum::Json(describe(&app, &managed).await?))
}

/// Lets the schedule of a source go on.
#[utoipa::path(
    post, path = "/sources/{name}/resume", tag = "sources", operation_id = "resumeSource",
    params(("name" = String, Path, description = "The source's name")),
    responses((status = 200, description = "The source, resumed; also where it did not rest", body = wire::Source))
)]
async fn resume(
    caller: Caller,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<axum::Json<wire::Source>, Problem> {
    caller.need(TokenScope::Admin)?;
    let managed = known(&app, &name)?;
    let source = managed.setup.name();
    if app.store().resume_source(source, &caller.actor).await? {
        let actor = Who(&caller.actor.0);
        telemetry::emit(&Event::SourceResumed { source, actor });
    }
    Ok(axum::Json(describe(&app, &managed).await?))
}

/// The enabled source of a name.
pub(super) fn known(app: &App, name: &str) -> Result<Managed, Problem> {
    let missing = || Problem::not_found("enabled source", name);
    let parsed = SourceName::parse(name).map_err(|_| missing())?;
    app.scheduler().registry().source(&parsed).cloned().ok_or_else(missing)
}

async fn describe(app: &App, managed: &Managed) -> Result<wire::Source, Problem> {
    let store = app.store();
    let name = managed.setup.name();
    let first = async |state: Option<&str>, ended: Option<bool>| -> Result<Option<RunRow>, Problem> {
        let filter = RunFilter {
            source: Some(name.to_string()),
            state: state.map(str::to_owned),
            ended,
            ..RunFilter::default()
        };
        Ok(store.list_runs(&filter, 1).await?.pop())
    };
    let current = match first(Some("running"), None).await? {
        None => first(Some("queued"), None).await?,
        running => running,
    };
    let runs = wire::SourceRuns {
        current,
        last: first(None, Some(true)).await?,
        held: first(Some("held"), None).await?,
    };
    let state = store.source_state(name).await?;
    Ok(wire::source(managed, &state, &runs, store.now()))
}
