//! The one place that speaks SQL. SQLite and PostgreSQL, the same statements where both take them.
//! Never judges: what becomes of an entry is decided in `domain`, what happens when in `engine`.

mod again;
mod apply;
mod audit;
mod bulk;
mod case;
mod comparison;
mod conditions;
mod drift;
mod edits;
mod error;
mod grants;
mod inspect;
mod json;
mod known;
mod lease;
mod migrate;
mod newcomers;
mod organizations;
mod plan;
mod plan_writer;
mod postgres;
mod quarantine;
mod queue;
mod row;
mod run_filter;
mod runs;
mod said;
mod source_state;
mod sql;
mod sqlite;
mod stale;
mod standing;
mod tokens;
mod user_pages;
mod users;
mod version;
mod vitals;
mod weigh;

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, SqliteConnection, SqlitePool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::{ContextV7, Uuid};

pub use apply::{Applied, Released};
pub use audit::{Actor, AuditFilter, AuditRow};
pub use case::{Case, Staged, StagedEntry};
pub use comparison::Comparison;
pub use conditions::Page;
pub use drift::{Drift, DriftFilter, DriftPlace};
pub use edits::{EditedFields, NewUser};
pub use error::{StoreError, StoreErrorKind};
pub use lease::{LEASE_SECONDS, Lease};
pub use newcomers::Newcomers;
pub use organizations::{KnownOrganization, Organization, OrganizationChange, OrganizationFilter};
pub use plan::{AppliedChange, QUARANTINE_STORED_MAX, StoredChange, Tally};
pub use plan_writer::PlanWriter;
pub use quarantine::{QuarantineFilter, QuarantineRow};
pub use run_filter::{ChangeFilter, RunFilter};
pub use runs::{Held, Listed, NewRun, RunError, RunRow};
pub use source_state::{Pause, SourceState};
pub use sql::Engine;
pub use standing::Standing;
pub use tokens::{NewToken, TokenRow};
pub use user_pages::{UserKey, UserOrder};
pub use users::{UserFilter, UserRow};
pub use version::Expected;

use bulk::Bulk;
use row::{Arg, Row};

/// Reads the time. The composition root passes the real clock, tests their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The local tables and Rollcall's bookkeeping, on one of two engines.
#[derive(Clone)]
pub struct Store {
    pools: Pools,
    turn: WriteTurn,
    clock: Clock,
    ids: Arc<Mutex<ContextV7>>,
}

#[derive(Clone)]
enum Pools {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Who writes to SQLite next. The file has one writer, and whoever waits for it there asks again and again and is not
/// served in order; within this process writers wait here instead, and hold no connection meanwhile.
#[derive(Clone)]
struct WriteTurn(Arc<Semaphore>);

impl WriteTurn {
    async fn take(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        match tokio::time::timeout(sqlite::BUSY_TIMEOUT, Arc::clone(&self.0).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(StoreError::new(
                StoreErrorKind::Busy,
                "another change of this program is still being written; try again when it has ended",
            )),
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("engine", &self.engine())
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Connects to the database of `url` (`sqlite:…`, `postgres:…`) without looking at its schema.
    ///
    /// # Errors
    /// With [`StoreErrorKind::Configuration`] where the URL cannot be one, else as the database answers.
    pub async fn connect(
        url: &str,
        password: Option<&str>,
        connections: u32,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let pools = if url.starts_with("sqlite:") {
            Pools::Sqlite(sqlite::open(url, connections).await?)
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            Pools::Postgres(postgres::open(url, password, connections).await?)
        } else {
            return Err(StoreError::new(
                StoreErrorKind::Configuration,
                "database.url is neither a sqlite: nor a postgres: URL; write for example sqlite:///var/lib/rollcall/rollcall.db",
            ));
        };
        Ok(Self {
            pools,
            turn: WriteTurn(Arc::new(Semaphore::new(1))),
            clock,
            ids: Arc::new(Mutex::new(ContextV7::new())),
        })
    }

    /// Connects, and brings the schema up to this version's where it is older.
    pub async fn open(url: &str, password: Option<&str>, connections: u32, clock: Clock) -> Result<Self, StoreError> {
        let store = Self::connect(url, password, connections, clock).await?;
        store.migrate().await?;
        Ok(store)
    }

    /// Which engine it is.
    pub fn engine(&self) -> Engine {
        match self.pools {
            Pools::Sqlite(_) => Engine::Sqlite,
            Pools::Postgres(_) => Engine::Postgres,
        }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// A new id (UUIDv7, RFC 9562): later ids sort after earlier ones, so that new rows lie together in an index.
    pub fn new_id(&self) -> Uuid {
        let now = self.now();
        let context = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
        Uuid::new_v7(uuid::Timestamp::from_unix(&*context, seconds, nanos))
    }

    /// Closes every connection, after what runs on them has ended.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite(pool) => pool.close().await,
            Pools::Postgres(pool) => pool.close().await,
        }
    }

    /// A connection of one's own: temporary tables live and die with it.
    async fn session(&self) -> Result<Session, StoreError> {
        Ok(match &self.pools {
            Pools::Sqlite(pool) => Session::Sqlite(pool.acquire().await?),
            Pools::Postgres(pool) => Session::Postgres(pool.acquire().await?),
        })
    }

    /// A transaction that will write: on SQLite it takes the write lock now, or its time-out would not be waited for.
    async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match &self.pools {
            Pools::Sqlite(pool) => {
                let turn = self.turn.take().await?;
                Tx::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?, turn)
            }
            Pools::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// A transaction that applies a plan. On PostgreSQL it is refused, and tried again, where somebody else commits a
    /// change of one of its rows after it began: what was checked is what is written.
    async fn begin_apply(&self) -> Result<Tx, StoreError> {
        Ok(match &self.pools {
            Pools::Sqlite(pool) => {
                let turn = self.turn.take().await?;
                Tx::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?, turn)
            }
            Pools::Postgres(pool) => Tx::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await?),
        })
    }

