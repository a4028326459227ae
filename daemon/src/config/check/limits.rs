//! `[limits]` and what else is bounded: a limit that is too large protects nobody, one of zero lets nothing run.

use std::time::Duration;

use crate::config::check::TaskFile;
use crate::config::limits::Limits;
use crate::config::size::Size;
use crate::config::source::KeyPath;

/// The least and the most of a limit.
enum Bounds {
    Size(Size, Size, Size),
    Count(u64, u64, u64),
}

/// Key, value, least and most of every limit.
fn bounds(limits: &Limits) -> [(&'static str, Bounds); 12] {
    let kib = |count: u64| Size(count << 10);
    let mib = Size::mebibytes;
    [
        ("memory", Bounds::Size(limits.memory, mib(1), mib(1024))),
        ("table_elements", Bounds::Count(limits.table_elements.into(), 1, 10_000_000)),
        ("instances", Bounds::Count(limits.instances.into(), 1, 1_000)),
        ("stack", Bounds::Size(limits.stack, kib(64), mib(16))),
        ("handles", Bounds::Count(limits.handles.into(), 1, 100_000)),
        ("call", Bounds::Size(limits.call, kib(64), mib(256))),
        ("log", Bounds::Size(limits.log, kib(1), mib(1024))),
        ("log_rate", Bounds::Count(limits.log_rate.into(), 1, 100_000)),
        ("state", Bounds::Size(limits.state, kib(1), mib(1024))),
        ("metrics", Bounds::Count(limits.metrics.into(), 1, 100_000)),
        ("steps", Bounds::Count(limits.steps.into(), 1, 1_000_000)),
        ("rows", Bounds::Count(limits.rows, 1, 10_000_000_000)),
    ]
}

pub(crate) fn check(file: &mut TaskFile<'_>) {
    if file.is_sound("limits") {
        for (key, bounds) in bounds(&file.settings.limits) {
            let (is_within, value, least, most) = match bounds {
                Bounds::Size(value, least, most) => {
                    ((least..=most).contains(&value), value.to_string(), least.to_string(), most.to_string())
                }
                Bounds::Count(value, least, most) => {
                    ((least..=most).contains(&value), value.to_string(), least.to_string(), most.to_string())
                }
            };
            if !is_within {
                let message = format!("{value} is not a possible limit");
                file.error(KeyPath::of(["limits", key]), message, format!("write {least} or more, and at most {most}"));
            }
        }
    }
    let settings = file.settings;
    let day = Duration::from_secs(24 * 3600);
    if file.is_sound("timeout") && (settings.timeout.is_zero() || settings.timeout > 31 * day) {
        file.error(
            KeyPath::of(["timeout"]),
            "a run has to end some time, but not at once",
            "write `1s` or more, and at most `31d`",
        );
    }
    if file.is_sound("parallel") && settings.parallel > 1_024 {
        let message = format!("{} steps at the same time are too many", settings.parallel);
        file.error(KeyPath::of(["parallel"]), message, "write at most 1024, or 0 for as many as there are cores");
    }
    if file.is_sound("retry") {
        let retry = &settings.retry;
        if retry.attempts > 100 {
            let message = format!("{} further attempts are too many", retry.attempts);
            file.error(KeyPath::of(["retry", "attempts"]), message, "write at most 100");
        }
        if retry.attempts > 0 && retry.backoff.is_zero() {
            let message = "a retry without any wait strains what has just failed";
            file.error(KeyPath::of(["retry", "backoff"]), message, "write `1s` or more");
        }
        if retry.max_backoff < retry.backoff {
            let key = if file.document.has(&KeyPath::of(["retry", "max_backoff"])) { "max_backoff" } else { "backoff" };
            let message = "the longest wait (`max_backoff`) is shorter than the first (`backoff`)";
            file.error(KeyPath::of(["retry", key]), message, "make `max_backoff` as long as `backoff` or longer");
        }
    }
}
