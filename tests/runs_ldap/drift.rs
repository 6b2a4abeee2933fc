//! Local edits, by plain SQL as any application makes them: a directory field is put back and the edit is on record; a
//! field that is decided here stays.

use serde_json::json;

use super::{ANNA, BRUNO, CHLOE, Setting, World};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    an_edit_of_a_directory_field_is_put_back_and_shown,
    every_kind_of_directory_field_is_put_back,
    each_edit_is_seen_though_it_is_the_only_one,
    a_record_that_was_changed_by_hand_is_no_witness,
    who_is_back_before_a_run_saw_it_gone_again_is_present,
    an_edit_that_the_directory_makes_too_is_no_drift,
    where_both_changed_the_directory_wins_and_the_edit_is_shown,
    fields_that_are_decided_here_stay,
    an_attribute_that_no_rule_states_stays,
    who_was_enabled_here_by_hand_is_disabled_again,
);

async fn an_edit_of_a_directory_field_is_put_back_and_shown(db: Database) {
    let world = World::loaded(db);
    world.edit(ANNA, "phone = '+1 555 0666'").await;
    assert_eq!(world.sync(), "update=1 unchanged=5 drift=1");
    let phone = json!({"phone":
        {"before": "+1 555 0666", "after": "+1 555 0100", "directory_before": "+1 555 0100", "drift": true}});
    assert_eq!(world.change()["fields"], phone);
    assert_eq!(world.user(ANNA, "phone").await, "+1 555 0100");
    let shown = world.program.ok(&["runs", "show", "last"]);
    assert!(shown.contains("+1 555 0666") && shown.contains("put back"), "{shown}");
    assert_eq!(world.sync(), "unchanged=6");
}

async fn every_kind_of_directory_field_is_put_back(db: Database) {
    let billable = "[fields]\nbillable = { authority = \"directory\" }\n";
    let world = World::new(db);
    let setting = Setting {
        head: billable,
        ..world.setting()
    };
    world.set(&setting);
    world.slapd.set(&ANNA.dn(), "l", "Lyon");
    world.slapd.set(&ANNA.dn(), "carLicense", "yes");
    assert_eq!(world.sync(), "create=6");
    let columns = "email first_name last_name phone title kind billable organization_id status";
    let before = world.user(ANNA, columns).await;
    let bolt = "(SELECT id FROM organizations WHERE name = 'Bolt Surveying')";
    let edit = format!(
        "email = 'other@acme.example', first_name = NULL, last_name = '', phone = '0', title = 'Chief', kind = 'vendor', \
         billable = false, organization_id = {bolt}, attributes = '{{\"city\": \"Paris\", \"badge\": \"7\"}}'"
    );
    world.edit(ANNA, &edit).await;
    let sql = "DELETE FROM memberships WHERE user_id = (SELECT user_id FROM records WHERE external_id = 'aklein')";
    assert_eq!(world.db.sql(sql).await, 1);
    assert_eq!(world.sync(), "update=1 unchanged=5 drift=1");
    let change = world.change();
    let fields = change["fields"].as_object().expect("fields");
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "attributes.city",
            "billable",
            "email",
            "first_name",
            "kind",
            "last_name",
            "organization",
            "phone",
            "roles",
            "title",
        ]
    );
    assert!(fields.values().all(|field| field["drift"] == true), "{change:#}");
    assert_eq!(fields["title"]["after"], json!(null), "the directory states none");
    assert_eq!(world.user(ANNA, columns).await, before);
    assert_eq!(world.roles_of(&ANNA.mail()).await, "authenticated user/directory");
    let kept = "SELECT attributes ->> 'city' || ' ' || (attributes ->> 'badge') FROM users WHERE first_name = 'Anna'";
    assert_eq!(
        world.db.query(kept).await,
        ["Lyon 7"],
        "what the directory does not state stays"
    );
    assert_eq!(world.sync(), "unchanged=6");
}

/// What says that an entry need not be compared looks at every field: one edit alone must not slip past it.
async fn each_edit_is_seen_though_it_is_the_only_one(db: Database) {
    let world = World::new(db);
    let setting = Setting {
        head: "[fields]\nbillable = { authority = \"directory\" }\nlicense = { authority = \"directory\" }\n",
        ..world.setting()
    };
    world.set(&setting);
    world.slapd.set(&ANNA.dn(), "l", "Lyon");
    assert_eq!(world.sync(), "create=6");
    let anna = "(SELECT user_id FROM records WHERE external_id = 'aklein')";
    let mut edits = vec![format!("DELETE FROM memberships WHERE user_id = {anna}")];
    edits.extend(
        [
            "email = 'other@acme.example'",
            "first_name = NULL",
            "last_name = 'Other'",
            "phone = '0'",
            "title = 'Chief'",
            "kind = 'vendor'",
            "license = 'gold'",
            "billable = NULL",
            "organization_id = NULL",
            "attributes = '{\"city\": \"Paris\"}'",
            "status = 'disabled', disabled_by = 'directory'",
        ]
        .map(|assignment| format!("UPDATE users SET {assignment} WHERE id = {anna}")),
    );
    for edit in &edits {
        assert_eq!(world.db.sql(edit).await, 1, "{edit}");
        let run = world.run(0, &[]);
        assert_eq!(
            (&run["plan"]["drift"], &run["plan"]["unchanged"]),
            (&json!(1), &json!(5)),
            "{edit}: {run:#}"
        );
        assert_eq!(world.sync(), "unchanged=6", "{edit}");
    }
}

