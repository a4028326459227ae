//! What the dispatcher answers when it is asked how things are.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::dispatcher::{Active, Dispatcher};
use crate::command::{NextSlot, Running, Status, TaskStatus};
use crate::config::load::Task;
use crate::outcome::Outcome;
use crate::record::Phase;

/// Runs that wait are listed up to this many.
const MOST_LISTED: usize = 100;

impl Dispatcher {
    pub(super) fn status(&self) -> Status {
        let tasks = &self.loaded.config.tasks;
        let mut running: Vec<_> = self.running.values().map(Active::status).collect();
        running.sort_by(|a, b| a.run.id.cmp(&b.run.id));
        let mut failing: Vec<_> = self
            .last
            .values()
            .filter(|run| {
                tasks.contains_key(&*run.task)
                    && run.outcome.as_ref().is_some_and(|outcome| *outcome != Outcome::Succeeded)
            })
            .cloned()
            .collect();
        failing.sort_by(|a, b| a.task.cmp(&b.task));
        let next = tasks
            .keys()
            .filter_map(|name| self.timetable.next_of(name).map(|slot| (slot.due, name)))
            .min()
            .map(|(due, name)| NextSlot { task: name.to_string(), due });
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            since: self.since,
            config_dir: self.config_dir.display().to_string(),
            config_loaded: self.loaded.at,
            config_error: self.config_error.clone(),
            tasks: tasks.len(),
            disabled: tasks.values().filter(|task| !task.enabled).count(),
            next,
            running,
            queued: self
                .queue
                .iter()
                .chain(self.later_runs.values())
                .take(MOST_LISTED)
                .map(|waiting| waiting.run.clone())
                .collect(),
            queue_length: self.queue.len(),
            failing,
        }
    }

    pub(super) fn list(&self) -> Vec<TaskStatus> {
        let status = |task: &Arc<Task>| TaskStatus {
            name: task.name.to_string(),
            description: task.description.to_string(),
            plugin: task.plugin.manifest.name.clone(),
            enabled: task.enabled,
            schedule: task.triggers.to_string(),
            timezone: task.schedule.timezone().name().to_owned(),
            next: self.timetable.next_of(&task.name).map(|slot| slot.due),
            last: self.last.get(&*task.name).cloned(),
        };
        self.loaded.config.tasks.values().map(status).collect()
    }
}

impl Active {
    fn status(&self) -> Running {
        let mut run = self.waiting.run.clone();
        run.started = Some(self.started);
        run.phase = Phase::Executing;
        let (steps, done) = (self.tally.steps.load(Ordering::Relaxed), self.tally.done.load(Ordering::Relaxed));
        Running { run, steps_done: done, steps }
    }
}
