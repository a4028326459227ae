//! How often a channel may be used, and the bucket that keeps to it.
//!
//! Providers count what arrives within any minute, so [`Bucket`] remembers when its last tokens were taken instead of filling
//! up evenly: a bucket that fills up lets twice its size pass within one window, half before and half behind its edge. What
//! was sent before the daemon was restarted counts as well: whoever keeps the [times](Bucket::times) gives them back to
//! [`Bucket::recall`].
//!
//! A request arrives some time between its leaving and its answer, and nobody here knows when. So a token that was taken for one
//! counts as taken now for as long as it is [under way](Bucket::depart), and as taken at its [answer](Bucket::arrive) from then on.

use std::collections::VecDeque;

use crate::moment::{DAY, SECOND};

/// So many within any window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How many.
    pub count: u32,
    /// Milliseconds.
    pub window: i64,
}

/// How often a provider takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// All of them hold.
    pub limits: &'static [Limit],
    /// How long the provider takes nothing at all from one who came too often, milliseconds.
    pub punishment: i64,
}

impl Rate {
    /// No limit that the provider tells of.
    pub const NONE: Self = Self { limits: &[], punishment: 0 };
}

/// What is added to each window: the time on the way differs from request to request, and what left 60 seconds apart can
/// arrive 59 seconds apart.
pub const MARGIN: i64 = 2 * SECOND;

/// Gives tokens: never more within any window than a limit says. Its clock is the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    limits: Vec<Limit>,
    /// When the last tokens were taken, oldest first; as many as the largest count.
    taken: VecDeque<i64>,
    /// Tokens of requests that are under way.
    away: usize,
    closed: i64,
}

impl Bucket {
    /// A bucket for limits, each of which has `margin` milliseconds added to its window, but no more than a twentieth of it.
    pub fn new(limits: &[Limit], margin: i64) -> Self {
        let limit = |it: &Limit| Limit { window: it.window.saturating_add(margin.min(it.window / 20)), ..*it };
        Self { limits: limits.iter().map(limit).collect(), taken: VecDeque::new(), away: 0, closed: i64::MIN }
    }

    /// Counts tokens that were taken earlier, before this bucket was made. In any order.
    pub fn recall(&mut self, times: impl IntoIterator<Item = i64>) {
        let mut all: Vec<i64> = self.taken.iter().copied().chain(times).collect();
        all.sort_unstable();
        self.taken = all.into();
        self.forget();
    }

    /// Takes a token, or says from when on there is one.
    pub fn take(&mut self, now: i64) -> Result<(), i64> {
        let from = self.next(now);
        if from > now {
            return Err(from);
        }
        if !self.limits.is_empty() {
            self.taken.push_back(now);
            self.forget();
        }
        Ok(())
    }

    /// Takes a token for a request that leaves, or says from when on there may be one.
    pub fn depart(&mut self, now: i64) -> Result<(), i64> {
        let from = self.next(now);
        if from > now {
            return Err(from);
        }
        if !self.limits.is_empty() {
            self.away += 1;
        }
        Ok(())
    }

    /// How many tokens there are now: so many requests [can leave](Self::depart) at once.
    pub fn free(&self, now: i64) -> usize {
        if self.closed > now && self.closed <= now.saturating_add(DAY) {
            return 0;
        }
        let free = self.limits.iter().map(|limit| {
            // What a clock that was set back has in the future counts as taken now.
            let old = self.taken.partition_point(|it| it.saturating_add(limit.window) <= now);
            let count = usize::try_from(limit.count).unwrap_or(usize::MAX);
            count.saturating_sub(self.away).saturating_sub(self.taken.len() - old)
        });
        free.min().unwrap_or(usize::MAX)
    }

    /// A request that left is answered, or never will be.
    pub fn arrive(&mut self, now: i64) {
        if self.away > 0 {
            self.away -= 1;
            // Almost always the end: times come in order unless the clock is set back.
            match self.taken.back() {
                Some(last) if *last > now => self.taken.insert(self.taken.partition_point(|it| *it <= now), now),
                _ => self.taken.push_back(now),
            }
            self.forget();
        }
    }

