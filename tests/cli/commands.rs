//! `orgs`, `check`, `config`, `migrate`, `completions`, `man`, and the help of them all.

use serde_json::json;

use super::{alone, directory, synced, with_source};
use crate::harness::database::{Database, on_both_engines};
use crate::harness::program::Program;

on_both_engines!(
    organizations_are_followed_and_not,
    check_says_what_it_sees,
    migrate_says_what_it_does
);

async fn organizations_are_followed_and_not(db: Database) {
    let (program, directory) = synced(&db).await;
    let all = program.json(&["orgs", "list", "--source", "connex", "--output", "json"]);
    let names: Vec<&str> = all
        .as_array()
        .expect("array")
        .iter()
        .filter_map(|o| o["name"].as_str())
        .collect();
    assert_eq!(names, ["Example Paving", "Sample Bridges"]);
    let one = program.json(&["orgs", "show", "org-1", "--output", "json"]);
    assert_eq!((&one["users"], &one["followed"]), (&json!(3), &json!(true)));
    let text = program.ok(&["orgs", "list", "--not-followed", "--source", "connex"]);
    assert!(
        text.contains("Sample Bridges") && !text.contains("Example Paving"),
        "{text}"
    );
    let said = program.ok(&["orgs", "unfollow", "example paving"]);
    assert!(
        said.contains("3 users stay as they are") && said.contains("no longer cover"),
        "{said}"
    );
    assert!(
        program
            .ok(&["orgs", "unfollow", "org-1"])
            .contains("nothing was changed")
    );
    directory.directory.delete_account("acc-1").expect("deleted");
    program.ok(&["sync", "connex"]);
    assert_eq!(
        db.query("SELECT count(*) || '' FROM users WHERE status = 'active'")
            .await,
        ["3"]
    );
    assert!(program.ok(&["orgs", "follow", "org-1"]).contains("followed now"));
    program.ok(&["sync", "connex"]);
    assert_eq!(
        db.query("SELECT count(*) || '' FROM users WHERE status = 'active'")
            .await,
        ["2"]
    );
    assert!(
        program
            .fails(1, &["orgs", "follow", "Example Agency"])
            .contains("comes from no directory")
    );
    assert!(program.fails(1, &["orgs", "show", "Nobody Ltd"]).contains("orgs list"));
    assert!(
        program
            .fails(64, &["orgs", "list", "--source", "other"])
            .contains("has connex")
    );
    assert!(program.ok(&["orgs", "show", "Example Agency"]).contains("agency's own"));
    assert!(program.ok(&["orgs", "list", "zzz"]).contains("no organization matches"));
}

