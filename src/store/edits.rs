//! What administrators do to users by hand: create, edit, disable, enable, delete. Each with its audit row, in one
//! transaction, and never to the last administrator.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::audit::Actor;
use super::error::{StoreError, StoreErrorKind};
use super::row::{Arg, Row, args};
use super::sql::statements;
use super::users::{BY_ID, USER_ROW, UserRow, read_row};
use super::version::Expected;
use super::{Store, Tx};
use crate::domain::field::Field;
use crate::domain::id::{ExternalId, OrganizationId, SourceName, UserId};
use crate::domain::roles::RolePolicy;

statements! {
    ROLES = "SELECT name FROM groups WHERE kind = 'role'";
    LOCK_ROLE = "UPDATE groups SET name = name WHERE kind = 'role' AND name = $1";
    INSERT_USER = "INSERT INTO users (id, kind, email, first_name, last_name, phone, title, organization_id, \
        status, created_at, updated_at) \
        VALUES ($1::uuid, $2, $3, $4, $5, $6, $7, $8::uuid, 'active', $9::timestamptz, $9::timestamptz)";
    DISABLE = "UPDATE users SET status = 'disabled', disabled_by = 'admin', session_epoch = session_epoch + 1, \
        updated_at = $2::timestamptz WHERE id = $1::uuid AND (status <> 'disabled' OR disabled_by IS DISTINCT FROM 'admin')";
    ENABLE = "UPDATE users SET status = 'active', disabled_by = NULL, updated_at = $2::timestamptz \
        WHERE id = $1::uuid AND status <> 'active'";
    DELETE = "DELETE FROM users WHERE id = $1::uuid";
    ADD_ROLE = "INSERT INTO memberships (user_id, group_id, origin) \
        SELECT $1::uuid, id, 'local' FROM groups WHERE kind = 'role' AND name = $2 ON CONFLICT DO NOTHING";
    ADD_GROUP = "INSERT INTO groups (id, kind, name) VALUES ($1::uuid, 'role', $2) ON CONFLICT DO NOTHING";
    REMOVE_ROLE = "DELETE FROM memberships WHERE user_id = $1::uuid AND group_id IN \
        (SELECT id FROM groups WHERE kind = 'role' AND name = $2)";
    ACTIVE_ROLES = "SELECT m.user_id::text, g.name FROM memberships m JOIN groups g ON g.id = m.group_id \
        JOIN users u ON u.id = m.user_id WHERE u.status = 'active' AND g.kind = 'role' AND g.name = $1";
    FORGET = "DELETE FROM records WHERE source = $1 AND external_id = $2 \
        AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = records.user_id)";
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
    /// Whether its time is billable, where that changes.
    pub billable: Option<Option<bool>>,
    /// Keys of `attributes` to set; null removes one.
    pub attributes: BTreeMap<String, Json>,
    /// Roles to grant here.
    pub add_roles: Vec<String>,
    /// Roles to take away.
    pub remove_roles: Vec<String>,
}

impl EditedFields {
    /// Every field that is set.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        let columns = self.columns.iter().map(|(field, _)| field.clone());
        let attributes = self.attributes.keys().map(|key| Field::Attribute(key.as_str().into()));
        columns.chain(self.billable.map(|_| Field::Billable)).chain(attributes)
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.fields().next().is_none() && self.add_roles.is_empty() && self.remove_roles.is_empty()
    }
}

