//! The local user table: reading it for the core and for people, and the writes that administrators make.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::Store;
use super::conditions::Conditions;
use super::error::StoreError;
use super::row::{Row, args};
use super::sql::statements;
use super::user_pages::{CONTAINS, narrowed};
use crate::domain::field::{Field, Value, Values};
use crate::domain::id::{ExternalId, OrganizationId, SourceName, UserId};
use crate::domain::roles::RolePolicy;
use crate::domain::user::{EMPLOYEE, Holder, Status, User};

/// The columns that [`read_user`] reads, of `users u` and its organization `uo`; `$1` is the source.
///
/// The organization is its external id where it is this source's, else `local:` and its id.
pub(super) const USER_COLUMNS: &str = "\
    u.id::text, u.kind, u.email, u.first_name, u.last_name, u.phone, u.title, u.license, u.billable, \
    CASE WHEN uo.id IS NULL THEN NULL WHEN uo.source = $1 THEN uo.external_id ELSE 'local:' || uo.id::text END, \
    u.status, u.disabled_by, u.attributes::text, CASE WHEN uo.kind = 'self' THEN 1 ELSE 0 END, \
    (SELECT string_agg(g.name, '\n' ORDER BY g.name) FROM memberships m JOIN groups g ON g.id = m.group_id \
        WHERE m.user_id = u.id AND g.kind = 'role' AND m.origin = 'directory'), \
    (SELECT string_agg(g.name, '\n' ORDER BY g.name) FROM memberships m JOIN groups g ON g.id = m.group_id \
        WHERE m.user_id = u.id AND g.kind = 'role' AND m.origin <> 'directory')";

/// How many cells [`USER_COLUMNS`] has.
pub(super) const USER_CELLS: usize = 16;

/// Reads [`USER_COLUMNS`]; `None` where an outer join found no user.
pub(super) fn read_user(row: &mut Row, roles: &RolePolicy) -> Result<Option<User>, StoreError> {
    let Some(id) = row.opt_parsed::<UserId>()? else {
        for _ in 1..USER_CELLS {
            row.opt_text()?;
        }
        return Ok(None);
    };
    let mut values = Vec::with_capacity(12);
    for field in [
        Field::Kind,
        Field::Email,
        Field::FirstName,
        Field::LastName,
        Field::Phone,
        Field::Title,
        Field::License,
    ] {
        values.push((field, text_value(row.opt_text()?)));
    }
    let billable = row.opt_int()?.map(|b| if b == 0 { "false" } else { "true" });
    values.push((Field::Billable, Value::Text(billable.map(str::to_owned))));
    values.push((Field::Organization, text_value(row.opt_text()?)));
    let word = row.text()?;
    let status = Status::from_columns(&word, row.opt_text()?.as_deref());
    values.push((Field::Status, Value::text(word)));
    values.extend(attribute_values(row.opt_json()?));
    let of_self = row.flag()?;
    let directory_roles = lines(row.opt_text()?);
    let local_roles = lines(row.opt_text()?);
    let administrator = directory_roles
        .iter()
        .chain(&local_roles)
        .any(|role| roles.administers(role));
    values.push((Field::Roles, Value::Set(directory_roles)));
    Ok(Some(User {
        id,
        values: Values::new(values),
        status,
        local_roles,
        of_self,
        administrator,
    }))
}

/// An empty text in the table states no value, as in a directory.
pub(super) fn text_value(text: Option<String>) -> Value {
    Value::Text(text.filter(|t| !t.is_empty()))
}

pub(super) fn attribute_values(json: Option<Json>) -> Vec<(Field, Value)> {
    let Some(Json::Object(object)) = json else {
        return vec![];
    };
    let text = |held: Json| match held {
        Json::String(text) => Some(text).filter(|t| !t.is_empty()),
        Json::Null => None,
        other => Some(other.to_string()),
    };
    object
        .into_iter()
        .map(|(key, held)| (Field::Attribute(key.into()), Value::Text(text(held))))
        .collect()
}

pub(super) fn lines(text: Option<String>) -> BTreeSet<String> {
    text.map(|t| t.lines().map(str::to_owned).collect()).unwrap_or_default()
}

