//! Restores that are hindered: killed, on a full or read-only disk, with something in the way, from a damaged repository.
//! The repository is made by Debian's restic, so that nothing here depends on how upkeep saves; the program is the built
//! one, without any configuration.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

#[path = "backup/tree.rs"]
mod tree;

use tree::{assert_same, noise};

/// Data, a repository that holds it, and places to restore to.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// None, and said loudly, when restic is not there.
    fn new(test: &str) -> Option<Self> {
        let has_restic = Command::new("restic").arg("version").output().is_ok_and(|output| output.status.success());
        if !has_restic {
            skip(test, "there is no `restic` (apt-get install restic)");
            return None;
        }
        let place = Self { folder: tempfile::tempdir().expect("a folder") };
        fs::write(place.path("password"), "secret\n").expect("a file");
        fs::set_permissions(place.path("password"), fs::Permissions::from_mode(0o600)).expect("a mode");
        fs::create_dir_all(place.path("srv/app")).expect("a folder");
        place.restic(&["init"]);
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().expect("it is there").join(name)
    }

    fn restic(&self, arguments: &[&str]) {
        let output = Command::new("restic")
            .args(["--no-cache", "-q", "-r"])
            .arg(self.path("repository"))
            .arg("--password-file")
            .arg(self.path("password"))
            .args(arguments)
            .output()
            .expect("restic can be started");
        assert!(output.status.success(), "restic {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn save(&self) {
        self.restic(&["backup", self.path("srv/app").to_str().expect("text")]);
    }

    fn command(&self, verb: &str, target: &Path, more: &[&str]) -> Command {
        let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("upkeep"));
        let program = std::env::var_os("UPKEEP").map(PathBuf::from).or_else(beside).expect("a path");
        assert!(program.is_file(), "there is no {}: run `make build`, or set UPKEEP", program.display());
        let mut command = Command::new(program);
        command.args(["backup", verb, "latest", "--target"]).arg(target);
        command.arg("--repository").arg(self.path("repository"));
        command.arg("--password-file").arg(self.path("password")).args(more);
        command.env("UPKEEP_CONFIG", "/nowhere").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, verb: &str, target: &str, more: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } =
            self.command(verb, &self.path(target), more).output().expect("it can be started");
        let text = [String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)].concat();
        (status.code().expect("a code"), text)
    }

    /// Restores; it has to go well, and to be equal.
    fn restore(&self, target: &str, more: &[&str]) -> String {
        let (code, text) = self.run("restore", target, more);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("equal to what was saved"), "{text}");
        assert_same(&self.path("srv/app"), &self.restored(target));
        let (code, verified) = self.run("verify", target, &[]);
        assert_eq!(code, 0, "{verified}");
        text
    }

    /// Below `target`, where a restore puts the application's folder.
    fn restored(&self, target: &str) -> PathBuf {
        self.path(target).join(self.path("srv/app").strip_prefix("/").expect("absolute"))
    }
}

fn skip(test: &str, why: &str) {
    // Directly, since the test harness hides what a passing test prints.
    let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: {why}\n");
    assert!(std::env::var_os("CI").is_none(), "CI must not skip: {why}");
}

fn is_root(test: &str) -> bool {
    let root = rustix::process::getuid().is_root();
    if !root {
        let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: only root can do this\n");
    }
    root
}

/// Names of all files below a folder that are not complete.
fn parts(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().expect("a kind").is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().starts_with(".upkeep-part-") {
                found.push(entry.path());
            }
        }
    }
    found
}

/// Whatever has its name is as it was.
fn assert_whole(original: &Path, restored: &Path) -> usize {
    let mut whole = 0;
    let mut folders = vec![PathBuf::new()];
    while let Some(relative) = folders.pop() {
        for entry in fs::read_dir(restored.join(&relative)).into_iter().flatten().flatten() {
            let path = relative.join(entry.file_name());
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && !entry.file_name().to_string_lossy().starts_with(".upkeep-part-") {
                let (ours, theirs) = (fs::read(entry.path()), fs::read(original.join(&path)));
                assert!(ours.expect("a file") == theirs.expect("a file"), "{} is not whole", path.display());
                whole += 1;
            }
        }
    }
    whole
}

