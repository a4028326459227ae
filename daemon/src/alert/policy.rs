//! Who is told what, and when; pure.
//!
//! [`step`] looks at all alerts at one moment. An alert is told when it is open, has waited for others for `group`, and nobody is to
//! be left alone ([`Rules::hold`]); again at growing distances while it is open and nobody has acknowledged it; to further channels
//! when its time without an acknowledgement is over; and that it is over, when it was told before. All that is to be told to the same
//! channels at the same moment is one message.
//!
//! Each telling has a name: key, episode and step (`task/backup@1795417445000/remind-2`). An idempotency key is made of those of its
//! message, so that the outbox takes each once, whatever is tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono_tz::Tz;
use sha2::{Digest as _, Sha256};

use super::message::{self, Telling, What};
use super::quiet::Quiet;
use super::signal::{Condition, Signal};
use crate::clock::Timestamp;
use crate::config::alerts::AlertSettings;
use crate::record::alert::Alert;
use crate::record::outbox::{MessageLevel, NewMessage, Priority};

/// An alert that opens so often within [`FLAP_WINDOW_MS`] is flapping.
pub const FLAPS: usize = 4;

/// See [`FLAPS`].
pub const FLAP_WINDOW_MS: i64 = 3600 * 1000;

/// What is flapping is over when it was right for so long.
pub const STEADY_MS: i64 = 30 * 60 * 1000;

/// The longest time between two reminders.
const LONGEST_REMIND_MS: i64 = 24 * 3600 * 1000;

/// Alerts that are over are known for so long, for whoever asks.
const KEEP_MS: i64 = 24 * 3600 * 1000;

/// The rules, out of `[alerts]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Name of the machine, for whoever has several.
    pub host: String,
    /// Time zone in which times are told.
    pub zone: Tz,
    channels: Vec<String>,
    level: MessageLevel,
    group_ms: i64,
    remind_ms: i64,
    resolved: bool,
    escalate: Vec<Step>,
    quiet: Option<Quiet>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    after_ms: i64,
    channels: Vec<String>,
    level: MessageLevel,
}

impl Rules {
    /// The rules as they are configured. None when nobody is told anything.
    pub fn new(settings: &AlertSettings, host: &str, zone: Tz) -> Option<Self> {
        let step = |it: &crate::config::alerts::Escalation| Step {
            after_ms: millis(it.after),
            channels: it.channels.clone(),
            level: it.level,
        };
        (!settings.channels.is_empty()).then(|| Self {
            host: host.to_owned(),
            zone,
            channels: settings.channels.clone(),
            level: settings.level,
            group_ms: millis(settings.group),
            remind_ms: millis(settings.remind),
            resolved: settings.resolved,
            escalate: settings.escalate.iter().map(step).collect(),
            quiet: settings.quiet.as_ref().map(|quiet| Quiet::new(quiet, zone)),
        })
    }

    /// The channels that an alert is told to first.
    fn channels<'a>(&'a self, alert: &'a Alert) -> &'a [String] {
        if alert.channels.is_empty() { &self.channels } else { &alert.channels }
    }

    /// Whether what matters so much has to wait, and until when as far as it is known.
    fn hold(&self, moment: &Moment, level: MessageLevel) -> Hold {
        match moment.silence {
            Silence::Lasts => return Hold::Open,
            Silence::Until(end) if end > moment.now => return Hold::Until(end),
            Silence::Until(_) | Silence::None => {}
        }
        let quiet = self.quiet.as_ref().filter(|quiet| level < quiet.except);
        quiet.and_then(|quiet| quiet.end(moment.now)).map_or(Hold::None, Hold::Until)
    }

