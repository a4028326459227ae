//! One blob in a file: written with its holes and read back, or found there already.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustic_core::{DataId, Id};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

/// Runs of zeros that are at least so long become holes.
pub(super) const HOLE: usize = 64 << 10;

/// Writes a blob where it belongs, and compares what the file then holds; `back` is room for that.
pub(super) fn write(file: &File, offset: u64, content: &[u8], back: &mut [u8]) -> Result<(), Errno> {
    write_sparse(file, offset, content).map_err(errno)?;
    for (at, piece) in (offset..).step_by(back.len()).zip(content.chunks(back.len())) {
        let back = &mut back[..piece.len()];
        file.read_exact_at(back, at).map_err(errno)?;
        if back != piece {
            // Where a part of before was left with something in a place that is a hole now.
            file.write_all_at(piece, at).map_err(errno)?;
            file.read_exact_at(back, at).map_err(errno)?;
            if back != piece {
                return Err(Errno::IO);
            }
        }
    }
    Ok(())
}

/// Writes what is not zero; the file is as long as it has to be, and zero there.
fn write_sparse(file: &File, offset: u64, content: &[u8]) -> std::io::Result<()> {
    let mut from = 0;
    let mut at = 0;
    while at < content.len() {
        let end = (at + HOLE).min(content.len());
        if is_zero(&content[at..end]) && end - at == HOLE {
            if from < at {
                file.write_all_at(&content[from..at], offset + from as u64)?;
            }
            from = end;
        }
        at = end;
    }
    if from < content.len() { file.write_all_at(&content[from..], offset + from as u64) } else { Ok(()) }
}

fn is_zero(bytes: &[u8]) -> bool {
    // Compared with itself one byte further: the library does that in the widest registers there are.
    bytes.first().is_none_or(|first| *first == 0) && bytes.get(1..).is_none_or(|rest| *rest == bytes[..rest.len()])
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// Whether a file holds a blob at an offset.
pub(super) fn holds(file: &File, offset: u64, length: u32, blob: &DataId) -> bool {
    let mut content = vec![0; length as usize];
    file.read_exact_at(&mut content, offset).is_ok() && Id::new(Sha256::digest(&content).into()) == **blob
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_zeros_become_holes_and_nothing_else_changes() {
        let mut content = vec![1_u8; 300_000];
        content[HOLE..3 * HOLE].fill(0);
        content[299_000..].fill(0);
        let file = tempfile::tempfile().unwrap();
        file.set_len(content.len() as u64 + 100).unwrap();
        write_sparse(&file, 100, &content).unwrap();
        let mut back = vec![9; content.len() + 100];
        file.read_exact_at(&mut back, 0).unwrap();
        assert_eq!(back[100..], content);
        assert_eq!(back[..100], [0; 100]);
        assert!(is_zero(&[0; 70]) && is_zero(&[]) && is_zero(&[0]) && !is_zero(&[0, 0, 1]) && !is_zero(&[1]));
    }

    #[test]
    fn a_blob_is_called_by_its_checksum() {
        let blob: DataId = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse().unwrap();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"xabc", 0).unwrap();
        assert!(holds(&file, 1, 3, &blob) && !holds(&file, 0, 3, &blob) && !holds(&file, 2, 3, &blob));
    }
}
