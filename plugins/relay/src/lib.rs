//! Takes messages out of an application's own table into the outbox: the application writes an order and its message in one
//! transaction, and has neither or both, whatever becomes of the server in between (a *transactional outbox*).
//!
//! Each batch is claimed in the application's database, enqueued in portions, and removed there. A crash in between repeats what was
//! not removed, and the outbox knows it by its key (see [`message`]). Rows that the outbox has, or may have, are never given back:
//! only a server that enqueued, could not remove, and stays away for longer than the claim lasts can leave a row that another one
//! sends once more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use upkeep_plugin::{
    Context, Error, HostError, HostResult, Outcome, Report, Result, Severity, Step, Task, metrics, state,
};

use crate::config::{Relay, Table};
use crate::rows::Rows;
use crate::take::Take;

mod config;
mod message;
mod rows;
mod take;

/// Where the name is remembered under which rows are claimed.
const OWNER: &str = "owner";

/// What was taken from a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Taken {
    /// Messages that are new in the outbox.
    taken: u64,
    /// Those that it had before.
    known: u64,
    /// Rows that went away because their time was over.
    expired: u64,
    /// Rows that are no messages, in all, and why the first are none.
    refused: i64,
    reasons: Vec<(i64, String)>,
    /// Rows that cannot be removed although the outbox has their messages, in all, and why the first cannot.
    stuck: i64,
    stuck_reasons: Vec<(i64, String)>,
    /// Whether more wait, which the grant does not let into the outbox in one run.
    more: bool,
}

impl Relay {
    fn table(&self, place: &str) -> Result<&Table> {
        let table = self.tables.iter().find(|it| it.place() == place);
        table.ok_or_else(|| Error::config(format!("[[config.tables]] no longer names `{place}`")))
    }
}

impl Task for Relay {
    type Input = ();
    type Output = Taken;

    fn plan(&self, _: &Context) -> Result<Vec<Step>> {
        self.check()?;
        let mut seen = BTreeMap::new();
        let mut step = |table: &Table| {
            let rows = Rows::open(table, "").map_err(|error| told(table, error))?;
            let waiting = rows.waiting().map_err(|error| told(table, error))?;
            if self.tables.len() > 1
                && let Some(first) = seen.insert(rows.identity().map_err(|error| told(table, error))?, table.place())
            {
                let place = table.place();
                let why = format!("`{first}` and `{place}` in [[config.tables]] are the same table; name it once");
                return Err(Error::config(why));
            }
            let title = format!("take over from {}: {}", table.place(), messages(waiting.unsigned_abs()));
            Ok(Step::new(table.place(), ()).title(title).weight(waiting.unsigned_abs().max(1)))
        };
        self.tables.iter().map(&mut step).collect()
    }

    fn execute(&self, ctx: &Context, step: Step) -> Result<Taken> {
        let table = self.table(&step.id)?;
        let owner = format!("{}/{}", owner(ctx)?, message::short_hash(&[&step.id]));
        let mut rows = Rows::open(table, &owner).map_err(|error| told(table, error))?;
        rows.look().map_err(|error| told(table, error))?;
        let mut take = Take::new(table, &rows);
        let ended = take.all();
        let taken = take.taken;
        metrics::count("messages_taken", &[("table", &step.id)], taken.taken as f64)?;
        if let Err(error) = ended {
            let error = told(table, error);
            return Err(if taken.taken == 0 {
                error
            } else {
                after(&format!("{} taken over, then", messages(taken.taken)), error)
            });
        }
        metrics::gauge("rows_refused", &[("table", &step.id)], taken.refused as f64)?;
        Ok(taken)
    }

