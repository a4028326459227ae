//! What a step hands to the summing up.

use serde::{Deserialize, Serialize};
use upkeep_plugin::{Finding, Table};

use crate::hardening::{self, Looked};

/// What one step found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) findings: Vec<Finding>,
    /// How the keys of findings begin that were not looked for.
    pub(crate) unseen: Vec<String>,
    /// What was looked at, for people: number and word, such as files.
    pub(crate) looked_at: Vec<(String, u64)>,
    /// What was left out, and why.
    pub(crate) left_out: Vec<String>,
    pub(crate) tables: Vec<Table>,
    /// A bill of materials, in CycloneDX.
    pub(crate) sbom: Option<String>,
}

/// What is left out is named up to this number; the rest is counted.
const NAMED: usize = 20;

impl Found {
    pub(crate) fn of_hardening(outcome: hardening::Outcome) -> Self {
        let mut found = Self { findings: outcome.findings, unseen: outcome.unseen, ..Self::default() };
        for (id, looked) in outcome.checks {
            match looked {
                Looked::Unseen(reason) => found.leave_out(format!("check {id}: {reason}")),
                Looked::Skipped => found.count("checks skipped", 1),
                _ => found.count("checks of the machine", 1),
            }
        }
        found
    }

    /// Counts what was looked at.
    pub(crate) fn count(&mut self, what: &str, many: u64) {
        match self.looked_at.iter_mut().find(|(word, _)| word == what) {
            Some((_, count)) => *count += many,
            None => self.looked_at.push((what.to_owned(), many)),
        }
    }

    /// Tells of a database.
    pub(crate) fn row(&mut self, family: String, records: String, age: String) {
        if self.tables.is_empty() {
            self.tables.push(Table::new("Advisories", ["ECOSYSTEM", "RECORDS", "AGE"]));
        }
        if let Some(table) = self.tables.first_mut() {
            table.rows.push(vec![family, records, age]);
        }
    }

    /// Notes what was left out.
    pub(crate) fn leave_out(&mut self, what: String) {
        if self.left_out.len() < NAMED {
            self.left_out.push(what);
        } else {
            self.count("left out and not named", 1);
        }
    }
}
