//! The paths, one file a resource. Each handler carries its own description, from which the OpenAPI document is made.

mod daemon;
mod events;
mod export;
mod filters;
mod organizations;
mod reports;
mod runs;
mod sources;
mod sync;
mod user_edit;
mod users;

use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::openapi::{Description, ProblemDocument};

pub(super) use daemon::{below_prefix, metrics_route};

/// Below which every resource lies.
pub(super) const PREFIX: &str = "/api/v1";

/// Every path with its description; the metrics where they have no listener of their own.
pub(super) fn routes(has_metrics: bool) -> OpenApiRouter<App> {
    let resources = OpenApiRouter::new()
        .merge(daemon::description())
        .merge(sources::routes())
        .merge(runs::routes())
        .merge(events::routes())
        .merge(organizations::routes())
        .merge(users::routes())
        .merge(user_edit::routes())
        .merge(export::routes())
        .merge(sync::routes())
        .merge(reports::routes());
    let routes = OpenApiRouter::with_openapi(Description::openapi())
        .nest(PREFIX, resources)
        .merge(daemon::probes());
    if has_metrics {
        routes.merge(daemon::metrics_route())
    } else {
        routes
    }
}
