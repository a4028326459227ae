//! Which tables messages are taken from.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::config::Span;
use upkeep_plugin::{Error, Result};

/// Tables that an application writes its messages to, in the transaction of what they tell of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Relay {
    /// The tables; one at least.
    pub(crate) tables: Vec<Table>,
}

/// A table of messages.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// The database: the name of a `[grant.sql.NAME]` with the right `write`.
    pub(crate) database: String,
    /// The table; in PostgreSQL also `SCHEMA.NAME`.
    #[serde(default = "upkeep_outbox")]
    pub(crate) table: String,
    /// The channels of messages that name none.
    #[serde(default)]
    pub(crate) channels: Vec<String>,
    /// Rows that are claimed at once.
    #[serde(default = "five_hundred")]
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) batch: u32,
    /// How long claimed rows are nobody else's. A server that went away gives them back after that.
    #[serde(default = "five_minutes")]
    pub(crate) lease: Span,
}

/// Leases, in milliseconds: longer than the slowest batch takes; a message that waits for a day helps nobody.
const LEASES: std::ops::RangeInclusive<i64> = 10_000..=86_400_000;

impl Relay {
    /// What the schema cannot say.
    pub(crate) fn check(&self) -> Result<()> {
        if self.tables.is_empty() {
            return Err(Error::config(
                "[[config.tables]] names no table; name the database and the table with messages",
            ));
        }
        let mut seen = BTreeSet::new();
        for table in &self.tables {
            let wrong = |what: String| Err(Error::config(format!("`{}` in [[config.tables]]: {what}", table.place())));
            let is_name = |part: &str| {
                !part.is_empty() && part.chars().all(|it| it.is_alphanumeric() || matches!(it, '_' | '$' | '-'))
            };
            if table.table.split('.').count() > 2 || !table.table.split('.').all(is_name) {
                return wrong(format!("`table`: `{}` is no name of a table", table.table));
            }
            if !(1..=1000).contains(&table.batch) {
                return wrong("`batch` is 1 to 1000".to_owned());
            }
            if !LEASES.contains(&table.lease.0) {
                return wrong("`lease` is \"10s\" to \"1d\"".to_owned());
            }
            if !seen.insert(table.place()) {
                return wrong("it is named twice; once is enough".to_owned());
            }
        }
        Ok(())
    }
}

impl Table {
    /// Where it is, for people; also what keys of its messages begin with.
    pub(crate) fn place(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }
}

fn upkeep_outbox() -> String {
    "upkeep_outbox".to_owned()
}

fn five_hundred() -> u32 {
    500
}

fn five_minutes() -> Span {
    Span(300_000)
}
