//! Feeds the [policy] with what happens, and records what it gives.
//!
//! Flow: runs that end, reloads and people push signals; [`watch`] looks at what is only known by looking (findings, holds, dead
//! messages, the disk) after runs and changes of the outbox. [`Dispatcher::alert`] has the policy make of them what it makes,
//! and a task of its own writes that to the journal, alerts and messages in one transaction. One transaction at a time: what comes
//! meanwhile waits for it. What a crash takes away are signals that were on their way; at the next start they come again, since
//! each is a state that the journal knows: how the last runs ended, which findings there are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::dispatcher::{Dispatcher, Note};
use crate::alert::ORIGIN;
use crate::alert::overdue::{Overdue, Watched};
use crate::alert::policy::{self, Moment, Rules, Silence, Stepped};
use crate::alert::signal::{CONFIG, Condition, DISK, LOOKED_AT, Signal, finding_key, task_key};
use crate::clock::{self, Timestamp};
use crate::command::{Acknowledged, AlertStatus, CommandError, NextTelling, OpenAlerts, Tested};
use crate::config::diff::Diff;
use crate::outcome::Outcome;
use crate::record::alert::{Acknowledgement, Alert};
use crate::record::finding::{FindingState, Life};
use crate::record::outbox::{Content, MessageLevel, NewMessage, Priority};
use crate::record::{Run, Severity};
use crate::run::execute::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::schedule::Seed;
use crate::store::{AlertRecord, Dead, Hold, Store, StoreError};

/// Between two looks: what changes one by one is looked at together.
const TOGETHER: Duration = Duration::from_secs(1);

/// Room on the disk of the state, in bytes, below which it is almost full, and above which it is not any more.
const ROOM: (u64, u64) = (256 << 20, 512 << 20);

/// The same in hundredths of the disk; both have to be short.
const SHARE: (u64, u64) = (5, 7);

/// Who waits for an acknowledgement to be durable.
pub(super) type Waiting = Vec<oneshot::Sender<Result<(), CommandError>>>;

/// What is known of alerts.
pub(super) struct Alerts {
    rules: Option<Rules>,
    /// As the journal has them.
    known: policy::Alerts,
    /// What came since.
    signals: Vec<Signal>,
    /// Whether a transaction is under way; at the start, whether what the journal says is still to be taken up.
    recording: bool,
    /// Whether somebody looked while it was: what was seen is to be compared again.
    stale: bool,
    waiting: Waiting,
    wake: Option<Timestamp>,
    overdue: Overdue,
    /// Until when maintenance that is over is not told of.
    silence_end: Timestamp,
    look: Arc<Notify>,
    /// What is looked for: findings at least as bad; none when nobody is told.
    wanted: watch::Sender<Option<Severity>>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            rules: None,
            known: policy::Alerts::new(),
            signals: Vec::new(),
            recording: true,
            stale: false,
            waiting: Vec::new(),
            wake: None,
            overdue: Overdue::default(),
            silence_end: Timestamp(i64::MIN),
            look: Arc::default(),
            wanted: watch::channel(None).0,
        }
    }
}

/// What was seen by looking.
#[derive(Debug)]
pub(super) struct Looked {
    lives: Vec<Life>,
    holds: Vec<Hold>,
    dead: Vec<Dead>,
    /// What is left and all there is of the disk of the state, in bytes.
    disk: Option<(u64, u64)>,
}

/// Notes what there is to see, after runs and changes of the outbox, for as long as somebody listens.
fn watch_for(
    store: Store,
    state_dir: Arc<std::path::Path>,
    look: Arc<Notify>,
    mut wanted: watch::Receiver<Option<Severity>>,
    notes: mpsc::UnboundedSender<Note>,
) {
    tokio::spawn(async move {
        let mut outbox = store.outbox_changes();
        loop {
            let least = *wanted.borrow_and_update();
            outbox.borrow_and_update();
            if let Some(least) = least {
                match look_at(&store, &state_dir, least).await {
                    Ok(looked) => {
                        if notes.send(Note::Looked(Box::new(looked))).is_err() {
                            return;
                        }
                    }
                    Err(StoreError::Closed) => return,
                    Err(error) => tracing::warn!("what alerts are about cannot be looked at: {error}"),
                }
                tokio::time::sleep(TOGETHER).await;
            }
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                changed = outbox.changed(), if least.is_some() => if changed.is_err() { return },
                () = look.notified(), if least.is_some() => {}
            }
        }
    });
}

