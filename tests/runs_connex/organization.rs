//! A run of one organization: how it is named, and that it is followed afterwards.

use super::stage::{Stage, account, firm};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    an_organization_is_found_by_local_id_external_id_and_name,
    one_that_was_not_followed_is_followed_afterwards,
    one_that_only_the_directory_knows_is_found_there,
    one_that_nobody_knows_is_an_error_that_says_so,
    a_name_of_several_is_an_error_that_names_them,
    who_moved_to_a_firm_that_is_not_followed_is_disabled,
    other_organizations_are_left_alone,
    an_organization_that_is_gone_from_the_directory_disables_nobody,
);

async fn an_organization_is_found_by_local_id_external_id_and_name(db: Database) {
    let stage = Stage::synced(db).await;
    let local = stage
        .db
        .query("SELECT CAST(id AS text) FROM organizations WHERE external_id = 'paving'")
        .await
        .remove(0);
    for (at, named) in [local.as_str(), "paving", "Example Paving", "example paving"]
        .iter()
        .enumerate()
    {
        stage.edit("p01", |one| one.title = Some(format!("Title {at}")));
        let synced = stage.sync(&["--organization", named]);
        synced.is(0, "applied");
        assert_eq!(synced.counts(), [0, 1, 0, 0], "{named}");
        assert_eq!(synced.document["organization"], local.as_str(), "{named}");
        assert_eq!(
            synced.document["listing"]["entries"], 20,
            "{named}: its people alone are read"
        );
    }
}

async fn one_that_was_not_followed_is_followed_afterwards(db: Database) {
    let stage = Stage::synced(db).await;
    let followed = || {
        stage
            .db
            .query("SELECT external_id FROM organizations WHERE followed ORDER BY external_id")
    };
    assert_eq!(followed().await, ["bridges", "paving"]);
    let look = stage.sync(&["--organization", "quiet", "--dry-run"]);
    look.is(0, "planned");
    assert_eq!(look.counts(), [3, 0, 0, 0]);
    assert_eq!(followed().await, ["bridges", "paving"], "a look follows nobody");
    let synced = stage.sync(&["--organization", "Example Quiet"]);
    synced.is(0, "applied");
    assert_eq!(synced.counts(), [3, 0, 0, 0]);
    assert_eq!(followed().await, ["bridges", "paving", "quiet"]);
    stage.edit("q01", |one| one.title = Some("Surveyor".into()));
    let all = stage.sync(&[]);
    assert_eq!(
        (all.counts(), all.plan("unchanged")),
        ([0, 1, 0, 0], 32),
        "covered by every run from now on"
    );
    assert_eq!(stage.value("q01", "u.title").await, "Surveyor");
}

async fn one_that_only_the_directory_knows_is_found_there(db: Database) {
    let stage = Stage::synced(db).await;
    for (id, name, wanted) in [
        ("new-1", "Example Tunnelling", "new-1"),
        ("new-2", "Example Lighting", "EXAMPLE LIGHTING"),
    ] {
        let mut one = firm(id, name);
        one.requested_access = false;
        stage.directory.put_organization(one).expect("put");
        stage
            .directory
            .put_account(account(&format!("{id}-a"), id))
            .expect("put");
        let synced = stage.sync(&["--organization", wanted]);
        synced.is(0, "applied");
        assert_eq!(synced.counts(), [1, 0, 0, 0], "{wanted}");
        assert_eq!(stage.standing(&format!("{id}-a")).await, format!("active|{id}"));
    }
    let last = "SELECT name, kind, source, CASE WHEN followed THEN 'followed' END FROM organizations WHERE external_id = 'new-2'";
    assert_eq!(
        stage.db.query(last).await,
        ["Example Lighting|consultant|connex|followed"]
    );
}

async fn one_that_nobody_knows_is_an_error_that_says_so(db: Database) {
    let stage = Stage::synced(db).await;
    let before = stage.dump().await;
    for unknown in [
        "Example Nowhere",
        "0197a000-0000-7000-8000-00000000dead",
        "../users",
        "..",
    ] {
        let failed = stage.sync(&["--organization", unknown]);
        failed.is(1, "failed");
        let error = failed.error();
        assert!(
            error.contains(unknown) && error.contains("neither here nor in the directory"),
            "{error}"
        );
        assert_eq!(failed.document["error"]["code"], "not_found");
        let shown = stage.program.fails(1, &["sync", "--organization", unknown]);
        assert!(shown.contains("neither here nor in the directory"), "{shown}");
    }
    assert_eq!(stage.dump().await, before);
}

async fn a_name_of_several_is_an_error_that_names_them(db: Database) {
    let stage = Stage::new(db).await;
    for id in ["twin-a", "twin-b"] {
        stage
            .directory
            .put_organization(firm(id, "Example Twins"))
            .expect("put");
        stage
            .directory
            .put_account(account(&format!("{id}-1"), id))
            .expect("put");
    }
    let there = stage.sync(&["--organization", "Example Twins"]);
    there.is(1, "failed");
    assert!(
        ["twin-a", "twin-b", "means several"]
            .iter()
            .all(|word| there.error().contains(word)),
        "{}",
        there.error()
    );
    stage.sync(&[]).is(0, "applied");
    let here = stage.sync(&["--organization", "example twins"]);
    here.is(1, "failed");
    let ids = "SELECT CAST(id AS text) FROM organizations WHERE name = 'Example Twins'";
    for id in stage.db.query(ids).await {
        assert!(here.error().contains(&id), "{}", here.error());
    }
    stage.sync(&["--organization", "twin-a"]).is(0, "applied");
}

async fn who_moved_to_a_firm_that_is_not_followed_is_disabled(db: Database) {
    let stage = Stage::synced(db).await;
    for (scope, id) in [
        (&["--organization", "paving"] as &[&str], "p01"),
        (&[], "p02"),
        (&["--user", "p03"], "p03"),
    ] {
        stage.edit(id, |one| one.organization_id = "quiet".into());
        let synced = stage.sync(scope);
        synced.is(0, "applied");
        assert_eq!(synced.counts(), [0, 0, 1, 0], "{scope:?}");
        assert_eq!(stage.value(id, "u.status, u.disabled_by").await, "disabled|directory");
    }
    let followed = stage.sync(&["--organization", "quiet"]);
    followed.is(0, "applied");
    assert_eq!(
        followed.counts(),
        [3, 3, 0, 3],
        "known people come back as the users that they are"
    );
    assert_eq!(stage.standing("p01").await, "active|quiet");
}

async fn other_organizations_are_left_alone(db: Database) {
    let stage = Stage::synced(db).await;
    stage.edit("b01", |one| one.title = Some("Surveyor".into()));
    stage.remove(["b02"]);
    let synced = stage.sync(&["--organization", "paving"]);
    synced.is(0, "applied");
    assert_eq!((synced.counts(), synced.plan("unchanged")), ([0; 4], 20));
    assert_eq!(stage.value("b01", "u.title").await, "Estimator");
    assert_eq!(stage.standing("b02").await, "active|bridges");
}

async fn an_organization_that_is_gone_from_the_directory_disables_nobody(db: Database) {
    let stage = Stage::synced(db).await;
    let bridges: Vec<String> = (1..=10).map(|n| format!("b{n:02}")).collect();
    stage.remove(bridges.iter().map(String::as_str));
    stage.directory.delete_organization("bridges").expect("empty");
    let failed = stage.sync(&["--organization", "bridges"]);
    assert!([4, 10].contains(&failed.code), "{:#}", failed.document);
    assert_eq!(stage.active().await, 30);
}
