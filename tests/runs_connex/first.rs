//! The first run of a source: its entries become changes while they stream by. What comes of it is what comes of every
//! other run.

use super::stage::{Stage, account};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    the_long_way_comes_to_the_same_plan,
    a_first_plan_that_does_not_fit_is_decided_anew,
    what_a_new_user_is_not_given_is_remembered_all_the_same,
);

/// Twice one id, twice one address, an address of somebody here, a bad one: all that is not a creation at first sight.
fn contest(stage: &Stage) {
    for (id, email) in [
        ("p02", "p01@paving.example"),
        ("p03", "CLERK@agency.example"),
        ("p04", "none"),
    ] {
        stage.edit(id, |one| one.email = email.into());
    }
    let mut roles = account("b01", "bridges");
    roles.roles = vec!["reader".into(), "editor".into()];
    stage.directory.put_account(roles).expect("put");
}

async fn the_long_way_comes_to_the_same_plan(db: Database) {
    let stage = Stage::new(db).await;
    stage.program.ok(&["migrate"]);
    stage.employee("clerk@agency.example").await;
    contest(&stage);
    let plan = || {
        let planned = stage.sync(&["--dry-run"]);
        planned.is(0, "planned");
        let changes = stage
            .program
            .ok(&["runs", "changes", &planned.run(), "--output", "json"]);
        (planned.hash(), planned.document["plan"].clone(), changes)
    };
    let short = plan();
    assert_eq!((&short.1["create"], &short.1["quarantine"]), (&26.into(), &4.into()));
    // A record of somebody who was deleted here, and whom the directory does not list, says nothing about the others.
    let record = "INSERT INTO records (source, external_id, user_id, digest, covered, status, run_id, created_at, changed_at) \
        SELECT 'connex', 'gone', id, '00000000000000000000000000000000', 0, 'active', id, started_at, started_at FROM runs";
    assert_eq!(stage.db.sql(record).await, 1);
    assert_eq!(plan(), short);
}

async fn a_first_plan_that_does_not_fit_is_decided_anew(db: Database) {
    let stage = Stage::new(db).await;
    stage.program.ok(&["migrate"]);
    contest(&stage);
    let is_sqlite = stage.db.url.starts_with("sqlite");
    // Somebody takes an address in the moment in which the plan is applied, each time.
    let taken = "INSERT INTO users (id, email) VALUES ('019a0000-0000-7000-8000-000000000001', 'B02@bridges.example')";
    if is_sqlite {
        let each = format!(
            "CREATE TRIGGER takes AFTER INSERT ON organizations WHEN new.external_id = 'paving' BEGIN {taken}; END"
        );
        stage.db.sql(&each).await;
    } else {
        let function = format!(
            "CREATE FUNCTION takes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {taken}; RETURN NULL; END $$"
        );
        stage.db.sql(&function).await;
        let each = "CREATE TRIGGER takes AFTER INSERT ON organizations FOR EACH ROW WHEN (new.external_id = 'paving') EXECUTE FUNCTION takes()";
        stage.db.sql(each).await;
    }
    let failed = stage.sync(&[]);
    failed.is(1, "failed");
    assert!(failed.error().contains("taken by another"), "{}", failed.error());
    for table in ["users", "records", "changes"] {
        assert_eq!(
            stage.db.query(&format!("SELECT 'row' FROM {table}")).await,
            [""; 0],
            "{table}"
        );
    }
    stage
        .db
        .sql(if is_sqlite {
            "DROP TRIGGER takes"
        } else {
            "DROP TRIGGER takes ON organizations"
        })
        .await;
    let applied = stage.sync(&[]);
    applied.is(3, "applied");
    assert_eq!((applied.counts()[0], applied.plan("quarantine")), (27, 3));
    assert_eq!(stage.sync(&[]).counts(), [0; 4]);
}

async fn what_a_new_user_is_not_given_is_remembered_all_the_same(db: Database) {
    let stage = Stage::new(db).await;
    stage.configure("[fields.phone]\nauthority = \"local\"\n\n[fields.title]\nauthority = \"initial\"");
    let first = stage.sync(&[]);
    first.is(0, "applied");
    assert_eq!(stage.value("p01", "u.phone").await, "-");
    assert_eq!(stage.value("p01", "r.phone").await, "+1 555 0101");
    assert_eq!(stage.value("p01", "u.title").await, "Estimator");
    let shown = stage.program.ok(&["runs", "changes", &first.run(), "--output", "json"]);
    assert!(shown.contains("\"title\"") && !shown.contains("\"phone\""), "{shown}");
    assert_eq!(stage.sync(&[]).counts(), [0; 4]);
}
