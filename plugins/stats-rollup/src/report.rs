//! What a run tells.

use std::collections::BTreeMap;

use upkeep_plugin::{Finding, HostResult, Place, Report, Result, Severity, Table, metrics};

use crate::config::{Origin, Stats};
use crate::merge::Merged;
use crate::store::{Day, Store};

/// Of a hundred lines, so many that cannot be read are a finding.
const MALFORMED: u64 = 5;

pub(crate) fn of(stats: &Stats, store: &Store, merged: &BTreeMap<String, Merged>) -> Result<Report> {
    let total = |of: fn(&Merged) -> u64| merged.values().map(of).sum::<u64>();
    let lines = total(|it| it.lines);
    let (late, malformed) = (total(|it| it.late), total(|it| it.malformed));
    let mut summary = format!("{lines} lines counted");
    for (count, word) in [(late, "late"), (malformed, "malformed")] {
        if count > 0 {
            summary = format!("{summary}, {count} {word}");
        }
    }
    let mut counted = Table::new("Counted", ["SOURCE", "LINES", "LATE", "MALFORMED", "FILES", "PUT OFF"]);
    let mut last = Table::new(
        "Last day",
        ["SOURCE", "DAY", "REQUESTS", "PAGES", "VISITORS", "NEW", "SESSIONS", "4XX", "5XX", "P95"],
    );
    let mut report = Report::new(summary);
    for source in stats.origins() {
        let Some(of) = merged.get(source.name()) else { continue };
        let numbers = [of.lines, of.late, of.malformed, of.files.len() as u64, of.put_off.len() as u64];
        counted = counted.row(std::iter::once(source.name().to_owned()).chain(numbers.map(|it| it.to_string())));
        if let Some(day) = store.last_day(source.name())? {
            last = last.row(cells(source.name(), &day));
        }
        report.findings.extend(findings(source, of));
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
