//! Figures as CSV (RFC 4180): a header, then a line for each span, name, step or first day, with CR LF at its end.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::stats::events::{AFTER, EventSpan, FunnelStats};
use crate::stats::{Figures, Stats, Top};

const SPANS: [&str; 31] = [
    "source",
    "level",
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
    "events",
    "users",
    "new_users",
];

/// Columns of rows that are of events only; the others are of requests only.
const OF_EVENTS: usize = 3;

const NAMES: [&str; 9] = ["source", "ranking", "place", "name", "hits", "bytes", "time_us", "p95_us", "users"];

const FUNNELS: [&str; 7] = ["source", "funnel", "first", "last", "step", "name", "users"];

pub(super) fn write(stats: &Stats, top: Option<Top>, out: &mut dyn Write) -> io::Result<()> {
    match top {
        None => rows(stats, out),
        Some(Top::Funnels) => funnels(stats, out),
        Some(Top::Retention) => retention(stats, out),
        Some(top) => names(stats, top, out),
    }
}

/// Rows of access logs and of events have the same columns: a task may count both.
fn rows(stats: &Stats, out: &mut dyn Write) -> io::Result<()> {
    line(SPANS.map(Cow::Borrowed), out)?;
    for source in &stats.sources {
        let names = |start| [source.source.as_str(), stats.by.name(), start].map(Cow::Borrowed);
        for span in &source.spans {
            let numbers = numbers(&span.figures).into_iter().chain([None; OF_EVENTS]);
            line(names(&span.start).into_iter().chain(numbers.map(optional)), out)?;
        }
        for EventSpan { start, figures: it } in source.events.iter().flat_map(|it| &it.spans) {
            let of_requests = [None; SPANS.len() - OF_EVENTS - 3];
            let numbers = of_requests.into_iter().chain([it.events, it.users, it.new_users].map(Some));
            line(names(start).into_iter().chain(numbers.map(optional)), out)?;
        }
    }
    Ok(())
}

/// A line for each step.
fn funnels(stats: &Stats, out: &mut dyn Write) -> io::Result<()> {
    line(FUNNELS.map(Cow::Borrowed), out)?;
    for source in &stats.sources {
        for funnel in source.events.iter().flat_map(|it| &it.funnels) {
            for (number, step) in funnel.steps.iter().enumerate() {
                let (number, users) = ((number + 1).to_string(), step.users.to_string());
                let FunnelStats { funnel, first, last, .. } = funnel;
                let fields = [&source.source, funnel, first, last, &number, &step.name, &users];
                line(fields.map(|it| Cow::Borrowed(it.as_str())), out)?;
            }
        }
    }
    Ok(())
}

/// A line for each first day.
fn retention(stats: &Stats, out: &mut dyn Write) -> io::Result<()> {
    let after = AFTER.map(|days| Cow::Owned(format!("after_{days}")));
    line(["source", "start", "users"].map(Cow::Borrowed).into_iter().chain(after), out)?;
    for source in &stats.sources {
        for cohort in source.events.iter().flat_map(|it| &it.retention) {
            let names = [source.source.as_str(), &cohort.start].map(Cow::Borrowed);
            let numbers = std::iter::once(Some(cohort.users)).chain(cohort.after.iter().map(|it| it.users));
            line(names.into_iter().chain(numbers.map(optional)), out)?;
        }
    }
    Ok(())
}

fn optional<'a>(value: Option<u64>) -> Cow<'a, str> {
    value.map_or(Cow::Borrowed(""), |it| Cow::Owned(it.to_string()))
}

/// A line for each name of a ranking.
fn names(stats: &Stats, top: Top, out: &mut dyn Write) -> io::Result<()> {
    line(NAMES.map(Cow::Borrowed), out)?;
    for source in &stats.sources {
        for ranking in source.rankings.iter().filter(|it| it.top == top) {
            for (number, place) in ranking.names.iter().enumerate() {
                let number = (number + 1).to_string();
                let names = [source.source.as_str(), ranking.top.name(), &number, &place.name].map(Cow::Borrowed);
                let numbers = [Some(place.hits), place.bytes, place.time_us, place.p95_us, place.users];
                line(names.into_iter().chain(numbers.map(optional)), out)?;
            }
        }
    }
    Ok(())
}

