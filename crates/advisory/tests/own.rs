//! The records of `tests/data`, from JSON through a database to answers: each is there for a rule that a table below
//! names.

#![expect(clippy::unwrap_used, reason = "what fails here is a test")]

use upkeep_advisory::advisory::Kind;
use upkeep_advisory::database::{Builder, Database, Package};
use upkeep_advisory::ecosystem::Ecosystem;
use upkeep_advisory::severity::Level;
use upkeep_advisory::vulnerability::Answer;

fn look_up(ecosystem: &str, name: &str, version: &str) -> Answer {
    let Ecosystem { family, release } = ecosystem.parse().unwrap();
    let mut builder = Builder::new(family);
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data")).unwrap() {
        builder.add(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap();
    }
    let mut file = Vec::new();
    builder
        .finish(0, |piece| {
            file.extend_from_slice(piece);
            Ok::<_, ()>(())
        })
        .unwrap();
    let database = Database::open(file.as_slice()).unwrap();
    database.look_up(release.as_deref(), &[Package { name, version }]).unwrap().remove(0)
}

/// What is shown of an answer: `CVE-1 high 7.5 -> 1.2.0, …`, and `? RECORD` for what is not decided.
fn show(ecosystem: &str, name: &str, version: &str) -> String {
    let answer = look_up(ecosystem, name, version);
    let found = answer.vulnerabilities.iter().map(|it| {
        let fixed = it.fixed.as_ref().map(|it| format!(" -> {it}")).unwrap_or_default();
        format!("{} {}{fixed}", it.id, it.severity)
    });
    found.chain(answer.undecided.iter().map(|it| format!("? {}", it.id))).collect::<Vec<_>>().join(", ")
}

#[test]
fn each_ecosystem_has_its_order() {
    let cases = [
        ("npm", "@example/Left-Pad", "v1.2.0", "GHSA-9002-9002-9002 low"),
        ("npm", "@example/Left-Pad", "1.2.1", ""),
        ("npm", "@example/left-pad", "1.2.1", "GHSA-9002-9002-9002 medium"),
        ("npm", "colour", "anything", "MAL-2026-9001 unknown"),
        ("PyPI", "zope_thing", "1!1.0", "PYSEC-2026-9001 unknown -> 1!1.0.post1"),
        ("PyPI", "zope-thing", "1!1.0+local", "PYSEC-2026-9001 unknown -> 1!1.0.post1"),
        ("PyPI", "zope-thing", "1!1.0.dev1", ""),
        ("PyPI", "zope-thing", "1!1.0.post1", ""),
        ("PyPI", "zope-thing", "1!2.1", "PYSEC-2026-9001 unknown"),
        ("PyPI", "zope-thing", "1!2.2", ""),
        ("PyPI", "zope-thing", "3.0", ""),
        ("PyPI", "zope-thing", "0.9-bulbasaur", "PYSEC-2026-9001 unknown"),
        ("PyPI", "zope-thing", "0.9-doduo", "? PYSEC-2026-9001"),
        (
            "Go",
            "forge.example/web/v2",
            "v2.4.0+incompatible",
            "CVE-2026-90002 unknown -> 2.4.1-0.20260101000000-0123456789ab",
        ),
        ("Go", "forge.example/web/v2", "v2.4.1-0.20260102000000-abcdefabcdef", ""),
        ("Packagist", "example/cms", "v8.0.0-BETA3", "GHSA-9003-9003-9003 medium -> 8.0.0-RC2"),
        ("Packagist", "example/cms", "8.0.0-dev", ""),
        ("Packagist", "example/cms", "8.0.0", ""),
        ("Packagist", "example/cms", "8.0.0-pl1", "GHSA-9003-9003-9003 medium -> 8.0.1"),
        ("Packagist", "example/cms", "dev-main", "? GHSA-9003-9003-9003"),
        ("Maven", "org.example:parser", "2.0-alpha-3", "GHSA-9004-9004-9004 critical -> 2.0-rc1"),
        ("Maven", "org.example:parser", "2.0-SNAPSHOT", ""),
        ("Maven", "org.example:parser", "2.Final", "GHSA-9004-9004-9004 critical -> 2.0-sp1"),
        ("NuGet", "example.json", "1.0.0.3", "GHSA-9005-9005-9005 unknown -> 1.0.0.4"),
        ("NuGet", "example.json", "1.0.0-rc", ""),
        ("RubyGems", "rack-example", "3.0.0.beta1", "GHSA-9006-9006-9006 unknown -> 3.0.0.rc1"),
        ("RubyGems", "rack-example", "3.0.0.rc2", "GHSA-9006-9006-9006 unknown"),
        ("RubyGems", "rack-example", "3.0.0", ""),
    ];
    for (ecosystem, name, version, expected) in cases {
        assert_eq!(show(ecosystem, name, version), expected, "{ecosystem} {name} {version}");
    }
}