#[test]
fn a_restore_that_is_killed_goes_on_where_it_was() {
    let Some(place) = Place::new("a_restore_that_is_killed_goes_on_where_it_was") else { return };
    let app = place.path("srv/app");
    tree::fill(&app);
    let noise = noise(40_000_000);
    fs::write(app.join("large"), &noise).expect("a file");
    for number in 0..400 {
        fs::create_dir_all(app.join(format!("many/{}", number % 10))).expect("a folder");
        fs::write(app.join(format!("many/{}/{number}", number % 10)), &noise[number * 9_000..][..30_000])
            .expect("a file");
    }
    place.save();
    let (mut killed, mut seen_part, mut whole) = (0, false, 0);
    let mut wait = 150;
    for _ in 0..40 {
        let mut child = place.command("restore", &place.path("target"), &[]).spawn().expect("it can be started");
        std::thread::sleep(Duration::from_millis(wait));
        let is_over = child.try_wait().expect("a status").is_some();
        // Nothing but SIGKILL: no handler can tidy up.
        let _ = child.kill();
        child.wait().expect("it ends");
        whole = assert_whole(&app, &place.restored("target"));
        if is_over {
            break;
        }
        seen_part |= !parts(&place.path("target")).is_empty();
        killed += 1;
        wait = wait * 5 / 4;
    }
    assert!(killed >= 2, "it was never killed");
    let _ = writeln!(std::io::stderr(), "killed {killed} times, {whole} files whole, a part seen: {seen_part}");
    place.restore("target", &[]);
    assert_eq!(parts(&place.path("target")), Vec::<PathBuf>::new());
    let again = place.restore("target", &["--checksum"]);
    assert!(again.contains("To write:      0 files"), "{again}");
}

/// A small disk, until it goes.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: PathBuf) -> Self {
        fs::create_dir_all(&path).expect("a folder");
        mount(&["-t", "tmpfs", "-o", "size=8m", "tmpfs"], &path);
        Self(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], path: &Path) {
    let status = Command::new("mount").args(arguments).arg(path).status().expect("mount can be started");
    assert!(status.success(), "mount {arguments:?}");
}

