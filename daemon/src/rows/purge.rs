//! Removing, in short transactions with pauses.
//!
//! Nobody knows beforehand how many rows a transaction of 25 milliseconds holds: the first ones are small, and each next one
//! is sized by how long the last took. A pause is never shorter than the transaction before it, so that who waits for a
//! lock finds it free at least half of the time.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::config::sql::RowRemoval;
use crate::rows::save::Ledger;
use crate::rows::{Chunk, Count, RowsError, Table, Way};

/// How rows are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long a transaction should take at most.
    pub chunk: Duration,
    /// Rows of a transaction at most.
    pub rows: u64,
    /// The shortest pause.
    pub pause: Duration,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) removed: u64,
    pub(crate) chunks: u64,
    pub(crate) longest: Duration,
    /// Rows that were saved and are kept.
    pub(crate) kept: u64,
    /// Why it ended before all were gone.
    pub(crate) stopped: Option<String>,
}

/// Rows of the first transaction.
const FIRST: u64 = 100;
/// How often a transaction is tried that others do not let through.
const TRIES: u32 = 4;
/// How long a reader may keep the database's log from being emptied.
const PATIENCE: Duration = Duration::from_secs(30);
/// Passed-over places after which it is no accident.
const MOST_PASSED: u32 = 100;

/// Fewer rows than this are no share of anything.
const FEWEST: u64 = 100;

/// Rows of a table that its share lets go.
fn share(removal: &RowRemoval, total: u64) -> u64 {
    let part = u128::from(total) * u128::from(removal.max_share.0) / 100;
    u64::try_from(part).unwrap_or(total)
}

/// Why the count is more than the task file allows, each with the remedy.
pub(crate) fn above(name: &str, table: &str, removal: &RowRemoval, count: &Count) -> Vec<String> {
    let Count { rows, total, .. } = *count;
    let about = |counted: bool| if counted { "" } else { "about " };
    let figures = format!(
        "{}{rows} of {}{total} rows of `{table}` would go",
        about(count.rows_counted),
        about(count.total_counted)
    );
    let mut blocks = Vec::new();
    if let Some(most) = removal.max_rows.filter(|most| rows > *most) {
        blocks.push(format!(
            "{figures}, {most} may at once (`grant.sql.{name}.removal.max_rows`); mend the rule or raise the ceiling"
        ));
    }
    if rows >= FEWEST && rows > share(removal, total) {
        let wanted = (u128::from(rows) * 100).div_ceil(u128::from(total.max(1))).clamp(1, 100);
        blocks.push(format!(
            "{figures}, more than {} (`grant.sql.{name}.removal.max_share`); mend the rule, or if they are all to go, as when a \
             table is cleaned for the first time, write \"{wanted}%\"",
            removal.max_share
        ));
    }
    blocks
}

/// How many rows may go: those that were counted, and where the database only estimates them, what the task file allows.
pub(crate) fn limit(removal: &RowRemoval, count: &Count) -> u64 {
    match count.rows_counted {
        true => count.rows,
        false => share(removal, count.total).max(FEWEST).min(removal.max_rows.unwrap_or(u64::MAX)),
    }
}

/// Finds how many rows a transaction holds.
struct Pace {
    options: Options,
    rows: u64,
}

impl Pace {
    fn new(options: Options) -> Self {
        Self { options, rows: FIRST.min(options.rows) }
    }

    fn learn(&mut self, asked: u64, chunk: &Chunk) {
        let (work, wanted) = (chunk.work.as_secs_f64(), self.options.chunk.as_secs_f64() * 0.7);
        if work > wanted {
            let fewer = asked as f64 * wanted / work;
            self.rows = (fewer as u64).max(1);
        } else if chunk.removed >= asked / 2 {
            let more = (asked as f64 * (wanted / work.max(1e-6)).min(2.0)) as u64;
            self.rows = more.max(asked + 1);
        }
        self.rows = self.rows.clamp(1, self.options.rows);
    }
}

