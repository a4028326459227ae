//! Which snapshots are kept: a pure function of the snapshots, the rules and the time. It decides as `restic forget` does.
//!
//! The snapshots of a group are looked at from the newest to the oldest. A counting rule (last, hourly, ... yearly) keeps a
//! snapshot when its hour, day, week, month or year is another one than that of the snapshot it kept before, until its
//! count is used up; that is, it keeps the newest of each. The hour is that of the clock where the snapshot was
//! made, and the week is the week of ISO 8601. `within` keeps what is younger than a span, and `within_daily` and the like
//! the newest of each day in a span. The span counts back from the newest snapshot that is not in the future, not from
//! now: a server that was off for a year has lost nothing when it is back. A snapshot that one rule keeps is kept.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// A snapshot, as far as the rules look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Tells it from all others.
    pub(crate) id: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub(crate) time: i64,
    /// What to add to UTC for the time of the clock where it was made, in seconds.
    pub(crate) utc_offset: i32,
    /// The host.
    pub(crate) host: String,
    /// What was saved.
    pub(crate) paths: Vec<String>,
    /// Its tags.
    pub(crate) tags: Vec<String>,
}

/// How many of a kind are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Count {
    /// So many.
    Of(u32),
    /// All.
    Unlimited,
    /// The rule is not there.
    #[default]
    None,
}

/// A time span in the units of the calendar: `2y5m7d3h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    /// Years.
    pub(crate) years: u32,
    /// Months.
    pub(crate) months: u32,
    /// Days.
    pub(crate) days: u32,
    /// Hours.
    pub(crate) hours: u32,
}

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Keep {
    /// The newest.
    pub(crate) last: Count,
    /// The newest of each hour, and so on.
    pub(crate) hourly: Count,
    /// Days.
    pub(crate) daily: Count,
    /// Weeks, which begin on Monday.
    pub(crate) weekly: Count,
    /// Months.
    pub(crate) monthly: Count,
    /// Years.
    pub(crate) yearly: Count,
    /// All of the last span.
    pub(crate) within: Option<Span>,
    /// The newest of each hour in the last span, and so on.
    pub(crate) within_hourly: Option<Span>,
    /// Days.
    pub(crate) within_daily: Option<Span>,
    /// Weeks.
    pub(crate) within_weekly: Option<Span>,
    /// Months.
    pub(crate) within_monthly: Option<Span>,
    /// Years.
    pub(crate) within_yearly: Option<Span>,
    /// Those that have all tags of one of these lists.
    pub(crate) tags: Vec<Vec<String>>,
}

/// What becomes of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fate {
    /// The snapshot.
    pub(crate) snapshot: Snapshot,
    /// The rules that keep it; when there is none, it is removed.
    pub(crate) kept_by: Vec<String>,
}

/// By what snapshots are grouped before the rules look at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupBy {
    /// By host.
    pub(crate) host: bool,
    /// By what was saved.
    pub(crate) paths: bool,
    /// By tags.
    pub(crate) tags: bool,
}

/// What the snapshots of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Group {
    /// The host, where it is grouped by.
    pub(crate) host: Option<String>,
    /// The paths in order, where it is grouped by.
    pub(crate) paths: Option<Vec<String>>,
    /// The tags in order, where it is grouped by.
    pub(crate) tags: Option<Vec<String>>,
}

