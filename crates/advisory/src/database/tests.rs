use std::cell::Cell;

use proptest::prelude::*;

use super::format::{FORMAT, MAGIC, PREFIX};
use super::*;
use crate::ecosystem::Family;

fn record(id: &str, name: &str, fixed: &str) -> String {
    format!(
        r#"{{"id": "{id}", "modified": "2026-11-0{}T00:00:00Z", "summary": "s", "affected": [{{"package": {{"ecosystem": "npm", "name": "{name}"}},
            "ranges": [{{"type": "SEMVER", "events": [{{"introduced": "0"}}, {{"fixed": "{fixed}"}}]}}]}}]}}"#,
        1 + id.len() % 9
    )
}

fn build(records: impl IntoIterator<Item = String>) -> Vec<u8> {
    let mut builder = Builder::new(Family::Npm);
    for it in records {
        assert!(builder.add(it.as_bytes()).unwrap());
    }
    let mut file = Vec::new();
    let write = |piece: &[u8]| {
        assert!(piece.len() <= PIECE as usize);
        file.extend_from_slice(piece);
        Ok::<_, ()>(())
    };
    let totals = builder.finish(1_795_000_000, write).unwrap();
    assert_eq!(totals.size, file.len() as u64);
    file
}

/// 3,000 packages, some with two advisories.
fn many() -> Vec<u8> {
    let one = (0..3000).map(|it| record(&format!("A-{it}"), &format!("package-{it}"), "1.5.0"));
    build(one.chain((0..3000).step_by(7).map(|it| record(&format!("B-{it}"), &format!("package-{it}"), "3.0.0"))))
}

/// Counts what is read.
struct Counted<'a> {
    file: &'a [u8],
    reads: Cell<usize>,
    bytes: Cell<usize>,
}

impl ReadAt for Counted<'_> {
    type Error = std::convert::Infallible;

    fn size(&self) -> Result<u64, Self::Error> {
        self.file.size()
    }

    fn read_at(&self, offset: u64, length: u32) -> Result<Vec<u8>, Self::Error> {
        assert!(length <= PIECE);
        let bytes = self.file.read_at(offset, length)?;
        self.reads.set(self.reads.get() + 1);
        self.bytes.set(self.bytes.get() + bytes.len());
        Ok(bytes)
    }
}

#[test]
fn packages_are_found_in_their_order() {
    let file = many();
    let database = Database::open(file.as_slice()).unwrap();
    let source = database.source();
    assert_eq!(
        (source.family, source.fetched, source.newest.as_str()),
        (Family::Npm, 1_795_000_000, "2026-11-07T00:00:00Z")
    );
    assert_eq!((source.records, source.packages), (3429, 3000));
    let package = |name, version| Package { name, version };
    let packages = [
        package("package-7", "1.0.0"),
        package("package-2999", "2.0.0"),
        package("unknown", "1.0.0"),
        package("", "1.0.0"),
        package("package-7", "2.0.0"),
        package("package-8", "1.0.0"),
        package("package-0", "next"),
    ];
    let answers = database.look_up(None, &packages).unwrap();
    let ids = |at: usize| answers[at].vulnerabilities.iter().map(|it| it.id.as_str()).collect::<Vec<_>>();
    assert_eq!((ids(0), ids(4), ids(5)), (vec!["A-7", "B-7"], vec!["B-7"], vec!["A-8"]));
    assert!(ids(1).is_empty() && ids(2).is_empty() && ids(3).is_empty());
    assert_eq!(answers[6].undecided.len(), 2);
    assert_eq!(database.advisories("package-14").unwrap().len(), 2);
    assert!(database.advisories("zzz").unwrap().is_empty());
}

#[test]
fn reads_are_few() {
    let file = many();
    let counted = Counted { file: &file, reads: Cell::default(), bytes: Cell::default() };
    let database = Database::open(&counted).unwrap();
    assert_eq!(counted.reads.get(), 1, "the head");
    let names: Vec<_> = (0..6000).map(|it| format!("package-{it}")).collect();
    let packages: Vec<_> = names.iter().map(|name| Package { name, version: "1.0.0" }).collect();
    let answers = database.look_up(None, &packages).unwrap();
    assert_eq!(answers.iter().filter(|it| !it.vulnerabilities.is_empty()).count(), 3000);
    assert_eq!(counted.reads.get(), 3, "index and bundles at once");
    counted.bytes.set(0);
    database.look_up(None, &packages[..1]).unwrap();
    assert_eq!(counted.reads.get(), 5, "a block and a bundle");
    assert!(counted.bytes.get() < 20 << 10, "{}", counted.bytes.get());
}

#[test]
fn the_sequence_of_records_does_not_matter() {
    let records: Vec<_> = (0..100).map(|it| record(&format!("A-{it}"), &format!("p-{}", it % 10), "1.0.0")).collect();
    let turned = records.iter().rev().cloned();
    assert_eq!(build(turned), build(records.clone()));
}

#[test]
fn a_file_without_records_is_whole() {
    let file = build([]);
    let database = Database::open(file.as_slice()).unwrap();
    assert_eq!(database.source().records, 0);
    let answers = database.look_up(None, &[Package { name: "x", version: "1.0.0" }]).unwrap();
    assert_eq!(answers, [Default::default()]);
}

#[test]
fn long_bundles_are_read_in_pieces() {
    let id = |it: i32| format!("A-{it:0>1000}");
    let file = build((0..3000).map(|it| record(&id(it), "x", "1.0.0")));
    let counted = Counted { file: &file, reads: Cell::default(), bytes: Cell::default() };
    let database = Database::open(&counted).unwrap();
    assert_eq!(database.advisories("x").unwrap().len(), 3000);
    assert_eq!(counted.reads.get(), 1 + 1 + 3);
}

