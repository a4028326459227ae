//! upkeep: the maintenance daemon of a backend server.
//!
//! The modules follow the flow: [`config`] says what there is to do, [`schedule`] when it is due, [`run`] does it in
//! the [`sandbox`] through the [`capability`] that the task file grants, and the [`store`] records every transition.

pub mod abi;
pub mod alert;
pub mod api;
pub mod capability;
pub mod cli;
pub mod client;
pub mod clock;
pub mod command;
pub mod config;
pub mod daemon;
pub mod database;
pub mod drill;
pub mod event;
pub mod findings;
pub mod memory;
pub mod outcome;
pub mod plugin;
pub mod priority;
pub mod quantity;
pub mod record;
pub mod reload;
pub mod removal;
pub mod repository;
pub mod root;
pub mod rows;
pub mod run;
pub mod sandbox;
pub mod schedule;
pub mod server;
pub mod sql;
pub mod stats;
pub mod storage;
pub mod store;
pub mod telemetry;
pub mod tokens;
