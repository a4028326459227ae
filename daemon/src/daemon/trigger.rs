//! From triggers to queued runs: slots of the schedule, events, other tasks, people. Here the overlap policy decides, and
//! every slot leaves its trace.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::dispatcher::{Dispatcher, Note};
use super::new_run;
use super::queue::Waiting;
use crate::clock::wall_timer::ClockChange;
use crate::clock::{self, Timestamp};
use crate::command::CommandError;
use crate::config::load::Task;
use crate::config::schedule::{AfterOn, Overlap};
use crate::outcome::Outcome;
use crate::record::{Run, RunId, Slot, SlotDecision, Step, Trigger};
use crate::removal;
use crate::run::cancel::Reason;
use crate::run::execute::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::schedule::{self, Decision, Passed, Stretch};
use crate::store::Transition;

/// Who waits for a run to be durable.
pub(super) type Reply = (oneshot::Sender<Result<RunId, CommandError>>, RunId);

/// Runs and slots on their way into the journal.
#[derive(Default)]
pub(super) struct Batch {
    runs: Vec<Waiting>,
    slots: Vec<Slot>,
    observed: Vec<String>,
}

impl Dispatcher {
    /// Everything that is due by now.
    pub(super) fn due(&mut self, now: Timestamp, change: Option<ClockChange>) {
        let mut batch = Batch::default();
        let missed = change.map_or_else(|| "the daemon was not there".to_owned(), |change| change.to_string());
        let missed = format!("{missed}, and `catch_up` does not run them");
        for (name, passed) in self.timetable.pop_due(now) {
            if let Some(task) = self.loaded.task(&name).cloned() {
                self.passed(&task, passed, &missed, &mut batch);
            }
        }
        self.submit(batch, now, None);
    }

    fn passed(&mut self, task: &Arc<Task>, passed: Passed, missed: &str, batch: &mut Batch) {
        let stretches = [
            (passed.missed, SlotDecision::Missed, missed),
            (passed.skipped, SlotDecision::Skipped, "a clock change left them out"),
            (passed.suppressed, SlotDecision::Suppressed, "outside of the window, and late"),
        ];
        for (stretch, decision, reason) in stretches {
            if let Some(stretch) = stretch {
                batch.slots.push(together(task, stretch, decision, reason));
            }
        }
        for slot in passed.caught_up {
            self.slot(task, &slot, Trigger::CatchUp, batch);
        }
        for slot in passed.on_time {
            match slot.decision {
                Decision::Run => self.slot(task, &slot, Trigger::Schedule, batch),
                Decision::Skip => batch.slots.push(not_run(task, &slot, SlotDecision::Skipped, slot.reason())),
                Decision::Suppress => batch.slots.push(not_run(task, &slot, SlotDecision::Suppressed, slot.reason())),
            }
        }
        batch.observed.push(task.name.to_string());
    }

    /// A slot that is to become a run, when the runs before allow it.
    fn slot(&mut self, task: &Arc<Task>, slot: &schedule::Slot, trigger: Trigger, batch: &mut Batch) {
        let caught_up = trigger == Trigger::CatchUp;
        let (waiting, running) = (self.queue.waiting(&task.name), self.queue.running(&task.name));
        let busy = match task.triggers.overlap {
            Overlap::Allow => None,
            // Slots that are caught up come one after the other by their nature.
            Overlap::Skip if running > 0 || (waiting > 0 && !caught_up) => {
                Some("the run before is not over (overlap = \"skip\")")
            }
            Overlap::Queue if waiting > 0 && !caught_up => Some("a run waits already (overlap = \"queue\")"),
            Overlap::CancelRunning => {
                self.cancel_running(&task.name);
                (waiting > 0 && !caught_up).then_some("a run waits already (overlap = \"cancel-running\")")
            }
            Overlap::Skip | Overlap::Queue => None,
        };
        if let Some(reason) = busy {
            batch.slots.push(not_run(task, slot, SlotDecision::Skipped, reason.into()));
            return;
        }
        let run = new_run(&task.name, trigger, slot.due, false);
        let mut reason = slot.reason();
        if caught_up {
            reason = format!("caught up; {reason}");
        }
        let (due, id) = (slot.due, run.id.clone());
        batch.slots.push(Slot { task: task.name.to_string(), due, decision: SlotDecision::Ran, reason, run: Some(id) });
        self.add(batch, task, run);
    }

    fn add(&mut self, batch: &mut Batch, task: &Arc<Task>, run: Run) {
        self.queue.announce(&task.name);
        batch.runs.push(self.waiting(task, run, None));
    }

    fn cancel_running(&self, task: &str) {
        for active in self.running.values().filter(|active| &*active.waiting.task == task) {
            active.cancel.cancel(Reason::By("the next slot (overlap = \"cancel-running\")".into()));
        }
    }

