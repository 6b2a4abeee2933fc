//! Directories that cannot be read, or not whole: nobody is disabled, and one sentence says what happened and what to
//! do.

use serde_json::Value as Json;

use super::{ANNA, BRUNO, CHLOE, EBELE, Setting, World, sentence};
use crate::harness::certificates::Flaw;
use crate::harness::database::{Database, on_both_engines};
use crate::harness::slapd::{LIMITED, Options, PARTNERS, READER, person};

on_both_engines!(
    a_size_limit_leaves_the_listing_incomplete,
    a_base_that_is_not_there_is_named,
    a_wrong_password_is_said,
    a_host_that_is_not_there_is_said,
    a_certificate_that_is_not_good_is_said,
    a_secret_that_is_not_there_is_a_matter_of_configuration,
    an_entry_that_cannot_be_used_counts_as_present,
    one_id_twice_is_out_and_present,
    an_entry_without_an_id_leaves_everybody_present,
    an_entry_without_an_organization_is_taken_or_not_as_configured,
    a_run_that_another_holds_off_says_so,
    what_a_killed_run_left_is_taken_over,
    a_run_that_fails_half_way_leaves_nothing,
    a_writer_whose_lease_was_taken_over_writes_nothing,
    a_run_that_another_has_ended_stays_ended,
    runs_that_begin_at_once_do_not_disturb_each_other,
);

/// A run that must end with code 4, and leaves every row as it was.
async fn fails(world: &World, setting: &Setting<'_>, state: &str, parts: &[&str]) -> Json {
    let before = world.everything().await;
    world.set(setting);
    let run = world.run(4, &[]);
    assert_eq!(run["state"], state, "{run:#}");
    sentence(&run, parts);
    assert_eq!(run["plan"]["hash"], Json::Null);
    assert_eq!(world.everything().await, before);
    assert!(world.changes().is_empty());
    // As people see it.
    let ran = world.program.run(&["sync", "partners"]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    let shown = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(parts.iter().all(|part| shown.contains(part)), "{ran:#?}");
    assert!(
        shown.contains("nobody was disabled") && ran.stderr.is_empty(),
        "{ran:#?}"
    );
    assert_eq!(world.everything().await, before);
    // And once it is set right, nothing has happened.
    world.set(&world.setting());
    run
}

async fn a_size_limit_leaves_the_listing_incomplete(db: Database) {
    let world = World::large(db, 60);
    assert_eq!(world.sync(), "create=66");
    let limited = Setting {
        bind_dn: LIMITED,
        ..world.setting()
    };
    let run = fails(
        &world,
        &limited,
        "incomplete",
        &["size limit", LIMITED, "50 entries", "raise"],
    )
    .await;
    assert_eq!(
        (
            &run["listing"]["complete"],
            &run["listing"]["entries"],
            &run["error"]["code"]
        ),
        (&false.into(), &50.into(), &"incomplete".into())
    );
    assert_eq!(world.sync(), "unchanged=66");
}

async fn a_base_that_is_not_there_is_named(db: Database) {
    let world = World::loaded(db);
    let base = format!("ou=gone,{PARTNERS}");
    let gone = Setting {
        base_dn: &base,
        ..world.setting()
    };
    let run = fails(&world, &gone, "failed", &[&base, READER, "base_dn"]).await;
    assert_eq!(run["error"]["code"], "source_not_found");
    assert_eq!(world.sync(), "unchanged=6");
}

async fn a_wrong_password_is_said(db: Database) {
    let world = World::loaded(db);
    world.program.secret("guess", "not-the-password");
    let wrong = Setting {
        password_file: "guess",
        ..world.setting()
    };
    let run = fails(
        &world,
        &wrong,
        "failed",
        &["refuses the bind", READER, "check the bind DN and the password"],
    )
    .await;
    assert!(!run.to_string().contains("not-the-password"));
}

async fn a_host_that_is_not_there_is_said(db: Database) {
    let world = World::loaded(db);
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("bound").port()
    };
    let source = "max_retries = 0\nconnect_timeout = \"5s\"";
    let refused = Setting {
        url: format!("ldap://127.0.0.1:{port}"),
        source,
        ..world.setting()
    };
    fails(
        &world,
        &refused,
        "failed",
        &[&format!("127.0.0.1:{port}"), "refuses connections", "check"],
    )
    .await;
    let unknown = Setting {
        url: "ldaps://directory.invalid".into(),
        source,
        ..world.setting()
    };
    fails(&world, &unknown, "failed", &["directory.invalid", "check"]).await;
}