    /// One statement that writes, by itself.
    async fn execute(&self, sql: &str, args: &[Arg]) -> Result<u64, StoreError> {
        let _turn = self.turn_to_write().await?;
        self.session().await?.conn().execute(sql, args).await
    }

    /// The turn of a statement that writes by itself; there are none on PostgreSQL.
    async fn turn_to_write(&self) -> Result<Option<OwnedSemaphorePermit>, StoreError> {
        Ok(match &self.pools {
            Pools::Sqlite(_) => Some(self.turn.take().await?),
            Pools::Postgres(_) => None,
        })
    }

    /// Every row of one statement.
    async fn rows(&self, sql: &str, args: &[Arg]) -> Result<Vec<Row>, StoreError> {
        self.session().await?.conn().rows(sql, args).await
    }

    /// The first row of one statement, if any.
    async fn row(&self, sql: &str, args: &[Arg]) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// Every statement that is fixed at compile time, by file and name; a test prepares each on both engines.
    pub fn statements() -> impl Iterator<Item = (&'static str, &'static str)> {
        [
            apply::ALL,
            audit::ALL,
            comparison::ALL,
            drift::ALL,
            edits::ALL,
            grants::ALL,
            inspect::ALL,
            lease::ALL,
            organizations::ALL,
            plan::ALL,
            plan_writer::ALL,
            quarantine::ALL,
            queue::ALL,
            runs::ALL,
            source_state::ALL,
            stale::ALL,
            standing::ALL,
            tokens::ALL,
            user_pages::ALL,
            users::ALL,
            vitals::ALL,
            weigh::ALL,
        ]
        .into_iter()
        .flatten()
        .copied()
    }

    /// Prepares one statement without running it.
    ///
    /// # Errors
    /// As the engine says.
    pub async fn prepare(&self, sql: &str) -> Result<(), StoreError> {
        use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};
        let text = AssertSqlSafe(self.engine().statement(sql).into_owned()).into_sql_str();
        match &self.pools {
            Pools::Sqlite(pool) => drop(pool.acquire().await?.prepare(text).await?),
            Pools::Postgres(pool) => drop(pool.acquire().await?.prepare(text).await?),
        }
        Ok(())
    }
}

/// A connection taken from the pool.
enum Session {
    Sqlite(PoolConnection<sqlx::Sqlite>),
    Postgres(PoolConnection<sqlx::Postgres>),
}

impl Session {
    fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(c) => Conn::Sqlite(c),
            Self::Postgres(c) => Conn::Postgres(c),
        }
    }
}

/// A transaction that rolls back when it is dropped.
enum Tx {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>, OwnedSemaphorePermit),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

impl Tx {
    fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(t, _) => Conn::Sqlite(t),
            Self::Postgres(t) => Conn::Postgres(t),
        }
    }

    async fn execute(&mut self, sql: &str, args: &[Arg]) -> Result<u64, StoreError> {
        self.conn().execute(sql, args).await
    }

    async fn rows(&mut self, sql: &str, args: &[Arg]) -> Result<Vec<Row>, StoreError> {
        self.conn().rows(sql, args).await
    }

    async fn row(&mut self, sql: &str, args: &[Arg]) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(t, _turn) => t.commit().await?,
            Self::Postgres(t) => t.commit().await?,
        }
        Ok(())
    }
}

/// A connection of either engine, borrowed for a statement or two.
enum Conn<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl<'c> Conn<'c> {
    fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    async fn execute(&mut self, sql: &str, args: &[Arg]) -> Result<u64, StoreError> {
        let text = self.engine().statement(sql).into_owned();
        match self {
            Self::Sqlite(c) => sqlite::execute(c, text, args).await,
            Self::Postgres(c) => postgres::execute(c, text, args).await,
        }
    }

    fn stream(self, sql: &str, args: &[Arg]) -> BoxStream<'c, Result<Row, StoreError>> {
        let text = self.engine().statement(sql).into_owned();
        match self {
            Self::Sqlite(c) => sqlite::stream(c, text, args).boxed(),
            Self::Postgres(c) => postgres::stream(c, text, args).boxed(),
        }
    }

    async fn rows(&mut self, sql: &str, args: &[Arg]) -> Result<Vec<Row>, StoreError> {
        let text = self.engine().statement(sql).into_owned();
        match self {
            Self::Sqlite(c) => sqlite::stream(c, text, args).try_collect().await,
            Self::Postgres(c) => postgres::stream(c, text, args).try_collect().await,
        }
    }

    /// Inserts many rows the fastest way the engine has. `into` is `table (column, …)`.
    async fn insert(&mut self, into: &str, rows: Bulk) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        match (self, rows) {
            (Self::Sqlite(c), Bulk::Bound(rows)) => sqlite::insert(c, into, rows).await,
            (Self::Postgres(c), Bulk::Lines(rows)) => postgres::insert(c, into, &rows).await,
            _ => Err(StoreError::new(
                StoreErrorKind::Internal,
                "rows were gathered for another engine; this is a defect worth reporting",
            )),
        }
    }

    /// The same, of rows whose values stand together.
    async fn bulk_insert(&mut self, into: &str, columns: usize, rows: Vec<Vec<Arg>>) -> Result<(), StoreError> {
        let mut bulk = Bulk::new(self.engine(), &[], columns);
        rows.into_iter().for_each(|row| bulk.push(row));
        self.insert(into, bulk).await
    }
}
