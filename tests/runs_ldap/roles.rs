//! Roles that the directory grants; those that administer only where the configuration says so; and the last
//! administrator, who stays.

use super::{ANNA, BRUNO, Setting, World, counts, quarantined};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    a_role_that_administers_is_refused_until_the_configuration_allows_it,
    roles_that_were_granted_here_stay,
    however_many_roles_an_edit_of_one_is_seen,
    the_last_administrator_is_protected,
    of_two_administrators_that_leave_together_neither_goes,
    an_administrator_by_a_grant_of_ours_is_protected_too,
);

const ALLOWED: &str = "grant_administrator_roles = [\"Admin\"]";

fn allow(world: &World) {
    let setting = Setting {
        source: ALLOWED,
        ..world.setting()
    };
    world.set(&setting);
}

async fn a_role_that_administers_is_refused_until_the_configuration_allows_it(db: Database) {
    let world = World::new(db);
    world.slapd.set(&ANNA.dn(), "businessCategory", "Admin");
    world.slapd.set(&BRUNO.dn(), "businessCategory", "aDMIN");
    let run = world.run(0, &[]);
    assert_eq!((counts(&run), &run["refused_roles"]), ("create=6".into(), &2.into()));
    for who in [ANNA, BRUNO] {
        assert_eq!(world.roles_of(&who.mail()).await, "authenticated user/directory");
    }
    let text = world.program.ok(&["sync", "partners"]);
    assert!(text.contains("grant_administrator_roles"), "{text}");

    allow(&world);
    let run = world.run(0, &[]);
    assert_eq!(
        (counts(&run), &run["refused_roles"]),
        ("update=1 unchanged=5".into(), &1.into())
    );
    assert_eq!(world.roles_of(&ANNA.mail()).await, "Admin/directory");
    assert_eq!(world.roles_of(&BRUNO.mail()).await, "authenticated user/directory");
}

async fn roles_that_were_granted_here_stay(db: Database) {
    let world = World::new(db);
    world.slapd.set(&ANNA.dn(), "businessCategory", "Reviewer");
    assert_eq!(world.sync(), "create=6");
    world.grant(&ANNA.mail(), "Approver").await;
    assert_eq!(world.sync(), "unchanged=6");
    world.slapd.set(&ANNA.dn(), "businessCategory", "Editor");
    assert_eq!(world.sync(), "update=1 unchanged=5");
    let roles = &world.change()["fields"]["roles"];
    assert_eq!(
        (&roles["before"], &roles["after"]),
        (&["Reviewer"].as_slice().into(), &["Editor"].as_slice().into())
    );
    assert_eq!(world.roles_of(&ANNA.mail()).await, "Approver/local, Editor/directory");
    // What was granted here stays ours when the directory grants it as well, and when it takes it back.
    world.slapd.set(&ANNA.dn(), "businessCategory", "Approver");
    assert_eq!(world.sync(), "update=1 unchanged=5");
    assert_eq!(world.roles_of(&ANNA.mail()).await, "Approver/local");
    assert_eq!(world.sync(), "unchanged=6");
    world.slapd.set(&ANNA.dn(), "businessCategory", "Editor");
    assert_eq!(world.sync(), "update=1 unchanged=5");
    assert_eq!(world.roles_of(&ANNA.mail()).await, "Approver/local, Editor/directory");
}

/// One role, two and more are told apart in ways of their own where everybody's are looked at in one pass.
async fn however_many_roles_an_edit_of_one_is_seen(db: Database) {
    let world = World::new(db);
    let setting = Setting {
        // One role after the other is changed here, and more than six users' worth of them within the window.
        head: "[brakes]\nrole_change = { share = 1.0, count = 1000, floor = 1000 }\n",
        ..world.setting()
    };
    world.set(&setting);
    assert_eq!(world.sync(), "create=6");
    let anna = "user_id = (SELECT user_id FROM records WHERE external_id = 'aklein')";
    let named = |name: &str| format!("group_id = (SELECT id FROM groups WHERE kind = 'role' AND name = '{name}')");
    let mut held = Vec::new();
    let mut values = String::new();
    for role in ["Editor", "Approver", "Reviewer", "Checker"] {
        values.push_str(&format!("businessCategory: {role}\n"));
        world.slapd.modify(&format!(
            "dn: {}\nchangetype: modify\nreplace: businessCategory\n{values}",
            ANNA.dn()
        ));
        assert_eq!(world.sync(), "update=1 unchanged=5");
        held.push(format!("{role}/directory"));
        held.sort_unstable();
        for edit in [
            format!("DELETE FROM memberships WHERE {anna} AND {}", named(role)),
            // As many as before, and one of them another.
            format!(
                "UPDATE memberships SET {} WHERE {anna} AND {}",
                named("authenticated user"),
                named(role)
            ),
        ] {
            assert_eq!(world.sync(), "unchanged=6", "{held:?}");
            assert_eq!(world.db.sql(&edit).await, 1, "{edit}");
            assert_eq!(world.sync(), "update=1 unchanged=5 drift=1", "{edit}");
            assert_eq!(world.roles_of(&ANNA.mail()).await, held.join(", "), "{edit}");
        }
    }
}

