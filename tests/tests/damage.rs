//! Repositories that are broken on purpose: each damage is found and named, with what is lost and what is not; the rest
//! restores; and the commands that the check tells put it right, so that `restic check --read-data` passes again.
//!
//! What can go wrong while a backup runs (a full disk, files that change, cannot be read or vanish, a wrong password) is in
//! `tests/tests/backup.rs` and `tests/tests/repository.rs`, and kills in `tests/tests/crash.rs`.
//!
//! It needs what `make build plugins` makes; the variables UPKEEP and PLUGINS name another program and folder.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use upkeep::config::grant::{RepositoryAccess, RepositoryGrant};
use upkeep::config::secret::Secret;
use upkeep::repository::check::{DamageKind, Reading};
use upkeep::repository::{Repository, Tell};

#[path = "damage/stage.rs"]
mod stage;

use stage::{Stage, has_restic, is_root, noise};

/// The check, read as an operator would.
macro_rules! assert_told {
    ($name:expr, $stage:expr, $text:expr) => {{
        let settled = $stage.settled(&$text);
        insta::with_settings!({ filters => vec![
            (r"\d+(\.\d+)?(ms|s)\b", "[TOOK]"),
            (r"\d+ pieces?, read", "[N] pieces, read"),
            (r"\d+ of its \d+ pieces?", "[N] of its [N] pieces"),
            (r"the other \d+ pieces?", "the other [N] pieces"),
            (r"\d+ of \d+ packs? \([^)]*\)", "[N] of [N] packs ([SIZE])"),
        ] }, { insta::assert_snapshot!($name, settled) });
    }};
}

