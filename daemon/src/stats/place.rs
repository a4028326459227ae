//! Where a task keeps its figures.

use std::path::{Path, PathBuf};

use chrono_tz::Tz;

use crate::config::load::Task;
use crate::config::sql::PRIVATE;
use crate::sql::snapshot::Server;

/// What the tables of a shared database begin with, unless the task says otherwise.
const SHARED: &str = "upkeep_";

/// A task, and where it would keep figures: as `[config.figures]` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeping {
    /// The task.
    pub task: String,
    /// The zone of its hours and days.
    pub zone: Tz,
    /// None where the configuration names what is not granted.
    pub(super) place: Option<Place>,
}

/// A database, and what its tables begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: At,
    pub(super) prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    /// The task's own.
    Private,
    /// A file of SQLite.
    File(PathBuf),
    Server(Server),
}

impl Keeping {
    /// Of a task of the configuration.
    pub fn of(task: &Task) -> Self {
        let config: serde_json::Value = serde_json::from_str(&task.config_json).unwrap_or_default();
        let figures = config.get("figures");
        let text = |key: &str| figures?.get(key)?.as_str();
        let database = text("database").unwrap_or(PRIVATE);
        let grant = || task.grants.sql.get(database);
        let at = match database {
            PRIVATE => Some(At::Private),
            _ => grant().and_then(|grant| {
                let postgresql = grant.postgresql.clone().map(|it| At::Server(Server::Postgresql(it)));
                let mariadb = grant.mariadb.clone().map(|it| At::Server(Server::Mariadb(it)));
                postgresql.or(mariadb).or_else(|| grant.sqlite.clone().map(At::File))
            }),
        };
        let usual = if database == PRIVATE { "" } else { SHARED };
        let prefix = text("prefix").unwrap_or(usual).to_owned();
        Self { task: task.name.to_string(), zone: task.schedule.timezone(), place: at.map(|at| Place { at, prefix }) }
    }

    /// A task with a database of its own.
    #[cfg(test)]
    pub(crate) fn private(task: &str, zone: Tz) -> Self {
        let place = Place { at: At::Private, prefix: String::new() };
        Self { task: task.to_owned(), zone, place: Some(place) }
    }
}

impl Place {
    /// The file, if it is one.
    pub(super) fn file(&self, state_dir: &Path, task: &str) -> Option<PathBuf> {
        match &self.at {
            At::Private => Some(state_dir.join("private").join(format!("{task}.sqlite"))),
            At::File(file) => Some(file.clone()),
            At::Server(_) => None,
        }
    }
}
