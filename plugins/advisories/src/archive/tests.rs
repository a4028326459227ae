use std::io::Write;
use std::process::Command;

use proptest::prelude::*;

use super::*;

/// An archive as Python's zipfile makes it; `how` is passed on.
fn python(how: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.zip");
    let script = format!(
        "import sys, zipfile, io\n\
         path = sys.argv[1]\n\
         class Pipe(io.RawIOBase):\n\
         \x20   def __init__(self, file): self.file = file\n\
         \x20   def writable(self): return True\n\
         \x20   def write(self, data): return self.file.write(data)\n\
         def records(archive):\n\
         \x20   for number in range(50): archive.writestr(f'GHSA-{{number}}.json', '{{\"id\": \"%d\"}}' % number * (number * 20))\n\
         {how}"
    );
    let made = Command::new("python3").args(["-c", &script]).arg(&path).status().expect("python3 makes the archive");
    assert!(made.success());
    std::fs::read(path).unwrap()
}

const WAYS: [&str; 4] = [
    "with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive: records(archive)",
    "with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive: records(archive)",
    // Written to what cannot be sought in: sizes stand behind the entries.
    "with open(path, 'wb') as file, zipfile.ZipFile(Pipe(file), 'w', zipfile.ZIP_DEFLATED) as archive: records(archive)",
    "with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:\n    archive.mkdir('folder') if hasattr(archive, 'mkdir') else archive.writestr('folder/', '')\n    with archive.open('GHSA-0.json', 'w', force_zip64=True) as entry: entry.write(b'{}' * 9)\n    [archive.writestr(f'GHSA-{n}.json', 'x' * n) for n in range(1, 50)]",
];

fn read(bytes: &[u8]) -> Result<Vec<(String, usize)>, ArchiveError> {
    let mut entries = Entries::new(bytes);
    let (mut all, mut content) = (Vec::new(), Vec::new());
    while let Some(name) = entries.next(&mut content)? {
        all.push((name, content.len()));
    }
    Ok(all)
}

#[test]
fn archives_of_all_kinds_are_read() {
    for way in WAYS {
        let read = read(&python(way)).unwrap();
        assert_eq!(read.len(), 50, "{way}");
        assert_eq!(read[7].0, "GHSA-7.json");
    }
}

#[test]
fn what_is_cut_off_or_changed_is_an_error() {
    for way in WAYS {
        let whole = python(way);
        // The end itself has 22 bytes; a comment behind it would be no harm.
        for length in (0..whole.len() - 22).step_by(97).chain([whole.len() - 22]) {
            assert!(read(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
        }
    }
    let whole = python(WAYS[0]);
    let mut errors = 0;
    for place in (30..whole.len() - 60).step_by(41) {
        let mut changed = whole.clone();
        changed[place] ^= 0x55;
        errors += u32::from(read(&changed).is_err());
    }
    // Names and times are not covered by checksums.
    assert!(errors > 20, "{errors}");
}

#[test]
fn what_inflates_to_too_much_is_refused() {
    let bomb = "with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive: archive.writestr('a.json', b'0' * (33 << 20))";
    assert!(matches!(read(&python(bomb)), Err(ArchiveError::TooLarge(name)) if name == "a.json"));
}

proptest! {
    #[test]
    fn anything_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0..400usize) {
        let _ = read(&bytes);
        let mut real = Vec::new();
        real.write_all(b"PK\x03\x04").unwrap();
        real.extend_from_slice(&bytes[..cut.min(bytes.len())]);
        let _ = read(&real);
    }
}
