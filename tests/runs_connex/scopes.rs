//! The same change at the directory, seen by a run of the source, of one organization and of one user.

use rollcall::cli::directory::model::AccountStatus;

use super::stage::Stage;
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    a_first_sync_creates_whom_followed_organizations_have,
    a_changed_account_is_updated_in_every_scope,
    a_removed_account_is_disabled_in_every_scope_and_comes_back,
    a_disabled_account_is_disabled_and_enabled_in_every_scope,
    a_moved_account_moves_in_every_scope,
    a_local_edit_is_put_back_as_drift_in_every_scope,
    an_address_of_an_employee_is_refused_in_every_scope,
    swapped_addresses_are_swapped,
    a_dry_run_writes_nothing_in_every_scope,
    whom_an_administrator_disabled_stays_disabled,
    whom_somebody_deleted_here_does_not_come_back,
);

/// A run of the source, of `paving`, and of one user of it, each with a user to do something to.
const SCOPES: [(&[&str], &str); 3] = [
    (&[], "p01"),
    (&["--organization", "paving"], "p02"),
    (&["--user", "p03"], "p03"),
];

async fn a_first_sync_creates_whom_followed_organizations_have(db: Database) {
    let stage = Stage::new(db).await;
    let first = stage.sync(&["--dry-run", "--detailed-exitcode"]);
    first.is(2, "planned");
    assert_eq!(first.counts(), [30, 0, 0, 0]);
    assert_eq!(stage.active().await, 0, "a dry run writes nobody");
    let applied = stage.sync(&[]);
    applied.is(0, "applied");
    assert_eq!(applied.hash(), first.hash(), "what was shown is what was applied");
    assert_eq!(applied.document["listing"]["entries"], 33);
    assert_eq!(
        stage
            .value(
                "p01",
                "u.email, u.first_name, u.last_name, u.phone, u.title, u.kind, u.status, u.disabled_by, o.name"
            )
            .await,
        "p01@paving.example|Avery|Sampleton p01|+1 555 0101|Estimator|consultant|active|-|Example Paving"
    );
    let roles = "SELECT DISTINCT g.kind, g.name, m.origin FROM memberships m JOIN groups g ON g.id = m.group_id";
    assert_eq!(stage.db.query(roles).await, ["role|member|directory"]);
    assert_eq!(
        stage.value("q01", "u.email").await,
        "no user",
        "nobody asked for their access"
    );
    let again = stage.sync(&["--dry-run", "--detailed-exitcode"]);
    again.is(0, "planned");
    assert_eq!(again.plan("unchanged"), 30);
}

async fn a_changed_account_is_updated_in_every_scope(db: Database) {
    let stage = Stage::synced(db).await;
    for (scope, id) in SCOPES {
        stage.edit(id, |one| {
            one.first_name = "Jordan".into();
            one.phone = None;
            one.roles = vec!["project manager".into(), "member".into()];
        });
        let synced = stage.sync(scope);
        synced.is(0, "applied");
        assert_eq!((synced.counts(), synced.plan("drift")), ([0, 1, 0, 0], 0), "{scope:?}");
        assert_eq!(
            stage.value(id, "u.first_name, u.phone, u.status").await,
            "Jordan|-|active"
        );
        let roles = format!(
            "SELECT g.name FROM records r JOIN memberships m ON m.user_id = r.user_id JOIN groups g ON g.id = m.group_id \
             WHERE r.external_id = '{id}' ORDER BY g.name"
        );
        assert_eq!(stage.db.query(&roles).await, ["member", "project manager"]);
    }
    let rest = stage.sync(&[]);
    assert_eq!((rest.counts(), rest.plan("unchanged")), ([0; 4], 30));
}

async fn a_removed_account_is_disabled_in_every_scope_and_comes_back(db: Database) {
    let stage = Stage::synced(db).await;
    for (scope, id) in SCOPES {
        let account = stage.directory.account(id).expect("there");
        stage.remove([id]);
        let gone = stage.sync(scope);
        gone.is(0, "applied");
        assert_eq!(gone.counts(), [0, 0, 1, 0], "{scope:?}");
        let standing = stage.value(id, "u.status, u.disabled_by, o.external_id").await;
        assert_eq!(standing, "disabled|directory|paving");
        let still = stage.sync(scope);
        still.is(0, "applied");
        assert_eq!(still.counts(), [0; 4], "{scope:?}: disabled once");
        stage.directory.put_account(account).expect("put");
        let back = stage.sync(scope);
        back.is(0, "applied");
        assert_eq!(back.counts(), [0, 0, 0, 1], "{scope:?}");
        assert_eq!(stage.value(id, "u.status, u.disabled_by").await, "active|-");
    }
}

