//! What happens to organizations: renamed, closed, asking for access, followed and no longer followed.

use rollcall::cli::directory::model::OrganizationStatus;

use super::stage::{Stage, account, firm};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    a_renamed_firm_is_renamed_here,
    a_closed_firm_is_closed_here_and_its_people_stay,
    access_that_is_asked_for_later_is_followed_and_stays_so,
    a_firm_that_is_no_longer_followed_is_left_as_it_is,
    who_is_followed_by_command_is_read_by_the_next_run,
    a_plan_that_waited_does_not_undo_an_unfollow,
    a_new_firm_arrives_with_its_people,
    what_others_keep_with_a_firm_stays,
);

async fn firm_of(stage: &Stage, id: &str) -> String {
    let sql = format!(
        "SELECT name, kind, status, CASE WHEN followed THEN 'followed' ELSE 'not followed' END FROM organizations \
         WHERE external_id = '{id}'"
    );
    stage.db.query(&sql).await.remove(0)
}

async fn a_renamed_firm_is_renamed_here(db: Database) {
    let stage = Stage::synced(db).await;
    let local = || {
        stage
            .db
            .query("SELECT CAST(id AS text) FROM organizations WHERE external_id = 'paving'")
    };
    let before = local().await;
    for (scope, name) in [
        (&[] as &[&str], "Example Roads"),
        (&["--organization", "paving"], "Example Highways"),
    ] {
        stage
            .directory
            .update_organization("paving", |one| one.name = name.into())
            .expect("there");
        let planned = stage.sync(&[scope, &["--dry-run"]].concat());
        assert_ne!(
            firm_of(&stage, "paving").await,
            format!("{name}|consultant|active|followed"),
            "{planned:?}"
        );
        let synced = stage.sync(scope);
        synced.is(0, "applied");
        assert_eq!(synced.counts(), [0; 4], "its people are who they were");
        assert_eq!(
            firm_of(&stage, "paving").await,
            format!("{name}|consultant|active|followed")
        );
    }
    assert_eq!(local().await, before);
}

async fn a_closed_firm_is_closed_here_and_its_people_stay(db: Database) {
    let stage = Stage::synced(db).await;
    let close = |status| {
        stage
            .directory
            .update_organization("bridges", |one| one.status = status)
            .expect("there");
    };
    close(OrganizationStatus::Closed);
    stage.sync(&[]).is(0, "applied");
    assert_eq!(
        firm_of(&stage, "bridges").await,
        "Example Bridges|consultant|closed|followed"
    );
    assert_eq!(
        stage.standing("b01").await,
        "active|bridges",
        "its people are asked about one by one"
    );
    close(OrganizationStatus::Active);
    stage.sync(&["--organization", "bridges"]).is(0, "applied");
    assert_eq!(
        firm_of(&stage, "bridges").await,
        "Example Bridges|consultant|active|followed"
    );
}

async fn access_that_is_asked_for_later_is_followed_and_stays_so(db: Database) {
    let stage = Stage::synced(db).await;
    assert_eq!(
        firm_of(&stage, "quiet").await,
        "Example Quiet|consultant|active|not followed"
    );
    let ask = |asks| {
        stage
            .directory
            .update_organization("quiet", |one| one.requested_access = asks)
            .expect("there")
    };
    ask(true);
    let synced = stage.sync(&[]);
    synced.is(0, "applied");
    assert_eq!(synced.counts(), [3, 0, 0, 0]);
    assert_eq!(
        firm_of(&stage, "quiet").await,
        "Example Quiet|consultant|active|followed"
    );
    ask(false);
    let off = stage.sync(&[]);
    off.is(0, "applied");
    assert_eq!(
        (off.counts(), off.plan("unchanged")),
        ([0; 4], 33),
        "whom we follow is our decision"
    );
    assert_eq!(
        firm_of(&stage, "quiet").await,
        "Example Quiet|consultant|active|followed"
    );
}

