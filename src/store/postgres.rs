//! What is particular to PostgreSQL: connecting, binding, reading, and COPY.

use std::str::FromStr;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, Column, ConnectOptions as _, Connection as _, PgConnection, Row as _, TypeInfo, ValueRef};

use super::bulk::Lines;
use super::error::{StoreError, StoreErrorKind};
use super::row::{Arg, Cell, Row};

/// How long a connection may take to be had.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(15);

/// How much of a COPY is sent in one message.
const COPY_BYTES_AT_ONCE: usize = 128 * 1024;

/// Connects to `url`. Times are spoken in UTC, whatever the server's zone.
pub(super) async fn open(url: &str, password: Option<&str>, connections: u32) -> Result<PgPool, StoreError> {
    let mut options = PgConnectOptions::from_str(url)
        .map_err(|e| {
            StoreError::new(
                StoreErrorKind::Configuration,
                format!("database.url is no PostgreSQL URL ({e}); write postgres://user@host/database"),
            )
        })?
        .application_name("rollcall")
        // A slow statement is as long as its batch of rows, and says nothing that an operator could act on.
        .disable_statement_logging()
        .options([
            ("timezone", "UTC"),
            ("lock_timeout", "60s"),
            // Our statements are many rows and few expressions: compiling them costs more than it saves.
            ("jit", "off"),
            ("idle_in_transaction_session_timeout", "15min"),
        ]);
    if let Some(password) = password {
        options = options.password(password);
    }
    // A pool goes on trying a server that refuses until its time is over, and then says only that it is over.
    let first = tokio::time::timeout(ACQUIRE_TIMEOUT, PgConnection::connect_with(&options)).await;
    let place = format!("PostgreSQL at {}:{}", options.get_host(), options.get_port());
    match first {
        Ok(Ok(connection)) => connection.close().await?,
        Ok(Err(sqlx::Error::Io(e))) => {
            let message =
                format!("{place} cannot be reached ({e}); check that it runs, and host and port in database.url");
            return Err(StoreError {
                kind: StoreErrorKind::Unreachable,
                message,
                cause: Some(Box::new(sqlx::Error::Io(e))),
            });
        }
        Ok(Err(e)) => return Err(e.into()),
        Err(_) => {
            let seconds = ACQUIRE_TIMEOUT.as_secs();
            let message = format!(
                "{place} did not answer within {seconds} s; check host and port in database.url, and the network between"
            );
            return Err(StoreError::new(StoreErrorKind::Unreachable, message));
        }
    }
    let pool = PgPoolOptions::new()
        .max_connections(connections.max(3))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Waiting for a connection is told by whoever gives up, and by nobody else.
        .acquire_slow_threshold(Duration::from_secs(3_600));
    Ok(pool.connect_lazy_with(options))
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bind<'q>(sql: String, args: &[Arg]) -> Query<'q> {
    args.iter()
        .fold(sqlx::query(AssertSqlSafe(sql)), |query, arg| match arg {
            Arg::Text(v) => query.bind(v.clone()),
            Arg::Int(v) => query.bind(*v),
            Arg::Bool(v) => query.bind(*v),
        })
}

pub(super) async fn execute(on: &mut PgConnection, sql: String, args: &[Arg]) -> Result<u64, StoreError> {
    Ok(bind(sql, args).execute(on).await?.rows_affected())
}

pub(super) fn stream<'c>(
    on: &'c mut PgConnection,
    sql: String,
    args: &[Arg],
) -> BoxStream<'c, Result<Row, StoreError>> {
    bind(sql, args).fetch(on).map(|row| read(&row?)).boxed()
}

fn read(row: &PgRow) -> Result<Row, StoreError> {
    let mut cells = Vec::with_capacity(row.len());
    for column in row.columns() {
        let at = column.ordinal();
        cells.push(match column.type_info().name() {
            _ if row.try_get_raw(at)?.is_null() => Cell::Null,
            "INT8" => Cell::Int(row.try_get(at)?),
            "INT4" => Cell::Int(row.try_get::<i32, _>(at)?.into()),
            "BOOL" => Cell::Int(row.try_get::<bool, _>(at)?.into()),
            _ => Cell::Text(row.try_get(at)?),
        });
    }
    Ok(Row::new(cells))
}

/// Inserts rows by COPY; `into` is `table (column, …)`.
pub(super) async fn insert(on: &mut PgConnection, into: &str, rows: &Lines) -> Result<(), StoreError> {
    let mut copy = on.copy_in_raw(&format!("COPY {into} FROM STDIN")).await?;
    for part in rows.text.chunks(COPY_BYTES_AT_ONCE) {
        copy.send(part).await?;
    }
    copy.finish().await?;
    Ok(())
}

/// A connection in the middle of a COPY. Left there, it would answer the next statement with the rest of the COPY: it
/// goes back to the pool only where the COPY came to its end.
struct Copying {
    connection: PoolConnection<sqlx::Postgres>,
    ended: bool,
}

impl Drop for Copying {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close_on_drop();
        }
    }
}

/// Streams the answer of `query` by COPY, line by line in its text format. The query takes no parameters.
pub(super) async fn copy_out(pool: &PgPool, query: &str, mut line: impl FnMut(&[u8])) -> Result<(), StoreError> {
    let mut copying = Copying {
        connection: pool.acquire().await?,
        ended: false,
    };
    let statement = format!("COPY ({query}) TO STDOUT");
    let mut chunks = copying.connection.copy_out_raw(&statement).await?;
    let mut rest: Vec<u8> = Vec::new();
    while let Some(chunk) = chunks.next().await {
        rest.extend_from_slice(&chunk?);
        let mut from = 0;
        while let Some(end) = rest[from..].iter().position(|b| *b == b'\n') {
            line(&rest[from..from + end]);
            from += end + 1;
        }
        rest.drain(..from);
    }
    drop(chunks);
    copying.ended = true;
    Ok(())
}
