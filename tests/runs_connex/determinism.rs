//! The same directory again writes no row; and neither the order of its answers nor their paging changes a plan.

use serde_json::{Value as Json, json};

use super::stage::{Stage, configuration, sync};
use super::wire_server::{World, account, firm, serve};
use crate::harness::database::{Database, on_both_engines};
use crate::harness::program::Program;

on_both_engines!(
    the_same_directory_again_writes_no_row,
    what_waits_in_quarantine_waits_without_a_row,
    neither_order_nor_paging_changes_a_plan,
);

async fn the_same_directory_again_writes_no_row(db: Database) {
    let stage = Stage::synced(db).await;
    let before = stage.dump().await;
    assert!(before.len() > 100, "{}", before.len());
    let scopes: [&[&str]; 4] = [
        &[],
        &["--organization", "paving"],
        &["--organization", "bridges"],
        &["--user", "p01"],
    ];
    for scope in scopes {
        let again = stage.sync(scope);
        again.is(0, "applied");
        assert_eq!(again.counts(), [0; 4], "{scope:?}");
        assert_eq!(stage.dump().await, before, "{scope:?}");
    }
}

async fn what_waits_in_quarantine_waits_without_a_row(db: Database) {
    let stage = Stage::synced(db).await;
    stage.edit("p01", |one| one.email = "no address".into());
    stage.edit("p02", |one| one.email = "p03@paving.example".into());
    stage.edit("p04", |one| one.first_name = "\u{202e}yrevA".into());
    stage.sync(&[]).is(3, "applied");
    let before = stage.dump().await;
    assert_eq!(
        stage.quarantine().await,
        [
            "p01|bad_email",
            "p02|address_claimed_twice",
            "p03|address_claimed_twice",
            "p04|unsafe_text"
        ]
    );
    for _ in 0..2 {
        stage.sync(&[]).is(3, "applied");
        assert_eq!(stage.dump().await, before);
    }
    let times = "SELECT DISTINCT CAST(times AS text) FROM quarantine";
    assert_eq!(stage.db.query(times).await, ["3"], "how long it has waited is known");
    assert_eq!(stage.active().await, 30, "and nobody is disabled for it");
}

/// Every `step`th of them, then the rest in their turn: an order of its own for each step that divides nothing.
fn shuffled(all: &[Json], step: usize) -> Vec<Json> {
    (0..all.len()).map(|at| all[at * step % all.len()].clone()).collect()
}

async fn neither_order_nor_paging_changes_a_plan(db: Database) {
    let firms = ["zeta", "alpha", "Mitte", "\u{e9}toile"].map(firm).to_vec();
    let mut accounts: Vec<Json> = (0..47)
        .map(|n| {
            account(
                &format!("{}{n}", ["a", "B", "\u{f6}", "10"][n % 4]),
                firms[n % 4]["id"].as_str().expect("id"),
            )
        })
        .collect();
    let (server, world) = serve(World {
        organizations: firms.clone(),
        accounts: accounts.clone(),
        ..World::default()
    })
    .await;
    let program = Program::new("");
    let with = |page_size: usize| {
        let config = configuration(&db.url, server.url().as_str(), "");
        program.configure(&config.replace("max_retries = 0", &format!("max_retries = 0\npage_size = {page_size}")));
    };
    let plans = |accounts: &[Json], firms: &[Json]| {
        let mut plans = Vec::new();
        for (step, page_size) in [(1, 1000), (5, 1), (46, 7), (13, 1000), (20, 7)] {
            world.set(|w| {
                w.accounts = shuffled(accounts, step);
                w.organizations = shuffled(firms, if step % 2 == 0 { 1 } else { 3 });
            });
            with(page_size);
            let planned = sync(&program, &["--dry-run"]);
            planned.is(0, "planned");
            let changes = program.ok(&["runs", "changes", &planned.run(), "--output", "json"]);
            plans.push((planned.hash(), planned.document["plan"].clone(), changes));
        }
        for other in &plans[1..] {
            assert_eq!(*other, plans[0]);
        }
        plans.swap_remove(0)
    };
    let (_, counts, _) = plans(&accounts, &firms);
    assert_eq!(counts["create"], 47);
    sync(&program, &[]).is(0, "applied");
    // Then something of everything: changed, gone, moved, new, swapped, claimed twice, bad, and edited here.
    accounts.remove(46);
    accounts[0]["first_name"] = json!("Jordan");
    accounts[1]["organization_id"] = json!("zeta");
    let (a, b) = (accounts[2]["email"].clone(), accounts[3]["email"].clone());
    (accounts[2]["email"], accounts[3]["email"]) = (b, a);
    accounts[4]["email"] = accounts[5]["email"].clone();
    accounts[6]["email"] = json!("none");
    accounts[7]["status"] = json!("disabled");
    accounts.push(account("new", "Mitte"));
    db.sql("UPDATE users SET phone = '+1 555 0199' WHERE email = '109@mitte.example' OR phone LIKE '%0100'")
        .await;
    let (_, counts, _) = plans(&accounts, &firms);
    assert_eq!(
        (&counts["create"], &counts["disable"], &counts["quarantine"]),
        (&json!(1), &json!(2), &json!(3))
    );
    assert_eq!(counts["drift"], json!(43), "{counts}");
}
