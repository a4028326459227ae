//! The tables for people: plain numbers, for SQL and dashboards.
//!
//! They are made of the sections in the same transaction, so they never say anything else. Weeks and months are merged from
//! days, not added up: a visitor of two days is one visitor of the week.

use std::collections::{BTreeMap, BTreeSet};

use upkeep_plugin::sql::Value;
use upkeep_plugin::{Result, parameters};
use upkeep_rollup::ledger::Ledger;
use upkeep_rollup::{
    Chart, Cohort, Day, Figures, Hits, Key, PARTITIONS, Page, Ranking, SEPARATOR, Section, Steps, Usage, Users,
};

use super::dialect::short;
use super::{Merging, Statements, damaged};
use crate::config::FunnelOf;

/// One row for each source, level and span.
pub(super) const TRAFFIC: &str = "@traffic (
    source NAME NOT NULL, level NAME NOT NULL, start NAME NOT NULL, unix NUMBER NOT NULL,
    requests NUMBER NOT NULL, pages NUMBER NOT NULL, bytes NUMBER NOT NULL,
    s1xx NUMBER NOT NULL, s2xx NUMBER NOT NULL, s3xx NUMBER NOT NULL, s4xx NUMBER NOT NULL, s5xx NUMBER NOT NULL,
    visitors NUMBER NOT NULL, new_visitors NUMBER, returning_visitors NUMBER,
    sessions NUMBER NOT NULL, bounces NUMBER NOT NULL, session_seconds NUMBER NOT NULL,
    session_pages NUMBER NOT NULL, timed NUMBER NOT NULL, time_us NUMBER NOT NULL,
    p50_us NUMBER, p90_us NUMBER, p95_us NUMBER, p99_us NUMBER, max_us NUMBER,
    bots NUMBER NOT NULL, tools NUMBER NOT NULL, late NUMBER NOT NULL,
    PRIMARY KEY (source, level, unix))";

/// The first names of each ranking of each day.
pub(super) const RANKING: &str = "@ranking (
    source NAME NOT NULL, day NAME NOT NULL, chart NAME NOT NULL, place NUMBER NOT NULL, name TEXT NOT NULL,
    hits NUMBER NOT NULL, bytes NUMBER, time_us NUMBER, p95_us NUMBER,
    PRIMARY KEY (source, day, chart, place))";

/// Events of a day: how often, and by how many users.
pub(super) const EVENT: &str = "@event (
    source NAME NOT NULL, day NAME NOT NULL, name NAME NOT NULL, count NUMBER NOT NULL, users NUMBER NOT NULL,
    PRIMARY KEY (source, day, name))";

/// Users who began a funnel on a day, and how many of them came to each step.
pub(super) const FUNNEL: &str = "@funnel (
    source NAME NOT NULL, funnel NAME NOT NULL, day NAME NOT NULL, step NUMBER NOT NULL, name NAME NOT NULL,
    users NUMBER NOT NULL, PRIMARY KEY (source, funnel, day, step))";

/// Users by their first day, and how many of them were here so many days later.
pub(super) const RETENTION: &str = "@retention (
    source NAME NOT NULL, day NAME NOT NULL, users NUMBER NOT NULL, after_1 NUMBER NOT NULL, after_3 NUMBER NOT NULL,
    after_7 NUMBER NOT NULL, after_14 NUMBER NOT NULL, after_30 NUMBER NOT NULL, PRIMARY KEY (source, day))";

/// The days of cohorts that are in the table.
const AFTER: [usize; 5] = [1, 3, 7, 14, 30];

/// Names of a ranking that are in the table; all of them are in the section.
pub(super) const PLACES: usize = 100;

/// What a row of traffic has besides its key.
const FIGURES: [&str; 26] = [
    "start",
    "requests",
    "pages",
    "bytes",
    "s1xx",
    "s2xx",
    "s3xx",
    "s4xx",
    "s5xx",
    "visitors",
    "new_visitors",
    "returning_visitors",
    "sessions",
    "bounces",
    "session_seconds",
    "session_pages",
    "timed",
    "time_us",
    "p50_us",
    "p90_us",
    "p95_us",
    "p99_us",
    "max_us",
    "bots",
    "tools",
    "late",
];

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
                    let clock = merging.calendar.clock(start);
                    statements.push(row(merging, "hour", &clock, start, &figures));
                }
            }
            Key::Day(day) => {
                days.insert(day);
                if let Some(bytes) = load(merging, key)? {
                    let figures = figures(Section { key, bytes })?;
                    statements.push(row(merging, "day", &day.to_string(), unix(day), &figures));
                }
            }
            Key::Chart(day, chart) => {
                if let Some(bytes) = load(merging, key)? {
                    ranking(merging.source, day, chart, &bytes, &mut statements)?;
                }
            }
            Key::Events(day) => {
                if let Some(bytes) = load(merging, key)? {
                    events(merging, day, &bytes, &mut statements)?;
                }
            }
            Key::Steps(id, day) => {
                let funnel = funnels.iter().find(|it| it.funnel().is_ok_and(|it| it.id() == id));
                if let (Some(funnel), Some(bytes)) = (funnel, load(merging, key)?) {
                    steps(merging, funnel, day, &bytes, &mut statements)?;
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
        statements.push(row(merging, level, &first.to_string(), unix(first), &figures));
    }
    Ok(())
}

