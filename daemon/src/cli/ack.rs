//! `upkeep ack`: somebody takes on an alert, and nobody is reminded of it.

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::failure::Exit;
use super::place::Place;
use super::screen::line;
use super::write_json;
use crate::api::AckRequest;
use crate::config::duration;

/// Take on an alert: it is neither told again nor told to others, until it is over
#[derive(Debug, Args)]
pub(super) struct AckArgs {
    /// The alert's key, or the beginning of it
    #[arg(required_unless_present = "all")]
    key: Option<String>,
    /// All alerts that are open
    #[arg(long, conflicts_with = "key")]
    all: bool,
    /// Only for this time; when it is not over by then, it is told again
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    time: Option<Duration>,
    /// What others should know, such as who mends it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl AckArgs {
    pub(super) async fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let Self { key, all: _, time, note, json } = self;
        let for_ms = time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let acknowledged = place.client()?.acknowledge(&AckRequest { key, for_ms, note }).await?;
        if json {
            write_json(&acknowledged, out)?;
            return Ok(Exit::Done);
        }
        if acknowledged.alerts.is_empty() {
            writeln!(out, "No alert is open.")?;
        }
        let until = match time {
            Some(time) => format!("for {}", duration::format(time)),
            None => "until it is over".to_owned(),
        };
        for alert in &acknowledged.alerts {
            writeln!(out, "Acknowledged {until}: {} ({})", line(&alert.title), line(&alert.key))?;
        }
        Ok(Exit::Done)
    }
}
