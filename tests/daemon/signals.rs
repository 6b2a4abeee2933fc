//! What the daemon does when it is told to end or to read its configuration again, when it is killed, and when it is
//! frozen and overtaken; and what it tells the service manager meanwhile.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::process::{Daemon, until};
use super::world::{World, in_state, runs};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    stopped_in_mid_run_it_ends_in_time_and_asks_again,
    killed_in_mid_run_the_next_start_tells_and_goes_on,
    a_frozen_daemon_is_fenced_when_it_wakes,
    a_broken_configuration_leaves_the_old_one_in_force,
);

const EVERY_SECOND: &str = "* * * * * *";
const NEVER: &str = "never";

/// A daemon with a run that waits for an answer of its directory; the run's id.
fn in_mid_run(world: &World) -> (Daemon, serde_json::Value) {
    world.shut();
    let before = world.waited();
    let daemon = Daemon::start(&world.program);
    let run = daemon.wait("run.started", |_| true)["run"].clone();
    assert!(until(|| (world.waited() > before).then_some(())).is_some(), "it asks");
    (daemon, run)
}

async fn stopped_in_mid_run_it_ends_in_time_and_asks_again(db: Database) {
    let world = World::new(&db, EVERY_SECOND).await;
    let (daemon, _) = in_mid_run(&world);
    let (code, took) = daemon.stop();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(runs(&db).await, ["failed|interrupted|1", "queued|-|1"]);
    assert_eq!(db.query("SELECT count(*) || '' FROM users").await, ["0"]);
    world.open();
    world.configure(NEVER);
    let daemon = Daemon::start(&world.program);
    daemon.wait("run.applied", |_| true);
    assert_eq!(daemon.stop().0, 0);
    assert_eq!(runs(&db).await, ["applied|-|1", "failed|interrupted|1"]);
}

async fn killed_in_mid_run_the_next_start_tells_and_goes_on(db: Database) {
    let world = World::new(&db, EVERY_SECOND).await;
    let (daemon, run) = in_mid_run(&world);
    daemon.kill();
    assert_eq!(in_state(&db, "running").await, 1);
    world.open();
    let daemon = Daemon::start(&world.program);
    daemon.wait("run.interrupted", |event| event["run"] == run);
    daemon.wait("run.applied", |event| event["run"] != run);
    assert_eq!(daemon.stop().0, 0);
}

async fn a_frozen_daemon_is_fenced_when_it_wakes(db: Database) {
    let world = World::new(&db, EVERY_SECOND).await;
    let (frozen, run) = in_mid_run(&world);
    frozen.signal("STOP");
    world.open();
    let other = Daemon::start(&world.twin(EVERY_SECOND));
    // A process that stands still is not dead: its lease has to expire first, as if it had stood still for a minute.
    db.sql("UPDATE leases SET expires_at = '2001-01-01T00:00:00.000000Z'")
        .await;
    other.wait("run.interrupted", |event| event["run"] == run);
    other.wait("run.applied", |_| true);
    assert_eq!(other.stop().0, 0);
    world.configure(NEVER);
    frozen.signal("HUP");
    frozen.signal("CONT");
    frozen.wait("lease.lost", |_| true);
    assert_eq!(frozen.stop().0, 0);
    let id = run.as_str().expect("an id");
    let ended = db.query(&format!("SELECT state FROM runs WHERE id = '{id}'")).await;
    assert_eq!(ended, ["failed"]);
}

async fn a_broken_configuration_leaves_the_old_one_in_force(db: Database) {
    let world = World::new(&db, NEVER).await;
    let daemon = Daemon::start(&world.program);
    world
        .program
        .configure(&world.configuration(EVERY_SECOND).replace("schedule", "shedule"));
    daemon.signal("HUP");
    let refused = daemon.wait("daemon.reload_refused", |_| true);
    let why = refused["error"].as_str().expect("a sentence");
    assert!(why.contains("shedule") && why.contains("schedule"), "{why}");
    assert_eq!(runs(&db).await, [""; 0], "nothing is scheduled still");
    world.configure(EVERY_SECOND);
    daemon.signal("HUP");
    daemon.wait("daemon.reloaded", |_| true);
    daemon.wait("run.applied", |_| true);
    assert_eq!(daemon.stop().0, 0);
}

/// What the service manager hears, one message after another.
struct Manager {
    _directory: tempfile::TempDir,
    path: std::path::PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
        Self {
            _directory: directory,
            path,
            socket,
        }
    }

    /// Reads on until a message has that line, and answers the message.
    #[track_caller]
    fn hears(&self, line: &str) -> String {
        let mut all = Vec::new();
        let mut bytes = [0_u8; 4096];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let message = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if message.lines().any(|said| said == line) {
                return message;
            }
            all.push(message);
        }
        panic!("{line} was not heard: {all:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_manager_is_told() {
    let db = Database::sqlite().await;
    let world = World::new(&db, NEVER).await;
    let manager = Manager::new();
    let path = manager.path.display().to_string();
    let daemon = Daemon::start_only(&world.program, &[("NOTIFY_SOCKET", &path)]);
    let ready = manager.hears("READY=1");
    assert!(ready.contains("STATUS=looks after connex"), "{ready}");
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");
    daemon.signal("HUP");
    let reloading = manager.hears("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.hears("READY=1");
    daemon.signal("TERM");
    manager.hears("STOPPING=1");
}
