//! The OpenAPI document: what the handlers say of themselves, and what is true of all of them. Changes no behaviour.

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, ToSchema};

use super::api;
use super::error::{Code, PROBLEM_JSON};

/// The head of the document.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Rollcall",
        description = "Keeps an application's local user table in step with the outside directory that owns part of it."
    ),
    components(schemas(ProblemDocument)),
    modifiers(&Bearer),
    tags(
        (name = "sources", description = "Where users come from, when they are read, and by whose order"),
        (name = "runs", description = "What was read, planned and applied; the answers to a held plan"),
        (name = "organizations", description = "The firms that users belong to"),
        (name = "users", description = "The local user table"),
        (name = "reports", description = "Quarantine, drift and the audit trail"),
        (name = "daemon", description = "Whether it lives, is ready, and how it does"),
    )
)]
pub(super) struct Description;

/// An error (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `Problem` writes; nothing makes one")]
pub(super) struct ProblemDocument {
    /// Always `about:blank`: the code tells what it is.
    r#type: String,
    /// What the code means, in a few words that never change.
    title: String,
    /// The status of the answer.
    status: u16,
    /// The stable code.
    #[schema(example = "not_found")]
    code: String,
    /// What happened, where, and what to do.
    detail: String,
    /// The engine's or the database's own code, where one of them refused.
    cause: Option<String>,
}

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token of `rollcall token create`"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The document, complete.
pub fn document() -> OpenApi {
    let (_, mut document) = api::routes(true).split_for_parts();
    for (path, item) in &mut document.paths.paths {
        let is_open = !path.starts_with(api::PREFIX) || path.ends_with("/openapi.json");
        let has_name = path.contains('{');
        let reads = [&mut item.get, &mut item.head];
        for operation in reads.into_iter().flatten() {
            complete(operation, is_open, has_name);
        }
        let writes = [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in writes.into_iter().flatten() {
            complete(operation, is_open, has_name);
        }
    }
    document
}

/// Adds what every operation of its kind can answer, and what it needs.
fn complete(operation: &mut Operation, is_open: bool, has_name: bool) {
    let mut codes = vec![Code::Internal];
    if !is_open {
        codes.extend([
            Code::BadQuery,
            Code::Unauthenticated,
            Code::Forbidden,
            Code::StoreUnavailable,
        ]);
        operation.security = Some(vec![SecurityRequirement::new("token", [""; 0])]);
    }
    if has_name {
        codes.push(Code::NotFound);
    }
    if operation.request_body.is_some() {
        codes.extend([Code::BodyTimeout, Code::TooLarge, Code::NotJson, Code::Invalid]);
    }
    for code in codes {
        let status = code.status().as_u16().to_string();
        let content = ContentBuilder::new()
            .schema(Some(RefOr::Ref(Ref::from_schema_name("ProblemDocument"))))
            .build();
        let response = ResponseBuilder::new()
            .description(code.title())
            .content(PROBLEM_JSON, content)
            .build();
        operation
            .responses
            .responses
            .entry(status)
            .or_insert(RefOr::T(response));
    }
}
