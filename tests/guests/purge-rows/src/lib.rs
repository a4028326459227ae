//! Expected outcome: succeeded. Counts the rows of one table whose time has passed, removes them and looks after the database.
//! The report's text is JSON with what the host said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use upkeep_plugin::purge::{self, Clock, Estimate, Maintained, Maintenance, Options, Outcome, Selection};
use upkeep_plugin::repository::Repository;
use upkeep_plugin::{Context, Report, Result, Step, Task};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Purge {
    database: String,
    table: String,
    column: String,
    /// `s`, `ms`, `us` or `iso`; left out where the type of the column says it.
    clock: Option<String>,
    /// Rows go that are older than this, milliseconds since the Unix epoch.
    before: i64,
    /// The repository that they are saved to first.
    repository: Option<String>,
    #[serde(default = "at_most")]
    chunk_ms: u32,
    #[serde(default)]
    pause_ms: u32,
    #[serde(default = "many")]
    chunk_rows: u32,
    /// Whether to look after the database afterwards, and how: `vacuum` or `optimize`.
    maintain: Option<String>,
    /// Only the table, rather than the whole database.
    #[serde(default)]
    maintain_table: bool,
}

fn at_most() -> u32 {
    25
}

fn many() -> u32 {
    10_000
}

#[derive(Serialize, Deserialize)]
struct Done {
    outcome: Outcome,
    maintained: Option<Maintained>,
}

impl Purge {
    fn selection(&self) -> Selection {
        let selection = Selection::new(&self.database, &self.table, &self.column, self.before);
        match self.clock.as_deref() {
            None => selection,
            Some("ms") => selection.clock(Clock::UnixMilliseconds),
            Some("us") => selection.clock(Clock::UnixMicroseconds),
            Some("iso") => selection.clock(Clock::IsoText),
            Some(_) => selection.clock(Clock::UnixSeconds),
        }
    }
}

impl Task for Purge {
    type Input = Estimate;
    type Output = Done;

    fn plan(&self, _: &Context) -> Result<Vec<Step<Estimate>>> {
        let estimate = purge::count(&self.selection())?;
        let title = format!("{} of {} rows would go", estimate.rows, estimate.total);
        Ok(vec![Step::new("rows", estimate).title(title)])
    }

    fn execute(&self, _: &Context, _: Step<Estimate>) -> Result<Done> {
        let options = Options { chunk_ms: self.chunk_ms, chunk_rows: self.chunk_rows, pause_ms: self.pause_ms };
        let repository = self.repository.as_deref().map(Repository::open).transpose()?;
        let tags = ["rows".to_owned()];
        let outcome = purge::carry_out(&self.selection(), &options, repository.as_ref(), &tags)?;
        let kind = match self.maintain.as_deref() {
            None => return Ok(Done { outcome, maintained: None }),
            Some("vacuum") => Maintenance::Vacuum,
            Some(_) => Maintenance::Optimize,
        };
        let table = self.maintain_table.then_some(self.table.as_str());
        let maintained = Some(purge::maintain(&self.database, kind, table)?);
        Ok(Done { outcome, maintained })
    }

    fn finish(&self, _: &Context, outcomes: Vec<upkeep_plugin::Outcome<Self>>) -> Result<Report> {
        let mut said = Vec::new();
        for outcome in outcomes {
            let estimate = &outcome.step.input;
            said.push(match &outcome.output {
                Ok(done) => serde_json::json!({ "estimate": estimate, "done": done }),
                Err(error) => serde_json::json!({ "estimate": estimate, "error": error }),
            });
        }
        let mut report = Report::new("looked after rows");
        report.text = serde_json::to_string(&said).unwrap_or_default();
        Ok(report)
    }
}

upkeep_plugin::export!(Purge);
