use std::fs;
use std::os::unix::fs::symlink;

use super::abi::{HostReader as _, HostRoot as _, HostWalker as _};
use super::*;
use crate::config::grant::{FilesGrant, Grants};
use crate::config::limits::Limits;
use crate::config::size::Size;

/// A host to which the folder `data` is granted as `data`.
async fn place(access: &[FilesAccess], limits: Limits) -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    fs::write(data.join("sub/file"), "0123456789").unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();
    symlink("../secret", data.join("out")).unwrap();
    let mut grants = Grants::default();
    grants.files.insert("data".into(), FilesGrant::new(data, access.to_vec()));
    let host = Host::of(folder.path(), grants, limits).await;
    (folder, host)
}

fn all(path: &str) -> abi::WalkOptions {
    abi::WalkOptions { path: path.to_owned(), exclude: vec![], max_depth: None, one_filesystem: true }
}

/// The handle once more, since each call takes one.
fn again<T: 'static>(handle: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(handle.rep())
}

#[tokio::test]
async fn what_is_not_granted_is_denied_and_the_key_is_named() {
    let (_folder, mut host) = place(&[FilesAccess::Read], Limits::default()).await;
    let denied = abi::HostRoot::open(&mut host, "other".into()).await;
    host.expect_denied(denied, "grant.files.other");
    let root = abi::HostRoot::open(&mut host, "data".into()).await.unwrap();
    for path in ["../secret", "/etc/passwd", "out", r"sub/\x2e\x2e/\x2e./secret"] {
        let denied = host.read(again(&root), path.into()).await;
        host.expect_denied(denied, "grant.files.data");
    }
    let denied = host.write(again(&root), "new".into(), vec![]).await;
    host.expect_denied(denied, "grant.files.data.access");
    assert_eq!(host.run.denials().len(), 6);

    let (_folder, mut host) = place(&[FilesAccess::Write], Limits::default()).await;
    let root = abi::HostRoot::open(&mut host, "data".into()).await.unwrap();
    host.write(again(&root), "new".into(), b"text".to_vec()).await.unwrap();
    let denied = abi::HostRoot::walk(&mut host, again(&root), all("")).await;
    host.expect_denied(denied, "grant.files.data.access");
    let denied = host.read(again(&root), "new".into()).await;
    host.expect_denied(denied, "\"read\"");
}

#[tokio::test]
async fn many_files_come_in_one_call_as_far_as_they_fit() {
    let limits = Limits { call: Size(64), ..Limits::default() };
    let (folder, mut host) = place(&[FilesAccess::Read], limits).await;
    let data = folder.path().join("data");
    for (name, size) in [("a", 20), ("b", 20), ("c", 100), ("empty", 0)] {
        fs::write(data.join(name), vec![b'x'; size]).unwrap();
    }
    let root = abi::HostRoot::open(&mut host, "data".into()).await.unwrap();
    let paths = |paths: &[&str]| paths.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();

    // `a` alone is 36 bytes; `b` and it would be 72.
    let read = host.read_many(again(&root), paths(&["a", "b"]), 1_000).await.unwrap();
    assert_eq!(read.iter().map(|it| it.as_ref().unwrap().len()).collect::<Vec<_>>(), [20]);
    let read = host.read_many(again(&root), paths(&["b", "empty", "c"]), 10).await.unwrap();
    assert_eq!(read.iter().map(|it| it.as_ref().unwrap().len()).collect::<Vec<_>>(), [10, 0]);
    // The first one is given in any case, cut at the limit.
    let read = host.read_many(again(&root), paths(&["c"]), 1_000).await.unwrap();
    assert_eq!(read[0].as_ref().unwrap().len(), 64);
    assert!(host.read_many(again(&root), vec![], 10).await.unwrap().is_empty());

    // What cannot be read is told in its place, and an attempt to leave is denied.
    let (_folder, mut host) = place(&[FilesAccess::Read], Limits::default()).await;
    let root = abi::HostRoot::open(&mut host, "data".into()).await.unwrap();
    let read = host.read_many(again(&root), paths(&["none", "sub", "sub/file", "out"]), 4).await.unwrap();
    assert!(matches!(&read[0], Err(Error::NotFound(_))), "{read:?}");
    assert!(matches!(&read[1], Err(Error::Invalid(_))), "{read:?}");
    assert_eq!(read[2].as_deref().unwrap(), b"0123");
    assert!(matches!(&read[3], Err(Error::Denied(_))), "{read:?}");
    assert_eq!(host.run.denials().len(), 1);

    let (_folder, mut host) = place(&[FilesAccess::Write], Limits::default()).await;
    let root = abi::HostRoot::open(&mut host, "data".into()).await.unwrap();
    let denied = host.read_many(again(&root), paths(&["sub/file"]), 4).await;
    host.expect_denied(denied, "\"read\"");
}