    /// A person or a program wants a run, perhaps one that carries out a plan.
    pub(super) fn manual(
        &mut self,
        task: &str,
        dry_run: bool,
        plan: Option<&Path>,
        by: String,
        reply: oneshot::Sender<Result<RunId, CommandError>>,
    ) {
        let Some(task) = self.loaded.task(task).cloned() else {
            // Whoever asked may have gone.
            let _ = reply.send(Err(CommandError::NoTask { task: task.into() }));
            return;
        };
        let now = clock::now();
        let run = new_run(&task.name, Trigger::Manual { by }, now, dry_run);
        let id = run.id.clone();
        // Before the journal knows the run: it must never plan for itself.
        if let Some(plan) = plan
            && let Err(error) = removal::assign(plan, &self.runner.state_dir, &id.0)
        {
            let _ = reply.send(Err(CommandError::Plan { message: error.to_string() }));
            return;
        }
        let mut batch = Batch::default();
        self.add(&mut batch, &task, run);
        self.submit(batch, now, Some((reply, id)));
    }

    /// The daemon is up.
    pub(super) fn startup(&mut self) {
        self.each(|task| task.triggers.startup, &Trigger::Startup);
    }

    /// Something changed at a path that tasks watch. A run that waits will see it; one that is under way may have looked already.
    pub(super) fn changed(&mut self, path: &Path) {
        let trigger = Trigger::Watch { path: path.display().to_string() };
        self.each(|task| task.triggers.watch.iter().any(|watched| path.starts_with(watched)), &trigger);
    }

    /// A run is over, and nothing is left to try.
    pub(super) fn after(&mut self, run: &Run, outcome: &Outcome) {
        if run.dry_run {
            return;
        }
        let succeeded = *outcome == Outcome::Succeeded;
        let wants = |task: &Task| {
            task.triggers.after.iter().any(|after| {
                after.task == run.task
                    && match after.on {
                        AfterOn::Success => succeeded,
                        AfterOn::Failure => !succeeded,
                        AfterOn::Any => true,
                    }
            })
        };
        self.each(wants, &Trigger::After { run: run.id.clone() });
    }

    /// Queues all enabled tasks that want an event and do not wait already.
    pub(super) fn each(&mut self, wants: impl Fn(&Task) -> bool, trigger: &Trigger) {
        let tasks: Vec<_> = self
            .loaded
            .eventful
            .iter()
            .filter(|task| wants(task) && self.queue.waiting(&task.name) == 0)
            .cloned()
            .collect();
        let now = clock::now();
        let mut batch = Batch::default();
        for task in tasks {
            let run = new_run(&task.name, trigger.clone(), now, false);
            self.add(&mut batch, &task, run);
        }
        self.submit(batch, now, None);
    }

    /// Another attempt, later. It is in the journal at once, so that a restart does not forget it.
    pub(super) fn retry(&mut self, task: &Arc<Task>, before: &Run, wait: Duration) {
        let now = clock::now();
        let due = Timestamp(now.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)));
        let mut run = new_run(&task.name, Trigger::Retry { run: before.id.clone() }, due, false);
        run.attempt = before.attempt + 1;
        tracing::info!(task = %task.name, run = %run.id, attempt = run.attempt, "tried again in {wait:?}");
        let mut batch = Batch::default();
        self.add(&mut batch, task, run);
        self.submit(batch, now, None);
    }

    pub(super) fn waiting(&self, task: &Task, run: Run, resumed: Option<Vec<Step>>) -> Waiting {
        Waiting {
            run,
            task: Arc::clone(&task.name),
            beside: task.triggers.overlap == Overlap::Allow,
            group: task.group.clone(),
            resumed,
        }
    }

    /// Writes a batch to the journal, however long that takes, and takes the runs into the queue when they are durable.
    fn submit(&self, batch: Batch, now: Timestamp, reply: Option<Reply>) {
        let Batch { runs, slots, observed } = batch;
        if runs.is_empty() && slots.is_empty() && observed.is_empty() {
            return;
        }
        let mut transitions = Vec::new();
        if !runs.is_empty() {
            transitions.push(Transition::Queue(runs.iter().map(|waiting| waiting.run.clone()).collect()));
        }
        if !slots.is_empty() {
            transitions.push(Transition::Decide(slots));
        }
        if !observed.is_empty() {
            transitions.push(Transition::Observe { tasks: observed, at: now });
        }
        let (store, notes) = (self.runner.store.clone(), self.notes.clone());
        tokio::spawn(async move {
            let mut reply = reply;
            let mut pause = FIRST_PAUSE;
            while let Err(error) = store.commit(transitions.clone()).await {
                if let Some((reply, _)) = reply.take() {
                    // A person can decide; nobody runs what was refused.
                    let _ = reply.send(Err(CommandError::Journal { message: error.to_string() }));
                    for waiting in runs {
                        let _ = notes.send(Note::Refused(waiting));
                    }
                    return;
                }
                if pause == FIRST_PAUSE {
                    tracing::error!("due runs cannot be recorded; it is tried again until they can: {error}");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            for waiting in runs {
                // The dispatcher is gone only when the daemon stops: the journal keeps the run for the next one.
                let _ = notes.send(Note::Queued(waiting));
            }
            if let Some((reply, id)) = reply {
                let _ = reply.send(Ok(id));
            }
        });
    }
}

fn not_run(task: &Task, slot: &schedule::Slot, decision: SlotDecision, reason: String) -> Slot {
    Slot { task: task.name.to_string(), due: slot.due, decision, reason, run: None }
}

fn together(task: &Task, stretch: Stretch, decision: SlotDecision, reason: &str) -> Slot {
    let reason = format!("{stretch}: {reason}");
    Slot { task: task.name.to_string(), due: stretch.last, decision, reason, run: None }
}
