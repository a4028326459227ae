//! How much may go from a root in one run. Above a ceiling nothing goes at all: a rule that suddenly takes more than it ever
//! did is more likely wrong than right.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::ASIDE;
use super::plan::Head;
use crate::config::size::Size;
use crate::root::{Root, RootError};

/// Fewer files than this are no share of anything: a folder of three files that loses two is no alarm.
const FEWEST: u64 = 100;

/// What may go at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    /// Percent of the root's files; 100 for all.
    pub share: u32,
    /// Files.
    pub files: Option<u64>,
    /// Bytes.
    pub bytes: Option<u64>,
}

impl Ceilings {
    /// What of the plan is above: one sentence for each ceiling, which names its key in the task file.
    ///
    /// # Errors
    ///
    /// When the files of the root cannot be counted.
    pub fn above(&self, root: &Root, plan: &Head) -> Result<Vec<String>, RootError> {
        let name = &plan.root;
        let going = plan.files;
        let key = |key: &str| format!("`grant.files.{name}.removal.{key}`");
        let remedy = "look at the plan with a dry run, then mend the rule or raise the ceiling";
        let mut above = Vec::new();
        if let Some(most) = self.files.filter(|most| going.items > *most) {
            above.push(format!(
                "{} files would go from `{name}`, {most} may at once ({}); {remedy}",
                going.items,
                key("max_files")
            ));
        }
        if let Some(most) = self.bytes.filter(|most| going.bytes > *most) {
            above.push(format!(
                "{} bytes would go from `{name}`, {} may at once ({}); {remedy}",
                going.bytes,
                Size(most),
                key("max_bytes")
            ));
        }
        if self.share < 100 && going.items >= FEWEST {
            // As soon as there are this many files, what goes is not too large a share of them.
            let enough = match u64::from(self.share) {
                0 => u64::MAX,
                share => (going.items * 100).div_ceil(share),
            };
            let there = count(root, enough)?;
            if there < enough {
                above.push(format!(
                    "{} of {there} files would go from `{name}`, more than {} % ({}); {remedy}",
                    going.items,
                    self.share,
                    key("max_share")
                ));
            }
        }
        Ok(above)
    }
}

/// Counts what is no folder beneath a root, on its filesystem, up to `enough`.
fn count(root: &Root, enough: u64) -> Result<u64, RootError> {
    let failed = |errno: Errno| RootError::Io { path: root.path().display().to_string(), source: errno.into() };
    let start =
        rustix::fs::openat(root.folder(), ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let start = start.map_err(failed)?;
    let device = rustix::fs::fstat(&start).map_err(failed)?.st_dev;
    let mut counted = 0;
    // Names wait instead of open folders: a folder may hold more folders than a process may hold open.
    let mut waiting: Vec<(std::rc::Rc<OwnedFd>, std::ffi::CString)> = Vec::new();
    let mut folder = Some(std::rc::Rc::new(start));
    let mut buffer = Box::new([MaybeUninit::<u8>::uninit(); 32 * 1024]);
    loop {
        if let Some(open) = folder.take() {
            let mut entries = RawDir::new(open.as_fd(), buffer.as_mut_slice());
            while let Some(entry) = entries.next() {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let is_folder = match entry.file_type() {
                    FileType::Directory => true,
                    FileType::Unknown => rustix::fs::statat(open.as_fd(), name, crate::root::NO_FOLLOW)
                        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
                    _ => false,
                };
                if !is_folder {
                    counted += 1;
                    if counted >= enough {
                        return Ok(counted);
                    }
                } else if !matches!(name.to_bytes(), b"." | b"..") && name.to_bytes() != ASIDE.as_bytes() {
                    waiting.push((std::rc::Rc::clone(&open), name.to_owned()));
                }
            }
        }
        let Some((above, name)) = waiting.pop() else { return Ok(counted) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // What cannot be entered, is gone or on another filesystem has nothing that could go either.
        folder = rustix::fs::openat(above.as_fd(), name.as_c_str(), flags, Mode::empty())
            .ok()
            .filter(|open| rustix::fs::fstat(open).is_ok_and(|stat| stat.st_dev == device))
            .map(std::rc::Rc::new);
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::removal::Total;

    fn head(files: u64, bytes: u64) -> Head {
        Head {
            root: "uploads".into(),
            path: "/srv".into(),
            files: Total { items: files, bytes },
            folders: 0,
            compressed: Total::default(),
        }
    }

    #[test]
    fn each_ceiling_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::create_dir_all(folder.path().join(ASIDE)).unwrap();
        for number in 0..150 {
            std::fs::write(folder.path().join(format!("a/b/{number}")), "").unwrap();
            std::fs::write(folder.path().join(format!("a/{number}")), "").unwrap();
            std::fs::write(folder.path().join(ASIDE).join(number.to_string()), "").unwrap();
        }
        std::os::unix::fs::symlink("..", folder.path().join("a/up")).unwrap();
        let root = Root::open(folder.path()).unwrap();
        assert_eq!(count(&root, u64::MAX).unwrap(), 301, "the link is one, what is aside is none");
        assert_eq!(count(&root, 10).unwrap(), 10);
        let above = |ceilings: Ceilings, files, bytes| ceilings.above(&root, &head(files, bytes)).unwrap();
        let half = Ceilings { share: 50, files: None, bytes: None };
        assert!(above(half, 150, 0).is_empty());
        let [share] = &above(half, 151, 0)[..] else { panic!() };
        assert!(
            share.contains("151 of 301 files") && share.contains("grant.files.uploads.removal.max_share"),
            "{share}"
        );
        assert!(above(Ceilings { share: 1, ..half }, 99, 0).is_empty(), "too few to be a share");
        assert!(above(Ceilings { share: 100, ..half }, 301, 0).is_empty());
        assert_eq!(above(Ceilings { share: 0, ..half }, 100, 0).len(), 1);
        let all = above(Ceilings { share: 100, files: Some(5), bytes: Some(2_048) }, 6, 2_049);
        assert!(
            matches!(&all[..], [files, bytes] if files.contains("max_files") && bytes.contains("2 KiB")),
            "{all:?}"
        );
        assert!(above(Ceilings { share: 100, files: Some(5), bytes: Some(2_048) }, 5, 2_048).is_empty());
    }
}
