//! The smaller commands.
