//! When a local hour and a local day begin.
//!
//! An hour is named by the instant at which it begins, so that the two 01:00 hours of a day of 25 hours are two, and a day
//! of 23 hours has 23. Hours begin where the local clock shows a full hour, and where the clock is set: where it is set by
//! half an hour (Lord Howe), there are hours of 30 minutes. So an hour always lies in one day, and what is known of a day is
//! what its hours hold.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use thiserror::Error;

/// A local date, as days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

const EPOCH: Date = Date::constant(1970, 1, 1);

impl Day {
    /// The day of a date.
    pub fn of(year: i16, month: i8, day: i8) -> Option<Self> {
        Date::new(year, month, day).ok().map(Self::from_date)
    }

    fn from_date(date: Date) -> Self {
        Self(date.duration_since(EPOCH).as_hours().div_euclid(24) as i32)
    }

    fn date(self) -> Date {
        let days = jiff::SignedDuration::from_hours(i64::from(self.0) * 24);
        EPOCH.saturating_add(days)
    }

    /// Year, month and day of the month.
    pub fn civil(self) -> (i16, i8, i8) {
        let date = self.date();
        (date.year(), date.month(), date.day())
    }

    /// The Monday of its ISO week.
    pub fn week(self) -> Self {
        // 1970-01-01 was a Thursday.
        Self(self.0.saturating_sub((i64::from(self.0) + 3).rem_euclid(7) as i32))
    }

    /// The first day of its month.
    pub fn month(self) -> Self {
        Self::from_date(self.date().first_of_month())
    }

    /// Months since January of the year 0.
    pub(crate) fn months(self) -> i32 {
        let (year, month, _) = self.civil();
        i32::from(year) * 12 + i32::from(month) - 1
    }
}

impl std::fmt::Display for Day {
    /// As `2025-11-29`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.date().fmt(f)
    }
}

/// An hour of the local clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hour {
    /// When it begins, in Unix seconds.
    pub start: i64,
    /// When the next one begins.
    pub end: i64,
    /// The day it lies in.
    pub day: Day,
}

/// A time zone that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no time zone `{0}`")]
pub struct UnknownZone(String);

/// The hours and days of a time zone. The last hour is kept, so that lines that follow each other cost a comparison.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
    last: Hour,
    known: BTreeMap<i64, Hour>,
}

impl Calendar {
    /// The calendar of an IANA zone, for example `Europe/Berlin`.
    pub fn new(zone: &str) -> Result<Self, UnknownZone> {
        let zone = TimeZone::get(zone).map_err(|_| UnknownZone(zone.to_owned()))?;
        Ok(Self { zone, last: Hour { start: 0, end: 0, day: Day(0) }, known: BTreeMap::new() })
    }

    /// The hour that a time lies in; none before the year -9998 and after 9999.
    #[inline]
    pub fn hour(&mut self, time: i64) -> Option<Hour> {
        if time < self.last.start || time >= self.last.end {
            self.last = self.seek(time)?;
        }
        Some(self.last)
    }

    /// A time as the local clock shows it, with its distance from UTC: `2026-10-25 02:00+01:00`. The two 02:00 of a day of 25
    /// hours differ in that.
    pub fn clock(&self, time: i64) -> String {
        let Ok(at) = Timestamp::from_second(time) else { return time.to_string() };
        at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M%:z").to_string()
    }

    /// When the local clock shows a time, which is given as if the clock were that of UTC, in Unix seconds. Of a time that it shows
    /// twice, the first; one that it passes over is moved by as much as the clock is.
    pub fn instant(&self, local: i64) -> Option<i64> {
        let shown = Timestamp::from_second(local).ok()?.to_zoned(TimeZone::UTC).datetime();
        Some(self.zone.to_ambiguous_timestamp(shown).compatible().ok()?.as_second())
    }

    fn seek(&mut self, time: i64) -> Option<Hour> {
        if let Some((_, hour)) = self.known.range(..=time).next_back()
            && time < hour.end
        {
            return Some(*hour);
        }
        let hour = self.compute(time)?;
        self.known.insert(hour.start, hour);
        Some(hour)
    }