async fn look_at(store: &Store, state_dir: &std::path::Path, least: Severity) -> Result<Looked, StoreError> {
    let (journal, state_dir) = (store.read(), state_dir.to_owned());
    // A disk that hangs must hold up nothing but this.
    let disk = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&state_dir).ok()).await.ok().flatten();
    Ok(Looked {
        lives: journal.grave_lives(least).await?,
        holds: journal.holds(None).await?,
        dead: journal.dead_messages().await?,
        disk: disk.map(|it| (it.f_bavail * it.f_frsize, it.f_blocks * it.f_frsize)),
    })
}

impl Dispatcher {
    /// Takes up the alerts that the journal has.
    pub(super) async fn take_up_alerts(&mut self) -> Result<(), StoreError> {
        let known = self.runner.store.read().alerts().await?;
        self.alerts.known = known.into_iter().map(|alert| (alert.key.clone(), alert)).collect();
        let (store, state_dir) = (self.runner.store.clone(), Arc::clone(&self.runner.state_dir));
        watch_for(store, state_dir, Arc::clone(&self.alerts.look), self.alerts.wanted.subscribe(), self.notes.clone());
        self.set_rules();
        Ok(())
    }

    /// What the ends of the last runs say, of which a daemon that is gone may have told nobody.
    pub(super) async fn catch_up_alerts(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if self.alerts.rules.is_some() {
            self.catch_up(now).await?;
        }
        self.alerts.recording = false;
        Ok(())
    }

    async fn catch_up(&mut self, now: Timestamp) -> Result<(), StoreError> {
        // Runs that cannot go on have ended just now, and the journal may not know it yet.
        let fresh: BTreeSet<String> = self.alerts.signals.iter().filter_map(Signal::wrong).map(str::to_owned).collect();
        let names: Vec<Arc<str>> = self.loaded.config.tasks.keys().cloned().collect();
        let asked: Vec<&str> = names.iter().map(|name| &**name).collect();
        let ends = self.runner.store.read().last_ends(&asked).await?;
        for (name, (run, good)) in names.iter().zip(ends) {
            let Some(task) = self.loaded.task(name).cloned() else { continue };
            self.alerts.overdue.set(name, Watched::new(&task, Seed::of(&self.runner.host, name), good, now));
            let Some(run) = run else { continue };
            if let Some(ended) = run.ended.filter(|_| self.loaded.config.settings.alerts.silence.contains(&run.task)) {
                self.alerts.silence_end = self.alerts.silence_end.max(self.silence_after(ended));
            }
            // What it comes to is told when the attempt that waits, or goes on, has ended.
            if self.queue.waiting(name) > 0 || fresh.contains(&task_key(name)) {
                continue;
            }
            let signal = run.outcome.as_ref().and_then(|outcome| Signal::of_run(&run, outcome, &task.alerts));
            match signal {
                Some(Signal::Wrong(condition)) => {
                    self.alerts.signals.push(Signal::Wrong(Condition { again: false, ..condition }));
                }
                Some(other) => self.signal(other),
                None => {}
            }
        }
        let gone = self.alerts.known.keys().filter_map(|key| key.strip_prefix("task/"));
        let gone: Vec<String> = gone.filter(|task| self.loaded.task(task).is_none()).map(str::to_owned).collect();
        gone.iter().for_each(|task| self.signal(Signal::Gone(task_key(task))));
        self.signal(Signal::Right(CONFIG.to_owned()));
        Ok(())
    }

