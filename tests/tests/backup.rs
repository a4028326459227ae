//! The backup as an operator has it: the built program, a task file, the backup plugin, and Debian's restic beside it.
//!
//! It needs what `make build plugins` makes; the variables UPKEEP and PLUGINS name another program and folder.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

#[path = "backup/server.rs"]
mod server;
#[path = "backup/tree.rs"]
mod tree;

use server::{Disk, PASSWORD, Server, cell, findings, is_root, is_there, orders, sqlite, while_written};
use tree::assert_same;

#[test]
fn a_folder_and_a_database_in_use_come_back() {
    let test = "a_folder_and_a_database_in_use_come_back";
    if !is_there("restic", test) || !is_there("sqlite3", test) {
        return;
    }
    let server = Server::new();
    server.fill();
    server.task(true);
    let (app, database) = (server.path("srv/app"), server.path("srv/app/app.db"));

    let checked = server.upkeep(&["check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let planned = server.upkeep(&["run", "app", "--standalone", "--dry-run"]);
    assert!(String::from_utf8_lossy(&planned.stdout).contains("save the database app"));
    assert!(!server.path("repository").exists(), "a dry run makes nothing");

    let (before, first, after) = while_written(&database, || {
        let before = orders(&database);
        let report = server.save();
        (before, report, orders(&database))
    });
    assert_eq!(findings(&first), []);
    assert_eq!(cell(&first, "app", "NEW"), cell(&first, "app", "FILES"));

    // The second has little to add, and is what comes back.
    fs::write(app.join("uploads/new.txt"), "new").expect("a file");
    let second = server.save();
    let changes = ["NEW", "CHANGED"].map(|column| cell(&second, "app", column));
    assert_eq!(changes, ["1", "0"], "{second:#}");
    let added = cell(&second, "app", "ADDED");
    assert!(added.ends_with(" B") || added.ends_with(" KiB"), "{added}");

    server.restic(&["check", "--read-data"]);
    let listed: Value = serde_json::from_slice(&server.restic(&["snapshots", "--json"])).expect("JSON");
    assert_eq!(listed.as_array().expect("snapshots").len(), 4);
    assert_eq!(listed[0]["tags"], serde_json::json!(["nightly", "upkeep:app"]));

    // upkeep gives back the newest of both; restic one after the other.
    let told = server.restore("ours");
    assert!(told.contains("read again and equal to what was saved"), "{told}");
    for source in [&app, &database] {
        let (path, target) = (source.to_str().expect("text"), server.shown("theirs"));
        server.restic(&["restore", "latest", "--path", path, "--target", &target]);
    }
    for target in ["ours", "theirs"] {
        let restored = server.restored(target).join("app.db");
        assert_eq!(sqlite(&restored, "PRAGMA integrity_check"), "ok");
        assert_eq!(orders(&restored), orders(&database), "{target}");
        assert_eq!(fs::metadata(&restored).expect("a file").mode(), fs::metadata(&database).expect("a file").mode());
        assert_same(&app, &server.restored(target));
    }

    // The dump that was made while the database was written to is whole as well.
    let dump =
        listed.as_array().expect("snapshots").iter().find(|it| it["paths"][0] == database.to_str().expect("text"));
    server.restic(&[
        "restore",
        dump.expect("a dump")["id"].as_str().expect("text"),
        "--target",
        &server.shown("first"),
    ]);
    let restored = server.restored("first").join("app.db");
    assert_eq!(sqlite(&restored, "PRAGMA integrity_check"), "ok");
    assert!((before..=after).contains(&orders(&restored)), "{before} <= {} <= {after}", orders(&restored));
    server.assert_password_is_nowhere();
}

#[test]
fn a_password_that_is_wrong_or_not_there_is_told_and_not_shown() {
    let server = Server::new();
    tree::fill(&server.path("srv/app"));
    server.task(false);
    server.save();

    server.set_password("another");
    let (code, told) = server.run();
    assert_eq!(code, 1);
    let text = told.to_string();
    assert!(text.contains("the password does not open the repository"), "{told:#}");
    let listed = server.upkeep(&["backup", "list"]);
    assert_eq!(listed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&listed.stderr).contains("the password does not open the repository"));

    fs::remove_file(server.path("password")).expect("it was there");
    let output = server.upkeep(&["run", "app", "--standalone"]);
    assert_eq!(output.status.code(), Some(2), "it is refused before anything runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("app.toml") && text.contains("password"), "{text}");

    server.set_password(PASSWORD);
    fs::set_permissions(server.path("password"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let output = server.upkeep(&["run", "app", "--standalone"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 600"));
    server.set_password(PASSWORD);
    server.assert_password_is_nowhere();
}

#[test]
fn a_repository_on_a_full_disk_keeps_its_snapshots() {
    let test = "a_repository_on_a_full_disk_keeps_its_snapshots";
    if !is_root(test) || !is_there("restic", test) {
        return;
    }
    let server = Server::new();
    let disk = Disk::mount(&server.path("repository"));
    tree::fill(&server.path("srv/app"));
    server.task(false);
    server.save();

    fs::write(server.path("srv/app/large"), tree::noise(20_000_000)).expect("a file");
    let (code, told) = server.run();
    assert_eq!(code, 1, "{told:#}");
    assert!(told.to_string().contains("No space left on device"), "{told:#}");
    assert_eq!(findings(&told["report"]), [("failed/directory/app", "high")]);

    // What was there before is whole, and when there is room it goes on.
    server.restic(&["--no-lock", "check", "--read-data"]);
    fs::remove_file(server.path("srv/app/large")).expect("it was there");
    disk.grow();
    server.save();
    server.restic(&["check", "--read-data"]);
    server.restore("target");
    assert_same(&server.path("srv/app"), &server.restored("target"));
}

#[test]
fn what_cannot_be_read_is_a_finding_and_the_rest_is_saved() {
    let mut server = Server::new();
    let app = server.path("srv/app");
    fs::write(app.join("open.txt"), "open").expect("a file");
    fs::write(app.join("closed.txt"), "closed").expect("a file");
    fs::create_dir(app.join("closed")).expect("a folder");
    fs::write(app.join("closed/in.txt"), "in").expect("a file");
    for name in ["closed.txt", "closed"] {
        fs::set_permissions(app.join(name), fs::Permissions::from_mode(0o000)).expect("a mode");
    }
    server.task(false);
    if rustix::process::getuid().is_root() {
        // The file system does not keep root out.
        server.user = Some(65_534);
        let everything = Command::new("chown").args(["-R", "65534:65534"]).arg(server.folder.path()).status();
        assert!(everything.expect("chown can be started").success());
    }
    let report = server.save();
    assert_eq!(findings(&report), [("unreadable/directory/app", "medium")]);
    let detail = report["findings"][0]["detail"].as_str().expect("text");
    assert!(detail.contains("closed.txt: ") && detail.contains("closed: "), "{detail}");
    server.restore("target");
    assert_eq!(fs::read_to_string(server.restored("target").join("open.txt")).expect("a file"), "open");
    // So that the folder can be removed.
    let _ = fs::set_permissions(app.join("closed"), fs::Permissions::from_mode(0o700));
}

#[test]
fn files_that_come_and_go_meanwhile_do_no_harm() {
    if !is_there("restic", "files_that_come_and_go_meanwhile_do_no_harm") {
        return;
    }
    let server = Server::new();
    let app = server.path("srv/app");
    for number in 0..3_000 {
        fs::write(app.join(format!("{number:04}")), vec![b'x'; 2_000]).expect("a file");
    }
    fs::create_dir(app.join("stays")).expect("a folder");
    fs::write(app.join("stays/file"), "stays").expect("a file");
    server.task(false);
    let done = AtomicBool::new(false);
    let (code, told) = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in (0..3_000).cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let path = app.join(format!("{number:04}"));
                match number % 3 {
                    0 => drop(fs::remove_file(&path)),
                    1 => drop(fs::write(&path, "short")),
                    _ => drop(fs::write(app.join(format!("new-{number}")), vec![b'y'; 500])),
                }
            }
        });
        let ran = server.run();
        done.store(true, Ordering::Relaxed);
        ran
    });
    assert_eq!(code, 0, "{told:#}");
    server.restic(&["check", "--read-data"]);
    server.restore("target");
    assert_eq!(fs::read_to_string(server.restored("target").join("stays/file")).expect("a file"), "stays");
}

#[test]
fn a_folder_that_has_become_empty_is_noticed() {
    let server = Server::new();
    let app = server.path("srv/app");
    fs::write(app.join("file"), "content").expect("a file");
    server.task(false);
    assert_eq!(findings(&server.save()), []);
    fs::remove_file(app.join("file")).expect("it was there");
    let report = server.save();
    // All of its files are gone: that is unusual too, and holds the repository.
    assert_eq!(findings(&report), [("empty/directory/app", "high"), ("anomaly/directory/app", "high")]);
    assert_eq!(report["findings"][0]["title"], "app has become empty");
}

#[test]
fn a_task_that_cannot_run_any_more_can_be_restored_from() {
    let server = Server::new();
    let app = server.path("srv/app");
    fs::write(app.join("file"), "content").expect("a file");
    symlink("file", app.join("link")).expect("a link");
    server.task(false);
    server.save();
    fs::remove_dir_all(&app).expect("it was there");
    assert_eq!(server.upkeep(&["check"]).status.code(), Some(2));
    server.restore("target");
    assert_eq!(fs::read_to_string(server.restored("target").join("link")).expect("a file"), "content");
    // Back in its place: below the root of the file system is the place.
    let output = server.upkeep(&[
        "backup",
        "restore",
        "app",
        "--target",
        "/",
        "--path",
        &server.shown("srv/app"),
        "--overwrite",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_same(&server.restored("target"), &app);
}
