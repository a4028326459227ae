//! From the text of a `cron` or `quartz` key to a [`Calendar`].
//!
//! The crates `croner` and `cron` read names, lists, ranges and steps, each in its dialect, and nothing else is taken from
//! them: neither their walk through the days nor their idea of a clock change. What both need and neither offers in the same
//! way is read here: `L`, `W` and `#` of the day fields, and errors that name the field and what to write instead.

mod crontab;
mod quartz;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use super::ScheduleError;
use super::calendar::{Calendar, Days, Weekdays};

/// Years in which slots are looked for.
const YEARS: RangeInclusive<i32> = 1970..=2199;
const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// In which of the two languages an expression is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Dialect {
    Crontab,
    Quartz,
}

/// A field of an expression; the order is that of an expression with all seven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Weekday,
    Year,
}

const FIELDS: [Field; 7] =
    [Field::Second, Field::Minute, Field::Hour, Field::Day, Field::Month, Field::Weekday, Field::Year];

/// The values that a library read from each field, in the order of [`FIELDS`]; weekdays from Sunday = 0.
type Values = [Vec<u32>; 7];

/// Reads an expression. Equal expressions share one calendar for as long as one of them is in use.
pub(super) fn parse(dialect: Dialect, text: &str) -> Result<Arc<Calendar>, ScheduleError> {
    type Known = HashMap<(Dialect, Box<str>), Weak<Calendar>>;
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

    let key = (dialect, Box::from(text));
    let known = |map: &Known| map.get(&key).and_then(Weak::upgrade);
    if let Some(calendar) = known(&KNOWN.lock().unwrap_or_else(PoisonError::into_inner)) {
        return Ok(calendar);
    }
    let calendar = Arc::new(read(dialect, text)?);
    let mut map = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if map.len() == map.capacity() {
        map.retain(|_, calendar| calendar.strong_count() > 0);
    }
    map.insert(key, Arc::downgrade(&calendar));
    Ok(calendar)
}

fn read(dialect: Dialect, text: &str) -> Result<Calendar, ScheduleError> {
    let error = |problem: String, remedy: &str| ScheduleError::new(dialect.key(), problem, remedy);
    let expression = Expression::split(dialect, text)?;
    let (mut days, mut weekdays) = (Days::default(), Weekdays::default());
    let mut plain = expression.texts.map(String::from);
    for field in [Field::Day, Field::Weekday] {
        let (special, rest): (Vec<&str>, Vec<&str>) = expression.texts[field as usize].split(',').partition(|token| {
            let token = token.to_ascii_uppercase();
            match field {
                Field::Day => dialect.special_day(&token, &mut days),
                _ => dialect.special_weekday(&token, &mut weekdays),
            }
        });
        if !special.is_empty() {
            plain[field as usize] = rest.join(",");
        }
    }
    // A field of nothing but special days has no plain ones; the libraries still want something there.
    let nothing_plain = plain.clone().map(|text| text.is_empty());
    for (text, _) in plain.iter_mut().zip(nothing_plain).filter(|(_, nothing)| *nothing) {
        *text = "*".into();
    }
    for (field, text) in FIELDS.iter().zip(&plain) {
        for token in text.split(',') {
            if !dialect.is_well_formed(*field, token) {
                return Err(expression.blame(*field, token));
            }
        }
    }
    let values = dialect.values(&plain).map_err(|said| {
        let refused = |field: Field, token: &str| {
            let mut alone = dialect.anything().map(String::from);
            alone[field as usize] = token.into();
            dialect.values(&alone).is_err()
        };
        FIELDS
            .iter()
            .flat_map(|field| plain[*field as usize].split(',').map(|token| (*field, token)))
            .find(|(field, token)| refused(*field, token))
            .map_or_else(
                || error(format!("`{text}` is not understood ({said})"), dialect.shape()),
                |(field, token)| expression.blame(field, token),
            )
    })?;
    let bits = |field: Field| values[field as usize].iter().fold(0_u64, |bits, value| bits | 1 << value);
    if !nothing_plain[Field::Day as usize] {
        days.plain |= bits(Field::Day) as u32;
    }
    if !nothing_plain[Field::Weekday as usize] {
        weekdays.plain |= bits(Field::Weekday) as u8;
    }
    let years = |years: &Vec<u32>| {
        years.iter().filter_map(|year| i32::try_from(*year).ok()).filter(|year| YEARS.contains(year)).collect()
    };
    let calendar = Calendar {
        seconds: bits(Field::Second),
        minutes: bits(Field::Minute),
        hours: bits(Field::Hour) as u32,
        months: bits(Field::Month) as u16,
        years: (expression.texts[Field::Year as usize] != "*").then(|| years(&values[Field::Year as usize])),
        days,
        weekdays,
        both: expression.both,
    };
    match calendar.next(-1) {
        Some(_) => Ok(calendar),
        None => Err(error(
            format!("`{text}` names no day that exists between {} and {}", YEARS.start(), YEARS.end()),
            "look at day, month and year together: 30 February never comes",
        )),
    }
}

