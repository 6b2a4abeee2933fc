//! Who is taken for whom: people who move, administrators, employees, and accounts with an address of somebody here.

use rollcall::cli::directory::model::AccountStatus;

use crate::harness::database::{Database, on_both_engines};
use crate::runs_connex::stage::{Stage, account, firm};

on_both_engines!(
    who_moved_to_a_new_firm_is_moved_by_the_run_of_the_old_one,
    who_moved_to_a_firm_that_is_not_followed_is_disabled_by_the_run_of_the_old_one,
    the_last_administrator_keeps_an_address_that_the_directory_gave_away,
    the_only_one_of_a_role_with_an_umlaut_stays,
    who_has_no_link_is_taken_over_by_an_account_of_the_same_firm_alone,
    an_employee_is_one_however_the_word_is_written,
    a_user_is_found_by_first_and_last_name,
);

async fn who_moved_to_a_new_firm_is_moved_by_the_run_of_the_old_one(db: Database) {
    let stage = Stage::synced(db).await;
    stage
        .directory
        .put_organization(firm("later", "Example Later"))
        .expect("put");
    stage.edit("p01", |one| one.organization_id = "later".into());
    let synced = stage.sync(&["--organization", "paving"]);
    synced.is(0, "applied");
    assert_eq!(synced.counts(), [0, 1, 0, 0]);
    assert_eq!(stage.standing("p01").await, "active|later");
    let followed = "SELECT CASE WHEN followed THEN 'followed' END FROM organizations WHERE external_id = 'later'";
    assert_eq!(stage.db.query(followed).await, ["followed"]);
    assert_eq!(stage.sync(&[]).counts(), [0; 4]);
}

async fn who_moved_to_a_firm_that_is_not_followed_is_disabled_by_the_run_of_the_old_one(db: Database) {
    let stage = Stage::synced(db).await;
    let mut unknown = firm("later", "Example Later");
    unknown.requested_access = false;
    stage.directory.put_organization(unknown).expect("put");
    for (id, to) in [("p01", "quiet"), ("p02", "later")] {
        stage.edit(id, |one| one.organization_id = to.into());
        let synced = stage.sync(&["--organization", "paving"]);
        synced.is(0, "applied");
        assert_eq!(synced.counts(), [0, 0, 1, 0], "to {to}");
        assert_eq!(stage.value(id, "u.status, u.disabled_by").await, "disabled|directory");
    }
    assert_eq!(stage.sync(&[]).counts(), [0; 4]);
}

async fn the_last_administrator_keeps_an_address_that_the_directory_gave_away(db: Database) {
    let stage = Stage::synced(db).await;
    stage
        .program
        .ok(&["users", "edit", "p01@paving.example", "--add-role", "Admin"]);
    stage.edit("p01", |one| {
        one.status = AccountStatus::Disabled;
        one.email = "renamed@paving.example".into();
    });
    let mut newcomer = account("p77", "paving");
    newcomer.email = "p01@paving.example".into();
    stage.directory.put_account(newcomer).expect("put");
    stage.edit("p02", |one| one.title = Some("Surveyor".into()));
    let synced = stage.sync(&[]);
    synced.is(3, "applied");
    assert_eq!(synced.counts(), [0, 1, 0, 0], "the rest is applied");
    assert_eq!(
        stage.value("p01", "u.status, u.email").await,
        "active|p01@paving.example"
    );
    assert_eq!(stage.value("p77", "u.email").await, "no user");
    let out = stage.quarantine().await;
    assert_eq!(out, ["p01|last_administrator", "p77|address_of_linked_user"]);
}

