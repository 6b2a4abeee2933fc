//! The directory's own page: look for a person, pick an organization, edit. Plain forms, no script; everything from
//! the data is escaped by the template.

use askama::Template;
use axum::Router;
use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::App;
use super::edit::{AccountPatch, NewAccount, add_account, patch_account};
use super::model::{Account, AccountStatus, Kind, Organization, OrganizationStatus};
use super::problem::Problem;
use super::store::State as Held;

/// Rows of one list on the page; the rest is found by searching.
const ROWS_MAX: usize = 200;

/// Nothing but our own style and our own forms.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(index))
        .route("/style.css", get(style))
        .route("/page/organizations/{id}/access", post(toggle_access))
        .route("/page/organizations/{id}/status", post(toggle_organization))
        .route("/page/accounts", post(create))
        .route("/page/accounts/{id}", post(change))
        .route("/page/accounts/{id}/status", post(toggle_account))
        .route("/page/accounts/{id}/delete", post(delete))
}

/// What the page is asked to show.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ask {
    q: String,
    organization: String,
    edit: String,
    done: String,
}

#[derive(Template)]
#[template(path = "cli/directory/page.html")]
struct Page<'a> {
    q: &'a str,
    organizations: Vec<(&'a Organization, usize)>,
    organizations_total: usize,
    chosen: Option<&'a Organization>,
    accounts: Vec<(&'a Account, &'a str)>,
    accounts_total: usize,
    edited: Option<&'a Account>,
    done: &'static str,
    alert: &'a str,
    kinds: [Kind; 4],
}

impl Page<'_> {
    fn is_closed(&self, one: &Organization) -> bool {
        one.status == OrganizationStatus::Closed
    }

    fn is_disabled(&self, one: &Account) -> bool {
        one.status == AccountStatus::Disabled
    }

    fn has_kind(&self, one: &Account, kind: &Kind) -> bool {
        one.kind == Some(*kind)
    }

    fn is_chosen(&self, one: &Organization) -> bool {
        self.chosen.is_some_and(|chosen| chosen.id == one.id)
    }

    /// An id as one segment of a path, or the value of a query.
    fn link(&self, id: &str) -> String {
        url::form_urlencoded::byte_serialize(id.as_bytes())
            .collect::<String>()
            .replace('+', "%20")
    }
}

async fn index(State(app): State<App>, Query(ask): Query<Ask>) -> Response {
    render(&app, StatusCode::OK, &ask, "")
}

/// Shows the page, with an `alert` where something was refused.
fn render(app: &App, status: StatusCode, ask: &Ask, alert: &str) -> Response {
    let held = app.directory.read();
    let needle = ask.q.trim().to_lowercase();
    let (organizations, organizations_total) = find_organizations(&held, &needle);
    let chosen = held.organizations.get(&ask.organization);
    let (accounts, accounts_total) = find_accounts(&held, &needle, chosen);
    let page = Page {
        q: &ask.q,
        organizations,
        organizations_total,
        chosen,
        accounts,
        accounts_total,
        edited: held.accounts.get(&ask.edit),
        done: match ask.done.as_str() {
            "added" => "The person was added.",
            "saved" => "The change was saved.",
            "deleted" => "The person was deleted.",
            _ => "",
        },
        alert,
        kinds: Kind::ALL,
    };
    match page.render() {
        Ok(html) => (status, headers("text/html; charset=utf-8"), html).into_response(),
        Err(_) => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "page",
            "the page could not be made: report it as a bug",
        )
        .into_response(),
    }
}

fn headers(content: &'static str) -> [(HeaderName, &'static str); 6] {
    [
        (header::CONTENT_TYPE, content),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ]
}

/// Organizations whose name, city or id holds the needle.
fn find_organizations<'a>(held: &'a Held, needle: &str) -> (Vec<(&'a Organization, usize)>, usize) {
    let holds = |text: &str| text.to_lowercase().contains(needle);
    let found = held.organizations.values().filter(|one| {
        needle.is_empty() || holds(&one.name) || holds(&one.id) || one.city.as_deref().is_some_and(holds)
    });
    let mut found: Vec<_> = found.collect();
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
    let total = found.len();
    let people = |one: &Organization| held.members.get(&one.id).map_or(0, |members| members.len());
    (
        found.into_iter().take(ROWS_MAX).map(|one| (one, people(one))).collect(),
        total,
    )
}

/// The accounts of the chosen organization, or without one those that hold the needle.
fn find_accounts<'a>(
    held: &'a Held,
    needle: &str,
    chosen: Option<&Organization>,
) -> (Vec<(&'a Account, &'a str)>, usize) {
    let holds = |one: &&Account| {
        let name = format!("{} {}", one.first_name, one.last_name);
        [&name, &one.email, &one.id]
            .into_iter()
            .any(|text| text.to_lowercase().contains(needle))
    };
    let found: Vec<&Account> = match chosen {
        Some(chosen) => {
            let members = held.members.get(&chosen.id).into_iter().flatten();
            let accounts = members.filter_map(|id| held.accounts.get(id));
            let named_itself = chosen.name.to_lowercase().contains(needle);
            accounts.filter(|one| named_itself || holds(one)).collect()
        }
        None if needle.is_empty() => Vec::new(),
        None => held.accounts.values().filter(holds).collect(),
    };
    let total = found.len();
    let firm = |one: &Account| {
        held.organizations
            .get(&one.organization_id)
            .map_or("", |firm| firm.name.as_str())
    };
    (
        found.into_iter().take(ROWS_MAX).map(|one| (one, firm(one))).collect(),
        total,
    )
}

