//! Times as databases write them, and as people read them.

/// Days from 1970-01-01 to a date of the Gregorian calendar, by the algorithm of Howard Hinnant:
/// <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date so many days after 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted - era * 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Milliseconds since 1970: of a number of seconds or milliseconds, or of a text such as `2026-11-23T03:30:00.5+08:00`.
/// Without a zone it is UTC.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        // In seconds this is the year 5138, in milliseconds 1973.
        return Some(if number.abs() < 1e11 { number * 1_000.0 } else { number } as i64);
    }
    let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-').map(number);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let rest = rest.trim_start_matches(['T', ' ']);
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    let mut ms = days(year, month, day) * 86_400_000;
    let time = time.trim();
    if !time.is_empty() {
        let mut parts = time.split(':');
        let (hours, minutes) = (number(parts.next()?)?, number(parts.next()?)?);
        let seconds =
            parts.next().map_or(Some(0.0), |it| it.parse::<f64>().ok()).filter(|it| (0.0..61.0).contains(it))?;
        if parts.next().is_some() || hours > 23 || minutes > 59 {
            return None;
        }
        ms += (hours * 60 + minutes) * 60_000 + (seconds * 1_000.0) as i64;
    }
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let offset = match (zone.chars().next(), digits.len()) {
        (None | Some('Z'), _) => 0,
        (Some(sign), 2 | 4) => {
            let (hours, minutes) = digits.split_at(2);
            let minutes = number(hours)? * 60 + if minutes.is_empty() { 0 } else { number(minutes)? };
            if sign == '-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    Some(ms - offset * 60_000)
}

/// A time to the minute: `2026-11-23 03:30`, in UTC.
pub(crate) fn minute(ms: i64) -> String {
    let (year, month, day) = date(ms.div_euclid(86_400_000));
    let minutes = ms.rem_euclid(86_400_000) / 60_000;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_databases_are_read() {
        for (text, expected) in [
            ("1790000000", Some(1_790_000_000_000)),
            ("1790000000123", Some(1_790_000_000_123)),
            ("1970-01-01", Some(0)),
            ("2026-09-21 14:13:20", Some(1_790_000_000_000)),
            ("2026-09-21T14:13:20Z", Some(1_790_000_000_000)),
            ("2026-09-21 14:13:20.250+00", Some(1_790_000_000_250)),
            ("2026-09-21 22:13:20+08", Some(1_790_000_000_000)),
            ("2026-09-21T09:43:20-04:30", Some(1_790_000_000_000)),
            ("2026-09-21 14:13", Some(1_789_999_980_000)),
            ("2000-02-29 00:00:00", Some(951_782_400_000)),
            ("yesterday", None),
            ("2026-13-01", None),
            ("2026-01-01 25:00:00", None),
            ("2026-01-01 10:00:00 Europe/Berlin", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn times_are_shown_as_they_are_read() {
        for ms in [0, 951_782_400_000, 1_790_000_000_000, 4_102_444_800_000, -60_000] {
            assert_eq!(parse(&minute(ms)), Some(ms.div_euclid(60_000) * 60_000));
        }
        assert_eq!(minute(1_790_000_000_000), "2026-09-21 14:13");
    }
}
