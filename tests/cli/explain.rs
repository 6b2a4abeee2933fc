//! `rollcall users explain`: what it says must be what the next sync does.

use rollcall::cli::directory::model::AccountStatus;
use serde_json::{Value, json};

use super::{account, organization, synced};
use crate::harness::database::{Database, on_both_engines};
use crate::harness::program::Program;

on_both_engines!(
    a_linked_user_is_explained_field_by_field,
    disabled_users_say_why,
    nobody_owns_an_employee,
    entries_without_a_user_are_foretold,
    a_directory_that_fails_is_said,
);

fn explain(program: &Program, id: &str) -> Value {
    program.json(&["users", "explain", id, "--output", "json"])
}

fn field<'v>(explained: &'v Value, name: &str) -> &'v Value {
    let fields = explained["fields"].as_array().expect("fields");
    fields.iter().find(|f| f["field"] == name).expect(name)
}

async fn a_linked_user_is_explained_field_by_field(db: Database) {
    let (program, directory) = synced(&db).await;
    let all = explain(&program, "acc-1");
    assert_eq!(all["next_sync"]["action"], "none", "{all:#}");
    assert!(
        program
            .ok(&["users", "explain", "acc-1"])
            .contains("in step with the directory")
    );
    db.sql("UPDATE users SET phone = '12', title = 'Chief', license = 'B' WHERE email = 'avery@paving.example'")
        .await;
    directory
        .directory
        .update_account("acc-1", |a| a.last_name = "  Newname ".into())
        .expect("edited");
    let all = explain(&program, "avery@paving.example");
    assert_eq!(all["next_sync"]["action"], "update", "{all:#}");
    assert_eq!(field(&all, "phone")["verdict"], "would_be_put_back");
    assert_eq!(field(&all, "phone")["held"], "12");
    let last_name = field(&all, "last_name");
    assert_eq!(last_name["verdict"], "would_be_updated");
    assert_eq!(last_name["attributes"], json!({"last_name": ["  Newname "]}));
    assert_eq!(
        (&last_name["mapped"], &last_name["directory_before"]),
        (&json!("Newname"), &json!("Sampleton"))
    );
    assert_eq!(field(&all, "title")["verdict"], "set_once");
    assert_eq!(field(&all, "email")["verdict"], "in_step");
    let text = program.ok(&["users", "explain", "acc-1"]);
    assert!(text.contains("edited here: the next sync puts it back"), "{text}");
    assert!(text.contains("It sets last_name, phone."), "{text}");
    // What was foretold is what happens.
    program.ok(&["sync", "connex"]);
    let all = explain(&program, "acc-1");
    assert_eq!(all["next_sync"]["action"], "none");
    assert_eq!(all["user"]["last_name"], "Newname");
    assert_eq!(all["user"]["title"], "Chief");
}

async fn disabled_users_say_why(db: Database) {
    let (program, directory) = synced(&db).await;
    directory
        .directory
        .update_account("acc-1", |a| a.status = AccountStatus::Disabled)
        .expect("edited");
    directory.directory.delete_account("acc-2").expect("deleted");
    let all = explain(&program, "acc-1");
    assert_eq!(
        (&all["next_sync"]["action"], &all["next_sync"]["reason"]),
        (&json!("disable"), &json!("disabled_in_directory"))
    );
    let all = explain(&program, "acc-2");
    assert_eq!(
        (&all["next_sync"]["action"], &all["next_sync"]["reason"]),
        (&json!("disable"), &json!("absent"))
    );
    assert_eq!(all["directory"]["state"], "not_found");
    program.ok(&["sync", "connex"]);
    program.ok(&["users", "disable", "acc-3"]);
    let why = |id: &str| {
        explain(&program, id)["why_disabled"]
            .as_str()
            .expect("a reason")
            .to_owned()
    };
    assert!(why("acc-1").contains("which says so of the entry"));
    assert!(why("acc-2").contains("lacked the entry"));
    assert!(why("acc-3").contains("Disabled here by cli:tester"));
    let all = explain(&program, "acc-3");
    assert_eq!(field(&all, "status")["verdict"], "disabled_by_admin");
    assert_eq!(all["next_sync"]["action"], "none");
    let ran = program.run(&["users", "enable", "acc-1"]);
    assert!(ran.stderr.contains("the next sync disables it again"), "{ran:#?}");
    assert_eq!(explain(&program, "acc-1")["next_sync"]["action"], "disable");
}

