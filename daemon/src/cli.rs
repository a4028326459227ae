//! The commands, as an operator types them.

pub mod schedule;
