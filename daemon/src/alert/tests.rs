//! The policy: days told as stories, and properties that no day breaks.

mod properties;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use chrono::DateTime;
use chrono_tz::Tz;

use super::policy::{Alerts, Moment, Rules, Silence, step};
use super::signal::{Condition, Signal};
use crate::clock::Timestamp;
use crate::config::alerts::{AlertSettings, Escalation, QuietHours};
use crate::record::alert::Acknowledgement;
use crate::record::outbox::{MessageLevel, NewMessage};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// Midnight of a Monday.
fn monday() -> Timestamp {
    Timestamp(DateTime::parse_from_rfc3339("2026-11-23T00:00:00Z").unwrap().timestamp_millis())
}

fn settings() -> AlertSettings {
    AlertSettings { channels: vec!["wecom".into(), "mail".into()], ..AlertSettings::default() }
}

fn wrong(task: &str, level: MessageLevel) -> Signal {
    Signal::Wrong(Condition {
        key: format!("task/{task}"),
        level,
        title: format!("Task {task} failed"),
        detail: "failed: no space left (run 01KAR)".into(),
        channels: Vec::new(),
        presses: true,
        again: true,
    })
}

fn right(task: &str) -> Signal {
    Signal::Right(format!("task/{task}"))
}

/// A life of alerts: time goes on, things happen, and what is told is written down.
struct Story {
    rules: Rules,
    alerts: Alerts,
    now: Timestamp,
    wake: Option<Timestamp>,
    silence: Silence,
    told: Vec<(Timestamp, NewMessage)>,
}

impl Story {
    fn new(settings: &AlertSettings) -> Self {
        let rules = Rules::new(settings, "web-1", Tz::UTC).unwrap();
        let (alerts, told) = (Alerts::new(), Vec::new());
        Self { rules, alerts, now: monday(), wake: None, silence: Silence::None, told }
    }

    /// Something happens now.
    fn happens(&mut self, signals: Vec<Signal>) {
        let moment = Moment { now: self.now, silence: self.silence };
        let stepped = step(&self.rules, &moment, &self.alerts, signals);
        assert!(stepped.wake.is_none_or(|wake| wake > self.now), "a moment that does not pass: {stepped:?}");
        stepped.apply(&mut self.alerts);
        self.wake = stepped.wake;
        self.told.extend(stepped.messages.into_iter().map(|message| (self.now, message)));
    }

    /// Time goes on until then, with a look whenever one is wanted.
    fn until(&mut self, at: i64) {
        let end = Timestamp(monday().0 + at);
        while let Some(wake) = self.wake.filter(|wake| *wake <= end) {
            self.now = wake;
            self.happens(Vec::new());
        }
        self.now = end;
    }

    fn at(&mut self, at: i64, signals: Vec<Signal>) {
        self.until(at);
        self.happens(signals);
    }

    /// What was told: day and time, channels, title.
    fn told(&self) -> String {
        let mut text = String::new();
        for (at, message) in &self.told {
            let at = at.utc().format("%a %H:%M:%S");
            let _ = writeln!(text, "{at} {}: {}", message.channels.join(">"), message.content.title);
        }
        text
    }
}

#[test]
fn it_is_told_once_again_at_growing_distances_and_when_it_is_over() {
    let mut story = Story::new(&settings());
    story.at(10 * MINUTE, vec![wrong("backup", MessageLevel::Error)]);
    for hour in 1..=40 {
        story.at(hour * HOUR, vec![wrong("backup", MessageLevel::Error)]);
    }
    story.at(41 * HOUR, vec![right("backup")]);
    story.at(90 * HOUR, Vec::new());
    insta::assert_snapshot!(story.told());
    let (_, first) = &story.told[0];
    insta::assert_snapshot!(first.content.text);
    assert_eq!(first.key.as_deref(), Some("task/backup@1795392600000/opened/wecom,mail"));
    assert_eq!((first.content.level, first.content.group.as_deref()), (MessageLevel::Error, Some("task/backup")));
    let (_, last) = &story.told[story.told.len() - 1];
    assert_eq!(last.content.level, MessageLevel::Info);
    assert!(story.alerts.is_empty(), "what is over for a day is forgotten");
}

#[test]
fn what_is_over_at_once_is_told_to_nobody() {
    let mut story = Story::new(&settings());
    story.at(MINUTE, vec![wrong("backup", MessageLevel::Error)]);
    story.at(MINUTE + 20_000, vec![right("backup")]);
    story.at(48 * HOUR, Vec::new());
    assert_eq!(story.told(), "");
    assert!(story.alerts.is_empty(), "what is over for a day is forgotten");
}

