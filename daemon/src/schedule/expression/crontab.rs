//! The dialect of crontab: POSIX and Vixie.

use croner::parser::{CronParser, Seconds, Year};

use super::{ScheduleError, Values};

/// Vixie's rule for the two day fields: a day has to match either, except that it has to match both when one of the two
/// begins with a star. So `0 0 */2 * MON` means Mondays with an odd number, as cronie and Debian's cron have it.
pub(super) fn both(day: &str, weekday: &str) -> bool {
    day.starts_with('*') || weekday.starts_with('*')
}

/// The expression behind a name such as `@daily`.
pub(super) fn nickname(text: &str) -> Result<&str, ScheduleError> {
    let error =
        |remedy: &str| Err(ScheduleError::new("schedule.cron", format!("`{text}` is not an expression"), remedy));
    match text.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        "@monthly" => Ok("0 0 1 * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@hourly" => Ok("0 * * * *"),
        "@reboot" => error("write `startup = true`"),
        name if name.starts_with("@every") => error("write `every = \"15m\"`"),
        name if name.starts_with('@') => {
            error("the names are `@yearly`, `@monthly`, `@weekly`, `@daily` and `@hourly`")
        }
        _ => Ok(text),
    }
}

pub(super) fn values(fields: &[String; 7]) -> Result<Values, String> {
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Required).build();
    let pattern = parser.parse(&fields.join(" ")).map_err(|error| error.to_string())?.pattern;
    let read = |component: croner::CronComponent| component.values().into_iter().map(u32::from).collect();
    Ok([
        read(pattern.seconds),
        read(pattern.minutes),
        read(pattern.hours),
        read(pattern.days),
        read(pattern.months),
        read(pattern.days_of_week),
        // Every year is 5,000 values that nobody looks at.
        if fields[6] == "*" { Vec::new() } else { read(pattern.years) },
    ])
}
