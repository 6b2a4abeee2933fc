//! PostgreSQL: a database for the program on the cluster that `tests/with-servers --durable` has started, the rows and
//! the WAL that a run wrote as the server counts them, and the floors by COPY.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use tokio::runtime::Handle;

use crate::Outcome;
use crate::child;
use crate::database::{Database, Written, migrate};
use crate::program::Synced;

/// Where `tests/with-servers` says that its cluster is: a superuser's URL without a database.
pub(crate) const SERVER: &str = "ROLLCALL_TEST_POSTGRES";

/// Longest wait for the program's connections to be gone from the server's list once it has ended.
const GONE_MAX: Duration = Duration::from_secs(20);

/// Tables whose rows an application reads.
const WRITES: &str = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del) FILTER (WHERE relname = 'users'), 0)::bigint, \
    coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables WHERE schemaname = 'public'";

/// A server, and the database of the moment.
pub(crate) struct Postgres {
    runtime: Handle,
    work: PathBuf,
    server: String,
    postmaster: u32,
    number: usize,
    before: Counted,
}

/// Counters of the server.
#[derive(Default, Clone, Copy)]
struct Counted {
    users: u64,
    rows: u64,
    wal: u64,
    cpu: Duration,
}

impl Postgres {
    pub(crate) fn new(runtime: Handle, work: PathBuf) -> Outcome<Self> {
        let server = std::env::var(SERVER).map_err(|_| format!("{SERVER} is not set; run this by `make bench`"))?;
        let postmaster = runtime.block_on(async {
            let mut admin = PgConnection::connect(&format!("{server}/postgres")).await?;
            let file = admin
                .fetch_one("SELECT pg_read_file('postmaster.pid')")
                .await?
                .try_get::<String, _>(0)?;
            Outcome::Ok(file.lines().next().unwrap_or_default().parse()?)
        })?;
        Ok(Self {
            runtime,
            work,
            server,
            postmaster,
            number: 0,
            before: Counted::default(),
        })
    }

    /// The version and the settings that weigh, as they are shown.
    pub(crate) fn describe(&self) -> Outcome<String> {
        self.runtime.block_on(async {
            let mut admin = PgConnection::connect(&format!("{}/postgres", self.server)).await?;
            let settings = "SELECT 'PostgreSQL ' || current_setting('server_version') || ': ' || \
                string_agg(name || ' ' || current_setting(name), ', ' ORDER BY name) FROM pg_settings WHERE name IN \
                ('fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'max_wal_size', 'autovacuum')";
            Ok(admin.fetch_one(settings).await?.try_get(0)?)
        })
    }

    fn name(&self, what: &str) -> String {
        format!("speed_{what}_{}", self.number)
    }

    fn url(&self, database: &str) -> String {
        format!("{}/{database}", self.server)
    }

    async fn connect(&self, what: &str) -> Outcome<PgConnection> {
        Ok(PgConnection::connect(&self.url(&self.name(what))).await?)
    }

    async fn make(&self, what: &str) -> Outcome<()> {
        let mut admin = PgConnection::connect(&self.url("postgres")).await?;
        admin
            .execute(AssertSqlSafe(format!("CREATE DATABASE {}", self.name(what))))
            .await?;
        Ok(())
    }

    async fn drop_database(&self, what: &str) -> Outcome<()> {
        let mut admin = PgConnection::connect(&self.url("postgres")).await?;
        let name = self.name(what);
        admin
            .execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")))
            .await?;
        Ok(())
    }

