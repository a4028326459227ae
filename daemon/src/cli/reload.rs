//! `upkeep reload`

use std::io::{self, Write};

use clap::Args;

use super::failure::Exit;
use super::place::Place;
use super::screen::line;
use super::write_json;
use crate::command::Reloaded;

/// Make the daemon read its configuration again
#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl ReloadArgs {
    pub(super) async fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let reloaded = place.client()?.reload().await?;
        if self.json {
            write_json(&reloaded, out)?;
        } else {
            write(&reloaded, out)?;
        }
        Ok(Exit::Done)
    }
}

fn write(Reloaded { added, removed, changed }: &Reloaded, out: &mut dyn Write) -> io::Result<()> {
    let mut nothing = true;
    for (what, tasks) in [("new", added), ("changed", changed), ("gone", removed)] {
        if !tasks.is_empty() {
            nothing = false;
            writeln!(out, "{what:<8} {}", line(&tasks.join(", ")))?;
        }
    }
    if nothing { writeln!(out, "Read again; the tasks are the same as before.") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_changed() {
        let shown = |reloaded: &Reloaded| {
            let mut out = Vec::new();
            write(reloaded, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let changed = Reloaded { added: vec!["a".into(), "b".into()], removed: vec!["c".into()], changed: vec![] };
        insta::assert_snapshot!(shown(&changed), @"
        new      a, b
        gone     c
        ");
        insta::assert_snapshot!(shown(&Reloaded::default()), @"Read again; the tasks are the same as before.");
    }
}
