//! Where both sides change: the directory's fields end up as the directory has them, ours as we have them, and nobody
//! inherits what was another's.

use super::stage::{Stage, account};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    local_and_initial_fields_are_ours,
    every_directory_field_is_put_back,
    who_was_enabled_here_though_gone_is_disabled_again,
    roles_that_were_granted_here_stay,
    a_user_without_a_link_is_found_by_address,
    a_used_address_is_not_inherited,
    addresses_that_differ_beyond_case_are_different_people,
    the_last_administrator_is_protected,
    one_writer_at_a_time,
    a_killed_run_leaves_all_or_nothing,
);

async fn local_and_initial_fields_are_ours(db: Database) {
    let stage = Stage::new(db).await;
    stage.configure("[fields]\ntitle = { authority = \"initial\" }\nphone = { authority = \"local\" }");
    stage.sync(&[]).is(0, "applied");
    assert_eq!(
        stage.value("p01", "u.title, u.phone").await,
        "Estimator|-",
        "once, and never"
    );
    let user = stage.value("p01", "CAST(u.id AS text)").await;
    stage
        .db
        .sql(&format!("UPDATE users SET phone = '+1 555 0142' WHERE id = '{user}'"))
        .await;
    stage.edit("p01", |one| {
        one.title = Some("Surveyor".into());
        one.phone = Some("+1 555 0150".into());
    });
    let again = stage.sync(&[]);
    again.is(0, "applied");
    assert_eq!(again.counts(), [0; 4]);
    assert_eq!(stage.value("p01", "u.title, u.phone").await, "Estimator|+1 555 0142");
    let before = stage.dump().await;
    stage.sync(&[]).is(0, "applied");
    assert_eq!(
        stage.dump().await,
        before,
        "what is not ours to take is remembered once"
    );
}

async fn every_directory_field_is_put_back(db: Database) {
    let stage = Stage::synced(db).await;
    let user = stage.value("p01", "CAST(u.id AS text)").await;
    stage.edit("p01", |one| one.title = Some("Surveyor".into()));
    stage
        .db
        .sql(&format!(
            "UPDATE users SET email = 'other@agency.example', first_name = NULL, last_name = '', phone = 'x', title = 'y', \
             kind = 'vendor', organization_id = NULL, status = 'disabled', disabled_by = 'directory', license = 'gold' \
             WHERE id = '{user}'"
        ))
        .await;
    stage
        .db
        .sql(&format!("DELETE FROM memberships WHERE user_id = '{user}'"))
        .await;
    let synced = stage.sync(&[]);
    synced.is(0, "applied");
    assert_eq!((synced.counts(), synced.plan("drift")), ([0, 1, 0, 1], 1));
    let columns = "u.email, u.first_name, u.last_name, u.phone, u.title, u.kind, o.external_id, u.status, u.disabled_by, u.license";
    assert_eq!(
        stage.value("p01", columns).await,
        "p01@paving.example|Avery|Sampleton p01|+1 555 0101|Surveyor|consultant|paving|active|-|gold"
    );
    let lines = stage.program.ok(&["runs", "changes", "last", "--output", "json"]);
    let change: serde_json::Value = serde_json::from_str(&lines).expect("one line");
    let fields = change["fields"].as_object().expect("fields");
    assert_eq!(fields.len(), 9, "{fields:#?}");
    assert!(
        fields.values().all(|step| step["drift"] == true),
        "the directory wins, and both values are on record: {fields:#?}"
    );
    assert_eq!(
        (&fields["title"]["before"], &fields["title"]["directory_before"]),
        (&"y".into(), &"Estimator".into())
    );
    assert_eq!(stage.sync(&[]).counts(), [0; 4]);
}

async fn who_was_enabled_here_though_gone_is_disabled_again(db: Database) {
    let stage = Stage::synced(db).await;
    for (scope, id) in [
        (&[] as &[&str], "p01"),
        (&["--organization", "paving"], "p02"),
        (&["--user", "p03"], "p03"),
    ] {
        stage.remove([id]);
        stage.sync(scope).is(0, "applied");
        let user = stage.value(id, "CAST(u.id AS text)").await;
        stage
            .db
            .sql(&format!(
                "UPDATE users SET status = 'active', disabled_by = NULL WHERE id = '{user}'"
            ))
            .await;
        let again = stage.sync(scope);
        assert_eq!((again.counts(), again.plan("drift")), ([0, 1, 1, 0], 1), "{scope:?}");
        // Six in a day would be held, and that is another test.
        stage
            .db
            .sql("UPDATE runs SET finished_at = '2026-11-01T08:00:00.000000Z'")
            .await;
    }
    assert_eq!(stage.active().await, 27);
}

