//! How things look: colours, times, durations, sizes. A terminal gets colours and tables that fit its width; a pipe
//! gets plain text and whole cells.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::IsTerminal;

use chrono::{DateTime, Datelike, FixedOffset, Local, NaiveDateTime, TimeZone};

use crate::clock::Timestamp;
use crate::outcome::Outcome;

pub use crate::quantity::{duration, grouped, size};

/// What the output depends on, beside what it says.
#[derive(Debug, Clone)]
pub struct Screen {
    /// Whether to use colours.
    pub colour: bool,
    /// Columns; none when nothing needs to fit.
    pub width: Option<usize>,
    /// The moment that `ago` and `in` count from.
    pub now: Timestamp,
    /// The zone that times are shown in.
    pub zone: Zone,
}

/// The zone that times are shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// That of this machine, or of the variable `TZ`.
    Local,
    /// A given one.
    Named(chrono_tz::Tz),
}

/// A colour or weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// As it is.
    None,
    /// For headings.
    Bold,
    /// For what matters less.
    Dim,
    /// It went well.
    Green,
    /// It needs a look.
    Yellow,
    /// It went wrong.
    Red,
}

impl Ink {
    pub(crate) fn codes(self) -> (&'static str, &'static str) {
        match self {
            Self::None => ("", ""),
            Self::Bold => ("\x1b[1m", "\x1b[0m"),
            Self::Dim => ("\x1b[2m", "\x1b[0m"),
            Self::Green => ("\x1b[32m", "\x1b[0m"),
            Self::Yellow => ("\x1b[33m", "\x1b[0m"),
            Self::Red => ("\x1b[31m", "\x1b[0m"),
        }
    }

    /// The colour of an outcome.
    pub fn of(outcome: Option<&Outcome>) -> Self {
        match outcome {
            None => Self::None,
            Some(Outcome::Succeeded) => Self::Green,
            Some(Outcome::Cancelled { .. } | Outcome::Skipped { .. }) => Self::Yellow,
            Some(_) => Self::Red,
        }
    }
}

impl Screen {
    /// Standard output as it is now.
    pub fn of_stdout(now: Timestamp) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let width = terminal.then(|| console::Term::stdout().size_checked()).flatten();
        Self {
            colour: terminal && colours_wanted(),
            width: width.map(|(_, columns)| usize::from(columns).max(40)),
            now,
            zone: Zone::Local,
        }
    }

    /// Text in a colour.
    pub fn ink(&self, ink: Ink, text: &str) -> String {
        let (on, off) = if self.colour { ink.codes() } else { ("", "") };
        format!("{on}{text}{off}")
    }

    /// The difference to UTC that times are shown in, for headings: `UTC`, `UTC+08:00`.
    pub fn zone_note(&self) -> String {
        match self.at(self.now).offset().local_minus_utc() {
            0 => "UTC".to_owned(),
            _ => format!("UTC{}", self.at(self.now).offset()),
        }
    }

    /// A time to the minute: `2026-11-23 03:30`. When its difference to UTC is not that of now, it says so.
    pub fn minute(&self, at: Timestamp) -> String {
        self.time(at, "%Y-%m-%d %H:%M")
    }

    /// A time to the second: `2026-11-23 03:30:07`.
    pub fn second(&self, at: Timestamp) -> String {
        self.time(at, "%Y-%m-%d %H:%M:%S")
    }

    /// How long ago or ahead: `2h 3m ago`, `in 12h 25m`, `now`.
    pub fn relative(&self, at: Timestamp) -> String {
        match at.0 - self.now.0 {
            -999..=999 => "now".to_owned(),
            ahead @ 1000.. => format!("in {}", duration(ahead)),
            ago => format!("{} ago", duration(-ago)),
        }
    }

    /// The moment that a clock in this zone shows; the earlier one where it shows the same time twice.
    pub fn moment(&self, local: NaiveDateTime) -> Option<Timestamp> {
        let at = match self.zone {
            Zone::Local => Local.from_local_datetime(&local).earliest()?.to_utc(),
            Zone::Named(zone) => zone.from_local_datetime(&local).earliest()?.to_utc(),
        };
        Some(at.into())
    }

    fn time(&self, at: Timestamp, form: &str) -> String {
        let (local, now) = (self.at(at), self.at(self.now));
        let mut text = local.format(form).to_string();
        if local.offset() != now.offset() {
            let _ = write!(text, " {}", local.offset());
        }
        // A year of more than four digits is a broken clock; it must not break the table too.
        if local.year() > 9999 { "after 9999".to_owned() } else { text }
    }

    fn at(&self, at: Timestamp) -> DateTime<FixedOffset> {
        match self.zone {
            Zone::Local => at.utc().with_timezone(&Local).fixed_offset(),
            Zone::Named(zone) => at.utc().with_timezone(&zone).fixed_offset(),
        }
    }
}

