//! `upkeep backup drill`: runs the restore drills of a backup task now, or shows how the last ones went.

use std::io::Write;

use crate::cli::failure::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::run::RunArgs;
use crate::cli::{report, stdout_screen, wait, write_json};
use crate::client::RunQuery;
use crate::config::repositories;
use crate::record::Report;

/// Restore the newest backups of a task on trial, as its restore drill is configured
#[derive(Debug, Clone, clap::Args)]
pub(in crate::cli) struct DrillArgs {
    /// The backup task whose snapshots are restored, or the drill itself
    task: String,
    /// Only show how the last drills went
    #[arg(long, conflicts_with = "standalone")]
    history: bool,
    /// Run it in this process, while no daemon runs
    #[arg(long)]
    standalone: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl DrillArgs {
    pub(in crate::cli) fn run(&self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let drills = repositories::drills(&place.config_dir(), &self.task);
        if drills.is_empty() {
            let message = format!("no drill restores the snapshots of the task `{}`", self.task);
            let help = format!(
                "make one: a task with `plugin = \"restore-drill\"` and `task = \"{}\"` under [config]; docs/proof.md shows it whole",
                self.task
            );
            return Err(Failure::new(Exit::NotFound, message, help).into());
        }
        let mut exit = Exit::Done;
        for drill in drills {
            let ended = match self.history {
                true => self.show(&drill, place, out)?,
                false => RunArgs::of(drill, self.standalone, self.json).run(place, out)?,
            };
            if ended != Exit::Done {
                exit = ended;
            }
        }
        Ok(exit)
    }

    /// What the last drill that ended told, without its findings.
    fn show(&self, drill: &str, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let client = place.client()?;
        let query = RunQuery { task: Some(drill.to_owned()), outcome: None, limit: Some(20), before: None };
        let last = wait(async {
            for run in client.runs(&query).await?.runs {
                let detail = client.show(&run.id.0).await?;
                if detail.report.as_ref().is_some_and(|report| report.tables.len() > 1) {
                    return Ok(Some(detail));
                }
            }
            Ok(None)
        })?;
        let Some(detail) = last else {
            writeln!(out, "{drill}: no drill yet; `upkeep run {drill}` makes one")?;
            return Ok(Exit::Done);
        };
        if self.json {
            write_json(&detail, out)?;
        } else if let Some(told) = detail.report {
            let tables = told.tables.into_iter().skip(1).collect();
            report::write(
                &stdout_screen(),
                &Report { summary: format!("{drill}: {}", told.summary), tables, ..Report::default() },
                out,
            )?;
        }
        Ok(Exit::Done)
    }
}
