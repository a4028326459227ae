//! The loop that owns the daemon's state. Everything else sends it messages; nothing in it waits for the disk or a guest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::loaded::{Loaded, validate};
use super::queue::{Queue, Waiting};
use super::signals::{Asked, Signals};
use super::{DaemonError, Runner};
use crate::clock::wall_timer::{Wake, WallTimer};
use crate::clock::{self, Timestamp};
use crate::command::{Command, CommandError, NextSlot, Reloaded, Running, Status, TaskStatus};
use crate::config::diff::diff;
use crate::config::load::Task;
use crate::outcome::Outcome;
use crate::reload::{Watched, Watcher};
use crate::run::cancel::{Cancel, Reason};
use crate::run::execute::{Ended, Job, Tally, host_bug, retry_after};
use crate::run::record::{Run, RunId};
use crate::schedule::Seed;
use crate::schedule::timetable::Timetable;
use crate::store::{Retention, Transition};

/// How long a folder has to be quiet before what changed in it is looked at: editors and package managers write in steps.
const SETTLE: Duration = Duration::from_millis(300);

/// How long guests get to notice that the daemon stops, after the deadline.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// Runs of each task that stay in the journal, however old.
const KEEP_RUNS: u32 = 20;

/// How often the journal is rid of what is old, at most.
const PRUNE_EVERY_MS: i64 = 24 * 3600 * 1000;

/// What the dispatcher's own helpers tell it.
pub(super) enum Note {
    /// A run is durable and may start.
    Queued(Waiting),
    /// A run was announced and will not come.
    Refused(Waiting),
    /// A run is over, or left for the next daemon.
    Ended(RunId, Ended),
    /// A configuration was loaded.
    Loaded(Result<Box<Loaded>, String>, Vec<oneshot::Sender<Result<Reloaded, CommandError>>>),
}

/// A run under way.
pub(super) struct Active {
    pub(super) waiting: Waiting,
    pub(super) cancel: Cancel,
    started: Timestamp,
    tally: Arc<Tally>,
}

/// See the module.
pub(super) struct Dispatcher {
    config_dir: PathBuf,
    pub(super) loaded: Loaded,
    config_error: Option<String>,
    pub(super) runner: Runner,
    pub(super) timetable: Timetable,
    pub(super) queue: Queue,
    pub(super) running: HashMap<RunId, Active>,
    /// Runs that are durable and due later: retries.
    later: BinaryHeap<Reverse<(Timestamp, RunId)>>,
    later_runs: HashMap<RunId, Waiting>,
    last: HashMap<String, Run>,
    since: Timestamp,
    timer: WallTimer,
    watcher: Watcher,
    changes: mpsc::UnboundedReceiver<PathBuf>,
    /// Paths that changed and when they count as settled.
    unsettled: BTreeMap<PathBuf, Instant>,
    reload_at: Option<Instant>,
    loading: bool,
    commands: mpsc::Receiver<Command>,
    pub(super) notes: mpsc::UnboundedSender<Note>,
    inbox: mpsc::UnboundedReceiver<Note>,
    pruned: Timestamp,
}

