//! `upkeep backup check`: what is damaged in a repository, what is lost by it, and what to do. It needs no daemon and no
//! plugin, and says the same as the plugin `repository-check`.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::TaskRepository;
use super::reach::WhereArgs;
use crate::cli::failure::{Exit, Failure};
use crate::cli::report;
use crate::cli::screen::{Screen, duration, grouped, size};
use crate::record::{Finding, Report};
use crate::repository::check::{CheckReport, Damage, Reading, Severity};
use crate::repository::{Repository, Tell};

/// Look for damage in a repository, and tell what is lost by it and what is not
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CheckArgs {
    /// The task whose repositories are checked; without it, those of all tasks
    task: Option<String>,
    #[command(flatten)]
    pub(super) place: WhereArgs,
    /// Read all data as well, not only the structure
    #[arg(long, conflicts_with = "part")]
    read_data: bool,
    /// Read one part of the data: 1/7 to 7/7 together read all of it
    #[arg(long, value_name = "N/M", value_parser = part)]
    part: Option<(u32, u32)>,
    /// Print a JSON object for each repository, one after the other
    #[arg(long)]
    json: bool,
}

fn part(text: &str) -> Result<(u32, u32), String> {
    let numbers = text.split_once('/').and_then(|(number, count)| Some((number.parse().ok()?, count.parse().ok()?)));
    match numbers {
        Some((number, count)) if 1 <= number && number <= count && count <= 256 => Ok((number, count)),
        _ => Err("write it as 1/7: the first of seven parts; at most 256".to_owned()),
    }
}

pub(super) fn check(
    args: &CheckArgs,
    repositories: &[TaskRepository<'_>],
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let reading = match (args.part, args.read_data) {
        (Some((number, count)), _) => Reading::part(number, count),
        (None, true) => Reading::everything(),
        (None, false) => Reading::nothing(),
    };
    let is_task = args.task.as_deref().is_none_or(|task| repositories.iter().any(|it| it.task == task));
    if let (Some(task), false) = (&args.task, is_task || args.place.is_bare()) {
        let help = "a task has one when its file holds `[grant.repository.NAME]`; `upkeep list` shows the tasks";
        return Err(Failure::new(Exit::NotFound, format!("there is no task `{task}` with a repository"), help).into());
    }
    let mut exit = Exit::Done;
    for grant in args.place.grants(repositories, args.task.as_deref())? {
        let repository = Repository::open(&grant).map_err(Failure::from)?;
        let is_shown = std::io::stderr().is_terminal() && !args.json;
        let found = repository.check(&reading, &CancellationToken::new(), teller(is_shown)).map_err(Failure::from)?;
        if is_shown {
            write!(std::io::stderr(), "\r\x1b[K")?;
        }
        if args.json {
            serde_json::to_writer_pretty(&mut *out, &found).map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else {
            report::write(screen, &summed_up(&grant.url, &found), out)?;
            if found.damages.is_empty() && found.bytes_read < found.bytes {
                writeln!(out, "Damage inside of what was not read is not seen: --read-data reads everything.")?;
            }
        }
        if found.damages.iter().any(|damage| damage.severity > Severity::Low) {
            exit = Exit::Unsuccessful;
        }
    }
    Ok(exit)
}

/// Shows how far it is on a line of its own.
fn teller(is_shown: bool) -> Tell {
    Arc::new(move |done, total| {
        if is_shown {
            let of = total.map(|total| format!(" of {}", size(total))).unwrap_or_default();
            // A terminal that went away is no reason to end the check.
            let _ = write!(std::io::stderr(), "\r\x1b[K  {}{of} read", size(done));
        }
    })
}

fn summed_up(url: &str, found: &CheckReport) -> Report {
    let count = |number: u64, what: &str| format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" });
    let state = match found.damages.len() as u64 {
        0 => "no damage found".to_owned(),
        more => format!(
            "{}, {} of {} whole",
            count(more, "damage"),
            found.snapshots_whole,
            count(found.snapshots, "snapshot")
        ),
    };
    let took = duration(i64::try_from(found.duration_ms).unwrap_or(i64::MAX));
    let summary = format!(
        "{url}: {state}; looked at {}, {} and {}, read {} of {} ({} of {}) in {took}",
        count(found.snapshots, "snapshot"),
        count(found.trees, "folder"),
        count(found.blobs, "piece"),
        grouped(found.packs_read),
        count(found.packs, "pack"),
        size(found.bytes_read),
        size(found.bytes),
    );
    let findings = found.damages.iter().map(finding).collect();
    Report { summary, findings, ..Report::default() }
}

fn finding(damage: &Damage) -> Finding {
    let severity = match damage.severity {
        Severity::Low => crate::record::Severity::Low,
        Severity::High => crate::record::Severity::High,
        Severity::Critical => crate::record::Severity::Critical,
    };
    let Damage { key, title, detail, .. } = damage.clone();
    Finding::new(key, severity, title, detail)
}
