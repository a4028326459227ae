//! Giving back what a snapshot holds.
//!
//! First the [`survey`] says what will be done; nothing is written before the operator has seen it. Then
//! [`carry_out`] makes folders and links and hands the files to [`contents`], which writes them beside their names. In the
//! end everything is compared with the snapshot once more. Whatever has its real name is whole, so a restore that was
//! interrupted is begun again and passes over what is right already.
//!
//! rustic_core has a restore of its own. It writes under the real names, follows links, and breaks where a disk fails.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::repository::browse::Reader;
use crate::repository::restore::attributes::Owners;
use crate::repository::restore::carry_out::{Differences, Fill, Finish};
use crate::repository::restore::survey::Survey;
use crate::repository::restore::target::Folder;
use crate::repository::restore::walk::{Start, walk};
use crate::repository::{Repository, RepositoryError, Snapshot, Tell};
use crate::root::exclude::Exclude;

pub use crate::repository::restore::survey::{Count, Plan};
pub use crate::repository::restore::target::PART;

mod attributes;
mod blob;
mod carry_out;
mod contents;
mod survey;
mod target;
mod walk;

/// How a restore goes about what is there already.
#[derive(Debug, Clone, Copy, Default)]
pub struct RestoreOptions {
    /// Whether what is in the way may be replaced. What the snapshot does not have stays in any case.
    pub overwrite: bool,
    /// Whether only the plan is made.
    pub dry_run: bool,
}

/// What is to be restored, and where to.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The snapshot.
    pub snapshot: &'a Snapshot,
    /// What of it, as an absolute path; `/` for all.
    pub from: &'a Path,
    /// What that comes to: of a folder its content, of a file the file.
    pub to: &'a Path,
    /// Only this file or folder, as an absolute path; the folders that lead to it are made too.
    pub only: Option<&'a Path>,
    /// Left out, as absolute paths.
    pub skip: &'a [std::path::PathBuf],
    /// Left out, as patterns; relative to `/`.
    pub exclude: Option<&'a Exclude>,
    /// Whether what is there is read to see that it is right; otherwise its size and time tell.
    pub checksum: bool,
    /// Whether what is in the way may be replaced.
    pub overwrite: bool,
    /// Whether owners go by number also where this server knows their names.
    pub numeric_owner: bool,
}

impl<'a> Request<'a> {
    /// All that a snapshot has at `from`.
    pub fn new(snapshot: &'a Snapshot, from: &'a Path, to: &'a Path) -> Self {
        Self {
            snapshot,
            from,
            to,
            only: None,
            skip: &[],
            exclude: None,
            checksum: false,
            overwrite: false,
            numeric_owner: false,
        }
    }
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
    /// Those of the files that were written; the others were there.
    pub written: u64,
    /// What is not as it was saved, such as an owner that only root can give; empty after a dry run.
    pub differences: Vec<String>,
}

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
    /// file.
    ///
    /// # Errors
    ///
    /// When something is in the way and may not be replaced, when the snapshot has no such path, or when a file could not
    /// be restored.
    pub fn restore(
        &self,
        snapshot: &Snapshot,
        path: &Path,
        target: &Path,
        options: RestoreOptions,
        tell: Tell,
    ) -> Result<Restored, RepositoryError> {
        let reader = self.reader()?;
        let request = Request { overwrite: options.overwrite, ..Request::new(snapshot, path, target) };
        let plan = reader.plan(&request)?;
        plan.permits(&request)?;
        if options.dry_run {
            let Count { files, bytes } = plan.write;
            let (files, bytes) = (files + plan.same.files, bytes + plan.same.bytes);
            let folders = plan.folders + plan.folders_same;
            return Ok(Restored { files, folders, bytes, ..Restored::default() });
        }
        reader.restore(&request, &plan, tell)
    }
}

impl Plan {
    /// Whether it may be done: nothing is in the way.
    ///
    /// # Errors
    ///
    /// A message that names what is in the way, and the remedy.
    pub fn permits(&self, request: &Request<'_>) -> Result<(), RepositoryError> {
        let name = |found: &[String], count: u64| {
            let mut text = found.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
            if count > 3 {
                text += &format!(" and {} more", count - 3);
            }
            text
        };
        let to = request.to.display();
        if !self.blocked.is_empty() {
            return Err(RepositoryError::Restore(format!(
                "in {to} is in the way: {}; move it away, or choose another target",
                name(&self.blocked, self.blocked.len() as u64)
            )));
        }
        match self.replace > 0 && !request.overwrite {
            true => Err(RepositoryError::Restore(format!(
                "{to} holds something else already: {}; choose an empty folder, or let it be replaced with `--overwrite`",
                name(&self.replaced, self.replace)
            ))),
            false => Ok(()),
        }
    }
}

impl Reader {
    /// What a restore will do. Writes nothing.
    ///
    /// # Errors
    ///
    /// When the snapshot has no such path, or the target cannot be looked at.
    pub fn plan(&self, request: &Request<'_>) -> Result<Plan, RepositoryError> {
        let start = Start::find(self, request)?;
        let owners = Owners::new(request.numeric_owner);
        let base = open(&start.base)?.map(Arc::new);
        let mut survey = Survey {
            plan: Plan::default(),
            reader: self,
            owners: &owners,
            checksum: request.checksum,
            links: HashSet::new(),
        };
        walk(self, request, &start, base, &mut survey)?;
        let mut plan = survey.plan;
        plan.unknown_owners = owners.unknown();
        let base = std::path::absolute(&start.base).unwrap_or_else(|_| start.base.clone());
        plan.place = base.ancestors().find(|it| it.is_dir()).unwrap_or(Path::new("/")).to_owned();
        plan.free = rustix::fs::statvfs(&plan.place).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        if plan.write.files > 0 && rustix::fs::access(&plan.place, rustix::fs::Access::WRITE_OK) == Err(Errno::ROFS) {
            let message = format!("{} is on a read-only filesystem; mount it for writing", plan.place.display());
            return Err(RepositoryError::Restore(message));
        }
        Ok(plan)
    }

