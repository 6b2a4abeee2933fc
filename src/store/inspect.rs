//! Reading for explanations and checks: one record, one reason, one address, and what kind of database this is.
//! Never changes anything: what it tries by writing is rolled back.

use std::path::PathBuf;
use std::str::FromStr as _;

use super::Store;
use super::case::{read_record, record_columns};
use super::edits::ACTIVE_ROLES;
use super::error::{StoreError, StoreErrorKind};
use super::quarantine::QuarantineRow;
use super::row::args;
use super::sql::{Engine, statements};
use crate::domain::id::{ExternalId, SourceName, UserId};
use crate::domain::record::Record;
use crate::domain::roles::RolePolicy;
use crate::domain::text::email_key;

statements! {
    RECORD = concat!("SELECT ", record_columns!(),
        " FROM records r LEFT JOIN organizations ro ON ro.id = r.organization_id WHERE r.source = $1 AND r.external_id = $2");
    ONE = "SELECT organization, code, detail, first_seen_at::text, last_seen_at::text, times \
        FROM quarantine WHERE source = $1 AND external_id = $2";
    WITH_ADDRESS = "SELECT id::text FROM users WHERE lower(email) = $1";
    WRITES_USERS = "UPDATE users SET kind = kind WHERE 1 = 0";
    WRITES_TABLES = "CREATE TABLE rollcall_check (tried bigint)";
}

impl Store {
    /// What the directory said of one entry when it was last applied.
    pub async fn record(&self, source: &SourceName, id: &ExternalId) -> Result<Option<Record>, StoreError> {
        match self.row(RECORD, args![source, id]).await? {
            Some(mut row) => read_record(&mut row, id.as_str()),
            None => Ok(None),
        }
    }

    /// Why an entry is kept out, if it is.
    pub async fn quarantined(&self, source: &SourceName, id: &ExternalId) -> Result<Option<QuarantineRow>, StoreError> {
        let Some(mut r) = self.row(ONE, args![source, id]).await? else {
            return Ok(None);
        };
        Ok(Some(QuarantineRow {
            source: source.clone(),
            external_id: id.as_str().to_owned(),
            organization: r.opt_text()?,
            code: r.text()?,
            detail: r.text()?,
            first_seen_at: r.time()?,
            last_seen_at: r.time()?,
            times: r.count()?,
        }))
    }

    /// The user with this address.
    pub async fn user_with_address(&self, address: &str) -> Result<Option<UserId>, StoreError> {
        match self.row(WITH_ADDRESS, args![email_key(address)]).await? {
            Some(mut row) => row.parsed().map(Some),
            None => Ok(None),
        }
    }

    /// Whether somebody else than `user` is an active administrator.
    pub async fn has_other_administrator(&self, user: Option<UserId>, roles: &RolePolicy) -> Result<bool, StoreError> {
        for role in self.administrative_roles(roles).await? {
            for mut row in self.rows(ACTIVE_ROLES, args![role]).await? {
                if Some(row.parsed()?) != user {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The version of the engine, as it calls itself.
    pub async fn engine_version(&self) -> Result<String, StoreError> {
        let sql = match self.engine() {
            Engine::Sqlite => "SELECT sqlite_version()",
            Engine::Postgres => "SELECT current_setting('server_version')",
        };
        match self.row(sql, args![]).await? {
            Some(mut row) => row.text(),
            None => Ok(String::new()),
        }
    }

    /// Tries to write, and rolls it back: into `users` where the schema is there, else by making a table.
    ///
    /// # Errors
    /// As the database answers where it may not be written.
    pub async fn try_writing(&self) -> Result<(), StoreError> {
        let has_schema = self.schema_version().await? > 0;
        let mut tx = self.begin().await?;
        let sql = if has_schema { WRITES_USERS } else { WRITES_TABLES };
        tx.execute(sql, args![]).await.map(drop)
    }

    /// The file of a SQLite URL; `None` for another engine.
    ///
    /// # Errors
    /// [`StoreErrorKind::Configuration`] where it is no URL of SQLite.
    pub fn file_of(url: &str) -> Result<Option<PathBuf>, StoreError> {
        if !url.starts_with("sqlite:") {
            return Ok(None);
        }
        let options = sqlx::sqlite::SqliteConnectOptions::from_str(url).map_err(|e| {
            StoreError::new(
                StoreErrorKind::Configuration,
                format!("database.url `{url}` is no SQLite URL ({e}); write sqlite:///absolute/path.db"),
            )
        })?;
        Ok(Some(options.get_filename().to_path_buf()))
    }
}
