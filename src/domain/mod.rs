//! The core: what entries, users, records and plans are, and every judgement about them.
//! Pure: no async, no I/O, no clock, no randomness, no wire formats.

pub mod brake;
pub mod decide;
mod digest;
pub mod edit;
pub mod entry;
pub mod field;
pub mod id;
pub mod mapping;
pub mod plan;
pub mod quarantine;
pub mod record;
pub mod roles;
pub mod rule;
pub mod run;
pub mod text;
pub mod token;
pub mod user;
pub mod vitals;
