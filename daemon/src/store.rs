//! The journal of everything that happens, in SQLite.

pub mod transition;