async fn a_certificate_that_is_not_good_is_said(db: Database) {
    let options = Options {
        flaw: Flaw::OtherHost,
        ..Options::default()
    };
    let world = World::with(db, options);
    assert_eq!(world.sync(), "create=6");
    let ca = format!("tls = {{ ca_file = \"{}\" }}", world.slapd.ca_file().display());
    let over_tls = |starttls: bool| {
        let url = if starttls {
            world.slapd.url()
        } else {
            world.slapd.ldaps_url()
        };
        (url, format!("{ca}\nstarttls = {starttls}"))
    };
    for starttls in [false, true] {
        let (url, source) = over_tls(starttls);
        let setting = Setting {
            url,
            source: &source,
            ..world.setting()
        };
        fails(
            &world,
            &setting,
            "failed",
            &["localhost", "certificate", "elsewhere.example"],
        )
        .await;
    }
}

async fn a_secret_that_is_not_there_is_a_matter_of_configuration(db: Database) {
    let world = World::loaded(db);
    let setting = Setting {
        password_file: "no-such-file",
        ..world.setting()
    };
    world.set(&setting);
    let said = world.program.fails(78, &["sync", "partners"]);
    assert!(
        said.contains("no-such-file") && said.contains("bind_password_file"),
        "{said}"
    );
    assert_eq!(world.disabled().await, 0);
}

async fn an_entry_that_cannot_be_used_counts_as_present(db: Database) {
    let world = World::loaded(db);
    let remove = format!("dn: {}\nchangetype: modify\ndelete: mail\n", ANNA.dn());
    world.slapd.modify(&remove);
    world.slapd.set(&CHLOE.dn(), "mail", "no address");
    let run = world.run(3, &[]);
    assert_eq!(super::counts(&run), "unchanged=4 quarantine=2");
    assert_eq!(super::quarantined(&run), ["aklein no_email", "cmoreau bad_email"]);
    assert_eq!(world.disabled().await, 0);
    assert_eq!(world.user(ANNA, "email").await, ANNA.mail());
    world.slapd.set(&ANNA.dn(), "mail", &ANNA.mail());
    world.slapd.set(&CHLOE.dn(), "mail", &CHLOE.mail());
    assert_eq!(world.sync(), "unchanged=6");
}

async fn one_id_twice_is_out_and_present(db: Database) {
    let world = World::loaded(db);
    world.slapd.load(&person(super::BOLT, ANNA.0, "Anne", "Other"));
    let run = world.run(3, &[]);
    assert_eq!(super::counts(&run), "unchanged=5 quarantine=1");
    assert_eq!(super::quarantined(&run), ["aklein duplicate_id"]);
    assert_eq!(world.user(ANNA, "first_name status").await, "Anna|active");
    // Also where both differ from what was known.
    world.slapd.set(&ANNA.dn(), "telephoneNumber", "+1 555 0199");
    let run = world.run(3, &[]);
    assert_eq!(super::quarantined(&run), ["aklein duplicate_id"]);
    assert_eq!(
        world.user(ANNA, "first_name phone status").await,
        "Anna|+1 555 0100|active"
    );
}

async fn an_entry_without_an_id_leaves_everybody_present(db: Database) {
    let world = World::loaded(db);
    // It may be Anna's.
    world.slapd.delete(&ANNA.dn());
    let nameless = format!(
        "dn: cn=Somebody,o={},{PARTNERS}\nobjectClass: inetOrgPerson\ncn: Somebody\nsn: Somebody\no: {}\n",
        ANNA.1, ANNA.1
    );
    world.slapd.load(&nameless);
    world.slapd.set(&CHLOE.dn(), "telephoneNumber", "+1 555 0199");
    let run = world.run(3, &[]);
    assert_eq!(super::counts(&run), "update=1 unchanged=4 quarantine=1");
    assert!(super::quarantined(&run)[0].ends_with("bad_id"), "{run:#}");
    assert_eq!(world.disabled().await, 0);
    world.slapd.delete(&format!("cn=Somebody,o={},{PARTNERS}", ANNA.1));
    assert_eq!(world.sync(), "disable=1 unchanged=5");
}

