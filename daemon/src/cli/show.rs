//! `upkeep show`

use std::io::{self, Write};

use clap::Args;

use super::failure::Exit;
use super::place::Place;
use super::plan::Planned;
use super::screen::{Ink, Screen, duration, line, size};
use super::table::{Cell, Table};
use super::{history, report, stdout_screen, write_json};
use crate::api::RunDetail;
use crate::record::{MetricValue, Run, Step, StepPhase, Trigger};

/// Show all that is known of a run: outcome, report, steps, metrics
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The run, or the beginning of its identifier
    run: String,
    /// All that it planned to remove, instead
    #[arg(long)]
    plan: bool,
    /// One of its documents, instead
    #[arg(long, value_name = "NAME", conflicts_with = "plan")]
    document: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl ShowArgs {
    pub(super) async fn run(self, place: &Place, out: &mut (dyn Write + Send)) -> anyhow::Result<Exit> {
        if self.plan {
            return self.plan(place, out).await;
        }
        if let Some(name) = &self.document {
            out.write_all(&place.client()?.document(&self.run, name).await?)?;
            return Ok(Exit::Done);
        }
        let detail = place.client()?.show(&self.run).await?;
        if self.json {
            write_json(&detail, out)?;
        } else {
            write(&stdout_screen(), &detail, out)?;
        }
        Ok(Exit::Done)
    }
}

impl ShowArgs {
    async fn plan(self, place: &Place, out: &mut (dyn Write + Send)) -> anyhow::Result<Exit> {
        let client = place.client()?;
        if self.json {
            client.plan(&self.run, out).await?;
        } else {
            let run = client.show(&self.run).await?.run.id;
            Planned::fetch(&client, &run, None).await?.write_all(&stdout_screen(), out)?;
        }
        Ok(Exit::Done)
    }
}

fn write(screen: &Screen, detail: &RunDetail, out: &mut dyn Write) -> io::Result<()> {
    let RunDetail { run, steps, report: summed_up, metrics, documents } = detail;
    let mut pair = |key: &str, value: String| writeln!(out, "{} {value}", screen.ink(Ink::Bold, &format!("{key:<8}")));
    pair("run", run.id.to_string())?;
    pair("task", line(&run.task).into_owned())?;
    pair("outcome", screen.ink(Ink::of(run.outcome.as_ref()), &line(&history::became(run))))?;
    pair("why", why(run))?;
    if run.due != run.queued {
        pair("due", screen.second(run.due))?;
    }
    pair("queued", screen.second(run.queued))?;
    if let Some(started) = run.started {
        pair("started", format!("{} (waited {})", screen.second(started), duration(started.0 - run.queued.0)))?;
    }
    if let Some(ended) = run.ended {
        pair("ended", format!("{} (took {})", screen.second(ended), history::took(run)))?;
    }
    if run.resumed > 0 {
        let times = if run.resumed == 1 { "once".to_owned() } else { format!("{} times", run.resumed) };
        pair("resumed", format!("{times}, after the daemon had died"))?;
    }
    pair("times", screen.zone_note())?;
    if let Some(summed_up) = summed_up {
        report::write(screen, summed_up, out)?;
    }
    if !steps.is_empty() {
        writeln!(out, "\n{}", screen.ink(Ink::Bold, "Steps"))?;
        step_table(steps).write(screen, 2, out)?;
    }
    if !metrics.is_empty() {
        writeln!(out, "\n{}", screen.ink(Ink::Bold, "Metrics"))?;
        let mut table = Table::new(["METRIC", "VALUE"], 0);
        for metric in metrics {
            let labels: Vec<String> = metric.labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            table.row([Cell::from(format!("{}{labels}", metric.name)), number(&metric.value).into()]);
        }
        table.write(screen, 2, out)?;
    }
    writeln!(out)?;
    for (name, bytes) in documents {
        writeln!(out, "{} ({}): upkeep show {} --document {}", line(name), size(*bytes), run.id, line(name))?;
    }
    writeln!(out, "Log: upkeep logs {}", run.id)
}