statements! {
    /// Who is behind a link, and whether this source may own somebody of that organization.
    HOLDER = "SELECT r.source, r.external_id, \
        CASE WHEN uo.id IS NULL OR uo.source IS NULL OR uo.source = $1 THEN 1 ELSE 0 END \
        FROM users u LEFT JOIN records r ON r.user_id = u.id LEFT JOIN organizations uo ON uo.id = u.organization_id \
        WHERE u.id = $2::uuid";
    BY_EMAIL = "SELECT id::text FROM users WHERE lower(email) = $1";
    BY_USER_NAME = "SELECT id::text FROM users WHERE lower(coalesce(first_name, '') || ' ' || coalesce(last_name, '')) = lower($1) LIMIT 5";
    BY_LINK = "SELECT u.id::text FROM records r JOIN users u ON u.id = r.user_id WHERE r.external_id = $1 ORDER BY r.source";
    BY_ID = "SELECT id::text FROM users WHERE id = $1::uuid";
    LINK = "SELECT source, external_id FROM records WHERE user_id = $1::uuid";
}

/// A user as people and other programs read it.
#[derive(Debug, Clone, PartialEq)]
pub struct UserRow {
    /// Its id.
    pub id: UserId,
    /// `employee`, `consultant`, ….
    pub kind: String,
    /// The sign-in name.
    pub email: String,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// Job title.
    pub title: Option<String>,
    /// Its organization.
    pub organization: Option<(OrganizationId, String)>,
    /// Licence.
    pub license: Option<String>,
    /// Whether its time is billable.
    pub billable: Option<bool>,
    /// `active` or `disabled`.
    pub status: String,
    /// `directory` or `admin`, where it is disabled and somebody wrote it down.
    pub disabled_by: Option<String>,
    /// Further attributes.
    pub attributes: Json,
    /// Whether no sync may touch it: an employee, or somebody of the agency's own organization.
    pub own: bool,
    /// Names of its roles, each with whether the directory granted it.
    pub roles: Vec<(String, bool)>,
    /// The entry that it is linked to.
    pub link: Option<(SourceName, ExternalId)>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When Rollcall last changed it.
    pub updated_at: Timestamp,
}

/// Which users to read.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// Part of a name or an address, without regard to ASCII case.
    pub query: Option<String>,
    /// One organization.
    pub organization: Option<OrganizationId>,
    /// One kind.
    pub kind: Option<String>,
    /// One role.
    pub role: Option<String>,
    /// `active` or `disabled`; `None` for both.
    pub status: Option<String>,
    /// One user.
    pub id: Option<UserId>,
    /// Only users after this address, in the order of addresses.
    pub after: Option<String>,
    /// At most so many.
    pub limit: u64,
}

/// The columns that [`read_row`] reads.
pub(super) const USER_ROW: &str = "SELECT u.id::text, u.kind, u.email, u.first_name, u.last_name, u.phone, u.title, \
    o.id::text, o.name, CASE WHEN o.kind = 'self' THEN 1 ELSE 0 END, u.license, u.billable, u.status, u.disabled_by, u.attributes::text, \
    (SELECT string_agg(g.name || '\t' || m.origin, '\n' ORDER BY g.name) FROM memberships m \
        JOIN groups g ON g.id = m.group_id WHERE m.user_id = u.id AND g.kind = 'role'), \
    r.source, r.external_id, u.created_at::text, u.updated_at::text \
    FROM users u LEFT JOIN organizations o ON o.id = u.organization_id LEFT JOIN records r ON r.user_id = u.id";

/// Reads [`USER_ROW`].
pub(super) fn read_row(mut row: Row) -> Result<UserRow, StoreError> {
    let r = &mut row;
    let (id, kind) = (r.parsed()?, r.text()?);
    let is_employee = kind.eq_ignore_ascii_case(EMPLOYEE);
    Ok(UserRow {
        id,
        kind,
        email: r.text()?,
        first_name: r.opt_text()?,
        last_name: r.opt_text()?,
        phone: r.opt_text()?,
        title: r.opt_text()?,
        organization: r.opt_parsed()?.zip(r.opt_text()?),
        own: r.flag()? || is_employee,
        license: r.opt_text()?,
        billable: r.opt_int()?.map(|b| b != 0),
        status: r.text()?,
        disabled_by: r.opt_text()?,
        attributes: r.opt_json()?.unwrap_or_else(|| json!({})),
        roles: lines(r.opt_text()?)
            .into_iter()
            .filter_map(|line| {
                line.split_once('\t')
                    .map(|(name, origin)| (name.to_owned(), origin == "directory"))
            })
            .collect(),
        link: link(r)?,
        created_at: r.time()?,
        updated_at: r.time()?,
    })
}

