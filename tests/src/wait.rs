//! Time, and waiting for what another process does.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Asks again and again until there is something. Panics when there is nothing after half a minute, which is long enough
/// for a machine under load.
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(Duration::from_secs(30), what, look)
}

/// The same, for a time of its own.
#[track_caller]
pub fn within<T>(most: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < most, "waited {most:?} in vain: {what}");
        sleep(Duration::from_millis(10));
    }
}

/// The wall clock, in seconds since the Unix epoch.
pub fn now() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec
}
