//! How bad it is: scores of CVSS vectors, and the words that databases use instead.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The qualitative scale that [CVSS 3] and [CVSS 4] share.
///
/// [CVSS 3]: https://www.first.org/cvss/v3-1/specification-document#Qualitative-Severity-Rating-Scale
/// [CVSS 4]: https://www.first.org/cvss/v4-0/specification-document#Qualitative-Severity-Rating-Scale
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nobody has said.
    #[default]
    Unknown,
    /// A score of 0.
    None,
    /// From 0.1 to 3.9.
    Low,
    /// From 4.0 to 6.9.
    Medium,
    /// From 7.0 to 8.9.
    High,
    /// From 9.0 to 10.
    Critical,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// A level, with the score where there is one. The worse is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Severity {
    /// The level.
    pub level: Level,
    /// The score in tenths, from 0 to 100.
    pub tenths: Option<u8>,
}

impl Severity {
    /// From a CVSS vector: the base score of 3.0 and 3.1, the score of 4.0. None for other versions and broken vectors.
    pub fn from_vector(vector: &str) -> Option<Self> {
        let score = match vector.trim().trim_end_matches('/') {
            it if it.starts_with("CVSS:3") => base_score(&cvss::v3::Vector::from_str(it).ok()?)?,
            it => cvss::v4::Vector::from_str(it).ok()?.score().value(),
        };
        let tenths = (0..=100_u8).rev().find(|it| f64::from(*it) <= score * 10.0 + 0.5)?;
        let level = match tenths {
            0 => Level::None,
            1..40 => Level::Low,
            40..70 => Level::Medium,
            70..90 => Level::High,
            _ => Level::Critical,
        };
        Some(Self { level, tenths: Some(tenths) })
    }

    /// From a word: those of GitHub's database, Debian's urgency, Ubuntu's priority. None for what says nothing, such
    /// as `not yet assigned`.
    pub fn from_word(word: &str) -> Option<Self> {
        let level = match word.trim().trim_end_matches('*').to_ascii_lowercase().as_str() {
            "none" | "unimportant" => Level::None,
            "low" | "negligible" | "minor" => Level::Low,
            "medium" | "moderate" => Level::Medium,
            "high" | "important" => Level::High,
            "critical" => Level::Critical,
            _ => return None,
        };
        Some(Self { level, tenths: None })
    }
}

/// `high 7.5`, or `high`.
impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.level.fmt(f)?;
        self.tenths.map_or(Ok(()), |it| write!(f, " {}.{}", it / 10, it % 10))
    }
}

/// None when a metric of the base group is missing, which the library takes for one without effect.
fn base_score(vector: &cvss::v3::Vector) -> Option<f64> {
    let cvss::v3::Vector { av, ac, pr, ui, s, c, i, a, .. } = vector;
    let exploitability = av.is_some() && ac.is_some() && pr.is_some() && ui.is_some() && s.is_some();
    let impact = c.is_some() && i.is_some() && a.is_some();
    (exploitability && impact).then(|| vector.base_score().value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_official_examples() {
        let cases = [
            // From the examples of CVSS 3.0 and 3.1.
            ("CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 64, Level::Medium),
            ("CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", 99, Level::Critical),
            ("CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 31, Level::Low),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 75, Level::High),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 98, Level::Critical),
            ("CVSS:3.1/AV:P/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 68, Level::Medium),
            ("CVSS:3.1/AV:L/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H", 78, Level::High),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0, Level::None),
            // From the examples of CVSS 4.0.
            ("CVSS:4.0/AV:L/AC:L/AT:P/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 73, Level::High),
            ("CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:P/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 77, Level::High),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", 100, Level::Critical),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:A/VC:N/VI:N/VA:N/SC:L/SI:L/SA:N", 51, Level::Medium),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:N/SC:N/SI:N/SA:N", 0, Level::None),
        ];
        for (vector, tenths, level) in cases {
            assert_eq!(Severity::from_vector(vector), Some(Severity { level, tenths: Some(tenths) }), "{vector}");
        }
    }

    #[test]
    fn a_base_score_leaves_time_and_place_out() {
        let base = Severity::from_vector("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H");
        assert_eq!(Severity::from_vector("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/E:U/RL:O/RC:U"), base);
        let broken = ["", "7.5", "AV:N/AC:L/Au:N/C:P/I:P/A:P", "CVSS:3.1/AV:N", "CVSS:9.0/AV:N", "CVSS:4.0/AV:N"];
        for it in broken {
            assert_eq!(Severity::from_vector(it), None, "{it}");
        }
    }

    #[test]
    fn words_of_all_databases_are_understood() {
        let level = |word| Severity::from_word(word).map(|it| it.level);
        assert_eq!(level("MODERATE"), Some(Level::Medium));
        assert_eq!(level("low**"), Some(Level::Low));
        assert_eq!(level("unimportant"), Some(Level::None));
        assert_eq!(level("not yet assigned"), None);
        assert!(Severity::from_word("critical") > Severity::from_word("high"));
        assert!(Severity::from_word("low") > Some(Severity::default()));
    }
}
