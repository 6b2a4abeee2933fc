//! The local user table: reading it for the core and for people, and the writes that administrators make.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::audit::Actor;
use super::error::{StoreError, StoreErrorKind};
use super::row::{Arg, Row, args};
use super::sql::statements;
use super::{Store, Tx};
use crate::domain::field::{Field, Value, Values};
use crate::domain::id::{ExternalId, OrganizationId, SourceName, UserId};
use crate::domain::mapping::RolePolicy;
use crate::domain::user::{Holder, Status, User};

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
    INSERT_USER = "INSERT INTO users (id, kind, email, first_name, last_name, phone, title, organization_id, \
        status, created_at, updated_at) \
        VALUES ($1::uuid, $2, $3, $4, $5, $6, $7, $8::uuid, 'active', $9::timestamptz, $9::timestamptz)";
    DISABLE = "UPDATE users SET status = 'disabled', disabled_by = 'admin', session_epoch = session_epoch + 1, \
        updated_at = $2::timestamptz WHERE id = $1::uuid AND (status <> 'disabled' OR disabled_by IS DISTINCT FROM 'admin')";
    ENABLE = "UPDATE users SET status = 'active', disabled_by = NULL, updated_at = $2::timestamptz \
        WHERE id = $1::uuid AND status <> 'active'";
    DELETE = "DELETE FROM users WHERE id = $1::uuid";
    BY_EMAIL = "SELECT id::text FROM users WHERE lower(email) = $1";
    BY_LINK = "SELECT u.id::text FROM records r JOIN users u ON u.id = r.user_id WHERE r.external_id = $1 ORDER BY r.source";
    BY_ID = "SELECT id::text FROM users WHERE id = $1::uuid";
    LINK = "SELECT source, external_id FROM records WHERE user_id = $1::uuid";
    ADD_ROLE = "INSERT INTO memberships (user_id, group_id, origin) \
        SELECT $1::uuid, id, 'local' FROM groups WHERE kind = 'role' AND name = $2 ON CONFLICT DO NOTHING";
    ADD_GROUP = "INSERT INTO groups (id, kind, name) VALUES ($1::uuid, 'role', $2) ON CONFLICT DO NOTHING";
    REMOVE_ROLE = "DELETE FROM memberships WHERE user_id = $1::uuid AND group_id IN \
        (SELECT id FROM groups WHERE kind = 'role' AND name = $2)";
    ACTIVE_ROLES = "SELECT m.user_id::text, g.name FROM memberships m JOIN groups g ON g.id = m.group_id \
        JOIN users u ON u.id = m.user_id WHERE u.status = 'active' AND g.kind = 'role' AND lower(g.name) = $1";
    FORGET = "DELETE FROM records WHERE source = $1 AND external_id = $2 \
        AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = records.user_id)";
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

/// A user to be created here.
#[derive(Debug, Clone, Default)]
pub struct NewUser {
    /// The sign-in name, normalized.
    pub email: String,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// Job title.
    pub title: Option<String>,
    /// Kind; the agency's own are `employee`.
    pub kind: String,
    /// Organization.
    pub organization: Option<OrganizationId>,
    /// Roles to grant.
    pub roles: Vec<String>,
}

/// Columns to set; `None` in the value empties one.
#[derive(Debug, Clone, Default)]
pub struct EditedFields {
    /// By column, each one of email, first_name, last_name, phone, title, kind, license.
    pub columns: Vec<(Field, Option<String>)>,
    /// Roles to grant here.
    pub add_roles: Vec<String>,
    /// Roles to take away.
    pub remove_roles: Vec<String>,
}

const USER_ROW: &str = "SELECT u.id::text, u.kind, u.email, u.first_name, u.last_name, u.phone, u.title, \
    o.id::text, o.name, u.license, u.billable, u.status, u.disabled_by, u.attributes::text, \
    (SELECT string_agg(g.name || '\t' || m.origin, '\n' ORDER BY g.name) FROM memberships m \
        JOIN groups g ON g.id = m.group_id WHERE m.user_id = u.id AND g.kind = 'role'), \
    r.source, r.external_id, u.created_at::text, u.updated_at::text \
    FROM users u LEFT JOIN organizations o ON o.id = u.organization_id LEFT JOIN records r ON r.user_id = u.id";

