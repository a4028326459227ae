//! Takes messages out of an application's own table into the outbox: the application writes an order and its message in one
//! transaction, and has neither or both, whatever becomes of the server in between (a *transactional outbox*).
//!
//! Each batch is claimed in the application's database, enqueued, and removed there. A crash in between repeats what was not
//! removed, and the outbox knows it by its key: `DATABASE.TABLE/ID`, or the application's own. Only a server that enqueued, lost
//! its connection and stays away for longer than the lease can leave a row that another one sends once more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use upkeep_plugin::outbox::{self, EnqueueOutcome, Message};
use upkeep_plugin::{
    Context, HostError, HostResult, Outcome, Report, Result, Severity, Step, Task, metrics, state, warn,
};

use crate::config::{Relay, Table};
use crate::rows::{Row, Rows};

mod config;
mod message;
mod rows;

/// Where the name is remembered under which rows are claimed.
const OWNER: &str = "owner";

/// What was taken from a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Taken {
    /// Messages that the outbox has now.
    taken: u64,
    /// Of these, those that it had before.
    known: u64,
    /// Rows that are no messages, in all, and why the first are none.
    refused: i64,
    reasons: Vec<(i64, String)>,
    /// Whether more wait, which the grant does not let into the outbox in one run.
    more: bool,
}

impl Relay {
    fn table(&self, place: &str) -> Result<&Table> {
        let table = self.tables.iter().find(|it| it.place() == place);
        table.ok_or_else(|| upkeep_plugin::Error::config(format!("[[config.tables]] no longer names `{place}`")))
    }
}

impl Task for Relay {
    type Input = ();
    type Output = Taken;

    fn plan(&self, _: &Context) -> Result<Vec<Step>> {
        self.check()?;
        let step = |table: &Table| {
            let waiting = Rows::open(table, "").and_then(|it| it.waiting()).map_err(|error| told(table, error))?;
            let title = format!("take over from {}: {}", table.place(), messages(waiting.unsigned_abs()));
            Ok(Step::new(table.place(), ()).title(title).weight(waiting.unsigned_abs().max(1)))
        };
        self.tables.iter().map(step).collect()
    }

    fn execute(&self, ctx: &Context, step: Step) -> Result<Taken> {
        let table = self.table(&step.id)?;
        let owner = owner(ctx)?;
        let rows = Rows::open(table, &owner)?;
        let taken = take(table, &rows).map_err(|error| told(table, error));
        if taken.is_err() {
            // What cannot be given back now is free when its lease is over.
            let _ = rows.release();
        }
        let taken = taken?;
        metrics::count("messages_taken", &[("table", &step.id)], taken.taken as f64)?;
        metrics::gauge("rows_refused", &[("table", &step.id)], taken.refused as f64)?;
        Ok(taken)
    }

    fn finish(&self, _: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        let (mut taken, mut refused, mut failed) = (0, 0, Vec::new());
        let mut findings = Vec::new();
        for outcome in &outcomes {
            match &outcome.output {
                Ok(it) => {
                    taken += it.taken;
                    refused += it.refused;
                    if it.refused > 0 {
                        findings.push((&outcome.step.id, it));
                    }
                }
                Err(why) => failed.push(format!("{}: {why}", outcome.step.id)),
            }
        }
        let mut summary = vec![format!("{} taken over", messages(taken))];
        if refused > 0 {
            summary.push(format!("{refused} rows are no messages"));
        }
        if outcomes.iter().any(|it| it.output.as_ref().is_ok_and(|it| it.more)) {
            summary.push("more wait for the next run: `grant.outbox.max_messages` is reached".to_owned());
        }
        summary.extend(failed);
        let report = Report::new(summary.join("; "));
        Ok(findings.into_iter().fold(report, |report, (place, it)| {
            let reasons: Vec<String> = it.reasons.iter().map(|(id, why)| format!("- id {id}: {why}\n")).collect();
            let detail = format!(
                "{}Correct `message` and set `refused` to NULL, or delete the row. No other message waits for it.",
                reasons.concat()
            );
            report.finding(
                Severity::Medium,
                format!("refused/{place}"),
                format!("{} in {place} cannot be sent", count(it.refused, "row")),
                detail,
            )
        }))
    }
}

