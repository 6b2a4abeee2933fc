//! E-mail addresses that move between entries. Two that claim one are both out, whatever the order; two that swap are
//! not.

use super::{ANNA, BRUNO, CHLOE, Who, World, counts, quarantined};
use crate::harness::database::{Database, on_both_engines};
use crate::harness::slapd::person;

on_both_engines!(
    two_users_swap_their_addresses,
    addresses_move_along_a_chain,
    two_that_claim_one_address_are_both_out_whatever_the_order,
    newcomers_that_claim_one_address_are_all_out,
    an_address_used_again_inherits_nothing,
    an_address_that_a_leaver_has_is_not_given_away,
    a_chain_behind_somebody_who_stays_does_not_move,
    an_address_that_changes_its_case_alone_is_updated,
    addresses_that_were_swapped_here_are_put_back,
    an_address_that_was_taken_here_is_given_to_whom_the_directory_says,
    a_newcomer_gets_the_address_that_somebody_leaves,
    an_address_that_an_employee_should_leave_is_not_given_away,
);

async fn two_users_swap_their_addresses(db: Database) {
    let world = World::loaded(db);
    let ids = (world.user(ANNA, "id").await, world.user(BRUNO, "id").await);
    world.slapd.set(&ANNA.dn(), "mail", &BRUNO.mail());
    world.slapd.set(&BRUNO.dn(), "mail", &ANNA.mail());
    assert_eq!(world.sync(), "update=2 unchanged=4");
    assert_eq!(
        world.user(ANNA, "id email").await,
        format!("{}|{}", ids.0, BRUNO.mail())
    );
    assert_eq!(
        world.user(BRUNO, "id email").await,
        format!("{}|{}", ids.1, ANNA.mail())
    );
    for change in world.changes() {
        assert_eq!(
            change["fields"].as_object().map(serde_json::Map::len),
            Some(1),
            "{change:#}"
        );
    }
    assert_eq!(world.sync(), "unchanged=6");
}

async fn addresses_move_along_a_chain(db: Database) {
    let world = World::loaded(db);
    world.slapd.set(&ANNA.dn(), "mail", &BRUNO.mail());
    world.slapd.set(&BRUNO.dn(), "mail", &CHLOE.mail());
    world.slapd.set(&CHLOE.dn(), "mail", "chloe@bolt.example");
    assert_eq!(world.sync(), "update=3 unchanged=3");
    assert_eq!(world.user(ANNA, "email").await, BRUNO.mail());
    assert_eq!(world.user(BRUNO, "email").await, CHLOE.mail());
    assert_eq!(world.user(CHLOE, "email").await, "chloe@bolt.example");
    assert_eq!(world.sync(), "unchanged=6");
}

/// Anna claims Bruno's address, then Bruno Anna's: the entry that comes first must not win either time.
async fn two_that_claim_one_address_are_both_out_whatever_the_order(db: Database) {
    let world = World::loaded(db);
    let out = ["aklein address_claimed_twice", "bnovak address_claimed_twice"];
    for (claimant, holder) in [(ANNA, BRUNO), (BRUNO, ANNA)] {
        let before = (
            world.user(ANNA, "email updated_at").await,
            world.user(BRUNO, "email updated_at").await,
        );
        world.slapd.set(&claimant.dn(), "mail", &holder.mail().to_uppercase());
        let run = world.run(3, &[]);
        assert_eq!(counts(&run), "unchanged=4 quarantine=2");
        assert_eq!(quarantined(&run), out);
        let after = (
            world.user(ANNA, "email updated_at").await,
            world.user(BRUNO, "email updated_at").await,
        );
        assert_eq!(after, before);
        assert_eq!(quarantined(&world.run(3, &[])), out, "it stays so");
        world.slapd.set(&claimant.dn(), "mail", &claimant.mail());
        assert_eq!(world.sync(), "unchanged=6");
        let left = world.db.query("SELECT external_id FROM quarantine").await;
        assert!(left.is_empty(), "cured: {left:?}");
    }
}

