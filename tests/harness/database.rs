//! A database for one test, on either engine.

use std::sync::Arc;

use rollcall::store::{Clock, Store};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::postgres;

/// A database that is gone after the test.
pub(crate) struct Database {
    /// What the configuration calls `database.url`.
    pub(crate) url: String,
    _directory: Option<tempfile::TempDir>,
}

/// The real time.
pub(crate) fn clock() -> Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test is a composition root: it reads the clock"
    )]
    Arc::new(jiff::Timestamp::now)
}

impl Database {
    /// An empty SQLite file.
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let url = format!("sqlite://{}", directory.path().join("rollcall.db").display());
        Self {
            url,
            _directory: Some(directory),
        }
    }

    /// An empty PostgreSQL database.
    pub(crate) async fn postgres() -> Self {
        let name = format!(
            "test_{}",
            uuid::Builder::from_random_bytes(random()).into_uuid().simple()
        );
        let server = postgres::server();
        let mut admin = sqlx::PgConnection::connect(&format!("{server}/postgres"))
            .await
            .expect("PostgreSQL answers");
        admin
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await
            .expect("database made");
        Self {
            url: format!("{server}/{name}"),
            _directory: None,
        }
    }

    /// A database that is there already, and stays.
    pub(crate) fn of(url: String) -> Self {
        Self { url, _directory: None }
    }

    /// The store on it, with the schema of this version.
    pub(crate) async fn store(&self) -> Store {
        Store::open(&self.url, None, 5, clock()).await.expect("store opens")
    }

    /// Whether it is SQLite.
    pub(crate) fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite")
    }

    /// Runs plain SQL, as an application or an administrator would.
    pub(crate) async fn sql(&self, sql: &str) -> u64 {
        self.try_sql(sql).await.expect("plain SQL")
    }

    /// The same, which may be refused.
    pub(crate) async fn try_sql(&self, sql: &str) -> Result<u64, sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_sqlite() {
            let mut c = sqlx::SqliteConnection::connect(&format!("{}?mode=rwc", self.url)).await?;
            Ok(c.execute(sql).await?.rows_affected())
        } else {
            let mut c = sqlx::PgConnection::connect(&self.url).await?;
            Ok(c.execute(sql).await?.rows_affected())
        }
    }

    /// The rows of a query, every value as text (cast to text in the query), NULL as `-`, joined by `|`.
    pub(crate) async fn query(&self, sql: &str) -> Vec<String> {
        use sqlx::Row as _;
        let sql = AssertSqlSafe(sql.to_owned());
        let line = |cells: Vec<Option<String>>| {
            cells
                .into_iter()
                .map(|c| c.unwrap_or_else(|| "-".into()))
                .collect::<Vec<_>>()
                .join("|")
        };
        if self.is_sqlite() {
            let mut c = sqlx::SqliteConnection::connect(&self.url).await.expect("connects");
            let rows = c.fetch_all(sql).await.expect("query");
            rows.iter()
                .map(|r| line((0..r.len()).map(|i| r.get_unchecked(i)).collect()))
                .collect()
        } else {
            let mut c = sqlx::PgConnection::connect(&self.url).await.expect("connects");
            let rows = c.fetch_all(sql).await.expect("query");
            rows.iter()
                .map(|r| line((0..r.len()).map(|i| r.get(i)).collect()))
                .collect()
        }
    }
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut file = std::fs::File::open("/dev/urandom").expect("random bytes");
    std::io::Read::read_exact(&mut file, &mut bytes).expect("random bytes");
    bytes
}

/// Makes each test twice: `sqlite::NAME` and `postgres::NAME`, from `async fn NAME(db: Database)`.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::harness::database::Database::sqlite().await).await; })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::harness::database::Database::postgres().await).await; })*
        }
    };
}
pub(crate) use on_both_engines;
