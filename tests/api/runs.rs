//! Asking for runs, looking at them, and answering held ones.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::Served;
use crate::harness::daemon::{Answer, Api};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    asked_fifty_times_there_is_one_run,
    a_run_is_started_waited_for_and_found,
    an_organization_or_a_user_is_asked_for_by_what_is_known_of_it,
    runs_and_changes_are_filtered_and_paged,
    a_held_run_is_answered_once_and_by_its_hash,
    a_stale_plan_is_refused,
);

async fn asked_fifty_times_there_is_one_run(db: Database) {
    let served = Served::synced(db).await;
    for path in ["/sources/connex/sync", "/organizations/paving/sync", "/users/p01/sync"] {
        let (store, lease) = served.hold_source().await;
        let before = served.stage.db.query("SELECT state FROM runs").await.len();
        let asked = join_all((0..50).map(|_| served.admin.post(path, json!({})))).await;
        let runs: BTreeSet<String> = asked.iter().map(|answer| answer.is(202)["run"].to_string()).collect();
        assert_eq!(runs.len(), 1, "{path}");
        assert!(asked.iter().all(|answer| answer.is(202)["state"] == "queued"), "{path}");
        // A dry run is another question.
        let dry = served.admin.post(path, json!({"dry_run": true})).await.is(202);
        assert!(!runs.contains(&dry["run"].to_string()), "{path}");
        store.release_lease(&lease).await.expect("given back");
        let run = served
            .admin
            .post(&format!("{path}?wait=60"), json!({"dry_run": true}))
            .await
            .is(200);
        assert_eq!(run["state"], "planned", "{path}");
        crate::harness::daemon::eventually("the end of all runs", async || {
            let open = "SELECT state FROM runs WHERE state IN ('queued', 'running')";
            served.stage.db.query(open).await.is_empty().then_some(())
        })
        .await;
        let after = served
            .stage
            .db
            .query("SELECT state FROM runs WHERE state IN ('applied', 'planned')")
            .await
            .len();
        // The last question found the dry run still there, or asked for another.
        assert!((before + 2..=before + 3).contains(&after), "{path}: {before} {after}");
        let applied = "SELECT CAST(id AS text) FROM runs WHERE state = 'applied'";
        let applied = served.stage.db.query(applied).await;
        let own = applied.iter().filter(|id| runs.contains(&format!("\"{id}\""))).count();
        assert_eq!(own, 1, "{path}");
    }
}

async fn a_run_is_started_waited_for_and_found(db: Database) {
    let served = Served::new(db).await;
    let api = &served.admin;
    let dry = api
        .post("/sources/connex/sync?wait=60", json!({"dry_run": true, "mode": "full"}))
        .await;
    let run = dry.is(200);
    assert_eq!(
        (&run["state"], &run["plan"]["create"], &run["actor"]),
        (&"planned".into(), &30.into(), &"api:tests".into())
    );
    let place = dry
        .header("location")
        .strip_prefix("/api/v1")
        .expect("a path")
        .to_owned();
    assert_eq!(api.get(&place).await.is(200), run);
    assert_eq!(served.stage.active().await, 0);

    // The same document as the command line prints.
    let printed = served.stage.program.json(&["runs", "show", "last", "--output", "json"]);
    assert_eq!(printed, run);

    let (store, lease) = served.hold_source().await;
    // No body at all is a body without wishes.
    let request = api.request(Method::POST, "/sources/connex/sync?wait=1");
    let late = api.send(request).await;
    let waiting = late.is(202);
    assert_eq!(
        (&waiting["state"], &waiting["finished_at"]),
        (&"queued".into(), &Json::Null)
    );
    store.release_lease(&lease).await.expect("given back");
    let place = late
        .header("location")
        .strip_prefix("/api/v1")
        .expect("a path")
        .to_owned();
    let applied = crate::harness::daemon::eventually("the end of the run", async || {
        let run = api.get(&place).await.is(200);
        (run["state"] == "applied").then_some(run)
    })
    .await;
    assert_eq!((&applied["run"], served.stage.active().await), (&waiting["run"], 30));
}

