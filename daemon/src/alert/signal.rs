//! What goes wrong, in words: what the policy is told.

use std::time::Duration;

use chrono_tz::Tz;

use super::message::minute;
use super::overdue::Watched;
use crate::config::alerts::TaskAlerts;
use crate::config::duration;
use crate::outcome::Outcome;
use crate::record::alert::Acknowledgement;
use crate::record::finding::Life;
use crate::record::outbox::MessageLevel;
use crate::record::{Run, Severity};
use crate::store::Hold;

/// Something that the policy has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// It is wrong.
    Wrong(Condition),
    /// What has this key is right again.
    Right(String),
    /// What has this key is nobody's concern any more: a task that was removed, a finding that is ignored.
    Gone(String),
    /// Somebody has taken it on.
    Acknowledged(String, Acknowledgement),
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// See [`Alert`](crate::record::alert::Alert).
    pub key: String,
    /// How much it matters.
    pub level: MessageLevel,
    /// One line.
    pub title: String,
    /// What is known.
    pub detail: String,
    /// Who is told instead of those whom `upkeep.toml` names.
    pub channels: Vec<String>,
    /// Whether it is told again while it lasts, and told to others.
    pub presses: bool,
    /// Whether it went wrong once more, where it was wrong already; else it is only still wrong.
    pub again: bool,
}

/// The key of a task that fails, or does not come.
pub fn task_key(task: &str) -> String {
    format!("task/{task}")
}

/// The key of a configuration that cannot be used.
pub const CONFIG: &str = "config";

/// The key of a disk that is almost full.
pub const DISK: &str = "disk/state";

/// How keys begin that are seen by looking, and not told by events.
pub const LOOKED_AT: [&str; 4] = ["finding/", "hold/", "outbox/", "disk/"];

impl Signal {
    /// The key of what is wrong.
    pub fn wrong(&self) -> Option<&str> {
        match self {
            Self::Wrong(condition) => Some(&condition.key),
            Self::Right(_) | Self::Gone(_) | Self::Acknowledged(..) => None,
        }
    }

    /// What a run that is over, with nothing left to try, says of its task. None when it says nothing.
    pub fn of_run(run: &Run, outcome: &Outcome, alerts: &TaskAlerts) -> Option<Self> {
        let key = task_key(&run.task);
        match outcome {
            _ if alerts.off.is_some() => Some(Self::Gone(key)),
            Outcome::Succeeded => Some(Self::Right(key)),
            // A person ended it, or it never began.
            Outcome::Cancelled { .. } | Outcome::Skipped { .. } => None,
            other => Some(Self::Wrong(Condition {
                key,
                level: alerts.level,
                title: format!("Task {} {}", run.task, verb(other)),
                detail: format!("{other} (run {})", run.id),
                channels: alerts.channels.clone(),
                presses: true,
                again: true,
            })),
        }
    }

    /// A task has not succeeded for too long.
    pub fn overdue(task: &str, alerts: &TaskAlerts, watched: &Watched, zone: Tz) -> Self {
        let last = match watched.last {
            Some(at) => format!("The last run that succeeded ended at {}", minute(at, zone)),
            None => "No run is known that succeeded".to_owned(),
        };
        let detail = format!(
            "{last}; the next was due at {}, and {} are allowed for it. `upkeep history {task}` tells more.",
            minute(watched.slot, zone),
            duration::format(Duration::from_secs(watched.allowed.as_secs()))
        );
        Self::Wrong(Condition {
            key: task_key(task),
            level: alerts.level,
            title: format!("Task {task} is overdue"),
            detail,
            channels: alerts.channels.clone(),
            presses: true,
            again: false,
        })
    }

    /// A configuration on the disk that cannot be used.
    pub fn config(message: &str) -> Self {
        Self::Wrong(Condition {
            key: CONFIG.to_owned(),
            level: MessageLevel::Error,
            title: "The configuration is not valid, the one before stays in use".to_owned(),
            detail: format!("{} `upkeep check` shows it.", first_error(message)),
            channels: Vec::new(),
            presses: true,
            again: false,
        })
    }
}

