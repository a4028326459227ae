//! What a plan and a run tell: a line for each step, tables, findings, metrics. Files, journal and rows tell of themselves;
//! here is what they tell together.
//!
//! A ceiling or a missing backup that keeps everything in place is no failure of the run, which did what it was told: it is a
//! finding that stays until somebody has looked.

use upkeep_plugin::config::Size;
use upkeep_plugin::removal::{Block, Cause, Total};
use upkeep_plugin::{Error, Finding, Outcome, Report, Result, Severity, Table};

use crate::config::Cleanup;
use crate::kind::{counted, grouped};
use crate::{Done, Work};

pub(crate) mod files;
pub(crate) mod journal;
pub(crate) mod rows;

/// A table: its title and columns.
type Columns<const N: usize> = (&'static str, [&'static str; N]);

/// What is told so far.
#[derive(Debug)]
struct Telling {
    /// Without a summary.
    report: Report,
    sums: Sums,
}

pub(crate) fn sum_up(run: &str, outcomes: &[Outcome<Cleanup>]) -> Result<Report> {
    let mut telling = Telling { report: Report::new(""), sums: Sums::default() };
    for Outcome { step, output } in outcomes {
        match (&step.input, output) {
            (Work::Files(planned), Ok(Done::Files(done))) => files::tell(&mut telling, planned, done)?,
            (Work::Journal(planned), Ok(Done::Journal(done))) => journal::tell(&mut telling, planned, *done)?,
            (Work::Rows(planned), Ok(Done::Rows(done))) => rows::tell(&mut telling, planned, done)?,
            (Work::Files(planned), Err(why)) => files::tell_failure(&mut telling, planned, why),
            (Work::Journal(planned), Err(why)) => journal::tell_failure(&mut telling, planned, why),
            (Work::Rows(planned), Err(why)) => rows::tell_failure(&mut telling, planned, why),
            (_, Ok(_)) => return Err(Error::permanent(format!("the step `{}` has the result of another", step.id))),
        }
    }
    let Telling { mut report, sums } = telling;
    if sums.aside.items > 0 {
        report.text += &format!(
            "What was moved aside can be had back with `upkeep undo {run}`, for as long as `undo` in the task file says.\n"
        );
    }
    report.summary = sums.summary();
    Ok(report)
}

impl Telling {
    /// Adds a row; a table is there from its first row on.
    fn row<const N: usize>(&mut self, (title, columns): Columns<N>, cells: [String; N]) {
        let tables = &mut self.report.tables;
        match tables.iter_mut().find(|it| it.title == title) {
            Some(table) => table.rows.push(cells.into()),
            None => tables.push(Table::new(title, columns).row(cells)),
        }
    }

    fn finding(&mut self, severity: Severity, key: String, title: String, detail: impl Into<String>) {
        self.report.findings.push(Finding::new(severity, key, title, detail));
    }

    /// Nothing was removed from `place`, which findings call `key`.
    fn blocked(&mut self, key: &str, place: &str, blocks: &[Block], intent: &str) {
        for block in blocks {
            let (cause, why) = match block.cause {
                Cause::Ceiling => ("ceiling", "more would go than one run may remove"),
                Cause::Backup => ("backup", "the backup that has to be there is not"),
            };
            let detail = format!("{}\nPlanned was: {intent}.", block.message);
            let title = format!("nothing was removed from {place}: {why}");
            self.finding(Severity::High, format!("{cause}/{key}"), title, detail);
        }
        self.sums.blocked.push(place.to_owned());
    }
}

/// What the steps did, all together.
#[derive(Debug, Default)]
struct Sums {
    /// Files and folders.
    removed: u64,
    /// Whether folders may be among them.
    with_folders: bool,
    aside: Total,
    compressed: u64,
    /// Files of the journal.
    vacuumed: u64,
    rows: u64,
    freed: u64,
    /// Files and folders.
    kept: u64,
    /// From where nothing was removed.
    blocked: Vec<String>,
}

impl Sums {
    fn summary(&self) -> String {
        let named = |number: u64, what: String| (number > 0).then_some(what);
        let items = |number: u64| match (self.with_folders, number) {
            (true, 2..) => format!("{} files and folders", grouped(number)),
            _ => counted(number, "file"),
        };
        let parts = [
            named(self.removed, format!("{} removed", items(self.removed))),
            named(self.aside.items, format!("{} moved aside, {}", items(self.aside.items), Size(self.aside.bytes))),
            named(self.compressed, format!("{} compressed", counted(self.compressed, "file"))),
            named(self.vacuumed, format!("{} vacuumed", counted(self.vacuumed, "journal file"))),
            named(self.rows, format!("{} removed", counted(self.rows, "row"))),
            named(self.freed, format!("{} freed", Size(self.freed))),
            named(self.kept, format!("{} kept", grouped(self.kept))),
        ];
        let mut parts: Vec<_> = parts.into_iter().flatten().collect();
        if !self.blocked.is_empty() {
            parts.push(format!("nothing removed from {}", self.blocked.join(", ")));
        }
        if parts.is_empty() { "nothing removed".to_owned() } else { parts.join("; ") }
    }
}

/// `-` for nothing.
fn number(number: u64) -> String {
    if number == 0 { "-".to_owned() } else { grouped(number) }
}

/// `1,204, 3.10 GiB`, and `-` for nothing.
fn total(items: u64, bytes: u64) -> String {
    if items == 0 { "-".to_owned() } else { format!("{}, {}", grouped(items), Size(bytes)) }
}

/// `3 changed, 1 in use`, and `-` for nothing.
fn reasons<const N: usize>(reasons: [(u64, &str); N]) -> String {
    let told = reasons.into_iter().filter(|(number, _)| *number > 0);
    let told: Vec<_> = told.map(|(number, why)| format!("{} {why}", grouped(number))).collect();
    if told.is_empty() { "-".to_owned() } else { told.join(", ") }
}
