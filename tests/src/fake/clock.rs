//! The time of the fake: this machine's, but that it can be put forward, and made to run faster.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since 1970, as the fake has them.
#[derive(Debug)]
pub struct Clock(Mutex<Pace>);

#[derive(Debug)]
struct Pace {
    /// This machine's time when the pace was set.
    since: i64,
    /// The fake's time then.
    from: i64,
    /// How many times faster it runs.
    factor: i64,
}

/// This machine's time.
fn real() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
}

impl Clock {
    /// What offset Beijing has, in milliseconds: the days of the providers.
    pub const BEIJING: i64 = 8 * 3_600_000;

    pub(super) fn new() -> Self {
        let now = real();
        Self(Mutex::new(Pace { since: now, from: now, factor: 1 }))
    }

    fn change(&self, change: impl FnOnce(&mut Pace)) {
        let mut pace = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = real();
        pace.from += (now - pace.since) * pace.factor;
        pace.since = now;
        change(&mut pace);
    }

    /// The fake's time.
    pub fn now(&self) -> i64 {
        let pace = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pace.from + (real() - pace.since) * pace.factor
    }

    /// Puts it forward.
    pub fn advance(&self, by: Duration) {
        self.change(|pace| pace.from += i64::try_from(by.as_millis()).expect("a span of a test"));
    }

    /// Puts it to this time.
    pub fn set(&self, now: i64) {
        self.change(|pace| pace.from = now);
    }

    /// Lets it run so many times faster from now on.
    pub fn run(&self, factor: u32) {
        self.change(|pace| pace.factor = factor.into());
    }

    /// The number of the day in Beijing.
    pub fn day(now: i64) -> i64 {
        (now + Self::BEIJING).div_euclid(86_400_000)
    }
}
