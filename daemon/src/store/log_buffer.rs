//! Log records that wait for a commit: bounded, and honest about what did not fit.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clock::Timestamp;
use crate::record::{Level, LogRecord, RunId};

/// Records and bytes of text that may wait. The writer is behind by seconds when either is reached.
const MOST_RECORDS: usize = 16_384;
const MOST_BYTES: usize = 16 << 20;

#[derive(Debug, Default)]
pub(super) struct LogBuffer {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    records: Vec<LogRecord>,
    bytes: usize,
    dropped: BTreeMap<RunId, Dropped>,
}

#[derive(Debug)]
struct Dropped {
    count: u64,
    last: Timestamp,
}

impl LogBuffer {
    /// Takes in what fits and counts the rest.
    pub(super) fn push(&self, records: Vec<LogRecord>) {
        if records.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        for record in records {
            let bytes = size(&record);
            if waiting.records.len() < MOST_RECORDS && waiting.bytes + bytes <= MOST_BYTES {
                waiting.bytes += bytes;
                waiting.records.push(record);
            } else {
                let dropped = waiting.dropped.entry(record.run).or_insert(Dropped { count: 0, last: record.at });
                dropped.count += 1;
                dropped.last = record.at;
            }
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Empties the buffer. For each run that lost records, one record says so.
    pub(super) fn take(&self) -> Vec<LogRecord> {
        let Waiting { mut records, dropped, .. } = std::mem::take(&mut *self.lock());
        records.extend(dropped.into_iter().map(|(run, Dropped { count, last })| LogRecord {
            run,
            at: last,
            step: None,
            level: Level::Warn,
            message: format!(
                "{count} log records were dropped, since they came faster than the journal could be written"
            ),
            fields: vec![("dropped".to_owned(), count.to_string())],
        }));
        records
    }

    /// Takes records back that could not be committed. They wait for the next commit and wake nobody.
    pub(super) fn put_back(&self, records: Vec<LogRecord>) {
        let mut waiting = self.lock();
        waiting.bytes += records.iter().map(size).sum::<usize>();
        let later = std::mem::replace(&mut waiting.records, records);
        waiting.records.extend(later);
    }

    pub(super) fn is_empty(&self) -> bool {
        let waiting = self.lock();
        waiting.records.is_empty() && waiting.dropped.is_empty()
    }

    /// Returns after records were handed over, perhaps after they were taken already.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(record: &LogRecord) -> usize {
    record.message.len() + record.fields.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(run: &str, at: i64, message: String) -> LogRecord {
        let (run, at) = (RunId(run.into()), Timestamp(at));
        LogRecord { run, at, step: Some(1), level: Level::Info, message, fields: Vec::new() }
    }

    #[test]
    fn what_does_not_fit_is_counted_for_its_run() {
        let buffer = LogBuffer::default();
        for number in 0..MOST_RECORDS {
            buffer.push(vec![record("loud", 1, number.to_string())]);
        }
        buffer.push(vec![
            record("loud", 2, "no".into()),
            record("quiet", 3, "no".into()),
            record("loud", 4, "no".into()),
        ]);
        let taken = buffer.take();
        assert_eq!(taken.len(), MOST_RECORDS + 2);
        let notes = &taken[MOST_RECORDS..];
        assert!(notes[0].message.starts_with("2 log records were dropped"), "{:?}", notes[0]);
        assert_eq!((&*notes[0].run.0, notes[0].at, notes[0].level), ("loud", Timestamp(4), Level::Warn));
        assert_eq!((&*notes[1].run.0, notes[1].at, notes[1].step), ("quiet", Timestamp(3), None));
        assert!(buffer.is_empty() && buffer.take().is_empty());
    }

    #[test]
    fn bytes_are_bounded_too() {
        let buffer = LogBuffer::default();
        let large = "x".repeat(MOST_BYTES / 4);
        buffer.push((0..6).map(|at| record("loud", at, large.clone())).collect());
        assert_eq!(buffer.take().len(), 4 + 1);
        buffer.push(vec![record("loud", 9, large)]);
        assert_eq!(buffer.take().len(), 1, "there is room again");
    }

    #[test]
    fn what_was_put_back_comes_first() {
        let buffer = LogBuffer::default();
        buffer.push(vec![record("a", 1, "first".into())]);
        let taken = buffer.take();
        buffer.push(vec![record("a", 2, "second".into())]);
        buffer.put_back(taken);
        let messages: Vec<String> = buffer.take().into_iter().map(|record| record.message).collect();
        assert_eq!(messages, ["first", "second"]);
    }
}
