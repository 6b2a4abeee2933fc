//! Organizations over the API: those that are here, those that only a directory knows, and whom scheduled runs cover;
//! and the entries that are kept out of them.

use serde_json::{Value as Json, json};

use super::desk::Desk;
use crate::cli::with_source;
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    organizations_are_searched_and_followed,
    what_only_the_directory_knows_is_listed,
    a_directory_that_fails_is_said,
    quarantine_is_filtered,
);

async fn organizations_are_searched_and_followed(db: Database) {
    let directory = crate::cli::directory().await;
    let api = Desk::open(&with_source(&db, &directory)).await;
    api.program.ok(&["sync", "connex"]);
    let names = |path: &str| -> Vec<String> {
        let name = |one: &Json| one["name"].as_str().expect("a name").to_owned();
        api.all(path).iter().map(name).collect()
    };
    assert_eq!(
        names("/organizations?limit=1"),
        ["Example Agency", "Example Paving", "Sample Bridges"]
    );
    assert_eq!(names("/organizations?q=PAV"), ["Example Paving"]);
    assert_eq!(names("/organizations?q=org-2"), ["Sample Bridges"]);
    assert_eq!(names("/organizations?source=connex&followed=false"), ["Sample Bridges"]);
    assert_eq!(names("/organizations?status=closed"), [""; 0]);
    let paving = api.all("/organizations?q=paving")[0].clone();
    assert_eq!(
        (&paving["known"], &paving["users"], &paving["active_users"]),
        (&json!(true), &json!(3), &json!(3))
    );
    assert_eq!(
        (&paving["source"], &paving["external_id"]),
        (&json!("connex"), &json!("org-1"))
    );
    let path = format!("/organizations/{}", paving["id"].as_str().expect("an id"));
    let read = api.get(&path);
    let shown = read.with(200);
    assert!(
        shown["synced_at"].is_string() && shown["last_run"].is_string(),
        "{shown}"
    );
    assert_eq!((&shown["drift"], &shown["quarantine"]), (&json!(0), &json!(0)));

    let etag = read.header("etag").expect("an ETag").to_owned();
    let off = json!({"followed": false});
    assert_eq!(
        api.json("PATCH", &path, &[], &off).problem(428),
        "precondition_required"
    );
    let edited = api.json("PATCH", &path, &[("if-match", &etag)], &off);
    assert_eq!(edited.with(200)["followed"], false);
    assert_eq!(
        api.json("PATCH", &path, &[("if-match", &etag)], &off).problem(412),
        "precondition_failed"
    );
    assert_eq!(
        api.json("PATCH", &path, &[("if-match", "*")], &off).with(200)["followed"],
        false,
        "asked again"
    );
    assert_eq!(
        api.json("PATCH", &path, &[("if-match", "*")], &json!({"name": "x"}))
            .problem(422),
        "invalid"
    );
    let audit = api.all(&format!(
        "/audit?organization={}",
        paving["id"].as_str().expect("an id")
    ));
    assert_eq!(audit.len(), 1, "{audit:?}");
    assert_eq!(
        (&audit[0]["action"], &audit[0]["source"]),
        (&json!("organization.unfollowed"), &json!("connex"))
    );
    let own = api.all("/organizations?q=agency")[0].clone();
    let own = format!("/organizations/{}", own["id"].as_str().expect("an id"));
    assert_eq!(
        api.json("PATCH", &own, &[("if-match", "*")], &json!({"followed": true}))
            .problem(409),
        "refused"
    );
    assert_eq!(api.get("/organizations/x").problem(404), "not_found");
}

async fn what_only_the_directory_knows_is_listed(db: Database) {
    let directory = crate::cli::directory().await;
    let api = Desk::open(&with_source(&db, &directory)).await;
    for wanted in ["Sample+Bridges", "sample%20bridges", "org-2"] {
        let page = api.get(&format!("/organizations?q={wanted}")).with(200);
        assert_eq!(
            page["asked"],
            json!([{"source": "connex", "outcome": "found", "detail": null}]),
            "{wanted}"
        );
        let found = &page["items"][0];
        assert_eq!((&found["id"], &found["known"]), (&Json::Null, &json!(false)));
        assert_eq!(
            (&found["name"], &found["external_id"], &found["source"]),
            (&json!("Sample Bridges"), &json!("org-2"), &json!("connex"))
        );
        assert_eq!(
            (page["items"].as_array().map(Vec::len), &page["next"]),
            (Some(1), &Json::Null)
        );
    }
    let nobody = api.get("/organizations?q=nobody").with(200);
    assert_eq!(
        (&nobody["items"], &nobody["asked"][0]["outcome"]),
        (&json!([]), &json!("none"))
    );
    assert_eq!(
        api.get("/organizations?q=org-2&status=closed").with(200)["items"],
        json!([])
    );
    assert_eq!(
        api.get("/organizations?q=org-2&source=other").with(200)["asked"],
        json!([])
    );
    // Once it is here, nobody is asked.
    api.program.ok(&["sync", "connex"]);
    let page = api.get("/organizations?q=org-2").with(200);
    assert_eq!((&page["items"][0]["known"], &page["asked"]), (&json!(true), &json!([])));
}

async fn a_directory_that_fails_is_said(db: Database) {
    let directory = crate::cli::directory().await;
    let api = Desk::open(&with_source(&db, &directory)).await;
    drop(directory);
    let page = api.get("/organizations?q=org-2").with(200);
    assert_eq!(
        (&page["items"], &page["asked"][0]["outcome"]),
        (&json!([]), &json!("failed")),
        "{page}"
    );
    assert!(
        page["asked"][0]["detail"]
            .as_str()
            .is_some_and(|why| why.starts_with("no connection to ")),
        "{page}"
    );
}

async fn quarantine_is_filtered(db: Database) {
    let directory = crate::cli::directory().await;
    for (id, email) in [("acc-8", "avery@paving.example"), ("acc-9", "nobody")] {
        let mut account = crate::cli::account(id, "Double");
        account.email = email.into();
        directory.directory.put_account(account).expect("kept");
    }
    let api = Desk::open(&with_source(&db, &directory)).await;
    let ran = api.program.run(&["sync", "connex"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let ids = |path: &str| -> Vec<String> {
        let id = |one: &Json| one["external_id"].as_str().expect("an id").to_owned();
        api.all(path).iter().map(id).collect()
    };
    assert_eq!(ids("/quarantine?limit=1"), ["acc-1", "acc-8", "acc-9"]);
    assert_eq!(
        ids("/quarantine?source=connex&code=address_claimed_twice"),
        ["acc-1", "acc-8"]
    );
    assert_eq!(ids("/quarantine?organization=org-1").len(), 3);
    assert_eq!(ids("/quarantine?organization=Example+Paving").len(), 3);
    assert!(ids("/quarantine?organization=org-2").is_empty());
    assert!(ids("/quarantine?source=other").is_empty());
    let blair = api.all("/users?q=blair")[0]["id"].as_str().expect("an id").to_owned();
    assert!(ids(&format!("/quarantine?user={blair}")).is_empty());
    let mut account = crate::cli::account("acc-2", "Blair");
    account.email = "not an address".into();
    directory.directory.put_account(account).expect("kept");
    api.program.run(&["sync", "connex"]);
    assert_eq!(ids(&format!("/quarantine?user={blair}&organization=org-1")), ["acc-2"]);
    let organization = api.all("/organizations?q=paving")[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(
        api.get(&format!("/organizations/{organization}")).with(200)["quarantine"],
        4
    );
}
