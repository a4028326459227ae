//! Values of WeChat's templates, against the rules written a second time as expressions.

#![expect(clippy::unwrap_used, reason = "what fails here is a test")]

use proptest::prelude::*;
use regex::Regex;
use upkeep_channel::Refused;
use upkeep_channel::wechat::value::{check, prefixes};

/// A date and a time as the reference has them, without regard to the calendar.
const DAY: &str = r"(\d{4}年\d{1,2}月\d{1,2}日|\d{4}-\d{1,2}-\d{1,2})";
const CLOCK: &str = r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?";

/// The rule of each prefix.
fn rule(prefix: &str) -> Regex {
    let time = format!("({DAY} )?{CLOCK}");
    let date = format!("{DAY}( {CLOCK})?");
    let rule = match prefix {
        "thing" => r"[^\p{Cc}\u{2028}\u{2029}]{1,20}".to_owned(),
        "number" => r"[0-9]+(\.[0-9]+)?".to_owned(),
        "letter" => "[A-Za-z]{1,32}".to_owned(),
        "symbol" => r"[^\p{Alphabetic}\p{N}\s\p{Cc}]{1,5}".to_owned(),
        "character_string" => "[!-~]{1,32}".to_owned(),
        "time" => format!("{time}(~{time})?"),
        "date" => format!("{date}(~{date})?"),
        "amount" => r"\p{Sc}?[0-9]+(\.[0-9]+)?元?".to_owned(),
        "phone_number" => r"[-+()0-9]{1,17}".to_owned(),
        "car_number" => r"[A-Za-z0-9\p{Han}][A-Za-z0-9]{0,6}[A-Za-z0-9\p{Han}]?".to_owned(),
        "name" => r"([^\p{Cc}0-9]{1,10}|[^\p{Han}\p{Cc}0-9]{1,20})".to_owned(),
        "phrase" => r"\p{Han}{1,5}".to_owned(),
        _ => r"[^\p{Cc}]+".to_owned(),
    };
    Regex::new(&format!("^(?:{rule})$")).unwrap()
}

fn fits(key: &str, value: &str) -> bool {
    check(key, value, None).is_ok()
}

#[test]
fn takes_the_examples_of_the_documentation() {
    for (key, values) in [
        ("thing1", &["任意文字 text 1", &"日".repeat(20), "🎉"][..]),
        ("number2", &["0", "12.5", &"9".repeat(32)]),
        ("letter3", &["abcXYZ", &"a".repeat(32)]),
        ("symbol4", &["!?", "★★★★★", "~"]),
        ("character_string5", &["A-7/2026#1", &"x".repeat(32)]),
        ("time6", &["15:01", "9:05:30", "2019年10月1日 15:01", "2019-10-01 15:01~2019-10-02 00:00", "08:00~17:30"]),
        ("date7", &["2019年10月1日", "2018-01-01", "2018-01-01 23:59", "2019年10月1日~2019年10月7日", "2024-02-29"]),
        ("amount8", &["￥100", "$12345678.90", "¥0.5元", "1234567890元", "€10"]),
        ("phone_number9", &["+86-0766-66888866", "13800138000"]),
        ("car_number10", &["粤A8Z888挂", "A12345", "粤"]),
        ("name11", &["张三", &"张".repeat(10), "Jean-Luc O'Neill", &"a".repeat(20)]),
        ("phrase12", &["配送中", "已完成订单"]),
        ("const13", &["anything"]),
        ("enum", &["anything"]),
    ] {
        for value in values {
            assert_eq!(check(key, value, None), Ok(()), "{key} {value}");
            assert!(
                rule(key.trim_end_matches(char::is_numeric)).is_match(value),
                "the rule of the test: {key} {value}"
            );
        }
    }
}

