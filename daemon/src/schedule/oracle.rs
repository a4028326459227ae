//! The slots, found a second time by brute force: every minute of UTC is shown to chrono-tz, and the policies are applied to
//! what the wall shows, by rules that share nothing with the code under test. Properties compare the two around real clock
//! changes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;

/// Places and days with a clock change of each kind, and some without.
const PLACES: &[(&str, &str)] = &[
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Africa/Casablanca", "2026-02-15"),
    ("Africa/Casablanca", "2026-03-22"),
    ("Asia/Shanghai", "1986-05-04"),
    ("Asia/Shanghai", "1991-09-15"),
    ("Asia/Shanghai", "2026-06-01"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("America/Havana", "2026-11-01"),
    ("Pacific/Apia", "2011-12-30"),
    ("Asia/Kathmandu", "1986-01-01"),
    ("UTC", "2026-02-28"),
];

/// A field: what it names, and how that is written.
#[derive(Debug, Clone)]
struct Field {
    text: String,
    names: BTreeSet<u32>,
}

fn field(low: u32, high: u32) -> impl Strategy<Value = Field> {
    let star = Just(Field { text: "*".into(), names: (low..=high).collect() });
    let step = (1..=high / 2).prop_map(move |step| Field {
        text: format!("*/{step}"),
        names: (low..=high).step_by(step as usize).collect(),
    });
    prop_oneof![1 => star, 1 => step, 2 => some(low, high)]
}

/// A field that names values one by one or as a range.
fn some(low: u32, high: u32) -> impl Strategy<Value = Field> {
    let list = prop::collection::btree_set(low..=high, 1..4)
        .prop_map(|names| Field { text: names.iter().map(u32::to_string).collect::<Vec<_>>().join(","), names });
    let range = (low..=high, low..=high).prop_map(|(a, b)| Field {
        text: format!("{}-{}", a.min(b), a.max(b)),
        names: (a.min(b)..=a.max(b)).collect(),
    });
    prop_oneof![list, range]
}

/// Hours, mostly those in which clocks change.
fn hours() -> impl Strategy<Value = Field> {
    prop_oneof![1 => field(0, 23), 2 => some(0, 3)]
}

#[derive(Debug, Clone)]
struct Case {
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
    every: Option<i64>,
    tz: Tz,
    from: i64,
    to: i64,
    settings: ScheduleSettings,
}

fn case() -> impl Strategy<Value = Case> {
    let fields = (field(0, 59), hours(), field(1, 31), field(1, 12), field(0, 6));
    let policies =
        (any::<bool>(), any::<bool>(), prop::option::of((0..24_u16, 0..24_u16)), prop_oneof![Just(0), 0..7200_u64]);
    let every = prop::option::weighted(0.15, 1..500_i64);
    (fields, policies, every, any::<prop::sample::Index>(), prop::option::weighted(0.7, Just(())), 0..4_u32).prop_map(
        |(
            (minutes, hours, mut days, mut months, mut weekdays),
            (skip, twice, window, jitter),
            every,
            place,
            plain,
            catch_up,
        )| {
            let (zone, date) = PLACES[place.index(PLACES.len())];
            let middle = format!("{date}T00:00:00").parse::<NaiveDateTime>().unwrap().and_utc().timestamp();
            if plain.is_some() {
                days = Field { text: "*".into(), names: (1..=31).collect() };
                months = Field { text: "*".into(), names: (1..=12).collect() };
                weekdays = Field { text: "*".into(), names: (0..=6).collect() };
            }
            let texts = [&minutes, &hours, &days, &months, &weekdays].map(|field| field.text.as_str());
            let settings = ScheduleSettings {
                cron: every.is_none().then(|| texts.join(" ")),
                every: every.map(|minutes| Duration::from_secs(minutes as u64 * 60)),
                timezone: Some(zone.into()),
                dst_gap: if skip { DstGap::Skip } else { DstGap::RunAfter },
                dst_overlap: if twice { DstOverlap::Twice } else { DstOverlap::Once },
                catch_up: [CatchUp::None, CatchUp::Last, CatchUp::All(1), CatchUp::All(5)][catch_up as usize],
                jitter: Duration::from_secs(jitter),
                window: window
                    .filter(|(from, to)| from != to)
                    .map(|(from, to)| Window { from: from * 60 + 30, to: to * 60 + 30 }),
                ..ScheduleSettings::default()
            };
            let every = every.map(|minutes| minutes * 60);
            let tz = zone.parse().unwrap();
            Case {
                minutes,
                hours,
                days,
                months,
                weekdays,
                every,
                tz,
                from: middle - 2 * DAY,
                to: middle + 3 * DAY,
                settings,
            }
        },
    )
}

impl Case {
    fn names(&self, at: NaiveDateTime) -> bool {
        let day = self.days.names.contains(&at.day());
        let weekday = self.weekdays.names.contains(&at.weekday().num_days_from_sunday());
        let star = self.days.text.starts_with('*') || self.weekdays.text.starts_with('*');
        self.minutes.names.contains(&at.minute())
            && self.hours.names.contains(&at.hour())
            && self.months.names.contains(&at.month())
            && if star { day && weekday } else { day || weekday }
    }

    /// Moment of the slot and what is decided, with the policies applied to what a wall clock shows minute by minute.
    fn expected(&self, delay: i64) -> Vec<(i64, Decision)> {
        let wall = |at: i64| DateTime::<Utc>::from_timestamp(at, 0).unwrap().with_timezone(&self.tz).naive_local();
        let minute = TimeDelta::minutes(1);
        let interval = self.hours.names.len() == 24;
        let mut seen: BTreeSet<NaiveDateTime> = BTreeSet::new();
        let mut slots = BTreeMap::new();
        for at in (self.from - 2 * DAY..self.to).step_by(60) {
            let now = wall(at);
            let mut decision = None;
            if let Some(seconds) = self.every {
                decision = (at % seconds == 0).then_some(Decision::Run);
            } else {
                let mut missing = wall(at - 60) + minute;
                let gap = now.signed_duration_since(missing);
                while missing < now {
                    if self.names(missing) {
                        let lost = !interval || gap.num_minutes() % 60 != 0;
                        let run = lost && self.settings.dst_gap == DstGap::RunAfter;
                        decision = Some(if run { Decision::Run } else { Decision::Skip });
                    }
                    missing += minute;
                }
                if self.names(now) {
                    let repeated = seen.contains(&now) && !interval;
                    let skip = repeated && self.settings.dst_overlap == DstOverlap::Once;
                    decision = Some(if skip { Decision::Skip } else { Decision::Run });
                }
            }
            seen.insert(now);
            if let Some(mut decision) = decision {
                let start = wall(at + delay);
                let minute = (start.hour() * 60 + start.minute()) as u16;
                if decision == Decision::Run && self.settings.window.is_some_and(|window| !window.contains(minute)) {
                    decision = Decision::Suppress;
                }
                slots.insert(at + delay, decision);
            }
        }
        slots.into_iter().filter(|(due, _)| *due >= self.from).collect()
    }
}

fn found(schedule: &Schedule, seed: Seed, after: i64, until: i64) -> Vec<Slot> {
    schedule.slots(seed, Timestamp(after * 1000)).take_while(|slot| slot.due.0 < until * 1000).collect()
}

/// What [`Schedule::passed`] has to say, from a list of all slots.
fn expected_passed(policy: CatchUp, slots: &[Slot], now: Timestamp) -> Passed {
    let (late, on_time): (Vec<&Slot>, Vec<&Slot>) = slots.iter().partition(|slot| slot.due.0 < now.0 - GRACE);
    let of = |decision| late.iter().filter(|slot| slot.decision == decision).copied().collect::<Vec<_>>();
    let stretch = |slots: &[&Slot]| {
        let (first, last) = (slots.first()?.due, slots.last()?.due);
        Some(Stretch { count: slots.len() as u64, first, last })
    };
    let runs = of(Decision::Run);
    let most = match policy {
        CatchUp::None => 0,
        CatchUp::Last if on_time.iter().any(|slot| slot.decision == Decision::Run) => 0,
        CatchUp::Last => 1,
        CatchUp::All(most) => most as usize,
    };
    let (missed, caught_up) = runs.split_at(runs.len().saturating_sub(most));
    Passed {
        on_time: on_time.into_iter().cloned().collect(),
        caught_up: caught_up.iter().map(|slot| (*slot).clone()).collect(),
        missed: stretch(missed),
        skipped: stretch(&of(Decision::Skip)),
        suppressed: stretch(&of(Decision::Suppress)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn slots_are_those_that_the_wall_clock_shows(case in case(), seed in any::<u64>()) {
        let Ok(schedule) = Schedule::compile(&case.settings, Tz::UTC) else { return Ok(()) };
        let seed = Seed(seed);
        let until = case.to - 3 * 3600;
        let mut expected = case.expected(schedule.delay(seed).into());
        expected.retain(|(due, _)| *due < until);
        let slots = found(&schedule, seed, case.from - 1, until);
        let slots: Vec<_> = slots.iter().map(|slot| (slot.due.0 / 1000, slot.decision)).collect();
        prop_assert_eq!(slots, expected);
    }

    /// Where the walk begins makes no difference: a restart neither loses nor repeats a slot.
    #[test]
    fn a_restart_changes_nothing(case in case(), seed in any::<u64>(), cut in 0..5 * DAY) {
        let Ok(schedule) = Schedule::compile(&case.settings, Tz::UTC) else { return Ok(()) };
        let seed = Seed(seed);
        let cut = case.from + cut;
        let all = found(&schedule, seed, case.from, case.to);
        prop_assert!(all.is_sorted_by(|a, b| a.due < b.due));
        let mut parts: Vec<Slot> = all.iter().filter(|slot| slot.due.0 <= cut * 1000).cloned().collect();
        parts.extend(found(&schedule, seed, cut, case.to));
        prop_assert_eq!(parts, all);
    }

    /// Counting comes to the same as walking.
    #[test]
    fn what_passed_is_what_the_slots_say(
        case in case(), seed in any::<u64>(), cut in 0..5 * DAY * 1000, length in 0..5 * DAY * 1000, short in any::<bool>(),
    ) {
        let Ok(schedule) = Schedule::compile(&case.settings, Tz::UTC) else { return Ok(()) };
        let seed = Seed(seed);
        let cursor = Timestamp(case.from * 1000 + cut);
        let now = Timestamp(cursor.0 + if short { length / 50 } else { length });
        let slots: Vec<Slot> = schedule.slots(seed, cursor).take_while(|slot| slot.due <= now).collect();
        prop_assert_eq!(schedule.passed(seed, cursor, now), expected_passed(case.settings.catch_up, &slots, now));
    }
}
