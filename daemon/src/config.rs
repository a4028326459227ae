//! What the operator wrote: `upkeep.toml` and `tasks.d/*.toml`, loaded and validated as a whole.

pub mod daemon;
pub mod duration;
pub mod grant;
pub mod limits;
pub mod schedule;
pub mod secret;
pub mod size;
pub mod task;
