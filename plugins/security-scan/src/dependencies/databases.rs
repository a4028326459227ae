//! The databases that the plugin `advisories` keeps.

use serde::Deserialize;
use upkeep_advisory::database::{Database, DatabaseError, Package, ReadAt};
use upkeep_advisory::ecosystem::Family;
use upkeep_advisory::vulnerability::Answer;
use upkeep_plugin::files::{Reader, Root};
use upkeep_plugin::{Error, HostError, Result};

use crate::dependencies::files::Dependants;

/// How the files end.
const ENDING: &str = ".advisories";

/// A file of the host, read where it is needed.
#[derive(Debug)]
struct File(Reader);

impl ReadAt for File {
    type Error = HostError;

    fn size(&self) -> Result<u64, HostError> {
        Ok(self.0.identity().size)
    }

    fn read_at(&self, offset: u64, length: u32) -> Result<Vec<u8>, HostError> {
        self.0.read_at(offset, length)
    }
}

/// What the plugin `advisories` notes beside a database.
#[derive(Debug, Deserialize)]
struct Note {
    /// When the server was last asked, milliseconds since the Unix epoch.
    checked: i64,
}

/// All databases of the folder.
#[derive(Debug)]
pub(super) struct Databases {
    name: String,
    root: Root,
    families: Vec<(Family, i64, u64)>,
}

impl Databases {
    pub(super) fn open(name: &str) -> Result<Self> {
        let root = Root::open(name)?;
        let mut families = Vec::new();
        for entry in root.walk().max_depth(1).entries()? {
            let entry = entry?;
            let family = entry.path.strip_suffix(ENDING).and_then(|family| family.parse::<Family>().ok());
            let Some(family) = family else { continue };
            let database = open(name, &root, family)?;
            let source = database.source();
            let fetched = i64::try_from(source.fetched).unwrap_or(i64::MAX);
            let checked = note(&root, family)?.map_or(fetched, |note| note.checked.max(fetched));
            families.push((family, checked, source.records.into()));
        }
        if families.is_empty() {
            return Err(Error::permanent(format!(
                "there is no database of advisories in `grant.files.{name}` yet; run the task of the plugin `advisories` first"
            )));
        }
        Ok(Self { name: name.to_owned(), root, families })
    }

    /// How long ago each was known to be the newest, in milliseconds.
    pub(super) fn ages(&self, now: i64) -> impl Iterator<Item = (Family, i64)> {
        self.families.iter().map(move |(family, checked, _)| (*family, now - checked))
    }

    /// Each with its records and its age.
    pub(super) fn facts(&self, now: i64) -> impl Iterator<Item = (Family, u64, i64)> {
        self.families.iter().map(move |(family, checked, records)| (*family, *records, now - checked))
    }

    pub(super) fn get(&self, family: Family) -> Result<Option<Open>> {
        if !self.families.iter().any(|(known, ..)| *known == family) {
            return Ok(None);
        }
        open(&self.name, &self.root, family).map(|database| Some(Open { name: self.name.clone(), family, database }))
    }
}

/// One database.
#[derive(Debug)]
pub(super) struct Open {
    name: String,
    family: Family,
    database: Database<File>,
}

impl Open {
    /// What is known of each of these packages.
    pub(super) fn look_up(&self, release: Option<&str>, all: &[(&Dependants, usize)]) -> Result<Vec<Answer>> {
        let packages = all.iter().map(|(dependants, index)| &dependants.lock.packages[*index]);
        let packages: Vec<_> = packages.map(|it| Package { name: &it.name, version: &it.version }).collect();
        let answers = self.database.look_up(release, &packages);
        answers.map_err(|error| broken(&self.name, self.family, &error))
    }
}

fn open(name: &str, root: &Root, family: Family) -> Result<Database<File>> {
    let file = File(root.read(&format!("{family}{ENDING}"))?);
    Database::open(file).map_err(|error| broken(name, family, &error))
}

fn broken(name: &str, family: Family, error: &DatabaseError<HostError>) -> Error {
    let what = format!("the database of {family} in `grant.files.{name}`: {error}");
    Error::permanent(format!("{what}; remove it and run the task of the plugin `advisories`"))
}

fn note(root: &Root, family: Family) -> Result<Option<Note>> {
    match root.read(&format!("{family}.json")) {
        Ok(reader) => Ok(serde_json::from_reader(reader).ok()),
        Err(HostError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
