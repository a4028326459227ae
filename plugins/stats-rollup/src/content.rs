//! What is in a log file, after decompression, from a place in it onward.

use std::io::Read;

use upkeep_plugin::files::Reader;
use upkeep_plugin::{Error, Result};

use crate::cursor::HEAD;

/// Bytes that are read at once: few calls of the host, and what was read is still near when it is looked at. What a reader
/// does not use of them has to be much less.
const PIECE: usize = 256 << 10;

/// How a file is compressed, told by its first bytes: names lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    fn of(begin: &[u8]) -> Self {
        match begin {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// The bytes of a file, piece by piece.
pub(crate) enum Content {
    Plain {
        reader: Reader,
        offset: u64,
        piece: Vec<u8>,
    },
    Compressed {
        decoder: Box<dyn Read>,
        piece: Vec<u8>,
        /// How much of `piece` is filled, and why there is no more.
        filled: usize,
        ended: Option<Result<(), String>>,
    },
}

impl Content {
    /// Opens a file; gives how it is compressed too.
    pub(crate) fn open(reader: Reader) -> Result<(Self, Compression)> {
        let compression = Compression::of(&reader.read_at(0, 4)?);
        let decoder: Box<dyn Read> = match compression {
            Compression::None => return Ok((Self::Plain { reader, offset: 0, piece: Vec::new() }, compression)),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
            Compression::Zstd => Box::new(Frames::new(reader)),
        };
        Ok((Self::Compressed { decoder, piece: Vec::new(), filled: 0, ended: None }, compression))
    }

    /// The first bytes, as far as they are there and can be read; nothing may have been read before.
    pub(crate) fn head(&mut self) -> Vec<u8> {
        match self {
            Self::Plain { reader, .. } => reader.read_at(0, HEAD as u32).unwrap_or_default(),
            Self::Compressed { decoder, .. } => {
                let mut head = Vec::with_capacity(HEAD);
                // A file that is being written ends in the middle; what came before the error counts.
                drop(decoder.by_ref().take(HEAD as u64).read_to_end(&mut head));
                head
            }
        }
    }

    /// Goes to a place; in a compressed file by reading all that is before it. Whether there are so many bytes.
    pub(crate) fn skip_to(&mut self, place: u64) -> Result<bool> {
        match self {
            Self::Plain { offset, .. } => {
                *offset = place;
                Ok(true)
            }
            Self::Compressed { decoder, .. } => {
                let skipped = std::io::copy(&mut decoder.by_ref().take(place), &mut std::io::sink());
                skipped.map(|it| it == place).map_err(|error| damaged(&error))
            }
        }
    }

    /// The bytes that follow, after those of the last piece that were used: `used` of them. The rest of it comes again in
    /// front; there is nothing new when the piece is no longer than that.
    pub(crate) fn next(&mut self, used: usize) -> Result<&[u8]> {
        match self {
            Self::Plain { reader, offset, piece } => {
                *offset += used as u64;
                *piece = reader.read_at(*offset, PIECE as u32)?;
                Ok(piece)
            }
            Self::Compressed { decoder, piece, filled, ended } => {
                piece.copy_within(used..*filled, 0);
                *filled -= used;
                piece.resize(PIECE, 0);
                while *filled < PIECE && ended.is_none() {
                    match decoder.read(&mut piece[*filled..]) {
                        Ok(0) => *ended = Some(Ok(())),
                        Ok(count) => *filled += count,
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(error) => *ended = Some(Err(error.to_string())),
                    }
                }
                Ok(&piece[..*filled])
            }
        }
    }

    /// Why a compressed file could not be read to its end; what is before that place was given.
    pub(crate) fn damage(&self) -> Option<&str> {
        match self {
            Self::Compressed { ended: Some(Err(why)), .. } => Some(why),
            _ => None,
        }
    }

    /// The file itself, when it is not compressed: to look at its beginning again.
    pub(crate) fn plain(&self) -> Option<&Reader> {
        match self {
            Self::Plain { reader, .. } => Some(reader),
            Self::Compressed { .. } => None,
        }
    }
}

fn damaged(error: &std::io::Error) -> Error {
    Error::permanent(format!("the compressed file cannot be read: {error}"))
}

/// Frames of zstd, one after the other: `zstd` of several files writes them so, and logs are appended to.
struct Frames {
    decoder: Option<Box<ruzstd::decoding::StreamingDecoder<Reader, ruzstd::decoding::FrameDecoder>>>,
    reader: Option<Reader>,
}

impl Frames {
    fn new(reader: Reader) -> Self {
        Self { decoder: None, reader: Some(reader) }
    }
}

impl Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            if let Some(decoder) = &mut self.decoder {
                match decoder.read(buffer)? {
                    0 => self.reader = self.decoder.take().map(|it| it.into_inner()),
                    count => return Ok(count),
                }
            }
            let Some(mut reader) = self.reader.take() else { return Ok(0) };
            if std::io::BufRead::fill_buf(&mut reader)?.is_empty() {
                return Ok(0);
            }
            let decoder = ruzstd::decoding::StreamingDecoder::new(reader);
            self.decoder = Some(Box::new(decoder.map_err(|error| std::io::Error::other(error.to_string()))?));
        }
    }
}
