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
    grants.files.insert("data".into(), FilesGrant::new(path("data"), vec![FilesAccess::Read]));
    grants.files.insert("inbox".into(), FilesGrant::new(path("data"), vec![FilesAccess::Write]));
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
    assert_eq!((dumped.summary.files, dumped.empty.len()), (1, 0));
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

#[tokio::test(flavor = "multi_thread")]
async fn removes_what_is_granted_unless_it_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("data")).unwrap();
    fs::write(path("data/file"), "content").unwrap();
    fs::write(path("password"), "secret").unwrap();
    fs::set_permissions(path("password"), fs::Permissions::from_mode(0o600)).unwrap();
    let repository = |access: &[RepositoryAccess], forget: &str| RepositoryGrant {
        access: access.to_vec(),
        forget: vec![forget.to_owned()],
        ..RepositoryGrant::new(path("repository").to_str().unwrap(), Secret::File(path("password")))
    };
    let mut grants = Grants::default();
    grants.files.insert("data".into(), FilesGrant::new(path("data"), vec![FilesAccess::Read]));
    grants.repository.insert("append".into(), repository(&[RepositoryAccess::Append], "*"));
    grants.repository.insert("list".into(), repository(&[RepositoryAccess::List], "*"));
    grants.repository.insert("prune".into(), repository(&[RepositoryAccess::Prune], "upkeep:task"));
    grants.repository.insert("other".into(), repository(&[RepositoryAccess::Prune], "upkeep:other"));
    let mut host = Host::of(folder.path(), grants, Limits::default()).await;
    let append = host.open("append".into()).await.unwrap();
    let mut saved = Vec::new();
    for _ in 0..2 {
        saved.push(host.backup(again(&append), "data".into(), options()).await.unwrap());
    }
    assert_eq!((saved[0].files_removed, saved[0].bytes_read), (None, 7));
    assert_eq!((saved[1].files_removed, saved[1].files_unmodified, saved[1].bytes_read), (Some(0), 1, 0));
    let first = vec![saved[0].snapshot.clone()];
    let prune = |grace_seconds| abi::PruneOptions {
        max_unused: abi::Amount::Percent(5),
        max_repack: abi::Amount::Unlimited,
        grace_seconds,
    };

    // Rights.
    let [list, pruner, other] = ["list", "prune", "other"].map(str::to_owned);
    let list = host.open(list).await.unwrap();
    let pruner = host.open(pruner).await.unwrap();
    let other = host.open(other).await.unwrap();
    for (handle, key) in [(&append, "grant.repository.append.access"), (&list, "grant.repository.list.access")] {
        let denied = host.forget(again(handle), first.clone()).await;
        host.expect_denied(denied, key);
        let denied = host.prune(again(handle), prune(0)).await;
        host.expect_denied(denied, key);
    }
    let denied = host.hold(again(&pruner), "mine".into()).await;
    host.expect_denied(denied, "\"append\"");
    let denied = host.forget(again(&other), first.clone()).await;
    host.expect_denied(denied, "grant.repository.other.forget");
    let wrong =
        host.prune(again(&pruner), abi::PruneOptions { max_unused: abi::Amount::Percent(100), ..prune(0) }).await;
    assert!(matches!(wrong, Err(HostError::Guest(Error::Invalid(_)))));

    // Held, whoever asks, until it is released.
    assert!(host.hold(again(&append), "everything is gone".into()).await.unwrap());
    assert!(!host.hold(again(&append), "again".into()).await.unwrap());
    assert_eq!(host.holds(again(&append)).await.unwrap()[0].reason, "everything is gone");
    for result in
        [host.forget(again(&pruner), first.clone()).await, host.prune(again(&pruner), prune(0)).await.map(drop)]
    {
        let Err(HostError::Guest(Error::Conflict(message))) = result else { panic!("{result:?}") };
        assert!(message.contains("everything is gone") && message.contains("upkeep backup release task"), "{message}");
    }
    let holds = host.run.store.read().holds(None).await.unwrap();
    assert_eq!((holds.len(), &holds[0].url), (1, &path("repository").to_str().unwrap().to_owned()));
    assert_eq!(host.run.store.release(&holds).await.unwrap(), 1);
    assert_eq!(host.holds(again(&append)).await.unwrap().len(), 0);

    host.forget(again(&pruner), first.clone()).await.unwrap();
    let gone = host.forget(again(&pruner), first).await;
    assert!(matches!(gone, Err(HostError::Guest(Error::NotFound(_)))));
    let pruned = host.prune(again(&pruner), prune(0)).await.unwrap();
    assert!(pruned.bytes_used > 0, "{pruned:?}");
    let left = host.snapshots(again(&list)).await.unwrap();
    assert_eq!((left.len(), &left[0].id), (1, &saved[1].snapshot));
    assert_eq!(left[0].summary.as_ref().map(|it| (it.files, it.files_unmodified)), Some((1, 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_what_the_task_itself_saved_to_where_it_may_append() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().to_owned();
    let path = move |name: &str| top.join(name);
    fs::create_dir(path("data")).unwrap();
    fs::write(path("data/file"), "content").unwrap();
    fs::write(path("password"), "secret").unwrap();
    fs::set_permissions(path("password"), fs::Permissions::from_mode(0o600)).unwrap();
    let repository = |place: &str, access: &[RepositoryAccess]| RepositoryGrant {
        access: access.to_vec(),
        ..RepositoryGrant::new(path(place).to_str().unwrap(), Secret::File(path("password")))
    };
    let mut grants = Grants::default();
    grants.files.insert("data".into(), FilesGrant::new(path("data"), vec![FilesAccess::Read]));
    grants.repository.insert("main".into(), repository("one", &[RepositoryAccess::Append]));
    grants.repository.insert("offsite".into(), repository("two", &[RepositoryAccess::Append]));
    grants.repository.insert("list".into(), repository("two", &[RepositoryAccess::List]));
    let mut host = Host::of(folder.path(), grants.clone(), Limits::default()).await;

    let main = host.open("main".into()).await.unwrap();
    let saved = host.backup(again(&main), "data".into(), options()).await.unwrap();
    let denied = host.open_copy("elsewhere".into(), again(&main)).await;
    host.expect_denied(denied, "grant.repository.elsewhere");
    let denied = host.open_copy("list".into(), again(&main)).await;
    host.expect_denied(denied, "grant.repository.list.access");
    assert!(!path("two").exists(), "nothing was made");
    let offsite = host.open_copy("offsite".into(), again(&main)).await.unwrap();
    let list = host.open("list".into()).await.unwrap();
    for (from, to) in [(&main, &list), (&list, &main)] {
        let denied = host.copy(again(from), again(to), vec![saved.snapshot.clone()]).await;
        host.expect_denied(denied, "grant.repository.list.access");
    }
    let done = host.copy(again(&main), again(&offsite), vec![saved.snapshot.clone()]).await.unwrap();
    assert_eq!((done.copied, done.present), (1, 0));

    // What another task saved there is not carried off.
    let grant = repository("one", &[RepositoryAccess::Append]);
    let foreign = tokio::task::spawn_blocking(move || {
        let root = crate::root::Root::open(&path("data")).unwrap();
        let watch = Watch::new(tokio_util::sync::CancellationToken::new());
        let source = FolderSource::new(root, Exclude::new(&[]).unwrap(), None, false, watch);
        let label = Label { host: "server".into(), tags: vec![task_tag("other")], time: crate::clock::now() };
        Repository::open(&grant).unwrap().backup(&source, label, Arc::new(|_, _| {})).unwrap()
    });
    let foreign = foreign.await.unwrap();
    let refused = host.copy(again(&main), again(&offsite), vec![foreign.snapshot]).await;
    assert!(matches!(refused, Err(HostError::Guest(Error::NotFound(_)))), "that of another task");
    assert_eq!(host.snapshots(again(&list)).await.unwrap().len(), 1);
}
