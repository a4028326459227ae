//! The tables for people: plain numbers, for SQL and dashboards.
//!
//! They are made of the sections in the same transaction, so they never say anything else. Weeks and months are merged from
//! days, not added up: a visitor of two days is one visitor of the week.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use upkeep_plugin::sql::Value;
use upkeep_plugin::{Result, parameters};
use upkeep_rollup::ledger::Ledger;
use upkeep_rollup::{
    Chart, Cohort, Day, Figures, Hits, Key, PARTITIONS, Page, Ranking, SEPARATOR, Section, Steps, Usage, Users,
};

use super::{Merging, Statements, damaged};
use crate::config::FunnelOf;

/// One row for each source, level and span.
pub(super) const TRAFFIC: &str = "CREATE TABLE IF NOT EXISTS traffic (
    source TEXT NOT NULL, level TEXT NOT NULL, start TEXT NOT NULL, unix INTEGER NOT NULL,
    requests INTEGER NOT NULL, pages INTEGER NOT NULL, bytes INTEGER NOT NULL,
    s1xx INTEGER NOT NULL, s2xx INTEGER NOT NULL, s3xx INTEGER NOT NULL, s4xx INTEGER NOT NULL, s5xx INTEGER NOT NULL,
    visitors INTEGER NOT NULL, new_visitors INTEGER, returning_visitors INTEGER,
    sessions INTEGER NOT NULL, bounces INTEGER NOT NULL, session_seconds INTEGER NOT NULL,
    session_pages INTEGER NOT NULL, timed INTEGER NOT NULL, time_us INTEGER NOT NULL,
    p50_us INTEGER, p90_us INTEGER, p95_us INTEGER, p99_us INTEGER, max_us INTEGER,
    bots INTEGER NOT NULL, tools INTEGER NOT NULL, late INTEGER NOT NULL,
    PRIMARY KEY (source, level, unix)) STRICT";

/// The first names of each ranking of each day.
pub(super) const RANKING: &str = "CREATE TABLE IF NOT EXISTS ranking (
    source TEXT NOT NULL, day TEXT NOT NULL, chart TEXT NOT NULL, place INTEGER NOT NULL, name TEXT NOT NULL,
    hits INTEGER NOT NULL, bytes INTEGER, time_us INTEGER, p95_us INTEGER,
    PRIMARY KEY (source, day, chart, place)) STRICT";

/// Events of a day: how often, and by how many users.
pub(super) const EVENT: &str = "CREATE TABLE IF NOT EXISTS event (
    source TEXT NOT NULL, day TEXT NOT NULL, name TEXT NOT NULL, count INTEGER NOT NULL, users INTEGER NOT NULL,
    PRIMARY KEY (source, day, name)) STRICT";

/// Users who began a funnel on a day, and how many of them came to each step.
pub(super) const FUNNEL: &str = "CREATE TABLE IF NOT EXISTS funnel (
    source TEXT NOT NULL, funnel TEXT NOT NULL, day TEXT NOT NULL, step INTEGER NOT NULL, name TEXT NOT NULL,
    users INTEGER NOT NULL, PRIMARY KEY (source, funnel, day, step)) STRICT";

/// Users by their first day, and how many of them were here so many days later.
pub(super) const RETENTION: &str = "CREATE TABLE IF NOT EXISTS retention (
    source TEXT NOT NULL, day TEXT NOT NULL, users INTEGER NOT NULL, after_1 INTEGER NOT NULL, after_3 INTEGER NOT NULL,
    after_7 INTEGER NOT NULL, after_14 INTEGER NOT NULL, after_30 INTEGER NOT NULL, PRIMARY KEY (source, day)) STRICT";

/// The days of cohorts that are in the table.
const AFTER: [usize; 5] = [1, 3, 7, 14, 30];

/// Names of a ranking that are in the table; all of them are in the section.
pub(super) const PLACES: usize = 100;

