//! The life of an entry: it comes, stays, changes, goes and returns; and what people here decide about it meanwhile.

use super::{ANNA, BRUNO, CHLOE, Setting, World, counts, numbered};
use crate::harness::database::{Database, on_both_engines};
use crate::harness::slapd::person;

on_both_engines!(
    the_first_run_brings_everything_that_is_mapped,
    the_same_again_writes_nothing,
    a_changed_entry_is_shown_old_and_new,
    an_entry_that_is_gone_is_disabled_and_enabled_when_it_returns,
    a_status_of_the_directory_disables_and_enables,
    who_an_administrator_disabled_is_never_enabled,
    who_was_disabled_here_for_no_stated_reason_is_never_enabled,
    who_was_deleted_here_is_not_created_again_until_it_is_lifted,
    a_dry_run_writes_nothing,
    neither_order_nor_paging_changes_the_plan,
);

async fn the_first_run_brings_everything_that_is_mapped(db: Database) {
    let world = World::new(db);
    world.slapd.modify(&format!(
        "dn: {}\nchangetype: modify\nadd: title\ntitle: Surveyor\n-\nadd: employeeType\nemployeeType: contract\n-\n\
         add: carLicense\ncarLicense: yes\n-\nadd: departmentNumber\ndepartmentNumber: 7\n-\nadd: l\nl: Lyon\n-\n\
         add: businessCategory\nbusinessCategory: Reviewer\nbusinessCategory: Editor\n",
        ANNA.dn()
    ));
    world.slapd.set(&BRUNO.dn(), "description", "on leave");
    let run = world.run(0, &[]);
    assert_eq!(
        (run["state"].as_str(), counts(&run)),
        (Some("applied"), "create=6".into()),
        "{run:#}"
    );
    assert_eq!(run["listing"]["complete"], true);
    assert_eq!(
        (&run["listing"]["entries"], &run["listing"]["pages"]),
        (&6.into(), &1.into())
    );
    assert!(
        run["listing"]["proof"]
            .as_array()
            .is_some_and(|proof| !proof.is_empty()),
        "{run:#}"
    );
    let columns = "kind email first_name last_name phone title status disabled_by license session_epoch";
    assert_eq!(
        world.user(ANNA, columns).await,
        "contractor|aklein@acme.example|Anna|Klein|+1 555 0100|Surveyor|active|-|-|0",
        "the license is decided here, whatever the directory says"
    );
    assert_eq!(
        world.user(BRUNO, columns).await,
        "consultant|bnovak@acme.example|Bruno|Novak|+1 555 0100|-|disabled|directory|-|0"
    );
    assert_eq!(
        world.roles_of(&ANNA.mail()).await,
        "Editor/directory, Reviewer/directory"
    );
    assert_eq!(world.roles_of(&CHLOE.mail()).await, "authenticated user/directory");
    let organizations = "SELECT o.name || ' ' || o.kind || ' ' || coalesce(o.source, '-') || ' ' || CAST(count(u.id) AS text) \
         FROM organizations o LEFT JOIN users u ON u.organization_id = o.id GROUP BY o.name, o.kind, o.source ORDER BY 1";
    assert_eq!(
        world.db.query(organizations).await,
        [
            "Acme Engineering consultant partners 2",
            "Agency self - 0",
            "Bolt Surveying consultant partners 2",
            "Crane Works consultant partners 2",
        ]
    );
    let city = "SELECT attributes ->> 'city' FROM users WHERE first_name = 'Anna'";
    assert_eq!(world.db.query(city).await, ["Lyon"]);
    let records = "SELECT r.external_id || ' ' || r.email FROM records r JOIN users u ON u.id = r.user_id AND u.email = r.email \
         WHERE r.source = 'partners' AND NOT r.absent AND r.organization_id = u.organization_id ORDER BY 1";
    assert_eq!(
        world.db.query(records).await,
        [
            "aklein aklein@acme.example",
            "bnovak bnovak@acme.example",
            "cmoreau cmoreau@bolt.example",
            "dpetrov dpetrov@bolt.example",
            "eokafor eokafor@crane.example",
            "fsilva fsilva@crane.example",
        ]
    );
    let said = "SELECT license || ' ' || roles FROM records WHERE external_id = 'aklein'";
    assert_eq!(world.db.query(said).await, ["7 Editor\nReviewer"]);
    assert_eq!(world.changes().len(), 6);
}

async fn the_same_again_writes_nothing(db: Database) {
    let world = World::loaded(db);
    let changes = "SELECT CAST(count(*) AS text) FROM changes";
    let before = (world.everything().await, world.db.query(changes).await);
    for _ in 0..2 {
        assert_eq!(world.sync(), "unchanged=6");
        assert!(world.changes().is_empty());
    }
    assert_eq!((world.everything().await, world.db.query(changes).await), before);
}

