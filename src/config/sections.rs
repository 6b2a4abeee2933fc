//! The sections that are there once: database, agency, fields, brakes. Types and how each is read; their
//! defaults stand in `config/default.toml` and nowhere else.

use ::config::ValueKind;
use schemars::JsonSchema;
use url::Url;

use super::read::{self, Cell, Decoded, Table};
use super::secrets::Secret;
use crate::domain::brake;
use crate::domain::field::{Authorities, Authority, Field};

/// Where users are kept.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Database {
    /// `sqlite:///PATH` or `postgres://USER@HOST/DATABASE`; never with a password.
    pub url: String,
    /// The file with the password for PostgreSQL.
    pub password_file: Option<Secret>,
    /// Most connections that are open at once.
    pub max_connections: u32,
}

/// The agency whose user table this is.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Agency {
    /// The name of the agency's own organization.
    pub name: String,
    /// Roles that make a user an administrator.
    pub administrator_roles: Vec<String>,
    /// The role of a user whom nobody gave another one.
    pub default_role: String,
}

/// What a limit that was met does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum OnLimit {
    /// The run waits for an administrator.
    Hold,
    /// The run goes on.
    Apply,
}

/// One brake: it holds a run that is above the share or the count, whichever is less; up to the floor always passes.
#[derive(Debug, Clone, Copy, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Brake {
    /// Share of the scope's users, 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub share: f64,
    /// Number of users.
    pub count: u64,
    /// Number of users up to which the brake never holds.
    pub floor: u64,
}

/// Limits that stop a run before its first write.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Brakes {
    /// Users that would be disabled.
    pub disable: Brake,
    /// Users that would be created; not counted while a source or a firm is new here.
    pub create: Brake,
    /// Users whose e-mail address would change.
    pub email_change: Brake,
    /// Users whose roles would change.
    pub role_change: Brake,
    /// Hours over which the changes of several runs are added up.
    pub window_hours: u32,
    /// What an empty listing of a scope that has users does.
    pub empty: OnLimit,
    /// What the first run of a source does.
    pub first_run: OnLimit,
}

impl Brakes {
    /// The limits as the core weighs them.
    pub fn limits(&self) -> brake::Brakes {
        let limit = |brake: &Brake| brake::Limit {
            share: brake.share,
            count: brake.count,
            floor: brake.floor,
        };
        brake::Brakes {
            disable: limit(&self.disable),
            create: limit(&self.create),
            email_change: limit(&self.email_change),
            role_change: limit(&self.role_change),
            window_hours: self.window_hours,
            hold_empty: self.empty == OnLimit::Hold,
            hold_first_run: self.first_run == OnLimit::Hold,
        }
    }
}

const ON_LIMIT: &[(&str, OnLimit)] = &[("hold", OnLimit::Hold), ("apply", OnLimit::Apply)];

pub(super) fn database(root: &mut Table<'_>) -> Option<Database> {
    let mut table = root.table("database")?;
    let url = table.need(
        "url",
        "`url = \"sqlite:///var/lib/rollcall/rollcall.db\"`",
        database_url,
    );
    let place = table.place("password_file");
    let password_file = table.get("password_file", |cell| {
        read::path(cell).map(|path| Secret::new(path, "database.password_file".into(), place.clone()))
    });
    if password_file.is_some() && url.as_deref().is_some_and(|url| url.starts_with("sqlite:")) {
        table.problem(
            "password_file",
            "SQLite has no password; remove the key, or name a postgres:// database in `url`",
        );
    }
    let max_connections = table.need("max_connections", "a whole number", read::integer(1..=1000));
    table.finish();
    Some(Database {
        url: url?,
        password_file,
        max_connections: u32::try_from(max_connections?).ok()?,
    })
}

fn database_url(cell: Cell<'_>) -> Decoded<String> {
    let expected = "\"sqlite:///PATH\" or \"postgres://USER@HOST/DATABASE\"";
    let text = read::text(cell).map_err(|_| expected.to_owned())?;
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path
            .strip_prefix("//")
            .unwrap_or(path)
            .split('?')
            .next()
            .unwrap_or_default();
        return if path.is_empty() {
            Err(expected.into())
        } else {
            Ok(text)
        };
    }
    let url = Url::parse(&text).map_err(|_| expected.to_owned())?;
    if !["postgres", "postgresql"].contains(&url.scheme()) {
        return Err(expected.into());
    }
    let in_query = url.query_pairs().any(|(key, _)| key.eq_ignore_ascii_case("password"));
    if url.password().is_some() || in_query {
        return Err(format!(
            "{expected} without the password, and name its file with `password_file`"
        ));
    }
    Ok(text)
}

