//! The local times that an expression names, as bit sets: 100 bytes instead of the kilobytes of the parsers' own types,
//! one evaluation for both dialects, and counting without enumerating.
//!
//! A local time is here the number of seconds since 1970-01-01 00:00 *as the wall shows it*. It knows no time zone and no
//! clock change: those are the business of [`super::nominal`].

use chrono::{Datelike, NaiveDate, NaiveDateTime};

/// Seconds of a day.
pub(super) const DAY: i64 = 86_400;

/// No slot is looked for after 2199: day number of 2200-01-01.
const LAST_DAY: i64 = 84_006;

/// The local times that an expression names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Calendar {
    /// Bit n: second n.
    pub(super) seconds: u64,
    /// Bit n: minute n.
    pub(super) minutes: u64,
    /// Bit n: hour n.
    pub(super) hours: u32,
    /// Bit n: month n, from 1.
    pub(super) months: u16,
    /// In ascending order; none for every year.
    pub(super) years: Option<Box<[i32]>>,
    /// The field day of month.
    pub(super) days: Days,
    /// The field weekday.
    pub(super) weekdays: Weekdays,
    /// Whether a day has to match both day fields, or either.
    pub(super) both: bool,
}

/// The field day of month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Days {
    /// Bit n: day n, from 1.
    pub(super) plain: u32,
    /// `15W`, bit n: the working day (Monday to Friday) nearest to day n, in the same month.
    pub(super) nearest_working: u32,
    /// `L` and `L-3`, bit n: n days before the last of the month.
    pub(super) before_last: u32,
    /// `LW`: the last working day of the month.
    pub(super) last_working: bool,
}

/// The field weekday; 0 is Sunday.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weekdays {
    /// Bit n: weekday n.
    pub(super) plain: u8,
    /// `5#3`, bit n of element k: weekday n for the (k+1)th time in the month.
    pub(super) nth: [u8; 5],
    /// `5L`, bit n: weekday n for the last time in the month.
    pub(super) last: u8,
}

impl Calendar {
    /// Whether the hour makes no difference: the expression is an interval below an hour, or once an hour.
    pub(super) fn names_every_hour(&self) -> bool {
        self.hours == (1 << 24) - 1
    }

    /// Whether it names this local time.
    pub(super) fn contains(&self, local: i64) -> bool {
        let (day, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        self.contains_second(second) && Date::of(day).is_some_and(|date| self.contains_date(date))
    }

    /// The first named local time after `local`.
    pub(super) fn next(&self, local: i64) -> Option<i64> {
        let from = local.saturating_add(1);
        let (today, second) = (from.div_euclid(DAY), from.rem_euclid(DAY));
        if let Some(second) = self.second_at_or_after(second)
            && Date::of(today).is_some_and(|date| self.contains_date(date))
        {
            return Some(today * DAY + second);
        }
        Some(self.day_after(today)? * DAY + self.second_at_or_after(0)?)
    }

    /// How many local times it names in `from <= local < to`. Takes time by the day, not by the second.
    pub(super) fn count(&self, from: i64, to: i64) -> u64 {
        if to <= from {
            return 0;
        }
        let (first, last) = (from.div_euclid(DAY), to.div_euclid(DAY));
        let (before, until) = (self.rank(from.rem_euclid(DAY)), self.rank(to.rem_euclid(DAY)));
        let named = |day: i64| Date::of(day).is_some_and(|date| self.contains_date(date));
        if first == last {
            return if until > before && named(first) { until - before } else { 0 };
        }
        let per_day = self.rank(DAY);
        let days = (first..last).filter(|day| named(*day)).count() as u64;
        days * per_day - if named(first) { before } else { 0 } + if until > 0 && named(last) { until } else { 0 }
    }

    fn contains_second(&self, second: i64) -> bool {
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        self.hours >> hour & 1 == 1 && self.minutes >> minute & 1 == 1 && self.seconds >> second & 1 == 1
    }

    /// How many seconds of a day before `second` are named.
    fn rank(&self, second: i64) -> u64 {
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let per_minute = u64::from(self.seconds.count_ones());
        let per_hour = u64::from(self.minutes.count_ones()) * per_minute;
        let mut rank = u64::from((self.hours & ((1 << hour) - 1)).count_ones()) * per_hour;
        if self.hours >> hour & 1 == 1 {
            rank += u64::from((self.minutes & ((1 << minute) - 1)).count_ones()) * per_minute;
            if self.minutes >> minute & 1 == 1 {
                rank += u64::from((self.seconds & ((1 << second) - 1)).count_ones());
            }
        }
        rank
    }

    /// The first named second of a day at or after `second`.
    fn second_at_or_after(&self, second: i64) -> Option<i64> {
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let at_or_after = |set: u64, at: i64| {
            let rest = if at < 64 { set >> at << at } else { 0 };
            (rest != 0).then(|| i64::from(rest.trailing_zeros()))
        };
        let first = (i64::from(self.minutes.trailing_zeros()), i64::from(self.seconds.trailing_zeros()));
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1
                && let Some(second) = at_or_after(self.seconds, second)
            {
                return Some(hour * 3600 + minute * 60 + second);
            }
            if let Some(minute) = at_or_after(self.minutes, minute + 1) {
                return Some(hour * 3600 + minute * 60 + first.1);
            }
        }
        let hour = at_or_after(self.hours.into(), hour + 1)?;
        Some(hour * 3600 + first.0 * 60 + first.1)
    }

