//! Creating and editing users: what is written is checked as what a directory says is, and who edits what a directory
//! decides is told so.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::auth::Caller;
use super::super::error::{Code, Problem};
use super::super::extract::{Json, Path};
use super::super::precondition::expected;
use super::super::{App, wire};
use super::PREFIX;
use super::users::{edited, known};
use crate::domain::edit::{self, InvalidValue};
use crate::domain::field::Field;
use crate::domain::id::OrganizationId;
use crate::domain::token::TokenScope;
use crate::domain::user::EMPLOYEE;
use crate::store::{EditedFields, NewUser, StoreError, StoreErrorKind, UserRow};
use crate::telemetry::{Event, Who, emit};

/// Most attributes that one request sets.
const ATTRIBUTES_MAX: usize = 100;

/// Most roles that one request names.
const ROLES_MAX: usize = 100;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(patch))
}

/// A user to be created here, whom no directory owns.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUserDocument {
    /// The sign-in name.
    #[schema(example = "sam@agency.example")]
    email: String,
    /// Given name.
    #[schema(example = "Sam")]
    first_name: String,
    /// Family name.
    #[schema(example = "Sample")]
    last_name: String,
    /// `employee` where nothing is said, or another word.
    #[schema(example = "employee")]
    kind: Option<String>,
    /// Telephone number.
    phone: Option<String>,
    /// Job title.
    title: Option<String>,
    /// The organization's id here; an employee belongs to the agency's own.
    #[schema(format = Uuid)]
    organization: Option<String>,
    /// Roles to grant; where nothing is said, the configured default role.
    #[serde(default)]
    roles: Vec<String>,
}

/// What to change of a user (RFC 7396): null empties a field, and what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserPatch {
    /// The sign-in name.
    email: Option<String>,
    /// Given name.
    #[serde(default, deserialize_with = "stated")]
    #[schema(nullable)]
    first_name: Option<Option<String>>,
    /// Family name.
    #[serde(default, deserialize_with = "stated")]
    #[schema(nullable)]
    last_name: Option<Option<String>>,
    /// Telephone number.
    #[serde(default, deserialize_with = "stated")]
    #[schema(nullable)]
    phone: Option<Option<String>>,
    /// Job title.
    #[serde(default, deserialize_with = "stated")]
    #[schema(nullable)]
    title: Option<Option<String>>,
    /// The kind.
    kind: Option<String>,
    /// Licence.
    #[serde(default, deserialize_with = "stated")]
    #[schema(nullable)]
    license: Option<Option<String>>,
    /// Whether its time is billable.
    #[serde(default, deserialize_with = "stated")]
    #[schema(nullable)]
    billable: Option<Option<bool>>,
    /// Attributes to set: texts, numbers or truth values; null removes one.
    #[schema(value_type = Option<Object>)]
    attributes: Option<BTreeMap<String, Value>>,
    /// All the roles that it is to have: others are taken away.
    roles: Option<Vec<String>>,
}

/// A member that is there, be it null.
fn stated<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

fn invalid(field: &str, why: &InvalidValue) -> Problem {
    Problem::new(Code::Invalid, format!("{field}: {why}; nothing was written")).with("field", field)
}

