//! Files beneath the roots that the task file names. They are removed by way of [`removal`](crate::removal).
//!
//! No path leads out of its root: neither `..`, nor an absolute path, nor a symbolic link. A path is relative to its
//! root; bytes in it that are not UTF-8 appear as `\xNN`, a backslash as `\\`.
//!
//! ```
//! use std::io::Read;
//! use upkeep_plugin::files::{Kind, Root};
//! use upkeep_plugin::{HostError, test::Host};
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! # let folder = tempfile::tempdir()?;
//! # let _host = Host::new().root("uploads", folder.path());
//! let root = Root::open("uploads")?;
//! root.make_directory("2026")?;
//! root.write("2026/a.txt", b"hello")?;
//!
//! let mut text = String::new();
//! root.read("2026/a.txt")?.read_to_string(&mut text)?;
//! assert_eq!(text, "hello");
//!
//! for entry in root.walk().exclude("*.tmp").entries()? {
//!     let entry = entry?;
//!     assert!(entry.kind == Kind::Directory || entry.id.size == 5);
//! }
//! assert!(matches!(root.stat("2026/b.txt"), Err(HostError::NotFound(_))));
//! # Ok(())
//! # }
//! ```

use std::io;

use crate::bindings::upkeep::plugin::files as wit;
use crate::host::{HostError, HostResult, files as host};
pub use wit::{Entry, Identity, Kind};

/// Entries asked for at once: a call of the host costs more than an entry.
const WALK_BATCH: u32 = 4096;
/// Bytes written at once.
const WRITE_CHUNK: usize = 1 << 20;
/// Bytes read at once.
const READ_CHUNK: u32 = 1 << 20;

/// A folder that the task file names.
#[derive(Debug)]
pub struct Root(host::Root);

impl Root {
    /// Opens the root of this name.
    ///
    /// # Errors
    /// [`HostError::Denied`] when the task file does not grant it.
    pub fn open(name: &str) -> HostResult<Self> {
        host::Root::open(name).map(Self)
    }

    /// Everything beneath the root, parents before children. Narrow it down with the methods of [`Walk`].
    pub fn walk(&self) -> Walk<'_> {
        let options =
            wit::WalkOptions { path: String::new(), exclude: Vec::new(), max_depth: None, one_filesystem: false };
        Walk { root: self, options }
    }

    /// What stands at `path`; a link is not followed.
    ///
    /// # Errors
    /// [`HostError::NotFound`] when there is nothing.
    pub fn stat(&self, path: &str) -> HostResult<Entry> {
        self.0.stat(path)
    }

    /// Where a link leads in the end, relative to the root; a path without links leads to itself.
    ///
    /// # Errors
    /// [`HostError::NotFound`] when that is nothing, or outside of the root.
    pub fn resolve(&self, path: &str) -> HostResult<String> {
        self.0.resolve(path)
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`HostError::NotFound`] when there is none, [`HostError::Denied`] without the right to read.
    pub fn read(&self, path: &str) -> HostResult<Reader> {
        Ok(Reader { file: self.0.read(path)?, position: 0, chunk: Vec::new(), used: 0 })
    }

    /// The first `max` bytes of each of these files, in their order, for many small files: one call of the host instead of
    /// three for each. As many as fit into a call together (`limits.call`), at least one; ask again for the rest.
    ///
    /// # Errors
    /// [`HostError::Denied`] without the right to read. What is wrong with one file is told in its place.
    pub fn read_many(&self, paths: &[String], max: u32) -> HostResult<Vec<HostResult<Vec<u8>>>> {
        self.0.read_many(paths, max)
    }

    /// Replaces the file as a whole: after a crash it has the old content or the new.
    ///
    /// # Errors
    /// [`HostError::Denied`] without the right to write.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> HostResult<()> {
        self.0.write(path, bytes.as_ref())
    }

    /// Begins a file that takes the place of the one at `path` when it is whole, for what is too large for [`Root::write`].
    ///
    /// # Errors
    /// [`HostError::Denied`] without the right to write.
    pub fn create(&self, path: &str) -> HostResult<Writer> {
        Ok(Writer { file: self.0.create(path)?, pending: Vec::new() })
    }

    /// Makes a folder; its parent must exist.
    ///
    /// # Errors
    /// [`HostError::Denied`] without the right to write.
    pub fn make_directory(&self, path: &str) -> HostResult<()> {
        self.0.make_directory(path)
    }
}

