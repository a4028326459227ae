//! Feeds the [policy] with what happens, and records what it gives.
//!
//! Flow: runs that end, reloads and people push signals; [`looking`] finds what is only known by looking (findings, holds, dead
//! messages, the disk), after runs and changes of the outbox. [`Dispatcher::alert`] has the policy make of them what it makes,
//! and a task of its own writes that to the journal, alerts and messages in one transaction. One transaction at a time: what comes
//! meanwhile waits for it. What a crash takes away are signals that were on their way; at the next start they come again, since
//! each is a state that the journal knows: how the last runs ended, which findings there are.
//!
//! | module    | holds                                            |
//! |-----------|--------------------------------------------------|
//! | `asked`   | what people ask for: the list, `ack`, a test     |
//! | `looking` | what is only known by looking                    |

mod asked;
mod looking;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{Notify, oneshot, watch};

pub(super) use self::looking::Looked;
use super::dispatcher::{Dispatcher, Note};
use crate::alert::overdue::{Overdue, Watched};
use crate::alert::policy::{self, Moment, Rules, Silence, Stepped};
use crate::alert::signal::{CONFIG, Condition, Signal, task_key};
use crate::clock::Timestamp;
use crate::command::CommandError;
use crate::config::diff::Diff;
use crate::outcome::Outcome;
use crate::record::alert::Alert;
use crate::record::{Run, Severity};
use crate::run::execute::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::schedule::Seed;
use crate::store::{AlertRecord, StoreError};

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

impl Dispatcher {
    /// Takes up the alerts that the journal has.
    pub(super) async fn take_up_alerts(&mut self) -> Result<(), StoreError> {
        let known = self.runner.store.read().alerts().await?;
        self.alerts.known = known.into_iter().map(|alert| (alert.key.clone(), alert)).collect();
        let (store, state_dir) = (self.runner.store.clone(), Arc::clone(&self.runner.state_dir));
        looking::watch_for(
            store,
            state_dir,
            Arc::clone(&self.alerts.look),
            self.alerts.wanted.subscribe(),
            self.notes.clone(),
        );
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

    /// The tasks that run now and silence alerts.
    fn silencing(&self) -> impl Iterator<Item = &str> {
        let silence = &self.loaded.config.settings.alerts.silence;
        silence.iter().map(String::as_str).filter(|task| self.queue.running(task) > 0)
    }

    fn moment(&self, now: Timestamp) -> Moment {
        let silence = match self.silencing().next().is_some() {
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

    /// Tells [`looking::watch_for`] to look.
    pub(super) fn look(&self) -> Arc<Notify> {
        Arc::clone(&self.alerts.look)
    }
}
