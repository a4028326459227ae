//! The commands, as an operator types them.

pub mod plugin;
pub mod schedule;