#[test]
fn records_that_say_nothing_are_not_counted() {
    let mut builder = Builder::new(Family::PyPi);
    assert_eq!(builder.add(record("A", "x", "1.0.0").as_bytes()), Ok(false), "another family");
    let withdrawn = record("A", "x", "1.0.0").replace("npm", "PyPI").replacen('{', r#"{"withdrawn": "2026", "#, 1);
    assert_eq!(builder.add(withdrawn.as_bytes()), Ok(false));
    assert!(builder.add(b"{}").is_err());
    let totals = builder.finish(0, |_| Ok::<_, ()>(())).unwrap();
    assert_eq!((totals.records, totals.packages), (0, 0));
}

#[test]
fn an_error_of_the_storage_is_passed_on() {
    #[derive(Debug)]
    struct Broken;
    impl ReadAt for Broken {
        type Error = &'static str;

        fn size(&self) -> Result<u64, &'static str> {
            Err("no disk")
        }

        fn read_at(&self, _: u64, _: u32) -> Result<Vec<u8>, &'static str> {
            Err("no disk")
        }
    }
    assert_eq!(Database::open(Broken).unwrap_err(), DatabaseError::Read("no disk"));
    let mut builder = Builder::new(Family::Npm);
    builder.add(record("A", "x", "1.0.0").as_bytes()).unwrap();
    assert_eq!(builder.finish(0, |_| Err("full")), Err("full"));
}

fn open(file: &[u8]) -> Result<Vec<crate::vulnerability::Answer>, DatabaseError<std::convert::Infallible>> {
    let names = ["package-1", "package-7", "package-2500", "zzz"];
    let packages = names.map(|name| Package { name, version: "1.0.0" });
    Database::open(file)?.look_up(None, &packages)
}

#[test]
fn files_that_are_not_right_say_why() {
    let whole = many();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = whole.clone();
        change(&mut file);
        open(&file).unwrap_err()
    };
    assert_eq!(open(b""), Err(DatabaseError::Foreign));
    assert_eq!(open(b"SQLite format 3\0 and more than twenty bytes"), Err(DatabaseError::Foreign));
    assert_eq!(with(&|file| file[8] = 9), DatabaseError::Format { found: 9 });
    assert_eq!(with(&|file| file[15] = 0xff), DatabaseError::Damaged { place: "its head".to_owned() });
    assert_eq!(with(&|file| file[PREFIX] ^= 1), DatabaseError::Damaged { place: "its head".to_owned() });
    let expected = whole.len() as u64;
    assert_eq!(with(&|file| file.truncate(9000)), DatabaseError::Length { expected, found: 9000 });
    assert_eq!(with(&|file| file.push(0)), DatabaseError::Length { expected, found: expected + 1 });
    assert!(matches!(with(&|file| file.truncate(30)), DatabaseError::Length { found: 30, .. }));
    let last = whole.len() - 1;
    assert_eq!(open(&whole).unwrap().len(), 4);
    let index = with(&|file| file[1000] ^= 1).to_string();
    assert!(index.contains("block 0 of its index"), "{index}");
    let mut file = whole.clone();
    file[last] ^= 1;
    let error = Database::open(file.as_slice()).unwrap().advisories("package-999").unwrap_err().to_string();
    assert!(error.contains("`package-999`") && error.contains("again"), "{error}");
}

/// A file with right checksums and anything in it, as an attacker would make it.
fn forge(head: &[u8], rest: &[u8]) -> Vec<u8> {
    let numbers = [FORMAT, head.len() as u32, crc32fast::hash(head)];
    [&MAGIC[..], &numbers.map(u32::to_le_bytes).concat(), head, rest].concat()
}

proptest! {
    #[test]
    fn damage_is_found(at in 0_usize..300_000, bit in 0_u8..8) {
        let whole = build((0..50).map(|it| record(&format!("A-{it}"), &format!("package-{it}"), "1.5.0")));
        let expected = open(&whole).unwrap();
        let mut file = whole.clone();
        let at = at % file.len();
        file[at] ^= 1 << bit;
        // Damage in what was not asked for goes unseen.
        if let Ok(answers) = open(&file) {
            prop_assert_eq!(&answers, &expected);
        }
        if let Ok(answers) = open(&whole[..at]) {
            prop_assert_eq!(answers, expected);
        }
    }

    #[test]
    fn nothing_makes_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), rest in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = open(&bytes);
        let _ = open(&forge(&bytes, &rest));
    }

    #[test]
    fn forged_numbers_are_harmless(length: u32, offset: u64, bundle: u32, bundles in prop_oneof![Just(0), any::<u64>(), 0_u64..100], count: u64) {
        use super::format::{Block, Head, Name, Names, encode};
        // The bundle claims to hold more advisories than memory could.
        let bundle_bytes = encode(&count);
        let name = |length| Name { name: "package-1", length, checksum: crc32fast::hash(&bundle_bytes) };
        for (offset, bundle) in [(offset, bundle), (0, bundle_bytes.len() as u32), (u64::MAX, u32::MAX)] {
            let block = encode(&Names { offset, names: vec![name(bundle)] });
            for length in [length, block.len() as u32] {
                let blocks = vec![Block { first: "a".to_owned(), length, checksum: crc32fast::hash(&block) }];
                for bundles in [bundles, bundle_bytes.len() as u64] {
                    let head = Head { family: Family::Npm, fetched: 0, newest: String::new(), records: 1, packages: 1, bundles, blocks: blocks.clone() };
                    let rest = [block.as_slice(), &bundle_bytes].concat();
                    let _ = open(&forge(&encode(&head), &rest));
                }
            }
        }
    }
}
