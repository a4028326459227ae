//! The licence of every dependency against the list in deny.toml, without cargo-deny, so that it is checked wherever the
//! tests run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

mod licences {
    pub(super) mod expression;
}

use licences::expression;

/// Plugins and guests have workspaces of their own, with locks of their own.
const WORKSPACES: [&str; 3] = ["Cargo.toml", "plugins/Cargo.toml", "tests/guests/Cargo.toml"];

#[derive(Deserialize)]
struct Deny {
    licenses: Licences,
}

#[derive(Deserialize)]
struct Licences {
    allow: BTreeSet<String>,
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// None for crates of this repository.
    source: Option<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn deny() -> Licences {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml is there");
    toml::from_str::<Deny>(&text).expect("deny.toml can be read").licenses
}

/// All packages that the lock names, for every target that the registry's local copy is complete for.
fn packages() -> Vec<Package> {
    let metadata = |workspace| {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"])
            .arg("--manifest-path")
            .arg(root().join(workspace))
            .output()
            .expect("cargo can be started");
        assert!(output.status.success(), "{workspace}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Metadata>(&output.stdout).expect("cargo metadata gives JSON").packages
    };
    WORKSPACES.into_iter().flat_map(metadata).collect()
}

#[test]
fn every_dependency_has_a_licence_that_deny_toml_allows() {
    let rules = deny();
    let packages = packages();
    assert!(packages.iter().any(|it| it.name == "wasmtime"), "the list of packages is not that of upkeep");
    let mut wrong = BTreeSet::new();
    for package in &packages {
        let own = rules.exceptions.iter().find(|it| it.name == package.name);
        let allowed = |licence: &str| {
            rules.allow.contains(licence) || own.is_some_and(|exception| exception.allow.contains(licence))
        };
        let problem = match package.license.as_deref().map(|it| (it, expression::holds(it, &allowed))) {
            Some((_, Ok(true))) => continue,
            Some((licence, Ok(false))) => format!("{licence} is not allowed"),
            Some((licence, Err(error))) => format!("`{licence}` cannot be read: {error}"),
            None => "has no licence".to_owned(),
        };
        wrong.insert(format!("{} {}: {problem}", package.name, package.version));
    }
    let wrong: Vec<_> = wrong.into_iter().collect();
    assert!(
        wrong.is_empty(),
        "deny.toml does not allow these; choose another crate, or add the licence or an exception with the reason:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_exception_is_still_needed() {
    let rules = deny();
    let packages = packages();
    for exception in &rules.exceptions {
        let mut used = packages.iter().filter(|it| it.name == exception.name).filter_map(|it| it.license.as_deref());
        let needed = used.any(|it| expression::holds(it, &|licence| rules.allow.contains(licence)) == Ok(false));
        assert!(needed, "deny.toml: the exception for {} can go", exception.name);
    }
}

#[test]
fn every_dependency_comes_from_the_registry() {
    for package in packages() {
        let from = package.source.as_deref();
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        assert!(from.is_none_or(|it| it == registry), "{} comes from {from:?}", package.name);
    }
}
