//! A directory behind a gate, and a configuration of the daemon that reads it.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rollcall::cli::directory::{self, Clock, Options, Running, Sample};

use crate::harness::database::{Database, clock};
use crate::harness::program::Program;

/// A way to the directory that is open or shut. Who comes while it is shut is let in and waits.
struct Gate {
    url: String,
    shut: Arc<AtomicBool>,
    waiting: Arc<AtomicUsize>,
}

impl Gate {
    fn before(directory: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (shut, waiting) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let gate = (Arc::clone(&shut), Arc::clone(&waiting));
        thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                let ((shut, waiting), directory) = (gate.clone(), directory.clone());
                thread::spawn(move || {
                    if shut.load(Ordering::SeqCst) {
                        waiting.fetch_add(1, Ordering::SeqCst);
                        while shut.load(Ordering::SeqCst) {
                            thread::sleep(Duration::from_millis(20));
                        }
                    }
                    let to = TcpStream::connect(directory).expect("the directory answers");
                    pass(&from, &to);
                    pass(&to, &from);
                });
            }
        });
        Self { url, shut, waiting }
    }
}

/// Passes on what arrives, in a thread of its own.
fn pass(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().expect("cloned"), to.try_clone().expect("cloned"));
    thread::spawn(move || {
        // A connection may end in any way here; what the daemon makes of it is looked at.
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

/// A directory with sixty people, and a program that reads it.
pub(super) struct World {
    _directory: Running,
    gate: Gate,
    database: String,
    pub(super) program: Program,
}

impl World {
    /// The schedule, and whatever else the source is to have.
    pub(super) async fn new(db: &Database, schedule: &str) -> Self {
        let time = clock();
        let mut options = Options::new("127.0.0.1:0".parse().expect("address"), Clock::new(move || time()));
        options.sample = Sample {
            organizations: 4,
            accounts: 60,
            ..Sample::default()
        };
        let directory = directory::start(options).await.expect("directory");
        let gate = Gate::before(format!("127.0.0.1:{}", directory.url().port().expect("a port")));
        let world = Self {
            _directory: directory,
            gate,
            database: db.url.clone(),
            program: Program::new(""),
        };
        world.configure(schedule);
        world
    }

    /// Writes the configuration with that schedule.
    pub(super) fn configure(&self, schedule: &str) {
        self.program.configure(&self.configuration(schedule));
    }

    /// The configuration with that schedule. Any port will do for the API.
    pub(super) fn configuration(&self, schedule: &str) -> String {
        format!(
            "[database]\nurl = \"{}\"\n\n[http]\nlisten = \"127.0.0.1:0\"\n\n[[sources]]\nname = \"connex\"\n\
             kind = \"connex\"\nurl = \"{}\"\nschedule = \"{schedule}\"\nmax_retries = 0\n",
            self.database, self.gate.url
        )
    }

    /// Another daemon on the same database and directory.
    pub(super) fn twin(&self, schedule: &str) -> Program {
        Program::new(&self.configuration(schedule))
    }

    /// From now on nobody gets an answer.
    pub(super) fn shut(&self) {
        self.gate.shut.store(true, Ordering::SeqCst);
    }

    /// Everybody gets the answer that they wait for.
    pub(super) fn open(&self) {
        self.gate.shut.store(false, Ordering::SeqCst);
    }

    /// How many have waited at the gate so far.
    pub(super) fn waited(&self) -> usize {
        self.gate.waiting.load(Ordering::SeqCst)
    }
}

/// How many runs there are, by state and error code: `applied|-|3`, sorted.
pub(super) async fn runs(db: &Database) -> Vec<String> {
    let code = match db.url.starts_with("sqlite") {
        true => "json_extract(error, '$.code')",
        false => "error->>'code'",
    };
    db.query(&format!(
        "SELECT state, {code}, count(*) || '' FROM runs GROUP BY state, {code} ORDER BY state, {code}"
    ))
    .await
}

/// The runs of that state.
pub(super) async fn in_state(db: &Database, state: &str) -> usize {
    let counted = db
        .query(&format!("SELECT count(*) || '' FROM runs WHERE state = '{state}'"))
        .await;
    counted[0].parse().expect("a number")
}
