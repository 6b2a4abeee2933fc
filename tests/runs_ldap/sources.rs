//! Several sources on one table, and organizations that nobody follows: each run touches what is its own.

use super::{ACME, ANNA, BOLT, BRUNO, CHLOE, Setting, World, counts, source};
use crate::harness::database::{Database, on_both_engines};
use crate::harness::slapd::{PARTNERS, READER, person};

on_both_engines!(
    one_source_never_disables_the_users_of_another,
    one_person_in_two_sources_is_one_user,
    a_source_that_fails_does_not_stop_the_next,
    one_id_in_two_sources_is_two_users,
    users_of_an_organization_that_is_not_followed_are_left_alone,
    everybody_whom_no_source_owns_is_left_alone,
);

/// Two sources: `acme` reads one firm, `bolt` another.
fn two(world: &World, bind: [&str; 2]) {
    let bases = [ACME, BOLT].map(|firm| format!("o={firm},{PARTNERS}"));
    let mut config = world.database();
    for ((name, base_dn), bind_dn) in ["acme", "bolt"].iter().zip(&bases).zip(bind) {
        let setting = Setting {
            base_dn,
            bind_dn,
            ..world.setting()
        };
        config.push_str(&source(name, &setting));
    }
    world.program.configure(&config);
}

const READERS: [&str; 2] = [READER; 2];

async fn one_source_never_disables_the_users_of_another(db: Database) {
    let world = World::new(db);
    two(&world, READERS);
    let all = world.command(0, &["sync", "--output", "json"]);
    let runs = all.as_array().expect("an array");
    let each: Vec<_> = runs.iter().map(|run| (run["source"].as_str(), counts(run))).collect();
    assert_eq!(
        each,
        [(Some("acme"), "create=2".into()), (Some("bolt"), "create=2".into())]
    );
    world.slapd.delete(&ANNA.dn());
    world.slapd.delete(&CHLOE.dn());
    let acme = world.command(0, &["sync", "acme", "--output", "json"]);
    assert_eq!(counts(&acme), "disable=1 unchanged=1");
    assert_eq!(world.addresses("disabled").await, [ANNA.mail()]);
    // A firm that the other source has never told us about is not its own to read as missing.
    world.slapd.delete(&BRUNO.dn());
    let acme = world.command(10, &["sync", "acme", "--output", "json"]);
    assert_eq!(acme["brake"]["name"], "empty");
    let bolt = world.command(0, &["sync", "bolt", "--output", "json"]);
    assert_eq!(counts(&bolt), "disable=1 unchanged=1");
    assert_eq!(world.addresses("disabled").await, [ANNA.mail(), CHLOE.mail()]);
    // `--user` finds the source by the user.
    let one = world.command(0, &["sync", "--user", "dpetrov@bolt.example", "--output", "json"]);
    assert_eq!((&one["source"], counts(&one)), (&"bolt".into(), "unchanged=1".into()));
}

async fn one_person_in_two_sources_is_one_user(db: Database) {
    let world = World::new(db);
    two(&world, READERS);
    world.slapd.set(&CHLOE.dn(), "mail", &ANNA.mail());
    let all = world.command(3, &["sync", "--output", "json"]);
    assert_eq!(
        (counts(&all[0]), counts(&all[1])),
        ("create=2".into(), "create=1 quarantine=1".into())
    );
    assert_eq!(super::quarantined(&all[1]), ["cmoreau address_of_linked_user"]);
    let detail = all[1]["quarantined"][0]["detail"].as_str().expect("a sentence");
    assert!(detail.contains("acme") && detail.contains("aklein"), "{detail}");
    let owners =
        "SELECT r.source FROM records r JOIN users u ON u.id = r.user_id WHERE u.email = 'aklein@acme.example'";
    assert_eq!(world.db.query(owners).await, ["acme"]);
}