    /// The rules of the configuration in use.
    fn set_rules(&mut self) {
        let settings = &self.loaded.config.settings;
        // It was validated.
        let zone = settings.timezone.parse().unwrap_or(chrono_tz::UTC);
        let rules = Rules::new(&settings.alerts, &self.runner.host, zone);
        let wanted = rules.as_ref().map(|_| settings.alerts.findings);
        self.alerts.rules = rules;
        self.alerts.wanted.send_if_modified(|before| {
            let is_other = *before != wanted;
            *before = wanted;
            is_other
        });
    }

    /// Another configuration is in use.
    pub(super) fn alerts_reconfigured(&mut self, diff: &Diff, now: Timestamp) {
        let were_on = self.alerts.rules.is_some();
        self.set_rules();
        if self.alerts.rules.is_none() {
            self.alerts.overdue.clear();
            self.alerts.signals.clear();
            return;
        }
        let all = || self.loaded.config.tasks.keys().cloned().collect::<Vec<_>>();
        let changed = if were_on { diff.added.iter().chain(&diff.changed).cloned().collect() } else { all() };
        if !were_on {
            // How the last runs ended was told to nobody.
            let ends = self.last.values().filter_map(|run| {
                let task = self.loaded.task(&run.task)?;
                Signal::of_run(run, run.outcome.as_ref()?, &task.alerts)
            });
            let ends: Vec<Signal> = ends.collect();
            ends.into_iter().for_each(|signal| self.signal(signal));
        }
        for name in changed {
            let task = self.loaded.task(&name).cloned();
            let is_off = task.as_ref().is_none_or(|task| !task.enabled || task.alerts.off.is_some());
            let seed = Seed::of(&self.runner.host, &name);
            self.alerts.overdue.set(&name, task.and_then(|task| Watched::new(&task, seed, None, now)));
            if is_off {
                self.signal(Signal::Gone(task_key(&name)));
            }
        }
        for name in &diff.removed {
            self.alerts.overdue.set(name, None);
            self.signal(Signal::Gone(task_key(name)));
        }
        self.alerts.look.notify_one();
    }

    /// Whether the configuration on the disk can be used.
    pub(super) fn alert_of_config(&mut self, error: Option<&str>, now: Timestamp) {
        self.signal(match error {
            Some(message) => Signal::config(message),
            None => Signal::Right(CONFIG.to_owned()),
        });
        self.alert(now);
    }

    /// A run is over, and nothing is left to try.
    pub(super) fn alert_of_run(&mut self, run: &Run, outcome: &Outcome, now: Timestamp) {
        if self.alerts.rules.is_none() || run.dry_run {
            return;
        }
        let Some(task) = self.loaded.task(&run.task).cloned() else { return };
        if *outcome == Outcome::Succeeded {
            let seed = Seed::of(&self.runner.host, &task.name);
            self.alerts.overdue.set(&task.name, Watched::new(&task, seed, Some(now), now));
        }
        if let Some(signal) = Signal::of_run(run, outcome, &task.alerts) {
            self.signal(signal);
        }
        self.alerts.look.notify_one();
    }

    /// The clock jumped, or the machine slept: nobody could start what was due meanwhile.
    pub(super) fn alerts_after_a_jump(&mut self, now: Timestamp) {
        if self.alerts.rules.is_none() {
            return;
        }
        for task in self.loaded.config.tasks.values() {
            let seed = Seed::of(&self.runner.host, &task.name);
            self.alerts.overdue.set(&task.name, Watched::new(task, seed, None, now));
        }
    }

    /// A run is over: maintenance may have ended with it.
    pub(super) fn alerts_after(&mut self, run: &Run, now: Timestamp) {
        if self.loaded.config.settings.alerts.silence.contains(&run.task) {
            self.alerts.silence_end = self.silence_after(now);
            // What waited for its end did not know when that would be.
            self.alerts.wake = Some(now);
        }
        if !self.alerts.signals.is_empty() || self.alerts.wake.is_some_and(|wake| wake <= now) {
            self.alert(now);
        }
    }

