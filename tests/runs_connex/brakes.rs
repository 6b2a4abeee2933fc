//! What looks like an accident is held before its first write, and only a person who has read the plan releases it.

use super::stage::{Stage, Synced, account};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    an_empty_listing_is_held_in_every_scope,
    sixty_percent_removed_are_held_and_released_by_hash,
    a_rejected_plan_is_never_applied,
    a_stale_plan_cannot_be_released,
    limits_hold_one_above_and_pass_at,
    one_organization_is_braked_though_the_run_is_not,
    every_kind_of_change_has_its_brake,
    a_slow_drip_is_held,
    what_was_released_is_not_counted_again,
    a_first_run_can_be_held,
    a_dry_run_names_the_brake_and_exits_as_asked,
);

fn paving(stage: &Stage, from: usize, to: usize) {
    for number in from..=to {
        stage.remove([format!("p{number:02}").as_str()]);
    }
}

fn release(stage: &Stage, held: &Synced) {
    stage
        .program
        .ok(&["runs", "release", &held.run(), "--plan", &held.hash()]);
}

async fn an_empty_listing_is_held_in_every_scope(db: Database) {
    let stage = Stage::synced(db).await;
    stage.directory.retain_accounts(|_| false).expect("deleted");
    for scope in [&[] as &[&str], &["--organization", "paving"]] {
        let held = stage.sync(scope);
        held.is(10, "held");
        assert_eq!(held.brake(), ("empty", "run"), "{scope:?}");
        let said = held.document["brake"]["explanation"].as_str().expect("a text");
        assert!(said.contains("rights"), "{said}");
        assert_eq!(stage.active().await, 30);
    }
    // The configuration may say that an empty listing is nothing special; the other brakes stay.
    stage.configure("[brakes]\nempty = \"apply\"");
    let held = stage.sync(&[]);
    held.is(10, "held");
    assert_eq!(held.brake(), ("disable", "run"));
    assert_eq!(stage.active().await, 30);
}

async fn sixty_percent_removed_are_held_and_released_by_hash(db: Database) {
    let stage = Stage::synced(db).await;
    paving(&stage, 1, 12);
    for scope in [&[] as &[&str], &["--organization", "paving"]] {
        let held = stage.sync(scope);
        held.is(10, "held");
        assert_eq!(held.counts(), [0, 0, 12, 0], "{scope:?}");
        assert_eq!((held.brake().0, stage.active().await), ("disable", 30), "{scope:?}");
    }
    let held = stage.sync(&["--organization", "paving"]);
    let wrong = stage
        .program
        .fails(1, &["runs", "release", &held.run(), "--plan", &"0".repeat(64)]);
    assert!(wrong.contains("plan"), "{wrong}");
    assert_eq!(stage.active().await, 30);
    release(&stage, &held);
    assert_eq!(stage.active().await, 18);
    assert_eq!(
        stage.value("p12", "u.status, u.disabled_by").await,
        "disabled|directory"
    );
    assert_eq!(stage.standing("p13").await, "active|paving");
    let again = stage
        .program
        .fails(1, &["runs", "release", &held.run(), "--plan", &held.hash()]);
    assert!(again.contains(&held.run()), "answered once: {again}");
    assert_eq!(stage.sync(&[]).counts(), [0; 4]);
}

async fn a_rejected_plan_is_never_applied(db: Database) {
    let stage = Stage::synced(db).await;
    paving(&stage, 1, 12);
    let held = stage.sync(&[]);
    held.is(10, "held");
    let before = stage.dump().await;
    stage.program.ok(&["runs", "reject", "last"]);
    stage
        .program
        .fails(1, &["runs", "release", &held.run(), "--plan", &held.hash()]);
    stage.program.fails(1, &["runs", "reject", &held.run()]);
    let gone = |rows: Vec<String>| {
        rows.into_iter()
            .filter(|row| !row.starts_with("audit") && !row.starts_with("outbox"))
            .collect::<Vec<_>>()
    };
    assert_eq!(gone(stage.dump().await), gone(before));
    assert_eq!(stage.active().await, 30);
    let shown = stage.program.json(&["runs", "show", &held.run(), "--output", "json"]);
    assert_eq!(
        (&shown["state"], &shown["answered_by"]),
        (&"rejected".into(), &"cli:tester".into())
    );
}

async fn a_stale_plan_cannot_be_released(db: Database) {
    let stage = Stage::synced(db).await;
    paving(&stage, 1, 12);
    let edits: [(&str, &dyn Fn(String) -> String); 3] = [
        ("p01", &|id| {
            format!("UPDATE users SET status = 'disabled', disabled_by = 'admin' WHERE id = '{id}'")
        }),
        ("p02", &|id| {
            format!("UPDATE users SET kind = 'employee' WHERE id = '{id}'")
        }),
        ("p03", &|id| {
            format!("UPDATE records SET digest = replace(digest, 'a', 'b') || '' WHERE user_id = '{id}'")
        }),
    ];
    for (id, edit) in edits {
        let held = stage.sync(&[]);
        held.is(10, "held");
        let user = stage.value(id, "CAST(u.id AS text)").await;
        stage.db.sql(&edit(user)).await;
        let active = stage.active().await;
        if id == "p03" && !stage.value(id, "r.digest").await.contains('b') {
            continue;
        }
        let said = stage
            .program
            .fails(1, &["runs", "release", &held.run(), "--plan", &held.hash()]);
        assert!(said.contains("no longer fits") && said.contains(id), "{said}");
        assert_eq!(stage.active().await, active, "all or nothing");
    }
}

