//! When runs start: at their time, once where times were missed, not while a source is paused, and once for two daemons.

use std::collections::BTreeMap;

use super::process::{Daemon, until};
use super::world::{World, in_state, runs};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    a_scheduled_run_happens,
    what_was_missed_is_caught_up_once,
    a_paused_source_rests_and_goes_on,
    two_daemons_do_one_run_for_each_time,
);

const EVERY_SECOND: &str = "* * * * * *";
/// Not in the hour of any test.
const NEXT_YEAR: &str = "0 0 0 1 1 *";

async fn a_scheduled_run_happens(db: Database) {
    let world = World::new(&db, EVERY_SECOND).await;
    let daemon = Daemon::start(&world.program);
    let queued = daemon.wait("run.queued", |_| true);
    assert_eq!(queued["actor"], "schedule", "{queued}");
    let applied = daemon.wait("run.applied", |event| event["run"] == queued["run"]);
    assert_eq!(applied["source"], "connex", "{applied}");
    assert!(applied["create"].as_u64().is_some_and(|n| n > 10), "{applied}");
    daemon.wait("run.applied", |event| {
        event["run"] != queued["run"] && event["create"] == 0
    });
    assert_eq!(daemon.stop().0, 0);
}

async fn what_was_missed_is_caught_up_once(db: Database) {
    let world = World::new(&db, NEXT_YEAR).await;
    let daemon = Daemon::start(&world.program);
    let planned = || db.query("SELECT due_at || '' FROM schedules WHERE due_at IS NOT NULL");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while planned().await.is_empty() && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(daemon.stop().0, 0);
    assert_eq!(runs(&db).await, [""; 0], "nothing was due");

    let moved = db
        .sql("UPDATE schedules SET due_at = '2020-01-01T00:00:00.000000Z'")
        .await;
    assert_eq!(moved, 1);
    let daemon = Daemon::start(&world.program);
    let missed = daemon.wait("source.missed", |_| true);
    assert!(missed["late_s"].as_u64().is_some_and(|s| s > 100_000_000), "{missed}");
    daemon.wait("run.applied", |_| true);
    assert_eq!(daemon.stop().0, 0);
    assert_eq!(runs(&db).await, ["applied|-|1"]);
    let due = db
        .query("SELECT CASE WHEN due_at > '2026' THEN 'later' ELSE 'past' END FROM (SELECT due_at || '' AS due_at FROM schedules) AS s")
        .await;
    assert_eq!(due, ["later"]);
}

async fn a_paused_source_rests_and_goes_on(db: Database) {
    let world = World::new(&db, EVERY_SECOND).await;
    world.program.ok(&["sources", "pause", "connex", "--reason", "a test"]);
    let daemon = Daemon::start(&world.program);
    let due = || db.query("SELECT due_at || '' FROM schedules WHERE due_at IS NOT NULL");
    let mut seen = std::collections::BTreeSet::new();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    // Its times pass.
    while seen.len() < 4 && std::time::Instant::now() < deadline {
        seen.extend(due().await);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(seen.len() >= 4, "{seen:?}");
    assert_eq!(runs(&db).await, [""; 0]);
    world.program.ok(&["sources", "resume", "connex"]);
    daemon.wait("run.applied", |_| true);
    assert!(daemon.events("source.missed").is_empty(), "nothing is made up for");
}

async fn two_daemons_do_one_run_for_each_time(db: Database) {
    let world = World::new(&db, EVERY_SECOND).await;
    let twin = world.twin(EVERY_SECOND);
    let daemons = [Daemon::start(&world.program), Daemon::start(&twin)];
    let of_both = |name: &str| {
        daemons
            .iter()
            .flat_map(|daemon| daemon.events(name))
            .collect::<Vec<_>>()
    };
    let enough = until(|| (of_both("run.applied").len() >= 6).then_some(()));
    assert!(enough.is_some(), "{:?}", of_both("run.applied"));
    let mut times = BTreeMap::new();
    for event in of_both("source.due") {
        *times.entry(event["due"].as_str().map(str::to_owned)).or_insert(0) += 1;
    }
    assert!(times.len() >= 6, "{times:?}");
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    for daemon in daemons {
        assert_eq!(daemon.stop().0, 0);
    }
    assert_eq!(in_state(&db, "failed").await, 0, "{:?}", runs(&db).await);
}
