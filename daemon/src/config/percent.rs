//! Shares as people write them: `50%`.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A whole number of hundredths, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u32);

impl std::str::FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.trim().strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
        match number {
            Some(number) if number <= 100 => Ok(Self(number)),
            _ => Err(format!("`{text}` is not a share; write it as `50%`, from 0% to 100%")),
        }
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": crate::config::schema::PERCENT,
            "examples": ["50%", "100%"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_shown() {
        assert_eq!("50%".parse(), Ok(Percent(50)));
        assert_eq!(" 0 % ".parse(), Ok(Percent(0)));
        for wrong in ["50", "101%", "-1%", "half", "12.5%", "%"] {
            assert!(wrong.parse::<Percent>().unwrap_err().contains("50%"), "{wrong}");
        }
        assert_eq!(Percent(100).to_string(), "100%");
    }
}
