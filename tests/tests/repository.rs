//! Repositories against the real restic: what upkeep saves, restic checks and restores, and the trees are equal.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use upkeep::clock::Timestamp;
use upkeep::config::grant::{RepositoryAccess, RepositoryGrant};
use upkeep::config::secret::Secret;
use upkeep::repository::restore::RestoreOptions;
use upkeep::repository::source::{FileSource, FolderSource};
use upkeep::repository::{Label, Repository, RepositoryError, Summary, Watch};
use upkeep::root::Root;
use upkeep::root::exclude::Exclude;

const PASSWORD: &str = "correct horse battery staple";

/// A folder for a test, with a password file and a place for the repository.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        // The real path: the folder for temporary files may be a link.
        fs::canonicalize(self.0.path()).unwrap().join(name)
    }

    fn grant(&self) -> RepositoryGrant {
        RepositoryGrant {
            access: vec![RepositoryAccess::Append, RepositoryAccess::List],
            ..RepositoryGrant::new(self.path("repository").to_str().unwrap(), Secret::File(self.path("password")))
        }
    }

    fn open(&self) -> Repository {
        Repository::open_or_make(&self.grant()).unwrap()
    }

    /// restic on the repository; panics when it fails.
    fn restic(&self, arguments: &[&str]) -> Output {
        let output = Command::new("restic")
            .args(["--no-cache", "-r"])
            .arg(self.path("repository"))
            .arg("--password-file")
            .arg(self.path("password"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "restic {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

/// Whether restic is there; says loudly when it is not.
fn has_restic(test: &str) -> bool {
    let found = Command::new("restic").arg("version").output().is_ok_and(|output| output.status.success());
    if !found {
        // Directly, since the test harness hides what a passing test prints.
        let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: there is no `restic` (apt-get install restic)\n");
        assert!(std::env::var_os("CI").is_none(), "restic is missing, and CI must not skip");
    }
    found
}

fn label(tags: &[&str]) -> Label {
    static SECONDS: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1_790_000_000);
    let second = SECONDS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Label {
        host: "server".into(),
        tags: tags.iter().map(ToString::to_string).collect(),
        time: Timestamp(second * 1000),
    }
}

fn source(path: &Path, exclude: &[&str]) -> FolderSource {
    let exclude = Exclude::new(&exclude.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    FolderSource::new(Root::open(path).unwrap(), exclude, None, false, Watch::new(CancellationToken::new()))
}

fn backup(repository: &Repository, path: &Path) -> Summary {
    repository.backup(&source(path, &[]), label(&["upkeep:test"]), Arc::new(|_, _| {})).unwrap()
}

/// Whatever a backup has to get right in one small tree.
fn fill(folder: &Path) {
    fs::create_dir_all(folder.join("uploads/2026/empty")).unwrap();
    fs::write(folder.join("uploads/2026/a.json"), r#"{"id":1}"#).unwrap();
    fs::write(folder.join("uploads/2026/zero"), "").unwrap();
    let noise: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(folder.join("noise"), &noise).unwrap();
    for name in
        [&b"not utf8 \xff\xfe"[..], b"quote\" back\\slash", b"new\nline", "Umläut 文件".as_bytes(), b"-dash", b"a b"]
    {
        fs::write(folder.join(OsStr::from_bytes(name)), name).unwrap();
    }
    // Before and behind the folder `b` in the order of bytes.
    for name in ["b.txt", "b-1", "b0"] {
        fs::write(folder.join(name), name).unwrap();
    }
    fs::create_dir(folder.join("b")).unwrap();
    fs::write(folder.join("b/in"), "in").unwrap();
    symlink("noise", folder.join("link")).unwrap();
    symlink("/nowhere/at/all", folder.join("dangling")).unwrap();
    fs::hard_link(folder.join("noise"), folder.join("uploads/same noise")).unwrap();
    let status = Command::new("mkfifo").arg(folder.join("fifo")).status().unwrap();
    assert!(status.success());
    for (path, mode) in [("b/in", 0o400), ("b-1", 0o6755), ("uploads", 0o2750), ("b0", 0o000), ("uploads/2026", 0o1777)]
    {
        fs::set_permissions(folder.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    for path in ["b/in", "b", "uploads/2026/empty", "uploads", "link", "fifo", ""] {
        let status =
            Command::new("touch").args(["-h", "-d", "2001-02-03 04:05:06.789012345"]).arg(folder.join(path)).status();
        assert!(status.unwrap().success());
    }
}

/// Everything about a tree that a restore has to give back.
fn tree(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    let mut first_of_inode = BTreeMap::new();
    while let Some(relative) = folders.pop() {
        for entry in fs::read_dir(folder.join(&relative)).unwrap() {
            let entry = entry.unwrap();
            let (path, metadata) = (relative.join(entry.file_name()), entry.metadata().unwrap());
            let kind = metadata.file_type();
            let content = if kind.is_symlink() {
                format!("-> {:?}", fs::read_link(entry.path()).unwrap())
            } else if kind.is_file() {
                first_of_inode.entry(metadata.ino()).or_insert_with(Vec::new).push(path.clone());
                format!("{:x?}", crc(&fs::read(entry.path()).unwrap()))
            } else {
                format!("{kind:?}")
            };
            if kind.is_dir() {
                folders.push(path.clone());
            }
            let mode = if kind.is_symlink() { 0 } else { metadata.mode() };
            let time = (metadata.mtime(), metadata.mtime_nsec());
            found.insert(path, format!("{content} {mode:o} {time:?} {}:{}", metadata.uid(), metadata.gid()));
        }
    }
    for mut paths in first_of_inode.into_values().filter(|paths| paths.len() > 1) {
        paths.sort();
        found.get_mut(&paths[0]).unwrap().push_str(&format!(" linked with {paths:?}"));
    }
    found
}

/// Length and a checksum (FNV-1a) that is good enough to tell files apart.
fn crc(bytes: &[u8]) -> (usize, u64) {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    (bytes.len(), hash)
}

fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (tree(one), tree(other));
    for path in one.keys().chain(other.keys()) {
        assert_eq!(one.get(path), other.get(path), "{}", path.display());
    }
}

fn beneath(target: &Path, path: &Path) -> PathBuf {
    target.join(path.strip_prefix("/").unwrap())
}

#[test]
fn restic_and_upkeep_give_back_the_same_tree() {
    if !has_restic("restic_and_upkeep_give_back_the_same_tree") {
        return;
    }
    let place = Place::new();
    let data = place.path("srv/app");
    fs::create_dir_all(&data).unwrap();
    fill(&data);
    let repository = place.open();
    let first = backup(&repository, &data);
    assert_eq!(first.problems, Vec::<String>::new());
    assert_eq!(first.files, first.files_new);
    assert!(first.bytes >= 3_000_000 && first.bytes_added > 0, "{first:?}");

    place.restic(&["check", "--read-data"]);
    let theirs = place.path("theirs");
    place.restic(&["restore", &first.snapshot, "--target", theirs.to_str().unwrap()]);
    assert_same(&data, &beneath(&theirs, &data));

    let snapshot = repository.find("latest", |_| true).unwrap();
    assert_eq!((&snapshot.id, &snapshot.paths[..]), (&first.snapshot, &[data.to_str().unwrap().to_owned()][..]));
    let ours = place.path("ours");
    let restored =
        repository.restore(&snapshot, Path::new("/"), &ours, RestoreOptions::default(), Arc::new(|_, _| {})).unwrap();
    assert_eq!(restored.differences, Vec::<String>::new());
    assert_eq!(restored.files, first.files);
    assert_same(&data, &beneath(&ours, &data));
    assert_eq!(fs::metadata(beneath(&ours, &data)).unwrap().mtime(), fs::metadata(&data).unwrap().mtime());

    let part = place.path("part");
    let path = data.join("uploads");
    repository.restore(&snapshot, &path, &part, RestoreOptions::default(), Arc::new(|_, _| {})).unwrap();
    assert_eq!(fs::metadata(&part).unwrap().mode(), fs::metadata(&path).unwrap().mode());
    assert_eq!(fs::read(part.join("2026/a.json")).unwrap(), fs::read(path.join("2026/a.json")).unwrap());

    // restic's own backup of the same tree finds nothing changed, and lists it in the same way.
    let theirs = place.restic(&["backup", "--json", "--host", "server", data.to_str().unwrap()]);
    let summary = String::from_utf8_lossy(&theirs.stdout).into_owned();
    assert!(summary.contains(r#""files_changed":0"#) && summary.contains(r#""files_new":0"#), "{summary}");
    let listing = |snapshot: &str| {
        let text = place.restic(&["ls", "--long", snapshot, data.to_str().unwrap()]).stdout;
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().skip(1).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(listing(&first.snapshot), listing("latest"));
}

#[test]
fn what_has_not_changed_is_not_stored_again() {
    let place = Place::new();
    let data = place.path("data");
    fs::create_dir(&data).unwrap();
    fill(&data);
    let repository = place.open();
    let first = backup(&repository, &data);
    let second = backup(&repository, &data);
    assert_eq!((second.files, second.files_new, second.files_changed), (first.files, 0, 0));
    // Snapshots name the folders above as well, and other tests change the times of the one for temporary files.
    assert!(second.bytes_added < 1_000, "{second:?}");
    fs::write(data.join("b.txt"), "changed").unwrap();
    let third = backup(&place.open(), &data);
    assert_eq!((third.files_new, third.files_changed), (0, 1));
    let ids: Vec<_> = repository.snapshots().unwrap().into_iter().map(|snapshot| snapshot.id).collect();
    assert_eq!(ids, [first.snapshot, second.snapshot, third.snapshot], "oldest first");
}

#[test]
fn a_link_to_a_name_that_is_not_text_comes_back() {
    // restic reads these from its version 0.16 on; older ones restore the target with a replacement character.
    let place = Place::new();
    let data = place.path("data");
    fs::create_dir(&data).unwrap();
    symlink(OsStr::from_bytes(b"bytes \xff"), data.join("odd")).unwrap();
    let repository = place.open();
    backup(&repository, &data);
    let snapshot = repository.find("latest", |_| true).unwrap();
    let target = place.path("target");
    repository.restore(&snapshot, &data, &target, RestoreOptions::default(), Arc::new(|_, _| {})).unwrap();
    assert_same(&data, &target);
}

#[test]
fn what_is_excluded_is_left_out() {
    let place = Place::new();
    let data = place.path("data");
    fs::create_dir(&data).unwrap();
    fill(&data);
    let repository = place.open();
    let exclude = ["*.txt", "/uploads/", "noise"];
    let exclude = Exclude::new(&exclude.map(String::from)).unwrap();
    let watch = Watch::new(CancellationToken::new());
    let source = FolderSource::new(Root::open(&data).unwrap(), exclude, Some(2), false, watch);
    repository.backup(&source, label(&[]), Arc::new(|_, _| {})).unwrap();
    let target = place.path("target");
    let snapshot = repository.find("latest", |_| true).unwrap();
    repository.restore(&snapshot, &data, &target, RestoreOptions::default(), Arc::new(|_, _| {})).unwrap();
    let mut names: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["b", "b0", "dangling", "fifo", "link"]);
}

#[test]
fn two_backups_into_a_repository_that_neither_found() {
    if !has_restic("two_backups_into_a_repository_that_neither_found") {
        return;
    }
    let place = Place::new();
    let folders = ["one", "two", "three"].map(|name| {
        let folder = place.path(name);
        fs::create_dir(&folder).unwrap();
        fill(&folder);
        folder
    });
    std::thread::scope(|scope| {
        for folder in &folders {
            scope.spawn(|| backup(&place.open(), folder));
        }
    });
    assert_eq!(fs::read_dir(place.path("repository/keys")).unwrap().count(), 1);
    assert_eq!(place.open().snapshots().unwrap().len(), 3);
    place.restic(&["check", "--read-data"]);
    assert_eq!(fs::metadata(place.path("repository")).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_backup_that_is_ended_leaves_no_snapshot() {
    let place = Place::new();
    let data = place.path("data");
    fs::create_dir(&data).unwrap();
    let noise: Vec<u8> = (0..20_000_000_u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect();
    for number in 0..8 {
        fs::write(data.join(number.to_string()), &noise[number * 1000..]).unwrap();
    }
    let repository = place.open();
    let cancel = CancellationToken::new();
    let exclude = Exclude::new(&[]).unwrap();
    let source = FolderSource::new(Root::open(&data).unwrap(), exclude, None, false, Watch::new(cancel.clone()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            cancel.cancel();
        });
        let ended = repository.backup(&source, label(&[]), Arc::new(|_, _| {}));
        assert!(matches!(ended, Err(RepositoryError::Cancelled)), "{ended:?}");
    });
    assert_eq!(repository.snapshots().unwrap(), []);
    backup(&repository, &data);
    if has_restic("a_backup_that_is_ended_leaves_no_snapshot") {
        place.restic(&["check", "--read-data"]);
    }
}

#[test]
fn a_repository_that_cannot_be_written_is_an_error_and_no_snapshot() {
    let place = Place::new();
    let data = place.path("data");
    fs::create_dir(&data).unwrap();
    fill(&data);
    let repository = place.open();
    fs::remove_dir_all(place.path("repository/data")).unwrap();
    fs::write(place.path("repository/data"), "in the way").unwrap();
    let failed = repository.backup(&source(&data, &[]), label(&[]), Arc::new(|_, _| {})).unwrap_err();
    assert!(failed.to_string().contains("repository/data"), "{failed}");
    assert_eq!(fs::read_dir(place.path("repository/snapshots")).unwrap().count(), 0);
}

#[test]
fn files_that_vanish_or_shrink_are_told_and_the_rest_is_saved() {
    let place = Place::new();
    let data = place.path("data");
    fs::create_dir(&data).unwrap();
    for number in 0..2_000 {
        fs::write(data.join(format!("{number:04}")), vec![b'x'; 1_000]).unwrap();
    }
    let repository = place.open();
    let done = std::sync::atomic::AtomicBool::new(false);
    let summary = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let path = data.join(format!("{:04}", number % 2_000));
                match number % 3 {
                    0 => drop(fs::remove_file(&path)),
                    1 => drop(fs::write(&path, "short")),
                    _ => drop(fs::write(&path, vec![b'y'; 2_000])),
                }
                number += 1;
            }
        });
        let summary = backup(&repository, &data);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        summary
    });
    assert!(summary.files > 500, "{summary:?}");
    if has_restic("files_that_vanish_or_shrink_are_told_and_the_rest_is_saved") {
        place.restic(&["check", "--read-data"]);
    }
}

#[test]
fn one_file_is_saved_in_the_name_of_another() {
    let place = Place::new();
    let (database, copy) = (place.path("app.db"), place.path("copy"));
    fs::write(&database, "being written").unwrap();
    fs::set_permissions(&database, fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(&copy, "consistent").unwrap();
    let repository = place.open();
    let save = || {
        let watch = Watch::new(CancellationToken::new());
        let source = FileSource::new(copy.clone(), database.clone(), watch);
        repository.backup(&source, label(&[]), Arc::new(|_, _| {})).unwrap()
    };
    let first = save();
    assert_eq!((first.files, first.bytes), (1, 10));
    let snapshot = repository.find(&first.snapshot[..10], |_| false).unwrap();
    assert_eq!(snapshot.paths, [database.to_str().unwrap()]);
    // Under another name, beside what must not be touched.
    let target = place.path("restored.db");
    repository.restore(&snapshot, &database, &target, RestoreOptions::default(), Arc::new(|_, _| {})).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "consistent");
    assert_eq!(fs::read_to_string(&database).unwrap(), "being written");
    // Again: it is right already. With something else in its place: that stays.
    repository.restore(&snapshot, &database, &target, RestoreOptions::default(), Arc::new(|_, _| {})).unwrap();
    fs::write(&target, "of another").unwrap();
    let there = repository.restore(&snapshot, &database, &target, RestoreOptions::default(), Arc::new(|_, _| {}));
    assert!(matches!(there, Err(RepositoryError::Restore(_))));
    assert_eq!(fs::read_to_string(&target).unwrap(), "of another");
    let target = place.path("restored/app.db");
    repository.restore(&snapshot, &database, &target, RestoreOptions::default(), Arc::new(|_, _| {})).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "consistent");
    let (restored, original) = (fs::metadata(&target).unwrap(), fs::metadata(&database).unwrap());
    assert_eq!((restored.mode(), restored.mtime()), (original.mode(), original.mtime()));

    // The database was written in a way that leaves size and time as they were; the copy has other content.
    fs::remove_file(&copy).unwrap();
    fs::write(&copy, "CONSISTENT").unwrap();
    let second = save();
    let snapshot = repository.find(&second.snapshot, |_| false).unwrap();
    let target = place.path("again/app.db");
    repository.restore(&snapshot, &database, &target, RestoreOptions::default(), Arc::new(|_, _| {})).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "CONSISTENT");
}

#[test]
fn the_password_is_needed_and_not_shown() {
    let place = Place::new();
    assert!(matches!(Repository::open(&place.grant()), Err(RepositoryError::Missing(_))));
    place.open();
    fs::write(place.path("password"), "wrong secret\n").unwrap();
    let error = Repository::open(&place.grant()).unwrap_err();
    assert!(matches!(error, RepositoryError::Password(_)), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("wrong secret"));
    fs::set_permissions(place.path("password"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = Repository::open(&place.grant()).unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
    let grant = RepositoryGrant { url: "s3:bucket".into(), ..place.grant() };
    assert!(matches!(Repository::open_or_make(&grant), Err(RepositoryError::Address { .. })));
}

#[test]
fn an_interrupted_making_is_made_good_and_nothing_of_worth_is_touched() {
    let place = Place::new();
    place.open();
    fs::remove_file(place.path("repository/config")).unwrap();
    place.open();
    assert_eq!(fs::read_dir(place.path("repository/keys")).unwrap().count(), 1, "the old key opens nothing");
    place.open();

    let data = place.path("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "content").unwrap();
    backup(&place.open(), &data);
    let keys: Vec<_> = fs::read_dir(place.path("repository/keys")).unwrap().map(|key| key.unwrap().path()).collect();
    fs::remove_file(place.path("repository/config")).unwrap();
    let error = Repository::open_or_make(&place.grant()).unwrap_err();
    assert!(matches!(error, RepositoryError::Occupied { .. }), "{error:?}");
    assert!(keys.iter().all(|key| key.exists()));

    fs::remove_dir_all(place.path("repository")).unwrap();
    fs::create_dir(place.path("repository")).unwrap();
    fs::write(place.path("repository/diary.txt"), "mine").unwrap();
    let error = Repository::open_or_make(&place.grant()).unwrap_err();
    assert!(error.to_string().contains("diary.txt"), "{error}");
}

#[test]
fn a_restore_does_not_write_over_what_is_there() {
    let place = Place::new();
    let data = place.path("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "saved").unwrap();
    let repository = place.open();
    backup(&repository, &data);
    let snapshot = repository.find("latest", |_| true).unwrap();
    let target = place.path("target");
    let restore = |options| repository.restore(&snapshot, &data, &target, options, Arc::new(|_, _| {}));
    let dry = restore(RestoreOptions { dry_run: true, ..RestoreOptions::default() }).unwrap();
    assert_eq!((dry.files, dry.bytes, target.exists()), (1, 5, false));
    fs::create_dir(&target).unwrap();
    fs::write(target.join("mine"), "mine").unwrap();
    fs::write(target.join("file"), "other").unwrap();
    let refused = restore(RestoreOptions::default()).unwrap_err();
    assert!(refused.to_string().contains("--overwrite"), "{refused}");
    restore(RestoreOptions { overwrite: true, ..RestoreOptions::default() }).unwrap();
    assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "saved");
    assert_eq!(fs::read_to_string(target.join("mine")).unwrap(), "mine");
    for name in ["nothing", "", "00000000"] {
        assert!(matches!(repository.find(name, |_| true), Err(RepositoryError::Snapshot { .. })), "{name}");
    }
    let missing = repository.restore(
        &snapshot,
        Path::new("/etc"),
        &place.path("x"),
        RestoreOptions::default(),
        Arc::new(|_, _| {}),
    );
    assert!(missing.unwrap_err().to_string().contains(data.to_str().unwrap()));
}
