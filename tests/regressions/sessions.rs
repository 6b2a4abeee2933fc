//! Two sessions of PostgreSQL at one row: what the other one committed while a sync or a command waited is seen.

use std::process::{Child, Output};

use serde_json::Value as Json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use crate::harness::database::Database;
use crate::harness::program::Program;
use crate::runs_connex::stage::Stage;
use rollcall::cli::directory::model::AccountStatus;

/// Another session, with a transaction open that has run `sql`.
struct Other(PgConnection);

impl Other {
    async fn begins(db: &Database, sql: &str) -> Self {
        let mut session = PgConnection::connect(&db.url).await.expect("connects");
        session.execute("BEGIN").await.expect("begins");
        let done = session.execute(AssertSqlSafe(sql.to_owned())).await.expect("plain SQL");
        assert!(done.rows_affected() > 0, "{sql} touches a row");
        Self(session)
    }

    async fn commits(mut self) {
        self.0.execute("COMMIT").await.expect("commits");
        self.0.close().await.expect("closes");
    }
}

/// Waits until so many sessions of the database wait for a lock: the program must not end before it does.
async fn until_blocked(db: &Database, sessions: i64, children: &mut [Child]) {
    let mut watch = PgConnection::connect(&db.url).await.expect("connects");
    loop {
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let found: i64 = watch.fetch_one(waiting).await.expect("a row").get(0);
        if found >= sessions {
            return;
        }
        for child in children.iter_mut() {
            let ended = child.try_wait().expect("a child");
            assert_eq!(ended, None, "it ended before it met the other session's row");
        }
        tokio::task::yield_now().await;
    }
}

fn start(program: &Program, arguments: &[&str]) -> Child {
    program.command(arguments).spawn().expect("started")
}

fn ended(child: Child) -> Output {
    child.wait_with_output().expect("ended")
}

/// Syncs while another session changes `set` of the user of p01, and commits when the sync waits for it.
async fn synced_against(stage: &Stage, set: &str) -> (i32, Json) {
    let user = stage.value("p01", "CAST(u.id AS text)").await;
    let other = Other::begins(&stage.db, &format!("UPDATE users SET {set} WHERE id = '{user}'")).await;
    let mut children = [start(&stage.program, &["sync", "connex", "--output", "json"])];
    until_blocked(&stage.db, 1, &mut children).await;
    other.commits().await;
    let [child] = children;
    let output = ended(child);
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("no document ({e}): {output:?}"));
    (output.status.code().expect("an exit code"), document)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_that_is_committed_while_a_sync_waits_is_on_record() {
    let stage = Stage::synced(Database::postgres().await).await;
    stage.edit("p01", |one| one.phone = Some("+1 555 0700".into()));
    let (code, run) = synced_against(&stage, "phone = '+1 555 0666'").await;
    assert_eq!((code, &run["state"]), (0, &"applied".into()), "{run:#}");
    assert_eq!(stage.value("p01", "u.phone").await, "+1 555 0700");
    let recorded = "SELECT fields -> 'phone' ->> 'before', fields -> 'phone' ->> 'drift' FROM changes \
        WHERE external_id = 'p01' AND action = 'update'";
    assert_eq!(stage.db.query(recorded).await, ["+1 555 0666|true"]);
    assert_eq!(run["plan"]["drift"], 1, "the run was decided anew: {run:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrators_disable_that_is_committed_while_a_sync_waits_stands() {
    let stage = Stage::synced(Database::postgres().await).await;
    stage.edit("p01", |one| one.status = AccountStatus::Disabled);
    let (code, run) = synced_against(&stage, "status = 'disabled', disabled_by = 'admin'").await;
    assert_eq!((code, &run["state"]), (0, &"applied".into()), "{run:#}");
    assert_eq!(run["plan"]["disable"], 0, "{run:#}");
    assert_eq!(stage.value("p01", "u.status, u.disabled_by").await, "disabled|admin");
    stage.edit("p01", |one| one.status = AccountStatus::Active);
    stage.sync(&[]).is(0, "applied");
    assert_eq!(stage.value("p01", "u.status, u.disabled_by").await, "disabled|admin");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_made_an_employee_while_a_sync_waits_is_untouched() {
    let stage = Stage::synced(Database::postgres().await).await;
    stage.edit("p01", |one| one.phone = Some("+1 555 0700".into()));
    let (code, run) = synced_against(&stage, "kind = 'employee'").await;
    assert_eq!((code, &run["state"]), (3, &"applied".into()), "{run:#}");
    assert_eq!(stage.value("p01", "u.kind, u.phone").await, "employee|+1 555 0101");
    assert_eq!(stage.quarantine().await, ["p01|user_is_employee"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_last_two_administrators_disabled_at_once_one_stays() {
    let db = Database::postgres().await;
    let program = Program::new(&format!(
        "[database]\nurl = \"{}\"\n[agency]\nname = \"Example Agency\"\n",
        db.url
    ));
    let both = ["one@agency.example", "two@agency.example"];
    for email in both {
        program.ok(&[
            "users",
            "create",
            "--email",
            email,
            "--first-name",
            "Sam",
            "--last-name",
            "Sample",
            "--role",
            "Admin",
        ]);
    }
    for round in 0..20 {
        // Both rows are held until both commands wait, so that neither is done before the other begins.
        let gate = Other::begins(&db, "UPDATE users SET updated_at = updated_at").await;
        let mut children = both.map(|email| start(&program, &["users", "disable", email]));
        until_blocked(&db, 2, &mut children).await;
        gate.commits().await;
        let mut codes = children.map(|child| ended(child).status.code());
        codes.sort();
        assert_eq!(codes, [Some(0), Some(1)], "round {round}");
        let active = db.query("SELECT email FROM users WHERE status = 'active'").await;
        assert_eq!(active.len(), 1, "round {round}: {active:?}");
        db.sql("UPDATE users SET status = 'active', disabled_by = NULL").await;
    }
}
