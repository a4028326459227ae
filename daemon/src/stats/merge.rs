//! Rows, their total and rankings, merged from sections.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use upkeep_rollup::{Chart, Day, Hits, Key, Page, Ranking, SEPARATOR, Traffic};

use super::events;
use super::read::{Database, Figured, Source};
use super::span::Span;
use super::{Figures, Level, NAMES, Place, RankingStats, SourceStats, SpanFigures, Top};

/// Answers of a page whose time is known, below which it stands behind the others in the ranking of the slowest: of two answers,
/// the 95th of a hundred says nothing.
const ENOUGH: u64 = 10;

/// All that is asked of a log.
pub(super) fn source(
    database: &Database,
    Source { name, lines, late, malformed }: Source,
    span: &Span,
    top: Option<Top>,
) -> Result<SourceStats, Figured> {
    let (spans, total) = match span.by {
        Level::Hour => hours(database, &name, span)?,
        _ => days(database, &name, span)?,
    };
    let ends = database.ends(&name, span.by)?;
    let events = events::of(database, &name, span, top)?;
    let mut rankings = match (&events, &ends) {
        // There are none, not empty ones.
        (Some(_), None) => Vec::new(),
        _ if !span.is_of_days() => Vec::new(),
        _ => rankings(database, &name, span, top)?,
    };
    let (events, ends) = match events {
        Some(of) => {
            rankings.extend(of.names);
            (Some(of.stats), ends.or(Some(of.ends)))
        }
        None => (None, ends),
    };
    let (first, last) = ends.unzip();
    Ok(SourceStats { source: name, first, last, lines, late, malformed, spans, total, rankings, events })
}

/// The first day of the row that a day is in.
pub(super) fn begin(by: Level, day: Day) -> Day {
    match by {
        Level::Week => day.week(),
        Level::Month => day.month(),
        Level::Hour | Level::Day => day,
    }
}

/// Hours, also those in which nothing happened, as far as hours are kept.
fn hours(database: &Database, source: &str, span: &Span) -> Result<(Vec<SpanFigures>, Figures), Figured> {
    let mut calendar = span.calendar()?;
    let (first, last) = span.moments();
    let kept = database.numbers(source, "hour", i64::MIN, i64::MAX)?;
    let (Some(&oldest), Some(&newest)) = (kept.first(), kept.last()) else { return Ok(Default::default()) };
    let (mut spans, mut total) = (Vec::new(), Traffic::default());
    let (mut at, end) = (first.max(oldest), last.min(newest + 1));
    while at < end
        && let Some(hour) = calendar.hour(at)
    {
        if span.has(hour) {
            let traffic = match kept.binary_search(&hour.start) {
                Ok(_) => traffic(database, source, Key::Hour(hour.start))?.unwrap_or_default(),
                Err(_) => Traffic::default(),
            };
            total.merge(&traffic);
            spans.push(SpanFigures { start: calendar.clock(hour.start), figures: of_hours(&traffic) });
        }
        at = hour.end;
    }
    Ok((spans, of_hours(&total)))
}

/// Who is new is known of days only.
fn of_hours(traffic: &Traffic) -> Figures {
    Figures { new_visitors: None, returning_visitors: None, ..of_days(traffic) }
}

