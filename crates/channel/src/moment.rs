//! Times. All of them are milliseconds: moments since 1970 in UTC, as the daemon's clock tells them, and spans.

use std::time::SystemTime;

use crate::answer::Answer;

/// A second.
pub const SECOND: i64 = 1000;
/// A minute.
pub const MINUTE: i64 = 60 * SECOND;
/// An hour.
pub const HOUR: i64 = 60 * MINUTE;
/// A day.
pub const DAY: i64 = 24 * HOUR;

/// China has one time zone, eight hours before UTC, and has not changed its clocks since 1991.
const BEIJING: i64 = 8 * HOUR;

/// The midnight that follows in Beijing, when WeChat's quotas of a day begin anew.
pub fn next_day_in_beijing(now: i64) -> i64 {
    let local = now.saturating_add(BEIJING);
    local.saturating_sub(local.rem_euclid(DAY)).saturating_add(DAY - BEIJING)
}

/// The full minute that follows, when WeChat's quotas of a minute begin anew.
pub fn next_minute(now: i64) -> i64 {
    now.saturating_sub(now.rem_euclid(MINUTE)).saturating_add(MINUTE)
}

/// The span for which the answer asks to be left alone: `Retry-After` in seconds or as a date (RFC 9110, 10.2.3). A day at
/// most, since a mistake in a header must not silence a channel for years; nothing if it says nothing that can be read.
pub fn retry_after(answer: &Answer<'_>, now: i64) -> Option<i64> {
    let text = answer.header("retry-after")?.trim();
    let span = match text.bytes().all(|it| it.is_ascii_digit()) {
        true if text.is_empty() => return None,
        // More digits than fit are a long time, too.
        true => text.parse::<i64>().unwrap_or(i64::MAX).saturating_mul(SECOND),
        false => {
            let at = httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            i64::try_from(at.as_millis()).unwrap_or(i64::MAX).saturating_sub(now)
        }
    };
    Some(span.clamp(0, DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-30T03:20:38Z, which is 11:20 in Beijing.
    const NOW: i64 = 1_796_008_838_000;

    fn asked(value: &str) -> Option<i64> {
        let headers = [("Retry-After".to_owned(), value.to_owned())];
        retry_after(&Answer { status: 503, headers: &headers, body: b"" }, NOW)
    }

    #[test]
    fn days_begin_in_beijing() {
        // 2026-11-30T16:00:00Z
        let midnight = 1_796_054_400_000;
        assert_eq!(next_day_in_beijing(NOW), midnight);
        assert_eq!(next_day_in_beijing(midnight - 1), midnight);
        assert_eq!(next_day_in_beijing(midnight), midnight + DAY);
    }

    #[test]
    fn minutes_are_full() {
        assert_eq!(next_minute(NOW), NOW + 22 * SECOND);
        assert_eq!(next_minute(NOW + 22 * SECOND), NOW + 82 * SECOND);
    }

    #[test]
    fn waits_as_asked() {
        assert_eq!(asked("120"), Some(120 * SECOND));
        assert_eq!(asked(" 0 "), Some(0));
        assert_eq!(asked("Mon, 30 Nov 2026 03:21:08 GMT"), Some(30 * SECOND));
        assert_eq!(asked("Mon, 30 Nov 2026 03:20:08 GMT"), Some(0), "it is over");
        assert_eq!(asked("99999999999999999999999999"), Some(DAY));
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("-5"), None);
        assert_eq!(asked(""), None);
    }
}
