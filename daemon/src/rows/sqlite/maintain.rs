//! Looking after a database: giving room back, and letting SQLite look at what it holds now.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::{bytes, connect, failure};
use crate::rows::{Maintained, Maintenance, RowsError};

/// Looks after the database.
pub(in crate::rows) fn maintain(
    path: &Path,
    kind: Maintenance,
    table: Option<&str>,
    cancel: &CancellationToken,
) -> Result<Maintained, RowsError> {
    if let Some(table) = table {
        return Err(RowsError::Invalid(format!(
            "SQLite looks after its whole database, not after the table `{table}`; leave the table out"
        )));
    }
    let database = connect(path)?;
    let failed = |error| failure(path, &error);
    let stop = cancel.clone();
    database.progress_handler(100_000, Some(move || stop.is_cancelled())).map_err(failed)?;
    let bytes_before = bytes(&database).map_err(failed)?;
    match kind {
        Maintenance::Vacuum => {
            // The copy, and with it the log or journal of the same size.
            let wanted = 2 * bytes_before;
            let folder = path.parent().unwrap_or(Path::new("/"));
            if let Ok(disk) = rustix::fs::statvfs(folder)
                && disk.f_bavail.saturating_mul(disk.f_frsize) < wanted
            {
                return Err(RowsError::Failed(format!(
                    "VACUUM of {} needs {} MiB free in {}, and there are {}; make room first",
                    path.display(),
                    wanted >> 20,
                    folder.display(),
                    disk.f_bavail.saturating_mul(disk.f_frsize) >> 20
                )));
            }
            database.execute_batch("VACUUM; PRAGMA wal_checkpoint(PASSIVE)").map_err(failed)?;
        }
        Maintenance::Optimize => {
            database.execute_batch("PRAGMA analysis_limit = 1000; PRAGMA optimize").map_err(failed)?;
        }
    }
    Ok(Maintained { bytes_before, bytes_after: bytes(&database).map_err(failed)? })
}