    /// A request for which a token was taken never left.
    pub fn stay(&mut self) {
        self.away = self.away.saturating_sub(1);
    }

    /// How many are under way.
    pub fn away(&self) -> usize {
        self.away
    }

    /// When the tokens were taken that still count, oldest first. Those that are under way are not among them.
    pub fn times(&self) -> impl Iterator<Item = i64> {
        self.taken.iter().copied()
    }

    /// From when on there is a token; `now` or earlier if there is one.
    pub fn next(&mut self, now: i64) -> i64 {
        // The clock was set back: what is in the future was taken just now, as far as anybody can tell. Nobody waits for a clock.
        if self.closed > now.saturating_add(DAY) {
            self.closed = now;
        }
        for taken in self.taken.iter_mut().rev().take_while(|it| **it > now) {
            *taken = now;
        }
        let limits = self.limits.iter().map(|limit| {
            let count = usize::try_from(limit.count).unwrap_or(usize::MAX);
            match count.saturating_sub(self.away) {
                _ if count == 0 => i64::MAX,
                // If all that are under way arrived now.
                0 => now.saturating_add(limit.window),
                left if self.taken.len() >= left => self.taken[self.taken.len() - left].saturating_add(limit.window),
                _ => i64::MIN,
            }
        });
        limits.max().unwrap_or(i64::MIN).max(self.closed)
    }

    /// Gives nothing until then: the provider said so. A day at most.
    pub fn close(&mut self, until: i64) {
        self.closed = self.closed.max(until);
    }

