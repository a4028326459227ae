//! Consistent dumps of the databases that the task file names, straight into a repository.
//!
//! ```no_run
//! use upkeep_plugin::{dump, repository::Repository};
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! let saved = dump::to_repository("app", &Repository::open("main")?, &["nightly".to_owned()])?;
//! upkeep_plugin::info!("saved as {}", saved.snapshot);
//! # Ok(())
//! # }
//! ```

use crate::host::{HostResult, dump as host};
use crate::repository::{Repository, Summary};

/// Saves the database `name`, as it was at one moment, as one snapshot. Needs the right to append to the repository.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) when the task file does not grant database or repository.
pub fn to_repository(name: &str, repository: &Repository, tags: &[String]) -> HostResult<Summary> {
    host::to_repository(name, &repository.0, tags)
}
