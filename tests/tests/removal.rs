//! Removals on real filesystems: a large mixed tree before and after, full disks, read-only ones, and others that are mounted in
//! between. What has to be mounted takes root; where that cannot be, it is said loudly.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use tokio_util::sync::CancellationToken;
use upkeep::clock::Timestamp;
use upkeep::removal::RemovalError;
use upkeep::removal::aside::{Aside, undo};
use upkeep::removal::carry_out::{Done, Means, carry_out};
use upkeep::removal::plan::{Action, Item, Kind, Plan, Writer};
use upkeep::removal::protect::Protected;
use upkeep::root::exclude::Exclude;
use upkeep::root::walk::WalkOptions;
use upkeep::root::{Root, path};

const UNTIL: Timestamp = Timestamp(i64::MAX);

/// Kind and mode, owner, inode, size, time of change, where a link leads. Of a folder inode, size and time change with what goes
/// from it, or when it is made again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    file: Option<(u64, u64, i64, i64)>,
    link: Option<PathBuf>,
}

impl Seen {
    fn is_folder(&self) -> bool {
        self.file.is_none()
    }
}

type Listing = BTreeMap<PathBuf, Seen>;

/// All that stands beneath a folder, but for what is beneath folders of the name `without`.
fn listing(folder: &Path, without: &str) -> Listing {
    let (mut all, mut waiting) = (Listing::new(), vec![folder.to_owned()]);
    while let Some(above) = waiting.pop() {
        for entry in fs::read_dir(above).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap() == without {
                continue;
            }
            let seen = path.symlink_metadata().unwrap();
            let file = (!seen.is_dir()).then(|| (seen.ino(), seen.size(), seen.mtime(), seen.mtime_nsec()));
            let (owner, link) = ((seen.uid(), seen.gid()), fs::read_link(&path).ok());
            if seen.is_dir() {
                waiting.push(path.clone());
            }
            let name = path.strip_prefix(folder).unwrap().to_owned();
            all.insert(name, Seen { mode: seen.mode(), owner, file, link });
        }
    }
    all
}

/// Numbers that look like chance, and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// About 10,000 things of all kinds, in folders of all depths, under names that nobody would choose.
fn fill(root: &Path) {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut folders = vec![root.to_owned()];
    let mut deep = root.join("deep");
    for level in 0..200 {
        fs::create_dir(&deep).unwrap();
        folders.push(deep.clone());
        deep.push(format!("{level}"));
    }
    for number in 0..600 {
        let above = folders[chance.below(folders.len() as u64) as usize].clone();
        let name = match number % 6 {
            0 => OsString::from(format!("ordner {number}")),
            1 => OsString::from(format!("目录-{number}")),
            2 => OsString::from_vec([format!("{number}-").as_bytes(), b"\xff\xc3("].concat()),
            3 => OsString::from(format!("-rf {number}")),
            4 => OsString::from(format!("new\nline {number}")),
            _ => OsString::from(format!("{number}")),
        };
        let folder = above.join(name);
        fs::create_dir(&folder).unwrap();
        if chance.below(4) == 0 {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o2750)).unwrap();
        }
        folders.push(folder);
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for number in 0..9_000_u64 {
        let above = &folders[chance.below(folders.len() as u64) as usize];
        let name = match number % 7 {
            0 => OsString::from(format!("{number:0>255}")),
            1 => OsString::from(format!("back\\slash\\x2e {number}")),
            2 => OsString::from_vec([b"\x01\x7f\xfe-".as_slice(), number.to_string().as_bytes()].concat()),
            3 => OsString::from(format!("*?[{number}]")),
            4 => OsString::from(format!("\n{number}\n")),
            5 => OsString::from(format!("微信图片 {number}.jpg")),
            _ => OsString::from(format!("{number}.log")),
        };
        let path = above.join(name);
        match chance.below(20) {
            0 => symlink(files.last().map_or(Path::new("/nowhere"), |it| it.as_path()), &path).unwrap(),
            1 => symlink("../..", &path).unwrap(),
            2 if !files.is_empty() => {
                fs::hard_link(&files[chance.below(files.len() as u64) as usize], &path).unwrap();
            }
            3 => mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap(),
            4 if is_root() => {
                mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(1, 3)).unwrap();
            }
            _ => {
                fs::write(&path, vec![b'x'; chance.below(100) as usize]).unwrap();
                let mode = [0o644, 0o600, 0o4755, 0o000][chance.below(4) as usize];
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                if is_root() && chance.below(10) == 0 {
                    std::os::unix::fs::lchown(&path, Some(12_345), Some(54_321)).unwrap();
                }
                files.push(path);
            }
        }
    }
    // Their paths are limited to about a hundred bytes; so these are beside the others.
    let sockets = root.join("s");
    fs::create_dir(&sockets).unwrap();
    for number in 0..20 {
        // Longer than that of a temporary folder it cannot be.
        let bound = std::env::temp_dir().join(format!("upkeep-{}-{number}", std::process::id()));
        drop(UnixListener::bind(&bound).unwrap());
        let moved = fs::rename(&bound, sockets.join(number.to_string()));
        assert!(moved.is_ok(), "{moved:?}");
    }
}

