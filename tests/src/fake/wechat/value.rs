//! What values of templates have to look like, by the beginning of their keys.

use std::sync::LazyLock;

use regex::Regex;

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is not there.
    Empty,
    /// It breaks the rule of its key.
    Wrong,
}

/// A day, and behind it perhaps a time.
const DATE: &str = r"[0-9]{4}(年[0-9]{1,2}月[0-9]{1,2}日|-[0-9]{1,2}-[0-9]{1,2}|/[0-9]{1,2}/[0-9]{1,2}|\.[0-9]{1,2}\.[0-9]{1,2})( ?[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?)?";
/// A time of 24 hours, and perhaps a day before it.
const TIME: &str = r"([0-9]{4}(年[0-9]{1,2}月[0-9]{1,2}日|-[0-9]{1,2}-[0-9]{1,2}|/[0-9]{1,2}/[0-9]{1,2}|\.[0-9]{1,2}\.[0-9]{1,2}) ?)?([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?";

static RULES: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    [
        ("thing", r"[^\p{Cc}]{1,20}".to_owned()),
        ("number", r"-?[0-9]{1,32}(\.[0-9]{1,32})?".to_owned()),
        ("letter", r"[A-Za-z]{1,32}".to_owned()),
        ("symbol", r"[^\p{L}\p{N}\p{Cc}\s]{1,5}".to_owned()),
        ("character_string", r"[!-~]{1,32}".to_owned()),
        ("time", format!(r"{TIME}(~{TIME})?")),
        ("date", format!(r"{DATE}(~{DATE})?")),
        ("amount", r"[\p{Sc}]?[0-9]{1,10}(\.[0-9]{1,2})?元?".to_owned()),
        ("phone_number", r"[0-9+()-]{1,17}".to_owned()),
        ("car_number", r"[\p{Han}]?[A-Za-z0-9]{0,8}[\p{Han}]?".to_owned()),
        ("name", r"[\p{Han}·]{1,10}|[A-Za-z .'-]{1,20}".to_owned()),
        ("phrase", r"\p{Han}{1,5}".to_owned()),
        ("const", r"[^\p{Cc}]+".to_owned()),
        ("enum", r"[^\p{Cc}]+".to_owned()),
    ]
    .map(|(prefix, rule)| (prefix, Regex::new(&format!("^({rule})$")).expect("a regular expression")))
    .into()
});

/// What is wrong with the value of a key, where something is.
pub(super) fn flaw(key: &str, value: &str, listed: Option<&[String]>) -> Option<Flaw> {
    if value.trim().is_empty() {
        return Some(Flaw::Empty);
    }
    let prefix = key.trim_end_matches(|it: char| it.is_ascii_digit());
    let fits = RULES.iter().find(|(it, _)| *it == prefix).is_some_and(|(_, rule)| rule.is_match(value));
    let too_long = prefix == "car_number" && value.chars().count() > 8;
    let unlisted = listed.is_some_and(|listed| !listed.iter().any(|it| it == value));
    (!fits || too_long || unlisted).then_some(Flaw::Wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_their_keys() {
        for (key, fits, does_not) in [
            (
                "thing1",
                &["二十个字二十个字二十个字二十个字二十个字", "a b"][..],
                &["二十一个字十个字二十个字二十个字二十个字呀", "a\nb"][..],
            ),
            (
                "number2",
                &["0", "12345678901234567890123456789012", "1.5"],
                &["1e5", "123456789012345678901234567890123", "１"],
            ),
            ("letter1", &["abcXYZ"], &["a1", "a b"]),
            ("symbol1", &["!?", "，。"], &["a", "!!!!!!"]),
            ("character_string9", &["NO.2019-1", "x"], &["a b", "中", "123456789012345678901234567890123"]),
            ("time1", &["15:01", "2019年10月1日 15:01", "2019-10-01 15:01:30~16:00"], &["25:01", "15", "now"]),
            (
                "date4",
                &["2019年10月1日", "2018-01-01", "2018-01-01 15:01", "2018-01-01~2018-01-03"],
                &["10-01", "today"],
            ),
            ("amount3", &["¥100", "100元", "$9.90"], &["12345678901", "ten"]),
            ("phone_number1", &["+86-0766-66888866", "13800138000"], &["+86-0766-668888666", "x"]),
            ("car_number1", &["粤A8Z888挂", "粤A12345"], &["粤A8Z8888挂", "粤 A"]),
            ("name1", &["张三丰", "John Smith"], &["一二三四五六七八九十一", "abcdefghijklmnopqrstu"]),
            ("phrase1", &["配送中"], &["abc", "一二三四五六"]),
            ("const1", &["任意"], &[]),
            ("other1", &[], &["x"]),
        ] {
            for value in fits {
                assert_eq!(flaw(key, value, None), None, "{key} {value}");
            }
            for value in does_not {
                assert_eq!(flaw(key, value, None), Some(Flaw::Wrong), "{key} {value}");
            }
            assert_eq!(flaw(key, " ", None), Some(Flaw::Empty), "{key}");
        }
        assert_eq!(flaw("const1", "a", Some(&["b".to_owned()])), Some(Flaw::Wrong));
    }
}