async fn an_entry_without_an_organization_is_taken_or_not_as_configured(db: Database) {
    let world = World::loaded(db);
    world
        .slapd
        .modify(&format!("dn: {}\nchangetype: modify\ndelete: o\n", ANNA.dn()));
    let required = Setting {
        source: "require_organization = true",
        ..world.setting()
    };
    world.set(&required);
    let run = world.run(3, &[]);
    assert_eq!(super::quarantined(&run), ["aklein no_organization"]);
    assert_ne!(world.user(ANNA, "organization_id").await, "-");
    world.set(&world.setting());
    assert_eq!(world.sync(), "update=1 unchanged=5");
    assert_eq!(world.user(ANNA, "organization_id status").await, "-|active");
    assert_eq!(world.sync(), "unchanged=6");
    world.slapd.delete(&ANNA.dn());
    assert_eq!(world.sync(), "disable=1 unchanged=5");
}

async fn a_run_that_another_holds_off_says_so(db: Database) {
    let world = World::loaded(db);
    // As far ahead as a lease is believed: one beyond that was taken before the clock was put back.
    let later = match world.db.is_sqlite() {
        true => "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '+30 minutes')",
        false => "now() + interval '30 minutes'",
    };
    let held = format!(
        "UPDATE leases SET holder = 'other', process = 'other-machine/ns/1/1', epoch = epoch + 1, expires_at = {later} \
         WHERE source = 'partners'"
    );
    assert_eq!(world.db.sql(&held).await, 1);
    world.slapd.delete(&ANNA.dn());
    let before = world.everything().await;
    let run = world.run(11, &[]);
    assert_eq!((&run["state"], &run["run"]), (&"busy".into(), &Json::Null));
    sentence(&run, &["partners", "under way", "rollcall runs list"]);
    let said = world.program.fails(11, &["sync", "partners"]);
    assert!(said.contains("under way"), "{said}");
    assert_eq!(world.everything().await, before);
    let leases = "SELECT holder FROM leases";
    assert_eq!(world.db.query(leases).await, ["other"], "it is not taken away");
    assert_eq!(
        world
            .db
            .sql("UPDATE leases SET expires_at = '2020-01-01T00:00:00.000000Z'")
            .await,
        1
    );
    assert_eq!(world.sync(), "disable=1 unchanged=5");
}

/// A run is killed while the directory keeps it waiting: the next one need not wait for its lease to run out.
async fn what_a_killed_run_left_is_taken_over(db: Database) {
    let world = World::loaded(db);
    world.slapd.delete(&ANNA.dn());
    let before = world.everything().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("bound").port();
    let setting = Setting {
        url: format!("ldap://127.0.0.1:{port}"),
        ..world.setting()
    };
    world.set(&setting);
    let mut waiting = world
        .program
        .command(&["sync", "partners"])
        .spawn()
        .expect("the program starts");
    let connection = silent.accept().expect("it connects");
    assert_eq!(world.run(11, &[])["state"], "busy");
    waiting.kill().expect("killed");
    waiting.wait().expect("ended");
    drop(connection);
    assert_eq!(world.everything().await, before);
    world.set(&world.setting());
    assert_eq!(world.sync(), "disable=1 unchanged=5");
    let runs = world.command(0, &["runs", "list", "--output", "json"]);
    let states: Vec<_> = runs
        .as_array()
        .expect("a list")
        .iter()
        .map(|run| run["state"].as_str())
        .collect();
    assert_eq!(states, [Some("applied"), Some("failed"), Some("applied")]);
    assert_eq!(runs[1]["error"]["code"], "interrupted");
}

