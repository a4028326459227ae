//! `files` of the test host: a folder, read through the standard library.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use super::{denied, with};
use crate::bindings::upkeep::plugin::files::{Entry, Identity, Kind, WalkOptions};
use crate::host::{HostError, HostResult};

#[derive(Debug)]
pub(crate) struct Root(PathBuf);

#[derive(Debug)]
pub(crate) struct Walker(RefCell<std::vec::IntoIter<Entry>>);

#[derive(Debug)]
pub(crate) struct Writer(tempfile::NamedTempFile, PathBuf);

#[derive(Debug)]
pub(crate) struct Reader(File, Identity);

impl Root {
    pub(crate) fn open(name: &str) -> HostResult<Self> {
        with(|world| world.roots.get(name).cloned()).map(Self).ok_or_else(|| denied("root", name))
    }

    pub(crate) fn walk(&self, options: &WalkOptions) -> HostResult<Walker> {
        let start = self.beneath(&options.path)?;
        let device = fs::symlink_metadata(&start).map_err(|error| of_io(&options.path, &error))?.dev();
        let mut found = Vec::new();
        // Parents before children, names in order, as in the real host.
        let mut pending = vec![(start, 0)];
        while let Some((path, depth)) = pending.pop() {
            let mut enter = depth == 0;
            if depth > 0 {
                let entry = self.entry(&path)?;
                if options.exclude.iter().any(|pattern| excludes(pattern, &entry.path)) {
                    continue;
                }
                enter = entry.kind == Kind::Directory && (!options.one_filesystem || entry.id.device == device);
                found.push(entry);
            }
            if enter && options.max_depth.is_none_or(|most| depth < most) {
                let listing = fs::read_dir(&path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
                let listing = listing.map_err(|error| of_io(&options.path, &error))?;
                let mut paths: Vec<_> = listing.into_iter().map(|it| (it.path(), depth + 1)).collect();
                paths.sort_by(|one, other| other.cmp(one));
                pending.extend(paths);
            }
        }
        Ok(Walker(RefCell::new(found.into_iter())))
    }

    pub(crate) fn stat(&self, path: &str) -> HostResult<Entry> {
        self.entry(&self.beneath(path)?)
    }

    pub(crate) fn resolve(&self, path: &str) -> HostResult<String> {
        let failed = |error| of_io(path, &error);
        let (root, end) = (self.0.canonicalize().map_err(failed)?, self.beneath(path)?.canonicalize().map_err(failed)?);
        let relative = end.strip_prefix(root).map_err(|_| HostError::NotFound(path.to_owned()))?;
        Ok(escape(relative))
    }

    pub(crate) fn read(&self, path: &str) -> HostResult<Reader> {
        let file = File::open(self.beneath(path)?).map_err(|error| of_io(path, &error))?;
        let metadata = file.metadata().map_err(|error| of_io(path, &error))?;
        Ok(Reader(file, identity(&metadata)))
    }

    /// Fewer than asked for, as in the real host when they do not fit into a call.
    pub(crate) fn read_many(&self, paths: &[String], max: u32) -> HostResult<Vec<HostResult<Vec<u8>>>> {
        let read = paths.iter().take(3).map(|path| self.read(path)?.read_at(0, max));
        Ok(read.collect())
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) -> HostResult<()> {
        fs::write(self.beneath(path)?, bytes).map_err(|error| of_io(path, &error))
    }

    pub(crate) fn create(&self, path: &str) -> HostResult<Writer> {
        let place = self.beneath(path)?;
        let folder = place.parent().unwrap_or(&self.0);
        let file = tempfile::NamedTempFile::new_in(folder).map_err(|error| of_io(path, &error))?;
        Ok(Writer(file, place))
    }

    pub(crate) fn make_directory(&self, path: &str) -> HostResult<()> {
        fs::create_dir(self.beneath(path)?).map_err(|error| of_io(path, &error))
    }

    pub(super) fn beneath(&self, path: &str) -> HostResult<PathBuf> {
        let relative = unescape(path)?;
        let inside = relative.components().all(|it| matches!(it, Component::Normal(_) | Component::CurDir));
        if inside {
            Ok(self.0.join(relative))
        } else {
            Err(HostError::Denied(format!("`{path}` leads out of the root")))
        }
    }

    fn entry(&self, path: &Path) -> HostResult<Entry> {
        let name = escape(path.strip_prefix(&self.0).unwrap_or(path));
        let seen = fs::symlink_metadata(path).map_err(|error| of_io(&name, &error))?;
        let kind = match seen.file_type() {
            it if it.is_file() => Kind::File,
            it if it.is_dir() => Kind::Directory,
            it if it.is_symlink() => Kind::Link,
            _ => Kind::Other,
        };
        let accessed_ns = seen.atime() * 1_000_000_000 + seen.atime_nsec();
        let (mode, uid, gid) = (seen.mode(), seen.uid(), seen.gid());
        Ok(Entry { path: name, kind, id: identity(&seen), mode, uid, gid, accessed_ns })
    }
}

impl Writer {
    pub(crate) fn write(&self, bytes: &[u8]) -> HostResult<()> {
        self.0.as_file().write_all(bytes).map_err(|error| of_io("the new file", &error))
    }

