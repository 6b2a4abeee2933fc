//! What is kept out, what was put back, and who did what.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::auth::Caller;
use super::super::error::{Code, Problem};
use super::super::extract::Query;
use super::super::page::{Page, PageRequest};
use super::super::{App, wire};
use super::filters::{self, Firm};
use crate::domain::field::Field;
use crate::domain::token::TokenScope;
use crate::store::{AuditFilter, DriftFilter, DriftPlace, QuarantineFilter};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(quarantine))
        .routes(routes!(drift))
        .routes(routes!(audit))
}

/// Which entries in quarantine.
#[derive(Debug, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct QuarantineQuery {
    /// Of one source.
    source: Option<String>,
    /// Of one organization: its id here, its id at the directory, or its name.
    organization: Option<String>,
    /// The entry that this user is linked to, by the user's id.
    #[param(format = Uuid)]
    user: Option<String>,
    /// For one reason.
    #[param(example = "no_email")]
    code: Option<String>,
    /// Most items to answer.
    #[serde(skip_serializing)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(skip_serializing)]
    cursor: Option<String>,
}

/// Entries that are kept out of the user table, by source and id. An entry leaves with the first run in which it is in
/// order.
#[utoipa::path(
    get, path = "/quarantine", tag = "reports", operation_id = "listQuarantine",
    params(QuarantineQuery),
    responses((status = 200, description = "A page of entries", body = Page<wire::QuarantinedEntry>))
)]
async fn quarantine(
    caller: Caller,
    State(app): State<App>,
    Query(query): Query<QuarantineQuery>,
) -> Result<axum::Json<Page<wire::QuarantinedEntry>>, Problem> {
    caller.need(TokenScope::Read)?;
    let page = PageRequest::<(String, String)>::of("quarantine", &query, query.limit, query.cursor.as_deref())?;
    let mut filter = QuarantineFilter {
        source: filters::source(query.source.as_deref())?,
        code: query.code,
        ..QuarantineFilter::default()
    };
    let empty = || Ok(axum::Json(page.page(vec![], |_| Default::default(), |row| row)));
    match filters::firm(&app, filter.source.as_ref(), query.organization.as_deref()).await? {
        Firm::Any => {}
        Firm::Elsewhere(id) => filter.organization = Some(id),
        Firm::Here(firm) => match firm.link {
            Some((source, _)) if filter.source.as_ref().is_some_and(|wanted| *wanted != source) => return empty(),
            Some((source, id)) => {
                filter.source = Some(source);
                filter.organization = Some(id.as_str().to_owned());
            }
            None => return empty(),
        },
    }
    if let Some(user) = filters::user(query.user.as_deref())? {
        match app.store().link_of(user).await? {
            Some((source, id)) if filter.source.as_ref().is_none_or(|wanted| *wanted == source) => {
                filter.source = Some(source);
                filter.external_id = Some(id.as_str().to_owned());
            }
            _ => return empty(),
        }
    }
    let after = page.after.as_ref().map(|(source, id)| (source.as_str(), id.as_str()));
    let rows = app.store().quarantine_page(&filter, after, page.read()).await?;
    Ok(axum::Json(page.page(
        rows,
        |row| (row.source.as_str().to_owned(), row.external_id.clone()),
        |row| wire::quarantined(&row),
    )))
}

/// Which fields that were put back.
#[derive(Debug, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DriftQuery {
    /// Of one source.
    source: Option<String>,
    /// Of one organization: its id here, its id at the directory, or its name.
    organization: Option<String>,
    /// Of one user, by its id.
    #[param(format = Uuid)]
    user: Option<String>,
    /// One field.
    #[param(example = "phone")]
    field: Option<String>,
    /// Most items to answer.
    #[serde(skip_serializing)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(skip_serializing)]
    cursor: Option<String>,
}

