//! `upkeep digest`: the daily digest as it would be now.

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::failure::{Exit, Failure};
use super::place::Place;
use super::screen::plain;
use super::write_json;
use crate::config::duration;

/// Write the daily digest as it would be now, and send it to nobody
#[derive(Debug, Args)]
pub(super) struct DigestArgs {
    /// What happened in this time; without it, since the last digest
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    since: Option<Duration>,
    /// All of it, however long
    #[arg(long)]
    all: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl DigestArgs {
    pub(super) async fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        if self.since == Some(Duration::ZERO) {
            return Err(Failure::new(
                Exit::Usage,
                "--since: in no time at all nothing happens",
                "write `24h`, or `7d`",
            )
            .into());
        }
        let since_ms = self.since.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        let digest = place.client()?.digest(since_ms, self.all).await?;
        match self.json {
            true => write_json(&digest, out)?,
            false => writeln!(out, "{}", plain(&digest.text))?,
        }
        Ok(Exit::Done)
    }
}
