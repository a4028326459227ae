use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::exclude::Exclude;
use super::parents::FOUND;
use super::walk::{Walk, WalkOptions};
use super::*;

/// A folder `root` with a file, and a secret beside it.
fn place() -> (tempfile::TempDir, Root) {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir_all(place.path().join("root/folder")).unwrap();
    fs::write(place.path().join("root/folder/file"), "inside").unwrap();
    fs::write(place.path().join("secret"), "outside").unwrap();
    let root = Root::open(&place.path().join("root")).unwrap();
    (place, root)
}

fn content(root: &Root, path: &str) -> Result<String, RootError> {
    root.read(Path::new(path)).map(|(file, _)| std::io::read_to_string(file).unwrap())
}

fn all() -> WalkOptions {
    WalkOptions { exclude: Exclude::new(&[]).unwrap(), max_depth: None, one_filesystem: false, together: 1 }
}

fn paths(walk: Walk) -> Vec<String> {
    walk.map(|found| path::escape(&found.path)).collect()
}

#[test]
fn links_are_followed_beneath_the_root_and_no_further() {
    let (place, root) = place();
    let inside = place.path().join("root");
    symlink("folder/file", inside.join("near")).unwrap();
    symlink("../secret", inside.join("up")).unwrap();
    symlink(place.path().join("secret"), inside.join("absolute")).unwrap();
    symlink("..", inside.join("folder/back")).unwrap();
    symlink("/proc/self/root", inside.join("magic")).unwrap();
    assert_eq!(content(&root, "near").unwrap(), "inside");
    assert_eq!(content(&root, "folder/back/folder/file").unwrap(), "inside");
    for path in ["up", "absolute", "folder/back/up", "magic/etc/hostname"] {
        assert!(matches!(content(&root, path), Err(RootError::Escape(_))), "{path}: {:?}", content(&root, path));
    }
    let link = root.stat(Path::new("up")).unwrap();
    assert_eq!(FileType::from_raw_mode(link.st_mode), FileType::Symlink, "stat looks at the link itself");
}

#[test]
fn without_openat2_no_link_is_followed_at_all() {
    let (place, root) = place();
    symlink("folder", place.path().join("root/link")).unwrap();
    symlink("file", place.path().join("root/folder/link")).unwrap();
    let open = |path: &str| open_stepwise(root.folder(), Path::new(path), OFlags::RDONLY, Mode::empty());
    assert!(open("folder/file").is_ok());
    assert!(open(".").is_ok());
    assert!(open("link/file").is_err());
    assert!(open("folder/link").is_err());
}

#[test]
fn only_regular_files_are_read_and_nothing_blocks() {
    let (place, root) = place();
    let fifo = place.path().join("root/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    for path in ["fifo", "folder", ""] {
        assert!(matches!(content(&root, path), Err(RootError::Invalid { .. })), "{path}");
    }
    assert!(matches!(content(&root, "nothing"), Err(RootError::NotFound(_))));
}

#[test]
fn a_link_that_is_swapped_in_all_the_time_never_leads_out() {
    let (place, root) = place();
    let (inside, aside) = (place.path().join("root/folder"), place.path().join("root/aside"));
    let outside = place.path().join("trap");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "outside").unwrap();
    fs::write(outside.join("stolen"), "outside").unwrap();
    let (done, seen) = (AtomicBool::new(false), std::sync::atomic::AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                fs::rename(&inside, &aside).unwrap();
                symlink(&outside, &inside).unwrap();
                fs::remove_file(&inside).unwrap();
                fs::rename(&aside, &inside).unwrap();
            }
        });
        let begin = std::time::Instant::now();
        while begin.elapsed() < Duration::from_millis(400) {
            if let Ok(text) = content(&root, "folder/file") {
                assert_eq!(text, "inside");
                seen.fetch_add(1, Ordering::Relaxed);
            }
            for found in root.walk(Path::new(""), all()).unwrap() {
                assert_ne!(found.name(), "stolen");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(seen.into_inner() > 0, "the file was never there");
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "outside");
}

