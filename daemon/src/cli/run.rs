//! `upkeep run`: starts a run and stays with it until it is over.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};

use super::failure::{Exit, Failure};
use super::place::Place;
use super::plan::{Planned, unreadable};
use super::progress::Progress;
use super::screen::{Ink, Screen, colours_wanted, line};
use super::table::{Cell, Table};
use super::{daemon_runtime, history, report, stdout_screen, wait, write_json};
use crate::api::{Queued, RunDetail};
use crate::client::{Client, ClientError};
use crate::clock;
use crate::daemon::{Order, Standalone};
use crate::event::Events;
use crate::outcome::Outcome;
use crate::record::RunId;
use crate::run::cancel::{Cancel, Reason};

/// Run a task now, and wait for its end
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The task
    task: String,
    /// Only make the plan: show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Write the plan to this file, for `upkeep apply`
    #[arg(long, value_name = "FILE", requires = "dry_run", conflicts_with = "detach")]
    out: Option<PathBuf>,
    #[command(flatten)]
    manner: Manner,
}

/// How a run is waited for, and told of.
#[derive(Debug, Args)]
pub(super) struct Manner {
    /// Do not wait for the end
    #[arg(long, conflicts_with = "standalone")]
    detach: bool,
    /// Run it in this process, while no daemon runs
    #[arg(long)]
    standalone: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl RunArgs {
    /// A run of a task that is waited for.
    pub(super) fn of(task: String, standalone: bool, json: bool) -> Self {
        Self { task, dry_run: false, out: None, manner: Manner { detach: false, standalone, json } }
    }

    pub(super) fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let Self { task, dry_run, out: file, manner } = self;
        if manner.standalone {
            let order = if dry_run { Order::DryRun(task.clone()) } else { Order::Task(task.clone()) };
            return daemon_runtime()?.block_on(async {
                let (detail, plans) = manner.standalone(place, order, &task).await?;
                let planned = if dry_run { Planned::kept(&plans)? } else { None };
                if let (Some(file), Some(planned)) = (&file, &planned) {
                    planned.save(file)?;
                }
                manner.conclude(&detail, planned.as_ref(), file.as_deref(), out)
            });
        }
        wait(async {
            let client = place.client()?;
            let run = client.run(&task, dry_run).await?;
            let Some(detail) = manner.follow(&client, run, &task, out).await? else { return Ok(manner.left()) };
            let planned = match (dry_run, &detail.run.outcome) {
                (true, Some(Outcome::Succeeded)) => {
                    Some(Planned::fetch(&client, &detail.run.id, file.as_deref()).await?)
                }
                _ => None,
            };
            manner.conclude(&detail, planned.as_ref(), file.as_deref(), out)
        })
    }
}

impl Manner {
    /// Has a plan carried out.
    pub(super) fn apply(self, place: &Place, file: PathBuf, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let name = file.display().to_string();
        if self.standalone {
            return daemon_runtime()?.block_on(async {
                let (detail, _) = self.standalone(place, Order::Plan(file), &name).await?;
                self.conclude(&detail, None, None, out)
            });
        }
        wait(async {
            let client = place.client()?;
            let plan = tokio::fs::File::open(&file).await.map_err(|error| unreadable(&file, &error))?;
            let run = client.apply(plan).await?;
            match self.follow(&client, run, &name, out).await? {
                Some(detail) => self.conclude(&detail, None, None, out),
                None => Ok(self.left()),
            }
        })
    }

    /// How a command ends that did not wait for its run.
    fn left(&self) -> Exit {
        if self.detach { Exit::Done } else { Exit::Unsuccessful }
    }

