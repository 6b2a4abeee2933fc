//! The real binary as a process, with a configuration file of its own and nothing of the caller's environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program with one configuration.
pub(crate) struct Program {
    directory: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// What a run of the program left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code; -1 where a signal ended it.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Program {
    /// The program with `config` as its only configuration file, in a directory that is gone after the test.
    pub(crate) fn new(config: &str) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let program = Self {
            directory,
            environment: Vec::new(),
        };
        program.configure(config);
        program
    }

    /// Writes another configuration in the place of the last.
    pub(crate) fn configure(&self, config: &str) {
        std::fs::write(self.config(), config).expect("configuration written");
    }

    /// The program's own directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("rollcall.toml")
    }

    /// A file beside the configuration, readable by its owner alone, as secrets must be.
    pub(crate) fn secret(&self, name: &str, content: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).expect("secret written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("permissions set");
        path
    }

    /// Sets an environment variable of the program.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The command that [`Self::run`] runs: standard input is empty, no output is a terminal.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
        command
            .arg("--config")
            .arg(self.config())
            .args(arguments)
            .env_clear()
            .env("LANG", "C.UTF-8")
            .env("USER", "tester")
            .env("PATH", "/usr/bin:/bin")
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end. What it prints must be UTF-8.
    ///
    /// It blocks: a test that serves something to the program meanwhile needs a second worker thread, as
    /// [`super::database::on_both_engines`] has it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("the program starts");
        Ran::from(output)
    }

    /// Runs the program, and answers its standard output where it ended with code 0.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "rollcall {arguments:?}: {ran:#?}");
        ran.stdout
    }

    /// Runs the program, and answers its standard output as JSON where it ended with code 0.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let stdout = self.ok(arguments);
        serde_json::from_str(&stdout)
            .unwrap_or_else(|e| panic!("rollcall {arguments:?} printed no JSON ({e}): {stdout}"))
    }

    /// Runs the program where it must end with `code`, and answers its standard error.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "rollcall {arguments:?}: {ran:#?}");
        ran.stderr
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}
