//! What is wrong with a configuration: every problem at once, each with its place. Never prints a secret.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the default that is built into the program.
    Default {
        /// The line of `config/default.toml`; `None` for what depends on the kind of a source.
        line: Option<usize>,
    },
    /// In a file.
    File {
        /// The file, as it was named on the command line.
        file: Arc<PathBuf>,
        /// The line, from 1.
        line: usize,
    },
    /// In an environment variable.
    Environment(Arc<str>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default { line: Some(line) } => write!(f, "built-in default:{line}"),
            Self::Default { line: None } => f.write_str("built-in default"),
            Self::File { file, line } => write!(f, "{}:{line}", file.display()),
            Self::Environment(name) => write!(f, "environment variable {}", name.escape_debug()),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The key with its sections, such as `sources.ad.base_dn`; `None` where the file as a whole is meant.
    pub key: Option<String>,
    /// Why, and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: key `{}`: {}", self.place, key.escape_debug(), self.message),
            None => write!(f, "{}: {}", self.place, self.message),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// Everything that was found, in the order of the places.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// An error of one problem.
    pub(super) fn one(place: Place, key: impl Into<Option<String>>, message: impl Into<String>) -> Self {
        Self {
            problems: vec![Problem {
                place,
                key: key.into(),
                message: message.into(),
            }],
        }
    }

    /// All of `problems`, sorted by place; what was said twice of one place is said once.
    pub(super) fn all(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        problems.dedup_by(|a, b| a.place == b.place && a.message == b.message);
        Self { problems }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
