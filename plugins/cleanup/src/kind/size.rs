//! Files by the size of all of them together: the oldest go until the others fit.
//!
//! The files may be millions, so they are not remembered. A survey counts bytes by time, in as many spans of time as fit
//! into memory; if the bound falls into a span with several files in it, the next survey looks at that span alone. Files
//! of the same time are put in order by a checksum of their path, so that in the end each stands alone.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::Result;
use upkeep_plugin::config::Size;
use upkeep_plugin::files::Root;

use crate::kind::{By, Now, Policy, Seen, Survey, Verdict};

/// Spans that are counted at the same time: a few MiB of memory.
const MOST_SPANS: usize = 1 << 16;

/// Bits by which spans grow when there are too many.
const GROWTH: u32 = 4;

/// The oldest files go until the others are no larger than this together.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SizeSettings {
    /// Size that the files beneath `path` may have together.
    max_total: Size,
    /// Which time counts.
    #[serde(default)]
    by: By,
}

impl SizeSettings {
    pub(crate) fn policy(&self) -> Result<Box<dyn Policy>, String> {
        match self.max_total.0 {
            0 => Err("`size.max_total` has to be more than 0; to remove all, write `all = true`".to_owned()),
            most => Ok(Box::new(Total { most, by: self.by, cutoff: Cutoff::new(most, MOST_SPANS) })),
        }
    }
}

#[derive(Debug)]
struct Total {
    most: u64,
    by: By,
    cutoff: Cutoff,
}

impl Total {
    /// Greater for files that are kept rather.
    fn key(&self, seen: &Seen<'_>, now: &Now) -> Option<u128> {
        let time = self.by.time(seen, now)?;
        let mut hasher = DefaultHasher::new();
        seen.path.hash(&mut hasher);
        // As unsigned numbers, times before 1970 come first.
        Some(u128::from(time.cast_unsigned() ^ (1 << 63)) << 64 | u128::from(hasher.finish()))
    }
}

impl Policy for Total {
    fn survey(&self) -> Survey {
        Survey::All
    }

    fn look(&mut self, seen: &Seen<'_>, now: &Now, _: &Root) -> Result<()> {
        if let Some(key) = self.key(seen, now) {
            self.cutoff.add(key, seen.entry.id.size);
        }
        Ok(())
    }

    fn surveyed(&mut self, _: &Now) -> bool {
        self.cutoff.narrow()
    }

    fn judge(&self, seen: &Seen<'_>, now: &Now) -> Option<Verdict> {
        let key = self.key(seen, now)?;
        (key < self.cutoff.first).then(|| {
            let age = self.by.time(seen, now).map(|it| self.by.age(now.since(it))).unwrap_or_default();
            Verdict::remove(format!("over {} together, {age}", Size(self.most)))
        })
    }
}

/// Looks for the least key that is kept.
#[derive(Debug)]
struct Cutoff {
    most_spans: usize,
    /// Bytes that the keys up to `last` may have.
    room: u64,
    /// It is known that what is kept begins here or later, ...
    first: u128,
    /// ... and that what comes after this is kept.
    last: u128,
    /// Bytes by keys without their last `bits`.
    spans: BTreeMap<u128, u64>,
    bits: u32,
}

impl Cutoff {
    fn new(room: u64, most_spans: usize) -> Self {
        Self { most_spans, room, first: 0, last: u128::MAX, spans: BTreeMap::new(), bits: 0 }
    }

    fn add(&mut self, key: u128, bytes: u64) {
        if key < self.first || key > self.last {
            return;
        }
        let sum = self.spans.entry(key >> self.bits).or_default();
        *sum = sum.saturating_add(bytes);
        while self.spans.len() > self.most_spans {
            self.bits += GROWTH;
            let mut wider = BTreeMap::new();
            for (span, bytes) in std::mem::take(&mut self.spans) {
                let sum: &mut u64 = wider.entry(span >> GROWTH).or_default();
                *sum = sum.saturating_add(bytes);
            }
            self.spans = wider;
        }
    }

    /// After a survey: narrows down where the bound is. Whether that needs another.
    fn narrow(&mut self) -> bool {
        let (spans, bits) = (std::mem::take(&mut self.spans), std::mem::take(&mut self.bits));
        for (span, bytes) in spans.into_iter().rev() {
            if bytes <= self.room {
                self.room -= bytes;
                continue;
            }
            let (first, last) = (span << bits, (span << bits) | ((1 << bits) - 1));
            if bits == 0 {
                // The span is one file, and the first that does not fit.
                self.first = first.saturating_add(1);
                return false;
            }
            (self.first, self.last) = (self.first.max(first), self.last.min(last));
            return true;
        }
        // All of it fits.
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bound, and how many surveys it took.
    fn cutoff(files: &[(u128, u64)], room: u64, most_spans: usize) -> (u128, usize) {
        let mut cutoff = Cutoff::new(room, most_spans);
        for surveys in 1.. {
            files.iter().for_each(|(key, bytes)| cutoff.add(*key, *bytes));
            if !cutoff.narrow() {
                return (cutoff.first, surveys);
            }
        }
        unreachable!()
    }

    proptest! {
        /// Exactly the newest that fit stay, however few spans there are.
        #[test]
        fn the_oldest_go_until_the_others_fit(
            keys in prop::collection::btree_set(prop_oneof![any::<u128>(), 0u128..300, (1u128 << 90)..(1 << 90) + 99], 0..200),
            sizes in prop::collection::vec(0u64..100, 200),
            room in 0u64..9_000,
            most_spans in 17usize..60,
        ) {
            let files: Vec<_> = keys.into_iter().zip(sizes).collect();
            let (first, surveys) = cutoff(&files, room, most_spans);
            let sum = |from: u128| files.iter().filter(|it| it.0 >= from).map(|it| it.1).sum::<u64>();
            prop_assert!(sum(first) <= room);
            if let Some(next) = files.iter().rev().find(|it| it.0 < first) {
                prop_assert!(sum(next.0) > room, "{} could have stayed", next.0);
            }
            prop_assert!(surveys <= 70, "{}", surveys);
        }
    }

    #[test]
    fn a_million_files_take_two_surveys_and_of_one_time_three() {
        let hash = |number: u128| {
            let mut hasher = DefaultHasher::new();
            number.hash(&mut hasher);
            u128::from(hasher.finish())
        };
        let spread: Vec<_> = (0..1_000_000u128).map(|it| ((hash(it) >> 8) << 64 | hash(it), 10)).collect();
        let (first, surveys) = cutoff(&spread, 4_000_000, MOST_SPANS);
        assert_eq!((spread.iter().filter(|it| it.0 >= first).count(), surveys), (400_000, 2));
        let same: Vec<_> = (0..1_000_000u128).map(|it| (1 << 120 | hash(it), 10)).collect();
        let (first, surveys) = cutoff(&same, 4_000_000, MOST_SPANS);
        assert_eq!(same.iter().filter(|it| it.0 >= first).count(), 400_000);
        assert!(surveys <= 3, "{surveys}");
    }
}
