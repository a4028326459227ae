//! `[findings]` of a task file: which findings fail a run, and which are to be left alone.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::Severity;

/// What findings come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FindingsSettings {
    /// A finding that is as bad as this, or worse, fails the run. Left out: none does.
    pub fail_at: Option<Severity>,
    /// Only findings that are new, or have returned, fail the run.
    pub only_new: bool,
    /// Only findings for which there is a fix fail the run.
    pub only_fixable: bool,
    /// Findings that are known and left alone, for a time.
    pub ignore: Vec<IgnoreSettings>,
}

/// Findings that are ignored: those that fit all that is given of `finding`, `rule` and `path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IgnoreSettings {
    /// One finding: its identifier as `upkeep findings` shows it, or its key.
    pub finding: Option<String>,
    /// All findings of this rule, such as `CVE-2021-23337`; a `*` at its end stands for anything.
    pub rule: Option<String>,
    /// All findings in these files: a pattern as in a .gitignore file.
    pub path: Option<String>,
    /// Why.
    pub reason: String,
    /// The last day on which they are ignored: `2027-03-31`.
    #[schemars(with = "String", extend("format" = crate::config::schema::DAY, "examples" = ["2027-03-31"]))]
    pub until: NaiveDate,
}

/// Reads a day.
///
/// # Errors
///
/// What is wrong and how it is written.
pub fn day(text: &str) -> Result<NaiveDate, String> {
    text.parse().map_err(|_| format!("`{text}` is no day; write it as `2027-03-31`"))
}
