//! What a run tells: each snapshot and its fate, what was freed, and whatever did not go as it should.

use jiff::Timestamp;
use jiff::tz::Offset;
use upkeep_plugin::repository::{Hold, PruneSummary};
use upkeep_plugin::{Outcome, Report, Result, Severity, Table, metrics};

use crate::config::Retention;
use crate::policy::Snapshot;
use crate::{Done, Work};

/// Lines of the table; of further snapshots only those that go are shown.
const MOST_LINES: usize = 200;

pub(crate) fn sum_up(repository: &str, outcomes: &[Outcome<Retention>], holds: &[Hold]) -> Result<Report> {
    let (mut kept, mut removed, mut pruned) = (0, 0, None);
    let mut table = Table::new("Snapshots", ["SNAPSHOT", "TIME", "HOST", "PATHS", "FATE"]);
    let mut lines = 0;
    let mut findings = Vec::new();
    for Outcome { step, output } in outcomes {
        if let Work::Forget(decided) = &step.input {
            let is_done = output.is_ok();
            for line in &decided.snapshots {
                let goes = line.kept_by.is_none() && is_done;
                kept += usize::from(!goes);
                removed += usize::from(goes);
                lines += 1;
                if lines <= MOST_LINES || goes {
                    let fate = match &line.kept_by {
                        None if is_done => "removed".to_owned(),
                        None => "not removed".to_owned(),
                        Some(_) => line.fate(),
                    };
                    let id: String = line.id.chars().take(8).collect();
                    table = table.row([id, line.time.clone(), line.host.clone(), line.paths.clone(), fate]);
                }
            }
        }
        match output {
            Ok(Done::Pruned(summary)) => pruned = Some(*summary),
            Ok(Done::Forgotten(_)) => {}
            Err(why) => findings.push((step, why)),
        }
    }
    let mut report = Report::new(summary(kept, removed, pruned.as_ref()));
    for hold in holds {
        report = report.finding(
            Severity::High,
            format!("held/{repository}/{}", hold.task),
            format!("{repository} is held because of the backup of {}", hold.task),
            format!(
                "Held since {} because: {}\nNothing is forgotten or pruned there. Look at what has changed (`upkeep backup diff`), then \
                 `upkeep backup release {task}`.",
                moment(hold.since, 0),
                hold.reason,
                task = hold.task
            ),
        );
    }
    for (step, why) in findings {
        let (key, title) = match &step.input {
            Work::Prune { .. } => (format!("failed/{repository}/prune"), format!("{repository} was not pruned")),
            Work::Forget(decided) => {
                (format!("failed/{repository}/{}", step.id), format!("no snapshot of {} was removed", decided.group))
            }
        };
        report = report.finding(Severity::Medium, key, title, why);
    }
    measure(repository, kept, removed, pruned.as_ref())?;
    if let Some(pruned) = &pruned {
        report = report.table(prune_table(pruned));
    }
    Ok(if lines > 0 { report.table(table) } else { report })
}

fn summary(kept: usize, removed: usize, pruned: Option<&PruneSummary>) -> String {
    let snapshots = match kept + removed {
        0 => None,
        1 => Some(format!("1 snapshot, {removed} removed")),
        all => Some(format!("{all} snapshots, {removed} removed")),
    };
    let pruned = pruned.map(|it| {
        let marked =
            if it.bytes_marked > 0 { format!(", {} to go later", size(it.bytes_marked)) } else { String::new() };
        format!("{} freed{marked}", size(it.bytes_removed))
    });
    let parts: Vec<_> = [snapshots, pruned].into_iter().flatten().collect();
    if parts.is_empty() { "no snapshots".to_owned() } else { parts.join("; ") }
}

fn prune_table(pruned: &PruneSummary) -> Table {
    let row = |what: &str, packs: Option<u64>, bytes: Option<u64>| {
        let dash = || "-".to_owned();
        [what.to_owned(), packs.map_or_else(dash, |it| it.to_string()), bytes.map_or_else(dash, size)]
    };
    Table::new("Data", ["WHAT", "PACKS", "SIZE"])
        .row(row("removed", Some(pruned.packs_removed), Some(pruned.bytes_removed)))
        .row(row("to go after the grace period", Some(pruned.packs_marked), Some(pruned.bytes_marked)))
        .row(row("written anew", Some(pruned.packs_repacked), None))
        .row(row("needed", None, Some(pruned.bytes_used)))
        .row(row("not needed, and stays", None, Some(pruned.bytes_unused)))
}

fn measure(repository: &str, kept: usize, removed: usize, pruned: Option<&PruneSummary>) -> Result<()> {
    let labels = [("repository", repository)];
    metrics::gauge("retention_snapshots_kept", &labels, kept as f64)?;
    metrics::gauge("retention_snapshots_removed", &labels, removed as f64)?;
    if let Some(pruned) = pruned {
        metrics::gauge("retention_freed_bytes", &labels, pruned.bytes_removed as f64)?;
        metrics::gauge("retention_marked_bytes", &labels, pruned.bytes_marked as f64)?;
        metrics::gauge("retention_used_bytes", &labels, pruned.bytes_used as f64)?;
        metrics::gauge("retention_unused_bytes", &labels, pruned.bytes_unused as f64)?;
    }
    Ok(())
}

/// By the clock where it was made.
pub(crate) fn time(snapshot: &Snapshot) -> String {
    moment(snapshot.time, snapshot.utc_offset)
}

fn moment(time: i64, utc_offset: i32) -> String {
    let offset = Offset::from_seconds(utc_offset).unwrap_or(Offset::UTC);
    let at = offset.to_datetime(Timestamp::from_millisecond(time).unwrap_or_default());
    let (hours, minutes) = (utc_offset.abs() / 3_600, utc_offset.abs() / 60 % 60);
    let sign = if utc_offset < 0 { '-' } else { '+' };
    format!("{} {:02}:{:02} {sign}{hours:02}:{minutes:02}", at.date(), at.hour(), at.minute())
}

/// A number of bytes with three digits.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut power) = (bytes as f64, 0);
    while value >= if power == 0 { 1024.0 } else { 999.5 } && power + 1 < UNITS.len() {
        (value, power) = (value / 1024.0, power + 1);
    }
    let digits = if power == 0 || value >= 99.95 { 0 } else { 1 + usize::from(value < 9.995) };
    format!("{value:.digits$} {}", UNITS[power])
}
