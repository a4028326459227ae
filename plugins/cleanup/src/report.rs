//! What a plan and a run tell: a line for each root, tables by root and by rule, findings, metrics.
//!
//! A ceiling or a missing backup that keeps everything in place is no failure of the run, which did what it was told: it is a
//! finding that stays until somebody has looked.

use upkeep_plugin::config::Size;
use upkeep_plugin::removal::{Cause, Done as Carried, Outcome as Fate, Total};
use upkeep_plugin::{Outcome, Report, Result, Severity, Table, metrics};

use crate::Done;
use crate::config::Cleanup;
use crate::kind::{Idle, counted, grouped};
use crate::plan::{Planned, Tally};

/// One line for a root: what a dry run shows first.
pub(crate) fn title(planned: &Planned) -> String {
    let mut title = format!("{}: {}", planned.root, intent(&planned.total()));
    if let (Some(first), refusals) = (planned.refused.first(), planned.refusals) {
        title += &format!("; {} may not go ({first})", counted(refusals, "path"));
    }
    let mut idle = planned.rules.iter().filter_map(|it| Some((&it.name, it.idle.as_ref()?)));
    match (idle.next(), idle.count() as u64) {
        (None, _) => {}
        (Some((name, Idle::NotNow(why) | Idle::Wrong(why))), 0) => {
            title += &format!("; rule `{name}` does nothing: {why}");
        }
        (Some(_), others) => title += &format!("; {} do nothing, the log says why", counted(others + 1, "rule")),
    }
    for why in &planned.blocks {
        title += &format!("; blocked: {why}");
    }
    title
}

/// `remove 1,204 files and 3 folders, 3.10 GiB; compress 2 files, 1.00 GiB`.
fn intent(tally: &Tally) -> String {
    let mut parts = Vec::new();
    let what: Vec<_> = [(tally.files, "file"), (tally.folders, "folder")]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| counted(number, what))
        .collect();
    if !what.is_empty() {
        parts.push(format!("remove {}, {}", what.join(" and "), Size(tally.bytes)));
    }
    if tally.compressed > 0 {
        parts.push(format!("compress {}, {}", counted(tally.compressed, "file"), Size(tally.compressed_bytes)));
    }
    if parts.is_empty() { "nothing to remove".to_owned() } else { parts.join("; ") }
}

/// What the steps did, all together.
#[derive(Default)]
struct Sums {
    removed: u64,
    compressed: u64,
    freed: u64,
    aside: u64,
    kept: u64,
}

pub(crate) fn sum_up(outcomes: &[Outcome<Cleanup>]) -> Result<Report> {
    let columns = ["ROOT", "PLANNED", "REMOVED", "COMPRESSED", "KEPT", "FREED", "MOVED ASIDE"];
    let mut roots = Table::new("Folders", columns);
    let mut rules = Table::new("Rules", ["ROOT", "RULE", "FILES", "SIZE", "FOLDERS", "TO COMPRESS"]);
    let mut report = Report::new("");
    let (mut sums, mut text, mut blocked) = (Sums::default(), String::new(), Vec::new());
    for Outcome { step, output } in outcomes {
        let planned = &step.input;
        for rule in &planned.rules {
            rules = rules.row(rule_row(planned, &rule.name, &rule.tally));
        }
        report = plan_findings(report, planned);
        match output {
            Ok(done) => {
                roots = roots.row(root_row(planned, done));
                report = findings(report, planned, done);
                measure(planned, done)?;
                match &done.carried {
                    Fate::Done(carried) => {
                        sums.add(carried, done.expired);
                        text += &told(planned, carried);
                    }
                    Fate::Blocked(_) => blocked.push(planned.root.as_str()),
                }
            }
            Err(why) => {
                roots = roots.row([planned.root.as_str(), &wanted(planned), "-", "-", "-", "-", "-"]);
                let (key, title) = (format!("failed/{}", planned.root), format!("{} was not cleaned up", planned.root));
                report = report.finding(Severity::Medium, key, title, why);
            }
        }
    }
    report.summary = sums.summary(&blocked);
    Ok(report.table(roots).table(rules).text(text))
}

impl Sums {
    fn add(&mut self, carried: &Carried, expired: Total) {
        self.removed += carried.removed.items;
        self.compressed += carried.compressed.items;
        self.freed += freed(carried, expired);
        self.aside += if carried.aside { carried.removed.bytes } else { 0 };
        self.kept += kept(carried);
    }

    fn summary(&self, blocked: &[&str]) -> String {
        let mut parts = vec![format!("{} removed, {} freed", grouped(self.removed), Size(self.freed))];
        if self.compressed > 0 {
            parts.push(format!("{} compressed", counted(self.compressed, "file")));
        }
        if self.aside > 0 {
            parts.push(format!("{} moved aside", Size(self.aside)));
        }
        if self.kept > 0 {
            parts.push(format!("{} kept", grouped(self.kept)));
        }
        if !blocked.is_empty() {
            parts.push(format!("nothing removed from {}", blocked.join(", ")));
        }
        parts.join("; ")
    }
}

/// What is free now: not what can be had back.
fn freed(carried: &Carried, expired: Total) -> u64 {
    let removed = if carried.aside { 0 } else { carried.removed.bytes };
    removed + carried.compressed.bytes + expired.bytes
}

fn kept(carried: &Carried) -> u64 {
    carried.changed.items + carried.in_use.items + carried.filled + carried.failed.items
}

fn wanted(planned: &Planned) -> String {
    let total = planned.total();
    let number = total.files + total.folders + total.compressed;
    if number == 0 {
        "-".to_owned()
    } else {
        format!("{}, {}", grouped(number), Size(total.bytes + total.compressed_bytes))
    }
}

