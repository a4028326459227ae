//! A plan as a file for people and programs: what a dry run writes, and what is carried out from it later.
//!
//! One JSON object: what it was made by, the steps of the run, and each root with its items. It may be hundreds of
//! megabytes, so it is written and read as a stream.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::plan::{Head, Item, Plan, Writer};
use super::{RemovalError, replace};
use crate::clock::Timestamp;
use crate::record::Step;

/// Version of the form.
pub const FORMAT: u32 = 1;

/// What a plan was made by and for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Version of the form.
    pub upkeep_plan: u32,
    /// The task.
    pub task: String,
    /// Name of the host.
    pub host: String,
    /// The run that made it.
    pub run: String,
    /// When.
    pub made: Timestamp,
    /// Over the task's plugin, config, grants and limits: carried out is the plan only by the same.
    pub fingerprint: String,
    /// The steps that carry it out.
    pub steps: Vec<PlannedStep>,
}

/// A step as the plugin planned it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannedStep {
    /// Unique within the plan.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// Share of the work.
    pub weight: u64,
    /// What the plugin gave itself.
    pub input: String,
}

impl From<&Step> for PlannedStep {
    fn from(step: &Step) -> Self {
        let Step { id, title, weight, input, .. } = step.clone();
        Self { id, title, weight, input }
    }
}

/// Writes a plan: where it comes from, and the plans of a run's roots.
///
/// # Errors
///
/// When a plan cannot be read or `out` not be written.
pub fn write(origin: &Origin, plans: &[Plan], out: &mut dyn Write) -> Result<(), RemovalError> {
    let failed = RemovalError::state(Path::new("the plan"));
    let json = |value: Result<Vec<u8>, serde_json::Error>| value.map_err(|error| failed(error.into()));
    let mut head = json(serde_json::to_vec_pretty(origin))?;
    // Its closing brace and the line feed before it.
    head.truncate(head.len().saturating_sub(2));
    out.write_all(&head).map_err(&failed)?;
    out.write_all(b",\n  \"roots\": [").map_err(&failed)?;
    for (place, plan) in plans.iter().enumerate() {
        let Head { root, path, files, folders, compressed } = &plan.head;
        let named = serde_json::json!({
            "name": root, "path": path, "files": files.items, "bytes": files.bytes, "folders": folders,
            "compressed": compressed.items,
        });
        let mut named = named.to_string();
        named.truncate(named.len() - 1);
        let comma = if place == 0 { "" } else { "," };
        write!(out, "{comma}\n    {named}, \"items\": [").map_err(&failed)?;
        for (place, item) in plan.items()?.enumerate() {
            let line = json(serde_json::to_vec(&item?))?;
            let comma = if place == 0 { "" } else { "," };
            write!(out, "{comma}\n      ").and_then(|()| out.write_all(&line)).map_err(&failed)?;
        }
        write!(out, "\n    ]}}").map_err(&failed)?;
    }
    out.write_all(b"\n  ]\n}\n").map_err(&failed)
}

/// Where it stands, among what belongs to a run, what its plan was made by.
const ORIGIN: &str = "origin.json";

/// The same of a plan that the run was given to carry out.
const ADOPTED: &str = "adopted.json";

/// Reads a plan that [`write()`] wrote into the folder of a run that is to carry it out.
///
/// # Errors
///
/// A message for people when it is no such plan, or cannot be stored.
pub fn read(from: impl Read, run_folder: &Path) -> Result<Origin, String> {
    std::fs::create_dir_all(run_folder).map_err(|error| format!("{}: {error}", run_folder.display()))?;
    let mut reader = serde_json::Deserializer::from_reader(std::io::BufReader::with_capacity(1 << 16, from));
    let parts = RefCell::new(Parts::default());
    let document = Document { run_folder, parts: &parts };
    let read = document.deserialize(&mut reader).and_then(|()| reader.end());
    let read = read.and_then(|()| serde_json::from_value(serde_json::Value::Object(parts.into_inner().origin)));
    let no_plan = |error| format!("this is no plan that `upkeep run --dry-run --out` wrote: {error}");
    let origin: Origin = read.map_err(no_plan)?;
    if origin.upkeep_plan != FORMAT {
        return Err(format!("the plan is of form {}, this version reads {FORMAT}; make it anew", origin.upkeep_plan));
    }
    store(&origin, &run_folder.join(ADOPTED)).map_err(|error| error.to_string())?;
    Ok(origin)
}