async fn a_changed_entry_is_shown_old_and_new(db: Database) {
    let world = World::loaded(db);
    let id = world.user(ANNA, "id").await;
    let others = "SELECT CAST(updated_at AS text) FROM users WHERE first_name <> 'Anna' ORDER BY email";
    let before = world.db.query(others).await;
    world.slapd.set(&ANNA.dn(), "telephoneNumber", "+1 555 0199");
    assert_eq!(world.sync(), "update=1 unchanged=5");
    let change = world.change();
    assert_eq!(
        (
            &change["action"],
            &change["reason"],
            &change["external_id"],
            &change["user"]
        ),
        (&"update".into(), &"edited".into(), &"aklein".into(), &id.into())
    );
    assert_eq!(change["email"], "aklein@acme.example");
    assert_eq!(change["organization"], "Acme Engineering");
    let phone = serde_json::json!({"phone":
        {"before": "+1 555 0100", "after": "+1 555 0199", "directory_before": "+1 555 0100", "drift": false}});
    assert_eq!(change["fields"], phone);
    assert_eq!(world.user(ANNA, "phone").await, "+1 555 0199");
    assert_eq!(world.db.query(others).await, before, "nobody else was written");
    let text = world.program.ok(&["runs", "changes", "last"]);
    assert!(text.contains("+1 555 0100") && text.contains("+1 555 0199"), "{text}");
}

async fn an_entry_that_is_gone_is_disabled_and_enabled_when_it_returns(db: Database) {
    let world = World::loaded(db);
    let id = world.user(ANNA, "id").await;
    world.slapd.delete(&ANNA.dn());
    assert_eq!(world.sync(), "disable=1 unchanged=5");
    let change = world.change();
    assert_eq!(
        (&change["action"], &change["reason"]),
        (&"disable".into(), &"absent".into())
    );
    let columns = "id status disabled_by session_epoch email";
    assert_eq!(
        world.user(ANNA, columns).await,
        format!("{id}|disabled|directory|1|aklein@acme.example")
    );
    let settled = world.everything().await;
    assert_eq!(world.sync(), "unchanged=5");
    assert_eq!(world.everything().await, settled, "it is disabled once");

    world.slapd.load(&person(ANNA.1, ANNA.0, "Anna", "Klein"));
    assert_eq!(world.sync(), "enable=1 unchanged=5");
    assert_eq!(world.change()["reason"], "returned");
    assert_eq!(
        world.user(ANNA, columns).await,
        format!("{id}|active|-|1|aklein@acme.example")
    );
    assert_eq!(world.sync(), "unchanged=6");
}

async fn a_status_of_the_directory_disables_and_enables(db: Database) {
    let world = World::loaded(db);
    world.slapd.set(&ANNA.dn(), "description", "on leave");
    assert_eq!(world.sync(), "disable=1 unchanged=5");
    assert_eq!(world.change()["reason"], "disabled_in_directory");
    assert_eq!(
        world.user(ANNA, "status disabled_by session_epoch").await,
        "disabled|directory|1"
    );
    assert_eq!(world.sync(), "unchanged=6");
    world.slapd.set(&ANNA.dn(), "description", "back");
    assert_eq!(world.sync(), "enable=1 unchanged=5");
    assert_eq!(world.user(ANNA, "status disabled_by session_epoch").await, "active|-|1");
}

async fn who_an_administrator_disabled_is_never_enabled(db: Database) {
    let world = World::loaded(db);
    world.program.ok(&["users", "disable", &ANNA.mail()]);
    // Nobody wrote down who: then it was a person, too.
    world.edit(BRUNO, "status = 'disabled', disabled_by = NULL").await;
    assert_eq!(world.sync(), "unchanged=6");
    world.slapd.set(&ANNA.dn(), "telephoneNumber", "+1 555 0199");
    assert_eq!(world.sync(), "update=1 unchanged=5");
    assert_eq!(
        world.user(ANNA, "status disabled_by phone").await,
        "disabled|admin|+1 555 0199"
    );
    world.slapd.delete(&ANNA.dn());
    world.slapd.delete(&BRUNO.dn());
    assert_eq!(world.sync(), "unchanged=4");
    world.slapd.load(&person(ANNA.1, ANNA.0, "Anna", "Klein"));
    world.slapd.load(&person(BRUNO.1, BRUNO.0, "Bruno", "Novak"));
    // The phone is again what it was at first.
    assert_eq!(world.sync(), "update=1 unchanged=5");
    assert_eq!(world.user(ANNA, "status disabled_by").await, "disabled|admin");
    assert_eq!(world.user(BRUNO, "status disabled_by").await, "disabled|-");
}