    fn forget(&mut self) {
        let most = self.limits.iter().map(|it| it.count).max().unwrap_or(0);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.taken.drain(..self.taken.len().saturating_sub(most));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::moment::MINUTE;

    const WECOM: [Limit; 1] = [Limit { count: 20, window: MINUTE }];

    #[test]
    fn gives_twenty_a_minute() {
        let mut bucket = Bucket::new(&WECOM, 0);
        for at in 0..20 {
            assert_eq!(bucket.take(at * 100), Ok(()));
        }
        assert_eq!(bucket.take(2000), Err(MINUTE));
        assert_eq!(bucket.take(MINUTE - 1), Err(MINUTE));
        assert_eq!(bucket.take(MINUTE), Ok(()));
        assert_eq!(bucket.take(MINUTE), Err(MINUTE + 100));
    }

    #[test]
    fn all_limits_hold() {
        let mut bucket = Bucket::new(&[Limit { count: 5, window: SECOND }, Limit { count: 7, window: MINUTE }], 0);
        let given = (0..70 * 10).filter(|at| bucket.take(at * 100).is_ok()).collect::<Vec<_>>();
        assert_eq!(given, [0, 1, 2, 3, 4, 10, 11, 600, 601, 602, 603, 604, 610, 611]);
    }

    #[test]
    fn remembers_what_was_before_it() {
        let mut bucket = Bucket::new(&WECOM, 0);
        bucket.recall((0..30).rev().map(|it| it * SECOND));
        assert_eq!(bucket.take(30 * SECOND), Err(70 * SECOND), "10 s is the twentieth from the end");
    }

    #[test]
    fn is_closed_as_long_as_the_provider_says() {
        let mut bucket = Bucket::new(&[], 0);
        assert_eq!(bucket.take(5), Ok(()));
        bucket.close(100);
        bucket.close(50);
        assert_eq!(bucket.take(99), Err(100));
        assert_eq!(bucket.take(100), Ok(()));
        bucket.close(100 + DAY);
        assert_eq!(bucket.take(100), Err(100 + DAY));
        assert_eq!(bucket.take(99), Ok(()), "no provider closes for longer than a day: the clock was set back");
    }

    #[test]
    fn a_clock_that_is_set_back_costs_one_window() {
        let mut bucket = Bucket::new(&WECOM, 0);
        (0..20).for_each(|at| bucket.take(1_000_000_000 + at).unwrap());
        assert_eq!(bucket.take(500), Err(500 + MINUTE));
        assert_eq!(bucket.take(500 + MINUTE), Ok(()));
    }

    #[test]
    fn what_is_under_way_counts_as_now_until_it_arrives() {
        let mut bucket = Bucket::new(&[Limit { count: 3, window: 100 }], 0);
        assert_eq!((0..3).try_for_each(|at| bucket.depart(at)), Ok(()));
        assert_eq!(bucket.depart(500), Err(600), "nobody knows whether they arrived at 0 or 500");
        bucket.arrive(500);
        bucket.arrive(510);
        assert_eq!(bucket.depart(599), Err(600));
        assert_eq!((bucket.depart(600), bucket.depart(605)), (Ok(()), Err(610)));
        assert_eq!((bucket.away(), bucket.times().collect::<Vec<_>>()), (2, vec![500, 510]));
        let mut free = Bucket::new(&[], 0);
        assert_eq!(free.depart(7), Ok(()));
        free.arrive(8);
        assert_eq!((free.away(), free.times().count()), (0, 0));
    }

    #[test]
    fn ten_thousand_a_minute_cost_no_more_than_ten() {
        let mut bucket = Bucket::new(&[Limit { count: 10_000, window: MINUTE }], 0);
        bucket.recall(0..10_000);
        let began = std::time::Instant::now();
        for at in 0..100_000 {
            let now = MINUTE + 7 * at;
            assert!(bucket.free(now) > 0);
            bucket.depart(now).unwrap();
            bucket.arrive(now);
        }
        // Sorting all of them each time takes minutes.
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
        assert_eq!(bucket.times().count(), 10_000);
    }

    #[test]
    fn an_answer_before_a_clock_that_was_set_back_stands_in_order() {
        let mut bucket = Bucket::new(&[Limit { count: 3, window: 100 }], 0);
        (0..2).for_each(|_| bucket.depart(1_000).unwrap());
        bucket.arrive(1_000);
        bucket.arrive(400);
        assert_eq!(bucket.times().collect::<Vec<_>>(), [400, 1_000]);
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(Bucket::new(&[Limit { count: 0, window: SECOND }], 0).take(7), Err(i64::MAX));
    }

    proptest! {
        #[test]
        fn as_many_are_free_as_can_leave(
            steps in prop::collection::vec((0_i64..300, 0_u8..8), 1..200),
            limits in prop::collection::vec((0_u32..12, 1_i64..2_000), 1..3),
        ) {
            let limits: Vec<Limit> = limits.into_iter().map(|(count, window)| Limit { count, window }).collect();
            let mut bucket = Bucket::new(&limits, 0);
            let mut now: i64 = 10_000;
            for (step, what) in steps {
                match what {
                    0..3 => now += step,
                    3 => now -= step,
                    4 => bucket.close(now + step),
                    5 => bucket.arrive(now),
                    _ => _ = bucket.depart(now),
                }
                let mut trial = bucket.clone();
                let leaving = (0..100).take_while(|_| trial.depart(now).is_ok()).count();
                prop_assert_eq!(bucket.free(now), leaving);
            }
        }

        #[test]
        fn never_more_within_any_window(
            steps in prop::collection::vec(0_i64..3000, 1..400),
            limits in prop::collection::vec((1_u32..12, 1_i64..20_000), 1..3),
            restarts in prop::collection::vec(0_usize..400, 0..3),
        ) {
            let limits: Vec<Limit> = limits.into_iter().map(|(count, window)| Limit { count, window }).collect();
            let mut bucket = Bucket::new(&limits, 0);
            let (mut now, mut given): (i64, Vec<i64>) = (0, Vec::new());
            for (at, step) in steps.into_iter().enumerate() {
                now += step;
                if restarts.contains(&at) {
                    bucket = Bucket::new(&limits, 0);
                    bucket.recall(given.iter().copied());
                }
                match bucket.take(now) {
                    Ok(()) => given.push(now),
                    Err(from) => {
                        prop_assert!(from > now);
                        prop_assert!(bucket.clone().take(from - 1).is_err(), "there was one earlier");
                        prop_assert!(bucket.clone().take(from).is_ok(), "there is one when it says so");
                    }
                }
            }
            for limit in &limits {
                for (at, first) in given.iter().enumerate() {
                    let within = given[at..].iter().take_while(|it| **it < first + limit.window).count();
                    prop_assert!(within <= usize::try_from(limit.count).unwrap(), "{within} from {first}");
                }
            }
        }
    }
}
