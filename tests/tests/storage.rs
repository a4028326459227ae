//! Repositories on real servers: OpenSSH's sshd, OpenStack Swift with its S3 interface, rclone's WebDAV server. And what
//! goes wrong with storage: servers that die, disks that are full, folders that nobody may write to.

#[path = "storage/bare.rs"]
mod bare;
#[path = "storage/place.rs"]
mod place;
#[path = "storage/rustic.rs"]
mod rustic;
#[path = "storage/servers.rs"]
mod servers;
#[path = "storage/tls.rs"]
mod tls;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use upkeep::config::grant::RepositoryGrant;
use upkeep::config::rate::Rate;
use upkeep::repository::lock::LockKind;
use upkeep::repository::restore::RestoreOptions;
use upkeep::repository::{Repository, RepositoryError};

use self::place::{Place, backup, locks, noise, round_trip, try_backup, walk};
use self::servers::{Sshd, Swift, WebDav, is_there};

#[test]
fn sftp_as_restic_does_it() {
    if !is_there("sftp_as_restic_does_it", &["/usr/sbin/sshd", "ssh", "restic"]) {
        return;
    }
    let place = Place::new();
    let sshd = Sshd::start(&place.path("sshd"));
    // The folder is made with those above it.
    let mut grant = place.grant(&sshd.url(&place.text("deep/er/repository")));
    grant.options = sshd.options();
    let repository = round_trip(&place, &grant);
    locks(&repository);

    // restic reads what came over the wire, and goes on with it.
    let folder = place.text("deep/er/repository");
    place.restic_does(&folder, &["check", "--read-data"]);
    place.restic_does(&folder, &["backup", "--host", "server", "--tag", "upkeep:test", &place.text("data")]);
    assert_eq!(repository.snapshots().expect("they are listed").len(), 3);
    let left: Vec<_> = walk(Path::new(&folder)).into_iter().filter(|path| path.contains("-tmp-")).collect();
    assert_eq!(left, [] as [String; 0]);
    assert_eq!(fs::read_dir(place.path("deep/er/repository/locks")).expect("it is there").count(), 0);
}

#[test]
fn sftp_says_why_it_cannot_connect() {
    if !is_there("sftp_says_why_it_cannot_connect", &["/usr/sbin/sshd", "ssh"]) {
        return;
    }
    let place = Place::new();
    let sshd = Sshd::start(&place.path("sshd"));
    let url = sshd.url(&place.text("repository"));
    let refused = |options: &[(&str, String)], url: &str, told: &[&str]| {
        let mut grant = place.grant(url);
        grant.options = sshd.options();
        for (name, value) in options {
            grant.options.insert((*name).to_owned(), value.clone());
        }
        let started = Instant::now();
        let error = Repository::open_or_make(&grant).expect_err("no connection").to_string();
        for part in told.iter().chain([&"no connection to the SFTP server 127.0.0.1"]) {
            assert!(error.contains(part), "{part} in: {error}");
        }
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    };
    // Another key than that which the server knows.
    let other = place.text("other");
    servers::keygen(Path::new(&other));
    refused(&[("key", other.clone())], &url, &["Permission denied", "authorized_keys", "`options.key`"]);
    // A server whose key is another one than that which is known, and one that is not known.
    let known = place.path("known");
    let key = fs::read_to_string(place.path("other.pub")).expect("it was made");
    fs::write(&known, format!("[127.0.0.1]:{} {key}", sshd.port)).expect("a file");
    let known = known.to_str().expect("text").to_owned();
    refused(&[("known_hosts", known.clone())], &url, &["Host key verification failed", "ssh-keyscan -p"]);
    fs::write(&known, "").expect("a file");
    refused(&[("known_hosts", known)], &url, &["ssh-keyscan -p"]);
    // Nobody listens; that may pass, so it is tried again for some seconds.
    drop(sshd);
    let nobody = url.as_str();
    let mut grant = place.grant(nobody);
    grant.options.insert("key".to_owned(), other);
    let error = Repository::open_or_make(&grant).expect_err("no connection").to_string();
    assert!(error.contains("Connection refused") && error.contains("reachable"), "{error}");
}

