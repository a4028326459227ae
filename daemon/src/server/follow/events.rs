//! The events of a run: first what the journal says has happened, then what happens.

use std::collections::BTreeSet;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::{Lines, StreamEnd};
use crate::event::Event;
use crate::record::{Phase, Run, RunId, Step, StepPhase};
use crate::store::Reader;

/// Sends the events of a run until it is over. `events` were listened to before anything was read.
pub(super) async fn follow(
    journal: Reader,
    mut events: Receiver<Event>,
    id: RunId,
    lines: &Lines,
) -> Result<(), StreamEnd> {
    let mut told = Told::default();
    let mut catch_up = true;
    loop {
        if std::mem::take(&mut catch_up) {
            let Some(run) = journal.run(&id).await? else { return Ok(()) };
            let steps = journal.steps(&id).await?;
            for event in history(&run, &steps) {
                if told.is_news(&event) {
                    lines.send(&event).await?;
                }
            }
        }
        if told.ended {
            return Ok(());
        }
        match events.recv().await {
            Ok(event) if *event.run() == id && told.is_news(&event) => lines.send(&event).await?,
            Ok(_) => {}
            // What was missed is in the journal by now, but for progress and log, which the next event makes good.
            Err(RecvError::Lagged(_)) => catch_up = true,
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

/// What the journal knows, as events in the order in which they happened.
fn history(run: &Run, steps: &[Step]) -> Vec<Event> {
    let id = || run.id.clone();
    let mut events = vec![Event::Phase { run: id(), task: run.task.clone(), phase: run.phase }];
    if !steps.is_empty() {
        let weight = steps.iter().map(|step| step.weight).sum();
        events.push(Event::Planned { run: id(), steps: u32::try_from(steps.len()).unwrap_or(u32::MAX), weight });
    }
    for Step { ordinal, title, weight, phase, error, .. } in steps {
        let (ordinal, weight) = (*ordinal, *weight);
        if *phase != StepPhase::Pending {
            events.push(Event::StepStarted { run: id(), ordinal, title: title.clone(), weight });
        }
        if *phase == StepPhase::Done {
            events.push(Event::StepEnded { run: id(), ordinal, weight, error: error.clone() });
        }
    }
    if let Some(outcome) = run.outcome.clone() {
        events.push(Event::Ended { run: id(), task: run.task.clone(), outcome });
    }
    events
}

/// What a reader has been told, so that it is told everything once.
#[derive(Debug, Default)]
struct Told {
    phase: Option<Phase>,
    planned: bool,
    started: BTreeSet<u32>,
    ended_steps: BTreeSet<u32>,
    ended: bool,
}

impl Told {
    fn is_news(&mut self, event: &Event) -> bool {
        match event {
            // An event that was on its way while the journal was read may be older than what the journal said.
            Event::Phase { phase, .. } => {
                let news = self.phase.is_none_or(|told| told < *phase);
                if news {
                    self.phase = Some(*phase);
                }
                news
            }
            Event::Planned { .. } => !std::mem::replace(&mut self.planned, true),
            Event::StepStarted { ordinal, .. } => self.started.insert(*ordinal),
            Event::StepEnded { ordinal, .. } => self.ended_steps.insert(*ordinal),
            Event::Progress { ordinal, .. } => !self.ended_steps.contains(ordinal),
            Event::Log { .. } => true,
            Event::Ended { .. } => !std::mem::replace(&mut self.ended, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;

    #[test]
    fn tells_everything_once() {
        let run = RunId("01J".into());
        let phase = |phase| Event::Phase { run: run.clone(), task: "t".into(), phase };
        let ended_step = || Event::StepEnded { run: run.clone(), ordinal: 2, weight: 1, error: None };
        let progress = || Event::Progress { run: run.clone(), ordinal: 2, done: 1, total: None, unit: "files".into() };
        let mut told = Told::default();
        assert!(told.is_news(&phase(Phase::Executing)));
        assert!(!told.is_news(&phase(Phase::Planning)), "the journal was ahead of the events");
        assert!(told.is_news(&phase(Phase::Finishing)));
        assert!(told.is_news(&progress()) && told.is_news(&progress()));
        assert!(told.is_news(&ended_step()) && !told.is_news(&ended_step()));
        assert!(!told.is_news(&progress()), "no progress of a step that is over");
        let ended = Event::Ended { run: run.clone(), task: "t".into(), outcome: Outcome::Succeeded };
        assert!(told.is_news(&ended) && !told.is_news(&ended));
    }
}