/// Keeps what the plan of the run with this folder was made by.
///
/// # Errors
///
/// When it cannot be written.
pub fn keep(origin: &Origin, run_folder: &Path) -> Result<(), RemovalError> {
    std::fs::create_dir_all(run_folder).map_err(RemovalError::state(run_folder))?;
    store(origin, &run_folder.join(ORIGIN))
}

/// What the plan of the run with this folder was made by; none when it made none.
///
/// # Errors
///
/// When it cannot be read.
pub fn origin(run_folder: &Path) -> Result<Option<Origin>, RemovalError> {
    stored(&run_folder.join(ORIGIN))
}

/// The same of the plan that the run with this folder is to carry out; none when it makes its own.
///
/// # Errors
///
/// When it cannot be read.
pub fn adopted(run_folder: &Path) -> Result<Option<Origin>, RemovalError> {
    stored(&run_folder.join(ADOPTED))
}

fn store(origin: &Origin, file: &Path) -> Result<(), RemovalError> {
    let written = serde_json::to_vec(origin).map_err(|error| RemovalError::broken(file, error))?;
    replace(file, &written)
}

fn stored(file: &Path) -> Result<Option<Origin>, RemovalError> {
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| RemovalError::broken(file, error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RemovalError::state(file)(error)),
    }
}

/// What was read so far, in whatever order it comes.
#[derive(Default)]
struct Parts {
    origin: serde_json::Map<String, serde_json::Value>,
    roots: u32,
    names: BTreeSet<String>,
}

#[derive(Clone, Copy)]
struct Document<'a> {
    run_folder: &'a Path,
    parts: &'a RefCell<Parts>,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plan")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "roots" {
                map.next_value_seed(Roots(self))?;
            } else {
                let value = map.next_value()?;
                self.parts.borrow_mut().origin.insert(key, value);
            }
        }
        Ok(())
    }
}

struct Roots<'a>(Document<'a>);

impl<'de> DeserializeSeed<'de> for Roots<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Roots<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of roots")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut roots: A) -> Result<(), A::Error> {
        while roots.next_element_seed(OneRoot(self.0))?.is_some() {}
        Ok(())
    }
}

struct OneRoot<'a>(Document<'a>);

impl<'de> DeserializeSeed<'de> for OneRoot<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneRoot<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a root with its items")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        use serde::de::Error;
        let place = {
            let mut parts = self.0.parts.borrow_mut();
            parts.roots += 1;
            parts.roots
        };
        // Its name may come behind its items.
        let mut writer =
            Writer::new(self.0.run_folder, &format!("incoming {place}"), Path::new("")).map_err(Error::custom)?;
        let (mut name, mut path) = (None::<String>, None::<PathBuf>);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "name" => name = Some(map.next_value()?),
                "path" => path = Some(map.next_value()?),
                "items" => map.next_value_seed(Items(&mut writer))?,
                _ => drop(map.next_value::<serde::de::IgnoredAny>()?),
            }
        }
        let name = name.ok_or_else(|| Error::missing_field("name"))?;
        let path = path.ok_or_else(|| Error::missing_field("path"))?;
        if !self.0.parts.borrow_mut().names.insert(name.clone()) {
            return Err(Error::custom(format_args!("the root `{name}` comes twice")));
        }
        writer.finish_as(&name, &path).map_err(Error::custom)?;
        Ok(())
    }
}

struct Items<'a>(&'a mut Writer);

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<Item>()? {
            if let Some(problem) = item.problem() {
                return Err(serde::de::Error::custom(format_args!("`{}`: {problem}", item.path)));
            }
            self.0.add(&item).map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }
}