async fn a_disabled_account_is_disabled_and_enabled_in_every_scope(db: Database) {
    let stage = Stage::synced(db).await;
    for (scope, id) in SCOPES {
        stage.edit(id, |one| one.status = AccountStatus::Disabled);
        assert_eq!(stage.sync(scope).counts(), [0, 0, 1, 0], "{scope:?}");
        let standing = stage
            .value(id, "u.status, u.disabled_by, CAST(u.session_epoch AS text)")
            .await;
        assert_eq!(standing, "disabled|directory|1", "signed in sessions end");
        stage.edit(id, |one| one.status = AccountStatus::Active);
        assert_eq!(stage.sync(scope).counts(), [0, 0, 0, 1], "{scope:?}");
        assert_eq!(stage.standing(id).await, "active|paving");
    }
}

async fn a_moved_account_moves_in_every_scope(db: Database) {
    let stage = Stage::synced(db).await;
    let scopes: [(&[&str], &str); 4] = [
        (&[], "p01"),
        (&["--organization", "paving"], "p02"),
        (&["--organization", "bridges"], "p03"),
        (&["--user", "p04"], "p04"),
    ];
    for (scope, id) in scopes {
        let before = stage.value(id, "CAST(u.id AS text)").await;
        stage.edit(id, |one| one.organization_id = "bridges".into());
        let synced = stage.sync(scope);
        synced.is(0, "applied");
        assert_eq!(synced.counts(), [0, 1, 0, 0], "{scope:?}: moved, not disabled");
        assert_eq!(stage.standing(id).await, "active|bridges");
        assert_eq!(stage.value(id, "CAST(u.id AS text)").await, before, "the same user");
    }
    assert_eq!(stage.sync(&[]).counts(), [0; 4]);
}

async fn a_local_edit_is_put_back_as_drift_in_every_scope(db: Database) {
    let stage = Stage::synced(db).await;
    for (scope, id) in SCOPES {
        let user = stage.value(id, "CAST(u.id AS text)").await;
        stage
            .db
            .sql(&format!(
                "UPDATE users SET phone = '+1 555 0199', license = 'gold', billable = true WHERE id = '{user}'"
            ))
            .await;
        let synced = stage.sync(scope);
        synced.is(0, "applied");
        assert_eq!((synced.counts(), synced.plan("drift")), ([0, 1, 0, 0], 1), "{scope:?}");
        assert_eq!(
            stage.value(id, "u.phone, u.license").await,
            "+1 555 0101|gold",
            "what is ours stays"
        );
        let lines = stage.program.ok(&["runs", "changes", "last", "--output", "json"]);
        let change: serde_json::Value = serde_json::from_str(&lines).expect("one line");
        let phone = &change["fields"]["phone"];
        assert_eq!(
            (
                &phone["before"],
                &phone["after"],
                &phone["directory_before"],
                &phone["drift"]
            ),
            (
                &"+1 555 0199".into(),
                &"+1 555 0101".into(),
                &"+1 555 0101".into(),
                &true.into()
            )
        );
        assert_eq!(change["fields"].as_object().map(serde_json::Map::len), Some(1));
    }
}

async fn an_address_of_an_employee_is_refused_in_every_scope(db: Database) {
    let stage = Stage::synced(db).await;
    stage.employee("Clerk@agency.example").await;
    for (scope, id) in SCOPES {
        stage.edit(id, |one| one.email = "clerk@AGENCY.example".into());
        let synced = stage.sync(scope);
        synced.is(3, "applied");
        assert_eq!((synced.counts(), synced.plan("quarantine")), ([0; 4], 1), "{scope:?}");
        assert_eq!(stage.quarantine().await, [format!("{id}|address_of_employee")]);
        assert_eq!(stage.standing(id).await, "active|paving", "kept out is not missing");
        stage.edit(id, |one| one.email = format!("{id}@paving.example"));
        stage.sync(scope).is(0, "applied");
        assert_eq!(stage.quarantine().await, [""; 0], "cured is gone");
    }
    let employee = "SELECT kind, email, first_name, status FROM users WHERE kind = 'employee'";
    assert_eq!(
        stage.db.query(employee).await,
        ["employee|Clerk@agency.example|Example|active"]
    );
}