#[tokio::test]
async fn a_walk_comes_in_batches_and_files_in_pieces() {
    let limits = Limits { call: Size(4), ..Limits::default() };
    let (folder, mut host) = place(&[FilesAccess::Read], limits).await;
    for number in 0..2_500 {
        fs::write(folder.path().join(format!("data/{number:04}")), "").unwrap();
    }
    let root = abi::HostRoot::open(&mut host, "data".into()).await.unwrap();
    let reader = host.read(again(&root), "sub/file".into()).await.unwrap();
    assert_eq!(host.identity(again(&reader)).await.unwrap().size, 10);
    assert_eq!(host.read_at(again(&reader), 2, 1_000).await.unwrap(), b"2345", "as much as one call may hold");
    assert_eq!(host.read_at(again(&reader), 8, 1_000).await.unwrap(), b"89");
    assert_eq!(host.read_at(again(&reader), 10, 1_000).await.unwrap(), b"");
    let walker = abi::HostRoot::walk(&mut host, again(&root), all("")).await.unwrap();
    assert_eq!(host.next(again(&walker), 10).await.unwrap().len(), 1, "at least one, however small a call is");

    let (folder, mut host) = place(&[FilesAccess::Read], Limits::default()).await;
    for number in 0..2_500 {
        fs::write(folder.path().join(format!("data/{number:04}")), "").unwrap();
    }
    let root = abi::HostRoot::open(&mut host, "data".into()).await.unwrap();
    let walker = abi::HostRoot::walk(&mut host, again(&root), all("")).await.unwrap();
    let mut paths = Vec::new();
    for expected in [1_000, 1_000, 503, 0] {
        let batch = host.next(again(&walker), 1_000).await.unwrap();
        assert_eq!(batch.len(), expected);
        paths.extend(batch.into_iter().map(|entry| entry.path));
    }
    assert!(paths.is_sorted());
    assert!(matches!(host.next(again(&walker), 0).await, Err(HostError::Guest(Error::Invalid(_)))));
    host.run.cancel.cancel();
    let walker = abi::HostRoot::walk(&mut host, again(&root), all("")).await.unwrap();
    assert!(matches!(host.next(again(&walker), 10).await, Err(HostError::Guest(Error::Unavailable(_)))));
}