#[test]
fn a_full_and_a_read_only_disk_are_named_and_no_harm_is_done() {
    let test = "a_full_and_a_read_only_disk_are_named_and_no_harm_is_done";
    if !is_root(test) {
        return;
    }
    let Some(place) = Place::new(test) else { return };
    let app = place.path("srv/app");
    tree::fill(&app);
    fs::write(app.join("large"), noise(20_000_000)).expect("a file");
    place.save();
    let disk = Disk::mount(place.path("target"));
    mount(&["-o", "remount,ro"], &disk.0);
    let (code, text) = place.run("restore", "target", &[]);
    assert_eq!((code, text.contains("read-only filesystem")), (1, true), "{text}");
    mount(&["-o", "remount,rw"], &disk.0);

    let (code, text) = place.run("restore", "target", &[]);
    assert_eq!((code, text.contains("are needed, and")), (2, true), "{text}");
    let (code, text) = place.run("restore", "target", &["--ignore-space"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("the disk is full, make room") && text.contains("run the same command again"), "{text}");
    assert_whole(&app, &place.restored("target"));

    mount(&["-o", "remount,size=64m"], &disk.0);
    place.restore("target", &[]);
    assert_eq!(parts(&disk.0), Vec::<PathBuf>::new());
}

#[test]
fn what_is_in_the_way_stays_and_no_link_is_followed() {
    let Some(place) = Place::new("what_is_in_the_way_stays_and_no_link_is_followed") else { return };
    let app = place.path("srv/app");
    fs::create_dir_all(app.join("folder/deep")).expect("a folder");
    fs::write(app.join("folder/deep/file"), "saved").expect("a file");
    fs::write(app.join("plain"), "saved").expect("a file");
    place.save();

    // A link where a folder must be leads out: nothing goes through it, whatever is allowed.
    let (restored, outside) = (place.restored("target"), place.path("outside"));
    fs::create_dir_all(&restored).expect("a folder");
    fs::create_dir_all(outside.join("deep")).expect("a folder");
    symlink(&outside, restored.join("folder")).expect("a link");
    for more in [&[][..], &["--overwrite", "--yes"]] {
        let (code, text) = place.run("restore", "target", more);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("folder: a link where a folder must be, and links are not followed"), "{text}");
        assert_eq!(fs::read_dir(outside.join("deep")).expect("a folder").count(), 0);
    }
    // A file where a folder must be, and the reverse.
    fs::remove_file(restored.join("folder")).expect("it was there");
    fs::write(restored.join("folder"), "mine").expect("a file");
    let (code, text) = place.run("restore", "target", &["--overwrite", "--yes"]);
    assert_eq!((code, text.contains("folder: a file where a folder must be")), (1, true), "{text}");
    assert_eq!(fs::read_to_string(restored.join("folder")).expect("a file"), "mine");
    fs::remove_file(restored.join("folder")).expect("it was there");
    fs::create_dir(restored.join("plain")).expect("a folder");
    let (code, text) = place.run("restore", "target", &["--overwrite", "--yes"]);
    assert_eq!((code, text.contains("plain: a folder where a file must be")), (1, true), "{text}");
    fs::remove_dir(restored.join("plain")).expect("it was there");
    // A link in the place of a file is replaced itself, and not what it points to.
    fs::write(outside.join("theirs"), "theirs").expect("a file");
    symlink(outside.join("theirs"), restored.join("plain")).expect("a link");
    let (code, text) = place.run("restore", "target", &[]);
    assert_eq!((code, text.contains("plain: a link"), text.contains("--overwrite")), (1, true, true), "{text}");
    let (code, text) = place.run("restore", "target", &["--overwrite"]);
    assert_eq!((code, text.contains("add `--yes`")), (2, true), "nobody was asked: {text}");
    fs::write(restored.join("beside"), "stays").expect("a file");
    place.run("restore", "target", &["--overwrite", "--yes"]);
    assert_eq!(fs::read_to_string(restored.join("plain")).expect("a file"), "saved");
    assert_eq!(fs::read_to_string(outside.join("theirs")).expect("a file"), "theirs");
    assert_eq!(fs::read_to_string(restored.join("beside")).expect("a file"), "stays");
    fs::remove_file(restored.join("beside")).expect("it was there");
    place.restore("target", &[]);
}

