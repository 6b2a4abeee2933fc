//! Editing the directory over its API: POST, PATCH and DELETE of organizations and accounts, in JSON. Every edit is
//! checked whole before anything is changed.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{patch, post};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::App;
use super::api::to_json;
use super::model::{Account, AccountStatus, Kind, Organization, OrganizationStatus};
use super::problem::Problem;
use super::store::{Directory, Refusal, State as Held};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/organizations", post(create_organization))
        .route(
            "/api/v1/organizations/{id}",
            patch(change_organization).delete(delete_organization),
        )
        .route("/api/v1/users", post(create_account))
        .route("/api/v1/users/{id}", patch(change_account).delete(delete_account))
}

/// An organization to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOrganization {
    id: Option<String>,
    name: String,
    kind: Kind,
    #[serde(default)]
    status: OrganizationStatus,
    #[serde(default)]
    requested_access: bool,
    founder_id: Option<String>,
    phone: Option<String>,
    city: Option<String>,
}

/// What may be changed of an organization; an absent key stays, `null` empties.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OrganizationPatch {
    name: Option<String>,
    kind: Option<Kind>,
    status: Option<OrganizationStatus>,
    requested_access: Option<bool>,
    #[serde(deserialize_with = "stated")]
    founder_id: Option<Option<String>>,
    #[serde(deserialize_with = "stated")]
    phone: Option<Option<String>>,
    #[serde(deserialize_with = "stated")]
    city: Option<Option<String>>,
}

/// An account to be made.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    pub(super) id: Option<String>,
    pub(super) organization_id: String,
    pub(super) email: String,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) phone: Option<String>,
    pub(super) title: Option<String>,
    pub(super) kind: Option<Kind>,
    #[serde(default)]
    pub(super) roles: Vec<String>,
    #[serde(default)]
    pub(super) status: AccountStatus,
}

/// What may be changed of an account; an absent key stays, `null` empties.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AccountPatch {
    pub(super) organization_id: Option<String>,
    pub(super) email: Option<String>,
    pub(super) first_name: Option<String>,
    pub(super) last_name: Option<String>,
    #[serde(deserialize_with = "stated")]
    pub(super) phone: Option<Option<String>>,
    #[serde(deserialize_with = "stated")]
    pub(super) title: Option<Option<String>>,
    #[serde(deserialize_with = "stated")]
    pub(super) kind: Option<Option<Kind>>,
    pub(super) roles: Option<Vec<String>>,
    pub(super) status: Option<AccountStatus>,
}

