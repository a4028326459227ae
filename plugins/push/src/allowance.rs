//! How often a channel may be used, beyond one run: what was sent is in the task's state before it leaves.
//!
//! A run that is killed has sent some of what it wrote down. All of it counts, as if it had arrived when the next run began: the
//! provider may have counted it up to then. Where many are allowed, several tokens are written down at once, for requests that
//! follow.

use serde::{Deserialize, Serialize};
use upkeep_channel::{Bucket, Limit, MARGIN};
use upkeep_plugin::{HostResult, state};

/// What the state has of a channel.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// Times, milliseconds since 1970, and how many tokens were taken at each.
    taken: Vec<(i64, u32)>,
    /// Tokens of requests that were under way.
    away: u32,
}

/// The tokens of one channel.
#[derive(Debug)]
pub(crate) struct Allowance {
    bucket: Bucket,
    key: String,
    /// Nothing is kept where nothing is limited.
    is_limited: bool,
    /// Tokens that are taken at once.
    block: usize,
    /// Tokens that are taken, and for which nothing has left.
    reserved: usize,
    /// Whether the state has something else.
    changed: bool,
}

impl Allowance {
    /// The tokens of a channel, with what earlier runs took.
    pub(crate) fn open(channel: &str, limits: &[Limit], now: i64) -> HostResult<Self> {
        let mut bucket = Bucket::new(limits, MARGIN);
        let (key, is_limited) = (format!("rate/{channel}"), !limits.is_empty());
        let mut changed = false;
        if is_limited && let Some(kept) = state::get::<Kept>(&key)? {
            let times = kept.taken.iter().flat_map(|(at, count)| std::iter::repeat_n(*at, *count as usize));
            bucket.recall(times.chain(std::iter::repeat_n(now, kept.away as usize)));
            changed = kept.away > 0;
        }
        let least = limits.iter().map(|it| it.count).min().unwrap_or(0);
        let block = usize::try_from(least / 10).unwrap_or(0).max(1);
        Ok(Self { bucket, key, is_limited, block, reserved: 0, changed })
    }

    /// How many tokens there are now, up to `most`.
    pub(crate) fn free(&self, now: i64, most: usize) -> usize {
        if !self.is_limited {
            return most;
        }
        self.reserved.saturating_add(self.bucket.free(now)).min(most)
    }

    /// From when on there may be one.
    pub(crate) fn next(&mut self, now: i64) -> i64 {
        self.bucket.next(now)
    }

    /// Takes tokens for requests that leave right after this; durable on return. Gives how many there were.
    pub(crate) fn depart(&mut self, now: i64, most: usize) -> HostResult<usize> {
        if !self.is_limited {
            return Ok(most);
        }
        if self.reserved < most {
            let wanted = most.max(self.block);
            let taken = (self.reserved..wanted).take_while(|_| self.bucket.depart(now).is_ok()).count();
            if taken > 0 {
                self.reserved += taken;
                self.changed = true;
                self.keep()?;
            }
        }
        let count = most.min(self.reserved);
        self.reserved -= count;
        Ok(count)
    }

    /// A request that left is over.
    pub(crate) fn arrive(&mut self, now: i64) {
        if self.is_limited {
            self.bucket.arrive(now);
            self.changed = true;
        }
    }

    /// The run is over: what was taken and not used is free again.
    pub(crate) fn close(mut self) -> HostResult<()> {
        (0..self.reserved).for_each(|_| self.bucket.stay());
        self.changed |= self.reserved > 0;
        self.keep()
    }

    /// Writes down what there is, if that has changed.
    fn keep(&mut self) -> HostResult<()> {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        let mut taken: Vec<(i64, u32)> = Vec::new();
        for at in self.bucket.times() {
            match taken.last_mut() {
                Some((last, count)) if *last == at => *count += 1,
                _ => taken.push((at, 1)),
            }
        }
        let away = u32::try_from(self.bucket.away()).unwrap_or(u32::MAX);
        state::put(&self.key, &Kept { taken, away })
    }
}

#[cfg(test)]
mod tests {
    use upkeep_plugin::test::Host;

    use super::*;

    const LIMITS: [Limit; 1] = [Limit { count: 3, window: 60_000 }];

    #[test]
    fn a_run_that_is_killed_has_sent_all_that_it_may_have() {
        let _host = Host::new();
        let mut first = Allowance::open("ops", &LIMITS, 1_000).unwrap();
        assert_eq!((first.free(1_000, 10), first.depart(1_000, 1).unwrap()), (3, 1));
        first.arrive(1_200);
        assert_eq!(first.depart(2_000, 10).unwrap(), 2);
        // It is gone here. Ten seconds later nobody knows when the two arrived.
        let mut second = Allowance::open("ops", &LIMITS, 12_000).unwrap();
        assert_eq!(second.free(12_000, 10), 0);
        assert_eq!(second.next(12_000), 1_200 + 60_000 + MARGIN);
        assert_eq!(second.free(12_000 + 60_000 + MARGIN - 1, 10), 1);
        assert_eq!(second.free(12_000 + 60_000 + MARGIN, 10), 3);
        second.close().unwrap();
        // What the second one kept does not count as under way again.
        assert_eq!(Allowance::open("ops", &LIMITS, 50_000).unwrap().free(12_000 + 60_000 + MARGIN, 10), 3);
        assert_eq!(Allowance::open("other", &LIMITS, 12_000).unwrap().free(12_000, 10), 3);
    }

    #[test]
    fn tokens_are_taken_in_blocks_and_given_back() {
        let _host = Host::new();
        let many = [Limit { count: 100, window: 60_000 }];
        let mut first = Allowance::open("ops", &many, 0).unwrap();
        assert_eq!((first.depart(0, 3).unwrap(), first.reserved), (3, 7));
        let before = state::get_bytes("rate/ops").unwrap().unwrap().version;
        assert_eq!((first.depart(0, 7).unwrap(), first.reserved), (7, 0));
        assert_eq!(state::get_bytes("rate/ops").unwrap().unwrap().version, before, "they were written down before");
        assert_eq!((first.free(0, 1_000), first.depart(0, 1_000).unwrap()), (90, 90));
        (0..100).for_each(|_| first.arrive(5));
        assert_eq!((first.free(5, 10), first.next(5)), (0, 5 + 60_000 + MARGIN));
        let mut second = Allowance::open("other", &many, 0).unwrap();
        assert_eq!(second.depart(0, 1).unwrap(), 1);
        second.arrive(1);
        second.close().unwrap();
        assert_eq!(Allowance::open("other", &many, 9).unwrap().free(9, 1_000), 99);
    }

    #[test]
    fn without_limits_nothing_is_kept() {
        let _host = Host::new();
        let mut free = Allowance::open("hook", &[], 0).unwrap();
        assert_eq!((free.free(0, 7), free.depart(0, 9).unwrap()), (7, 9));
        free.arrive(1);
        free.close().unwrap();
        assert!(state::keys("").unwrap().is_empty());
    }
}
