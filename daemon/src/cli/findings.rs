//! `upkeep findings`: what is wrong now, beyond single runs, and what of it is ignored.

use std::io::{self, Write};

use chrono::NaiveDate;
use clap::{Args, Subcommand};

use super::failure::Exit;
use super::place::Place;
use super::screen::{Ink, Screen, line};
use super::table::{Cell, Table};
use super::{report, stdout_screen, write_json};
use crate::api::{Findings, IgnoreRequest};
use crate::findings::sarif;
use crate::record::Severity;
use crate::record::finding::{FindingState, Life};

/// Characters of an identifier that are shown; more where they are alike.
const SHOWN: usize = 8;

/// List what was found, what changed first; ignore a finding, or heed it again
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct FindingsArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only findings of this task
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Only those that are new, or have returned
    #[arg(long)]
    new: bool,
    /// Also those that are fixed
    #[arg(long)]
    fixed: bool,
    /// Only those that are as bad as this, or worse
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    severity: Option<Severity>,
    /// As JSON
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    /// As SARIF 2.1.0
    #[arg(long)]
    sarif: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Ignore a finding for a time
    Ignore(IgnoreArgs),
    /// Heed a finding again that was ignored
    Heed {
        /// The finding, or the beginning of its identifier
        id: String,
    },
}

#[derive(Debug, Args)]
struct IgnoreArgs {
    /// The finding, or the beginning of its identifier
    id: String,
    /// Why, for whoever reads it in a year
    #[arg(long)]
    reason: String,
    /// The last day on which it is ignored: 2027-03-31
    #[arg(long, value_name = "DAY", value_parser = crate::config::findings::day)]
    until: NaiveDate,
}

fn severity(text: &str) -> Result<Severity, String> {
    let all = [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
    all.into_iter()
        .find(|severity| severity.name() == text)
        .ok_or_else(|| format!("there are {}", all.map(Severity::name).join(", ")))
}

impl FindingsArgs {
    pub(super) async fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let client = place.client()?;
        match self.verb {
            None => self.list.write(&client.findings().await?, out)?,
            Some(Verb::Ignore(IgnoreArgs { id, reason, until })) => {
                let life = client.ignore(&IgnoreRequest { finding: id, reason, until }).await?;
                writeln!(out, "Ignored until {until}: {}", line(&life.finding.title))?;
            }
            Some(Verb::Heed { id }) => {
                let life = client.heed(&id).await?;
                writeln!(out, "Heeded again: {}", line(&life.finding.title))?;
            }
        }
        Ok(Exit::Done)
    }
}

impl ListArgs {
    fn write(&self, all: &Findings, out: &mut dyn Write) -> anyhow::Result<()> {
        let lives: Vec<Life> = all.findings.iter().filter(|life| self.wants(life)).cloned().collect();
        if self.sarif {
            return write_json(&sarif::log(&lives), out);
        }
        if self.json {
            return write_json(&Findings { findings: lives }, out);
        }
        write(&stdout_screen(), &lives, out)?;
        Ok(())
    }

    fn wants(&self, life: &Life) -> bool {
        let finding = &life.finding;
        let is_fixed = finding.state == Some(FindingState::Fixed);
        let is_new = matches!(finding.state, Some(FindingState::New | FindingState::Returned));
        self.task.as_ref().is_none_or(|task| *task == life.task)
            && self.severity.is_none_or(|least| finding.severity >= least)
            && if self.new { is_new && finding.ignored.is_none() } else { !is_fixed || self.fixed }
    }
}

fn write(screen: &Screen, lives: &[Life], out: &mut dyn Write) -> io::Result<()> {
    if lives.is_empty() {
        return writeln!(out, "There are no such findings.");
    }
    let length = shown(lives);
    let mut table = Table::new(["FINDING", "SEVERITY", "STATE", "SINCE", "TASK", "WHAT"], 5);
    for life in lives {
        let finding = &life.finding;
        let (name, ink) = report::severity(finding.severity);
        let (state, state_ink) = match (&finding.ignored, finding.state) {
            (Some(_), _) => ("ignored", Ink::Dim),
            (None, Some(FindingState::New)) => ("new", Ink::Red),
            (None, Some(FindingState::Returned)) => ("returned", Ink::Red),
            (None, Some(FindingState::Fixed)) => ("fixed", Ink::Green),
            (None, Some(FindingState::Known) | None) => ("known", Ink::None),
        };
        table.row([
            Cell::from(finding.id.get(..length).unwrap_or(&finding.id)),
            Cell::new(ink, name),
            Cell::new(state_ink, state),
            screen
                .relative(if finding.state == Some(FindingState::Fixed) { life.changed } else { life.first_seen })
                .into(),
            life.task.as_str().into(),
            report::headline(finding).into(),
        ]);
    }
    table.write(screen, 0, out)
}

/// How many characters of these identifiers tell them apart.
fn shown(lives: &[Life]) -> usize {
    let mut ids: Vec<&str> = lives.iter().map(|life| life.finding.id.as_str()).collect();
    ids.sort_unstable();
    let alike = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    ids.windows(2).map(|pair| alike(pair[0], pair[1]) + 1).max().unwrap_or(0).max(SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::history::tests::id;
    use crate::cli::screen::tests::terminal;
    use crate::clock::Timestamp;
    use crate::record::Finding;
    use crate::record::finding::{Ignored, Place as At};

    fn life(number: u8, state: FindingState, severity: Severity, title: &str) -> Life {
        let at = Timestamp(terminal().now.0 - i64::from(number) * 86_400_000);
        let finding = Finding {
            id: format!("{number}f3a91c0d5b7e244"),
            state: Some(state),
            place: Some(At { path: "shop/package-lock.json".into(), line: Some(204) }),
            ..Finding::new(format!("vuln/{number}"), severity, title, "Update it.")
        };
        Life { task: "scan".into(), finding, first_seen: at, last_seen: at, changed: at, run: id(1) }
    }

    fn listed(args: &[&str], lives: &[Life]) -> String {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: FindingsArgs,
        }
        let parsed = Line::try_parse_from(std::iter::once(&"findings").chain(args)).unwrap();
        let wanted: Vec<Life> = lives.iter().filter(|life| parsed.args.list.wants(life)).cloned().collect();
        let mut out = Vec::new();
        write(&terminal(), &wanted, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tells_what_is_wrong_now() {
        let ignored = Ignored { reason: "not reachable".into(), until: "2027-03-31".parse().unwrap() };
        let mut lives = vec![
            life(1, FindingState::New, Severity::Critical, "lodash 4.17.20: command injection (CVE-2021-23337)"),
            life(2, FindingState::Returned, Severity::High, "sshd lets root log in with a password"),
            life(3, FindingState::Known, Severity::Medium, "/srv/app/.env can be read by everybody"),
            life(4, FindingState::Fixed, Severity::High, "An AWS key"),
            life(5, FindingState::Known, Severity::Low, "minimist 1.2.0: prototype pollution"),
        ];
        lives[4].finding.ignored = Some(ignored);
        insta::assert_snapshot!(listed(&[], &lives));
        insta::assert_snapshot!(listed(&["--new", "--severity", "critical"], &lives));
        assert_eq!(listed(&["--fixed"], &lives).lines().count(), 6);
        assert_eq!(listed(&["--task", "other"], &lives), "There are no such findings.\n");
    }
}
