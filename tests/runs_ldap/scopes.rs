//! Runs of one organization and of one user: nobody outside is touched, and who has moved is not missing.

use super::{ACME, ANNA, BOLT, BRUNO, CHLOE, Setting, Who, World, counts, quarantined};
use crate::harness::database::{Database, on_both_engines};
use crate::harness::slapd::{FIRMS, PARTNERS, person};

on_both_engines!(
    an_organization_by_attribute_is_read_alone,
    an_organization_by_the_tree_is_read_alone,
    an_organization_by_its_group_is_read_alone,
    an_organization_by_the_groups_of_its_people_is_read_alone,
    an_organization_that_only_the_directory_knows_is_read_alone,
    an_organization_that_lists_nobody_is_held,
    an_organization_that_nobody_knows_is_said,
    one_user_is_read_alone,
    one_user_who_is_gone_is_disabled,
    one_user_who_moved_is_moved,
    a_user_whom_nobody_knows_is_said,
);

async fn an_organization_by_attribute_is_read_alone(db: Database) {
    one_organization(db, "\"o\"", &|world| world.slapd.set(&BRUNO.dn(), "o", BOLT)).await;
}

async fn an_organization_by_the_tree_is_read_alone(db: Database) {
    one_organization(db, "{ from = \"parent\" }", &|world| {
        world
            .slapd
            .rename(&BRUNO.dn(), "uid=bnovak", Some(&format!("o={BOLT},{PARTNERS}")));
    })
    .await;
}

/// Takes Bruno out of one group and into the other.
fn change_groups(world: &World) {
    let dn = BRUNO.dn();
    world.slapd.modify(&format!(
        "dn: cn={ACME},{FIRMS}\nchangetype: modify\ndelete: member\nmember: {dn}\n\n\
         dn: cn={BOLT},{FIRMS}\nchangetype: modify\nadd: member\nmember: {dn}\n"
    ));
}

async fn an_organization_by_its_group_is_read_alone(db: Database) {
    let form = format!(
        r#"{{ from = "group", base_dn = "{FIRMS}", filter = "(objectClass=groupOfNames)", member = "member" }}"#
    );
    one_organization(db, &form, &change_groups).await;
}

