//! Forget and prune against the real restic: after each state that they can leave, restic finds no error, and what was to
//! stay is there.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use upkeep::clock::Timestamp;
use upkeep::config::grant::RepositoryGrant;
use upkeep::config::secret::Secret;
use upkeep::repository::prune::{Amount, Pruned, Pruning};
use upkeep::repository::restore::RestoreOptions;
use upkeep::repository::source::FolderSource;
use upkeep::repository::{Label, Repository, RepositoryError, Watch};
use upkeep::root::Root;
use upkeep::root::exclude::Exclude;

struct Place {
    folder: tempfile::TempDir,
    repository: Repository,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        fs::write(&password, "correct horse battery staple").unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let url = folder.path().join("repository");
        let grant = RepositoryGrant::new(url.to_str().unwrap(), Secret::File(password));
        let repository = Repository::open_or_make(&grant).unwrap();
        Self { folder, repository }
    }

    fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap().join(name)
    }

    /// Saves the folder with a file of its own; the file `shared` is in all.
    fn save(&self, number: u8) -> String {
        let data = self.path("data");
        fs::write(data.join("shared"), noise(99, 400_000)).unwrap();
        for entry in fs::read_dir(&data).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap() != "shared" {
                fs::remove_file(path).unwrap();
            }
        }
        fs::write(data.join(format!("own-{number}")), noise(number, 700_000)).unwrap();
        let watch = Watch::new(CancellationToken::new());
        let source = FolderSource::new(Root::open(&data).unwrap(), Exclude::new(&[]).unwrap(), None, false, watch);
        let tags = vec!["upkeep:test".to_owned()];
        let label =
            Label { host: "server".into(), tags, time: Timestamp(1_790_000_000_000 + i64::from(number) * 1_000) };
        self.repository.backup(&source, label, Arc::new(|_, _| {})).unwrap().snapshot
    }

    fn forget(&self, ids: &[String]) -> Result<(), RepositoryError> {
        self.repository.forget(ids, |_| Ok(()), &CancellationToken::new())
    }

    fn prune(&self, grace_seconds: u64) -> Result<Pruned, RepositoryError> {
        let how = Pruning { max_unused: Amount::Bytes(0), max_repack: Amount::Unlimited, grace_seconds };
        self.repository.prune(&how, &CancellationToken::new(), Arc::new(|_, _| {}))
    }

    fn ids(&self) -> Vec<String> {
        self.repository.snapshots().unwrap().into_iter().map(|it| it.id).collect()
    }

    /// A snapshot gives back what it saved.
    fn assert_restores(&self, id: &str, number: u8) {
        let snapshot = self.repository.find(id, |_| true).unwrap();
        let target = tempfile::tempdir_in(self.folder.path()).unwrap();
        let options = RestoreOptions { overwrite: true, dry_run: false };
        let restored =
            self.repository.restore(&snapshot, Path::new("/"), target.path(), options, Arc::new(|_, _| {})).unwrap();
        assert_eq!(restored.differences, [""; 0]);
        let data = target.path().join(self.path("data").strip_prefix("/").unwrap());
        assert_eq!(fs::read(data.join(format!("own-{number}"))).unwrap(), noise(number, 700_000));
        assert_eq!(fs::read(data.join("shared")).unwrap(), noise(99, 400_000));
    }

    fn restic(&self, arguments: &[&str]) -> Output {
        let output = Command::new("restic")
            .args(["--no-cache", "-r", self.path("repository").to_str().unwrap(), "--password-file"])
            .arg(self.path("password"))
            .args(arguments)
            .output()
            .unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "restic {arguments:?}: {}{}", said(&output.stdout), said(&output.stderr));
        output
    }

    /// restic reads all data and finds no error; gives what it says.
    fn check(&self) -> String {
        let output = self.restic(&["check", "--read-data"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("no errors were found"), "{said}");
        said
    }

    fn packs(&self) -> u64 {
        let mut size = 0;
        let mut folders = vec![self.path("repository/data")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => size += entry.metadata().unwrap().len(),
                }
            }
        }
        size
    }
}

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length).collect()
}

/// Whether restic is there; says loudly when it is not.
fn has_restic(test: &str) -> bool {
    let found = Command::new("restic").arg("version").output().is_ok_and(|output| output.status.success());
    if !found {
        let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: there is no `restic` (apt-get install restic)\n");
        assert!(std::env::var_os("CI").is_none(), "restic is missing, and CI must not skip");
    }
    found
}

#[test]
fn restic_finds_no_error_in_any_state() {
    if !has_restic("restic_finds_no_error_in_any_state") {
        return;
    }
    let place = Place::new();
    let ids: Vec<_> = (1..=4).map(|number| place.save(number)).collect();
    let full = place.packs();
    place.forget(&ids[..2]).unwrap();
    assert_eq!(place.ids(), ids[2..]);
    place.check();

    // The data is only marked: it is all there, restic knows of no index for it and calls that no error.
    let marked = place.prune(82_800).unwrap();
    assert!(marked.packs_marked > 0 && marked.bytes_marked > 1_400_000 && marked.packs_removed == 0, "{marked:?}");
    assert!(place.packs() >= full, "nothing was removed yet");
    assert!(place.check().contains("additional files were found in the repo"), "restic sees what is marked");
    place.assert_restores(&ids[2], 3);

    // What was marked is not relied on: the same content is saved again.
    let again = place.save(1);
    place.check();
    place.assert_restores(&again, 1);

    // A second prune within the grace period does nothing more.
    let second = place.prune(82_800).unwrap();
    assert_eq!((second.packs_removed, second.bytes_marked), (0, 0), "{second:?}");
    place.check();

    // After the grace period it goes.
    let removed = place.prune(0).unwrap();
    assert!(removed.packs_removed >= marked.packs_marked && removed.bytes_removed > 1_300_000, "{removed:?}");
    assert!(!place.check().contains("additional files"), "nothing is left over");
    for (id, number) in [(&ids[2], 3), (&ids[3], 4), (&again, 1)] {
        place.assert_restores(id, number);
    }
    assert!(place.packs() < full, "{} {full}", place.packs());
}