async fn check_says_what_it_sees(db: Database) {
    let directory = directory().await;
    let program = Program::new(&with_source(&db, &directory));
    let text = program.ok(&["check"]);
    assert!(
        text.contains("✓  configuration") && text.contains("✓  source connex"),
        "{text}"
    );
    let text = program.ok(&["check", "--connect"]);
    assert!(text.contains("✓  connex: users"), "{text}");
    if db.url.starts_with("sqlite") {
        assert!(text.contains("would be created"), "{text}");
        let file = db.url.trim_start_matches("sqlite://");
        assert!(!std::path::Path::new(file).exists(), "check made a database");
    } else {
        assert!(text.contains("  PostgreSQL 1") && text.contains("none yet"), "{text}");
        let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
        assert_eq!(db.query(tables).await, [""; 0]);
    }
    program.ok(&["migrate"]);
    let text = program.ok(&["check", "--connect"]);
    assert!(
        text.contains("current") && text.contains("✓  database: write"),
        "{text}"
    );
    assert_eq!(db.query("SELECT count(*) || '' FROM audit").await, ["0"]);
    directory.stop().await.expect("stopped");
    let ran = program.run(&["check", "--connect"]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert!(
        ran.stdout.contains("✗  connex: connect") && ran.stdout.contains("✓  database: write"),
        "{ran:#?}"
    );
    db.sql("INSERT INTO rollcall_schema (version, name, applied_at) VALUES (999, 'future', 'then')")
        .await;
    let ran = program.run(&["check", "--connect"]);
    assert_eq!(ran.code, 78, "{ran:#?}");
    assert!(ran.stdout.contains("version 999 is newer"), "{ran:#?}");
}

async fn migrate_says_what_it_does(db: Database) {
    if db.url.starts_with("postgres") {
        let program = Program::new(&alone(&db).replace("/test_", "/no_such_"));
        let ran = program.run(&["check", "--connect"]);
        assert_eq!(ran.code, 1, "{ran:#?}");
        assert!(
            ran.stdout.contains("✗  database: connect") && ran.stdout.contains("createdb"),
            "{ran:#?}"
        );
    }
    let program = Program::new(&alone(&db));
    assert!(program.ok(&["migrate"]).contains("at version 1 now (before: none)"));
    assert!(program.ok(&["migrate"]).contains("current (version 1)"));
    db.sql("INSERT INTO rollcall_schema (version, name, applied_at) VALUES (999, 'future', 'then')")
        .await;
    assert!(program.fails(78, &["migrate"]).contains("newer"));
    assert!(program.fails(78, &["users", "list"]).contains("newer"));
}

#[test]
fn check_finds_what_is_missing() {
    let program = Program::new("[database]\nurl = \"sqlite:///no/such/directory/x.db\"\n");
    let ran = program.run(&["check", "--connect"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.stdout.contains("/no/such/directory"), "{ran:#?}");
    let file = program.directory().join("x.db");
    program.configure(&format!("[database]\nurl = \"sqlite://{}\"\n", file.display()));
    std::fs::write(&file, "").expect("an empty file");
    let text = program.ok(&["check", "--connect"]);
    assert!(text.contains("none yet") && text.contains("may be written"), "{text}");
    std::fs::remove_file(&file).expect("removed");
    std::fs::write(
        &file,
        "This is a shopping list, and it is longer than the header of a database.\n".repeat(20),
    )
    .expect("written");
    let ran = program.run(&["check", "--connect"]);
    assert_eq!(ran.code, 78, "{ran:#?}");
    assert!(ran.stdout.contains("no SQLite database"), "{ran:#?}");

    let source = "[[sources]]\nname = \"connex\"\nkind = \"connex\"\nurl = \"https://connex.example\"\n\
        auth = { kind = \"bearer\", token_file = \"token\" }\n";
    program.configure(source);
    let ran = program.run(&["check"]);
    assert_eq!(ran.code, 78, "{ran:#?}");
    assert!(
        ran.stdout.contains("✗  source connex") && ran.stdout.contains("token_file"),
        "{ran:#?}"
    );
    program.secret("token", "canary-of-a-token\n");
    let text = program.ok(&["check"]);
    assert!(
        text.contains("its secret can be read") && !text.contains("canary"),
        "{text}"
    );
    program.configure(&source.replace("token_file", "token_fil"));
    let ran = program.run(&["check"]);
    assert_eq!(ran.code, 78, "{ran:#?}");
    assert!(
        ran.stdout.contains("✗  configuration") && ran.stderr.contains("token_fil"),
        "{ran:#?}"
    );
}

#[test]
fn the_configuration_can_be_printed() {
    let program = Program::new("[agency]\nname = \"Example Agency\"\n").set("ROLLCALL__HTTP__LISTEN", "127.0.0.1:9999");
    let default = program.ok(&["config", "default"]);
    assert!(default.contains("[brakes]"));
    toml::from_str::<toml::Table>(&default).expect("TOML");
    let shown: toml::Table = toml::from_str(&program.ok(&["config", "show"])).expect("TOML");
    assert_eq!(shown["agency"]["name"].as_str(), Some("Example Agency"));
    assert_eq!(shown["http"]["listen"].as_str(), Some("127.0.0.1:9999"));
    assert_eq!(program.json(&["config", "schema"])["type"], "object");
    program.configure("[agency]\nnam = 1\n");
    assert!(program.fails(78, &["config", "show"]).contains("rollcall.toml:2"));
}

#[test]
fn shells_and_manual_are_served() {
    let program = Program::new("");
    for shell in ["bash", "zsh", "fish"] {
        assert!(program.ok(&["completions", shell]).contains("quarantine"), "{shell}");
    }
    program.fails(64, &["completions", "cmd"]);
    let page = program.ok(&["man"]);
    assert!(page.starts_with(".ie") || page.contains(".TH"), "{}", &page[..80]);
    for section in ["ROLLCALL USERS EXPLAIN", "ROLLCALL CONFIG SHOW"] {
        assert!(page.contains(&format!(".SH \"{section}\"")), "{section}");
    }
}

#[test]
fn every_command_has_an_example() {
    let program = Program::new("");
    let commands = "orgs list|orgs show|orgs follow|orgs unfollow|users list|users show|users explain|users create|users edit|\
        users disable|users enable|users delete|users lift|users export|quarantine|check|config default|config show|\
        config schema|migrate|completions|man";
    for command in commands.split('|') {
        let mut arguments: Vec<&str> = command.split(' ').collect();
        arguments.push("--help");
        let help = program.ok(&arguments);
        assert!(
            help.contains("Example") && help.contains(&format!("rollcall {command}")),
            "{command}: {help}"
        );
    }
}
