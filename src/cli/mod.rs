//! The command line and the composition root: nothing else imports it.

pub mod directory;
