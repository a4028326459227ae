//! What is due, and why. Pure: the clock is an argument, and so is the time zone.
//!
//! A [`Schedule`] is compiled from the `[schedule]` of a task file. It answers two questions: which slots come after a moment
//! ([`Schedule::slots`]), and what became of the slots between two moments ([`Schedule::passed`]), the second without
//! walking through them: a machine that was off for a year under `* * * * * *` is answered as quickly as any other.
//! The [`timetable`] keeps the schedules of all tasks in the order in which they are due.
//!
//! ```text
//! expression  text -> Calendar: the local times that are named
//! zone        time zone -> spans of constant offset
//! nominal     both -> the moments that are named, with what clock changes do to them
//! slot        the moment plus jitter, inside of the window or not: the decision and its reason
//! passed      slots that lie behind: on time, caught up, missed
//! ```
//!
//! # How clock changes are treated
//!
//! An expression that names particular hours (`30 2 * * *`) means those local times, each once a day: what the clock leaves
//! out runs right after the gap, all of one gap as one run (`dst_gap`), and what comes twice runs the first time
//! (`dst_overlap`). An expression that names every hour (`*/15 * * * *`) is an interval that is counted in minutes: it goes on
//! through both passes of an hour that comes twice, and an hour that is left out takes nothing from it. cronie treats
//! "wildcard" and "fixed" jobs in the same way; its test is a star in the text, ours is whether all 24 hours are named, so
//! that `0-23` and Quartz's `0/1` count too and `*/2` does not. Only where the clock jumps by part of an hour (Lord Howe) can
//! a gap take a run from an interval: there `dst_gap` applies to it as well.

mod calendar;
#[cfg(test)]
mod clock_changes;
mod error;
mod expression;
mod nominal;
#[cfg(test)]
mod oracle;
mod passed;
mod slot;
pub mod timetable;
mod zone;

use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;

use self::calendar::{DAY, naive};
pub use self::error::ScheduleError;
use self::expression::Dialect;
use self::nominal::{Nominal, Rule};
pub use self::passed::{GRACE, Passed, Stretch};
pub use self::slot::{Cause, Decision, Gap, GapRuling, Slot};
use self::zone::Zone;
use crate::clock::Timestamp;
use crate::config::schedule::{CatchUp, DstGap, DstOverlap, ScheduleSettings, Window};

/// A compiled `[schedule]`.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// None when the task is started by events only.
    rule: Option<Rule>,
    zone: Arc<Zone>,
    dst_gap: DstGap,
    dst_overlap: DstOverlap,
    catch_up: CatchUp,
    /// Seconds.
    jitter: u32,
    window: Option<Window>,
}

/// A change of a time zone's offset: daylight saving time begins or ends, or a government decided something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockChange {
    /// The first moment under the new offset.
    pub at: Timestamp,
    /// Local time minus UTC before it, in seconds.
    pub before: i64,
    /// Local time minus UTC from then on, in seconds.
    pub after: i64,
}

/// A number that is the same for a task on a host whenever it is asked for: it chooses the delay within `jitter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of a task on a host. FNV-1a over both names, then the finisher of splitmix64, so that names that differ in
    /// one digit end far apart.
    pub fn of(host: &str, task: &str) -> Self {
        let bytes = host.bytes().chain([0]).chain(task.bytes());
        let hash = bytes
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(hash ^ hash >> 31)
    }
}

impl Schedule {
    /// Checks and compiles settings. `timezone` is the daemon's, for tasks that name none.
    ///
    /// An expression that never comes and a window that no slot falls into are errors: the task would silently never run.
    pub fn compile(settings: &ScheduleSettings, timezone: Tz) -> Result<Self, ScheduleError> {
        let zone = match &settings.timezone {
            None => timezone,
            Some(name) => name.parse().map_err(|_| error::unknown_timezone(name))?,
        };
        let schedule = Self {
            rule: rule(settings)?,
            zone: Zone::of(zone),
            dst_gap: settings.dst_gap,
            dst_overlap: settings.dst_overlap,
            catch_up: match settings.catch_up {
                CatchUp::All(0) => CatchUp::None,
                CatchUp::All(most) if most > 1000 => return Err(error::too_many_to_catch_up(most)),
                policy => policy,
            },
            jitter: jitter(settings.jitter)?,
            window: settings.window,
        };
        if let (Some(rule), Some(window)) = (&schedule.rule, schedule.window)
            && !schedule.fits_window(rule, window)
        {
            return Err(error::never_in_window(window));
        }
        Ok(schedule)
    }

    /// The time zone in which its local times are meant.
    pub fn timezone(&self) -> Tz {
        self.zone.tz
    }