async fn roles_that_were_granted_here_stay(db: Database) {
    let stage = Stage::synced(db).await;
    let user = stage.value("p01", "CAST(u.id AS text)").await;
    let group = "0197a000-0000-7000-8000-0000000000aa";
    stage
        .db
        .sql(&format!(
            "INSERT INTO groups (id, kind, name) VALUES ('{group}', 'role', 'Reviewer')"
        ))
        .await;
    stage
        .db
        .sql(&format!(
            "INSERT INTO memberships (user_id, group_id) VALUES ('{user}', '{group}')"
        ))
        .await;
    let roles = format!(
        "SELECT g.name, m.origin FROM memberships m JOIN groups g ON g.id = m.group_id WHERE m.user_id = '{user}' ORDER BY g.name"
    );
    let synced = stage.sync(&[]);
    assert_eq!(
        (synced.counts(), synced.plan("unchanged")),
        ([0; 4], 30),
        "a grant of ours is no drift"
    );
    stage.edit("p01", |one| one.roles = vec!["bid submitter".into(), "Reviewer".into()]);
    stage.sync(&[]).is(0, "applied");
    assert_eq!(
        stage.db.query(&roles).await,
        ["Reviewer|local", "bid submitter|directory"]
    );
    stage.edit("p01", |one| one.roles = vec!["bid submitter".into()]);
    stage.sync(&[]).is(0, "applied");
    assert_eq!(
        stage.db.query(&roles).await,
        ["Reviewer|local", "bid submitter|directory"],
        "ours is ours"
    );
    assert_eq!(stage.sync(&[]).counts(), [0; 4]);
}

async fn a_user_without_a_link_is_found_by_address(db: Database) {
    let stage = Stage::new(db).await;
    stage.program.ok(&["runs", "list"]);
    let id = "0197a000-0000-7000-8000-000000000002";
    let insert = format!(
        "INSERT INTO users (id, kind, email, license) VALUES ('{id}', 'consultant', 'P01@paving.example', 'gold')"
    );
    stage.db.sql(&insert).await;
    let synced = stage.sync(&[]);
    synced.is(0, "applied");
    assert_eq!(synced.counts(), [29, 1, 0, 0]);
    let found = "CAST(u.id AS text), u.email, u.first_name, u.license, o.external_id";
    assert_eq!(
        stage.value("p01", found).await,
        format!("{id}|p01@paving.example|Avery|gold|paving")
    );
    assert_eq!(stage.sync(&[]).counts(), [0; 4]);
}

async fn a_used_address_is_not_inherited(db: Database) {
    let stage = Stage::synced(db).await;
    stage.remove(["p01"]);
    stage.sync(&[]).is(0, "applied");
    let mut next = account("p99", "paving");
    next.email = "P01@paving.example".into();
    stage.directory.put_account(next).expect("put");
    for scope in [&[] as &[&str], &["--organization", "paving"], &["--user", "p99"]] {
        stage.sync(scope).is(3, "applied");
        assert_eq!(stage.quarantine().await, ["p99|address_of_linked_user"], "{scope:?}");
    }
    assert_eq!(stage.value("p99", "u.email").await, "no user");
    assert_eq!(stage.value("p01", "u.status").await, "disabled");
}

async fn addresses_that_differ_beyond_case_are_different_people(db: Database) {
    let stage = Stage::synced(db).await;
    let addresses = [
        ("u1", "info@paving.example"),
        ("u2", "\u{131}nfo@paving.example"),
        ("u3", "\u{ff49}nfo@paving.example"),
        ("u4", "zo\u{eb}@paving.example"),
        ("u5", "zo\u{cb}@paving.example"),
    ];
    for (id, email) in addresses {
        let mut one = account(id, "paving");
        one.email = email.into();
        stage.directory.put_account(one).expect("put");
    }
    let synced = stage.sync(&[]);
    synced.is(0, "applied");
    assert_eq!(synced.counts(), [5, 0, 0, 0]);
    for (id, email) in [("u6", "INFO@paving.example"), ("u7", "zoe\u{308}@PAVING.example")] {
        let mut one = account(id, "paving");
        one.email = email.into();
        stage.directory.put_account(one).expect("put");
    }
    stage.sync(&[]).is(3, "applied");
    let quarantine = stage.quarantine().await;
    let claimed = ["u1", "u4", "u6", "u7"].map(|id| format!("{id}|address_claimed_twice"));
    assert_eq!(quarantine, claimed, "whoever came first");
    assert_eq!(stage.active().await, 35);
}

