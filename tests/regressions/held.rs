//! Held plans: what outdates one, and what a release looks at once more.

use serde_json::json;

use super::{configure_source, release, twelve_leave};
use crate::harness::database::{Database, on_both_engines};
use crate::harness::program::Program;
use crate::runs_connex::stage::{Stage, account, configuration, sync};
use crate::runs_connex::wire_server::{self, Fault};

on_both_engines!(
    a_later_run_of_one_of_its_users_outdates_a_held_run,
    a_later_run_of_one_of_its_organizations_outdates_a_held_run,
    a_later_run_that_read_and_was_incomplete_outdates_a_held_run,
    a_later_run_with_the_same_plan_does_not_outdate_a_held_run,
    a_plan_whose_changes_were_edited_is_not_released,
    a_plan_whose_organizations_were_edited_is_not_released,
    a_plan_that_grants_what_may_not_be_granted_any_more_is_not_released,
    a_plan_for_an_organization_that_was_unfollowed_is_not_released,
);

async fn a_later_run_of_one_of_its_users_outdates_a_held_run(db: Database) {
    let stage = Stage::synced(db).await;
    let held = twelve_leave(&stage);
    // Somebody whom the plan does not touch says nothing about it.
    stage.sync(&["--user", "b01"]).is(0, "applied");
    stage.directory.put_account(account("p02", "paving")).expect("put");
    let later = stage.sync(&["--user", "p02"]);
    later.is(0, "applied");
    assert_eq!(later.counts(), [0; 4], "it writes no row by which the plan were stale");
    let (code, said) = release(&stage, &held);
    assert!(code == 1 && said.contains(&later.run()), "{code}: {said}");
    assert_eq!(stage.active().await, 30);
}

async fn a_later_run_of_one_of_its_organizations_outdates_a_held_run(db: Database) {
    let stage = Stage::synced(db).await;
    let held = twelve_leave(&stage);
    for number in 2..=13 {
        let back = account(&format!("p{number:02}"), "paving");
        stage.directory.put_account(back).expect("put");
    }
    let later = stage.sync(&["--organization", "paving"]);
    later.is(0, "applied");
    assert_eq!(later.counts(), [0; 4]);
    let (code, said) = release(&stage, &held);
    assert!(code == 1 && said.contains(&later.run()), "{code}: {said}");
    assert_eq!(stage.active().await, 30);
    // The other organization is none of the plan's business.
    let held = twelve_leave(&stage);
    stage.sync(&["--organization", "bridges"]).is(0, "applied");
    assert_eq!(release(&stage, &held), (0, String::new()));
    assert_eq!(stage.active().await, 18);
}

async fn a_later_run_that_read_and_was_incomplete_outdates_a_held_run(db: Database) {
    let people: Vec<_> = (1..=20)
        .map(|number| wire_server::account(&format!("s{number:02}"), "signs"))
        .collect();
    let (server, world) = wire_server::serve(wire_server::World {
        organizations: vec![wire_server::firm("signs")],
        accounts: people.clone(),
        fault: Fault::None,
    })
    .await;
    let program = Program::new(&configuration(&db.url, server.url().as_str(), ""));
    sync(&program, &[]).is(0, "applied");
    world.set(|world| world.accounts.truncate(8));
    let held = sync(&program, &[]);
    held.is(10, "held");
    world.set(|world| {
        world.accounts = people;
        world.fault = Fault::WrongTotal;
    });
    let later = sync(&program, &[]);
    later.is(4, "incomplete");
    assert_eq!(later.document["listing"]["entries"], 20, "it has read them all");
    let said = program.fails(1, &["runs", "release", &held.run(), "--plan", &held.hash()]);
    assert!(said.contains(&later.run()), "{said}");
    assert_eq!(
        db.query("SELECT email FROM users WHERE status = 'active'").await.len(),
        20
    );
}

