//! The repositories that the task files name, for `upkeep backup`.
//!
//! Whoever restores has lost something: the folder that a task saves, the plugin, half of a file. The task is then not
//! valid, and its file says all the same where the backup is. So nothing else of it is looked at.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::dump::DumpGrant;
use crate::config::files;
use crate::config::grant::RepositoryGrant;
use crate::config::source::{Document, KeyPath};

/// The plugin that restores on trial.
const DRILL: &str = "restore-drill";

/// The repositories of one task, by the names that its file gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRepositories {
    /// The task.
    pub task: String,
    /// Where they are, and their passwords.
    pub repositories: BTreeMap<String, RepositoryGrant>,
    /// The databases that it dumps.
    pub dumps: BTreeMap<String, DumpGrant>,
}

/// Reads them from the configuration folder `dir`, in the order of the tasks. The diagnostics tell which could not be
/// read; the others are there all the same.
pub fn read(dir: &Path) -> (Vec<TaskRepositories>, Diagnostics) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for path in files::tasks(dir, &mut problems) {
        let Some(source) = files::read(&path.file, &mut problems) else { continue };
        let document = match Document::parse(&source) {
            Ok(document) => document,
            Err(syntax) => {
                problems.extend(syntax);
                continue;
            }
        };
        let mut repositories = BTreeMap::new();
        let written = document.json();
        for (name, grant) in written["grant"]["repository"].as_object().into_iter().flatten() {
            match RepositoryGrant::deserialize(grant) {
                Ok(grant) => drop(repositories.insert(name.clone(), grant)),
                Err(error) => {
                    let key = KeyPath::of(["grant", "repository", name]);
                    let span = document.value_span(&key);
                    let help = "`upkeep check` tells what is wrong with it";
                    problems.push(Diagnostic::error(&source, key, error.to_string()).at(span).help(help));
                }
            }
        }
        let dumps = written["grant"]["dump"].as_object().into_iter().flatten();
        // One that is wrong is told when it is asked for.
        let dumps =
            dumps.filter_map(|(name, grant)| Some((name.clone(), DumpGrant::deserialize(grant).ok()?))).collect();
        found.push(TaskRepositories { task: path.name.to_string(), repositories, dumps });
    }
    (found, Diagnostics(problems))
}

/// The tasks that restore the snapshots of `task` on trial; `task` itself, where it is such a one.
pub fn drills(dir: &Path, task: &str) -> Vec<String> {
    // What is wrong with the files is told when one of them is run.
    let mut problems = Vec::new();
    let paths = files::tasks(dir, &mut problems);
    let mut drills = Vec::new();
    for path in paths {
        let Some(source) = files::read(&path.file, &mut problems) else { continue };
        let Ok(document) = Document::parse(&source) else { continue };
        let written = document.json();
        let is_meant = written["config"]["task"] == task || *path.name == *task;
        if written["plugin"] == DRILL && is_meant {
            drills.push(path.name.to_string());
        }
    }
    drills
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_task_that_cannot_run_still_tells_where_its_backup_is() {
        let dir = tempfile::tempdir().unwrap();
        let tasks = dir.path().join("tasks.d");
        fs::create_dir(&tasks).unwrap();
        let repository = "[grant.repository.main]\nurl = \"/srv/backup\"\npassword = { file = \"/etc/secret\" }\n";
        let lost = format!("plugin = \"gone\"\nnonsense = 1\n[grant.files.app]\npath = \"/lost\"\n{repository}");
        fs::write(tasks.join("a-lost.toml"), lost).unwrap();
        fs::write(tasks.join("b-broken.toml"), "plugin = \n").unwrap();
        let half = format!("{repository}[grant.repository.other]\nurl = 7\n");
        fs::write(tasks.join("c-half.toml"), half).unwrap();
        fs::write(tasks.join("d-none.toml"), "plugin = \"hello\"\n").unwrap();

        let (found, problems) = read(dir.path());
        let seen: Vec<_> =
            found.iter().map(|it| (&it.task[..], it.repositories.keys().map(String::as_str).collect())).collect();
        assert_eq!(seen, [("a-lost", vec!["main"]), ("c-half", vec!["main"]), ("d-none", vec![])]);
        assert_eq!(found[0].repositories["main"].url, "/srv/backup");
        let files: Vec<_> = problems.0.iter().map(|it| it.source.name.rsplit('/').next().unwrap()).collect();
        assert_eq!(files, ["b-broken.toml", "c-half.toml"]);
    }
}
