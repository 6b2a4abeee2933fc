//! What the lines of a run say: in JSON and in text, and that nothing makes a second line of one.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use crate::harness::database::{Database, on_both_engines};
use crate::harness::program::{Program, Ran};

on_both_engines!(a_run_is_told_from_its_start_to_its_answer);

/// A program with one delivered file of so many people.
pub(super) fn program(db: &Database, path: &str, people: usize) -> Program {
    let program = Program::new(&format!(
        "[database]\nurl = \"{}\"\n\n[[sources]]\nname = \"delivery\"\nkind = \"file\"\npath = \"{path}\"\n\
         format = \"csv\"\nexternal_id = \"id\"\n\n[sources.fields]\nemail = \"mail\"\nfirst_name = \"given\"\n",
        db.url
    ));
    deliver(&program, people);
    program
}

/// The file with its checksum.
pub(super) fn deliver(program: &Program, people: usize) {
    let mut text = String::from("id,mail,given\n");
    for n in 0..people {
        text.push_str(&format!("p{n},person{n}@firm.example,Given{n}\n"));
    }
    let path = program.directory().join("people.csv");
    std::fs::write(&path, &text).expect("written");
    let sum: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(
        program.directory().join("people.csv.sha256"),
        format!("{sum}  people.csv\n"),
    )
    .expect("written");
}

/// Runs the program with a log, in this form.
fn logged(program: &Program, filter: &str, arguments: &[&str]) -> Ran {
    let mut command = program.command(arguments);
    let output = command
        .env("ROLLCALL_LOG", filter)
        .output()
        .expect("the program starts");
    Ran::from(output)
}

/// The log of a command, whose every line on standard error that begins as one must be an object.
fn lines(program: &Program, filter: &str, arguments: &[&str]) -> (Ran, Vec<Json>) {
    let ran = logged(program, filter, &[&["--log-format", "json"], arguments].concat());
    let lines = ran.stderr.lines().filter(|line| line.starts_with('{'));
    let parsed = lines.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")));
    let all: Vec<Json> = parsed.collect();
    (ran, all)
}

fn names(lines: &[Json]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["event"].as_str().expect("a name"))
        .collect()
}

