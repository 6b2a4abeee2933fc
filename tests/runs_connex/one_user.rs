//! A run of one user: how the user is named, and who is none.

use super::stage::{Stage, account};
use super::wire_server;
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    a_user_is_found_by_local_id_external_id_and_address,
    one_that_only_the_directory_knows_is_created,
    one_of_a_firm_that_is_not_followed_is_not_created,
    who_moved_to_a_firm_that_asked_for_access_moves_with_it,
    one_that_nobody_knows_is_an_error_that_says_so,
    an_employee_is_refused_with_a_sentence,
    an_id_of_two_directories_means_the_one_of_the_named_source,
    one_user_is_weighed_with_everybody,
    one_user_who_is_gone_is_no_empty_directory,
);

async fn a_user_is_found_by_local_id_external_id_and_address(db: Database) {
    let stage = Stage::synced(db).await;
    let local = stage.value("p01", "CAST(u.id AS text)").await;
    for (at, named) in [local.as_str(), "p01", "p01@paving.example", "P01@Paving.EXAMPLE"]
        .iter()
        .enumerate()
    {
        stage.edit("p01", |one| one.title = Some(format!("Title {at}")));
        let synced = stage.sync(&["--user", named]);
        synced.is(0, "applied");
        assert_eq!(synced.counts(), [0, 1, 0, 0], "{named}");
        assert_eq!(synced.document["user"], local.as_str());
        assert_eq!(stage.value("p01", "u.title").await, format!("Title {at}"));
    }
}

async fn one_that_only_the_directory_knows_is_created(db: Database) {
    let stage = Stage::synced(db).await;
    stage.directory.put_account(account("p77", "paving")).expect("put");
    let synced = stage.sync(&["--user", "p77"]);
    synced.is(0, "applied");
    assert_eq!(synced.counts(), [1, 0, 0, 0]);
    assert_eq!(stage.standing("p77").await, "active|paving");
    assert_eq!(stage.sync(&[]).counts(), [0; 4]);
}

async fn one_of_a_firm_that_is_not_followed_is_not_created(db: Database) {
    let stage = Stage::synced(db).await;
    let synced = stage.sync(&["--user", "q01"]);
    synced.is(0, "applied");
    assert_eq!(synced.counts(), [0; 4]);
    let proof = synced.document["listing"]["proof"].to_string();
    assert!(proof.contains("not followed"), "it says why: {proof}");
    assert_eq!(stage.value("q01", "u.email").await, "no user");
}

async fn who_moved_to_a_firm_that_asked_for_access_moves_with_it(db: Database) {
    let stage = Stage::synced(db).await;
    stage
        .directory
        .put_organization(super::stage::firm("later", "Example Later"))
        .expect("put");
    stage.edit("p01", |one| one.organization_id = "later".into());
    let synced = stage.sync(&["--user", "p01"]);
    synced.is(0, "applied");
    assert_eq!(synced.counts(), [0, 1, 0, 0], "a firm that is new to us");
    assert_eq!(stage.standing("p01").await, "active|later");
    assert_eq!(stage.sync(&[]).counts(), [0; 4]);
}

async fn one_that_nobody_knows_is_an_error_that_says_so(db: Database) {
    let stage = Stage::synced(db).await;
    let before = stage.dump().await;
    let unknown = [
        "nobody@nowhere.example",
        "0197a000-0000-7000-8000-00000000dead",
        "p0",
        "../organizations/paving",
        "p01?limit=1",
    ];
    for wanted in unknown {
        let failed = stage.sync(&["--user", wanted]);
        failed.is(1, "failed");
        let error = failed.error();
        assert!(
            error.contains(wanted) && error.contains("neither here nor in the directory"),
            "{error}"
        );
    }
    assert_eq!(stage.dump().await, before);
}

async fn an_employee_is_refused_with_a_sentence(db: Database) {
    let stage = Stage::synced(db).await;
    let id = stage.employee("clerk@agency.example").await;
    for wanted in [id.as_str(), "clerk@agency.example", "CLERK@agency.example"] {
        let failed = stage.sync(&["--user", wanted]);
        failed.is(1, "failed");
        assert!(failed.error().contains("local account"), "{}", failed.error());
    }
}

async fn an_id_of_two_directories_means_the_one_of_the_named_source(db: Database) {
    let stage = Stage::synced(db).await;
    let (server, _world) = wire_server::serve(wire_server::World {
        organizations: vec![wire_server::firm("signs")],
        accounts: vec![wire_server::account("p01", "signs")],
        ..wire_server::World::default()
    })
    .await;
    let config = std::fs::read_to_string(stage.program.config()).expect("read");
    let second = format!(
        "\n[[sources]]\nname = \"second\"\nkind = \"connex\"\nurl = \"{}\"\nauth = {{ kind = \"none\" }}\n",
        server.url()
    );
    stage.program.configure(&format!("{config}{second}"));
    let of_second = |id: &str| {
        stage
            .program
            .json(&["sync", "second", "--user", id, "--output", "json"])
    };
    // Known here from the first directory alone, and somebody else in the second.
    assert_eq!(of_second("p01")["plan"]["create"], 1);
    let linked = "SELECT CAST(user_id AS text) FROM records WHERE external_id = 'p01' ORDER BY source";
    let linked = stage.db.query(linked).await;
    assert_eq!(linked.len(), 2);
    stage.edit("p01", |one| one.title = Some("Surveyor".into()));
    let synced = stage.sync(&["--user", "p01"]);
    synced.is(0, "applied");
    let user = &synced.document["user"];
    assert_eq!((synced.counts(), user), ([0, 1, 0, 0], &linked[0].as_str().into()));
    assert_eq!(of_second("p01")["user"], linked[1].as_str());
}

async fn one_user_is_weighed_with_everybody(db: Database) {
    let stage = Stage::synced(db).await;
    stage.configure("[brakes]\nemail_change = { share = 0.5, count = 100, floor = 1 }");
    for number in 1..=6 {
        stage.edit(&format!("p{number:02}"), |one| {
            one.email = format!("new{number}@paving.example")
        });
    }
    stage.sync(&[]).is(0, "applied");
    stage.edit("p07", |one| one.email = "new7@paving.example".into());
    let one = stage.sync(&["--user", "p07"]);
    one.is(0, "applied");
    assert_eq!(one.counts(), [0, 1, 0, 0], "seven of twenty in a day are few");
}

async fn one_user_who_is_gone_is_no_empty_directory(db: Database) {
    let stage = Stage::synced(db).await;
    stage.directory.retain_accounts(|one| one.id != "p01").expect("deleted");
    let gone = stage.sync(&["--user", "p01"]);
    gone.is(0, "applied");
    assert_eq!(gone.counts(), [0, 0, 1, 0]);
    stage.directory.retain_accounts(|_| false).expect("deleted");
    stage.configure("[brakes]\ndisable = { share = 0.01, count = 100, floor = 1 }");
    let second = stage.sync(&["--user", "p02"]);
    second.is(10, "held");
    assert_eq!(second.brake().0, "disable", "one by one is counted too");
}
