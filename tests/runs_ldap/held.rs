//! Runs that a brake holds, and the answers to them: exactly the plan that was read is released, or nothing.

use serde_json::Value as Json;

use super::{ANNA, BOLT, BRUNO, CHLOE, EBELE, Setting, Who, World, counts, numbered, quarantined};
use crate::harness::database::{Database, on_both_engines};
use crate::harness::slapd::BLIND;

on_both_engines!(
    most_of_the_tree_gone_is_held_and_released_by_its_hash,
    a_rejected_plan_is_not_applied,
    a_plan_whose_user_was_edited_since_cannot_be_released,
    whatever_a_plan_was_decided_on_must_still_be_so,
    a_plan_that_the_directory_has_taken_back_cannot_be_released,
    an_older_plan_with_the_same_content_can_be_released,
    a_plan_for_an_address_that_is_taken_since_cannot_be_released,
    a_plan_that_would_leave_no_administrator_cannot_be_released,
    an_identity_that_sees_nobody_is_held_as_empty,
    a_filter_that_leaves_many_out_is_held,
    another_attribute_as_the_id_is_held,
    many_new_addresses_are_held,
    the_first_run_is_held_where_that_is_asked_for,
);

/// Twenty people, of whom twelve leave; the run that holds it.
fn twelve_of_twenty_leave(db: Database) -> (World, Json) {
    let world = World::large(db, 14);
    assert_eq!(world.sync(), "create=20");
    for number in 1..=12 {
        world.slapd.delete(&numbered(number));
    }
    let held = world.run(10, &[]);
    assert_eq!(
        (held["state"].as_str(), counts(&held)),
        (Some("held"), "disable=12 unchanged=8".into()),
        "{held:#}"
    );
    (world, held)
}

fn text<'a>(run: &'a Json, key: &str) -> &'a str {
    run[key].as_str().expect("text")
}

fn hash(run: &Json) -> &str {
    text(&run["plan"], "hash")
}

async fn most_of_the_tree_gone_is_held_and_released_by_its_hash(db: Database) {
    let (world, held) = twelve_of_twenty_leave(db);
    let brake = &held["brake"];
    assert_eq!(
        (&brake["name"], &brake["scope"], &brake["value"], &brake["limit"]),
        (&"disable".into(), &"run".into(), &12.into(), &5.into())
    );
    let explanation = text(brake, "explanation");
    assert!(
        explanation.contains("12 of 20") && explanation.contains("release it by its hash"),
        "{explanation}"
    );
    assert_eq!(world.disabled().await, 0);
    assert_eq!(world.changes().len(), 12);
    let shown = world.program.ok(&["runs", "show", "last"]);
    assert!(
        shown.contains(&format!("runs release {} --plan {}", text(&held, "run"), hash(&held))),
        "{shown}"
    );

    let before = world.everything().await;
    let wrong = "0".repeat(hash(&held).len());
    for plan in [wrong.as_str(), &hash(&held)[..8], ""] {
        let said = world.program.fails(1, &["runs", "release", "last", "--plan", plan]);
        assert!(said.contains("plan"), "{said}");
    }
    assert_eq!(world.everything().await, before);

    let released = world.command(
        0,
        &["runs", "release", "last", "--plan", hash(&held), "--output", "json"],
    );
    assert_eq!(
        (&released["state"], &released["answered_by"]),
        (&"applied".into(), &"cli:tester".into())
    );
    assert_eq!(world.disabled().await, 12);
    let by = world
        .db
        .query("SELECT DISTINCT disabled_by || CAST(session_epoch AS text) FROM users WHERE status = 'disabled'")
        .await;
    assert_eq!(by, ["directory1"]);
    let audit = "SELECT actor FROM audit WHERE action = 'run.released'";
    assert_eq!(world.db.query(audit).await, ["cli:tester"]);

    assert_eq!(world.changes().len(), 12, "what was done stays on record");
    let after = world.everything().await;
    let again = world
        .program
        .fails(1, &["runs", "release", text(&held, "run"), "--plan", hash(&held)]);
    assert!(again.contains(text(&held, "run")), "{again}");
    world.program.fails(1, &["runs", "reject", text(&held, "run")]);
    assert_eq!(world.everything().await, after);
    assert_eq!(world.sync(), "unchanged=8");
}