async fn newcomers_that_claim_one_address_are_all_out(db: Database) {
    let world = World::new(db);
    world.slapd.set(&BRUNO.dn(), "mail", &ANNA.mail());
    world.slapd.set(&CHLOE.dn(), "mail", "AKlein@Acme.EXAMPLE");
    let run = world.run(3, &[]);
    assert_eq!(counts(&run), "create=3 quarantine=3");
    assert!(
        quarantined(&run)
            .iter()
            .all(|one| one.ends_with("address_claimed_twice")),
        "{run:#}"
    );
    assert_eq!(world.addresses("active").await.len(), 3);
    world.slapd.set(&BRUNO.dn(), "mail", &BRUNO.mail());
    world.slapd.set(&CHLOE.dn(), "mail", &CHLOE.mail());
    assert_eq!(world.sync(), "create=3 unchanged=3");
}

async fn an_address_used_again_inherits_nothing(db: Database) {
    let world = World::loaded(db);
    world.grant(&ANNA.mail(), "Approver").await;
    world.edit(ANNA, "license = 'full'").await;
    let old = world.user(ANNA, "id").await;
    world.slapd.delete(&ANNA.dn());
    assert_eq!(world.sync(), "disable=1 unchanged=5");
    let again = Who("aklein2", ANNA.1);
    world.slapd.load(&person(again.1, again.0, "Alma", "Klein"));
    world.slapd.set(&again.dn(), "mail", &ANNA.mail());
    let run = world.run(3, &[]);
    assert_eq!(counts(&run), "unchanged=5 quarantine=1");
    assert_eq!(quarantined(&run), ["aklein2 address_of_linked_user"]);
    assert_eq!(
        world.user(ANNA, "id first_name status").await,
        format!("{old}|Anna|disabled")
    );
    // Who is in charge deletes the leaver: then the address is free, and nothing comes with it.
    assert_eq!(world.db.sql(&format!("DELETE FROM users WHERE id = '{old}'")).await, 1);
    assert_eq!(world.sync(), "create=1 unchanged=5");
    assert_ne!(world.user(again, "id").await, old);
    assert_eq!(world.user(again, "first_name license status").await, "Alma|-|active");
    assert_eq!(world.roles_of(&ANNA.mail()).await, "authenticated user/directory");
}

/// The same within one run: who leaves is disabled, and its address goes to nobody by that.
async fn an_address_that_a_leaver_has_is_not_given_away(db: Database) {
    let world = World::loaded(db);
    let old = world.user(ANNA, "id").await;
    world.slapd.delete(&ANNA.dn());
    world.slapd.set(&BRUNO.dn(), "mail", &ANNA.mail());
    let run = world.run(3, &[]);
    assert_eq!(counts(&run), "disable=1 unchanged=4 quarantine=1");
    assert_eq!(quarantined(&run), ["bnovak address_of_linked_user"]);
    assert_eq!(
        world.user(ANNA, "id status email").await,
        format!("{old}|disabled|{}", ANNA.mail())
    );
    assert_eq!(world.user(BRUNO, "email").await, BRUNO.mail());
}

