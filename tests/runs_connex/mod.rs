//! Acceptance of the whole program with a ConneX-style directory: the sample directory in this process, a database on
//! either engine, and the real binary between them. What a person would look at is looked at: exit codes, documents,
//! and the tables by plain SQL.

mod brakes;
mod convergence;
mod determinism;
mod firms;
mod first;
mod hostile;
mod model;
mod model_world;
mod one_user;
mod organization;
mod output;
mod scopes;
pub(crate) mod stage;
pub(crate) mod wire_server;
