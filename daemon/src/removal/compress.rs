//! Replacing a file by its compressed form, so that at each moment one of the two is there whole.
//!
//! It is written beside the file, synced, read back and compared, given mode, owner, times and attributes of the file, and
//! only then takes its name; the file goes last, after one more look at it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::attributes;
use super::plan::{Action, Item};
use crate::root::walk::open_same;
use crate::root::{NO_FOLLOW, Place};

const BUFFER: usize = 1 << 17;

/// The longest name that filesystems take, in bytes.
const LONGEST_NAME: usize = 255;

/// Why a file was not compressed.
#[derive(Debug)]
pub(super) enum Uncompressed {
    /// It is not what was seen any more.
    Changed,
    /// It is in use: by whom.
    InUse(String),
    /// The run was ended.
    Cancelled,
    /// It failed.
    Failed(String),
}

impl From<io::Error> for Uncompressed {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<Errno> for Uncompressed {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

/// What goes on around the work.
pub(super) struct Around<'a> {
    /// Ends it.
    pub(super) cancel: &'a CancellationToken,
    /// Is asked when all is written, which may have taken an hour: whether the file may still go.
    pub(super) may_go: &'a mut dyn FnMut() -> Result<(), Uncompressed>,
}

/// Compresses what stands at `place` and was `seen` there; gives the size of what stands for it now, in bytes.
pub(super) fn compress(place: Place<'_>, item: &Item, seen: &Stat, around: Around<'_>) -> Result<u64, Uncompressed> {
    let ending: &[u8] = if item.action == Action::Gzip { b".gz" } else { b".zst" };
    let name = OsString::from(OsStr::from_bytes(&[place.name.as_bytes(), ending].concat()));
    if name.len() > LONGEST_NAME {
        return Err(Uncompressed::Failed("its name is too long to add an ending".to_owned()));
    }
    if seen.st_nlink > 1 {
        return Err(Uncompressed::Failed(
            "it has other names as well (hard links), which would keep its room".to_owned(),
        ));
    }
    let taken = || Uncompressed::Failed(format!("`{}` is there already", name.display()));
    if rustix::fs::statat(place.folder, &name, NO_FOLLOW).is_ok() {
        return Err(taken());
    }
    let folder = place.folder.try_clone_to_owned()?;
    let source = match open_same(&folder, place.name, seen, OFlags::empty()) {
        Ok(source) => File::from(source),
        Err(Errno::STALE | Errno::LOOP) => return Err(Uncompressed::Changed),
        Err(errno) => return Err(errno.into()),
    };
    // The same in each attempt, so that what a killed run left goes with the next one.
    let temporary = OsString::from(format!(".upkeep-{}.tmp", item.inode));
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let _ = rustix::fs::unlinkat(place.folder, &temporary, AtFlags::empty());
    let target = File::from(rustix::fs::openat(place.folder, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
    let Around { cancel, may_go } = around;
    let made = write(&source, &target, item, seen, cancel).and_then(|size| {
        may_go()?;
        if !item.is_same(&place.stat()?) || !item.is_same(&rustix::fs::fstat(&source)?) {
            return Err(Uncompressed::Changed);
        }
        if !is_at(place.folder, &temporary, &target) {
            return Err(Uncompressed::Failed("what was written was exchanged by somebody".to_owned()));
        }
        match rustix::fs::renameat_with(place.folder, &temporary, place.folder, &name, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(size),
            Err(Errno::EXIST) => Err(taken()),
            Err(errno) => Err(errno.into()),
        }
    });
    let size = match made {
        Ok(size) => size,
        Err(error) => {
            discard(place, &temporary, &target);
            return Err(if cancel.is_cancelled() { Uncompressed::Cancelled } else { error });
        }
    };
    let gone = rustix::fs::fsync(&folder).map_err(Uncompressed::from).and_then(|()| {
        // Once more, since a sync takes its time.
        match item.is_same(&place.stat()?) {
            true => Ok(rustix::fs::unlinkat(place.folder, place.name, AtFlags::empty())?),
            false => Err(Uncompressed::Changed),
        }
    });
    match gone {
        Ok(()) => Ok(size),
        Err(error) => {
            discard(place, &name, &target);
            Err(error)
        }
    }
}

/// Whether an open file is what stands at `name`.
fn is_at(folder: impl AsFd, name: &OsStr, file: &File) -> bool {
    let number = |stat: Stat| (stat.st_dev, stat.st_ino);
    let there = rustix::fs::statat(folder, name, NO_FOLLOW).map(number);
    there.is_ok() && there == rustix::fs::fstat(file).map(number)
}

/// Removes what was written, wherever it stands by now.
fn discard(place: Place<'_>, name: &OsStr, file: &File) {
    if is_at(place.folder, name, file) {
        let _ = rustix::fs::unlinkat(place.folder, name, AtFlags::empty());
    }
}

fn write(
    source: &File,
    target: &File,
    item: &Item,
    seen: &Stat,
    cancel: &CancellationToken,
) -> Result<u64, Uncompressed> {
    let mut from = BufReader::with_capacity(BUFFER, Stoppable { file: source, cancel });
    match item.action {
        Action::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(target, flate2::Compression::default());
            io::copy(&mut from, &mut encoder)?;
            encoder.finish()?.flush()?;
        }
        Action::Zstd | Action::Remove => {
            let mut encoder = zstd::stream::write::Encoder::new(target, 3)?;
            encoder.include_checksum(true)?;
            io::copy(&mut from, &mut encoder)?;
            encoder.finish()?.flush()?;
        }
    }
    rustix::fs::fsync(target)?;
    verify(source, target, item, cancel)?;
    let size = target.metadata()?.len();
    let owner = (Uid::from_raw(seen.st_uid), Gid::from_raw(seen.st_gid));
    match rustix::fs::fchown(target, Some(owner.0), Some(owner.1)) {
        Ok(()) => {}
        Err(Errno::PERM) => {
            let message = "only root can keep its owner; run upkeep as its owner or as root";
            return Err(Uncompressed::Failed(message.to_owned()));
        }
        Err(errno) => return Err(errno.into()),
    }
    attributes::write(target, &attributes::read(source))
        .map_err(|errno| Uncompressed::Failed(format!("its attributes: {}", io::Error::from(errno))))?;
    // After those: an access control list says part of the mode.
    rustix::fs::fchmod(target, Mode::from_raw_mode(seen.st_mode & 0o7777))?;
    rustix::fs::futimens(target, &times(seen))?;
    Ok(size)
}

/// A file that ends in an error when the run is ended.
struct Stoppable<'a> {
    file: &'a File,
    cancel: &'a CancellationToken,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("the run was ended"));
        }
        self.file.read(buffer)
    }
}

