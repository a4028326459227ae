//! Which part of the data is read this time, so that everything is read once per so many days.
//!
//! The packs of a repository are parted by the first byte of their names, which are hashes: 256 parts of about the same
//! size. For each is remembered when it was last read in full. That covers whatever was added to it since, because that
//! is newer than the reading. The part that has waited longest comes first; so missed days, new packs and a changed
//! `full_every` need no special care, and the age of the oldest part is the proof.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use upkeep_plugin::repository::Part;

/// Milliseconds of a day.
pub(crate) const DAY: i64 = 86_400_000;

/// What is remembered from run to run. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rotation {
    /// When the first check was.
    since: Option<i64>,
    /// When the last one was.
    last: Option<i64>,
    /// When each part was last read and found whole.
    read: BTreeMap<u8, i64>,
    /// Parts in which damage was found: they are read each time, until they are whole again.
    suspects: BTreeSet<u8>,
    /// Bytes that the last runs read too little, or too much when it is negative.
    credit: i64,
}

/// What to read, and what is remembered after it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Choice {
    /// The first bytes of the names of the packs.
    pub(crate) parts: Vec<u8>,
    /// Packs and bytes of these parts.
    pub(crate) packs: u64,
    pub(crate) bytes: u64,
    /// Bytes of everything.
    pub(crate) total: u64,
    credit: i64,
}

impl Rotation {
    /// What to read at `now`, so that everything is read within `full_every` milliseconds.
    pub(crate) fn choose(&self, parts: &[Part], now: i64, full_every: i64) -> Choice {
        let full_every = full_every.max(1);
        let total: u64 = parts.iter().map(|part| part.bytes).sum();
        // The time between two runs is not known the first time; once a day is usual.
        let elapsed = self.last.map_or(DAY, |last| now - last).clamp(0, full_every);
        let share = i128::from(total) * i128::from(elapsed) / i128::from(full_every);
        let mut credit = self.credit.saturating_add(i64::try_from(share).unwrap_or(i64::MAX));
        let mut waiting: Vec<&Part> = parts.iter().collect();
        waiting.sort_by_key(|part| (self.read.get(&part.first), part.first));
        let mut chosen: Vec<&Part> = Vec::new();
        for part in waiting {
            let is_suspect = self.suspects.contains(&part.first);
            // Whoever waits until the next run would have waited too long.
            let waits_since = self.read.get(&part.first).copied().or(self.since).unwrap_or(now);
            let is_due = waits_since + full_every < now + elapsed;
            if credit > 0 || is_due {
                credit = credit.saturating_sub(i64::try_from(part.bytes).unwrap_or(i64::MAX));
                chosen.push(part);
            } else if is_suspect {
                chosen.push(part);
            }
        }
        let most = i64::try_from(total).unwrap_or(i64::MAX);
        let mut first: Vec<u8> = chosen.iter().map(|part| part.first).collect();
        first.sort_unstable();
        Choice {
            parts: first,
            packs: chosen.iter().map(|part| part.packs).sum(),
            bytes: chosen.iter().map(|part| part.bytes).sum(),
            total,
            credit: credit.clamp(-most, most),
        }
    }

    /// What is remembered after the chosen parts were read at `now`. `damaged` names the parts in which something was
    /// found: they count as not read.
    pub(crate) fn after(mut self, choice: &Choice, damaged: &BTreeSet<u8>, now: i64) -> Self {
        self.since.get_or_insert(now);
        self.last = Some(now);
        self.credit = choice.credit;
        for part in &choice.parts {
            if damaged.contains(part) {
                self.suspects.insert(*part);
            } else {
                self.suspects.remove(part);
                self.read.insert(*part, now);
            }
        }
        self.suspects.extend(damaged);
        self
    }

    /// How long ago the part was read that has waited longest; counted from the first check for what was never read.
    /// Parts in which damage was found are left out: that is told. None when there is nothing to read.
    pub(crate) fn oldest(&self, parts: &[Part], now: i64) -> Option<i64> {
        let since = |part: &Part| self.read.get(&part.first).copied().or(self.since).unwrap_or(now);
        let sound = parts.iter().filter(|part| !self.suspects.contains(&part.first));
        sound.map(|part| (now - since(part)).max(0)).max()
    }

