use upkeep_advisory::database::Builder;
use upkeep_advisory::ecosystem::Family;
use upkeep_plugin::Severity;

use super::{NOW, Place, told};

const CONFIG: &str = r#"{"dependencies": {"advisories": "advisories", "folders": [{"root": "app"}]}}"#;

/// A record of npm: versions below `fixed` of a package.
fn record(id: &str, alias: &str, name: &str, fixed: &str, vector: &str) -> String {
    format!(
        r#"{{"id": "{id}", "modified": "2026-01-02T03:04:05Z", "aliases": ["{alias}"], "summary": "Prototype pollution",
            "severity": [{{"type": "CVSS_V3", "score": "{vector}"}}],
            "references": [{{"type": "ADVISORY", "url": "https://example.org/{id}"}}],
            "affected": [{{"package": {{"ecosystem": "npm", "name": "{name}"}},
            "ranges": [{{"type": "SEMVER", "events": [{{"introduced": "0"}}, {{"fixed": "{fixed}"}}]}}]}}]}}"#
    )
}

const BAD: &str = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
const MILD: &str = "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N";

fn database(place: &Place, family: Family, fetched: i64, records: &[String]) {
    let mut builder = Builder::new(family);
    for record in records {
        assert!(builder.add(record.as_bytes()).unwrap());
    }
    let mut bytes = Vec::new();
    let fetched = fetched.try_into().unwrap();
    let finished = builder.finish::<()>(fetched, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    });
    finished.unwrap();
    place.write(&format!("advisories/{family}.advisories"), bytes);
}

fn npm(place: &Place) {
    database(
        place,
        Family::Npm,
        NOW - 3_600_000,
        &[
            record("GHSA-1", "CVE-2021-1", "lodash", "4.17.21", BAD),
            record("OTHER-1", "CVE-2021-1", "lodash", "4.17.21", MILD),
            record("GHSA-2", "CVE-2021-2", "minimist", "1.2.6", MILD),
        ],
    );
}

const LOCK: &str = r#"{
  "name": "shop", "lockfileVersion": 3,
  "packages": {
    "": {"name": "shop", "dependencies": {"mkdirp": "^0.5.1", "lodash": "4.17.20"}},
    "node_modules/lodash": {"version": "4.17.20", "resolved": "https://registry.npmjs.org/lodash/-/lodash-4.17.20.tgz"},
    "node_modules/mkdirp": {"version": "0.5.1", "resolved": "https://registry.npmjs.org/mkdirp/-/mkdirp-0.5.1.tgz", "dependencies": {"minimist": "0.0.8"}},
    "node_modules/minimist": {"version": "0.0.8", "resolved": "https://registry.npmjs.org/minimist/-/minimist-0.0.8.tgz"},
    "node_modules/a/node_modules/minimist": {"version": "0.0.8", "resolved": "https://registry.npmjs.org/minimist/-/minimist-0.0.8.tgz"}
  }
}"#;

#[test]
fn known_vulnerabilities_are_found_once_with_their_way_and_their_fix() {
    let place = Place::new();
    npm(&place);
    place.write("app/shop/package-lock.json", LOCK);
    place.write("app/shop/node_modules/x/package-lock.json", LOCK);
    let report = place.run(CONFIG).unwrap();
    assert_eq!(
        told(&report),
        "Critical lodash 4.17.20: Prototype pollution (CVE-2021-1) [vuln/app/shop/package-lock.json/lodash/CVE-2021-1] \
         app/shop/package-lock.json:5\n\
         Low minimist 0.0.8: Prototype pollution (CVE-2021-2) [vuln/app/shop/package-lock.json/minimist/CVE-2021-2] \
         app/shop/package-lock.json:7\n"
    );
    let minimist = report.findings.iter().find(|it| it.title.starts_with("minimist")).unwrap();
    assert_eq!((minimist.fix.as_deref(), minimist.rule.as_deref()), (Some("1.2.6"), Some("CVE-2021-2")));
    assert!(
        minimist.detail.contains("Comes by mkdirp > minimist") || minimist.detail.contains("> mkdirp > minimist"),
        "{}",
        minimist.detail
    );
    assert!(minimist.detail.contains("Also GHSA-2"), "{}", minimist.detail);
    assert_eq!(report.summary, "found 1 critical, 1 low");
    let sbom: serde_json::Value = serde_json::from_str(&report.documents[0].content).unwrap();
    assert_eq!(sbom["specVersion"], "1.6");
    assert_eq!(sbom["components"].as_array().unwrap().len(), 3, "{sbom:#}");
    assert_eq!(sbom["vulnerabilities"].as_array().unwrap().len(), 2);
    assert_eq!(sbom["metadata"]["timestamp"], "2026-11-29T00:00:00Z");
}

#[test]
fn what_is_not_compared_is_told_and_not_taken_for_fixed() {
    let place = Place::new();
    npm(&place);
    place.write("app/package-lock.json", "{");
    place.write("app/api/Cargo.lock", "version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n");
    place.write("app/deep/yarn.lock", [b"# yarn lockfile v1\n".as_slice(), &[0xff; 10]].concat());
    place.write("app/huge/package-lock.json", "[".repeat(100_000));
    let report = place.run(CONFIG).unwrap();
    let told = told(&report);
    for said in [
        "app/package-lock.json cannot be read",
        "app/deep/yarn.lock cannot be read",
        "app/huge/package-lock.json cannot",
    ] {
        assert!(told.contains(said), "{said} in {told}");
    }
    assert!(told.contains("the advisories of crates.io; 1 package not compared"), "{told}");
    for unseen in ["vuln/app/package-lock.json/", "vuln/app/api/Cargo.lock/", "vuln/app/deep/yarn.lock/"] {
        assert!(report.unseen.iter().any(|it| it == unseen), "{unseen} in {:?}", report.unseen);
    }
}

#[test]
fn advisories_that_are_too_old_fail_the_scan_which_goes_on() {
    let place = Place::new();
    place.write("app/package-lock.json", LOCK);
    database(&place, Family::Npm, NOW - 4 * 86_400_000, &[record("GHSA-1", "CVE-2021-1", "lodash", "4.17.21", BAD)]);
    let failed = place.run(CONFIG).unwrap_err().to_string();
    assert!(failed.contains("older than 3d: npm (4d)"), "{failed}");
    // A server that says that nothing is newer is as good as a download.
    place.write("advisories/npm.json", format!(r#"{{"checked": {}, "etag": null, "records": 1}}"#, NOW - 1000));
    let report = place.run(CONFIG).unwrap();
    assert_eq!(report.tables[0].rows[0][..2], ["npm", "1"]);
    assert_eq!(report.findings[0].severity, Severity::Critical);
}

#[test]
fn a_database_that_is_damaged_is_named() {
    let place = Place::new();
    npm(&place);
    place.write("app/package-lock.json", LOCK);
    let file = place.path("advisories/npm.advisories");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.truncate(bytes.len() / 2);
    std::fs::write(&file, &bytes).unwrap();
    let failed = place.run(CONFIG).unwrap_err().to_string();
    assert!(failed.contains("the database of npm in `grant.files.advisories`"), "{failed}");
    assert!(failed.contains("run the task of the plugin `advisories`"), "{failed}");
}