    fn finish(&self, _: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        let mut sum = Taken::default();
        let (mut found, mut failed) = (Vec::new(), Vec::new());
        for outcome in &outcomes {
            match &outcome.output {
                Ok(it) => {
                    sum.taken += it.taken;
                    sum.known += it.known;
                    sum.expired += it.expired;
                    sum.refused += it.refused;
                    sum.stuck += it.stuck;
                    sum.more |= it.more;
                    found.push((outcome.step.id.as_str(), it));
                }
                // Why is said by the run's outcome.
                Err(_) => failed.push(format!("{} failed", outcome.step.id)),
            }
        }
        let mut summary = Vec::new();
        // A table that failed tells its own number.
        if !found.is_empty() || failed.is_empty() {
            summary.push(format!("{} taken over", messages(sum.taken)));
        }
        match sum.known {
            0 => {}
            1 => summary.push("1 was in the outbox before".to_owned()),
            known => summary.push(format!("{known} were in the outbox before")),
        }
        if sum.expired > 0 {
            let they = if sum.expired == 1 { "it was" } else { "they were" };
            summary.push(format!("{} expired before {they} taken over", sum.expired));
        }
        match sum.refused {
            0 => {}
            1 => summary.push("1 row is no message".to_owned()),
            refused => summary.push(format!("{refused} rows are no messages")),
        }
        if sum.stuck > 0 {
            summary.push(format!("{} cannot be removed", count(sum.stuck, "row")));
        }
        if sum.more {
            summary.push("more wait for the next run: `grant.outbox.max_messages` is reached".to_owned());
        }
        summary.extend(failed);
        let report = Report::new(summary.join("; "));
        Ok(found.into_iter().fold(report, |report, (place, it)| findings(report, place, it)))
    }
}

fn findings(report: Report, place: &str, it: &Taken) -> Report {
    let refused = "Correct the row and set `refused` to NULL, or delete it. No other message waits for it.";
    let stuck = "The outbox has the messages, and each run tries again to remove the rows. See to it that it can.";
    let kinds = [
        ("refused", it.refused, &it.reasons, "sent", refused),
        ("stuck", it.stuck, &it.stuck_reasons, "removed", stuck),
    ];
    kinds.into_iter().filter(|(_, rows, ..)| *rows > 0).fold(report, |report, (key, rows, reasons, verb, remedy)| {
        let reasons: String = reasons.iter().map(|(id, why)| format!("- id {id}: {why}\n")).collect();
        let title = format!("{} in {place} cannot be {verb}", count(rows, "row"));
        report.finding(Severity::Medium, format!("{key}/{place}"), title, format!("{reasons}{remedy}"))
    })
}

/// The name under which this task of this server claims rows: the first run's, which no other run has. A state that came from another
/// server gives none.
fn owner(ctx: &Context) -> HostResult<String> {
    let server = format!("{}/", ctx.host);
    if let Some(owner) = state::get::<String>(OWNER)?.filter(|it| it.starts_with(&server)) {
        return Ok(owner);
    }
    let owner = format!("{}/{}/{}", ctx.host, ctx.task, ctx.run);
    state::put(OWNER, &owner)?;
    Ok(owner)
}

/// An error of the database, with what a table of messages looks like when that may be why.
fn told(table: &Table, error: HostError) -> Error {
    let place = table.place();
    match error {
        HostError::Invalid(why) => Error::config(format!(
            "`{place}` in [[config.tables]] cannot be read as a table of messages: {why}; docs/relay.md has the statement that makes one"
        )),
        other => other.into(),
    }
}

/// The same error, behind what went well.
fn after(before: &str, error: Error) -> Error {
    match error {
        Error::Config(why) => Error::Config(format!("{before}: {why}")),
        Error::Transient(why) => Error::Transient(format!("{before}: {why}")),
        Error::Permanent(why) => Error::Permanent(format!("{before}: {why}")),
    }
}

fn messages(number: u64) -> String {
    count(i64::try_from(number).unwrap_or(i64::MAX), "message")
}

fn count(number: i64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

upkeep_plugin::export!(Relay);

#[cfg(test)]
mod tests;
