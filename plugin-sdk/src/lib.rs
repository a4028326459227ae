//! Write a maintenance task for upkeep: this crate is what a plugin depends on.
//!
//! A plugin is a small Rust library that `upkeep plugin build` turns into one file. It runs in a sandbox: it has no
//! files, no network and no clock but what the host gives it, and the host gives what the plugin's manifest asks for
//! *and* the operator's task file grants.
//!
//! ```
//! use upkeep_plugin::{Context, Result, info};
//!
//! fn hello(ctx: &Context) -> Result<()> {
//!     info!("Hello, {}!", ctx.host);
//!     Ok(())
//! }
//!
//! upkeep_plugin::export!(fn hello);
//! # fn main() {}
//! ```
//!
//! A function is enough for a task of one step; [`Task`] is for tasks with steps that run in parallel and are not done
//! again after a crash. Each capability has its module: [`mod@log`], [`state`], [`files`], [`removal`], [`http`], [`secrets`], [`smtp`], [`repository`],
//! [`dump`], [`drill`], [`sql`], [`purge`], [`journal`], [`outbox`], [`consents`], [`system`], [`metrics`], [`clock`]; [`config`] has values that operators write. Calls
//! of the host fail with a [`HostError`], which `?` turns into an [`Error`].
//!
//! Compiled for the author's machine instead of the sandbox, the same code runs against an in-memory host: see
//! [`mod@test`].

#[doc(hidden)]
pub mod bindings;
mod entry;
mod error;
mod export;
mod host;
mod report;
mod task;

pub mod clock;
pub mod config;
pub mod consents;
pub mod drill;
pub mod dump;
pub mod files;
pub mod http;
pub mod journal;
pub mod log;
pub mod metrics;
pub mod outbox;
pub mod purge;
pub mod removal;
pub mod repository;
pub mod secrets;
pub mod smtp;
pub mod sql;
pub mod state;
pub mod system;
#[cfg(not(target_family = "wasm"))]
pub mod test;

pub use entry::{Call, Entry, Reply, function, task};
pub use error::{Error, Result};
#[doc(hidden)]
pub use export::glue as __export;
pub use host::{HostError, HostResult};
pub use report::{Document, Finding, Place, Report, Severity, Table};
pub use task::{Context, Outcome, Step, Task};
