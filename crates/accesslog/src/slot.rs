//! Where in an entry a field goes, and how it is read.

use crate::entry::Entry;
use crate::malformed::{Malformed, Reason};
use crate::number;
use crate::time::{Clock, LOCAL, Unit};

/// Where a field goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Nowhere.
    Nothing,
    /// `29/Nov/2026:22:55:24 +0000`.
    LocalTime,
    /// RFC 3339.
    IsoTime,
    /// A number.
    EpochTime(Unit),
    /// Any of these.
    AnyTime(Unit),
    Address,
    Host,
    User,
    Method,
    Target,
    Args,
    Protocol,
    /// Method, target and protocol at once.
    Request,
    Status,
    Bytes,
    /// How long it took: a number of these, or the first of a list.
    Duration(Unit),
    Referrer,
    Agent,
    Forwarded,
}

/// What an entry has once, whatever it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Nothing,
    Time,
    Request,
    Status,
    Other(Slot),
}

impl Slot {
    /// Of several fields for the same part of an entry only one is read.
    pub(crate) fn part(self) -> Part {
        match self {
            Self::Nothing => Part::Nothing,
            Self::LocalTime | Self::IsoTime | Self::EpochTime(_) | Self::AnyTime(_) => Part::Time,
            Self::Request => Part::Request,
            Self::Status => Part::Status,
            Self::Duration(_) => Part::Other(Self::Duration(Unit::Auto)),
            other => Part::Other(other),
        }
    }

    /// Whether it says something that a whole request says as well.
    pub(crate) fn is_of_request(self) -> bool {
        matches!(self, Self::Method | Self::Target | Self::Args | Self::Protocol)
    }
}

/// None for what writers put where there is nothing.
#[inline]
pub(crate) fn present(field: &[u8]) -> Option<&[u8]> {
    if field.is_empty() || field == b"-" { None } else { Some(field) }
}

/// Puts a field into an entry. `at` is where it stands.
#[inline]
pub(crate) fn set<'a>(
    entry: &mut Entry<'a>,
    clock: &mut Clock,
    slot: Slot,
    field: &'a [u8],
    at: usize,
) -> Result<(), Malformed> {
    match slot {
        Slot::Nothing => (),
        Slot::Address => entry.address = present(field),
        Slot::Host => entry.host = present(field),
        Slot::User => entry.user = present(field),
        Slot::Method => entry.method = present(field),
        Slot::Target => entry.target = present(field),
        Slot::Args => entry.args = present(field.strip_prefix(b"?").unwrap_or(field)),
        Slot::Protocol => entry.protocol = present(field),
        Slot::Request => entry.set_request(field),
        Slot::Referrer => entry.referrer = present(field),
        Slot::Agent => entry.agent = present(field),
        Slot::Forwarded => entry.forwarded = present(field),
        Slot::Status => entry.status = status(field).ok_or(Malformed::new(Reason::Status, at))?,
        Slot::Bytes => {
            if let Some(digits) = present(field) {
                entry.bytes = Some(number::whole(digits).ok_or(Malformed::new(Reason::Bytes, at))?);
            }
        }
        Slot::Duration(unit) => {
            if present(field).is_some() {
                entry.duration = duration(field, unit).ok_or(Malformed::new(Reason::Duration, at))?;
            }
        }
        Slot::LocalTime | Slot::IsoTime | Slot::EpochTime(_) | Slot::AnyTime(_) => {
            set_time(entry, clock, slot, field).ok_or(Malformed::new(Reason::Time, at))?;
        }
    }
    Ok(())
}

fn set_time(entry: &mut Entry<'_>, clock: &mut Clock, slot: Slot, field: &[u8]) -> Option<()> {
    // JSON may escape slashes, and PHP does.
    let plain = entry.escape.unescape(field);
    let moment = match slot {
        Slot::LocalTime => {
            let field: &[u8; LOCAL] = plain.as_ref().try_into().ok()?;
            entry.time = clock.local(field)?;
            return Some(());
        }
        Slot::IsoTime => clock.iso(&plain),
        Slot::EpochTime(unit) => Clock::epoch(&plain, unit),
        Slot::AnyTime(unit) => clock.any(&plain, unit),
        _ => None,
    }?;
    (entry.time, entry.millis) = (moment.seconds, moment.millis);
    Some(())
}

