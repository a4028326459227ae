//! What the dispatcher answers when it is asked how things are, and what it passes on to the journal.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::dispatcher::{Active, Dispatcher};
use crate::clock;
use crate::command::{CommandError, NextSlot, Running, Status, TaskStatus};
use crate::config::load::Task;
use crate::outcome::Outcome;
use crate::record::Phase;
use crate::record::consent::ConsentNews;
use crate::record::finding::IgnoredFinding;
use crate::record::outbox::{Enqueued, NewMessage};
use crate::stats::Keeping;
use crate::store::{Hold, Resend, Store, StoreError};
use tokio::sync::oneshot;

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
            journal_error: self.runner.store.trouble(),
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
            delivers: task.enabled && task.triggers.outbox,
            schedule: task.triggers.to_string(),
            timezone: task.schedule.timezone().name().to_owned(),
            next: self.timetable.next_of(&task.name).map(|slot| slot.due),
            last: self.last.get(&*task.name).cloned(),
        };
        self.loaded.config.tasks.values().map(status).collect()
    }

    /// Where each task would keep figures, by name.
    pub(super) fn figures(&self) -> Vec<Keeping> {
        let mut figures: Vec<Keeping> = self.loaded.config.tasks.values().map(|it| Keeping::of(it)).collect();
        figures.sort_by(|a, b| a.task.cmp(&b.task));
        figures
    }

    /// Ends holds. It is the journal's to do; nobody here waits for it.
    pub(super) fn release(
        &self,
        task: String,
        url: Option<String>,
        by: String,
        reply: oneshot::Sender<Result<Vec<Hold>, CommandError>>,
    ) {
        let (store, look) = (self.runner.store.clone(), self.look());
        let work = async move {
            let holds = release(&store, &task, url.as_deref()).await?;
            holds.iter().for_each(|hold| tracing::info!(%task, repository = %hold.url, %by, "a hold was released"));
            look.notify_one();
            Ok(holds)
        };
        have_done(work, reply);
    }

    /// Ignores a finding.
    pub(super) fn ignore(&self, entry: IgnoredFinding, reply: oneshot::Sender<Result<(), CommandError>>) {
        let store = self.runner.store.clone();
        let work = async move {
            store.ignore(&entry).await?;
            let IgnoredFinding { id, task, until, by, .. } = entry;
            tracing::info!(%task, finding = %id, %until, %by, "a finding is ignored");
            Ok(())
        };
        have_done(work, reply);
    }

    /// Heeds a finding again.
    pub(super) fn heed(&self, id: String, by: String, reply: oneshot::Sender<Result<bool, CommandError>>) {
        let store = self.runner.store.clone();
        let work = async move {
            let was = store.heed(&id).await?;
            tracing::info!(finding = %id, %by, "a finding is heeded again");
            Ok(was)
        };
        have_done(work, reply);
    }

    /// Puts a message into the outbox.
    pub(super) fn enqueue(
        &self,
        origin: String,
        message: NewMessage,
        by: String,
        reply: oneshot::Sender<Result<Enqueued, CommandError>>,
    ) {
        let store = self.runner.store.clone();
        let work = async move {
            let enqueued = store.outbox_enqueue(&origin, vec![message], clock::now()).await?.pop();
            // As many answers come as messages went.
            let enqueued = enqueued.ok_or(StoreError::Closed)?;
            tracing::debug!(message = %enqueued.id, outcome = ?enqueued.outcome, %by, "a message was enqueued");
            Ok(enqueued)
        };
        have_done(work, reply);
    }

    /// Takes in what a provider tells of users' consents.
    pub(super) fn consents(
        &self,
        account: String,
        news: Vec<ConsentNews>,
        reply: oneshot::Sender<Result<u64, CommandError>>,
    ) {
        let store = self.runner.store.clone();
        have_done(async move { store.consent_news(&account, news, clock::now()).await }, reply);
    }

    /// Sends dead messages again.
    pub(super) fn resend(&self, which: Resend, by: String, reply: oneshot::Sender<Result<u64, CommandError>>) {
        let store = self.runner.store.clone();
        let work = async move {
            let messages = store.outbox_resend(which.clone(), clock::now()).await?;
            tracing::info!(?which, messages, %by, "dead messages are sent again");
            Ok(messages)
        };
        have_done(work, reply);
    }

    /// Ends the pause of a channel.
    pub(super) fn resume_channel(
        &self,
        channel: String,
        by: String,
        reply: oneshot::Sender<Result<bool, CommandError>>,
    ) {
        let store = self.runner.store.clone();
        let work = async move {
            let was_paused = store.outbox_resume(&channel, clock::now()).await?;
            if was_paused {
                tracing::info!(channel, %by, "the pause of a channel was ended");
            }
            Ok(was_paused)
        };
        have_done(work, reply);
    }

    /// Removes a message.
    pub(super) fn drop_message(&self, id: String, by: String, reply: oneshot::Sender<Result<bool, CommandError>>) {
        let store = self.runner.store.clone();
        let work = async move {
            let dropped = store.outbox_drop(&id, clock::now()).await?;
            if dropped {
                tracing::info!(message = %id, %by, "a message was dropped");
            }
            Ok(dropped)
        };
        have_done(work, reply);
    }
}

/// Has the journal do something, and answers when it is durable. Nobody here waits for it.
fn have_done<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    reply: oneshot::Sender<Result<T, CommandError>>,
) {
    tokio::spawn(async move {
        let done = work.await.map_err(|error| CommandError::Journal { message: error.to_string() });
        drop(reply.send(done));
    });
}

/// Ends the holds of a task, all of them or those at an address, and gives them.
///
/// # Errors
///
/// When the journal cannot be read or written.
pub async fn release(store: &Store, task: &str, url: Option<&str>) -> Result<Vec<Hold>, StoreError> {
    let mut holds = store.read().holds(None).await?;
    holds.retain(|hold| hold.task == task && url.is_none_or(|url| hold.url == url));
    store.release(&holds).await?;
    Ok(holds)
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
