//! Brings a database to this version's schema, and refuses one that is newer or is not ours.
//!
//! Not sqlx's migrator: on SQLite that takes no lock, so two programs that start together would both migrate. Here all
//! that is missing is applied in one transaction behind one lock, so that a kill leaves the database as it was.

use super::error::{StoreError, StoreErrorKind};
use super::row::args;
use super::sql::Engine;
use super::{Conn, Pools, Store, Tx};

struct Migration {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "first",
    sqlite: include_str!("../../migrations/sqlite/0001_first.sql"),
    postgres: include_str!("../../migrations/postgres/0001_first.sql"),
}];

/// Any number, the same for every Rollcall: the advisory lock that migrating programs queue for on PostgreSQL.
const ADVISORY_LOCK: i64 = 0x726f_6c6c_6361_6c6c;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS rollcall_schema \
    (version bigint PRIMARY KEY NOT NULL, name text NOT NULL, applied_at text NOT NULL)";

impl Store {
    /// The newest version that this program knows.
    pub fn newest_schema() -> i64 {
        MIGRATIONS.last().map_or(0, |m| m.version)
    }

    /// The version that the database has; 0 where it has none of our tables.
    pub async fn schema_version(&self) -> Result<i64, StoreError> {
        let exists = match self.engine() {
            Engine::Sqlite => "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'rollcall_schema'",
            Engine::Postgres => "SELECT 1 FROM pg_catalog.pg_class WHERE oid = to_regclass('rollcall_schema')",
        };
        if self.row(exists, args![]).await?.is_none() {
            return Ok(0);
        }
        match self
            .row("SELECT coalesce(max(version), 0) FROM rollcall_schema", args![])
            .await?
        {
            Some(mut row) => row.int(),
            None => Ok(0),
        }
    }

    /// Applies what is missing; answers the versions that were applied.
    ///
    /// # Errors
    /// [`StoreErrorKind::Schema`] where the database is newer than this program, or has tables that are not ours.
    pub async fn migrate(&self) -> Result<Vec<i64>, StoreError> {
        let found = self.schema_version().await?;
        if found > Self::newest_schema() {
            return Err(StoreError::new(
                StoreErrorKind::Schema,
                format!(
                    "the database has schema version {found}, newer than this program's {}; install the newer program, or restore a backup from before the upgrade",
                    Self::newest_schema()
                ),
            ));
        }
        if found == Self::newest_schema() {
            return Ok(vec![]);
        }
        let mut tx = self.begin().await?;
        if let Tx::Postgres(_) = tx {
            tx.execute("SELECT pg_advisory_xact_lock($1)", args![ADVISORY_LOCK])
                .await?;
        }
        tx.execute(CREATE, args![]).await?;
        // Another program may have migrated while we waited for the lock.
        let found = match tx
            .row("SELECT coalesce(max(version), 0) FROM rollcall_schema", args![])
            .await?
        {
            Some(mut row) => row.int()?,
            None => 0,
        };
        let mut applied = Vec::new();
        for migration in MIGRATIONS.iter().filter(|m| m.version > found) {
            let script = if self.engine() == Engine::Sqlite {
                migration.sqlite
            } else {
                migration.postgres
            };
            run_script(tx.conn(), script)
                .await
                .map_err(|e| foreign_tables(migration, e))?;
            let insert = "INSERT INTO rollcall_schema (version, name, applied_at) VALUES ($1, $2, $3)";
            tx.execute(insert, args![migration.version, migration.name, self.now()])
                .await?;
            applied.push(migration.version);
        }
        tx.commit().await?;
        Ok(applied)
    }

    /// Collects statistics, without which a table that was just filled is joined badly. None of plans: there each run
    /// is looked at alone, and SQLite would take the first one, which is nearly all of them, for what every run is like.
    pub async fn analyze(&self) -> Result<(), StoreError> {
        let statements: &[&str] = match self.pools {
            Pools::Sqlite(_) => &[
                "PRAGMA analysis_limit = 1000",
                "ANALYZE users",
                "ANALYZE organizations",
                "ANALYZE memberships",
                "ANALYZE groups",
                "ANALYZE records",
            ],
            // What is joined and counted by; the texts that people read would take most of the time.
            Pools::Postgres(_) => &[
                "ANALYZE users (id, kind, organization_id, status), organizations, memberships, groups, \
                 records (source, external_id, user_id, organization_id, absent)",
            ],
        };
        let _turn = self.turn_to_write().await?;
        let mut session = self.session().await?;
        for sql in statements {
            session.conn().execute(sql, args![]).await?;
        }
        Ok(())
    }
}

async fn run_script(conn: Conn<'_>, script: &'static str) -> Result<(), StoreError> {
    match conn {
        Conn::Sqlite(c) => sqlx::raw_sql(script).execute(c).await.map(drop)?,
        Conn::Postgres(c) => sqlx::raw_sql(script).execute(c).await.map(drop)?,
    }
    Ok(())
}

fn foreign_tables(migration: &Migration, error: StoreError) -> StoreError {
    if !matches!(error.kind, StoreErrorKind::Internal) {
        return error;
    }
    StoreError {
        kind: StoreErrorKind::Schema,
        message: format!(
            "schema version {} ({}) cannot be applied; does the database hold tables of another program? Give Rollcall a database or schema of its own",
            migration.version, migration.name
        ),
        cause: error.cause,
    }
}