/// A file that is being written beside its place ([`io::Write`]). It is gone when it is dropped before [`Writer::commit`].
#[derive(Debug)]
pub struct Writer {
    file: host::Writer,
    pending: Vec<u8>,
}

impl Writer {
    /// Puts it into its place: after a crash there is the old file or the new one.
    ///
    /// # Errors
    /// As for any call; then the old file stands there.
    pub fn commit(mut self) -> HostResult<Identity> {
        self.send()?;
        host::Writer::commit(self.file)
    }

    fn send(&mut self) -> HostResult<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let sent = self.file.write(&self.pending);
        self.pending.clear();
        sent
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= WRITE_CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send().map_err(io::Error::other)
    }
}

/// What to walk over. Made by [`Root::walk`].
#[derive(Debug, Clone)]
#[must_use = "nothing is read before `entries`"]
pub struct Walk<'a> {
    root: &'a Root,
    options: wit::WalkOptions,
}

impl Walk<'_> {
    /// Starts at `path` instead of at the root.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.options.path = path.into();
        self
    }

    /// Leaves out what matches the glob pattern.
    pub fn exclude(mut self, pattern: impl Into<String>) -> Self {
        self.options.exclude.push(pattern.into());
        self
    }

    /// Goes at most so many levels down.
    pub fn max_depth(mut self, levels: u32) -> Self {
        self.options.max_depth = Some(levels);
        self
    }

    /// Stays on the filesystem of the root.
    pub fn one_filesystem(mut self) -> Self {
        self.options.one_filesystem = true;
        self
    }

    /// Starts walking.
    ///
    /// # Errors
    /// [`HostError::NotFound`] when there is no such path.
    pub fn entries(self) -> HostResult<Entries> {
        let walker = self.root.0.walk(&self.options)?;
        Ok(Entries { walker, batch: Vec::new().into_iter(), ended: false })
    }
}

/// The entries of a walk. Fetched from the host in batches.
#[derive(Debug)]
pub struct Entries {
    walker: host::Walker,
    batch: std::vec::IntoIter<Entry>,
    ended: bool,
}

impl Entries {
    /// Paths that could not be read so far, as `path: reason`; each is told once.
    pub fn problems(&self) -> Vec<String> {
        self.walker.problems()
    }
}

impl Iterator for Entries {
    type Item = HostResult<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.batch.len() == 0 && !self.ended {
            match self.walker.next(WALK_BATCH) {
                Ok(batch) => {
                    self.ended = batch.is_empty();
                    self.batch = batch.into_iter();
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        self.batch.next().map(Ok)
    }
}

/// An open file. It reads ahead 1 MiB, so a [`io::BufReader`] around it gains nothing.
#[derive(Debug)]
pub struct Reader {
    file: host::Reader,
    /// Offset in the file of the end of `chunk`.
    position: u64,
    chunk: Vec<u8>,
    /// Bytes of `chunk` that were already given out.
    used: usize,
}

impl Reader {
    /// What the file was when it was opened.
    pub fn identity(&self) -> Identity {
        self.file.identity()
    }

    /// At most `max` bytes from `offset`; empty at the end of the file. Does not move the reader.
    ///
    /// # Errors
    /// As the host says.
    pub fn read_at(&self, offset: u64, max: u32) -> HostResult<Vec<u8>> {
        self.file.read_at(offset, max)
    }
}

impl io::BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.chunk.len() {
            self.chunk = self.file.read_at(self.position, READ_CHUNK).map_err(to_io)?;
            self.position += self.chunk.len() as u64;
            self.used = 0;
        }
        Ok(&self.chunk[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used = (self.used + amount).min(self.chunk.len());
    }
}

impl io::Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = io::BufRead::fill_buf(self)?;
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        io::BufRead::consume(self, count);
        Ok(count)
    }
}

