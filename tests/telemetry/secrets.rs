//! Canaries: with everything logged that can be, no secret and nothing of a person is in a line (FAULTS 60).

use rollcall::cli::directory::model::Account;
use rollcall::cli::directory::{self, Clock, Options, Sample};

use crate::harness::database::{Database, clock, on_both_engines};
use crate::harness::program::{Program, Ran};
use crate::harness::slapd::{PARTNERS, PASSWORD, READER, Slapd, person};

on_both_engines!(a_rest_directory_leaves_no_trace, an_ldap_directory_leaves_no_trace);

const TOKEN: &str = "canary-token-5b1f0a7e";

/// Every word that somebody of the directory is made of, as the user table has it.
async fn people(db: &Database) -> Vec<String> {
    let mut words = Vec::new();
    for column in ["email", "last_name", "phone"] {
        let sql = format!("SELECT DISTINCT {column} FROM users WHERE {column} IS NOT NULL AND length({column}) > 5");
        words.extend(db.query(&sql).await);
    }
    words
}

/// Runs the program with everything logged.
fn traced(program: &Program, arguments: &[&str]) -> Ran {
    let mut command = program.command(arguments);
    command
        .env("ROLLCALL_LOG", "trace")
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "1");
    Ran::from(command.output().expect("the program starts"))
}

/// The lines of the log, without what the command itself says to who started it.
fn log(ran: &Ran) -> Vec<&str> {
    ran.stderr
        .lines()
        .filter(|line| line.starts_with('{') || line.starts_with("20"))
        .collect()
}

#[track_caller]
fn assert_silent(ran: &Ran, words: &[String], secrets: &[&str]) {
    let log = log(ran);
    assert!(log.iter().any(|line| line.contains("run.started")), "{ran:#?}");
    for word in words {
        let said: Vec<_> = log.iter().filter(|line| line.contains(word.as_str())).collect();
        assert!(said.is_empty(), "{word:?} is in {said:#?}");
    }
    for secret in secrets {
        assert!(
            !ran.stderr.contains(secret) && !ran.stdout.contains(secret),
            "{secret} is in {ran:#?}"
        );
    }
}

async fn a_rest_directory_leaves_no_trace(db: Database) {
    let time = clock();
    let mut options = Options::new("127.0.0.1:0".parse().expect("address"), Clock::new(move || time()));
    options.tokens = vec![TOKEN.into()];
    options.sample = Sample {
        organizations: 3,
        accounts: 40,
        ..Sample::default()
    };
    let running = directory::start(options).await.expect("directory");
    let config = format!(
        "[database]\nurl = \"{}\"\n\n[[sources]]\nname = \"connex\"\nkind = \"connex\"\nurl = \"{}\"\n\
         auth = {{ kind = \"bearer\", token_file = \"token\" }}\n",
        db.url,
        running.url()
    );
    let program = Program::new(&config);
    program.secret("token", TOKEN);
    let first = traced(&program, &["sync"]);
    assert_eq!(first.code, 0, "{first:#?}");
    let words = people(&db).await;
    assert!(words.len() > 80, "{words:?}");
    assert_silent(&first, &words, &[TOKEN]);

    // Somebody whose address another one has: both are kept out, and the reason names the address.
    let twin = running.directory.accounts().remove(0);
    let other = Account {
        id: "twin".into(),
        last_name: "Zyxcanary".into(),
        ..twin
    };
    running.directory.put_account(other).expect("added");
    let second = traced(&program, &["--log-format", "json", "sync"]);
    assert_eq!(second.code, 3, "{second:#?}");
    let words = [people(&db).await, vec!["Zyxcanary".into()]].concat();
    assert_silent(&second, &words, &[TOKEN]);

    // The wrong token: refused, and said without it.
    let wrong = "canary-wrong-token-77";
    program.secret("token", wrong);
    let refused = traced(&program, &["sync"]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    assert_silent(&refused, &words, &[TOKEN, wrong]);
    assert!(
        log(&refused).iter().any(|line| line.contains("source_authentication")),
        "{refused:#?}"
    );
}

async fn an_ldap_directory_leaves_no_trace(db: Database) {
    let slapd = Slapd::start();
    slapd.load(&person("Acme Engineering", "zcanary", "Zoe", "Zyxcanary"));
    let config = format!(
        "[database]\nurl = \"{}\"\n\n[[sources]]\nname = \"partners\"\nkind = \"ldap\"\nurl = \"{}\"\n\
         bind_dn = \"{READER}\"\nbind_password_file = \"password\"\nbase_dn = \"{PARTNERS}\"\n\
         filter = \"(objectClass=inetOrgPerson)\"\nexternal_id = \"mail\"\norganization = \"o\"\n",
        db.url,
        slapd.url()
    );
    let program = Program::new(&config);
    program.secret("password", PASSWORD);
    let first = traced(&program, &["sync"]);
    assert_eq!(first.code, 0, "{first:#?}");
    let words = people(&db).await;
    assert!(words.iter().any(|word| word == "Zyxcanary"), "{words:?}");
    assert_silent(&first, &words, &[PASSWORD]);

    // One user, asked for by an address that is the external id too.
    let one = traced(&program, &["sync", "--user", "zcanary@acme.example"]);
    assert_eq!(one.code, 0, "{one:#?}");
    assert_silent(&one, &words, &[PASSWORD]);
    let gone = traced(&program, &["sync", "--user", "nobody.canary@acme.example"]);
    assert_ne!(gone.code, 0, "{gone:#?}");
    let said: Vec<_> = log(&gone)
        .into_iter()
        .filter(|line| line.contains("nobody.canary"))
        .collect();
    assert!(said.is_empty(), "{said:#?}");

    let wrong = "canary-wrong-password-77";
    program.secret("password", wrong);
    let refused = traced(&program, &["sync"]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    assert_silent(&refused, &words, &[PASSWORD, wrong]);
}
