//! Plugins as the configuration sees them: which file, and what its manifest says. Nothing is executed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::digest::Digest;
use crate::config::files::in_words;
use crate::config::shape::Shape;
use crate::config::suggest::{list, nearest};
use crate::plugin::manifest::Manifest;
use crate::plugin::section;

/// A plugin that tasks name.
#[derive(Debug)]
pub struct Plugin {
    /// The component file.
    pub path: PathBuf,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// What the plugin says of itself.
    pub manifest: Manifest,
    /// The schema of its config, when it has one.
    pub shape: Option<Shape>,
}

/// Why a plugin cannot be used: what is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// Reads the manifest from the bytes of a component, without executing it; the path is for messages. The daemon's own
/// is [`read_manifest`]; tests do without components.
pub type ReadManifest<'a> = &'a dyn Fn(&[u8], &Path) -> Result<Manifest, String>;

/// Reads the manifest out of a component.
///
/// # Errors
///
/// What is wrong with the component, naming the file.
pub fn read_manifest(component: &[u8], file: &Path) -> Result<Manifest, String> {
    section::read(component, file).map(|described| described.manifest).map_err(|error| error.to_string())
}

/// The plugins of one configuration; each file is read once.
pub struct Plugins<'a> {
    dir: PathBuf,
    read_manifest: ReadManifest<'a>,
    known: BTreeMap<PathBuf, Result<Arc<Plugin>, Unusable>>,
}

impl<'a> Plugins<'a> {
    /// The plugins of the folder `dir`.
    pub fn new(dir: PathBuf, read_manifest: ReadManifest<'a>) -> Self {
        Self { dir, read_manifest, known: BTreeMap::new() }
    }

    /// The plugin that a task file names: `NAME`, or the absolute path of a file.
    pub fn find(&mut self, name: &str) -> Result<Arc<Plugin>, Unusable> {
        let path = if name.starts_with('/') {
            PathBuf::from(name)
        } else if name.is_empty() || name.contains('/') {
            return Err(Unusable {
                message: format!("\"{name}\" is neither the name of a plugin nor an absolute path"),
                help: format!("write `NAME` for {}/NAME.wasm, or a path that begins with `/`", self.dir.display()),
            });
        } else {
            self.dir.join(format!("{name}.wasm"))
        };
        if let Some(known) = self.known.get(&path) {
            return known.clone();
        }
        let found = self.read(name, &path);
        self.known.insert(path, found.clone());
        found
    }

    fn read(&self, name: &str, path: &Path) -> Result<Arc<Plugin>, Unusable> {
        let bytes = std::fs::read(path).map_err(|error| self.unreadable(name, path, &error))?;
        let manifest = (self.read_manifest)(&bytes, path).map_err(|message| Unusable {
            message: format!("not a plugin that this upkeep can run: {message}"),
            help: "`upkeep plugin inspect FILE` shows what a file holds; install a build for this version of upkeep"
                .to_owned(),
        })?;
        let shape = match &manifest.config_schema {
            Some(schema) => Some(Shape::new(schema.clone()).map_err(|error| Unusable {
                message: format!("the config schema in the manifest of {} {error}", path.display()),
                help: "this is a fault of the plugin: report it to its author".to_owned(),
            })?),
            None => None,
        };
        Ok(Arc::new(Plugin { path: path.to_owned(), digest: Digest::of([bytes.as_slice()]), manifest, shape }))
    }

    fn unreadable(&self, name: &str, path: &Path, error: &std::io::Error) -> Unusable {
        if error.kind() != std::io::ErrorKind::NotFound || name.starts_with('/') {
            return Unusable {
                message: format!("the plugin {} cannot be read: {}", path.display(), in_words(error)),
                help: "correct the path, or make the file readable for the daemon's user".to_owned(),
            };
        }
        let message = format!("there is no plugin {}", path.display());
        let Ok(entries) = std::fs::read_dir(&self.dir) else {
            let help = format!("the folder {} cannot be read; correct `plugin_dir` in upkeep.toml", self.dir.display());
            return Unusable { message, help };
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter_map(|name| name.strip_suffix(".wasm").map(str::to_owned)).collect();
        names.sort();
        let there = list(names.iter().map(String::as_str));
        let help = match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`? Plugins there: {there}"),
            None if names.is_empty() => "that folder holds no plugins; `plugin_dir` in upkeep.toml names it".to_owned(),
            None => format!("plugins there: {there}"),
        };
        Unusable { message, help }
    }
}
