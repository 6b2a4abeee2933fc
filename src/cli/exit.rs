//! The exit codes, and why a command failed.

use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::engine::EngineError;
use crate::store::{StoreError, StoreErrorKind};

/// How the program ends. The numbers are relied on by scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Done = 0,
    Failed = 1,
    HasChanges = 2,
    Quarantine = 3,
    Source = 4,
    Held = 10,
    Busy = 11,
    Usage = 64,
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// The code of an error that was stored with a run.
    pub(super) fn of_code(code: &str) -> Self {
        match code {
            "busy" => Self::Busy,
            "incomplete" => Self::Source,
            "store_configuration" | "store_schema" | "source_configuration" => Self::Configuration,
            code if code.starts_with("source_") => Self::Source,
            _ => Self::Failed,
        }
    }

    /// Of two runs the worse.
    pub(super) fn worse(self, other: Self) -> Self {
        let order = |exit: Self| match exit {
            Self::Done => 0,
            Self::HasChanges => 1,
            Self::Quarantine => 2,
            Self::Busy => 3,
            Self::Held => 4,
            Self::Source => 5,
            Self::Failed => 6,
            Self::Usage => 7,
            Self::Configuration => 8,
        };
        if order(other) > order(self) { other } else { self }
    }
}

/// Why a command failed: sentences for people, and the code to exit with.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) messages: Vec<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, messages: vec![message.into()] }
    }

    /// What the person typed cannot be meant.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.messages.join("\n"))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { exit: Exit::Configuration, messages: error.problems.iter().map(ToString::to_string).collect() }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match error.kind {
            StoreErrorKind::Schema | StoreErrorKind::Configuration => Exit::Configuration,
            StoreErrorKind::LeaseHeld => Exit::Busy,
            _ => Exit::Failed,
        };
        Self::new(exit, error.message)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => error.into(),
            EngineError::Source(error) => Self::new(Exit::of_code(error.kind.code()), error.message),
            other => Self::new(Exit::Failed, other.to_string()),
        }
    }
}
