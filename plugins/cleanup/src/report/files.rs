//! What is told of files, by roots and by rules.

use upkeep_plugin::config::Size;
use upkeep_plugin::removal::{Done as Carried, Outcome, Total};
use upkeep_plugin::{Result, Severity, metrics};

use super::{Columns, Telling, number, reasons, total};
use crate::files::{Done, Planned, Tally};
use crate::kind::{Idle, counted, grouped};

const ROOTS: Columns<7> = ("Folders", ["ROOT", "PLANNED", "REMOVED", "COMPRESSED", "KEPT", "FREED", "MOVED ASIDE"]);

const RULES: Columns<6> = ("Rules", ["ROOT", "RULE", "FILES", "SIZE", "FOLDERS", "TO COMPRESS"]);

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

pub(super) fn tell(telling: &mut Telling, planned: &Planned, done: &Done) -> Result<()> {
    let (removed, kept, freed) = match &done.carried {
        Outcome::Done(carried) => (carried.removed, kept(carried), freed(carried, done.expired)),
        Outcome::Blocked(_) => (Total::default(), planned.total().items(), 0),
    };
    telling.row(ROOTS, root_row(planned, done));
    tell_plan(telling, planned);
    match &done.carried {
        Outcome::Done(carried) => {
            let sums = &mut telling.sums;
            match carried.aside {
                true => {
                    sums.aside.items += removed.items;
                    sums.aside.bytes += removed.bytes;
                }
                false => sums.removed += removed.items,
            }
            sums.with_folders |= planned.total().folders > 0;
            sums.compressed += carried.compressed.items;
            sums.freed += freed;
            sums.kept += kept;
            telling.report.text += &kept_paths(planned, carried);
            tell_failed(telling, planned, carried);
        }
        Outcome::Blocked(blocks) => {
            telling.blocked(&planned.root, &planned.root, blocks, &intent(&planned.total()));
        }
    }
    measure(planned, removed, kept, freed)
}

pub(super) fn tell_failure(telling: &mut Telling, planned: &Planned, why: &str) {
    let dash = || "-".to_owned();
    telling.row(ROOTS, [planned.root.clone(), wanted(planned), dash(), dash(), dash(), dash(), dash()]);
    tell_plan(telling, planned);
    let title = format!("{} was not cleaned up", planned.root);
    telling.finding(Severity::Medium, format!("failed/{}", planned.root), title, why);
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
    let sum = planned.total();
    total(sum.items(), sum.bytes + sum.compressed_bytes)
}

fn root_row(planned: &Planned, done: &Done) -> [String; 7] {
    let dash = || "-".to_owned();
    let told = |it: Total| total(it.items, it.bytes);
    let fields = match &done.carried {
        Outcome::Blocked(_) => ["nothing".to_owned(), dash(), "all".to_owned(), dash(), dash()],
        Outcome::Done(carried) => {
            let aside = if carried.aside { carried.removed } else { Total::default() };
            let freed = Size(freed(carried, done.expired)).to_string();
            [told(carried.removed), number(carried.compressed.items), kept_because(carried), freed, told(aside)]
        }
    };
    let [removed, compressed, kept, freed, aside] = fields;
    [planned.root.clone(), wanted(planned), removed, compressed, kept, freed, aside]
}

fn kept_because(carried: &Carried) -> String {
    reasons([
        (carried.changed.items, "changed"),
        (carried.in_use.items, "in use"),
        (carried.filled, "not empty"),
        (carried.failed.items, "failed"),
    ])
}

fn rule_row(planned: &Planned, rule: &str, tally: &Tally) -> [String; 6] {
    let size = if tally.files == 0 { "-".to_owned() } else { Size(tally.bytes).to_string() };
    let (files, folders, compress) = (number(tally.files), number(tally.folders), number(tally.compressed));
    [planned.root.clone(), rule.to_owned(), files, size, folders, compress]
}

/// Which paths were kept and why, such as the process that writes to one.
fn kept_paths(planned: &Planned, carried: &Carried) -> String {
    if carried.problems.is_empty() {
        return String::new();
    }
    let lines: String = carried.problems.iter().map(|it| format!("- {it}\n")).collect();
    format!("Kept in {}:\n\n{lines}\n", planned.root)
}

/// What the rules are to remove, and what is not right with that whatever became of it.
fn tell_plan(telling: &mut Telling, planned: &Planned) {
    let root = &planned.root;
    for rule in &planned.rules {
        telling.row(RULES, rule_row(planned, &rule.name, &rule.tally));
        if let Some(Idle::Wrong(why)) = &rule.idle {
            let title = format!("the rule {} does nothing", rule.name);
            telling.finding(Severity::Low, format!("idle/{root}/{}", rule.name), title, why);
        }
    }
    if planned.refusals > 0 {
        let title = format!("{} in {root} may not go", counted(planned.refusals, "path"));
        let detail = listed(&planned.refused, planned.refusals)
            + "The rules name them, and what protects them stands in the task file or is built in. Leave them out with \
               `exclude`.";
        telling.finding(Severity::Low, format!("refused/{root}"), title, detail);
    }
    if planned.unreadables > 0 {
        let title = format!("{} in {root} could not be looked into", counted(planned.unreadables, "path"));
        let detail = listed(&planned.unreadable, planned.unreadables)
            + "Nothing was removed there. Let upkeep read them, or leave them out with `exclude`.";
        telling.finding(Severity::Low, format!("unreadable/{root}"), title, detail);
    }
}

fn tell_failed(telling: &mut Telling, planned: &Planned, carried: &Carried) {
    let root = &planned.root;
    if carried.failed.items > 0 {
        let title = format!("{} in {root} could not be removed", counted(carried.failed.items, "path"));
        let detail = listed(&carried.problems, carried.problems.len() as u64)
            + "The next run tries again. Does upkeep have the right to write there?";
        telling.finding(Severity::Medium, format!("failed/{root}"), title, detail);
    }
}

fn listed(lines: &[String], all: u64) -> String {
    let mut text: String = lines.iter().map(|it| format!("{it}\n")).collect();
    if all > lines.len() as u64 {
        text += &format!("and {} more\n", grouped(all - lines.len() as u64));
    }
    text
}

fn measure(planned: &Planned, removed: Total, kept: u64, freed: u64) -> Result<()> {
    let labels = [("root", planned.root.as_str())];
    let total = planned.total();
    metrics::gauge("cleanup_planned_files", &labels, (total.files + total.compressed) as f64)?;
    metrics::gauge("cleanup_planned_bytes", &labels, (total.bytes + total.compressed_bytes) as f64)?;
    metrics::gauge("cleanup_removed_files", &labels, removed.items as f64)?;
    metrics::gauge("cleanup_removed_bytes", &labels, removed.bytes as f64)?;
    metrics::gauge("cleanup_kept_files", &labels, kept as f64)?;
    Ok(metrics::gauge("cleanup_freed_bytes", &labels, freed as f64)?)
}
