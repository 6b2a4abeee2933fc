//! Rollcall keeps an application's local user table in step with the outside directory that owns part of it.

pub mod cli;
pub mod config;
pub mod domain;
pub mod engine;
pub mod http;
pub mod lifecycle;
pub mod scheduler;
pub mod sources;
pub mod store;
pub mod telemetry;
