//! Users: who there is, one of them with who decides what, and what is done to one as a whole.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::auth::Caller;
use super::super::error::Problem;
use super::super::extract::{Path, Query};
use super::super::page::{Page, PageRequest};
use super::super::precondition::etag;
use super::super::{App, wire};
use super::filters::{self, Firm};
use crate::domain::field::Field;
use crate::domain::id::UserId;
use crate::domain::token::TokenScope;
use crate::engine::why_disabled;
use crate::store::{UserFilter, UserKey, UserOrder, UserRow};
use crate::telemetry::{Event, Who, emit};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, remove))
        .routes(routes!(disable))
        .routes(routes!(enable))
}

/// Who may sign in, who may not, or both.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum StatusWord {
    /// Who may sign in.
    Active,
    /// Who may not.
    Disabled,
    /// Both.
    All,
}

/// The order of a list of users.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
enum SortWord {
    /// By address.
    #[default]
    #[serde(rename = "email")]
    Email,
    /// By address, the last first.
    #[serde(rename = "-email")]
    EmailDown,
    /// By creation.
    #[serde(rename = "created")]
    Created,
    /// By creation, the newest first.
    #[serde(rename = "-created")]
    CreatedDown,
}

impl From<SortWord> for UserOrder {
    fn from(word: SortWord) -> Self {
        let (key, descending) = match word {
            SortWord::Email => (UserKey::Address, false),
            SortWord::EmailDown => (UserKey::Address, true),
            SortWord::Created => (UserKey::Created, false),
            SortWord::CreatedDown => (UserKey::Created, true),
        };
        Self { key, descending }
    }
}

/// Which users.
#[derive(Debug, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Part of a name or of an address. Where no order is asked for, those whose address begins with it come first, and the others in the order of their creation.
    #[param(max_length = 200)]
    q: Option<String>,
    /// Of one organization: its id here, its id at the directory, or its name.
    organization: Option<String>,
    /// Of one kind.
    #[param(example = "consultant")]
    kind: Option<String>,
    /// With one role.
    role: Option<String>,
    /// Who may sign in, who may not, or both, which is the default.
    #[param(inline)]
    status: Option<StatusWord>,
    /// The order; `email` where nothing is said.
    #[param(inline)]
    sort: Option<SortWord>,
    /// Most items to answer.
    #[serde(skip_serializing)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(skip_serializing)]
    cursor: Option<String>,
}