impl Dispatcher {
    /// Takes up what the journal has, and what is due since.
    pub(super) async fn new(
        config_dir: &Path,
        loaded: Loaded,
        runner: Runner,
        commands: mpsc::Receiver<Command>,
    ) -> Result<Self, DaemonError> {
        let kernel = |what| move |error: String| DaemonError::Kernel { what, error };
        let (notes, inbox) = mpsc::unbounded_channel();
        let (changed, changes) = mpsc::unbounded_channel();
        let now = clock::now();
        let mut dispatcher = Self {
            config_dir: config_dir.to_owned(),
            queue: Queue::new(loaded.config.settings.max_running as usize),
            loaded,
            config_error: None,
            last: HashMap::new(),
            timetable: Timetable::default(),
            running: HashMap::new(),
            later: BinaryHeap::new(),
            later_runs: HashMap::new(),
            since: now,
            timer: WallTimer::new().map_err(|error| kernel("the timer")(error.to_string()))?,
            watcher: Watcher::new(changed).map_err(kernel("the watcher"))?,
            changes,
            unsettled: BTreeMap::new(),
            reload_at: None,
            loading: false,
            commands,
            notes,
            inbox,
            pruned: Timestamp(0),
            runner,
        };
        let reader = dispatcher.runner.store.read();
        dispatcher.last = reader.last_run_per_task().await?.into_iter().map(|run| (run.task.clone(), run)).collect();
        let cursors = reader.cursors().await?;
        dispatcher.recover().await?;
        let names: Vec<_> = dispatcher.loaded.config.tasks.keys().cloned().collect();
        for name in &names {
            let cursor = cursors.get(&**name).copied().unwrap_or(now);
            dispatcher.plan_task(name, cursor, now);
        }
        let fresh: Vec<_> = names.iter().filter(|name| !cursors.contains_key(&***name)).map(ToString::to_string).collect();
        if !fresh.is_empty() {
            dispatcher.runner.store.commit(vec![Transition::Observe { tasks: fresh, at: now }]).await?;
        }
        dispatcher.watch();
        dispatcher.startup();
        dispatcher.prune(now);
        Ok(dispatcher)
    }

    /// Puts a task into the timetable, or takes it out when it is not to be there.
    fn plan_task(&mut self, name: &Arc<str>, cursor: Timestamp, now: Timestamp) {
        match self.loaded.task(name) {
            Some(task) if task.enabled && task.schedule.is_clocked() => {
                let seed = Seed::of(&self.runner.host, name);
                self.timetable.insert(Arc::clone(name), Arc::clone(&task.schedule), seed, cursor, now);
            }
            _ => {
                self.timetable.remove(name);
            }
        }
    }

    /// Runs until it is told to stop, and every run is over or left in the journal.
    pub(super) async fn run(mut self, mut signals: Signals) {
        let mut watchdog = sd_notify::watchdog_enabled().map(|every| tokio::time::interval(every / 2));
        loop {
            self.start_runs();
            let due = [self.timetable.next_due(), self.later.peek().map(|Reverse((due, _))| *due)];
            let due = due.into_iter().flatten().min();
            let settled = self.reload_at.into_iter().chain(self.unsettled.values().copied()).min();
            tokio::select! {
                biased;
                asked = signals.next() => match asked {
                    Asked::Stop => break,
                    Asked::Reload => self.reload(Vec::new()),
                },
                () = async { match &mut watchdog { Some(watchdog) => { watchdog.tick().await; } None => std::future::pending().await } } => {
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
                }
                wake = self.timer.sleep_until(due) => match wake {
                    Ok(wake) => self.wake(wake),
                    Err(error) => {
                        tracing::error!("the timer is broken, due tasks may start a second late: {error}");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        self.wake(Wake::Due);
                    }
                },
                Some(note) = self.inbox.recv() => self.note(note),
                Some(command) = self.commands.recv() => self.command(command),
                Some(path) = self.changes.recv() => self.path_changed(path),
                () = async { match settled { Some(at) => tokio::time::sleep_until(at).await, None => std::future::pending().await } } => self.settled(),
            }
        }
        self.stop(&mut signals).await;
    }

    fn wake(&mut self, wake: Wake) {
        let now = clock::now();
        if let Wake::ClockChanged = wake {
            tracing::warn!("the wall clock was set; it is {now}");
            self.timetable.clock_changed(now);
        }
        self.due(now);
        while let Some(Reverse((due, id))) = self.later.peek()
            && *due <= now
        {
            if let Some(waiting) = self.later_runs.remove(id) {
                self.queue.push(waiting);
            }
            self.later.pop();
        }
    }

    /// A run is durable: it may start, now or when it is due.
    pub(super) fn arrived(&mut self, waiting: Waiting) {
        if waiting.resumed.is_none() && waiting.run.attempt > 1 && waiting.run.due > clock::now() {
            self.later.push(Reverse((waiting.run.due, waiting.run.id.clone())));
            self.later_runs.insert(waiting.run.id.clone(), waiting);
        } else {
            self.queue.push(waiting);
        }
    }

