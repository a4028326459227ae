//! How long it takes to build a database and to look packages up, and what memory that needs.
//!
//! `CARGO_PROFILE_RELEASE_OPT_LEVEL=2 cargo bench -p upkeep-advisory`

#![expect(clippy::expect_used, reason = "what fails here is a measurement")]

use std::cell::Cell;
use std::convert::Infallible;
use std::path::Path;
use std::time::Instant;

use upkeep_advisory::database::{Builder, Database, Package, ReadAt};
use upkeep_advisory::ecosystem::Family;
use upkeep_advisory::osv::{Event, Record};

/// How often a lookup is measured: the shortest time counts.
const ROUNDS: usize = 5;

struct Counted<'a> {
    file: &'a [u8],
    reads: Cell<usize>,
    bytes: Cell<usize>,
}

impl ReadAt for Counted<'_> {
    type Error = Infallible;

    fn size(&self) -> Result<u64, Infallible> {
        self.file.size()
    }

    fn read_at(&self, offset: u64, length: u32) -> Result<Vec<u8>, Infallible> {
        let bytes = self.file.read_at(offset, length)?;
        self.reads.set(self.reads.get() + 1);
        self.bytes.set(self.bytes.get() + bytes.len());
        Ok(bytes)
    }
}

fn main() {
    npm(200_000);
    real(10_000);
}

/// An archive of npm's size: nine of ten records are about a malicious package, as in the real one.
fn npm(records: usize) {
    let start = Instant::now();
    let mut builder = Builder::new(Family::Npm);
    let mut json = 0;
    for at in 0..records {
        let record = record(at);
        json += record.len();
        builder.add(record.as_bytes()).expect("own records are right");
    }
    let mut file = Vec::new();
    let before = peak();
    // A plugin passes the pieces on; here they are counted first, so that the file is no part of the figure.
    let mut size = 0;
    let totals = builder.finish(0, |piece| {
        size += piece.len();
        Ok::<_, Infallible>(())
    });
    let totals = totals.unwrap_or_else(|never| match never {});
    println!(
        "build npm: {} records, {} packages, {} MB of JSON, {} MB of file in {:.1} s; memory at most {} MB ({} MB before writing)",
        totals.records,
        totals.packages,
        json >> 20,
        size >> 20,
        start.elapsed().as_secs_f64(),
        peak() >> 10,
        before >> 10,
    );
    let mut builder = Builder::new(Family::Npm);
    (0..records).for_each(|at| drop(builder.add(record(at).as_bytes())));
    let Ok(_) = builder.finish(0, |piece| {
        file.extend_from_slice(piece);
        Ok::<_, Infallible>(())
    });
    let names: Vec<_> = (0..2000).map(|at| format!("package-{}-of-somebody", at * 7919 % (2 * records))).collect();
    let packages: Vec<_> = names.iter().map(|name| Package { name, version: "1.2.3" }).collect();
    look_up("npm", &[&file], &[packages]);
}

fn record(at: usize) -> String {
    let details = "This package was found to send what it can read of the environment to a server. ".repeat(12);
    let name = format!("package-{at}-of-somebody");
    if !at.is_multiple_of(10) {
        return format!(
            r#"{{"id": "MAL-2026-{at}", "modified": "2026-11-01T00:00:00Z", "summary": "Malicious code in {name} (npm)",
                "details": "{details}", "references": [{{"type": "ADVISORY", "url": "https://advisories.example/GHSA-{at}"}}],
                "affected": [{{"package": {{"ecosystem": "npm", "name": "{name}"}}, "versions": ["1.0.{at}", "99.0.0"]}}]}}"#
        );
    }
    let versions: Vec<_> = (0..60).map(|it| format!("\"1.{it}.0\"")).collect();
    format!(
        r#"{{"id": "GHSA-{at}", "aliases": ["CVE-2026-{at}"], "modified": "2026-11-01T00:00:00Z", "details": "{details}",
            "summary": "Regular expression denial of service in {name} when it reads a header of many parts",
            "severity": [{{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}}],
            "references": [{{"type": "WEB", "url": "https://forge.example/{name}/security/advisories/GHSA-{at}"}},
                {{"type": "ADVISORY", "url": "https://nvd.example/vuln/detail/CVE-2026-{at}"}},
                {{"type": "WEB", "url": "https://forge.example/{name}/commit/0123456789abcdef0123456789abcdef01234567"}}],
            "affected": [{{"package": {{"ecosystem": "npm", "name": "{name}"}}, "versions": [{}],
                "ranges": [{{"type": "SEMVER", "events": [{{"introduced": "0"}}, {{"fixed": "1.60.0"}}]}}]}}]}}"#,
        versions.join(",")
    )
}

