//! The commands from outside: the real binary as a process.

mod commands;
mod users;
