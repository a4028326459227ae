//! The kinds of rules. Each is a module with its settings, and a [`Policy`] that says of each entry of a walk whether it
//! goes. A new kind is a module, a key of [`RuleSettings`](crate::config::RuleSettings) and a line in its `policies`.
//!
//! Most decide as they see an entry. Some have to know the others first, such as which are the newest: they are given a
//! *survey*, a walk of their own before the one that decides, and remember of it as little as they can.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use upkeep_plugin::Result;
use upkeep_plugin::files::{Entry, Kind, Root};
use upkeep_plugin::removal::Compression;

use crate::date::Calendar;
use crate::pattern::{folder_of, name_of};

pub(crate) mod age;
pub(crate) mod all;
pub(crate) mod cache;
pub(crate) mod count;
pub(crate) mod empty_folders;
pub(crate) mod folders;
pub(crate) mod logs;
pub(crate) mod releases;
pub(crate) mod size;

const MS: i64 = 1_000_000;
const HOUR: i64 = 3_600_000 * MS;
const DAY: i64 = 24 * HOUR;

/// Decides for one rule.
pub(crate) trait Policy: std::fmt::Debug {
    /// Whether it has to look before it decides.
    fn survey(&self) -> Survey {
        Survey::None
    }

    /// Before the survey, with the folder of the rule. Whether the rule does nothing this time.
    fn prepare(&mut self, root: &Root, path: &str, now: &Now) -> Result<Option<Idle>> {
        let _ = (root, path, now);
        Ok(None)
    }

    /// One entry of the survey that no rule before this one takes.
    fn look(&mut self, seen: &Seen<'_>, now: &Now, root: &Root) -> Result<()> {
        let _ = (seen, now, root);
        Ok(())
    }

    /// The survey is over. Whether another is needed.
    fn surveyed(&mut self, now: &Now) -> bool {
        let _ = now;
        false
    }

    /// Whether an entry goes, and why.
    fn judge(&self, seen: &Seen<'_>, now: &Now) -> Option<Verdict>;

    /// Whether a folder goes when nothing is left in it, and why.
    fn judge_empty(&self, seen: &Seen<'_>, now: &Now) -> Option<Cow<'static, str>> {
        let _ = (seen, now);
        None
    }

    /// Whether it looks at entries of this kind.
    fn concerns(&self, kind: Kind) -> bool {
        kind == Kind::File
    }

    /// Whether it has to be told of everything that stands in a folder, so that the host must not leave out what the rule
    /// excludes.
    fn needs_all(&self) -> bool {
        false
    }

    /// Whether `match` and `exclude` are about what it surveys only.
    fn filters_survey_only(&self) -> bool {
        false
    }
}

/// Why a rule does nothing this time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Idle {
    /// It passes.
    NotNow(String),
    /// Somebody has to look.
    Wrong(String),
}

/// How far a survey goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survey {
    /// Not needed.
    None,
    /// What stands right in the folder of the rule.
    Top,
    /// Everything beneath it.
    All,
}

/// What becomes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) act: Act,
    pub(crate) reason: Cow<'static, str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    Remove,
    /// Unless the link at this path, relative to the root, leads to it by then.
    RemoveUnlessLinked(String),
    Compress(Compression),
}

impl Verdict {
    fn remove(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { act: Act::Remove, reason: reason.into() }
    }
}

/// An entry, as a rule sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) entry: &'a Entry,
    /// Relative to the folder of the rule.
    pub(crate) path: &'a str,
}

impl<'a> Seen<'a> {
    pub(crate) fn name(&self) -> &'a str {
        name_of(self.path)
    }

    pub(crate) fn folder(&self) -> &'a str {
        folder_of(self.path)
    }

    /// When it was last written to or read, in nanoseconds since 1970. The time of access alone may be older than the time
    /// of change, where the filesystem does not keep it.
    fn used(&self) -> i64 {
        self.entry.accessed_ns.max(self.entry.id.modified_ns)
    }
}

/// The time of the run.
#[derive(Debug)]
pub(crate) struct Now {
    /// Nanoseconds since 1970.
    pub(crate) ns: i64,
    pub(crate) calendar: Calendar,
}

impl Now {
    /// How long ago, in nanoseconds. What is of the future is not old.
    fn since(&self, time: i64) -> i64 {
        self.ns.saturating_sub(time)
    }
}

/// Which time counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum By {
    /// When the content was last changed.
    #[default]
    Modified,
    /// When it was last read or changed. Filesystems that are mounted with `noatime` do not know it: there it is the time of the
    /// last change.
    Accessed,
    /// The latest date in the name (`2026-11-23`, `20261123`, `2026-11-23T02-00`), else in those of the folders above it, up
    /// to that of the rule. What has none is left alone.
    Name,
}

impl By {
    /// In nanoseconds since 1970.
    fn time(self, seen: &Seen<'_>, now: &Now) -> Option<i64> {
        match self {
            Self::Modified => Some(seen.entry.id.modified_ns),
            Self::Accessed => Some(seen.used()),
            Self::Name => now.calendar.latest(seen.name()).or_else(|| now.calendar.latest(seen.folder())),
        }
    }

    /// `91 days old`.
    fn age(self, ns: i64) -> String {
        let length = length(ns);
        match self {
            Self::Modified => format!("{length} old"),
            Self::Accessed => format!("not used for {length}"),
            Self::Name => format!("{length} old by its name"),
        }
    }
}

/// A span of time in its greatest unit, as in `91 days`.
fn length(ns: i64) -> String {
    let (number, unit) = match ns.max(0) {
        ns @ ..HOUR => (ns / (60_000 * MS), "minute"),
        ns if ns < 2 * DAY => (ns / HOUR, "hour"),
        ns => (ns / DAY, "day"),
    };
    counted(number.unsigned_abs(), unit)
}

/// `1 file`, `1,204 files`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `1,204`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A setting that has to be more than nothing.
fn positive(key: &str, span: upkeep_plugin::config::Span) -> Result<i64, String> {
    match span.0 {
        1.. => Ok(span.0.saturating_mul(MS)),
        _ => Err(format!("`{key}` has to be more than 0; what goes whatever its age has `all = true`")),
    }
}
