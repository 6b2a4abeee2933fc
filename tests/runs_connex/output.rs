//! What programs and people read: documents alone on standard output for every exit code, sorted changes, plain text.

use rollcall::domain::id::SourceName;
use serde_json::Value as Json;

use super::stage::Stage;
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    every_exit_code_has_its_document,
    several_sources_make_an_array,
    changes_are_sorted_and_complete,
    text_for_a_pipe_has_no_colour,
    text_for_a_plain_locale_is_ascii,
);

async fn every_exit_code_has_its_document(db: Database) {
    let stage = Stage::synced(db).await;
    stage.sync(&[]).is(0, "applied");
    stage.sync(&["--dry-run", "--detailed-exitcode"]).is(0, "planned");
    stage.edit("p01", |one| one.title = None);
    stage.sync(&["--dry-run", "--detailed-exitcode"]).is(2, "planned");
    stage.edit("p01", |one| one.email = "nobody".into());
    stage.sync(&[]).is(3, "applied");
    stage
        .directory
        .retain_accounts(|one| one.id.starts_with('b'))
        .expect("deleted");
    let held = stage.sync(&[]);
    held.is(10, "held");
    for key in ["name", "scope", "value", "limit", "explanation"] {
        assert!(held.document["brake"].get(key).is_some(), "no `brake.{key}`");
    }
    let store = stage.db.store().await;
    let source = SourceName::parse("connex").expect("a name");
    let lease = store.take_lease(&source).await.expect("free");
    let busy = stage.sync(&[]);
    busy.is(11, "busy");
    assert!(busy.document["run"].is_null(), "no run began");
    for key in ["code", "message"] {
        assert!(busy.document["error"][key].is_string(), "no `error.{key}`");
    }
    store.release_lease(&lease).await.expect("released");
    stage.sync(&["--organization", "nowhere"]).is(1, "failed");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("bound");
    let elsewhere = super::stage::configuration(&stage.db.url, &format!("http://{port}"), "");
    stage.program.configure(&elsewhere);
    let unreachable = stage.sync(&[]);
    unreachable.is(4, "failed");
    assert!(
        unreachable.error().contains(&port.to_string()),
        "{}",
        unreachable.error()
    );
    // Where nothing could begin there is no document, and nothing else on standard output either.
    for (code, arguments) in [(64, ["sync", "nowhere"]), (64, ["sync", "--mode=incremental"])] {
        let ran = stage.program.run(&[&arguments[..], &["--output", "json"]].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{ran:#?}");
    }
}

async fn several_sources_make_an_array(db: Database) {
    let stage = Stage::new(db).await;
    let config = std::fs::read_to_string(stage.program.config()).expect("read");
    let second = config
        .split_once("[[sources]]")
        .expect("a source")
        .1
        .replace("\"connex\"\nkind", "\"second\"\nkind");
    stage.program.configure(&format!("{config}\n[[sources]]{second}"));
    let ran = stage.program.run(&["sync", "--output", "json"]);
    let documents: Vec<Json> = serde_json::from_str(&ran.stdout).expect("an array");
    let of = |key: &str| documents.iter().map(|one| one[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("source"), ["connex", "second"]);
    assert_eq!(of("state"), ["applied", "applied"]);
    // One person in two directories: the second source may not take over the first one's users.
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert_eq!(documents[1]["plan"]["quarantine"], 30);
    assert_eq!(
        stage.db.query("SELECT DISTINCT code FROM quarantine").await,
        ["address_of_linked_user"]
    );
    stage.directory.retain_accounts(|one| one.id != "p01").expect("deleted");
    stage.program.run(&["sync", "second"]);
    assert_eq!(stage.active().await, 30, "a source never disables the users of another");
}

async fn changes_are_sorted_and_complete(db: Database) {
    let stage = Stage::synced(db).await;
    stage.edit("p02", |one| one.title = None);
    stage.edit("b09", |one| one.phone = None);
    stage.remove(["p01", "b10"]);
    stage
        .directory
        .put_account(super::stage::account("p00", "paving"))
        .expect("put");
    let user = stage.value("p03", "CAST(u.id AS text)").await;
    stage
        .db
        .sql(&format!("UPDATE users SET title = 'Edited' WHERE id = '{user}'"))
        .await;
    for dry in [true, false] {
        let synced = if dry {
            stage.sync(&["--dry-run"])
        } else {
            stage.sync(&[])
        };
        let lines = stage
            .program
            .ok(&["runs", "changes", &synced.run(), "--output", "json"]);
        let changes: Vec<Json> = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect();
        let of = |key: &str| {
            changes
                .iter()
                .map(|one| one[key].as_str().unwrap_or("null"))
                .collect::<Vec<_>>()
        };
        assert_eq!(of("external_id"), ["b09", "b10", "p00", "p01", "p02", "p03"]);
        assert_eq!(
            of("organization"),
            ["bridges", "bridges", "paving", "paving", "paving", "paving"]
        );
        assert_eq!(
            of("action"),
            ["update", "disable", "create", "disable", "update", "update"]
        );
        assert_eq!(of("email")[2], "p00@paving.example");
        assert_eq!(changes[2]["user"].is_null(), dry, "who is not created yet has no id");
        assert_eq!(changes[5]["user"], user.as_str());
        for change in &changes {
            assert!(change["fields"].is_object(), "{change}");
            for (field, step) in change["fields"].as_object().expect("fields") {
                for key in ["before", "after", "directory_before", "drift"] {
                    assert!(step.get(key).is_some(), "{field} has no `{key}`: {change}");
                }
            }
        }
        assert_eq!(changes[3]["fields"]["status"]["after"], "disabled");
        assert_eq!(changes[5]["fields"]["title"]["drift"], true);
        assert_eq!(changes[4]["fields"]["title"]["drift"], false);
        assert_eq!(synced.counts().iter().sum::<u64>(), changes.len() as u64);
    }
}

async fn text_for_a_pipe_has_no_colour(db: Database) {
    let stage = Stage::new(db).await;
    let all: [&[&str]; 5] = [
        &["sync", "--dry-run"],
        &["sync"],
        &["runs", "list"],
        &["runs", "show", "last"],
        &["runs", "changes", "last"],
    ];
    for arguments in all {
        let stdout = stage.program.ok(arguments);
        assert!(
            !stdout.contains('\u{1b}') && stdout.lines().count() > 1,
            "{arguments:?}: {stdout}"
        );
    }
    let coloured = stage.program.ok(&["--color", "always", "runs", "show", "last"]);
    assert!(coloured.contains('\u{1b}'), "colour can be asked for: {coloured}");
}

async fn text_for_a_plain_locale_is_ascii(db: Database) {
    let mut stage = Stage::synced(db).await;
    stage.edit("p01", |one| one.title = None);
    stage.edit("p02", |one| one.email = "nobody".into());
    stage.remove(["p03"]);
    let user = stage.value("p04", "CAST(u.id AS text)").await;
    stage
        .db
        .sql(&format!("UPDATE users SET phone = '+1 555 0199' WHERE id = '{user}'"))
        .await;
    for number in 5..=14 {
        stage.edit(&format!("p{number:02}"), |one| {
            one.email = format!("new{number}@paving.example")
        });
    }
    stage.program = stage.program.set("LANG", "C").set("NO_COLOR", "1");
    let held = stage.program.run(&["sync"]);
    assert_eq!(held.code, 10, "{held:#?}");
    for arguments in [
        &["sync", "--dry-run"] as &[&str],
        &["runs", "list"],
        &["runs", "show", "last"],
        &["runs", "changes", "last"],
        &["sync", "--organization", "nowhere"],
    ] {
        let ran = stage.program.run(arguments);
        let text = format!("{}{}", ran.stdout, ran.stderr);
        assert!(
            text.is_ascii() && !text.contains('\u{1b}') && text.len() > 40,
            "{arguments:?}: {text}"
        );
    }
    assert!(
        held.stdout.is_ascii() && !held.stdout.contains('\u{1b}'),
        "{}",
        held.stdout
    );
    assert!(
        held.stdout.contains("runs release"),
        "it says how to go on: {}",
        held.stdout
    );
}
