//! Saves directories and databases into a backup repository. Each source is one step, one snapshot and one line of the
//! report; the steps run side by side.
//!
//! Between runs it remembers how much each source held: that gives the steps their weights, and tells a source that has
//! become empty (a disk that is not mounted, an application that lost its data) from one that always was.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use upkeep_plugin::files::Root;
use upkeep_plugin::repository::{BackupOptions, Repository, Summary};
use upkeep_plugin::{Context, Error, Outcome, Report, Result, Step, Task, dump, info, state, warn};

use crate::anomaly::{Facts, History, Settings, Thresholds};
use crate::size::Size;

mod anomaly;
mod copies;
mod report;
mod size;

/// What to save, and where to. All names are those of the grants in the task file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Backup {
    /// The repository, as in `[grant.repository.NAME]`.
    repository: String,
    /// Further repositories to which each snapshot is copied, as in `[grant.repository.NAME]`.
    #[serde(default)]
    copies: Vec<String>,
    /// Directories; one snapshot each.
    #[serde(default)]
    directories: Vec<Directory>,
    /// Databases, as in `[grant.dump.NAME]`; one snapshot each, as they are at one moment.
    #[serde(default)]
    databases: Vec<String>,
    /// Tags of all snapshots, beside that of the task.
    #[serde(default)]
    tags: Vec<String>,
    /// When a change is so large that nothing may be forgotten before somebody has looked.
    #[serde(default)]
    anomaly: Settings,
    /// The same for single sources, by `directory/NAME` or `database/NAME`: what they set goes before `anomaly`.
    #[serde(default)]
    anomaly_of: BTreeMap<String, Settings>,
}

/// A directory to save.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Directory {
    /// The directory, as in `[grant.files.NAME]`.
    root: String,
    /// What to leave out, in the patterns of a .gitignore file.
    #[serde(default)]
    exclude: Vec<String>,
    /// Larger files are left out.
    #[serde(default)]
    max_size: Option<Size>,
    /// Whether other filesystems that are mounted in the directory are left out.
    #[serde(default)]
    one_filesystem: bool,
}

/// What one step saves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Source {
    /// The directory `root`.
    Directory(String),
    /// The database of this name.
    Database(String),
}

impl Source {
    /// What it is called in findings, metrics and the state: the same in each run.
    fn key(&self) -> String {
        match self {
            Self::Directory(root) => format!("directory/{root}"),
            Self::Database(name) => format!("database/{name}"),
        }
    }

    /// What it is called in the table: a directory and a database may have one name.
    fn title(&self) -> String {
        match self {
            Self::Directory(root) => root.clone(),
            Self::Database(name) => format!("{name} (database)"),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Directory(name) | Self::Database(name) => name,
        }
    }
}

/// What a step saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Saved {
    #[serde(flatten)]
    summary: Summary,
    /// Databases in it that hold nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    empty: Vec<String>,
    /// What is unusual about it; then the repository is held.
    #[serde(default)]
    anomalies: Vec<String>,
    /// Whether the repository was held for this task before.
    #[serde(default)]
    was_held: bool,
}

impl Saved {
    /// Why repositories are held for it.
    fn reason(&self, source: &Source) -> Option<String> {
        (!self.anomalies.is_empty()).then(|| format!("{}: {}", source.name(), self.anomalies.join(", and ")))
    }
}

impl std::ops::Deref for Saved {
    type Target = Summary;

    fn deref(&self) -> &Summary {
        &self.summary
    }
}

/// How much a source held when it was last saved and held anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Totals {
    files: u64,
    bytes: u64,
}

impl Totals {
    fn of_last_run(source: &Source) -> Result<Option<Self>> {
        Ok(state::get(&["last/", &source.key()].concat())?)
    }
}

