//! The loop that owns the daemon's state. Everything else sends it messages; nothing in it waits for the disk or a guest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::alerts::{self, Alerts, Looked};
use super::digest::Digests;
use super::loaded::Loaded;
use super::outbox::Outbox;
use super::queue::{Queue, Waiting};
use super::reconfigure;
use super::signals::{Asked, Signals};
use super::{DaemonError, Runner};
use crate::alert::policy::Stepped;
use crate::clock::wall_timer::{Clocks, Wake, WallTimer};
use crate::clock::{self, Timestamp};
use crate::command::{Command, CommandError};
use crate::memory;
use crate::outcome::Outcome;
use crate::record::{Phase, Run, RunId};
use crate::reload::Watcher;
use crate::removal;
use crate::run::cancel::{Cancel, Reason};
use crate::run::execute::{Ended, Job, Tally, host_bug, retry_after};
use crate::schedule::Seed;
use crate::schedule::timetable::Timetable;
use crate::server::listen::{Listener, Prepared};
use crate::store::{Next, Retention, StoreError, Transition};

/// How long guests get to notice that the daemon stops, after the deadline.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// Runs of each task that stay in the journal, however old.
const KEEP_RUNS: u32 = 20;

/// How often memory is given back when the last run under way ends, at most.
const GIVE_BACK_EVERY_MS: i64 = 60 * 1000;

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
    /// When something of the outbox can be claimed, and the number of changes at which that was so.
    Outbox(Next, u64),
    /// What alerts may be about, seen by looking.
    Looked(Box<Looked>),
    /// What became of alerts is durable, and who waits for that.
    Alerted(Box<Stepped>, alerts::Waiting),
    /// The digest of that moment is in the outbox.
    Digested(Timestamp),
    /// A configuration was loaded, and what it listens to prepared.
    Loaded(Result<Box<(Loaded, Prepared)>, String>, reconfigure::Waiting),
}

/// A run under way.
pub(super) struct Active {
    pub(super) waiting: Waiting,
    pub(super) cancel: Cancel,
    pub(super) started: Timestamp,
    pub(super) tally: Arc<Tally>,
}

/// See the module.
pub(super) struct Dispatcher {
    pub(super) config_dir: PathBuf,
    pub(super) loaded: Loaded,
    pub(super) config_error: Option<String>,
    pub(super) runner: Runner,
    pub(super) timetable: Timetable,
    pub(super) queue: Queue,
    pub(super) running: HashMap<RunId, Active>,
    /// Runs that are durable and due later: retries.
    later: BinaryHeap<Reverse<(Timestamp, RunId)>>,
    pub(super) later_runs: HashMap<RunId, Waiting>,
    pub(super) last: HashMap<String, Run>,
    pub(super) since: Timestamp,
    timer: WallTimer,
    /// The clocks when the timer last fired: what they went apart since says why slots were missed.
    clocks: Clocks,
    pub(super) watcher: Watcher,
    changes: mpsc::UnboundedReceiver<PathBuf>,
    /// Paths that changed and when they count as settled.
    pub(super) unsettled: BTreeMap<PathBuf, Instant>,
    pub(super) reload_at: Option<Instant>,
    /// Who waits for that reload.
    pub(super) reload_replies: reconfigure::Waiting,
    pub(super) loading: bool,
    commands: mpsc::Receiver<Command>,
    pub(super) notes: mpsc::UnboundedSender<Note>,
    inbox: mpsc::UnboundedReceiver<Note>,
    pub(super) outbox: Outbox,
    pub(super) listener: Listener,
    pub(super) alerts: Alerts,
    pub(super) digests: Digests,
    pruned: Timestamp,
    gave_back: Timestamp,
}

