//! What holds for every file of any format.

use upkeep_lockfile::sbom::Bom;
use upkeep_lockfile::{Format, Limits, parse};

/// Reads a file, and asks for all that can be asked of what was read.
pub(crate) fn check(format: Format, bytes: &[u8]) {
    let limits = Limits { packages: 1_000, notes: 100, depth: 16, ..Limits::default() };
    let Ok(file) = parse(format, bytes, &limits) else { return };
    assert!(file.packages.len() <= limits.packages && file.notes.len() <= limits.notes);
    let lines = 1 + bytes.iter().filter(|it| **it == b'\n').count();
    for (index, package) in file.packages.iter().enumerate() {
        assert!(!package.name.is_empty());
        assert!(package.line.is_none_or(|it| it.get() as usize <= lines));
        assert_eq!(file.chain(index).last(), Some(&&*package.name));
        assert!(file.requires(index).all(|it| it < file.packages.len()));
    }
    for note in &file.notes {
        assert!(note.subject.len() <= 200 && note.line.is_none_or(|it| it.get() as usize <= lines));
    }
    let files = [("file", &file)];
    let bom = Bom { serial: "", timestamp: "", subject: "", tool_version: "", files: &files, vulnerabilities: None };
    bom.write(std::io::sink()).expect("a document of strings can be written");
}
