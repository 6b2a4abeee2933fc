//! Users that are here before the directory has them: whom an entry takes over by its address, and whom never.

use super::{ANNA, BRUNO, Setting, World, counts, quarantined};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    an_employee_with_the_address_is_left_alone,
    somebody_of_the_agency_itself_is_left_alone,
    a_consultant_with_the_address_is_linked,
    nobody_is_linked_where_that_is_not_wanted,
    an_administrator_with_the_address_is_not_linked,
    a_linked_user_who_becomes_an_employee_is_left_alone,
);

async fn an_employee_with_the_address_is_left_alone(db: Database) {
    let world = World::new(db);
    world.db.store().await;
    world.local_user("employee", &ANNA.mail().to_uppercase()).await;
    let before = rows(&world).await;
    let run = world.run(3, &[]);
    assert_eq!(counts(&run), "create=5 quarantine=1");
    assert_eq!(quarantined(&run), ["aklein address_of_employee"]);
    let detail = run["quarantined"][0]["detail"].as_str().expect("a sentence");
    assert!(detail.contains(&ANNA.mail()) && detail.contains("employee"), "{detail}");
    assert_eq!(rows(&world).await, before);
    let kept = "SELECT external_id || ' ' || code || ' ' || CAST(times AS text) FROM quarantine";
    assert_eq!(world.db.query(kept).await, ["aklein address_of_employee 1"]);
    let text = world.program.run(&["sync", "partners"]);
    assert_eq!(text.code, 3, "{text:#?}");
    assert!(
        text.stdout.contains("1 entry is kept out") && text.stdout.contains("aklein"),
        "{text:#?}"
    );
    assert_eq!(world.db.query(kept).await, ["aklein address_of_employee 2"]);
}

/// The row of the user that nobody owns.
async fn rows(world: &World) -> Vec<String> {
    let all = world.everything().await;
    all.into_iter()
        .filter(|row| row.starts_with("users|") && row.contains("|Local|"))
        .collect()
}

async fn somebody_of_the_agency_itself_is_left_alone(db: Database) {
    let world = World::new(db);
    world.run(0, &["--dry-run"]);
    world.local_user("consultant", &ANNA.mail()).await;
    let own = "UPDATE users SET organization_id = (SELECT id FROM organizations WHERE kind = 'self')";
    assert_eq!(world.db.sql(own).await, 1);
    let before = rows(&world).await;
    let run = world.run(3, &[]);
    assert_eq!(quarantined(&run), ["aklein address_of_employee"]);
    assert_eq!(rows(&world).await, before);
}

async fn a_consultant_with_the_address_is_linked(db: Database) {
    let world = World::new(db);
    world.db.store().await;
    world.local_user("consultant", "AKlein@acme.example").await;
    world.grant("AKlein@acme.example", "Approver").await;
    let id = world.db.query("SELECT CAST(id AS text) FROM users").await.remove(0);
    assert_eq!(world.sync(), "create=5 update=1");
    let linked = world
        .changes()
        .into_iter()
        .find(|c| c["action"] == "update")
        .expect("one");
    assert_eq!(
        (&linked["reason"], &linked["user"]),
        (&"linked".into(), &id.as_str().into())
    );
    assert_eq!(linked["fields"]["first_name"]["before"], "Local");
    assert_eq!(
        world.user(ANNA, "id email first_name").await,
        format!("{id}|aklein@acme.example|Anna")
    );
    assert_eq!(
        world.roles_of(&ANNA.mail()).await,
        "Approver/local, authenticated user/directory"
    );
    assert_eq!(world.sync(), "unchanged=6");
}

async fn nobody_is_linked_where_that_is_not_wanted(db: Database) {
    let world = World::new(db);
    world.db.store().await;
    let setting = Setting {
        source: "correlate_by_email = false",
        ..world.setting()
    };
    world.set(&setting);
    world.local_user("consultant", &ANNA.mail()).await;
    let before = rows(&world).await;
    let run = world.run(3, &[]);
    assert_eq!(quarantined(&run), ["aklein address_of_other"]);
    assert_eq!(rows(&world).await, before);
}

async fn an_administrator_with_the_address_is_not_linked(db: Database) {
    let world = World::new(db);
    world.db.store().await;
    world.local_user("consultant", &ANNA.mail()).await;
    world.grant(&ANNA.mail(), "admin").await;
    let before = rows(&world).await;
    let run = world.run(3, &[]);
    assert_eq!(counts(&run), "create=5 quarantine=1");
    assert_eq!(quarantined(&run), ["aklein address_of_administrator"]);
    assert_eq!(rows(&world).await, before);
    assert_eq!(world.roles_of(&ANNA.mail()).await, "admin/local");
}

async fn a_linked_user_who_becomes_an_employee_is_left_alone(db: Database) {
    let world = World::loaded(db);
    world.edit(ANNA, "kind = 'employee', phone = '0'").await;
    world.edit(BRUNO, "kind = 'employee'").await;
    world.slapd.delete(&BRUNO.dn());
    let run = world.run(3, &[]);
    assert_eq!(counts(&run), "unchanged=4 quarantine=1");
    assert_eq!(quarantined(&run), ["aklein user_is_employee"]);
    assert_eq!(world.user(ANNA, "kind phone status").await, "employee|0|active");
    assert_eq!(world.user(BRUNO, "kind status").await, "employee|active");
}
