//! What the operator wrote: `upkeep.toml` and `tasks.d/*.toml`, loaded and validated as a whole.
//!
//! The flow: [`source`] parses a file and remembers where each key stands, [`shape`] compares it with the schema of the
//! settings types ([`daemon`], [`task`] and the parts of those), [`check`] compares what was read with the machine, the
//! plugins and the other tasks, and [`load`] puts it together: a [`load::Config`], or [`diagnostic::Diagnostics`] that
//! name all that is wrong at once. [`diff`] says what a reload has to change. [`repositories`] reads what a restore needs,
//! also from a configuration that is not valid.

pub mod alerts;
pub mod check;
pub mod consents;
pub mod daemon;
pub mod diagnostic;
pub mod diff;
pub mod digest;
pub mod dump;
pub mod duration;
pub mod files;
pub mod findings;
pub mod grant;
pub mod http;
pub mod limits;
pub mod listen;
pub mod load;
mod mask;
pub mod outbox;
pub mod percent;
pub mod plugin;
pub mod rate;
mod read;
pub mod removal;
pub mod repositories;
pub mod safeguards;
pub mod schedule;
pub mod schema;
pub mod secret;
pub mod secrets;
pub mod shape;
pub mod size;
pub mod smtp;
pub mod source;
pub mod sql;
pub mod suggest;
pub mod task;
