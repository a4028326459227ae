//! What a run tells.

use std::collections::BTreeMap;

use upkeep_plugin::{Context, Error, Finding, HostResult, Place, Report, Result, Severity, Table, metrics};
use upkeep_rollup::Calendar;

use crate::config::{Origin, Stats};
use crate::gone::Lost;
use crate::merge::Merged;
use crate::store::{Day, Store};

/// Of a hundred lines, so many that cannot be read are a finding.
const MALFORMED: u64 = 5;

pub(crate) fn of(stats: &Stats, ctx: &Context, store: &Store, merged: &BTreeMap<String, Merged>) -> Result<Report> {
    let calendar = Calendar::new(&ctx.timezone).map_err(|error| Error::config(error.to_string()))?;
    let total = |of: fn(&Merged) -> u64| merged.values().map(of).sum::<u64>();
    let lines = total(|it| it.lines);
    let (late, malformed) = (total(|it| it.late), total(|it| it.malformed));
    let mut summary = format!("{lines} lines counted");
    for (count, word) in [(late, "late"), (malformed, "malformed")] {
        if count > 0 {
            summary = format!("{summary}, {count} {word}");
        }
    }
    let lost = total(|it| it.lost.len() as u64);
    if lost > 0 {
        summary = format!("{summary}; of {lost} {} lines may be lost", if lost == 1 { "file" } else { "files" });
    }
    let mut counted = Table::new("Counted", ["SOURCE", "LINES", "LATE", "MALFORMED", "FILES", "PUT OFF", "LOST"]);
    let mut last = Table::new(
        "Last day",
        ["SOURCE", "DAY", "REQUESTS", "PAGES", "VISITORS", "NEW", "SESSIONS", "4XX", "5XX", "P95"],
    );
    let mut report = Report::new(summary);
    for source in stats.origins() {
        let Some(of) = merged.get(source.name()) else { continue };
        let [files, put_off, lost] = [of.files.len(), of.put_off.len(), of.lost.len()].map(|it| it as u64);
        let numbers = [of.lines, of.late, of.malformed, files, put_off, lost];
        counted = counted.row(std::iter::once(source.name().to_owned()).chain(numbers.map(|it| it.to_string())));
        if let Some(day) = store.last_day(source.name())? {
            last = last.row(cells(source.name(), &day));
        }
        report.findings.extend(findings(source, of));
        report.findings.extend(of.lost.iter().map(|it| of_lost(source, it, &calendar)));
        tell(source.name(), of)?;
    }
    Ok(report.table(counted).table(last))
}

fn cells(source: &str, day: &Day) -> Vec<String> {
    let p95 = day.p95_us.map_or_else(|| "-".to_owned(), |it| format!("{:.1} ms", it as f64 / 1_000.0));
    let numbers = [day.requests, day.pages, day.visitors, day.new, day.sessions, day.s4xx, day.s5xx];
    let first = [source.to_owned(), day.start.clone()];
    first.into_iter().chain(numbers.map(|it| it.to_string())).chain([p95]).collect()
}

fn tell(source: &str, of: &Merged) -> HostResult<()> {
    let ok = of.lines - of.late;
    for (outcome, count) in [("counted", ok), ("late", of.late), ("malformed", of.malformed)] {
        metrics::count("lines", &[("source", source), ("outcome", outcome)], count as f64)?;
    }
    Ok(())
}

fn findings(source: Origin<'_>, of: &Merged) -> Vec<Finding> {
    let mut findings = Vec::new();
    if of.malformed * 100 > (of.lines + of.malformed) * MALFORMED {
        let sample = of.samples.first().map_or_else(String::new, |(path, reason, line)| {
            format!(" The first, in {}: {reason}: `{line}`", source.place(path))
        });
        let all = of.lines + of.malformed;
        findings.push(Finding {
            rule: Some("lines-malformed".to_owned()),
            ..Finding::new(
                Severity::Medium,
                format!("malformed/{}", source.name()),
                format!("{} of {all} lines of {} are not in its format", of.malformed, source.name()),
                format!(
                    "They are in no figure. Does `format` say what the server writes (`log_format`, `LogFormat`)?{sample}"
                ),
            )
        });
    }
    for (path, why) in &of.damage {
        let shown = source.place(path);
        findings.push(Finding {
            rule: Some("log-damaged".to_owned()),
            place: Some(Place { path: shown.clone(), line: None }),
            ..Finding::new(
                Severity::Medium,
                format!("damaged/{shown}"),
                format!("{shown} cannot be read to its end"),
                format!("{why}. What stands before that place is counted. Was the disk full when it was compressed?"),
            )
        });
    }
    findings
}

fn of_lost(source: Origin<'_>, lost: &Lost, calendar: &Calendar) -> Finding {
    let shown = source.place(&lost.path);
    let rest = match lost.size.saturating_sub(lost.counted) {
        0 => String::new(),
        rest => format!(", {rest} were not"),
    };
    Finding {
        rule: Some("log-lost".to_owned()),
        place: Some(Place { path: shown.clone(), line: None }),
        ..Finding::new(
            Severity::Medium,
            format!("lost/{}/{}", source.name(), lost.path),
            format!("{shown} is gone, and lines may be lost with it"),
            format!(
                "It still grew when it was seen last, at {}: {} bytes of it were counted{rest}. What was written to it after \
                 that is in no figure. Run the task more often than the log is rotated, and keep more files that are rotated \
                 (`rotate`, `delaycompress`). If it is still there under another name, `files` has to fit that name.",
                calendar.clock(lost.seen_ms / 1_000),
                lost.counted,
            ),
        )
    }
}