/// Removes at most `limit` rows. `tell` hears how many are gone.
///
/// # Errors
///
/// When the database fails or the run is ended. What was removed until then is gone.
pub(crate) fn remove(
    table: &mut dyn Table,
    way: Way,
    limit: u64,
    options: Options,
    cancel: &CancellationToken,
    tell: &dyn Fn(u64),
) -> Result<Removed, RowsError> {
    let mut work = Work::new(options, cancel, tell);
    let mut passed = 0;
    while work.done.removed < limit && work.done.stopped.is_none() {
        let most = work.pace.rows.min(limit - work.done.removed);
        match work.attempt(table, |table| table.remove(way, most))? {
            Attempt::Done(chunk) => {
                work.note(table, most, chunk)?;
                if !chunk.more {
                    break;
                }
            }
            Attempt::Held(reason) => {
                passed += 1;
                if passed > MOST_PASSED || !table.pass_over() {
                    work.done.stopped = Some(reason);
                }
            }
        }
    }
    if passed > 0 && work.done.stopped.is_none() {
        work.done.stopped = Some(format!(
            "rows in {passed} places of the table are kept, since other transactions held them all the while; the next run \
             takes them"
        ));
    }
    Ok(work.done)
}

/// Removes the rows that were saved.
///
/// # Errors
///
/// As [`remove`].
pub(crate) fn remove_saved(
    table: &mut dyn Table,
    ledger: &Ledger,
    options: Options,
    cancel: &CancellationToken,
    tell: &dyn Fn(u64),
) -> Result<Removed, RowsError> {
    let mut work = Work::new(options, cancel, tell);
    let mut rows = ledger.rows()?;
    while work.done.stopped.is_none() {
        let most = work.pace.rows.min(table.largest_batch()).max(1);
        let batch = rows.next(most)?;
        if batch.is_empty() {
            break;
        }
        match work.attempt(table, |table| table.remove_saved(&batch, &|row| ledger.digest(row)))? {
            Attempt::Done(chunk) => {
                work.done.kept += (batch.len() as u64).saturating_sub(chunk.removed);
                work.note(table, batch.len() as u64, chunk)?;
            }
            Attempt::Held(reason) => work.done.stopped = Some(reason),
        }
    }
    Ok(work.done)
}

struct Work<'a> {
    pace: Pace,
    done: Removed,
    cancel: &'a CancellationToken,
    tell: &'a dyn Fn(u64),
}

enum Attempt {
    Done(Chunk),
    Held(String),
}

impl<'a> Work<'a> {
    fn new(options: Options, cancel: &'a CancellationToken, tell: &'a dyn Fn(u64)) -> Self {
        let done = Removed { removed: 0, chunks: 0, longest: Duration::ZERO, kept: 0, stopped: None };
        Self { pace: Pace::new(options), done, cancel, tell }
    }

