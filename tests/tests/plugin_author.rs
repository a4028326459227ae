//! The way of a plugin's author: `upkeep plugin new`, `cargo test`, `upkeep plugin build`, `upkeep plugin inspect`.
//!
//! It needs the compiler's library for WebAssembly, as `make plugins` does, and takes half a minute the first time:
//! the target folder stays between runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use upkeep::plugin::build::{Build, BuildError};
use upkeep::plugin::{inspect, new};

const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugin-sdk");
const TARGET: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/plugin-author");

fn build(dir: &Path) -> (Result<PathBuf, BuildError>, String) {
    let mut told = Vec::new();
    let build = Build { dir: dir.to_owned(), target_dir: Some(TARGET.into()), ..Build::default() };
    let built = build.run(&mut told).map(|mut all| all.remove(0).file);
    (built, String::from_utf8(told).unwrap())
}

#[test]
fn from_new_to_inspect() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("night-watch");
    new::create("night-watch", &dir, Some(Path::new(SDK)), &mut Vec::new()).unwrap();

    // Native, with the dependencies that the build below needs as well.
    let tested = Command::new("cargo").args(["test", "--release", "--target-dir", TARGET]).current_dir(&dir).status();
    assert!(tested.unwrap().success());

    let (file, told) = build(&dir);
    let file = file.unwrap();
    assert_eq!(file, dir.join("night-watch.wasm"));
    assert_eq!(told.lines().filter(|line| line.starts_with("toolchain: ")).count(), 1, "{told}");

    let mut shown = Vec::new();
    inspect::show(&file, false, &mut shown).unwrap();
    let shown = String::from_utf8(shown).unwrap().replace(&folder.path().display().to_string(), "");
    insta::with_settings!({ filters => vec![(r"sha256 [0-9a-f]{64}", "sha256 ..."), (r"\d+ bytes", "... bytes")] }, {
        insta::assert_snapshot!(shown);
    });

    // The second time there is nothing to do.
    assert!(build(&dir).1.contains("up to date"));

    // A call that the manifest does not ask for shows here, and not at the operator's.
    let manifest = std::fs::read_to_string(dir.join("plugin.toml")).unwrap();
    std::fs::write(dir.join("plugin.toml"), manifest.replace("[capabilities.state]", "[capabilities.metrics]"))
        .unwrap();
    let error = build(&dir).0.unwrap_err().to_string();
    insta::assert_snapshot!(error.replace(&folder.path().display().to_string(), ""));
}

#[test]
fn a_folder_without_a_plugin_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::write(folder.path().join("src/lib.rs"), "").unwrap();
    let cargo = "[package]\nname = \"bare\"\nedition = \"2024\"\n[workspace]\n";
    std::fs::write(folder.path().join("Cargo.toml"), cargo).unwrap();
    assert!(matches!(build(folder.path()).0, Err(BuildError::NoPlugin { .. })));
}