async fn an_organization_or_a_user_is_asked_for_by_what_is_known_of_it(db: Database) {
    let served = Served::new(db).await;
    let api = &served.admin;
    // Only the directory knows it yet.
    let paving = served.sync("/organizations/paving/sync").await;
    assert_eq!(
        (&paving["state"], &paving["plan"]["create"]),
        (&"applied".into(), &20.into())
    );
    let bridge = served.sync("/users/b01/sync").await;
    assert_eq!(
        (&bridge["state"], &bridge["plan"]["create"]),
        (&"applied".into(), &1.into())
    );

    let ids = |sql: &'static str| async { served.stage.db.query(sql).await.pop().expect("a row") };
    let paving_id = ids("SELECT CAST(id AS text) FROM organizations WHERE external_id = 'paving'").await;
    let user_id = ids("SELECT CAST(user_id AS text) FROM records WHERE external_id = 'p01'").await;
    for path in [
        format!("/organizations/{paving_id}/sync"),
        "/organizations/Example%20Paving/sync".into(),
        "/organizations/paving/sync".into(),
    ] {
        assert_eq!(served.sync(&path).await["organization"], paving_id, "{path}");
    }
    for path in [
        format!("/users/{user_id}/sync"),
        "/users/p01@paving.example/sync".into(),
    ] {
        assert_eq!(served.sync(&path).await["user"], user_id, "{path}");
    }
    let named = api.post("/users/p01/sync?source=connex&wait=60", json!({})).await;
    assert_eq!(named.is(200)["user"], user_id);

    let employee = served.stage.employee("employee@agency.example").await;
    let own = api.post(&format!("/users/{employee}/sync"), json!({})).await;
    assert!(own.problem(409, "refused").contains("local account"));
    let own = ids("SELECT CAST(id AS text) FROM organizations WHERE kind = 'self'").await;
    let own = api.post(&format!("/organizations/{own}/sync"), json!({})).await;
    assert!(own.problem(409, "refused").contains("no source"));
    api.post("/organizations/nobody/sync", json!({}))
        .await
        .problem(404, "not_found");
    api.post("/organizations/paving/sync?source=other", json!({}))
        .await
        .problem(404, "not_found");
    api.post("/sources/other/sync", json!({}))
        .await
        .problem(404, "not_found");
}

