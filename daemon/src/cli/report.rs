//! What a plugin summed up, for people.

use std::io::{self, Write};

use super::screen::{Ink, Screen, line, plain};
use super::table::{Cell, Table};
use crate::record::finding::FindingState;
use crate::record::{Finding, Report, Severity};

/// Writes summary, findings, tables and text; what is empty is left out.
pub(super) fn write(screen: &Screen, report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let Report { summary, findings, fixed, tables, text, unseen: _, documents: _ } = report;
    if !summary.is_empty() {
        writeln!(out, "\n{}", line(summary))?;
    }
    let findings: Vec<&Finding> = findings.iter().chain(fixed).collect();
    write_findings(screen, findings, out)?;
    for table in tables {
        writeln!(out, "\n{}", screen.ink(Ink::Bold, &line(&table.title)))?;
        let mut shown = Table::new(table.columns.iter().map(String::as_str), widest(&table.rows));
        for row in &table.rows {
            shown.row(row.iter().map(|cell| Cell::from(cell.as_str())));
        }
        shown.write(screen, 2, out)?;
    }
    if !text.is_empty() {
        writeln!(out, "\n{}", plain(text).trim_end())?;
    }
    Ok(())
}

/// What changed since the run before first; in each part the worst first.
fn write_findings(screen: &Screen, mut findings: Vec<&Finding>, out: &mut dyn Write) -> io::Result<()> {
    findings.sort_by_key(|finding| (finding.rank(), std::cmp::Reverse(finding.severity)));
    for part in findings.chunk_by(|one, other| one.rank() == other.rank()) {
        let heading = match (&part[0].ignored, part[0].state) {
            (Some(_), _) => "Ignored",
            (None, Some(FindingState::New)) => "New findings",
            (None, Some(FindingState::Returned)) => "Findings that have returned",
            (None, Some(FindingState::Known)) => "Known findings",
            (None, Some(FindingState::Fixed)) => "Fixed since the last run",
            (None, None) => "Findings",
        };
        writeln!(out, "\n{}", screen.ink(Ink::Bold, heading))?;
        for finding in part {
            let (name, ink) = severity(finding.severity);
            let title = headline(finding);
            writeln!(out, "  {} {title} ({})", screen.ink(ink, &format!("{name:<8}")), line(&finding.key))?;
            let detail = match &finding.ignored {
                Some(ignored) => format!("Until {}: {}", ignored.until, ignored.reason),
                None if finding.state == Some(FindingState::Fixed) => String::new(),
                None => finding.detail.clone(),
            };
            for detail in plain(&detail).lines() {
                writeln!(out, "           {}", detail.trim_end())?;
            }
        }
    }
    Ok(())
}

/// What a finding is, and where, on one line.
pub(super) fn headline(finding: &Finding) -> String {
    let place = finding.place.as_ref().map(|place| match place.line {
        Some(number) => format!("{}:{number}: ", place.path),
        None => format!("{}: ", place.path),
    });
    // Many titles name the file themselves.
    let place = place.filter(|_| !finding.place.as_ref().is_some_and(|place| finding.title.contains(&place.path)));
    line(&format!("{}{}", place.unwrap_or_default(), finding.title)).into_owned()
}

/// The column with the longest cell: it gives way.
fn widest(rows: &[Vec<String>]) -> usize {
    let longest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    (0..columns).max_by_key(|column| longest(*column)).unwrap_or(0)
}

pub(super) fn severity(severity: Severity) -> (&'static str, Ink) {
    match severity {
        Severity::Info => ("info", Ink::Dim),
        Severity::Low => ("low", Ink::None),
        Severity::Medium => ("medium", Ink::Yellow),
        Severity::High => ("high", Ink::Red),
        Severity::Critical => ("critical", Ink::Red),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::screen::tests::terminal;
    use crate::record::Table;

    /// A report with something of everything.
    pub(in crate::cli) fn report() -> Report {
        let finding = |key: &str, severity, title: &str, detail: &str| Finding::new(key, severity, title, detail);
        Report {
            summary: "20,000 files and 1 database, 1.25 GiB, of which 14.2 MiB are new".into(),
            findings: vec![
                finding("unreadable", Severity::Low, "3 files could not be read", ""),
                finding(
                    "no-space",
                    Severity::High,
                    "The repository has room for 2 more days",
                    "It grew by 14 MiB a day over the last week.\nGive it more room, or keep fewer snapshots.",
                ),
            ],
            tables: vec![Table {
                title: "Snapshots".into(),
                columns: vec!["SNAPSHOT".into(), "PATH".into(), "SIZE".into()],
                rows: vec![
                    vec!["4f2a91c0".into(), "/var/www/miniprogram/uploads/2026/11".into(), "1.2 GiB".into()],
                    vec!["4f2a91c1".into(), "/var/lib/app/用户.db".into(), "48 MiB".into()],
                ],
            }],
            text: "Restore with `upkeep backup restore latest`.\n".into(),
            ..Report::default()
        }
    }

    #[test]
    fn shows_what_there_is() {
        let mut out = Vec::new();
        write(&terminal(), &report(), &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
        let mut out = Vec::new();
        write(&terminal(), &Report::default(), &mut out).unwrap();
        assert!(out.is_empty());
    }
}
