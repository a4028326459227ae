//! `upkeep alerts`: what is wrong now, who was told, and what comes next.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::failure::Exit;
use super::place::Place;
use super::push;
use super::screen::{Ink, Screen, line};
use super::{stdout_screen, write_json};
use crate::api::MessageDetail;
use crate::client::Client;
use crate::command::{AlertStatus, OpenAlerts};
use crate::record::outbox::{MessageLevel, MessageState};

/// List alerts that are open, those first that matter most; or send one on trial
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct AlertsArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Send a message to all who would be told of an alert, and see whether it arrives: 15 seconds for each
    Test,
}

impl AlertsArgs {
    pub(super) async fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let client = place.client()?;
        match self.verb {
            None => {
                let open = client.alerts().await?;
                match self.json {
                    true => write_json(&open, out)?,
                    false => write(&stdout_screen(), &open, out)?,
                }
            }
            Some(Verb::Test) => {
                let tested = client.test_alerts().await?;
                if tested.messages.is_empty() {
                    writeln!(out, "{NOBODY}")?;
                }
                let mut exit = Exit::Done;
                let delivers = client.tasks().await?.tasks.iter().any(|task| task.delivers);
                for message in tested.messages {
                    let chain = message.channels.join(", then ");
                    writeln!(out, "Enqueued {} for {}", message.message, line(&chain))?;
                    let state = match delivers {
                        true => arrival(&client, &message.message).await?,
                        false => Arrival { arrived: false, told: format!("waits: {}", push::NOBODY) },
                    };
                    writeln!(out, "  {}", line(&state.told))?;
                    if !state.arrived {
                        exit = Exit::Unsuccessful;
                    }
                }
                return Ok(exit);
            }
        }
        Ok(Exit::Done)
    }
}

/// How long a message on trial is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// What became of a message on trial.
struct Arrival {
    arrived: bool,
    told: String,
}