#[test]
fn what_comes_together_is_told_together() {
    let mut story = Story::new(&settings());
    let levels = [MessageLevel::Warn, MessageLevel::Critical, MessageLevel::Error];
    for (number, level) in (0..).zip(levels) {
        story.at(10_000 * number, vec![wrong(&format!("task-{number}"), level)]);
    }
    let mut own = Condition { channels: vec!["dba".into()], ..condition("db", MessageLevel::Error) };
    own.presses = false;
    story.at(29_000, vec![Signal::Wrong(own), wrong("late", MessageLevel::Info)]);
    story.until(3 * MINUTE);
    insta::assert_snapshot!(story.told());
    insta::assert_snapshot!(story.told[0].1.content.text);
    story.at(4 * MINUTE, vec![right("task-0"), right("task-1")]);
    story.until(5 * MINUTE);
    assert!(story.told().ends_with("wecom>mail: [web-1] 2 resolved\n"), "{}", story.told());
}

fn condition(task: &str, level: MessageLevel) -> Condition {
    match wrong(task, level) {
        Signal::Wrong(condition) => condition,
        other => panic!("{other:?}"),
    }
}

#[test]
fn hundreds_at_once_are_one_message_that_is_not_long() {
    let mut story = Story::new(&settings());
    let long = |number| {
        Signal::Wrong(Condition {
            detail: "长 ".repeat(2_000),
            ..condition(&format!("task-{number}"), MessageLevel::Error)
        })
    };
    story.at(0, (0..500).map(long).collect());
    story.until(HOUR);
    assert_eq!(story.told().lines().count(), 1);
    let text = &story.told[0].1.content.text;
    assert!(text.len() < 8_000 && text.ends_with("... and 490 more: `upkeep alerts`"), "{}", text.len());
}

#[test]
fn quiet_hours_hold_back_all_but_what_is_critical() {
    let quiet = QuietHours {
        hours: "22:00-08:00".parse().unwrap(),
        weekdays: Vec::new(),
        timezone: None,
        except: MessageLevel::Critical,
    };
    let mut story = Story::new(&AlertSettings { quiet: Some(quiet), ..settings() });
    story.at(20 * HOUR, vec![wrong("before", MessageLevel::Error)]);
    story.at(23 * HOUR, vec![wrong("stays", MessageLevel::Error), wrong("passes", MessageLevel::Error)]);
    story.at(24 * HOUR, vec![wrong("disk", MessageLevel::Critical)]);
    story.at(25 * HOUR, vec![right("passes")]);
    story.at(26 * HOUR, vec![right("before")]);
    story.at(31 * HOUR + 59 * MINUTE, vec![wrong("just now", MessageLevel::Error)]);
    story.until(33 * HOUR);
    insta::assert_snapshot!(story.told());
}

#[test]
fn nobody_is_told_anything_during_maintenance() {
    let mut story = Story::new(&settings());
    story.at(9 * HOUR, vec![wrong("old", MessageLevel::Error)]);
    story.until(10 * HOUR);
    story.silence = Silence::Lasts;
    story.at(11 * HOUR, vec![wrong("shop", MessageLevel::Critical), wrong("queue", MessageLevel::Error)]);
    story.at(12 * HOUR, vec![right("queue")]);
    story.until(13 * HOUR + 30 * MINUTE);
    // The task that is maintenance has ended; its effects may last a little.
    story.silence = Silence::Until(Timestamp(story.now.0 + 5 * MINUTE));
    story.happens(Vec::new());
    story.until(14 * HOUR);
    insta::assert_snapshot!(story.told());
}

fn escalating() -> AlertSettings {
    let step = |minutes: u64, channel: &str, level| Escalation {
        after: std::time::Duration::from_secs(60 * minutes),
        channels: vec![channel.into()],
        level,
    };
    let escalate = vec![step(30, "phone", MessageLevel::Error), step(90, "boss", MessageLevel::Critical)];
    AlertSettings { escalate, ..settings() }
}

#[test]
fn what_nobody_acknowledges_goes_to_others() {
    let mut story = Story::new(&escalating());
    story.at(0, vec![wrong("disk", MessageLevel::Critical), wrong("backup", MessageLevel::Error)]);
    story.at(0, vec![wrong("report", MessageLevel::Warn)]);
    story.at(3 * HOUR, vec![right("disk"), right("report")]);
    story.until(3 * HOUR + MINUTE);
    insta::assert_snapshot!(story.told());
}

