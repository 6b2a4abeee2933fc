//! Starting real servers on free loopback ports, and stopping them.

pub mod certificates;
pub mod database;
pub mod postgres;
pub mod raw_server;
pub mod slapd;
