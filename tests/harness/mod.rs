//! Starting real servers on free loopback ports, and stopping them.

pub(crate) mod certificates;
pub(crate) mod daemon;
pub(crate) mod database;
pub(crate) mod postgres;
pub(crate) mod program;
pub(crate) mod raw_server;
pub(crate) mod slapd;
