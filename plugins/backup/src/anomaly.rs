//! The anomaly gate: whether what a run saw of a source differs from the runs before it more than it ever does. Pure: it
//! judges numbers that the host measured.
//!
//! Each value is compared with a threshold of its own and with what is usual for the source, and has to pass both. Usual is
//! the 90 % quantile of the runs that were judged to be well: one that was let through by hand does not open the gate for
//! ever, and what happens every week is usual. For shares, which cannot exceed one, three times the usual would be no
//! bound where the usual is high; so half the way from the usual to one is far enough.
//!
//! The first runs are never judged, except that a source which held something and is empty now is always told.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use upkeep_plugin::repository::Summary;
use upkeep_plugin::{Result, state};

use crate::size::{Percent, Size};

/// The quantile of the history that counts as usual.
const USUAL: f64 = 0.9;

/// When a change is an anomaly. What is left out has its default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Whether it is looked for at all; true when left out.
    enabled: Option<bool>,
    /// Runs that are only watched; 3 when left out.
    learn: Option<u32>,
    /// Runs that are remembered; 30 when left out.
    history: Option<u32>,
    /// Share of the files that is gone; `25 %` when left out.
    removed: Option<Percent>,
    /// Share of the files that has other content; `50 %` when left out.
    changed: Option<Percent>,
    /// New data in the repository, as a share of what the source held before; `200 %` when left out.
    added: Option<Percent>,
    /// Share by which the source has become smaller; `50 %` when left out.
    shrunk: Option<Percent>,
    /// Share of the new and changed files that look encrypted; `50 %` when left out.
    encrypted: Option<Percent>,
    /// Fewer files are no anomaly, unless they were all; 20 when left out.
    min_files: Option<u32>,
    /// Less data is no anomaly; `16 MiB` when left out.
    min_bytes: Option<Size>,
    /// How many times what is usual is unusual; 3 when left out.
    factor: Option<u32>,
}

/// The settings with their defaults.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Thresholds {
    enabled: bool,
    learn: usize,
    history: usize,
    removed: f64,
    changed: f64,
    added: f64,
    shrunk: f64,
    encrypted: f64,
    min_files: u64,
    min_bytes: u64,
    factor: f64,
}

impl Settings {
    /// These, and for what they leave out those of `all`.
    pub(crate) fn over(&self, all: &Self) -> Thresholds {
        let share = |of: fn(&Self) -> Option<Percent>, default: f64| {
            of(self).or(of(all)).map_or(default, |it| f64::from(it.0) / 100.0)
        };
        let number = |of: fn(&Self) -> Option<u32>, default: u32| of(self).or(of(all)).unwrap_or(default);
        Thresholds {
            enabled: self.enabled.or(all.enabled).unwrap_or(true),
            learn: number(|it| it.learn, 3).max(1) as usize,
            history: number(|it| it.history, 30).clamp(1, 1_000) as usize,
            removed: share(|it| it.removed, 0.25),
            changed: share(|it| it.changed, 0.5),
            added: share(|it| it.added, 2.0),
            shrunk: share(|it| it.shrunk, 0.5),
            encrypted: share(|it| it.encrypted, 0.5),
            min_files: number(|it| it.min_files, 20).into(),
            min_bytes: self.min_bytes.or(all.min_bytes).map_or(16 << 20, |it| it.0),
            factor: number(|it| it.factor, 3).max(1).into(),
        }
    }
}

/// What a run saw of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) changed: u64,
    pub(crate) unmodified: u64,
    pub(crate) removed: Option<u64>,
    /// Bytes that were read.
    pub(crate) read: u64,
    /// Bytes that the repository grew by.
    pub(crate) added: u64,
    /// Files of which the content was looked at, and those that look encrypted.
    pub(crate) sampled: u64,
    pub(crate) opaque: u64,
}

impl From<&Summary> for Facts {
    fn from(saved: &Summary) -> Self {
        Self {
            files: saved.files,
            bytes: saved.bytes,
            changed: saved.files_changed,
            unmodified: saved.files_unmodified,
            removed: saved.files_removed,
            read: saved.bytes_read,
            added: saved.bytes_added,
            sampled: saved.content.sampled,
            opaque: saved.content.opaque,
        }
    }
}

impl Facts {
    /// Files of the snapshot before.
    fn before(&self) -> Option<u64> {
        Some(self.removed? + self.changed + self.unmodified)
    }

    fn removed_share(&self) -> Option<f64> {
        share(self.removed?, self.before()?)
    }

    fn changed_share(&self) -> Option<f64> {
        share(self.changed, self.before()?)
    }

    fn opaque_share(&self) -> Option<f64> {
        share(self.opaque, self.sampled)
    }
}

fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

