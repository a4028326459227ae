//! One walk through what is asked for of a snapshot and, side by side, through the target. The survey, the writing and
//! the finish are three such walks: so a restore needs the memory of one folder, however large the snapshot is.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustic_core::repofile::Node;

use crate::repository::browse::Reader;
use crate::repository::restore::Request;
use crate::repository::restore::target::Folder;
use crate::repository::{RepositoryError, Snapshot};

/// An entry that a walk comes to.
#[derive(Debug)]
pub(super) struct At<'a> {
    /// Its absolute path in the snapshot.
    pub(super) path: &'a Path,
    /// Its path below the target.
    pub(super) below: &'a Path,
    /// Its name in the target.
    pub(super) name: &'a OsStr,
    pub(super) node: &'a Node,
    /// Whether the folder only leads to what is asked for: it is no part of that, and often belongs to somebody else.
    pub(super) leads: bool,
    /// Whether it is a file that was saved for itself, as dumps of databases are.
    pub(super) is_source: bool,
}

/// What becomes of a folder.
pub(super) enum Next {
    /// Its entries come next; the open folder of the target, where there is one.
    Into(Option<Arc<Folder>>),
    /// They are passed over.
    Over,
}

/// What is done with each entry. `parent` is none where the target has no such folder.
pub(super) trait Pass {
    fn folder(&mut self, at: &At<'_>, parent: Option<&Arc<Folder>>) -> Result<Next, RepositoryError>;
    fn entry(&mut self, at: &At<'_>, parent: Option<&Arc<Folder>>) -> Result<(), RepositoryError>;
    /// After all that a folder holds.
    fn left(&mut self, at: &At<'_>, folder: Option<&Arc<Folder>>) -> Result<(), RepositoryError>;
    /// Whether there is no use in going on.
    fn is_over(&self) -> bool {
        false
    }
}

/// Where a restore starts: in the snapshot, and in the target.
pub(super) struct Start {
    pub(super) top: Node,
    /// The folder of the target that `top` stands for, or that holds it when it is no folder.
    pub(super) base: PathBuf,
    /// The name of `top` in `base` when it is no folder.
    pub(super) name: Option<OsString>,
}

impl Start {
    pub(super) fn find(reader: &Reader, request: &Request<'_>) -> Result<Self, RepositoryError> {
        let top = reader.node(request.snapshot, request.from)?;
        if top.is_dir() {
            if let Some(only) = request.only {
                // Says so at once when nothing stands there.
                reader.node(request.snapshot, only)?;
            }
            return Ok(Self { top, base: request.to.to_owned(), name: None });
        }
        let (from, to) = (request.from.display(), request.to.display());
        let (Some(base), Some(name)) = (request.to.parent(), request.to.file_name()) else {
            let message = format!("{to} is a folder; name the file that {from} goes to");
            return Err(RepositoryError::Restore(message));
        };
        if request.to.is_dir() {
            let message = format!("{to} is a folder; name the file that {from} goes to");
            return Err(RepositoryError::Restore(message));
        }
        let base = if base.as_os_str().is_empty() { Path::new(".") } else { base };
        Ok(Self { top, base: base.to_owned(), name: Some(name.to_owned()) })
    }
}

/// A folder that the walk is in.
struct Level {
    path: PathBuf,
    below: PathBuf,
    name: OsString,
    node: Node,
    leads: bool,
    folder: Option<Arc<Folder>>,
    rest: std::vec::IntoIter<Node>,
}

/// Walks; `base` is the open folder of [`Start::base`], where there is one.
pub(super) fn walk(
    reader: &Reader,
    request: &Request<'_>,
    start: &Start,
    base: Option<Arc<Folder>>,
    pass: &mut dyn Pass,
) -> Result<(), RepositoryError> {
    if let Some(name) = &start.name {
        let is_source = is_source(request, request.from);
        let at = At { path: request.from, below: Path::new(name), name, node: &start.top, leads: false, is_source };
        return pass.entry(&at, base.as_ref());
    }
    let mut levels = vec![Level {
        path: request.from.to_owned(),
        below: PathBuf::new(),
        name: OsString::new(),
        node: start.top.clone(),
        leads: leads(request, request.from),
        folder: base,
        rest: reader.children(&start.top)?.into_iter(),
    }];
    while let Some(level) = levels.last_mut() {
        if pass.is_over() {
            return Ok(());
        }
        let Some(node) = level.rest.next() else {
            if let Some(level) = levels.pop() {
                let Level { path, below, name, node, leads, folder, .. } = &level;
                pass.left(&At { path, below, name, node, leads: *leads, is_source: false }, folder.as_ref())?;
            }
            continue;
        };
        let name = node.name().into_owned();
        let (path, below) = (level.path.join(&name), level.below.join(&name));
        if is_left_out(request, &path, node.is_dir()) {
            continue;
        }
        let (leads, is_source) = (leads(request, &path), !node.is_dir() && is_source(request, &path));
        let at = At { path: &path, below: &below, name: &name, node: &node, leads, is_source };
        if !node.is_dir() {
            pass.entry(&at, level.folder.as_ref())?;
            continue;
        }
        if let Next::Into(folder) = pass.folder(&at, level.folder.as_ref())? {
            let rest = reader.children(&node)?.into_iter();
            levels.push(Level { path, below, name, node, leads, folder, rest });
        }
    }
    Ok(())
}

fn is_left_out(request: &Request<'_>, path: &Path, is_folder: bool) -> bool {
    let elsewhere = request.only.is_some_and(|only| !path.starts_with(only) && !only.starts_with(path));
    let relative = path.strip_prefix("/").unwrap_or(path);
    elsewhere
        || request.skip.iter().any(|skip| skip == path)
        || request.exclude.is_some_and(|exclude| exclude.matches(relative, is_folder))
}

/// Whether a folder only leads to what was saved, or to what is asked for of it.
fn leads(request: &Request<'_>, folder: &Path) -> bool {
    let is_above = |path: &Path| path != folder && path.starts_with(folder);
    holds_source(request.snapshot, folder) || request.only.is_some_and(is_above)
}

fn is_source(request: &Request<'_>, path: &Path) -> bool {
    request.snapshot.paths.iter().any(|source| Path::new(source) == path)
}

fn holds_source(snapshot: &Snapshot, folder: &Path) -> bool {
    let mut saved = snapshot.paths.iter().map(Path::new);
    saved.any(|saved| saved != folder && saved.starts_with(folder))
}
