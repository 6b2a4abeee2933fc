//! `rollcall users`, but for `explain`.

use serde_json::{Value, json};

use super::{alone, synced};
use crate::harness::database::{Database, on_both_engines};
use crate::harness::program::Program;

on_both_engines!(
    a_user_lives_its_life,
    who_edits_a_field_of_the_directory_is_told,
    lists_filter_and_say_when_they_are_cut,
    a_deleted_user_comes_back_only_when_lifted,
    the_export_is_whole_and_safe_to_open,
    the_last_administrator_stays,
    what_happened_is_shown,
);

fn emails(list: &Value) -> Vec<&str> {
    let all = list.as_array().expect("an array").iter();
    all.map(|user| user["email"].as_str().expect("an address")).collect()
}

/// Creates an employee and answers its id.
fn create(program: &Program, email: &str, more: &[&str]) -> String {
    let mut arguments = vec![
        "users",
        "create",
        "--email",
        email,
        "--first-name",
        "Sam",
        "--last-name",
        "Sample",
    ];
    arguments.extend(more);
    let said = program.ok(&arguments);
    let id = said.strip_prefix("created user ").expect("says so").trim().to_owned();
    assert_eq!(id.len(), 36, "{said}");
    id
}

async fn a_user_lives_its_life(db: Database) {
    let program = Program::new(&alone(&db));
    assert!(program.ok(&["users", "list"]).contains("no user matches"));
    let id = create(&program, " Sam@agency.example", &["--phone", "+1 201 555 0199"]);
    let user = program.json(&["users", "show", &id, "--output", "json"]);
    assert_eq!(user["email"], "Sam@agency.example");
    assert_eq!(user["kind"], "employee");
    assert_eq!(user["organization"]["name"], "Example Agency");
    assert_eq!(
        user["roles"],
        json!([{"name": "authenticated user", "origin": "local"}])
    );
    assert_eq!(user["authorities"], json!({}));
    let taken = [
        "users",
        "create",
        "--email",
        "SAM@AGENCY.example",
        "--first-name",
        "A",
        "--last-name",
        "B",
    ];
    assert!(
        program
            .fails(1, &taken)
            .contains("another user has this e-mail address")
    );

    program.ok(&[
        "users",
        "edit",
        "sam@agency.example",
        "--title",
        "Bridge  Engineer",
        "--phone",
        "",
        "--add-role",
        "Manager",
    ]);
    let user = program.json(&["users", "show", &id, "--output", "json"]);
    assert_eq!(
        (&user["title"], &user["phone"]),
        (&json!("Bridge Engineer"), &Value::Null)
    );
    assert_eq!(user["roles"].as_array().map(Vec::len), Some(2));
    assert!(
        program
            .fails(1, &["users", "edit", &id, "--remove-role", "Wizard"])
            .contains("does not have the role Wizard")
    );
    assert!(program.fails(64, &["users", "edit", &id]).contains("nothing to change"));
    assert!(
        program
            .fails(64, &["users", "edit", &id, "--email", "sam"])
            .contains("no e-mail address")
    );

    assert!(program.ok(&["users", "disable", &id]).contains("disabled user"));
    assert!(program.ok(&["users", "disable", &id]).contains("already"));
    assert!(
        program
            .ok(&["users", "show", &id])
            .contains("Disabled here by cli:tester")
    );
    assert!(program.ok(&["users", "enable", &id]).contains("enabled user"));
    assert!(program.ok(&["users", "enable", &id]).contains("already"));
    assert!(program.fails(64, &["users", "delete", &id]).contains("--yes"));
    program.ok(&["users", "delete", &id, "--yes"]);
    assert!(program.fails(1, &["users", "show", &id]).contains("users list"));
    assert_eq!(db.query("SELECT email FROM users").await, [""; 0]);
    assert_eq!(
        db.query("SELECT count(*) || '' FROM audit WHERE action LIKE 'user.%' AND actor = 'cli:tester'")
            .await,
        ["5"]
    );
}

