//! `rollcall users`.