impl Snapshot {
    /// The clock where it was made.
    pub(crate) fn local(&self) -> DateTime {
        let offset = Offset::from_seconds(self.utc_offset).unwrap_or(Offset::UTC);
        offset.to_datetime(Timestamp::from_millisecond(self.time).unwrap_or_default())
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')];
        units.iter().filter(|(count, _)| *count > 0).try_for_each(|(count, unit)| write!(f, "{count}{unit}"))
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is no span; write it in years, months, days and hours, such as `1y6m`, `30d` or `36h`")
        };
        let (mut span, mut rest) = (Self::default(), text.trim());
        while !rest.is_empty() {
            let digits = rest.find(|it: char| !it.is_ascii_digit()).ok_or_else(wrong)?;
            let count: u32 = rest[..digits].parse().map_err(|_| wrong())?;
            let unit = match rest.as_bytes()[digits] {
                b'y' => &mut span.years,
                b'm' => &mut span.months,
                b'd' => &mut span.days,
                b'h' => &mut span.hours,
                _ => return Err(wrong()),
            };
            *unit = count;
            rest = &rest[digits + 1..];
        }
        if span == Self::default() { Err(wrong()) } else { Ok(span) }
    }
}

impl Span {
    /// The moment that lies this span before another one: first years, months and days on the calendar, where what is
    /// too much of a month runs into the next (one month before March 31 is March 3), then hours.
    pub(crate) fn before(&self, from: &Snapshot) -> i64 {
        let local = from.local();
        let months = i64::from(local.year()) * 12 + i64::from(local.month())
            - 1
            - i64::from(self.years) * 12
            - i64::from(self.months);
        let first = i16::try_from(months.div_euclid(12)).ok().and_then(|year| {
            let month = i8::try_from(months.rem_euclid(12) + 1).ok()?;
            Date::new(year, month, 1).ok()
        });
        let days = i64::from(local.day()) - 1 - i64::from(self.days);
        let date = first.and_then(|first| first.checked_add(days.days()).ok());
        // Before all time.
        let Some(date) = date else { return i64::MIN };
        let offset = Offset::from_seconds(from.utc_offset).unwrap_or(Offset::UTC);
        let at = offset.to_timestamp(date.to_datetime(local.time())).ok();
        let at = at.and_then(|at| at.checked_sub(SignedDuration::from_hours(i64::from(self.hours))).ok());
        at.map_or(i64::MIN, Timestamp::as_millisecond)
    }
}

/// A part of the calendar, as a number that is another one for another hour, day, ...; nothing else is asked of it.
#[derive(Debug, Clone, Copy)]
enum Period {
    /// Each snapshot by itself.
    Each,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    fn of(self, at: DateTime, place: usize) -> i64 {
        let (year, month, day) = (i64::from(at.year()), i64::from(at.month()), i64::from(at.day()));
        match self {
            Self::Each => i64::try_from(place).unwrap_or(i64::MAX),
            Self::Hour => ((year * 100 + month) * 100 + day) * 100 + i64::from(at.hour()),
            Self::Day => (year * 100 + month) * 100 + day,
            Self::Week => {
                let week = at.date().iso_week_date();
                i64::from(week.year()) * 100 + i64::from(week.week())
            }
            Self::Month => year * 100 + month,
            Self::Year => year,
        }
    }
}

/// One rule that looks at periods, while it goes through the snapshots.
struct Rule {
    name: &'static str,
    period: Period,
    /// What it may still keep, and what it might at first; none where that has no bound.
    left: Option<(u32, u32)>,
    /// Only what is later than this moment, and what that is called.
    after: Option<(i64, Span)>,
    last: Option<i64>,
    kept: u32,
}

impl Rule {
    fn counting(name: &'static str, period: Period, count: Count) -> Option<Self> {
        let left = match count {
            Count::Of(0) | Count::None => return None,
            Count::Of(count) => Some((count, count)),
            Count::Unlimited => None,
        };
        Some(Self { name, period, left, after: None, last: None, kept: 0 })
    }

    fn within(name: &'static str, period: Period, span: Option<Span>, latest: Option<&Snapshot>) -> Option<Self> {
        let span = span?;
        let from = latest.map_or(i64::MIN, |latest| span.before(latest));
        Some(Self { name, period, left: None, after: Some((from, span)), last: None, kept: 0 })
    }

