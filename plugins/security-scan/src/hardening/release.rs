//! How long the distribution mends what is found in its release.

use upkeep_plugin::Severity;

use super::{Check, Hit};

/// When the mending of releases ends for everybody, without paid extensions: distribution, version, and the date as the
/// days since 1970. Debian (with its long-term support) and Ubuntu as in Debian's package distro-info-data, Alpine as in its list
/// of releases.
const ENDS: [(&str, &str, i64); 24] = [
    ("debian", "9", days(2022, 6, 30)),
    ("debian", "10", days(2024, 6, 30)),
    ("debian", "11", days(2026, 8, 31)),
    ("debian", "12", days(2028, 6, 30)),
    ("debian", "13", days(2030, 6, 30)),
    ("ubuntu", "16.04", days(2021, 4, 30)),
    ("ubuntu", "18.04", days(2023, 5, 31)),
    ("ubuntu", "20.04", days(2025, 5, 29)),
    ("ubuntu", "22.04", days(2027, 6, 1)),
    ("ubuntu", "24.04", days(2029, 5, 31)),
    ("ubuntu", "24.10", days(2025, 7, 10)),
    ("ubuntu", "25.04", days(2026, 1, 15)),
    ("ubuntu", "25.10", days(2026, 7, 9)),
    ("ubuntu", "26.04", days(2031, 5, 29)),
    ("ubuntu", "26.10", days(2027, 7, 15)),
    ("alpine", "3.17", days(2024, 11, 22)),
    ("alpine", "3.18", days(2025, 5, 9)),
    ("alpine", "3.19", days(2025, 11, 1)),
    ("alpine", "3.20", days(2026, 4, 1)),
    ("alpine", "3.21", days(2026, 11, 1)),
    ("alpine", "3.22", days(2027, 5, 1)),
    ("alpine", "3.23", days(2027, 11, 1)),
    ("centos", "7", days(2024, 6, 30)),
    ("centos", "8", days(2024, 5, 31)),
];

/// Days since 1970 of a date of the Gregorian calendar; the algorithm is `days_from_civil` of Howard Hinnant's
/// <https://howardhinnant.github.io/date_algorithms.html>.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

pub(super) const CHECKS: &[Check] = &[Check {
    id: "release-end-of-life",
    severity: Severity::High,
    title: "the release of the distribution is no longer mended",
    reason: "Holes that are found from now on stay open, and no list of updates will ever tell of them.",
    remedy: "Plan the upgrade to a release that is supported: the notes of the next release say how. Until then, take the \
             machine off the public network, or buy extended support.",
    look: |machine| {
        let os = machine.os()?;
        let is_it = |id: &str, version: &str| {
            os.id == id
                && (os.version == version || os.version.strip_prefix(version).is_some_and(|it| it.starts_with('.')))
        };
        let Some((_, _, end)) = ENDS.iter().find(|(id, version, _)| is_it(id, version)) else {
            return Err(format!("when the support of {} {} ends is not known here", os.id, os.version));
        };
        let is_over = machine.now_ms.div_euclid(86_400_000) > *end;
        Ok(if is_over { vec![Hit::one(os.pretty_name.clone())] } else { Vec::new() })
    },
}];

#[cfg(test)]
mod tests {
    use super::days;

    #[test]
    fn days_of_the_calendar() {
        assert_eq!((days(1970, 1, 1), days(2000, 3, 1), days(2024, 2, 29)), (0, 11_017, 19_782));
    }
}
