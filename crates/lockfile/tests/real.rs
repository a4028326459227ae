//! Real files, against counts that were taken without this crate. `data/locks/README.md` says where they come from.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use upkeep_lockfile::{Format, Limits, LockFile, Source, parse};

fn read(path: &str) -> LockFile {
    let full = format!("{}/tests/data/locks/{path}", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&full).unwrap();
    parse(Format::detect(&full).unwrap(), &bytes, &Limits::default()).unwrap()
}

/// The chain of the first package of a name.
fn chain(lock: &LockFile, name: &str) -> String {
    let index = lock.packages.iter().position(|it| &*it.name == name).unwrap();
    lock.chain(index).join(" > ")
}

fn dev(lock: &LockFile) -> usize {
    lock.packages.iter().filter(|it| it.dev == Some(true)).count()
}

/// The number of packages, asserting that there are no notes and that all but folders are from the registry.
fn count(lock: &LockFile) -> usize {
    assert_eq!(lock.notes, []);
    assert!(lock.packages.iter().all(|it| it.source.is_registry() || it.source == Source::Path));
    assert!(lock.packages.iter().all(|it| it.line.is_some()));
    lock.packages.len()
}

#[test]
fn npm() {
    // jq: .packages | del(.[""]) | length, and the same with select(.dev)
    let lock = read("npm-3/package-lock.json");
    assert_eq!((count(&lock), dev(&lock)), (183, 61));
    assert_eq!(chain(&lock, "js-tokens"), "@babel/core > @babel/code-frame > js-tokens");
    assert_eq!(chain(&lock, "scheduler"), "react-dom > scheduler");
    // jq: [.. | objects | select(has("version"))] | length - 1
    let old = read("npm-1/package-lock.json");
    assert_eq!((count(&old), dev(&old)), (183, 61));
    assert_eq!(names(&old), names(&lock));
}

fn names(lock: &LockFile) -> Vec<(&str, &str)> {
    let mut names: Vec<_> = lock.packages.iter().map(|it| (&*it.name, &*it.version)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn pnpm() {
    // Lines of two spaces and a key between `packages:` and the next line without space; `dev: true` by grep.
    let lock = read("pnpm-9/pnpm-lock.yaml");
    assert_eq!(count(&lock), 176);
    assert_eq!(chain(&lock, "js-tokens"), "@babel/core > @babel/code-frame > js-tokens");
    let six = read("pnpm-6/pnpm-lock.yaml");
    assert_eq!(names(&lock), names(&six));
    assert_eq!((dev(&lock), dev(&six)), (60, 60));
    let five = read("pnpm-5/pnpm-lock.yaml");
    assert_eq!(count(&five), 173);
    assert_eq!(chain(&five, "js-tokens"), "@babel/core > @babel/code-frame > js-tokens");
}

#[test]
fn yarn() {
    // grep -c '^[^ #].*:$', less `__metadata:`
    let lock = read("yarn-1/yarn.lock");
    assert_eq!(count(&lock), 174);
    assert_eq!(chain(&lock, "js-tokens"), "@babel/core > @babel/code-frame > js-tokens");
    let lock = read("yarn-4/yarn.lock");
    assert_eq!(count(&lock), 195);
    assert_eq!(chain(&lock, "js-tokens"), "demo > @babel/core > @babel/code-frame > js-tokens");
}

#[test]
fn cargo() {
    // grep -c '^\[\[package\]\]'
    assert_eq!(count(&read("anstream/Cargo.lock")), 85);
    assert_eq!(count(&read("combine/Cargo.lock")), 138);
    let own = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
    let lock = parse(Format::Cargo, &own, &Limits::default()).unwrap();
    let expected = own.split(|it| *it == b'\n').filter(|it| *it == b"[[package]]").count();
    assert_eq!(count(&lock), expected);
    assert!(chain(&lock, "saphyr-parser").ends_with("upkeep-lockfile > saphyr-parser"));
}

#[test]
fn python() {
    // grep -c '^\[\[package\]\]', grep -c '^[a-z].*=='
    let lock = read("uv/uv.lock");
    assert_eq!(count(&lock), 17);
    assert_eq!(chain(&lock, "markupsafe"), "demo > flask > markupsafe");
    assert_eq!(chain(&lock, "pluggy"), "demo > pytest > pluggy");
    assert!(lock.packages.iter().any(|it| &*it.name == "pluggy" && it.dev == Some(true)));
    assert_eq!(count(&read("uv/requirements.txt")), 7);
}

#[test]
fn dpkg() {
    // grep -c 'ok installed$'
    let lock = read("debian-12/lib/dpkg/status");
    assert_eq!(count(&lock), 36);
    let libssl = lock.packages.iter().find(|it| it.alias.as_deref() == Some("libssl3")).unwrap();
    assert_eq!(&*libssl.name, "openssl");
    // Of another version than the binary package, by `dpkg-query -f '${source:Version}' -W libgcc-s1`.
    assert!(lock.packages.iter().any(|it| &*it.name == "gcc-12"));
}
