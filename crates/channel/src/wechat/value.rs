//! The rules for values of templates, by the prefix of their key: `thing3` is a thing.
//!
//! From the table of parameters of `subscribeMessage.send`. WeChat answers 47003 to a value that breaks them, and the consent
//! may be lost with it: they are checked before.

use crate::refused::Refused;

mod written;

/// Whether a value fits its key. `listed` are the values that a `const` or `enum` takes, if they are known.
pub fn check(key: &str, value: &str, listed: Option<&[String]>) -> Result<(), Refused> {
    let prefix = key.trim_end_matches(|it: char| it.is_ascii_digit());
    if value.trim().is_empty() {
        return Err(Refused::Empty { field: key.to_owned() });
    }
    if value.chars().any(|it| it.is_control() || matches!(it, '\u{2028}' | '\u{2029}')) {
        return Err(Refused::rule(key, "one line without control characters"));
    }
    let Some(rule) = RULES.iter().find(|it| it.prefix == prefix) else {
        let known: Vec<&str> = RULES.iter().map(|it| it.prefix).collect();
        return Err(Refused::rule(key, format!("a key of a template, which begins with one of {}", known.join(", "))));
    };
    let limit = (rule.limit)(value);
    let has = value.chars().count();
    if has > limit {
        return Err(Refused::TooLong { field: key.to_owned(), limit, unit: "characters", has });
    }
    if !(rule.fits)(value) {
        return Err(Refused::rule(key, rule.words));
    }
    match listed {
        Some(listed) if !listed.iter().any(|it| it == value) => {
            Err(Refused::rule(key, format!("one of the values that the template lists: {}", listed.join(", "))))
        }
        _ => Ok(()),
    }
}

struct Rule {
    prefix: &'static str,
    /// Characters, which may depend on what they are.
    limit: fn(&str) -> usize,
    fits: fn(&str) -> bool,
    words: &'static str,
}

/// What values of `time` and `date` with a range have at most, as long as they are written.
const MOST_OF_TIME: usize = 64;

const RULES: &[Rule] = &[
    Rule { prefix: "thing", limit: |_| 20, fits: |_| true, words: "any text" },
    Rule { prefix: "number", limit: |_| 32, fits: written::is_number, words: "digits, with one decimal point at most" },
    Rule {
        prefix: "letter",
        limit: |_| 32,
        fits: |it| it.bytes().all(|it| it.is_ascii_alphabetic()),
        words: "letters from A to Z",
    },
    Rule {
        prefix: "symbol",
        limit: |_| 5,
        fits: |it| it.chars().all(is_symbol),
        words: "symbols, neither letters nor digits",
    },
    Rule {
        prefix: "character_string",
        limit: |_| 32,
        fits: |it| it.bytes().all(|it| it.is_ascii_graphic()),
        words: "digits, letters from A to Z, and symbols of ASCII, without spaces",
    },
    Rule {
        prefix: "time",
        limit: |_| MOST_OF_TIME,
        fits: written::is_time,
        words: "a time of 24 hours such as 15:01, with a date in front if need be, or two with ~ between",
    },
    Rule {
        prefix: "date",
        limit: |_| MOST_OF_TIME,
        fits: written::is_date,
        words: "a date such as 2019年10月1日 or 2018-01-01, with a time behind if need be, or two with ~ between",
    },
    Rule {
        prefix: "amount",
        limit: |_| 13,
        fits: written::is_amount,
        words: "a currency sign and up to 10 digits, with one decimal point at most, and 元 at the end if need be",
    },
    Rule {
        prefix: "phone_number",
        limit: |_| 17,
        fits: |it| {
            it.bytes().any(|it| it.is_ascii_digit())
                && it.bytes().all(|it| it.is_ascii_digit() || b"+-()".contains(&it))
        },
        words: "digits, +, - and brackets",
    },
    Rule {
        prefix: "car_number",
        limit: |_| 8,
        fits: is_car_number,
        words: "letters and digits; the first and the last may be Chinese characters",
    },
    Rule {
        prefix: "name",
        limit: |it| if it.chars().any(is_han) { 10 } else { 20 },
        fits: |it| it.chars().all(|it| is_han(it) || it.is_ascii_alphabetic() || it == ' ' || is_symbol(it)),
        words: "Chinese characters, letters from A to Z, and symbols",
    },
    Rule { prefix: "phrase", limit: |_| 5, fits: |it| it.chars().all(is_han), words: "Chinese characters" },
    Rule { prefix: "const", limit: |_| usize::MAX, fits: |_| true, words: "a listed value" },
    Rule { prefix: "enum", limit: |_| usize::MAX, fits: |_| true, words: "a listed value" },
];

/// The prefixes that have a rule.
pub fn prefixes() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|it| it.prefix)
}

/// Chinese characters: the unified ideographs with their extensions, compatibility, and 〇.
fn is_han(it: char) -> bool {
    matches!(it, '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{20000}'..='\u{323af}' | '\u{f900}'..='\u{faff}' | '〇')
}

fn is_symbol(it: char) -> bool {
    !it.is_alphanumeric() && !it.is_whitespace() && !it.is_control()
}

fn is_car_number(value: &str) -> bool {
    let last = value.chars().count().saturating_sub(1);
    value.chars().enumerate().all(|(at, it)| it.is_ascii_alphanumeric() || ((at == 0 || at == last) && is_han(it)))
}