/// Days, weeks or months. A day without lines is a row of zeros, as long as there are figures before it and behind it.
fn days(database: &Database, source: &str, span: &Span) -> Result<(Vec<SpanFigures>, Figures), Figured> {
    let (first, last) = span.days();
    let begin = |day: Day| begin(span.by, day);
    let kept = database.numbers(source, "day", i64::MIN, i64::MAX)?;
    let mut total = Traffic::default();
    let mut spans: BTreeMap<i64, SpanFigures> = BTreeMap::new();
    if let (Some(&oldest), Some(&newest)) = (kept.first(), kept.last()) {
        let mut under_way: Option<(Day, Traffic)> = None;
        for number in oldest.max(first.0.into())..=newest.min(last.0.into()) {
            let day = Day(number as i32);
            let traffic = match kept.binary_search(&number) {
                Ok(_) => traffic(database, source, Key::Day(day))?.unwrap_or_default(),
                Err(_) => Traffic::default(),
            };
            total.merge(&traffic);
            match &mut under_way {
                Some((of, sum)) if *of == begin(day) => sum.merge(&traffic),
                _ => finish(under_way.replace((begin(day), traffic)), &mut spans),
            }
        }
        finish(under_way, &mut spans);
    }
    // Weeks and months are kept longer than the days that they were merged from.
    let mut is_whole = true;
    if span.by != Level::Day {
        let oldest = kept.first().map_or(i64::MAX, |it| *it);
        for (number, row) in database.rows(source, span.by, first.0.into(), last.0.into())? {
            let end = match span.by {
                Level::Month => i64::from(Day(number as i32 + 31).month().0),
                _ => number + 7,
            };
            let merged = spans.get(&number).map_or(0, |it| it.figures.requests);
            if number < oldest && end <= i64::from(last.0) + 1 && row.figures.requests > merged {
                is_whole = false;
                spans.insert(number, row);
            }
        }
    }
    let spans: Vec<SpanFigures> = spans.into_values().collect();
    let total = if is_whole { of_days(&total) } else { added(&spans) };
    Ok((spans, total))
}

fn finish(done: Option<(Day, Traffic)>, spans: &mut BTreeMap<i64, SpanFigures>) {
    if let Some((day, traffic)) = done {
        spans.insert(day.0.into(), SpanFigures { start: day.to_string(), figures: of_days(&traffic) });
    }
}

/// What can be added up of rows whose sections are gone; visitors and percentiles cannot.
fn added(spans: &[SpanFigures]) -> Figures {
    let mut total = Figures::default();
    let mut new = Some(0);
    for SpanFigures { figures: it, .. } in spans {
        total.requests += it.requests;
        total.pages += it.pages;
        total.bytes += it.bytes;
        total.s1xx += it.s1xx;
        total.s2xx += it.s2xx;
        total.s3xx += it.s3xx;
        total.s4xx += it.s4xx;
        total.s5xx += it.s5xx;
        total.sessions += it.sessions;
        total.bounces += it.bounces;
        total.session_seconds += it.session_seconds;
        total.session_pages += it.session_pages;
        total.timed += it.timed;
        total.time_us += it.time_us;
        total.max_us = total.max_us.max(it.max_us);
        total.bots += it.bots;
        total.tools += it.tools;
        total.late += it.late;
        new = new.zip(it.new_visitors).map(|(all, some): (u64, u64)| all + some);
    }
    Figures { new_visitors: new, ..total }
}

fn traffic(database: &Database, source: &str, key: Key) -> Result<Option<Traffic>, Figured> {
    let section = database.section(source, key)?;
    Ok(section.map(|it| Traffic::decode(&it.bytes)).transpose()?)
}

fn of_days(traffic: &Traffic) -> Figures {
    let figures = traffic.figures();
    let timed = |value: u64| (figures.timed > 0).then_some(value);
    Figures {
        requests: figures.requests,
        pages: figures.pages,
        bytes: figures.bytes,
        s1xx: figures.s1xx,
        s2xx: figures.s2xx,
        s3xx: figures.s3xx,
        s4xx: figures.s4xx,
        s5xx: figures.s5xx,
        visitors: Some(figures.visitors),
        new_visitors: Some(figures.new),
        returning_visitors: Some(figures.returning),
        sessions: figures.sessions,
        bounces: figures.bounces,
        session_seconds: figures.session_seconds,
        session_pages: figures.session_pages,
        timed: figures.timed,
        time_us: figures.time_sum,
        p50_us: timed(figures.p50),
        p90_us: timed(figures.p90),
        p95_us: timed(figures.p95),
        p99_us: timed(figures.p99),
        max_us: timed(figures.max),
        bots: figures.bots,
        tools: figures.tools,
        late: figures.late,
    }
}