impl Dispatcher {
    /// Takes up what the journal has, and what is due since.
    pub(super) async fn new(
        config_dir: &Path,
        loaded: Loaded,
        runner: Runner,
        commands: mpsc::Receiver<Command>,
        listener: Listener,
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
            clocks: Clocks::read(),
            timer: WallTimer::new().map_err(|error| kernel("the timer")(error.to_string()))?,
            watcher: Watcher::new(changed).map_err(kernel("the watcher"))?,
            changes,
            unsettled: BTreeMap::new(),
            reload_at: None,
            reload_replies: Vec::new(),
            loading: false,
            commands,
            notes,
            inbox,
            outbox: Outbox::default(),
            listener,
            alerts: Alerts::default(),
            digests: Digests::default(),
            pruned: Timestamp(0),
            gave_back: Timestamp(0),
            runner,
        };
        let reader = dispatcher.runner.store.read();
        dispatcher.last = reader.last_run_per_task().await?.into_iter().map(|run| (run.task.clone(), run)).collect();
        let cursors = reader.cursors().await?;
        dispatcher.take_up_alerts().await?;
        dispatcher.recover().await?;
        dispatcher.catch_up_alerts(now).await?;
        dispatcher.take_up_digests(now).await?;
        let names: Vec<_> = dispatcher.loaded.config.tasks.keys().cloned().collect();
        for name in &names {
            let cursor = cursors.get(&**name).copied().unwrap_or(now);
            dispatcher.plan_task(name, cursor, now);
        }
        let fresh: Vec<_> =
            names.iter().filter(|name| !cursors.contains_key(&***name)).map(ToString::to_string).collect();
        if !fresh.is_empty() {
            dispatcher.runner.store.commit(vec![Transition::Observe { tasks: fresh, at: now }]).await?;
        }
        dispatcher.watch();
        dispatcher.startup();
        dispatcher.watch_outbox();
        dispatcher.alert(now);
        dispatcher.prune(now);
        Ok(dispatcher)
    }

    /// Puts a task into the timetable, or takes it out when it is not to be there.
    pub(super) fn plan_task(&mut self, name: &Arc<str>, cursor: Timestamp, now: Timestamp) {
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

    /// Runs until it is told to stop, and every run is over or left in the journal. Gives back what is still listened to.
    pub(super) async fn run(mut self, mut signals: Signals) -> Listener {
        let mut watchdog = sd_notify::watchdog_enabled().map(|every| tokio::time::interval(every / 2));
        loop {
            self.start_runs();
            let later = self.later.peek().map(|Reverse((due, _))| *due);
            let due = [self.timetable.next_due(), later, self.outbox_due(), self.alerts_due(), self.digest_due()];
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
        self.listener
    }

    fn wake(&mut self, wake: Wake) {
        let clocks = Clocks::read();
        let change = clocks.since(std::mem::replace(&mut self.clocks, clocks));
        let now = clocks.wall;
        if let Some(change) = change {
            tracing::warn!("{change}; it is {now}");
            self.alerts_after_a_jump(now);
        }
        if let Wake::ClockChanged = wake {
            self.timetable.clock_changed(now);
        }
        self.due(now, change);
        self.deliver(now);
        if self.alerts_due().is_some_and(|due| due <= now) {
            self.alert(now);
        }
        if self.digest_due().is_some_and(|due| due <= now) {
            self.send_digest(now);
        }
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
            let found = self.loaded.task(&waiting.task).and_then(|task| Some((task, self.loaded.plugin(task)?)));
            let Some((task, plugin)) = found.map(|(task, plugin)| (Arc::clone(task), Arc::clone(plugin))) else {
                self.queue.ended(&waiting);
                self.finish_unstarted(waiting.run, Outcome::Skipped { reason: "the task was removed".into() });
                continue;
            };
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
            Note::Outbox(next, changes) => self.outbox_changed(next, changes),
            Note::Looked(looked) => self.looked(&looked, clock::now()),
            Note::Alerted(stepped, waiting) => self.alerted(&stepped, waiting, clock::now()),
            Note::Digested(at) => self.digested(at),
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
        let (over, succeeded) = (run.clone(), outcome == Outcome::Succeeded);
        self.conclude(run, outcome);
        self.alerts_after(&over, now);
        self.delivered(&over.task, succeeded, now);
        if now.0 - self.pruned.0 > PRUNE_EVERY_MS {
            self.prune(now);
        }
        if self.running.is_empty() && now.0 - self.gave_back.0 > GIVE_BACK_EVERY_MS {
            self.gave_back = now;
            memory::give_back();
        }
    }

    /// What follows from the end of a run: a retry, or the tasks that come after.
    fn conclude(&mut self, mut run: Run, outcome: Outcome) {
        match &outcome {
            Outcome::Succeeded => tracing::info!(task = %run.task, run = %run.id, "succeeded"),
            other => tracing::warn!(task = %run.task, run = %run.id, "{other}"),
        }
        run.phase = Phase::Done;
        run.outcome = Some(outcome.clone());
        let task = self.loaded.task(&run.task).cloned();
        let retry = task
            .as_ref()
            .filter(|_| !run.dry_run && !self.was_given_a_plan(&run))
            .and_then(|task| retry_after(task, run.attempt, &outcome));
        match (task, retry) {
            (Some(task), Some(wait)) => self.retry(&task, &run, wait),
            _ => {
                self.alert_of_run(&run, &outcome, clock::now());
                self.after(&run, &outcome);
            }
        }
        if !run.dry_run {
            self.last.insert(run.task.clone(), run);
        }
    }

    /// Records the end of a run that never started, or cannot go on.
    pub(super) fn finish_unstarted(&mut self, run: Run, outcome: Outcome) {
        let (runner, abandoned, ended) = (self.runner.clone(), run.clone(), outcome.clone());
        tokio::spawn(async move { runner.abandon(&abandoned, ended).await });
        let over = run.clone();
        self.conclude(run, outcome);
        self.alerts_after(&over, clock::now());
    }

    fn command(&mut self, command: Command) {
        // Whoever asked may have gone; then nobody misses the answer.
        match command {
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::List(reply) => drop(reply.send(self.list())),
            Command::Figures(reply) => drop(reply.send(self.figures())),
            Command::Run { task, dry_run, plan, by, reply } => self.manual(&task, dry_run, plan.as_deref(), by, reply),
            Command::Cancel { run, by, reply } => drop(reply.send(self.cancel(run, by))),
            Command::Release { task, url, by, reply } => self.release(task, url, by, reply),
            Command::Ignore { entry, reply } => self.ignore(entry, reply),
            Command::Heed { id, by, reply } => self.heed(id, by, reply),
            Command::Enqueue { origin, message, by, reply } => self.enqueue(origin, *message, by, reply),
            Command::Resend { which, by, reply } => self.resend(which, by, reply),
            Command::ResumeChannel { channel, by, reply } => self.resume_channel(channel, by, reply),
            Command::DropMessage { id, by, reply } => self.drop_message(id, by, reply),
            Command::Alerts(reply) => drop(reply.send(self.open_alerts())),
            Command::Acknowledge { key, acknowledgement, reply } => {
                self.acknowledge(key.as_deref(), &acknowledgement, reply);
            }
            Command::TestAlert { by, reply } => self.test_alert(&by, reply),
            Command::Digest { since_ms, all, reply } => self.write_digest(since_ms, all, reply),
            Command::Consents { account, news, reply } => self.consents(account, news, reply),
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

    /// Another attempt would make a plan of its own, which nobody has looked at.
    fn was_given_a_plan(&self, run: &Run) -> bool {
        let folder = removal::folder(&self.runner.state_dir).join(&*run.id.0);
        !matches!(removal::document::adopted(&folder), Ok(None))
    }

    fn prune(&mut self, now: Timestamp) {
        self.pruned = now;
        self.prune_outbox(now);
        let (store, keep) = (self.runner.store.clone(), self.loaded.config.settings.keep_history);
        let state_dir = Arc::clone(&self.runner.state_dir);
        let consents = i64::try_from(self.loaded.config.settings.keep_consents.as_millis()).unwrap_or(i64::MAX);
        tokio::spawn(async move {
            let pruned = async {
                store.prune(now, &Retention { keep, keep_runs: KEEP_RUNS }).await?;
                store.consent_prune(Timestamp(now.0.saturating_sub(consents)), now).await?;
                // A plan lasts as long as its run is known.
                for run in removal::kept_runs(&state_dir) {
                    if store.read().run(&RunId(run.as_str().into())).await?.is_none() {
                        removal::forget(&state_dir, &run);
                    }
                }
                Ok::<_, StoreError>(())
            };
            if let Err(error) = pruned.await {
                tracing::warn!("old runs could not be removed from the journal: {error}");
            }
        });
    }

    /// Lets runs end until the deadline, then leaves the others in the journal for the next start.
    async fn stop(&mut self, signals: &mut Signals) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let deadline = self.loaded.config.settings.stop_deadline;
        tracing::info!(
            running = self.running.len(),
            "stopping; runs have {deadline:?} to end, a second signal ends them now"
        );
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