    /// Why it keeps the next older snapshot, if it does.
    fn keeps(&mut self, snapshot: &Snapshot, place: usize) -> Option<String> {
        if self.left.is_some_and(|(left, _)| left == 0) || self.after.is_some_and(|(after, _)| snapshot.time <= after) {
            return None;
        }
        let period = self.period.of(snapshot.local(), place);
        if self.last.replace(period) == Some(period) {
            return None;
        }
        self.kept += 1;
        let (name, kept) = (self.name, self.kept);
        Some(match (&mut self.left, self.after) {
            (Some((left, all)), _) => {
                *left -= 1;
                format!("{name} {kept} of {all}")
            }
            (None, Some((_, span))) => format!("{name} {span}"),
            (None, None) => format!("{name} {kept}"),
        })
    }
}

impl Keep {
    /// Whether it has a rule that keeps the newest snapshot of each group, which tags alone do not.
    pub(crate) fn has_time_rule(&self) -> bool {
        let counts = [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        let spans = [
            self.within,
            self.within_hourly,
            self.within_daily,
            self.within_weekly,
            self.within_monthly,
            self.within_yearly,
        ];
        counts.iter().any(|count| !matches!(count, Count::None | Count::Of(0))) || spans.iter().any(Option::is_some)
    }

    fn rules(&self, latest: Option<&Snapshot>) -> Vec<Rule> {
        let within = |name, period, span| Rule::within(name, period, span, latest);
        let rules = [
            Rule::counting("last", Period::Each, self.last),
            Rule::counting("hourly", Period::Hour, self.hourly),
            Rule::counting("daily", Period::Day, self.daily),
            Rule::counting("weekly", Period::Week, self.weekly),
            Rule::counting("monthly", Period::Month, self.monthly),
            Rule::counting("yearly", Period::Year, self.yearly),
            within("within", Period::Each, self.within),
            within("hourly within", Period::Hour, self.within_hourly),
            within("daily within", Period::Day, self.within_daily),
            within("weekly within", Period::Week, self.within_weekly),
            within("monthly within", Period::Month, self.within_monthly),
            within("yearly within", Period::Year, self.within_yearly),
        ];
        rules.into_iter().flatten().collect()
    }
}

/// What becomes of the snapshots of one group, the newest first. `now` is in milliseconds since the Unix epoch.
pub(crate) fn decide(mut snapshots: Vec<Snapshot>, keep: &Keep, now: i64) -> Vec<Fate> {
    snapshots.sort_by(|one, other| (other.time, &other.id).cmp(&(one.time, &one.id)));
    let latest = snapshots.iter().find(|snapshot| snapshot.time < now);
    let mut rules = keep.rules(latest);
    let decide = |(place, snapshot): (usize, Snapshot)| {
        let tagged = keep.tags.iter().filter(|tags| tags.iter().all(|tag| snapshot.tags.contains(tag)));
        let mut kept_by: Vec<_> = tagged.map(|tags| format!("tag {}", tags.join(","))).collect();
        kept_by.extend(rules.iter_mut().filter_map(|rule| rule.keeps(&snapshot, place)));
        Fate { snapshot, kept_by }
    };
    snapshots.into_iter().enumerate().map(decide).collect()
}

/// The snapshots by what they have in common.
pub(crate) fn group(snapshots: Vec<Snapshot>, by: GroupBy) -> BTreeMap<Group, Vec<Snapshot>> {
    let ordered = |texts: &[String]| {
        let mut texts = texts.to_vec();
        texts.sort();
        texts
    };
    let mut groups: BTreeMap<Group, Vec<Snapshot>> = BTreeMap::new();
    for snapshot in snapshots {
        let group = Group {
            host: by.host.then(|| snapshot.host.clone()),
            paths: by.paths.then(|| ordered(&snapshot.paths)),
            tags: by.tags.then(|| ordered(&snapshot.tags)),
        };
        groups.entry(group).or_default().push(snapshot);
    }
    groups
}