impl UserRow {
    /// The roles that the directory granted.
    pub fn granted_roles(&self) -> impl Iterator<Item = &str> {
        let of_directory = self.roles.iter().filter(|(_, of_directory)| *of_directory);
        of_directory.map(|(name, _)| name.as_str())
    }
}

fn link(row: &mut Row) -> Result<Option<(SourceName, ExternalId)>, StoreError> {
    let (source, id) = (row.opt_text()?, row.opt_text()?);
    Ok(source
        .zip(id)
        .and_then(|(s, i)| Some((SourceName::parse(&s).ok()?, ExternalId::parse(i).ok()?))))
}

/// `%`, `_` and `\` of a search text stand for themselves.
pub(super) fn like(text: &str) -> String {
    let escaped: String = text
        .chars()
        .flat_map(|c| ['\\'].into_iter().filter(move |_| "%_\\".contains(c)).chain([c]))
        .collect();
    format!("%{escaped}%")
}

impl Store {
    /// Users in the order of their addresses.
    pub async fn users(&self, filter: &UserFilter) -> Result<Vec<UserRow>, StoreError> {
        let mut conditions = Conditions::default();
        if let Some(query) = &filter.query {
            conditions.and(CONTAINS, args![like(&query.to_ascii_lowercase()), like(query)]);
        }
        if let Some(kind) = &filter.kind {
            conditions.and("u.kind = $1", args![kind]);
        }
        if let Some(status) = &filter.status {
            conditions.and("u.status = $1", args![status]);
        }
        if let Some(id) = filter.id {
            conditions.and("u.id = $1::uuid", args![id]);
        }
        if let Some(after) = &filter.after {
            conditions.and("lower(u.email) > $1", args![after.to_ascii_lowercase()]);
        }
        narrowed(filter, &mut conditions);
        let sql = format!(
            "{USER_ROW}{} ORDER BY lower(u.email) LIMIT {}",
            conditions.sql(),
            filter.limit.min(100_000)
        );
        let rows = self.rows(&sql, conditions.args()).await?;
        rows.into_iter().map(read_row).collect()
    }

    /// One user.
    pub async fn user(&self, id: UserId) -> Result<Option<UserRow>, StoreError> {
        let filter = UserFilter {
            id: Some(id),
            limit: 1,
            ..UserFilter::default()
        };
        Ok(self.users(&filter).await?.into_iter().next())
    }

    /// Every user that `wanted` can mean: a local id, an external id, an e-mail address, else a first and last name.
    pub async fn find_users(&self, wanted: &str) -> Result<Vec<UserId>, StoreError> {
        let mut found = BTreeSet::new();
        if let Ok(id) = Uuid::try_parse(wanted) {
            for mut row in self.rows(BY_ID, args![id.to_string()]).await? {
                found.insert(row.parsed()?);
            }
        }
        for (sql, key) in [(BY_LINK, wanted.to_owned()), (BY_EMAIL, wanted.to_ascii_lowercase())] {
            for mut row in self.rows(sql, args![key]).await? {
                found.insert(row.parsed()?);
            }
        }
        if found.is_empty() {
            for mut row in self.rows(BY_USER_NAME, args![wanted.trim()]).await? {
                found.insert(row.parsed()?);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// The user as the core sees it, with what stands behind its address.
    pub async fn holder(
        &self,
        source: &SourceName,
        id: UserId,
        roles: &RolePolicy,
    ) -> Result<Option<Holder>, StoreError> {
        let Some(user) = self.core_user(source, id, roles).await? else {
            return Ok(None);
        };
        let Some(mut row) = self.row(HOLDER, args![source, id]).await? else {
            return Ok(None);
        };
        Ok(Some(Holder {
            user,
            link: link(&mut row)?,
            ownable_organization: row.flag()?,
        }))
    }

    /// The user as the core sees it.
    pub async fn core_user(
        &self,
        source: &SourceName,
        id: UserId,
        roles: &RolePolicy,
    ) -> Result<Option<User>, StoreError> {
        let sql = format!(
            "SELECT {USER_COLUMNS} FROM users u LEFT JOIN organizations uo ON uo.id = u.organization_id WHERE u.id = $2::uuid"
        );
        match self.row(&sql, args![source, id]).await? {
            Some(mut row) => read_user(&mut row, roles),
            None => Ok(None),
        }
    }

    /// The entry that a user is linked to.
    pub async fn link_of(&self, id: UserId) -> Result<Option<(SourceName, ExternalId)>, StoreError> {
        match self.row(LINK, args![id]).await? {
            Some(mut row) => link(&mut row),
            None => Ok(None),
        }
    }
}
