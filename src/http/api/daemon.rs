//! Whether the daemon lives, is ready, and how it does; and the description of the API. Open to whoever reaches them,
//! so none of them says anything of a user.

use std::sync::LazyLock;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value as Json, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::error::{Code, Problem};
use super::super::{App, openapi, wire};
use super::ProblemDocument;
use crate::store::Store;
use crate::telemetry;

/// How long the database may take to say that it is there.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// How old the scheduler's last look at the clock may be.
const TICK_AGE_MAX: Duration = Duration::from_secs(30);

/// Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What lies at the root.
pub(super) fn probes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// The metrics, where they have no listener of their own.
pub(in crate::http) fn metrics_route() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show_metrics))
}

/// The same below the prefix of the API, for whom a proxy lets nothing else through.
pub(in crate::http) fn below_prefix(has_metrics: bool) -> Router<App> {
    let probes = Router::new()
        .route("/api/v1/healthz", get(healthz))
        .route("/api/v1/readyz", get(readyz));
    if has_metrics {
        probes.route("/api/v1/metrics", get(show_metrics))
    } else {
        probes
    }
}

/// What lies with the resources.
pub(super) fn description() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(openapi_document))
}

/// That the process answers.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// Always `alive`.
    status: &'static str,
    /// The program's version.
    version: &'static str,
}

/// Whether the process lives.
#[utoipa::path(
    get, path = "/healthz", tag = "daemon", operation_id = "health",
    responses((status = 200, description = "It lives", body = Health))
)]
async fn healthz() -> axum::Json<Health> {
    axum::Json(Health {
        status: "alive",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Whether the daemon can do its work.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    /// Whether every check is well.
    ready: bool,
    /// The checks.
    checks: Vec<Check>,
}

/// One thing that the daemon needs.
#[derive(Debug, Serialize, ToSchema)]
struct Check {
    /// `database`, `scheduler` or `lifecycle`.
    name: &'static str,
    /// Whether it is well.
    ok: bool,
    /// What is wrong, and what to do.
    #[schema(required)]
    detail: Option<String>,
}

/// Whether the daemon can do its work: the database answers and has this version's schema, the scheduler ticks, and
/// nobody has asked it to stop.
#[utoipa::path(
    get, path = "/readyz", tag = "daemon", operation_id = "readiness",
    responses(
        (status = 200, description = "It is ready", body = Readiness),
        (status = 503, description = "It is not, and `checks` says why", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn readyz(State(app): State<App>) -> Result<axum::Json<Readiness>, Problem> {
    let checks = vec![database(app.store()).await, scheduler(&app), lifecycle(&app)];
    let wrong: Vec<&str> = checks
        .iter()
        .filter(|check| !check.ok)
        .filter_map(|check| check.detail.as_deref())
        .collect();
    if wrong.is_empty() {
        return Ok(axum::Json(Readiness { ready: true, checks }));
    }
    Err(Problem::new(Code::NotReady, wrong.join("; "))
        .with("ready", false)
        .with("checks", json!(checks)))
}

async fn database(store: &Store) -> Check {
    let newest = Store::newest_schema();
    let detail = match tokio::time::timeout(DATABASE_TIMEOUT, store.schema_version()).await {
        Ok(Ok(version)) if version == newest => None,
        Ok(Ok(version)) => Some(format!(
            "the database has schema version {version}, and this program needs {newest}; run the same version everywhere, and `rollcall migrate`"
        )),
        Ok(Err(error)) => Some(error.message),
        Err(_) => Some(format!(
            "the database did not answer within {} seconds; check that it runs",
            DATABASE_TIMEOUT.as_secs()
        )),
    };
    Check {
        name: "database",
        ok: detail.is_none(),
        detail,
    }
}

fn scheduler(app: &App) -> Check {
    let detail = match app.scheduler().health().since_tick {
        Some(age) if age <= TICK_AGE_MAX => None,
        Some(age) => Some(format!(
            "the scheduler has not looked at the clock for {} seconds; look at the log, and restart the daemon",
            age.as_secs()
        )),
        None => Some("the scheduler has not begun yet; ask again in a moment".into()),
    };
    Check {
        name: "scheduler",
        ok: detail.is_none(),
        detail,
    }
}

fn lifecycle(app: &App) -> Check {
    let stopping = app.scheduler().health().stopping;
    Check {
        name: "lifecycle",
        ok: !stopping,
        detail: stopping.then(|| "the daemon is stopping".to_owned()),
    }
}

/// The metrics, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "daemon", operation_id = "metrics",
    responses((status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain"))
)]
async fn show_metrics(State(app): State<App>) -> Response {
    app.scheduler().take_vitals().await;
    let text = telemetry::render(app.store().now());
    ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response()
}

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "daemon", operation_id = "openapi",
    responses((status = 200, description = "The OpenAPI document", body = Object))
)]
async fn openapi_document() -> axum::Json<&'static Json> {
    // It never changes while the program runs, and is large to make.
    static DOCUMENT: LazyLock<Json> = LazyLock::new(|| wire::json(&openapi::document()));
    axum::Json(&DOCUMENT)
}