/// Reads back what was written, and compares it byte for byte.
fn verify(mut source: &File, mut target: &File, item: &Item, cancel: &CancellationToken) -> Result<(), Uncompressed> {
    source.rewind()?;
    target.rewind()?;
    let mut back: Box<dyn Read + '_> = match item.action {
        Action::Gzip => Box::new(flate2::read::GzDecoder::new(BufReader::with_capacity(BUFFER, target))),
        Action::Zstd | Action::Remove => Box::new(zstd::stream::read::Decoder::new(target)?),
    };
    let mut from = BufReader::with_capacity(BUFFER, Stoppable { file: source, cancel });
    let (mut here, mut there) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let read = fill(&mut from, &mut here)?;
        if read != fill(&mut *back, &mut there)? || here[..read] != there[..read] {
            return Err(Uncompressed::Changed);
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// Reads until the buffer is full or the end is there.
fn fill(from: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The times of what was seen.
fn times(seen: &Stat) -> Timestamps {
    let time = |ns: i64| Timespec { tv_sec: ns.div_euclid(1_000_000_000), tv_nsec: ns.rem_euclid(1_000_000_000) };
    Timestamps {
        last_access: time(crate::root::accessed_ns(seen)),
        last_modification: time(crate::root::modified_ns(seen)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::removal::plan::Kind;
    use crate::root::{self, Root};

    fn compress_at(root: &Root, path: &str, action: Action) -> Result<u64, Uncompressed> {
        let mut parents = root.parents();
        let place = parents.place(Path::new(path)).unwrap();
        let seen = place.stat().unwrap();
        let item = Item {
            path: path.to_owned(),
            kind: Kind::File,
            action,
            size: u64::try_from(seen.st_size).unwrap(),
            modified_ns: root::modified_ns(&seen),
            device: seen.st_dev,
            inode: seen.st_ino,
            unless_linked: None,
            rule: String::new(),
            reason: String::new(),
        };
        let around = Around { cancel: &CancellationToken::new(), may_go: &mut || Ok(()) };
        compress(place, &item, &seen, around)
    }

    #[test]
    fn the_content_mode_and_times_stay() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let text: String = (0..40_000).map(|line| format!("{line} GET /api/orders 200\n")).collect();
        let at = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
        for (action, ending, program) in [(Action::Gzip, "gz", "gzip"), (Action::Zstd, "zst", "zstd")] {
            let path = folder.path().join("access.log.1");
            std::fs::write(&path, &text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
            let size = compress_at(&root, "access.log.1", action).unwrap();
            let made = folder.path().join(format!("access.log.1.{ending}"));
            let metadata = made.metadata().unwrap();
            assert_eq!((metadata.len(), metadata.mode() & 0o7777, metadata.modified().unwrap()), (size, 0o640, at));
            assert!(!path.exists() && size < text.len() as u64 / 5);
            // Another program reads it, when it is here.
            if let Ok(output) = std::process::Command::new(program).arg("-dc").arg(&made).output() {
                assert_eq!(output.stdout, text.as_bytes());
            }
            std::fs::write(&path, "new").unwrap();
            assert!(
                matches!(compress_at(&root, "access.log.1", action), Err(Uncompressed::Failed(why)) if why.contains("there already"))
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
            std::fs::remove_file(path).unwrap();
        }
        std::fs::write(folder.path().join("empty"), "").unwrap();
        compress_at(&root, "empty", Action::Gzip).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "nothing is left over");
    }
}
