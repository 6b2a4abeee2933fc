//! `rollcall serve` as a process of its own: its log as it comes, its signals, its end.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::harness::program::Program;

/// How long anything may take that a test waits for, on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// A daemon that is running; it is killed when it is dropped.
pub(super) struct Daemon {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Gone already where a test has waited for its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// Starts the daemon of a program, and waits until its API answers.
    pub(super) fn start(program: &Program) -> Self {
        let daemon = Self::start_only(program, &[]);
        daemon.wait("daemon.ready", |_| true);
        daemon
    }

    /// Starts it with further environment, and waits for nothing.
    pub(super) fn start_only(program: &Program, environment: &[(&str, &str)]) -> Self {
        let mut child = program
            .command(&["--log-format", "json", "serve"])
            .env("ROLLCALL_LOG", "rollcall=debug")
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .expect("the daemon starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (seen, stderr) = (Arc::clone(&lines), child.stderr.take().expect("piped"));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                seen.lock().expect("no panic inside").push(line);
            }
        });
        Self { child, lines }
    }

    /// What it has logged so far.
    pub(super) fn log(&self) -> Vec<Json> {
        let lines = self.lines.lock().expect("no panic inside");
        lines
            .iter()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
            .collect()
    }

    /// The events of that name so far.
    pub(super) fn events(&self, name: &str) -> Vec<Json> {
        self.log().into_iter().filter(|line| line["event"] == name).collect()
    }

    /// Waits for an event that is as wanted, and answers it.
    #[track_caller]
    pub(super) fn wait(&self, name: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        let found = until(|| self.events(name).into_iter().find(|event| wanted(event)));
        found.unwrap_or_else(|| panic!("no such {name}:\n{}", self.lines.lock().expect("lines").join("\n")))
    }

    /// Sends it a signal: `TERM`, `HUP`, `STOP`, `CONT`.
    pub(super) fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.child.id().to_string())
            .status()
            .expect("kill runs");
        assert!(sent.success(), "it lives");
    }

    /// Ends it at once, as SIGKILL does.
    pub(super) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("waited for");
    }

    /// Asks it to end; answers its exit code and how long it took.
    #[track_caller]
    pub(super) fn stop(mut self) -> (i32, Duration) {
        self.signal("TERM");
        let asked = Instant::now();
        let ended = until(|| self.child.try_wait().expect("waited for"));
        let status = ended.expect("it ends when it is asked to");
        (status.code().unwrap_or(-1), asked.elapsed())
    }
}

/// Looks until there is something, or [`WITHIN`] is over.
pub(super) fn until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + WITHIN;
    loop {
        match look() {
            Some(found) => return Some(found),
            None if Instant::now() > deadline => return None,
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
