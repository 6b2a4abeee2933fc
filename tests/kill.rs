//! SIGKILL at random instants of apply: the table is as before or as after, never between, and the next run converges.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use rollcall::cli::directory::{self, Clock, Directory, Options, Sample};

use crate::harness::database::{Database, clock, on_both_engines};
use crate::harness::program::Program;

on_both_engines!(killed_in_apply_leaves_before_or_after);

/// How often the program is killed.
const ROUNDS: u32 = 50;

/// Random enough instants, from a seed that is printed when a round fails.
struct Random(u64);

impl Random {
    fn new() -> Self {
        use std::hash::{BuildHasher, Hasher};
        Self(std::collections::hash_map::RandomState::new().build_hasher().finish() | 1)
    }

    /// From 0 to 1 (xorshift64*).
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn configuration(db: &Database, url: &str) -> String {
    format!(
        "[database]\nurl = \"{}\"\n\n[brakes]\ndisable = {{ share = 1.0, count = 1000000, floor = 1000000 }}\n\
         create = {{ share = 1.0, count = 1000000, floor = 1000000 }}\n\n\
         [[sources]]\nname = \"connex\"\nkind = \"connex\"\nurl = \"{url}\"\n",
        db.url
    )
}

/// Everything that a sync writes, without ids and times.
async fn snapshot(db: &Database) -> Vec<String> {
    let users = "SELECT u.email, u.title, u.status, u.disabled_by, r.external_id, r.title, r.digest, \
        CASE WHEN r.absent THEN 'absent' ELSE 'listed' END, \
        (SELECT string_agg(g.name || m.origin, ',' ORDER BY g.name) FROM memberships m JOIN groups g ON g.id = m.group_id WHERE m.user_id = u.id) \
        FROM users u LEFT JOIN records r ON r.user_id = u.id ORDER BY u.email";
    db.query(users).await
}

/// Applied runs and the audit rows that were written with them.
async fn audited(db: &Database) -> (Vec<String>, Vec<String>) {
    let runs = "SELECT count(*) || '' FROM runs WHERE state = 'applied' AND plan_hash IS NOT NULL AND EXISTS \
        (SELECT 1 FROM changes c WHERE c.run_id = runs.id AND c.action <> 'remember')";
    let audit = "SELECT count(*) || '' FROM audit WHERE action = 'run.applied'";
    (db.query(runs).await, db.query(audit).await)
}

/// One of two states of the directory: everybody's title differs, and half of the people are others.
fn turn(directory: &Directory, state: u32) {
    let accounts = directory.accounts();
    for account in &accounts {
        directory
            .update_account(&account.id, |a| a.title = Some(format!("Title {state}")))
            .expect("edited");
    }
    let mut sorted = accounts;
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    for (at, account) in sorted.iter().enumerate().filter(|(_, a)| !a.id.starts_with("extra-")) {
        if at % 2 == 0 {
            let id = format!("extra-{}", account.id);
            if state == 1 {
                let extra = directory::model::Account {
                    id,
                    email: format!("extra.{}", account.email),
                    title: Some("Title 1".into()),
                    ..account.clone()
                };
                directory.put_account(extra).expect("added");
            } else if directory.account(&id).is_some() {
                directory.delete_account(&id).expect("deleted");
            }
        }
    }
}

/// Starts a sync, and waits until it says that it applies.
fn start(program: &Program) -> (std::process::Child, Instant) {
    let mut command = program.command(&["--log-format", "json", "sync"]);
    let mut child = command.env("ROLLCALL_LOG", "rollcall=debug").spawn().expect("starts");
    let stderr = child.stderr.take().expect("standard error is read");
    let mut applying = None;
    let mut said = Vec::new();
    for line in BufReader::new(stderr).lines() {
        let line = line.expect("a log line");
        said.push(line.clone());
        if line.contains("\"applying\"") {
            applying = Some(Instant::now());
            break;
        }
    }
    let Some(applying) = applying else {
        let output = child.wait_with_output().expect("ends");
        panic!(
            "the run reaches its apply: {said:#?}\n{}",
            String::from_utf8_lossy(&output.stdout)
        );
    };
    (child, applying)
}

async fn killed_in_apply_leaves_before_or_after(db: Database) {
    let time = clock();
    let mut options = Options::new("127.0.0.1:0".parse().expect("address"), Clock::new(move || time()));
    options.sample = Sample {
        organizations: 4,
        accounts: 300,
        ..Sample::default()
    };
    let running = directory::start(options).await.expect("directory");
    let program = Program::new(&configuration(&db, running.url().as_str()));
    // The state of extras that have left is part of what follows, so each state is reached twice before it is taken.
    let mut states = Vec::new();
    let mut longest = Duration::ZERO;
    for round in 0..4 {
        turn(&running.directory, round % 2);
        let (mut child, applying) = start(&program);
        assert!(child.wait().expect("ends").success());
        longest = if round > 1 {
            longest.max(applying.elapsed())
        } else {
            longest
        };
        states.push(snapshot(&db).await);
    }
    let states = [states.swap_remove(2), states.pop().expect("four")];
    assert_ne!(states[0], states[1]);
    let mut random = Random::new();
    let seed = random.0;
    let (mut before, mut after) = (0, 0);
    for round in 0..ROUNDS {
        let next = (round % 2) as usize;
        turn(&running.directory, round % 2);
        let (mut child, applying) = start(&program);
        let instant = longest.mul_f64(random.share());
        std::thread::sleep(instant.saturating_sub(applying.elapsed()));
        child.kill().expect("killed");
        child.wait().expect("gone");
        let now = snapshot(&db).await;
        let (runs, audit) = audited(&db).await;
        assert_eq!(
            runs, audit,
            "seed {seed}, round {round}: an applied run has its audit row"
        );
        if now == states[next] {
            after += 1;
        } else {
            assert!(
                now == states[1 - next],
                "seed {seed}, round {round}, killed after {instant:?}: between two states"
            );
            before += 1;
        }
        let ran = program.run(&["sync"]);
        assert_eq!(ran.code, 0, "seed {seed}, round {round}: {}{}", ran.stdout, ran.stderr);
        assert!(
            snapshot(&db).await == states[next],
            "seed {seed}, round {round}: the next run converges"
        );
    }
    println!("killed {ROUNDS} times within {longest:?} of apply: {before} before, {after} after, none between");
    // Both were met, or the instants did not fall where they should.
    assert!(before > 0, "no kill came before the end of an apply");
}
