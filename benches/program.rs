//! The program that is measured: the real binary, as a process of its own with a configuration file of its own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::Outcome;
use crate::child::{self, Cost, Ended, Output};
use crate::phases::{self, Phases};

/// The binary that was built with the benchmark.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_rollcall");

/// The program with one configuration.
pub(crate) struct Program {
    work: PathBuf,
    config: tempfile::NamedTempFile,
}

/// What one run did.
pub(crate) struct Synced {
    pub(crate) cost: Cost,
    pub(crate) run: String,
    pub(crate) started_at: String,
    pub(crate) phases: Phases,
}

/// What a run has to have done, so that the time that it took means something.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// As many users created as there are people.
    Created(usize),
    /// Nothing to do.
    Nothing,
    /// As many users updated.
    Updated(usize),
}

impl Program {
    /// The program on `database`, with that `[[sources]]` table.
    pub(crate) fn new(work: &Path, database: &str, source: &str) -> Outcome<Self> {
        let config = tempfile::Builder::new().suffix(".toml").tempfile_in(work)?;
        let head = format!("[database]\nurl = \"{database}\"\n[agency]\nname = \"Example Agency\"\n");
        fs::write(config.path(), head + source)?;
        Ok(Self {
            work: work.to_owned(),
            config,
        })
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> &Path {
        self.config.path()
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome<Ended> {
        let mut all = vec!["--config".as_ref(), self.config.path().as_os_str()];
        all.extend(arguments.iter().map(std::ffi::OsStr::new));
        child::run(&self.work, BINARY.as_ref(), &all, &phases::ENVIRONMENT, &Output::Kept)
    }

    /// Makes the tables.
    pub(crate) fn migrate(&self) -> Outcome<()> {
        let ended = self.run(&["migrate"])?;
        if ended.code == 0 {
            Ok(())
        } else {
            Err(format!("rollcall migrate: {}", ended.stderr).into())
        }
    }

    /// One run, which must do what is expected.
    pub(crate) fn sync(&self, expected: Expected) -> Outcome<Synced> {
        let ended = self.run(&["--log-format", "json", "sync", "bench", "--output", "json"])?;
        let report: Json =
            serde_json::from_str(&ended.stdout).map_err(|e| format!("rollcall sync: {e}: {}", ended.stderr))?;
        if ended.code != 0 || report["state"] != "applied" || !expected.is_met(&report["plan"]) {
            return Err(format!("{expected:?} was expected, and this came: {report:#}\n{}", ended.stderr).into());
        }
        let text = |key: &str| report[key].as_str().unwrap_or_default().to_owned();
        Ok(Synced {
            cost: ended.cost,
            run: text("run"),
            started_at: text("started_at"),
            phases: phases::read(&ended.stderr),
        })
    }
}

impl Expected {
    fn is_met(self, plan: &Json) -> bool {
        let count = |key: &str| plan[key].as_u64().and_then(|n| usize::try_from(n).ok());
        let (created, updated) = match self {
            Self::Created(people) => (people, 0),
            Self::Nothing => (0, 0),
            Self::Updated(people) => (0, people),
        };
        let others = ["disable", "enable", "delete", "drift", "quarantine"];
        count("create") == Some(created)
            && count("update") == Some(updated)
            && others.iter().all(|key| count(key) == Some(0))
    }
}