/// The first thing that is wrong, out of diagnostics.
fn first_error(message: &str) -> String {
    let start = |line: &&str| line.trim_start().starts_with("error:");
    let mut lines = message.lines().map(str::trim);
    let Some(first) = lines.by_ref().find(start) else { return String::new() };
    // What is longer than a line of a terminal goes on in the next.
    let (mut error, mut place) = (first.trim_start_matches("error:").trim().to_owned(), String::new());
    for line in lines {
        if let Some(more) = line.strip_prefix('│') {
            error.push(' ');
            error.push_str(more.trim());
            continue;
        }
        place = line
            .strip_prefix("╭─[")
            .and_then(|rest| rest.strip_suffix(']'))
            .map(|it| format!(" ({it})"))
            .unwrap_or_default();
        break;
    }
    let more = match message.lines().filter(start).count().saturating_sub(1) {
        0 => String::new(),
        1 => ", and 1 more is wrong".to_owned(),
        more => format!(", and {more} more are wrong"),
    };
    format!("{}{place}{more}.", error.trim_end_matches('.'))
}

fn verb(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Trapped { .. } => "crashed",
        Outcome::TimedOut { .. } => "took too long",
        Outcome::LimitExceeded { .. } => "reached a limit",
        Outcome::Denied { .. } => "was denied something",
        Outcome::Interrupted { .. } => "was interrupted",
        _ => "failed",
    }
}

impl Condition {
    /// A finding that is there.
    pub fn of_finding(life: &Life) -> Self {
        let Life { task, finding, .. } = life;
        let place = finding.place.as_ref().map(|place| format!(" in {}", place.path)).unwrap_or_default();
        let fix = finding.fix.as_ref().map(|fix| format!("; fixed in {fix}")).unwrap_or_default();
        let shown = finding.id.get(..8).unwrap_or(&finding.id);
        Self {
            key: finding_key(task, &finding.id),
            level: match finding.severity {
                Severity::Critical => MessageLevel::Critical,
                Severity::High => MessageLevel::Error,
                Severity::Medium | Severity::Low | Severity::Info => MessageLevel::Warn,
            },
            title: format!("{}: {}", finding.severity.name(), finding.title),
            detail: format!("Found by {task}{place}{fix} ({shown})"),
            channels: Vec::new(),
            // It takes days to mend, and the digest has it each day.
            presses: false,
            again: false,
        }
    }

    /// A hold on a backup repository.
    pub fn of_hold(hold: &Hold) -> Self {
        let Hold { repository, task, url, reason, .. } = hold;
        let repository = repository.get(..8).unwrap_or(repository);
        Self {
            key: format!("hold/{task}/{repository}"),
            level: MessageLevel::Error,
            title: format!("The backups of {task} look unlike before and are held"),
            detail: format!("{reason}. Nothing is removed from {url} until `upkeep backup release {task}`."),
            channels: Vec::new(),
            presses: true,
            again: false,
        }
    }

    /// Messages that no channel takes.
    pub fn of_dead(channel: &str, level: MessageLevel, messages: u64, reason: Option<&str>) -> Self {
        let s = if messages == 1 { "" } else { "s" };
        let reason = reason.map(|reason| format!(" The last: {reason}.")).unwrap_or_default();
        Self {
            key: format!("outbox/{channel}"),
            level,
            title: format!("{messages} message{s} could not be delivered, {channel} was tried last"),
            detail: format!(
                "`upkeep push list --state dead --channel {channel}` shows them, `upkeep push resend --dead --channel {channel}` sends \
                 them again.{reason}"
            ),
            channels: Vec::new(),
            presses: true,
            again: false,
        }
    }

    /// The disk of the state directory is almost full.
    pub fn of_disk(place: &str, available: u64, total: u64) -> Self {
        let mib = |bytes: u64| bytes >> 20;
        Self {
            key: DISK.to_owned(),
            level: MessageLevel::Critical,
            title: "The disk of upkeep's state is almost full".to_owned(),
            detail: format!(
                "{} of {} MiB are left for {place}. Runs wait when nothing is left.",
                mib(available),
                mib(total)
            ),
            channels: Vec::new(),
            presses: true,
            again: false,
        }
    }
}

/// The key of a finding.
pub fn finding_key(task: &str, id: &str) -> String {
    format!("finding/{task}/{id}")
}