/// All that a walk gives, as a plugin would propose it; what is no file, link or folder is called a file.
fn all_items(root: &Root) -> Vec<Item> {
    let options =
        WalkOptions { exclude: Exclude::new(&[]).unwrap(), max_depth: None, one_filesystem: true, together: 1 };
    let found = root.walk(Path::new(""), options).unwrap();
    let items = found.map(|found| Item {
        path: path::escape(&found.path),
        kind: Kind::of(&found.stat).unwrap_or(Kind::File),
        action: Action::Remove,
        size: found.stat.st_size.unsigned_abs(),
        modified_ns: upkeep::root::modified_ns(&found.stat),
        device: found.stat.st_dev,
        inode: found.stat.st_ino,
        unless_linked: None,
        rule: "old".into(),
        reason: "why not".into(),
    });
    items.filter(|item| !item.path.starts_with(".upkeep-undo")).collect()
}

fn plan(root: &Root, run: &Path, items: &[Item]) -> Result<Plan, RemovalError> {
    let mut writer = Writer::new(run, "data", root.path())?;
    items.iter().try_for_each(|item| writer.add(item))?;
    writer.finish()?;
    Ok(Plan::open(run, "data")?.unwrap())
}

fn carry(root: &Root, plan: &Plan, aside: Option<Aside>) -> Result<Done, RemovalError> {
    let protected = Protected::new(root.path(), [], &[]).unwrap();
    let cancel = CancellationToken::new();
    carry_out(plan, Means { root, protected: &protected, aside, cancel: &cancel, tell: &|| () })
}