    fn compute(&self, time: i64) -> Option<Hour> {
        let at = Timestamp::from_second(time).ok()?;
        let offset = i64::from(self.zone.to_offset(at).seconds());
        let local = time + offset;
        let (mut start, mut end) =
            (local - local.rem_euclid(3600) - offset, local - local.rem_euclid(3600) + 3600 - offset);
        // Where only the name of the time changes, the clock is not set.
        let moved = |it: i64| {
            let [before, after] =
                [it - 1, it].map(|it| Timestamp::from_second(it).map(|it| self.zone.to_offset(it).seconds()).ok());
            before != after
        };
        let next = Timestamp::from_second(time + 1).ok()?;
        let set: Vec<_> = self
            .zone
            .preceding(next)
            .map(|it| it.timestamp().as_second())
            .take_while(|&it| it > start)
            .filter(|&it| moved(it))
            .collect();
        start = set.first().copied().unwrap_or(start);
        let set = self
            .zone
            .following(at)
            .map(|it| it.timestamp().as_second())
            .take_while(|&it| it < end)
            .find(|&it| moved(it));
        end = set.unwrap_or(end);
        Some(Hour { start, end, day: Day(i32::try_from(local.div_euclid(86_400)).ok()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    /// The hours from one instant to another.
    fn hours(zone: &str, from: &str, to: &str) -> Vec<Hour> {
        let mut calendar = Calendar::new(zone).unwrap();
        let (mut time, to) = (at(from), at(to));
        let mut hours = Vec::new();
        while time < to {
            let hour = calendar.hour(time).unwrap();
            assert!(hour.start == time && hour.end > time, "{zone}: {hour:?} at {time}");
            assert_eq!(calendar.hour(hour.end - 1), Some(hour));
            hours.push(hour);
            time = hour.end;
        }
        hours
    }

    fn minutes(hours: &[Hour]) -> Vec<i64> {
        hours.iter().map(|it| (it.end - it.start) / 60).collect()
    }

    #[test]
    fn what_the_clock_shows_is_an_instant() {
        let berlin = Calendar::new("Europe/Berlin").unwrap();
        let at = |day: i64, hour: i64, minute: i64| day * 86_400 + hour * 3_600 + minute * 60;
        // 2026-10-25 has 02:30 twice, 2026-03-29 has none.
        let (autumn, spring) =
            (i64::from(Day::of(2026, 10, 25).unwrap().0), i64::from(Day::of(2026, 3, 29).unwrap().0));
        assert_eq!(berlin.instant(at(autumn, 1, 30)), Some(at(autumn - 1, 23, 30)));
        assert_eq!(berlin.instant(at(autumn, 2, 30)), Some(at(autumn, 0, 30)));
        assert_eq!(berlin.instant(at(autumn, 3, 30)), Some(at(autumn, 2, 30)));
        assert_eq!(berlin.instant(at(spring, 2, 30)), Some(at(spring, 1, 30)));
        assert_eq!(berlin.clock(berlin.instant(at(spring, 2, 30)).unwrap()), "2026-03-29 03:30+02:00");
        assert_eq!(Calendar::new("Asia/Shanghai").unwrap().instant(28_800), Some(0));
        assert_eq!(berlin.instant(i64::MAX), None);
    }

    #[test]
    fn the_clock_tells_hours_of_the_same_name_apart() {
        let calendar = Calendar::new("Europe/Berlin").unwrap();
        assert_eq!(calendar.clock(1_792_886_400), "2026-10-25 02:00+02:00");
        assert_eq!(calendar.clock(1_792_890_000), "2026-10-25 02:00+01:00");
    }

    #[test]
    fn days_have_as_many_hours_as_the_clock_shows() {
        for (zone, from, to, count) in [
            ("Europe/Berlin", "2025-03-29T23:00:00Z", "2025-03-30T22:00:00Z", 23),
            ("Europe/Berlin", "2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z", 25),
            ("Europe/Berlin", "2025-11-28T23:00:00Z", "2025-11-29T23:00:00Z", 24),
            ("America/New_York", "2025-03-09T05:00:00Z", "2025-03-10T04:00:00Z", 23),
            ("America/New_York", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z", 25),
            ("Asia/Kolkata", "2025-11-28T18:30:00Z", "2025-11-29T18:30:00Z", 24),
            ("UTC", "2025-11-29T00:00:00Z", "2025-11-30T00:00:00Z", 24),
        ] {
            let hours = hours(zone, from, to);
            assert_eq!(hours.len(), count, "{zone} {from}");
            assert!(hours.iter().all(|it| it.day == hours[0].day && it.end - it.start == 3600));
            let mut calendar = Calendar::new(zone).unwrap();
            assert_ne!(calendar.hour(at(from) - 1).unwrap().day, hours[0].day);
            assert_ne!(calendar.hour(at(to)).unwrap().day, hours[0].day);
        }
    }

    #[test]
    fn the_hour_that_comes_twice_is_two() {
        let berlin = hours("Europe/Berlin", "2025-10-26T00:00:00Z", "2025-10-26T02:00:00Z");
        assert_eq!(minutes(&berlin), [60, 60]);
        assert_eq!(berlin[0].day, berlin[1].day);
    }

    #[test]
    fn a_clock_that_is_set_by_half_an_hour_gives_hours_of_half_an_hour() {
        // 02:00 becomes 01:30 on 2025-04-06, and 02:00 becomes 02:30 on 2025-10-05.
        let autumn = hours("Australia/Lord_Howe", "2025-04-05T14:00:00Z", "2025-04-05T16:30:00Z");
        assert_eq!(minutes(&autumn), [60, 30, 60]);
        let spring = hours("Australia/Lord_Howe", "2025-10-04T14:30:00Z", "2025-10-04T16:30:00Z");
        assert_eq!(minutes(&spring), [60, 30, 60]);
    }

    #[test]
    fn a_day_that_was_left_out_has_no_hours() {
        let apia = hours("Pacific/Apia", "2011-12-30T08:00:00Z", "2011-12-30T12:00:00Z");
        let days: Vec<_> = apia.iter().map(|it| it.day.to_string()).collect();
        assert_eq!(days, ["2011-12-29", "2011-12-29", "2011-12-31", "2011-12-31"]);
    }

    #[test]
    fn times_in_any_order_give_the_same() {
        let mut calendar = Calendar::new("Europe/Berlin").unwrap();
        let times: Vec<i64> = (0..2000).map(|it| 1_761_400_000 + (it * 7919) % 200_000).collect();
        for time in times {
            let hour = calendar.hour(time).unwrap();
            assert_eq!(Calendar::new("Europe/Berlin").unwrap().hour(time), Some(hour));
        }
        assert_eq!(calendar.hour(i64::MAX), None);
        assert_eq!(calendar.hour(i64::MIN), None);
        assert!(Calendar::new("Europe/Atlantis").is_err());
    }

    #[test]
    fn weeks_begin_on_mondays_and_months_on_their_first() {
        let day = Day::of(2025, 11, 29).unwrap();
        assert_eq!((day.0, day.to_string().as_str()), (20421, "2025-11-29"));
        assert_eq!(day.week().to_string(), "2025-11-24");
        assert_eq!(day.month().to_string(), "2025-11-01");
        assert_eq!(Day::of(2025, 12, 29).unwrap().week(), Day::of(2026, 1, 4).unwrap().week());
        assert_eq!(Day(-1).to_string(), "1969-12-31");
        assert_eq!(Day(0).week().to_string(), "1969-12-29");
        assert_eq!(Day::of(2025, 2, 30), None);
        assert_eq!(Day::of(2025, 1, 1).unwrap().months(), Day::of(2024, 12, 31).unwrap().months() + 1);
    }
}
