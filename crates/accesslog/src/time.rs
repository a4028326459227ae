//! Points in time, in the forms that logs have them.
//!
//! Nearly all lines of a log share day, hour and minute with the line before. So a [`Clock`] keeps the last such prefix with
//! the seconds that it stands for, and of most times only the seconds are read.

use crate::number;

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Seconds since 1970-01-01T00:00:00Z, leap seconds left out.
    pub seconds: i64,
    /// Milliseconds of the second; none if the log has whole seconds.
    pub millis: Option<u16>,
}

/// What a number that is a time counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    /// Told by the magnitude: right for seconds from 1970 to 5138, and for the others from 1973 on.
    #[default]
    Auto,
    /// Seconds.
    Seconds,
    /// Thousandths of a second.
    Millis,
    /// Millionths of a second.
    Micros,
    /// Billionths of a second.
    Nanos,
}

impl Unit {
    /// How many digits of a whole number are behind the seconds.
    pub(crate) fn digits(self, whole: u64) -> u32 {
        match self {
            Self::Seconds => 0,
            Self::Millis => 3,
            Self::Micros => 6,
            Self::Nanos => 9,
            Self::Auto => match whole {
                0..100_000_000_000 => 0,
                100_000_000_000..100_000_000_000_000 => 3,
                100_000_000_000_000..100_000_000_000_000_000 => 6,
                _ => 9,
            },
        }
    }
}

/// Bytes of `29/Nov/2026:22:55:24 +0000`.
pub(crate) const LOCAL: usize = 26;
/// Of these, those up to the seconds.
const LOCAL_PREFIX: usize = 18;
/// The bytes of `2026-11-29T22:55:`.
const ISO_PREFIX: usize = 17;

/// Days from 1970-01-01 to a day of the Gregorian calendar. Years are counted from March, so that the leap day is the last
/// of its year, and the days before a month follow a line: 30.6 days each, as in the well-known algorithms for Julian days.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap + (153 * month + 2) / 5 + day - 1 - 719_468
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The digits of which a number is made, all of them.
fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |sum, it| it.is_ascii_digit().then(|| sum * 10 + i64::from(it - b'0')))
}

/// Two digits.
#[inline]
fn pair(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| i64::from(tens * 10 + ones))
}

/// The second of a minute. A leap second has no place in Unix time: it is taken as the second before.
#[inline]
fn second(tens: u8, ones: u8) -> Option<i64> {
    match pair(tens, ones)? {
        60 => Some(59),
        it @ 0..60 => Some(it),
        _ => None,
    }
}

/// Seconds of a day and a minute, in no zone.
fn minute(year: i64, month: i64, day: i64, hour: i64, minute: i64) -> Option<i64> {
    let fits = (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day) && hour < 24 && minute < 60;
    fits.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60)
}

fn month(name: [u8; 3]) -> Option<i64> {
    const NAMES: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    NAMES.iter().position(|it| **it == name).map(|it| it as i64 + 1)
}

/// Seconds east of Greenwich: `Z`, `+08`, `+0800` or `+08:00`. No place is or was further than 15 hours away.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match *zone {
        [b'Z' | b'z'] => return Some(0),
        [sign, a, b] => (sign, pair(a, b)?, 0),
        [sign, a, b, b':', c, d] | [sign, a, b, c, d] => (sign, pair(a, b)?, pair(c, d)?),
        _ => return None,
    };
    let seconds = hours * 3600 + minutes * 60;
    match sign {
        _ if minutes > 59 || seconds > 15 * 3600 => None,
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// Reads times, and knows the minute of the last one.
#[derive(Debug, Clone)]
pub struct Clock {
    local: [u8; LOCAL_PREFIX],
    zone: [u8; 6],
    /// What `local` and `zone` stand for together.
    local_base: i64,
    iso: [u8; ISO_PREFIX],
    /// What `iso` stands for, in no zone.
    iso_base: i64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { local: [0; LOCAL_PREFIX], zone: [0; 6], local_base: 0, iso: [0; ISO_PREFIX], iso_base: 0 }
    }
}

impl Clock {
    /// Reads `29/Nov/2026:22:55:24 +0000`, as nginx's `$time_local` and Apache's `%t` write it.
    #[inline]
    pub fn local(&mut self, time: &[u8; LOCAL]) -> Option<i64> {
        let (prefix, rest) = time.split_first_chunk::<LOCAL_PREFIX>()?;
        let zone = rest.last_chunk::<6>()?;
        if *prefix != self.local || *zone != self.zone {
            self.turn(prefix, zone)?;
        }
        Some(self.local_base + second(rest[0], rest[1])?)
    }

    /// Another minute, or another zone.
    #[cold]
    fn turn(&mut self, prefix: &[u8; LOCAL_PREFIX], zone: &[u8; 6]) -> Option<()> {
        let [d1, d2, b'/', m1, m2, m3, b'/', y1, y2, y3, y4, b':', h1, h2, b':', n1, n2, b':'] = *prefix else {
            return None;
        };
        let [b' ', offset_of_zone @ ..] = zone else { return None };
        let base =
            minute(digits(&[y1, y2, y3, y4])?, month([m1, m2, m3])?, pair(d1, d2)?, pair(h1, h2)?, pair(n1, n2)?)?;
        self.local_base = base - offset(offset_of_zone)?;
        (self.local, self.zone) = (*prefix, *zone);
        Some(())
    }

