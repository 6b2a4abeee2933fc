//! SQLite: a file for the program, the rows and the WAL that a run wrote as they can be seen from outside, and the
//! floors with the program's own settings.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _, TypeInfo as _, ValueRef as _,
};
use tokio::runtime::Handle;

use crate::Outcome;
use crate::database::{Database, Written, migrate};
use crate::lock::Bystander;
use crate::program::Synced;
use crate::wal::Watch;

/// Rows of one statement of the bulk insert, as in the figures that the targets were drawn from.
const ROWS: usize = 500;

/// What is known of the rows that a run wrote: those that bear its number, and those that say that they are newer than
/// its start. A row of `memberships` says neither: there, the table has grown by it.
const WRITES: &str = "SELECT \
    (SELECT count(*) FROM users WHERE updated_at >= $2), \
    (SELECT count(*) FROM users WHERE updated_at >= $2) + (SELECT count(*) FROM organizations WHERE updated_at >= $2) \
    + (SELECT count(*) FROM records WHERE run_id = $1) + (SELECT count(*) FROM changes WHERE run_id = $1) \
    + (SELECT count(*) FROM audit WHERE run_id = $1) + (SELECT count(*) FROM run_organizations WHERE run_id = $1) \
    + (SELECT count(*) FROM runs WHERE id = $1) + (SELECT count(*) FROM memberships)";

/// A file, and the file before it is gone.
pub(crate) struct Sqlite {
    runtime: Handle,
    work: PathBuf,
    directory: Option<tempfile::TempDir>,
    /// Held open, and idle: without another connection the program would remove the WAL when it closes the file.
    held: Option<SqliteConnection>,
    /// Dropped after `held`: closing any descriptor of these files frees the locks of the whole process.
    watch: Option<Watch>,
    memberships: u64,
}

impl Sqlite {
    pub(crate) fn new(runtime: Handle, work: PathBuf) -> Self {
        Self {
            runtime,
            work,
            directory: None,
            held: None,
            watch: None,
            memberships: 0,
        }
    }

    /// The version, as it is shown.
    pub(crate) fn describe(&self) -> Outcome<String> {
        self.runtime.block_on(async {
            let mut memory = SqliteConnection::connect("sqlite::memory:").await?;
            let version: String = memory.fetch_one("SELECT sqlite_version()").await?.try_get(0)?;
            Ok(format!(
                "SQLite {version}: WAL, synchronous FULL, foreign keys, cache of 4 MB"
            ))
        })
    }

    fn file(&self) -> Outcome<PathBuf> {
        let directory = self.directory.as_ref().ok_or("there is no database yet")?;
        Ok(directory.path().join("rollcall.db"))
    }

    fn close(&mut self) -> Outcome<()> {
        if let Some(held) = self.held.take() {
            self.runtime.block_on(held.close())?;
        }
        self.watch = None;
        Ok(())
    }

    fn held(&mut self) -> Outcome<(&Handle, &mut SqliteConnection)> {
        Ok((&self.runtime, self.held.as_mut().ok_or("there is no database yet")?))
    }
}

/// Connects as the program does.
async fn connect(file: &std::path::Path) -> Outcome<SqliteConnection> {
    let options = SqliteConnectOptions::from_str(&format!("sqlite://{}", file.display()))?
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(60))
        .pragma("temp_store", "FILE")
        .pragma("cache_size", "-4000");
    Ok(options.connect().await?)
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

/// Binds every cell of a row as it was read.
fn bind<'q>(mut query: Query<'q>, row: &SqliteRow) -> Outcome<Query<'q>> {
    for at in 0..row.len() {
        let raw = row.try_get_raw(at)?;
        let integer = raw.type_info().name() == "INTEGER";
        query = match (raw.is_null(), integer) {
            (true, _) => query.bind(None::<String>),
            (false, true) => query.bind(row.try_get_unchecked::<i64, _>(at)?),
            (false, false) => query.bind(row.try_get_unchecked::<String, _>(at)?),
        };
    }
    Ok(query)
}

/// Copies the users of `from` into the empty table of `to`, in one transaction. Only what `to` does is counted.
async fn copy_users(from: &mut SqliteConnection, to: &mut SqliteConnection) -> Outcome<Duration> {
    let started = Instant::now();
    to.execute("BEGIN IMMEDIATE").await?;
    let mut took = started.elapsed();
    let mut last = 0_i64;
    loop {
        let page = sqlx::query("SELECT rowid, * FROM users WHERE rowid > $1 ORDER BY rowid LIMIT $2");
        let rows = page.bind(last).bind(ROWS as i64).fetch_all(&mut *from).await?;
        let Some(row) = rows.last() else { break };
        last = row.try_get(0)?;
        let one = format!("({})", vec!["?"; row.len()].join(","));
        let columns = row.columns_joined();
        let sql = format!(
            "INSERT INTO users (rowid, {columns}) VALUES {}",
            vec![one.as_str(); rows.len()].join(",")
        );
        let mut insert = sqlx::query(AssertSqlSafe(sql));
        for row in &rows {
            insert = bind(insert, row)?;
        }
        let started = Instant::now();
        insert.execute(&mut *to).await?;
        took += started.elapsed();
    }
    let started = Instant::now();
    to.execute("COMMIT").await?;
    Ok(took + started.elapsed())
}