async fn nobody_owns_an_employee(db: Database) {
    let (program, _directory) = synced(&db).await;
    program.ok(&[
        "users",
        "create",
        "--email",
        "sam@agency.example",
        "--first-name",
        "Sam",
        "--last-name",
        "Sample",
    ]);
    let all = explain(&program, "sam@agency.example");
    assert_eq!(
        (&all["owned_by"], &all["fields"], &all["directory"]["state"]),
        (&json!("agency"), &json!([]), &json!("not_asked"))
    );
    assert!(
        program
            .ok(&["users", "explain", "sam@agency.example"])
            .contains("no directory ever touches")
    );
    let ran = program.run(&["users", "edit", "acc-1", "--kind", "employee"]);
    assert!(ran.stderr.contains("no sync touches it any more"), "{ran:#?}");
    let all = explain(&program, "acc-1");
    assert_eq!(all["next_sync"]["reason"], "user_is_employee", "{all:#}");
    assert_eq!(field(&all, "phone")["verdict"], "kept");
}

async fn entries_without_a_user_are_foretold(db: Database) {
    let (program, directory) = synced(&db).await;
    let put = |account| directory.directory.put_account(account).expect("kept");
    put(account("acc-4", "Dakota"));
    let mut taken = account("acc-5", "Ellis");
    taken.email = "avery@paving.example".into();
    put(taken);
    let mut elsewhere = account("acc-6", "Finley");
    elsewhere.organization_id = "org-2".into();
    put(elsewhere);
    directory
        .directory
        .put_organization(organization("org-2", "Sample Bridges", false))
        .expect("kept");
    let all = explain(&program, "acc-4");
    assert_eq!(
        (&all["user"], &all["next_sync"]["action"]),
        (&Value::Null, &json!("create")),
        "{all:#}"
    );
    assert_eq!(field(&all, "email")["verdict"], "would_be_set");
    let all = explain(&program, "acc-5");
    assert_eq!(all["next_sync"]["reason"], "address_of_linked_user", "{all:#}");
    let all = explain(&program, "acc-6");
    assert_eq!(all["followed"], false, "{all:#}");
    assert_eq!(program.run(&["sync", "connex"]).code, 3);
    assert_eq!(explain(&program, "acc-4")["user"]["email"], "dakota@paving.example");
    assert_eq!(explain(&program, "acc-6")["user"], Value::Null);
    let text = program.ok(&["users", "explain", "acc-5"]);
    assert!(text.contains("In quarantine since"), "{text}");
    // A conflict that only a listing shows is told of the entry that was there first, too.
    let all = explain(&program, "acc-1");
    assert_eq!(all["next_sync"]["reason"], "address_claimed_twice", "{all:#}");
    assert_eq!(field(&all, "phone")["verdict"], "kept");
    let list = program.ok(&["quarantine", "--source", "connex", "--limit", "1"]);
    assert!(list.contains("the first 1 entry; there are more"), "{list}");
    let list = program.ok(&["quarantine", "--source", "connex"]);
    assert!(
        list.contains("connex acc-5") && list.contains("2 entries in quarantine"),
        "{list}"
    );
    let list = program.json(&["quarantine", "--output", "json"]);
    assert!(
        list.as_array()
            .expect("array")
            .iter()
            .any(|row| row["external_id"] == "acc-5"),
        "{list:#}"
    );
    assert!(program.fails(1, &["users", "explain", "acc-99"]).contains("acc-99"));
}

async fn a_directory_that_fails_is_said(db: Database) {
    let (program, directory) = synced(&db).await;
    directory.stop().await.expect("stopped");
    let ran = program.run(&["users", "explain", "acc-1", "--output", "json"]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    let all: Value = serde_json::from_str(&ran.stdout).expect("JSON all the same");
    assert_eq!(all["directory"]["state"], "failed");
    assert_eq!(field(&all, "phone")["held"], "+1 201 555 0100");
    assert_eq!(field(&all, "phone")["verdict"], "unknown");
    program.configure(&super::alone(&db));
    let text = program.ok(&["users", "explain", "acc-1"]);
    assert!(text.contains("not in the configuration"), "{text}");
}