    /// Waits until the program's connections have ended: a backend tells its counts when it ends, at the latest.
    async fn wait_until_gone(&self) -> Outcome<()> {
        let mut admin = PgConnection::connect(&self.url("postgres")).await?;
        let others = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'",
            self.name("users")
        );
        let deadline = Instant::now() + GONE_MAX;
        while admin
            .fetch_one(AssertSqlSafe(others.clone()))
            .await?
            .try_get::<i64, _>(0)?
            > 0
        {
            if Instant::now() > deadline {
                return Err("somebody else is connected to the database".into());
            }
            // Between two looks; the server tells nobody when a backend ends.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    async fn counted(&self) -> Outcome<Counted> {
        self.wait_until_gone().await?;
        let cpu = child::usage_of_group(self.postmaster)?;
        let mut connection = self.connect("users").await?;
        let wal = connection
            .fetch_one("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
            .await?;
        let rows = connection.fetch_one(WRITES).await?;
        connection.close().await?;
        let number =
            |row: &sqlx::postgres::PgRow, at: usize| -> Outcome<u64> { Ok(u64::try_from(row.try_get::<i64, _>(at)?)?) };
        Ok(Counted {
            users: number(&rows, 0)?,
            rows: number(&rows, 1)?,
            wal: number(&wal, 0)?,
            cpu,
        })
    }

    /// Everything of a table, in COPY's text format, as it comes.
    async fn copied(&self, what: &str, table: &str) -> Outcome<Vec<axum::body::Bytes>> {
        let mut connection = self.connect(what).await?;
        let mut chunks = Vec::new();
        let mut stream = connection.copy_out_raw(&format!("COPY {table} TO STDOUT")).await?;
        while let Some(chunk) = stream.next().await {
            chunks.push(chunk?);
        }
        Ok(chunks)
    }

    async fn copy_in(&self, what: &str, table: &str, chunks: Vec<axum::body::Bytes>) -> Outcome<Duration> {
        let mut connection = self.connect(what).await?;
        // Rows of a few hundred bytes come one a message; the floor is not to be spoilt by that.
        let mut pieces: Vec<Vec<u8>> = vec![Vec::new()];
        for chunk in chunks {
            if pieces.last().is_some_and(|piece| piece.len() > 128 * 1024) {
                pieces.push(Vec::new());
            }
            if let Some(piece) = pieces.last_mut() {
                piece.extend_from_slice(&chunk);
            }
        }
        connection.execute("CHECKPOINT").await?;
        let started = Instant::now();
        let mut copy = connection.copy_in_raw(&format!("COPY {table} FROM STDIN")).await?;
        for piece in pieces {
            copy.send(piece).await?;
        }
        copy.finish().await?;
        Ok(started.elapsed())
    }

    async fn floor_in(&self) -> Outcome<Duration> {
        let organizations = self.copied("users", "organizations").await?;
        let users = self.copied("users", "users").await?;
        self.connect("copy").await?.execute("DELETE FROM organizations").await?;
        self.copy_in("copy", "organizations", organizations).await?;
        self.copy_in("copy", "users", users).await
    }
}

impl Database for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn fresh(&mut self) -> Outcome<String> {
        self.runtime.block_on(self.drop_database("users"))?;
        self.number += 1;
        self.runtime.block_on(self.make("users"))?;
        let url = self.url(&self.name("users"));
        migrate(&self.work, &url)?;
        Ok(url)
    }

    fn settle(&mut self) -> Outcome<()> {
        self.runtime.block_on(async {
            let mut connection = self.connect("users").await?;
            // Autovacuum does this within a minute; done here, it does not fall into a measurement by chance.
            connection.execute("VACUUM ANALYZE").await?;
            Ok(connection.close().await?)
        })
    }

    fn count_from_here(&mut self) -> Outcome<()> {
        self.runtime.block_on(async {
            let mut admin = PgConnection::connect(&self.url("postgres")).await?;
            admin.execute("CHECKPOINT").await?;
            Outcome::Ok(admin.close().await?)
        })?;
        self.before = self.runtime.block_on(self.counted())?;
        Ok(())
    }

    fn written(&mut self, _: &Synced) -> Outcome<Written> {
        let after = self.runtime.block_on(self.counted())?;
        Ok(Written {
            users: after.users - self.before.users,
            rows: after.rows - self.before.rows,
            wal_bytes: after.wal - self.before.wal,
            server_cpu: Some(after.cpu.saturating_sub(self.before.cpu)),
        })
    }

    fn rows_in(&mut self) -> Outcome<Duration> {
        self.runtime.block_on(self.make("copy"))?;
        migrate(&self.work, &self.url(&self.name("copy")))?;
        let took = self.runtime.block_on(self.floor_in())?;
        self.runtime.block_on(self.drop_database("copy"))?;
        Ok(took)
    }

    fn rows_out(&mut self) -> Outcome<Duration> {
        self.runtime.block_on(async {
            let mut connection = self.connect("users").await?;
            let started = Instant::now();
            let mut stream = connection.copy_out_raw("COPY users TO STDOUT").await?;
            let mut bytes = 0;
            while let Some(chunk) = stream.next().await {
                bytes += chunk?.len();
            }
            let took = started.elapsed();
            if bytes == 0 {
                Err("there are no users to copy out".into())
            } else {
                Ok(took)
            }
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The cluster goes away as a whole after this; a million rows need not lie about until then.
        let _ = self.runtime.block_on(self.drop_database("users"));
    }
}