/// Three digits.
#[inline]
pub(crate) fn status(field: &[u8]) -> Option<u16> {
    let [a, b, c] = *field else { return None };
    let [a, b, c] = [a, b, c].map(|it| u16::from(it.wrapping_sub(b'0')));
    (a <= 9 && b <= 9 && c <= 9).then_some(a * 100 + b * 10 + c)
}

/// Microseconds; none within for a list of which no member is a number, none at all for what is no list of numbers.
pub(crate) fn duration(field: &[u8], unit: Unit) -> Option<Option<u64>> {
    if let Some(it) = micros(field, unit) {
        return Some(Some(it));
    }
    // Of several upstreams: `0.001, 0.250 : -`. The first that answered is the first with a number.
    let mut is_list = false;
    let mut members = field.split(|it| matches!(it, b',' | b' ' | b':')).filter(|it| !it.is_empty());
    let first = members.find_map(|it| {
        is_list |= it == b"-";
        micros(it, unit)
    });
    if first.is_some() || is_list { Some(first) } else { None }
}

fn micros(field: &[u8], unit: Unit) -> Option<u64> {
    if !field.first().is_some_and(|it| it.is_ascii_digit() || *it == b'.') {
        return None;
    }
    if field.last().is_some_and(|it| matches!(it, b's' | b'm' | b'h')) {
        return with_units(field);
    }
    let below = match unit {
        Unit::Auto | Unit::Seconds => 0,
        Unit::Millis => 3,
        Unit::Micros => 6,
        Unit::Nanos => 9,
    };
    let number = number::decimal(field)?;
    if below <= 6 { number.scaled(6 - below) } else { Some(number.whole / 1000) }
}

/// `1m2.5s`, `12.3ms`, `7µs`: durations as Go writes them.
fn with_units(mut field: &[u8]) -> Option<u64> {
    let mut sum = 0u64;
    while !field.is_empty() {
        let digits = field.iter().take_while(|it| it.is_ascii_digit() || **it == b'.').count();
        let (number, rest) = field.split_at(digits);
        let letters = rest.iter().take_while(|it| !it.is_ascii_digit() && **it != b'.').count();
        let (unit, rest) = rest.split_at(letters);
        let number = number::decimal(number)?;
        let micros = match unit {
            b"h" => number.scaled(6)?.checked_mul(3600)?,
            b"m" => number.scaled(6)?.checked_mul(60)?,
            b"s" => number.scaled(6)?,
            b"ms" => number.scaled(3)?,
            b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => number.whole,
            b"ns" => number.whole / 1000,
            _ => return None,
        };
        sum = sum.checked_add(micros)?;
        field = rest;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let micros = |field: &str, unit| duration(field.as_bytes(), unit);
        assert_eq!(micros("0.012", Unit::Seconds), Some(Some(12_000)));
        assert_eq!(micros("2", Unit::Seconds), Some(Some(2_000_000)));
        assert_eq!(micros("1.5", Unit::Millis), Some(Some(1500)));
        assert_eq!(micros("1500", Unit::Micros), Some(Some(1500)));
        assert_eq!(micros("1500999", Unit::Nanos), Some(Some(1500)));
        assert_eq!(micros("0.000, 0.250", Unit::Seconds), Some(Some(0)));
        assert_eq!(micros("-, 0.250 : 0.100", Unit::Seconds), Some(Some(250_000)));
        assert_eq!(micros("-, -", Unit::Seconds), Some(None));
        assert_eq!(micros("1m2.5s", Unit::Seconds), Some(Some(62_500_000)));
        assert_eq!(micros("12.345ms", Unit::Seconds), Some(Some(12_345)));
        assert_eq!(micros("1.5e-05", Unit::Seconds), Some(Some(15)));
        for wrong in ["x", "-1", "1x", "12qs", "99999999999999999999"] {
            assert_eq!(micros(wrong, Unit::Seconds), None, "{wrong}");
        }
    }

    #[test]
    fn statuses() {
        assert_eq!(status(b"200"), Some(200));
        assert_eq!(status(b"000"), Some(0));
        for wrong in ["", "20", "2000", "2x0", "-"] {
            assert_eq!(status(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