    fn start_runs(&mut self) {
        while let Some(waiting) = self.queue.next() {
            let Some(task) = self.loaded.task(&waiting.task).cloned() else {
                self.queue.ended(&waiting);
                self.finish_unstarted(waiting.run, Outcome::Skipped { reason: "the task was removed".into() });
                continue;
            };
            let Some(plugin) = self.loaded.plugin(&task).cloned() else { continue };
            let (cancel, tally) = (Cancel::default(), Arc::new(Tally::default()));
            let job = Job {
                run: waiting.run.clone(),
                timezone: task.schedule.timezone(),
                task,
                plugin,
                cancel: cancel.clone(),
                resumed: waiting.resumed.clone(),
                tally: Arc::clone(&tally),
            };
            let run = waiting.run.clone();
            self.running.insert(run.id.clone(), Active { waiting, cancel, started: clock::now(), tally });
            let (runner, notes) = (self.runner.clone(), self.notes.clone());
            self.runner.sandbox.handle().spawn(async move {
                let ended = match std::panic::AssertUnwindSafe(runner.run(job)).catch_unwind().await {
                    Ok(ended) => ended,
                    Err(payload) => runner.abandon(&run, host_bug(&*payload)).await,
                };
                // The dispatcher waits for all its runs before it goes.
                let _ = notes.send(Note::Ended(run.id, ended));
            });
        }
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Queued(waiting) => self.arrived(waiting),
            Note::Refused(waiting) => self.queue.retract(&waiting.task),
            Note::Ended(id, ended) => self.ended(&id, ended),
            Note::Loaded(loaded, replies) => self.take_over(loaded, replies),
        }
    }

    fn ended(&mut self, id: &RunId, ended: Ended) {
        let Some(active) = self.running.remove(id) else { return };
        self.queue.ended(&active.waiting);
        let Ended::Over(outcome) = ended else { return };
        let now = clock::now();
        let mut run = active.waiting.run;
        (run.started, run.ended) = (Some(active.started), Some(now));
        self.conclude(run, outcome);
        if now.0 - self.pruned.0 > PRUNE_EVERY_MS {
            self.prune(now);
        }
    }

    /// What follows from the end of a run: a retry, or the tasks that come after.
    fn conclude(&mut self, mut run: Run, outcome: Outcome) {
        match &outcome {
            Outcome::Succeeded => tracing::info!(task = %run.task, run = %run.id, "succeeded"),
            other => tracing::warn!(task = %run.task, run = %run.id, "{other}"),
        }
        run.phase = crate::run::record::Phase::Done;
        run.outcome = Some(outcome.clone());
        let task = self.loaded.task(&run.task).cloned();
        let retry = task.as_ref().filter(|_| !run.dry_run).and_then(|task| retry_after(task, run.attempt, &outcome));
        match (task, retry) {
            (Some(task), Some(wait)) => self.retry(&task, &run, wait),
            _ => self.after(&run, &outcome),
        }
        if !run.dry_run {
            self.last.insert(run.task.clone(), run);
        }
    }

    /// Records the end of a run that never started, or cannot go on.
    pub(super) fn finish_unstarted(&mut self, run: Run, outcome: Outcome) {
        let (runner, abandoned, ended) = (self.runner.clone(), run.clone(), outcome.clone());
        tokio::spawn(async move { runner.abandon(&abandoned, ended).await });
        self.conclude(run, outcome);
    }

    fn command(&mut self, command: Command) {
        // Whoever asked may have gone; then nobody misses the answer.
        match command {
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::List(reply) => drop(reply.send(self.list())),
            Command::Run { task, dry_run, by, reply } => self.manual(&task, dry_run, by, reply),
            Command::Cancel { run, by, reply } => drop(reply.send(self.cancel(run, by))),
            Command::Reload(reply) => self.reload(vec![reply]),
        }
    }

    fn cancel(&mut self, run: RunId, by: String) -> Result<(), CommandError> {
        if let Some(active) = self.running.get(&run) {
            active.cancel.cancel(Reason::By(by));
            return Ok(());
        }
        let waiting = self.later_runs.remove(&run).inspect(|waiting| self.queue.retract(&waiting.task));
        let waiting = waiting.or_else(|| self.queue.remove(&run)).ok_or(CommandError::NoRun { run })?;
        self.finish_unstarted(waiting.run, Outcome::Cancelled { by });
        Ok(())
    }

    fn status(&self) -> Status {
        let tasks = &self.loaded.config.tasks;
        let mut running: Vec<_> = self.running.values().map(Active::status).collect();
        running.sort_by(|a, b| a.run.id.cmp(&b.run.id));
        let mut failing: Vec<_> = self
            .last
            .values()
            .filter(|run| tasks.contains_key(&*run.task) && run.outcome.as_ref().is_some_and(|outcome| *outcome != Outcome::Succeeded))
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
            queued: self.queue.iter().chain(self.later_runs.values()).take(100).map(|waiting| waiting.run.clone()).collect(),
            queue_length: self.queue.len(),
            failing,
        }
    }

    fn list(&self) -> Vec<TaskStatus> {
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

    fn path_changed(&mut self, path: PathBuf) {
        let settings = &self.loaded.config.settings;
        let at = Instant::now() + SETTLE;
        if path.starts_with(&self.config_dir) || path.starts_with(&settings.plugin_dir) {
            self.reload_at = Some(at);
        }
        let watched = |task: &Arc<Task>| task.triggers.watch.iter().find(|watched| path.starts_with(watched)).cloned();
        for watched in self.loaded.config.tasks.values().filter_map(watched) {
            self.unsettled.insert(watched, at);
        }
    }

    fn settled(&mut self) {
        let now = Instant::now();
        if self.reload_at.is_some_and(|at| at <= now) {
            self.reload(Vec::new());
        }
        let settled: Vec<_> = self.unsettled.iter().filter(|(_, at)| **at <= now).map(|(path, _)| path.clone()).collect();
        for path in settled {
            self.unsettled.remove(&path);
            self.changed(&path);
        }
    }

    /// Loads the configuration anew, beside the loop; it is taken over when it is whole.
    fn reload(&mut self, replies: Vec<oneshot::Sender<Result<Reloaded, CommandError>>>) {
        if self.loading {
            // What is being loaded may be older than what was written since.
            self.reload_at = Some(Instant::now() + SETTLE);
            for reply in replies {
                let message = "a configuration is being loaded at this moment; ask again".into();
                let _ = reply.send(Err(CommandError::Config { message }));
            }
            return;
        }
        self.reload_at = None;
        self.loading = true;
        if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Reloading, now]);
        }
        let (dir, sandbox) = (self.config_dir.clone(), self.runner.sandbox.clone());
        let (plugins, notes) = (self.loaded.plugins().clone(), self.notes.clone());
        tokio::task::spawn_blocking(move || {
            let loaded = validate(&dir).and_then(|config| Loaded::compile(config, &sandbox, &plugins)).map(Box::new);
            let _ = notes.send(Note::Loaded(loaded, replies));
        });
    }

    fn take_over(&mut self, loaded: Result<Box<Loaded>, String>, replies: Vec<oneshot::Sender<Result<Reloaded, CommandError>>>) {
        self.loading = false;
        let result = loaded.map(|loaded| self.swap(*loaded));
        match &result {
            Ok(Reloaded { added, removed, changed }) if added.is_empty() && removed.is_empty() && changed.is_empty() => {}
            Ok(reloaded) => tracing::info!(added = ?reloaded.added, removed = ?reloaded.removed, changed = ?reloaded.changed, "configuration reloaded"),
            Err(message) => tracing::error!("the configuration is not valid, the one before stays in use:\n{message}"),
        }
        self.config_error = result.as_ref().err().cloned();
        // Folders may have come or been replaced, also when what is in them is not valid.
        self.watch();
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        for reply in replies {
            let _ = reply.send(result.clone().map_err(|message| CommandError::Config { message }));
        }
    }

    fn swap(&mut self, loaded: Loaded) -> Reloaded {
        let diff = diff(&self.loaded.config, &loaded.config);
        let (old, new) = (&self.loaded.config.settings, &loaded.config.settings);
        if (&old.state_dir, &old.socket, old.workers) != (&new.state_dir, &new.socket, new.workers) {
            tracing::warn!("state_dir, socket or workers changed in upkeep.toml: that takes effect at the next start");
        }
        self.loaded = loaded;
        self.queue.set_permits(self.loaded.config.settings.max_running as usize);
        let now = clock::now();
        for name in diff.added.iter().chain(&diff.changed).chain(&diff.removed) {
            self.plan_task(name, now, now);
        }
        let names = |names: &[Arc<str>]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        Reloaded { added: names(&diff.added), removed: names(&diff.removed), changed: names(&diff.changed) }
    }

    fn watch(&mut self) {
        let folder = |path: &Path| Watched { path: path.to_owned(), recursive: false };
        let mut wanted = HashSet::from([
            folder(&self.config_dir),
            folder(&self.config_dir.join("tasks.d")),
            folder(&self.loaded.config.settings.plugin_dir),
        ]);
        for task in self.loaded.config.tasks.values().filter(|task| task.enabled) {
            wanted.extend(task.triggers.watch.iter().map(|path| Watched { path: path.clone(), recursive: true }));
        }
        for (path, reason) in self.watcher.watch(wanted) {
            tracing::warn!(path = %path.display(), "changes here go unnoticed: {reason}");
        }
    }

    fn prune(&mut self, now: Timestamp) {
        self.pruned = now;
        let (store, keep) = (self.runner.store.clone(), self.loaded.config.settings.keep_history);
        tokio::spawn(async move {
            if let Err(error) = store.prune(now, &Retention { keep, keep_runs: KEEP_RUNS }).await {
                tracing::warn!("old runs could not be removed from the journal: {error}");
            }
        });
    }

    /// Lets runs end until the deadline, then leaves the others in the journal for the next start.
    async fn stop(&mut self, signals: &mut Signals) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let deadline = self.loaded.config.settings.stop_deadline;
        tracing::info!(running = self.running.len(), "stopping; runs have {deadline:?} to end, a second signal ends them now");
        let deadline = tokio::time::sleep(deadline);
        tokio::pin!(deadline);
        let mut asked_again = false;
        while !self.running.is_empty() && !asked_again {
            tokio::select! {
                () = &mut deadline => break,
                asked = signals.next() => asked_again = asked == Asked::Stop,
                Some(note) = self.inbox.recv() => self.note(note),
                Some(command) = self.commands.recv() => self.command_while_stopping(command),
            }
        }
        for active in self.running.values() {
            active.cancel.cancel(Reason::Shutdown);
        }
        let last_moment = tokio::time::sleep(LAST_MOMENT);
        tokio::pin!(last_moment);
        while !self.running.is_empty() {
            tokio::select! {
                () = &mut last_moment => break,
                Some(note) = self.inbox.recv() => self.note(note),
            }
        }
        for (id, active) in &self.running {
            tracing::warn!(run = %id, task = %active.waiting.task, "still at work; it is resumed at the next start");
        }
    }

    fn command_while_stopping(&mut self, command: Command) {
        match command {
            Command::Run { reply, .. } => drop(reply.send(Err(CommandError::Stopping))),
            Command::Reload(reply) => drop(reply.send(Err(CommandError::Stopping))),
            other => self.command(other),
        }
    }
}

impl Active {
    fn status(&self) -> Running {
        let mut run = self.waiting.run.clone();
        run.started = Some(self.started);
        run.phase = crate::run::record::Phase::Executing;
        let (steps, done) = (self.tally.steps.load(Ordering::Relaxed), self.tally.done.load(Ordering::Relaxed));
        Running { run, steps_done: done, steps }
    }
}
