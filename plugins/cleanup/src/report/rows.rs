//! What is told of rows.

use upkeep_plugin::config::{Size, Span};
use upkeep_plugin::purge::{self, Maintenance, Outcome};
use upkeep_plugin::{Result, Severity, metrics};

use super::{Columns, Telling, number, reasons};
use crate::kind::{counted, grouped};
use crate::rows::{Care, Done, Planned, PlannedRule};

const ROWS: Columns<7> =
    ("Rows", ["DATABASE", "RULE", "PLANNED", "REMOVED", "KEPT", "EXPORTED AS", "LONGEST TRANSACTION"]);

const CARE: Columns<6> = ("Databases", ["DATABASE", "TABLE", "DONE", "BEFORE", "AFTER", "TOOK"]);

/// What a dry run shows of a database: `sessions of app: remove 4,000,000 of 5,000,000 rows older than 30d`.
pub(crate) fn title(planned: &Planned) -> String {
    let titles: Vec<_> = planned.rules.iter().map(rule_title).collect();
    titles.join("; ")
}

fn rule_title(planned: &PlannedRule) -> String {
    let mut title = format!("{}: {}", place(planned), intent(planned));
    for block in planned.estimate.iter().flat_map(|it| &it.blocks) {
        title += &format!("; blocked: {}", block.message);
    }
    title
}

/// `sessions of app`.
fn place(PlannedRule { rule, .. }: &PlannedRule) -> String {
    format!("{} of {}", rule.name, rule.database)
}

fn intent(PlannedRule { rule, estimate, .. }: &PlannedRule) -> String {
    let estimate = match estimate {
        Ok(estimate) => estimate,
        Err(why) => return format!("cannot be counted: {why}"),
    };
    let about = |is_counted: bool| if is_counted { "" } else { "about " };
    let (rows, total) = (grouped(estimate.rows), counted(estimate.total, "row"));
    let (of_rows, of_total) = (about(estimate.rows_counted), about(estimate.total_counted));
    let age = rule.older_than;
    match (estimate.rows, &rule.export) {
        (0, _) => format!("remove none of {of_total}{total}, as none is older than {age}"),
        (_, None) => format!("remove {of_rows}{rows} of {of_total}{total} older than {age}"),
        (_, Some(repository)) => {
            format!("export {of_rows}{rows} of {of_total}{total} older than {age} to {repository}, and remove them")
        }
    }
}

pub(super) fn tell(telling: &mut Telling, planned: &Planned, done: &Done) -> Result<()> {
    for (rule, outcome) in planned.rules.iter().zip(&done.outcomes) {
        tell_rule(telling, rule, outcome.as_ref())?;
    }
    for care in &done.care {
        tell_care(telling, &planned.database, care);
    }
    Ok(())
}

fn tell_rule(telling: &mut Telling, planned: &PlannedRule, outcome: Option<&Outcome>) -> Result<()> {
    let mut seconds = 0.0;
    let removed = match outcome {
        Some(Outcome::Done(done)) => {
            let saved = done.saved.as_ref().map(|it| it.summary.snapshot.chars().take(8).collect());
            let longest = Span(i64::try_from(done.longest_ms).unwrap_or(i64::MAX)).to_string();
            let kept = reasons([(done.kept, "changed or held")]);
            row(telling, planned, [number(done.removed), kept, saved.unwrap_or_else(dash), longest]);
            if let Some(why) = &done.stopped {
                let title = format!("only {} of {} went", counted(done.removed, "row"), place(planned));
                telling.finding(Severity::Medium, format!("stopped/{}", key(planned)), title, why);
            }
            telling.sums.rows += done.removed;
            seconds = done.longest_ms as f64 / 1_000.0;
            done.removed
        }
        Some(Outcome::Blocked(blocks)) => {
            row(telling, planned, ["nothing".to_owned(), "all".to_owned(), dash(), dash()]);
            telling.blocked(&key(planned), &place(planned), blocks, &intent(planned));
            0
        }
        None => {
            row(telling, planned, [dash(), dash(), dash(), dash()]);
            0
        }
    };
    let labels = [("database", planned.rule.database.as_str()), ("rule", planned.rule.name.as_str())];
    let estimated = planned.estimate.as_ref().map_or(0, |it| it.rows);
    metrics::gauge("cleanup_planned_rows", &labels, estimated as f64)?;
    metrics::gauge("cleanup_removed_rows", &labels, removed as f64)?;
    Ok(metrics::gauge("cleanup_longest_transaction_seconds", &labels, seconds)?)
}

fn row(telling: &mut Telling, planned: &PlannedRule, [removed, kept, exported, longest]: [String; 4]) {
    let PlannedRule { rule, estimate, .. } = planned;
    let estimated = number(estimate.as_ref().map_or(0, |it| it.rows));
    telling.row(ROWS, [rule.database.clone(), rule.name.clone(), estimated, removed, kept, exported, longest]);
}

fn tell_care(telling: &mut Telling, database: &str, Care { kind, table, maintained }: &Care) {
    let done = match kind {
        Maintenance::Vacuum => "vacuum",
        Maintenance::Optimize => "optimize",
    };
    let purge::Maintained { bytes_before, bytes_after, duration_ms } = *maintained;
    let took = Span(i64::try_from(duration_ms).unwrap_or(i64::MAX)).to_string();
    let [before, after] = [bytes_before, bytes_after].map(|it| Size(it).to_string());
    let table = table.clone().unwrap_or_else(|| "all".to_owned());
    telling.row(CARE, [database.to_owned(), table, done.to_owned(), before, after, took]);
    telling.sums.freed += bytes_before.saturating_sub(bytes_after);
}

pub(super) fn tell_failure(telling: &mut Telling, planned: &Planned, why: &str) {
    planned.rules.iter().for_each(|it| row(telling, it, [dash(), dash(), dash(), dash()]));
    let title = format!("the rows of {} were not cleaned up to the end", planned.database);
    telling.finding(Severity::Medium, format!("failed/rows/{}", planned.database), title, why);
}

/// As findings call it.
fn key(PlannedRule { rule, .. }: &PlannedRule) -> String {
    format!("{}/{}", rule.database, rule.name)
}

fn dash() -> String {
    "-".to_owned()
}
