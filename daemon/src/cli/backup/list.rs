//! `upkeep backup list`: which snapshots there are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde::Serialize;

use super::{TaskRepository, of_task, short};
use crate::capability::repository::task_tag;
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::{Screen, grouped, size};
use crate::cli::table::Table;
use crate::repository::{Repository, RepositoryError, Snapshot};

/// List snapshots, oldest first
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ListArgs {
    /// Only those that this task made
    task: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A line of the list; this is the JSON object.
#[derive(Debug, Serialize)]
struct Row<'a> {
    repository: &'a str,
    #[serde(flatten)]
    snapshot: Snapshot,
}

pub(super) fn list(
    args: &ListArgs,
    repositories: &[TaskRepository<'_>],
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let tag = args.task.as_deref().map(task_tag);
    let mut places = BTreeMap::new();
    for repository in of_task(repositories, args.task.as_deref())? {
        places.insert(repository.grant.url.as_str(), repository.grant);
    }
    let (mut rows, mut missing, mut failure) = (Vec::new(), BTreeSet::new(), None);
    for (url, grant) in places {
        match Repository::open(grant).and_then(|repository| repository.snapshots()) {
            Ok(snapshots) => rows.extend(
                snapshots
                    .into_iter()
                    .filter(|snapshot| tag.as_ref().is_none_or(|tag| snapshot.tags.contains(tag)))
                    .map(|snapshot| Row { repository: url, snapshot }),
            ),
            Err(RepositoryError::Missing(url)) => drop(missing.insert(url)),
            // The other repositories are listed all the same.
            Err(error) => failure = failure.or(Some(Failure::from(error))),
        }
    }
    rows.sort_by_key(|row| row.snapshot.time);
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &serde_json::json!({ "snapshots": rows }))
            .map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        write_list(&rows, screen, out)?;
        for url in missing {
            writeln!(out, "no backup yet in {url}")?;
        }
    }
    failure.map_or(Ok(Exit::Done), |failure| Err(failure.into()))
}

fn write_list(rows: &[Row<'_>], screen: &Screen, out: &mut dyn Write) -> std::io::Result<()> {
    let time = format!("TIME ({})", screen.zone_note());
    let mut table = Table::new(["SNAPSHOT", time.as_str(), "TASK", "FILES", "SIZE", "PATHS"], 5);
    for Row { snapshot, .. } in rows {
        let task = snapshot.tags.iter().find_map(|tag| tag.strip_prefix("upkeep:")).unwrap_or("-");
        table.row([
            short(snapshot).into(),
            screen.minute(snapshot.time).into(),
            task.into(),
            snapshot.files.map_or("-".to_owned(), grouped).into(),
            snapshot.bytes.map_or("-".to_owned(), size).into(),
            snapshot.paths.join(" ").into(),
        ]);
    }
    match table.is_empty() {
        true => Ok(()),
        false => table.write(screen, 0, out),
    }
}
