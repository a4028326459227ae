//! Documents against the schema of CycloneDX 1.6, and against what is known of small ones.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use serde_json::Value;
use upkeep_lockfile::sbom::{Bom, Method, Rating, Severity, Vulnerability, bom_ref};
use upkeep_lockfile::{Format, Limits, LockFile, parse};

const CARGO: &str = r#"version = 4

[[package]]
name = "app"
version = "0.1.0"
dependencies = ["a"]

[[package]]
name = "a"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
"#;

const NPM: &str = r#"{"lockfileVersion": 3, "packages": {
  "node_modules/@s/a": {"version": "1.0.0", "dependencies": {"b": "1"}},
  "node_modules/b": {"version": "2.0.0", "dev": true},
  "node_modules/@s/a/node_modules/b": {"version": "2.0.0"}}}"#;

fn read(format: Format, text: &str) -> LockFile {
    parse(format, text.as_bytes(), &Limits::default()).unwrap()
}

fn write(files: &[(&str, &LockFile)], vulnerabilities: Option<&[Vulnerability]>) -> Value {
    let bom = Bom {
        serial: "3e671687-395b-41f5-a30f-a58921a69b79",
        timestamp: "2026-11-29T12:00:00Z",
        subject: "example",
        tool_version: "0.1.0",
        files,
        vulnerabilities,
    };
    let mut json = Vec::new();
    bom.write(&mut json).unwrap();
    let mut again = Vec::new();
    bom.write(&mut again).unwrap();
    assert_eq!(json, again);
    serde_json::from_slice(&json).unwrap()
}

/// Asserts that a document is valid.
fn validate(document: &Value) {
    let schema = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let bom = schema(include_str!("data/schema/bom-1.6.SNAPSHOT.schema.json"));
    let others = [
        (
            "http://cyclonedx.org/schema/spdx.SNAPSHOT.schema.json",
            include_str!("data/schema/spdx.SNAPSHOT.schema.json"),
        ),
        (
            "http://cyclonedx.org/schema/jsf-0.82.SNAPSHOT.schema.json",
            include_str!("data/schema/jsf-0.82.SNAPSHOT.schema.json"),
        ),
    ];
    let registry = others
        .into_iter()
        .fold(jsonschema::Registry::new(), |registry, (name, text)| registry.add(name, schema(text)).unwrap());
    let registry = registry.prepare().unwrap();
    let validator = jsonschema::options().with_registry(&registry).should_validate_formats(true).build(&bom).unwrap();
    let errors: Vec<_> = validator.iter_errors(document).map(|it| format!("{}: {it}", it.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn a_package_at_many_places_is_one_component() {
    let (cargo, npm) = (read(Format::Cargo, CARGO), read(Format::Npm, NPM));
    let document = write(&[("Cargo.lock", &cargo), ("web/package-lock.json", &npm)], None);
    validate(&document);
    let refs: Vec<_> = document["components"].as_array().unwrap().iter().map(|it| &it["bom-ref"]).collect();
    assert_eq!(refs, ["path:crates.io/app@0.1.0", "pkg:cargo/a@1.0.0", "pkg:npm/%40s/a@1.0.0", "pkg:npm/b@2.0.0"]);
    let [app, _, scoped, twice] = document["components"].as_array().unwrap().as_slice() else { panic!() };
    assert_eq!(app.get("purl"), None);
    assert_eq!((&scoped["group"], &scoped["name"]), (&"@s".into(), &"a".into()));
    assert_eq!(
        twice["evidence"]["occurrences"],
        serde_json::json!([
            {"location": "web/package-lock.json", "line": 3},
            {"location": "web/package-lock.json", "line": 4}
        ])
    );
    assert_eq!(
        document["dependencies"],
        serde_json::json!([
            {"ref": "path:crates.io/app@0.1.0", "dependsOn": ["pkg:cargo/a@1.0.0"]},
            {"ref": "pkg:npm/%40s/a@1.0.0", "dependsOn": ["pkg:npm/b@2.0.0"]}
        ])
    );
    assert_eq!(document.get("vulnerabilities"), None);
}

#[test]
fn vulnerabilities_point_at_components() {
    let cargo = read(Format::Cargo, CARGO);
    let vulnerability = Vulnerability {
        id: "RUSTSEC-2026-0001".into(),
        ratings: vec![Rating {
            severity: Severity::High,
            score: Some(7.5),
            method: Some(Method::Cvss31),
            vector: Some("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H".into()),
        }],
        affects: vec![bom_ref(&cargo, &cargo.packages[1])],
    };
    let document = write(&[("Cargo.lock", &cargo)], Some(&[vulnerability]));
    validate(&document);
    assert_eq!(document["vulnerabilities"][0]["affects"][0]["ref"], "pkg:cargo/a@1.0.0");
}

#[test]
fn every_real_lock_gives_a_valid_document() {
    let mut seen = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/locks")).unwrap() {
        let folder = entry.unwrap().path();
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let Some(format) = Format::detect(path.to_str().unwrap()) else { continue };
            let file = parse(format, &std::fs::read(&path).unwrap(), &Limits::default()).unwrap();
            validate(&write(&[("file", &file)], Some(&[])));
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} files");
}