/// Fields that were edited here although a directory decides them, and were put back: the newest run first.
///
/// A page may be short, or empty, and have a `next` all the same.
#[utoipa::path(
    get, path = "/drift", tag = "reports", operation_id = "listDrift",
    params(DriftQuery),
    responses((status = 200, description = "A page of fields", body = Page<wire::DriftedField>))
)]
async fn drift(
    caller: Caller,
    State(app): State<App>,
    Query(query): Query<DriftQuery>,
) -> Result<axum::Json<Page<wire::DriftedField>>, Problem> {
    caller.need(TokenScope::Read)?;
    let page = PageRequest::<(String, u64, Option<String>)>::of("drift", &query, query.limit, query.cursor.as_deref())?;
    let field = query.field.as_deref().map(|name| {
        let none = || {
            Problem::new(
                Code::BadQuery,
                "`field` is no field of a user; name one such as phone or attributes.city",
            )
        };
        Field::parse(name).ok_or_else(none)
    });
    let mut filter = DriftFilter {
        source: filters::source(query.source.as_deref())?,
        user: filters::user(query.user.as_deref())?,
        field: field.transpose()?,
        organization: None,
    };
    match filters::firm(&app, filter.source.as_ref(), query.organization.as_deref()).await? {
        Firm::Any => {}
        Firm::Here(firm) => filter.organization = Some(firm.id),
        Firm::Elsewhere(_) => return Ok(axum::Json(page.given(vec![], None, |row| row))),
    }
    let after = page.after.as_ref().map(place).transpose()?;
    let limit = page.limit as usize;
    let (items, next) = app.store().drift_page(&filter, after.as_ref(), limit).await?;
    let next = next.map(|place| {
        let field = place.field.map(|field| field.to_string());
        (place.run.to_string(), place.position, field)
    });
    Ok(axum::Json(page.given(items, next, |row| wire::drifted(&row))))
}

/// The place in the list that a cursor stands for.
fn place((run, position, field): &(String, u64, Option<String>)) -> Result<DriftPlace, Problem> {
    Ok(DriftPlace {
        run: run.parse().map_err(|_| Problem::bad_cursor())?,
        position: *position,
        field: field.as_deref().and_then(Field::parse),
    })
}

/// Which rows of the audit trail.
#[derive(Debug, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Of one source.
    source: Option<String>,
    /// Of one organization: its id here, its id at the directory, or its name.
    organization: Option<String>,
    /// Of one user, by its id; also one who is gone.
    #[param(format = Uuid)]
    user: Option<String>,
    /// Of one run.
    #[param(format = Uuid)]
    run: Option<String>,
    /// By one actor.
    #[param(example = "api:example")]
    actor: Option<String>,
    /// Of one action, or of a group of them: `user.` means all that begin so.
    #[param(example = "user.edited")]
    action: Option<String>,
    /// Most items to answer.
    #[serde(skip_serializing)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(skip_serializing)]
    cursor: Option<String>,
}

/// Who did what, the newest first.
///
/// Filtered by run, actor or action, a page looks at a bounded number of rows: it may be short, or empty, and have a
/// `next` all the same.
#[utoipa::path(
    get, path = "/audit", tag = "reports", operation_id = "listAudit",
    params(AuditQuery),
    responses((status = 200, description = "A page of actions", body = Page<wire::AuditEntry>))
)]
async fn audit(
    caller: Caller,
    State(app): State<App>,
    Query(query): Query<AuditQuery>,
) -> Result<axum::Json<Page<wire::AuditEntry>>, Problem> {
    caller.need(TokenScope::Read)?;
    let page = PageRequest::<String>::of("audit", &query, query.limit, query.cursor.as_deref())?;
    let no_run = |_| {
        Problem::new(
            Code::BadQuery,
            "`run` is no id of a run; take the `run` that GET /runs answers",
        )
    };
    let mut filter = AuditFilter {
        source: filters::source(query.source.as_deref())?,
        user: filters::user(query.user.as_deref())?,
        run: query.run.as_deref().map(str::parse).transpose().map_err(no_run)?,
        actor: query.actor,
        action: query.action,
        organization: None,
    };
    match filters::firm(&app, filter.source.as_ref(), query.organization.as_deref()).await? {
        Firm::Any => {}
        Firm::Here(firm) => filter.organization = Some(firm.id),
        Firm::Elsewhere(_) => return Ok(axum::Json(page.given(vec![], None, |row| row))),
    }
    let after = page.after.as_deref().map(str::parse).transpose();
    let after = after.map_err(|_| Problem::bad_cursor())?;
    let read = app.store().audit_page(&filter, after, u64::from(page.limit)).await?;
    Ok(axum::Json(page.given(read.items, read.next, |row| wire::audited(&row))))
}