async fn the_last_administrator_is_protected(db: Database) {
    let stage = Stage::new(db).await;
    let config = std::fs::read_to_string(stage.program.config()).expect("read");
    stage
        .program
        .configure(&format!("{config}grant_administrator_roles = [\"Admin\"]\n"));
    stage.edit("p01", |one| one.roles = vec!["Admin".into()]);
    stage.sync(&[]).is(0, "applied");
    let account = stage.directory.account("p01").expect("there");
    stage.edit("p01", |one| one.roles = vec!["member".into()]);
    for scope in [&[] as &[&str], &["--organization", "paving"], &["--user", "p01"]] {
        stage.sync(scope).is(3, "applied");
        assert_eq!(stage.quarantine().await, ["p01|last_administrator"], "{scope:?}");
    }
    stage.remove(["p01"]);
    for scope in [&[] as &[&str], &["--organization", "paving"], &["--user", "p01"]] {
        stage.sync(scope).is(3, "applied");
        assert_eq!(stage.quarantine().await, ["p01|last_administrator"], "{scope:?}");
        assert_eq!(stage.standing("p01").await, "active|paving");
    }
    stage.directory.put_account(account).expect("put");
    stage.edit("p02", |one| one.roles = vec!["Admin".into()]);
    stage.sync(&[]).is(0, "applied");
    stage.remove(["p01"]);
    let second = stage.sync(&[]);
    second.is(0, "applied");
    assert_eq!(second.counts(), [0, 0, 1, 0], "another one is left");
}

async fn one_writer_at_a_time(db: Database) {
    let stage = Stage::new(db).await;
    stage.sync(&["--dry-run"]).is(0, "planned");
    let children: Vec<_> = (0..4)
        .map(|_| stage.program.command(&["sync"]).spawn().expect("started"))
        .collect();
    let mut codes: Vec<i32> = children
        .into_iter()
        .map(|child| child.wait_with_output().expect("ended").status.code().expect("a code"))
        .collect();
    codes.sort_unstable();
    assert!(
        codes[0] == 0 && codes.iter().all(|code| [0, 11].contains(code)),
        "{codes:?}"
    );
    assert_eq!(stage.active().await, 30);
    let applied = stage
        .db
        .query("SELECT CAST(id AS text) FROM runs WHERE state = 'applied'")
        .await;
    assert_eq!(applied.len(), codes.iter().filter(|code| **code == 0).count());
    assert_eq!(stage.sync(&[]).counts(), [0; 4]);
}

async fn a_killed_run_leaves_all_or_nothing(db: Database) {
    let stage = Stage::new(db).await;
    // The kill hits another moment each time; whichever it is, everybody is there or nobody.
    for round in 0..12_u32 {
        let mut child = stage.program.command(&["sync"]).spawn().expect("started");
        let until = std::time::Instant::now() + std::time::Duration::from_millis(u64::from(15 + 5 * round));
        while std::time::Instant::now() < until && child.try_wait().expect("a child").is_none() {
            tokio::task::yield_now().await;
        }
        child.kill().expect("killed, or ended");
        child.wait().expect("ended");
        stage.program.ok(&["runs", "list"]);
        let users = stage.active().await;
        assert!([0, 30].contains(&users), "round {round}: {users}");
        let records = stage.db.query("SELECT external_id FROM records").await.len();
        assert_eq!(records, users, "round {round}");
        // What the dead process held is free once its time has passed.
        stage
            .db
            .sql("UPDATE leases SET expires_at = '2026-11-01T08:00:00.000000Z'")
            .await;
    }
    stage.sync(&[]).is(0, "applied");
    assert_eq!(stage.active().await, 30);
}
