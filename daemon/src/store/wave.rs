//! Which transitions can share a statement.
//!
//! A statement per kind takes the rows of many callers, so transitions are regrouped by kind. That is right as long as
//! those of one run, or of one step, keep their order. The kinds of a [`Wave`] are recorded in the order of its fields;
//! a transition that would have to come before one that its run already has in the wave opens the next wave.

use std::collections::HashMap;

use super::transition::Transition;
use crate::clock::Timestamp;
use crate::outcome::Outcome;
use crate::run::record::{LogRecord, Metric, Report, Run, RunId, Slot, Step};

/// Transitions that are recorded together, in the order of these fields.
#[derive(Debug, Default)]
pub(super) struct Wave<'a> {
    pub(super) queued: Vec<&'a Run>,
    pub(super) slots: Vec<&'a Slot>,
    pub(super) observed: Vec<(&'a str, Timestamp)>,
    pub(super) started: Vec<(&'a RunId, Timestamp, &'a str)>,
    pub(super) resumed: Vec<(&'a RunId, Timestamp)>,
    pub(super) planned: Vec<(&'a RunId, &'a [Step])>,
    pub(super) steps_started: Vec<(&'a RunId, u32, Timestamp)>,
    pub(super) steps_finished: Vec<(&'a RunId, u32, Timestamp, &'a Result<String, Outcome>)>,
    pub(super) steps_next: Vec<(&'a RunId, u32, Timestamp)>,
    pub(super) finished: Vec<Finished<'a>>,
    pub(super) logs: Vec<&'a LogRecord>,
    places: Places<'a>,
}

/// [`Transition::Finish`], borrowed.
#[derive(Debug)]
pub(super) struct Finished<'a> {
    pub(super) run: &'a RunId,
    pub(super) at: Timestamp,
    pub(super) outcome: &'a Outcome,
    pub(super) report: Option<&'a Report>,
    pub(super) metrics: &'a [Metric],
}

/// The last field of the wave that each run and each step stands in.
#[derive(Debug, Default)]
struct Places<'a> {
    runs: HashMap<&'a RunId, Place>,
    steps: HashMap<(&'a RunId, u32), StepPlace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Started,
    Resumed,
    Planned,
    Steps,
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum StepPlace {
    Started,
    Finished,
    Next,
}

impl<'a> Places<'a> {
    /// Takes a place for the run, if it lies behind those it has.
    fn take(&mut self, run: &'a RunId, place: Place) -> bool {
        let free = self.runs.get(run).is_none_or(|last| *last < place);
        if free {
            self.runs.insert(run, place);
        }
        free
    }

    /// The same for a step. Steps of a run do not mind each other.
    fn take_step(&mut self, run: &'a RunId, ordinal: u32, place: StepPlace) -> bool {
        let free = self.runs.get(run).is_none_or(|last| *last <= Place::Steps)
            && self.steps.get(&(run, ordinal)).is_none_or(|last| *last < place);
        if free {
            self.runs.insert(run, Place::Steps);
            self.steps.insert((run, ordinal), place);
        }
        free
    }
}

impl<'a> Wave<'a> {
    /// Puts transitions, in their order, into as few waves as their order allows.
    pub(super) fn divide(transitions: impl IntoIterator<Item = &'a Transition>) -> Vec<Self> {
        let mut waves = vec![Self::default()];
        for transition in transitions {
            let fits = waves.last_mut().is_some_and(|wave| wave.place(transition));
            if !fits {
                let mut wave = Self::default();
                wave.place(transition);
                waves.push(wave);
            }
            if let Some(wave) = waves.last_mut() {
                wave.add(transition);
            }
        }
        for wave in &mut waves {
            // SQLite's trees grow fastest in order; the identifiers of one millisecond come in none.
            wave.queued.sort_by(|a, b| a.id.cmp(&b.id));
            wave.slots.sort_by(|a, b| a.task.cmp(&b.task));
        }
        waves
    }

    fn place(&mut self, transition: &'a Transition) -> bool {
        let places = &mut self.places;
        match transition {
            // Nothing of a run can come before it is queued; slots, cursors and log records have no order to keep.
            Transition::Queue(_) | Transition::Decide(_) | Transition::Observe { .. } | Transition::Log(_) => true,
            Transition::Start { run, .. } => places.take(run, Place::Started),
            Transition::Resume { run, .. } => places.take(run, Place::Resumed),
            Transition::Plan { run, .. } => places.take(run, Place::Planned),
            Transition::StartStep { run, ordinal, .. } => places.take_step(run, *ordinal, StepPlace::Started),
            Transition::FinishStep { run, ordinal, next, .. } => {
                places.take_step(run, *ordinal, StepPlace::Finished)
                    && next.is_none_or(|next| places.take_step(run, next, StepPlace::Next))
            }
            Transition::Finish { run, .. } => places.take(run, Place::Finished),
        }
    }

    fn add(&mut self, transition: &'a Transition) {
        match transition {
            Transition::Queue(runs) => self.queued.extend(runs),
            Transition::Decide(slots) => self.slots.extend(slots),
            Transition::Observe { tasks, at } => self.observed.extend(tasks.iter().map(|task| (task.as_str(), *at))),
            Transition::Start { run, at, fingerprint } => self.started.push((run, *at, fingerprint)),
            Transition::Resume { run, at } => self.resumed.push((run, *at)),
            Transition::Plan { run, steps } => self.planned.push((run, steps)),
            Transition::StartStep { run, ordinal, at } => self.steps_started.push((run, *ordinal, *at)),
            Transition::FinishStep { run, ordinal, at, result, next } => {
                self.steps_finished.push((run, *ordinal, *at, result));
                self.steps_next.extend(next.map(|next| (run, next, *at)));
            }
            Transition::Finish { run, at, outcome, report, metrics } => {
                self.finished.push(Finished { run, at: *at, outcome, report: report.as_ref(), metrics });
            }
            Transition::Log(records) => self.logs.extend(records),
        }
    }
}
