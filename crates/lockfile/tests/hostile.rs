//! Files that are made to hurt: parsers give an error or what they could read, within bounds, and never panic.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::path::PathBuf;

use proptest::prelude::*;
use upkeep_lockfile::sbom::Bom;
use upkeep_lockfile::{Format, Limits, LockFileError, parse};

const FORMATS: [(Format, &str); 15] = [
    (Format::Npm, "npm"),
    (Format::Pnpm, "pnpm"),
    (Format::Yarn, "yarn"),
    (Format::Cargo, "cargo"),
    (Format::Requirements, "requirements"),
    (Format::Poetry, "poetry"),
    (Format::Uv, "uv"),
    (Format::Pipfile, "pipfile"),
    (Format::GoMod, "go_mod"),
    (Format::GoSum, "go_sum"),
    (Format::Composer, "composer"),
    (Format::Maven, "maven"),
    (Format::Gradle, "gradle"),
    (Format::Dpkg, "dpkg"),
    (Format::Apk, "apk"),
];

/// The files that fuzzing of a format begins with, or those that it has found: their names are digits.
fn corpus(name: &str, is_found: bool) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    let is_digits = |name: &str| name.bytes().all(|it| it.is_ascii_hexdigit());
    paths.retain(|it| is_digits(it.file_name().unwrap().to_str().unwrap()) == is_found);
    paths.sort();
    paths.iter().map(|it| std::fs::read(it).unwrap()).collect()
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    corpus(name, false)
}

/// Reads a file, and asks for all that can be asked of it.
fn read(format: Format, bytes: &[u8]) {
    let limits = Limits { packages: 100, notes: 10, ..Limits::default() };
    let Ok(file) = parse(format, bytes, &limits) else { return };
    assert!(file.packages.len() <= limits.packages && file.notes.len() <= limits.notes);
    let lines = 1 + bytes.iter().filter(|it| **it == b'\n').count();
    assert!(file.notes.iter().all(|it| it.line.is_none_or(|it| it.get() as usize <= lines)));
    for (index, package) in file.packages.iter().enumerate() {
        assert!(package.line.is_none_or(|it| it.get() as usize <= lines));
        assert!(!package.name.is_empty());
        assert_eq!(file.chain(index).last(), Some(&&*package.name));
        assert!(file.requires(index).all(|it| it < file.packages.len()));
    }
    let files = [("file", &file)];
    let bom = Bom { serial: "", timestamp: "", subject: "", tool_version: "", files: &files, vulnerabilities: None };
    bom.write(std::io::sink()).unwrap();
}

/// What happens to a file: bytes of it are taken away, put in, or repeated.
#[derive(Debug, Clone)]
enum Change {
    Remove(usize, usize),
    Insert(usize, Vec<u8>),
    Repeat(usize, usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let pieces = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..4),
        proptest::sample::select(vec![
            "\n", ":", "\"", "{", "}", "[", "]", "@", "\\", "\0", "é", " ", "${", "=>", "<a>"
        ])
        .prop_map(|it| it.as_bytes().to_vec()),
    ];
    let change = prop_oneof![
        (any::<usize>(), 1..40_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<usize>(), pieces).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<usize>(), 1..60_usize).prop_map(|(at, length)| Change::Repeat(at, length)),
    ];
    proptest::collection::vec(change, 1..6)
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let place = |at: usize| at % (bytes.len() + 1);
    match change {
        Change::Remove(at, length) => {
            let start = place(*at);
            bytes.drain(start..(start + length).min(bytes.len()));
        }
        Change::Insert(at, piece) => {
            let start = place(*at);
            bytes.splice(start..start, piece.iter().copied());
        }
        Change::Repeat(at, length) => {
            let start = place(*at);
            let part = bytes[start..(start + length).min(bytes.len())].to_vec();
            bytes.splice(start..start, part);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn changed_files_do_no_harm(changes in changes()) {
        for (format, name) in FORMATS {
            for mut bytes in seeds(name) {
                changes.iter().for_each(|it| apply(&mut bytes, it));
                read(format, &bytes);
            }
        }
    }
}

#[test]
fn what_fuzzing_has_found_does_no_harm() {
    for (format, name) in FORMATS {
        corpus(name, true).iter().for_each(|it| read(format, it));
    }
}

#[test]
fn files_of_another_format_do_no_harm() {
    for (format, _) in FORMATS {
        for (_, name) in FORMATS {
            seeds(name).iter().for_each(|it| read(format, it));
        }
    }
}

#[test]
fn what_nests_without_end_is_refused_or_passed_over() {
    for open in
        ["[", "{\"a\":", "{\"packages\":{", "<a>", "- ", "a: {", "? ", "a:\n ", "((", "[[a]]\nb=[", "\"", "[a.", "a.a"]
    {
        let bytes = open.repeat(100_000);
        for (format, _) in FORMATS {
            read(format, bytes.as_bytes());
        }
    }
}

#[test]
fn sizes_and_bytes_are_looked_at_first() {
    for (format, _) in FORMATS {
        let limits = Limits { bytes: 3, ..Limits::default() };
        assert_eq!(parse(format, b"abcd", &limits), Err(LockFileError::Large { bytes: 4, limit: 3 }));
        assert_eq!(parse(format, b"\n\xff", &Limits::default()), Err(LockFileError::Encoding { line: 2 }));
        assert_eq!(parse(format, b"\n\0", &Limits::default()), Err(LockFileError::Encoding { line: 2 }));
    }
}

#[test]
fn one_long_line_costs_one_look() {
    let long = "a".repeat(2 << 20);
    for (format, _) in FORMATS {
        read(format, long.as_bytes());
        read(format, format!("\"{long}\":\n  {long}").as_bytes());
        read(format, "a==1,".repeat(1 << 18).as_bytes());
    }
}

#[test]
fn keys_that_come_twice_are_an_error_or_the_last_one_counts() {
    let twice = r#"{"lockfileVersion": 3, "packages": {"node_modules/a": {"version": "1", "version": "2"}}}"#;
    let error = parse(Format::Npm, twice.as_bytes(), &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("duplicate field"), "{error}");
    let toml = "version = 4\n\n[[package]]\nname = \"a\"\nname = \"b\"\n";
    let error = parse(Format::Cargo, toml.as_bytes(), &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("duplicate key"), "{error}");
}

#[test]
fn requests_have_a_limit() {
    let limits = Limits { requests: 3, ..Limits::default() };
    let npm = r#"{"lockfileVersion": 3, "packages": {"": {"dependencies": {"a": 1, "b": 1, "c": 1, "d": 1}}}}"#;
    let pnpm = "lockfileVersion: '9.0'\ndependencies:\n  a: '1'\n  b: '1'\n  c: '1'\n  d: '1'\n";
    let apk = "P:a\nV:1\nD:b c d e\n";
    for (format, text) in [(Format::Npm, npm), (Format::Pnpm, pnpm), (Format::Apk, apk)] {
        assert_eq!(parse(format, text.as_bytes(), &limits), Err(LockFileError::Requests { limit: 3 }));
    }
}