const INSERT: &str = "INSERT OR REPLACE INTO traffic VALUES
    (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// The rows of some sections.
pub(super) fn of(merging: &mut Merging<'_>, keys: &[Key], funnels: &[FunnelOf]) -> Result<Statements> {
    let mut has_users = false;
    let mut statements = Statements::new();
    let mut days = BTreeSet::new();
    for &key in keys {
        match key {
            Key::Hour(start) => {
                if let Some(bytes) = load(merging, key)? {
                    let figures = figures(Section { key, bytes })?;
                    statements.push(row(merging.source, "hour", &merging.calendar.clock(start), start, &figures));
                }
            }
            Key::Day(day) => {
                days.insert(day);
                if let Some(bytes) = load(merging, key)? {
                    let figures = figures(Section { key, bytes })?;
                    statements.push(row(merging.source, "day", &day.to_string(), unix(day), &figures));
                }
            }
            Key::Chart(day, chart) => {
                if let Some(bytes) = load(merging, key)? {
                    ranking(merging.source, day, chart, &bytes, &mut statements)?;
                }
            }
            Key::Events(day) => {
                if let Some(bytes) = load(merging, key)? {
                    events(merging.source, day, &bytes, &mut statements)?;
                }
            }
            Key::Steps(id, day) => {
                let funnel = funnels.iter().find(|it| it.funnel().is_ok_and(|it| it.id() == id));
                if let (Some(funnel), Some(bytes)) = (funnel, load(merging, key)?) {
                    steps(merging.source, funnel, day, &bytes, &mut statements)?;
                }
            }
            Key::Users(_) => has_users = true,
            Key::Sessions(_) | Key::Seen(..) | Key::Visitors(..) | Key::Attempts(..) => {}
        }
    }
    if has_users {
        retention(merging, &mut statements)?;
    }
    let weeks: BTreeSet<Day> = days.iter().map(|it| it.week()).collect();
    let months: BTreeSet<Day> = days.iter().map(|it| it.month()).collect();
    for week in weeks {
        let span = (0..7).map(|number| Day(week.0 + number));
        span_of(merging, "week", week, span, &mut statements)?;
    }
    for month in months {
        let span = (0..31).map(|number| Day(month.0 + number)).filter(|it| it.month() == month);
        span_of(merging, "month", month, span, &mut statements)?;
    }
    Ok(statements)
}

fn load(merging: &mut Merging<'_>, key: Key) -> Result<Option<Vec<u8>>> {
    Ok(merging.load(key)?)
}

fn figures(section: Section) -> Result<Figures> {
    Ok(section.figures().map_err(damaged)?.unwrap_or_default())
}

/// A week or month, merged from its days.
fn span_of(
    merging: &mut Merging<'_>,
    level: &str,
    first: Day,
    days: impl Iterator<Item = Day>,
    statements: &mut Statements,
) -> Result<()> {
    let mut parts = Vec::new();
    for key in days.map(Key::Day) {
        parts.extend(load(merging, key)?.map(|bytes| Section { key, bytes }));
    }
    if let Some(section) = Section::merged(parts).map_err(damaged)? {
        let figures = figures(section)?;
        statements.push(row(merging.source, level, &first.to_string(), unix(first), &figures));
    }
    Ok(())
}

/// The midnight of a date, as if it were one of UTC: rows of days are dates, and have a number to be sorted by.
fn unix(day: Day) -> i64 {
    i64::from(day.0) * 86_400
}

fn row(source: &str, level: &str, start: &str, unix: i64, figures: &Figures) -> (String, Vec<Value>) {
    let number = |value: u64| Value::Integer(i64::try_from(value).unwrap_or(i64::MAX));
    let timed = |value: u64| if figures.timed > 0 { number(value) } else { Value::Null };
    // Who is new is known of days, and of what is made of days.
    let of_days = |value: u64| if level == "hour" { Value::Null } else { number(value) };
    let values = vec![
        Value::from(source),
        Value::from(level),
        Value::from(start),
        Value::Integer(unix),
        number(figures.requests),
        number(figures.pages),
        number(figures.bytes),
        number(figures.s1xx),
        number(figures.s2xx),
        number(figures.s3xx),
        number(figures.s4xx),
        number(figures.s5xx),
        number(figures.visitors),
        of_days(figures.new),
        of_days(figures.returning),
        number(figures.sessions),
        number(figures.bounces),
        number(figures.session_seconds),
        number(figures.session_pages),
        number(figures.timed),
        number(figures.time_sum),
        timed(figures.p50),
        timed(figures.p90),
        timed(figures.p95),
        timed(figures.p99),
        timed(figures.max),
        number(figures.bots),
        number(figures.tools),
        number(figures.late),
    ];
    (INSERT.to_owned(), values)
}

/// The first places of a ranking, in one statement.
fn ranking(source: &str, day: Day, chart: Chart, bytes: &[u8], statements: &mut Statements) -> Result<()> {
    let places: Vec<Place> = match chart {
        Chart::Pages => {
            let ranking = Ranking::<Page>::decode(bytes).map_err(damaged)?;
            let page = |(name, page): (&str, &Page)| Place {
                name: shown(name),
                hits: page.hits,
                bytes: Some(page.bytes),
                time: (page.times.count() > 0).then(|| page.times.sum()),
                p95: page.times.quantile(0.95),
            };
            ranking.first(PLACES).map(page).collect()
        }
        _ => {
            let ranking = Ranking::<Hits>::decode(bytes).map_err(damaged)?;
            let hits = |(name, hits): (&str, &Hits)| Place {
                name: shown(name),
                hits: hits.0,
                bytes: None,
                time: None,
                p95: None,
            };
            ranking.first(PLACES).map(hits).collect()
        }
    };
    let day = day.to_string();
    let remove = "DELETE FROM ranking WHERE source = ? AND day = ? AND chart = ?";
    statements.push((remove.to_owned(), parameters![source, day.as_str(), chart.name()].to_vec()));
    if places.is_empty() {
        return Ok(());
    }
    let mut insert =
        String::from("INSERT INTO ranking (source, day, chart, place, name, hits, bytes, time_us, p95_us) VALUES");
    let mut values = vec![Value::from(source), Value::from(day), Value::from(chart.name())];
    for (number, place) in places.into_iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        let at = values.len();
        let written = write!(
            insert,
            "{comma} (?1, ?2, ?3, {}, ?{}, ?{}, ?{}, ?{}, ?{})",
            number + 1,
            at + 1,
            at + 2,
            at + 3,
            at + 4,
            at + 5
        );
        debug_assert!(written.is_ok(), "a String takes anything");
        let integer = |value: u64| Value::Integer(i64::try_from(value).unwrap_or(i64::MAX));
        let optional = |value: Option<u64>| value.map_or(Value::Null, integer);
        values.extend([
            Value::from(place.name),
            integer(place.hits),
            optional(place.bytes),
            optional(place.time),
            optional(place.p95),
        ]);
    }
    statements.push((insert, values));
    Ok(())
}