    /// Stays with a run of the daemon until it is over; none when it goes on without being waited for.
    async fn follow(
        &self,
        client: &Client,
        run: RunId,
        name: &str,
        out: &mut dyn Write,
    ) -> anyhow::Result<Option<RunDetail>> {
        if self.detach {
            match self.json {
                true => write_json(&Queued { run }, out)?,
                false => writeln!(out, "Run {run} is queued.\n{}", follow_or_end(&run))?,
            }
            return Ok(None);
        }
        let mut err = self.err();
        let mut progress = self.progress(name, &mut *err);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut tick = ticks();
        let mut events = client.events(&run.0).await.map_err(|error| {
            let failure = Failure::from(error);
            Failure { message: format!("run {run} is queued, but cannot be followed: {}", failure.message), ..failure }
        })?;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Ok(Some(event)) => progress.event(&event, clock::now())?,
                    Ok(None) | Err(ClientError::Broken(_)) => break,
                    Err(error) => return Err(error.into()),
                },
                _ = tick.tick() => progress.tick(clock::now())?,
                _ = interrupt.recv() => {
                    progress.clear();
                    drop(progress);
                    writeln!(err, "Run {run} goes on.\n{}", follow_or_end(&run))?;
                    return Ok(None);
                }
            }
        }
        progress.clear();
        match client.show(&run.0).await {
            Ok(detail) if detail.run.outcome.is_some() => Ok(Some(detail)),
            Ok(_) | Err(ClientError::NoDaemon { .. } | ClientError::Broken(_)) => Err(stopped(&run).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Runs it in this process; also gives where its plans are.
    async fn standalone(&self, place: &Place, order: Order, name: &str) -> anyhow::Result<(RunDetail, PathBuf)> {
        let mut err = self.err();
        let mut progress = self.progress(name, &mut *err);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut tick = ticks();
        let events = Events::default();
        let mut heard = events.listen();
        let cancel = Cancel::default();
        let config_dir = place.config_dir();
        let run = crate::daemon::standalone(&config_dir, order, events, cancel.clone());
        let mut run = std::pin::pin!(run);
        let Standalone { run: id, store, plans } = loop {
            tokio::select! {
                biased;
                event = heard.recv() => match event {
                    Ok(event) => progress.event(&event, clock::now())?,
                    Err(RecvError::Lagged(_)) => {}
                    // The run dropped its end a moment before it gives its result.
                    Err(RecvError::Closed) => break run.await?,
                },
                ended = &mut run => {
                    while let Ok(event) = heard.try_recv() {
                        progress.event(&event, clock::now())?;
                    }
                    break ended?;
                }
                _ = tick.tick() => progress.tick(clock::now())?,
                _ = interrupt.recv() => {
                    if cancel.token().is_cancelled() {
                        let help = "the next start of upkeep finds it interrupted";
                        return Err(Failure::new(Exit::Unsuccessful, "the run was left before it had ended", help).into());
                    }
                    cancel.cancel(Reason::By("Ctrl-C".to_owned()));
                    progress.say("cancelling; Ctrl-C once more leaves at once")?;
                }
            }
        };
        progress.clear();
        let run = store.read().run(&id).await?.context("the journal does not know the run")?;
        let detail = RunDetail::read(store.read(), run).await?;
        store.close().await;
        Ok((detail, plans))
    }

    /// Where progress goes. Who wants JSON wants nothing else.
    fn err(&self) -> Box<dyn Write> {
        if self.json { Box::new(io::sink()) } else { Box::new(io::stderr()) }
    }

    fn progress<'a>(&self, name: &str, err: &'a mut dyn Write) -> Progress<'a> {
        let terminal = io::stderr().is_terminal() && !self.json;
        let screen = Screen { colour: terminal && colours_wanted(), ..stdout_screen() };
        Progress::new(name, terminal, screen, err)
    }

    fn conclude(
        &self,
        detail: &RunDetail,
        planned: Option<&Planned>,
        file: Option<&Path>,
        out: &mut dyn Write,
    ) -> anyhow::Result<Exit> {
        if self.json {
            write_json(detail, out)?;
        } else {
            write(&stdout_screen(), detail, planned, file, self.standalone, out)?;
        }
        Ok(if detail.run.outcome == Some(Outcome::Succeeded) { Exit::Done } else { Exit::Unsuccessful })
    }
}