    fn silence_after(&self, end: Timestamp) -> Timestamp {
        let grace = self.loaded.config.settings.alerts.silence_grace;
        Timestamp(end.0.saturating_add(i64::try_from(grace.as_millis()).unwrap_or(i64::MAX)))
    }

    /// What was seen by looking.
    pub(super) fn looked(&mut self, looked: &Looked, now: Timestamp) {
        if self.alerts.rules.is_none() {
            return;
        }
        if self.alerts.recording {
            self.alerts.stale = true;
        }
        let Looked { lives, holds, dead, disk } = looked;
        let is_there = |life: &&Life| {
            let finding = &life.finding;
            let counts = finding.state != Some(FindingState::Fixed) && finding.ignored.is_none();
            counts && self.loaded.task(&life.task).is_some()
        };
        let mut wrong: Vec<Condition> = lives.iter().filter(is_there).map(Condition::of_finding).collect();
        wrong.extend(holds.iter().map(Condition::of_hold));
        let of_dead = |it: &Dead| Condition::of_dead(&it.channel, it.level, it.messages, it.reason.as_deref());
        wrong.extend(dead.iter().map(of_dead));
        let was_full = self.alerts.known.get(DISK).is_some_and(Alert::is_open);
        if let Some((available, total)) = *disk
            && is_full(available, total, was_full)
        {
            wrong.push(Condition::of_disk(&self.runner.state_dir.display().to_string(), available, total));
        }
        let keys: BTreeSet<&str> = wrong.iter().map(|condition| condition.key.as_str()).collect();
        let fixed = |life: &&Life| life.finding.state == Some(FindingState::Fixed);
        let fixed: BTreeSet<String> =
            lives.iter().filter(fixed).map(|life| finding_key(&life.task, &life.finding.id)).collect();
        let over = self.alerts.known.values().filter(|alert| {
            let is_looked_at = LOOKED_AT.iter().any(|start| alert.key.starts_with(start));
            alert.is_open() && is_looked_at && !keys.contains(alert.key.as_str())
        });
        let over = over.map(|alert| match alert.key.starts_with("finding/") && !fixed.contains(&alert.key) {
            true => Signal::Gone(alert.key.clone()),
            false => Signal::Right(alert.key.clone()),
        });
        let over: Vec<Signal> = over.collect();
        let is_news = |condition: &Condition| {
            let known = self.alerts.known.get(&condition.key).filter(|alert| alert.is_open());
            known.is_none_or(|alert| alert.level != condition.level || alert.title != condition.title)
        };
        let wrong: Vec<Signal> = wrong.into_iter().filter(is_news).map(Signal::Wrong).collect();
        self.alerts.signals.extend(over.into_iter().chain(wrong));
        if !self.alerts.signals.is_empty() {
            self.alert(now);
        }
    }

    /// Takes a signal, unless it says nothing: most runs go well, and nobody waits for that.
    fn signal(&mut self, signal: Signal) {
        let Alerts { known, signals, recording, .. } = &mut self.alerts;
        let is_open = |key: &str| known.get(key).is_some_and(|alert| alert.is_open() || alert.over_untold);
        let says_something = match &signal {
            Signal::Wrong(_) | Signal::Acknowledged(..) => true,
            // What is being recorded may open it.
            Signal::Right(key) | Signal::Gone(key) => *recording || !signals.is_empty() || is_open(key),
        };
        if self.alerts.rules.is_some() && says_something {
            self.alerts.signals.push(signal);
        }
    }

    /// When alerts want to be looked at.
    pub(super) fn alerts_due(&self) -> Option<Timestamp> {
        let Alerts { wake, overdue, recording, rules, .. } = &self.alerts;
        if *recording || rules.is_none() {
            return None;
        }
        [*wake, overdue.next()].into_iter().flatten().min()
    }

