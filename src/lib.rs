//! Rollcall keeps an application's local user table in step with the outside directory that owns part of it.

pub mod cli;
pub mod domain;
pub mod sources;
