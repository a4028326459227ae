use super::*;

fn record(json: &str) -> Record {
    Record::parse(json.as_bytes()).unwrap()
}

fn only(record: &Record, family: Family) -> Advisory {
    let advisories: Vec<_> = record.advisories(family).into_values().collect();
    let [advisory] = <[_; 1]>::try_from(advisories).unwrap();
    advisory
}

const TWO: &str = r###"{
    "id": "GHSA-aaaa-bbbb-cccc", "aliases": ["CVE-2024-0001", "GHSA-aaaa-bbbb-cccc"], "details": "\n# Overflow\u001b[2J in *decode*\nLong.",
    "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}],
    "references": [
        {"type": "PACKAGE", "url": "https://pypi.example/p"}, {"type": "WEB", "url": "w"}, {"type": "WEB", "url": "w2"},
        {"type": "FIX", "url": "f"}, {"type": "ADVISORY", "url": "a"}],
    "affected": [
        {"package": {"ecosystem": "PyPI", "name": "Foo_Bar"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.4"}]}]},
        {"package": {"ecosystem": "PyPI", "name": "foo.bar"}, "ranges": [
            {"type": "GIT", "repo": "r", "events": [{"introduced": "0"}]},
            {"type": "ECOSYSTEM", "events": [{"introduced": "2.0"}, {"fixed": "2.0.1"}, {"introduced": "2.0.1"}, {"fixed": "2.0.3"}]}],
         "versions": ["2.0", "2.0.2", "3.0+odd", "hand-made"]},
        {"package": {"ecosystem": "npm", "name": "foo-bar"}, "versions": ["1.0.0"]},
        {"package": {"ecosystem": "Bitnami", "name": "foo"}}, {}]
}"###;

#[test]
fn entries_of_one_package_are_one_advisory() {
    let advisories = record(TWO).advisories(Family::PyPi);
    assert_eq!(advisories.keys().collect::<Vec<_>>(), ["foo-bar"]);
    let advisory = &advisories["foo-bar"];
    assert_eq!((advisory.affected.len(), advisory.aliases.as_slice()), (2, &["CVE-2024-0001".to_owned()][..]));
    assert_eq!((advisory.summary.as_str(), advisory.kind), ("Overflow[2J in *decode*", Kind::Vulnerability));
    assert_eq!(advisory.references, ["a", "f", "w"]);
    assert_eq!(advisory.severity(None).tenths, Some(75));
}

#[test]
fn a_fixed_version_is_outside_of_all_ranges() {
    let advisory = only(&record(TWO), Family::PyPi);
    let fixed = |version| {
        let installed = Installed::new(Family::PyPi, version);
        (advisory.evaluate(None, &installed), first_fixed(Family::PyPi, None, &[&advisory], &installed))
    };
    let some = |version: &str| Some(version.to_owned());
    assert_eq!(fixed("1.0"), (Verdict::Affected, some("1.4")));
    assert_eq!(fixed("2.0"), (Verdict::Affected, some("2.0.3")), "2.0.1 is affected again");
    assert_eq!(fixed("1.4"), (Verdict::Unaffected, some("2.0.3")));
    assert_eq!(fixed("3.0+odd"), (Verdict::Affected, None));
    assert_eq!(fixed("hand-made"), (Verdict::Affected, None));
}

#[test]
fn trimming_changes_no_verdict() {
    let whole = only(&record(TWO), Family::PyPi);
    let mut trimmed = whole.clone();
    trimmed.trim(Family::PyPi);
    assert_eq!(trimmed.affected[1].versions, ["3.0+odd", "hand-made"]);
    for version in ["0", "1.0", "1.4", "2.0", "2.0.0", "2.0.2", "2.0.3", "3.0+odd", "3.0", "hand-made", "other"] {
        let installed = Installed::new(Family::PyPi, version);
        assert_eq!(whole.evaluate(None, &installed), trimmed.evaluate(None, &installed), "{version}");
    }
}

#[test]
fn a_withdrawn_record_says_nothing() {
    let json = TWO.replacen('{', r#"{"withdrawn": "2024-02-01T00:00:00Z", "#, 1);
    assert!(record(&json).advisories(Family::PyPi).is_empty());
    assert!(record(TWO).advisories(Family::Go).is_empty());
}

#[test]
fn releases_are_told_apart() {
    let json = r#"{"id": "DEBIAN-CVE-2024-7", "upstream": ["CVE-2024-7"], "affected": [
        {"package": {"ecosystem": "Debian:12", "name": "curl"}, "ecosystem_specific": {"urgency": "high"},
         "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "7.88.1-10+deb12u5"}]}]},
        {"package": {"ecosystem": "Debian:11", "name": "curl"}, "ecosystem_specific": {"urgency": "not yet assigned"},
         "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]}"#;
    let advisory = only(&record(json), Family::Debian);
    assert_eq!(advisory.aliases, ["CVE-2024-7"]);
    let installed = Installed::new(Family::Debian, "7.88.1-10+deb12u6");
    let verdict = |release| advisory.evaluate(release, &installed);
    assert_eq!((verdict(Some("12")), verdict(Some("11"))), (Verdict::Unaffected, Verdict::Affected));
    assert_eq!((verdict(Some("13")), verdict(None)), (Verdict::Unaffected, Verdict::Affected));
    let level = |release| advisory.severity(release).level;
    use crate::severity::Level;
    assert_eq!((level(Some("12")), level(Some("11")), level(None)), (Level::High, Level::Unknown, Level::High));
}

#[test]
fn severities_come_from_the_nearest_place() {
    let level = |record_says: &str, affected_says: &str| {
        let package = r#""package": {"ecosystem": "npm", "name": "x"}, "versions": ["1.0.0"]"#;
        let json = format!(r#"{{"id": "X", {record_says} "affected": [{{{affected_says} {package}}}]}}"#);
        only(&record(&json), Family::Npm).severity(None)
    };
    let word = |word| Severity::from_word(word).unwrap();
    let moderate = r#""database_specific": {"severity": "MODERATE"},"#;
    let vectors = r#""severity": [{"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:P/I:P/A:P"},
        {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N"},
        {"type": "CVSS_V4", "score": "CVSS:4.0/AV:L/AC:L/AT:P/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"}],"#;
    assert_eq!(level("", ""), Severity::default());
    assert_eq!(level(moderate, ""), word("medium"));
    assert_eq!(level(&format!("{moderate}{vectors}"), "").tenths, Some(73), "a vector says more than a word");
    let ubuntu = r#""severity": [{"type": "Ubuntu", "score": "negligible"}],"#;
    assert_eq!(level(vectors, ubuntu), word("low"));
    assert_eq!(level(moderate, r#""database_specific": {"severity": 7},"#), word("medium"));
}

#[test]
fn what_is_no_vulnerability_says_so() {
    let kind = |id: &str, informational: &str| {
        let json = format!(
            r#"{{"id": "{id}", "affected": [{{"package": {{"ecosystem": "crates.io", "name": "x"}},
                "database_specific": {{"informational": {informational}}}}}]}}"#
        );
        only(&record(&json), Family::CratesIo).kind
    };
    assert_eq!(kind("RUSTSEC-2024-1", "null"), Kind::Vulnerability);
    assert_eq!(kind("RUSTSEC-2024-1", r#""unmaintained""#), Kind::Unmaintained);
    assert_eq!(kind("RUSTSEC-2024-1", r#""unsound""#), Kind::Unsound);
    assert_eq!(kind("RUSTSEC-2024-1", r#""notice""#), Kind::Notice);
    assert_eq!(kind("MAL-2024-1", "null"), Kind::Malicious);
}
