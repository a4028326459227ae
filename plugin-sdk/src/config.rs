//! Values of a configuration as the operator writes them: sizes and spans of time. The host knows both formats, and tells
//! at which place of the task file one is wrong.
//!
//! ```
//! use upkeep_plugin::config::{Size, Span};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Limits {
//!     most: Size,
//!     every: Span,
//! }
//! # let limits: Limits = serde_json::from_str(r#"{ "most": "2 GiB", "every": "1h 30m" }"#).unwrap();
//! # assert_eq!((limits.most.0, limits.every.0), (2 << 30, 5_400_000));
//! # assert_eq!((limits.most.to_string(), limits.every.to_string()), ("2.00 GiB".into(), "1h 30m".into()));
//! ```

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

const BINARY: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
const DECIMAL: [&str; 5] = ["", "kB", "MB", "GB", "TB"];

/// A number of bytes: `64 MiB`, `2 GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u64);

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (number, unit) = text.split_at(text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len()));
        let power = |units: [&str; 5]| units.iter().position(|it| it.eq_ignore_ascii_case(unit.trim()));
        let factor = power(BINARY).map(|it| 1 << (10 * it)).or(power(DECIMAL).map(|it| 1000_u64.pow(it as u32)));
        let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        bytes.map(Self).ok_or_else(|| format!("`{text}` is not a size; write it as `512 KiB`, `64 MiB` or `2 GiB`"))
    }
}

impl From<Size> for String {
    /// Exact, as it is read again.
    fn from(size: Size) -> Self {
        size.0.to_string()
    }
}

impl std::fmt::Display for Size {
    /// With three digits, in the unit that leaves the fewest: `812 B`, `1.25 GiB`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (mut value, mut power) = (self.0 as f64, 0);
        while value >= if power == 0 { 1024.0 } else { 999.5 } && power + 1 < BINARY.len() {
            (value, power) = (value / 1024.0, power + 1);
        }
        let digits = if power == 0 || value >= 99.95 { 0 } else { 1 + usize::from(value < 9.995) };
        write!(f, "{value:.digits$} {}", BINARY[power])
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "upkeep-size", "examples": ["512 KiB", "64 MiB", "2 GiB"] })
    }
}

/// Units of time in milliseconds, the longest first.
const UNITS: [(&str, i64); 5] = [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

/// A span of time in milliseconds: `90s`, `15m`, `1h 30m`, `30d`, `2w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub i64);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a span of time; write it as `90s`, `15m`, `26h` or `7d`");
        let (mut sum, mut rest) = (0_i64, text.trim());
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let (number, after) = rest.split_at(rest.find(|it: char| !it.is_ascii_digit()).ok_or_else(wrong)?);
            let after = after.trim_start();
            let (unit, after) = after.split_at(after.find(|it: char| !it.is_ascii_alphabetic()).unwrap_or(after.len()));
            let name = |name: &str| match name {
                "sec" | "second" | "seconds" => "s".to_owned(),
                "min" | "minute" | "minutes" => "m".to_owned(),
                "hour" | "hours" | "hr" => "h".to_owned(),
                "day" | "days" => "d".to_owned(),
                "week" | "weeks" => "w".to_owned(),
                other => other.to_owned(),
            };
            let factor = UNITS.iter().find(|(known, _)| *known == name(unit)).map(|(_, factor)| *factor);
            let part = number.parse::<i64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
            sum = part.and_then(|part| sum.checked_add(part)).ok_or_else(wrong)?;
            rest = after.trim_start();
        }
        Ok(Self(sum))
    }
}

impl From<Span> for String {
    /// Exact, as it is read again.
    fn from(span: Span) -> Self {
        format!("{}s", span.0 / 1_000)
    }
}

impl std::fmt::Display for Span {
    /// In the two greatest units: `340ms`, `4.2s`, `2m 10s`, `29d 4h`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = self.0.max(0);
        match ms {
            0..1_000 => return write!(f, "{ms}ms"),
            1_000..10_000 => return write!(f, "{}.{}s", ms / 1_000, ms % 1_000 / 100),
            _ => {}
        }
        // Weeks are written and seldom read.
        let units = &UNITS[1..];
        let first = units.iter().position(|(_, factor)| ms >= *factor).unwrap_or(units.len() - 1);
        write!(f, "{}{}", ms / units[first].1, units[first].0)?;
        match units.get(first + 1) {
            Some((unit, factor)) if ms % units[first].1 / factor > 0 => {
                write!(f, " {}{unit}", ms % units[first].1 / factor)
            }
            _ => Ok(()),
        }
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "upkeep-duration", "examples": ["15m", "26h", "30d"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes) in [("7", 7), ("0 B", 0), ("512 KiB", 512 << 10), ("2gib", 2 << 30), ("3 MB", 3_000_000)] {
            assert_eq!(Size::try_from(text.to_owned()), Ok(Size(bytes)));
        }
        for wrong in ["", "MiB", "1.5 GiB", "-1 B", "99999999999 TiB", "2 XB"] {
            assert!(Size::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (300 << 30, "300 GiB")] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn spans_are_read_and_shown() {
        for (text, ms) in
            [("90s", 90_000), ("15m", 900_000), ("1h 30m", 5_400_000), ("1h30m", 5_400_000), ("2 weeks", 1_209_600_000)]
        {
            assert_eq!(Span::try_from(text.to_owned()), Ok(Span(ms)));
        }
        for wrong in ["", "7", "d", "-1d", "3 fortnights", "1.5h", "99999999999999d"] {
            assert!(Span::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
        for (ms, text) in
            [(340, "340ms"), (4_200, "4.2s"), (130_000, "2m 10s"), (2_520_000_000, "29d 4h"), (86_400_000, "1d")]
        {
            assert_eq!(Span(ms).to_string(), text);
        }
        for span in [Span(0), Span(90_000), Span(86_400_000)] {
            assert_eq!(Span::try_from(String::from(span)), Ok(span));
        }
    }
}
