//! What is true of real advisories, those of the folder `shared/data/osv` beside the repository.

#![expect(clippy::unwrap_used, reason = "what fails here is a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use upkeep_advisory::advisory::Advisory;
use upkeep_advisory::database::{Builder, Database, Package};
use upkeep_advisory::ecosystem::Family;
use upkeep_advisory::osv::{Event, Order, Record};
use upkeep_advisory::range::{Installed, Verdict};
use upkeep_advisory::version::Version;
use upkeep_advisory::vulnerability::Answer;

/// The lines of a family's file, one record each; none where there is no such file.
fn lines(family: Family) -> Option<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/osv");
    let path = folder.join(format!("{family}.jsonl.zst"));
    match std::fs::read(&path) {
        Ok(compressed) => {
            let text = zstd::decode_all(compressed.as_slice()).unwrap();
            Some(String::from_utf8(text).unwrap().lines().map(str::to_owned).collect())
        }
        Err(error) => {
            eprintln!("SKIPPED: the real advisories of {family} are not at {}: {error}", path.display());
            None
        }
    }
}

fn records(family: Family) -> Option<Vec<Record>> {
    Some(lines(family)?.iter().map(|it| Record::parse(it.as_bytes()).unwrap()).collect())
}

fn text(event: &Event) -> &str {
    let (Event::Introduced(text) | Event::Fixed(text) | Event::LastAffected(text) | Event::Limit(text)) = event;
    text
}

/// Reads all, and gives what no order has: versions that are listed, and events.
fn odd(family: Family, count: usize) -> Option<(usize, Vec<String>)> {
    let records = records(family)?;
    assert_eq!(records.len(), count);
    let (mut versions, mut events) = (0, Vec::new());
    for affected in records.iter().flat_map(|it| &it.affected) {
        let is_odd = |text: &str| text != "0" && Version::parse(family.scheme(), text).is_err();
        versions += affected.versions.iter().filter(|it| is_odd(it)).count();
        for event in affected.ranges.iter().filter(|it| it.order != Order::Other).flat_map(|it| &it.events) {
            events.extend(Some(text(event)).filter(|it| is_odd(it)).map(str::to_owned));
        }
    }
    Some((versions, events))
}

#[test]
fn all_records_are_read() {
    for (family, count) in [(Family::CratesIo, 714), (Family::Go, 4291), (Family::Npm, 445)] {
        assert!(odd(family, count).is_none_or(|it| it == (0, Vec::new())), "{family}");
    }
    // Python had releases before it had PEP 440, such as `0.1-bulbasaur`: they are only found by their text. Two
    // records have such a version, or a date, where the fixed one should be.
    let expected = (108, vec!["2019-09-12".to_owned(), "0.2.0-n653".to_owned()]);
    if let Some(odd) = odd(Family::PyPi, 2661) {
        assert_eq!(odd, expected);
    }
}

/// Where list and ranges of a record differ, the list is right by the schema: what either holds is affected.
#[test]
fn lists_agree_with_ranges() {
    let Some(records) = records(Family::PyPi) else { return };
    let advisories: Vec<_> = records.iter().flat_map(|it| it.advisories(Family::PyPi)).collect();
    let listed = |it: &Advisory| it.affected.iter().flat_map(|it| it.versions.clone()).collect::<Vec<_>>();
    let mut known = BTreeMap::<&str, BTreeSet<String>>::new();
    for (name, advisory) in &advisories {
        known.entry(name).or_default().extend(listed(advisory));
    }
    let (mut checked, mut outside, mut unlisted) = (0, BTreeMap::new(), BTreeMap::new());
    for (name, advisory) in &advisories {
        let list = listed(advisory);
        for version in &known[name.as_str()] {
            let installed = Installed::new(Family::PyPi, version);
            let ranges = advisory.affected.iter().flat_map(|it| &it.ranges);
            let verdicts: Vec<_> = ranges.map(|it| it.contains(&installed)).collect();
            let is_listed = list.contains(version);
            if is_listed {
                checked += 1;
                assert_eq!(advisory.evaluate(None, &installed), Verdict::Affected, "{}: {version}", advisory.id);
            }
            if is_listed && !verdicts.is_empty() && verdicts.iter().all(|it| *it == Ok(false)) {
                *outside.entry(advisory.id.as_str()).or_insert(0) += 1;
            }
            if !is_listed && !list.is_empty() && verdicts.contains(&Ok(true)) {
                *unlisted.entry(advisory.id.as_str()).or_insert(0) += 1;
            }
        }
    }
    assert_eq!(checked, 139_479);
    // Three records list what their ranges leave out: a version that was fixed only in part, one under the number of
    // the fixed one, and pre-releases of the first affected one.
    assert_eq!(outside, BTreeMap::from([("PYSEC-2021-114", 1), ("PYSEC-2023-177", 2), ("PYSEC-2023-61", 6)]));
    // Lists that end before the release of the fix, nearly all of TensorFlow.
    assert_eq!((unlisted.len(), unlisted.values().sum::<usize>()), (41, 1632));
}

#[test]
fn a_database_answers_as_the_records_do() {
    for family in [Family::CratesIo, Family::PyPi, Family::Go, Family::Npm] {
        let Some(lines) = lines(family) else { continue };
        let mut builder = Builder::new(family);
        let mut expected = BTreeMap::<String, Vec<Advisory>>::new();
        for line in &lines {
            builder.add(line.as_bytes()).unwrap();
            for (name, advisory) in Record::parse(line.as_bytes()).unwrap().advisories(family) {
                expected.entry(name).or_default().push(advisory);
            }
        }
        let mut file = Vec::new();
        builder
            .finish(0, |piece| {
                file.extend_from_slice(piece);
                Ok::<_, ()>(())
            })
            .unwrap();
        let database = Database::open(file.as_slice()).unwrap();
        assert_eq!(database.source().packages as usize, expected.len());
        let mut packages = Vec::new();
        for (name, advisories) in &expected {
            let events =
                advisories.iter().flat_map(|it| &it.affected).flat_map(|it| &it.ranges).flat_map(|it| &it.events);
            let versions: BTreeSet<&str> = events.map(text).collect();
            packages.extend(versions.into_iter().take(5).map(|version| Package { name, version }));
        }
        let answers = database.look_up(None, &packages).unwrap();
        let mut affected = 0;
        for (package, answer) in packages.iter().zip(answers) {
            let installed = Installed::new(family, package.version);
            let mut advisories = expected[package.name].clone();
            advisories.sort_by_key(|it| (it.id.len(), it.id.clone()));
            affected += usize::from(!answer.vulnerabilities.is_empty());
            assert_eq!(answer, Answer::new(family, None, &advisories, &installed), "{family} {package:?}");
        }
        assert!(affected > 100, "{family}: {affected}");
    }
}
