//! What a run tells: a table with a line for each source, a finding for whatever is not right, metrics.

use upkeep_plugin::repository::Summary;
use upkeep_plugin::{Context, Outcome, Report, Result, Severity, Table, metrics};

use crate::size::Size;
use crate::{Backup, Saved, Source, Totals, copies};

/// Problems that a finding names; the others are counted.
const MOST_PROBLEMS: usize = 20;

pub(crate) fn sum_up(ctx: &Context, repository: &str, outcomes: &[Outcome<Backup>]) -> Result<Report> {
    let columns = ["SOURCE", "FILES", "NEW", "CHANGED", "SIZE", "ADDED", "TIME", "SNAPSHOT"];
    let mut report = Report::new(summary(outcomes));
    let mut table = Table::new("Sources", columns);
    // How long each part of it took, and what became of what was new.
    let mut times =
        Table::new("Time and room", ["SOURCE", "OPENING", "READING", "FINISHING", "READ", "STORED", "RATIO"]);
    for Outcome { step, output } in outcomes {
        let source = &step.input;
        match output {
            Ok(saved) => {
                table = table.row(row(source, saved));
                times = times.row(times_row(source, saved));
                report = findings(report, source, saved)?;
                report = anomalies(report, &ctx.task, repository, source, saved);
                measure(source, saved)?;
            }
            Err(why) => {
                let saved = copies::saved_all_the_same(why);
                table = table.row([&*source.title(), "-", "-", "-", "-", "-", "-", saved.unwrap_or("not saved")]);
                let (kind, what) =
                    if saved.is_some() { ("uncopied", "saved, but not copied") } else { ("failed", "not saved") };
                let (key, title) = (format!("{kind}/{}", source.key()), format!("{} was {what}", source.name()));
                report = report.finding(Severity::High, key, title, why);
            }
        }
    }
    let report = report.table(table);
    Ok(if outcomes.iter().any(|it| it.output.is_ok()) { report.table(times) } else { report })
}

/// The line that stands for the whole run.
fn summary(outcomes: &[Outcome<Backup>]) -> String {
    let saved: Vec<_> = outcomes.iter().filter_map(|it| it.output.as_deref().ok()).collect();
    let sum = |of: fn(&Summary) -> u64| saved.iter().map(|it| of(it)).sum();
    let (files, bytes, added) = (sum(|it| it.files), Size(sum(|it| it.bytes)), Size(sum(|it| it.bytes_added)));
    let sources = match (saved.len(), outcomes.len()) {
        (1, 1) => "1 source".to_owned(),
        (saved, all) if saved == all => format!("{all} sources"),
        (saved, all) => format!("{saved} of {all} sources"),
    };
    let unread: usize = saved.iter().map(|it| it.problems.len()).sum();
    let but = if unread > 0 { format!("; {} not read in full", count(unread, "path")) } else { String::new() };
    format!("{sources} saved: {files} files, {bytes}, {added} added{but}")
}

fn row(source: &Source, saved: &Summary) -> [String; 8] {
    [
        source.title(),
        saved.files.to_string(),
        saved.files_new.to_string(),
        saved.files_changed.to_string(),
        Size(saved.bytes).to_string(),
        Size(saved.bytes_added).to_string(),
        format!("{:.1} s", seconds(saved)),
        saved.snapshot.chars().take(8).collect(),
    ]
}

fn times_row(source: &Source, saved: &Summary) -> [String; 7] {
    let time = |ms: u64| format!("{:.1} s", ms as f64 / 1000.0);
    let finishing = saved.duration_ms.saturating_sub(saved.opening_ms + saved.reading_ms);
    let ratio = match saved.bytes_read {
        0 => "-".to_owned(),
        read => format!("{:.0} %", saved.bytes_added as f64 * 100.0 / read as f64),
    };
    [
        source.title(),
        time(saved.opening_ms),
        time(saved.reading_ms),
        time(finishing),
        Size(saved.bytes_read).to_string(),
        Size(saved.bytes_added).to_string(),
        ratio,
    ]
}