async fn who_was_deleted_here_is_not_created_again_until_it_is_lifted(db: Database) {
    let world = World::loaded(db);
    let by_command = world.user(ANNA, "id").await;
    world.program.ok(&["users", "delete", &ANNA.mail(), "--yes"]);
    let by_sql = format!("DELETE FROM users WHERE email = '{}'", BRUNO.mail());
    assert_eq!(world.db.sql(&by_sql).await, 1);
    // Also not when the entry changes, goes or comes.
    assert!(!world.sync().contains("create"));
    world.slapd.set(&ANNA.dn(), "telephoneNumber", "+1 555 0199");
    assert!(!world.sync().contains("create"));
    world.slapd.delete(&BRUNO.dn());
    assert!(!world.sync().contains("disable"));
    world.slapd.load(&person(BRUNO.1, BRUNO.0, "Bruno", "Novak"));
    assert!(!world.sync().contains("create"));
    assert_eq!(world.addresses("active").await.len(), 4);

    for who in [ANNA, BRUNO] {
        world.program.ok(&["users", "lift", "--source", "partners", who.0]);
    }
    assert_eq!(world.sync(), "create=2 unchanged=4");
    assert_ne!(world.user(ANNA, "id").await, by_command);
    assert_eq!(world.addresses("active").await.len(), 6);
}

async fn a_dry_run_writes_nothing(db: Database) {
    let world = World::new(db);
    let dry = ["--dry-run", "--detailed-exitcode"];
    // The schema and the agency's own organization are there from the first command on.
    let run = world.run(2, &dry);
    assert_eq!((&run["state"], &run["dry_run"]), (&"planned".into(), &true.into()));
    assert_eq!(counts(&run), "create=6");
    let tables = ["users", "records", "groups", "memberships", "audit"];
    for table in tables {
        let count = world
            .db
            .query(&format!("SELECT CAST(count(*) AS text) FROM {table}"))
            .await;
        assert_eq!(count, ["0"], "{table}");
    }
    assert_eq!(
        world.run(0, &["--dry-run"])["plan"]["hash"],
        run["plan"]["hash"],
        "the same plan again"
    );
    assert_eq!(world.sync(), "create=6");

    world.slapd.set(&ANNA.dn(), "mail", "anna.klein@acme.example");
    world.slapd.delete(&CHLOE.dn());
    world.edit(BRUNO, "phone = '0'").await;
    let before = world.everything().await;
    let run = world.run(2, &dry);
    assert_eq!(counts(&run), "update=2 disable=1 unchanged=3 drift=1");
    assert_eq!(world.changes().len(), 3);
    assert_eq!(world.everything().await, before);
    let applied = world.run(0, &[]);
    assert_eq!(applied["plan"], run["plan"], "what was shown is what is applied");
    assert_ne!(world.everything().await, before);
    assert_eq!(counts(&world.run(0, &dry)), "unchanged=5");
}

async fn neither_order_nor_paging_changes_the_plan(db: Database) {
    let world = World::large(db, 14);
    let hashes = |world: &World| {
        [1, 3, 1000].map(|size| {
            let source = format!("page_size = {size}");
            let setting = Setting {
                source: &source,
                ..world.setting()
            };
            world.set(&setting);
            let run = world.run(0, &["--dry-run"]);
            let pages = run["listing"]["pages"].as_u64().expect("a number");
            assert_eq!(pages, 20_u64.div_ceil(size), "{run:#}");
            run["plan"].clone()
        })
    };
    let [one, three, all] = hashes(&world);
    assert_eq!(one, all);
    assert_eq!(three, all);
    assert_eq!(world.sync(), "create=20");
    // What is taken out and put back comes last from the server.
    for number in [1, 2, 3] {
        world.slapd.set(&numbered(number), "telephoneNumber", "+1 555 0199");
    }
    let before = hashes(&world);
    world.slapd.delete(&ANNA.dn());
    world.slapd.load(&person(ANNA.1, ANNA.0, "Anna", "Klein"));
    world.slapd.delete(&numbered(1));
    let firm = super::BOLT;
    world.slapd.load(&person(firm, "p000001", "Pat", "Person 1"));
    world.slapd.set(&numbered(1), "telephoneNumber", "+1 555 0199");
    assert_eq!(hashes(&world), before);
    assert_eq!(counts(&world.run(0, &[])), "update=3 unchanged=17");
}

/// An application that knows nothing of `disabled_by` may disable people too.
async fn who_was_disabled_here_for_no_stated_reason_is_never_enabled(db: Database) {
    let world = World::loaded(db);
    world.edit(ANNA, "status = 'disabled', disabled_by = NULL").await;
    assert_eq!(world.sync(), "unchanged=6");
    world.slapd.set(&ANNA.dn(), "telephoneNumber", "+1 555 0199");
    assert_eq!(world.sync(), "update=1 unchanged=5");
    assert_eq!(world.user(ANNA, "status disabled_by").await, "disabled|-");
}
