//! The paths, one file a resource. Each handler carries its own description, from which the OpenAPI document is made.

mod export;
mod filters;
mod organizations;
mod reports;
mod runs;
mod user_edit;
mod users;

use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::openapi::{Description, ProblemDocument};

/// Below which every resource lies.
pub(super) const PREFIX: &str = "/api/v1";

/// Every path with its description.
pub(super) fn routes() -> OpenApiRouter<App> {
    let resources = OpenApiRouter::new()
        .merge(runs::routes())
        .merge(organizations::routes())
        .merge(users::routes())
        .merge(user_edit::routes())
        .merge(export::routes())
        .merge(reports::routes());
    OpenApiRouter::with_openapi(Description::openapi()).nest(PREFIX, resources)
}