    pub(crate) fn commit(this: Self) -> HostResult<Identity> {
        let failed = |error: &io::Error| of_io("the new file", error);
        let file = this.0.persist(this.1).map_err(|error| failed(&error.error))?;
        Ok(identity(&file.metadata().map_err(|error| failed(&error))?))
    }
}

impl Walker {
    pub(crate) fn next(&self, max: u32) -> HostResult<Vec<Entry>> {
        Ok(self.0.borrow_mut().by_ref().take(max as usize).collect())
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Reader {
    pub(crate) fn identity(&self) -> Identity {
        self.1
    }

    pub(crate) fn read_at(&self, offset: u64, max: u32) -> HostResult<Vec<u8>> {
        let mut bytes = vec![0; max as usize];
        let count = self.0.read_at(&mut bytes, offset).map_err(|error| of_io("the open file", &error))?;
        bytes.truncate(count);
        Ok(bytes)
    }
}

pub(super) fn identity(of: &Metadata) -> Identity {
    let modified_ns = of.mtime() * 1_000_000_000 + of.mtime_nsec();
    Identity { device: of.dev(), inode: of.ino(), size: of.size(), modified_ns }
}

/// The text of a path, as the real host writes it.
fn escape(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text += &chunk.valid().replace('\\', r"\\");
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// The path that a text stands for.
fn unescape(text: &str) -> HostResult<PathBuf> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let hex = escaped.strip_prefix('x').and_then(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok());
        let (byte, length) = match hex {
            Some(byte) => (byte, 3),
            None if escaped.starts_with('\\') => (b'\\', 1),
            None => {
                return Err(HostError::Invalid(format!(r"`{text}`: a backslash is written as `\\`, a byte as `\xNN`")));
            }
        };
        bytes.push(byte);
        rest = &escaped[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

fn of_io(path: &str, error: &io::Error) -> HostError {
    match error.kind() {
        io::ErrorKind::NotFound => HostError::NotFound(format!("`{path}` does not exist")),
        io::ErrorKind::PermissionDenied => HostError::Denied(format!("`{path}`: {error}")),
        _ => HostError::Unavailable(format!("`{path}`: {error}")),
    }
}

/// A pattern without a slash is about the name, one with a slash about the whole path.
fn excludes(pattern: &str, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let subject = if pattern.trim_end_matches('/').contains('/') { path } else { name };
    glob(pattern.trim_matches('/').as_bytes(), subject.as_bytes())
}

/// `*` and `?` within one part of the path, `**` across parts.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([b'*', b'*', rest @ ..], _) => (0..=text.len()).any(|i| glob(rest, &text[i..])),
        ([b'*', rest @ ..], _) => {
            let part = text.iter().position(|&it| it == b'/').unwrap_or(text.len());
            (0..=part).any(|i| glob(rest, &text[i..]))
        }
        ([b'?', rest @ ..], [it, text @ ..]) => *it != b'/' && glob(rest, text),
        ([want, rest @ ..], [it, text @ ..]) => want == it && glob(rest, text),
        ([], text) => text.is_empty(),
        (_, []) => false,
    }
}
