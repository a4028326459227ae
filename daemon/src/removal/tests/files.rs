//! What goes, and what does not.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use super::*;

fn counts(done: &Done) -> [u64; 7] {
    let Done { removed, compressed, changed, in_use, filled, gone, failed, .. } = done;
    [removed.items, compressed.items, changed.items, in_use.items, *filled, *gone, failed.items]
}

#[test]
fn only_what_is_as_it_was_seen_goes() {
    let place = Place::with(&[
        "same",
        "grown",
        "shrunk",
        "touched",
        "rewritten",
        "exchanged",
        "gone",
        "folder now",
        "link now",
    ]);
    for name in ["grown", "shrunk", "touched", "rewritten", "exchanged", "folder now", "link now", "gone"] {
        let path = place.at(name);
        let plan = place.plan(&["same", name]);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        match name {
            "grown" => fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap(),
            "shrunk" => fs::File::options().write(true).open(&path).unwrap().set_len(3).unwrap(),
            "touched" => {
                let touched = modified + Duration::from_nanos(1);
                fs::File::options().write(true).open(&path).unwrap().set_modified(touched).unwrap();
            }
            // The same name, size and time, but another file.
            "exchanged" => {
                fs::rename(&path, place.folder.path().join("the old one")).unwrap();
                place.write(name, "9876543210");
            }
            "rewritten" => fs::write(&path, "9876543210").unwrap(),
            "gone" => fs::remove_file(&path).unwrap(),
            now => {
                fs::remove_file(&path).unwrap();
                if now == "folder now" { fs::create_dir(&path).unwrap() } else { symlink("same", &path).unwrap() }
            }
        }
        if !["touched", "gone", "link now", "folder now"].contains(&name) {
            let file = fs::File::options().write(true).open(&path).unwrap();
            // Also somebody who sets the time back; the size tells, or the number of the file. Who keeps all of them the
            // same has the right to remove it as well.
            file.set_modified(if name == "rewritten" { UNIX_EPOCH } else { modified }).unwrap();
        }
        let done = place.carry_out(&plan);
        let expected = if name == "gone" { [1, 0, 0, 0, 0, 1, 0] } else { [1, 0, 1, 0, 0, 0, 0] };
        assert_eq!(counts(&done), expected, "{name}: {done:?}");
        assert_eq!(done.removed.bytes, 10);
        if name != "gone" {
            assert_eq!(done.problems, [format!("{name}: it has changed since it was planned")]);
            assert!(place.at(name).symlink_metadata().is_ok(), "{name}");
        }
        assert!(!place.at("same").exists());
        place.write("same", "0123456789");
    }
}

#[test]
fn a_link_goes_and_what_it_leads_to_stays() {
    let place = Place::with(&["target", "folder/file"]);
    symlink("target", place.at("to file")).unwrap();
    symlink("folder", place.at("to folder")).unwrap();
    symlink(place.folder.path(), place.at("out")).unwrap();
    symlink("nowhere", place.at("dangling")).unwrap();
    let plan = place.plan(&["to file", "to folder", "out", "dangling"]);
    assert_eq!(counts(&place.carry_out(&plan)), [4, 0, 0, 0, 0, 0, 0]);
    assert_eq!(place.names(), ["folder", "folder/file", "target"]);
    assert!(place.state().exists(), "what is outside is still there");
}

