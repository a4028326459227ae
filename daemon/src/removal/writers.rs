//! Which files a process writes to: what `/proc` says of each open file of each process that may be looked at.
//!
//! Looking at all of them takes milliseconds, so an answer stands for a while, the longer the longer looking takes: a
//! program that opens a file in between is missed, unless it has written by then, which changes the file.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// An answer stands for so many times as long as looking took: looking takes no more than a twentieth of the time.
const FRESH: u32 = 20;

/// However long looking takes.
const LONGEST: Duration = Duration::from_secs(2);

/// What is told in place of a program when it is not known who writes.
const UNKNOWN: &str = "nobody knows who (there is no `/proc`)";

/// Files that are open for writing.
#[derive(Debug)]
pub(super) struct Writers {
    /// Device and inode, and who writes.
    files: HashMap<(u64, u64), String>,
    /// Until when the answer stands.
    fresh: Option<Instant>,
    /// Whether nothing at all could be looked at.
    is_blind: bool,
    /// Only files of this device are of interest.
    device: u64,
    /// Processes that could not be looked at.
    unseen: u64,
}

impl Writers {
    pub(super) fn new(device: u64) -> Self {
        Self { files: HashMap::new(), fresh: None, is_blind: false, device, unseen: 0 }
    }

    /// Who writes to the file: `nginx (process 812)`.
    pub(super) fn of(&mut self, inode: u64) -> Option<&str> {
        if self.fresh.is_none_or(|until| Instant::now() >= until) {
            self.look(Path::new("/proc"));
        }
        if self.is_blind {
            return Some(UNKNOWN);
        }
        self.files.get(&(self.device, inode)).map(String::as_str)
    }

    /// As [`Writers::of`], but as it is now.
    pub(super) fn of_now(&mut self, inode: u64) -> Option<&str> {
        self.fresh = None;
        self.of(inode)
    }

    /// Processes that may not be looked at: they are of other users.
    pub(super) fn unseen(&self) -> u64 {
        self.unseen
    }

    fn look(&mut self, proc: &Path) {
        let began = Instant::now();
        self.files.clear();
        self.unseen = 0;
        let processes = std::fs::read_dir(proc);
        // This process is always there to be seen.
        self.is_blind = !proc.join("self/fd").exists();
        for process in processes.into_iter().flatten().flatten() {
            let name = process.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let files = match std::fs::read_dir(process.path().join("fd")) {
                Ok(files) => files,
                Err(error) => {
                    self.unseen += u64::from(error.kind() == std::io::ErrorKind::PermissionDenied);
                    continue;
                }
            };
            let mut program = None;
            for file in files.flatten() {
                // Follows the link to the open file itself, whatever its name is by now.
                let Ok(open) = std::fs::metadata(file.path()) else { continue };
                if !open.is_file() || open.dev() != self.device {
                    continue;
                }
                let info = process.path().join("fdinfo").join(file.file_name());
                if std::fs::read_to_string(info).is_ok_and(|info| is_for_writing(&info)) {
                    let program = program.get_or_insert_with(|| {
                        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                        format!("{} (process {pid})", name.trim())
                    });
                    self.files.insert((open.dev(), open.ino()), program.clone());
                }
            }
        }
        let now = Instant::now();
        self.fresh = Some(now + (now - began).saturating_mul(FRESH).min(LONGEST));
    }
}

/// Whether what `fdinfo` says is of a file that is open for writing; see proc_pid_fdinfo(5).
fn is_for_writing(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| matches!(flags & 0o3, 0o1 | 0o2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_to_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["written", "read", "closed"] {
            std::fs::write(path(name), "x").unwrap();
        }
        let _written = std::fs::OpenOptions::new().append(true).open(path("written")).unwrap();
        let _read = std::fs::File::open(path("read")).unwrap();
        // What it is called now does not matter.
        std::fs::rename(path("written"), path("written.1")).unwrap();
        let inode = |name: &str| std::fs::metadata(path(name)).unwrap().ino();
        let mut writers = Writers::new(std::fs::metadata(folder.path()).unwrap().dev());
        let found = writers.of(inode("written.1")).unwrap().to_owned();
        assert!(found.ends_with(&format!("(process {})", std::process::id())), "{found}");
        assert_eq!(writers.of(inode("read")), None);
        assert_eq!(writers.of(inode("closed")), None);
        assert!(!is_for_writing("pos:\t0\nflags:\t0100000\n") && is_for_writing("pos:\t0\nflags:\t0102001\n"));
        assert!(is_for_writing("flags:\t02\n") && !is_for_writing(""));
    }
}
