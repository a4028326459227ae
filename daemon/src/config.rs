//! What the operator wrote: `upkeep.toml` and `tasks.d/*.toml`.

pub mod duration;
pub mod schedule;