    /// The step that is next for an alert: its number, and when it is due.
    fn next_step(&self, alert: &Alert) -> Option<(usize, i64)> {
        let counts = |(_, step): &(usize, &Step)| alert.level >= step.level;
        let done = alert.escalated as usize;
        let (number, step) = self.escalate.iter().enumerate().skip(done).find(counts)?;
        // What comes after a step that came late keeps its distance.
        let before = self.escalate.iter().enumerate().take(done).rfind(counts);
        let waits = step.after_ms - before.map_or(0, |(_, before)| before.after_ms);
        Some((number, alert.escalated_at?.0.saturating_add(waits.max(1))))
    }
}

enum Hold {
    None,
    Until(Timestamp),
    /// Until something happens.
    Open,
}

/// Whether maintenance is under way during which nobody is told anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// No.
    None,
    /// Yes, and its end is not known.
    Lasts,
    /// It is over, and its effects may last until then.
    Until(Timestamp),
}

/// When [`step`] looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Now.
    pub now: Timestamp,
    /// Whether a task runs during which nobody is told anything.
    pub silence: Silence,
}

/// Alerts by key.
pub type Alerts = BTreeMap<String, Alert>;

/// What comes of a [`step`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stepped {
    /// Alerts that are new or different.
    pub changed: Vec<Alert>,
    /// Alerts that nobody has to know any more.
    pub forgotten: Vec<String>,
    /// What is told.
    pub messages: Vec<NewMessage>,
    /// When there is something to do next, unless something happens before.
    pub wake: Option<Timestamp>,
}

impl Stepped {
    /// Whether there is anything to be recorded.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.forgotten.is_empty() && self.messages.is_empty()
    }

    /// What it makes of the alerts.
    pub fn apply(&self, alerts: &mut Alerts) {
        for key in &self.forgotten {
            alerts.remove(key);
        }
        alerts.extend(self.changed.iter().map(|alert| (alert.key.clone(), alert.clone())));
    }
}

/// Looks at all alerts: what the signals make of them, and who is told what now.
pub fn step(rules: &Rules, moment: &Moment, before: &Alerts, signals: impl IntoIterator<Item = Signal>) -> Stepped {
    let now = moment.now;
    let mut alerts = before.clone();
    for signal in signals {
        heed(rules, now, &mut alerts, signal);
    }
    alerts.values_mut().for_each(|alert| pass(rules, now, alert));
    let messages = tell(rules, moment, &mut alerts);
    let is_old = |alert: &&Alert| !alert.over_untold && alert.closed.is_some_and(|at| at.0 + KEEP_MS <= now.0);
    let forgotten: Vec<String> = alerts.values().filter(is_old).map(|alert| alert.key.clone()).collect();
    forgotten.iter().for_each(|key| drop(alerts.remove(key)));
    let wake = alerts.values().filter_map(|alert| next(rules, moment, alert)).min();
    let changed = alerts.into_values().filter(|alert| before.get(&alert.key) != Some(alert)).collect();
    Stepped { changed, forgotten, messages, wake }
}

/// What a signal makes of the alerts.
fn heed(rules: &Rules, now: Timestamp, alerts: &mut Alerts, signal: Signal) {
    match signal {
        Signal::Wrong(condition) if condition.level < rules.level => gone(now, alerts, &condition.key),
        Signal::Wrong(condition) => match alerts.get_mut(&condition.key) {
            Some(alert) if alert.is_open() || alert.over_untold => lasts(now, alert, condition),
            before => {
                // An episode is named after its beginning: no two may have the same.
                let since = before.as_ref().map_or(now, |before| now.max(Timestamp(before.opened.0 + 1)));
                let openings = before.map(|before| std::mem::take(&mut before.openings)).unwrap_or_default();
                let alert = Alert { opened: since, ..open(now, openings, condition) };
                alerts.insert(alert.key.clone(), alert);
            }
        },
        Signal::Right(key) => {
            if let Some(alert) = alerts.get_mut(&key).filter(|alert| alert.is_open()) {
                if alert.flapping {
                    alert.right_since.get_or_insert(now);
                } else {
                    close(now, alert, alert.told.is_some() && rules.resolved);
                }
            }
        }
        Signal::Gone(key) => gone(now, alerts, &key),
        Signal::Acknowledged(key, acknowledgement) => {
            if let Some(alert) = alerts.get_mut(&key).filter(|alert| alert.is_open()) {
                alert.acknowledged = Some(acknowledgement);
            }
        }
    }
}