/// In the order of the header.
fn numbers(it: &Figures) -> [Option<u64>; 25] {
    [
        Some(it.requests),
        Some(it.pages),
        Some(it.bytes),
        Some(it.s1xx),
        Some(it.s2xx),
        Some(it.s3xx),
        Some(it.s4xx),
        Some(it.s5xx),
        it.visitors,
        it.new_visitors,
        it.returning_visitors,
        Some(it.sessions),
        Some(it.bounces),
        Some(it.session_seconds),
        Some(it.session_pages),
        Some(it.timed),
        Some(it.time_us),
        it.p50_us,
        it.p90_us,
        it.p95_us,
        it.p99_us,
        it.max_us,
        Some(it.bots),
        Some(it.tools),
        Some(it.late),
    ]
}

fn line<'a>(fields: impl IntoIterator<Item = Cow<'a, str>>, out: &mut dyn Write) -> io::Result<()> {
    let fields: Vec<String> = fields.into_iter().map(|it| quoted(&it).into_owned()).collect();
    write!(out, "{}\r\n", fields.join(","))
}

/// A field in quotes if it has to be.
fn quoted(field: &str) -> Cow<'_, str> {
    match field.contains([',', '"', '\r', '\n']) {
        true => Cow::Owned(format!("\"{}\"", field.replace('"', "\"\""))),
        false => Cow::Borrowed(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::stats::tests::{shop_events, stats};

    fn written(top: Option<Top>) -> String {
        let mut out = Vec::new();
        let mut stats = stats();
        stats.sources[0].source = "the \"shop\", new\nand old".to_owned();
        write(&stats, top, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_with_separators_are_quoted() {
        let fields = ["plain", "", "a,b", "say \"hi\"", "two\nlines", "cr\rlf", "ä"].map(Cow::Borrowed);
        let mut out = Vec::new();
        line(fields, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "plain,,\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",\"cr\rlf\",ä\r\n"
        );
    }

    #[test]
    fn each_span_has_a_line_with_as_many_fields_as_the_header() {
        let text = written(None);
        let name = "\"the \"\"shop\"\", new\nand old\"";
        let lines: Vec<&str> = text.strip_suffix("\r\n").unwrap().split("\r\n").collect();
        assert_eq!(lines[0], SPANS.join(","));
        assert_eq!(lines.len(), 1 + 14 + 14);
        for line in &lines[1..15] {
            let rest = line.strip_prefix(&format!("{name},day,2026-11-")).unwrap();
            assert_eq!(rest.split(',').count(), SPANS.len() - 2, "{line}");
        }
        assert!(lines[15].ends_with(",7,,,"), "late stands last of requests: {}", lines[15]);
    }

    #[test]
    fn rows_of_events_have_the_columns_behind_those_of_requests() {
        let mut both = stats();
        both.sources.extend(shop_events(800).sources);
        let mut out = Vec::new();
        write(&both, None, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.strip_suffix("\r\n").unwrap().split("\r\n").collect();
        assert_eq!(lines.len(), 1 + 3 * 14);
        assert!(lines.iter().all(|it| it.split(',').count() == SPANS.len()), "{text}");
        assert_eq!(lines[29], format!("shop-events,day,2026-11-12{},32000,800,800", ",".repeat(25)));
        assert!(lines[0].ends_with(",late,events,users,new_users"));
    }

    #[test]
    fn events_funnels_and_retention_have_a_line_for_each_name_step_and_first_day() {
        let text = [Top::Events, Top::Funnels, Top::Retention].map(|top| {
            let mut out = Vec::new();
            write(&shop_events(800), Some(top), &mut out).unwrap();
            String::from_utf8(out).unwrap().replace("\r\n", "\\r\\n\n")
        });
        insta::assert_snapshot!(text.concat());
    }

    #[test]
    fn a_ranking_has_a_line_for_each_name() {
        insta::assert_snapshot!(written(Some(Top::Pages)).replace("\r\n", "\\r\\n\n"));
    }
}
