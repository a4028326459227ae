//! Tries to reach what lies outside of a root.

use std::io::Read;

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::files::Root;
use upkeep_plugin::{HostError, Result, warn};

/// The config of the guests that try to escape.
#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// A granted root.
    pub root: String,
    /// A path outside of it, for the guest that needs one.
    #[serde(default)]
    pub outside: String,
}

/// Tries everything with each path. What was reached, as text; when nothing was: the first error.
pub fn every_way(config: &Config, paths: &[&str]) -> Result<String> {
    let root = Root::open(&config.root)?;
    let mut tries = Tries::default();
    for path in paths {
        tries.note("read", path, read(&root, path));
        tries.note("stat", path, root.stat(path).map(|it| it.path));
        tries.note("walk", path, walk(&root, path));
        tries.note("write", path, root.write(path, "written from the sandbox").map(|()| String::new()));
        tries.note("make-directory", path, root.make_directory(path).map(|()| String::new()));
    }
    tries.end()
}

/// Tries only to read each path; the text is empty when nothing was reached.
pub fn only_read(config: &Config, paths: &[&str]) -> Result<String> {
    let root = Root::open(&config.root)?;
    let mut tries = Tries::default();
    for path in paths {
        tries.note("read", path, read(&root, path));
        tries.note("walk", path, walk(&root, path));
    }
    Ok(tries.reached.join("; "))
}

fn read(root: &Root, path: &str) -> Result<String, HostError> {
    let mut text = String::new();
    match root.read(path)?.read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(HostError::Unavailable(error.to_string())),
    }
}

/// A walk that gives nothing has reached nothing.
fn walk(root: &Root, path: &str) -> Result<String, HostError> {
    let found = root.walk().path(path).entries()?.collect::<Result<Vec<_>, _>>()?;
    let outside = found.first().ok_or_else(|| HostError::NotFound(path.to_owned()))?;
    Ok(outside.path.clone())
}

#[derive(Default)]
struct Tries {
    reached: Vec<String>,
    refused: Option<HostError>,
}

impl Tries {
    fn note(&mut self, way: &str, path: &str, result: Result<String, HostError>) {
        match result {
            Ok(what) => {
                warn!(way = way, path = path, "reached what lies outside");
                self.reached.push(format!("{way} {path}: {what}"));
            }
            Err(error) => {
                self.refused.get_or_insert(error);
            }
        }
    }

    fn end(self) -> Result<String> {
        match self.refused {
            Some(error) if self.reached.is_empty() => Err(error.into()),
            _ => Ok(format!("reached {}", self.reached.join("; "))),
        }
    }
}
