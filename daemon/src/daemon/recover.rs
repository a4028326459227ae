//! What a daemon that is gone left in the journal: each run goes on or is marked, none stays in between.

use std::sync::Arc;

use super::dispatcher::Dispatcher;
use super::queue::Waiting;
use crate::outcome::Outcome;
use crate::record::{Phase, Run};
use crate::store::StoreError;

/// A run that takes the daemon down with it is not resumed for ever.
const MOST_RESUMPTIONS: u32 = 3;

impl Dispatcher {
    /// Takes up what the journal has of runs that are not over.
    pub(super) async fn recover(&mut self) -> Result<(), StoreError> {
        for run in self.runner.store.read().unfinished().await? {
            match self.verdict(&run).await? {
                Ok(waiting) => {
                    tracing::info!(run = %waiting.run.id, task = %waiting.task, "a run of the daemon before goes on");
                    self.queue.announce(&waiting.task);
                    self.arrived(waiting);
                }
                Err(outcome) => {
                    tracing::warn!(run = %run.id, task = %run.task, "a run of the daemon before is {outcome}");
                    self.finish_unstarted(run, outcome);
                }
            }
        }
        Ok(())
    }

    async fn verdict(&self, run: &Run) -> Result<Result<Waiting, Outcome>, StoreError> {
        let interrupted = |message: &str| Ok(Err(Outcome::Interrupted { message: message.into() }));
        let Some(task) = self.loaded.task(&run.task) else {
            return interrupted("the daemon was gone, and the task is not there any more");
        };
        let task = Arc::clone(task);
        if run.phase == Phase::Queued {
            return Ok(Ok(self.waiting(&task, run.clone(), None)));
        }
        if run.dry_run {
            return interrupted("the daemon was gone; a dry run is not resumed");
        }
        if run.fingerprint.as_deref() != Some(&*task.fingerprint.to_string()) {
            return interrupted("the daemon was gone, and plugin, config, grants or limits are not the same any more");
        }
        if run.resumed >= MOST_RESUMPTIONS {
            return interrupted("the daemon was gone, and the run was resumed three times before");
        }
        let steps = self.runner.store.read().steps(&run.id).await?;
        Ok(Ok(self.waiting(&task, run.clone(), Some(steps))))
    }
}