#[test]
fn attributes_links_and_holes_come_back() {
    let test = "attributes_links_and_holes_come_back";
    let Some(place) = Place::new(test) else { return };
    let app = place.path("srv/app");
    tree::fill(&app);
    let python = "import os, sys\n\
        os.setxattr(sys.argv[1], 'user.note', b'kept \\x00 \\xff')\n\
        os.setxattr(sys.argv[2], 'user.folder', b'of a folder')\n\
        acl = bytes.fromhex('02000000' '01000600ffffffff' '02000400fe000000' '04000400ffffffff' '10000600ffffffff' '20000000ffffffff')\n\
        os.setxattr(sys.argv[1], 'system.posix_acl_access', acl)\n";
    let set = Command::new("python3").args(["-c", python]).arg(app.join("-dash")).arg(app.join("uploads")).output();
    match set {
        Ok(output) if output.status.success() => {}
        _ => return skip(test, "the filesystem has no extended attributes, or there is no python3"),
    }
    let holes = fs::File::create(app.join("sparse")).expect("a file");
    holes.set_len(300_000_000).expect("a length");
    std::os::unix::fs::FileExt::write_all_at(&holes, b"middle", 150_000_000).expect("a write");
    if rustix::process::getuid().is_root() {
        // By name where the name is known, by number where it is not.
        std::os::unix::fs::chown(app.join("photo.jpg"), Some(1), Some(1)).expect("an owner");
        std::os::unix::fs::chown(app.join("*"), Some(54_321), Some(54_321)).expect("an owner");
    }
    place.save();
    place.restore("target", &[]);
    let restored = place.restored("target");
    let read = "import os, sys\n\
        assert os.getxattr(sys.argv[1], 'user.note') == b'kept \\x00 \\xff'\n\
        assert os.getxattr(sys.argv[2], 'user.folder') == b'of a folder'\n\
        assert len(os.getxattr(sys.argv[1], 'system.posix_acl_access')) == 44\n";
    let read =
        Command::new("python3").args(["-c", read]).arg(restored.join("-dash")).arg(restored.join("uploads")).output();
    let read = read.expect("python3 was there");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let sparse = fs::metadata(restored.join("sparse")).expect("a file");
    assert_eq!(sparse.len(), 300_000_000);
    assert!(sparse.blocks() * 512 < 10_000_000, "{} blocks are no holes", sparse.blocks());
    let inode = |name: &str| fs::metadata(restored.join(name)).expect("a file").ino();
    assert_eq!(inode("photo.jpg"), inode("uploads/the same"));

    // What is not as it was saved is told: content that has size and time of before, an attribute, a missing file.
    fs::write(restored.join("quote\" back\\slash"), "QUOTE\" back\\slash").expect("a file");
    let odd = "quote\" back\\slash";
    let touch = Command::new("touch").arg("-r").arg(app.join(odd)).arg(restored.join(odd)).status();
    assert!(touch.expect("touch can be started").success());
    fs::remove_file(restored.join("link")).expect("it was there");
    fs::set_permissions(restored.join("uploads"), fs::Permissions::from_mode(0o700)).expect("a mode");
    let (code, text) = place.run("verify", "target", &[]);
    assert_eq!(code, 1, "{text}");
    for told in ["slash: its content is another", "link: it is not there", "uploads: its mode is 0700 instead of 2750"]
    {
        assert!(text.contains(told), "{told}: {text}");
    }
    // Size and time do not tell; reading does.
    let (_, text) = place.run("restore", "target", &["--checksum"]);
    assert!(text.contains("slash: a file"), "{text}");
    place.restore("target", &["--checksum", "--overwrite", "--yes"]);
}

#[test]
fn of_a_damaged_repository_all_that_can_be_had_is_restored() {
    let Some(place) = Place::new("of_a_damaged_repository_all_that_can_be_had_is_restored") else { return };
    let app = place.path("srv/app");
    fs::create_dir_all(app.join("small")).expect("a folder");
    for number in 0..50 {
        fs::write(app.join(format!("small/{number}")), noise(1_000 + number)).expect("a file");
    }
    let noise = noise(60_000_000);
    fs::write(app.join("large"), &noise).expect("a file");
    place.save();
    // One bit in the middle of the largest pack.
    let mut packs: Vec<_> = walk(&place.path("repository/data")).into_iter().map(|it| (size(&it), it)).collect();
    packs.sort();
    let (length, pack) = packs.pop().expect("a pack");
    let mut bytes = fs::read(&pack).expect("a pack");
    bytes[usize::try_from(length / 2).expect("a place")] ^= 1;
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::write(&pack, bytes).expect("a pack");

    let (code, text) = place.run("restore", "target", &[]);
    assert_eq!(code, 1, "{text}");
    let name = pack.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(text.contains("large: NOT RESTORED: ") && text.contains(&name), "{text}");
    let restored = place.restored("target");
    assert_eq!(assert_whole(&app, &restored), 50);
    assert!(!restored.join("large").exists());
    assert_eq!(parts(&restored), Vec::<PathBuf>::new());
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            match entry.file_type().expect("a kind").is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).expect("a file").len()
}