/// Often enough for a clock that shows seconds.
fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(Duration::from_millis(500));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// What can be done with a run that is not waited for.
fn follow_or_end(run: &RunId) -> String {
    format!("Follow: upkeep logs --follow {run}\nEnd:    upkeep cancel {run}")
}

fn stopped(run: &RunId) -> Failure {
    Failure::new(
        Exit::NoDaemon,
        format!("the daemon stopped before run {run} was over"),
        format!("it goes on when the daemon starts again; `upkeep show {run}` then tells how it ended"),
    )
}

/// How a run ended, what the plugin summed up, and what a dry run planned.
fn write(
    screen: &Screen,
    detail: &RunDetail,
    planned: Option<&Planned>,
    file: Option<&Path>,
    standalone: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let run = &detail.run;
    let became = screen.ink(Ink::of(run.outcome.as_ref()), &line(&history::became(run)));
    let took = run.started.and(run.ended).map(|_| format!(", took {}", history::took(run))).unwrap_or_default();
    writeln!(out, "{}: {became}{took}", line(&run.task))?;
    if let Some(summed_up) = &detail.report {
        report::write(screen, summed_up, out)?;
    }
    if run.dry_run && detail.report.is_none() && !detail.steps.is_empty() {
        writeln!(out, "\n{}", screen.ink(Ink::Bold, "It would do"))?;
        let mut table = Table::new(["#", "STEP"], 1);
        for step in &detail.steps {
            table.row([Cell::from(step.ordinal.to_string()), step.title.as_str().into()]);
        }
        table.write(screen, 2, out)?;
    }
    if let Some(planned) = planned {
        planned.write_start(screen, &run.id, standalone, out)?;
    }
    if let Some(file) = file.filter(|_| planned.is_some()) {
        let file = file.display();
        return Ok(writeln!(out, "\nThe plan is in {file}. Carry it out: upkeep apply {file}")?);
    }
    // Without a daemon there is nobody to ask.
    if standalone {
        Ok(())
    } else {
        Ok(writeln!(out, "\nSteps: upkeep show {id}\nLog:   upkeep logs {id}", id = run.id)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::history::tests::{ended, run_at};
    use crate::cli::report::tests::report;
    use crate::cli::screen::tests::terminal;
    use crate::outcome::Failure as Blame;
    use crate::record::{Run, Step, StepPhase};

    fn shown(detail: &RunDetail) -> String {
        let mut out = Vec::new();
        write(&terminal(), detail, None, None, false, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tells_how_it_ended() {
        let now = terminal().now.0;
        let run = ended(run_at(1, "backup-app", now - 131_000), Outcome::Succeeded);
        let succeeded = RunDetail { run, steps: vec![], report: Some(report()), metrics: vec![], documents: vec![] };
        insta::assert_snapshot!("succeeded", shown(&succeeded));

        let message = "the repository /srv/backup is locked".into();
        let failed = Outcome::Failed { failure: Blame::Transient, message };
        let run = Run { attempt: 2, ..ended(run_at(1, "backup-app", now - 131_000), failed) };
        insta::assert_snapshot!("failed", shown(&RunDetail { run, report: None, ..succeeded.clone() }));

        let run = Run { dry_run: true, ..ended(run_at(1, "backup-app", now - 131_000), Outcome::Succeeded) };
        let step = |ordinal: u32, title: &str| Step {
            ordinal,
            id: ordinal.to_string(),
            title: title.into(),
            weight: 1,
            input: String::new(),
            phase: StepPhase::Pending,
            started: None,
            ended: None,
            output: None,
            error: None,
        };
        let steps = vec![step(0, "back up /var/www/uploads"), step(1, "back up the database app.db")];
        insta::assert_snapshot!("dry_run", shown(&RunDetail { run, steps, report: None, ..succeeded }));
    }
}
