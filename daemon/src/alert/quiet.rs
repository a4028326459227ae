//! Hours of the local clock in which alerts wait; pure.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;

use crate::clock::Timestamp;
use crate::config::alerts::QuietHours;
use crate::config::schedule::Window;
use crate::record::outbox::MessageLevel;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiet {
    hours: Window,
    /// Days on which they begin; none: every day.
    weekdays: Vec<chrono::Weekday>,
    zone: Tz,
    /// What does not wait.
    pub except: MessageLevel,
}

impl Quiet {
    /// The hours as they are configured. `zone` is the daemon's.
    pub fn new(settings: &QuietHours, zone: Tz) -> Self {
        let QuietHours { hours, weekdays, timezone, except } = settings;
        let zone = timezone.as_ref().and_then(|name| name.parse().ok()).unwrap_or(zone);
        let weekdays = weekdays.iter().map(|day| (*day).into()).collect();
        Self { hours: *hours, weekdays, zone, except: *except }
    }

    /// When the quiet hours end in which a moment lies; none when it lies in none.
    pub fn end(&self, at: Timestamp) -> Option<Timestamp> {
        let today = at.utc().with_timezone(&self.zone).date_naive();
        // Those that began yesterday may reach into today. Of two the later end counts: they may touch.
        let begun = [today.checked_sub_days(Days::new(1))?, today];
        let spans = begun.into_iter().filter(|day| self.weekdays.is_empty() || self.weekdays.contains(&day.weekday()));
        let ends = spans.filter_map(|day| {
            let (start, end) = self.span(day)?;
            (start <= at && at < end).then_some(end)
        });
        ends.max()
    }

    /// The quiet hours that begin on a day.
    fn span(&self, day: NaiveDate) -> Option<(Timestamp, Timestamp)> {
        let Window { from, to } = self.hours;
        let last = if from < to { day } else { day.checked_add_days(Days::new(1))? };
        Some((moment(self.zone, day, from)?, moment(self.zone, last, to)?))
    }
}

/// When a local clock shows a time of a day; the first of two, and where it never does, when it has gone past it.
pub fn moment(zone: Tz, day: NaiveDate, minute: u16) -> Option<Timestamp> {
    let time = NaiveTime::from_num_seconds_from_midnight_opt(u32::from(minute) * 60, 0)?;
    let local = NaiveDateTime::new(day, time);
    let shown = |local: &NaiveDateTime| -> Option<DateTime<Tz>> { zone.from_local_datetime(local).earliest() };
    // Clocks go forward by a day at the most (Samoa, 2011), in quarters of an hour.
    let at = (0..=96).find_map(|quarters| shown(&local.checked_add_signed(TimeDelta::minutes(15 * quarters))?))?;
    Some(at.to_utc().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::alerts::Weekday;

    fn at(text: &str) -> Timestamp {
        Timestamp(DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis())
    }

    fn quiet(hours: &str, weekdays: &[Weekday], zone: Tz) -> Quiet {
        let settings = QuietHours {
            hours: hours.parse().unwrap(),
            weekdays: weekdays.to_vec(),
            timezone: None,
            except: MessageLevel::Critical,
        };
        Quiet::new(&settings, zone)
    }

    #[test]
    fn nights_end_in_the_morning() {
        let shanghai = quiet("22:00-08:00", &[], Tz::Asia__Shanghai);
        for (moment, end) in [
            ("2026-11-23T21:59:59.999+08:00", None),
            ("2026-11-23T22:00:00+08:00", Some("2026-11-24T08:00:00+08:00")),
            ("2026-11-24T00:00:00+08:00", Some("2026-11-24T08:00:00+08:00")),
            ("2026-11-24T07:59:59.999+08:00", Some("2026-11-24T08:00:00+08:00")),
            ("2026-11-24T08:00:00+08:00", None),
        ] {
            assert_eq!(shanghai.end(at(moment)), end.map(at), "{moment}");
        }
        let noon = quiet("12:00-13:00", &[], Tz::UTC);
        assert_eq!(noon.end(at("2026-11-23T12:30:00Z")), Some(at("2026-11-23T13:00:00Z")));
        assert_eq!(noon.end(at("2026-11-23T13:00:00Z")), None);
    }

    #[test]
    fn a_day_is_the_one_on_which_they_begin() {
        let friday = quiet("22:00-08:00", &[Weekday::Fri], Tz::UTC);
        // 2026-11-27 is a Friday.
        assert_eq!(friday.end(at("2026-11-28T03:00:00Z")), Some(at("2026-11-28T08:00:00Z")));
        assert_eq!(friday.end(at("2026-11-27T03:00:00Z")), None);
        assert_eq!(friday.end(at("2026-11-28T23:00:00Z")), None);
    }

    #[test]
    fn clock_changes_neither_lengthen_nor_lose_them() {
        let night = quiet("22:00-08:00", &[], Tz::Europe__Berlin);
        assert_eq!(night.end(at("2026-03-28T23:00:00Z")), Some(at("2026-03-29T06:00:00Z")), "9 hours");
        assert_eq!(night.end(at("2026-10-24T22:00:00Z")), Some(at("2026-10-25T07:00:00Z")), "11 hours");
        // 02:30 never comes on that day, and the clock goes on at 03:00.
        let gap = quiet("22:00-02:30", &[], Tz::Europe__Berlin);
        assert_eq!(gap.end(at("2026-03-29T00:30:00Z")), Some(at("2026-03-29T01:00:00Z")));
        // 02:30 comes twice: the first one ends it.
        assert_eq!(gap.end(at("2026-10-25T00:29:00Z")), Some(at("2026-10-25T00:30:00Z")));
        assert_eq!(gap.end(at("2026-10-25T01:10:00Z")), None);
    }
}
