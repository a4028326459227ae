//! How numbers, sums, dates and times are written in values of templates.

/// Digits, with one decimal point between them at most.
pub(super) fn is_number(value: &str) -> bool {
    let digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    match value.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part),
        None => digits(value),
    }
}

/// A currency sign, up to ten digits, `元` if need be. Those behind the decimal point count: no reading of the rule allows less.
/// Sums without a sign are accepted by WeChat as well.
pub(super) fn is_amount(value: &str) -> bool {
    let bare = value.strip_prefix(is_currency).unwrap_or(value);
    let bare = bare.strip_suffix('元').unwrap_or(bare);
    is_number(bare) && bare.bytes().filter(u8::is_ascii_digit).count() <= 10
}

/// Unicode's category Sc.
fn is_currency(it: char) -> bool {
    matches!(it, '$' | '¢'..='¥' | '֏' | '؋' | '฿' | '\u{20a0}'..='\u{20c0}' | '﷼' | '﹩' | '＄' | '￠' | '￡' | '￥' | '￦')
}

/// A time with or without a date in front, or two with `~` between.
pub(super) fn is_time(value: &str) -> bool {
    let moment = |it: &str| match it.rsplit_once(' ') {
        Some((date, clock)) => is_day(date) && is_clock(clock),
        None => is_clock(it),
    };
    value.split('~').count() <= 2 && value.split('~').all(moment)
}

/// A date with or without a time behind, or two with `~` between.
pub(super) fn is_date(value: &str) -> bool {
    let moment = |it: &str| match it.rsplit_once(' ') {
        Some((date, clock)) => is_day(date) && is_clock(clock),
        None => is_day(it),
    };
    value.split('~').count() <= 2 && value.split('~').all(moment)
}

/// `2019年10月1日` or `2018-01-01`, a day that the calendar has.
fn is_day(value: &str) -> bool {
    let parts = match value.strip_suffix('日') {
        Some(rest) => rest.split_once('年').and_then(|(year, rest)| Some((year, rest.split_once('月')?))),
        None => value.split_once('-').and_then(|(year, rest)| Some((year, rest.split_once('-')?))),
    };
    let Some((year, (month, day))) = parts else { return false };
    let (Some(year), Some(month), Some(day)) = (number(year, 4..=4), number(month, 1..=2), number(day, 1..=2)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (1..=12).contains(&month) && (1..=days).contains(&day)
}

/// `15:01` or `15:01:22`.
fn is_clock(value: &str) -> bool {
    let parts: Vec<&str> = value.split(':').collect();
    let (hour, rest) = match parts.as_slice() {
        [hour, rest @ ..] if (1..=2).contains(&rest.len()) => (hour, rest),
        _ => return false,
    };
    number(hour, 1..=2).is_some_and(|it| it < 24) && rest.iter().all(|it| number(it, 2..=2).is_some_and(|it| it < 60))
}

fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
    (digits.contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit())).then(|| text.parse().ok())?
}
