//! Figures as CSV (RFC 4180): a header, then a line for each span or name, with CR LF at its end.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::stats::{Figures, Stats, Top};

const SPANS: [&str; 28] = [
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
];

const NAMES: [&str; 8] = ["source", "ranking", "place", "name", "hits", "bytes", "time_us", "p95_us"];

pub(super) fn write(stats: &Stats, top: Option<Top>, out: &mut dyn Write) -> io::Result<()> {
    let optional = |value: Option<u64>| value.map_or_else(String::new, |it| it.to_string());
    if top.is_none() {
        line(SPANS.map(Cow::Borrowed), out)?;
        for source in &stats.sources {
            for span in &source.spans {
                let names = [source.source.as_str(), stats.by.name(), &span.start].map(Cow::Borrowed);
                line(names.into_iter().chain(numbers(&span.figures).map(optional).map(Cow::Owned)), out)?;
            }
        }
        return Ok(());
    }
    line(NAMES.map(Cow::Borrowed), out)?;
    for source in &stats.sources {
        for ranking in source.rankings.iter().filter(|it| Some(it.top) == top) {
            for (number, place) in ranking.names.iter().enumerate() {
                let number = (number + 1).to_string();
                let names = [source.source.as_str(), ranking.top.name(), &number, &place.name].map(Cow::Borrowed);
                let numbers = [Some(place.hits), place.bytes, place.time_us, place.p95_us];
                line(names.into_iter().chain(numbers.map(optional).map(Cow::Owned)), out)?;
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
    use crate::cli::stats::tests::stats;

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
        assert!(lines[15].ends_with(",7"), "late stands last: {}", lines[15]);
    }

    #[test]
    fn a_ranking_has_a_line_for_each_name() {
        insta::assert_snapshot!(written(Some(Top::Pages)).replace("\r\n", "\\r\\n\n"));
    }
}