async fn a_rejected_plan_is_not_applied(db: Database) {
    let (world, held) = twelve_of_twenty_leave(db);
    let said = world.program.ok(&["runs", "reject", "last"]);
    assert!(said.contains("Rejected") && said.contains("cli:tester"), "{said}");
    let rejected = world.command(0, &["runs", "show", "last", "--output", "json"]);
    assert_eq!(
        (&rejected["state"], &rejected["run"]),
        (&"rejected".into(), &held["run"])
    );
    world
        .program
        .fails(1, &["runs", "release", "last", "--plan", hash(&held)]);
    assert_eq!(world.disabled().await, 0);
    // The directory still says so: it is asked again.
    assert_eq!(world.run(10, &[])["plan"], held["plan"]);
}

async fn a_plan_whose_user_was_edited_since_cannot_be_released(db: Database) {
    let world = World::large(db, 14);
    assert_eq!(world.sync(), "create=20");
    for number in 1..=12 {
        world.slapd.delete(&numbered(number));
    }
    world.slapd.set(&ANNA.dn(), "telephoneNumber", "+1 555 0199");
    let edits = [
        "UPDATE users SET phone = '0' WHERE email = 'aklein@acme.example'",
        "UPDATE users SET status = 'disabled', disabled_by = 'admin' WHERE last_name = 'Person 7'",
        "DELETE FROM users WHERE last_name = 'Person 8'",
        "UPDATE users SET kind = 'employee' WHERE last_name = 'Person 9'",
    ];
    for (edit, id) in edits.iter().zip(["aklein", "p000007", "p000008", "p000009"]) {
        let held = world.run(10, &[]);
        assert_eq!(world.db.sql(edit).await, 1, "{edit}");
        let before = world.everything().await;
        let said = world
            .program
            .fails(1, &["runs", "release", "last", "--plan", hash(&held)]);
        assert!(said.contains(id) && said.contains("start a new run"), "{edit}: {said}");
        assert_eq!(world.everything().await, before, "{edit}: nothing of it is applied");
    }
    let held = world.run(10, &[]);
    assert_eq!(counts(&held), "update=1 disable=9 unchanged=7 drift=1");
    world.program.ok(&["runs", "release", "last", "--plan", hash(&held)]);
    assert_eq!(world.disabled().await, 10);
}

/// One edit at a time that nothing but one part of the check can see.
async fn whatever_a_plan_was_decided_on_must_still_be_so(db: Database) {
    let world = World::new(db);
    let setting = Setting {
        head: "[brakes]\ndisable = { share = 0.0, count = 0, floor = 0 }\n",
        ..world.setting()
    };
    world.set(&setting);
    world.slapd.set(&BRUNO.dn(), "description", "on leave");
    assert_eq!(world.sync(), "create=6");
    world.local_user("consultant", "freelance@elsewhere.example").await;
    world.slapd.set(&ANNA.dn(), "o", BOLT);
    world.slapd.set(&ANNA.dn(), "businessCategory", "Reviewer");
    world.slapd.set(&ANNA.dn(), "l", "Lyon");
    world.slapd.set(&BRUNO.dn(), "description", "back");
    world.slapd.set(&CHLOE.dn(), "title", "Chief");
    world.slapd.delete(&EBELE.dn());
    let of = |who: Who| format!("(SELECT user_id FROM records WHERE external_id = '{}')", who.0);
    let edits = [
        (
            ANNA,
            format!("UPDATE users SET organization_id = NULL WHERE id = {}", of(ANNA)),
        ),
        (ANNA, format!("DELETE FROM memberships WHERE user_id = {}", of(ANNA))),
        (
            ANNA,
            format!(
                "UPDATE users SET attributes = '{{\"city\": \"Paris\"}}' WHERE id = {}",
                of(ANNA)
            ),
        ),
        (
            CHLOE,
            format!(
                "UPDATE records SET digest = '{:032}' WHERE external_id = '{}'",
                7, CHLOE.0
            ),
        ),
        (
            BRUNO,
            format!("UPDATE users SET disabled_by = 'admin' WHERE id = {}", of(BRUNO)),
        ),
        (
            CHLOE,
            format!(
                "UPDATE records SET user_id = (SELECT id FROM users WHERE first_name = 'Local') WHERE external_id = '{}'",
                CHLOE.0
            ),
        ),
    ];
    for (who, edit) in &edits {
        let held = world.run(10, &[]);
        assert_eq!(world.db.sql(edit).await, 1, "{edit}");
        let before = world.everything().await;
        let said = world
            .program
            .fails(1, &["runs", "release", "last", "--plan", hash(&held)]);
        assert!(
            said.contains(who.0) && said.contains("start a new run"),
            "{edit}: {said}"
        );
        assert_eq!(world.everything().await, before, "{edit}: nothing of it is applied");
    }
}

