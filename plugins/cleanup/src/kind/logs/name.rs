//! The names that logrotate gives, and those of loggers that put a date into the name themselves.
//!
//! | name | log |
//! |---|---|
//! | `access.log.1`, `access.log.2.gz` | `access.log` |
//! | `access.log-20261123`, `access.log-20261123.gz`, `access.log-20261123-1732320000` | `access.log` |
//! | `access.log-2026-11-23.zst`, `access.log.20261123_0200` | `access.log` |
//! | `access-20261123.log`, `app.2026-11-23.0.log.gz` | `access.log`, `app.log` |
//! | `access.1.log` (option `extension`), only beside an `access.log` | `access.log` |

use crate::date;

const COMPRESSIONS: [&str; 6] = [".gz", ".zst", ".xz", ".bz2", ".lz4", ".Z"];

/// What may stand behind the rotation.
const EXTENSIONS: [&str; 6] = [".log", ".txt", ".out", ".err", ".json", ".jsonl"];

/// What the name of a rotated file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rotated {
    /// Greater for the newer of two files of the same time.
    pub(crate) order: i64,
    pub(crate) is_compressed: bool,
    /// It may just as well be a version: it counts only where the log stands beside it.
    pub(crate) needs_log: bool,
}

/// The log that a rotated file is of; none for one that is not rotated.
pub(crate) fn parse(name: &str) -> Option<(String, Rotated)> {
    let plain = COMPRESSIONS.iter().find_map(|it| name.strip_suffix(it));
    let (name, is_compressed) = (plain.unwrap_or(name), plain.is_some());
    if let Some((log, order)) = rotation(name) {
        return Some((log.to_owned(), Rotated { order, is_compressed, needs_log: false }));
    }
    let (stem, extension) = EXTENSIONS.iter().find_map(|it| Some((name.strip_suffix(it)?, it)))?;
    let (log, order) = rotation(stem)?;
    let needs_log = order <= 0;
    Some((format!("{log}{extension}"), Rotated { order, is_compressed, needs_log }))
}

/// What stands before a rotation at the end, and its place in order: dates by their digits, numbers backward and below
/// all dates.
fn rotation(name: &str) -> Option<(&str, i64)> {
    let bytes = name.as_bytes();
    for (at, _) in name.match_indices(['.', '-', '_']).filter(|(at, _)| *at > 0) {
        let rest = &name[at + 1..];
        if let Some(end) = date::end_of_date(bytes, at + 1)
            && bytes[end..].iter().all(|it| it.is_ascii_digit() || b"-_.".contains(it))
        {
            let digits = rest.bytes().filter(u8::is_ascii_digit).take(18);
            let digits = digits.fold((0_i64, 0), |(sum, count), it| (sum * 10 + i64::from(it - b'0'), count + 1));
            return Some((&name[..at], digits.0 * 10_i64.pow(18 - digits.1)));
        }
        let is_number = (1..=5).contains(&rest.len()) && rest.bytes().all(|it| it.is_ascii_digit());
        if is_number && bytes[at] == b'.' {
            return Some((&name[..at], -rest.parse::<i64>().ok()?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotated_logs_are_known() {
        for (name, log, is_compressed) in [
            ("access.log.1", "access.log", false),
            ("access.log.12.gz", "access.log", true),
            ("access.log.0", "access.log", false),
            ("syslog.1", "syslog", false),
            ("access.log-20261123", "access.log", false),
            ("access.log-20261123.gz", "access.log", true),
            ("access.log-20261123.zst", "access.log", true),
            ("access.log-20261123.xz", "access.log", true),
            ("access.log-20261123.bz2", "access.log", true),
            ("access.log-20261123-1732320000", "access.log", false),
            ("access.log-20261123-1732320000.gz", "access.log", true),
            ("access.log-2026112302", "access.log", false),
            ("access.log-2026-11-23", "access.log", false),
            ("access.log.20261123_0200", "access.log", false),
            ("access-20261123.log", "access.log", false),
            ("app.2026-11-23.log", "app.log", false),
            ("app.2026-11-23.0.log.gz", "app.log", true),
            ("my-app-2026-11-23.log", "my-app.log", false),
            ("catalina.out-20261123", "catalina.out", false),
            ("node-20.1-access.log-20261123", "node-20.1-access.log", false),
        ] {
            let (found, rotated) = parse(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(
                (found.as_str(), rotated.is_compressed, rotated.needs_log),
                (log, is_compressed, false),
                "{name}"
            );
        }
        assert_eq!(parse("access.1.log").unwrap().0, "access.log");
        assert!(parse("access.1.log").unwrap().1.needs_log && parse("nginx-1.24.log.gz").unwrap().1.needs_log);
    }

    #[test]
    fn other_names_are_those_of_logs() {
        for name in [
            "access.log",
            "access.log.gz",
            "app-2.log",
            "server2",
            "20261123",
            ".1",
            "access.log.1790000000",
            "access.log-1",
            "access.log.old",
            "access.log-20261399",
            "access.log-20261123-old",
            "",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn of_the_same_time_the_name_says_which_is_newer() {
        let sorted = |mut names: Vec<&'static str>| {
            names.sort_by_key(|name| std::cmp::Reverse(parse(name).unwrap().1.order));
            names
        };
        assert_eq!(sorted(vec!["a.log.10", "a.log.2", "a.log.1"]), ["a.log.1", "a.log.2", "a.log.10"]);
        let dated = ["a.log-20261124", "a.log-20261123-1732320001", "a.log-20261123-1732320000", "a.log-20261123"];
        assert_eq!(sorted(dated.iter().rev().copied().collect()), dated);
    }
}