fn gone(now: Timestamp, alerts: &mut Alerts, key: &str) {
    if let Some(alert) = alerts.get_mut(key) {
        if alert.is_open() {
            close(now, alert, false);
        }
        alert.over_untold = false;
    }
}

fn open(now: Timestamp, openings: Vec<Timestamp>, condition: Condition) -> Alert {
    let openings = lately(now, openings);
    let Condition { key, level, title, detail, channels, presses, again: _ } = condition;
    Alert {
        key,
        level,
        title,
        detail,
        channels,
        opened: now,
        closed: None,
        told: None,
        tellings: 0,
        times: 1,
        flapping: openings.len() >= FLAPS,
        right_since: None,
        acknowledged: None,
        presses,
        remind_at: None,
        reminders: 0,
        escalated: 0,
        escalated_at: None,
        over_untold: false,
        openings,
    }
}

/// An opening more, and of those before only as many as count.
fn lately(now: Timestamp, mut openings: Vec<Timestamp>) -> Vec<Timestamp> {
    openings.retain(|at| at.0 > now.0 - FLAP_WINDOW_MS && *at <= now);
    openings.push(now);
    let many = openings.len();
    openings.split_off(many.saturating_sub(FLAPS))
}

/// It is wrong already, or it is wrong again before anybody was told that it was over.
fn lasts(now: Timestamp, alert: &mut Alert, condition: Condition) {
    let Condition { key: _, level, title, detail, channels, presses, again } = condition;
    if !alert.is_open() || alert.right_since.is_some() {
        alert.openings = lately(now, std::mem::take(&mut alert.openings));
        (alert.closed, alert.over_untold, alert.right_since) = (None, false, None);
        if !alert.flapping && alert.openings.len() >= FLAPS {
            // It was told and is not told anew: by now it is told only how often.
            alert.flapping = true;
        }
    }
    if again {
        alert.times = alert.times.saturating_add(1);
    }
    (alert.level, alert.title, alert.detail) = (level, title, detail);
    (alert.channels, alert.presses) = (channels, presses);
}

fn close(now: Timestamp, alert: &mut Alert, tell: bool) {
    alert.closed = Some(now);
    alert.over_untold = tell;
    (alert.remind_at, alert.right_since) = (None, None);
}

/// What the time makes of an alert.
fn pass(rules: &Rules, now: Timestamp, alert: &mut Alert) {
    if alert.level < rules.level && alert.is_open() {
        close(now, alert, false);
    }
    if alert.over_untold && !rules.resolved {
        alert.over_untold = false;
    }
    if alert.right_since.is_some_and(|since| since.0 + STEADY_MS <= now.0) {
        close(now, alert, alert.told.is_some() && rules.resolved);
    }
    let is_over = |alert: &Alert| {
        let until = alert.acknowledged.as_ref().and_then(|it| it.until);
        until.is_some_and(|until| until <= now)
    };
    if is_over(alert) {
        alert.acknowledged = None;
        if alert.is_open() && alert.told.is_some() && alert.presses {
            // Whoever took it on has had the time that they asked for: it begins anew.
            alert.remind_at = (rules.remind_ms > 0).then_some(now);
            (alert.escalated, alert.escalated_at) = (0, Some(now));
        }
    }
}

