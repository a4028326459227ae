//! A slot before it is due: its moment, what is decided about it, and why.

use chrono::NaiveDateTime;

use crate::clock::Timestamp;
use crate::config::schedule::Window;

/// A moment that a schedule names, and what is to become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// When it starts: the nominal moment plus the task's jitter. No two slots of a task share it.
    pub due: Timestamp,
    /// The local time that the expression names; in a gap, the first of those that are left out.
    pub nominal: NaiveDateTime,
    /// The local time of `due`.
    pub local: NaiveDateTime,
    /// What is to become of it.
    pub decision: Decision,
    /// Where it comes from.
    pub cause: Cause,
    /// Seconds by which the task's jitter delays it.
    pub jitter: u32,
    /// The window, when that is why it is suppressed.
    pub outside: Option<Window>,
}

/// What is to become of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It becomes a run.
    Run,
    /// A clock change removes or repeats it.
    Skip,
    /// It lies outside of the task's window.
    Suppress,
}

/// Where a slot comes from. A gap is rare and large, and each task keeps a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The local time that the expression names, on a day like any other.
    OnTime,
    /// It is named by the expression, and it is the first moment after named local times that are left out.
    OnTimeAfterGap(Box<Gap>),
    /// It is not named, but it is the first moment after named local times that are left out.
    Gap(Box<Gap>),
    /// The local time comes twice.
    Overlap {
        /// Whether this is the second time.
        second: bool,
        /// Whether the expression names every hour, so that both count.
        every_hour: bool,
    },
}

/// Local times that are named and left out because the clock goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// How many.
    pub count: u64,
    /// The first.
    pub first: NaiveDateTime,
    /// The last.
    pub last: NaiveDateTime,
    /// What becomes of them.
    pub ruling: GapRuling,
}

/// What becomes of the local times in a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapRuling {
    /// One run right after the gap stands for all of them.
    RunAfter,
    /// None: the task says `dst_gap = "skip"`.
    Skip,
    /// None, and none is needed: the expression names every hour and the gap is of whole hours, so the distance to the next
    /// run is the usual one.
    NothingLost,
}

impl Decision {
    /// The word for it, in the table of `upkeep schedule` and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Skip => "skip",
            Self::Suppress => "suppress",
        }
    }
}

impl Slot {
    /// Why, in the operator's words.
    pub fn reason(&self) -> String {
        let delay = humantime::format_duration(std::time::Duration::from_secs(self.jitter.into()));
        let jitter = (self.jitter > 0).then(|| format!("jitter {delay}"));
        let policy = match (&self.cause, self.decision) {
            (Cause::Overlap { second: true, every_hour: false }, Decision::Skip) => Some("dst_overlap = \"once\""),
            (Cause::Overlap { second: true, every_hour: false }, _) => Some("dst_overlap = \"twice\""),
            _ => None,
        };
        let outside = self.outside.map(|window| format!("outside of window {window}"));
        let plain = self.cause == Cause::OnTime && (jitter.is_some() || outside.is_some());
        let cause = (!plain).then(|| self.cause.to_string());
        [cause, policy.map(String::from), jitter, outside].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OnTime => f.write_str("on time"),
            Self::OnTimeAfterGap(gap) => write!(f, "on time; {gap}"),
            Self::Gap(gap) => write!(f, "{gap}"),
            Self::Overlap { second: false, every_hour: _ } => f.write_str("the clock goes back: first of two"),
            Self::Overlap { second: true, every_hour: true } => {
                f.write_str("the clock went back: second of two, and the expression names every hour")
            }
            Self::Overlap { second: true, every_hour: false } => f.write_str("the clock went back: second of two"),
        }
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = |at: NaiveDateTime| at.format(if at.and_utc().timestamp() % 60 == 0 { "%H:%M" } else { "%H:%M:%S" });
        let (first, last) = (time(self.first), time(self.last));
        match self.count {
            1 => write!(f, "the clock goes forward over {first}: ")?,
            count => write!(f, "the clock goes forward over {count} slots, {first} to {last}: ")?,
        }
        match self.ruling {
            GapRuling::RunAfter if self.count == 1 => f.write_str("runs right after the gap"),
            GapRuling::RunAfter => f.write_str("one run right after the gap for all"),
            GapRuling::Skip => f.write_str("dst_gap = \"skip\""),
            GapRuling::NothingLost => f.write_str("the expression names every hour, nothing is lost"),
        }
    }
}