/// Waits until a message is over, or has been waited for long enough.
async fn arrival(client: &Client, id: &str) -> anyhow::Result<Arrival> {
    let start = Instant::now();
    loop {
        let MessageDetail { message, attempts } = client.message(id).await?;
        let channel = message.channel();
        let reason = message.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        match message.state {
            MessageState::Sent => {
                let attempts = attempts.len();
                let told = if attempts > 1 {
                    format!("sent by {channel}, after {attempts} attempts")
                } else {
                    format!("sent by {channel}")
                };
                return Ok(Arrival { arrived: true, told });
            }
            MessageState::Dead | MessageState::Expired => {
                let told = format!("not delivered; {channel} was tried last{reason}");
                return Ok(Arrival { arrived: false, told });
            }
            MessageState::Waiting | MessageState::Claimed if start.elapsed() > PATIENCE => {
                let told = format!("waits still for {channel}{reason}; `upkeep push show {id}` tells more");
                return Ok(Arrival { arrived: false, told });
            }
            MessageState::Waiting | MessageState::Claimed => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// How it is when nobody is told.
const NOBODY: &str = "Nobody is told of alerts: name channels in [alerts] of upkeep.toml (docs/alerts.md).";

fn write(screen: &Screen, open: &OpenAlerts, out: &mut dyn Write) -> io::Result<()> {
    if !open.told {
        return writeln!(out, "{NOBODY}");
    }
    if let Some(error) = &open.journal_error {
        writeln!(out, "{} {}", screen.ink(Ink::Red, "Nothing can be recorded, and nobody is told:"), line(error))?;
    }
    if let Some(silenced) = &open.silenced {
        let why = match &silenced.until {
            Some(until) => format!("until {}, as maintenance is just over", screen.minute(*until)),
            None => format!("while this maintenance runs: {}", line(&silenced.tasks.join(", "))),
        };
        writeln!(out, "{} {why}", screen.ink(Ink::Yellow, "Nobody is told anything"))?;
    }
    if open.alerts.is_empty() {
        return writeln!(out, "No alert is open.");
    }
    for (place, status) in open.alerts.iter().enumerate() {
        if place > 0 {
            writeln!(out)?;
        }
        write_one(screen, status, out)?;
    }
    Ok(())
}

fn write_one(screen: &Screen, status: &AlertStatus, out: &mut dyn Write) -> io::Result<()> {
    let alert = &status.alert;
    let (name, ink) = level(alert.level);
    let title = line(&alert.title);
    writeln!(out, "{} {}", screen.ink(ink, name), screen.ink(Ink::Bold, &title))?;
    let since = format!("{} ({})", screen.minute(alert.opened), screen.relative(alert.opened));
    let mut pairs: Vec<(&str, String)> = vec![("key", alert.key.clone())];
    let mut pair = |key: &'static str, value: String| pairs.push((key, value));
    match alert.closed {
        Some(closed) => pair("since", format!("{since}, resolved {}", screen.relative(closed))),
        None if alert.flapping => {
            let right = alert.right_since.map(|right| format!(", right since {}", screen.minute(right)));
            pair("since", format!("{since}, flapping{}", right.unwrap_or_default()));
        }
        None => pair("since", since),
    }
    if !alert.detail.is_empty() {
        pair("detail", alert.detail.clone());
    }
    pair(
        "told",
        match (alert.tellings, alert.times) {
            (0, _) => "not yet".to_owned(),
            (1, _) => "once".to_owned(),
            (tellings, _) => format!("{tellings} times"),
        },
    );
    if let Some(taken) = &alert.acknowledged {
        let until = taken.until.map(|until| format!(" until {}", screen.minute(until))).unwrap_or_default();
        let note = taken.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        pair("taken on", format!("by {} {}{until}{note}", taken.by, screen.relative(taken.at)));
    }
    if let Some(next) = &status.next {
        pair("next", format!("{} {}", next.what, screen.relative(next.at)));
    }
    for (key, value) in pairs {
        let room = screen.width.map_or(usize::MAX, |width| width.saturating_sub(INDENT));
        let room = textwrap::Options::new(room).word_splitter(textwrap::WordSplitter::NoHyphenation);
        for (place, part) in textwrap::wrap(&line(&value), room).iter().enumerate() {
            let key = if place == 0 { key } else { "" };
            writeln!(out, "  {} {part}", screen.ink(Ink::Dim, &format!("{key:<8}")))?;
        }
    }
    Ok(())
}

/// Columns before what is told.
const INDENT: usize = 11;

fn level(level: MessageLevel) -> (&'static str, Ink) {
    match level {
        MessageLevel::Info => ("info", Ink::None),
        MessageLevel::Warn => ("warn", Ink::Yellow),
        MessageLevel::Error => ("error", Ink::Red),
        MessageLevel::Critical => ("critical", Ink::Red),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::policy::{self, Moment, Rules, Silence};
    use crate::alert::signal::Signal;
    use crate::cli::history::tests::id;
    use crate::cli::screen::tests::terminal;
    use crate::clock::Timestamp;
    use crate::command::{NextTelling, Silenced};
    use crate::config::alerts::{AlertSettings, TaskAlerts};
    use crate::outcome::{Failure, Outcome};
    use crate::record::alert::Acknowledgement;
    use crate::record::{Run, Trigger};

    fn shown(open: &OpenAlerts) -> String {
        let mut out = Vec::new();
        write(&terminal(), open, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tells_what_is_wrong_who_was_told_and_what_comes_next() {
        let now = terminal().now;
        let ago = |minutes: i64| Timestamp(now.0 - minutes * 60_000);
        let settings = AlertSettings { channels: vec!["mail".into()], ..AlertSettings::default() };
        let rules = Rules::new(&settings, "web-1", chrono_tz::UTC).unwrap();
        let mut alerts = policy::Alerts::new();
        let failed = |task: &str, minutes| {
            let run = Run::queued(id(1), task, Trigger::Schedule, ago(minutes), ago(minutes));
            let message = "step `shop`: no space left on device while writing to /srv/backup/data/3f".to_owned();
            let outcome = Outcome::Failed { failure: Failure::Permanent, message };
            Signal::of_run(&run, &outcome, &TaskAlerts::default()).unwrap()
        };
        let taken = Acknowledgement {
            by: "uid 0".into(),
            at: ago(100),
            until: Some(Timestamp(now.0 + 3_600_000)),
            note: Some("the disk comes on Monday".into()),
        };
        for (minutes, signals) in [
            (130, vec![failed("backup", 130)]),
            (129, vec![]),
            (100, vec![Signal::Acknowledged("task/backup".into(), taken)]),
            (20, vec![failed("cleanup", 20)]),
            (19, vec![]),
        ] {
            let moment = Moment { now: ago(minutes), silence: Silence::None };
            policy::step(&rules, &moment, &alerts, signals).apply(&mut alerts);
        }
        let moment = Moment { now, silence: Silence::None };
        let status = |alert: &crate::record::alert::Alert| AlertStatus {
            next: policy::next_telling(&rules, &moment, alert)
                .map(|(at, what)| NextTelling { at, what: what.to_owned() }),
            alert: alert.clone(),
        };
        let open = OpenAlerts { told: true, journal_error: None, silenced: None, alerts: Vec::new() };
        let alerts = alerts.values().map(status).collect();
        insta::assert_snapshot!(shown(&OpenAlerts { alerts, ..open.clone() }));
        assert_eq!(shown(&open), "No alert is open.\n");
        let full = OpenAlerts { journal_error: Some("the disk is full".into()), ..open.clone() };
        assert_eq!(shown(&full), "Nothing can be recorded, and nobody is told: the disk is full\nNo alert is open.\n");
        let silenced = |tasks: &[&str], until| {
            let tasks = tasks.iter().map(ToString::to_string).collect();
            shown(&OpenAlerts { silenced: Some(Silenced { tasks, until }), ..open.clone() })
        };
        let runs = "Nobody is told anything while this maintenance runs: deploy\nNo alert is open.\n";
        assert_eq!(silenced(&["deploy"], None), runs);
        let over = "Nobody is told anything until 2026-11-23 15:09, as maintenance is just over\nNo alert is open.\n";
        assert_eq!(silenced(&[], Some(Timestamp(now.0 + 300_000))), over);
        let nobody = OpenAlerts { told: false, ..open };
        assert_eq!(shown(&nobody), format!("{NOBODY}\n"));
    }
}
