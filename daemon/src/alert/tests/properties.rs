//! What holds on every day, whatever happens.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::{HOUR, MINUTE, Story, monday, right, wrong};
use crate::alert::policy::{Moment, Silence, step};
use crate::alert::signal::Signal;
use crate::clock::Timestamp;
use crate::config::alerts::{AlertSettings, Escalation, QuietHours};
use crate::record::alert::{Acknowledgement, Alert};
use crate::record::outbox::MessageLevel;

/// Something that happens.
#[derive(Debug, Clone)]
enum Happening {
    Wrong(usize, MessageLevel),
    Right(usize),
    Gone(usize),
    Acknowledged(usize, Option<i64>),
    Maintenance(bool),
}

const TASKS: [&str; 4] = ["a", "b", "c", "d"];

fn level() -> impl Strategy<Value = MessageLevel> {
    prop_oneof![
        Just(MessageLevel::Info),
        Just(MessageLevel::Warn),
        Just(MessageLevel::Error),
        Just(MessageLevel::Critical)
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let task = 0..TASKS.len();
    prop_oneof![
        6 => (task.clone(), level()).prop_map(|(task, level)| Happening::Wrong(task, level)),
        5 => task.clone().prop_map(Happening::Right),
        1 => task.clone().prop_map(Happening::Gone),
        2 => (task, prop::option::of(1..6 * HOUR)).prop_map(|(task, time)| Happening::Acknowledged(task, time)),
        1 => any::<bool>().prop_map(Happening::Maintenance),
    ]
}

/// Days: how long after the one before each thing happens.
fn days() -> impl Strategy<Value = Vec<(i64, Happening)>> {
    let wait = prop_oneof![2 => Just(0), 3 => 0..2 * MINUTE, 4 => 0..HOUR, 2 => 0..12 * HOUR];
    prop::collection::vec((wait, happening()), 0..60)
}

fn rules() -> impl Strategy<Value = AlertSettings> {
    let escalate = prop::collection::vec((1..120u64, level()), 0..3);
    let hours = prop::option::of((0..1440u32, 1..1439u32, level()));
    let seconds = |most: u64| (0..=most).prop_map(Duration::from_secs);
    (seconds(120), prop_oneof![Just(Duration::ZERO), seconds(40_000)], any::<bool>(), escalate, hours, level())
        .prop_map(|(group, remind, resolved, steps, quiet, level)| {
            let mut after = 0;
            let step = |(minutes, level): (u64, MessageLevel)| {
                after += minutes;
                Escalation { after: Duration::from_secs(60 * after), channels: vec![format!("step-{after}")], level }
            };
            let quiet = quiet.map(|(from, length, except)| {
                let time = |minute: u32| format!("{:02}:{:02}", minute % 1440 / 60, minute % 60);
                let hours = format!("{}-{}", time(from), time(from + length)).parse().unwrap();
                QuietHours { hours, weekdays: Vec::new(), timezone: None, except }
            });
            let escalate = steps.into_iter().map(step).collect();
            AlertSettings { group, remind, resolved, escalate, quiet, level, ..super::settings() }
        })
}

/// Lives through days, with a check after each moment.
fn live(settings: &AlertSettings, days: &[(i64, Happening)]) -> Story {
    let mut story = Story::new(settings);
    let mut at = 0;
    for (wait, happening) in days {
        at += wait;
        let key = |task: &usize| format!("task/{}", TASKS[*task]);
        let signals = match happening {
            Happening::Wrong(task, level) => vec![wrong(TASKS[*task], *level)],
            Happening::Right(task) => vec![right(TASKS[*task])],
            Happening::Gone(task) => vec![Signal::Gone(key(task))],
            Happening::Acknowledged(task, time) => {
                let until = time.map(|time| Timestamp(monday().0 + at + time));
                let acknowledgement = Acknowledgement { by: "x".into(), at: story.now, until, note: None };
                vec![Signal::Acknowledged(key(task), acknowledgement)]
            }
            Happening::Maintenance(lasts) => {
                story.until(at);
                story.silence = if *lasts { Silence::Lasts } else { Silence::None };
                Vec::new()
            }
        };
        story.at(at, signals);
    }
    story
}

/// The names of all that was told: of a message, those in its key.
fn keys(story: &Story) -> Vec<&str> {
    story.told.iter().map(|(_, message)| message.key.as_deref().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// No step of an episode is told twice to anybody, and nothing that cannot be taken in is told.
    #[test]
    fn nothing_is_told_twice(settings in rules(), days in days()) {
        let story = live(&settings, &days);
        let keys = keys(&story);
        prop_assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "{:?}", keys);
        for (at, message) in &story.told {
            prop_assert_eq!(message.wrong(48 << 10, *at), None);
        }
    }

    /// What stays wrong is told, however the hours are, unless somebody took it on before; and when it is right afterwards, that is told as
    /// well.
    #[test]
    fn what_stays_wrong_is_told(settings in rules(), days in days()) {
        let mut story = live(&settings, &days);
        story.silence = Silence::None;
        story.happens(vec![wrong("a", MessageLevel::Critical), wrong("b", MessageLevel::Error)]);
        let end = story.now.0 - monday().0;
        story.until(end + 49 * HOUR);
        let mut is_told = false;
        for (key, level) in [("task/a", MessageLevel::Critical), ("task/b", MessageLevel::Error)] {
            let alert = story.alerts.get(key).filter(|alert| alert.is_open());
            if level < settings.level {
                prop_assert!(alert.is_none());
            } else {
                prop_assert!(
                    alert.is_some_and(|alert| alert.told.is_some() || alert.acknowledged.is_some()),
                    "{:?}",
                    alert
                );
                is_told |= alert.is_some_and(|alert| alert.told.is_some());
            }
        }
        let before = story.told.len();
        story.happens(vec![right("a"), right("b")]);
        story.until(end + 100 * HOUR);
        let over = story.told[before..].iter().filter(|(_, message)| message.channels == ["wecom", "mail"]);
        let told_over = over.filter(|(_, message)| message.content.text.contains("It was wrong from")).count();
        prop_assert_eq!(told_over > 0, settings.resolved && is_told, "{}", story.told());
        prop_assert!(story.alerts.values().all(|alert| !alert.over_untold || !matches!(alert.key.as_str(), "task/a" | "task/b")));
    }

    /// An alert that was opened is open or over, what is over was told when it has to be, and quiet hours are quiet.
    #[test]
    fn alerts_are_sound_at_each_moment(settings in rules(), days in days()) {
        let mut story = live(&settings, &days);
        let sound = |alert: &Alert| {
            let open = alert.is_open();
            (open || (alert.right_since.is_none() && alert.remind_at.is_none()))
                && (!alert.over_untold || (!open && alert.told.is_some()))
                && (alert.told.is_some() || (alert.tellings == 0 && alert.reminders == 0 && alert.escalated == 0))
                && alert.told.is_none_or(|told| told >= alert.opened)
                && (!open || alert.level >= settings.level)
        };
        prop_assert!(story.alerts.values().all(sound), "{:?}", story.alerts);
        story.silence = Silence::None;
        story.happens(Vec::new());
        let quiet = settings.quiet.as_ref().map(|quiet| crate::alert::quiet::Quiet::new(quiet, chrono_tz::UTC));
        for (at, message) in &story.told {
            let held = quiet.as_ref().filter(|quiet| quiet.end(*at).is_some());
            // A message that only says what is over is as quiet as what it was about.
            if let Some(quiet) = held.filter(|_| message.content.level > MessageLevel::Info) {
                prop_assert!(message.content.level >= quiet.except, "{}", story.told());
            }
        }
    }

    /// Looking again at the same moment changes nothing: what is recorded twice is the same.
    #[test]
    fn a_second_look_changes_nothing(settings in rules(), days in days()) {
        let story = live(&settings, &days);
        let moment = Moment { now: story.now, silence: story.silence };
        let again = step(&story.rules, &moment, &story.alerts, Vec::new());
        prop_assert!(again.is_empty(), "{:?}", again);
    }

    /// During maintenance nobody is told anything.
    #[test]
    fn maintenance_is_silent(settings in rules(), days in days()) {
        let lasting: Vec<_> = std::iter::once((0, Happening::Maintenance(true)))
            .chain(days.into_iter().filter(|(_, happening)| !matches!(happening, Happening::Maintenance(_))))
            .collect();
        let mut story = live(&settings, &lasting);
        story.until(story.now.0 - monday().0 + 48 * HOUR);
        prop_assert_eq!(story.told(), "");
    }

    /// The same as many steps with crashes in between: what was not recorded happens again from what was.
    #[test]
    fn a_crash_before_the_commit_tells_the_same(settings in rules(), days in days()) {
        let story = live(&settings, &days);
        let moment = Moment { now: Timestamp(story.now.0 + HOUR), silence: Silence::None };
        let signals = || vec![wrong("a", MessageLevel::Error), right("b")];
        let first = step(&story.rules, &moment, &story.alerts, signals());
        prop_assert_eq!(first, step(&story.rules, &moment, &story.alerts, signals()));
    }
}