async fn a_later_run_with_the_same_plan_does_not_outdate_a_held_run(db: Database) {
    let stage = Stage::synced(db).await;
    let held = twelve_leave(&stage);
    let again = stage.sync(&[]);
    again.is(10, "held");
    assert_eq!(again.hash(), held.hash());
    assert_eq!(release(&stage, &held), (0, String::new()));
    assert_eq!(stage.active().await, 18);
}

async fn a_plan_whose_changes_were_edited_is_not_released(db: Database) {
    let stage = Stage::synced(db).await;
    let held = twelve_leave(&stage);
    let other = json!({"title": {"before": "Estimator", "after": "Owner", "directory_before": null, "drift": false}});
    let edit = format!(
        "UPDATE changes SET fields = '{other}' WHERE run_id = '{}' AND external_id = 'p02'",
        held.run()
    );
    assert_eq!(stage.db.sql(&edit).await, 1);
    let before = stage.dump().await;
    let (code, said) = release(&stage, &held);
    assert!(code == 1 && said.contains("changed by hand"), "{code}: {said}");
    assert_eq!(stage.dump().await, before);
    // A row more and a row less are no better.
    let held = stage.sync(&[]);
    held.is(10, "held");
    let less = format!(
        "DELETE FROM changes WHERE run_id = '{}' AND external_id = 'p03'",
        held.run()
    );
    assert_eq!(stage.db.sql(&less).await, 1);
    let (code, said) = release(&stage, &held);
    assert!(code == 1 && said.contains("changed by hand"), "{code}: {said}");
    assert_eq!(stage.active().await, 30);
}

async fn a_plan_whose_organizations_were_edited_is_not_released(db: Database) {
    let stage = Stage::synced(db).await;
    let renamed = |one: &mut rollcall::cli::directory::model::Organization| one.name = "Example Bridges Renamed".into();
    stage.directory.update_organization("bridges", renamed).expect("a firm");
    let held = twelve_leave(&stage);
    let edit = format!(
        "UPDATE run_organizations SET name = 'Example Forgery' WHERE run_id = '{}'",
        held.run()
    );
    assert_eq!(stage.db.sql(&edit).await, 1);
    let before = stage.dump().await;
    let (code, said) = release(&stage, &held);
    assert!(code == 1 && said.contains("changed by hand"), "{code}: {said}");
    assert_eq!(stage.dump().await, before);
}

async fn a_plan_that_grants_what_may_not_be_granted_any_more_is_not_released(db: Database) {
    let stage = Stage::synced(db).await;
    configure_source(&stage, "grant_administrator_roles = [\"Admin\"]");
    stage.edit("p01", |one| one.roles = vec!["Admin".into()]);
    let held = twelve_leave(&stage);
    assert_eq!(held.counts(), [0, 1, 12, 0]);
    configure_source(&stage, "grant_administrator_roles = []");
    let before = stage.dump().await;
    let (code, said) = release(&stage, &held);
    assert!(
        code == 1 && said.contains("grant_administrator_roles"),
        "{code}: {said}"
    );
    assert_eq!(stage.dump().await, before);
    configure_source(&stage, "grant_administrator_roles = [\"Admin\"]");
    assert_eq!(release(&stage, &held), (0, String::new()), "it was the grant alone");
    let granted = "SELECT r.external_id, m.origin FROM memberships m JOIN groups g ON g.id = m.group_id \
        JOIN records r ON r.user_id = m.user_id WHERE g.name = 'Admin'";
    assert_eq!(stage.db.query(granted).await, ["p01|directory"]);
}

async fn a_plan_for_an_organization_that_was_unfollowed_is_not_released(db: Database) {
    let stage = Stage::synced(db).await;
    let held = twelve_leave(&stage);
    stage.program.ok(&["orgs", "unfollow", "paving"]);
    let before = stage.dump().await;
    let (code, said) = release(&stage, &held);
    assert!(
        code == 1 && said.contains("Example Paving is not followed any more"),
        "{code}: {said}"
    );
    assert_eq!(stage.dump().await, before);
}
