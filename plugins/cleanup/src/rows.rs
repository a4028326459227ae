//! Rows of databases that have passed their time.
//!
//! The rules of one database are one step and carried out in the order of the file: rows that refer to others go before
//! those, and a database is given back its room when nothing is removed from it any more.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use upkeep_plugin::config::Span;
use upkeep_plugin::purge::{self, Clock, Estimate, Maintained, Maintenance, Options, Outcome, Selection};
use upkeep_plugin::repository::Repository;
use upkeep_plugin::sql::Value;
use upkeep_plugin::{Context, Error, HostError, Result, info, warn};

use crate::config::{check_name, present};

/// What snapshots of saved rows are tagged with.
const TAG: &str = "rows";

/// A rule for rows: those of one table that are older than a limit go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowsSettings {
    /// Name of the rule, in plans and reports; each has its own.
    #[schemars(length(min = 1, max = 64))]
    pub(crate) name: String,
    /// Where the table is: the name of a `[grant.sql.NAME]`.
    pub(crate) database: String,
    /// The table, as `removal.tables` of the grant names it.
    table: String,
    /// The column that holds the time of a row.
    column: String,
    /// Rows go whose time is longer ago.
    pub(crate) older_than: Span,
    /// How the column holds the time, where its type does not say it.
    #[serde(default)]
    #[schemars(transform = present)]
    stored_as: Option<StoredAs>,
    /// IANA name of the time zone of times that are stored without one; by default that of the task.
    #[serde(default)]
    timezone: Option<String>,
    /// Only rows that have these values in these columns.
    #[serde(default, rename = "where")]
    equal: BTreeMap<String, Scalar>,
    /// How long one transaction should take at most, in milliseconds: that long somebody may have to wait.
    #[serde(default = "chunk_ms")]
    #[schemars(range(min = 1, max = 10_000))]
    chunk_ms: u32,
    /// How many rows one transaction removes at most.
    #[serde(default = "chunk_rows")]
    #[schemars(range(min = 1, max = 1_000_000))]
    chunk_rows: u32,
    /// The shortest pause after each transaction, in milliseconds. It is at least as long as the transaction took.
    #[serde(default = "pause_ms")]
    #[schemars(range(max = 60_000))]
    pause_ms: u32,
    /// Where rows are saved before they go: the name of a `[grant.repository.NAME]`.
    #[serde(default)]
    pub(crate) export: Option<String>,
    /// Whether the room of rows that went is given back: `VACUUM`, in MariaDB `OPTIMIZE TABLE`.
    #[serde(default)]
    vacuum: bool,
    /// Whether the database looks afterwards at what it holds now: `ANALYZE`, in SQLite `PRAGMA optimize`.
    #[serde(default)]
    optimize: bool,
}

fn chunk_ms() -> u32 {
    Options::default().chunk_ms
}

fn chunk_rows() -> u32 {
    Options::default().chunk_rows
}

fn pause_ms() -> u32 {
    Options::default().pause_ms
}

/// How a column holds a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum StoredAs {
    /// A number: seconds since 1970.
    UnixSeconds,
    /// A number: milliseconds since 1970.
    UnixMilliseconds,
    /// A number: microseconds since 1970.
    UnixMicroseconds,
    /// Text that begins as `2026-01-31` or `2026-01-31 23:59:59`.
    IsoText,
}

impl From<StoredAs> for Clock {
    fn from(stored: StoredAs) -> Self {
        match stored {
            StoredAs::UnixSeconds => Self::UnixSeconds,
            StoredAs::UnixMilliseconds => Self::UnixMilliseconds,
            StoredAs::UnixMicroseconds => Self::UnixMicroseconds,
            StoredAs::IsoText => Self::IsoText,
        }
    }
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Scalar {
    Boolean(bool),
    Integer(i64),
    Real(f64),
    Text(String),
}

impl From<&Scalar> for Value {
    fn from(scalar: &Scalar) -> Self {
        match scalar {
            Scalar::Boolean(it) => Self::from(*it),
            Scalar::Integer(it) => Self::Integer(*it),
            Scalar::Real(it) => Self::Real(*it),
            Scalar::Text(it) => Self::Text(it.clone()),
        }
    }
}

/// What is to go from one database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Planned {
    pub(crate) database: String,
    pub(crate) rules: Vec<PlannedRule>,
}

/// What is to go by one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlannedRule {
    pub(crate) rule: RowsSettings,
    selection: Selection,
    /// Or why that is not known.
    pub(crate) estimate: Result<Estimate, String>,
}

/// What went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// In the order of the rules; none where nothing was to go.
    pub(crate) outcomes: Vec<Option<Outcome>>,
    pub(crate) care: Vec<Care>,
}