#[test]
fn a_server_that_dies_in_the_middle_fails_the_run_and_nothing_else() {
    if !is_there(
        "a_server_that_dies_in_the_middle_fails_the_run_and_nothing_else",
        &["/usr/sbin/sshd", "ssh", "restic"],
    ) {
        return;
    }
    let place = Place::new();
    let folder = place.text("repository");
    let sshd = Sshd::start(&place.path("sshd"));
    let mut grant = place.grant(&sshd.url(&folder));
    grant.options = sshd.options();
    backup(&Repository::open_or_make(&grant).expect("a repository"), &place.path("data"));

    // Slow enough to die in the middle of a pack.
    for number in 0..12 {
        fs::write(place.path(&format!("data/{number}")), noise(4_000_000, 100 + number)).expect("a file");
    }
    grant.upload = Some("8 MiB/s".parse::<Rate>().expect("a rate"));
    let repository = Repository::open(&grant).expect("it opens");
    let sshd = std::sync::Mutex::new(Some(sshd));
    let started = Instant::now();
    let failed = std::thread::scope(|scope| {
        scope.spawn(|| {
            servers::within(Duration::from_secs(20), "a pack is being written", || {
                walk(Path::new(&folder)).into_iter().find(|path| path.contains("/data/") && path.contains("-tmp-"))
            });
            drop(sshd.lock().expect("no thread broke").take());
        });
        try_backup(&repository, &place.path("data"), Arc::new(|_, _| {}))
    });
    let error = failed.expect_err("the server is gone").to_string();
    assert!(error.contains("127.0.0.1") && error.contains("a backup was written"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(place.restic_does(&folder, &["snapshots", "--json"]).matches("\"time\"").count(), 1);

    // The server comes back. The lock that could not be removed is that of a dead process or of ourselves.
    let sshd = Sshd::start(&place.path("sshd"));
    let mut grant = place.grant(&sshd.url(&folder));
    grant.options = sshd.options();
    let repository = Repository::open(&grant).expect("it opens");
    backup(&repository, &place.path("data"));
    locks(&repository);
    place.restic_does(&folder, &["check", "--read-data"]);
    assert_eq!(repository.snapshots().expect("they are listed").len(), 2);
}

#[test]
fn s3_as_restic_reads_it() {
    if !is_there("s3_as_restic_reads_it", &[&Swift::PROGRAMS[..], &["restic"]].concat()) {
        return;
    }
    let place = Place::new();
    let swift = Swift::start(&place.path("swift"), "bucket");
    let mut grant = place.grant("s3://bucket/pre/fix");
    grant.options.insert("endpoint".into(), swift.endpoint.clone());
    grant.secrets.insert("access_key_id".into(), place.secret("id", Swift::KEY.0));
    grant.secrets.insert("secret_access_key".into(), place.secret("key", Swift::KEY.1));
    let repository = round_trip(&place, &grant);
    locks(&repository);

    // The restic of Debian 12 cannot write to this server (it sends in chunks); it reads and verifies all the same.
    let restic = |arguments: &[&str]| {
        let output = Command::new("restic")
            .args(["--no-cache", "--no-lock", "-r", &format!("s3:{}/bucket/pre/fix", swift.endpoint)])
            .arg("--password-file")
            .arg(place.path("password"))
            .args(arguments)
            .env("AWS_ACCESS_KEY_ID", Swift::KEY.0)
            .env("AWS_SECRET_ACCESS_KEY", Swift::KEY.1)
            .output()
            .expect("restic can be started");
        assert!(output.status.success(), "restic {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    restic(&["check", "--read-data"]);
    assert_eq!(restic(&["snapshots", "--json"]).matches("\"time\"").count(), 2);
    assert_eq!(restic(&["list", "locks"]), "");

    // What is wrong is said.
    let told = |change: &dyn Fn(&mut RepositoryGrant), parts: &[&str]| {
        let mut grant = grant.clone();
        change(&mut grant);
        let error = Repository::open_or_make(&grant).expect_err("it cannot be reached").to_string();
        for part in parts.iter().chain([&"s3://"]) {
            assert!(error.contains(part), "{part} in: {error}");
        }
    };
    told(
        &|grant| drop(grant.secrets.insert("secret_access_key".into(), place.secret("bad", "wrong"))),
        &["credentials"],
    );
    told(&|grant| grant.url = "s3://other/x".into(), &["no such bucket", "s3://other/x"]);
    told(&|grant| drop(grant.options.insert("endpoint".into(), "http://127.0.0.1:9".into())), &["no connection"]);
}

#[test]
fn webdav_as_restic_reads_it() {
    if !is_there("webdav_as_restic_reads_it", &["rclone", "restic"]) {
        return;
    }
    let place = Place::new();
    let served = place.path("served");
    let server = WebDav::start(&served, "me", "dav secret");
    let mut grant = place.grant(&format!("webdav://127.0.0.1:{}/deep/er/repository", server.port));
    grant.options.insert("user".into(), "me".into());
    grant.secrets.insert("password".into(), place.secret("dav", "dav secret"));
    let repository = round_trip(&place, &grant);
    locks(&repository);
    let folder = place.text("served/deep/er/repository");
    place.restic_does(&folder, &["check", "--read-data"]);
    let left: Vec<_> = walk(Path::new(&folder)).into_iter().filter(|path| path.contains("-tmp-")).collect();
    assert_eq!(left, [] as [String; 0]);

    grant.secrets.insert("password".into(), place.secret("bad", "wrong"));
    let error = Repository::open(&grant).expect_err("it is refused").to_string();
    assert!(error.contains("credentials") && error.contains("secrets.password"), "{error}");
}

#[test]
fn restic_and_upkeep_heed_each_others_locks() {
    if !is_there("restic_and_upkeep_heed_each_others_locks", &["restic"]) {
        return;
    }
    let place = Place::new();
    let (grant, folder) = (place.local(), place.text("repository"));
    let repository = Repository::open_or_make(&grant).expect("a repository is made");
    backup(&repository, &place.path("data"));
    let cancel = CancellationToken::new();
    let lock = |kind| repository.lock(kind, Duration::ZERO, &cancel);

    // restic refuses to remove beside a backup of ours, and to add beside a prune of ours.
    let shared = lock(LockKind::Shared).expect("nobody works on it");
    let refused = place.restic(&folder, &["prune"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("already locked by PID"), "{said}");
    assert!(said.contains(&format!("PID {}", std::process::id())), "{said}");
    place.restic_does(&folder, &["backup", &place.text("data")]);
    drop(shared);
    let exclusive = lock(LockKind::Exclusive).expect("nobody works on it");
    let refused = place.restic(&folder, &["backup", &place.text("data")]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("locked exclusively"));
    drop(exclusive);
    place.restic_does(&folder, &["prune"]);

    // We refuse beside restic, whose process lives, and go on when it was killed.
    let mut restic = Command::new("restic")
        .args(["--no-cache", "-r", &folder, "--password-file"])
        .arg(place.path("password"))
        .args(["backup", "--stdin"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("restic can be started");
    servers::within(Duration::from_secs(20), "restic holds its lock", || {
        place.restic_does(&folder, &["--no-lock", "list", "locks"]).lines().next().map(str::to_owned)
    });
    drop(lock(LockKind::Shared).expect("two may add"));
    let refused = lock(LockKind::Exclusive).expect_err("restic adds").to_string();
    let told = format!("process {} of {}", restic.id(), whoami());
    assert!(refused.contains(&told) && refused.contains("wait until it is done"), "{refused}");
    restic.kill().expect("it runs");
    restic.wait().expect("it ended");
    drop(lock(LockKind::Exclusive).expect("it is dead"));
    assert_eq!(place.restic_does(&folder, &["--no-lock", "list", "locks"]), "");
    place.restic_does(&folder, &["unlock"]);
    place.restic_does(&folder, &["check", "--read-data"]);
}

fn whoami() -> String {
    let output = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_copy_in_another_repository_is_whole_and_made_once() {
    if !is_there("a_copy_in_another_repository_is_whole_and_made_once", &["restic"]) {
        return;
    }
    let place = Place::new();
    let (first, second) = (place.text("repository"), place.text("second"));
    let repository = Repository::open_or_make(&place.local()).expect("a repository is made");
    let saved = backup(&repository, &place.path("data"));
    let grant = RepositoryGrant { password: place.secret("other password", "another one"), ..place.grant(&second) };
    let copy = repository.open_or_make_alike(&grant).expect("a second one");
    let cancel = CancellationToken::new();
    let ids = [saved.snapshot.clone()];
    let again = |may: bool| repository.copy_to(&copy, &ids, |_| may, &cancel, Arc::new(|_, _| {}));
    assert!(matches!(again(false), Err(RepositoryError::Snapshot { .. })), "that of another task");
    let done = again(true).expect("it is copied");
    assert!((done.copied, done.present) == (1, 0) && done.bytes_added > 3_000_000, "{done:?}");
    let done = again(true).expect("it is there");
    assert_eq!((done.copied, done.present, done.bytes_added), (0, 1, 0));

    let restic = |arguments: &[&str]| {
        let output = Command::new("restic")
            .args(["--no-cache", "-r", &second, "--password-file"])
            .arg(place.path("other password"))
            .args(arguments)
            .output()
            .expect("restic can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    restic(&["check", "--read-data"]);
    let snapshots = restic(&["snapshots", "--json"]);
    assert!(snapshots.contains(&format!("\"original\":\"{}\"", saved.snapshot)), "{snapshots}");
    // Both cut alike, so the same data adds nothing but what names it.
    let polynomial = |text: String| text.split("chunker_polynomial").nth(1).map(|rest| rest[..20].to_owned());
    let ours = polynomial(place.restic_does(&first, &["cat", "config"]));
    assert!(ours.is_some() && ours == polynomial(restic(&["cat", "config"])));
    let direct = backup(&copy, &place.path("data"));
    assert!(direct.bytes_added < 10_000, "{direct:?}");

    // A copy into one that fails harms neither.
    fs::write(place.path("data/more"), noise(2_000_000, 7)).expect("a file");
    let more = backup(&repository, &place.path("data"));
    cancel.cancel();
    let ended = repository.copy_to(&copy, &[more.snapshot], |_| true, &cancel, Arc::new(|_, _| {}));
    assert!(matches!(ended, Err(RepositoryError::Cancelled)), "{ended:?}");
    restic(&["check", "--read-data"]);
}

#[test]
fn repositories_of_others_are_opened_and_continued() {
    if !is_there("repositories_of_others_are_opened_and_continued", &["restic"]) {
        return;
    }
    for version in ["1", "2"] {
        let place = Place::new();
        let folder = place.text("repository");
        place.restic_does(&folder, &["init", "--repository-version", version]);
        place.restic_does(&folder, &["backup", "--host", "server", &place.text("data")]);
        let repository = Repository::open(&place.local()).expect("it opens");
        let saved = backup(&repository, &place.path("data"));
        // A folder of another program has the same content, so only what names it is new.
        assert!(saved.bytes_added < 100_000, "version {version}: {saved:?}");
        place.restic_does(&folder, &["check", "--read-data"]);
        place.restic_does(&folder, &["restore", &saved.snapshot, "--target", &place.text("target")]);
        let restored = place.path("target").join(place.text("data").trim_start_matches('/'));
        let same = Command::new("diff").arg("-r").arg(place.path("data")).arg(restored).output().expect("diff runs");
        assert!(same.status.success(), "version {version}: {}", String::from_utf8_lossy(&same.stdout));
        drop(repository.lock(LockKind::Exclusive, Duration::ZERO, &CancellationToken::new()).expect("it is free"));
    }
}

#[test]
fn the_rates_of_the_task_file_are_kept() {
    let place = Place::new();
    let mut grant = place.local();
    grant.upload = Some("2 MiB/s".parse().expect("a rate"));
    grant.download = Some("3 MiB/s".parse().expect("a rate"));
    let repository = Repository::open_or_make(&grant).expect("a repository is made");
    let started = Instant::now();
    let saved = backup(&repository, &place.path("data"));
    // 3 MB at 2 MiB/s; how long it takes beyond that is up to the machine.
    assert!(started.elapsed() > Duration::from_millis(1_200), "{:?}", started.elapsed());
    let snapshot = repository.find(&saved.snapshot, |_| false).expect("it is there");
    let started = Instant::now();
    let (from, target) = (place.path("data"), place.path("restored"));
    let restored = repository.restore(&snapshot, &from, &target, RestoreOptions::default(), Arc::new(|_, _| {}));
    restored.expect("it is restored");
    assert!(started.elapsed() > Duration::from_millis(800), "{:?}", started.elapsed());
}

/// Whether the test runs as root and may mount; says loudly when not.
fn may_mount(test: &str) -> bool {
    let place = tempfile::tempdir().expect("a folder");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(place.path()).output();
    let may = mounted.is_ok_and(|output| output.status.success());
    if may {
        let _ = Command::new("umount").arg(place.path()).status();
    } else {
        eprintln!("\nSKIPPED {test}: this user may not mount\n");
    }
    may
}

/// A mount that is taken away in the end.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(path: &Path, size: &str) -> Self {
        fs::create_dir_all(path).expect("a folder");
        let options = format!("size={size}");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(path).status();
        assert!(done.expect("mount runs").success());
        Self(path.to_owned())
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(done.expect("mount runs").success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_in_the_middle_and_one_that_is_read_only() {
    const NAME: &str = "a_full_disk_in_the_middle_and_one_that_is_read_only";
    if !is_there(NAME, &["restic"]) || !may_mount(NAME) {
        return;
    }
    let place = Place::new();
    let mount = Mount::tmpfs(&place.path("disk"), "24m");
    let grant = place.grant(&place.text("disk/repository"));
    let folder = place.text("disk/repository");
    let repository = Repository::open_or_make(&grant).expect("a repository is made");
    let first = backup(&repository, &place.path("data"));
    for number in 0..10 {
        fs::write(place.path(&format!("data/{number}")), noise(4_000_000, 10 + number)).expect("a file");
    }
    let error = try_backup(&repository, &place.path("data"), Arc::new(|_, _| {})).expect_err("the disk is full");
    let error = error.to_string();
    assert!(error.contains("No space left on device") && error.contains("make room"), "{error}");
    assert_eq!(repository.snapshots().expect("they are listed").len(), 1);
    place.restic_does(&folder, &["check", "--read-data", "--no-lock"]);

    mount.remount("size=128m");
    backup(&repository, &place.path("data"));
    place.restic_does(&folder, &["check", "--read-data"]);

    mount.remount("ro");
    let error = try_backup(&repository, &place.path("data"), Arc::new(|_, _| {})).expect_err("it is read-only");
    let error = error.to_string();
    assert!(error.contains("Read-only file system") && error.contains("ReadWritePaths="), "{error}");
    // Restoring needs no lock.
    let snapshot = repository.find(&first.snapshot, |_| false).expect("it is there");
    let (from, target) = (place.path("data"), place.path("restored"));
    repository.restore(&snapshot, &from, &target, RestoreOptions::default(), Arc::new(|_, _| {})).expect("restored");
    assert_eq!(fs::read(target.join("sub/small")).expect("a file"), b"content");
}

#[test]
fn a_server_that_lets_nothing_be_removed_is_enough_for_a_backup() {
    const NAME: &str = "a_server_that_lets_nothing_be_removed_is_enough_for_a_backup";
    if !is_there(NAME, &["/usr/sbin/sshd", "ssh", "restic"]) {
        return;
    }
    let place = Place::new();
    let sshd = Sshd::start_with(&place.path("sshd"), "internal-sftp -P remove,rmdir");
    let folder = place.text("repository");
    let mut grant = place.grant(&sshd.url(&folder));
    grant.options = sshd.options();
    for number in 0..3 {
        fs::write(place.path("data/more"), noise(100_000, number)).expect("a file");
        // The lock of the run before is still there, and known to be given back.
        backup(&Repository::open_or_make(&grant).expect("it opens"), &place.path("data"));
    }
    assert_eq!(walk(&place.path("repository/locks")).len(), 3, "the server protects nothing");
    assert_eq!(walk(&place.path("repository/snapshots")).len(), 3);
    // The process of the locks is this one, and restic cannot know that it has given them back.
    place.restic_does(&folder, &["--no-lock", "check", "--read-data"]);
}