async fn the_only_one_of_a_role_with_an_umlaut_stays(db: Database) {
    let stage = Stage::new(db).await;
    let configured = std::fs::read_to_string(stage.program.config()).expect("read");
    let roles = "[agency]\nadministrator_roles = [\"Überadmin\"]";
    stage.program.configure(&configured.replace("[agency]", roles));
    let create = |email: &str| {
        stage.program.ok(&[
            "users",
            "create",
            "--email",
            email,
            "--first-name",
            "Sam",
            "--last-name",
            "Sample",
            "--role",
            "Überadmin",
        ])
    };
    create("one@agency.example");
    for command in [
        ["users", "disable", "one@agency.example"].as_slice(),
        &["users", "delete", "one@agency.example", "--yes"],
    ] {
        let said = stage.program.fails(1, command);
        assert!(said.contains("no active administrator"), "{said}");
        assert_eq!(stage.active().await, 1);
    }
    create("two@agency.example");
    stage.program.ok(&["users", "disable", "one@agency.example"]);
    assert_eq!(stage.active().await, 1);
}

async fn who_has_no_link_is_taken_over_by_an_account_of_the_same_firm_alone(db: Database) {
    let stage = Stage::synced(db).await;
    let id = "0197a000-0000-7000-8000-000000000002";
    let insert = format!(
        "INSERT INTO users (id, kind, email, first_name, organization_id) SELECT '{id}', 'consultant', \
         'casey@shared.example', 'Casey', id FROM organizations WHERE external_id = 'paving'"
    );
    assert_eq!(stage.db.sql(&insert).await, 1);
    let claims = |at: &str, firm: &str| {
        let mut claimant = account(at, firm);
        claimant.email = "Casey@shared.example".into();
        stage.directory.put_account(claimant).expect("put");
    };
    claims("b77", "bridges");
    let other = stage.sync(&[]);
    other.is(3, "applied");
    assert_eq!(
        (other.counts(), stage.quarantine().await),
        ([0; 4], vec!["b77|address_of_other".to_owned()])
    );
    let held = format!("SELECT first_name FROM users WHERE id = '{id}'");
    assert_eq!(stage.db.query(&held).await, ["Casey"]);
    stage.remove(["b77"]);
    claims("p77", "paving");
    let own = stage.sync(&[]);
    own.is(0, "applied");
    assert_eq!(own.counts(), [0, 1, 0, 0]);
    assert_eq!(
        stage.value("p77", "CAST(u.id AS text), u.first_name").await,
        format!("{id}|Avery")
    );
}

async fn an_employee_is_one_however_the_word_is_written(db: Database) {
    let stage = Stage::synced(db).await;
    let clerk = stage.employee("clerk@agency.example").await;
    stage
        .db
        .sql(&format!("UPDATE users SET kind = 'Employee' WHERE id = '{clerk}'"))
        .await;
    let user = stage.value("p01", "CAST(u.id AS text)").await;
    stage
        .db
        .sql(&format!("UPDATE users SET kind = 'EMPLOYEE' WHERE id = '{user}'"))
        .await;
    stage.edit("p01", |one| one.title = Some("Surveyor".into()));
    let mut newcomer = account("p77", "paving");
    newcomer.email = "CLERK@agency.example".into();
    stage.directory.put_account(newcomer).expect("put");
    let synced = stage.sync(&[]);
    synced.is(3, "applied");
    assert_eq!(synced.counts(), [0; 4]);
    assert_eq!(stage.value("p01", "u.kind, u.title").await, "EMPLOYEE|Estimator");
    assert_eq!(
        stage.quarantine().await,
        ["p01|user_is_employee", "p77|address_of_employee"]
    );
    // Nor is one missing who is gone from the directory.
    stage.remove(["p01", "p77"]);
    stage.sync(&[]).is(0, "applied");
    assert_eq!(stage.value("p01", "u.status").await, "active");
}

async fn a_user_is_found_by_first_and_last_name(db: Database) {
    let stage = Stage::synced(db).await;
    stage.edit("p01", |one| one.title = Some("Surveyor".into()));
    let synced = stage.sync(&["--user", "Avery Sampleton p01"]);
    synced.is(0, "applied");
    assert_eq!(synced.counts(), [0, 1, 0, 0]);
    assert_eq!(stage.value("p01", "u.title").await, "Surveyor");
    stage.edit("p02", |one| one.last_name = "Sampleton p03".into());
    stage.sync(&[]).is(0, "applied");
    let several = stage.sync(&["--user", "Avery Sampleton p03"]);
    several.is(1, "failed");
    assert!(several.error().contains("means several"), "{}", several.error());
}