trait Columns {
    fn columns_joined(&self) -> String;
}

impl Columns for SqliteRow {
    /// The names of all columns but the first.
    fn columns_joined(&self) -> String {
        use sqlx::Column as _;
        let names: Vec<&str> = self.columns().iter().skip(1).map(|column| column.name()).collect();
        names.join(", ")
    }
}

impl Database for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn fresh(&mut self) -> Outcome<String> {
        self.close()?;
        self.directory = Some(tempfile::tempdir_in(&self.work)?);
        let file = self.file()?;
        let url = format!("sqlite://{}", file.display());
        migrate(&self.work, &url)?;
        self.held = Some(self.runtime.block_on(connect(&file))?);
        // The files beside the database are there once it has been read.
        let (runtime, held) = self.held()?;
        runtime.block_on(held.execute("SELECT count(*) FROM users"))?;
        self.watch = Some(Watch::new(&file)?);
        Ok(url)
    }

    fn settle(&mut self) -> Outcome<()> {
        // SQLite does nothing by itself between two runs.
        Ok(())
    }

    fn count_from_here(&mut self) -> Outcome<()> {
        let (runtime, held) = self.held()?;
        runtime.block_on(held.execute("PRAGMA wal_checkpoint(TRUNCATE)"))?;
        let row = runtime.block_on(held.fetch_one("SELECT count(*) FROM memberships"))?;
        self.memberships = u64::try_from(row.try_get::<i64, _>(0)?)?;
        self.watch.as_mut().ok_or("there is no database yet")?.begin()
    }

    fn written(&mut self, synced: &Synced) -> Outcome<Written> {
        let wal_bytes = self.watch.as_mut().ok_or("there is no database yet")?.end()?;
        let memberships = self.memberships;
        // To the millisecond, and without the zone: the column may have fewer digits than the program says.
        let started = synced.started_at.trim_end_matches('Z');
        let started = started.get(..23).unwrap_or(started).to_owned();
        let run = synced.run.clone();
        let (runtime, held) = self.held()?;
        let row = runtime.block_on(sqlx::query(WRITES).bind(run).bind(started).fetch_one(held))?;
        let number = |at: usize| -> Outcome<u64> { Ok(u64::try_from(row.try_get::<i64, _>(at)?)?) };
        let rows = number(1)?.saturating_sub(memberships);
        Ok(Written {
            users: number(0)?,
            rows,
            wal_bytes,
            server_cpu: None,
        })
    }

    fn rows_in(&mut self) -> Outcome<Duration> {
        let directory = tempfile::tempdir_in(&self.work)?;
        let (from, to) = (self.file()?, directory.path().join("copy.db"));
        migrate(&self.work, &format!("sqlite://{}", to.display()))?;
        self.runtime.block_on(async {
            let (mut source, mut target) = (connect(&from).await?, connect(&to).await?);
            target
                .execute(AssertSqlSafe(format!("ATTACH '{}' AS source", from.display())))
                .await?;
            target.execute("DELETE FROM organizations").await?;
            target
                .execute("INSERT INTO organizations SELECT * FROM source.organizations")
                .await?;
            target.execute("DETACH source").await?;
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)").await?;
            let took = copy_users(&mut source, &mut target).await?;
            source.close().await?;
            target.close().await?;
            Ok(took)
        })
    }

    fn rows_out(&mut self) -> Outcome<Duration> {
        let (runtime, held) = self.held()?;
        runtime.block_on(async {
            let started = Instant::now();
            let mut values = 0_usize;
            let mut rows = held.fetch("SELECT * FROM users");
            while let Some(row) = rows.try_next().await? {
                for at in 0..row.len() {
                    values += usize::from(!row.try_get_raw(at)?.is_null());
                }
            }
            if values == 0 {
                Err("there are no users to read".into())
            } else {
                Ok(started.elapsed())
            }
        })
    }

    fn bystander(&self) -> Outcome<Option<Bystander>> {
        Ok(Some(Bystander::start(&self.runtime, &self.file()?)))
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // The file is thrown away with its directory.
        let _ = self.close();
    }
}