    /// Packs that no check has read yet.
    pub(crate) fn never_read(&self, parts: &[Part]) -> u64 {
        parts.iter().filter(|part| !self.read.contains_key(&part.first)).map(|part| part.packs).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(bytes: &BTreeMap<u8, u64>) -> Vec<Part> {
        bytes.iter().map(|(first, bytes)| Part { first: *first, packs: 1, bytes: *bytes }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Days may be missed and packs come in: what was there at the begin of the last `full_every` is read in it.
        #[test]
        fn everything_is_read_once_per_so_many_days(
            sizes in proptest::collection::btree_map(any::<u8>(), 1_u64..1_000_000, 1..256),
            gaps in proptest::collection::vec(1_i64..4, 60),
            added in proptest::collection::vec(any::<u8>(), 60),
        ) {
            let full_every = 30 * DAY;
            let (mut sizes, mut rotation, mut now) = (sizes, Rotation::default(), 1_790_000_000_000);
            for (gap, added) in gaps.into_iter().zip(added) {
                let parts_now = parts(&sizes);
                let choice = rotation.choose(&parts_now, now, full_every);
                rotation = rotation.after(&choice, &BTreeSet::new(), now);
                let oldest = rotation.oldest(&parts_now, now).unwrap_or(0);
                prop_assert!(oldest <= full_every, "{} days", oldest / DAY);
                *sizes.entry(added).or_default() += 500_000;
                now += gap * DAY;
            }
        }
    }

    #[test]
    fn each_day_reads_about_its_share() {
        let sizes: BTreeMap<u8, u64> = (0..=255).map(|first| (first, 1_000)).collect();
        let (mut rotation, mut now, mut read) = (Rotation::default(), 0, BTreeSet::new());
        for day in 0..30 {
            let choice = rotation.choose(&parts(&sizes), now, 30 * DAY);
            assert!((8..=9).contains(&choice.packs), "{} on day {day}", choice.packs);
            read.extend(choice.parts.iter().copied());
            rotation = rotation.after(&choice, &BTreeSet::new(), now);
            now += DAY;
        }
        assert_eq!(read.len(), 256, "all of it within thirty days");
        assert_eq!(rotation.never_read(&parts(&sizes)), 0);
        // After a month in which the machine was off, everything is due.
        let choice = rotation.choose(&parts(&sizes), now + 31 * DAY, 30 * DAY);
        assert_eq!((choice.packs, choice.bytes), (256, 256_000));
    }

    #[test]
    fn a_check_each_minute_reads_no_more_in_all() {
        let sizes: BTreeMap<u8, u64> = (0..=255).map(|first| (first, 1_000)).collect();
        let (mut rotation, mut now, mut bytes) = (Rotation::default(), 0, 0);
        for _ in 0..3 * 1_440 {
            let choice = rotation.choose(&parts(&sizes), now, 30 * DAY);
            bytes += choice.bytes;
            rotation = rotation.after(&choice, &BTreeSet::new(), now);
            now += 60_000;
        }
        assert!((20_000..=36_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn what_is_damaged_is_read_again_until_it_is_whole() {
        let sizes: BTreeMap<u8, u64> = (0..=255).map(|first| (first, 1_000)).collect();
        let first = Rotation::default().choose(&parts(&sizes), 0, 30 * DAY);
        let damaged = BTreeSet::from([first.parts[0]]);
        let rotation = Rotation::default().after(&first, &damaged, 0);
        assert_eq!(rotation.never_read(&parts(&sizes)), 257 - first.packs);
        for day in 1..4 {
            let choice = rotation.choose(&parts(&sizes), day * DAY, 30 * DAY);
            assert!(choice.parts.contains(&first.parts[0]), "day {day}");
        }
        let next = rotation.choose(&parts(&sizes), DAY, 30 * DAY);
        let rotation = rotation.after(&next, &BTreeSet::new(), DAY);
        assert!(rotation.suspects.is_empty());
    }

    #[test]
    fn an_empty_repository_has_nothing_to_read() {
        let choice = Rotation::default().choose(&[], 0, 30 * DAY);
        assert_eq!((choice.parts.len(), choice.total), (0, 0));
        assert_eq!(Rotation::default().oldest(&[], 0), None);
    }
}