async fn who_edits_a_field_of_the_directory_is_told(db: Database) {
    let (program, _directory) = synced(&db).await;
    let ran = program.run(&[
        "users",
        "edit",
        "avery@paving.example",
        "--phone",
        "1",
        "--last-name",
        "Other",
        "--license",
        "B",
    ]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(
        ran.stderr
            .contains("last_name, phone are decided by the directory of source connex"),
        "{ran:#?}"
    );
    assert!(
        ran.stderr.contains("acc-1") && !ran.stderr.contains("license"),
        "{ran:#?}"
    );
    let ran = program.run(&["users", "edit", "avery@paving.example", "--title", "Chief"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (0, ""),
        "initial is local after creation"
    );
    let ran = program.run(&["users", "edit", "avery@paving.example", "--remove-role", "member"]);
    assert!(
        ran.stderr.contains("role member is decided by the directory"),
        "{ran:#?}"
    );
    program.ok(&["sync", "connex"]);
    let user = program.json(&["users", "show", "avery@paving.example", "--output", "json"]);
    assert_eq!(
        (&user["phone"], &user["last_name"]),
        (&json!("+1 201 555 0100"), &json!("Sampleton"))
    );
    assert_eq!((&user["title"], &user["license"]), (&json!("Chief"), &json!("B")));
    assert_eq!(user["roles"], json!([{"name": "member", "origin": "directory"}]));
}

async fn lists_filter_and_say_when_they_are_cut(db: Database) {
    let (program, _directory) = synced(&db).await;
    create(&program, "sam@agency.example", &["--role", "Manager"]);
    let list = |more: &[&str]| {
        let mut arguments = vec!["users", "list", "--output", "json"];
        arguments.extend(more);
        let found = program.json(&arguments);
        emails(&found).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let firm = ["avery@paving.example", "blair@paving.example", "casey@paving.example"];
    assert_eq!(list(&["--organization", "example paving"]), firm);
    assert_eq!(list(&["--organization", "org-1"]), firm);
    assert_eq!(list(&["--kind", "contractor"]), firm);
    assert_eq!(list(&["--role", "Manager"]), ["sam@agency.example"]);
    assert_eq!(list(&["blair"]), ["blair@paving.example"]);
    assert_eq!(list(&["100%"]), [""; 0]);
    program.ok(&["users", "disable", "casey@paving.example"]);
    assert_eq!(list(&["--status", "disabled"]), ["casey@paving.example"]);
    assert_eq!(list(&["--status", "active"]).len(), 3);
    let text = program.ok(&["users", "list", "--limit", "2"]);
    assert!(text.contains("the first 2 users; there are more"), "{text}");
    let text = program.ok(&["users", "list", "--limit", "4"]);
    assert!(!text.contains("there are more"), "{text}");
    let columns: Vec<Option<usize>> = text.lines().take(4).map(|l| l.find("@").or(l.find("E-MAIL"))).collect();
    assert!(columns.iter().all(Option::is_some), "{text}");
    let line = text.lines().find(|l| l.contains("casey")).expect("listed");
    assert!(
        line.contains("disabled by admin") && line.contains("Example Paving"),
        "{text}"
    );
    // However long the rest of a line, the status is on it.
    db.sql(
        "UPDATE organizations SET name = 'Example Paving and everything else to do with roads' WHERE kind <> 'self'",
    )
    .await;
    let long = "casey.of.a.very.long.name.indeed@very-long-name-of-a-firm-of-pavers.example";
    db.sql(&format!("UPDATE users SET email = '{long}' WHERE email LIKE 'casey%'"))
        .await;
    let text = program.ok(&["users", "list", "casey"]);
    assert!(text.contains("disabled by admin"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    assert!(
        program
            .fails(1, &["users", "list", "--organization", "Nobody Ltd"])
            .contains("Nobody Ltd")
    );
    program.fails(64, &["users", "list", "--status", "asleep"]);
}

async fn a_deleted_user_comes_back_only_when_lifted(db: Database) {
    let (program, _directory) = synced(&db).await;
    let said = program.ok(&["users", "delete", "acc-2", "--yes"]);
    assert!(said.contains("rollcall users lift acc-2 --source connex"), "{said}");
    program.ok(&["sync", "connex"]);
    assert_eq!(db.query("SELECT count(*) || '' FROM users").await, ["2"]);
    let why = program.ok(&["users", "explain", "acc-2"]);
    assert!(why.contains("was deleted here"), "{why}");
    assert!(
        program
            .fails(1, &["users", "lift", "acc-1", "--source", "connex"])
            .contains("has a user")
    );
    assert!(
        program
            .fails(1, &["users", "lift", "acc-9", "--source", "connex"])
            .contains("nothing to lift")
    );
    assert!(
        program
            .fails(64, &["users", "lift", "acc-2", "--source", "other"])
            .contains("has connex")
    );
    assert!(
        program
            .ok(&["users", "lift", "acc-2", "--source", "connex"])
            .contains("lifted")
    );
    program.ok(&["sync", "connex"]);
    assert_eq!(
        db.query("SELECT email FROM users WHERE email LIKE 'blair%'").await,
        ["blair@paving.example"]
    );
}

async fn the_export_is_whole_and_safe_to_open(db: Database) {
    let (program, _directory) = synced(&db).await;
    create(&program, "sam@agency.example", &["--title", "=HYPERLINK(\"x\"), chief"]);
    // More than two pages, with addresses that differ in case alone from those at the edges.
    let many: Vec<String> = (0..2_100)
        .map(|n| format!("('00000000-0000-7000-8000-{n:012}', 'vendor', 'V{n:05}@bulk.example')"))
        .collect();
    db.sql(&format!(
        "INSERT INTO users (id, kind, email) VALUES {}",
        many.join(", ")
    ))
    .await;
    let csv = program.ok(&["users", "export"]);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let head: Vec<String> = reader.headers().expect("a header").iter().map(str::to_owned).collect();
    let at = |name: &str| head.iter().position(|h| h == name).expect("a column");
    let rows: Vec<csv::StringRecord> = reader.records().map(|r| r.expect("a row")).collect();
    assert_eq!(rows.len(), 2_104);
    let ids: std::collections::BTreeSet<&str> = rows.iter().map(|r| &r[at("id")]).collect();
    assert_eq!(ids.len(), rows.len(), "nobody twice");
    let of = |email: &str| rows.iter().find(|r| &r[at("email")] == email).expect("exported");
    assert_eq!(&of("sam@agency.example")[at("title")], "'=HYPERLINK(\"x\"), chief");
    let avery = of("avery@paving.example");
    assert_eq!(&avery[at("phone")], "'+1 201 555 0100");
    assert_eq!(
        (&avery[at("source")], &avery[at("external_id")], &avery[at("roles")]),
        ("connex", "acc-1", "member")
    );
    assert!(csv.lines().next().is_some_and(|l| l.ends_with("updated_at")) && csv.contains("\r\n"));

    // A reader that has seen enough is no failure.
    let mut child = program.command(&["users", "export"]).spawn().expect("started");
    drop(child.stdout.take());
    assert!(child.wait().expect("ended").success());

    let file = program.directory().join("users.csv");
    let ran = program.run(&["users", "export", "--output-file", file.to_str().expect("UTF-8")]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:#?}");
    assert_eq!(std::fs::read_to_string(&file).expect("written"), csv);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let missing = program.fails(1, &["users", "export", "--output-file", "no/such/users.csv"]);
    assert!(missing.contains("no/such/users.csv"), "{missing}");
}

async fn the_last_administrator_stays(db: Database) {
    let program = Program::new(&alone(&db));
    let id = create(&program, "sam@agency.example", &["--role", "Admin"]);
    for arguments in [
        vec!["users", "disable", &id],
        vec!["users", "delete", &id, "--yes"],
        vec!["users", "edit", &id, "--remove-role", "Admin"],
    ] {
        assert!(
            program.fails(1, &arguments).contains("no active administrator"),
            "{arguments:?}"
        );
    }
    create(&program, "kit@agency.example", &["--role", "Admin"]);
    program.ok(&["users", "disable", &id]);
}

async fn what_happened_is_shown(db: Database) {
    let (program, directory) = synced(&db).await;
    db.sql("UPDATE users SET phone = '12' WHERE email = 'avery@paving.example'")
        .await;
    directory
        .directory
        .update_account("acc-1", |a| a.last_name = "Newname".into())
        .expect("edited");
    program.ok(&["sync", "connex"]);
    program.ok(&["users", "edit", "acc-1", "--license", "B"]);
    let text = program.ok(&["users", "show", "acc-1"]);
    for wanted in [
        "last_name: Sampleton → Newname",
        "phone: 12 → +1 201 555 0100  ↺ edited here, put back",
        "license: - → B",
        "create (new)",
        "Linked to entry acc-1 of source connex",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let of = |field: &str| text.lines().find(|l| l.starts_with(field)).expect("a line").to_owned();
    assert!(of("phone").ends_with("directory"), "{text}");
    assert!(of("title").ends_with("initial"), "{text}");
    assert!(of("license").ends_with("local"), "{text}");
    let order: Vec<usize> = ["license: -", "phone: 12", "create (new)"]
        .iter()
        .map(|what| text.find(what).expect("in it"))
        .collect();
    assert!(order.is_sorted(), "newest first: {text}");
    // A name that would repaint the screen is shown by its codes.
    db.sql(
        "UPDATE users SET first_name = 'a' || CHR_ESC || '[31mb' WHERE email = 'avery@paving.example'"
            .replace(
                "CHR_ESC",
                if db.url.starts_with("sqlite") {
                    "char(27)"
                } else {
                    "chr(27)"
                },
            )
            .as_str(),
    )
    .await;
    let text = program.ok(&["--color", "never", "users", "show", "acc-1"]);
    assert!(text.contains("a\\u{1b}[31mb") && !text.contains('\u{1b}'), "{text}");
}
