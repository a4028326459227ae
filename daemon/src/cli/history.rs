//! `upkeep history`, and how runs look in tables.

use std::io::{self, Write};

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::failure::Exit;
use super::place::Place;
use super::screen::{Ink, Screen, duration};
use super::table::{Cell, Table};
use super::{stdout_screen, write_json};
use crate::api::Runs;
use crate::client::RunQuery;
use crate::outcome::Outcome;
use crate::record::{Phase, Run, RunId};

/// List runs, newest first
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// Only runs of this task
    task: Option<String>,
    /// Only runs that ended so
    #[arg(long, value_parser = PossibleValuesParser::new(Outcome::NAMES))]
    outcome: Option<String>,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only runs before this one
    #[arg(long, value_name = "RUN")]
    before: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl HistoryArgs {
    pub(super) async fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let Self { task, outcome, limit, before, json } = self;
        let runs = place.client()?.runs(&RunQuery { task, outcome, limit: Some(limit), before }).await?;
        if json {
            write_json(&runs, out)?;
        } else {
            write(&stdout_screen(), &runs, out)?;
        }
        Ok(Exit::Done)
    }
}

fn write(screen: &Screen, Runs { runs, next }: &Runs, out: &mut dyn Write) -> io::Result<()> {
    if runs.is_empty() {
        return writeln!(out, "There are no such runs.");
    }
    table(screen, runs).write(screen, 0, out)?;
    match next {
        Some(next) => writeln!(out, "Older ones: --before {next}"),
        None => Ok(()),
    }
}

/// Runs as a table.
pub(super) fn table(screen: &Screen, runs: &[Run]) -> Table {
    let ids: Vec<&RunId> = runs.iter().map(|run| &run.id).collect();
    let length = abbreviation(&ids);
    let started = format!("STARTED ({})", screen.zone_note());
    let mut table = Table::new(["RUN", "TASK", &started, "TOOK", "OUTCOME"], 4);
    for run in runs {
        table.row([
            Cell::from(abbreviate(&run.id, length)),
            run.task.as_str().into(),
            run.started.map_or("-".to_owned(), |at| screen.minute(at)).into(),
            took(run).into(),
            Cell::new(Ink::of(run.outcome.as_ref()), became(run)),
        ]);
    }
    table
}

/// How long a run took, or `-`.
pub(super) fn took(run: &Run) -> String {
    run.started.zip(run.ended).map_or("-".to_owned(), |(started, ended)| duration(ended.0 - started.0))
}

/// What became of a run so far, in one line.
pub(super) fn became(run: &Run) -> String {
    let mut text = match &run.outcome {
        Some(outcome) => outcome.to_string(),
        None => phase(run.phase).to_owned(),
    };
    if run.dry_run {
        text = format!("dry run {text}");
    }
    if run.attempt > 1 {
        text = format!("{text} (attempt {})", run.attempt);
    }
    text
}

/// The name of a phase, as in the API.
pub(super) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Queued => "queued",
        Phase::Planning => "planning",
        Phase::Executing => "executing",
        Phase::Finishing => "finishing",
        Phase::Done => "done",
    }
}

/// How many characters of these identifiers tell them apart. The first ten are the millisecond at which a run was
/// queued, which nearly always will do.
pub(super) fn abbreviation(ids: &[&RunId]) -> usize {
    const TIME: usize = 10;
    let mut sorted: Vec<&str> = ids.iter().map(|id| &*id.0).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let alike = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    sorted.windows(2).map(|pair| alike(pair[0], pair[1]) + 1).max().unwrap_or(0).max(TIME)
}

/// The beginning of an identifier.
pub(super) fn abbreviate(id: &RunId, length: usize) -> &str {
    id.0.get(..length).unwrap_or(&id.0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cli::screen::tests::terminal;
    use crate::clock::Timestamp;
    use crate::outcome::Failure;
    use crate::record::Trigger;

    /// The identifier of the `n`th run: each is of another millisecond.
    pub(crate) fn id(n: u8) -> RunId {
        RunId(format!("01KARX{n:04}6Z7QW3M5T8V2B4C9").into())
    }

    /// A run that was queued.
    pub(crate) fn run_at(n: u8, task: &str, at: i64) -> Run {
        Run::queued(id(n), task, Trigger::Schedule, Timestamp(at), Timestamp(at))
    }

    /// A run that started 200 ms later and took 2 minutes and 10 seconds.
    pub(crate) fn ended(run: Run, outcome: Outcome) -> Run {
        let started = run.queued.0 + 200;
        Run {
            started: Some(Timestamp(started)),
            ended: Some(Timestamp(started + 130_000)),
            phase: Phase::Done,
            outcome: Some(outcome),
            ..run
        }
    }

    fn shown(runs: &Runs) -> String {
        let mut out = Vec::new();
        write(&terminal(), runs, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tells_how_runs_ended() {
        let now = terminal().now.0;
        let message = "the repository is locked by another process since 02:13, and did not become free".into();
        let failed = Outcome::Failed { failure: Failure::Transient, message };
        let skipped = Outcome::Skipped { reason: "the group `database` was busy".into() };
        let runs = Runs {
            runs: vec![
                run_at(5, "backup-app", now),
                Run { dry_run: true, ..ended(run_at(4, "backup-app", now - 300_000), Outcome::Succeeded) },
                Run { attempt: 2, ..ended(run_at(3, "backup-app", now - 600_000), Outcome::Succeeded) },
                ended(run_at(2, "backup-app", now - 900_000), failed),
                Run { started: None, ..ended(run_at(1, "cleanup", now - 90_000_000), skipped) },
            ],
            next: Some(id(1)),
        };
        insta::assert_snapshot!(shown(&runs));
        insta::assert_snapshot!(shown(&Runs { runs: vec![], next: None }), @"There are no such runs.");
    }

    #[test]
    fn abbreviations_tell_apart() {
        let (a, b) = (RunId("01KARX00016Z7QW3AAAAAAAAAA".into()), RunId("01KARX00016Z7QW3BAAAAAAAAA".into()));
        assert_eq!(abbreviation(&[&a, &id(2)]), 10);
        assert_eq!(abbreviation(&[&a, &b]), 17);
        assert_eq!(abbreviation(&[&a, &a]), 10, "the same twice");
        assert_eq!(abbreviate(&a, 12), "01KARX00016Z");
        assert_eq!(abbreviate(&RunId("short".into()), 10), "short");
    }
}
