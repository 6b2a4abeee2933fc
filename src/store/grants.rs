//! The roles that a plan grants. Of the users that it creates most have one of a few sets of roles, so each set is taken
//! apart once, and its users are found by it.

use super::Tx;
use super::error::StoreError;
use super::row::{Arg, args};
use super::said::bit;
use super::sql::{Engine, statements};
use crate::domain::field::Field;
use crate::domain::id::RunId;

/// How many different sets of roles are looked at together.
const SETS_AT_ONCE: usize = 1_000;

/// What PostgreSQL's triggers of `memberships` go by, until the transaction ends.
const UNCHECKED: &str = "SELECT set_config('rollcall.memberships', $1, true)";

const GRANTED_TABLE: &str = "granted (roles text COLLATE \"C\" NOT NULL, name text COLLATE \"C\" NOT NULL)";

statements! {
    SETS = "SELECT DISTINCT c.roles FROM changes c WHERE c.run_id = $1::uuid AND c.action = 'create' \
        AND c.given & $2 <> 0 AND c.roles > $3 ORDER BY c.roles LIMIT $4";
    NAMES = "SELECT DISTINCT name FROM granted";
    NEW = "SELECT DISTINCT n.name FROM granted n \
        WHERE NOT EXISTS (SELECT 1 FROM groups g WHERE g.kind = 'role' AND g.name = n.name)";
    WRITE = "INSERT INTO memberships (user_id, group_id, origin) SELECT c.user_id, g.id, 'directory' FROM changes c \
        JOIN granted n ON n.roles = c.roles JOIN groups g ON g.kind = 'role' AND g.name = n.name \
        WHERE c.run_id = $1::uuid AND c.action = 'create' AND c.given & $2 <> 0";
    NAMES_OF_OTHERS = "SELECT DISTINCT role.value FROM changes c CROSS JOIN {roles} WHERE c.run_id = $1::uuid \
        AND c.action NOT IN ('create', 'remember')";
    NEW_OF_OTHERS = "SELECT DISTINCT role.value FROM changes c CROSS JOIN {roles} WHERE c.run_id = $1::uuid \
        AND c.action NOT IN ('create', 'remember') \
        AND NOT EXISTS (SELECT 1 FROM groups g WHERE g.kind = 'role' AND g.name = role.value)";
    REVOKE = "DELETE FROM memberships WHERE origin = 'directory' AND user_id IN \
        (SELECT user_id FROM changes WHERE run_id = $1::uuid AND action <> 'create' AND fields -> 'roles' IS NOT NULL) \
        AND group_id IN (SELECT id FROM groups WHERE kind = 'role')";
    WRITE_OTHERS = "INSERT INTO memberships (user_id, group_id, origin) SELECT c.user_id, g.id, 'directory' FROM changes c \
        CROSS JOIN {roles} JOIN groups g ON g.kind = 'role' AND g.name = role.value \
        WHERE c.run_id = $1::uuid AND c.action NOT IN ('create', 'remember') ON CONFLICT DO NOTHING";
}

fn others(engine: Engine, sql: &str) -> String {
    sql.replace("{roles}", &engine.each_role("c.fields -> 'roles' -> 'after'"))
}

/// Lists the roles that the plan grants to the users that it creates, in a table that the transaction has to itself.
pub(super) async fn list(tx: &mut Tx, run: RunId) -> Result<(), StoreError> {
    let mut conn = tx.conn();
    let engine = conn.engine();
    conn.execute(&engine.drop_temporary_table("granted"), args![]).await?;
    conn.execute(&engine.temporary_table(GRANTED_TABLE), args![]).await?;
    let mut last = String::new();
    loop {
        let page = args![run, bit(&Field::Roles), &last, SETS_AT_ONCE as u64];
        let sets: Vec<String> = conn
            .rows(SETS, page)
            .await?
            .into_iter()
            .map(|mut row| row.text())
            .collect::<Result<_, _>>()?;
        let Some(newest) = sets.last() else { return Ok(()) };
        last.clone_from(newest);
        let rows = sets
            .iter()
            .flat_map(|roles| roles.lines().map(move |name| vec![Arg::from(roles), Arg::from(name)]))
            .collect();
        conn.bulk_insert("granted (roles, name)", 2, rows).await?;
    }
}

async fn names(tx: &mut Tx, sql: &str, args: &[Arg]) -> Result<Vec<String>, StoreError> {
    let rows = tx.rows(sql, args).await?;
    rows.into_iter().map(|mut row| row.text()).collect()
}

/// Every role that the plan grants to somebody; after [`list`] where it creates users.
pub(super) async fn all_roles(
    tx: &mut Tx,
    engine: Engine,
    run: RunId,
    creates: bool,
) -> Result<Vec<String>, StoreError> {
    let mut all = names(tx, &others(engine, NAMES_OF_OTHERS), args![run]).await?;
    if creates {
        all.extend(names(tx, NAMES, args![]).await?);
    }
    Ok(all)
}

/// Those of the listed roles that are not here yet.
pub(super) async fn new_roles(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    names(tx, NEW, args![]).await
}

/// The roles of changed users that are not here yet.
pub(super) async fn new_roles_of_others(tx: &mut Tx, engine: Engine, run: RunId) -> Result<Vec<String>, StoreError> {
    names(tx, &others(engine, NEW_OF_OTHERS), args![run]).await
}

/// Grants the listed roles to the users that the plan creates.
pub(super) async fn write(tx: &mut Tx, run: RunId) -> Result<(), StoreError> {
    let mut conn = tx.conn();
    let engine = conn.engine();
    // These users were created by this transaction, and the groups are joined: there is nothing to be looked up again.
    if engine == Engine::Postgres {
        conn.execute(UNCHECKED, args!["of created users"]).await?;
    }
    conn.execute(WRITE, args![run, bit(&Field::Roles)]).await?;
    if engine == Engine::Postgres {
        conn.execute(UNCHECKED, args![""]).await?;
    }
    conn.execute(&engine.drop_temporary_table("granted"), args![])
        .await
        .map(drop)
}

/// Brings the roles of the users that the plan changes to what it says.
pub(super) async fn write_others(tx: &mut Tx, engine: Engine, run: RunId) -> Result<(), StoreError> {
    tx.execute(REVOKE, args![run]).await?;
    tx.execute(&others(engine, WRITE_OTHERS), args![run]).await.map(drop)
}
