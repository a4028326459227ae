//! Which transitions can share a statement.
//!
//! A statement per kind takes the rows of many callers, so transitions are regrouped by kind. That is right as long as
//! those of one run, or of one step, keep their order. The kinds of a [`Wave`] are recorded in the order of its fields;
//! a transition that would have to come before one that its run already has in the wave opens the next wave.

use std::collections::HashMap;

use super::transition::Transition;
use crate::clock::Timestamp;
use crate::outcome::Outcome;
use crate::record::finding::Life;
use crate::record::{LogRecord, Metric, Report, Run, RunId, Slot, Step};

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
    pub(super) lives: Vec<&'a Life>,
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
            Transition::Queue(_)
            | Transition::Decide(_)
            | Transition::Observe { .. }
            | Transition::Lives(_)
            | Transition::Log(_) => true,
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
            Transition::Lives(lives) => self.lives.extend(lives),
            Transition::Log(records) => self.logs.extend(records),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a transition touches, at which wave and field.
    type Touch = (Resource, bool, (usize, usize));

    #[derive(Debug, PartialEq)]
    enum Resource {
        Run(RunId),
        Step(RunId, u32),
    }

    /// Transitions over two runs of three steps; the time is the place in the list.
    fn transitions() -> impl Strategy<Value = Vec<Transition>> {
        let kinds = prop::collection::vec((0..5u8, 0..2usize, 0..3u32, prop::option::of(0..3u32)), 0..24);
        kinds.prop_map(|kinds| {
            let transition = |(at, (kind, run, ordinal, next)): (i64, (u8, usize, u32, Option<u32>))| {
                let (run, at) = (RunId(["a", "b"][run].into()), Timestamp(at));
                let (result, outcome) = (Ok(String::new()), Outcome::Succeeded);
                match kind {
                    0 => Transition::Start { run, at, fingerprint: String::new() },
                    1 => Transition::Resume { run, at },
                    2 => Transition::StartStep { run, ordinal, at },
                    3 => Transition::FinishStep { run, ordinal, at, result, next },
                    _ => Transition::Finish { run, at, outcome, report: None, metrics: Vec::new() },
                }
            };
            (0..).zip(kinds).map(transition).collect()
        })
    }

    /// What the transition number `at` touches.
    fn touches(waves: &[Wave<'_>], at: Timestamp) -> Vec<Touch> {
        let mut touches = Vec::new();
        for (number, wave) in waves.iter().enumerate() {
            let started = wave.started.iter().map(|(run, at, _)| (0, *run, None, *at));
            let resumed = wave.resumed.iter().map(|(run, at)| (1, *run, None, *at));
            let starts = wave.steps_started.iter().map(|(run, ordinal, at)| (2, *run, Some(*ordinal), *at));
            let ends = wave.steps_finished.iter().map(|(run, ordinal, at, _)| (3, *run, Some(*ordinal), *at));
            let next = wave.steps_next.iter().map(|(run, ordinal, at)| (4, *run, Some(*ordinal), *at));
            let finished = wave.finished.iter().map(|end| (5, end.run, None, end.at));
            let all = started.chain(resumed).chain(starts).chain(ends).chain(next).chain(finished);
            for (field, run, ordinal, _) in all.filter(|(.., moment)| *moment == at) {
                let place = (number, field);
                touches.push((Resource::Run(run.clone()), ordinal.is_none(), place));
                touches.extend(ordinal.map(|ordinal| (Resource::Step(run.clone(), ordinal), true, place)));
            }
        }
        touches
    }

    proptest! {
        /// Nothing is lost, and what touches the same run or step stays in order. Steps of a run may pass each other.
        #[test]
        fn order_is_kept_where_it_matters(transitions in transitions()) {
            let waves = Wave::divide(&transitions);
            let touched: Vec<Vec<Touch>> = (0..).take(transitions.len()).map(|at| touches(&waves, Timestamp(at))).collect();
            for (second, later) in touched.iter().enumerate() {
                prop_assert!(!later.is_empty());
                for earlier in &touched[..second] {
                    for (resource, alone, place) in earlier {
                        for (other, other_alone, behind) in later {
                            let together = resource != other || !(*alone || *other_alone);
                            prop_assert!(together || place < behind, "{:?} {:?} {:?}", resource, place, behind);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn callers_of_different_runs_share_a_wave() {
        let runs: Vec<RunId> = (0..100).map(|number| RunId(number.to_string().into())).collect();
        let at = Timestamp(1);
        let transitions: Vec<Transition> = runs
            .iter()
            .flat_map(|run| {
                let start = Transition::StartStep { run: run.clone(), ordinal: 3, at };
                let finish = |ordinal, next| {
                    let (run, result) = (run.clone(), Ok(String::new()));
                    Transition::FinishStep { run, ordinal, at, result, next }
                };
                [finish(0, Some(2)), finish(1, None), start]
            })
            .collect();
        assert_eq!(Wave::divide(&transitions).len(), 1);
    }
}