async fn a_firm_that_is_no_longer_followed_is_left_as_it_is(db: Database) {
    let stage = Stage::synced(db).await;
    stage.program.ok(&["orgs", "unfollow", "bridges"]);
    stage.edit("b01", |one| one.title = Some("Surveyor".into()));
    stage
        .directory
        .retain_accounts(|one| one.id == "b01" || !one.id.starts_with('b'))
        .expect("deleted");
    let synced = stage.sync(&[]);
    synced.is(0, "applied");
    assert_eq!((synced.counts(), synced.plan("unchanged")), ([0; 4], 20));
    assert_eq!(
        firm_of(&stage, "bridges").await,
        "Example Bridges|consultant|active|not followed"
    );
    assert_eq!(stage.value("b01", "u.title, u.status").await, "Estimator|active");
    assert_eq!(
        stage.standing("b02").await,
        "active|bridges",
        "who is not covered is not missing"
    );
    // By hand it is followed again, and then its missing people are a question.
    let by_hand = stage.sync(&["--organization", "bridges"]);
    by_hand.is(10, "held");
    assert_eq!(stage.active().await, 30);
}

async fn who_is_followed_by_command_is_read_by_the_next_run(db: Database) {
    let stage = Stage::synced(db).await;
    stage.program.ok(&["orgs", "follow", "Example Quiet"]);
    let synced = stage.sync(&[]);
    synced.is(0, "applied");
    assert_eq!(synced.counts(), [3, 0, 0, 0]);
    assert_eq!(stage.standing("q01").await, "active|quiet");
}

async fn a_plan_that_waited_does_not_undo_an_unfollow(db: Database) {
    let stage = Stage::synced(db).await;
    for id in ["paving", "bridges"] {
        let rename = |one: &mut rollcall::cli::directory::model::Organization| one.name.push_str(" Renamed");
        stage.directory.update_organization(id, rename).expect("there");
    }
    stage
        .directory
        .retain_accounts(|one| one.id.as_str() > "p12" || one.id.starts_with('b'))
        .expect("deleted");
    let held = stage.sync(&[]);
    held.is(10, "held");
    stage.program.ok(&["orgs", "unfollow", "bridges"]);
    stage
        .program
        .ok(&["runs", "release", &held.run(), "--plan", &held.hash()]);
    assert!(
        firm_of(&stage, "bridges").await.ends_with("|not followed"),
        "decided after the plan was made"
    );
    let renamed = "Example Paving Renamed|consultant|active|followed";
    assert_eq!(firm_of(&stage, "paving").await, renamed);
    stage.sync(&[]).is(0, "applied");
    let renamed = "Example Bridges Renamed|consultant|active|not followed";
    assert_eq!(
        firm_of(&stage, "bridges").await,
        renamed,
        "what was skipped is made up for"
    );
}

async fn a_new_firm_arrives_with_its_people(db: Database) {
    let stage = Stage::synced(db).await;
    stage
        .directory
        .put_organization(firm("signs", "Example Signs"))
        .expect("put");
    stage.directory.put_account(account("s01", "signs")).expect("put");
    let synced = stage.sync(&[]);
    synced.is(0, "applied");
    assert_eq!(synced.counts(), [1, 0, 0, 0]);
    assert_eq!(stage.standing("s01").await, "active|signs");
    let (attributes, id) = (
        "SELECT attributes FROM organizations WHERE external_id = 'signs'",
        "city",
    );
    let kept = match stage.db.url.starts_with("sqlite") {
        true => attributes.to_owned(),
        false => attributes.replace("attributes FROM", "attributes::text FROM"),
    };
    let kept: serde_json::Value = serde_json::from_str(&stage.db.query(&kept).await[0]).expect("JSON");
    assert_eq!(kept[id], "Sampleville");
}

async fn what_others_keep_with_a_firm_stays(db: Database) {
    let stage = Stage::synced(db).await;
    let note = r#"UPDATE organizations SET attributes = '{"contract": "2026-17"}' WHERE external_id = 'paving'"#;
    stage.db.sql(note).await;
    stage.sync(&[]).is(0, "applied");
    let kept = match stage.db.url.starts_with("sqlite") {
        true => "SELECT attributes FROM organizations WHERE external_id = 'paving'",
        false => "SELECT attributes::text FROM organizations WHERE external_id = 'paving'",
    };
    let kept: serde_json::Value = serde_json::from_str(&stage.db.query(kept).await[0]).expect("JSON");
    assert_eq!(
        (&kept["contract"], &kept["city"]),
        (&"2026-17".into(), &"Sampleville".into()),
        "{kept}"
    );
}
