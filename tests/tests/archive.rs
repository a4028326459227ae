//! The archiver against the real restic: chunks are cut where restic cuts them, so that each finds those of the other again;
//! and keys hold as long as they are there.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use upkeep::clock::Timestamp;
use upkeep::config::grant::{RepositoryAccess, RepositoryGrant};
use upkeep::config::secret::Secret;
use upkeep::repository::restore::RestoreOptions;
use upkeep::repository::source::FolderSource;
use upkeep::repository::{Label, Repository, RepositoryError, Summary, Watch};
use upkeep::root::Root;
use upkeep::root::exclude::Exclude;

/// A folder for a test, with a password file and a place for the repository.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.password("password", "correct horse");
        place
    }

    fn password(&self, name: &str, password: &str) {
        fs::write(self.path(name), password).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.0.path()).unwrap().join(name)
    }

    fn grant(&self) -> RepositoryGrant {
        RepositoryGrant {
            access: vec![RepositoryAccess::Append, RepositoryAccess::List],
            ..RepositoryGrant::new(self.path("repository").to_str().unwrap(), Secret::File(self.path("password")))
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut restic = Command::new("restic");
        restic.arg("--no-cache").arg("-r").arg(self.path("repository"));
        restic.arg("--password-file").arg(self.path("password")).args(arguments).output().unwrap()
    }

    /// restic on the repository; panics when it fails.
    fn restic(&self, arguments: &[&str]) -> Output {
        let output = self.run(arguments);
        assert!(output.status.success(), "restic {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// restic's own backup, which reads everything. Gives the blobs of data that it added, and the bytes.
    fn restic_adds(&self, data: &Path) -> (u64, u64) {
        let output = self.restic(&["backup", "--force", "--json", data.to_str().unwrap()]);
        let text = String::from_utf8(output.stdout).unwrap();
        let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        (summary["data_blobs"].as_u64().unwrap(), summary["data_added"].as_u64().unwrap())
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

fn backup(repository: &Repository, data: &Path) -> Summary {
    let watch = Watch::new(CancellationToken::new());
    let source = FolderSource::new(Root::open(data).unwrap(), Exclude::new(&[]).unwrap(), None, false, watch);
    let label = Label { host: "server".to_owned(), tags: vec!["test".to_owned()], time: Timestamp(1_700_000_000_000) };
    repository.backup(&source, label, Arc::new(|_, _| {})).unwrap()
}

/// Bytes without a pattern, the same for each seed.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let words = (0..length.div_ceil(8)).flat_map(|_| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    });
    words.take(length).collect()
}

/// Files around every limit of the chunker: shorter than a chunk, of many chunks, of zeros, of text, and with a hole.
fn fill(data: &Path) {
    fs::create_dir_all(data.join("small")).unwrap();
    for length in [0, 1, 63, 64, 4_095, 4_096, 100_000] {
        fs::write(data.join(format!("small/{length}")), noise(length, 5)).unwrap();
    }
    const LEAST: usize = 512 << 10;
    for length in [LEAST - 1, LEAST, LEAST + 1, 2 * LEAST, 1 << 20, 9 << 20] {
        fs::write(data.join(format!("zeros-{length}")), vec![0; length]).unwrap();
        fs::write(data.join(format!("noise-{length}")), noise(length, length as u64)).unwrap();
    }
    fs::write(data.join("large"), noise(40 << 20, 9)).unwrap();
    let mut text = Vec::new();
    for line in 0..300_000_u64 {
        writeln!(text, "10.0.{}.7 - - \"GET /api/v1/orders/{} HTTP/1.1\" 200", line % 256, line * 7_919 % 100_003)
            .unwrap();
    }
    fs::write(data.join("access.log"), text).unwrap();
    let sparse = fs::File::create(data.join("sparse")).unwrap();
    sparse.set_len(30 << 20).unwrap();
    sparse.write_all_at(b"in the middle", 13 << 20).unwrap();
}

#[test]
fn restic_finds_all_chunks_of_upkeep_again() {
    if !has_restic("restic_finds_all_chunks_of_upkeep_again") {
        return;
    }
    let place = Place::new();
    let data = place.path("data");
    fill(&data);
    let repository = Repository::open_or_make(&place.grant()).unwrap();
    let saved = backup(&repository, &data);
    assert_eq!(saved.problems, Vec::<String>::new());
    place.restic(&["check", "--read-data"]);
    assert_eq!(place.restic_adds(&data).0, 0, "restic cut somewhere else");
    let restored = place.path("restored");
    place.restic(&["restore", &saved.snapshot, "--target", restored.to_str().unwrap()]);
    let is_same =
        Command::new("diff").arg("-r").arg(&data).arg(restored.join(data.strip_prefix("/").unwrap())).status();
    assert!(is_same.unwrap().success());
}

#[test]
fn upkeep_continues_a_repository_of_restic() {
    if !has_restic("upkeep_continues_a_repository_of_restic") {
        return;
    }
    let place = Place::new();
    let data = place.path("data");
    fill(&data);
    place.restic(&["init"]);
    let (blobs, bytes) = place.restic_adds(&data);
    assert!(blobs > 40 && bytes > 60 << 20, "{blobs} blobs, {bytes} bytes");
    let repository = Repository::open_or_make(&place.grant()).unwrap();
    let saved = backup(&repository, &data);
    assert!(saved.bytes_added < 100_000, "only folders are new, not {} bytes", saved.bytes_added);
    // A byte that is put in moves all that follows; the chunks are found again.
    let mut large = fs::read(data.join("large")).unwrap();
    large.insert(11 << 20, 7);
    fs::write(data.join("large"), large).unwrap();
    let saved = backup(&repository, &data);
    assert_eq!((saved.files_new, saved.files_changed), (0, 1));
    assert!(saved.bytes_added < 9 << 20, "{} bytes for one that was put in", saved.bytes_added);
    assert_eq!(place.restic_adds(&data).0, 0);
    place.restic(&["check", "--read-data"]);
}

#[test]
fn a_repository_of_the_old_format_stays_one() {
    if !has_restic("a_repository_of_the_old_format_stays_one") {
        return;
    }
    let place = Place::new();
    let data = place.path("data");
    fill(&data);
    place.restic(&["init", "--repository-version", "1"]);
    let repository = Repository::open(&place.grant()).unwrap();
    let saved = backup(&repository, &data);
    place.restic(&["check", "--read-data"]);
    assert_eq!(place.restic_adds(&data).0, 0);
    let snapshot = repository.find(&saved.snapshot, |_| true).unwrap();
    let (from, to) = (Path::new("/"), place.path("restored"));
    let options = RestoreOptions { overwrite: false, dry_run: false };
    let restored = repository.restore(&snapshot, from, &to, options, Arc::new(|_, _| {})).unwrap();
    assert_eq!(restored.differences, Vec::<String>::new());
}

#[test]
fn a_password_holds_as_long_as_its_key_is_there() {
    if !has_restic("a_password_holds_as_long_as_its_key_is_there") {
        return;
    }
    let place = Place::new();
    let data = place.path("data");
    fs::create_dir(&data).unwrap();
    let open = || Repository::open(&place.grant());
    let repository = Repository::open_or_make(&place.grant()).unwrap();
    backup(&repository, &data);
    // Opened twice: the second time without the slow derivation.
    open().unwrap();
    place.password("wrong", "wrong");
    fs::rename(place.path("password"), place.path("right")).unwrap();
    fs::rename(place.path("wrong"), place.path("password")).unwrap();
    assert!(matches!(open(), Err(RepositoryError::Password(_))));
    fs::rename(place.path("right"), place.path("password")).unwrap();
    open().unwrap();
    // The old password is revoked in favour of a new one.
    place.password("new", "battery staple");
    place.restic(&["key", "passwd", "--new-password-file", place.path("new").to_str().unwrap()]);
    assert!(matches!(open(), Err(RepositoryError::Password(_))), "a revoked password opens nothing");
    fs::rename(place.path("new"), place.path("password")).unwrap();
    assert_eq!(open().unwrap().snapshots().unwrap().len(), 1);
    // Another repository comes into the place of this one.
    fs::remove_dir_all(place.path("repository")).unwrap();
    place.restic(&["init"]);
    assert_eq!(open().unwrap().snapshots().unwrap().len(), 0);
}
