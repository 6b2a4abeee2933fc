//! What is particular to SQLite: opening a file safely, binding, reading, and bulk inserts.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use backon::{ConstantBuilder, Retryable as _};
use futures_util::stream::{BoxStream, StreamExt};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Column, ConnectOptions as _, Row as _, SqliteConnection, TypeInfo, ValueRef};

use super::bulk::Bound;
use super::error::{StoreError, StoreErrorKind};
use super::row::{Arg, Cell, Row};

/// How long a statement waits for another writer (a backup, the command line) before it gives up.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens the file of `url`, making it where it is missing, readable by its owner alone: it holds personal data.
pub(super) async fn open(url: &str, connections: u32) -> Result<SqlitePool, StoreError> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|e| {
            StoreError::new(
                StoreErrorKind::Configuration,
                format!("database.url `{url}` is no SQLite URL ({e}); write sqlite:///absolute/path.db"),
            )
        })?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit that we reported must survive a power cut.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        // A slow statement is as long as its batch of rows, and says nothing that an operator could act on.
        .disable_statement_logging()
        .pragma("temp_store", "FILE")
        .pragma("cache_size", "-4000");
    create_private(options.get_filename())?;
    let pool = SqlitePoolOptions::new()
        .max_connections(connections.max(3))
        .min_connections(0)
        // Waiting for a connection is told by whoever gives up, and by nobody else.
        .acquire_slow_threshold(Duration::from_secs(3_600));
    // The first connection to a new file switches it to WAL, for which SQLite does not wait by itself where another
    // program is doing the same.
    let busy = |error: &StoreError| error.kind == StoreErrorKind::Busy;
    let wait = ConstantBuilder::default()
        .with_delay(OPEN_RETRY_DELAY)
        .with_max_times(OPEN_RETRIES_MAX);
    let open = || async { Ok(pool.clone().connect_with(options.clone()).await?) };
    open.retry(wait).when(busy).await
}

fn create_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    if path.exists() {
        return Ok(());
    }
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(_) => Ok(()),
        // Another program was a moment faster.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(StoreError::new(
            StoreErrorKind::Storage,
            format!(
                "the database file {} cannot be made ({e}); check that its directory exists and may be written by this user",
                path.display()
            ),
        )),
    }
}

/// How long to wait before a file that is being made by another program is opened again.
const OPEN_RETRY_DELAY: Duration = Duration::from_millis(100);

/// How often: with the delay, as long as any other statement waits.
const OPEN_RETRIES_MAX: usize = 300;

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind<'q>(sql: String, args: &[Arg]) -> Query<'q> {
    args.iter().cloned().fold(sqlx::query(AssertSqlSafe(sql)), bind_one)
}

pub(super) async fn execute(on: &mut SqliteConnection, sql: String, args: &[Arg]) -> Result<u64, StoreError> {
    Ok(bind(sql, args).execute(on).await?.rows_affected())
}

pub(super) fn stream<'c>(
    on: &'c mut SqliteConnection,
    sql: String,
    args: &[Arg],
) -> BoxStream<'c, Result<Row, StoreError>> {
    bind(sql, args).fetch(on).map(|row| read(&row?)).boxed()
}

fn read(row: &SqliteRow) -> Result<Row, StoreError> {
    let mut cells = Vec::with_capacity(row.len());
    for column in row.columns() {
        let at = column.ordinal();
        let raw = row.try_get_raw(at)?;
        let kind = raw.type_info().name().to_owned();
        cells.push(match kind.as_str() {
            _ if raw.is_null() => Cell::Null,
            "INTEGER" | "BOOLEAN" => Cell::Int(row.try_get_unchecked(at)?),
            // Another program may have written bytes that are no UTF-8; one such cell must not stop a run.
            _ => Cell::Text(String::from_utf8_lossy(row.try_get_unchecked::<&[u8], _>(at)?).into_owned()),
        });
    }
    Ok(Row::new(cells))
}

/// Inserts rows; `into` is `table (column, …)`.
pub(super) async fn insert(on: &mut SqliteConnection, into: &str, rows: Bound) -> Result<(), StoreError> {
    for (arguments, count) in rows.statements {
        let values = vec![rows.one.as_str(); count].join(",");
        let sql = AssertSqlSafe(format!("INSERT INTO {into} VALUES {values}"));
        sqlx::query_with(sql, arguments).execute(&mut *on).await?;
    }
    Ok(())
}

fn bind_one(query: Query<'_>, arg: Arg) -> Query<'_> {
    match arg {
        Arg::Text(v) => query.bind(v),
        Arg::Int(v) => query.bind(v),
        Arg::Bool(v) => query.bind(v),
    }
}
