//! What is known of a finding, in one run and beyond.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::record::{RunId, Severity};

/// Something that the operator should know or do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The same finding has the same key in each run.
    pub key: String,
    /// How bad it is.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// What it means and what to do.
    pub detail: String,
    /// What found it: `CVE-2021-23337`, `ssh-root-login`.
    pub rule: Option<String>,
    /// Where it is.
    pub place: Option<Place>,
    /// The fix that there is, such as a version: `4.17.21`.
    pub fix: Option<String>,
    /// Its identifier, 16 hexadecimal digits; `upkeep findings` shows its beginning.
    pub id: String,
    /// What it is against the runs before.
    pub state: Option<FindingState>,
    /// That it is ignored.
    pub ignored: Option<Ignored>,
}

impl Finding {
    /// A finding without a place and without a past.
    pub fn new(
        key: impl Into<String>,
        severity: Severity,
        title: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            severity,
            title: title.into(),
            detail: detail.into(),
            rule: None,
            place: None,
            fix: None,
            id: String::new(),
            state: None,
            ignored: None,
        }
    }

    /// The order in which findings are told: what changed first, what is ignored last.
    pub fn rank(&self) -> u8 {
        match (&self.ignored, self.state) {
            (Some(_), _) => 4,
            (None, Some(FindingState::New)) => 0,
            (None, Some(FindingState::Returned)) => 1,
            (None, Some(FindingState::Fixed)) => 3,
            (None, Some(FindingState::Known) | None) => 2,
        }
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// The path, as the plugin tells it.
    pub path: String,
    /// The line, from 1.
    pub line: Option<u32>,
}

/// What a finding is against the runs before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FindingState {
    /// Never seen before.
    New,
    /// Seen in the run before as well.
    Known,
    /// Seen again after it was fixed.
    Returned,
    /// Not seen any more.
    Fixed,
}

/// That a finding is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ignored {
    /// Why.
    pub reason: String,
    /// The last day.
    #[schemars(with = "String")]
    pub until: NaiveDate,
}

/// A finding beyond one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Life {
    /// The task that found it.
    pub task: String,
    /// As it was seen last.
    #[serde(flatten)]
    pub finding: Finding,
    /// When it was seen first.
    pub first_seen: Timestamp,
    /// When it was seen last.
    pub last_seen: Timestamp,
    /// Since when it is in its state.
    pub changed: Timestamp,
    /// The run that saw it last.
    pub run: RunId,
}

/// A finding that a person ignores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IgnoredFinding {
    /// The finding.
    pub id: String,
    /// Its task.
    pub task: String,
    /// Why.
    pub reason: String,
    /// The last day.
    #[schemars(with = "String")]
    pub until: NaiveDate,
    /// Who said so.
    pub by: String,
    /// When.
    pub since: Timestamp,
}
