//! The contents of many files: small ones together, since each call of the host takes longer than reading one, large ones
//! piece by piece, so that their size does not matter.

use upkeep_plugin::files::{Entry, Reader, Root};
use upkeep_plugin::{HostResult, Result};

/// Bytes up to which a file is read together with others.
const SMALL: u32 = 256 << 10;
/// Bytes that are read together.
const TOGETHER: u64 = 4 << 20;
/// Files that are read together at most.
const MOST_FILES: usize = 1_024;
/// Bytes of a large file that are read at once.
const PIECE: u32 = 1 << 20;

/// What is in one file.
pub(crate) enum Contents {
    /// All of it, given in one piece.
    Whole(Vec<u8>),
    /// Read while it is asked for.
    Pieces { reader: Reader, offset: u64 },
}

impl Contents {
    fn open(root: &Root, path: &str) -> HostResult<Self> {
        Ok(Self::Pieces { reader: root.read(path)?, offset: 0 })
    }

    /// The next piece; an empty one at the end.
    pub(crate) fn piece(&mut self) -> HostResult<Vec<u8>> {
        match self {
            Self::Whole(bytes) => Ok(std::mem::take(bytes)),
            Self::Pieces { reader, offset } => {
                let piece = reader.read_at(*offset, PIECE)?;
                *offset += piece.len() as u64;
                Ok(piece)
            }
        }
    }
}

/// Small files that are to be read together.
#[derive(Default)]
pub(crate) struct Batch {
    files: Vec<Entry>,
    bytes: u64,
}

impl Batch {
    /// Takes a file; when there are enough, and at once for a large one, `each` gets their contents.
    pub(crate) fn take(
        &mut self,
        root: &Root,
        entry: &Entry,
        each: &mut impl FnMut(&Entry, HostResult<Contents>) -> Result<()>,
    ) -> Result<()> {
        if entry.id.size >= u64::from(SMALL) {
            return each(entry, Contents::open(root, &entry.path));
        }
        self.bytes += entry.id.size;
        self.files.push(entry.clone());
        if self.bytes >= TOGETHER || self.files.len() >= MOST_FILES { self.give(root, each) } else { Ok(()) }
    }

    /// Gives what was taken to `each`.
    pub(crate) fn give(
        &mut self,
        root: &Root,
        each: &mut impl FnMut(&Entry, HostResult<Contents>) -> Result<()>,
    ) -> Result<()> {
        let (files, _) = (std::mem::take(&mut self.files), std::mem::take(&mut self.bytes));
        let paths: Vec<String> = files.iter().map(|entry| entry.path.clone()).collect();
        let mut done = 0;
        while done < files.len() {
            let read = root.read_many(&paths[done..], SMALL)?;
            for (entry, bytes) in files[done..].iter().zip(&mut read.into_iter()) {
                let contents = match bytes {
                    // It is another file by now, or it did not fit into the call.
                    Ok(bytes) if bytes.len() as u64 != entry.id.size => Contents::open(root, &entry.path),
                    Ok(bytes) => Ok(Contents::Whole(bytes)),
                    Err(error) => Err(error),
                };
                each(entry, contents)?;
                done += 1;
            }
        }
        Ok(())
    }
}