/// The events of a day.
fn events(source: &str, day: Day, bytes: &[u8], statements: &mut Statements) -> Result<()> {
    let ranking = Ranking::<Usage>::decode(bytes).map_err(damaged)?;
    for (name, usage) in ranking.top() {
        let values = vec![
            Value::from(source),
            Value::from(day.to_string()),
            Value::from(name),
            Value::Integer(usage.count.cast_signed()),
            Value::Integer(usage.users.estimate().cast_signed()),
        ];
        statements.push(("INSERT OR REPLACE INTO event VALUES (?, ?, ?, ?, ?)".to_owned(), values));
    }
    Ok(())
}

/// The steps of a funnel on a day.
fn steps(source: &str, funnel: &FunnelOf, day: Day, bytes: &[u8], statements: &mut Statements) -> Result<()> {
    let Steps(users) = Steps::decode(bytes).map_err(damaged)?;
    for (number, (name, users)) in funnel.steps.iter().zip(users).enumerate() {
        let values = vec![
            Value::from(source),
            Value::from(funnel.name.as_str()),
            Value::from(day.to_string()),
            Value::Integer(number as i64 + 1),
            Value::from(name.as_str()),
            Value::Integer(users.cast_signed()),
        ];
        statements.push(("INSERT OR REPLACE INTO funnel VALUES (?, ?, ?, ?, ?, ?)".to_owned(), values));
    }
    Ok(())
}

/// All cohorts of a source: a user who comes back changes the row of a day long ago.
fn retention(merging: &mut Merging<'_>, statements: &mut Statements) -> Result<()> {
    let mut cohorts = BTreeMap::<Day, Cohort>::new();
    for key in (0..PARTITIONS).map(Key::Users) {
        if let Some(bytes) = load(merging, key)? {
            Users::decode(&bytes).map_err(damaged)?.cohorts(&mut cohorts);
        }
    }
    for (day, cohort) in cohorts {
        let numbers = std::iter::once(cohort.users).chain(AFTER.map(|days| cohort.retained(days).unwrap_or(0)));
        let values = [Value::from(merging.source), Value::from(day.to_string())];
        let values = values.into_iter().chain(numbers.map(|it| Value::Integer(it.cast_signed()))).collect();
        statements.push(("INSERT OR REPLACE INTO retention VALUES (?, ?, ?, ?, ?, ?, ?, ?)".to_owned(), values));
    }
    Ok(())
}

/// One line of a ranking.
struct Place {
    name: String,
    hits: u64,
    bytes: Option<u64>,
    time: Option<u64>,
    p95: Option<u64>,
}

/// A name of several parts, with spaces between them.
fn shown(name: &str) -> String {
    let parts: Vec<&str> = name.split(SEPARATOR).filter(|it| !it.is_empty()).collect();
    parts.join(" ")
}