/// An expression, its fields told apart.
struct Expression<'a> {
    dialect: Dialect,
    source: &'a str,
    /// How many fields stand in the source before the first of [`FIELDS`] that does: 1 when the seconds are left out.
    left_out: usize,
    texts: [&'a str; 7],
    both: bool,
}

impl<'a> Expression<'a> {
    fn split(dialect: Dialect, source: &'a str) -> Result<Self, ScheduleError> {
        let text = match dialect {
            Dialect::Crontab => crontab::nickname(source.trim())?,
            Dialect::Quartz => source,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (left_out, texts) = match (dialect, fields.as_slice()) {
            (Dialect::Crontab, [minute, hour, day, month, weekday]) => {
                (1, ["0", minute, hour, day, month, weekday, "*"])
            }
            (_, [second, minute, hour, day, month, weekday]) => (0, [*second, minute, hour, day, month, weekday, "*"]),
            (_, [second, minute, hour, day, month, weekday, year]) => {
                (0, [*second, minute, hour, day, month, weekday, *year])
            }
            (_, fields) => {
                let problem = match fields.len() {
                    0 => "the expression is empty".into(),
                    1 => format!("`{source}` has one field only"),
                    count => format!("`{source}` has {count} fields"),
                };
                return Err(ScheduleError::new(dialect.key(), problem, dialect.shape()));
            }
        };
        let both = match dialect {
            Dialect::Crontab => crontab::both(texts[Field::Day as usize], texts[Field::Weekday as usize]),
            Dialect::Quartz => quartz::both(source, texts[Field::Day as usize], texts[Field::Weekday as usize])?,
        };
        Ok(Self { dialect, source, left_out, texts, both })
    }

    /// The error for a token of a field, with the best advice that can be given for it.
    fn blame(&self, field: Field, token: &str) -> ScheduleError {
        let (number, name) = (field as usize + 1 - self.left_out, field.name());
        let problem = match token {
            "" => format!("field {number} ({name}) of `{}` has an empty place in its list", self.source),
            _ => format!("field {number} ({name}) of `{}` cannot be `{token}`", self.source),
        };
        let error = ScheduleError::new(self.dialect.key(), problem, self.dialect.advice(field, token));
        ScheduleError { within: self.place(field, token), ..error }
    }

    /// The bytes of the source at which a token of a field stands; none for a nickname, which has no fields.
    fn place(&self, field: Field, token: &str) -> Option<std::ops::Range<usize>> {
        let mut fields = self.source.split_whitespace();
        let text = fields.nth((field as usize).checked_sub(self.left_out)?)?;
        let mut start = text.as_ptr().addr() - self.source.as_ptr().addr();
        for part in text.split(',') {
            if part == token {
                return Some(start..start + part.len().max(1));
            }
            start += part.len() + 1;
        }
        None
    }
}

impl Dialect {
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Crontab => "schedule.cron",
            Self::Quartz => "schedule.quartz",
        }
    }

    fn shape(self) -> &'static str {
        match self {
            Self::Crontab => {
                "write 5 fields: minute hour day month weekday, such as `30 3 * * *`; \
                 6 with seconds before them, 7 with the year after them"
            }
            Self::Quartz => {
                "write 6 fields: second minute hour day month weekday, such as `0 30 3 ? * MON-FRI`; 7 with the year after them"
            }
        }
    }

    fn values(self, fields: &[String; 7]) -> Result<Values, String> {
        match self {
            Self::Crontab => crontab::values(fields),
            Self::Quartz => quartz::values(fields),
        }
    }

    /// An expression that no library refuses.
    fn anything(self) -> [&'static str; 7] {
        match self {
            Self::Crontab => ["0", "0", "0", "*", "*", "*", "*"],
            Self::Quartz => ["0", "0", "0", "?", "*", "?", "*"],
        }
    }

    /// Takes a token of the field day of month that names days by the length or the weekdays of the month.
    fn special_day(self, token: &str, days: &mut Days) -> bool {
        let number = |text: &str, allowed: RangeInclusive<u32>| {
            text.parse::<u32>().ok().filter(|number| allowed.contains(number))
        };
        if token == "L" {
            days.before_last |= 1;
        } else if token == "LW" {
            days.last_working = true;
        } else if let Some(day) = token.strip_suffix('W').and_then(|day| number(day, 1..=31)) {
            days.nearest_working |= 1 << day;
        } else if let Some(before) = token.strip_prefix("L-").and_then(|before| number(before, 1..=30))
            && self == Self::Quartz
        {
            days.before_last |= 1 << before;
        } else {
            return false;
        }
        true
    }

    /// Takes a token of the field weekday that counts weekdays in the month.
    fn special_weekday(self, token: &str, weekdays: &mut Weekdays) -> bool {
        let weekday = |text: &str| -> Option<u8> {
            if let Some(named) = WEEKDAYS.iter().position(|name| *name == text) {
                return u8::try_from(named).ok();
            }
            match (self, text.parse().ok()?) {
                (Self::Crontab, number @ 0..=7) => Some(number % 7),
                (Self::Quartz, number @ 1..=7) => Some(number - 1),
                _ => None,
            }
        };
        if let Some((day, nth)) = token.split_once('#')
            && let (Some(day), Ok(nth @ 1..=5)) = (weekday(day), nth.parse::<usize>())
        {
            weekdays.nth[nth - 1] |= 1 << day;
        } else if token == "L" && self == Self::Quartz {
            weekdays.plain |= 1 << 6;
        } else if let Some(day) = token.strip_suffix('L').and_then(weekday) {
            weekdays.last |= 1 << day;
        } else {
            return false;
        }
        true
    }

    /// Whether a token is made of stars, numbers and names of this field only: the libraries let more pass than they should.
    fn is_well_formed(self, field: Field, token: &str) -> bool {
        let names = match field {
            Field::Month => MONTHS,
            Field::Weekday => WEEKDAYS,
            _ => &[],
        };
        let is_day = matches!(field, Field::Day | Field::Weekday);
        token.split(['-', '/']).all(|part| {
            part == "*"
                || part == "?" && self == Self::Quartz && is_day
                || !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
                || names.iter().any(|name| name.eq_ignore_ascii_case(part))
        })
    }

    fn advice(self, field: Field, token: &str) -> String {
        let (first, last) = match (field, self) {
            (Field::Second | Field::Minute, _) => ("0", "59"),
            (Field::Hour, _) => ("0", "23"),
            (Field::Day, _) => ("1", "31"),
            (Field::Month, _) if token.starts_with(char::is_alphabetic) => ("JAN", "DEC"),
            (Field::Month, _) => ("1", "12"),
            (Field::Weekday, _) if token.starts_with(char::is_alphabetic) => ("SUN", "SAT"),
            (Field::Weekday, Self::Crontab) => ("0", "6"),
            (Field::Weekday, Self::Quartz) => ("1", "7"),
            (Field::Year, _) => ("1970", "2100"),
        };
        let named = |text: &str| {
            [MONTHS, WEEKDAYS].iter().find_map(|names| names.iter().position(|name| name.eq_ignore_ascii_case(text)))
        };
        let number = |text: &str| text.parse().ok().or_else(|| named(text));
        if token == "?" && self == Self::Crontab {
            return "write `*`; the question mark is Quartz's (key `quartz`)".into();
        }
        if token.contains('~') {
            return "write one value and spread the start with `jitter`".into();
        }
        if token.eq_ignore_ascii_case("L") && field == Field::Weekday {
            return "name the weekday: `5L` is the last Friday of the month".into();
        }
        if let Some(step) = token.strip_prefix('/') {
            return format!("write the start too: `*/{step}`");
        }
        if token.ends_with("/0") {
            return "a step is at least 1".into();
        }
        if let Some((start, step)) = token.split_once('/')
            && number(start).is_some()
            && self == Self::Crontab
        {
            return format!("write the end too: `{start}-{last}/{step}`");
        }
        if let Some((from, to)) = token.split_once('-')
            && let (Some(low), Some(high)) = (number(from), number(to))
            && low > high
        {
            let range = |from: &str, to: &str| if from == to { from.into() } else { format!("{from}-{to}") };
            return format!("a range goes up: write it in two parts, `{},{}`", range(from, last), range(first, to));
        }
        let takes = match (field, self) {
            (Field::Second | Field::Minute, _) => "0 to 59",
            (Field::Hour, _) => "0 to 23",
            (Field::Day, Self::Crontab) => "1 to 31, `L` (the last), `LW` or `15W`",
            (Field::Day, Self::Quartz) => "1 to 31, `?`, `L` (the last), `L-3`, `LW` or `15W`",
            (Field::Month, _) => "1 to 12 or JAN to DEC",
            (Field::Weekday, Self::Crontab) => "0 to 7 or SUN to SAT (0 and 7 are Sunday), `5L` or `5#3`",
            (Field::Weekday, Self::Quartz) => "1 to 7 or SUN to SAT (1 is Sunday), `?`, `6L` or `6#3`",
            (Field::Year, _) => "1970 to 2100",
        };
        format!("it takes {takes}, lists `1,3`, ranges `1-5` and steps `*/5`")
    }
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Weekday => "weekday",
            Self::Year => "year",
        }
    }
}
