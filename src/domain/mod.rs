//! The core: what entries, users, records and plans are, and every judgement about them.
//! Pure: no async, no I/O, no clock, no randomness, no wire formats.

pub mod entry;
pub mod field;
pub mod id;
pub mod mapping;
pub mod quarantine;