    /// Reads `2026-11-29T22:55:24.123+08:00`: RFC 3339, and its kin with a space in the middle, a comma before the fraction,
    /// a space before the zone, or a zone without a colon. Without a zone it is no point in time.
    pub fn iso(&mut self, time: &[u8]) -> Option<Moment> {
        let (prefix, rest) = time.split_first_chunk::<ISO_PREFIX>()?;
        if *prefix != self.iso {
            let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't' | b' ', h1, h2, b':', n1, n2, b':'] = *prefix
            else {
                return None;
            };
            let year = digits(&[y1, y2, y3, y4])?;
            self.iso_base = minute(year, pair(m1, m2)?, pair(d1, d2)?, pair(h1, h2)?, pair(n1, n2)?)?;
            self.iso = *prefix;
        }
        let (&[tens, ones], mut zone) = rest.split_first_chunk::<2>()?;
        let seconds = self.iso_base + second(tens, ones)?;
        let mut millis = None;
        if let [b'.' | b',', fraction @ ..] = zone {
            let length = fraction.iter().take_while(|it| it.is_ascii_digit()).count();
            let digit = |at: usize| fraction[..length].get(at).map_or(0, |it| u16::from(it - b'0'));
            millis = Some(digit(0) * 100 + digit(1) * 10 + digit(2));
            zone = &fraction[length..];
            if length == 0 {
                return None;
            }
        }
        let zone = zone.strip_prefix(b" ").unwrap_or(zone);
        Some(Moment { seconds: seconds - offset(zone)?, millis })
    }

    /// Reads a number with or without a fraction, which counts `unit`s since 1970.
    pub fn epoch(time: &[u8], unit: Unit) -> Option<Moment> {
        let (negative, number) = time.strip_prefix(b"-").map_or((false, time), |it| (true, it));
        let decimal = number::decimal(number)?;
        let below = unit.digits(decimal.whole);
        let nanos = decimal.scaled(9 - below)?;
        let (seconds, rest) = (i64::try_from(nanos / 1_000_000_000).ok()?, nanos % 1_000_000_000);
        let millis = u16::try_from(rest / 1_000_000).ok()?;
        let has_millis = below > 0 || decimal.places > 0;
        Some(match (negative, rest) {
            (false, _) => Moment { seconds, millis: has_millis.then_some(millis) },
            (true, 0) => Moment { seconds: -seconds, millis: has_millis.then_some(0) },
            (true, _) => {
                let millis = u16::try_from((1_000_000_000 - rest) / 1_000_000).ok()?;
                Moment { seconds: -seconds - 1, millis: has_millis.then_some(millis.min(999)) }
            }
        })
    }

    /// Reads a time in any of these forms.
    pub fn any(&mut self, time: &[u8], unit: Unit) -> Option<Moment> {
        match time {
            [_, _, b'/', ..] => self.local(time.try_into().ok()?).map(|seconds| Moment { seconds, millis: None }),
            [b'[', inner @ .., b']'] => {
                self.local(inner.try_into().ok()?).map(|seconds| Moment { seconds, millis: None })
            }
            [_, _, _, _, b'-', ..] => self.iso(time),
            _ => Self::epoch(time, unit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn local(time: &str) -> Option<i64> {
        Clock::default().local(time.as_bytes().try_into().unwrap())
    }

    fn iso(time: &str) -> Option<(i64, Option<u16>)> {
        Clock::default().iso(time.as_bytes()).map(|it| (it.seconds, it.millis))
    }

    fn epoch(time: &str, unit: Unit) -> Option<(i64, Option<u16>)> {
        Clock::epoch(time.as_bytes(), unit).map(|it| (it.seconds, it.millis))
    }

    #[test]
    fn local_times() {
        assert_eq!(local("01/Jan/1970:00:00:00 +0000"), Some(0));
        assert_eq!(local("29/Nov/2026:22:55:24 +0000"), Some(1_795_992_924));
        assert_eq!(local("30/Nov/2026:06:55:24 +0800"), Some(1_795_992_924));
        assert_eq!(local("29/Nov/2026:17:25:24 -0530"), Some(1_795_992_924));
        assert_eq!(local("29/Feb/2024:00:00:00 +0000"), Some(1_709_164_800));
        assert_eq!(local("31/Dec/2016:23:59:60 +0000"), local("31/Dec/2016:23:59:59 +0000"));
        for wrong in [
            "29/Feb/2026:00:00:00 +0000",
            "29/Feb/1900:00:00:00 +0000",
            "31/Apr/2026:00:00:00 +0000",
            "00/Jan/2026:00:00:00 +0000",
            "01/jan/2026:00:00:00 +0000",
            "01/Jan/2026:24:00:00 +0000",
            "01/Jan/2026:00:60:00 +0000",
            "01/Jan/2026:00:00:61 +0000",
            "01/Jan/2026:00:00:00 +1501",
            "01/Jan/2026:00:00:00 +0060",
            "01/Jan/2026:00:00:00 *0000",
            "01/Jan/2026:00:00:00+00000",
            "1//Jan/2026:00:00:00 +0000",
        ] {
            assert_eq!(local(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_bad_time_does_not_spoil_the_clock() {
        let mut clock = Clock::default();
        assert_eq!(clock.local(b"01/Jan/1970:00:01:07 +0000"), Some(67));
        assert_eq!(clock.local(b"01/Jan/1970:00:01:7x +0000"), None);
        assert_eq!(clock.local(b"41/Jan/1970:00:01:07 +0000"), None);
        assert_eq!(clock.local(b"01/Jan/1970:00:01:07 +9900"), None);
        assert_eq!(clock.local(b"01/Jan/1970:00:01:08 +0000"), Some(68));
        assert_eq!(clock.iso(b"1970-01-01T00:02:00Z").map(|it| it.seconds), Some(120));
        assert_eq!(clock.iso(b"1970-13-01T00:02:00Z"), None);
        assert_eq!(clock.iso(b"1970-01-01T00:02:01Z").map(|it| it.seconds), Some(121));
    }

    #[test]
    fn iso_times() {
        assert_eq!(iso("2026-11-29T22:55:24+00:00"), Some((1_795_992_924, None)));
        assert_eq!(iso("2026-11-29T22:55:24Z"), Some((1_795_992_924, None)));
        assert_eq!(iso("2026-11-30t06:55:24.5+08:00"), Some((1_795_992_924, Some(500))));
        assert_eq!(iso("2026-11-29 22:55:24.123456789 +0000"), Some((1_795_992_924, Some(123))));
        assert_eq!(iso("2026-11-29 22:55:24,007-00"), Some((1_795_992_924, Some(7))));
        for wrong in
            ["2026-11-29T22:55:24", "2026-11-29T22:55:24.Z", "2026-11-29", "2026-11-29T22:55:2", "2026-11-31T22:55:24Z"]
        {
            assert_eq!(iso(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers() {
        let at = 1_795_992_924;
        assert_eq!(epoch("1795992924", Unit::Auto), Some((at, None)));
        assert_eq!(epoch("1795992924.037", Unit::Auto), Some((at, Some(37))));
        assert_eq!(epoch("1795992924037", Unit::Auto), Some((at, Some(37))));
        assert_eq!(epoch("1795992924037123", Unit::Auto), Some((at, Some(37))));
        assert_eq!(epoch("1795992924037123456", Unit::Auto), Some((at, Some(37))));
        assert_eq!(epoch("1795992924037.9", Unit::Millis), Some((at, Some(37))));
        assert_eq!(epoch("1500", Unit::Millis), Some((1, Some(500))));
        assert_eq!(epoch("1.795992924e9", Unit::Auto), Some((at, None)));
        assert_eq!(epoch("-1.25", Unit::Seconds), Some((-2, Some(750))));
        assert_eq!(epoch("-2", Unit::Seconds), Some((-2, None)));
        for wrong in ["", "-", ".", "1.2.3", "now", "NaN", "inf", "1e400", "99999999999999999999999"] {
            assert_eq!(epoch(wrong, Unit::Auto), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_minute_is_read_as_it_is_counted(minutes in -30_000_000i64..100_000_000, second in 0..60i64, zone in -840..=840i64) {
            // Day by day from 1970, without the formula above.
            let (mut year, mut month, mut left) = (1970, 1, (minutes + zone).div_euclid(1440));
            while left < 0 {
                (year, month) = if month == 1 { (year - 1, 12) } else { (year, month - 1) };
                left += days_of_month(year, month);
            }
            while left >= days_of_month(year, month) {
                left -= days_of_month(year, month);
                (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            }
            let (of_day, sign) = ((minutes + zone).rem_euclid(1440), if zone < 0 { '-' } else { '+' });
            let name = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][month as usize - 1];
            let (hour, minute, day) = (of_day / 60, of_day % 60, left + 1);
            let (east, rest) = (zone.abs() / 60, zone.abs() % 60);
            let text = format!("{day:02}/{name}/{year:04}:{hour:02}:{minute:02}:{second:02} {sign}{east:02}{rest:02}");
            prop_assert_eq!(local(&text), Some(minutes * 60 + second));
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{sign}{east:02}:{rest:02}");
            prop_assert_eq!(iso(&text), Some((minutes * 60 + second, None)));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40), text in "[-+0-9TZ:/. eE]{0,40}") {
            let mut clock = Clock::default();
            for time in [bytes.as_slice(), text.as_bytes()] {
                for unit in [Unit::Auto, Unit::Seconds, Unit::Millis, Unit::Micros, Unit::Nanos] {
                    let _ = clock.any(time, unit);
                }
            }
        }
    }
}