/// The rankings of the days together: one, or all.
fn rankings(database: &Database, source: &str, span: &Span, top: Option<Top>) -> Result<Vec<RankingStats>, Figured> {
    let (first, last) = span.days();
    let days = database.numbers(source, "day", first.0.into(), last.0.into())?;
    let wants = |it: Top| top.is_none_or(|top| top == it);
    let mut rankings = Vec::new();
    if wants(Top::Pages) || wants(Top::Slow) {
        let pages = merged(database, source, &days, Chart::Pages, Ranking::<Page>::decode, Ranking::merge)?;
        let hits = pages.as_ref().map_or(0, |it| it.total().hits);
        let all: Vec<Place> = pages.iter().flat_map(|it| it.top().map(page)).map(|it| it.0).collect();
        if wants(Top::Pages) {
            rankings.push(RankingStats { top: Top::Pages, names: all.iter().take(NAMES).cloned().collect(), hits });
        }
        if wants(Top::Slow) {
            let mut slow: Vec<(Place, u64)> = pages.iter().flat_map(|it| it.top().map(page)).collect();
            slow.retain(|it| it.1 > 0);
            // As they are, those with more hits stand first: of equal ones they stay in front.
            slow.sort_by_key(|(place, timed)| (*timed < ENOUGH, Reverse(place.p95_us)));
            let names = slow.into_iter().take(NAMES).map(|it| it.0).collect();
            rankings.push(RankingStats { top: Top::Slow, names, hits });
        }
    }
    for (top, chart) in [
        (Top::Entries, Chart::Entries),
        (Top::Exits, Chart::Exits),
        (Top::Referrers, Chart::Referrers),
        (Top::Countries, Chart::Countries),
        (Top::Agents, Chart::Agents),
        (Top::Errors, Chart::Errors),
    ] {
        if wants(top) {
            let ranking = merged(database, source, &days, chart, Ranking::<Hits>::decode, Ranking::merge)?;
            let hits = |(name, hits): (&str, &Hits)| Place {
                name: shown(name),
                hits: hits.0,
                users: None,
                bytes: None,
                time_us: None,
                p95_us: None,
            };
            let names = ranking.iter().flat_map(|it| it.top().take(NAMES).map(hits)).collect();
            rankings.push(RankingStats { top, names, hits: ranking.as_ref().map_or(0, |it| it.total().0) });
        }
    }
    rankings.sort_by_key(|it| it.top);
    Ok(rankings)
}

/// A page, and how many of its answers have a time.
fn page((name, page): (&str, &Page)) -> (Place, u64) {
    let timed = page.times.count();
    let place = Place {
        name: shown(name),
        hits: page.hits,
        users: None,
        bytes: Some(page.bytes),
        time_us: (timed > 0).then(|| page.times.sum()),
        p95_us: page.times.quantile(0.95),
    };
    (place, timed)
}

/// A ranking of each day as one, read one by one: each may hold ten thousand names.
fn merged<R>(
    database: &Database,
    source: &str,
    days: &[i64],
    chart: Chart,
    decode: impl Fn(&[u8]) -> Result<R, upkeep_rollup::Damaged>,
    merge: impl Fn(&mut R, &R),
) -> Result<Option<R>, Figured> {
    let mut all: Option<R> = None;
    for day in days {
        let Some(section) = database.section(source, Key::Chart(Day(*day as i32), chart))? else { continue };
        let next = decode(&section.bytes)?;
        match &mut all {
            Some(all) => merge(all, &next),
            None => all = Some(next),
        }
    }
    Ok(all)
}

/// A name of several parts, with spaces between them.
fn shown(name: &str) -> String {
    let parts: Vec<&str> = name.split(SEPARATOR).filter(|it| !it.is_empty()).collect();
    parts.join(" ")
}