    fn moment(&self, now: Timestamp) -> Moment {
        let settings = &self.loaded.config.settings.alerts;
        let lasts = settings.silence.iter().any(|task| self.queue.running(task) > 0);
        let silence = match lasts {
            true => Silence::Lasts,
            false if self.alerts.silence_end > now => Silence::Until(self.alerts.silence_end),
            false => Silence::None,
        };
        Moment { now, silence }
    }

    /// Has the policy look at all alerts, and records what it makes of them.
    pub(super) fn alert(&mut self, now: Timestamp) {
        let Some(rules) = self.alerts.rules.clone().filter(|_| !self.alerts.recording) else { return };
        for (name, watched) in self.alerts.overdue.pop(now) {
            let is_open = self.alerts.known.get(&task_key(&name)).is_some_and(Alert::is_open);
            if let Some(task) = self.loaded.task(&name).filter(|_| !is_open) {
                self.alerts.signals.push(Signal::overdue(&name, &task.alerts, &watched, rules.zone));
            }
        }
        let signals = std::mem::take(&mut self.alerts.signals);
        let stepped = policy::step(&rules, &self.moment(now), &self.alerts.known, signals);
        self.alerts.wake = stepped.wake;
        let waiting = std::mem::take(&mut self.alerts.waiting);
        if stepped.is_empty() {
            waiting.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
            return;
        }
        self.alerts.recording = true;
        let (store, notes) = (self.runner.store.clone(), self.notes.clone());
        let Stepped { changed, forgotten, messages, .. } = stepped.clone();
        let record = AlertRecord { changed, forgotten, messages, digest: None };
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            while let Err(error) = store.tell(record.clone(), now).await {
                if pause == FIRST_PAUSE {
                    tracing::error!("alerts cannot be recorded; it is tried again until they can: {error}");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            // The dispatcher is gone only when the daemon stops.
            let _ = notes.send(Note::Alerted(Box::new(stepped), waiting));
        });
    }

    /// What the policy made of alerts is durable.
    pub(super) fn alerted(&mut self, stepped: &Stepped, waiting: Waiting, now: Timestamp) {
        for alert in &stepped.changed {
            let before = self.alerts.known.get(&alert.key);
            if alert.is_open() && before.is_none_or(|before| before.opened != alert.opened) {
                tracing::warn!(alert = %alert.key, "{}", alert.title);
            } else if !alert.is_open() && before.is_none_or(Alert::is_open) {
                tracing::info!(alert = %alert.key, "is over: {}", alert.title);
            }
        }
        stepped.apply(&mut self.alerts.known);
        self.alerts.recording = false;
        waiting.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
        if std::mem::take(&mut self.alerts.stale) {
            self.alerts.look.notify_one();
        }
        if !self.alerts.signals.is_empty() || !self.alerts.waiting.is_empty() {
            self.alert(now);
        }
    }

    /// Tells [`watch_for`] to look.
    pub(super) fn look(&self) -> Arc<Notify> {
        Arc::clone(&self.alerts.look)
    }

    /// Alerts that are open, the ones first that matter most.
    pub(super) fn open_alerts(&self) -> OpenAlerts {
        let moment = self.moment(clock::now());
        let rules = self.alerts.rules.as_ref();
        let next = |alert: &Alert| {
            let (at, what) = policy::next_telling(rules?, &moment, alert)?;
            Some(NextTelling { at, what: what.to_owned() })
        };
        let open = self.alerts.known.values().filter(|alert| alert.is_open() || alert.over_untold);
        let mut alerts: Vec<AlertStatus> =
            open.map(|alert| AlertStatus { next: next(alert), alert: alert.clone() }).collect();
        alerts.sort_by(|a, b| (b.alert.level, a.alert.opened).cmp(&(a.alert.level, b.alert.opened)));
        OpenAlerts { told: rules.is_some(), alerts }
    }