/// The leavers are back, and a run has seen them: the old plan would lock them out although nobody edited a row.
async fn a_plan_that_the_directory_has_taken_back_cannot_be_released(db: Database) {
    let world = World::loaded(db);
    let blind = Setting {
        bind_dn: BLIND,
        ..world.setting()
    };
    world.set(&blind);
    let held = world.run(10, &[]);
    world.set(&world.setting());
    assert_eq!(world.sync(), "unchanged=6");
    let before = world.everything().await;
    let said = world
        .program
        .fails(1, &["runs", "release", text(&held, "run"), "--plan", hash(&held)]);
    assert!(
        said.contains(text(&held, "run")) && said.contains("nothing was applied"),
        "{said}"
    );
    assert_eq!(world.everything().await, before);
    assert_eq!(world.disabled().await, 0);
}

/// A schedule finds the same again and again: the person who reads the first of these plans may release it.
async fn an_older_plan_with_the_same_content_can_be_released(db: Database) {
    let (world, held) = twelve_of_twenty_leave(db);
    let again = world.run(10, &[]);
    assert_eq!(again["plan"], held["plan"]);
    world.run(0, &["--user", &ANNA.mail()]);
    world
        .program
        .ok(&["runs", "release", text(&held, "run"), "--plan", hash(&held)]);
    assert_eq!(world.disabled().await, 12);
    let said = world
        .program
        .fails(1, &["runs", "release", text(&again, "run"), "--plan", hash(&again)]);
    assert!(said.contains("start a new run"), "{said}");
}

async fn a_plan_for_an_address_that_is_taken_since_cannot_be_released(db: Database) {
    let world = World::new(db);
    let setting = Setting {
        head: "[brakes]\nfirst_run = \"hold\"\n",
        ..world.setting()
    };
    world.set(&setting);
    let held = world.run(10, &[]);
    world.local_user("employee", &ANNA.mail().to_uppercase()).await;
    let before = world.everything().await;
    let said = world
        .program
        .fails(1, &["runs", "release", "last", "--plan", hash(&held)]);
    assert!(
        said.contains("nothing was applied") || said.contains("rolled back"),
        "{said}"
    );
    assert_eq!(world.everything().await, before);
}

async fn a_plan_that_would_leave_no_administrator_cannot_be_released(db: Database) {
    let world = World::large(db, 14);
    assert_eq!(world.sync(), "create=20");
    world.local_user("employee", "boss@agency.example").await;
    for email in ["boss@agency.example", "p000001@bolt.example"] {
        world.grant(email, "Admin").await;
    }
    for number in 1..=12 {
        world.slapd.delete(&numbered(number));
    }
    let held = world.run(10, &[]);
    assert_eq!(counts(&held), "disable=12 unchanged=8");
    assert_eq!(
        world
            .db
            .sql("DELETE FROM users WHERE email = 'boss@agency.example'")
            .await,
        1
    );
    let before = world.everything().await;
    let said = world
        .program
        .fails(1, &["runs", "release", "last", "--plan", hash(&held)]);
    assert!(said.contains("administrator"), "{said}");
    assert_eq!(world.everything().await, before);
}

