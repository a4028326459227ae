//! The archive of an ecosystem, `all.zip`, read while it comes: one JSON file for each record.
//!
//! Entries are taken in the order in which they stand in the archive, by their local headers, so that nothing of it has to be
//! kept. The list at its end is compared with what came: as many entries, with the same checksums and sizes. An archive
//! that was cut off, or whose list says something else, is an error. The format is that of PKWARE's APPNOTE.TXT 6.3.10.

use std::io::{self, BufRead, Read};

use flate2::bufread::DeflateDecoder;

/// The largest entry that is taken, in bytes: records have some KiB, the largest of OSV's some MiB.
const LARGEST: u64 = 32 << 20;

const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;

/// Why an archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// It does not come.
    #[error("the archive cannot be read to its end: {0}")]
    Read(#[from] io::Error),
    /// It is none, or damaged.
    #[error("the archive is damaged: {0}")]
    Damaged(&'static str),
    /// An entry would take too much room.
    #[error("the entry `{0}` has more than {most} MiB", most = LARGEST >> 20)]
    TooLarge(String),
}

/// What an entry must be, by the list at the end.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    crc: u32,
    size: u64,
}

/// The entries of an archive.
#[derive(Debug)]
pub(crate) struct Entries<R> {
    from: R,
    seen: Vec<Seen>,
    is_over: bool,
}

impl<R: BufRead> Entries<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, seen: Vec::new(), is_over: false }
    }

    /// Reads the next file into `into` and gives its name; none at the end, when all that came is what the list says.
    pub(crate) fn next(&mut self, into: &mut Vec<u8>) -> Result<Option<String>, ArchiveError> {
        loop {
            if self.is_over {
                return Ok(None);
            }
            match self.u32()? {
                LOCAL => {
                    if let Some(name) = self.entry(into)? {
                        return Ok(Some(name));
                    }
                }
                signature @ (CENTRAL | END | END_64) => {
                    self.compare(signature)?;
                    self.is_over = true;
                }
                _ => return Err(ArchiveError::Damaged("something else stands where an entry should begin")),
            }
        }
    }

    /// One entry; none for a folder.
    fn entry(&mut self, into: &mut Vec<u8>) -> Result<Option<String>, ArchiveError> {
        let head: [u8; 26] = self.bytes()?;
        let [flags, method] = [2, 4].map(|at| u16_at(&head, at));
        let [crc, packed, size] = [10, 14, 18].map(|at| u32_at(&head, at));
        let [name, extra] = [22, 24].map(|at| u16_at(&head, at));
        let name = String::from_utf8_lossy(&self.take(name.into())?).into_owned();
        let extra = self.take(extra.into())?;
        let is_64 = field_64(&extra).is_some();
        if flags & 1 != 0 {
            return Err(ArchiveError::Damaged("an entry is encrypted"));
        }
        let follows = flags & 8 != 0;
        let (packed, size) = sizes(packed.into(), size.into(), &extra)?;
        if size > LARGEST && !follows {
            return Err(ArchiveError::TooLarge(name));
        }
        into.clear();
        match method {
            0 if follows => return Err(ArchiveError::Damaged("an entry does not say how long it is")),
            0 if packed > LARGEST => return Err(ArchiveError::TooLarge(name)),
            0 => *into = self.take(packed)?,
            8 => {
                // One byte more than allowed tells whether there is more.
                let inflated = DeflateDecoder::new(&mut self.from).take(LARGEST + 1).read_to_end(into);
                inflated.map_err(|error| match error.kind() {
                    io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                        ArchiveError::Damaged("an entry cannot be inflated")
                    }
                    _ => ArchiveError::Read(error),
                })?;
            }
            _ => return Err(ArchiveError::Damaged("an entry is compressed in a way that is not known")),
        }
        if into.len() as u64 > LARGEST {
            return Err(ArchiveError::TooLarge(name));
        }
        let (crc, size) = if follows { self.descriptor(is_64)? } else { (crc, size) };
        if size != into.len() as u64 || crc != crc32fast::hash(into) {
            return Err(ArchiveError::Damaged("an entry is not what its checksum says"));
        }
        self.seen.push(Seen { crc, size });
        Ok((!name.ends_with('/')).then_some(name))
    }

    /// Checksum and size behind an entry, with or without a signature.
    fn descriptor(&mut self, is_64: bool) -> Result<(u32, u64), ArchiveError> {
        let first = self.u32()?;
        let crc = if first == DESCRIPTOR { self.u32()? } else { first };
        let [_, size] = if is_64 {
            let sizes: [u8; 16] = self.bytes()?;
            [u64_at(&sizes, 0), u64_at(&sizes, 8)]
        } else {
            let sizes: [u8; 8] = self.bytes()?;
            [u32_at(&sizes, 0).into(), u32_at(&sizes, 4).into()]
        };
        Ok((crc, size))
    }

    /// Compares the list at the end with what came.
    fn compare(&mut self, mut signature: u32) -> Result<(), ArchiveError> {
        let seen = std::mem::take(&mut self.seen);
        let mut listed = seen.iter();
        while signature == CENTRAL {
            let head: [u8; 42] = self.bytes()?;
            let [crc, packed, size] = [12, 16, 20].map(|at| u32_at(&head, at));
            let [name, extra, comment] = [24, 26, 28].map(|at| u64::from(u16_at(&head, at)));
            self.take(name)?;
            let extra = self.take(extra)?;
            self.take(comment)?;
            let (_, size) = sizes(packed.into(), size.into(), &extra)?;
            if listed.next() != Some(&Seen { crc, size }) {
                return Err(ArchiveError::Damaged("its list does not name the entries that came"));
            }
            signature = self.u32()?;
        }
        match (signature, listed.next()) {
            (END | END_64, None) => Ok(()),
            (END | END_64, Some(_)) => Err(ArchiveError::Damaged("its list is not complete")),
            _ => Err(ArchiveError::Damaged("it has no end")),
        }
    }

    fn u32(&mut self) -> Result<u32, ArchiveError> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], ArchiveError> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn take(&mut self, length: u64) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = Vec::new();
        let read = (&mut self.from).take(length).read_to_end(&mut bytes)?;
        if read as u64 == length { Ok(bytes) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// The field for sizes beyond 32 bits.
fn field_64(mut extra: &[u8]) -> Option<&[u8]> {
    while let [a, b, c, d, rest @ ..] = extra {
        let length = usize::from(u16::from_le_bytes([*c, *d]));
        let field = rest.get(..length)?;
        if u16::from_le_bytes([*a, *b]) == 1 {
            return Some(field);
        }
        extra = &rest[length..];
    }
    None
}

/// Packed and whole size; what does not fit stands in the field, the whole size first.
fn sizes(packed: u64, size: u64, extra: &[u8]) -> Result<(u64, u64), ArchiveError> {
    const BEYOND: u64 = u32::MAX as u64;
    let mut field = field_64(extra).unwrap_or_default();
    let mut wide = |value: u64| {
        if value != BEYOND {
            return Ok(value);
        }
        let Some((bytes, rest)) = field.split_at_checked(8) else {
            return Err(ArchiveError::Damaged("an entry does not say how long it is"));
        };
        field = rest;
        Ok(u64_at(bytes, 0))
    };
    let size = wide(size)?;
    Ok((wide(packed)?, size))
}

#[cfg(test)]
mod tests;