fn why(run: &Run) -> String {
    match &run.trigger {
        Trigger::Schedule => "its schedule".to_owned(),
        Trigger::CatchUp => "catches up a slot that was missed".to_owned(),
        Trigger::Startup => "the daemon started".to_owned(),
        Trigger::Watch { path } => format!("something changed at {}", line(path)),
        Trigger::After { run } => format!("run {run} ended"),
        Trigger::Outbox => "messages can be delivered".to_owned(),
        Trigger::Retry { run } => format!("run {run} failed"),
        Trigger::Manual { by } => format!("asked for by {}", line(by)),
    }
}

fn step_table(steps: &[Step]) -> Table {
    let mut table = Table::new(["#", "STEP", "TOOK", "OUTCOME"], 3);
    for step in steps {
        let took = step.started.zip(step.ended).map_or("-".to_owned(), |(from, to)| duration(to.0 - from.0));
        let outcome = match (step.phase, &step.error) {
            (_, Some(error)) => Cell::new(Ink::Red, error.to_string()),
            (StepPhase::Pending, None) => Cell::new(Ink::Dim, "waits"),
            (StepPhase::Running, None) => "running".into(),
            (StepPhase::Done, None) => Cell::new(Ink::Green, "succeeded"),
        };
        table.row([Cell::from(step.ordinal.to_string()), step.title.as_str().into(), took.into(), outcome]);
    }
    table
}

fn number(value: &MetricValue) -> String {
    match value {
        MetricValue::Counter(value) | MetricValue::Gauge(value) => value.to_string(),
        MetricValue::Histogram { count, sum, min, max } => {
            format!("{count} values from {min} to {max}, sum {sum}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::history::tests::{ended, id, run_at};
    use crate::cli::report::tests::report;
    use crate::cli::screen::tests::terminal;
    use crate::clock::Timestamp;
    use crate::outcome::Outcome;
    use crate::record::Metric;

    fn shown(detail: &RunDetail) -> String {
        let mut out = Vec::new();
        write(&terminal(), detail, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn step(ordinal: u32, title: &str, phase: StepPhase, error: Option<Outcome>) -> Step {
        let started = (phase != StepPhase::Pending).then_some(Timestamp(0));
        let ended = (phase == StepPhase::Done).then_some(Timestamp(4_200 + i64::from(ordinal)));
        let (id, title) = (ordinal.to_string(), title.to_owned());
        Step { ordinal, id, title, weight: 1, input: "{}".into(), phase, started, ended, output: None, error }
    }

    #[test]
    fn a_run_that_is_over() {
        let now = terminal().now.0;
        let trapped = Outcome::Trapped { message: "wasm `unreachable` instruction executed".into() };
        let run = Run {
            trigger: Trigger::Manual { by: "uid 1000 (deploy)".into() },
            resumed: 1,
            ..ended(run_at(1, "backup-app", now - 400_000), trapped.clone())
        };
        let steps = vec![step(0, "uploads", StepPhase::Done, None), step(1, "app.db", StepPhase::Done, Some(trapped))];
        let labels = vec![("root".to_owned(), "uploads".to_owned())];
        let seconds = MetricValue::Histogram { count: 3, sum: 6.5, min: 1.0, max: 4.25 };
        let metrics = vec![
            Metric { name: "files".into(), labels, value: MetricValue::Counter(20_000.0) },
            Metric { name: "seconds".into(), labels: vec![], value: seconds },
        ];
        insta::assert_snapshot!(shown(&RunDetail {
            run,
            steps,
            report: Some(report()),
            metrics,
            documents: vec![("sbom.cdx.json".into(), 48_213)]
        }));
    }

    #[test]
    fn a_run_that_lasts() {
        let now = terminal().now.0;
        let queued = run_at(2, "backup-app", now - 5_000);
        let run = Run {
            trigger: Trigger::Retry { run: id(1) },
            due: Timestamp(now - 3_600_000),
            started: Some(Timestamp(now - 4_000)),
            attempt: 2,
            phase: crate::record::Phase::Executing,
            ..queued
        };
        let steps = vec![
            step(0, "uploads", StepPhase::Done, None),
            step(1, "app.db", StepPhase::Running, None),
            step(2, "logs of the web server, of which there are many", StepPhase::Pending, None),
        ];
        insta::assert_snapshot!(shown(&RunDetail { run, steps, report: None, metrics: vec![], documents: vec![] }));
    }
}