/// All real advisories. Packages are those that they are about, each in the version in which one of its vulnerabilities
/// is fixed, and others that nothing is known of.
fn real(count: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/osv");
    let (mut files, mut asked) = (Vec::new(), Vec::<Vec<(String, String)>>::new());
    for family in [Family::CratesIo, Family::PyPi, Family::Go, Family::Npm] {
        let path = folder.join(format!("{family}.jsonl.zst"));
        let Ok(compressed) = std::fs::read(&path) else {
            println!("SKIPPED: the real advisories of {family} are not at {}", path.display());
            return;
        };
        let text = zstd::decode_all(compressed.as_slice()).expect("the file is whole");
        let start = Instant::now();
        let mut builder = Builder::new(family);
        let mut versions = Vec::new();
        for line in text.split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
            builder.add(line).expect("real records are right");
            let record = Record::parse(line).expect("real records are right");
            for (name, advisory) in record.advisories(family) {
                let events = advisory.affected.iter().flat_map(|it| &it.ranges).flat_map(|it| &it.events);
                versions.extend(events.filter_map(|it| match it {
                    Event::Fixed(version) => Some((name.clone(), version.clone())),
                    _ => None,
                }));
            }
        }
        let mut file = Vec::new();
        let Ok(totals) = builder.finish(0, |piece| {
            file.extend_from_slice(piece);
            Ok::<_, Infallible>(())
        });
        let seconds = start.elapsed().as_secs_f64();
        println!("build {family}: {} records, {} KB of file in {seconds:.2} s", totals.records, totals.size >> 10);
        versions.sort();
        let mut packages: Vec<_> =
            versions.chunk_by(|one, other| one.0 == other.0).map(|it| it[it.len() / 2].clone()).collect();
        packages.extend((packages.len()..count / 4).map(|at| (format!("other-{at}"), "1.0.0".to_owned())));
        files.push(file);
        asked.push(packages);
    }
    let packages: Vec<Vec<_>> =
        asked.iter().map(|it| it.iter().map(|(name, version)| Package { name, version }).collect()).collect();
    look_up("real", &files.iter().collect::<Vec<_>>(), &packages);
}

fn look_up(what: &str, files: &[&Vec<u8>], packages: &[Vec<Package<'_>>]) {
    let counted: Vec<_> =
        files.iter().map(|file| Counted { file, reads: Cell::default(), bytes: Cell::default() }).collect();
    let round = |_| {
        let start = Instant::now();
        let mut found = 0;
        for (file, packages) in counted.iter().zip(packages) {
            let database = Database::open(file).expect("the file is whole");
            let answers = database.look_up(None, packages).expect("the file is whole");
            found += answers.iter().map(|it| it.vulnerabilities.len()).sum::<usize>();
        }
        (start.elapsed(), found)
    };
    let shortest = (0..ROUNDS).map(round).min();
    let (time, found) = shortest.unwrap_or_default();
    println!(
        "look up {what}: {} packages, {found} findings in {:.1} ms; {} reads of {} KB",
        packages.iter().map(Vec::len).sum::<usize>(),
        time.as_secs_f64() * 1000.0,
        counted.iter().map(|it| it.reads.get()).sum::<usize>() / ROUNDS,
        (counted.iter().map(|it| it.bytes.get()).sum::<usize>() / ROUNDS) >> 10,
    );
}

/// The most memory that this process has had, in KiB; zero where the system does not say.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
    line.and_then(|it| it.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