#[test]
fn a_walk_gives_parents_before_children_in_the_order_of_names() {
    let (place, root) = place();
    let inside = place.path().join("root");
    for folder in ["b/deep/er", "a", "empty"] {
        fs::create_dir_all(inside.join(folder)).unwrap();
    }
    for file in ["b/deep/er/x", "b/deep.txt", "a/1", "z"] {
        fs::write(inside.join(file), "").unwrap();
    }
    fs::write(inside.join(OsStr::from_bytes(b"not\xffutf")), "").unwrap();
    symlink("/etc", inside.join("a/link")).unwrap();
    let expected = [
        "a",
        "a/1",
        "a/link",
        "b",
        "b/deep",
        "b/deep/er",
        "b/deep/er/x",
        "b/deep.txt",
        "empty",
        "folder",
        "folder/file",
        r"not\xffutf",
        "z",
    ];
    assert_eq!(paths(root.walk(Path::new(""), all()).unwrap()), expected);
    let below = root.walk(Path::new("b"), WalkOptions { max_depth: Some(1), ..all() }).unwrap();
    assert_eq!(paths(below), ["b/deep", "b/deep.txt"]);
    let exclude = Exclude::new(&["/b/deep".to_owned(), "folder/".to_owned(), "z".to_owned()]).unwrap();
    let some = root.walk(Path::new(""), WalkOptions { exclude, ..all() }).unwrap();
    assert_eq!(paths(some), ["a", "a/1", "a/link", "b", "b/deep.txt", "empty", r"not\xffutf"]);
}

#[test]
fn what_cannot_be_read_is_told_and_the_walk_goes_on() {
    let (place, root) = place();
    fs::create_dir(place.path().join("root/a")).unwrap();
    let mut walk = root.walk(Path::new(""), all()).unwrap();
    assert_eq!(walk.next().unwrap().name(), "a");
    // Between being seen and being entered, the folder becomes another one.
    fs::rename(place.path().join("root/a"), place.path().join("old")).unwrap();
    fs::create_dir(place.path().join("root/a")).unwrap();
    assert_eq!(paths_of(&mut walk), ["folder", "folder/file"]);
    assert_eq!(walk.take_problems(), ["a: it was exchanged for something else meanwhile"]);
    assert!(walk.take_problems().is_empty(), "each is told once");
}

#[test]
fn looking_at_many_entries_together_changes_nothing() {
    let (place, root) = place();
    for folder in 0..3 {
        fs::create_dir_all(place.path().join(format!("root/many/{folder}/below"))).unwrap();
        for file in 0..700 {
            fs::write(place.path().join(format!("root/many/{folder}/{file}")), vec![0; file]).unwrap();
        }
    }
    for folder in 0..300 {
        fs::create_dir_all(place.path().join(format!("root/wide/{folder}/below"))).unwrap();
        fs::write(place.path().join(format!("root/wide/{folder}/below/file")), "x").unwrap();
    }
    let seen = |together| -> Vec<(String, u64, i64)> {
        let walk = root.walk(Path::new(""), WalkOptions { together, ..all() }).unwrap();
        walk.map(|found| (path::escape(&found.path), found.stat.st_ino, found.stat.st_size)).collect()
    };
    let one_by_one = seen(1);
    assert!(one_by_one.len() > 3_000);
    for together in [64, 512, 100_000] {
        assert_eq!(seen(together), one_by_one, "{together}");
    }
    // What is gone when its turn to be looked at has come was never there.
    let mut walk = root.walk(Path::new("many/0"), WalkOptions { together: 128, ..all() }).unwrap();
    let first = walk.next().unwrap();
    fs::remove_file(place.path().join("root/many/0/99")).unwrap();
    assert!(first.name() == "0" && walk.all(|found| found.name() != "99"));
    assert!(walk.take_problems().is_empty());
    // What is left out is left out, and a folder that becomes another one before it is opened is told.
    let exclude = Exclude::new(&["/wide/1*".to_owned()]).unwrap();
    let options = WalkOptions { exclude, together: 512, ..all() };
    let mut walk = root.walk(Path::new(""), options).unwrap();
    let wide = walk.find(|found| path::escape(&found.path) == "wide/0").unwrap();
    fs::rename(place.path().join("root/wide/299"), place.path().join("old")).unwrap();
    fs::create_dir_all(place.path().join("root/wide/299/below")).unwrap();
    let left = paths_of(&mut walk);
    assert!(wide.kind() == FileType::Directory && !left.iter().any(|path| path.starts_with("wide/1")));
    assert_eq!(left.iter().filter(|path| path.ends_with("/below/file")).count(), 300 - 111 - 1, "{left:?}");
    assert_eq!(walk.take_problems(), ["wide/299: it was exchanged for something else meanwhile"]);
}

fn paths_of(walk: &mut Walk) -> Vec<String> {
    walk.map(|found| path::escape(&found.path)).collect()
}