#[test]
fn each_release_has_its_versions() {
    // The notice is about another vulnerability as well, of which there is no record.
    let debian = "CVE-2026-90003 medium -> 7.88.1-10+deb12u9, DSA-9001-1 unknown -> 7.88.1-10+deb12u9";
    let cases = [
        ("Debian:12", "7.88.1-10+deb12u8", debian),
        ("Debian:12", "7.88.1-10+deb12u9", ""),
        ("Debian:13", "8.14.1-2", "CVE-2026-90003 unknown"),
        ("Debian:14", "8.14.1-2", "CVE-2026-90003 none -> 1:0.1~rc1-1"),
        ("Debian:14", "1:0.1-1", ""),
        ("Debian:11", "7.74.0-1", ""),
        ("Ubuntu:24.04", "8.5.0-2ubuntu10.6", "CVE-2026-90003 medium -> 8.5.0-2ubuntu10.7"),
        ("Ubuntu:18.04:LTS", "7.58.0-2ubuntu3.24", ""),
        ("Ubuntu:Pro:18.04:LTS", "7.58.0-2ubuntu3.24", "CVE-2026-90003 medium -> 7.58.0-2ubuntu3.24+esm8"),
        ("Alpine:v3.22", "8.14.1-r9", "CVE-2026-90003 unknown -> 8.14.1_git1-r2"),
        ("Alpine:v3.21", "8.1_rc1-r0", ""),
        ("Alpine:v3.21", "8.12.1-r0", "CVE-2026-90003 unknown -> 8.12.1-r1"),
    ];
    for (ecosystem, version, expected) in cases {
        assert_eq!(show(ecosystem, "curl", version), expected, "{ecosystem} {version}");
    }
}

#[test]
fn several_records_are_one_finding() {
    let shown = |version| show("crates.io", "ring-buffer", version);
    // The range of one record ends at 0.6.2 and that of the other at 0.6.3.
    assert_eq!(shown("0.6.0"), "CVE-2026-90001 critical 9.8 -> 0.6.3, RUSTSEC-2026-9002 unknown");
    assert_eq!(shown("0.5.2"), "CVE-2026-90001 critical 9.8 -> 0.5.3, RUSTSEC-2026-9002 unknown");
    assert_eq!(shown("0.6.2"), "CVE-2026-90001 high 7.3 -> 0.6.3, RUSTSEC-2026-9002 unknown");
    assert_eq!(shown("0.5.3"), "RUSTSEC-2026-9002 unknown", "what was withdrawn is not told");
    let answer = look_up("crates.io", "ring_buffer", "0.1.0");
    let [first, second] = answer.vulnerabilities.as_slice() else { panic!("{answer:?}") };
    assert_eq!(first.ids, ["CVE-2026-90001", "GHSA-9001-9001-9001", "RUSTSEC-2026-9001"]);
    let references = ["https://advisories.example/RUSTSEC-2026-9001", "https://forge.example/ring_buffer/issues/7"];
    assert_eq!(first.references, references);
    assert_eq!((first.kind, second.kind), (Kind::Vulnerability, Kind::Unmaintained));
}

#[test]
fn what_else_a_report_shows_is_kept() {
    let web = look_up("Go", "forge.example/web/v2", "2.0.0").vulnerabilities.remove(0);
    assert_eq!(web.imports, ["forge.example/web/v2/cookie", "forge.example/web/v2/session"]);
    let old = look_up("Go", "forge.example/old", "v1.0.0").vulnerabilities.remove(0);
    assert!(web.is_reviewed && !old.is_reviewed && old.imports.is_empty());
    let zope = look_up("PyPI", "zope.thing", "1!1.0").vulnerabilities.remove(0);
    assert_eq!((zope.summary.as_str(), zope.severity.level), ("Path traversal", Level::Unknown));
    assert_eq!(look_up("npm", "colour", "1.0.0").vulnerabilities[0].kind, Kind::Malicious);
}
