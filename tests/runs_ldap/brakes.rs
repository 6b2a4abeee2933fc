//! The limit of a brake, to the last user: share, count and floor; organizations; and what was done before.

use super::{ACME, Setting, World, counts, numbered};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    a_limit_is_met_to_the_last_user,
    the_users_of_one_organization_are_weighed_alone,
    a_slow_drip_adds_up,
    creations_are_weighed_after_the_first_run,
);

/// Limits for disables, and how many users pass of thirty, ten in each of three firms.
const LIMITS: [(&str, usize); 5] = [
    ("{ share = 0.20, count = 100, floor = 0 }", 6),
    ("{ share = 1.0, count = 4, floor = 0 }", 4),
    ("{ share = 0.0, count = 0, floor = 3 }", 3),
    // The lesser of share and count, but never below the floor.
    ("{ share = 0.9, count = 5, floor = 2 }", 5),
    ("{ share = 0.01, count = 1, floor = 4 }", 4),
];

fn braked(world: &World, disable: &str) {
    let setting = Setting {
        head: &format!("[brakes]\ndisable = {disable}\n"),
        ..world.setting()
    };
    world.set(&setting);
}

async fn a_limit_is_met_to_the_last_user(db: Database) {
    let world = World::large(db, 24);
    assert_eq!(world.sync(), "create=30");
    // One more leaves before each round; whoever is gone, is gone from every firm in turn.
    for gone in 1..=7_usize {
        world.slapd.delete(&numbered(gone));
        for (disable, limit) in LIMITS {
            if gone + 1 < limit || gone > limit + 1 {
                continue;
            }
            braked(&world, disable);
            let planned = world.run(0, &["--dry-run"]);
            assert_eq!(counts(&planned), format!("disable={gone} unchanged={}", 30 - gone));
            let brake = &planned["brake"];
            if gone <= limit {
                assert!(brake.is_null(), "{disable}, {gone}: {brake:#}");
                continue;
            }
            let expected = (&"disable".into(), &"run".into(), &gone.into(), &limit.into());
            assert_eq!(
                (&brake["name"], &brake["scope"], &brake["value"], &brake["limit"]),
                expected,
                "{disable}, {gone}"
            );
            assert_eq!(world.run(10, &[])["plan"], planned["plan"], "{disable}, {gone}");
            assert_eq!(world.disabled().await, 0, "{disable}, {gone}");
        }
    }
    // At the limit itself, for once in earnest.
    braked(&world, "{ share = 0.0, count = 0, floor = 7 }");
    assert_eq!(world.sync(), "disable=7 unchanged=23");
}

async fn the_users_of_one_organization_are_weighed_alone(db: Database) {
    let world = World::large(db, 24);
    assert_eq!(world.sync(), "create=30");
    braked(&world, "{ share = 0.20, count = 100, floor = 0 }");
    for number in [3, 6] {
        world.slapd.delete(&numbered(number));
    }
    assert!(world.run(0, &["--dry-run"])["brake"].is_null());
    world.slapd.delete(&numbered(9));
    let held = world.run(10, &[]);
    let brake = &held["brake"];
    assert_eq!(
        (&brake["name"], &brake["scope"], &brake["value"], &brake["limit"]),
        (
            &"disable".into(),
            &format!("organization:{ACME}").into(),
            &3.into(),
            &2.into()
        )
    );
    assert_eq!(world.disabled().await, 0);
}

async fn a_slow_drip_adds_up(db: Database) {
    let world = World::large(db, 24);
    assert_eq!(world.sync(), "create=30");
    braked(&world, "{ share = 0.0, count = 0, floor = 3 }");
    for gone in 1..=3 {
        world.slapd.delete(&numbered(gone));
        assert_eq!(world.sync(), format!("disable=1 unchanged={}", 30 - gone));
    }
    world.slapd.delete(&numbered(4));
    let held = world.run(10, &[]);
    assert_eq!(
        (&held["brake"]["value"], &held["brake"]["limit"]),
        (&4.into(), &3.into())
    );
    let explanation = held["brake"]["explanation"].as_str().expect("text");
    assert!(explanation.contains("after 3 in the last 24 hours"), "{explanation}");
    assert_eq!(world.disabled().await, 3);
    // What a person has looked at and released does not count against the next run.
    let hash = held["plan"]["hash"].as_str().expect("text");
    world.program.ok(&["runs", "release", "last", "--plan", hash]);
    assert_eq!(world.disabled().await, 4);
    // Yesterday's does not count at all.
    assert!(
        world
            .db
            .sql("UPDATE runs SET finished_at = '2026-01-01T00:00:00.000000Z'")
            .await
            > 0
    );
    world.slapd.delete(&numbered(5));
    assert_eq!(world.sync(), "disable=1 unchanged=25");
}

async fn creations_are_weighed_after_the_first_run(db: Database) {
    let world = World::new(db);
    let setting = Setting {
        head: "[brakes]\ncreate = { share = 0.5, count = 5000, floor = 0 }\n",
        ..world.setting()
    };
    world.set(&setting);
    assert_eq!(
        world.sync(),
        "create=6",
        "nobody is here yet: a share of none says nothing"
    );
    let newcomers = |uids: &[&str]| {
        let people = uids.iter().enumerate().map(|(n, uid)| {
            let firm = [ACME, super::BOLT, super::CRANE][n % 3];
            crate::harness::slapd::person(firm, uid, "Nora", "Newcomer")
        });
        people.collect::<String>()
    };
    world.slapd.load(&newcomers(&["n1", "n2", "n3"]));
    assert!(world.run(0, &["--dry-run"])["brake"].is_null());
    world.slapd.load(&newcomers(&["n4"]));
    let held = world.run(10, &[]);
    assert_eq!(
        (counts(&held), &held["brake"]["name"]),
        ("create=4 unchanged=6".into(), &"create".into())
    );
    assert_eq!(world.addresses("active").await.len(), 6);
}
