//! Rows as other programs write them: values of any type in `attributes`, times and bytes as SQLite takes them.

use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::{configure_source, object};
use crate::harness::database::{Database, on_both_engines};
use crate::runs_connex::stage::Stage;

on_both_engines!(attributes_of_any_type_converge_and_the_others_stay);

async fn attributes_of_any_type_converge_and_the_others_stay(db: Database) {
    let stage = Stage::new(db).await;
    configure_source(&stage, "[sources.fields.attributes]\nbadge = \"title\"");
    stage.sync(&[]).is(0, "applied");
    let others = json!({"nothing": null, "count": 7, "flag": true, "list": [1, null, {"x": null}],
        "deep": {"gone": null, "deeper": {"gone": null, "here": "é \" \\ /"}}, "text": ""});
    let badges = [
        json!(7),
        json!(true),
        json!(1.5),
        json!({"a": {"b": null}}),
        json!([1, null]),
        json!(null),
        json!(""),
    ];
    for (at, badge) in badges.iter().enumerate() {
        let mut attributes = others.clone();
        attributes["badge"] = badge.clone();
        let user = stage.value(&format!("p{:02}", at + 1), "CAST(u.id AS text)").await;
        let edit = format!("UPDATE users SET attributes = '{attributes}' WHERE id = '{user}'");
        assert_eq!(stage.db.sql(&edit).await, 1);
    }
    // In the same run: an edit that was made here and one that was made there.
    stage.edit("p01", |one| one.title = Some("Surveyor".into()));
    let first = stage.sync(&[]);
    first.is(0, "applied");
    assert_eq!(first.counts(), [0, badges.len() as u64, 0, 0]);
    let second = stage.sync(&[]);
    second.is(0, "applied");
    assert_eq!(second.counts(), [0; 4], "it converges: {:#}", second.document);
    for at in 1..=badges.len() {
        let held: Json = object(&stage, &format!("p{at:02}"), "u.attributes").await;
        let mut wanted = others.clone();
        wanted["badge"] = json!(if at == 1 { "Surveyor" } else { "Estimator" });
        assert_eq!(held, wanted, "p{at:02}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_times_without_a_zone_and_bytes_that_are_no_text_stop_nothing() {
    let stage = Stage::synced(Database::sqlite().await).await;
    let clerk = stage.employee("clerk@agency.example").await;
    let odd = "created_at = datetime('now'), updated_at = datetime('now'), phone = CAST(x'ff41fe' AS text)";
    let user = stage.value("p01", "u.id").await;
    for id in [&clerk, &user] {
        assert_eq!(
            stage.db.sql(&format!("UPDATE users SET {odd} WHERE id = '{id}'")).await,
            1
        );
    }
    let listed = stage.program.json(&["users", "list", "--output", "json"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(31));
    stage.program.ok(&["users", "show", &clerk]);
    stage.edit("p02", |one| one.title = Some("Surveyor".into()));
    let synced = stage.sync(&[]);
    synced.is(0, "applied");
    assert_eq!((synced.counts(), synced.plan("drift")), ([0, 2, 0, 0], 1));
    assert_eq!(stage.value("p01", "u.phone").await, "+1 555 0101");
    assert_eq!(stage.sync(&[]).counts(), [0; 4]);
    let kept = format!("SELECT hex(phone) FROM users WHERE id = '{clerk}'");
    assert_eq!(
        stage.db.query(&kept).await,
        ["FF41FE"],
        "an employee's is left as it is"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_refuses_an_id_that_is_none() {
    let stage = Stage::synced(Database::sqlite().await).await;
    let mut session = sqlx::SqliteConnection::connect(&stage.db.url).await.expect("connects");
    for id in [
        "17",
        "",
        "0197A000-0000-7000-8000-00000000000A",
        "0197a000-0000-7000-8000-00000000000g",
    ] {
        let insert = format!("INSERT INTO users (id, email) VALUES ('{id}', 'sam@agency.example')");
        let refused = session
            .execute(AssertSqlSafe(insert))
            .await
            .expect_err("an id that is none");
        assert!(refused.to_string().contains("CHECK"), "{id}: {refused}");
    }
    assert_eq!(stage.active().await, 30);
}