/// Batch after batch, until none is left.
fn take(table: &Table, rows: &Rows<'_>) -> HostResult<Taken> {
    let mut all = Taken::default();
    loop {
        let claimed = rows.claim()?;
        let count = claimed.len();
        let more = batch(table, rows, claimed, &mut all)?;
        if !more || count < table.batch as usize {
            all.more = !more;
            break;
        }
    }
    (all.refused, all.reasons) = rows.refused()?;
    Ok(all)
}

/// One batch; false when the run may enqueue no more.
fn batch(table: &Table, rows: &Rows<'_>, claimed: Vec<Row>, all: &mut Taken) -> HostResult<bool> {
    let mut read: BTreeMap<i64, Message> = BTreeMap::new();
    for Row { id, message, key } in claimed {
        let key = key.map_or_else(|| format!("{}/{id}", table.place()), |key| format!("{}:{key}", table.place()));
        match message::read(&message, key, &table.channels) {
            Ok(message) => drop(read.insert(id, message)),
            Err(why) => refuse(table, rows, id, &why)?,
        }
    }
    match enqueue(rows, &read.iter().map(|(id, message)| (*id, message.clone())).collect::<Vec<_>>(), table, all) {
        Err(HostError::Invalid(_)) => {}
        other => return other,
    }
    // One of them is wrong, and all were given back: one by one.
    for (id, message) in read {
        match enqueue(rows, &[(id, message)], table, all) {
            Ok(true) => {}
            Err(HostError::Invalid(why)) => refuse(table, rows, id, &why)?,
            other => return other,
        }
    }
    Ok(true)
}

/// Enqueues messages, and removes their rows; false when the run may enqueue no more.
fn enqueue(rows: &Rows<'_>, messages: &[(i64, Message)], table: &Table, all: &mut Taken) -> HostResult<bool> {
    let enqueued = match outbox::enqueue(messages.iter().map(|(_, message)| message.clone())) {
        Ok(enqueued) => enqueued,
        Err(HostError::Limit(why)) => {
            warn!(table = table.place(), "the rest waits for the next run: {why}");
            rows.release()?;
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    let mut done = Vec::with_capacity(messages.len());
    for ((id, _), enqueued) in messages.iter().zip(enqueued) {
        match enqueued.outcome {
            EnqueueOutcome::Different => {
                let why = format!("another message with this idempotency key was taken over before: {}", enqueued.id);
                refuse(table, rows, *id, &why)?;
                continue;
            }
            EnqueueOutcome::Known => all.known += 1,
            EnqueueOutcome::New => {}
        }
        all.taken += 1;
        done.push(*id);
    }
    rows.done(&done)?;
    Ok(true)
}

fn refuse(table: &Table, rows: &Rows<'_>, id: i64, why: &str) -> HostResult<()> {
    warn!(table = table.place(), id = id, "a row is no message: {why}");
    rows.refuse(id, why).map(drop)
}

/// The name under which this task of this server claims rows: the first run's, which no other run has.
fn owner(ctx: &Context) -> HostResult<String> {
    if let Some(owner) = state::get::<String>(OWNER)? {
        return Ok(owner);
    }
    let owner = format!("{}/{}/{}", ctx.host, ctx.task, ctx.run);
    state::put(OWNER, &owner)?;
    Ok(owner)
}

/// An error of the database, with what a table of messages looks like when that may be why.
fn told(table: &Table, error: HostError) -> upkeep_plugin::Error {
    let place = table.place();
    match error {
        HostError::Invalid(why) => upkeep_plugin::Error::config(format!(
            "`{place}` in [[config.tables]] cannot be read as a table of messages: {why}; docs/relay.md has the statement that makes one"
        )),
        other => other.into(),
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
