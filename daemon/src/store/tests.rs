//! Tests against real files.

mod alerts;
mod consent;
mod crash;
mod group;
mod opening;
mod outbox;
mod outbox_crash;
mod outbox_speed;
mod pruning;
mod round_trip;
mod task_state;

use tempfile::TempDir;

use super::{Store, StoreError, Transition};
use crate::clock::Timestamp;
use crate::outcome::Outcome;
use crate::record::{Level, LogRecord, Phase, Run, RunId, Step, StepPhase, Trigger};

/// A journal in a folder of its own.
struct Fixture {
    store: Store,
    dir: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { store: Store::open_dir(dir.path()).await.unwrap(), dir }
    }

    /// Closes the journal and opens it again.
    async fn reopen(self) -> Self {
        self.store.close().await;
        Self { store: Store::open_dir(self.dir.path()).await.unwrap(), dir: self.dir }
    }

    async fn commit(&self, transition: Transition) {
        self.store.commit(vec![transition]).await.unwrap();
    }

    /// Why a transition is refused.
    async fn refusal(&self, transition: Transition) -> String {
        let error = self.store.commit(vec![transition]).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
        error.to_string()
    }

    async fn run(&self, id: &RunId) -> Run {
        self.store.read().run(id).await.unwrap().unwrap()
    }

    async fn steps(&self, id: &RunId) -> Vec<Step> {
        self.store.read().steps(id).await.unwrap()
    }

    async fn messages(&self, id: &RunId) -> Vec<String> {
        let records = self.store.read().logs(id, 0, 1_000_000).await.unwrap();
        records.into_iter().map(|(_, record)| record.message).collect()
    }

    /// Queues a run and brings it to where it executes `steps` steps, none of them running.
    async fn executing(&self, at: i64, task: &str, steps: u32) -> RunId {
        let run = queued(at, task);
        let id = run.id.clone();
        self.commit(Transition::Queue(vec![run])).await;
        self.commit(start(&id, at)).await;
        self.commit(Transition::Plan { run: id.clone(), steps: (0..steps).map(step).collect() }).await;
        id
    }

    /// A run that went well and ended at `at`.
    async fn over(&self, at: i64, task: &str) -> RunId {
        let id = self.executing(at, task, 1).await;
        self.commit(start_step(&id, 0, at)).await;
        self.commit(finish_step(&id, 0, at, None)).await;
        self.store.commit(vec![log(&id, at, "done"), finish(&id, at, Outcome::Succeeded)]).await.unwrap();
        id
    }
}

fn queued(at: i64, task: &str) -> Run {
    let at = Timestamp(at);
    Run::queued(RunId::new(at), task, Trigger::Schedule, at, at)
}

fn step(ordinal: u32) -> Step {
    Step {
        ordinal,
        id: format!("step-{ordinal}"),
        title: format!("Step {ordinal}"),
        weight: 1,
        input: format!("{{\"number\":{ordinal}}}"),
        phase: StepPhase::Pending,
        started: None,
        ended: None,
        output: None,
        error: None,
    }
}

fn start(run: &RunId, at: i64) -> Transition {
    Transition::Start { run: run.clone(), at: Timestamp(at), fingerprint: "f00d".to_owned() }
}

fn start_step(run: &RunId, ordinal: u32, at: i64) -> Transition {
    Transition::StartStep { run: run.clone(), ordinal, at: Timestamp(at) }
}

fn finish_step(run: &RunId, ordinal: u32, at: i64, next: Option<u32>) -> Transition {
    Transition::FinishStep { run: run.clone(), ordinal, at: Timestamp(at), result: Ok(format!("{ordinal}")), next }
}

fn finish(run: &RunId, at: i64, outcome: Outcome) -> Transition {
    Transition::Finish { run: run.clone(), at: Timestamp(at), outcome, report: None, metrics: Vec::new() }
}

fn log(run: &RunId, at: i64, message: &str) -> Transition {
    Transition::Log(vec![record(run, at, message)])
}

fn record(run: &RunId, at: i64, message: &str) -> LogRecord {
    LogRecord {
        run: run.clone(),
        at: Timestamp(at),
        step: None,
        level: Level::Info,
        message: message.to_owned(),
        fields: Vec::new(),
    }
}