async fn an_organization_by_the_groups_of_its_people_is_read_alone(db: Database) {
    let form = format!(r#"{{ from = "member_of", attribute = "memberOf", base_dn = "{FIRMS}" }}"#);
    one_organization(db, &form, &change_groups).await;
}

/// A run of Acme: one of it changed, one moved to Bolt, and one is gone; one of Bolt changed, who must stay as she is.
async fn one_organization(db: Database, form: &str, moves: &dyn Fn(&World)) {
    let world = World::new(db);
    let setting = Setting {
        organization: form,
        ..world.setting()
    };
    world.set(&setting);
    let gone = Who("xgone", ACME);
    world.slapd.load(&person(ACME, gone.0, "Xenia", "Gone"));
    if form.contains("group") || form.contains("member_of") {
        let dn = gone.dn();
        world.slapd.modify(&format!(
            "dn: cn={ACME},{FIRMS}\nchangetype: modify\nadd: member\nmember: {dn}\n"
        ));
    }
    assert_eq!(world.sync(), "create=7");
    let of = "SELECT o.name FROM organizations o JOIN users u ON u.organization_id = o.id WHERE u.email = 'bnovak@acme.example'";
    assert_eq!(world.db.query(of).await, [ACME]);

    let (chloe, bruno) = (
        world.user(CHLOE, "id phone updated_at").await,
        world.user(BRUNO, "id status").await,
    );
    world.slapd.set(&ANNA.dn(), "telephoneNumber", "+1 555 0199");
    world.slapd.set(&CHLOE.dn(), "telephoneNumber", "+1 555 0188");
    world.slapd.delete(&gone.dn());
    moves(&world);
    let run = world.run(0, &["--organization", ACME]);
    assert_eq!(
        (run["state"].as_str(), counts(&run)),
        (Some("applied"), "update=2 disable=1".into()),
        "{run:#}"
    );
    let here = world
        .db
        .query("SELECT CAST(id AS text) FROM organizations WHERE name = 'Acme Engineering'")
        .await;
    assert_eq!(
        (&run["organization"], &run["user"]),
        (&here[0].as_str().into(), &serde_json::Value::Null)
    );
    assert_eq!(world.user(ANNA, "phone").await, "+1 555 0199");
    assert_eq!(world.user(BRUNO, "id status").await, bruno, "moved, not disabled");
    assert_eq!(world.db.query(of).await, [BOLT]);
    assert_eq!(world.user(gone, "status disabled_by").await, "disabled|directory");
    assert_eq!(
        world.user(CHLOE, "id phone updated_at").await,
        chloe,
        "nobody else is touched"
    );
    // By its id here, too; and the whole has only Chloé left to do.
    assert_eq!(counts(&world.run(0, &["--organization", &here[0]])), "unchanged=1");
    assert_eq!(world.sync(), "update=1 unchanged=5");
}

async fn an_organization_that_only_the_directory_knows_is_read_alone(db: Database) {
    let world = World::new(db);
    let run = world.run(0, &["--organization", BOLT]);
    assert_eq!(counts(&run), "create=2");
    assert_eq!(
        world.addresses("active").await,
        ["cmoreau@bolt.example", "dpetrov@bolt.example"]
    );
    assert_eq!(world.sync(), "create=4 unchanged=2");
}

async fn an_organization_that_lists_nobody_is_held(db: Database) {
    let world = World::loaded(db);
    world.slapd.delete(&ANNA.dn());
    world.slapd.delete(&BRUNO.dn());
    let held = world.run(10, &["--organization", ACME]);
    assert_eq!(
        (&held["brake"]["name"], counts(&held)),
        (&"empty".into(), "disable=2".into())
    );
    assert_eq!(world.disabled().await, 0);
    let hash = held["plan"]["hash"].as_str().expect("text");
    world.program.ok(&["runs", "release", "last", "--plan", hash]);
    assert_eq!(world.disabled().await, 2);
    assert_eq!(world.sync(), "unchanged=4");
}

async fn an_organization_that_nobody_knows_is_said(db: Database) {
    let world = World::loaded(db);
    let before = world.everything().await;
    let run = world.run(1, &["--organization", "Nowhere Ltd"]);
    super::sentence(&run, &["Nowhere Ltd", "partners", "check the spelling"]);
    world.run(1, &["--organization", "*"]);
    assert_eq!(world.everything().await, before);
}

async fn one_user_is_read_alone(db: Database) {
    let world = World::loaded(db);
    let id = world.user(ANNA, "id").await;
    for name in [ANNA.0, &ANNA.mail().to_uppercase(), &id] {
        let run = world.run(0, &["--user", name]);
        assert_eq!(
            (counts(&run), &run["user"]),
            ("unchanged=1".into(), &id.as_str().into())
        );
    }
    for who in [ANNA, BRUNO] {
        world.slapd.set(&who.dn(), "telephoneNumber", "+1 555 0199");
    }
    world.slapd.delete(&CHLOE.dn());
    assert_eq!(counts(&world.run(0, &["--user", &ANNA.mail()])), "update=1");
    assert_eq!(world.user(ANNA, "phone").await, "+1 555 0199");
    assert_eq!(world.user(BRUNO, "phone").await, "+1 555 0100");
    assert_eq!(world.user(CHLOE, "status").await, "active");
    // Somebody new, whom only the directory knows.
    world.slapd.load(&person(BOLT, "nnew", "Nora", "New"));
    assert_eq!(counts(&world.run(0, &["--user", "nnew"])), "create=1");
    // Somebody new with an address that is taken.
    world.slapd.load(&person(BOLT, "ntaken", "Nick", "Taken"));
    world.slapd.set(&Who("ntaken", BOLT).dn(), "mail", &BRUNO.mail());
    let run = world.run(3, &["--user", "ntaken"]);
    assert_eq!(quarantined(&run), ["ntaken address_of_linked_user"]);
    world.slapd.delete(&Who("ntaken", BOLT).dn());
    assert_eq!(world.sync(), "update=1 disable=1 unchanged=5");
}

async fn one_user_who_is_gone_is_disabled(db: Database) {
    let world = World::loaded(db);
    world.slapd.delete(&ANNA.dn());
    let run = world.run(0, &["--user", &ANNA.mail()]);
    assert_eq!(counts(&run), "disable=1");
    assert_eq!(
        world.user(ANNA, "status disabled_by session_epoch").await,
        "disabled|directory|1"
    );
    assert_eq!(counts(&world.run(0, &["--user", ANNA.0])), "nothing");
    world.slapd.load(&person(ANNA.1, ANNA.0, "Anna", "Klein"));
    assert_eq!(counts(&world.run(0, &["--user", ANNA.0])), "enable=1");
    assert_eq!(world.disabled().await, 0);
}

async fn one_user_who_moved_is_moved(db: Database) {
    let world = World::loaded(db);
    world.slapd.set(&BRUNO.dn(), "o", "Brand New Firm");
    assert_eq!(counts(&world.run(0, &["--user", BRUNO.0])), "update=1");
    let of = "SELECT o.name FROM organizations o JOIN users u ON u.organization_id = o.id WHERE u.email = 'bnovak@acme.example'";
    assert_eq!(world.db.query(of).await, ["Brand New Firm"]);
    assert_eq!(world.sync(), "unchanged=6");
}

async fn a_user_whom_nobody_knows_is_said(db: Database) {
    let world = World::loaded(db);
    world.local_user("employee", "boss@agency.example").await;
    let before = world.everything().await;
    let run = world.run(1, &["--user", "nobody@acme.example"]);
    super::sentence(&run, &["nobody@acme.example", "check the id"]);
    super::sentence(&world.run(1, &["--user", "*"]), &["*"]);
    let own = world.run(1, &["--user", "boss@agency.example"]);
    super::sentence(&own, &["local account", "nothing to sync"]);
    assert_eq!(world.everything().await, before);
}