/// The database refuses one row, early, midway or at the very end of the transaction: nothing of the run is there, and
/// its plan is gone.
async fn a_run_that_fails_half_way_leaves_nothing(db: Database) {
    let world = World::loaded(db);
    for who in [ANNA, EBELE] {
        world.slapd.set(&who.dn(), "telephoneNumber", "+1 555 0199");
    }
    world.slapd.delete(&CHLOE.dn());
    world.slapd.load(&person(BRUNO.1, "nnew", "Nora", "New"));
    let before = world.everything().await;
    for (event, table, row) in [
        ("INSERT", "memberships", "new.origin = 'directory'"),
        ("UPDATE", "records", "new.external_id = 'eokafor'"),
        ("UPDATE", "runs", "new.state = 'applied'"),
        ("INSERT", "audit", "new.action = 'run.applied'"),
    ] {
        let allow = refuse(&world.db, event, table, row).await;
        let run = world.run(1, &[]);
        assert_eq!(run["state"], "failed", "{run:#}");
        assert!(
            run["error"]["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{run:#}"
        );
        assert_eq!(world.everything().await, before, "{table}");
        assert!(world.changes().is_empty());
        world.db.sql(&allow).await;
    }
    assert_eq!(world.sync(), "create=1 update=2 disable=1 unchanged=3");
}

/// Makes the database refuse a row; answers the statement that ends this.
async fn refuse(db: &Database, event: &str, table: &str, row: &str) -> String {
    if db.url.starts_with("sqlite") {
        let trigger = format!(
            "CREATE TRIGGER refuse BEFORE {event} ON {table} WHEN {row} BEGIN SELECT RAISE(ABORT, 'refused'); END"
        );
        db.sql(&trigger).await;
        return "DROP TRIGGER refuse".into();
    }
    let function = "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ \
         BEGIN RAISE EXCEPTION 'refused'; END $$";
    db.sql(function).await;
    let trigger =
        format!("CREATE TRIGGER refuse BEFORE {event} ON {table} FOR EACH ROW WHEN ({row}) EXECUTE FUNCTION refuse()");
    db.sql(&trigger).await;
    format!("DROP TRIGGER refuse ON {table}")
}

/// As when a machine was frozen: whoever took the lease, another has taken it over before the first write.
async fn a_writer_whose_lease_was_taken_over_writes_nothing(db: Database) {
    let world = World::loaded(db);
    let strict = Setting {
        head: "[brakes]\ndisable = { share = 0.0, count = 0, floor = 0 }\n",
        ..world.setting()
    };
    world.set(&strict);
    world.slapd.delete(&ANNA.dn());
    let held = world.run(10, &[]);
    let before = world.everything().await;
    let taken = "new.epoch <> old.epoch AND new.holder <> 'other'";
    let take_over = "UPDATE leases SET epoch = epoch + 1, holder = 'other';";
    afterwards(&world.db, "leases", taken, take_over).await;
    let hash = held["plan"]["hash"].as_str().expect("a hash");
    let released = world.program.run(&["runs", "release", "last", "--plan", hash]);
    assert!(
        released.code != 0 && released.stderr.contains("taken over by another run"),
        "{released:#?}"
    );
    assert_eq!(world.everything().await, before);
    world.set(&world.setting());
    let ran = world.program.run(&["sync", "partners", "--output", "json"]);
    assert!(
        ran.code != 0 && ran.stdout.contains("taken over by another run"),
        "{ran:#?}"
    );
    assert_eq!(world.everything().await, before);
}

/// Who took a source over has marked the run as interrupted: it does not come back as planned or held.
async fn a_run_that_another_has_ended_stays_ended(db: Database) {
    let world = World::loaded(db);
    let read = "old.listing IS NULL AND new.listing IS NOT NULL";
    afterwards(
        &world.db,
        "runs",
        read,
        "UPDATE runs SET state = 'failed' WHERE id = new.id;",
    )
    .await;
    let ran = world.program.run(&["sync", "partners", "--dry-run"]);
    assert!(
        ran.code != 0 && ran.stderr.contains("ended by another process"),
        "{ran:#?}"
    );
    let last = "SELECT state FROM runs ORDER BY id DESC LIMIT 1";
    assert_eq!(world.db.query(last).await, ["failed"]);
}

/// Makes the database run a statement after rows of a table were updated so.
async fn afterwards(db: &Database, table: &str, when: &str, statement: &str) {
    if db.url.starts_with("sqlite") {
        let trigger = format!("CREATE TRIGGER afterwards AFTER UPDATE ON {table} WHEN {when} BEGIN {statement} END");
        db.sql(&trigger).await;
        return;
    }
    let function = format!(
        "CREATE FUNCTION afterwards() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statement} RETURN NULL; END $$"
    );
    db.sql(&function).await;
    let trigger = format!(
        "CREATE TRIGGER afterwards AFTER UPDATE ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION afterwards()"
    );
    db.sql(&trigger).await;
}

/// Several at once, from the first schema on: each ends well or says that another is at work, and the table is as if
/// one had run.
async fn runs_that_begin_at_once_do_not_disturb_each_other(db: Database) {
    let world = World::new(db);
    let all: Vec<_> = (0..4)
        .map(|_| {
            world
                .program
                .command(&["sync", "partners", "--output", "json"])
                .spawn()
                .expect("the program starts")
        })
        .collect();
    let mut applied = 0;
    for one in all {
        let ended = one.wait_with_output().expect("it ends");
        let code = ended.status.code();
        assert!(matches!(code, Some(0 | 11)), "{code:?}: {ended:?}");
        applied += usize::from(code == Some(0));
    }
    assert!(applied > 0);
    assert_eq!(world.sync(), "unchanged=6");
    let created = "SELECT CAST(count(*) AS text) FROM changes WHERE action = 'create'";
    assert_eq!(world.db.query(created).await, ["6"]);
}