    /// The first named day after `day`.
    fn day_after(&self, day: i64) -> Option<i64> {
        let mut day = day + 1;
        while day < LAST_DAY {
            let date = Date::of(day)?;
            if let Some(years) = &self.years
                && years.binary_search(&date.year).is_err()
            {
                let year = *years.iter().find(|year| **year > date.year)?;
                day = day_number(year, 1)?;
            } else if self.months >> date.month & 1 == 0 {
                let (year, month) = if date.month == 12 { (date.year + 1, 1) } else { (date.year, date.month + 1) };
                day = day_number(year, month)?;
            } else if self.contains_date(date) {
                return Some(day);
            } else {
                day += 1;
            }
        }
        None
    }

    fn contains_date(&self, date: Date) -> bool {
        if self.months >> date.month & 1 == 0
            || self.years.as_ref().is_some_and(|years| years.binary_search(&date.year).is_err())
        {
            return false;
        }
        let (day, weekday) = (self.days.contains(date), self.weekdays.contains(date));
        if self.both { day && weekday } else { day || weekday }
    }
}

impl Days {
    fn contains(&self, date: Date) -> bool {
        let working = |weekday: u32| (1..=5).contains(&weekday);
        self.plain >> date.day & 1 == 1
            || self.before_last >> (date.length - date.day) & 1 == 1
            || self.last_working
                && working(date.weekday)
                && (date.day + 1..=date.length).all(|later| !working(date.weekday_of(later)))
            || self.nearest_working != 0
                && (date.day.saturating_sub(2).max(1)..=(date.day + 2).min(date.length))
                    .any(|named| self.nearest_working >> named & 1 == 1 && date.nearest_working_to(named) == date.day)
    }
}

impl Weekdays {
    fn contains(&self, date: Date) -> bool {
        let nth = self.nth[(date.day as usize - 1) / 7];
        let last = if date.day + 7 > date.length { self.last } else { 0 };
        (self.plain | nth | last) >> date.weekday & 1 == 1
    }
}

/// A day of the Gregorian calendar with all that a rule may ask of it.
#[derive(Debug, Clone, Copy)]
struct Date {
    year: i32,
    month: u32,
    day: u32,
    /// 0 is Sunday.
    weekday: u32,
    /// Days of the month.
    length: u32,
}

impl Date {
    fn of(day: i64) -> Option<Self> {
        let date = NaiveDate::from_epoch_days(i32::try_from(day).ok()?)?;
        Some(Self {
            year: date.year(),
            month: date.month(),
            day: date.day(),
            weekday: date.weekday().num_days_from_sunday(),
            length: date.num_days_in_month().into(),
        })
    }

    fn weekday_of(self, day: u32) -> u32 {
        (self.weekday + 35 + day - self.day) % 7
    }

    fn nearest_working_to(self, day: u32) -> u32 {
        match self.weekday_of(day) {
            6 if day == 1 => 3,
            6 => day - 1,
            0 if day == self.length => day - 2,
            0 => day + 1,
            _ => day,
        }
    }
}

fn day_number(year: i32, month: u32) -> Option<i64> {
    NaiveDate::from_ymd_opt(year, month, 1).map(|date| date.to_epoch_days().into())
}

/// A local time as chrono's type.
pub(super) fn naive(local: i64) -> NaiveDateTime {
    chrono::DateTime::from_timestamp(local, 0).unwrap_or_default().naive_utc()
}
