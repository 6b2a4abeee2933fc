//! What happens to a run from outside while it is under way: frozen, overtaken, cut off from its database. It writes
//! all or nothing, says so in one sentence, and the next run converges.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rollcall::cli::directory::{self, Clock, Options, Running, Sample};
use sqlx::Connection as _;

use crate::harness::database::{Database, clock, on_both_engines};
use crate::harness::program::Program;

on_both_engines!(a_frozen_run_that_was_overtaken_writes_nothing);

/// A way to the directory that keeps its first connection waiting until it is told to let it through.
struct Gate {
    url: String,
    arrived: Receiver<()>,
    open: Sender<()>,
}

impl Gate {
    fn before(directory: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (arrive, arrived) = channel();
        let (open, opened) = channel();
        thread::spawn(move || {
            let mut shut = true;
            for from in listener.incoming().map_while(Result::ok) {
                if std::mem::take(&mut shut) && (arrive.send(()).is_err() || opened.recv().is_err()) {
                    return;
                }
                let to = TcpStream::connect(&directory).expect("the directory answers");
                pass(&from, &to);
                pass(&to, &from);
            }
        });
        Self { url, arrived, open }
    }
}

/// Passes on what arrives, in a thread of its own.
fn pass(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().expect("cloned"), to.try_clone().expect("cloned"));
    thread::spawn(move || {
        // A connection may end in any way here; the program's own words are looked at.
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

/// A directory, a program that has synced from it, and another that reads it through a gate.
struct Weather {
    _directory: Running,
    direct: Program,
    gated: Program,
    gate: Gate,
}

fn configuration(db: &Database, url: &str) -> String {
    format!(
        "[database]\nurl = \"{}\"\n\n[[sources]]\nname = \"connex\"\nkind = \"connex\"\nurl = \"{url}\"\n",
        db.url
    )
}

impl Weather {
    /// Everybody is synced, and everybody's title was edited here since, which the next run puts back.
    async fn new(db: &Database) -> Self {
        let time = clock();
        let mut options = Options::new("127.0.0.1:0".parse().expect("address"), Clock::new(move || time()));
        options.sample = Sample {
            organizations: 4,
            accounts: 60,
            ..Sample::default()
        };
        let directory = directory::start(options).await.expect("directory");
        let url = directory.url();
        let address = format!("127.0.0.1:{}", url.port().expect("a port"));
        let gate = Gate::before(address);
        let direct = Program::new(&configuration(db, url.as_str()));
        let gated = Program::new(&configuration(db, &gate.url));
        direct.ok(&["sync"]);
        edit(db).await;
        Self {
            _directory: directory,
            direct,
            gated,
            gate,
        }
    }

    /// A run that has begun, and waits for the first answer of its directory.
    fn reading(&self) -> Child {
        let child = self.gated.command(&["sync"]).spawn().expect("starts");
        self.gate.arrived.recv().expect("the run reads");
        child
    }

    /// Lets the run read on, and waits for its end.
    fn ended(&self, child: Child) -> (i32, String) {
        self.gate.open.send(()).expect("the gate waits");
        words(child.wait_with_output().expect("ends"))
    }
}

fn words(output: Output) -> (i32, String) {
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("the program prints UTF-8");
    // Lines are broken to the width of the terminal.
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    (output.status.code().unwrap_or(-1), said)
}

async fn edit(db: &Database) {
    assert!(db.sql("UPDATE users SET title = 'Edited here'").await > 10);
}

/// How many users have the title that was edited here: all, or none.
async fn edited(db: &Database) -> bool {
    let counts = db
        .query("SELECT count(*) || '', (SELECT count(*) || '' FROM users WHERE title = 'Edited here') FROM users")
        .await;
    let (all, edited) = counts[0].split_once('|').expect("two counts");
    assert!(
        edited == all || edited == "0",
        "{edited} of {all} users: neither before nor after"
    );
    edited == all
}

fn signal(child: &Child, name: &str) {
    let done = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(done.success());
}

async fn a_frozen_run_that_was_overtaken_writes_nothing(db: Database) {
    let weather = Weather::new(&db).await;
    let frozen = weather.reading();
    signal(&frozen, "-STOP");
    // A process that stands still is not dead: its lease has to expire first.
    assert_eq!(weather.direct.run(&["sync"]).code, 11);
    assert!(edited(&db).await);
    db.sql("UPDATE leases SET expires_at = '2001-01-01T00:00:00.000000Z'")
        .await;
    weather.direct.ok(&["sync"]);
    assert!(!edited(&db).await);
    edit(&db).await;
    signal(&frozen, "-CONT");
    let (code, said) = weather.ended(frozen);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("was taken over by another run, so this one wrote nothing"),
        "{said}"
    );
    assert!(edited(&db).await, "{said}");
    weather.direct.ok(&["sync"]);
    assert!(!edited(&db).await);
}

/// Ends every connection that the program has, or those of them that match.
async fn cut(db: &Database, which: &str) -> usize {
    db.query(&format!(
        "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = 'rollcall' {which}"
    ))
    .await
    .len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_loses_its_database_while_it_reads_fails_whole() {
    let db = Database::postgres().await;
    let weather = Weather::new(&db).await;
    let child = weather.reading();
    assert!(cut(&db, "").await > 0);
    let (code, said) = weather.ended(child);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("connection"), "{said}");
    assert!(edited(&db).await, "{said}");
    weather.direct.ok(&["sync"]);
    assert!(!edited(&db).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_that_loses_its_connection_is_made_again_whole() {
    let db = Database::postgres().await;
    let weather = Weather::new(&db).await;
    let mut other = sqlx::PgConnection::connect(&db.url).await.expect("connects");
    let mut lock = other.begin().await.expect("begins");
    sqlx::query("LOCK TABLE users IN SHARE MODE")
        .execute(&mut *lock)
        .await
        .expect("locked: others read, and do not write");
    let child = weather.reading();
    weather.gate.open.send(()).expect("the gate waits");
    let mut asked = 0;
    while cut(&db, "AND wait_event_type = 'Lock'").await == 0 {
        asked += 1;
        assert!(asked < 10_000, "the run came to its apply");
    }
    lock.rollback().await.expect("unlocked");
    let (code, said) = words(child.wait_with_output().expect("ends"));
    assert_eq!(code, 0, "{said}");
    assert!(!edited(&db).await, "{said}");
    let applied = "SELECT count(*) || '' FROM audit WHERE action = 'run.applied'";
    assert_eq!(db.query(applied).await, ["2"], "the first run, and this one once");
}
