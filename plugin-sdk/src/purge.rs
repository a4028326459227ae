//! Rows that have passed their time, in the databases that the task file names: in short transactions with pauses, saved
//! to a repository first when that is asked for. A plugin hands over names and a time; the statements are the host's.
//!
//! ```no_run
//! use upkeep_plugin::purge::{self, Clock, Options, Outcome, Selection};
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! # let now = 0;
//! let old = Selection::new("app", "sessions", "seen_at", now - 30 * 86_400_000).clock(Clock::UnixSeconds);
//! // In `plan`:
//! let estimate = purge::count(&old)?;
//! upkeep_plugin::info!("{} of {} rows would go", estimate.rows, estimate.total);
//! // In `execute`:
//! match purge::carry_out(&old, &Options::default(), None, &[])? {
//!     Outcome::Done(done) => upkeep_plugin::info!("{} rows are gone", done.removed),
//!     Outcome::Blocked(blocks) => upkeep_plugin::warn!("nothing was removed: {}", blocks[0].message),
//! }
//! # Ok(())
//! # }
//! ```

pub use crate::bindings::upkeep::plugin::purge::{
    Clock, Done, Estimate, Maintained, Maintenance, Options, Outcome, Saved, Selection, Way,
};
use crate::host::{HostResult, purge as host};
pub use crate::removal::{Block, Cause};
use crate::repository::Repository;
use crate::sql::Value;

impl Selection {
    /// Rows of the table whose `column` holds a time before `before`, milliseconds since the Unix epoch. The type of the
    /// column says how; times without a zone are in UTC.
    pub fn new(database: &str, table: &str, column: &str, before: i64) -> Self {
        let (database, table, column) = (database.to_owned(), table.to_owned(), column.to_owned());
        Self { database, table, column, clock: None, timezone: "UTC".to_owned(), before, equal: Vec::new() }
    }

    /// For a column whose type does not say it.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// The time zone of times that are stored without one, by its IANA name.
    #[must_use]
    pub fn timezone(self, timezone: &str) -> Self {
        Self { timezone: timezone.to_owned(), ..self }
    }

    /// Only rows that have this value in this column.
    #[must_use]
    pub fn equal(mut self, column: &str, value: impl Into<Value>) -> Self {
        self.equal.push((column.to_owned(), value.into()));
        self
    }
}

impl Default for Options {
    /// Transactions of at most 25 milliseconds and 10,000 rows, with pauses of at least 25 milliseconds.
    fn default() -> Self {
        Self { chunk_ms: 25, chunk_rows: 10_000, pause_ms: 25 }
    }
}

/// Counts what would go, and says what stands in its way.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) without the right to remove from the table,
/// [`HostError::NotFound`](crate::HostError::NotFound) when there is no such table or column,
/// [`HostError::Invalid`](crate::HostError::Invalid) when the column does not hold times in this way.
pub fn count(selection: &Selection) -> HostResult<Estimate> {
    host::count(selection)
}

/// Removes the rows. Only while a step executes. With a repository they are saved first, as one snapshot with these tags, and
/// exactly the rows go that are in it.
///
/// # Errors
/// As for [`count`]; [`HostError::Unavailable`](crate::HostError::Unavailable) when the database or the repository does not
/// answer: nothing has gone that is not saved, and what was not removed is removed by the next call.
pub fn carry_out(
    selection: &Selection,
    options: &Options,
    save: Option<&Repository>,
    tags: &[String],
) -> HostResult<Outcome> {
    host::carry_out(selection, *options, save.map(|repository| &repository.0), tags)
}

/// Looks after a database, or one table of it. Only while a step executes.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) without the right to maintain.
pub fn maintain(database: &str, kind: Maintenance, table: Option<&str>) -> HostResult<Maintained> {
    host::maintain(database, kind, table)
}
