//! Finding a snapshot and giving back what it holds.
//!
//! rustic_core restores, but only logs what it could not set and trusts the names in the repository. So every name is
//! looked at before it is used, and afterwards everything is read once more and compared with the snapshot.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustic_core::repofile::{Node, NodeType, SnapshotFile, SnapshotId};
use rustic_core::{ErrorKind, IndexedFullStatus, LocalDestination, LsOptions, RestorePlan, RusticError, RusticResult};
use tokio_util::sync::CancellationToken;

use crate::repository::progress::Bars;
use crate::repository::{Repository, RepositoryError, Snapshot, Tell, node};

/// Differences that are named; further ones are counted.
const MOST_DIFFERENCES: usize = 100;

/// How a restore goes about what is there already.
#[derive(Debug, Clone, Copy, Default)]
pub struct RestoreOptions {
    /// Whether the target may hold something. What the snapshot does not have stays; what it has is replaced.
    pub overwrite: bool,
    /// Whether only the plan is made.
    pub dry_run: bool,
}

/// What a restore did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// Files, links and devices.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// What is not as it was saved, such as an owner that only root can give; empty after a dry run.
    pub differences: Vec<String>,
}

type Indexed = rustic_core::Repository<IndexedFullStatus>;

impl Repository {
    /// The snapshot whose identifier begins with `name`, or the newest of those that `filter` lets pass for `latest`.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::Snapshot`] when none or several answer to it.
    pub fn find(&self, name: &str, filter: impl Fn(&Snapshot) -> bool) -> Result<Snapshot, RepositoryError> {
        let none = |reason: String| RepositoryError::Snapshot { url: self.url.clone(), name: name.to_owned(), reason };
        let mut snapshots = self.snapshots()?;
        if name == "latest" {
            snapshots.retain(filter);
            return snapshots.pop().ok_or_else(|| none("there is none yet".to_owned()));
        }
        if name.is_empty() || !name.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(none("write `latest`, or the hexadecimal digits that `upkeep backup list` shows".to_owned()));
        }
        snapshots.retain(|snapshot| snapshot.id.starts_with(&name.to_ascii_lowercase()));
        match snapshots.len() {
            0 => Err(none("`upkeep backup list` shows what there is".to_owned())),
            1 => Ok(snapshots.remove(0)),
            count => Err(none(format!("{count} begin so; write more digits"))),
        }
    }

    /// Puts what the snapshot has at `path` (absolute; `/` for all) to `target`: of a folder its content, of a file the
    /// file. Then all is read again and compared.
    ///
    /// # Errors
    ///
    /// When the target holds something and may not, when the snapshot has no such path, or when a file is not as it was
    /// saved.
    pub fn restore(
        &self,
        snapshot: &Snapshot,
        path: &Path,
        target: &Path,
        options: RestoreOptions,
        tell: Tell,
    ) -> Result<Restored, RepositoryError> {
        if !options.overwrite {
            refuse_occupied(target)?;
        }
        let _lock = self.lock_to_read(Duration::ZERO, &CancellationToken::new())?;
        let repository = self.session(Arc::clone(&self.backend), Bars::telling(tell))?;
        let repository = repository.to_indexed().map_err(self.failed("its index was read"))?;
        let top = self.top(&repository, snapshot, path)?;
        let failed = self.failed("files were restored");
        if !top.is_dir() && target.is_dir() {
            let message = format!("{} is a folder; name the file that {} goes to", target.display(), path.display());
            return Err(RepositoryError::Restore(message));
        }
        let text = target.to_str().ok_or_else(|| {
            RepositoryError::Restore(format!("the target {} is not UTF-8; choose another one", target.display()))
        })?;
        let destination = LocalDestination::new(text, !options.dry_run, !top.is_dir()).map_err(&failed)?;
        let everything = LsOptions::default();
        let nodes = || repository.ls(&top, &everything).map(|nodes| nodes.map(checked));
        let plan = |verify: bool, dry_run: bool| -> RusticResult<RestorePlan> {
            let how = rustic_core::RestoreOptions::default().verify_existing(verify);
            repository.prepare_restore(&how, nodes()?, &destination, dry_run)
        };
        let mut restored = Restored::default();
        for node in nodes().map_err(&failed)? {
            match node.map_err(&failed)? {
                (_, node) if node.is_dir() => restored.folders += 1,
                (_, node) => {
                    restored.files += 1;
                    restored.bytes += if node.is_file() { node.meta.size } else { 0 };
                }
            }
        }
        // What is there already may have the size and the time of what was saved, and another content.
        let first = plan(options.overwrite, options.dry_run).map_err(&failed)?;
        if options.dry_run {
            return Ok(restored);
        }
        // rustic_core unwraps in its threads where the disk of the target fails.
        let written = catch_unwind(AssertUnwindSafe(|| {
            let how = rustic_core::RestoreOptions::default();
            repository.restore(first, &how, nodes()?, &destination)
        }));
        written
            .map_err(|_| {
                RepositoryError::Restore(format!("{} could not be written; is the disk full?", target.display()))
            })?
            .map_err(&failed)?;
        if top.is_dir() {
            set_folder(target, &top);
        }
        let check = plan(true, true).map_err(&failed)?;
        let bad = check.stats.files.restore + check.stats.files.modify;
        if bad > 0 {
            return Err(RepositoryError::Restore(format!(
                "{bad} files in {} are not as they were saved; does another program write there, or is the disk full?",
                target.display()
            )));
        }
        let mut untold = 0;
        for node in nodes().map_err(&failed)? {
            let (below, node) = node.map_err(&failed)?;
            if holds_source(snapshot, &path.join(&below)) {
                continue;
            }
            let at = if top.is_dir() { target.join(&below) } else { target.to_owned() };
            if let Some(difference) = difference(&at, &node) {
                if restored.differences.len() < MOST_DIFFERENCES {
                    restored.differences.push(format!("{}: {difference}", below.display()));
                } else {
                    untold += 1;
                }
            }
        }
        if untold > 0 {
            restored.differences.push(format!("and {untold} more"));
        }
        Ok(restored)
    }

    fn top(&self, repository: &Indexed, snapshot: &Snapshot, path: &Path) -> Result<Node, RepositoryError> {
        let missing = || RepositoryError::Snapshot {
            url: self.url.clone(),
            name: format!("{}:{}", &snapshot.id[..8.min(snapshot.id.len())], path.display()),
            reason: format!("it holds {}", snapshot.paths.join(", ")),
        };
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(missing());
        }
        let failed = self.failed("a snapshot was read");
        let id: SnapshotId = snapshot.id.parse().map_err(&failed)?;
        let file: SnapshotFile = repository.get_file(&id).map_err(&failed)?;
        repository.node_from_path(file.tree, path).map_err(|_| missing())
    }
}