async fn a_source_that_fails_does_not_stop_the_next(db: Database) {
    let world = World::new(db);
    two(&world, READERS);
    world.command(0, &["sync", "--output", "json"]);
    world.slapd.set(&CHLOE.dn(), "telephoneNumber", "+1 555 0199");
    two(&world, ["cn=nobody,dc=directory,dc=example", READERS[1]]);
    let all = world.command(4, &["sync", "--output", "json"]);
    assert_eq!(
        (&all[0]["state"], &all[1]["state"]),
        (&"failed".into(), &"applied".into())
    );
    assert_eq!(counts(&all[1]), "update=1 unchanged=1");
    two(&world, READERS);
    world.slapd.delete(&ANNA.dn());
    world.slapd.delete(&BRUNO.dn());
    let all = world.command(10, &["sync", "--output", "json"]);
    assert_eq!(
        (&all[0]["state"], &all[1]["state"]),
        (&"held".into(), &"applied".into())
    );
    assert_eq!(world.disabled().await, 0);
}

async fn users_of_an_organization_that_is_not_followed_are_left_alone(db: Database) {
    let world = World::loaded(db);
    world.program.ok(&["orgs", "unfollow", ACME]);
    world.slapd.delete(&ANNA.dn());
    world.slapd.set(&BRUNO.dn(), "telephoneNumber", "+1 555 0199");
    let before = world.everything().await;
    let run = world.run(0, &[]);
    assert_eq!(
        (counts(&run), &run["listing"]["entries"]),
        ("unchanged=4".into(), &5.into())
    );
    let proof = run["listing"]["proof"].to_string();
    assert!(proof.contains("not followed"), "{proof}");
    assert_eq!(world.everything().await, before);
    // Followed again, it is caught up with.
    world.program.ok(&["orgs", "follow", ACME]);
    assert_eq!(world.sync(), "update=1 disable=1 unchanged=4");
    // Who moves to a firm that is not followed has left those that are.
    world.program.ok(&["orgs", "unfollow", BOLT]);
    world.slapd.set(&BRUNO.dn(), "o", BOLT);
    assert_eq!(world.sync(), "disable=1 unchanged=2");
    assert_eq!(world.change()["external_id"], BRUNO.0);
    assert_eq!(world.user(CHLOE, "status").await, "active");
}

async fn everybody_whom_no_source_owns_is_left_alone(db: Database) {
    let world = World::loaded(db);
    for (kind, email) in [
        ("employee", "boss@agency.example"),
        ("consultant", "freelance@elsewhere.example"),
        ("vendor", "sales@shop.example"),
    ] {
        world.local_user(kind, email).await;
    }
    let in_firm = "UPDATE users SET organization_id = (SELECT id FROM organizations WHERE name = 'Acme Engineering') WHERE kind = 'vendor'";
    assert_eq!(world.db.sql(in_firm).await, 1);
    let before = world.everything().await;
    assert_eq!(world.sync(), "unchanged=6");
    assert_eq!(counts(&world.run(0, &["--organization", ACME])), "unchanged=2");
    assert_eq!(world.everything().await, before);
}

async fn one_id_in_two_sources_is_two_users(db: Database) {
    let world = World::new(db);
    world.slapd.load(&person(BOLT, ANNA.0, "Anne", "Other"));
    two(&world, READERS);
    world.command(0, &["sync", "--output", "json"]);
    let both = "SELECT r.source || ' ' || u.email FROM records r JOIN users u ON u.id = r.user_id \
         WHERE r.external_id = 'aklein' ORDER BY 1";
    assert_eq!(
        world.db.query(both).await,
        ["acme aklein@acme.example", "bolt aklein@bolt.example"]
    );
    // With the source named, its id is its own.
    for (source, mail) in [("acme", "aklein@acme.example"), ("bolt", "aklein@bolt.example")] {
        let run = world.command(0, &["sync", source, "--user", ANNA.0, "--output", "json"]);
        let id = world
            .db
            .query(&format!("SELECT CAST(id AS text) FROM users WHERE email = '{mail}'"))
            .await;
        assert_eq!(
            (counts(&run), &run["user"]),
            ("unchanged=1".into(), &id[0].as_str().into())
        );
    }
    world.slapd.delete(&ANNA.dn());
    let run = world.command(0, &["sync", "acme", "--user", ANNA.0, "--output", "json"]);
    assert_eq!(counts(&run), "disable=1");
    assert_eq!(world.addresses("disabled").await, [ANNA.mail()]);
    assert_eq!(
        counts(&world.command(0, &["sync", "bolt", "--output", "json"])),
        "unchanged=3"
    );
}
