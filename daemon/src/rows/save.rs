//! Saving rows before they go: as JSON lines, read while the archiver takes them.
//!
//! Beside the stream a ledger is kept on disk, with the key of each row and a digest of what was saved of it. What is removed
//! later is removed by the ledger: a row that has changed since, or that came after, is not the one in the
//! snapshot, and stays.

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::NamedTempFile;

use crate::rows::{RowsError, SavedRow, Table};

/// Bytes that are made ready at once.
const PIECE: usize = 1 << 20;

/// What was saved.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: NamedTempFile,
    hasher: RandomState,
    /// Rows in it.
    pub(crate) count: u64,
}

/// Where the ledger is put when the last row was read.
pub(crate) type Place = Arc<Mutex<Option<Ledger>>>;

/// Takes the ledger out; none when the rows were not read to their end.
pub(crate) fn take(place: &Place) -> Option<Ledger> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn failed(error: &std::io::Error) -> RowsError {
    RowsError::Failed(format!("the list of the rows that were saved: {error}"))
}

impl Ledger {
    /// What a row held, in 64 bits. The key of the hash is random, so that nobody can make two rows alike.
    pub(crate) fn digest(&self, row: &[u8]) -> u64 {
        self.hasher.hash_one(row)
    }

    /// The rows, from the first.
    pub(crate) fn rows(&self) -> Result<LedgerRows, RowsError> {
        let file = self.file.reopen().map_err(|error| failed(&error))?;
        Ok(LedgerRows { lines: BufReader::new(file).lines() })
    }
}

/// Rows of a ledger that are read.
pub(crate) struct LedgerRows {
    lines: std::io::Lines<BufReader<std::fs::File>>,
}

impl LedgerRows {
    /// The next rows, at most `most`; empty at the end.
    pub(crate) fn next(&mut self, most: u64) -> Result<Vec<SavedRow>, RowsError> {
        let mut rows = Vec::new();
        while (rows.len() as u64) < most {
            let Some(line) = self.lines.next() else { break };
            let line = line.map_err(|error| failed(&error))?;
            rows.push(serde_json::from_str(&line).map_err(|error| failed(&error.into()))?);
        }
        Ok(rows)
    }
}

/// The rows to go of a table, as JSON lines.
pub(crate) struct RowReader {
    table: Box<dyn Table>,
    ledger: BufWriter<NamedTempFile>,
    hasher: RandomState,
    rows: u64,
    /// Rows that are saved at most.
    limit: u64,
    ready: Vec<u8>,
    given: usize,
    is_end: bool,
    place: Place,
}

impl RowReader {
    /// Reads at most `limit` rows; the ledger is kept in `scratch` meanwhile.
    pub(crate) fn new(table: Box<dyn Table>, limit: u64, scratch: &Path, place: Place) -> Result<Self, RowsError> {
        let made = std::fs::create_dir_all(scratch).and_then(|()| NamedTempFile::new_in(scratch));
        let ledger = BufWriter::new(made.map_err(|error| failed(&error))?);
        let hasher = RandomState::new();
        Ok(Self { table, ledger, hasher, rows: 0, limit, ready: Vec::new(), given: 0, is_end: false, place })
    }

    fn fill(&mut self) -> std::io::Result<()> {
        self.ready.clear();
        self.given = 0;
        while self.ready.is_empty() && !self.is_end {
            let mut outcome = Ok(());
            let Self { table, ledger, hasher, rows, limit, ready, .. } = self;
            let more = table.read(&mut |key, row| {
                if *rows == *limit || outcome.is_err() {
                    return false;
                }
                outcome = serde_json::to_writer(&mut *ledger, &(key, hasher.hash_one(row)))
                    .map_err(std::io::Error::from)
                    .and_then(|()| ledger.write_all(b"\n"));
                ready.extend_from_slice(row);
                ready.push(b'\n');
                *rows += 1;
                ready.len() < PIECE && *rows < *limit
            });
            let more = more.map_err(|error| std::io::Error::other(error.to_string()))?;
            outcome?;
            self.is_end = !more || self.rows == self.limit;
        }
        if self.is_end && self.ready.is_empty() {
            return self.finish();
        }
        Ok(())
    }

    fn finish(&mut self) -> std::io::Result<()> {
        self.ledger.flush()?;
        let file = std::mem::replace(&mut self.ledger, BufWriter::new(NamedTempFile::new()?));
        let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        let ledger = Ledger { file, hasher: self.hasher.clone(), count: self.rows };
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(ledger);
        self.limit = 0;
        Ok(())
    }
}

impl Read for RowReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.given == self.ready.len() {
            if self.is_end && self.limit == 0 {
                return Ok(0);
            }
            self.fill()?;
        }
        let count = buffer.len().min(self.ready.len() - self.given);
        buffer[..count].copy_from_slice(&self.ready[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}