async fn an_identity_that_sees_nobody_is_held_as_empty(db: Database) {
    let world = World::loaded(db);
    let blind = Setting {
        bind_dn: BLIND,
        ..world.setting()
    };
    world.set(&blind);
    let held = world.run(10, &[]);
    assert_eq!(
        (&held["state"], &held["listing"]["entries"]),
        (&"held".into(), &0.into())
    );
    assert_eq!(held["brake"]["name"], "empty");
    let explanation = text(&held["brake"], "explanation");
    assert!(
        ["listed nobody", "right to read", "rights of the identity"]
            .iter()
            .all(|part| explanation.contains(part)),
        "{explanation}"
    );
    assert_eq!(world.disabled().await, 0);
    let shown = world.program.run(&["sync", "partners"]);
    assert_eq!(shown.code, 10, "{shown:#?}");
    assert!(
        shown.stdout.contains("rights of the identity") && shown.stdout.contains("runs reject"),
        "{shown:#?}"
    );
    // Also where there are fewer users than the floor of the brakes.
    world.set(&world.setting());
    for who in [ANNA, BRUNO, CHLOE, EBELE] {
        world.edit(who, "status = 'disabled', disabled_by = 'admin'").await;
    }
    world.set(&blind);
    let held = world.run(10, &[]);
    assert_eq!(
        (held["brakes"].as_array().map(Vec::len), &held["brake"]["name"]),
        (Some(1), &"empty".into())
    );
    // Anybody else's first run: there is nobody to lose.
    let nobody = World::new(Database::sqlite().await);
    let blind = Setting {
        bind_dn: BLIND,
        ..nobody.setting()
    };
    nobody.set(&blind);
    assert_eq!(nobody.sync(), "nothing");
}

async fn a_filter_that_leaves_many_out_is_held(db: Database) {
    let world = World::large(db, 14);
    assert_eq!(world.sync(), "create=20");
    let config = std::fs::read_to_string(world.program.config()).expect("readable");
    let narrow = config.replace("(objectClass=inetOrgPerson)", "(sn=Person 1*)");
    assert_ne!(narrow, config);
    world.program.configure(&narrow);
    let held = world.run(10, &[]);
    assert_eq!(
        (counts(&held), &held["brake"]["name"]),
        ("disable=14 unchanged=6".into(), &"disable".into())
    );
    assert!(text(&held["brake"], "explanation").contains("filter"), "{held:#}");
    assert_eq!(world.disabled().await, 0);
}

/// Everybody is gone and everybody is new at once: nobody is doubled, and nobody is disabled unasked.
async fn another_attribute_as_the_id_is_held(db: Database) {
    let world = World::loaded(db);
    let config = std::fs::read_to_string(world.program.config()).expect("readable");
    world
        .program
        .configure(&config.replace("external_id = \"uid\"", "external_id = \"cn\""));
    let held = world.run(10, &[]);
    assert_eq!(
        (counts(&held), &held["brake"]["name"]),
        ("disable=6 quarantine=6".into(), &"disable".into())
    );
    assert!(
        quarantined(&held)
            .iter()
            .all(|one| one.ends_with("address_of_linked_user")),
        "{held:#}"
    );
    assert_eq!(world.disabled().await, 0);
}

async fn many_new_addresses_are_held(db: Database) {
    let world = World::large(db, 14);
    assert_eq!(world.sync(), "create=20");
    for number in 1..=6 {
        world
            .slapd
            .set(&numbered(number), "mail", &format!("new{number}@renamed.example"));
    }
    let held = world.run(10, &[]);
    assert_eq!(
        (counts(&held), &held["brake"]["name"]),
        ("update=6 unchanged=14".into(), &"email_change".into())
    );
    world.slapd.set(&numbered(6), "mail", "p000006@acme.example");
    assert_eq!(world.sync(), "update=5 unchanged=15");
}

async fn the_first_run_is_held_where_that_is_asked_for(db: Database) {
    let world = World::new(db);
    let setting = Setting {
        head: "[brakes]\nfirst_run = \"hold\"\n",
        ..world.setting()
    };
    world.set(&setting);
    let held = world.run(10, &[]);
    assert_eq!(
        (counts(&held), &held["brake"]["name"]),
        ("create=6".into(), &"first_run".into())
    );
    assert!(world.addresses("active").await.is_empty());
    world.program.ok(&["runs", "release", "last", "--plan", hash(&held)]);
    assert_eq!(world.addresses("active").await.len(), 6);
    assert_eq!(world.sync(), "unchanged=6");
}
