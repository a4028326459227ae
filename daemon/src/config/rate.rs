//! Rates as people write them: `10 MiB/s`, `500 kB/s`.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::size::Size;

/// A number of bytes per second; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub u64);

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let size = text.trim().strip_suffix("/s").and_then(|size| size.trim_end().parse::<Size>().ok());
        match size {
            Some(Size(bytes)) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(format!("`{text}` is not a rate; write it as `500 KiB/s` or `10 MiB/s`")),
        }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/s", Size(self.0))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": crate::config::schema::RATE,
            "examples": ["500 KiB/s", "10 MiB/s"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_shown() {
        for (text, bytes) in [("10 MiB/s", 10 << 20), ("500kB/s", 500_000), (" 7 /s", 7)] {
            assert_eq!(text.parse(), Ok(Rate(bytes)), "{text}");
        }
        for wrong in ["10 MiB", "0 B/s", "fast", "10 Mbit/s", "/s"] {
            assert!(wrong.parse::<Rate>().unwrap_err().contains("10 MiB/s"), "{wrong}");
        }
        assert_eq!(Rate(10 << 20).to_string(), "10 MiB/s");
    }
}
