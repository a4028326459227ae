//! What is known of an alert: something that upkeep itself reports, from when it goes wrong until it is right again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::record::outbox::MessageLevel;

/// An alert. It has a key, and one episode at a time: from `opened` until `closed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// What it is about: `task/backup`, `finding/scan/3f3a91c0d5b7e244`. Of one key there is one alert.
    pub key: String,
    /// How much it matters.
    pub level: MessageLevel,
    /// What is wrong, one line.
    pub title: String,
    /// What is known of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Who is told instead of those whom `upkeep.toml` names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    /// Since when it is wrong.
    pub opened: Timestamp,
    /// Since when it is right again; none while it is open.
    pub closed: Option<Timestamp>,
    /// When it was told first.
    pub told: Option<Timestamp>,
    /// In how many messages it was told.
    pub tellings: u32,
    /// How often it went wrong in a row, such as runs that failed.
    pub times: u32,
    /// Whether it goes wrong and right again and again; then it is open until it was right for a while.
    #[serde(default)]
    pub flapping: bool,
    /// While it is flapping: since when it is right.
    #[serde(default)]
    pub right_since: Option<Timestamp>,
    /// Who has taken it on; then nobody is reminded or told besides.
    pub acknowledged: Option<Acknowledgement>,
    /// Whether it is told again while it lasts, and told to others.
    pub presses: bool,
    /// When it is told again.
    pub remind_at: Option<Timestamp>,
    /// How often it was told again.
    #[serde(default)]
    pub reminders: u32,
    /// How many steps of `escalate` are done.
    #[serde(default)]
    pub escalated: u32,
    /// From when on the time to the next step counts.
    #[serde(default)]
    pub escalated_at: Option<Timestamp>,
    /// Whether that it is over has still to be told.
    #[serde(default)]
    pub over_untold: bool,
    /// When it went wrong lately, this time included.
    #[serde(default)]
    pub openings: Vec<Timestamp>,
}

impl Alert {
    /// Whether it is not over.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }
}

/// That somebody has taken an alert on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledgement {
    /// Who: `uid 0`.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Until when it counts; none: until the alert is over.
    pub until: Option<Timestamp>,
    /// What they say.
    pub note: Option<String>,
}
