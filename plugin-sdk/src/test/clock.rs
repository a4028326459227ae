//! `clock` of the test host: it stands still, but for who waits.

use std::time::Duration;

use super::with;

pub(crate) fn now() -> i64 {
    with(|world| world.now)
}

pub(crate) fn sleep(duration: Duration) {
    let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    with(|world| world.now = world.now.saturating_add(ms));
}