#[test]
fn writing_replaces_the_file_and_keeps_its_mode() {
    let (place, root) = place();
    let file = place.path().join("root/folder/file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(&file).unwrap().ino();
    root.write(Path::new("folder/file"), b"new").unwrap();
    let after = fs::metadata(&file).unwrap();
    assert_eq!((fs::read_to_string(&file).unwrap().as_str(), after.mode() & 0o7777), ("new", 0o640));
    assert_ne!(after.ino(), before, "a reader of the old file keeps the old content");
    assert_eq!(fs::read_dir(place.path().join("root/folder")).unwrap().count(), 1, "nothing is left over");

    symlink("../../secret", place.path().join("root/folder/link")).unwrap();
    root.write(Path::new("folder/link"), b"mine").unwrap();
    assert_eq!(fs::read_to_string(place.path().join("secret")).unwrap(), "outside");
    assert!(matches!(root.write(Path::new("folder"), b""), Err(RootError::Invalid { .. })));
    symlink("..", place.path().join("root/out")).unwrap();
    assert!(matches!(root.write(Path::new("out/new"), b""), Err(RootError::Escape(_))));
    assert!(matches!(root.make_directory(Path::new("out/new")), Err(RootError::Escape(_))));
    root.make_directory(Path::new("made")).unwrap();
    root.make_directory(Path::new("made")).unwrap();
    assert!(matches!(root.make_directory(Path::new("folder/file")), Err(RootError::Invalid { .. })));
}

#[test]
fn no_link_is_followed_on_the_way_to_what_is_changed() {
    let (place, root) = place();
    symlink("..", place.path().join("root/out")).unwrap();
    symlink("folder", place.path().join("root/inside")).unwrap();
    let begun = std::time::Instant::now();
    let mut parents = root.parents();
    assert_eq!(parents.place(Path::new("folder/file")).unwrap().stat().unwrap().st_size, 6);
    assert!(matches!(parents.place(Path::new("out/secret")), Err(RootError::Invalid { .. })));
    assert!(matches!(parents.place(Path::new("inside/file")), Err(RootError::Invalid { .. })));
    assert!(matches!(parents.place(Path::new("")), Err(RootError::Invalid { .. })));
    assert!(matches!(parents.place(Path::new("nowhere/file")), Err(RootError::NotFound(_))));
    assert_eq!(
        parents.place(Path::new("out")).unwrap().stat().unwrap().st_mode & 0o170_000,
        0o120_000,
        "the link itself"
    );
    // A folder that was found stays the one that was found, and for a moment only: whoever moves it out of the root takes it away.
    parents.place(Path::new("folder/file")).unwrap();
    fs::rename(place.path().join("root/folder"), place.path().join("elsewhere")).unwrap();
    symlink(place.path(), place.path().join("root/folder")).unwrap();
    assert!(
        parents.place(Path::new("folder/secret")).is_ok_and(|place| place.stat().is_err()) || begun.elapsed() > FOUND
    );
    std::thread::sleep(FOUND);
    assert!(matches!(parents.place(Path::new("folder/file")), Err(RootError::Invalid { .. })));
    assert!(matches!(parents.place(Path::new("folder/file")), Err(RootError::Invalid { .. })), "and stays away");
}

#[test]
fn a_link_is_told_where_it_leads_as_long_as_that_is_inside() {
    let (place, root) = place();
    let inside = place.path().join("root");
    symlink("folder/file", inside.join("relative")).unwrap();
    symlink(inside.join("folder"), inside.join("absolute")).unwrap();
    symlink("../secret", inside.join("out")).unwrap();
    symlink("nothing", inside.join("dangling")).unwrap();
    assert_eq!(root.resolve(Path::new("relative")).unwrap(), Path::new("folder/file"));
    assert_eq!(root.resolve(Path::new("absolute")).unwrap(), Path::new("folder"));
    assert_eq!(root.resolve(Path::new("folder/file")).unwrap(), Path::new("folder/file"));
    for nowhere in ["out", "dangling"] {
        assert!(matches!(root.resolve(Path::new(nowhere)), Err(RootError::NotFound(_))), "{nowhere}");
        assert_eq!(root.end_of(Path::new(nowhere)).unwrap(), None);
    }
    // Nothing is one answer, not to know another.
    symlink("n".repeat(300), inside.join("unknown")).unwrap();
    assert!(root.end_of(Path::new("unknown")).is_err());
    assert!(matches!(root.resolve(Path::new("unknown")), Err(RootError::NotFound(_))));
}