/// What is remembered of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    /// Runs that were well, the oldest first.
    runs: VecDeque<Facts>,
    /// The run that was not, until the operator has released the hold: then it was well after all.
    held: Option<Facts>,
}

impl History {
    /// That of a source.
    pub(crate) fn of(source: &str) -> Result<Self> {
        Ok(state::get(&["history/", source].concat())?.unwrap_or_default())
    }

    /// The history as it is to be judged by: a hold that is no longer there was released.
    pub(crate) fn learned(mut self, is_held: bool, thresholds: &Thresholds) -> Self {
        if !is_held && let Some(facts) = self.held.take() {
            self.push(facts, thresholds);
        }
        self
    }

    /// Remembers a run, and whether it was well.
    pub(crate) fn remember(&mut self, facts: Facts, is_well: bool, thresholds: &Thresholds) {
        if is_well {
            self.push(facts, thresholds);
        } else {
            self.held = Some(facts);
        }
    }

    fn push(&mut self, facts: Facts, thresholds: &Thresholds) {
        self.runs.push_back(facts);
        let surplus = self.runs.len().saturating_sub(thresholds.history);
        self.runs.drain(..surplus);
    }

    /// What is usual of a value that not every run has.
    fn usual(&self, of: impl Fn(&Facts) -> Option<f64>) -> f64 {
        quantile(self.runs.iter().filter_map(of).collect(), USUAL)
    }

    /// Bytes that the source usually holds.
    fn size(&self) -> u64 {
        quantile(self.runs.iter().map(|it| it.bytes as f64).collect(), 0.5) as u64
    }
}

/// The smallest value that this share of the values does not exceed.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (share * values.len() as f64).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// What is unusual about a run, in numbers, for people. Nothing: the run is well.
pub(crate) fn judge(now: &Facts, history: &History, thresholds: &Thresholds) -> Vec<String> {
    let mut told = Vec::new();
    let Some(last) = history.runs.back().filter(|_| thresholds.enabled) else { return told };
    if last.files > 0 && (now.files == 0 || (now.bytes == 0 && last.bytes > 0)) {
        told.push(format!("nothing is left of {} files, {}", last.files, Size(last.bytes)));
        return told;
    }
    // Without a snapshot before, as in a new repository, everything is new.
    if history.runs.len() < thresholds.learn || now.removed.is_none() {
        return told;
    }
    let t = thresholds;
    // Half the way to all of it is far enough, whatever the factor.
    let unusual = |share: f64, threshold: f64, usual: f64| {
        share > threshold && share > (t.factor * usual).min(f64::midpoint(1.0, usual))
    };
    if let (Some(removed), Some(before), Some(share)) = (now.removed, now.before(), now.removed_share()) {
        let usual = history.usual(Facts::removed_share);
        if removed >= t.min_files && unusual(share, t.removed, usual) {
            told.push(format!(
                "{removed} of {before} files are gone ({}; usually up to {})",
                percent(share),
                percent(usual)
            ));
        }
    }
    if let (Some(before), Some(share)) = (now.before(), now.changed_share()) {
        let usual = history.usual(Facts::changed_share);
        if now.changed >= t.min_files && unusual(share, t.changed, usual) {
            let changed = now.changed;
            told.push(format!(
                "{changed} of {before} files were changed ({}; usually up to {})",
                percent(share),
                percent(usual)
            ));
        }
    }
    if let Some(share) = now.opaque_share() {
        let usual = history.usual(Facts::opaque_share);
        // A few large files weigh as much as many.
        let weighs = now.opaque >= t.min_files || now.read >= t.min_bytes.max(now.bytes / 2);
        if weighs && unusual(share, t.encrypted, usual) {
            let (opaque, sampled) = (now.opaque, now.sampled);
            told.push(format!(
                "{opaque} of {sampled} new and changed files look encrypted ({}; usually up to {})",
                percent(share),
                percent(usual)
            ));
        }
    }
    let size = history.size();
    if let Some(share) = self::share(now.added, size) {
        let usual = history.usual(|it| self::share(it.added, size));
        if now.added >= t.min_bytes && share > t.added && share > t.factor * usual {
            told.push(format!(
                "{} of new data, {} of the {} that the source held (usually up to {})",
                Size(now.added),
                percent(share),
                Size(size),
                percent(usual)
            ));
        }
    }
    let least = history.runs.iter().map(|it| it.bytes).min().unwrap_or(0);
    if let Some(left) = self::share(now.bytes, size)
        && 1.0 - left > t.shrunk
        && size.saturating_sub(now.bytes) >= t.min_bytes
        && now.bytes < least
    {
        told.push(format!("{} are left of the usual {} ({} less)", Size(now.bytes), Size(size), percent(1.0 - left)));
    }
    told
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

#[cfg(test)]
mod tests;
