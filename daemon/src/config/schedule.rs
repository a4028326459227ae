//! `[schedule]` of a task file: when a task is due, and what happens when that is not simple.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a task is due. Several triggers may stand together; a task without any runs only by hand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleSettings {
    /// A crontab expression of 5 to 7 fields (minute hour day month weekday; seconds first with 6; year last with 7).
    /// The two day fields are OR-ed unless one begins with `*`, 0 and 7 are Sunday; `L`, `W` and `#` work.
    pub cron: Option<String>,
    /// A Quartz expression of 6 or 7 fields (second minute hour day month weekday year). 1 is Sunday; one day field is `?`.
    pub quartz: Option<String>,
    /// A fixed distance, `15m`, counted from midnight of 1970-01-01 UTC, so that a restart does not move it.
    #[serde(with = "crate::config::duration::option")]
    #[schemars(schema_with = "crate::config::schema::optional_duration")]
    pub every: Option<Duration>,
    /// Once when the daemon starts.
    pub startup: bool,
    /// When something changes at or below one of these paths.
    pub watch: Vec<PathBuf>,
    /// When another task has ended.
    pub after: Vec<After>,
    /// When a message of the outbox can be delivered, and no run of the task is under way.
    pub outbox: bool,

    /// IANA name, such as `Asia/Shanghai`. Default: the daemon's.
    pub timezone: Option<String>,
    /// A slot whose local time does not exist because the clock goes forward.
    pub dst_gap: DstGap,
    /// A slot whose local time exists twice because the clock goes back.
    pub dst_overlap: DstOverlap,
    /// Slots that passed while the daemon was down, suspended, or the clock jumped.
    pub catch_up: CatchUp,
    /// A slot that comes while the run before is not over.
    pub overlap: Overlap,
    /// Spreads the start over this time. The delay is the same for each slot of a task on a host.
    #[serde(with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub jitter: Duration,
    /// Local hours in which slots may start: `22:00-06:00`. Slots outside are suppressed.
    pub window: Option<Window>,
}

/// What to do with a slot in the hour that is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DstGap {
    /// At the first moment after the gap.
    #[default]
    RunAfter,
    /// Not at all.
    Skip,
}

/// What to do with a slot in the hour that comes twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DstOverlap {
    /// At the first of the two.
    #[default]
    Once,
    /// At both.
    Twice,
}

/// What to do with slots that were missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CatchUp {
    /// They are recorded as missed.
    None,
    /// The last of them runs, the others are recorded as missed.
    #[default]
    Last,
    /// The last so many run, at most 1000, oldest first; the others are recorded as missed.
    All(u32),
}

/// What to do when the run before is not over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// The new slot is skipped.
    #[default]
    Skip,
    /// The new run waits. At most one waits; later slots are skipped.
    Queue,
    /// The running one is cancelled and the new one starts.
    CancelRunning,
    /// Both run.
    Allow,
}

/// Starts a task by the end of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct After {
    /// The other task.
    pub task: String,
    /// Which end counts.
    #[serde(default)]
    pub on: AfterOn,
}

/// Which end of the other task counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AfterOn {
    /// It succeeded.
    #[default]
    Success,
    /// It ended in any other way, after the last retry.
    Failure,
    /// Either.
    Any,
}

/// A span of local time, `HH:MM-HH:MM`, that may pass midnight. The end is not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Minutes after local midnight, 0 to 1439.
    pub from: u16,
    /// Minutes after local midnight, 0 to 1439.
    pub to: u16,
}

impl Window {
    /// Whether a local time of day, in minutes, lies in the window.
    pub fn contains(self, minute: u16) -> bool {
        if self.from <= self.to {
            self.from <= minute && minute < self.to
        } else {
            self.from <= minute || minute < self.to
        }
    }
}

impl std::str::FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let minute = |part: &str| -> Option<u16> {
            let (hour, minute) = part.trim().split_once(':')?;
            let (hour, minute) = (hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        };
        text.split_once('-')
            .and_then(|(from, to)| Some(Self { from: minute(from)?, to: minute(to)? }))
            .filter(|window| window.from != window.to)
            .ok_or_else(|| format!("`{text}` is not a window; write it as `22:00-06:00`"))
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (from, to) = (self.from, self.to);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

impl Serialize for Window {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Window {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Window".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": crate::config::schema::WINDOW,
            "examples": ["22:00-06:00"],
        })
    }
}

impl std::fmt::Display for ScheduleSettings {
    /// The triggers, for people: `cron 30 3 * * *, startup`; `by hand` when there are none.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut triggers = Vec::new();
        triggers.extend(self.cron.iter().map(|expression| format!("cron {expression}")));
        triggers.extend(self.quartz.iter().map(|expression| format!("quartz {expression}")));
        triggers.extend(self.every.iter().map(|every| format!("every {}", crate::config::duration::format(*every))));
        triggers.extend(self.startup.then(|| "startup".to_owned()));
        triggers.extend(self.watch.iter().map(|path| format!("watch {}", path.display())));
        triggers.extend(self.after.iter().map(|after| format!("after {}", after.task)));
        triggers.extend(self.outbox.then(|| "outbox".to_owned()));
        f.write_str(&if triggers.is_empty() { "by hand".to_owned() } else { triggers.join(", ") })
    }
}
