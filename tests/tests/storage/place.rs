//! A folder with data, and what is done with a repository of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use upkeep::clock::Timestamp;
use upkeep::config::grant::{RepositoryAccess, RepositoryGrant};
use upkeep::config::secret::Secret;
use upkeep::repository::lock::LockKind;
use upkeep::repository::restore::RestoreOptions;
use upkeep::repository::source::FolderSource;
use upkeep::repository::{Label, Repository, RepositoryError, Summary, Tell, Watch};
use upkeep::root::Root;
use upkeep::root::exclude::Exclude;

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A folder for a test, with a password file, some data and a place for a repository.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a folder for the test"));
        place.secret("password", PASSWORD);
        fs::create_dir_all(place.path("data/sub")).expect("a folder");
        fs::write(place.path("data/sub/small"), "content").expect("a file");
        fs::write(place.path("data/large"), noise(3_000_000, 1)).expect("a file");
        place
    }

    /// The real path: the folder for temporary files may be a link.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.0.path()).expect("it is there").join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path of text").to_owned()
    }

    pub(crate) fn secret(&self, name: &str, value: &str) -> Secret {
        let path = self.0.path().join(name);
        fs::write(&path, value).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
        Secret::File(path)
    }

    pub(crate) fn grant(&self, url: &str) -> RepositoryGrant {
        RepositoryGrant {
            access: vec![RepositoryAccess::Append, RepositoryAccess::List],
            ..RepositoryGrant::new(url, Secret::File(self.path("password")))
        }
    }

    /// A repository in a folder.
    pub(crate) fn local(&self) -> RepositoryGrant {
        self.grant(&self.text("repository"))
    }

    pub(crate) fn restic(&self, repository: &str, arguments: &[&str]) -> Output {
        Command::new("restic")
            .args(["--no-cache", "-r", repository, "--password-file"])
            .arg(self.path("password"))
            .args(arguments)
            .output()
            .expect("restic can be started")
    }

    /// The same; panics when it fails.
    pub(crate) fn restic_does(&self, repository: &str, arguments: &[&str]) -> String {
        let output = self.restic(repository, arguments);
        assert!(output.status.success(), "restic {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Bytes that cannot be compressed, the same for the same seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Snapshots of one test follow each other.
pub(crate) fn next_second() -> i64 {
    static SECONDS: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1_790_000_000);
    SECONDS.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

pub(crate) fn try_backup(repository: &Repository, path: &Path, tell: Tell) -> Result<Summary, RepositoryError> {
    let second = next_second();
    let exclude = Exclude::new(&[]).expect("no pattern is wrong");
    let root = Root::open(path).expect("the source is there");
    let source = FolderSource::new(root, exclude, None, false, Watch::new(CancellationToken::new()));
    let label = Label { host: "server".into(), tags: vec!["upkeep:test".into()], time: Timestamp(second * 1000) };
    repository.backup(&source, label, tell)
}

pub(crate) fn backup(repository: &Repository, path: &Path) -> Summary {
    try_backup(repository, path, Arc::new(|_, _| {})).expect("the backup goes well")
}

/// Saves, saves again, restores and compares.
pub(crate) fn round_trip(place: &Place, grant: &RepositoryGrant) -> Repository {
    assert!(matches!(Repository::open(grant), Err(RepositoryError::Missing(_))));
    let repository = Repository::open_or_make(grant).expect("a repository is made");
    let first = backup(&repository, &place.path("data"));
    assert_eq!((first.files, first.bytes, first.problems), (2, 3_000_007, vec![]));
    fs::write(place.path("data/sub/new"), "new").expect("a file");
    let second = backup(&Repository::open(grant).expect("it opens"), &place.path("data"));
    assert!(second.files_new == 1 && second.bytes_added < 100_000, "{second:?}");

    let repository = Repository::open(grant).expect("it opens");
    assert_eq!(repository.snapshots().expect("they are listed").len(), 2);
    comes_back(place, &repository, &second.snapshot);
    repository
}

/// Restores a snapshot and compares it with what the folder holds.
pub(crate) fn comes_back(place: &Place, repository: &Repository, snapshot: &str) {
    let target = tempfile::tempdir_in(place.path("")).expect("a folder");
    let (from, to) = (place.path("data"), target.path().join("restored"));
    let snapshot = repository.find(snapshot, |_| true).expect("it is there");
    let restored = repository.restore(&snapshot, &from, &to, RestoreOptions::default(), Arc::new(|_, _| {}));
    assert_eq!(restored.expect("it is restored").differences, [""; 0]);
    is_same(&from, &to);
}

pub(crate) fn is_same(one: &Path, other: &Path) {
    let same = Command::new("diff").arg("-r").arg(one).arg(other).output().expect("diff runs");
    assert!(
        same.status.success(),
        "{}{}",
        String::from_utf8_lossy(&same.stdout),
        String::from_utf8_lossy(&same.stderr)
    );
}

/// Shared and exclusive locks, taken, seen and given back.
pub(crate) fn locks(repository: &Repository) {
    let cancel = CancellationToken::new();
    let guard = repository.lock(LockKind::Exclusive, Duration::ZERO, &cancel).expect("nobody works on it");
    let refused = repository.lock(LockKind::Shared, Duration::ZERO, &cancel);
    assert!(matches!(refused, Err(RepositoryError::Locked { .. })), "{refused:?}");
    drop(guard);
    drop(repository.lock(LockKind::Shared, Duration::ZERO, &cancel).expect("it was given back"));
}

pub(crate) fn walk(folder: &Path) -> Vec<String> {
    let output = Command::new("find").arg(folder).args(["-type", "f"]).output().expect("find runs");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// The program beside the folder of this test.
pub(crate) fn upkeep() -> PathBuf {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("upkeep"));
    let path = ["UPKEEP", "UPKEEP_BIN"].iter().find_map(std::env::var_os).map(PathBuf::from).or_else(beside);
    let path = path.expect("a path");
    assert!(path.is_file(), "there is no {}: run `make build`, or set UPKEEP", path.display());
    path
}
