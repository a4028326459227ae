//! Numbers of this run, for the operator's monitoring.
//!
//! Names are `[a-z][a-z0-9_]*`, in base units (`bytes`, `seconds`); labels are key and value. Each combination of
//! labels is a series of its own, and the host limits how many a task may have.
//!
//! ```
//! use upkeep_plugin::metrics;
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! metrics::count("files_removed", &[("root", "uploads")], 12.0)?;
//! metrics::gauge("oldest_file_seconds", &[], 86_400.0)?;
//! metrics::observe("file_bytes", &[], 4_096.0)?;
//! # Ok(())
//! # }
//! ```

use crate::host::{HostResult, metrics as host};

/// Adds to a counter.
///
/// # Errors
/// [`HostError::Invalid`](crate::HostError::Invalid) for a name that is none,
/// [`HostError::Limit`](crate::HostError::Limit) above the number of series that the task may have.
pub fn count(name: &str, labels: &[(&str, &str)], by: f64) -> HostResult<()> {
    host::count(name, &owned(labels), by)
}

/// Sets a gauge.
///
/// # Errors
/// As for [`count`].
pub fn gauge(name: &str, labels: &[(&str, &str)], value: f64) -> HostResult<()> {
    host::gauge(name, &owned(labels), value)
}

/// Records one observation of a histogram.
///
/// # Errors
/// As for [`count`].
pub fn observe(name: &str, labels: &[(&str, &str)], value: f64) -> HostResult<()> {
    host::observe(name, &owned(labels), value)
}

fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