/// Whether the environment wants colours (no-color.org).
pub(crate) fn colours_wanted() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// How much of a unit: bytes as `312 MiB`, anything else as `1,234 files`.
pub fn amount(count: u64, unit: &str) -> String {
    match unit {
        "bytes" => size(count),
        _ => format!("{} {}", grouped(count), plain(unit)).trim_end().to_owned(),
    }
}

/// Text of others, made safe for a terminal: a plugin must not move the cursor or recolour what another said. Line
/// breaks and tabs stay.
pub fn plain(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| (c.is_control() && c != '\n' && c != '\t') || is_direction(c);
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if harmful(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// The same on one line.
pub fn line(text: &str) -> Cow<'_, str> {
    match plain(text) {
        text if text.contains(['\n', '\t']) => Cow::Owned(
            text.split(['\n', '\t']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "),
        ),
        text => text,
    }
}

/// Characters that turn the direction of text and so can make it read as something else.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A pipe in Shanghai at 2026-11-23 15:04:05 there.
    pub(crate) fn pipe() -> Screen {
        let now = Timestamp(1_795_417_445_000);
        Screen { colour: false, width: None, now, zone: Zone::Named(chrono_tz::Asia::Shanghai) }
    }

    /// The same on a terminal of 80 columns, without colours.
    pub(crate) fn terminal() -> Screen {
        Screen { width: Some(80), ..pipe() }
    }

    #[test]
    fn times_are_local_and_say_so() {
        let screen = pipe();
        assert_eq!(screen.zone_note(), "UTC+08:00");
        assert_eq!(screen.second(screen.now), "2026-11-23 15:04:05");
        let berlin = Screen { zone: Zone::Named(chrono_tz::Europe::Berlin), ..pipe() };
        assert_eq!(berlin.zone_note(), "UTC+01:00");
        let summer = Timestamp(berlin.now.0 - 150 * 86_400_000);
        assert_eq!(berlin.minute(summer), "2026-06-26 09:04 +02:00");
        assert_eq!(Screen { zone: Zone::Named(chrono_tz::UTC), ..pipe() }.zone_note(), "UTC");
    }

    #[test]
    fn durations_have_two_units() {
        let shown = [0, 340, 4_249, 42_000, 130_000, 3_600_000, 11_100_000, 187_200_000].map(duration);
        assert_eq!(shown, ["0ms", "340ms", "4.2s", "42s", "2m 10s", "1h", "3h 5m", "2d 4h"]);
        let screen = pipe();
        let after = |ms| screen.relative(Timestamp(screen.now.0 + ms));
        assert_eq!([after(0), after(44_700_000), after(-7_380_000)], ["now", "in 12h 25m", "2h 3m ago"]);
    }

    #[test]
    fn amounts_are_short() {
        assert_eq!([812, 1 << 20, 1_342_177_280, u64::MAX].map(size), ["812 B", "1.00 MiB", "1.25 GiB", "16.0 EiB"]);
        assert_eq!(amount(20_000, "files"), "20,000 files");
        assert_eq!([1, 999, 1_000, 1_234_567].map(grouped), ["1", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_plugin_cannot_drive_the_terminal() {
        assert_eq!(plain("one\ntwo"), "one\ntwo");
        assert_eq!(plain("a\x1b[2Jb\r\u{202e}c"), "a\\u{1b}[2Jb\\r\\u{202e}c");
        assert_eq!(line(" one\n\ttwo "), "one two");
    }
}