fn read_row(mut row: Row) -> Result<UserRow, StoreError> {
    let r = &mut row;
    Ok(UserRow {
        id: r.parsed()?,
        kind: r.text()?,
        email: r.text()?,
        first_name: r.opt_text()?,
        last_name: r.opt_text()?,
        phone: r.opt_text()?,
        title: r.opt_text()?,
        organization: r.opt_parsed()?.zip(r.opt_text()?),
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

fn link(row: &mut Row) -> Result<Option<(SourceName, ExternalId)>, StoreError> {
    let (source, id) = (row.opt_text()?, row.opt_text()?);
    Ok(source
        .zip(id)
        .and_then(|(s, i)| Some((SourceName::parse(&s).ok()?, ExternalId::parse(i).ok()?))))
}

/// `%`, `_` and `\` of a search text stand for themselves.
fn like(text: &str) -> String {
    let escaped: String = text
        .to_ascii_lowercase()
        .chars()
        .flat_map(|c| ['\\'].into_iter().filter(move |_| "%_\\".contains(c)).chain([c]))
        .collect();
    format!("%{escaped}%")
}

impl Store {
    /// Users in the order of their addresses.
    pub async fn users(&self, filter: &UserFilter) -> Result<Vec<UserRow>, StoreError> {
        let mut sql = format!("{USER_ROW} WHERE 1 = 1");
        let mut arguments: Vec<Arg> = Vec::new();
        let mut and = |condition: &str, arg: Arg| {
            arguments.push(arg);
            sql.push_str(" AND ");
            sql.push_str(&condition.replace("$n", &format!("${}", arguments.len())));
        };
        if let Some(query) = &filter.query {
            let condition = "(lower(u.email) LIKE $n ESCAPE '\\' OR \
                lower(coalesce(u.first_name, '') || ' ' || coalesce(u.last_name, '')) LIKE $n ESCAPE '\\')";
            and(condition, like(query).into());
        }
        if let Some(id) = filter.organization {
            and("u.organization_id = $n::uuid", id.into());
        }
        if let Some(kind) = &filter.kind {
            and("u.kind = $n", kind.into());
        }
        if let Some(role) = &filter.role {
            and(
                "EXISTS (SELECT 1 FROM memberships m JOIN groups g ON g.id = m.group_id WHERE m.user_id = u.id AND g.kind = 'role' AND g.name = $n)",
                role.into(),
            );
        }
        if let Some(status) = &filter.status {
            and("u.status = $n", status.into());
        }
        if let Some(id) = filter.id {
            and("u.id = $n::uuid", id.into());
        }
        if let Some(after) = &filter.after {
            and("lower(u.email) > $n", after.to_ascii_lowercase().into());
        }
        sql.push_str(&format!(" ORDER BY lower(u.email) LIMIT {}", filter.limit.min(100_000)));
        self.rows(&sql, &arguments).await?.into_iter().map(read_row).collect()
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

    /// Every user that `wanted` can mean: a local id, an external id, or an e-mail address.
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

    /// Creates a user here, with its audit row.
    pub async fn create_user(&self, new: &NewUser, actor: &Actor) -> Result<UserId, StoreError> {
        let id = UserId(self.new_id());
        let now = self.now();
        let mut tx = self.begin().await?;
        let organization = new.organization.map(|o| o.to_string());
        tx.execute(
            INSERT_USER,
            args![
                id,
                &new.kind,
                &new.email,
                new.first_name.clone(),
                new.last_name.clone(),
                new.phone.clone(),
                new.title.clone(),
                organization,
                now
            ],
        )
        .await?;
        self.grant(&mut tx, id, &new.roles).await?;
        let details = json!({"kind": new.kind, "roles": new.roles});
        self.audit_user(&mut tx, actor, "user.created", id, details).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Changes columns and local roles of a user, with its audit row.
    pub async fn edit_user(
        &self,
        id: UserId,
        edit: &EditedFields,
        actor: &Actor,
        roles: &RolePolicy,
    ) -> Result<(), StoreError> {
        let before = self.user(id).await?.ok_or_else(|| gone(id))?;
        let mut tx = self.begin().await?;
        let administrators = administrators(&mut tx, roles).await?;
        if !edit.columns.is_empty() {
            let mut arguments: Vec<Arg> = vec![id.into(), self.now().into()];
            let mut sets = vec!["updated_at = $2::timestamptz".to_owned()];
            for (field, value) in &edit.columns {
                arguments.push(value.clone().into());
                sets.push(format!("{field} = ${}", arguments.len()));
            }
            let sql = format!("UPDATE users SET {} WHERE id = $1::uuid", sets.join(", "));
            if tx.execute(&sql, &arguments).await? != 1 {
                return Err(gone(id));
            }
        }
        self.grant(&mut tx, id, &edit.add_roles).await?;
        for role in &edit.remove_roles {
            tx.execute(REMOVE_ROLE, args![id, role]).await?;
        }
        keeps_an_administrator(&mut tx, roles, &administrators).await?;
        let fields: serde_json::Map<String, Json> = edit
            .columns
            .iter()
            .map(|(field, after)| {
                (
                    field.to_string(),
                    json!({"before": column(&before, field), "after": after}),
                )
            })
            .collect();
        let details = json!({"fields": fields, "add_roles": edit.add_roles, "remove_roles": edit.remove_roles});
        self.audit_user(&mut tx, actor, "user.edited", id, details).await?;
        tx.commit().await
    }

    /// Disables a user for an administrator; answers whether anything changed.
    pub async fn disable_user(&self, id: UserId, actor: &Actor, roles: &RolePolicy) -> Result<bool, StoreError> {
        self.set_status(id, DISABLE, "user.disabled", actor, roles).await
    }

    /// Enables a user; answers whether anything changed. Where its directory says `disabled`, the next sync disables it.
    pub async fn enable_user(&self, id: UserId, actor: &Actor, roles: &RolePolicy) -> Result<bool, StoreError> {
        self.set_status(id, ENABLE, "user.enabled", actor, roles).await
    }

    async fn set_status(
        &self,
        id: UserId,
        sql: &str,
        action: &str,
        actor: &Actor,
        roles: &RolePolicy,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let administrators = administrators(&mut tx, roles).await?;
        let changed = tx.execute(sql, args![id, self.now()]).await? == 1;
        if changed {
            keeps_an_administrator(&mut tx, roles, &administrators).await?;
            self.audit_user(&mut tx, actor, action, id, json!({})).await?;
        } else if tx.row(BY_ID, args![id]).await?.is_none() {
            return Err(gone(id));
        }
        tx.commit().await?;
        Ok(changed)
    }

    /// Deletes a user. Its address is free again; its link stays, so that the directory does not bring it back.
    pub async fn delete_user(&self, id: UserId, actor: &Actor, roles: &RolePolicy) -> Result<(), StoreError> {
        let before = self.user(id).await?.ok_or_else(|| gone(id))?;
        let mut tx = self.begin().await?;
        let administrators = administrators(&mut tx, roles).await?;
        if tx.execute(DELETE, args![id]).await? != 1 {
            return Err(gone(id));
        }
        keeps_an_administrator(&mut tx, roles, &administrators).await?;
        let link = before
            .link
            .as_ref()
            .map(|(s, i)| json!({"source": s.as_str(), "external_id": i.as_str()}));
        let details = json!({"kind": before.kind, "email": before.email, "link": link});
        self.audit_user(&mut tx, actor, "user.deleted", id, details).await?;
        tx.commit().await
    }

    /// Lifts the memory of a deleted user, so that the next sync may create it again; answers whether there was one.
    pub async fn lift_deletion(&self, source: &SourceName, id: &ExternalId, actor: &Actor) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let lifted = tx.execute(FORGET, args![source, id]).await? == 1;
        if lifted {
            let details = json!({"source": source.as_str(), "external_id": id.as_str()});
            self.audit(&mut tx, actor, "user.deletion_lifted", details).await?;
            tx.commit().await?;
        }
        Ok(lifted)
    }

    async fn grant(&self, tx: &mut Tx, id: UserId, roles: &[String]) -> Result<(), StoreError> {
        for role in roles {
            tx.execute(ADD_GROUP, args![self.new_id().to_string(), role]).await?;
            tx.execute(ADD_ROLE, args![id, role]).await?;
        }
        Ok(())
    }
}

fn gone(id: UserId) -> StoreError {
    StoreError::new(
        StoreErrorKind::Constraint,
        format!("there is no user {id}; list them with `rollcall users list`"),
    )
}

fn column(user: &UserRow, field: &Field) -> Json {
    match field {
        Field::Email => json!(user.email),
        Field::FirstName => json!(user.first_name),
        Field::LastName => json!(user.last_name),
        Field::Phone => json!(user.phone),
        Field::Title => json!(user.title),
        Field::Kind => json!(user.kind),
        Field::License => json!(user.license),
        _ => Json::Null,
    }
}

/// Ids of the active users who can administer.
pub(super) async fn administrators(tx: &mut Tx, roles: &RolePolicy) -> Result<BTreeSet<String>, StoreError> {
    let mut ids = BTreeSet::new();
    for role in &roles.administrative {
        for mut row in tx.rows(ACTIVE_ROLES, args![role.to_lowercase()]).await? {
            ids.insert(row.text()?);
        }
    }
    Ok(ids)
}

/// Refuses a transaction that took the last administrator away (invariant 12).
pub(super) async fn keeps_an_administrator(
    tx: &mut Tx,
    roles: &RolePolicy,
    before: &BTreeSet<String>,
) -> Result<(), StoreError> {
    if !before.is_empty() && administrators(tx, roles).await?.is_empty() {
        return Err(StoreError::new(
            StoreErrorKind::LastAdministrator,
            "this would leave no active administrator, so nothing was changed; give somebody else an administrator's role first",
        ));
    }
    Ok(())
}