    /// Somebody takes on an alert, or all that are open.
    pub(super) fn acknowledge(
        &mut self,
        key: Option<&str>,
        acknowledgement: &Acknowledgement,
        reply: oneshot::Sender<Result<Acknowledged, CommandError>>,
    ) {
        let open: Vec<&Alert> = self.alerts.known.values().filter(|alert| alert.is_open()).collect();
        let chosen: Vec<String> = match key {
            None => open.iter().map(|alert| alert.key.clone()).collect(),
            Some(key) if open.iter().any(|alert| alert.key == key) => vec![key.to_owned()],
            Some(key) => {
                let found: Vec<&&Alert> = open.iter().filter(|alert| alert.key.starts_with(key)).collect();
                match found.as_slice() {
                    [one] => vec![one.key.clone()],
                    _ => {
                        let keys = found.iter().map(|alert| alert.key.clone()).collect();
                        // Whoever asked may have gone.
                        let _ = reply.send(Err(CommandError::NoAlert { key: key.to_owned(), keys }));
                        return;
                    }
                }
            }
        };
        let alerts: Vec<Alert> = open.into_iter().filter(|alert| chosen.contains(&alert.key)).cloned().collect();
        if alerts.is_empty() || self.alerts.rules.is_none() {
            let _ = reply.send(Ok(Acknowledged { alerts: Vec::new() }));
            return;
        }
        for key in chosen {
            tracing::info!(alert = %key, by = %acknowledgement.by, "an alert is acknowledged");
            self.alerts.signals.push(Signal::Acknowledged(key, acknowledgement.clone()));
        }
        let (durable, done) = oneshot::channel();
        self.alerts.waiting.push(durable);
        tokio::spawn(async move {
            let answer = match done.await {
                Ok(done) => done.map(|()| Acknowledged { alerts }),
                Err(_) => Err(CommandError::Stopping),
            };
            let _ = reply.send(answer);
        });
        self.alert(clock::now());
    }

    /// Sends a message to all who would be told of an alert, one after the other.
    pub(super) fn test_alert(&self, by: &str, reply: oneshot::Sender<Result<Vec<Tested>, CommandError>>) {
        let settings = &self.loaded.config.settings.alerts;
        let now = clock::now();
        let first = (settings.channels.clone(), "It went to those who are told first.".to_owned());
        let others = settings.escalate.iter().map(|step| {
            let after = crate::config::duration::format(step.after);
            let text = format!("These are told when nobody has acknowledged an alert for {after}.");
            (step.channels.clone(), text)
        });
        let all = std::iter::once(first).chain(others).filter(|(channels, _)| !channels.is_empty());
        let (chains, messages): (Vec<Vec<String>>, Vec<NewMessage>) = all
            .map(|(channels, who)| {
                let content = Content {
                    title: format!("[{}] A test of upkeep's alerts", self.runner.host),
                    text: format!("Nothing is wrong. {by} wanted to know whether alerts arrive. {who}"),
                    level: MessageLevel::Info,
                    group: Some("test".to_owned()),
                    ..Content::default()
                };
                let (priority, key) = (Priority::High, None);
                let message =
                    NewMessage { key, channels: channels.clone(), priority, not_before: None, expires: None, content };
                (channels, message)
            })
            .unzip();
        let store = self.runner.store.clone();
        tokio::spawn(async move {
            let enqueued = store.outbox_enqueue(ORIGIN, messages, now).await;
            let tested = enqueued.map(|all| {
                all.into_iter()
                    .zip(chains)
                    .map(|(message, channels)| Tested { message: message.id, channels })
                    .collect()
            });
            let tested = tested.map_err(|error| CommandError::Journal { message: error.to_string() });
            let _ = reply.send(tested);
        });
    }
}

/// Whether a disk is almost full. One that was has to have more room before it is not.
fn is_full(available: u64, total: u64, was: bool) -> bool {
    let (room, share) = if was { (ROOM.1, SHARE.1) } else { (ROOM.0, SHARE.0) };
    available < room && available < total / 100 * share
}
