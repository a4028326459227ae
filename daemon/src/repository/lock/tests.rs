use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::grant::RepositoryGrant;
use crate::config::secret::Secret;

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
    repository: Repository,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "secret").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let path = folder.path().join("repository");
    let grant = RepositoryGrant::new(path.to_str().unwrap(), Secret::File(password));
    let repository = Repository::open_or_make(&grant).unwrap();
    Place { _folder: folder, path, repository }
}

impl Place {
    fn lock(&self, kind: LockKind) -> Result<LockGuard, RepositoryError> {
        self.repository.lock(kind, Duration::ZERO, &CancellationToken::new())
    }

    fn files(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.path.join(crate::storage::LOCKS)).unwrap().map(|it| it.unwrap().path()).collect()
    }

    fn read(&self, path: &Path) -> LockFile {
        serde_json::from_slice(&self.repository.cipher.open_file(&std::fs::read(path).unwrap()).unwrap()).unwrap()
    }

    /// A lock of another program.
    fn put(&self, lock: &LockFile) -> PathBuf {
        let file = self.repository.cipher.seal(&serde_json::to_vec(lock).unwrap()).unwrap();
        let name: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.path.join(crate::storage::LOCKS).join(name);
        std::fs::write(&path, file).unwrap();
        path
    }
}

fn told(locked: Result<LockGuard, RepositoryError>) -> String {
    match locked {
        Err(error @ RepositoryError::Locked { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn shared_locks_go_together_and_an_exclusive_one_alone() {
    let place = place();
    let one = place.lock(LockKind::Shared).unwrap();
    let two = place.lock(LockKind::Shared).unwrap();
    assert_eq!(place.files().len(), 2);
    let text = told(place.lock(LockKind::Exclusive));
    assert!(text.contains("this upkeep itself") && text.contains("holds a lock, renewed 0s ago"), "{text}");
    drop((one, two));
    assert_eq!(place.files(), [] as [PathBuf; 0]);

    let alone = place.lock(LockKind::Exclusive).unwrap();
    let lock = place.read(&place.files()[0]);
    assert_eq!((lock.exclusive, lock.pid, &lock.hostname), (true, std::process::id(), &host()));
    assert!((0..2_000).contains(&(clock::now().0 - lock.renewed().0)), "{lock:?}");
    for kind in [LockKind::Shared, LockKind::Exclusive] {
        assert!(told(place.lock(kind)).contains("an exclusive lock"));
    }
    drop(alone);
    drop(place.lock(LockKind::Shared).unwrap());
}

#[test]
fn of_many_at_the_same_moment_at_most_one_is_alone() {
    let place = place();
    let held = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    if let Ok(guard) = place.lock(LockKind::Exclusive) {
                        *held.lock().unwrap() += 1;
                        assert_eq!(*held.lock().unwrap(), 1);
                        *held.lock().unwrap() -= 1;
                        drop(guard);
                    }
                }
            });
        }
    });
    assert_eq!(place.files(), [] as [PathBuf; 0]);
}

#[test]
fn dead_processes_of_this_machine_keep_nobody_out() {
    let place = place();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let dead = LockFile { pid: child.id(), ..LockFile::now(LockKind::Exclusive) };
    // Killed, and started again with the same number, as the first process of a container is.
    let before = LockFile::now(LockKind::Exclusive);
    // The number was given to another process meanwhile.
    let mut sleeping = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let long_ago = in_text(Timestamp(clock::now().0 - 3_600_000));
    let recycled = LockFile { pid: sleeping.id(), time: long_ago, ..LockFile::now(LockKind::Exclusive) };
    for lock in [dead, before, recycled] {
        let path = place.put(&lock);
        drop(place.lock(LockKind::Exclusive).unwrap());
        assert!(!path.exists(), "{lock:?}");
    }
    let alive = place.put(&LockFile { pid: sleeping.id(), ..LockFile::now(LockKind::Exclusive) });
    let text = told(place.lock(LockKind::Shared));
    assert!(text.contains(&format!("process {}", sleeping.id())) && text.contains("wait until"), "{text}");
    assert!(alive.exists());
    sleeping.kill().unwrap();
    sleeping.wait().unwrap();
    drop(place.lock(LockKind::Shared).unwrap());
}

#[test]
fn locks_of_other_machines_are_left_for_a_person() {
    let place = place();
    let time = |minutes: i64| in_text(Timestamp(clock::now().0 - minutes * 60_000));
    let lock = |minutes, exclusive| LockFile {
        hostname: "elsewhere".into(),
        username: "root".into(),
        pid: 4711,
        time: time(minutes),
        ..LockFile::now(if exclusive { LockKind::Exclusive } else { LockKind::Shared })
    };
    for (minutes, remedy) in [(2, "wait until it is done"), (31, "it looks dead")] {
        let path = place.put(&lock(minutes, true));
        let text = told(place.lock(LockKind::Shared));
        let holder = format!("process 4711 of root on elsewhere holds an exclusive lock, renewed {minutes}m ago");
        assert!(text.contains(&holder) && text.contains(remedy), "{text}");
        std::fs::remove_file(path).unwrap();
    }
    let path = place.put(&lock(2, false));
    drop(place.lock(LockKind::Shared).unwrap());
    assert!(told(place.lock(LockKind::Exclusive)).contains("holds a lock"));
    std::fs::write(path.with_file_name("f".repeat(64)), "no lock at all").unwrap();
    std::fs::remove_file(path).unwrap();
    drop(place.lock(LockKind::Exclusive).unwrap());
}

#[test]
fn is_waited_for_renewed_and_known_to_be_lost() {
    let place = place();
    let guard = place.lock(LockKind::Exclusive).unwrap();
    let cancel = CancellationToken::new();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| place.repository.lock(LockKind::Shared, Duration::from_secs(60), &cancel));
        std::thread::sleep(Duration::from_millis(100));
        drop(guard);
        drop(waiting.join().unwrap().unwrap());
    });

    let guard = place.lock(LockKind::Exclusive).unwrap();
    let before = place.files();
    guard.held.renew().unwrap();
    let after = place.files();
    assert!(after.len() == 1 && after != before);
    assert!(told(place.lock(LockKind::Shared)).contains("this upkeep itself"));
    std::fs::remove_file(&after[0]).unwrap();
    guard.watch().still_held().unwrap();
    guard.held.renew().unwrap();
    assert!(guard.watch().still_held().unwrap_err().to_string().contains("run it again"));

    cancel.cancel();
    let ended = place.repository.lock(LockKind::Shared, Duration::ZERO, &cancel);
    assert!(matches!(ended, Err(RepositoryError::Cancelled)));
}
