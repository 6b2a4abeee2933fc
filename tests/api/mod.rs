//! The API from outside: the real daemon as a process, asked over its port, on both engines where the store matters.

mod auth;
mod desk;
mod documents;
mod events;
mod firms;
mod limits;
mod people;
mod problems;
mod runs;
mod sources;

use rollcall::domain::id::SourceName;
use rollcall::store::{Lease, Store};

use crate::harness::daemon::{Api, Daemon, QUIET, eventually, token};
use crate::harness::database::Database;
use crate::runs_connex::stage::Stage;

/// A directory, a daemon that can read it, and a client that may everything.
struct Served {
    stage: Stage,
    daemon: Daemon,
    /// The token of `admin`.
    secret: String,
    admin: Api,
}

impl Served {
    /// Nothing is synced yet. `http` comes into the section of that name.
    async fn with(db: Database, http: &str) -> Self {
        let stage = Stage::new(db).await;
        stage.configure(&format!("{QUIET}{http}"));
        let secret = token(&stage.program, "tests", "admin");
        let daemon = Daemon::start(&stage.program).await;
        let admin = daemon.api(&secret);
        Self {
            stage,
            daemon,
            secret,
            admin,
        }
    }

    async fn new(db: Database) -> Self {
        Self::with(db, "").await
    }

    /// After a first run of everything, over the API.
    async fn synced(db: Database) -> Self {
        let served = Self::new(db).await;
        let run = served.sync("/sources/connex/sync").await;
        assert_eq!((&run["state"], &run["plan"]["create"]), (&"applied".into(), &30.into()));
        served
    }

    /// Runs, and answers the finished run.
    async fn sync(&self, path: &str) -> serde_json::Value {
        let answer = self.admin.post(&format!("{path}?wait=60"), serde_json::json!({})).await;
        answer.is(200)
    }

    /// Takes the source, so that a run of it has to wait until the lease is given back.
    async fn hold_source(&self) -> (Store, Lease) {
        let store = self.stage.db.store().await;
        let source = SourceName::parse("connex").expect("a name");
        // A run whose end can be seen already holds its source for another moment.
        let lease = eventually("the source", async || store.take_lease(&source).await.ok()).await;
        (store, lease)
    }
}