fn root_row(planned: &Planned, done: &Done) -> [String; 7] {
    let dash = || "-".to_owned();
    let total = |it: Total| if it.items == 0 { dash() } else { format!("{}, {}", grouped(it.items), Size(it.bytes)) };
    let fields = match &done.carried {
        Fate::Blocked(_) => ["nothing".to_owned(), dash(), "all".to_owned(), dash(), dash()],
        Fate::Done(carried) => {
            let aside = if carried.aside { carried.removed } else { Total::default() };
            let freed = Size(freed(carried, done.expired)).to_string();
            let compressed = if carried.compressed.items == 0 { dash() } else { grouped(carried.compressed.items) };
            [total(carried.removed), compressed, kept_because(carried), freed, total(aside)]
        }
    };
    let [removed, compressed, kept, freed, aside] = fields;
    [planned.root.clone(), wanted(planned), removed, compressed, kept, freed, aside]
}

/// `3 changed, 1 in use`.
fn kept_because(carried: &Carried) -> String {
    let reasons = [
        (carried.changed.items, "changed"),
        (carried.in_use.items, "in use"),
        (carried.filled, "not empty"),
        (carried.failed.items, "failed"),
    ];
    let told: Vec<_> = reasons
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, why)| format!("{} {why}", grouped(number)))
        .collect();
    if told.is_empty() { "-".to_owned() } else { told.join(", ") }
}

fn rule_row(planned: &Planned, rule: &str, tally: &Tally) -> [String; 6] {
    let number = |it: u64| if it == 0 { "-".to_owned() } else { grouped(it) };
    let size = if tally.files == 0 { "-".to_owned() } else { Size(tally.bytes).to_string() };
    let (files, folders, compress) = (number(tally.files), number(tally.folders), number(tally.compressed));
    [planned.root.clone(), rule.to_owned(), files, size, folders, compress]
}

/// Which paths were kept and why, such as the process that writes to one.
fn told(planned: &Planned, carried: &Carried) -> String {
    if carried.problems.is_empty() {
        return String::new();
    }
    let lines: String = carried.problems.iter().map(|it| format!("- {it}\n")).collect();
    format!("Kept in {}:\n\n{lines}\n", planned.root)
}

/// What is not right with the plan, whatever became of it.
fn plan_findings(mut report: Report, planned: &Planned) -> Report {
    let root = &planned.root;
    for rule in &planned.rules {
        if let Some(Idle::Wrong(why)) = &rule.idle {
            let title = format!("the rule {} does nothing", rule.name);
            report = report.finding(Severity::Low, format!("idle/{root}/{}", rule.name), title, why);
        }
    }
    if planned.refusals > 0 {
        let title = format!("{} in {root} may not go", counted(planned.refusals, "path"));
        let detail = listed(&planned.refused, planned.refusals)
            + "The rules name them, and what protects them stands in the task file or is built in. Leave them out with \
               `exclude`.";
        report = report.finding(Severity::Low, format!("refused/{root}"), title, detail);
    }
    if planned.unreadables > 0 {
        let title = format!("{} in {root} could not be looked into", counted(planned.unreadables, "path"));
        let detail = listed(&planned.unreadable, planned.unreadables)
            + "Nothing was removed there. Let upkeep read them, or leave them out with `exclude`.";
        report = report.finding(Severity::Low, format!("unreadable/{root}"), title, detail);
    }
    report
}

fn listed(lines: &[String], all: u64) -> String {
    let mut text: String = lines.iter().map(|it| format!("{it}\n")).collect();
    if all > lines.len() as u64 {
        text += &format!("and {} more\n", grouped(all - lines.len() as u64));
    }
    text
}

fn findings(mut report: Report, planned: &Planned, done: &Done) -> Report {
    let root = &planned.root;
    match &done.carried {
        Fate::Blocked(blocks) => {
            for block in blocks {
                let (key, why) = match block.cause {
                    Cause::Ceiling => ("ceiling", "more would go than one run may remove"),
                    Cause::Backup => ("backup", "the backup that has to be there is not"),
                };
                let detail = format!("{}\nPlanned was: {}.", block.message, intent(&planned.total()));
                let title = format!("nothing was removed from {root}: {why}");
                report = report.finding(Severity::High, format!("{key}/{root}"), title, detail);
            }
        }
        Fate::Done(carried) if carried.failed.items > 0 => {
            let title = format!("{} in {root} could not be removed", counted(carried.failed.items, "path"));
            let detail = listed(&carried.problems, carried.problems.len() as u64)
                + "The next run tries again. Does upkeep have the right to write there?";
            report = report.finding(Severity::Medium, format!("failed/{root}"), title, detail);
        }
        Fate::Done(_) => {}
    }
    report
}

fn measure(planned: &Planned, done: &Done) -> Result<()> {
    let labels = [("root", planned.root.as_str())];
    let total = planned.total();
    metrics::gauge("cleanup_planned_files", &labels, (total.files + total.compressed) as f64)?;
    metrics::gauge("cleanup_planned_bytes", &labels, (total.bytes + total.compressed_bytes) as f64)?;
    let (removed, kept, freed) = match &done.carried {
        Fate::Done(carried) => (carried.removed, kept(carried), freed(carried, done.expired)),
        Fate::Blocked(_) => (Total::default(), total.files + total.folders + total.compressed, 0),
    };
    metrics::gauge("cleanup_removed_files", &labels, removed.items as f64)?;
    metrics::gauge("cleanup_removed_bytes", &labels, removed.bytes as f64)?;
    metrics::gauge("cleanup_kept_files", &labels, kept as f64)?;
    Ok(metrics::gauge("cleanup_freed_bytes", &labels, freed as f64)?)
}
