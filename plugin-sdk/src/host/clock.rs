//! `clock` of the real host: `wasi:clocks`.

use std::time::Duration;

use wasip2::clocks::{monotonic_clock, wall_clock};

pub(crate) fn now() -> i64 {
    let now = wall_clock::now();
    let seconds = i64::try_from(now.seconds).unwrap_or(i64::MAX);
    seconds.saturating_mul(1_000).saturating_add(i64::from(now.nanoseconds / 1_000_000))
}

pub(crate) fn sleep(duration: Duration) {
    monotonic_clock::subscribe_duration(nanoseconds(duration)).block();
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