async fn a_chain_behind_somebody_who_stays_does_not_move(db: Database) {
    let world = World::loaded(db);
    world.local_user("employee", "boss@agency.example").await;
    let before = world.everything().await;
    world.slapd.set(&ANNA.dn(), "mail", &BRUNO.mail());
    world.slapd.set(&BRUNO.dn(), "mail", &CHLOE.mail());
    world.slapd.set(&CHLOE.dn(), "mail", "boss@agency.example");
    let run = world.run(3, &[]);
    assert_eq!(counts(&run), "unchanged=3 quarantine=3");
    assert_eq!(
        quarantined(&run),
        [
            "aklein address_of_linked_user",
            "bnovak address_of_linked_user",
            "cmoreau address_of_employee",
        ]
    );
    let users = |rows: &[String]| {
        rows.iter()
            .filter(|row| row.starts_with("users|"))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(users(&world.everything().await), users(&before));
}

async fn an_address_that_changes_its_case_alone_is_updated(db: Database) {
    let world = World::loaded(db);
    let id = world.user(ANNA, "id").await;
    world.slapd.set(&ANNA.dn(), "mail", "A.Klein@acme.example");
    assert_eq!(world.sync(), "update=1 unchanged=5");
    world.slapd.set(&ANNA.dn(), "mail", "a.klein@ACME.example");
    let run = world.run(0, &[]);
    let email = world.user(ANNA, "email").await;
    assert!(email.eq_ignore_ascii_case("a.klein@acme.example"), "{email}: {run:#}");
    assert_eq!(world.user(ANNA, "id").await, id);
    assert_eq!(world.sync(), "unchanged=6");
}

async fn addresses_that_were_swapped_here_are_put_back(db: Database) {
    let world = World::loaded(db);
    world.edit(ANNA, "email = 'between@acme.example'").await;
    world.edit(BRUNO, &format!("email = '{}'", ANNA.mail())).await;
    world.edit(ANNA, &format!("email = '{}'", BRUNO.mail())).await;
    assert_eq!(world.sync(), "update=2 unchanged=4 drift=2");
    assert_eq!(world.user(ANNA, "email").await, ANNA.mail());
    assert_eq!(world.user(BRUNO, "email").await, BRUNO.mail());
}

async fn an_address_that_was_taken_here_is_given_to_whom_the_directory_says(db: Database) {
    let world = World::loaded(db);
    world.edit(ANNA, "email = 'wanted@acme.example'").await;
    world.slapd.set(&BRUNO.dn(), "mail", "wanted@acme.example");
    assert_eq!(world.sync(), "update=2 unchanged=4 drift=1");
    assert_eq!(world.user(ANNA, "email").await, ANNA.mail());
    assert_eq!(world.user(BRUNO, "email").await, "wanted@acme.example");
}

async fn a_newcomer_gets_the_address_that_somebody_leaves(db: Database) {
    let world = World::loaded(db);
    world.grant(&ANNA.mail(), "Approver").await;
    let old = world.user(ANNA, "id").await;
    let new = Who("annew", ANNA.1);
    world.slapd.set(&ANNA.dn(), "mail", "anna@acme.example");
    world.slapd.load(&person(new.1, new.0, "Annew", "Klein"));
    world.slapd.set(&new.dn(), "mail", &ANNA.mail());
    assert_eq!(world.sync(), "create=1 update=1 unchanged=5");
    assert_eq!(world.user(ANNA, "id email").await, format!("{old}|anna@acme.example"));
    assert_ne!(world.user(new, "id").await, old);
    assert_eq!(
        world.user(new, "email first_name").await,
        format!("{}|Annew", ANNA.mail())
    );
    assert_eq!(world.roles_of(&ANNA.mail()).await, "authenticated user/directory");
}

/// The directory renames somebody who is an employee by now, and gives the old address away: neither happens.
async fn an_address_that_an_employee_should_leave_is_not_given_away(db: Database) {
    let world = World::loaded(db);
    world.edit(BRUNO, "kind = 'employee'").await;
    world.slapd.set(&BRUNO.dn(), "mail", "bruno@acme.example");
    world.slapd.set(&ANNA.dn(), "mail", &BRUNO.mail());
    let run = world.run(3, &[]);
    assert_eq!(counts(&run), "unchanged=4 quarantine=2");
    assert_eq!(
        quarantined(&run),
        ["aklein address_of_employee", "bnovak user_is_employee"]
    );
    assert_eq!(world.user(ANNA, "email").await, ANNA.mail());
    assert_eq!(world.user(BRUNO, "email").await, BRUNO.mail());
}
