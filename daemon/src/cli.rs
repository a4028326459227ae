//! The command line.

pub mod check;
pub mod plugin;
pub mod schema;
