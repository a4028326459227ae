//! What a drill tells: each source with its recovery time and point, a finding for whatever did not pass, the trend, metrics.

use serde::{Deserialize, Serialize};
use upkeep_plugin::config::{Size, Span};
use upkeep_plugin::{Report, Result, Severity, Table, metrics};

use crate::config::Source;
use crate::{Drilled, moment};

/// Drills that the table of the trend shows.
const SHOWN: usize = 10;

/// One drill of the past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Past {
    /// When it was, milliseconds since the Unix epoch.
    at: i64,
    sources: usize,
    /// Sources that did not pass.
    failed: Vec<String>,
    /// The age of the oldest snapshot, in milliseconds.
    age: Option<i64>,
    /// How long all sources took together, in milliseconds.
    duration: Option<i64>,
    bytes: u64,
}

impl Past {
    pub(crate) fn of(at: i64, shown: &[(Source, Option<Drilled>)]) -> Self {
        let known = || shown.iter().filter_map(|(_, drilled)| drilled.as_ref());
        let has_failed = |drilled: &Option<Drilled>| drilled.as_ref().is_none_or(|it| it.failed().next().is_some());
        let failed = shown.iter().filter(|(_, drilled)| has_failed(drilled));
        Self {
            at,
            sources: shown.len(),
            failed: failed.map(|(source, _)| source.name().to_owned()).collect(),
            age: known().filter_map(|it| it.age).max(),
            duration: known().map(|it| it.duration).sum::<Option<i64>>(),
            bytes: known().map(|it| it.bytes).sum(),
        }
    }
}

pub(crate) fn sum_up(shown: &[(Source, Result<Drilled, String>)], trend: &[Past]) -> Result<Report> {
    let Some(last) = trend.last() else { return Ok(Report::new("nothing was restored")) };
    let passed = last.sources - last.failed.len();
    let sources = match (passed, last.sources) {
        (1, 1) => "1 source restored".to_owned(),
        (passed, all) if passed == all => format!("{all} sources restored"),
        (passed, all) => format!("{passed} of {all} sources passed"),
    };
    let mut report = Report::new(format!(
        "{sources}: {} in {}; the oldest snapshot was {} old",
        Size(last.bytes),
        span(last.duration),
        span(last.age)
    ));
    let mut table = Table::new("Sources", ["SOURCE", "SNAPSHOT", "AGE", "SIZE", "TIME", "CHECKS", "RESULT"]);
    for (source, drilled) in shown {
        let (key, name) = (source.key(), source.name());
        match drilled {
            Ok(drilled) => {
                let failed = drilled.failed().count();
                let result = if failed == 0 { "passed".to_owned() } else { format!("{failed} failed") };
                table = table.row([
                    name,
                    if drilled.snapshot.is_empty() { "-" } else { &drilled.snapshot },
                    &span(drilled.age),
                    &Size(drilled.bytes).to_string(),
                    &span(drilled.duration),
                    &drilled.checks.len().to_string(),
                    &result,
                ]);
                for check in drilled.failed() {
                    let title = format!("{name}: {}", short(&check.expected));
                    let detail = format!(
                        "Expected: {}\nFound:    {}\nSnapshot: {}, {} old\n{}",
                        check.expected,
                        check.found,
                        drilled.snapshot,
                        span(drilled.age),
                        remedy(&check.key)
                    );
                    report = report.finding(Severity::High, format!("drill/{key}/{}", check.key), title, detail);
                }
                measure(&key, drilled)?;
            }
            Err(why) => {
                table = table.row([name, "-", "-", "-", "-", "-", "not tried"]);
                let title = format!("{name} was not tried");
                report = report.finding(Severity::High, format!("drill/{key}"), title, why);
            }
        }
    }
    metrics::gauge("restore_drill_failed_sources", &[], last.failed.len() as f64)?;
    Ok(report.table(table).table(trend_table(trend)))
}

/// The last drills, newest first.
fn trend_table(trend: &[Past]) -> Table {
    let mut table =
        Table::new("Trend", ["DRILL (UTC)", "PASSED", "OLDEST SNAPSHOT", "SIZE", "RECOVERY TIME", "FAILED"]);
    for past in trend.iter().rev().take(SHOWN) {
        table = table.row([
            moment::minute(past.at),
            format!("{} of {}", past.sources - past.failed.len(), past.sources),
            span(past.age),
            Size(past.bytes).to_string(),
            span(past.duration),
            if past.failed.is_empty() { "-".to_owned() } else { past.failed.join(", ") },
        ]);
    }
    table
}

/// Where to look next.
fn remedy(key: &str) -> &'static str {
    match key {
        "snapshot" => {
            "Does the task's name stand under [config], and does that task save this source? `upkeep backup list` shows what there is."
        }
        "age" => "Does the backup run, and does it succeed? `upkeep history` shows it.",
        "restore" => {
            "`upkeep backup check TASK --read-data` finds damage; `upkeep backup restore` shows what an operator would see."
        }
        "time" => {
            "A recovery would take longer than you allow: a faster disk, a nearer repository, or less data in one source."
        }
        _ => {
            "The backup is there, and what is in it is not what you expect: look at the source before the good snapshots are removed."
        }
    }
}

fn measure(key: &str, drilled: &Drilled) -> Result<()> {
    let labels = [("source", key)];
    if let Some(duration) = drilled.duration {
        metrics::gauge("restore_drill_seconds", &labels, duration as f64 / 1000.0)?;
    }
    if let Some(age) = drilled.age {
        metrics::gauge("restore_drill_age_seconds", &labels, age as f64 / 1000.0)?;
    }
    metrics::gauge("restore_drill_bytes", &labels, drilled.bytes as f64)?;
    Ok(metrics::gauge("restore_drill_failed_checks", &labels, drilled.failed().count() as f64)?)
}

fn span(ms: Option<i64>) -> String {
    ms.map_or("-".to_owned(), |ms| Span(ms).to_string())
}

fn short(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}
