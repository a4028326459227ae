//! The journal of systemd: what it takes up, and its vacuum by its own program, `journalctl`.
//!
//! ```no_run
//! use upkeep_plugin::journal::{self, Limits};
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! let taken: u64 = journal::list_files()?.iter().map(|file| file.bytes).sum();
//! upkeep_plugin::info!("the journal takes up {taken} bytes");
//! // In a step:
//! journal::vacuum(Limits { max_bytes: Some(1 << 30), max_age_s: Some(30 * 86_400) })?;
//! # Ok(())
//! # }
//! ```

pub use crate::bindings::upkeep::plugin::journal::{JournalFile, Limits, Vacuumed};
use crate::host::{HostResult, journal as host};

/// All files of the journal, the oldest first.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) when the task file does not grant the journal,
/// [`HostError::Unavailable`](crate::HostError::Unavailable) when it cannot be looked at.
pub fn list_files() -> HostResult<Vec<JournalFile>> {
    host::list_files()
}

/// Vacuums the journal. Only while a step executes.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) when that is more than the task file grants.
pub fn vacuum(limits: Limits) -> HostResult<Vacuumed> {
    host::vacuum(limits)
}
