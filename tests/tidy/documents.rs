//! That the documents name what there is: every command, every exit code, every reason of the quarantine, every file
//! that they point to; and that the two folders of migrations are one list.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{files, read, root};

/// The names under `Commands:` in a help text, without `help` itself.
fn commands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // A description that is continued on the next line stands further in.
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn help_of(command: &[String]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rollcall"))
        .args(command)
        .arg("--help")
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).expect("help is UTF-8")
}

/// Every command and each of theirs, in words.
fn all_commands() -> Vec<(String, String)> {
    let mut open: Vec<Vec<String>> = vec![vec![]];
    let mut found = Vec::new();
    while let Some(command) = open.pop() {
        let help = help_of(&command);
        for name in commands(&help) {
            open.push(command.iter().cloned().chain([name]).collect());
        }
        if !command.is_empty() {
            found.push((command.join(" "), help));
        }
    }
    found
}

/// The part of a document under the heading that names `command`, up to the next heading.
fn section<'d>(document: &'d str, command: &str) -> Option<&'d str> {
    let heading = format!("# `rollcall {command}`\n");
    let at = document.find(&heading)? + heading.len();
    let rest = &document[at..];
    Some(&rest[..rest.find("\n#").unwrap_or(rest.len())])
}

/// The long options of a help text that are not those of every command.
fn options(help: &str) -> Vec<String> {
    let own = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    own.filter_map(|line| line.split([' ', ',']).find(|word| word.starts_with("--")))
        .filter(|name| !matches!(*name, "--config" | "--log-format" | "--color" | "--help" | "--version"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_is_documented_with_its_options() {
    let document = read("docs/commands.md");
    let commands = all_commands();
    assert!(commands.len() > 15, "{commands:?}");
    let mut missing = Vec::new();
    for (command, help) in &commands {
        let Some(text) = section(&document, command) else {
            missing.push(format!("a heading for `rollcall {command}`"));
            continue;
        };
        let group = !self::commands(help).is_empty();
        let example = |line: &str| line.starts_with("rollcall ") && line.contains(command.as_str());
        if !group && !text.lines().any(example) {
            missing.push(format!("an example of `rollcall {command}`"));
        }
        let untold = options(help)
            .into_iter()
            .filter(|option| !text.contains(option.as_str()));
        missing.extend(untold.map(|option| format!("{option} of `rollcall {command}`")));
    }
    let known = |name: &str| commands.iter().any(|(command, _)| command == name);
    let headings = document.lines().filter_map(|line| {
        let name = line.trim_start_matches('#').trim().strip_prefix("`rollcall ")?;
        (line.starts_with("##")).then(|| name.trim_end_matches('`'))
    });
    missing.extend(
        headings
            .filter(|name| !known(name))
            .map(|name| format!("`rollcall {name}` itself: there is no such command")),
    );
    assert!(missing.is_empty(), "docs/commands.md lacks:\n{}", missing.join("\n"));
}

/// The numbers of `enum Exit`.
fn exit_codes(source: &str) -> Vec<u8> {
    let body = source
        .split("enum Exit {")
        .nth(1)
        .and_then(|rest| rest.split('}').next())
        .unwrap_or_default();
    body.lines()
        .filter_map(|line| line.split('=').nth(1)?.trim().trim_end_matches(',').parse().ok())
        .collect()
}

#[test]
fn every_exit_code_is_in_the_readme_and_in_the_help() {
    let codes = exit_codes(&read("src/cli/exit.rs"));
    assert!(codes.len() >= 9, "{codes:?}");
    let (readme, help) = (read("README.md"), help_of(&[]));
    for code in codes {
        assert!(
            readme.contains(&format!("\n| {code} |")),
            "README.md has no row for exit code {code}"
        );
        let told = help.split("Exit codes:").nth(1).is_some_and(|text| {
            text.split(|c: char| !c.is_ascii_digit())
                .any(|number| number == code.to_string())
        });
        assert!(told, "`rollcall --help` does not tell exit code {code}");
    }
}

/// The texts that `as_str` of a file's first enum answers.
fn stable_words(source: &str) -> Vec<&str> {
    let body = source.split("fn as_str(").nth(1).unwrap_or_default();
    let body = body.split("\n    }").next().unwrap_or_default();
    body.split('"').skip(1).step_by(2).collect()
}

#[test]
fn every_reason_of_the_quarantine_is_documented() {
    let source = read("src/domain/quarantine.rs");
    let words = stable_words(&source);
    assert!(words.len() >= 19, "{words:?}");
    let document = read("docs/tables.md");
    for word in words {
        assert!(
            document.contains(&format!("\n| `{word}` |")),
            "docs/tables.md has no row for `{word}`"
        );
    }
}

/// What is wrong with a list of migration files: their numbers go up by one, from 1.
fn misnumbered(names: &[String]) -> Vec<&String> {
    let right = |(at, name): &(usize, &String)| !name.starts_with(&format!("{:04}_", at + 1));
    names.iter().enumerate().filter(right).map(|(_, name)| name).collect()
}

#[test]
fn both_engines_have_the_same_migrations_and_the_program_knows_them() {
    let names = |engine: &str| -> Vec<String> {
        let found = files(&format!("migrations/{engine}"), "sql");
        found
            .iter()
            .filter_map(|path| path.rsplit('/').next())
            .map(str::to_owned)
            .collect()
    };
    let sqlite = names("sqlite");
    assert_eq!(sqlite, names("postgres"));
    assert!(!sqlite.is_empty());
    assert_eq!(misnumbered(&sqlite), [""; 0], "numbers go up by one, from 0001");
    let program = read("src/store/migrate.rs");
    for name in &sqlite {
        for engine in ["sqlite", "postgres"] {
            let path = format!("migrations/{engine}/{name}\"");
            assert!(program.contains(&path), "src/store/migrate.rs does not include {path}");
        }
        let short = name
            .trim_end_matches(".sql")
            .split_once('_')
            .map_or("", |(_, short)| short);
        assert!(
            program.contains(&format!("name: \"{short}\"")),
            "src/store/migrate.rs does not name {short}"
        );
    }
}

/// Files of this repository that a document names: `src/a.rs`, `docs/b.md`, `tests/c/`.
fn named_files(document: &str) -> Vec<&str> {
    let roots = [
        "src/",
        "tests/",
        "docs/",
        "config/",
        "migrations/",
        ".ci/",
        "systemd/",
        "benches/",
    ];
    document
        .split(|c: char| c.is_whitespace() || "`()[]|,;".contains(c))
        .map(|word| word.trim_end_matches(['.', ':', '/']))
        // Without the anchor of a link, and without the test that is named with its file.
        .map(|word| {
            word.split("::")
                .next()
                .unwrap_or(word)
                .split('#')
                .next()
                .unwrap_or(word)
        })
        .filter(|word| roots.iter().any(|root| word.starts_with(root)))
        .filter(|word| !word.contains(['*', '{', '<', '…']) && !word.contains("NNNN"))
        .collect()
}

#[test]
fn documents_name_files_that_are_there() {
    let mut documents: Vec<String> = files("docs", "md");
    documents.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned));
    let mut seen = 0;
    let mut gone = Vec::new();
    for path in &documents {
        let text = read(path);
        for name in named_files(&text) {
            seen += 1;
            // Within docs/, a link may be relative to the folder.
            if !root().join(name).exists() {
                gone.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(seen > 20, "{seen}");
    assert!(
        gone.is_empty(),
        "documents name what is not there:\n{}",
        gone.join("\n")
    );
}

/// The configurations in a document.
fn configurations(document: &str) -> Vec<&str> {
    let blocks = document.split("```toml\n").skip(1);
    blocks.filter_map(|rest| rest.split("\n```").next()).collect()
}

#[test]
fn configurations_in_documents_are_valid() {
    let mut tried = 0;
    for path in ["README.md", "docs/configuration.md"] {
        for configuration in configurations(&read(path)) {
            let mut program = Command::new(env!("CARGO_BIN_EXE_rollcall"))
                .args(["--config", "/dev/stdin", "config", "show"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the program starts");
            let mut input = program.stdin.take().expect("a pipe");
            input.write_all(configuration.as_bytes()).expect("the program reads");
            drop(input);
            let ended = program.wait_with_output().expect("the program ends");
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.success(), "{path}: {said}in\n{configuration}");
            tried += 1;
        }
    }
    assert!(tried >= 2, "{tried}");
}

/// Tests that a document names, as `file::test`.
fn named_tests(document: &str) -> Vec<(&str, &str)> {
    let quoted = document.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|text| text.split_once("::"))
        .filter(|(file, _)| file.ends_with(".rs") && (file.starts_with("src/") || file.starts_with("tests/")))
        .collect()
}

#[test]
fn the_architecture_names_tests_that_are_there() {
    let document = read("ARCHITECTURE.md");
    let tests = named_tests(&document);
    assert!(tests.len() > 20, "{}", tests.len());
    let is_there = |(file, test): &(&str, &str)| read(file).contains(&format!("fn {test}("));
    let gone: Vec<_> = tests.into_iter().filter(|named| !is_there(named)).collect();
    assert!(gone.is_empty(), "{gone:#?}");
}

#[test]
fn what_a_document_lacks_is_seen() {
    let help = "Usage: x\n\nCommands:\n  list   A\n         b\n  edit   C\n  help   D\n\nOptions:\n      --all\n          E\n  -h, --help\n      --config <FILE>\n";
    assert_eq!(commands(help), ["list", "edit"]);
    assert_eq!(options(help), ["--all"]);
    let document = "## `rollcall a`\none --all\n### `rollcall a b`\ntwo\n";
    assert_eq!(section(document, "a"), Some("one --all"));
    assert_eq!(section(document, "a b"), Some("two\n"));
    assert_eq!(section(document, "b"), None);
    assert_eq!(
        exit_codes("enum Exit {\n    Done = 0,\n    Held = 10,\n}\nx = 3"),
        [0, 10]
    );
    assert_eq!(
        stable_words("fn as_str(self) {\n  A => \"a\",\n  B => \"b\",\n    }\n  \"c\""),
        ["a", "b"]
    );
    let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    assert_eq!(misnumbered(&names(&["0001_a.sql", "0002_b.sql"])), [""; 0]);
    assert_eq!(misnumbered(&names(&["0001_a.sql", "0003_b.sql"])), ["0003_b.sql"]);
    assert_eq!(
        named_files("see `src/a.rs::t`, (docs/b.md#c) and src/*/mod.rs or notes.md."),
        ["src/a.rs", "docs/b.md"]
    );
    assert_eq!(configurations("a\n```toml\nb = 1\n```\nc\n```sh\nd\n```"), ["b = 1"]);
    assert_eq!(named_tests("`src/a.rs::b` and `c::d`"), [("src/a.rs", "b")]);
}
