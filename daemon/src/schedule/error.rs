//! What can be wrong in a `[schedule]`.

use std::time::Duration;

use crate::config::schedule::Window;

/// A `[schedule]` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {problem}; {remedy}")]
pub struct ScheduleError {
    /// The key in the task file, such as `schedule.cron`.
    pub key: &'static str,
    /// What is wrong, with the field of the expression where there is one.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
    /// The bytes of the expression that are wrong, where it is a part of one.
    pub within: Option<std::ops::Range<usize>>,
}

impl ScheduleError {
    pub(super) fn new(key: &'static str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key, problem: problem.into(), remedy: remedy.into(), within: None }
    }
}

pub(super) fn unknown_timezone(name: &str) -> ScheduleError {
    let folded = |name: &str| name.to_ascii_lowercase().replace(' ', "_");
    let like = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()).find(|zone| {
        let (zone, name) = (folded(zone), folded(name));
        zone == name || zone.rsplit('/').next() == Some(name.as_str())
    });
    let remedy = match like {
        Some(zone) => format!("write `{zone}`"),
        None => "write a name of the IANA list, such as `Asia/Shanghai` or `UTC`".into(),
    };
    ScheduleError::new("schedule.timezone", format!("`{name}` is not a time zone"), remedy)
}

pub(super) fn several_clocks(cron: bool, quartz: bool, every: bool) -> ScheduleError {
    let given: Vec<&str> = [(cron, "cron"), (quartz, "quartz"), (every, "every")]
        .into_iter()
        .filter_map(|(given, key)| given.then_some(key))
        .collect();
    ScheduleError::new(
        "schedule",
        format!("`{}` stand together", given.join("` and `")),
        "keep one of them; for more times of the day write a list, such as `0 3,15 * * *`, or a second task",
    )
}

pub(super) fn every_too_short() -> ScheduleError {
    ScheduleError::new("schedule.every", "`0s` is no distance", "write at least `1s`")
}

pub(super) fn not_whole_seconds(key: &'static str, duration: Duration) -> ScheduleError {
    let text = humantime::format_duration(duration);
    let problem = match duration.subsec_nanos() {
        0 => format!("`{text}` is too long"),
        _ => format!("`{text}` holds a part of a second"),
    };
    ScheduleError::new(key, problem, "write whole seconds, minutes, hours or days: `90s`, `15m`, `26h`, `7d`")
}

pub(super) fn jitter_too_long(jitter: Duration) -> ScheduleError {
    let text = humantime::format_duration(jitter);
    ScheduleError::new("schedule.jitter", format!("`{text}` is more than a day"), "write at most `24h`")
}

pub(super) fn never_in_window(window: Window) -> ScheduleError {
    ScheduleError::new(
        "schedule.window",
        format!("no slot of the expression falls into `{window}`, so the task would never run"),
        "change the hours of the expression or the window",
    )
}

pub(super) fn too_many_to_catch_up(most: u32) -> ScheduleError {
    ScheduleError::new(
        "schedule.catch_up",
        format!("`all` = {most} is more than 1000 runs"),
        "write at most 1000, or `last`",
    )
}

#[cfg(test)]
mod tests {
    use crate::config::schedule::{CatchUp, ScheduleSettings};
    use crate::schedule::Schedule;

    #[test]
    fn errors_name_the_key_and_the_remedy() {
        let cron = || ScheduleSettings { cron: Some("30 3 * * *".into()), ..ScheduleSettings::default() };
        let seconds = std::time::Duration::from_secs;
        let wrong = [
            ScheduleSettings { quartz: Some("0 30 3 ? * *".into()), ..cron() },
            ScheduleSettings { quartz: Some("0 30 3 ? * *".into()), every: Some(seconds(60)), ..cron() },
            ScheduleSettings { cron: Some("61 * * * *".into()), ..cron() },
            ScheduleSettings { cron: None, every: Some(seconds(0)), ..cron() },
            ScheduleSettings { cron: None, every: Some(std::time::Duration::from_millis(1500)), ..cron() },
            ScheduleSettings { timezone: Some("Beijing".into()), ..cron() },
            ScheduleSettings { timezone: Some("New York".into()), ..cron() },
            ScheduleSettings { jitter: std::time::Duration::from_millis(300), ..cron() },
            ScheduleSettings { jitter: seconds(90_000), ..cron() },
            ScheduleSettings { window: Some("22:00-03:30".parse().unwrap()), ..cron() },
            ScheduleSettings { catch_up: CatchUp::All(5000), ..cron() },
        ];
        let said = wrong.map(|settings| Schedule::compile(&settings, chrono_tz::UTC).unwrap_err().to_string());
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn a_window_counts_as_reachable_through_jitter() {
        let settings = |window: &str| ScheduleSettings {
            cron: Some("50 23 * * *".into()),
            jitter: std::time::Duration::from_secs(20 * 60),
            window: Some(window.parse().unwrap()),
            ..ScheduleSettings::default()
        };
        assert!(Schedule::compile(&settings("00:05-06:00"), chrono_tz::UTC).is_ok());
        assert!(Schedule::compile(&settings("00:11-06:00"), chrono_tz::UTC).is_err());
    }
}