async fn swapped_addresses_are_swapped(db: Database) {
    let stage = Stage::synced(db).await;
    let (a, b) = ("p01@paving.example", "p02@paving.example");
    let swap = |first: &str, second: &str| {
        stage.edit("p01", |one| one.email = first.into());
        stage.edit("p02", |one| one.email = second.into());
    };
    swap(b, a);
    let alone = stage.sync(&["--user", "p01"]);
    alone.is(3, "applied");
    assert_eq!(stage.quarantine().await, ["p01|address_of_linked_user"]);
    let both = stage.sync(&["--organization", "paving"]);
    both.is(0, "applied");
    assert_eq!(both.counts(), [0, 2, 0, 0]);
    assert_eq!(stage.value("p01", "u.email").await, b);
    assert_eq!(stage.value("p02", "u.email").await, a);
    assert_eq!(stage.quarantine().await, [""; 0]);
    swap(a, b);
    assert_eq!(stage.sync(&[]).counts(), [0, 2, 0, 0]);
    assert_eq!(stage.value("p01", "u.email").await, a);
    assert_eq!(stage.value("p02", "u.email").await, b);
}

async fn a_dry_run_writes_nothing_in_every_scope(db: Database) {
    let stage = Stage::synced(db).await;
    for id in ["p01", "p02", "p03"] {
        stage.edit(id, |one| one.title = Some("Surveyor".into()));
    }
    stage.remove(["p20"]);
    stage
        .directory
        .put_account(super::stage::account("p99", "paving"))
        .expect("put");
    let users = "SELECT id, email, title, status FROM users ORDER BY email";
    let users = users.replace("id,", "CAST(id AS text),");
    let before = stage.db.query(&users).await;
    for (scope, counts) in [
        (&[] as &[&str], [1, 3, 1, 0]),
        (&["--organization", "paving"], [1, 3, 1, 0]),
        (&["--user", "p03"], [0, 1, 0, 0]),
    ] {
        let arguments = [scope, &["--dry-run", "--detailed-exitcode"]].concat();
        let planned = stage.sync(&arguments);
        planned.is(2, "planned");
        assert_eq!(planned.counts(), counts, "{scope:?}");
        assert_eq!(planned.document["dry_run"], true);
        stage.sync(&[scope, &["--dry-run"]].concat()).is(0, "planned");
        assert_eq!(stage.db.query(&users).await, before, "{scope:?}");
    }
}

async fn whom_an_administrator_disabled_stays_disabled(db: Database) {
    let stage = Stage::synced(db).await;
    let user = stage.value("p01", "CAST(u.id AS text)").await;
    let disable = format!("UPDATE users SET status = 'disabled', disabled_by = 'admin' WHERE id = '{user}'");
    stage.db.sql(&disable).await;
    for scope in [&[] as &[&str], &["--organization", "paving"], &["--user", "p01"]] {
        stage.edit("p01", |one| one.title = Some(format!("Title {}", scope.len())));
        let synced = stage.sync(scope);
        synced.is(0, "applied");
        assert_eq!(synced.plan("enable"), 0, "{scope:?}");
        assert_eq!(stage.value("p01", "u.status, u.disabled_by").await, "disabled|admin");
    }
}

async fn whom_somebody_deleted_here_does_not_come_back(db: Database) {
    let stage = Stage::synced(db).await;
    let user = stage.value("p01", "CAST(u.id AS text)").await;
    stage
        .db
        .sql(&format!("DELETE FROM memberships WHERE user_id = '{user}'"))
        .await;
    stage.db.sql(&format!("DELETE FROM users WHERE id = '{user}'")).await;
    stage.edit("p01", |one| one.title = Some("Surveyor".into()));
    for scope in [&[] as &[&str], &["--organization", "paving"], &["--user", "p01"]] {
        let synced = stage.sync(scope);
        synced.is(0, "applied");
        assert_eq!(synced.counts(), [0; 4], "{scope:?}");
    }
    assert_eq!(stage.active().await, 29);
}
