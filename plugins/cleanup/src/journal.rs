//! The journal of systemd: how much of it would go. What goes is decided by its own program, which knows only whole files; they
//! are counted here by its rules, so that the plan says what will be.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use upkeep_plugin::config::{Size, Span};
use upkeep_plugin::journal::{self, JournalFile, Limits, Vacuumed};
use upkeep_plugin::{Error, Result, info};

use crate::pattern::{folder_of, name_of};

/// What goes of systemd's journal. Files that it still writes to stay.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct JournalSettings {
    /// Files that were begun longer ago.
    #[serde(default)]
    older_than: Option<Span>,
    /// The oldest files, until the others are no larger than this together.
    #[serde(default)]
    max_total: Option<Size>,
}

/// What is to go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Planned {
    limits: Limits,
    pub(crate) going: Vacuumed,
}

impl JournalSettings {
    fn limits(&self) -> Result<Limits> {
        let max_age_s = self.older_than.map(|it| it.0.unsigned_abs() / 1_000);
        let max_bytes = self.max_total.map(|it| it.0);
        match (max_age_s, max_bytes) {
            (None, None) => Err(Error::config("`journal` needs `older_than` or `max_total`")),
            (Some(0), _) => Err(Error::config("`journal.older_than` has to be at least 1s")),
            (_, Some(0)) => Err(Error::config("`journal.max_total` has to be more than 0")),
            _ => Ok(Limits { max_bytes, max_age_s }),
        }
    }

    /// None where all of it is within the limits. The time is in milliseconds since 1970.
    pub(crate) fn plan(&self, now: i64) -> Result<Option<Planned>> {
        let limits = self.limits()?;
        let going = going(&journal::list_files()?, limits, now);
        Ok((going.files > 0).then_some(Planned { limits, going }))
    }
}

impl Planned {
    pub(crate) fn vacuum(&self) -> Result<Vacuumed> {
        let gone = journal::vacuum(self.limits)?;
        info!(files = gone.files, bytes = gone.bytes, "vacuumed the journal");
        Ok(gone)
    }
}

/// What `journalctl` would remove: in each folder the oldest archived files, for as long as the next one is too old, or those
/// that are left too large. Files that are written to neither go nor count.
fn going(files: &[JournalFile], limits: Limits, now: i64) -> Vacuumed {
    let mut folders: BTreeMap<&str, Vec<(i64, u64)>> = BTreeMap::new();
    for file in files.iter().filter(|it| it.archived) {
        if let Some(begun) = begun(file) {
            folders.entry(folder_of(&file.path)).or_default().push((begun, file.bytes));
        }
    }
    let oldest = limits.max_age_s.map(|it| now.saturating_sub_unsigned(it.saturating_mul(1_000)));
    let mut going = Vacuumed { files: 0, bytes: 0 };
    for archived in folders.values_mut() {
        archived.sort_unstable();
        let mut left: u64 = archived.iter().map(|(_, bytes)| bytes).sum();
        for (begun, bytes) in archived {
            if oldest.is_none_or(|it| *begun >= it) && limits.max_bytes.is_none_or(|it| left <= it) {
                break;
            }
            left -= *bytes;
            going = Vacuumed { files: going.files + 1, bytes: going.bytes + *bytes };
        }
    }
    going
}

/// When a file was begun, in milliseconds since 1970. The name has it in microseconds: `system@ID-NUMBER-TIME.journal`, or
/// `system@TIME-RANDOM.journal~` for one that was not closed. None for other names, which `journalctl` leaves alone.
fn begun(file: &JournalFile) -> Option<i64> {
    let (_, rest) = name_of(&file.path).rsplit_once('@')?;
    let digits = match rest.strip_suffix(".journal~") {
        Some(rest) => rest.split('-').next()?,
        None => rest.strip_suffix(".journal")?.split('-').nth(2)?,
    };
    let micros = i64::from_str_radix(digits, 16).ok()?;
    Some((micros / 1_000).min(file.modified_ms))
}
