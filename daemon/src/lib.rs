//! upkeep: the maintenance daemon of a backend server.
//!
//! The modules follow the flow: [`config`] says what there is to do, [`schedule`] when it is due, [`run`] does it in
//! the [`sandbox`] through the [`capability`] that the task file grants, and the [`store`] records every transition.

pub mod cli;
pub mod clock;
pub mod config;
pub mod outcome;
pub mod plugin;
pub mod run;
pub mod schedule;
pub mod store;
