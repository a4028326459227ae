//! The daemon as a process: its life, its configuration, its clock, its commands, and a disk without room.
//!
//! | module     | asks                                                     |
//! |------------|----------------------------------------------------------|
//! | `life`     | start, ready, one per state directory, stop, resumption  |
//! | `reload`   | new, broken and mended configurations                    |
//! | `triggers` | schedule, overlap, groups, events, retries, catching up  |
//! | `commands` | the command line: cancel, dry run, exit codes            |
//! | `full`     | a disk without room                                      |

#[path = "daemon/commands.rs"]
mod commands;
#[path = "daemon/full.rs"]
mod full;
#[path = "daemon/life.rs"]
mod life;
#[path = "daemon/reload.rs"]
mod reload;
#[path = "daemon/triggers.rs"]
mod triggers;
