//! Saves directories and databases into a backup repository. Each source is one step, one snapshot and one line of the
//! report; the steps run side by side.
//!
//! Between runs it remembers how much each source held: that gives the steps their weights, and tells a source that has
//! become empty (a disk that is not mounted, an application that lost its data) from one that always was.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use upkeep_plugin::files::Root;
use upkeep_plugin::repository::{BackupOptions, Repository, Summary};
use upkeep_plugin::{Context, Error, Outcome, Report, Result, Step, Task, dump, info, state};

use crate::size::Size;

mod report;
mod size;

/// What to save, and where to. All names are those of the grants in the task file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Backup {
    /// The repository, as in `[grant.repository.NAME]`.
    repository: String,
    /// Directories; one snapshot each.
    #[serde(default)]
    directories: Vec<Directory>,
    /// Databases, as in `[grant.dump.NAME]`; one snapshot each, as they are at one moment.
    #[serde(default)]
    databases: Vec<String>,
    /// Tags of all snapshots, beside that of the task.
    #[serde(default)]
    tags: Vec<String>,
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
}

impl From<Summary> for Saved {
    fn from(summary: Summary) -> Self {
        Self { summary, empty: Vec::new() }
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
        if sources.is_empty() {
            return Err(Error::config(
                "there is nothing to save; add `[[config.directories]]` with `root = \"NAME\"`, or `databases = [\"NAME\"]` under [config]",
            ));
        }
        Ok(sources)
    }

    /// Remembers what each source held, and forgets the sources that are no longer named.
    fn remember(&self, outcomes: &[Outcome<Self>]) -> Result<()> {
        let mut batch = state::Batch::new();
        for outcome in outcomes {
            if let Ok(Saved { summary: Summary { files, bytes, .. }, empty }) = &outcome.output
                && *bytes > 0
                && empty.is_empty()
            {
                let (files, bytes) = (*files, *bytes);
                batch = batch.put(&["last/", &outcome.step.input.key()].concat(), &Totals { files, bytes })?;
            }
        }
        let current: Vec<_> = outcomes.iter().map(|it| ["last/", &it.step.input.key()].concat()).collect();
        for old in state::keys("last/")?.iter().filter(|it| !current.contains(it)) {
            batch = batch.remove(old);
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

    fn execute(&self, _: &Context, step: Step<Source>) -> Result<Saved> {
        let repository = Repository::open(&self.repository)?;
        let saved = match &step.input {
            Source::Directory(root) => {
                let directory = self.directories.iter().find(|it| it.root == *root);
                let directory = directory.ok_or_else(|| Error::config(format!("`{root}` is no longer configured")))?;
                let options = BackupOptions {
                    exclude: directory.exclude.clone(),
                    max_size: directory.max_size.map(|it| it.0),
                    one_filesystem: directory.one_filesystem,
                    tags: self.tags.clone(),
                };
                Saved::from(repository.backup(root, &options)?)
            }
            Source::Database(name) => {
                let dump::Saved { summary, empty } = dump::to_repository(name, &repository, &self.tags)?;
                Saved { summary, empty }
            }
        };
        info!(
            snapshot = saved.summary.snapshot,
            files = saved.summary.files,
            bytes = saved.summary.bytes,
            added = saved.summary.bytes_added,
            "saved {}",
            step.input.name()
        );
        Ok(saved)
    }

    fn finish(&self, _: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        let report = report::sum_up(&outcomes)?;
        self.remember(&outcomes)?;
        Ok(report)
    }
}

upkeep_plugin::export!(Backup);

#[cfg(test)]
mod tests;