/// Tells `null` from an absent key.
fn stated<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// Reads a JSON body. The content type is insisted on: a page of another site cannot send it unasked.
fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Problem> {
    let content = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = content.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json")
        && !essence.eq_ignore_ascii_case("application/merge-patch+json")
    {
        let detail = "the body is not said to be JSON: send `Content-Type: application/json`";
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            detail,
        ));
    }
    if !body.trim_ascii_start().starts_with(b"{") {
        // An array would be taken for the fields in their order.
        return Err(Problem::bad_request("the body cannot be used: send a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("the body cannot be used: {error}")))
}

/// An id that is not taken, for something new.
fn free_id(held: &Held, prefix: &str, taken: impl Fn(&str) -> bool) -> String {
    (held.revision..)
        .map(|number| format!("{prefix}-n{number}"))
        .find(|id| !taken(id))
        .expect("there are more numbers than accounts")
}

fn invalid(what: &str) -> impl FnOnce(String) -> Refusal {
    let what = what.to_owned();
    move |why| Refusal::Invalid(format!("the {what} {why}"))
}

fn check_organization_of(held: &Held, account: &Account) -> Result<(), Refusal> {
    if held.organizations.contains_key(&account.organization_id) {
        return Ok(());
    }
    Err(invalid("account")(
        "has an `organization_id` that no organization has: correct it".into(),
    ))
}

/// Makes an account.
pub(super) fn add_account(directory: &Directory, new: NewAccount) -> Result<Account, Refusal> {
    directory.edit(|held, now| {
        let taken = |id: &str| held.accounts.contains_key(id) || held.deleted_accounts.contains_key(id);
        let id = new.id.unwrap_or_else(|| free_id(held, "acc", taken));
        if held.accounts.contains_key(&id) {
            return Err(Refusal::Conflict(
                "there is an account with this id: choose another, or leave it out".into(),
            ));
        }
        let account = Account {
            id,
            organization_id: new.organization_id,
            email: new.email,
            first_name: new.first_name,
            last_name: new.last_name,
            phone: new.phone,
            title: new.title,
            kind: new.kind,
            roles: new.roles,
            status: new.status,
            updated_at: now,
        };
        account.check().map_err(invalid("account"))?;
        check_organization_of(held, &account)?;
        held.put_account(account.clone());
        Ok(account)
    })
}

/// Changes an account.
pub(super) fn patch_account(directory: &Directory, id: &str, patch: AccountPatch) -> Result<Account, Refusal> {
    directory.edit(|held, now| {
        let mut account = held.accounts.get(id).cloned().ok_or(Refusal::NoSuch("account"))?;
        set(&mut account.organization_id, patch.organization_id);
        set(&mut account.email, patch.email);
        set(&mut account.first_name, patch.first_name);
        set(&mut account.last_name, patch.last_name);
        set(&mut account.phone, patch.phone);
        set(&mut account.title, patch.title);
        set(&mut account.kind, patch.kind);
        set(&mut account.roles, patch.roles);
        set(&mut account.status, patch.status);
        account.updated_at = now;
        account.check().map_err(invalid("account"))?;
        check_organization_of(held, &account)?;
        held.put_account(account.clone());
        Ok(account)
    })
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

async fn create_organization(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let new: NewOrganization = read(&headers, &body)?;
    let made = app.directory.edit(|held, now| {
        let taken = |id: &str| held.organizations.contains_key(id) || held.deleted_organizations.contains_key(id);
        let id = new.id.unwrap_or_else(|| free_id(held, "org", taken));
        if held.organizations.contains_key(&id) {
            return Err(Refusal::Conflict(
                "there is an organization with this id: choose another, or leave it out".into(),
            ));
        }
        let organization = Organization {
            id,
            name: new.name,
            kind: new.kind,
            status: new.status,
            requested_access: new.requested_access,
            founder_id: new.founder_id,
            phone: new.phone,
            city: new.city,
            updated_at: now,
        };
        organization.check().map_err(invalid("organization"))?;
        held.put_organization(organization.clone());
        Ok(organization)
    })?;
    Ok(json_response(StatusCode::CREATED, &made))
}

async fn change_organization(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let patch: OrganizationPatch = read(&headers, &body)?;
    let changed = app.directory.edit(|held, now: Timestamp| {
        let mut organization = held
            .organizations
            .get(&id)
            .cloned()
            .ok_or(Refusal::NoSuch("organization"))?;
        set(&mut organization.name, patch.name);
        set(&mut organization.kind, patch.kind);
        set(&mut organization.status, patch.status);
        set(&mut organization.requested_access, patch.requested_access);
        set(&mut organization.founder_id, patch.founder_id);
        set(&mut organization.phone, patch.phone);
        set(&mut organization.city, patch.city);
        organization.updated_at = now;
        organization.check().map_err(invalid("organization"))?;
        held.put_organization(organization.clone());
        Ok(organization)
    })?;
    Ok(json_response(StatusCode::OK, &changed))
}

async fn delete_organization(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    app.directory.delete_organization(&id)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn create_account(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let made = add_account(&app.directory, read(&headers, &body)?)?;
    Ok(json_response(StatusCode::CREATED, &made))
}

async fn change_account(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let changed = patch_account(&app.directory, &id, read(&headers, &body)?)?;
    Ok(json_response(StatusCode::OK, &changed))
}

async fn delete_account(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    app.directory.delete_account(&id)?;
    Ok(StatusCode::NO_CONTENT)
}

fn json_response<T: serde::Serialize>(status: StatusCode, one: &T) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], to_json(one)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_empties_and_absence_keeps() {
        let patch: AccountPatch =
            serde_json::from_str(r#"{"phone": null, "email": "a@paving.example"}"#).expect("a patch");
        assert_eq!(patch.phone, Some(None));
        assert_eq!(patch.title, None);
        assert_eq!(patch.email.as_deref(), Some("a@paving.example"));
        assert!(
            serde_json::from_str::<AccountPatch>(r#"{"id": "u-2"}"#).is_err(),
            "an id stays"
        );
    }
}