#[tokio::test]
async fn limits_hold() {
    let limits = Limits { handles: 3, call: Size(8), ..Limits::default() };
    let (_folder, mut host) = place(&[FilesAccess::Read, FilesAccess::Write], limits).await;
    let root = abi::HostRoot::open(&mut host, "data".into()).await.unwrap();
    let large = host.write(again(&root), "new".into(), vec![0; 9]).await;
    assert!(matches!(large, Err(HostError::Guest(Error::Limit(message))) if message.contains("limits.call")));
    let mut opened = 1;
    while host.read(again(&root), "sub/file".into()).await.is_ok() {
        opened += 1;
        assert!(opened < 100);
    }
    assert_eq!(host.limiter.exceeded().map(|(limit, _)| *limit), Some("call"), "the first one is remembered");
    assert_eq!(opened, 3);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named_by_its_key() {
    let (folder, mut host) = place(&[FilesAccess::Read], Limits::default()).await;
    fs::remove_dir_all(folder.path().join("data")).unwrap();
    let missing = abi::HostRoot::open(&mut host, "data".into()).await;
    assert!(
        matches!(missing, Err(HostError::Guest(Error::NotFound(message))) if message.contains("grant.files.data.path"))
    );
}

#[tokio::test]
async fn what_is_kept_to_be_had_back_is_closed() {
    let (folder, mut host) = place(&[FilesAccess::Read, FilesAccess::Write], Limits::default()).await;
    let data = folder.path().join("data");
    for aside in [".upkeep-undo/RUN-data/0", "sub/.upkeep-undo/RUN-sub/0"] {
        fs::create_dir_all(data.join(aside)).unwrap();
        fs::write(data.join(aside).join("0-secret"), "removed").unwrap();
    }
    // Somebody who may write to the folder lends a hand.
    symlink(".upkeep-undo/RUN-data", data.join("way")).unwrap();
    symlink(".upkeep-undo/RUN-data/0/0-secret", data.join("to file")).unwrap();
    let root = abi::HostRoot::open(&mut host, "data".into()).await.unwrap();
    let walker = abi::HostRoot::walk(&mut host, again(&root), all("")).await.unwrap();
    let mut paths = Vec::new();
    loop {
        let batch = host.next(again(&walker), 3).await.unwrap();
        if batch.is_empty() {
            break;
        }
        paths.extend(batch.into_iter().map(|entry| entry.path));
    }
    assert_eq!(paths, ["out", "sub", "sub/file", "to file", "way"]);
    assert!(host.problems(again(&walker)).await.unwrap().is_empty());

    let key = "upkeep keeps for itself";
    for path in [".upkeep-undo/RUN-data/0/0-secret", "to file", "way/0/0-secret", "sub/.upkeep-undo/RUN-sub/0/0-secret"]
    {
        let denied = host.read(again(&root), path.into()).await;
        host.expect_denied(denied, key);
        if path == "to file" {
            // The link itself is nobody's secret, and goes with a write.
            assert_eq!(host.stat(again(&root), path.into()).await.unwrap().kind, abi::Kind::Link);
            continue;
        }
        let denied = host.stat(again(&root), path.into()).await;
        host.expect_denied(denied, key);
        let denied = host.write(again(&root), path.into(), b"mine".to_vec()).await;
        host.expect_denied(denied, key);
        let denied = host.make_directory(again(&root), path.into()).await;
        host.expect_denied(denied, key);
    }
    for path in [".upkeep-undo", "sub/.upkeep-undo"] {
        let denied = abi::HostRoot::walk(&mut host, again(&root), all(path)).await;
        host.expect_denied(denied, key);
        let denied = host.stat(again(&root), path.into()).await;
        host.expect_denied(denied, key);
        let denied = host.write(again(&root), path.into(), vec![]).await;
        host.expect_denied(denied, key);
        let denied = host.make_directory(again(&root), path.into()).await;
        host.expect_denied(denied, key);
    }
    let denied = abi::HostRoot::walk(&mut host, again(&root), all("way")).await;
    host.expect_denied(denied, key);
    for path in [".upkeep-undo", "way", "to file"] {
        let nothing = host.resolve(again(&root), path.into()).await;
        assert!(matches!(nothing, Err(HostError::Guest(Error::NotFound(_)))), "{path}");
    }
    // Through the link's own place, the link is replaced, and what it led to is as it was.
    host.write(again(&root), "to file".into(), b"mine".to_vec()).await.unwrap();
    assert_eq!(fs::read_to_string(data.join(".upkeep-undo/RUN-data/0/0-secret")).unwrap(), "removed");
    assert_eq!(fs::read_dir(data.join(".upkeep-undo/RUN-data/0")).unwrap().count(), 1);

    // A backup saves it: what was removed may be all that is left of it.
    let (_, whole) = open(&mut host, "data").await.unwrap();
    let options =
        WalkOptions { exclude: Exclude::new(&[]).unwrap(), max_depth: None, one_filesystem: true, together: 1 };
    let saved = whole.walk(std::path::Path::new(""), options).unwrap();
    assert_eq!(saved.filter(|found| found.name() == "0-secret").count(), 2);
}