async fn the_last_administrator_is_protected(db: Database) {
    let world = World::new(db);
    allow(&world);
    world.slapd.set(&ANNA.dn(), "businessCategory", "Admin");
    assert_eq!(world.sync(), "create=6");
    // Whether it loses the role, is disabled there, or is gone.
    world.slapd.set(&ANNA.dn(), "businessCategory", "Reviewer");
    assert_protected(&world).await;
    world.slapd.set(&ANNA.dn(), "businessCategory", "Admin");
    world.slapd.set(&ANNA.dn(), "description", "on leave");
    assert_protected(&world).await;
    world.slapd.delete(&ANNA.dn());
    assert_protected(&world).await;
    // Once somebody else administers, it goes.
    world.local_user("employee", "boss@agency.example").await;
    world.grant("boss@agency.example", "Admin").await;
    assert_eq!(world.sync(), "disable=1 unchanged=5");
}

async fn assert_protected(world: &World) {
    let run = world.run(3, &[]);
    assert_eq!(counts(&run), "unchanged=5 quarantine=1");
    assert_eq!(quarantined(&run), ["aklein last_administrator"]);
    let detail = run["quarantined"][0]["detail"].as_str().expect("a sentence");
    assert!(detail.contains("no active administrator"), "{detail}");
    assert_eq!(world.user(ANNA, "status").await, "active");
    assert_eq!(world.roles_of(&ANNA.mail()).await, "Admin/directory");
}

async fn of_two_administrators_that_leave_together_neither_goes(db: Database) {
    let world = World::new(db);
    allow(&world);
    for who in [ANNA, BRUNO] {
        world.slapd.set(&who.dn(), "businessCategory", "Admin");
    }
    assert_eq!(world.sync(), "create=6");
    world.slapd.delete(&ANNA.dn());
    world.slapd.set(&BRUNO.dn(), "description", "on leave");
    let run = world.run(3, &[]);
    assert_eq!(
        quarantined(&run),
        ["aklein last_administrator", "bnovak last_administrator"]
    );
    assert_eq!(world.disabled().await, 0);
    // One of them alone may go.
    world.slapd.set(&BRUNO.dn(), "description", "back");
    assert_eq!(world.sync(), "disable=1 unchanged=5");
}

/// The role is ours and the person the directory's; somebody who may not sign in does not count as another one.
async fn an_administrator_by_a_grant_of_ours_is_protected_too(db: Database) {
    let world = World::loaded(db);
    world.grant(&ANNA.mail(), "Admin").await;
    world.local_user("employee", "boss@agency.example").await;
    world.grant("boss@agency.example", "Admin").await;
    let disable = "UPDATE users SET status = 'disabled', disabled_by = 'admin' WHERE email = 'boss@agency.example'";
    assert_eq!(world.db.sql(disable).await, 1);
    world.slapd.delete(&ANNA.dn());
    let run = world.run(3, &[]);
    assert_eq!(counts(&run), "unchanged=5 quarantine=1");
    assert_eq!(quarantined(&run), ["aklein last_administrator"]);
    assert_eq!(world.user(ANNA, "status").await, "active");
    let enable = "UPDATE users SET status = 'active', disabled_by = NULL WHERE email = 'boss@agency.example'";
    assert_eq!(world.db.sql(enable).await, 1);
    assert_eq!(world.sync(), "disable=1 unchanged=5");
}
