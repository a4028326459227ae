//! `upkeep cancel`

use std::io::Write;

use clap::Args;

use super::failure::Exit;
use super::place::Place;
use super::write_json;
use crate::api::Cancelling;

/// End a run that waits or runs
#[derive(Debug, Args)]
pub(super) struct CancelArgs {
    /// The run, or the beginning of its identifier
    run: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl CancelArgs {
    pub(super) async fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let run = place.client()?.cancel(&self.run).await?;
        if self.json {
            write_json(&Cancelling { run }, out)?;
        } else {
            writeln!(out, "Told run {run} to end. `upkeep show {run}` tells when it has.")?;
        }
        Ok(Exit::Done)
    }
}