/// What was done for a database afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Care {
    pub(crate) kind: Maintenance,
    /// None: all of the database.
    pub(crate) table: Option<String>,
    pub(crate) maintained: Maintained,
}

impl RowsSettings {
    pub(crate) fn check(&self) -> Result<(), String> {
        check_name(&self.name)?;
        if self.older_than.0 <= 0 {
            return Err("`older_than` has to be more than 0".to_owned());
        }
        Ok(())
    }

    fn selection(&self, ctx: &Context) -> Selection {
        let before = ctx.now.saturating_sub(self.older_than.0);
        let selection = Selection {
            clock: self.stored_as.map(Clock::from),
            ..Selection::new(&self.database, &self.table, &self.column, before)
        };
        let selection = selection.timezone(self.timezone.as_ref().unwrap_or(&ctx.timezone));
        self.equal.iter().fold(selection, |selection, (column, value)| selection.equal(column, value))
    }

    fn options(&self) -> Options {
        Options { chunk_ms: self.chunk_ms, chunk_rows: self.chunk_rows, pause_ms: self.pause_ms }
    }

    fn wants(&self, kind: Maintenance) -> bool {
        match kind {
            Maintenance::Vacuum => self.vacuum,
            Maintenance::Optimize => self.optimize,
        }
    }
}

impl Planned {
    /// Rows to go.
    pub(crate) fn weight(&self) -> u64 {
        self.rules.iter().filter_map(|it| Some(it.estimate.as_ref().ok()?.rows)).sum()
    }
}

/// Counts by databases, both in the order of the file.
pub(crate) fn plan(rules: &[RowsSettings], ctx: &Context) -> Result<Vec<Planned>> {
    let mut databases: Vec<Planned> = Vec::new();
    for rule in rules {
        let selection = rule.selection(ctx);
        let estimate = match purge::count(&selection) {
            // A database that is away keeps nothing else from being cleaned up.
            Err(HostError::Unavailable(why)) => {
                warn!(rule = rule.name, "the rows cannot be counted: {why}");
                Err(why)
            }
            counted => Ok(counted?),
        };
        let planned = PlannedRule { rule: rule.clone(), selection, estimate };
        match databases.iter_mut().find(|it| it.database == rule.database) {
            Some(database) => database.rules.push(planned),
            None => databases.push(Planned { database: rule.database.clone(), rules: vec![planned] }),
        }
    }
    Ok(databases)
}

/// Removes what was counted, and looks after the tables that it went from.
pub(crate) fn carry_out(planned: &Planned) -> Result<Done> {
    let (mut outcomes, mut emptier) = (Vec::new(), Vec::new());
    for planned in &planned.rules {
        let outcome = planned.carry_out()?;
        if matches!(&outcome, Some(Outcome::Done(done)) if done.removed > 0) {
            emptier.push(&planned.rule);
        }
        outcomes.push(outcome);
    }
    let care = look_after(&planned.database, &emptier)?;
    Ok(Done { outcomes, care })
}

impl PlannedRule {
    fn carry_out(&self) -> Result<Option<Outcome>> {
        let Self { rule, selection, estimate } = self;
        let estimate = estimate.as_ref().map_err(|why| {
            Error::transient(format!("`{}`: the rows could not be counted when the run was planned: {why}", rule.name))
        })?;
        if estimate.rows == 0 && estimate.rows_counted {
            return Ok(None);
        }
        let repository = rule.export.as_deref().map(Repository::open).transpose()?;
        let outcome = purge::carry_out(selection, &rule.options(), repository.as_ref(), &[TAG.to_owned()])?;
        match &outcome {
            Outcome::Done(done) => info!(rule = rule.name, removed = done.removed, "removed rows"),
            Outcome::Blocked(blocks) => {
                blocks.iter().for_each(|it| warn!(rule = rule.name, "nothing was removed: {}", it.message));
            }
        }
        Ok(Some(outcome))
    }
}

/// What the rules want for the tables that rows went from.
fn look_after(database: &str, rules: &[&RowsSettings]) -> Result<Vec<Care>> {
    let mut all = Vec::new();
    for kind in [Maintenance::Vacuum, Maintenance::Optimize] {
        let mut tables: Vec<&str> = rules.iter().filter(|it| it.wants(kind)).map(|it| it.table.as_str()).collect();
        tables.sort_unstable();
        tables.dedup();
        for table in tables {
            let care = |table: Option<&str>| -> Result<Care, HostError> {
                let maintained = purge::maintain(database, kind, table)?;
                Ok(Care { kind, table: table.map(str::to_owned), maintained })
            };
            match care(Some(table)) {
                // SQLite knows no single tables here: all of it, and once is enough.
                Err(HostError::Invalid(_)) => {
                    all.push(care(None)?);
                    break;
                }
                told => all.push(told?),
            }
        }
    }
    Ok(all)
}