#[test]
fn an_acknowledgement_ends_reminders_and_escalation() {
    let taken = |until: Option<i64>| {
        let until = until.map(|until| Timestamp(monday().0 + until));
        let acknowledgement = Acknowledgement { by: "uid 0".into(), at: monday(), until, note: None };
        Signal::Acknowledged("task/backup".into(), acknowledgement)
    };
    let mut story = Story::new(&escalating());
    story.at(0, vec![wrong("backup", MessageLevel::Error)]);
    story.at(10 * MINUTE, vec![taken(None)]);
    story.at(30 * HOUR, vec![wrong("backup", MessageLevel::Error)]);
    story.at(50 * HOUR, vec![right("backup")]);
    story.until(52 * HOUR);
    insta::assert_snapshot!(story.told());

    // For a time only: then it begins anew.
    let mut story = Story::new(&escalating());
    story.at(0, vec![wrong("backup", MessageLevel::Error)]);
    story.at(10 * MINUTE, vec![taken(Some(2 * HOUR))]);
    story.until(4 * HOUR);
    insta::assert_snapshot!(story.told());
}

#[test]
fn what_was_taken_on_before_it_was_told_is_told_to_nobody() {
    let until = Some(Timestamp(monday().0 + 2 * HOUR));
    let taken = Acknowledgement { by: "uid 0".into(), at: monday(), until, note: None };
    let mut story = Story::new(&settings());
    story.at(0, vec![wrong("backup", MessageLevel::Error)]);
    story.at(1, vec![Signal::Acknowledged("task/backup".into(), taken)]);
    story.until(HOUR);
    assert!(story.told.is_empty(), "{}", story.told());
    story.until(3 * HOUR);
    assert!(story.told().contains("Task backup failed"), "whoever took it on has not mended it: {}", story.told());
}

#[test]
fn what_goes_wrong_and_right_again_and_again_is_told_as_flapping() {
    let mut story = Story::new(&settings());
    for round in 0..40 {
        story.at(round * 4 * MINUTE, vec![wrong("ping", MessageLevel::Error)]);
        story.at(round * 4 * MINUTE + 2 * MINUTE, vec![right("ping")]);
    }
    story.until(10 * HOUR);
    insta::assert_snapshot!(story.told());
}

#[test]
fn what_does_not_matter_any_more_goes_without_a_word() {
    let mut story = Story::new(&settings());
    story.at(0, vec![wrong("backup", MessageLevel::Error), wrong("scan", MessageLevel::Warn)]);
    story.until(HOUR);
    let told = story.told.len();
    story.happens(vec![Signal::Gone("task/backup".into())]);
    story.rules = Rules::new(&AlertSettings { level: MessageLevel::Error, ..settings() }, "web-1", Tz::UTC).unwrap();
    story.at(2 * HOUR, Vec::new());
    story.at(30 * HOUR, Vec::new());
    assert_eq!((story.told.len(), story.alerts.len()), (told, 0), "{}", story.told());
}

#[test]
fn keys_of_messages_fit_and_differ() {
    let channels: Vec<String> = (0..16).map(|number| format!("{number:064}")).collect();
    let mut story = Story::new(&AlertSettings { channels, ..settings() });
    story.at(0, vec![wrong(&"t".repeat(64), MessageLevel::Error)]);
    story.until(30 * HOUR);
    let keys: BTreeSet<&str> = story.told.iter().filter_map(|(_, message)| message.key.as_deref()).collect();
    assert_eq!(keys.len(), story.told.len());
    assert!(story.told.iter().all(|(at, message)| message.wrong(48 << 10, *at).is_none()));
}

#[test]
fn what_is_wrong_with_a_configuration_is_told_whole() {
    let message = "  error: grant.dump.db.sqlite: /srv/shop.db is not an SQLite\n  │ database\n   ╭─[/etc/upkeep/tasks.d/shop.toml:7:10]\n \
                   7 │ sqlite = \"/srv/shop.db\"\n   ╰────\n\n  error: there is no key `colour` here\n";
    let Signal::Wrong(condition) = Signal::config(message) else { panic!("it is wrong") };
    assert_eq!(
        condition.detail,
        "grant.dump.db.sqlite: /srv/shop.db is not an SQLite database (/etc/upkeep/tasks.d/shop.toml:7:10), and 1 more is wrong. \
         `upkeep check` shows it."
    );
    let Signal::Wrong(condition) = Signal::config("something else") else { panic!("it is wrong") };
    assert_eq!(condition.detail, " `upkeep check` shows it.");
}
