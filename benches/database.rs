//! What is measured of a database, whichever engine it is.

use std::time::Duration;

use crate::Outcome;
use crate::lock::Bystander;
use crate::program::Synced;

/// What a run wrote, and what that cost the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    /// Rows of `users`.
    pub(crate) users: u64,
    /// Rows of all tables, `users` included.
    pub(crate) rows: u64,
    pub(crate) wal_bytes: u64,
    /// CPU time of a server that is a process of its own.
    pub(crate) server_cpu: Option<Duration>,
}

/// A database for the program, and the floors measured on it.
pub(crate) trait Database {
    /// As it is shown.
    fn name(&self) -> &'static str;

    /// Makes an empty database in the place of the last one, with the program's tables. Answers its URL.
    fn fresh(&mut self) -> Outcome<String>;

    /// Brings a database that was just filled to where it is some time later, when a scheduled run comes.
    fn settle(&mut self) -> Outcome<()>;

    /// Begins to count what is written.
    fn count_from_here(&mut self) -> Outcome<()>;

    /// What has been written since; `synced` is the one run that was made.
    fn written(&mut self, synced: &Synced) -> Outcome<Written>;

    /// The floor: the same user rows into an empty table with the same indexes and constraints.
    fn rows_in(&mut self) -> Outcome<Duration>;

    /// The floor: all columns of all users out.
    fn rows_out(&mut self) -> Outcome<Duration>;

    /// Somebody else who would like to write, where the engine has one lock for all writers.
    fn bystander(&self) -> Outcome<Option<Bystander>> {
        Ok(None)
    }
}

/// Makes the program's tables in `database`.
pub(crate) fn migrate(work: &std::path::Path, database: &str) -> Outcome<()> {
    crate::program::Program::new(work, database, "")?.migrate()
}
