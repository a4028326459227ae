//! The log of a run, from the journal by row numbers; events only wake the reader.

use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::{Lines, StreamEnd};
use crate::api::LogLine;
use crate::event::Event;
use crate::record::{Phase, Run, RunId};
use crate::store::Reader;

/// Rows that are read at once.
const BATCH: u32 = 500;

/// A record is in the journal at the latest this long after its event: the journal takes log records up to 200 ms late.
const SETTLED: Duration = Duration::from_millis(250);

/// Sends what the journal has behind the row `after`. Gives the last row that it sent.
pub(super) async fn send_stored(
    journal: &Reader,
    run: &RunId,
    mut after: i64,
    lines: &Lines,
) -> Result<i64, StreamEnd> {
    loop {
        let batch = journal.logs(run, after, BATCH).await?;
        let last = batch.len() < BATCH as usize;
        for (id, record) in batch {
            lines.send(&LogLine { id, record }).await?;
            after = id;
        }
        if last {
            return Ok(after);
        }
    }
}

/// Sends the log from behind the row `after` until the run is over. `events` were listened to before `run` was read.
pub(super) async fn follow(
    journal: Reader,
    mut events: Receiver<Event>,
    run: Run,
    mut after: i64,
    lines: &Lines,
) -> Result<(), StreamEnd> {
    let mut over = run.phase == Phase::Done;
    // Before the first look, a record may have been written whose event nobody heard: look again a moment later.
    let mut look_at = Some(Instant::now() + SETTLED);
    after = send_stored(&journal, &run.id, after, lines).await?;
    while !over {
        let settled = async {
            match look_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = events.recv() => match event {
                Ok(Event::Ended { run: ended, .. }) if ended == run.id => over = true,
                Ok(Event::Log { record }) if record.run == run.id => {
                    look_at.get_or_insert_with(|| Instant::now() + SETTLED);
                }
                Ok(_) => continue,
                Err(RecvError::Lagged(_)) => {
                    over = is_over(&journal, &run.id).await?;
                    look_at.get_or_insert_with(|| Instant::now() + SETTLED);
                }
                // Nobody is left who could end the run.
                Err(RecvError::Closed) => over = true,
            },
            () = settled => {
                look_at = None;
                after = send_stored(&journal, &run.id, after, lines).await?;
            }
        }
    }
    // The commit that ended the run took the last records with it.
    send_stored(&journal, &run.id, after, lines).await?;
    Ok(())
}

/// Whether the journal knows the end of the run. A run that was forgotten meanwhile is over.
async fn is_over(journal: &Reader, run: &RunId) -> Result<bool, StreamEnd> {
    Ok(journal.run(run).await?.is_none_or(|run| run.phase == Phase::Done))
}