impl Store {
    /// The names of the roles here that administer.
    pub(super) async fn administrative_roles(&self, roles: &RolePolicy) -> Result<Vec<String>, StoreError> {
        administrative(self.rows(ROLES, args![]).await?, roles)
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

    /// Changes columns and local roles of a user, with its audit row; answers how it stands afterwards.
    ///
    /// # Errors
    /// [`StoreErrorKind::VersionMismatch`] where it is not one of the versions that the edit may meet.
    pub async fn edit_user(
        &self,
        id: UserId,
        edit: &EditedFields,
        expected: &Expected,
        actor: &Actor,
        roles: &RolePolicy,
    ) -> Result<UserRow, StoreError> {
        let mut tx = self.begin().await?;
        let administrators = administrators(&mut tx, roles).await?;
        let before = self.locked_user(&mut tx, id).await?;
        expected.check(&before.version())?;
        let (sql, arguments) = self.update(id, edit);
        if tx.execute(&sql, &arguments).await? != 1 {
            return Err(gone(id));
        }
        self.grant(&mut tx, id, &edit.add_roles).await?;
        for role in &edit.remove_roles {
            tx.execute(REMOVE_ROLE, args![id, role]).await?;
        }
        keeps_an_administrator(&mut tx, roles, &administrators).await?;
        let after = self.locked_user(&mut tx, id).await?;
        let fields: serde_json::Map<String, Json> = edit
            .fields()
            .map(|field| {
                let step = json!({"before": column(&before, &field), "after": column(&after, &field)});
                (field.to_string(), step)
            })
            .collect();
        let details = json!({"fields": fields, "add_roles": edit.add_roles, "remove_roles": edit.remove_roles});
        self.audit_user(&mut tx, actor, "user.edited", id, details).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// The row as it is, and as it stays until the transaction ends. It is locked by a statement of its own: one that
    /// waits for a lock would read roles as they were before it waited.
    async fn locked_user(&self, tx: &mut Tx, id: UserId) -> Result<UserRow, StoreError> {
        let lock = format!("{BY_ID}{}", self.engine().for_update());
        tx.row(&lock, args![id]).await?.ok_or_else(|| gone(id))?;
        let sql = format!("{USER_ROW} WHERE u.id = $1::uuid");
        tx.row(&sql, args![id]).await?.map_or_else(|| Err(gone(id)), read_row)
    }

    fn update(&self, id: UserId, edit: &EditedFields) -> (String, Vec<Arg>) {
        let mut arguments: Vec<Arg> = vec![id.into(), self.now().into()];
        let mut sets = vec!["updated_at = $2::timestamptz".to_owned()];
        for (field, value) in &edit.columns {
            arguments.push(value.clone().into());
            sets.push(format!("{field} = ${}", arguments.len()));
        }
        if let Some(billable) = edit.billable {
            arguments.push(billable.into());
            sets.push(format!("billable = ${}", arguments.len()));
        }
        if !edit.attributes.is_empty() {
            arguments.push(json!(edit.attributes).to_string().into());
            let patch = format!("${}::jsonb", arguments.len());
            sets.push(format!(
                "attributes = {}",
                self.engine().json_merge("attributes", &patch)
            ));
        }
        let sql = format!("UPDATE users SET {} WHERE id = $1::uuid", sets.join(", "));
        (sql, arguments)
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
        let mut tx = self.begin().await?;
        let administrators = administrators(&mut tx, roles).await?;
        let before = self.locked_user(&mut tx, id).await?;
        let link = before
            .link
            .as_ref()
            .map(|(s, i)| json!({"source": s.as_str(), "external_id": i.as_str()}));
        let details = json!({"kind": before.kind, "email": before.email, "link": link});
        // Before the row goes: the audit row says to which organization it belonged.
        self.audit_user(&mut tx, actor, "user.deleted", id, details).await?;
        if tx.execute(DELETE, args![id]).await? != 1 {
            return Err(gone(id));
        }
        keeps_an_administrator(&mut tx, roles, &administrators).await?;
        tx.commit().await
    }

    /// Lifts the memory of a deleted user, so that the next sync may create it again; answers whether there was one.
    pub async fn lift_deletion(&self, source: &SourceName, id: &ExternalId, actor: &Actor) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let lifted = tx.execute(FORGET, args![source, id]).await? == 1;
        if lifted {
            let details = json!({"external_id": id.as_str()});
            self.audit_source(&mut tx, actor, "user.deletion_lifted", source, details)
                .await?;
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
        StoreErrorKind::NotFound,
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
        Field::Billable => json!(user.billable),
        Field::Attribute(key) => user.attributes.get(&**key).cloned().unwrap_or_default(),
        _ => Json::Null,
    }
}

/// Ids of the active users who can administer, before a transaction that may take some of them away.
///
/// The roles are locked for its rest: of two that each leave the other's administrator, one has to wait and look again.
pub(super) async fn administrators(tx: &mut Tx, roles: &RolePolicy) -> Result<BTreeSet<String>, StoreError> {
    for role in administrative(tx.rows(ROLES, args![]).await?, roles)? {
        tx.execute(LOCK_ROLE, args![role]).await?;
    }
    remaining(tx, roles).await
}

/// Those of the roles that there are that administer. Names are compared by the core alone: the engines fold letters
/// in ways of their own.
fn administrative(rows: Vec<Row>, roles: &RolePolicy) -> Result<Vec<String>, StoreError> {
    let names: Result<Vec<String>, StoreError> = rows.into_iter().map(|mut row| row.text()).collect();
    Ok(names?.into_iter().filter(|name| roles.administers(name)).collect())
}

async fn remaining(tx: &mut Tx, roles: &RolePolicy) -> Result<BTreeSet<String>, StoreError> {
    let mut ids = BTreeSet::new();
    for role in administrative(tx.rows(ROLES, args![]).await?, roles)? {
        for mut row in tx.rows(ACTIVE_ROLES, args![role]).await? {
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
    if !before.is_empty() && remaining(tx, roles).await?.is_empty() {
        return Err(StoreError::new(
            StoreErrorKind::LastAdministrator,
            "this would leave no active administrator, so nothing was changed; give somebody else an administrator's role first",
        ));
    }
    Ok(())
}