/// Every item of a list, page by page.
async fn walk(api: &Api, path: &str, limit: u32) -> Vec<Json> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    let sign = if path.contains('?') { '&' } else { '?' };
    loop {
        let page: Answer = api.get(&format!("{path}{sign}limit={limit}{cursor}")).await;
        let page = page.is(200);
        let part = page["items"].as_array().expect("items").clone();
        assert!(part.len() <= limit as usize);
        items.extend(part);
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

async fn runs_and_changes_are_filtered_and_paged(db: Database) {
    let served = Served::synced(db).await;
    let api = &served.admin;
    let first = walk(api, "/runs", 100).await.remove(0);
    let of_first = format!("/runs/{}/changes", first["run"].as_str().expect("an id"));
    served
        .stage
        .edit("p01", |account| account.phone = Some("+1 555 0199".into()));
    served
        .stage
        .edit("b01", |account| account.title = Some("Surveyor".into()));
    served
        .stage
        .db
        .sql("UPDATE users SET phone = '+1 555 0000' WHERE email = 'p02@paving.example'")
        .await;
    let second = served.sync("/sources/connex/sync").await;
    let of_second = format!("/runs/{}/changes", second["run"].as_str().expect("an id"));
    served.sync("/organizations/paving/sync").await;
    let user = served.sync("/users/p01/sync").await;

    let states = |runs: &[Json]| runs.len();
    let all = walk(api, "/runs", 1).await;
    assert_eq!(states(&all), 4);
    assert!(
        all.windows(2)
            .all(|two| two[0]["run"].as_str() > two[1]["run"].as_str()),
        "{all:#?}"
    );
    assert_eq!(walk(api, "/runs?organization=paving", 9).await.len(), 1);
    let by_id = format!("/runs?organization={}", all[1]["organization"].as_str().expect("an id"));
    assert_eq!(walk(api, &by_id, 9).await, [all[1].clone()]);
    assert_eq!(walk(api, "/runs?user=p01", 9).await, [user]);
    assert_eq!(walk(api, "/runs?state=held", 9).await, [Json::Null; 0]);
    assert_eq!(walk(api, "/runs?source=other", 9).await, [Json::Null; 0]);
    assert_eq!(walk(api, "/runs?state=applied&source=connex", 3).await, all);
    // A cursor belongs to its filters.
    let next = api.get("/runs?limit=1").await.is(200)["next"]
        .as_str()
        .expect("more")
        .to_owned();
    api.get(&format!("/runs?state=applied&cursor={next}"))
        .await
        .problem(400, "bad_cursor");

    let created = walk(api, &of_first, 7).await;
    assert_eq!(created, walk(api, &of_first, 1000).await);
    assert_eq!(created.len(), 30);
    let printed = served.stage.program.ok(&[
        "runs",
        "changes",
        first["run"].as_str().expect("an id"),
        "--output",
        "json",
    ]);
    let printed: Vec<Json> = printed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(created, printed);
    let ids = async |query: &str| -> Vec<String> {
        let found = walk(api, &format!("{of_second}{query}"), 2).await;
        found
            .iter()
            .map(|c| c["external_id"].as_str().expect("an id").to_owned())
            .collect()
    };
    assert_eq!(ids("").await, ["b01", "p01", "p02"]);
    assert_eq!(ids("?organization=paving").await, ["p01", "p02"]);
    assert_eq!(ids("?field=phone").await, ["p01", "p02"]);
    assert_eq!(ids("?field=title").await, ["b01"]);
    assert_eq!(ids("?drift=true").await, ["p02"]);
    assert_eq!(ids("?drift=false&field=phone").await, ["p01"]);
    assert_eq!(ids("?action=create").await, [""; 0]);
    assert_eq!(
        walk(
            api,
            &format!("{of_first}?action=create&field=email&organization=bridges"),
            4
        )
        .await
        .len(),
        10
    );
    let named = api.get(&format!("{of_first}?field=shoe_size")).await;
    assert!(named.problem(400, "bad_query").contains("shoe_size"));
}

async fn held(served: &Served) -> (String, String) {
    let remove = |account: &rollcall::cli::directory::model::Account| account.organization_id != "paving";
    served.stage.directory.retain_accounts(remove).expect("deleted");
    let held = served.sync("/sources/connex/sync").await;
    assert_eq!(
        (&held["state"], &held["brake"]["name"]),
        (&"held".into(), &"disable".into()),
        "{held:#}"
    );
    assert!(
        held["brake"]["explanation"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    let text = |value: &Json| value.as_str().expect("a text").to_owned();
    (text(&held["run"]), text(&held["plan"]["hash"]))
}

async fn a_held_run_is_answered_once_and_by_its_hash(db: Database) {
    let served = Served::synced(db).await;
    let api = &served.admin;
    let (run, hash) = held(&served).await;
    let release = format!("/runs/{run}/release");
    api.post(&release, json!({})).await.problem(422, "invalid");
    let other = api.post(&release, json!({"plan": "0".repeat(64)})).await;
    assert!(other.problem(409, "refused").contains(&hash));
    assert_eq!(served.stage.active().await, 30);

    let rejected = api.post(&format!("/runs/{run}/reject"), json!({})).await.is(200);
    assert_eq!(
        (&rejected["state"], &rejected["answered_by"]),
        (&"rejected".into(), &"api:tests".into())
    );
    for (path, body) in [
        (release, json!({"plan": hash})),
        (format!("/runs/{run}/reject"), json!({})),
    ] {
        assert!(api.post(&path, body).await.problem(409, "refused").contains("rejected"));
    }
    assert_eq!(served.stage.active().await, 30);

    let (run, hash) = held(&served).await;
    let release = format!("/runs/{run}/release");
    let answers = join_all((0..5).map(|_| api.post(&release, json!({"plan": hash})))).await;
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(done, 1, "{answers:#?}");
    assert!(
        answers
            .iter()
            .all(|answer| [200, 409].contains(&answer.status.as_u16())),
        "{answers:#?}"
    );
    let applied = api.get(&format!("/runs/{run}")).await.is(200);
    assert_eq!(
        (&applied["state"], &applied["answered_by"]),
        (&"applied".into(), &"api:tests".into())
    );
    assert_eq!(served.stage.active().await, 10);
}

async fn a_stale_plan_is_refused(db: Database) {
    let served = Served::synced(db).await;
    let (run, hash) = held(&served).await;
    served
        .stage
        .db
        .sql("UPDATE users SET kind = 'employee' WHERE email = 'p01@paving.example'")
        .await;
    let answer = served
        .admin
        .post(&format!("/runs/{run}/release"), json!({"plan": hash}))
        .await;
    answer.problem(409, "plan_stale");
    assert_eq!(served.stage.active().await, 30);
}