#[test]
fn refuses_what_wechat_would() {
    for (key, values) in [
        ("thing1", &["", " ", "a\nb", "a\u{7}", &"日".repeat(21)][..]),
        ("number2", &["-1", "1.", ".5", "1.2.3", "１", "1e5", "1 000", &"9".repeat(33)]),
        ("letter3", &["a1", "ä", "a b", &"a".repeat(33)]),
        ("symbol4", &["a", "1", "日", "!!!!!!", "! !"]),
        ("character_string5", &["a b", "日", "ａ", &"x".repeat(33)]),
        ("time6", &["24:00", "15:60", "15", "15:1", "3pm", "15:01~", "1:00~2:00~3:00", "2019-10-01", "15：01"]),
        (
            "date7",
            &[
                "2019-13-01",
                "2019-02-29",
                "2019年2月30日",
                "19-01-01",
                "2019/01/01",
                "2019-1",
                "2019年10月1",
                "2019-10-01 25:00",
            ],
        ),
        ("amount8", &["￥￥1", "-5", "￥", "12345678901", "￥123456789.01", "1,000", "5元元", "USD 5"]),
        ("phone_number9", &["138 0013 8000", "+-", "123456789012345678", "abc"]),
        ("car_number10", &["粤A粤888", "A-12345", "粤A8Z88888"]),
        ("name11", &["张三1", &"张".repeat(11), &"a".repeat(21), "张aaaaaaaaaa"]),
        ("phrase12", &["abc", "一二三四五六", "一 二"]),
        ("keyword1", &["x"]),
        ("1", &["x"]),
        ("", &["x"]),
    ] {
        for value in values {
            assert!(!fits(key, value), "{key} {value:?}");
        }
    }
}

#[test]
fn names_field_and_limit() {
    let error = |key: &str, value: &str, listed: Option<&[String]>| check(key, value, listed).unwrap_err().to_string();
    assert_eq!(
        check("thing3", &"日".repeat(25), None),
        Err(Refused::TooLong { field: "thing3".into(), limit: 20, unit: "characters", has: 25 })
    );
    assert_eq!(
        error("thing3", &"日".repeat(25), None),
        "thing3 is too long: 25 characters, and the limit is 20; shorten it"
    );
    assert_eq!(
        error("name1", &"张".repeat(11), None),
        "name1 is too long: 11 characters, and the limit is 10; shorten it"
    );
    assert_eq!(error("phrase4", "abc", None), "phrase4 must be Chinese characters");
    assert_eq!(error("thing3", " ", None), "thing3 is empty: write something into it");
    let listed = ["营业中".to_owned(), "已打烊".to_owned()];
    assert_eq!(check("const1", "营业中", Some(&listed)), Ok(()));
    assert_eq!(
        error("const1", "开门", Some(&listed)),
        "const1 must be one of the values that the template lists: 营业中, 已打烊"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Never sent what would be refused.
    #[test]
    fn what_passes_fits_the_rule(value in "[-0-9a-zA年月日元￥$ .:~张三!\u{1f600}\n]{0,24}") {
        for prefix in prefixes() {
            if fits(&format!("{prefix}1"), &value) {
                prop_assert!(rule(prefix).is_match(&value), "{prefix} {value:?}");
            }
        }
    }

    #[test]
    fn whatever_passes_fits_the_rule(value in any::<String>()) {
        for prefix in prefixes() {
            if fits(&format!("{prefix}1"), &value) {
                prop_assert!(rule(prefix).is_match(&value), "{prefix} {value:?}");
            }
        }
    }

    /// Nothing is kept back that could be sent.
    #[test]
    fn what_fits_passes(
        thing in "[a-z日 ]{0,19}[a-z日]",
        number in "[0-9]{1,15}(\\.[0-9]{1,15})?",
        time in "(2019-(0[1-9]|1[0-2])-([01][1-9]|2[0-8]) )?([01][0-9]|2[0-3]):[0-5][0-9]",
        date in "20[0-9]{2}年([1-9]|1[0-2])月([1-9]|1[0-9]|2[0-8])日( ([01][0-9]|2[0-3]):[0-5][0-9])?",
        amount in "[￥$€]?[0-9]{1,7}(\\.[0-9]{1,3})?元?",
        name in "[张三李四王五]{1,10}|[A-Za-z.'-]{1,20}",
    ) {
        for (key, value) in [("thing1", thing), ("number1", number), ("time1", time), ("date1", date), ("amount1", amount), ("name1", name)] {
            prop_assert!(fits(key, &value), "{key} {value:?}");
        }
    }
}