/// Users, in the order of their addresses or of their creation.
///
/// What no index serves, such as a part of a name, is looked for among a bounded number of users for each page: such a
/// page may be short, or empty, and have a `next` all the same.
#[utoipa::path(
    get, path = "/users", tag = "users", operation_id = "listUsers",
    params(ListQuery),
    responses((status = 200, description = "A page of users", body = Page<wire::User>))
)]
async fn list(
    caller: Caller,
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<Page<wire::User>>, Problem> {
    caller.need(TokenScope::Read)?;
    let page = PageRequest::<String>::of("users", &query, query.limit, query.cursor.as_deref())?;
    let organization = match filters::firm(&app, None, query.organization.as_deref()).await? {
        Firm::Any => None,
        Firm::Here(one) => Some(one.id),
        Firm::Elsewhere(_) => return Ok(axum::Json(page.given(vec![], None, |user| user))),
    };
    let filter = UserFilter {
        query: filters::search(query.q)?,
        organization,
        kind: query.kind,
        role: query.role,
        status: query.status.and_then(|status| match status {
            StatusWord::Active => Some("active".into()),
            StatusWord::Disabled => Some("disabled".into()),
            StatusWord::All => None,
        }),
        ..UserFilter::default()
    };
    let order = query.sort.unwrap_or_default().into();
    let limit = u64::from(page.limit);
    let read = app
        .store()
        .user_page(&filter, order, page.after.as_deref(), limit)
        .await?;
    let read = read.ok_or_else(Problem::bad_cursor)?;
    Ok(axum::Json(page.given(read.items, read.next, |user| wire::user(&user))))
}

/// One user: every field with who decides it, and why it may not sign in.
///
/// The `ETag` is what an edit sends as `If-Match`.
#[utoipa::path(
    get, path = "/users/{id}", tag = "users", operation_id = "showUser",
    params(("id" = String, Path, description = "The user's id")),
    responses((
        status = 200, description = "The user", body = wire::UserDetail,
        headers(("ETag" = String, description = "The version of the user"))
    ))
)]
async fn show(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse + use<>, Problem> {
    caller.need(TokenScope::Read)?;
    let user = known(&app, &id).await?;
    let detail = detail(&app, &user).await?;
    Ok(([etag(&user.version())], axum::Json(detail)))
}

/// Deletes a user. Its address is free again, and no directory brings it back.
#[utoipa::path(
    delete, path = "/users/{id}", tag = "users", operation_id = "deleteUser",
    params(("id" = String, Path, description = "The user's id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "It is the last administrator", body = super::ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn remove(caller: Caller, State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    caller.need(TokenScope::Admin)?;
    let user = known(&app, &id).await?;
    app.store().delete_user(user.id, &caller.actor, &app.roles()).await?;
    emit(&Event::UserDeleted {
        user: user.id,
        actor: Who(&caller.actor.0),
    });
    Ok(StatusCode::NO_CONTENT)
}

/// Disables a user: it may no longer sign in, and no sync enables it. Asked again, it changes nothing.
#[utoipa::path(
    post, path = "/users/{id}/disable", tag = "users", operation_id = "disableUser",
    params(("id" = String, Path, description = "The user's id")),
    responses(
        (status = 200, description = "The user, disabled", body = wire::EditedUser, headers(("ETag" = String, description = "The version of the user"))),
        (status = 409, description = "It is the last administrator", body = super::ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn disable(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse + use<>, Problem> {
    caller.need(TokenScope::Admin)?;
    let user = known(&app, &id).await?;
    let changed = app.store().disable_user(user.id, &caller.actor, &app.roles()).await?;
    if changed {
        emit(&Event::UserDisabled {
            user: user.id,
            actor: Who(&caller.actor.0),
        });
    }
    edited(&app, known(&app, &id).await?, vec![]).await
}

/// Enables a user: it may sign in again. Asked again, it changes nothing.
#[utoipa::path(
    post, path = "/users/{id}/enable", tag = "users", operation_id = "enableUser",
    params(("id" = String, Path, description = "The user's id")),
    responses(
        (status = 200, description = "The user, enabled", body = wire::EditedUser, headers(("ETag" = String, description = "The version of the user")))
    )
)]
async fn enable(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse + use<>, Problem> {
    caller.need(TokenScope::Admin)?;
    let user = known(&app, &id).await?;
    let changed = app.store().enable_user(user.id, &caller.actor, &app.roles()).await?;
    let mut warnings = Vec::new();
    if changed {
        emit(&Event::UserEnabled {
            user: user.id,
            actor: Who(&caller.actor.0),
        });
        let setup = user.link.as_ref().and_then(|(source, _)| app.setup(source));
        if let Some(setup) = setup.filter(|_| !user.own) {
            let why = match user.disabled_by.as_deref() {
                Some("directory") => "had disabled it",
                _ => "decides its status",
            };
            warnings.push(format!(
                "the directory of source {} {why}, so the next sync disables it again unless the directory says active by then; enable it there",
                setup.name()
            ));
        }
    }
    edited(&app, known(&app, &id).await?, warnings).await
}

/// The answer to an edit.
pub(super) async fn edited(
    app: &App,
    user: UserRow,
    warnings: Vec<String>,
) -> Result<([(HeaderName, HeaderValue); 1], axum::Json<wire::EditedUser>), Problem> {
    let answer = wire::EditedUser {
        user: detail(app, &user).await?,
        warnings,
    };
    Ok(([etag(&user.version())], axum::Json(answer)))
}

/// A user with what is known of it beyond the row.
async fn detail(app: &App, user: &UserRow) -> Result<wire::UserDetail, Problem> {
    let setup = user.link.as_ref().and_then(|(source, _)| app.setup(source));
    let authority = |field: &Field| setup.as_ref().map(|setup| setup.policy().authority(field));
    let why = why_disabled(app.store(), user).await?;
    Ok(wire::user_detail(user, authority, why))
}

/// The user that the path names.
pub(super) async fn known(app: &App, id: &str) -> Result<UserRow, Problem> {
    let missing = || Problem::not_found("user", id);
    let id: UserId = id.parse().map_err(|_| missing())?;
    app.store().user(id).await?.ok_or_else(missing)
}