/// An entry whose user is out of step is compared as its record has it, but not where the record itself was edited.
async fn a_record_that_was_changed_by_hand_is_no_witness(db: Database) {
    let world = World::loaded(db);
    let said = world.user(ANNA, "phone first_name title").await;
    world.edit(ANNA, "phone = '0', first_name = 'Other'").await;
    let by_hand = "UPDATE records SET first_name = 'Wrong', title = 'Wrong' WHERE external_id = 'aklein'";
    assert_eq!(world.db.sql(by_hand).await, 1);
    let run = world.run(0, &[]);
    assert_eq!(
        (&run["plan"]["update"], &run["plan"]["unchanged"]),
        (&json!(1), &json!(5))
    );
    assert_eq!(world.user(ANNA, "phone first_name title").await, said);
}

/// Enabled here while it was gone there, and then listed again as it was: the user is as it should be, and that it was
/// gone is forgotten.
async fn who_is_back_before_a_run_saw_it_gone_again_is_present(db: Database) {
    let world = World::loaded(db);
    world.slapd.delete(&ANNA.dn());
    assert_eq!(world.sync(), "disable=1 unchanged=5");
    world.edit(ANNA, "status = 'active', disabled_by = NULL").await;
    world
        .slapd
        .load(&crate::harness::slapd::person(ANNA.1, ANNA.0, "Anna", "Klein"));
    world.sync();
    let absent = "SELECT CASE WHEN absent THEN 'absent' ELSE 'present' END FROM records WHERE external_id = 'aklein'";
    assert_eq!(world.db.query(absent).await, ["present"]);
}

async fn an_edit_that_the_directory_makes_too_is_no_drift(db: Database) {
    let world = World::loaded(db);
    world.edit(ANNA, "phone = '+1 555 0199'").await;
    world.slapd.set(&ANNA.dn(), "telephoneNumber", "+1 555 0199");
    let before = world.user(ANNA, "phone updated_at").await;
    assert_eq!(world.sync(), "unchanged=6");
    assert!(world.changes().is_empty());
    assert_eq!(
        world.user(ANNA, "phone updated_at").await,
        before,
        "the user is not written"
    );
    let record = "SELECT phone FROM records WHERE external_id = 'aklein'";
    assert_eq!(
        world.db.query(record).await,
        ["+1 555 0199"],
        "what the directory says is remembered"
    );
    // So that the next edit is seen against what the directory says now.
    world.edit(ANNA, "phone = '+1 555 0100'").await;
    assert_eq!(world.sync(), "update=1 unchanged=5 drift=1");
}

async fn where_both_changed_the_directory_wins_and_the_edit_is_shown(db: Database) {
    let world = World::loaded(db);
    world.edit(ANNA, "phone = '+1 555 0666'").await;
    world.slapd.set(&ANNA.dn(), "telephoneNumber", "+1 555 0199");
    assert_eq!(world.sync(), "update=1 unchanged=5 drift=1");
    let phone = json!({"phone":
        {"before": "+1 555 0666", "after": "+1 555 0199", "directory_before": "+1 555 0100", "drift": true}});
    assert_eq!(world.change()["fields"], phone);
    assert_eq!(world.user(ANNA, "phone").await, "+1 555 0199");
}

async fn fields_that_are_decided_here_stay(db: Database) {
    let world = World::new(db);
    let setting = Setting {
        head: "[fields]\ntitle = { authority = \"initial\" }\n",
        ..world.setting()
    };
    world.set(&setting);
    world.slapd.set(&ANNA.dn(), "title", "Surveyor");
    world.slapd.set(&ANNA.dn(), "departmentNumber", "7");
    assert_eq!(world.sync(), "create=6");
    assert_eq!(world.user(ANNA, "title license").await, "Surveyor|-");
    world.edit(ANNA, "title = 'Lead', license = 'full'").await;
    let before = world.user(ANNA, "title license updated_at").await;
    assert!(before.starts_with("Lead|full|"), "{before}");
    assert_eq!(world.sync(), "unchanged=6");
    world.slapd.set(&ANNA.dn(), "title", "Director");
    world.slapd.set(&ANNA.dn(), "departmentNumber", "8");
    assert_eq!(world.sync(), "unchanged=6");
    assert_eq!(world.user(ANNA, "title license updated_at").await, before);
    // Beside a change that is carried out, too.
    world.slapd.set(&ANNA.dn(), "telephoneNumber", "+1 555 0199");
    assert_eq!(world.sync(), "update=1 unchanged=5");
    assert_eq!(world.user(ANNA, "title license phone").await, "Lead|full|+1 555 0199");
}

async fn an_attribute_that_no_rule_states_stays(db: Database) {
    let world = World::loaded(db);
    world.edit(BRUNO, "attributes = '{\"badge\": \"7\"}'").await;
    assert_eq!(world.sync(), "unchanged=6");
    world.slapd.set(&BRUNO.dn(), "l", "Lyon");
    assert_eq!(world.sync(), "update=1 unchanged=5");
    let both = "SELECT attributes ->> 'city' || ' ' || (attributes ->> 'badge') FROM users WHERE first_name = 'Bruno'";
    assert_eq!(world.db.query(both).await, ["Lyon 7"]);
}

async fn who_was_enabled_here_by_hand_is_disabled_again(db: Database) {
    let world = World::loaded(db);
    world.slapd.delete(&CHLOE.dn());
    assert_eq!(world.sync(), "disable=1 unchanged=5");
    world.edit(CHLOE, "status = 'active', disabled_by = NULL").await;
    // A field that is put back counts as an update too.
    assert_eq!(world.sync(), "update=1 disable=1 unchanged=5 drift=1");
    assert_eq!(
        world.user(CHLOE, "status disabled_by session_epoch").await,
        "disabled|directory|2"
    );
}