/// The midnight of a date, as if it were one of UTC: rows of days are dates, and have a number to be sorted by.
fn unix(day: Day) -> i64 {
    i64::from(day.0) * 86_400
}

fn row(merging: &Merging<'_>, level: &str, start: &str, unix: i64, figures: &Figures) -> (String, Vec<Value>) {
    let number = |value: u64| Value::Integer(i64::try_from(value).unwrap_or(i64::MAX));
    let timed = |value: u64| if figures.timed > 0 { number(value) } else { Value::Null };
    // Who is new is known of days, and of what is made of days.
    let of_days = |value: u64| if level == "hour" { Value::Null } else { number(value) };
    let values = vec![
        Value::from(merging.source),
        Value::from(level),
        Value::Integer(unix),
        Value::from(start),
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
    (merging.store.put_row("traffic", &["source", "level", "unix"], &FIGURES), values)
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
    let remove = "DELETE FROM @ranking WHERE source = ? AND day = ? AND chart = ?";
    statements.push((remove.to_owned(), parameters![source, day.as_str(), chart.name()].to_vec()));
    if places.is_empty() {
        return Ok(());
    }
    let integer = |value: u64| Value::Integer(i64::try_from(value).unwrap_or(i64::MAX));
    let optional = |value: Option<u64>| value.map_or(Value::Null, integer);
    let rows = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?)"; places.len()].join(", ");
    let mut values = Vec::with_capacity(9 * places.len());
    for (number, place) in (1..).zip(places) {
        values.extend(parameters![source, day.as_str(), chart.name()]);
        values.extend([
            Value::Integer(number),
            Value::from(place.name),
            integer(place.hits),
            optional(place.bytes),
            optional(place.time),
            optional(place.p95),
        ]);
    }
    let insert = "INSERT INTO @ranking (source, day, chart, place, name, hits, bytes, time_us, p95_us) VALUES";
    statements.push((format!("{insert} {rows}"), values));
    Ok(())
}

/// The events of a day.
fn events(merging: &Merging<'_>, day: Day, bytes: &[u8], statements: &mut Statements) -> Result<()> {
    let ranking = Ranking::<Usage>::decode(bytes).map_err(damaged)?;
    for (name, usage) in ranking.top() {
        let values = vec![
            Value::from(merging.source),
            Value::from(day.to_string()),
            Value::from(short(name)),
            Value::Integer(usage.count.cast_signed()),
            Value::Integer(usage.users.estimate().cast_signed()),
        ];
        statements.push((merging.store.put_row("event", &["source", "day", "name"], &["count", "users"]), values));
    }
    Ok(())
}

/// The steps of a funnel on a day.
fn steps(merging: &Merging<'_>, funnel: &FunnelOf, day: Day, bytes: &[u8], statements: &mut Statements) -> Result<()> {
    let Steps(users) = Steps::decode(bytes).map_err(damaged)?;
    // The funnel may have had more steps when it was another one.
    let remove = "DELETE FROM @funnel WHERE source = ? AND funnel = ? AND day = ?".to_owned();
    statements.push((remove, parameters![merging.source, funnel.name.as_str(), day.to_string()].to_vec()));
    for (number, (name, users)) in funnel.steps.iter().zip(users).enumerate() {
        let values = vec![
            Value::from(merging.source),
            Value::from(funnel.name.as_str()),
            Value::from(day.to_string()),
            Value::Integer(number as i64 + 1),
            Value::from(name.as_str()),
            Value::Integer(users.cast_signed()),
        ];
        let key = ["source", "funnel", "day", "step"];
        statements.push((merging.store.put_row("funnel", &key, &["name", "users"]), values));
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
        let columns = ["users", "after_1", "after_3", "after_7", "after_14", "after_30"];
        statements.push((merging.store.put_row("retention", &["source", "day"], &columns), values));
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
