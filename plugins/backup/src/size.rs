//! Numbers of bytes, and shares: as the operator writes them, as the report shows them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

const BINARY: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
const DECIMAL: [&str; 5] = ["", "kB", "MB", "GB", "TB"];

/// A number of bytes: `64 MiB`, `2 GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
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
        // upkeep knows this format, and what to tell who writes something else.
        json_schema!({ "type": "string", "format": "upkeep-size", "examples": ["512 KiB", "64 MiB", "2 GiB"] })
    }
}

/// A share, which may be more than all: `25 %`, `200 %`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Percent(pub u32);

impl TryFrom<String> for Percent {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.trim().strip_suffix('%').and_then(|it| it.trim().parse().ok());
        number.map(Self).ok_or_else(|| format!("`{text}` is no share; write it as `25 %`"))
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^\s*[0-9]+\s*%\s*$", "examples": ["25 %", "200 %"] })
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
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (26_843_546, "25.6 MiB"), (300 << 30, "300 GiB")]
        {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
