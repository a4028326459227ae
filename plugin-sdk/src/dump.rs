//! Consistent dumps of the databases that the task file names, straight into a repository.
//!
//! ```no_run
//! use upkeep_plugin::{dump, repository::Repository};
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! let saved = dump::to_repository("app", &Repository::open("main")?, &["nightly".to_owned()])?;
//! upkeep_plugin::info!("saved as {}", saved.summary.snapshot);
//! # Ok(())
//! # }
//! ```

pub use crate::bindings::upkeep::plugin::dump::Saved;
use crate::host::{HostResult, dump as host};
use crate::repository::Repository;

/// Saves what the task file calls `name`, as one snapshot: a SQLite file, or the databases of a server. Each database is as
/// it was at one moment. Needs the right to append to the repository.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) when the task file does not grant database or repository,
/// [`HostError::NotFound`](crate::HostError::NotFound) when a database is gone. Then there is no snapshot.
pub fn to_repository(name: &str, repository: &Repository, tags: &[String]) -> HostResult<Saved> {
    host::to_repository(name, &repository.0, tags)
}
