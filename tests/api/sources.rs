//! Sources: how each stands, and letting its schedule rest.

use serde_json::{Value as Json, json};

use super::Served;
use crate::harness::daemon::Daemon;
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    a_source_tells_how_it_stands,
    a_schedule_rests_and_goes_on,
    the_probes_say_what_is_wrong,
);

async fn a_source_tells_how_it_stands(db: Database) {
    let served = Served::new(db).await;
    let api = &served.admin;
    let new = api.get("/sources/connex").await.is(200);
    assert_eq!((&new["state"], &new["kind"]), (&"idle".into(), &"connex".into()));
    assert_eq!((&new["complete_at"], &new["last_run"]), (&Json::Null, &Json::Null));
    let schedule = &new["schedule"];
    assert_eq!(
        (&schedule["cron"], &schedule["timezone"]),
        (&"0 0 3 1 1 *".into(), &"UTC".into())
    );
    let next = schedule["next"].as_array().expect("times");
    assert_eq!(next.len(), 3);
    assert!(
        next.iter()
            .all(|time| time.as_str().is_some_and(|t| t.ends_with("-01-01T03:00:00Z")))
    );

    let (store, lease) = served.hold_source().await;
    let queued = api.post("/sources/connex/sync", json!({})).await.is(202);
    let waiting = api.get("/sources/connex").await.is(200);
    assert_eq!(
        (&waiting["state"], &waiting["current_run"]["run"]),
        (&"queued".into(), &queued["run"])
    );
    store.release_lease(&lease).await.expect("given back");
    let applied = served.sync("/sources/connex/sync").await;
    let after = api.get("/sources/connex").await.is(200);
    assert_eq!(after["state"], "idle", "{after}");
    assert!(after["last_run"]["run"].as_str() >= applied["run"].as_str(), "{after}");
    let age = after["complete_age_seconds"].as_i64().expect("an age");
    assert!((0..3600).contains(&age), "{after}");

    served.stage.directory.retain_accounts(|_| false).expect("deleted");
    let held = served.sync("/sources/connex/sync").await;
    let braked = api.get("/sources/connex").await.is(200);
    assert_eq!((&braked["state"], &braked["held_run"]), (&"held".into(), &held));
    let mut all = api.get("/sources").await.is(200);
    // A second may have passed between the two.
    all["items"][0]["complete_age_seconds"] = braked["complete_age_seconds"].clone();
    assert_eq!(all, json!({"items": [braked], "next": null}));
}

async fn a_schedule_rests_and_goes_on(db: Database) {
    let served = Served::new(db).await;
    let api = &served.admin;
    let paused = api
        .post("/sources/connex/pause", json!({"reason": "the directory moves"}))
        .await
        .is(200);
    assert_eq!((&paused["state"], &paused["due_at"]), (&"paused".into(), &Json::Null));
    assert_eq!(
        (&paused["paused"]["by"], &paused["paused"]["reason"]),
        (&"api:tests".into(), &"the directory moves".into())
    );
    // Once more changes nothing, not even the reason.
    assert_eq!(
        api.post("/sources/connex/pause", json!({})).await.is(200)["paused"],
        paused["paused"]
    );
    // Somebody who asks is not kept from it.
    assert_eq!(served.sync("/sources/connex/sync").await["state"], "applied");
    let resumed = api.post("/sources/connex/resume", json!({})).await.is(200);
    assert_eq!((&resumed["state"], &resumed["paused"]), (&"idle".into(), &Json::Null));
    let refused = api
        .post("/sources/connex/pause", json!({"reason": "x".repeat(501)}))
        .await;
    assert!(refused.problem(422, "invalid").contains("500"));
    api.post("/sources/other/pause", json!({}))
        .await
        .problem(404, "not_found");
    let audit = served
        .stage
        .db
        .query("SELECT actor, action FROM audit WHERE action LIKE 'source.%' ORDER BY id")
        .await;
    assert_eq!(audit, ["api:tests|source.paused", "api:tests|source.resumed"]);
}

async fn the_probes_say_what_is_wrong(db: Database) {
    let served = Served::new(db).await;
    let api = &served.admin;
    assert_eq!(api.get("/healthz").await.is(200)["status"], "alive");
    let ready = crate::harness::daemon::eventually("readiness", async || {
        let answer = api.get("/readyz").await;
        (answer.status == 200).then(|| answer.is(200))
    })
    .await;
    let names: Vec<_> = ready["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .map(|check| &check["name"])
        .collect();
    assert_eq!(names, ["database", "scheduler", "lifecycle"]);
    // A newer program has migrated the database meanwhile.
    served
        .stage
        .db
        .sql("INSERT INTO rollcall_schema (version, name, applied_at) VALUES (9999, 'next', 'now')")
        .await;
    let answer = api.get("/readyz").await;
    assert!(answer.problem(503, "not_ready").contains("9999"));
    assert_eq!(
        answer.is(503)["checks"][0],
        json!({"name": "database", "ok": false, "detail": answer.is(503)["detail"]})
    );
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(api.get("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_can_have_a_listener_of_their_own() {
    let mut served = Served::with(Database::sqlite().await, "metrics_listen = \"127.0.0.1:0\"\n").await;
    served.admin.get("/metrics").await.problem(404, "no_such_path");
    let addresses = |daemon: &Daemon| -> Vec<String> {
        let lines = daemon.lines();
        let lines = lines.iter().filter_map(|line| serde_json::from_str::<Json>(line).ok());
        let ready = lines.filter(|line| line["event"] == "daemon.ready");
        ready
            .filter_map(|line| Some(line["listen"].as_str()?.to_owned()))
            .collect()
    };
    let both = crate::harness::daemon::eventually("the second listener", async || {
        let found = addresses(&served.daemon);
        (found.len() == 2).then_some(found)
    })
    .await;
    let url = |path: &str| format!("http://{}{path}", both[1]);
    let client = crate::harness::daemon::client();
    let metrics = client.get(url("/metrics")).send().await.expect("an answer");
    assert!(
        metrics.headers()["content-type"]
            .to_str()
            .expect("text")
            .starts_with("text/plain")
    );
    assert_eq!(metrics.status(), 200);
    assert_eq!(
        client
            .get(url("/api/v1/runs"))
            .send()
            .await
            .expect("an answer")
            .status(),
        404
    );
    served.daemon.signal("TERM");
    assert!(served.daemon.ended().await.success());
}