async fn a_run_is_told_from_its_start_to_its_answer(db: Database) {
    let program = program(&db, "people.csv", 30);
    let (ran, lines_of_first) = lines(&program, "info", &["sync"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(names(&lines_of_first), ["run.started", "run.applied"]);
    let [started, applied] = &lines_of_first[..] else {
        panic!("{lines_of_first:#?}")
    };
    assert_eq!(started["level"], "info");
    assert_eq!(started["actor"], "cli:tester");
    assert_eq!(started["scope"], "source");
    assert_eq!(started["run"], applied["run"]);
    assert_eq!(
        (&applied["source"], &applied["create"]),
        (&"delivery".into(), &30.into())
    );
    let first = ran.stderr.lines().find(|line| line.starts_with('{')).expect("a line");
    assert!(
        first.starts_with("{\"ts\":\"20")
            && first.contains("Z\",\"level\":\"info\",\"event\":\"run.started\",\"message\":"),
        "{first}"
    );

    deliver(&program, 3);
    let (ran, held) = lines(&program, "info", &["sync"]);
    assert_eq!(ran.code, 10, "{ran:#?}");
    assert_eq!(names(&held), ["run.started", "run.held"]);
    let held = &held[1];
    assert_eq!(
        (&held["level"], &held["brake"], &held["value"]),
        (&"warn".into(), &"disable".into(), &27.into())
    );
    let (run, plan) = (
        held["run"].as_str().expect("an id"),
        held["plan"].as_str().expect("a hash"),
    );
    // The message alone says how to go on.
    let message = held["message"].as_str().expect("text");
    assert!(
        message.contains(&format!("rollcall runs release {run} --plan {plan}")),
        "{message}"
    );

    let (_, refused) = lines(&program, "info", &["runs", "release", run, "--plan", &"0".repeat(64)]);
    assert_eq!(names(&refused), ["run.release_refused"]);
    assert_eq!(refused[0]["code"], "refused");
    let (ran, released) = lines(&program, "info", &["runs", "release", run, "--plan", plan]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(names(&released), ["run.released"]);
    assert_eq!(
        (&released[0]["disable"], &released[0]["plan"]),
        (&27.into(), &plan.into())
    );

    let (_, dry) = lines(&program, "debug", &["sync", "--dry-run"]);
    assert_eq!(names(&dry).last(), Some(&"run.planned"));
    assert_eq!(
        names(&dry).iter().filter(|name| **name == "run.phase").count(),
        4,
        "{dry:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_writes_no_log_unless_it_is_asked_to() {
    let db = Database::sqlite().await;
    let program = program(&db, "nothing.csv", 1);
    let ran = program.run(&["--log-format", "json", "sync"]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert!(!ran.stderr.contains("run.failed"), "{ran:#?}");
    let (ran, failed) = lines(&program, "error", &["sync"]);
    assert_eq!(names(&failed), ["run.failed"], "{ran:#?}");
    assert_eq!(failed[0]["code"], "source_not_found");
    assert!(
        failed[0]["error"]
            .as_str()
            .is_some_and(|error| error.contains("nothing.csv")),
        "{failed:#?}"
    );
}

/// What a hostile directory says to whoever binds.
const FORGED: &str = "ann.lee@firm.example no\n2026-01-01T00:00:00.000Z ERROR daemon.stopped forged\r\u{1b}[2J \u{202e}{\"event\":\"daemon.stopped\"}";

/// An LDAP server that refuses the first request of each connection with those words; the URL.
fn hostile() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ldap://{}", listener.local_addr().expect("bound"));
    // BindResponse, invalidCredentials (RFC 4511, sections 4.1.9 and 4.2.2).
    let part = |tag: u8, inner: &[u8]| [&[tag, u8::try_from(inner.len()).expect("short")], inner].concat();
    let result = [part(0x0a, &[49]), part(0x04, b""), part(0x04, FORGED.as_bytes())].concat();
    let message = [
        part(0x02, &[1]),
        vec![0x61, 0x81, u8::try_from(result.len()).expect("short")],
        result,
    ]
    .concat();
    let answer = [vec![0x30, 0x81, u8::try_from(message.len()).expect("short")], message].concat();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 512];
            // A client that is gone meanwhile is none of our concern.
            let _ = stream.read(&mut request).and_then(|_| stream.write_all(&answer));
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_writes_a_line_of_their_own() {
    let db = Database::sqlite().await;
    let program = Program::new(&format!(
        "[database]\nurl = \"{}\"\n\n[[sources]]\nname = \"partners\"\nkind = \"ldap\"\nurl = \"{}\"\n\
         bind_dn = \"cn=reader\"\nbind_password_file = \"password\"\nbase_dn = \"dc=example\"\n\
         filter = \"(objectClass=person)\"\nexternal_id = \"uid\"\norganization = \"o\"\n",
        db.url,
        hostile()
    ));
    program.secret("password", "canary-of-the-hostile");
    let text = logged(&program, "error", &["sync"]);
    let told: Vec<&str> = text.stderr.lines().filter(|line| line.contains("run.failed")).collect();
    assert_eq!(told.len(), 1, "{text:#?}");
    let odd = |c: char| c.is_control() || c == '\u{202e}';
    assert!(told[0].contains("forged") && !told[0].contains(odd), "{told:#?}");
    assert!(
        told[0].contains("[address]") && !told[0].contains("ann.lee"),
        "{told:#?}"
    );
    assert!(
        !text.stderr.lines().any(|line| line.starts_with("2026-01-01")),
        "{text:#?}"
    );
    let (ran, failed) = lines(&program, "error", &["sync"]);
    assert_eq!(names(&failed), ["run.failed"], "{ran:#?}");
    assert!(
        failed[0]["error"].as_str().is_some_and(|error| !error.contains(odd)),
        "{failed:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_is_plain_where_there_is_no_terminal_and_coloured_where_it_is_asked_for() {
    let db = Database::sqlite().await;
    let program = program(&db, "people.csv", 2);
    let plain = logged(&program, "info", &["sync"]);
    let line = plain
        .stderr
        .lines()
        .find(|line| line.contains("run.applied"))
        .expect("a line");
    assert!(
        line.contains("Z INFO  run.applied              run 0") && line.contains(" create=2 "),
        "{line}"
    );
    assert!(!plain.stderr.contains('\u{1b}'), "{plain:#?}");
    let colored = logged(&program, "info", &["--color", "always", "sync"]);
    assert!(colored.stderr.contains("\u{1b}[32mINFO"), "{colored:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_is_none_is_said_and_another_stream_is_not_the_journal() {
    let db = Database::sqlite().await;
    let program = program(&db, "people.csv", 2).set("JOURNAL_STREAM", "8:1");
    let (_, said) = lines(&program, "rollcall=loud", &["sync"]);
    assert_eq!(names(&said), ["log.filter_refused"]);
    assert_eq!(said[0]["used"], "warn");
    // Standard error is another stream than the journal's, so lines are written to it.
    let ran = logged(&program, "info", &["sync"]);
    assert!(ran.stderr.contains("run.applied"), "{ran:#?}");
}
