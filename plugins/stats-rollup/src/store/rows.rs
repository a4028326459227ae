//! Rows for people that are too many for the call that changes the figures.
//!
//! A year of logs that is read at once has more rows than a call of the host takes. Then the transaction that changes the figures
//! notes of which sections there are rows to be made, and they are made right after it, some at a time. A run that is ended in
//! between leaves its notes to the next.

use std::collections::BTreeSet;

use upkeep_plugin::sql::Value;
use upkeep_plugin::{HostError, HostResult, Result, parameters};
use upkeep_rollup::Key;

use super::{CALL, Known, MERGED, Merging, Statements, Store, damaged, tables, take_turn};
use crate::config::FunnelOf;

/// Keys that are noted or removed in one statement.
const TOGETHER: usize = 500;

/// The step whose pieces note of which sections of a source there are rows to be made. Steps of a plan have no slash.
fn step_of(source: &str) -> String {
    format!("rows/{source}")
}

/// Bytes of a call that the rows of a section take at most, about. Names have at most 512.
fn weight(key: &Key) -> usize {
    match key {
        Key::Chart(..) => tables::PLACES * 768,
        Key::Events(_) => 1_000 * 1_024,
        Key::Steps(..) => 32 * 1_024,
        // The cohorts of all days stand in one of them.
        Key::Users(_) => 8 * 1_024,
        Key::Hour(_) | Key::Day(_) => 2 * 1_024,
        Key::Sessions(_) | Key::Seen(..) | Key::Visitors(..) | Key::Attempts(..) => 0,
    }
}

/// Whether the rows of these sections may be too many for one call.
pub(super) fn are_many(keys: &[Key]) -> bool {
    keys.iter().map(weight).sum::<usize>() > CALL
}

/// Notes that there are rows to be made of what is merged.
pub(super) fn later(source: &str, run: &str) -> (String, Vec<Value>) {
    (
        "INSERT INTO @piece (run, step, \"key\", value) SELECT run, ?, \"key\", ? FROM @piece WHERE run = ? AND step = ?"
            .to_owned(),
        vec![Value::from(step_of(source)), Value::Blob(Vec::new()), Value::from(run), Value::from(MERGED)],
    )
}

impl Store {
    /// Makes the rows of a source that were too many; gives how often something was committed.
    pub(crate) fn write_rows(&self, source: &str, zone: &str, funnels: &[FunnelOf]) -> Result<u32> {
        let step = step_of(source);
        let mut commits = 0;
        loop {
            // Those that another run makes meanwhile are gone when it is looked again.
            let known = self.known(source)?;
            let statement = "SELECT DISTINCT \"key\" FROM @piece WHERE step = ?";
            let noted = self.query(statement, parameters![step.as_str()])?;
            let noted: BTreeSet<String> = noted.map(|row| row?.get("key")).collect::<HostResult<_>>()?;
            let keys: BTreeSet<Key> = noted.iter().map(|it| it.parse()).collect::<Result<_, _>>().map_err(damaged)?;
            let mut bytes = 0;
            let fit = |it: &Key| {
                let is_first = bytes == 0;
                bytes += weight(it);
                is_first || bytes <= CALL
            };
            let some: Vec<Key> = keys.into_iter().take_while(fit).collect();
            if some.is_empty() {
                return Ok(commits);
            }
            match self.commit(self.rows(source, zone, funnels, known, &some)?) {
                Err(HostError::Conflict(_)) => {}
                done => {
                    done?;
                    commits += 1;
                }
            }
        }
    }

    /// What writes the rows of some sections, and removes the notes of them.
    fn rows(&self, source: &str, zone: &str, funnels: &[FunnelOf], known: Known, some: &[Key]) -> Result<Statements> {
        let mut stored = Merging::of_stored(self, source, zone)?;
        let mut statements = take_turn(source, known);
        statements.extend(tables::of(&mut stored, some, funnels)?);
        for some in some.chunks(TOGETHER) {
            let places = vec!["?"; some.len()].join(", ");
            let names = some.iter().map(|it| Value::from(it.to_string()));
            statements.push((
                format!("DELETE FROM @piece WHERE step = ? AND \"key\" IN ({places})"),
                [Value::from(step_of(source))].into_iter().chain(names).collect(),
            ));
        }
        Ok(statements)
    }
}

#[cfg(test)]
mod tests {
    use upkeep_rollup::{Chart, Day};

    use super::*;

    #[test]
    fn the_rows_of_some_days_go_with_the_figures_and_those_of_a_month_do_not() {
        let of_days = |days: i32| -> Vec<Key> {
            let hours = (0..i64::from(days) * 24).map(|it| Key::Hour(it * 3_600));
            let charts = (0..days).flat_map(|day| Chart::ALL.map(|chart| Key::Chart(Day(day), chart)));
            hours.chain((0..days).map(|day| Key::Day(Day(day)))).chain(charts).collect()
        };
        assert!(!are_many(&of_days(8)) && are_many(&of_days(30)));
        assert!(!are_many(&(0..64).map(Key::Users).collect::<Vec<_>>()));
    }
}