    /// Tries a transaction a few times.
    fn attempt(
        &mut self,
        table: &mut dyn Table,
        transaction: impl Fn(&mut dyn Table) -> Result<Chunk, RowsError>,
    ) -> Result<Attempt, RowsError> {
        let mut tries = 0;
        loop {
            if self.cancel.is_cancelled() {
                return Err(RowsError::Ended);
            }
            match transaction(table) {
                Ok(chunk) => return Ok(Attempt::Done(chunk)),
                Err(RowsError::Busy(reason)) => {
                    tries += 1;
                    if tries == TRIES {
                        return Ok(Attempt::Held(reason));
                    }
                    self.pause(Duration::from_millis(250))?;
                }
                Err(RowsError::Refused(reason)) => {
                    self.done.stopped = Some(reason);
                    return Ok(Attempt::Done(Chunk::NOTHING));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes note of a transaction, and waits.
    fn note(&mut self, table: &mut dyn Table, asked: u64, chunk: Chunk) -> Result<(), RowsError> {
        self.pace.learn(asked, &chunk);
        if chunk.removed == 0 && chunk.held < self.pace.options.chunk / 4 {
            return Ok(());
        }
        self.done.chunks += 1;
        self.done.longest = self.done.longest.max(chunk.held);
        self.done.removed += chunk.removed;
        (self.tell)(self.done.removed);
        let began = Instant::now();
        while let Some(reason) = table.settle()? {
            if began.elapsed() > PATIENCE {
                self.done.stopped = Some(reason);
                return Ok(());
            }
            self.pause(Duration::from_secs(1))?;
        }
        self.pause(self.pace.options.pause.max(chunk.held))
    }

    fn pause(&self, time: Duration) -> Result<(), RowsError> {
        let until = Instant::now() + time;
        loop {
            if self.cancel.is_cancelled() {
                return Err(RowsError::Ended);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::percent::Percent;

    fn count(rows: u64, total: u64, rows_counted: bool) -> Count {
        Count { rows, rows_counted, total, total_counted: rows_counted, oldest: None, bytes: 0 }
    }

    #[test]
    fn above_a_ceiling_the_key_and_the_figures_are_told() {
        let removal = |max_rows, percent| RowRemoval {
            tables: vec!["t".into()],
            max_rows,
            max_share: Percent(percent),
            require_backup: None,
        };
        assert_eq!(above("app", "t", &removal(None, 50), &count(500, 1_000, true)), [""; 0]);
        assert_eq!(above("app", "t", &removal(Some(50), 100), &count(50, 50, true)), [""; 0]);
        assert_eq!(above("app", "t", &removal(None, 50), &count(0, 0, true)), [""; 0]);
        // A small table is no alarm.
        assert_eq!(above("app", "t", &removal(None, 50), &count(99, 100, true)), [""; 0]);
        let told = above("app", "t", &removal(None, 50), &count(4_000_001, 5_000_000, true));
        assert!(told[0].contains("4000001 of 5000000") && told[0].contains("write \"81%\""), "{told:?}");
        let told = above("app", "t", &removal(Some(499), 10), &count(500, 1_000, false));
        assert!(told[0].contains("499 may at once (`grant.sql.app.removal.max_rows`)") && told.len() == 2, "{told:?}");
        assert!(told[0].contains("about 500 of about 1000"), "{told:?}");
        assert_eq!(limit(&removal(None, 10), &count(7, 100, true)), 7);
        assert_eq!(limit(&removal(None, 10), &count(7, 10_000, false)), 1_000);
        assert_eq!(limit(&removal(Some(8), 10), &count(7, 10_000, false)), 8);
    }

    #[test]
    fn transactions_grow_and_shrink_to_their_time() {
        let options = Options { chunk: Duration::from_millis(20), rows: 5_000, pause: Duration::ZERO };
        let mut pace = Pace::new(options);
        // 5 µs a row: 14 ms are 2,800 rows.
        for _ in 0..20 {
            let chunk = Chunk {
                removed: pace.rows,
                work: Duration::from_micros(5 * pace.rows),
                held: Duration::from_micros(5 * pace.rows),
                more: true,
            };
            pace.learn(pace.rows, &chunk);
        }
        assert!((2_500..=2_900).contains(&pace.rows), "{}", pace.rows);
        // A slow disk.
        let rows = pace.rows;
        pace.learn(
            rows,
            &Chunk { removed: rows, work: Duration::from_millis(200), held: Duration::from_millis(200), more: true },
        );
        assert!(pace.rows < rows / 10, "{}", pace.rows);
        // Few rows in a wide range say nothing.
        let rows = pace.rows;
        pace.learn(
            rows,
            &Chunk { removed: 0, work: Duration::from_micros(1), held: Duration::from_micros(1), more: true },
        );
        assert_eq!(pace.rows, rows);
        for _ in 0..20 {
            pace.learn(
                pace.rows,
                &Chunk { removed: pace.rows, work: Duration::ZERO, held: Duration::ZERO, more: true },
            );
        }
        assert_eq!(pace.rows, 5_000);
    }
}
