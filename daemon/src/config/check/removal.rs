//! `grant.files.NAME.removal`: it says something only with the right to remove, its patterns have a meaning, and the backup
//! that it asks for is made and verified by tasks that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::config::check::TaskFile;
use crate::config::diagnostic::Diagnostic;
use crate::config::grant::FilesAccess;
use crate::config::load::Task;
use crate::config::removal::{BackupRequirement, RemovalGrant};
use crate::config::safeguards::Safeguards;
use crate::config::source::{KeyPath, Source};
use crate::config::suggest::nearest;
use crate::root::exclude::Exclude;

/// A backup that a task file asks for.
#[derive(Debug)]
pub(crate) struct Requirement {
    task: Arc<str>,
    wanted: BackupRequirement,
    key: KeyPath,
    source: Arc<Source>,
    span: Option<Range<usize>>,
}

/// Looks at the removals of a task file; gives the backups that they ask for.
pub(crate) fn check(file: &mut TaskFile<'_>) -> Vec<Requirement> {
    let settings = file.settings;
    let mut requirements = Vec::new();
    for (name, files) in &settings.grant.files {
        let key = KeyPath::of(["grant", "files", name, "removal"]);
        if !files.access.contains(&FilesAccess::Remove) {
            if files.removal != RemovalGrant::default() {
                let help = "add \"remove\" to `access`, or remove this section";
                file.error(key, "nothing is removed from this folder: its `access` does not hold \"remove\"", help);
            }
            continue;
        }
        for (index, pattern) in files.removal.protect.iter().enumerate() {
            if let Err(message) = Exclude::new(std::slice::from_ref(pattern)) {
                let help = "write it as in a `.gitignore` file: `*.pem`, `/keep`, `uploads/**/original`";
                file.error(key.key("protect").index(index), message, help);
            }
        }
        requirements.extend(files.removal.require_backup.as_ref().map(|wanted| required(file, &key, wanted)));
    }
    for (name, sql) in &settings.grant.sql {
        let key = KeyPath::of(["grant", "sql", name, "removal"]);
        let wanted = sql.removal.as_ref().and_then(|removal| removal.require_backup.as_ref());
        requirements.extend(wanted.map(|wanted| required(file, &key, wanted)));
    }
    requirements
}

fn required(file: &TaskFile<'_>, key: &KeyPath, wanted: &BackupRequirement) -> Requirement {
    let key = key.key("require_backup").key("task");
    let span = file.document.value_span(&key);
    let source = file.document.source().clone();
    Requirement { task: file.name.clone(), wanted: wanted.clone(), key, source, span }
}

/// What is wrong with the backups that are asked for, with the task that asks.
pub(crate) fn problems(
    requirements: &[Requirement],
    names: &BTreeSet<Arc<str>>,
    tasks: &BTreeMap<Arc<str>, Task>,
    safeguards: &Safeguards,
) -> Vec<(Arc<str>, Diagnostic)> {
    let wrong = |requirement: &Requirement| {
        let BackupRequirement { task, verified, .. } = &requirement.wanted;
        let Some(name) = names.get(task.as_str()) else {
            let backups = safeguards.verifiers.keys().map(|name| &**name);
            let help = match nearest(task, backups.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "name the task that makes this backup; a task is named by its file's stem".to_owned(),
            };
            return Some((format!("there is no task \"{task}\""), help));
        };
        // What is wrong with that file is told there.
        tasks.get(name)?;
        match safeguards.verifiers.get(name) {
            None => {
                let help = "name a task whose file grants a repository with the right \"append\"".to_owned();
                Some((format!("the task \"{task}\" saves nothing to a repository"), help))
            }
            Some(verifiers) if *verified && verifiers.is_empty() => {
                let help = "add a task with the plugin `repository-check` or `restore-drill` for its repository, or write \
                            `verified = false`";
                Some((
                    format!("no task verifies what \"{task}\" saves, so nothing would ever be removed"),
                    help.to_owned(),
                ))
            }
            Some(_) => None,
        }
    };
    let told = |requirement: &Requirement| {
        let (message, help) = wrong(requirement)?;
        let Requirement { task, key, source, span, .. } = requirement;
        let diagnostic = Diagnostic::error(source, key.clone(), message).at(span.clone()).help(help);
        Some((task.clone(), diagnostic))
    };
    requirements.iter().filter_map(told).collect()
}