#[test]
fn nothing_goes_that_is_not_in_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir_all(at("root")).unwrap();
    fs::create_dir_all(at("beside/within")).unwrap();
    fs::write(at("beside/within/file"), "not in the root").unwrap();
    fill(&at("root"));
    symlink(at("beside"), at("root/out")).unwrap();
    let root = Root::open(&at("root")).unwrap();
    let all = all_items(&root);
    assert!(all.len() > 9_800, "{}", all.len());
    let whole = || (listing(&at("root"), ".upkeep-undo"), listing(&at("beside"), ""));
    let before = whole();
    assert_eq!(before.0.len(), all.len());

    // Every second thing, and all that is in every tenth folder, so that folders become empty.
    // Not of those that hold nearly everything.
    let mut chance = Chance(42);
    let mut chain = vec!["deep".to_owned()];
    (0..199).for_each(|level| chain.push(format!("{}/{level}", chain[level])));
    let folders = all.iter().filter(|it| it.kind == Kind::Folder && !chain.contains(&it.path));
    let doomed: BTreeSet<_> = folders.filter(|_| chance.below(10) == 0).map(|it| &it.path).collect();
    let is_doomed =
        |path: &str| doomed.iter().any(|folder| path == **folder || path.starts_with(&format!("{folder}/")));
    let items: Vec<_> = all.iter().filter(|it| is_doomed(&it.path) || chance.below(2) == 0).cloned().collect();
    let planned: BTreeSet<PathBuf> = items.iter().map(|item| path::parse(&item.path).unwrap()).collect();
    assert!(planned.len() > 5_000 && planned.len() < all.len() * 4 / 5, "{}", planned.len());

    // What is to be left, by the standard library alone: no pipes, sockets and devices go, folders only when they are empty.
    let mut left: Listing = before.0.clone();
    let goes = |seen: &Seen| matches!(FileType::from_raw_mode(seen.mode), FileType::RegularFile | FileType::Symlink);
    left.retain(|path, seen| !(planned.contains(path) && goes(seen)));
    for (path, _) in before.0.iter().rev().filter(|(path, seen)| seen.is_folder() && planned.contains(*path)) {
        let next = left.range(path.clone()..).nth(1);
        if !next.is_some_and(|(next, _)| next.starts_with(path)) {
            left.remove(path);
        }
    }
    let gone = before.0.len() - left.len();
    assert!(gone > 4_500 && left.values().any(|seen| !goes(seen) && !seen.is_folder()), "{gone}");

    // First aside and back, then for good.
    let run = at("state/removal/RUN1");
    let aside = Aside::open(&root, &run, "data", UNTIL).unwrap();
    let done = carry(&root, &plan(&root, &run, &items).unwrap(), Some(aside)).unwrap();
    assert_eq!(whole(), (left.clone(), before.1.clone()), "{done:?}");
    assert_eq!(done.removed.items, gone as u64);
    let undone = undo(&run).unwrap().unwrap();
    assert_eq!((undone.left, undone.restored.items + undone.folders), (0, gone as u64), "{undone:?}");
    assert_eq!(whole(), before, "all of it is back");
    assert!(!at("root/.upkeep-undo").exists());

    // Folders that were made again are others now: a plan of before does not take them.
    let run = at("state/removal/RUN2");
    let again: BTreeSet<_> = all_items(&root).into_iter().map(|item| (item.path, item.inode)).collect();
    let others = items.iter().filter(|item| !again.contains(&(item.path.clone(), item.inode))).count() as u64;
    assert_eq!(others, undone.folders);
    let items: Vec<_> =
        all_items(&root).into_iter().filter(|item| planned.contains(&path::parse(&item.path).unwrap())).collect();
    let done = carry(&root, &plan(&root, &run, &items).unwrap(), None).unwrap();
    assert_eq!(whole(), (left, before.1), "{done:?}");
    let Done { removed, changed, filled, gone: missing, failed, in_use, .. } = &done;
    assert_eq!((removed.items, missing, failed.items, in_use.items), (gone as u64, &0, 0, 0), "{done:?}");
    assert_eq!(removed.items + changed.items + filled, items.len() as u64, "{done:?}");
}

/// A filesystem of its own, as long as this lasts.
struct Mount(PathBuf);

impl Mount {
    /// None, said loudly, where nothing can be mounted.
    fn on(folder: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "upkeep-test"]).arg(folder).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder.to_owned()));
        }
        // Directly, since the test harness hides what a passing test prints.
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: nothing can be mounted here (that takes root)\n");
        None
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A folder with `root`, in which so many files of ten bytes are.
fn place(files: u32) -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("root")).unwrap();
    for number in 0..files {
        fs::write(folder.path().join(format!("root/{number:05}")), "0123456789").unwrap();
    }
    let root = Root::open(&folder.path().join("root")).unwrap();
    (folder, root)
}

#[test]
fn a_full_disk_under_the_state_directory_costs_nothing() {
    let (folder, root) = place(6_000);
    let Some(state) = Mount::on(&folder.path().join("state"), "size=768k") else { return };
    let run = state.0.join("removal/RUN");
    let names = || fs::read_dir(root.path()).unwrap().flatten().filter(|it| it.file_name() != ".upkeep-undo").count();
    // Reasons that do not compress: the plan has no room.
    let mut items = all_items(&root);
    let mut chance = Chance(7);
    for item in &mut items {
        item.reason = (0..20).map(|_| format!("{:x}", chance.below(u64::MAX))).collect();
    }
    let failed = plan(&root, &run, &items).map(drop);
    assert!(
        matches!(&failed, Err(RemovalError::State { source, .. }) if source.kind() == std::io::ErrorKind::StorageFull),
        "{failed:?}"
    );
    assert!(Plan::open(&run, "data").unwrap().is_none());
    assert_eq!(names(), 6_000);
    fs::remove_file(run.join("data.plan")).unwrap();

    // The plan has room, and its ledger has not: what has gone until then is told of.
    let items = all_items(&root);
    let planned = plan(&root, &run, &items).unwrap();
    let filler = state.0.join("filler");
    let room = || {
        let stat = rustix::fs::statvfs(&state.0).unwrap();
        stat.f_bavail * stat.f_frsize
    };
    fs::write(&filler, vec![0; room().saturating_sub(100_000) as usize]).unwrap();
    let aside = Aside::open(&root, &run, "data", UNTIL).unwrap();
    let failed = carry(&root, &planned, Some(aside));
    assert!(matches!(&failed, Err(RemovalError::State { .. })), "{failed:?}");
    let moved = 6_000 - names();
    assert!(moved > 0 && moved < 6_000, "{moved} moved");
    assert_eq!(moved % 1_024, 0, "a whole number of what was made durable together");
    // No room at all for as much as the mark.
    let mut more = fs::OpenOptions::new().append(true).open(&filler).unwrap();
    while more.write_all(&[0; 512]).is_ok() {}
    let other = state.0.join("removal/OTHER");
    let failed = plan(&root, &other, &all_items(&root)[..1]).map(drop);
    assert!(failed.is_err());

    // With room again it goes on, and all of it comes back.
    drop(more);
    fs::remove_file(&filler).unwrap();
    let aside = Aside::open(&root, &run, "data", UNTIL).unwrap();
    let done = carry(&root, &planned, Some(aside)).unwrap();
    assert_eq!((done.removed.items, done.gone), (6_000 - moved as u64, moved as u64), "{done:?}");
    assert_eq!(names(), 0);
    let undone = undo(&run).unwrap().unwrap();
    assert_eq!((undone.restored.items, undone.left, names()), (6_000, 0, 6_000));
}

