//! The conformance suite: every promise of the store, on both engines.

mod lists;

use rollcall::domain::field::Field;
use rollcall::domain::id::SourceName;
use rollcall::domain::roles::RolePolicy;
use rollcall::store::{Actor, EditedFields, Expected, NewUser, StoreErrorKind, UserFilter};

use crate::harness::database::{Database, clock, on_both_engines};

on_both_engines!(
    every_statement_is_valid,
    migrating_twice_changes_nothing,
    a_newer_schema_is_refused,
    users_live_their_life,
    memberships_go_with_what_they_name,
    addresses_are_unique_without_regard_to_case,
    the_last_administrator_stays,
    the_last_administrator_stays_however_the_role_is_written,
    a_lease_has_one_holder,
    foreign_tables_are_refused,
);

fn cli() -> Actor {
    Actor("cli:test".into())
}

fn roles() -> RolePolicy {
    RolePolicy {
        administrative: ["Admin".to_owned()].into(),
        ..RolePolicy::default()
    }
}

fn employee(email: &str) -> NewUser {
    NewUser {
        email: email.into(),
        first_name: Some("Example".into()),
        kind: "employee".into(),
        ..NewUser::default()
    }
}

async fn every_statement_is_valid(db: Database) {
    let store = db.store().await;
    let mut wrong = Vec::new();
    let mut prepared = 0;
    db.sql("SELECT 1").await;
    for (name, sql) in rollcall::store::Store::statements() {
        // Temporary tables live on the connection of a run; the runs themselves exercise their statements.
        let temporary = ["staged", "unseen", "moved", "granted"]
            .iter()
            .any(|table| sql.contains(table));
        // What has a gap is filled in where it is used.
        if temporary || sql.replace("'{}'", "").contains('{') {
            continue;
        }
        prepared += 1;
        if let Err(e) = store.prepare(sql).await {
            wrong.push(format!("{name}: {e}: {:?}", e.cause));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(prepared > 40, "{prepared}");
}

async fn migrating_twice_changes_nothing(db: Database) {
    let store = rollcall::store::Store::connect(&db.url, None, 5, clock())
        .await
        .expect("connects");
    assert_eq!(store.schema_version().await.expect("version"), 0);
    assert_eq!(store.migrate().await.expect("first"), [1]);
    assert_eq!(store.migrate().await.expect("second"), [0_i64; 0]);
    assert_eq!(
        store.schema_version().await.expect("version"),
        rollcall::store::Store::newest_schema()
    );
}

async fn a_newer_schema_is_refused(db: Database) {
    db.store().await;
    db.sql("INSERT INTO rollcall_schema (version, name, applied_at) VALUES (999, 'future', 'then')")
        .await;
    let error = db.store_error().await;
    assert_eq!(error.kind, StoreErrorKind::Schema);
    assert!(error.message.contains("newer"), "{error}");
}

async fn foreign_tables_are_refused(db: Database) {
    db.sql("CREATE TABLE users (name text)").await;
    let error = db.store_error().await;
    assert_eq!(error.kind, StoreErrorKind::Schema, "{error}");
    assert_eq!(db.query("SELECT count(*) || '' FROM users").await, ["0"]);
}

async fn users_live_their_life(db: Database) {
    let store = db.store().await;
    let id = store
        .create_user(&employee("a@agency.example"), &cli())
        .await
        .expect("created");
    let edit = EditedFields {
        columns: vec![(Field::Phone, Some("+1 555 0100".into()))],
        add_roles: vec!["Reviewer".into()],
        ..EditedFields::default()
    };
    store
        .edit_user(id, &edit, &Expected::Any, &cli(), &roles())
        .await
        .expect("edited");
    let user = store.user(id).await.expect("read").expect("there");
    assert_eq!(user.phone.as_deref(), Some("+1 555 0100"));
    assert_eq!(user.roles, [("Reviewer".to_owned(), false)]);
    assert_eq!(store.find_users("A@AGENCY.example").await.expect("found"), [id]);
    assert!(store.disable_user(id, &cli(), &roles()).await.expect("disabled"));
    assert!(!store.disable_user(id, &cli(), &roles()).await.expect("again"));
    let user = store.user(id).await.expect("read").expect("there");
    assert_eq!(
        (user.status.as_str(), user.disabled_by.as_deref()),
        ("disabled", Some("admin"))
    );
    assert!(store.enable_user(id, &cli(), &roles()).await.expect("enabled"));
    let filter = UserFilter {
        query: Some("EXAMPLE".into()),
        role: Some("Reviewer".into()),
        limit: 5,
        ..UserFilter::default()
    };
    assert_eq!(store.users(&filter).await.expect("listed").len(), 1);
    let literal = UserFilter {
        query: Some("%".into()),
        limit: 5,
        ..UserFilter::default()
    };
    assert_eq!(
        store.users(&literal).await.expect("listed").len(),
        0,
        "a per cent sign is no wildcard"
    );
    store.delete_user(id, &cli(), &roles()).await.expect("deleted");
    assert_eq!(store.user(id).await.expect("read"), None);
    let actions: Vec<String> = store
        .user_audit(id, 10)
        .await
        .expect("audit")
        .into_iter()
        .map(|a| a.action)
        .collect();
    assert_eq!(
        actions,
        [
            "user.deleted",
            "user.enabled",
            "user.disabled",
            "user.edited",
            "user.created"
        ]
    );
}

/// A membership is of a user and a group that are there, whoever writes it, and in whatever number.
async fn memberships_go_with_what_they_name(db: Database) {
    let store = db.store().await;
    let ada = store
        .create_user(&employee("ada@x.example"), &cli())
        .await
        .expect("made");
    let ben = store
        .create_user(&employee("ben@x.example"), &cli())
        .await
        .expect("made");
    let (red, blue) = (
        "019a0000-0000-7000-8000-000000000001",
        "019a0000-0000-7000-8000-000000000002",
    );
    db.sql(&format!(
        "INSERT INTO groups (id, kind, name) VALUES ('{red}', 'team', 'Red'), ('{blue}', 'team', 'Blue')"
    ))
    .await;
    let insert = |pairs: &[(&str, &str)]| {
        let rows: Vec<String> = pairs
            .iter()
            .map(|(user, group)| format!("('{user}', '{group}')"))
            .collect();
        format!("INSERT INTO memberships (user_id, group_id) VALUES {}", rows.join(", "))
    };
    let (ada, ben) = (ada.to_string(), ben.to_string());
    let nobody = "019a0000-0000-7000-8000-00000000000f";
    for wrong in [[(&*ada, red), (nobody, red)], [(&*ada, red), (&*ada, nobody)]] {
        let refused = db
            .try_sql(&insert(&wrong))
            .await
            .expect_err("it names what is not there");
        let is_reference = refused
            .as_database_error()
            .is_some_and(|error| error.is_foreign_key_violation());
        assert!(is_reference, "{refused}");
    }
    let all = "SELECT CAST(user_id AS text), CAST(group_id AS text) FROM memberships ORDER BY user_id, group_id";
    assert_eq!(db.query(all).await, [""; 0]);
    db.sql(&insert(&[(&ada, red), (&ada, blue), (&ben, red), (&ben, blue)]))
        .await;
    let moved = format!("UPDATE memberships SET group_id = '{nobody}' WHERE user_id = '{ada}' AND group_id = '{red}'");
    assert!(db.try_sql(&moved).await.is_err());
    db.sql(&format!("DELETE FROM groups WHERE id = '{red}'")).await;
    assert_eq!(db.query(all).await, [format!("{ada}|{blue}"), format!("{ben}|{blue}")]);
    db.sql(&format!("DELETE FROM users WHERE id = '{ada}'")).await;
    assert_eq!(db.query(all).await, [format!("{ben}|{blue}")]);
    let renamed = format!("UPDATE users SET id = '{nobody}' WHERE id = '{ben}'");
    assert!(db.try_sql(&renamed).await.is_err(), "an id that is named stays");
}

async fn addresses_are_unique_without_regard_to_case(db: Database) {
    let store = db.store().await;
    store
        .create_user(&employee("zo\u{eb}@agency.example"), &cli())
        .await
        .expect("created");
    let again = store
        .create_user(&employee("ZO\u{eb}@Agency.EXAMPLE"), &cli())
        .await
        .expect_err("taken");
    assert_eq!(again.kind, StoreErrorKind::AddressTaken);
    assert!(again.message.contains("e-mail"), "{again}");
    // Letters beyond ASCII are never folded: these are two people.
    store
        .create_user(&employee("zo\u{cb}@agency.example"), &cli())
        .await
        .expect("another person");
}

async fn the_last_administrator_stays(db: Database) {
    let store = db.store().await;
    let admin = NewUser {
        roles: vec!["admin".into()],
        ..employee("root@agency.example")
    };
    let id = store.create_user(&admin, &cli()).await.expect("created");
    let last = |r: Result<bool, rollcall::store::StoreError>| r.expect_err("refused").kind;
    assert_eq!(
        last(store.disable_user(id, &cli(), &roles()).await),
        StoreErrorKind::LastAdministrator
    );
    assert_eq!(
        store.delete_user(id, &cli(), &roles()).await.expect_err("refused").kind,
        StoreErrorKind::LastAdministrator
    );
    let edit = EditedFields {
        remove_roles: vec!["admin".into()],
        ..EditedFields::default()
    };
    assert_eq!(
        store
            .edit_user(id, &edit, &Expected::Any, &cli(), &roles())
            .await
            .expect_err("refused")
            .kind,
        StoreErrorKind::LastAdministrator
    );
    let other = NewUser {
        roles: vec!["Admin".into()],
        ..employee("second@agency.example")
    };
    store.create_user(&other, &cli()).await.expect("created");
    assert!(store.disable_user(id, &cli(), &roles()).await.expect("one is left"));
}

async fn the_last_administrator_stays_however_the_role_is_written(db: Database) {
    let store = db.store().await;
    let roles = RolePolicy {
        administrative: ["\u{dc}berAdmin".to_owned()].into(),
        ..RolePolicy::default()
    };
    let admin = NewUser {
        roles: vec!["\u{fc}beradmin".into()],
        ..employee("root@agency.example")
    };
    let id = store.create_user(&admin, &cli()).await.expect("created");
    let refused = store.disable_user(id, &cli(), &roles).await.expect_err("refused");
    assert_eq!(refused.kind, StoreErrorKind::LastAdministrator);
}

async fn a_lease_has_one_holder(db: Database) {
    let store = db.store().await;
    let source = SourceName::parse("s").expect("name");
    let first = store.take_lease(&source).await.expect("free");
    assert_eq!(
        store.take_lease(&source).await.expect_err("held").kind,
        StoreErrorKind::LeaseHeld
    );
    store.renew_lease(&first).await.expect("renewed");
    // Its time passes: another takes it over, and the first is refused from then on.
    db.sql("UPDATE leases SET expires_at = '2020-01-01T00:00:00.000000Z'")
        .await;
    let second = store.take_lease(&source).await.expect("expired");
    assert!(second.epoch > first.epoch);
    assert_eq!(
        store.renew_lease(&first).await.expect_err("lost").kind,
        StoreErrorKind::LeaseLost
    );
    store.release_lease(&first).await.expect("no harm");
    assert_eq!(
        store.take_lease(&source).await.expect_err("still held").kind,
        StoreErrorKind::LeaseHeld
    );
    store.release_lease(&second).await.expect("released");
    store.take_lease(&source).await.expect("free again");
}

impl Database {
    async fn store_error(&self) -> rollcall::store::StoreError {
        rollcall::store::Store::open(&self.url, None, 5, clock())
            .await
            .expect_err("refused")
    }
}
