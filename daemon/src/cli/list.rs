//! `upkeep list`

use std::io::{self, Write};

use clap::Args;

use super::failure::Exit;
use super::place::Place;
use super::screen::{Ink, Screen};
use super::table::{Cell, Table};
use super::{history, stdout_screen, write_json};
use crate::command::TaskStatus;

/// List the tasks: when each comes next, and how its last run ended
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    pub(super) async fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let tasks = place.client()?.tasks().await?;
        if self.json {
            write_json(&tasks, out)?;
        } else {
            write(&stdout_screen(), &tasks.tasks, out)?;
        }
        Ok(Exit::Done)
    }
}

fn write(screen: &Screen, tasks: &[TaskStatus], out: &mut dyn Write) -> io::Result<()> {
    if tasks.is_empty() {
        return writeln!(out, "There are no tasks. A task is a file in tasks.d of the configuration folder.");
    }
    let headings =
        ["TASK".to_owned(), "SCHEDULE".to_owned(), format!("NEXT ({})", screen.zone_note()), "LAST".to_owned()];
    let mut table = Table::new(headings, 1);
    for task in tasks {
        let schedule = if task.schedule.is_empty() { "by hand".into() } else { Cell::from(task.schedule.as_str()) };
        let next = match task.next {
            _ if !task.enabled => Cell::new(Ink::Dim, "disabled"),
            Some(due) => screen.minute(due).into(),
            None => "-".into(),
        };
        let last = match &task.last {
            None => "never ran".into(),
            Some(run) => {
                let ago = run.ended.or(run.started).map(|at| format!(", {}", screen.relative(at))).unwrap_or_default();
                let name = run.outcome.as_ref().map_or(history::phase(run.phase), |outcome| outcome.name());
                Cell::new(Ink::of(run.outcome.as_ref()), format!("{name}{ago}"))
            }
        };
        table.row([Cell::from(task.name.as_str()), schedule, next, last]);
    }
    table.write(screen, 0, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::history::tests::{ended, run_at};
    use crate::cli::screen::tests::terminal;
    use crate::clock::Timestamp;
    use crate::outcome::Outcome;

    fn shown(tasks: &[TaskStatus]) -> String {
        let mut out = Vec::new();
        write(&terminal(), tasks, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lists_what_comes_and_what_was() {
        let now = terminal().now.0;
        let task = |name: &str, schedule: &str| TaskStatus {
            name: name.into(),
            description: "Backup of the app's uploads".into(),
            plugin: "backup".into(),
            enabled: true,
            delivers: false,
            schedule: schedule.into(),
            timezone: "Asia/Shanghai".into(),
            next: Some(Timestamp(now + 44_755_000)),
            last: None,
        };
        let failed = Outcome::Denied { message: "files: root `data`".into() };
        let tasks = [
            TaskStatus {
                last: Some(ended(run_at(1, "backup-app", now - 7_000_000), Outcome::Succeeded)),
                ..task("backup-app", "cron 30 3 * * *")
            },
            TaskStatus { enabled: false, next: None, ..task("cleanup", "every 15m; watch /var/www/uploads/incoming") },
            TaskStatus { next: None, last: Some(ended(run_at(2, "push", now - 300_000), failed)), ..task("push", "") },
            TaskStatus { last: Some(run_at(3, "stats", now)), ..task("stats", "quartz 0 0 4 ? * MON-FRI") },
        ];
        insta::assert_snapshot!(shown(&tasks));
    }

    #[test]
    fn says_how_to_get_a_task() {
        insta::assert_snapshot!(shown(&[]), @"There are no tasks. A task is a file in tasks.d of the configuration folder.");
    }
}
