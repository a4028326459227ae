//! `upkeep undo`

use std::io::Write;

use clap::Args;

use super::failure::{Exit, Failure};
use super::place::Place;
use super::screen::size;
use super::{wait, write_json};
use crate::removal::aside::Undone;

/// Put back what a run removed, as long as its task file has it kept
#[derive(Debug, Args)]
pub(super) struct UndoArgs {
    /// The run, or the beginning of its identifier
    run: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl UndoArgs {
    pub(super) fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let undone = wait(async { Ok(place.client()?.undo(&self.run).await?) })?;
        if self.json {
            write_json(&undone, out)?;
        } else {
            write(&undone, out)?;
        }
        match undone.left {
            0 => Ok(Exit::Done),
            1 => Err(left("1 thing was not put back").into()),
            left_over => Err(left(&format!("{left_over} things were not put back")).into()),
        }
    }
}

fn left(message: &str) -> Failure {
    Failure::new(Exit::Unsuccessful, message, "they are kept; mend what is told above, and undo once more")
}

fn write(undone: &Undone, out: &mut dyn Write) -> std::io::Result<()> {
    let Undone { restored, folders, problems, left } = undone;
    let plural = |number: u64| if number == 1 { "" } else { "s" };
    let made = if *folders > 0 { format!(", and {folders} folder{}", plural(*folders)) } else { String::new() };
    writeln!(out, "Put back {} file{} of {}{made}.", restored.items, plural(restored.items), size(restored.bytes))?;
    for problem in problems {
        writeln!(out, "  {}", super::screen::line(problem))?;
    }
    let more = left.saturating_sub(problems.len() as u64);
    if more > 0 { writeln!(out, "  and {more} more") } else { Ok(()) }
}
