//! `[limits]` and what else is bounded: a limit that is too large protects nobody, one of zero lets nothing run.

use std::time::Duration;

use crate::config::check::TaskFile;
use crate::config::duration;
use crate::config::limits::Limits;
use crate::config::size::Size;
use crate::config::source::KeyPath;

/// Key, value, least and most of the limits that are sizes; those of counts are in the schema.
fn sizes(limits: &Limits) -> [(&'static str, Size, Size, Size); 5] {
    let kib = |count: u64| Size(count << 10);
    let mib = Size::mebibytes;
    [
        ("memory", limits.memory, mib(1), mib(1024)),
        ("call", limits.call, kib(64), mib(256)),
        ("log", limits.log, kib(1), mib(1024)),
        ("state", limits.state, kib(1), mib(1024)),
        ("plan", limits.plan, kib(64), mib(64 * 1024)),
    ]
}

pub(crate) fn check(file: &mut TaskFile<'_>) {
    if file.is_sound("limits") {
        for (key, size, least, most) in sizes(&file.settings.limits) {
            if !(least..=most).contains(&size) {
                let message = format!("{size} is too {}", if size < least { "small" } else { "large" });
                file.error(KeyPath::of(["limits", key]), message, format!("write {least} or more, and at most {most}"));
            }
        }
    }
    let settings = file.settings;
    let day = Duration::from_secs(24 * 3600);
    if file.is_sound("timeout") && (settings.timeout.is_zero() || settings.timeout > 31 * day) {
        file.error(
            KeyPath::of(["timeout"]),
            format!("`{}` is not a possible timeout", duration::format(settings.timeout)),
            "write `1s` or more, and at most `31d`",
        );
    }
    if file.is_sound("retry") {
        let retry = &settings.retry;
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
