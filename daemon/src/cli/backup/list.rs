//! `upkeep backup list`: which snapshots there are.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::reach::WhereArgs;
use super::{TaskRepository, task_of};
use crate::capability::repository::task_tag;
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::{Ink, Screen, grouped, line, size};
use crate::cli::table::{Cell, Table};
use crate::repository::Snapshot;

/// List snapshots by source, oldest first
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ListArgs {
    /// Only those that this task made
    task: Option<String>,
    #[command(flatten)]
    pub(super) place: WhereArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    /// Whether people are shown the snapshots of this server's tasks, and of which.
    pub(super) fn shown(&self) -> Option<Option<&str>> {
        (!self.json && !self.place.is_bare()).then_some(self.task.as_deref())
    }
}

/// A line of the list; this is the JSON object.
#[derive(Debug, Serialize)]
struct Row<'a> {
    repository: &'a str,
    task: Option<&'a str>,
    /// Whether it is the newest of its source.
    newest: bool,
    #[serde(flatten)]
    snapshot: &'a Snapshot,
}

pub(super) fn list(
    args: &ListArgs,
    repositories: &[TaskRepository<'_>],
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let tag = args.task.as_deref().map(task_tag);
    let reach = args.place.reach(repositories, args.task.as_deref())?;
    let mut rows: Vec<Row<'_>> = Vec::new();
    for shelf in &reach.shelves {
        for snapshot in &shelf.snapshots {
            if tag.as_ref().is_none_or(|tag| snapshot.tags.contains(tag)) {
                rows.push(Row { repository: &shelf.url, task: task_of(snapshot), newest: false, snapshot });
            }
        }
    }
    if let Some(task) = args.task.as_deref()
        && rows.is_empty()
        && reach.failures.is_empty()
        && !repositories.iter().any(|it| it.task == task)
    {
        let message = format!("there is no task `{task}`, and no snapshot of it");
        return Err(Failure::new(Exit::NotFound, message, "`upkeep backup list` without a name shows all").into());
    }
    rows.sort_by_key(|row| row.snapshot.time);
    let mut newest = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        newest.insert((row.repository, row.snapshot.paths.clone()), place);
    }
    for place in newest.into_values() {
        rows[place].newest = true;
    }
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &serde_json::json!({ "snapshots": rows }))
            .map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        write_list(&rows, screen, out)?;
        if rows.is_empty() && !reach.shelves.is_empty() {
            writeln!(out, "no snapshot yet")?;
        }
        for url in &reach.missing {
            writeln!(out, "no backup yet in {}", line(url))?;
        }
    }
    // A task's repository is made by its first backup; one that is named by its place is looked for since it has one.
    if args.place.is_bare() {
        reach.is_open()?;
    }
    // The other repositories are listed all the same.
    reach.failures.into_iter().next().map_or(Ok(Exit::Done), |failure| Err(failure.into()))
}

fn write_list(rows: &[Row<'_>], screen: &Screen, out: &mut dyn Write) -> std::io::Result<()> {
    let mut sources: BTreeMap<_, Vec<&Row<'_>>> = BTreeMap::new();
    for row in rows {
        sources.entry((row.repository, row.snapshot.paths.join(" "))).or_default().push(row);
    }
    let time = format!("TIME ({})", screen.zone_note());
    let mut last = None;
    for ((repository, paths), rows) in sources {
        if last.is_some() {
            writeln!(out)?;
        }
        if last != Some(repository) {
            writeln!(out, "Repository {}", line(repository))?;
            last = Some(repository);
        }
        writeln!(out, "{}", screen.ink(Ink::Bold, &line(&paths)))?;
        let mut table = Table::new(["SNAPSHOT", &time, "AGE", "FILES", "SIZE", "TASK", "TAGS"], 6);
        for Row { snapshot, task, newest, .. } in rows {
            let tags = snapshot.tags.iter().filter(|tag| tag.strip_prefix("upkeep:") != *task).map(String::as_str);
            let marked = newest.then_some("(newest)").into_iter().chain(tags).collect::<Vec<_>>().join(" ");
            let ink = if *newest { Ink::Green } else { Ink::None };
            table.row([
                Cell::new(ink, snapshot.short()),
                screen.minute(snapshot.time).into(),
                screen.relative(snapshot.time).trim_end_matches(" ago").into(),
                snapshot.files.map_or("-".to_owned(), grouped).into(),
                snapshot.bytes.map_or("-".to_owned(), size).into(),
                task.unwrap_or("-").into(),
                marked.into(),
            ]);
        }
        table.write(screen, 2, out)?;
    }
    Ok(())
}