async fn style() -> Response {
    (headers("text/css; charset=utf-8"), include_str!("page.css")).into_response()
}

/// The fields of a person as a form sends them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    organization_id: String,
    email: String,
    first_name: String,
    last_name: String,
    phone: String,
    title: String,
    kind: String,
    roles: String,
}

/// A field left blank is a field without a value.
fn filled(text: String) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

impl Fields {
    fn kind(&self) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == self.kind)
    }

    fn roles(&self) -> Vec<String> {
        self.roles
            .split(',')
            .filter_map(|role| filled(role.to_owned()))
            .collect()
    }
}

/// Back to the page after something was done: a reload does not do it again.
fn back(organization: &str, done: &str) -> Response {
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("organization", organization)
        .append_pair("done", done)
        .finish();
    Redirect::to(&format!("/?{query}")).into_response()
}

fn refused(app: &App, organization: &str, edit: &str, refusal: impl Into<Problem>) -> Response {
    let problem: Problem = refusal.into();
    let ask = Ask {
        organization: organization.to_owned(),
        edit: edit.to_owned(),
        ..Ask::default()
    };
    let alert = match problem.status().is_client_error() {
        true => format!("Nothing was changed: {}.", problem.detail()),
        false => format!("Look here: {}.", problem.detail()),
    };
    render(app, problem.status(), &ask, &alert)
}

async fn create(State(app): State<App>, Form(fields): Form<Fields>) -> Response {
    let organization = fields.organization_id.clone();
    let new = NewAccount {
        kind: fields.kind(),
        roles: fields.roles(),
        organization_id: fields.organization_id,
        email: fields.email.trim().to_owned(),
        first_name: fields.first_name.trim().to_owned(),
        last_name: fields.last_name.trim().to_owned(),
        phone: filled(fields.phone),
        title: filled(fields.title),
        ..NewAccount::default()
    };
    match add_account(&app.directory, new) {
        Ok(_) => back(&organization, "added"),
        Err(refusal) => refused(&app, &organization, "", refusal),
    }
}

async fn change(State(app): State<App>, Path(id): Path<String>, Form(fields): Form<Fields>) -> Response {
    let organization = app
        .directory
        .account(&id)
        .map(|account| account.organization_id)
        .unwrap_or_default();
    let patch = AccountPatch {
        kind: Some(fields.kind()),
        roles: Some(fields.roles()),
        organization_id: filled(fields.organization_id),
        email: Some(fields.email.trim().to_owned()),
        first_name: Some(fields.first_name.trim().to_owned()),
        last_name: Some(fields.last_name.trim().to_owned()),
        phone: Some(filled(fields.phone)),
        title: Some(filled(fields.title)),
        status: None,
    };
    match patch_account(&app.directory, &id, patch) {
        Ok(account) => back(&account.organization_id, "saved"),
        Err(refusal) => refused(&app, &organization, &id, refusal),
    }
}

async fn toggle_account(State(app): State<App>, Path(id): Path<String>) -> Response {
    let organization = app
        .directory
        .account(&id)
        .map(|account| account.organization_id)
        .unwrap_or_default();
    let toggled = app.directory.update_account(&id, |account| {
        account.status = match account.status {
            AccountStatus::Active => AccountStatus::Disabled,
            AccountStatus::Disabled => AccountStatus::Active,
        };
    });
    match toggled {
        Ok(()) => back(&organization, "saved"),
        Err(refusal) => refused(&app, &organization, "", refusal),
    }
}

async fn delete(State(app): State<App>, Path(id): Path<String>) -> Response {
    let organization = app
        .directory
        .account(&id)
        .map(|account| account.organization_id)
        .unwrap_or_default();
    match app.directory.delete_account(&id) {
        Ok(()) => back(&organization, "deleted"),
        Err(refusal) => refused(&app, &organization, "", refusal),
    }
}

async fn toggle_access(State(app): State<App>, Path(id): Path<String>) -> Response {
    match app
        .directory
        .update_organization(&id, |one| one.requested_access = !one.requested_access)
    {
        Ok(()) => back(&id, "saved"),
        Err(refusal) => refused(&app, "", "", refusal),
    }
}

async fn toggle_organization(State(app): State<App>, Path(id): Path<String>) -> Response {
    let toggled = app.directory.update_organization(&id, |one| {
        one.status = match one.status {
            OrganizationStatus::Active => OrganizationStatus::Closed,
            OrganizationStatus::Closed => OrganizationStatus::Active,
        };
    });
    match toggled {
        Ok(()) => back(&id, "saved"),
        Err(refusal) => refused(&app, "", "", refusal),
    }
}