#[test]
fn a_full_disk_under_the_root_keeps_what_was_to_be_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Mount::on(&folder.path().join("root"), "size=1m") else { return };
    let root = Root::open(&disk.0).unwrap();
    let mut chance = Chance(3);
    let noise: Vec<u8> = (0..600_000).map(|_| chance.below(256) as u8).collect();
    fs::write(disk.0.join("a.log.1"), &noise).unwrap();
    let mut items = all_items(&root);
    items[0].action = Action::Gzip;
    let run = folder.path().join("state/removal/RUN");
    let done = carry(&root, &plan(&root, &run, &items).unwrap(), None).unwrap();
    assert_eq!((done.compressed.items, done.failed.items), (0, 1), "{done:?}");
    assert!(done.problems[0].contains("No space left"), "{done:?}");
    assert_eq!(fs::read(disk.0.join("a.log.1")).unwrap(), noise);
    assert_eq!(fs::read_dir(&disk.0).unwrap().count(), 1, "nothing is left over");
}

#[test]
fn on_a_disk_that_is_read_only_nothing_goes_and_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Mount::on(&folder.path().join("root"), "size=1m") else { return };
    fs::write(disk.0.join("file"), "x").unwrap();
    let root = Root::open(&disk.0).unwrap();
    let items = all_items(&root);
    let gzip = Item { action: Action::Gzip, ..items[0].clone() };
    disk.remount("ro");
    for (run, items) in [("A", items), ("B", vec![gzip])] {
        let run = folder.path().join("state/removal").join(run);
        let planned = plan(&root, &run, &items).unwrap();
        let done = carry(&root, &planned, None).unwrap();
        assert_eq!(done.failed.items, 1, "{done:?}");
        assert!(done.problems[0].contains("read-only") || done.problems[0].contains("Read-only"), "{done:?}");
        let refused = Aside::open(&root, &run, "data", UNTIL).unwrap_err().to_string();
        assert!(refused.contains(".upkeep-undo") && refused.contains("its filesystem is read-only"), "{refused}");
        assert!(undo(&run).unwrap().is_none());
    }
    assert!(disk.0.join("file").exists());
}

#[test]
fn what_is_mounted_after_the_plan_is_not_entered() {
    let (folder, root) = place(1);
    fs::create_dir(root.path().join("sub")).unwrap();
    fs::write(root.path().join("sub/file"), "0123456789").unwrap();
    let items = all_items(&root);
    let run = folder.path().join("state/removal/RUN");
    let planned = plan(&root, &run, &items).unwrap();
    let Some(disk) = Mount::on(&root.path().join("sub"), "size=1m") else { return };
    fs::write(disk.0.join("file"), "0123456789").unwrap();
    let done = carry(&root, &planned, None).unwrap();
    assert_eq!((done.removed.items, done.changed.items), (1, 2), "{done:?}");
    assert!(disk.0.join("file").exists());
    drop(disk);
    assert!(root.path().join("sub/file").exists(), "what is beneath is hidden, and stays as well");
}
