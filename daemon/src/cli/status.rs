//! `upkeep status`

use std::io::{self, Write};

use clap::Args;

use super::failure::Exit;
use super::place::Place;
use super::screen::{Ink, Screen, duration, line, plain};
use super::table::{Cell, Table};
use super::{history, stdout_screen, write_json};
use crate::command::Status;
use crate::record::RunId;

/// Show how the daemon is: what runs, what waits, what fails
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl StatusArgs {
    pub(super) async fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let status = place.client()?.status().await?;
        if self.json {
            write_json(&status, out)?;
        } else {
            write(&stdout_screen(), &status, out)?;
        }
        Ok(Exit::Done)
    }
}

fn write(screen: &Screen, status: &Status, out: &mut dyn Write) -> io::Result<()> {
    let Status { version, pid, since, config_dir, config_loaded, config_error, tasks, disabled, .. } = status;
    let up = duration(screen.now.0 - since.0);
    writeln!(out, "upkeep {version}, process {pid}, runs since {} ({up})", screen.minute(*since))?;
    let loaded = screen.minute(*config_loaded);
    writeln!(out, "Configuration  {}, loaded {loaded} ({})", line(config_dir), screen.relative(*config_loaded))?;
    let off = if *disabled > 0 { format!(", {disabled} disabled") } else { String::new() };
    writeln!(out, "Tasks          {tasks}{off}")?;
    match &status.next {
        Some(next) => {
            let due = screen.minute(next.due);
            writeln!(out, "Next           {} at {due} ({})", line(&next.task), screen.relative(next.due))?;
        }
        None => writeln!(out, "Next           nothing is scheduled")?,
    }
    writeln!(out, "Times          {}", screen.zone_note())?;
    if let Some(error) = &status.journal_error {
        writeln!(out, "\n{}", screen.ink(Ink::Red, "Nothing can be recorded, so nothing begins and nobody is told:"))?;
        writeln!(out, "  {}", line(error))?;
    }
    if let Some(error) = config_error {
        let heading = screen.ink(Ink::Yellow, "The configuration on disk is not in use, because it is not valid:");
        writeln!(out, "\n{heading}")?;
        for line in plain(error).trim_end().lines() {
            writeln!(out, "  {line}")?;
        }
        writeln!(out, "`upkeep check` checks it again.")?;
    }
    write_running(screen, status, out)?;
    write_queued(screen, status, out)?;
    if !status.failing.is_empty() {
        writeln!(out, "\n{}", screen.ink(Ink::Red, "Last run did not succeed"))?;
        history::table(screen, &status.failing).write(screen, 2, out)?;
    }
    Ok(())
}

fn write_running(screen: &Screen, status: &Status, out: &mut dyn Write) -> io::Result<()> {
    if status.running.is_empty() {
        return writeln!(out, "\nNothing is running.");
    }
    writeln!(out, "\n{}", screen.ink(Ink::Green, "Running"))?;
    let ids: Vec<&RunId> = status.running.iter().map(|running| &running.run.id).collect();
    let length = history::abbreviation(&ids);
    let mut table = Table::new(["RUN", "TASK", "PHASE", "STEPS", "FOR"], 1);
    for running in &status.running {
        let run = &running.run;
        let steps = match running.steps {
            0 => "-".to_owned(),
            steps => format!("{} of {steps}", running.steps_done),
        };
        let since = run.started.map_or("-".to_owned(), |started| duration(screen.now.0 - started.0));
        let id = history::abbreviate(&run.id, length);
        table.row([id.into(), run.task.as_str().into(), history::phase(run.phase).into(), steps.into(), since.into()]);
    }
    table.write(screen, 2, out)
}

fn write_queued(screen: &Screen, status: &Status, out: &mut dyn Write) -> io::Result<()> {
    if status.queue_length == 0 {
        return Ok(());
    }
    writeln!(out, "\n{}", screen.ink(Ink::Bold, &format!("Waiting ({})", status.queue_length)))?;
    const SHOWN: usize = 10;
    let ids: Vec<&RunId> = status.queued.iter().map(|run| &run.id).collect();
    let length = history::abbreviation(&ids);
    let mut table = Table::new(["RUN", "TASK", "FOR"], 1);
    for run in status.queued.iter().take(SHOWN) {
        let waits = duration(screen.now.0 - run.queued.0);
        table.row([Cell::from(history::abbreviate(&run.id, length)), run.task.as_str().into(), waits.into()]);
    }
    if !status.queued.is_empty() {
        table.write(screen, 2, out)?;
    }
    match status.queue_length.saturating_sub(SHOWN.min(status.queued.len())) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::history::tests::{ended, id, run_at};
    use crate::cli::screen::tests::terminal;
    use crate::clock::Timestamp;
    use crate::command::{NextSlot, Running};
    use crate::outcome::Outcome;
    use crate::record::{Phase, Run};

    fn shown(status: &Status) -> String {
        let mut out = Vec::new();
        write(&terminal(), status, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn quiet() -> Status {
        let now = terminal().now.0;
        Status {
            version: "0.1.0".into(),
            pid: 4242,
            since: Timestamp(now - 90_000_000),
            config_dir: "/etc/upkeep".into(),
            config_loaded: Timestamp(now - 3_780_000),
            config_error: None,
            journal_error: None,
            tasks: 7,
            disabled: 0,
            next: None,
            running: vec![],
            queued: vec![],
            queue_length: 0,
            failing: vec![],
        }
    }

    #[test]
    fn a_quiet_daemon() {
        insta::assert_snapshot!(shown(&quiet()));
    }

    #[test]
    fn a_busy_daemon() {
        let now = terminal().now.0;
        let started = Some(Timestamp(now - 130_000));
        let run = Run { started, phase: Phase::Executing, ..run_at(1, "backup-app", now - 131_000) };
        let planning = Run { phase: Phase::Planning, started, ..run_at(2, "security-scan-of-everything", now - 1_000) };
        let failure = Outcome::TimedOut { after_ms: 3_600_000 };
        let status = Status {
            config_error: Some("tasks.d/cleanup.toml:7:1: unknown key `shedule`\nhelp: write `schedule`\n".into()),
            journal_error: Some("the disk that holds the journal /var/lib/upkeep/upkeep.db is full".into()),
            disabled: 2,
            next: Some(NextSlot { task: "cleanup".into(), due: Timestamp(now + 44_700_000) }),
            running: vec![Running { run, steps_done: 3, steps: 7 }, Running { run: planning, steps_done: 0, steps: 0 }],
            queued: (3..15).map(|n| run_at(n, "stats", now - 500)).collect(),
            queue_length: 214,
            failing: vec![ended(ended_run(now), failure)],
            ..quiet()
        };
        insta::assert_snapshot!(shown(&status));
        assert_eq!(id(3).0.len(), 26);
    }

    fn ended_run(now: i64) -> Run {
        run_at(20, "push-daily", now - 36_000_000)
    }
}