/// Creates a user here, whom no directory owns.
#[utoipa::path(
    post, path = "/users", tag = "users", operation_id = "createUser",
    request_body = NewUserDocument,
    responses(
        (status = 201, description = "The user", body = wire::EditedUser, headers(
            ("Location" = String, description = "Where it is"),
            ("ETag" = String, description = "The version of the user"),
        )),
        (status = 409, description = "Another user has the address", body = super::ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn create(
    caller: Caller,
    State(app): State<App>,
    Json(document): Json<NewUserDocument>,
) -> Result<Response, Problem> {
    caller.need(TokenScope::Admin)?;
    let new = new_user(&app, document).await?;
    let id = app.store().create_user(&new, &caller.actor).await?;
    emit(&Event::UserCreated {
        user: id,
        actor: Who(&caller.actor.0),
    });
    let (headers, body) = edited(&app, known(&app, &id.to_string()).await?, vec![]).await?;
    let location = [(header::LOCATION, format!("{PREFIX}/users/{id}"))];
    Ok((StatusCode::CREATED, location, headers, body).into_response())
}

async fn new_user(app: &App, document: NewUserDocument) -> Result<NewUser, Problem> {
    let text =
        |field: &str, value: Option<String>| edit::text(&value.unwrap_or_default()).map_err(|why| invalid(field, &why));
    let named = |field: &str, value: String| {
        let missing = || invalid(field, &InvalidValue("it is empty".to_owned()));
        text(field, Some(value))?.ok_or_else(missing).map(Some)
    };
    let kind = document.kind.as_deref().unwrap_or(EMPLOYEE);
    let kind = edit::kind(kind).map_err(|why| invalid("kind", &why))?;
    let mut roles = roles(&document.roles)?;
    if roles.is_empty() {
        roles.extend(app.roles().default);
    }
    let organization = match document.organization {
        Some(wanted) => Some(organization(app, &wanted).await?),
        None if kind == EMPLOYEE => app.store().self_organization().await?,
        None => None,
    };
    Ok(NewUser {
        email: edit::address(&document.email).map_err(|why| invalid("email", &why))?,
        first_name: named("first_name", document.first_name)?,
        last_name: named("last_name", document.last_name)?,
        phone: text("phone", document.phone)?,
        title: text("title", document.title)?,
        kind,
        organization,
        roles,
    })
}

async fn organization(app: &App, wanted: &str) -> Result<OrganizationId, Problem> {
    let none = || InvalidValue("there is no organization of this id; GET /organizations lists them".to_owned());
    let id: OrganizationId = wanted.parse().map_err(|_| invalid("organization", &none()))?;
    match app.store().organization(id).await? {
        Some(organization) => Ok(organization.id),
        None => Err(invalid("organization", &none())),
    }
}

fn roles(words: &[String]) -> Result<Vec<String>, Problem> {
    if words.len() > ROLES_MAX {
        let many = InvalidValue(format!("there are more than {ROLES_MAX}"));
        return Err(invalid("roles", &many));
    }
    edit::roles(words).map_err(|why| invalid("roles", &why))
}

/// Changes fields of a user.
///
/// `If-Match` says which version the edit is based on. A field that a directory decides may be edited, too: the answer
/// warns that the next sync puts it back.
#[utoipa::path(
    patch, path = "/users/{id}", tag = "users", operation_id = "editUser",
    params(
        ("id" = String, Path, description = "The user's id"),
        ("If-Match" = Option<String>, Header, description = "The ETag that the edit is based on, or `*`"),
    ),
    request_body(content((UserPatch = "application/merge-patch+json"), (UserPatch = "application/json"))),
    responses(
        (status = 200, description = "The user as it is now", body = wire::EditedUser, headers(("ETag" = String, description = "The version of the user"))),
        (status = 409, description = "Another user has the address, or it is the last administrator", body = super::ProblemDocument, content_type = "application/problem+json"),
        (status = 412, description = "The user was changed since", body = super::ProblemDocument, content_type = "application/problem+json"),
        (status = 428, description = "There is no If-Match", body = super::ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn patch(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(patch): Json<UserPatch>,
) -> Result<impl IntoResponse + use<>, Problem> {
    caller.need(TokenScope::Admin)?;
    let before = known(&app, &id).await?;
    let expected = expected(&headers)?;
    let edit = changes(patch, &before)?;
    if edit.is_empty() {
        if !expected.admits(&before.version()) {
            return Err(StoreError::version_mismatch().into());
        }
        return edited(&app, before, vec![]).await;
    }
    let roles = app.roles();
    let after = app
        .store()
        .edit_user(before.id, &edit, &expected, &caller.actor, &roles)
        .await
        .map_err(|error| match error.kind {
            StoreErrorKind::NotFound => Problem::not_found("user", &id),
            _ => error.into(),
        })?;
    emit(&Event::UserEdited {
        user: before.id,
        actor: Who(&caller.actor.0),
    });
    let warnings = warnings(&app, &before, &after, &edit);
    edited(&app, after, warnings).await
}

/// The columns, attributes and roles that a patch sets.
fn changes(patch: UserPatch, before: &UserRow) -> Result<EditedFields, Problem> {
    let mut edit = EditedFields::default();
    if let Some(email) = patch.email {
        let address = edit::address(&email).map_err(|why| invalid("email", &why))?;
        edit.columns.push((Field::Email, Some(address)));
    }
    let texts = [
        (Field::FirstName, patch.first_name),
        (Field::LastName, patch.last_name),
        (Field::Phone, patch.phone),
        (Field::Title, patch.title),
        (Field::License, patch.license),
    ];
    for (field, value) in texts {
        if let Some(value) = value {
            let text = edit::text(&value.unwrap_or_default()).map_err(|why| invalid(&field.to_string(), &why))?;
            edit.columns.push((field, text));
        }
    }
    if let Some(kind) = patch.kind {
        let kind = edit::kind(&kind).map_err(|why| invalid("kind", &why))?;
        edit.columns.push((Field::Kind, Some(kind)));
    }
    edit.billable = patch.billable;
    edit.attributes = attributes(patch.attributes.unwrap_or_default())?;
    if let Some(wanted) = patch.roles {
        let wanted = roles(&wanted)?;
        let held = |role: &String| before.roles.iter().any(|(name, _)| name == role);
        edit.add_roles = wanted.iter().filter(|role| !held(role)).cloned().collect();
        let gone = before.roles.iter().filter(|(name, _)| !wanted.contains(name));
        edit.remove_roles = gone.map(|(name, _)| name.clone()).collect();
    }
    Ok(edit)
}

fn attributes(given: BTreeMap<String, Value>) -> Result<BTreeMap<String, Value>, Problem> {
    if given.len() > ATTRIBUTES_MAX {
        let many = InvalidValue(format!("there are more than {ATTRIBUTES_MAX}"));
        return Err(invalid("attributes", &many));
    }
    let one = |(key, value): (String, Value)| {
        let name = format!("attributes.{key}");
        let named = || "attributes".to_owned();
        if Field::parse(&name).is_none() {
            let why = "the name of an attribute has 1 to 63 letters, digits, `_` and `-`";
            return Err(invalid(&named(), &InvalidValue(why.to_owned())));
        }
        let value = match value {
            Value::String(text) => edit::text(&text).map_err(|why| invalid(&name, &why))?.into(),
            Value::Array(_) | Value::Object(_) => {
                let why = "an attribute is a text, a number, a truth value or null";
                return Err(invalid(&name, &InvalidValue(why.to_owned())));
            }
            other => other,
        };
        Ok((key, value))
    };
    given.into_iter().map(one).collect()
}

/// What the person who edits should know: which of it the next sync takes back.
fn warnings(app: &App, before: &UserRow, after: &UserRow, edit: &EditedFields) -> Vec<String> {
    let Some((source, id)) = &before.link else {
        return vec![];
    };
    if after.own {
        let becomes = "the user is an employee from now on, so no sync touches it any more";
        return if before.own { vec![] } else { vec![becomes.to_owned()] };
    }
    let Some(setup) = app.setup(source) else {
        return vec![];
    };
    let granted: Vec<&str> = before.granted_roles().collect();
    let back = edit::put_back(&setup.policy(), edit.fields(), &edit.remove_roles, &granted);
    edit::put_back_warning(&setup.policy(), id, &back).into_iter().collect()
}