/// Puts together what is told now, and notes in the alerts that it was.
fn tell(rules: &Rules, moment: &Moment, alerts: &mut Alerts) -> Vec<NewMessage> {
    let now = moment.now;
    // Who is told together with others: those whose channels are told something anyway.
    let mut due: BTreeMap<Vec<String>, BTreeSet<Kind>> = BTreeMap::new();
    for alert in alerts.values() {
        for (kind, at) in waits(rules, alert) {
            if at <= now && matches!(rules.hold(moment, alert.level), Hold::None) {
                due.entry(rules.channels(alert).to_vec()).or_default().insert(kind);
            }
        }
    }
    let mut tellings: BTreeMap<Vec<String>, Vec<Telling>> = BTreeMap::new();
    for alert in alerts.values_mut() {
        if !matches!(rules.hold(moment, alert.level), Hold::None) {
            continue;
        }
        let first = rules.channels(alert).to_vec();
        let mut add = |channels: &[String], alert: &Alert, what: What| {
            tellings.entry(channels.to_vec()).or_default().push(Telling { alert: alert.clone(), what });
        };
        let joins = |kind, at: Timestamp, early: i64| {
            at <= now || (at.0 - early <= now.0 && due.get(&first).is_some_and(|kinds| kinds.contains(&kind)))
        };
        for (kind, at) in waits(rules, alert) {
            match kind {
                Kind::Opened if joins(kind, at, rules.group_ms) => {
                    (alert.told, alert.escalated_at) = (Some(now), Some(now));
                    alert.tellings += 1;
                    alert.remind_at = remind_at(rules, alert, now);
                    add(&first, alert, if alert.flapping { What::Flapping } else { What::Opened });
                }
                Kind::Reminder if joins(kind, at, rules.remind_ms / 4) => {
                    alert.reminders += 1;
                    alert.tellings += 1;
                    alert.remind_at = remind_at(rules, alert, now);
                    add(&first, alert, What::Reminder);
                }
                Kind::Over if joins(kind, at, rules.group_ms) => {
                    alert.over_untold = false;
                    add(&first, alert, What::Over);
                    let told = rules.escalate.iter().take(alert.escalated as usize);
                    for step in told.filter(|step| alert.level >= step.level && step.channels != first) {
                        add(&step.channels, alert, What::Over);
                    }
                }
                _ => {}
            }
        }
        if let Some((number, at)) = pressing(alert).and_then(|alert| rules.next_step(alert))
            && at <= now.0
        {
            alert.escalated = u32::try_from(number + 1).unwrap_or(u32::MAX);
            alert.escalated_at = Some(now);
            alert.tellings += 1;
            add(&rules.escalate[number].channels, alert, What::Escalated);
        }
    }
    tellings.into_iter().map(|(channels, tellings)| written(rules, now, channels, &tellings)).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Opened,
    Reminder,
    Over,
}

/// What is still to be told of an alert to its first channels, and when unless it is held.
fn waits(rules: &Rules, alert: &Alert) -> Vec<(Kind, Timestamp)> {
    let grouped = |at: Timestamp| Timestamp(at.0.saturating_add(rules.group_ms));
    match alert.closed {
        Some(closed) if alert.over_untold => vec![(Kind::Over, grouped(closed))],
        Some(_) => Vec::new(),
        // Whoever took it on knows of it.
        None if alert.told.is_none() && alert.acknowledged.is_some() => Vec::new(),
        None if alert.told.is_none() => vec![(Kind::Opened, grouped(alert.opened))],
        None => {
            let at = pressing(alert).and_then(|alert| alert.remind_at);
            at.map(|at| (Kind::Reminder, at)).into_iter().collect()
        }
    }
}

/// An alert that was told, and that somebody has to look after.
fn pressing(alert: &Alert) -> Option<&Alert> {
    let presses = alert.presses && alert.is_open() && alert.told.is_some() && alert.acknowledged.is_none();
    // While it is right, there is nothing to be done about what is flapping.
    (presses && alert.right_since.is_none()).then_some(alert)
}

fn remind_at(rules: &Rules, alert: &Alert, now: Timestamp) -> Option<Timestamp> {
    let doubled = rules.remind_ms.saturating_mul(1 << alert.reminders.min(16));
    let wait = doubled.min(LONGEST_REMIND_MS.max(rules.remind_ms));
    (rules.remind_ms > 0 && alert.presses).then(|| Timestamp(now.0.saturating_add(wait)))
}