#[test]
fn a_whole_repository_has_nothing_to_tell() {
    if !has_restic("a_whole_repository_has_nothing_to_tell") {
        return;
    }
    let stage = Stage::new();
    let (is_well, told) = stage.check(&[]);
    assert!(is_well, "{told}");
    assert_told!("whole", stage, told);
    // The parts together are everything.
    let read: u64 = (1..=7)
        .map(|part| {
            let output = stage.upkeep(&["backup", "check", "app", "--part", &format!("{part}/7"), "--json"]);
            let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
            told["packs_read"].as_u64().expect("a number")
        })
        .sum();
    assert_eq!(read, stage.files("data").len() as u64);
    assert_eq!(stage.found(), []);
    for wrong in ["0/7", "8/7", "7", "1/257", "a/b"] {
        assert_eq!(stage.upkeep(&["backup", "check", "app", "--part", wrong]).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn every_file_of_a_repository_is_missed_when_it_changes() {
    let test = "every_file_of_a_repository_is_missed_when_it_changes";
    if !has_restic(test) {
        return;
    }
    let stage = Stage::new();
    let grant = RepositoryGrant {
        access: vec![RepositoryAccess::Check],
        ..RepositoryGrant::new(stage.shown("repository"), Secret::File(stage.path("password")))
    };
    let repository = Repository::open(&grant).expect("it opens");
    let found = || {
        let tell: Tell = Arc::new(|_, _| {});
        let report = repository.check(&Reading::everything(), &CancellationToken::new(), tell).expect("it is checked");
        report.damages.into_iter().map(|damage| (damage.kind, damage.file)).collect::<Vec<_>>()
    };
    let files: Vec<String> = ["data", "index", "snapshots"].iter().flat_map(|kind| stage.files(kind)).collect();
    assert!(files.len() > 9, "{files:?}");
    for (number, file) in files.iter().enumerate() {
        let whole = fs::read(stage.path("repository").join(file)).expect("a file");
        let length = whole.len();
        let (kind, missing) = match file.split('/').next() {
            Some("data") => (DamageKind::Pack, Some((DamageKind::PackMissing, file.clone()))),
            Some("index") => (DamageKind::Index, Some((DamageKind::IndexMissing, "index/".to_owned()))),
            // A snapshot that is gone is one that was forgotten: nothing refers to it.
            _ => (DamageKind::Snapshot, None),
        };
        for round in 0..8 {
            let at = (number + round) * 7_919 % length;
            stage.flip(file, at);
            assert_eq!(found(), [(kind, file.clone())], "a bit of {file} at {at} of {length}");
            stage.change(file, |bytes| bytes.clone_from(&whole));
            stage.change(file, |bytes| bytes.truncate(at));
            assert_eq!(found(), [(kind, file.clone())], "{file} cut at {at} of {length}");
            stage.change(file, |bytes| bytes.clone_from(&whole));
        }
        stage.flip(file, length - 2);
        assert_eq!(found(), [(kind, file.clone())], "a bit near the end of {file}");
        stage.change(file, |bytes| bytes.clone_from(&whole));
        stage.change(file, |bytes| bytes.extend_from_slice(b"more"));
        assert_eq!(found(), [(kind, file.clone())], "bytes behind the end of {file}");
        stage.change(file, |bytes| bytes.clone_from(&whole));
        stage.remove(file);
        assert_eq!(found(), missing.into_iter().collect::<Vec<_>>(), "without {file}");
        fs::write(stage.path("repository").join(file), whole).expect("a file");
    }
    assert_eq!(found(), []);
    stage.assert_restic_finds_nothing();
}

#[test]
fn the_plugin_fails_a_run_that_finds_damage_and_reads_everything_in_time() {
    let test = "the_plugin_fails_a_run_that_finds_damage_and_reads_everything_in_time";
    if !has_restic(test) {
        return;
    }
    let stage = Stage::new();
    stage.check_task("full_every = \"1d\"");
    let packs = stage.files("data").len() as u64;
    let read = |told: &serde_json::Value| {
        let row = &told["report"]["tables"][0]["rows"][0];
        row[2].as_str().and_then(|read| read.parse::<u64>().ok()).expect("a number")
    };
    // The first run has a day's share to read, which here is everything; the next has that of some seconds: one part at most,
    // in which there may be more than one pack.
    let (code, told) = stage.run("check");
    assert_eq!((code, read(&told)), (0, packs), "{told:#}");
    let (code, told) = stage.run("check");
    assert_eq!(code, 0, "{told:#}");
    let input = told["steps"][0]["input"].as_str().expect("a step");
    let input: serde_json::Value = serde_json::from_str(input).expect("JSON");
    assert!(input["parts"].as_array().expect("parts").len() <= 1, "{told:#}");
    assert!(read(&told) < packs, "{told:#}");

    // A pack that is gone shows without reading, and makes the run fail.
    let pack = stage.pack_of("srv/app/photos/new.jpg");
    let kept = fs::read(stage.path("repository").join(&pack)).expect("a file");
    stage.remove(&pack);
    for _ in 0..2 {
        let (code, told) = stage.run("check");
        assert_eq!(code, 1, "{told:#}");
        let finding = &told["report"]["findings"][0];
        assert_eq!(finding["severity"], "critical", "{told:#}");
        assert!(finding["detail"].as_str().expect("text").contains("photos/new.jpg"), "{told:#}");
    }
    fs::write(stage.path("repository").join(&pack), kept).expect("a file");

    // So does one bit, as soon as its part is read; and it is told again in each run until it is repaired.
    stage.flip(&pack, 100);
    stage.check_task("full_every = \"1s\"");
    let (code, first) = stage.run("check");
    assert_eq!(code, 1, "{first:#}");
    stage.check_task("full_every = \"30d\"");
    let (code, again) = stage.run("check");
    assert_eq!(code, 1, "{again:#}");
    for field in ["key", "title", "detail"] {
        assert_eq!(first["report"]["findings"][0][field], again["report"]["findings"][0][field]);
    }
    assert_eq!(again["report"]["findings"][0]["state"], "known");
    stage.flip(&pack, 100);
    let (code, told) = stage.run("check");
    assert_eq!(code, 0, "{told:#}");
    assert_eq!(told["report"]["findings"], serde_json::json!([]));

    // The right to check gives neither content nor the right to change anything.
    let text = fs::read_to_string(stage.path("etc/tasks.d/check.toml")).expect("a file");
    stage.write("etc/tasks.d/check.toml", &text.replace("[\"check\"]", "[\"list\"]"));
    let refused = stage.upkeep(&["check"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("needs the right `check`"), "{refused:?}");
}

#[test]
fn a_damaged_pack_names_its_files_and_heals_from_the_source() {
    if !has_restic("a_damaged_pack_names_its_files_and_heals_from_the_source") {
        return;
    }
    let stage = Stage::new();
    let pack = stage.pack_of("srv/app/photos/new.jpg");
    stage.flip(&pack, 100);
    // Its length is right: only who reads it sees it.
    assert!(stage.check(&[]).0);
    let (is_well, told) = stage.check(&["--read-data"]);
    assert!(!is_well);
    assert_told!("pack", stage, told);
    assert!(told.contains("photos/new.jpg, in 1 snapshot") && !told.contains("big.jpg"), "{told}");

    // The rest restores; what is lost is refused and not filled with something else.
    assert_eq!(stage.restored("logs", "srv/logs/access.log"), noise(3, 600_000));
    let target = stage.shown("target");
    assert!(!stage.upkeep(&["backup", "restore", "app", "--target", &target]).status.success());

    stage.follow(&told);
    assert_eq!(stage.found(), []);
    stage.assert_restic_finds_nothing();
    assert_eq!(stage.restored("app", "srv/app/photos/new.jpg"), noise(2, 2_000_000));
}

#[test]
fn what_is_lost_for_good_costs_only_the_snapshots_that_are_named() {
    if !has_restic("what_is_lost_for_good_costs_only_the_snapshots_that_are_named") {
        return;
    }
    let stage = Stage::new();
    let pack = stage.pack_of("srv/app/photos/new.jpg");
    stage.remove(&pack);
    fs::remove_file(stage.path("srv/app/photos/new.jpg")).expect("it was there");
    let (is_well, told) = stage.check(&[]);
    assert!(!is_well, "a pack that is missing shows without reading: {told}");
    assert_told!("pack_missing", stage, told);
    stage.follow(&told);
    // The source does not have it any more: the check still names it, and its snapshot can be given up.
    let (is_well, still) = stage.check(&["--read-data"]);
    assert!(!is_well && still.contains("photos/new.jpg, in 1 snapshot"), "{still}");
    let forget = still.lines().map(str::trim).find(|line| line.contains("forget --prune")).expect("a command");
    let snapshots: Vec<&str> =
        forget.split("--prune ").nth(1).and_then(|rest| rest.split("   (").next()).expect("names").split(' ').collect();
    stage.restic(&[&["forget", "--prune"], &snapshots[..]].concat());
    assert_eq!(stage.found(), []);
    stage.assert_restic_finds_nothing();
    assert_eq!(stage.restored("app", "srv/app/photos/big.jpg"), noise(1, 3_000_000));
}

#[test]
fn a_damaged_folder_is_named_with_all_that_is_in_it() {
    if !has_restic("a_damaged_folder_is_named_with_all_that_is_in_it") {
        return;
    }
    let stage = Stage::new();
    let pack = stage.pack_of_folder("srv/logs");
    stage.change(&pack, |bytes| {
        let length = bytes.len();
        bytes.truncate(length / 3);
    });
    let (is_well, told) = stage.check(&[]);
    assert!(!is_well, "its length is wrong: {told}");
    assert!(
        told.contains("srv/logs/, in 1 snapshot")
            || told.contains("/srv/, in 1 snapshot")
            || told.contains("/, in 1 snapshot"),
        "{told}"
    );
    assert!(!told.contains("srv/app"), "{told}");
    assert_eq!(stage.restored("app", "srv/app/photos/big.jpg"), noise(1, 3_000_000));
    stage.follow(&told);
    let (is_well, still) = stage.check(&["--read-data"]);
    if !is_well {
        // The folders above have other times by now, so that the new snapshot does not heal the old one.
        let forget = still.lines().map(str::trim).find(|line| line.contains("forget --prune")).expect("a command");
        let snapshots: Vec<&str> = forget
            .split("--prune ")
            .nth(1)
            .and_then(|rest| rest.split("   (").next())
            .expect("names")
            .split(' ')
            .collect();
        stage.restic(&[&["forget", "--prune"], &snapshots[..]].concat());
    }
    assert_eq!(stage.found(), []);
    stage.assert_restic_finds_nothing();
    assert_eq!(stage.restored("logs", "srv/logs/access.log"), noise(3, 600_000));
}

#[test]
fn a_damaged_index_costs_nothing() {
    if !has_restic("a_damaged_index_costs_nothing") {
        return;
    }
    let stage = Stage::new();
    let index = stage.files("index").remove(0);
    stage.flip(&index, 40);
    let (is_well, told) = stage.check(&[]);
    assert!(!is_well);
    assert_told!("index", stage, told);
    stage.follow(&told);
    assert_eq!(stage.found(), []);
    stage.assert_restic_finds_nothing();

    for index in stage.files("index") {
        stage.remove(&index);
    }
    let (is_well, told) = stage.check(&[]);
    assert!(!is_well);
    assert_told!("index_missing", stage, told);
    stage.follow(&told);
    assert_eq!(stage.found(), []);
    stage.assert_restic_finds_nothing();
    assert_eq!(stage.restored("app", "srv/app/photos/new.jpg"), noise(2, 2_000_000));
}

#[test]
fn a_damaged_snapshot_costs_its_entry_and_is_found_again() {
    if !has_restic("a_damaged_snapshot_costs_its_entry_and_is_found_again") {
        return;
    }
    let stage = Stage::new();
    // That of the logs, the only one of them.
    let listed: serde_json::Value =
        serde_json::from_slice(&stage.restic(&["snapshots", "--json", "--tag", "upkeep:logs"])).expect("JSON");
    let file = format!("snapshots/{}", listed[0]["id"].as_str().expect("a name"));
    stage.flip(&file, 33);
    let (is_well, told) = stage.check(&[]);
    assert!(!is_well);
    assert_told!("snapshot", stage, told);
    stage.follow(&told);
    assert_eq!(stage.found(), []);
    stage.assert_restic_finds_nothing();
    // `restic recover` has listed its content again.
    let target = stage.shown("target");
    let latest = stage.restic(&["snapshots", "--json", "--tag", "recovered"]);
    let latest: serde_json::Value = serde_json::from_slice(&latest).expect("JSON");
    stage.restic(&["restore", latest[0]["id"].as_str().expect("a name"), "--target", &target]);
    let found = Command::new("find").args([&target, "-name", "access.log"]).output().expect("find").stdout;
    let found = String::from_utf8(found).expect("text");
    assert_eq!(fs::read(found.trim()).expect("a file"), noise(3, 600_000));
    assert_eq!(stage.restored("app", "srv/app/photos/big.jpg"), noise(1, 3_000_000));
}

#[test]
fn a_damaged_key_or_config_is_told_apart_from_a_wrong_password() {
    if !has_restic("a_damaged_key_or_config_is_told_apart_from_a_wrong_password") {
        return;
    }
    let stage = Stage::new();
    let key = stage.files("keys").remove(0);
    let whole = fs::read(stage.path("repository").join(&key)).expect("a file");
    // Within the salt: the file is still well-formed, and would look like a wrong password.
    let salt = String::from_utf8_lossy(&whole).find("\"salt\":\"").expect("a salt") + 12;
    stage.change(&key, |bytes| bytes[salt] = if bytes[salt] == b'A' { b'B' } else { b'A' });
    let (is_well, told) = stage.check(&[]);
    assert!(!is_well);
    assert_told!("key", stage, told);
    stage.change(&key, |bytes| bytes.clone_from(&whole));
    assert_eq!(stage.found(), []);

    let config = fs::read(stage.path("repository/config")).expect("a file");
    stage.flip("config", 30);
    let (is_well, told) = stage.check(&[]);
    assert!(!is_well);
    assert_told!("config", stage, told);
    let (code, told) = stage.run("app");
    assert_eq!(code, 1);
    assert!(told.to_string().contains("its file `config` is damaged"), "{told:#}");
    stage.change("config", |bytes| bytes.clone_from(&config));

    // A second key opens it while the first is damaged.
    stage.write("second", "another-password\n");
    stage.restic(&["key", "add", "--new-password-file", &stage.shown("second")]);
    let second = stage.files("keys").into_iter().find(|it| *it != key).expect("a second key");
    stage.change(&second, |bytes| bytes[salt] = if bytes[salt] == b'A' { b'B' } else { b'A' });
    let (is_well, told) = stage.check(&[]);
    assert!(!is_well);
    assert_told!("second_key", stage, told);
    stage.remove(&second);
    assert_eq!(stage.found(), []);

    stage.write("password", "wrong\n");
    let (is_well, told) = stage.check(&[]);
    assert!(!is_well && told.contains("the password does not open the repository"), "{told}");
}

#[test]
fn foreign_files_are_named_and_do_no_harm() {
    if !has_restic("foreign_files_are_named_and_do_no_harm") {
        return;
    }
    let stage = Stage::new();
    let pack = stage.files("data").remove(0);
    fs::copy(stage.path("repository").join(&pack), stage.path("repository/data/copy of a pack")).expect("a file");
    stage.write("repository/index/.swp", "an editor's");
    stage.write("repository/README", "do not touch");
    let (is_well, told) = stage.check(&["--read-data"]);
    assert!(is_well, "{told}");
    assert_told!("foreign", stage, told);
    stage.save("app");
}

#[test]
fn a_repository_on_a_read_only_mount_is_checked_and_restored_from() {
    let test = "a_repository_on_a_read_only_mount_is_checked_and_restored_from";
    if !is_root(test) || !has_restic(test) {
        return;
    }
    let stage = Stage::new();
    let repository = stage.path("repository");
    let mount = |arguments: &[&str]| {
        let status = Command::new("mount").args(arguments).arg(&repository).status().expect("mount can be started");
        assert!(status.success(), "mount {arguments:?}");
    };
    struct Mounted(std::path::PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        }
    }
    mount(&["--bind", &repository.display().to_string()]);
    let mounted = Mounted(repository.clone());
    mount(&["-o", "remount,bind,ro"]);
    assert_eq!(stage.found(), []);
    assert_eq!(stage.restored("app", "srv/app/photos/big.jpg"), noise(1, 3_000_000));
    stage.write("srv/app/notes/third.txt", "the third");
    let (code, told) = stage.run("app");
    assert_eq!(code, 1, "{told:#}");
    assert!(told.to_string().contains("Read-only file system"), "{told:#}");
    drop(mounted);
    stage.save("app");
    assert_eq!(stage.restored("app", "srv/app/notes/third.txt"), b"the third");
    stage.assert_restic_finds_nothing();
}