impl Backup {
    fn sources(&self) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        let directories = self.directories.iter().map(|it| Source::Directory(it.root.clone()));
        for source in directories.chain(self.databases.iter().cloned().map(Source::Database)) {
            if sources.contains(&source) {
                let message = format!("`{}` is named twice under [config]; remove one of them", source.name());
                return Err(Error::config(message));
            }
            sources.push(source);
        }
        if let Some(name) = self.copies.iter().find(|name| **name == self.repository) {
            let message = format!("`{name}` is the repository and a copy of it; name another one under `copies`");
            return Err(Error::config(message));
        }
        if let Some(unknown) = self.anomaly_of.keys().find(|it| sources.iter().all(|source| source.key() != **it)) {
            let known: Vec<_> = sources.iter().map(Source::key).collect();
            let message = format!("[config.anomaly_of.\"{unknown}\"] is no source; there are {}", known.join(", "));
            return Err(Error::config(message));
        }
        if sources.is_empty() {
            return Err(Error::config(
                "there is nothing to save; add `[[config.directories]]` with `root = \"NAME\"`, or `databases = [\"NAME\"]` under [config]",
            ));
        }
        Ok(sources)
    }

    fn thresholds(&self, source: &str) -> Thresholds {
        self.anomaly_of.get(source).unwrap_or(&self.anomaly).over(&self.anomaly)
    }

    /// Judges what was saved, and holds the repository when it is unusual. In the step, and not at the end: from now on
    /// nothing must be forgotten.
    fn judge(&self, ctx: &Context, repository: &Repository, source: &Source, summary: Summary) -> Result<Saved> {
        let (key, thresholds) = (source.key(), self.thresholds(&source.key()));
        let was_held = repository.holds()?.iter().any(|it| it.task == ctx.task);
        let history = History::of(&key)?.learned(was_held, &thresholds);
        let anomalies = anomaly::judge(&Facts::from(&summary), &history, &thresholds);
        let saved = Saved { summary, empty: Vec::new(), anomalies, was_held };
        if let Some(reason) = saved.reason(source) {
            warn!(snapshot = saved.snapshot, source = key, "unusual: {reason}");
            repository.hold(&reason)?;
        }
        Ok(saved)
    }

    /// Remembers what each source held, and forgets the sources that are no longer named.
    fn remember(&self, outcomes: &[Outcome<Self>]) -> Result<()> {
        let mut batch = state::Batch::new();
        for outcome in outcomes {
            let Ok(saved) = &outcome.output else { continue };
            let (files, bytes, source) = (saved.files, saved.bytes, outcome.step.input.key());
            if bytes > 0 && saved.empty.is_empty() {
                batch = batch.put(&["last/", &source].concat(), &Totals { files, bytes })?;
            }
            let (thresholds, is_well) = (self.thresholds(&source), saved.anomalies.is_empty());
            let mut history = History::of(&source)?.learned(saved.was_held, &thresholds);
            history.remember(Facts::from(&saved.summary), is_well, &thresholds);
            batch = batch.put(&["history/", &source].concat(), &history)?;
        }
        for kind in ["last/", "history/"] {
            let current: Vec<_> = outcomes.iter().map(|it| [kind, &it.step.input.key()].concat()).collect();
            for old in state::keys(kind)?.iter().filter(|it| !current.contains(it)) {
                batch = batch.remove(old);
            }
        }
        Ok(batch.apply()?)
    }
}

impl Task for Backup {
    type Input = Source;
    type Output = Saved;

    fn plan(&self, _: &Context) -> Result<Vec<Step<Source>>> {
        let step = |source: Source| {
            let title = match &source {
                Source::Directory(root) => {
                    // Tells at once, and on a dry run too, when the directory is not granted or not there.
                    Root::open(root)?;
                    format!("save the directory {root}")
                }
                Source::Database(name) => format!("save the database {name}"),
            };
            let weight = Totals::of_last_run(&source)?.map_or(1, |it| it.bytes);
            Ok(Step::new(source.key(), source).title(title).weight(weight))
        };
        self.sources()?.into_iter().map(step).collect()
    }

    fn execute(&self, ctx: &Context, step: Step<Source>) -> Result<Saved> {
        let repository = Repository::open(&self.repository)?;
        let (summary, empty) = match &step.input {
            Source::Directory(root) => {
                let directory = self.directories.iter().find(|it| it.root == *root);
                let directory = directory.ok_or_else(|| Error::config(format!("`{root}` is no longer configured")))?;
                let options = BackupOptions {
                    exclude: directory.exclude.clone(),
                    max_size: directory.max_size.map(|it| it.0),
                    one_filesystem: directory.one_filesystem,
                    tags: self.tags.clone(),
                };
                (repository.backup(root, &options)?, Vec::new())
            }
            Source::Database(name) => {
                let dump::Saved { summary, empty } = dump::to_repository(name, &repository, &self.tags)?;
                (summary, empty)
            }
        };
        info!(
            snapshot = summary.snapshot,
            files = summary.files,
            bytes = summary.bytes,
            added = summary.bytes_added,
            "saved {}",
            step.input.name()
        );
        let saved = Saved { empty, ..self.judge(ctx, &repository, &step.input, summary)? };
        copies::make(&repository, &self.copies, &step.input, &saved)?;
        Ok(saved)
    }

    fn finish(&self, ctx: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        let report = report::sum_up(ctx, &self.repository, &outcomes)?;
        self.remember(&outcomes)?;
        Ok(report)
    }
}

upkeep_plugin::export!(Backup);

#[cfg(test)]
mod tests;