    /// Whether a clock starts the task at all, and not only events or people.
    pub fn is_clocked(&self) -> bool {
        self.rule.is_some()
    }

    /// The first change of the clock after a moment in the schedule's time zone.
    pub fn next_clock_change(&self, after: Timestamp) -> Option<ClockChange> {
        let span = self.zone.next(self.zone.span(after.0.div_euclid(1000)))?;
        Some(ClockChange { at: Timestamp(span.start * 1000), before: span.before, after: span.offset })
    }

    /// The slots that are due after a moment, in order, each with its decision. They end with the year 2199.
    pub fn slots(&self, seed: Seed, after: Timestamp) -> Slots<'_> {
        Slots { schedule: self, seed, after: after.0.div_euclid(1000) }
    }

    /// The first slot due after a moment, in seconds.
    fn next(&self, seed: Seed, after: i64) -> Option<Slot> {
        let delay = self.delay(seed);
        let nominal = self.rule.as_ref()?.next(&self.zone, self.dst_gap, after.checked_sub(delay.into())?)?;
        Some(self.decide(nominal, delay))
    }

    fn delay(&self, seed: Seed) -> u32 {
        u32::try_from(seed.0 % (u64::from(self.jitter) + 1)).unwrap_or(0)
    }

    fn decide(&self, Nominal { at, local, cause }: Nominal, jitter: u32) -> Slot {
        let due = at + i64::from(jitter);
        let start = self.zone.local(due);
        let minute = u16::try_from(start.rem_euclid(DAY) / 60).unwrap_or(0);
        let outside = self.window.filter(|window| !window.contains(minute));
        let decision = match &cause {
            Cause::Gap(gap) if gap.ruling != GapRuling::RunAfter => Decision::Skip,
            Cause::Overlap { second: true, every_hour: false } if self.dst_overlap == DstOverlap::Once => {
                Decision::Skip
            }
            _ if outside.is_some() => Decision::Suppress,
            _ => Decision::Run,
        };
        Slot {
            due: Timestamp(due * 1000),
            nominal: naive(local),
            local: naive(start),
            decision,
            cause,
            jitter,
            outside: outside.filter(|_| decision == Decision::Suppress),
        }
    }

    /// Whether any start can fall into the window: some named minute of the day, delayed by no more than the jitter.
    fn fits_window(&self, rule: &Rule, window: Window) -> bool {
        let Rule::Calendar(calendar) = rule else { return true };
        let delays = self.jitter.div_ceil(60) as u16;
        (0..1440)
            .filter(|minute| calendar.hours >> (minute / 60) & 1 == 1 && calendar.minutes >> (minute % 60) & 1 == 1)
            .any(|minute: u16| (minute..=minute + delays).any(|start| window.contains(start % 1440)))
    }
}

/// The slots of a schedule after a moment. See [`Schedule::slots`].
#[derive(Debug, Clone)]
pub struct Slots<'a> {
    schedule: &'a Schedule,
    seed: Seed,
    after: i64,
}

impl Iterator for Slots<'_> {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        let slot = self.schedule.next(self.seed, self.after)?;
        self.after = slot.due.0 / 1000;
        Some(slot)
    }
}

fn rule(settings: &ScheduleSettings) -> Result<Option<Rule>, ScheduleError> {
    match (&settings.cron, &settings.quartz, settings.every) {
        (None, None, None) => Ok(None),
        (Some(text), None, None) => Ok(Some(Rule::Calendar(expression::parse(Dialect::Crontab, text)?))),
        (None, Some(text), None) => Ok(Some(Rule::Calendar(expression::parse(Dialect::Quartz, text)?))),
        (None, None, Some(every)) => {
            let seconds = whole_seconds("schedule.every", every)?;
            match i64::from(seconds) {
                0 => Err(error::every_too_short()),
                seconds => Ok(Some(Rule::Every(seconds))),
            }
        }
        (cron, quartz, every) => Err(error::several_clocks(cron.is_some(), quartz.is_some(), every.is_some())),
    }
}

fn jitter(jitter: Duration) -> Result<u32, ScheduleError> {
    let seconds = whole_seconds("schedule.jitter", jitter)?;
    if i64::from(seconds) > DAY { Err(error::jitter_too_long(jitter)) } else { Ok(seconds) }
}

fn whole_seconds(key: &'static str, duration: Duration) -> Result<u32, ScheduleError> {
    match u32::try_from(duration.as_secs()) {
        Ok(seconds) if duration.subsec_nanos() == 0 => Ok(seconds),
        _ => Err(error::not_whole_seconds(key, duration)),
    }
}
