//! The daemon as a process: its schedule, its signals, its end in every phase, two of it on one database, and what the
//! service manager is told.

mod process;
mod schedule;
mod signals;
mod supervision;
mod world;