impl io::Seek for Reader {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let here = self.position - (self.chunk.len() - self.used) as u64;
        let target = match to {
            io::SeekFrom::Start(offset) => Some(offset),
            io::SeekFrom::Current(by) => here.checked_add_signed(by),
            io::SeekFrom::End(by) => self.identity().size.checked_add_signed(by),
        };
        let target = target
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek to before the start of the file"))?;
        let start = self.position - self.chunk.len() as u64;
        if (start..=self.position).contains(&target) {
            self.used = (target - start) as usize;
        } else {
            (self.position, self.used) = (target, 0);
            self.chunk.clear();
        }
        Ok(target)
    }
}

fn to_io(error: HostError) -> io::Error {
    let kind = match &error {
        HostError::Denied(_) => io::ErrorKind::PermissionDenied,
        HostError::Invalid(_) => io::ErrorKind::InvalidInput,
        HostError::NotFound(_) => io::ErrorKind::NotFound,
        HostError::Conflict(_) | HostError::Limit(_) | HostError::Unavailable(_) => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read, Seek, SeekFrom};

    use super::*;
    use crate::Error;
    use crate::test::Host;

    #[test]
    fn a_reader_reads_and_seeks_as_a_file_does() -> crate::Result<()> {
        let folder = tempfile::tempdir()?;
        let bytes: Vec<u8> = (0..2_500_000_u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(folder.path().join("data"), &bytes)?;
        let _host = Host::new().root("data", folder.path());

        let (mut reader, mut like) = (Root::open("data")?.read("data")?, Cursor::new(&bytes));
        let moves = [
            SeekFrom::Start(1 << 20),
            SeekFrom::Current(-3),
            SeekFrom::Current(5),
            SeekFrom::End(-1_000),
            SeekFrom::Start(7),
            SeekFrom::End(10),
            SeekFrom::Current(-2_000_000),
        ];
        for to in moves {
            assert_eq!(reader.seek(to)?, like.seek(to)?, "{to:?}");
            let (mut got, mut want) = (Vec::new(), Vec::new());
            reader.by_ref().take(1_100_000).read_to_end(&mut got)?;
            like.by_ref().take(1_100_000).read_to_end(&mut want)?;
            assert!(got == want, "{to:?}");
        }
        assert!(reader.seek(SeekFrom::Current(-9_000_000)).is_err());
        Ok(())
    }

    #[test]
    fn what_the_host_said_comes_through_a_read() {
        let through = |host: HostError| Error::from(to_io(host));
        assert_eq!(through(HostError::Unavailable("gone".into())), Error::transient("unavailable: gone"));
        assert_eq!(through(HostError::Denied("no".into())), Error::permanent("denied: no"));
    }

    #[test]
    fn a_walk_leaves_out_what_it_is_told_to() -> crate::Result<()> {
        let folder = tempfile::tempdir()?;
        let _host = Host::new().root("data", folder.path());
        let root = Root::open("data")?;
        for path in ["a", "a/b", "a/b/c", "x.tmp"] {
            if path.contains('.') { root.write(path, b"") } else { root.make_directory(path) }?;
        }
        let paths = |walk: Walk<'_>| -> crate::Result<Vec<String>> {
            Ok(walk.entries()?.map(|entry| entry.map(|it| it.path)).collect::<HostResult<_>>()?)
        };
        assert_eq!(paths(root.walk().exclude("*.tmp"))?, ["a", "a/b", "a/b/c"]);
        assert_eq!(paths(root.walk().path("a").max_depth(1))?, ["a/b"]);
        assert!(matches!(root.read("../outside"), Err(HostError::Denied(_))));
        Ok(())
    }
}