#[test]
fn nothing_goes_through_a_link() {
    let place = Place::with(&["folder/file", "real/file"]);
    fs::create_dir(place.folder.path().join("outside")).unwrap();
    fs::rename(place.at("real/file"), place.folder.path().join("outside/file")).unwrap();
    symlink(place.folder.path().join("outside"), place.at("way")).unwrap();
    symlink("folder", place.at("inside")).unwrap();
    // As a guest would have it that was told of the link: all that is said of the files is true.
    let items = [place.item("way/file"), place.item("inside/file")];
    let done = place.carry_out(&place.plan_in(&place.run(), &items));
    assert_eq!(counts(&done), [0, 0, 2, 0, 0, 0, 0], "{done:?}");
    assert!(place.folder.path().join("outside/file").exists() && place.at("folder/file").exists());

    // A folder that is exchanged for a link after the plan, and back.
    let plan = place.plan(&["folder/file"]);
    fs::rename(place.at("folder"), place.at("moved")).unwrap();
    symlink(place.folder.path().join("outside"), place.at("folder")).unwrap();
    assert_eq!(counts(&place.carry_out(&plan)), [0, 0, 1, 0, 0, 0, 0]);
    fs::remove_file(place.at("folder")).unwrap();
    assert_eq!(counts(&place.carry_out(&plan)), [0, 0, 0, 0, 0, 1, 0], "its folder is gone");
    fs::rename(place.at("moved"), place.at("folder")).unwrap();
    assert_eq!(counts(&place.carry_out(&plan)), [1, 0, 0, 0, 0, 0, 0], "it is what was seen");
}

#[test]
fn folders_go_when_they_are_empty_those_within_first() {
    let place = Place::with(&["a/b/c/file", "a/b.txt", "full/old", "full/new", "z"]);
    // As a walk gives them, which is the wrong order.
    let plan = place.plan(&["a", "a/b", "a/b/c", "a/b/c/file", "a/b.txt", "full", "full/old"]);
    let done = place.carry_out(&plan);
    assert_eq!(counts(&done), [6, 0, 0, 0, 1, 0, 0], "{done:?}");
    assert_eq!((done.removed.bytes, place.names()), (30, vec!["full".into(), "full/new".into(), "z".into()]));

    // Another folder of the same name stays.
    fs::create_dir(place.at("empty")).unwrap();
    let plan = place.plan(&["empty"]);
    fs::create_dir(place.at("other")).unwrap();
    fs::rename(place.at("other"), place.at("empty")).unwrap();
    assert_eq!(counts(&place.carry_out(&plan)), [0, 0, 1, 0, 0, 0, 0]);
    assert!(place.at("empty").exists());
}