/// When there is something to do about an alert; after now.
fn next(rules: &Rules, moment: &Moment, alert: &Alert) -> Option<Timestamp> {
    let told = waits(rules, alert).into_iter().map(|(_, at)| at);
    let escalated = pressing(alert).and_then(|alert| rules.next_step(alert)).map(|(_, at)| Timestamp(at));
    let tellings = told.chain(escalated).min().and_then(|at| match rules.hold(moment, alert.level) {
        Hold::None => Some(at),
        Hold::Until(end) => Some(at.max(end)),
        Hold::Open => None,
    });
    let acknowledged = alert.acknowledged.as_ref().filter(|_| alert.is_open()).and_then(|it| it.until);
    let steady = alert.right_since.map(|since| Timestamp(since.0 + STEADY_MS));
    [tellings, acknowledged, steady].into_iter().flatten().min()
}

/// What an alert waits for, for whoever asks: the next telling, and what it is.
pub fn next_telling(rules: &Rules, moment: &Moment, alert: &Alert) -> Option<(Timestamp, &'static str)> {
    let told = waits(rules, alert).into_iter().map(|(kind, at)| {
        let what = match kind {
            Kind::Opened => "told",
            Kind::Reminder => "reminded",
            Kind::Over => "resolved",
        };
        (at, what)
    });
    let escalated = pressing(alert).and_then(|alert| rules.next_step(alert));
    let (at, what) = told.chain(escalated.map(|(_, at)| (Timestamp(at), "escalated"))).min()?;
    match rules.hold(moment, alert.level) {
        Hold::None => Some((at, what)),
        Hold::Until(end) => Some((at.max(end), what)),
        Hold::Open => None,
    }
}

/// One message of all that is told to the same channels.
fn written(rules: &Rules, now: Timestamp, channels: Vec<String>, tellings: &[Telling]) -> NewMessage {
    let names: Vec<String> = tellings.iter().map(name).collect();
    let key = match names.as_slice() {
        [one] => format!("{one}/{}", channels.join(",")),
        many => format!("alerts/{}/{}", digest(&many.join("\n")), channels.join(",")),
    };
    // Of a chain so long that it does not fit, the digest is as good.
    let key = if key.len() > 255 { format!("alerts/{}", digest(&key)) } else { key };
    let is_over = tellings.iter().all(|it| it.what == What::Over);
    let level = tellings.iter().filter(|it| it.what != What::Over).map(|it| it.alert.level).max();
    let priority = match level {
        Some(MessageLevel::Critical) => Priority::Urgent,
        Some(MessageLevel::Error) => Priority::High,
        _ => Priority::Normal,
    };
    // A reminder that could not be delivered until the next one is of no use then.
    let is_reminder = tellings.iter().all(|it| it.what == What::Reminder);
    let expires = (is_reminder && rules.remind_ms > 0).then(|| Timestamp(now.0.saturating_add(rules.remind_ms)));
    let mut content = message::content(tellings, now, rules.zone, &rules.host);
    content.level = if is_over { MessageLevel::Info } else { level.unwrap_or_default() };
    NewMessage { key: Some(key), channels, priority, not_before: None, expires, content }
}

/// The name of a telling: no other ever has it.
pub fn name(telling: &Telling) -> String {
    let Telling { alert, what } = telling;
    let step = match what {
        What::Opened | What::Flapping => "opened".to_owned(),
        What::Reminder => format!("remind-{}", alert.reminders),
        // After an acknowledgement that has run out the steps begin anew.
        What::Escalated => format!("escalate-{}-{}", alert.escalated, alert.tellings),
        What::Over => "over".to_owned(),
    };
    format!("{}@{}/{step}", alert.key, alert.opened.0)
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

fn millis(duration: Duration) -> i64 {
    // A hundred years are as good as for ever, and can be added to.
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(100 * 366 * 24 * 3600 * 1000)
}