/// Whether a folder only leads to what was saved: it is no part of that, and often belongs to somebody else.
fn holds_source(snapshot: &Snapshot, folder: &Path) -> bool {
    let mut saved = snapshot.paths.iter().map(Path::new);
    saved.any(|saved| saved != folder && saved.starts_with(folder))
}

/// Refuses a name in a snapshot that would lead out of the target.
fn checked(node: RusticResult<(PathBuf, Node)>) -> RusticResult<(PathBuf, Node)> {
    let (path, node) = node?;
    let name = node.name();
    let mut parts = Path::new(&*name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(only)), None) if only == name && !name.as_bytes().contains(&0) => {}
        _ => return Err(RusticError::new(ErrorKind::Verification, format!("the snapshot holds the name {name:?}"))),
    }
    Ok((path, node))
}

fn refuse_occupied(target: &Path) -> Result<(), RepositoryError> {
    let occupied = match fs::symlink_metadata(target) {
        Err(_) => false,
        Ok(metadata) if metadata.is_dir() => fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some()),
        Ok(_) => true,
    };
    match occupied {
        true => Err(RepositoryError::Restore(format!(
            "{} holds something already; choose an empty folder, or allow it with `--overwrite`",
            target.display()
        ))),
        false => Ok(()),
    }
}

/// Gives the target the mode, owner and time of the folder whose content it got, as far as the user may.
fn set_folder(target: &Path, node: &Node) {
    use rustix::fs::{CWD, Gid, Mode, Timespec, Timestamps, Uid};
    let owner = (node.meta.uid.map(Uid::from_raw), node.meta.gid.map(Gid::from_raw));
    // What is refused here shows as a difference to whoever looks; the content is there all the same.
    let _ = rustix::fs::chown(target, owner.0, owner.1);
    if let Some(mode) = node.meta.mode {
        let _ = rustix::fs::chmod(target, Mode::from_raw_mode(node::unix_mode(mode)));
    }
    if let Some(time) = node.meta.mtime {
        let time = Timespec { tv_sec: time.as_second(), tv_nsec: time.subsec_nanosecond().into() };
        let times = Timestamps { last_access: time, last_modification: time };
        let _ = rustix::fs::utimensat(CWD, target, &times, rustix::fs::AtFlags::empty());
    }
}

/// What is not as the snapshot has it, apart from the content of files.
fn difference(path: &Path, node: &Node) -> Option<String> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) => return Some(format!("it could not be made ({error})")),
    };
    let kind = found.file_type();
    let same_kind = match &node.node_type {
        NodeType::File => kind.is_file(),
        NodeType::Dir => kind.is_dir(),
        NodeType::Symlink { .. } => kind.is_symlink(),
        NodeType::Dev { device } => kind.is_block_device() && found.rdev() == *device,
        NodeType::Chardev { device } => kind.is_char_device() && found.rdev() == *device,
        NodeType::Fifo => kind.is_fifo(),
        NodeType::Socket => kind.is_socket(),
    };
    if !same_kind {
        return Some("it is another kind of thing".to_owned());
    }
    if node.is_symlink() && !fs::read_link(path).is_ok_and(|target| target == node.node_type.to_link()) {
        return Some("it points elsewhere".to_owned());
    }
    let meta = &node.meta;
    let mode = meta.mode.map(node::unix_mode);
    if !node.is_symlink() && mode.is_some_and(|mode| found.mode() & 0o7777 != mode) {
        return Some(format!("its mode is {:o} instead of {:o}", found.mode() & 0o7777, mode.unwrap_or_default()));
    }
    let time = meta.mtime.map(|time| (time.as_second(), i64::from(time.subsec_nanosecond())));
    if time.is_some_and(|time| time != (found.mtime(), found.mtime_nsec())) {
        return Some("its time is another".to_owned());
    }
    let (uid, gid) = (meta.uid.unwrap_or(found.uid()), meta.gid.unwrap_or(found.gid()));
    ((uid, gid) != (found.uid(), found.gid()))
        .then(|| format!("its owner is {}:{} instead of {uid}:{gid}", found.uid(), found.gid()))
}