#[test]
fn pipes_sockets_and_devices_stay_whatever_the_plan_says_they_are() {
    let place = Place::new();
    rustix::fs::mknodat(CWD, place.at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let _socket = UnixListener::bind(place.at("socket")).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let mut names = vec!["pipe", "socket"];
    if is_root {
        let null = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(CWD, place.at("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o600), null)
            .unwrap();
        names.push("null");
    }
    // `item` calls them files.
    let done = place.carry_out(&place.plan(&names));
    assert_eq!(done.changed.items, names.len() as u64, "{done:?}");
    assert_eq!(place.names().len(), names.len());
}

#[test]
fn what_is_protected_stays_also_when_it_is_in_the_plan() {
    let place = Place::with(&["keep/deep/a.txt", "key.pem", "line\nfeed.pem", ".ssh/id", "x/lost+found/y", "free"]);
    let undo = place.at(".upkeep-undo/RUN-data/0");
    fs::create_dir_all(&undo).unwrap();
    fs::write(undo.join("0-x"), "").unwrap();
    let paths = [
        "keep/deep/a.txt",
        "key.pem",
        "line\nfeed.pem",
        ".ssh/id",
        "x/lost+found/y",
        ".upkeep-undo/RUN-data/0/0-x",
        "free",
    ];
    let plan = place.plan(&paths);
    let done = place.carry_out_with(&plan, None, &["/keep", "*.pem"], &|_| {}).unwrap();
    assert_eq!(counts(&done), [1, 0, 0, 0, 0, 0, 6], "{done:?}");
    assert!(paths[..6].iter().all(|path| place.at(path).exists()) && !place.at("free").exists());
}

#[test]
fn who_writes_to_a_file_keeps_it_and_is_named() {
    let place = Place::with(&["log", "read", "mapped"]);
    let _writer = fs::OpenOptions::new().append(true).open(place.at("log")).unwrap();
    let _reader = fs::File::open(place.at("read")).unwrap();
    for action in [Action::Gzip, Action::Remove] {
        let item = Item { action, ..place.item("log") };
        let done = place.carry_out(&place.plan_in(&place.run(), &[item]));
        assert_eq!(counts(&done), [0, 0, 0, 1, 0, 0, 0], "{done:?}");
        let [problem] = &done.problems[..] else { panic!("{done:?}") };
        assert!(
            problem.starts_with("log: ") && problem.contains(&format!("(process {}) writes to it", std::process::id()))
        );
    }
    let (_, done) = place.move_aside(&["log", "read"]);
    assert_eq!((done.in_use.items, done.removed.items), (1, 1), "reading does not keep it: {done:?}");
    assert!(place.at("log").exists());
}

#[test]
fn the_link_is_asked_when_a_thing_goes_and_not_when_it_was_planned() {
    let place = Place::with(&["releases/1/app", "releases/2/app", "releases/3/app"]);
    symlink("releases/3", place.at("current")).unwrap();
    let linked = |path: &str| Item { unless_linked: Some("current".to_owned()), ..place.item(path) };
    let paths = ["releases/1/app", "releases/1", "releases/2/app", "releases/2"];
    let plan = place.plan_in(&place.run(), &paths.map(linked));
    let switch = |to: &Path| {
        fs::remove_file(place.at("current")).unwrap();
        symlink(to, place.at("current")).unwrap();
    };
    // Somebody goes back to an old release. By its absolute path, and into it.
    switch(&place.at("releases/2/app"));
    let done = place.carry_out(&plan);
    assert_eq!(counts(&done), [2, 0, 0, 2, 0, 0, 0], "{done:?}");
    assert!(done.problems[0].contains("the link `current` leads there now"));
    assert!(place.at("releases/2/app").exists() && !place.at("releases/1").exists());
    // Above it.
    switch(Path::new("releases"));
    assert_eq!(counts(&place.carry_out(&plan)), [0, 0, 0, 4, 0, 0, 0], "also what is gone is not looked at");
    // Outside, and nowhere.
    switch(Path::new("nowhere"));
    let plan = place.plan_in(&place.run(), &["releases/2/app", "releases/3/app"].map(linked));
    fs::remove_file(place.at("current")).unwrap();
    assert_eq!(counts(&place.carry_out(&plan)), [2, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_link_that_cannot_be_followed_keeps_what_it_may_lead_to() {
    let place = Place::with(&["releases/1/app", "closed/x"]);
    symlink("closed/way", place.at("current")).unwrap();
    let item = Item { unless_linked: Some("current".to_owned()), ..place.item("releases/1/app") };
    let plan = place.plan_in(&place.run(), &[item]);
    // A name that no filesystem takes: the same answer that another user gets from a folder that he may not enter.
    fs::remove_file(place.at("current")).unwrap();
    symlink("n".repeat(300), place.at("current")).unwrap();
    let done = place.carry_out(&plan);
    assert_eq!(counts(&done), [0, 0, 0, 0, 0, 0, 1], "{done:?}");
    assert!(done.problems[0].contains("not known where the link `current` leads"), "{done:?}");
}

#[test]
fn files_are_compressed_where_they_stand() {
    let place = Place::new();
    let text = "GET /api/orders 200\n".repeat(5_000);
    for name in ["a.log.1", "b.log.1", "two names", "taken", "changed", "c\nd"] {
        place.write(name, &text);
    }
    fs::hard_link(place.at("two names"), place.at("the other name")).unwrap();
    place.write("taken.gz", "already there");
    // What a run left that was killed, under the name that this one will use.
    let left = format!(".upkeep-{}.tmp", place.item("a.log.1").inode);
    place.write(&left, "half of it");
    let with = |path: &str, action| Item { action, ..place.item(path) };
    let items = [
        with("a.log.1", Action::Gzip),
        with("b.log.1", Action::Zstd),
        with("two names", Action::Gzip),
        with("taken", Action::Gzip),
        with("changed", Action::Zstd),
        with("c\nd", Action::Gzip),
    ];
    place.write("changed", &text.repeat(2));
    let done = place.carry_out(&place.plan_in(&place.run(), &items));
    assert_eq!(counts(&done), [0, 3, 1, 0, 0, 0, 2], "{done:?}");
    assert!(done.compressed.bytes > 3 * text.len() as u64 / 2, "what is free now");
    let names = ["a.log.1.gz", "b.log.1.zst", "c\nd.gz", "changed", "taken", "taken.gz", "the other name", "two names"];
    assert_eq!(place.names(), names);
    assert_eq!(fs::read_to_string(place.at("taken.gz")).unwrap(), "already there");
    let mut back = String::new();
    let packed = fs::File::open(place.at("a.log.1.gz")).unwrap();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed), &mut back).unwrap();
    assert_eq!(back, text);
    let packed = fs::File::open(place.at("b.log.1.zst")).unwrap();
    assert_eq!(zstd::stream::decode_all(packed).unwrap(), text.as_bytes());
}

#[test]
fn a_run_that_is_ended_stops_between_two_files() {
    let names: Vec<_> = (0..500).map(|number| format!("{:02}/{number}", number % 20)).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let place = Place::with(&names);
    let run = place.run();
    let plan = place.plan_in(&run, &names.iter().map(|name| place.item(name)).collect::<Vec<_>>());
    let seen = AtomicU64::new(0);
    let end = |cancel: &CancellationToken| {
        if seen.fetch_add(1, Ordering::Relaxed) == 199 {
            cancel.cancel();
        }
    };
    let ended = place.carry_out_with(&plan, Some(place.aside(&run).unwrap()), &[], &end);
    assert!(matches!(ended, Err(RemovalError::Cancelled)), "{ended:?}");
    assert_eq!(place.names().iter().filter(|name| name.contains('/')).count(), 300);
    // Another attempt does the rest, and one undo brings back what both took.
    let done = place.carry_out_with(&plan, Some(place.aside(&run).unwrap()), &[], &|_| {}).unwrap();
    assert_eq!((done.removed.items, done.gone), (300, 200));
    let undone = super::super::aside::undo(&run).unwrap().unwrap();
    assert_eq!((undone.restored.items, undone.left, undone.problems), (500, 0, vec![]));
    // By several threads it stops as well.
    let seen = AtomicU64::new(0);
    let end = |cancel: &CancellationToken| {
        seen.fetch_add(1, Ordering::Relaxed);
        cancel.cancel();
    };
    let plan = place.plan(&names);
    assert!(matches!(place.carry_out_with(&plan, None, &[], &end), Err(RemovalError::Cancelled)));
    assert!(seen.into_inner() <= 4, "each thread does what it is at");
}

#[test]
fn what_cannot_go_is_told_with_its_remedy() {
    let place = Place::with(&["closed/file", "free"]);
    if rustix::process::geteuid().is_root() {
        // Root may do all but this.
        let status = std::process::Command::new("chattr").arg("+i").arg(place.at("closed/file")).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: no file can be made immutable here");
            return;
        }
    } else {
        fs::set_permissions(place.at("closed"), fs::Permissions::from_mode(0o500)).unwrap();
    }
    let done = place.carry_out(&place.plan(&["closed/file", "free"]));
    let (_, aside) = place.move_aside(&["closed/file"]);
    let _ = std::process::Command::new("chattr").arg("-i").arg(place.at("closed/file")).status();
    let _ = fs::set_permissions(place.at("closed"), fs::Permissions::from_mode(0o700));
    for done in [&done, &aside] {
        assert_eq!(done.failed.items, 1, "{done:?}");
        assert!(done.problems[0].contains("it is immutable"), "{done:?}");
    }
    assert_eq!(done.removed.items, 1);
}
