//! `[alerts]` of `upkeep.toml`, and of a task file: who is told what upkeep itself reports, and when nobody is.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::schedule::Window;
use crate::record::Severity;
use crate::record::outbox::MessageLevel;

/// `[alerts]` of `upkeep.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlertSettings {
    /// Who is told: a chain of channels, of which each is tried after the one before has refused for good. Nobody is told, and
    /// nothing is watched, while there are none.
    pub channels: Vec<String>,
    /// What matters less than this is no alert.
    pub level: MessageLevel,
    /// Findings that are as bad as this, or worse, are alerts: `high` ones of the level `error`, `critical` ones of `critical`,
    /// all others of `warn`.
    pub findings: Severity,
    /// How long an alert waits for others, to be told in one message with them.
    #[serde(with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub group: Duration,
    /// After this time it is told again, if it is still there and nobody has acknowledged it; then after twice the time, and so on
    /// up to a day. `0s`: never.
    #[serde(with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub remind: Duration,
    /// Whether it is told that an alert is over.
    pub resolved: bool,
    /// Who else is told when nobody acknowledges an alert.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub escalate: Vec<Escalation>,
    /// When alerts wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet: Option<QuietHours>,
    /// While one of these tasks runs, nobody is told anything; afterwards only what is still wrong.
    pub silence: Vec<String>,
    /// For so long after its end, too.
    #[serde(with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub silence_grace: Duration,
    /// What happened in a day, in one message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<DigestSettings>,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            channels: Vec::new(),
            level: MessageLevel::Warn,
            findings: Severity::High,
            group: Duration::from_secs(30),
            remind: Duration::from_secs(4 * 3600),
            resolved: true,
            escalate: Vec::new(),
            quiet: None,
            silence: Vec::new(),
            silence_grace: Duration::from_secs(5 * 60),
            digest: None,
        }
    }
}

/// Who else is told, and after which time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// When so much time has passed since the alert was told first, and nobody has acknowledged it.
    #[serde(with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub after: Duration,
    /// A chain of channels, as in `channels` above.
    pub channels: Vec<String>,
    /// Only alerts that matter as much as this, or more.
    #[serde(default = "error")]
    pub level: MessageLevel,
}

fn error() -> MessageLevel {
    MessageLevel::Error
}

/// Hours in which alerts wait: they are told in one message at the end, unless they are over by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// From when to when.
    pub hours: Window,
    /// Days on which these hours begin; none: every day.
    #[serde(default)]
    pub weekdays: Vec<Weekday>,
    /// Time zone of the hours; left out: that of the daemon.
    #[serde(default)]
    pub timezone: Option<String>,
    /// What matters as much as this, or more, does not wait.
    #[serde(default = "critical")]
    pub except: MessageLevel,
}

fn critical() -> MessageLevel {
    MessageLevel::Critical
}

/// The daily digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DigestSettings {
    /// When it is sent, in the daemon's time zone.
    pub at: TimeOfDay,
    /// Who gets it; none: those whom alerts are told to first.
    #[serde(default)]
    pub channels: Vec<String>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "everybody knows them")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl From<Weekday> for chrono::Weekday {
    fn from(day: Weekday) -> Self {
        match day {
            Weekday::Mon => Self::Mon,
            Weekday::Tue => Self::Tue,
            Weekday::Wed => Self::Wed,
            Weekday::Thu => Self::Thu,
            Weekday::Fri => Self::Fri,
            Weekday::Sat => Self::Sat,
            Weekday::Sun => Self::Sun,
        }
    }
}

/// A local time of day, `HH:MM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay {
    /// Minutes after local midnight, 0 to 1439.
    pub minute: u16,
}

impl std::str::FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let minute = || {
            let (hour, minute) = text.trim().split_once(':')?;
            let (hour, minute) = (hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        };
        let wrong = || format!("`{text}` is not a time of day; write it as `08:30`");
        Ok(Self { minute: minute().ok_or_else(wrong)? })
    }
}

impl std::fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}", self.minute / 60, self.minute % 60)
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for TimeOfDay {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeOfDay".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": crate::config::schema::TIME,
            "examples": ["08:30"],
        })
    }
}

/// `[alerts]` of a task file: what is different for this task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TaskAlerts {
    /// How much it matters that the task fails, or does not come.
    pub level: MessageLevel,
    /// Who is told instead of `channels` in `upkeep.toml`.
    pub channels: Vec<String>,
    /// The longest time that may pass without a run that succeeds; left out: what the schedule allows, with its timeout and retries.
    #[serde(with = "crate::config::duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::config::schema::optional_duration")]
    pub overdue: Option<Duration>,
    /// Why nobody is told when it fails or does not come. Its findings are told all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off: Option<String>,
}

impl Default for TaskAlerts {
    fn default() -> Self {
        Self { level: MessageLevel::Error, channels: Vec::new(), overdue: None, off: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_read_as_they_are_written() {
        for text in ["00:00", "08:30", "23:59"] {
            assert_eq!(text.parse::<TimeOfDay>().unwrap().to_string(), text);
        }
        for wrong in ["24:00", "8", "08:60", "", "8:-1"] {
            assert!(wrong.parse::<TimeOfDay>().unwrap_err().ends_with("write it as `08:30`"), "{wrong}");
        }
    }
}