pub(super) fn agency(root: &mut Table<'_>) -> Option<Agency> {
    let mut table = root.table("agency")?;
    let name = table.need("name", "the name of your agency", read::text);
    let administrator_roles = table.need("administrator_roles", "a list such as [\"Admin\"]", |cell| {
        read::texts(cell).and_then(|roles| {
            if roles.is_empty() {
                Err("at least one role, such as [\"Admin\"]".into())
            } else {
                Ok(roles)
            }
        })
    });
    let default_role = table.need("default_role", "the name of a role", read::text);
    if let (Some(roles), Some(default)) = (&administrator_roles, &default_role)
        && roles.iter().any(|role| role.to_lowercase() == default.to_lowercase())
    {
        table.problem(
            "default_role",
            "everybody would be an administrator; name a role that is not in `administrator_roles`",
        );
    }
    table.finish();
    Some(Agency {
        name: name?,
        administrator_roles: administrator_roles?,
        default_role: default_role?,
    })
}

/// The fields whose authority can be configured by name; further ones stand in `fields.attributes`.
pub(super) const AUTHORITY_FIELDS: [&str; 9] = [
    "email",
    "first_name",
    "last_name",
    "phone",
    "title",
    "kind",
    "license",
    "billable",
    "roles",
];

const AUTHORITIES: &[(&str, Authority)] = &[
    ("directory", Authority::Directory),
    ("initial", Authority::Initial),
    ("local", Authority::Local),
];

pub(super) fn fields(root: &mut Table<'_>) -> Option<Authorities> {
    let mut table = root.table("fields")?;
    let mut authorities = Authorities::default();
    for name in AUTHORITY_FIELDS {
        if let Some(authority) = table.table(name).and_then(authority) {
            authorities.set(Field::parse(name)?, authority);
        }
    }
    if let Some(attributes) = table.table("attributes") {
        for (name, value) in attributes.free() {
            let path = format!("{}.{name}", attributes.path);
            match (&value.kind, Field::parse(&format!("attributes.{name}"))) {
                (ValueKind::Table(values), Some(field)) => {
                    if let Some(who) = authority(Table::new(table.context, path, values)) {
                        authorities.set(field, who);
                    }
                }
                (ValueKind::Table(_), None) => attributes.problem(
                    name,
                    "that is no name for an attribute; write letters, digits, `_` and `-`",
                ),
                _ => attributes.problem(name, "an attribute is a table; write `authority = \"local\"` in it"),
            }
        }
    }
    for name in ["organization", "status"] {
        if table.has(name) {
            table.problem(
                name,
                format!("the {name} is always decided by the directory; remove this section"),
            );
        }
    }
    table.know(&["organization", "status"]);
    table.finish();
    Some(authorities)
}

fn authority(mut table: Table<'_>) -> Option<Authority> {
    let authority = table.need(
        "authority",
        "`authority = \"directory\"`, \"initial\" or \"local\"",
        read::choice(AUTHORITIES),
    );
    table.finish();
    authority
}

pub(super) fn brakes(root: &mut Table<'_>) -> Option<Brakes> {
    let mut table = root.table("brakes")?;
    let disable = brake(&mut table, "disable");
    let create = brake(&mut table, "create");
    let email_change = brake(&mut table, "email_change");
    let role_change = brake(&mut table, "role_change");
    let window_hours = table.need(
        "window_hours",
        "a number of hours, such as 24",
        read::integer(1..=24 * 31),
    );
    let empty = table.need("empty", "\"hold\" or \"apply\"", read::choice(ON_LIMIT));
    let first_run = table.need("first_run", "\"apply\" or \"hold\"", read::choice(ON_LIMIT));
    table.finish();
    Some(Brakes {
        disable: disable?,
        create: create?,
        email_change: email_change?,
        role_change: role_change?,
        window_hours: u32::try_from(window_hours?).ok()?,
        empty: empty?,
        first_run: first_run?,
    })
}

fn brake(table: &mut Table<'_>, name: &'static str) -> Option<Brake> {
    let mut brake = table.table(name)?;
    let share = brake.need("share", "a share from 0 to 1", read::share);
    let count = brake.need("count", "a number of users", read::integer(0..=1_000_000_000));
    let floor = brake.need("floor", "a number of users", read::integer(0..=1_000_000_000));
    brake.finish();
    Some(Brake {
        share: share?,
        count: count?,
        floor: floor?,
    })
}
