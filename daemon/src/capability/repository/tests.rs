use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::abi::HostRepo as _;
use super::*;
use crate::abi::dump::Host as _;
use crate::abi::types::Error;
use crate::config::dump::DumpGrant;
use crate::config::grant::{FilesGrant, Grants, RepositoryGrant};
use crate::config::limits::Limits;
use crate::config::secret::Secret;

fn again<T: 'static>(handle: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(handle.rep())
}

fn options() -> abi::BackupOptions {
    abi::BackupOptions { exclude: vec![], max_size: None, one_filesystem: false, tags: vec!["nightly, full".into()] }
}

#[tokio::test(flavor = "multi_thread")]
async fn backs_up_what_is_granted_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("data")).unwrap();
    fs::write(path("data/file"), "content").unwrap();
    fs::write(path("password"), "secret").unwrap();
    fs::set_permissions(path("password"), fs::Permissions::from_mode(0o600)).unwrap();
    let database = rusqlite::Connection::open(path("app.db")).unwrap();
    database.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (42)").unwrap();
    let repository = |access: &[RepositoryAccess]| RepositoryGrant {
        access: access.to_vec(),
        ..RepositoryGrant::new(path("repository").to_str().unwrap(), Secret::File(path("password")))
    };
    let mut grants = Grants::default();
    grants.files.insert("data".into(), FilesGrant { path: path("data"), access: vec![FilesAccess::Read] });
    grants.files.insert("inbox".into(), FilesGrant { path: path("data"), access: vec![FilesAccess::Write] });
    grants.dump.insert("app".into(), DumpGrant::Sqlite(path("app.db")));
    grants.repository.insert("list".into(), repository(&[RepositoryAccess::List]));
    grants.repository.insert("append".into(), repository(&[RepositoryAccess::Append]));
    let mut host = Host::of(folder.path(), grants, Limits::default()).await;

    let denied = host.open("elsewhere".into()).await;
    host.expect_denied(denied, "grant.repository.elsewhere");
    let missing = host.open("list".into()).await;
    assert!(matches!(missing, Err(HostError::Guest(Error::NotFound(_)))), "listing makes no repository");
    let append = host.open("append".into()).await.unwrap();
    let mut events = host.run.events.listen();
    let summary = host.backup(again(&append), "data".into(), options()).await.unwrap();
    assert_eq!((summary.files, summary.snapshot.len()), (1, 64));
    assert!(matches!(events.recv().await.unwrap(), Event::Progress { done: 7, ordinal: 0, .. }));
    let denied = host.backup(again(&append), "etc".into(), options()).await;
    host.expect_denied(denied, "grant.files.etc");
    let denied = host.backup(again(&append), "inbox".into(), options()).await;
    host.expect_denied(denied, "grant.files.inbox.access");
    let denied = host.snapshots(again(&append)).await;
    host.expect_denied(denied, "grant.repository.append.access");

    let dumped = host.to_repository("app".into(), again(&append), vec![]).await.unwrap();
    assert_eq!(dumped.files, 1);
    let denied = host.to_repository("other".into(), again(&append), vec![]).await;
    host.expect_denied(denied, "grant.dump.other");
    assert_eq!(fs::read_dir(path("scratch")).unwrap().count(), 0, "the copy is removed");

    let list = host.open("list".into()).await.unwrap();
    let snapshots = host.snapshots(again(&list)).await.unwrap();
    assert_eq!(snapshots[0].tags, ["nightly, full", "upkeep:task"]);
    let real = fs::canonicalize(folder.path()).unwrap();
    assert_eq!(snapshots[0].paths, [real.join("data").to_str().unwrap()]);
    assert_eq!(snapshots[1].paths, [real.join("app.db").to_str().unwrap()]);
    let denied = host.backup(again(&list), "data".into(), options()).await;
    host.expect_denied(denied, "grant.repository.list.access");
    let denied = host.to_repository("app".into(), again(&list), vec![]).await;
    host.expect_denied(denied, "\"append\"");
}