/// What in a source that was saved needs a look.
fn findings(mut report: Report, source: &Source, saved: &Saved) -> Result<Report> {
    let (key, name) = (source.key(), source.name());
    if let Some((title, detail)) = emptiness(source, saved, Totals::of_last_run(source)?) {
        report = report.finding(Severity::High, format!("empty/{key}"), title, detail);
    }
    let problems = &saved.summary.problems;
    if !problems.is_empty() {
        let title = format!("{} in {name} could not be read in full", count(problems.len(), "path"));
        let mut detail: String = problems.iter().take(MOST_PROBLEMS).map(|it| format!("{it}\n")).collect();
        if problems.len() > MOST_PROBLEMS {
            detail += &format!("and {} more\n", problems.len() - MOST_PROBLEMS);
        }
        detail += "Let upkeep read them, or leave them out with `exclude`.";
        report = report.finding(Severity::Medium, format!("unreadable/{key}"), title, detail);
    }
    Ok(report)
}

/// What is unusual, and what to do about it.
fn anomalies(report: Report, task: &str, repository: &str, source: &Source, saved: &Saved) -> Report {
    if saved.anomalies.is_empty() {
        return report;
    }
    let (key, name) = (format!("anomaly/{}", source.key()), source.name());
    let jumped: String = saved.anomalies.iter().map(|it| format!("{it}\n")).collect();
    let short = |id: &str| id.chars().take(8).collect::<String>();
    let (now, before) = (short(&saved.snapshot), saved.parent.as_deref().map_or_else(|| "BEFORE".to_owned(), short));
    let detail = format!(
        "{jumped}The snapshot {now} is kept, and so are all before it: nothing in `{repository}` is forgotten or pruned \
         until you say so.\nLook with `upkeep backup diff {before} {now}`. If this was meant: `upkeep backup release {task}`. If not, \
         stop what writes there, and restore the snapshot {before}."
    );
    report.finding(Severity::High, key, format!("{name} has changed in an unusual way"), detail)
}

/// Why a source that holds nothing is worth a finding, as title and detail.
fn emptiness(source: &Source, saved: &Saved, last: Option<Totals>) -> Option<(String, String)> {
    let Saved { summary: saved, empty, .. } = saved;
    // Of a server with several databases it says which.
    let which = empty.iter().filter(|it| *it != source.name()).cloned().collect::<Vec<_>>().join(", ");
    let name = if which.is_empty() { source.name().to_owned() } else { format!("{which} of {}", source.name()) };
    let is_empty = match source {
        Source::Directory(_) => saved.files == 0 || (saved.bytes == 0 && last.is_some()),
        Source::Database(_) => saved.bytes == 0 || !empty.is_empty(),
    };
    is_empty.then(|| match last {
        Some(Totals { files, bytes }) => (
            format!("{name} has become empty"),
            format!(
                "It held {}, {}, when it was last saved. Is its disk mounted, and did the application lose its data?\n\
                 The snapshots of before are still there: `upkeep backup list`.",
                count(usize::try_from(files).unwrap_or(usize::MAX), "file"),
                Size(bytes)
            ),
        ),
        None => (
            format!("{name} is empty"),
            "Nothing was saved. Is the path right, is its disk mounted, does `exclude` leave everything out?"
                .to_owned(),
        ),
    })
}

fn measure(source: &Source, saved: &Summary) -> Result<()> {
    let labels = [("source", &*source.key())];
    metrics::gauge("backup_files", &labels, saved.files as f64)?;
    metrics::gauge("backup_bytes", &labels, saved.bytes as f64)?;
    metrics::gauge("backup_added_bytes", &labels, saved.bytes_added as f64)?;
    Ok(metrics::gauge("backup_duration_seconds", &labels, seconds(saved))?)
}

fn seconds(saved: &Summary) -> f64 {
    saved.duration_ms as f64 / 1000.0
}

fn count(number: usize, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}