async fn limits_hold_one_above_and_pass_at(db: Database) {
    let stage = Stage::synced(db).await;
    // Thirty users: a tenth is three, and the floor is five.
    paving(&stage, 1, 6);
    let above = stage.sync(&[]);
    above.is(10, "held");
    assert_eq!(
        (&above.document["brake"]["value"], &above.document["brake"]["limit"]),
        (&6.into(), &5.into())
    );
    stage.directory.put_account(account("p06", "paving")).expect("put");
    let at = stage.sync(&[]);
    at.is(0, "applied");
    assert_eq!(at.counts(), [0, 0, 5, 0]);
}

async fn one_organization_is_braked_though_the_run_is_not(db: Database) {
    let stage = Stage::synced(db).await;
    stage.configure("[brakes]\ndisable = { share = 0.25, count = 100, floor = 1 }");
    stage.remove(["b01", "b02", "b03"]);
    let held = stage.sync(&[]);
    held.is(10, "held");
    assert_eq!(held.brake(), ("disable", "organization:bridges"));
    assert_eq!(stage.active().await, 30);
}

async fn every_kind_of_change_has_its_brake(db: Database) {
    let stage = Stage::synced(db).await;
    let tight = "{ share = 0.01, count = 100, floor = 1 }";
    stage.configure(&format!(
        "[brakes]\ncreate = {tight}\nemail_change = {tight}\nrole_change = {tight}"
    ));
    let both = |change: &dyn Fn(&str)| ["p01", "p02"].iter().for_each(|id| change(id));
    both(&|id| stage.edit(id, |one| one.email = format!("other.{id}@paving.example")));
    let held = stage.sync(&[]);
    held.is(10, "held");
    assert_eq!(held.brake(), ("email_change", "run"));
    both(&|id| stage.edit(id, |one| one.email = format!("{id}@paving.example")));
    both(&|id| stage.edit(id, |one| one.roles = vec!["bid submitter".into()]));
    let held = stage.sync(&["--organization", "paving"]);
    held.is(10, "held");
    assert_eq!(held.brake().0, "role_change");
    both(&|id| stage.edit(id, |one| one.roles = vec!["member".into()]));
    both(&|id| {
        stage
            .directory
            .put_account(account(&format!("{id}x"), "paving"))
            .expect("put")
    });
    let held = stage.sync(&[]);
    held.is(10, "held");
    assert_eq!(held.brake(), ("create", "run"));
    stage.remove(["p01x", "p02x"]);
    assert_eq!(stage.sync(&[]).counts(), [0; 4]);
}

async fn a_slow_drip_is_held(db: Database) {
    let stage = Stage::synced(db).await;
    for round in 0..2 {
        paving(&stage, 2 * round + 1, 2 * round + 2);
        stage.sync(&[]).is(0, "applied");
    }
    paving(&stage, 5, 6);
    let third = stage.sync(&[]);
    third.is(10, "held");
    let brake = &third.document["brake"];
    assert_eq!(
        (&brake["name"], &brake["value"], &brake["limit"]),
        (&"disable".into(), &6.into(), &5.into())
    );
    assert!(
        brake["explanation"].as_str().expect("a text").contains("24 hours"),
        "{brake}"
    );
    stage.sync(&["--organization", "paving"]).is(10, "held");
    stage.sync(&["--user", "p05"]).is(0, "applied");
    stage.sync(&["--user", "p06"]).is(10, "held");
    // A day later those of yesterday are no longer counted.
    stage
        .db
        .sql("UPDATE runs SET finished_at = '2026-11-01T08:00:00.000000Z'")
        .await;
    stage.sync(&[]).is(0, "applied");
    assert_eq!(stage.active().await, 24);
}

async fn what_was_released_is_not_counted_again(db: Database) {
    let stage = Stage::synced(db).await;
    paving(&stage, 1, 8);
    let held = stage.sync(&[]);
    held.is(10, "held");
    release(&stage, &held);
    paving(&stage, 9, 10);
    let next = stage.sync(&[]);
    next.is(0, "applied");
    assert_eq!(next.counts(), [0, 0, 2, 0]);
}

async fn a_first_run_can_be_held(db: Database) {
    let stage = Stage::new(db).await;
    stage.configure("[brakes]\nfirst_run = \"hold\"");
    let held = stage.sync(&[]);
    held.is(10, "held");
    assert_eq!((held.brake(), held.plan("create")), (("first_run", "run"), 30));
    assert_eq!(stage.active().await, 0);
    release(&stage, &held);
    assert_eq!(stage.active().await, 30);
    assert_eq!(stage.standing("p01").await, "active|paving");
    stage.edit("p01", |one| one.title = None);
    stage.sync(&[]).is(0, "applied");
}

async fn a_dry_run_names_the_brake_and_exits_as_asked(db: Database) {
    let stage = Stage::synced(db).await;
    paving(&stage, 1, 12);
    let planned = stage.sync(&["--dry-run", "--detailed-exitcode"]);
    planned.is(2, "planned");
    assert_eq!(planned.brake().0, "disable");
    stage
        .program
        .fails(1, &["runs", "release", &planned.run(), "--plan", &planned.hash()]);
    assert_eq!(stage.active().await, 30);
}
