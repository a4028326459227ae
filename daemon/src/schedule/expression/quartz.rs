//! The dialect of Quartz, which XXL-JOB shares.
//!
//! Spring's `@Scheduled` looks alike and is not the same: it counts weekdays as crontab does, from Sunday = 0.

use cron::TimeUnitSpec;

use super::{ScheduleError, Values};

/// Quartz takes one day field only; the other has to be `?`. Then a day has to match both, `?` being every day.
pub(super) fn both(source: &str, day: &str, weekday: &str) -> Result<bool, ScheduleError> {
    let error = |problem: &str, remedy: &str| {
        Err(ScheduleError::new("schedule.quartz", format!("`{source}` {problem}"), remedy))
    };
    match (day == "?", weekday == "?") {
        (true, false) | (false, true) => Ok(true),
        (true, true) => error("has `?` in both day fields", "write `*` in one of them for every day"),
        (false, false) => error(
            "names days in both day fields, which Quartz does not allow",
            "write `?` for the day or the weekday, whichever does not matter (an expression of Spring's belongs in `cron`)",
        ),
    }
}

pub(super) fn values(fields: &[String; 7]) -> Result<Values, String> {
    let text = fields.join(" ");
    let schedule: cron::Schedule = text.parse().map_err(|error: cron::error::Error| error.to_string())?;
    Ok([
        schedule.seconds().iter().collect(),
        schedule.minutes().iter().collect(),
        schedule.hours().iter().collect(),
        schedule.days_of_month().iter().collect(),
        schedule.months().iter().collect(),
        schedule.days_of_week().iter().map(|weekday| weekday - 1).collect(),
        schedule.years().iter().collect(),
    ])
}