#[test]
fn a_mark_ends_after_its_grace_period() {
    if !has_restic("a_mark_ends_after_its_grace_period") {
        return;
    }
    let place = Place::new();
    let ids: Vec<_> = (1..=3).map(|number| place.save(number)).collect();
    place.forget(&ids[..1]).unwrap();
    let marked = place.prune(2).unwrap();
    assert!(marked.packs_marked > 0, "{marked:?}");
    std::thread::sleep(std::time::Duration::from_millis(2_200));
    let removed = place.prune(2).unwrap();
    assert_eq!(removed.packs_removed, marked.packs_marked, "{removed:?}");
    assert!(!place.check().contains("additional files"));
    place.assert_restores(&ids[2], 3);
}

#[test]
fn restic_and_upkeep_take_turns() {
    if !has_restic("restic_and_upkeep_take_turns") {
        return;
    }
    let place = Place::new();
    let ids: Vec<_> = (1..=3).map(|number| place.save(number)).collect();
    place.forget(&ids[..1]).unwrap();
    place.prune(82_800).unwrap();
    // restic saves, removes what upkeep has marked, and upkeep goes on with an index that names what is gone.
    place.restic(&["backup", place.path("data").to_str().unwrap()]);
    place.check();
    place.restic(&["prune", "--max-unused", "0"]);
    place.check();
    for grace in [82_800, 0, 0] {
        place.prune(grace).unwrap();
        place.check();
    }
    place.assert_restores(&ids[1], 2);
    place.restic(&["forget", &ids[1], "--prune"]);
    place.prune(0).unwrap();
    place.check();
    place.assert_restores(&ids[2], 3);
    assert_eq!(place.ids().len(), 2);
}

#[test]
fn what_must_stay_stays() {
    let place = Place::new();
    let ids: Vec<_> = (1..=2).map(|number| place.save(number)).collect();
    // All or none.
    let absent = "0".repeat(64);
    for ids in [&[ids[0].clone(), absent][..], &[ids[0].clone(), "../config".to_owned()]] {
        assert!(matches!(place.forget(ids), Err(RepositoryError::Snapshot { .. })));
    }
    let protected = ids[1].clone();
    let may = |snapshot: &upkeep::repository::Snapshot| match snapshot.id == protected {
        true => Err("it is protected".to_owned()),
        false => Ok(()),
    };
    let refused = place.repository.forget(&ids, may, &CancellationToken::new());
    assert_eq!(refused.unwrap_err().to_string(), "it is protected");
    assert_eq!(place.ids().len(), 2);
    let ended = CancellationToken::new();
    ended.cancel();
    assert!(place.repository.forget(&ids, |_| Ok(()), &ended).is_err());
    assert_eq!(place.ids().len(), 2);

    // With a pack missing, nothing more is removed.
    place.forget(&ids[..1]).unwrap();
    let mut packs = Vec::new();
    for folder in fs::read_dir(place.path("repository/data")).unwrap().flatten() {
        packs.extend(fs::read_dir(folder.path()).unwrap().flatten().map(|it| it.path()));
    }
    let largest = packs.iter().max_by_key(|it| fs::metadata(it).unwrap().len()).unwrap();
    fs::rename(largest, place.path("lost")).unwrap();
    let left = place.packs();
    let refused = place.prune(0).map(drop);
    match refused {
        // The pack was one that nobody needs any more.
        Ok(()) => {}
        Err(error) => {
            assert!(error.to_string().contains("what can be removed was looked for"), "{error}");
            assert_eq!(place.packs(), left);
        }
    }
    fs::rename(place.path("lost"), largest).unwrap();
    place.prune(0).unwrap();
    place.assert_restores(&ids[1], 2);
}

/// A folder that cannot be written: nothing is removed, and the message names it.
#[test]
fn a_repository_that_cannot_be_written_loses_nothing() {
    if rustix::process::getuid().is_root() {
        // Root writes everywhere but where a mount forbids it.
        let place = Place::new();
        let ids: Vec<_> = (1..=2).map(|number| place.save(number)).collect();
        place.forget(&ids[..1]).unwrap();
        let index = place.path("repository/index");
        let immutable =
            |flag: &str| Command::new("chattr").arg(flag).arg(&index).output().is_ok_and(|it| it.status.success());
        if !immutable("+i") {
            let _ = writeln!(std::io::stderr(), "\nSKIPPED a_repository_that_cannot_be_written: no chattr +i here\n");
            return;
        }
        let (packs, failed) = (place.packs(), place.prune(0));
        assert!(immutable("-i"));
        let message = failed.unwrap_err().to_string();
        assert!(message.contains("unneeded data was removed"), "{message}");
        assert!(place.packs() >= packs, "no pack went without its index");
        place.prune(0).unwrap();
        place.assert_restores(&ids[1], 2);
    }
}
