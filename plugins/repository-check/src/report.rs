//! What a check tells: a finding for each damage, how much was read and how long ago the rest was, metrics.

use upkeep_plugin::config::{Size, Span};
use upkeep_plugin::repository::Harm;
use upkeep_plugin::{Report, Result, Severity, Table, metrics};

use crate::Found;

pub(crate) fn sum_up(found: &Found, full_every: Span) -> Result<Report> {
    let checked = &found.report;
    let damages = checked.damages.iter().filter(|damage| damage.harm != Harm::None).count();
    let state = match damages {
        0 => format!("no damage in {}", count(checked.snapshots, "snapshot")),
        more => format!(
            "{}; {} of {} whole",
            count(more as u64, "damage"),
            checked.snapshots_whole,
            count(checked.snapshots, "snapshot")
        ),
    };
    let read = match share(checked.bytes_read, checked.bytes) {
        _ if checked.bytes == 0 => "nothing to read yet".to_owned(),
        share => format!("{} read, {share} of all", Size(checked.bytes_read)),
    };
    let oldest = found.oldest.unwrap_or(0);
    let mut report = Report::new(format!("{state}; {read}; {}", age(found)));
    for damage in &checked.damages {
        let severity = match damage.harm {
            Harm::None => Severity::Low,
            Harm::Repairable => Severity::High,
            Harm::Loss => Severity::Critical,
        };
        report = report.finding(severity, format!("damage/{}", damage.key), &damage.title, &damage.detail);
    }
    if oldest > full_every.0 {
        let title = format!("not everything was read within {full_every}");
        let detail = format!(
            "Some data was last read {} ago. Each run reads the share of the time since the last one, so let the check run more \
             often, for example each day; what is overdue is read at the next run.",
            Span(oldest)
        );
        report = report.finding(Severity::Medium, "overdue", title, detail);
    }
    measure(found, damages)?;
    let row = [
        checked.packs.to_string(),
        Size(checked.bytes).to_string(),
        checked.packs_read.to_string(),
        Size(checked.bytes_read).to_string(),
        share(checked.bytes_read, checked.bytes),
        Span(oldest).to_string(),
        found.never_read.to_string(),
        Span(i64::try_from(checked.duration_ms).unwrap_or(i64::MAX)).to_string(),
    ];
    let columns = ["PACKS", "SIZE", "READ", "BYTES", "SHARE", "OLDEST READ", "NEVER READ", "TIME"];
    Ok(report.table(Table::new("Data", columns).row(row)))
}

/// How old the knowledge about the data is.
fn age(found: &Found) -> String {
    match (found.never_read, found.oldest) {
        (0, None) => "there is no data".to_owned(),
        (0, Some(oldest)) => format!("all of it was read within {}", Span(oldest)),
        (packs, _) => format!("{} not read yet", count(packs, "pack")),
    }
}

fn measure(found: &Found, damages: usize) -> Result<()> {
    let checked = &found.report;
    metrics::gauge("repository_check_damages", &[], damages as f64)?;
    metrics::gauge("repository_check_bytes", &[], checked.bytes as f64)?;
    metrics::gauge("repository_check_read_bytes", &[], checked.bytes_read as f64)?;
    metrics::gauge("repository_check_oldest_read_seconds", &[], found.oldest.unwrap_or(0) as f64 / 1000.0)?;
    Ok(metrics::gauge("repository_check_seconds", &[], checked.duration_ms as f64 / 1000.0)?)
}

fn share(part: u64, all: u64) -> String {
    match all {
        0 => "-".to_owned(),
        _ => format!("{:.1} %", part as f64 * 100.0 / all as f64),
    }
}

fn count(number: u64, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}