    /// Restores. `tell` hears of bytes done and bytes in all, a few times a second.
    ///
    /// # Errors
    ///
    /// When not all could be restored: the message names what, why, and what to do. What has its name is whole.
    pub fn restore(&self, request: &Request<'_>, plan: &Plan, tell: Tell) -> Result<Restored, RepositoryError> {
        let start = Start::find(self, request)?;
        let owners = Owners::new(request.numeric_owner);
        let base = make(&start.base)?;
        // Two restores would write to the same unfinished files. Some network filesystems have no such locks.
        if rustix::fs::flock(&base, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            let message = format!("another restore writes to {}; wait for it, or end it", start.base.display());
            return Err(RepositoryError::Restore(message));
        }
        let base = Arc::new(base);
        let (mut made, mut specials) = (Vec::new(), 0);
        let written = contents::write(self, &owners, plan.write.bytes, &tell, |contents| {
            let mut fill = Fill {
                reader: self,
                owners: &owners,
                contents,
                overwrite: request.overwrite,
                checksum: request.checksum,
                links: HashMap::new(),
                made: Vec::new(),
                written: 0,
            };
            let walked = walk(self, request, &start, Some(Arc::clone(&base)), &mut fill);
            (made, specials) = (fill.made, fill.written);
            walked
        })?;
        if let Some(reason) = written.stopped {
            return Err(RepositoryError::Restore(format!(
                "{reason}; {} of {} files are restored and right: then run the same command again, it goes on from here",
                plan.same.files + written.files + specials,
                plan.same.files + plan.write.files,
            )));
        }
        let mut differences = Differences::default();
        for (path, reason) in &written.failures {
            differences.add(format!("{}: NOT RESTORED: {reason}", path.display()));
        }
        let mut finish = Finish {
            owners: &owners,
            base: Arc::clone(&base),
            overwrite: request.overwrite,
            write: true,
            compare: None,
            links: HashMap::new(),
            made,
            failed: written.failures.into_iter().map(|(path, _)| path).collect(),
            linked: 0,
            files: 0,
            folders: 0,
            bytes: 0,
            differences,
            tell: &|_| {},
        };
        walk(self, request, &start, Some(Arc::clone(&base)), &mut finish)?;
        // What is said to be restored must be there after a power failure.
        rustix::fs::syncfs(&*base).map_err(|error| {
            RepositoryError::Restore(format!("{} cannot be synced to disk: {error}", start.base.display()))
        })?;
        Ok(Restored {
            files: finish.files,
            folders: finish.folders,
            bytes: finish.bytes,
            written: written.files + specials + finish.linked,
            differences: finish.differences.all(),
        })
    }

    /// Compares a restored tree with what was saved: content, mode, times, owners, links.
    ///
    /// # Errors
    ///
    /// When there is no such target, or it cannot be read.
    pub fn verify(&self, request: &Request<'_>, tell: Tell) -> Result<Restored, RepositoryError> {
        let start = Start::find(self, request)?;
        let owners = Owners::new(request.numeric_owner);
        let Some(base) = open(&start.base)?.map(Arc::new) else {
            let message = format!("there is no folder {}; name the one that was restored to", start.base.display());
            return Err(RepositoryError::Restore(message));
        };
        let done = AtomicU64::new(0);
        let total = request.snapshot.bytes.filter(|_| request.only.is_none() && request.from == Path::new("/"));
        let mut finish = Finish {
            owners: &owners,
            base: Arc::clone(&base),
            overwrite: false,
            write: false,
            compare: Some(self),
            links: HashMap::new(),
            made: Vec::new(),
            failed: Vec::new(),
            linked: 0,
            files: 0,
            folders: 0,
            bytes: 0,
            differences: Differences::default(),
            tell: &|bytes| tell(done.fetch_add(bytes, Ordering::Relaxed) + bytes, total),
        };
        walk(self, request, &start, Some(base), &mut finish)?;
        let (files, folders, bytes) = (finish.files, finish.folders, finish.bytes);
        Ok(Restored { files, folders, bytes, written: 0, differences: finish.differences.all() })
    }
}

fn open(path: &Path) -> Result<Option<Folder>, RepositoryError> {
    Folder::open(path).map_err(|error| match error {
        Errno::NOTDIR => RepositoryError::Restore(format!("{} is not a folder; choose another target", path.display())),
        error => RepositoryError::Restore(format!("the target {} cannot be opened: {error}", path.display())),
    })
}

fn make(path: &Path) -> Result<Folder, RepositoryError> {
    std::fs::create_dir_all(path)
        .map_err(|error| RepositoryError::Restore(format!("the target {} cannot be made: {error}", path.display())))?;
    open(path)?.ok_or_else(|| RepositoryError::Restore(format!("the target {} is gone again", path.display())))
}
