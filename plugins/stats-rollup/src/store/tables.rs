//! The tables for people: plain numbers, for SQL and dashboards.
//!
//! They are made of the sections in the same transaction, so they never say anything else. Weeks and months are merged from
//! days, not added up: a visitor of two days is one visitor of the week.

use std::collections::BTreeSet;
use std::fmt::Write;

use upkeep_plugin::sql::Value;
use upkeep_plugin::{Result, parameters};
use upkeep_rollup::ledger::Ledger;
use upkeep_rollup::{Chart, Day, Figures, Hits, Key, Page, Ranking, SEPARATOR, Section};

use super::{Merging, Statements, damaged};

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

/// Names of a ranking that are in the table; all of them are in the section.
const PLACES: usize = 100;

const INSERT: &str = "INSERT OR REPLACE INTO traffic VALUES
    (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// The rows of all that has changed.
pub(super) fn of(merging: &mut Merging<'_>) -> Result<Statements> {
    let mut statements = Statements::new();
    let mut days = BTreeSet::new();
    let changed: Vec<Key> = merging.changed.keys().copied().collect();
    for key in changed {
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
            _ => {}
        }
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
            ranking.top().take(PLACES).map(page).collect()
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
            ranking.top().take(PLACES).map(hits).collect()
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
