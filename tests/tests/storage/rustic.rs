//! Repositories that rustic makes, opens and continues: rustic_core itself, with its own walk, archiver, check and prune.
//! Only the files lie where upkeep's storage puts them; that restic finds them there is part of each test.

use std::fs;
use std::sync::Arc;

use rustic_core::repofile::{Chunker, SnapshotFile};
use rustic_core::{
    BackupOptions, CheckOptions, ConfigOptions, Credentials, KeyOptions, LimitOption, OpenStatus, PathList,
    PruneOptions, RepositoryBackends, RepositoryOptions, SnapshotOptions, jiff,
};
use tokio_util::sync::CancellationToken;
use upkeep::repository::check::Reading;
use upkeep::repository::prune::{Amount, Pruning};
use upkeep::repository::{Repository, RepositoryError};
use upkeep::storage::Storage;

use crate::place::{PASSWORD, Place, backup, comes_back, is_same, next_second, noise};
use crate::servers::is_there;

/// rustic before it has opened anything.
fn rustic(place: &Place) -> rustic_core::Repository<()> {
    let storage = Arc::new(Storage::connect(&place.local()).expect("an address"));
    let options = RepositoryOptions::default().no_cache(true);
    rustic_core::Repository::new(&options, &RepositoryBackends::new(storage, None)).expect("a repository")
}

fn open(place: &Place) -> rustic_core::Repository<OpenStatus> {
    rustic(place).open(&Credentials::password(PASSWORD)).expect("rustic opens it")
}

fn make(place: &Place, options: &ConfigOptions) {
    rustic(place).init(&Credentials::password(PASSWORD), &KeyOptions::default(), options).expect("rustic makes it");
}

/// Saves the folder `data` as rustic does it.
fn save(place: &Place, options: &SnapshotOptions) -> SnapshotFile {
    let time = jiff::Timestamp::from_second(next_second()).expect("a time").to_zoned(jiff::tz::TimeZone::UTC);
    let options = options.clone().host("server".to_owned()).time(time).add_tags("upkeep:test").expect("a tag");
    let source = PathList::from_string(&place.text("data")).expect("a path").sanitize().expect("a path");
    let repository = open(place).to_indexed_ids().expect("rustic reads the index");
    let saved =
        repository.backup(&BackupOptions::default(), &source, options.to_snapshot().expect("a snapshot is begun"));
    saved.expect("rustic saves it")
}

/// What rustic, restic and upkeep find when they read everything; and what restic restores.
fn is_whole(place: &Place, repository: &Repository) {
    let found = open(place).check(CheckOptions::default().read_data(true)).expect("rustic checks");
    assert!(found.0.is_empty(), "rustic finds {:?}", found.0);
    let folder = place.text("repository");
    place.restic_does(&folder, &["check", "--read-data"]);
    let report = repository.check(&Reading::everything(), &CancellationToken::new(), Arc::new(|_, _| {}));
    let report = report.expect("it is checked");
    assert_eq!((report.damages, report.snapshots), (vec![], report.snapshots_whole));
    let target = tempfile::tempdir_in(place.path("")).expect("a folder");
    let to = target.path().to_str().expect("text");
    place.restic_does(&folder, &["restore", "latest", "--target", to]);
    is_same(&place.path("data"), &target.path().join(place.text("data").trim_start_matches('/')));
}

fn hex(snapshot: &SnapshotFile) -> String {
    snapshot.id.to_hex().as_str().to_owned()
}

/// What rustic lets one set, beside what it does by itself. It makes no repositories of version 1.
/// With each, how much of what rustic has cut may be saved again: in the first 64 places behind the least length it has
/// other fingerprints than restic and upkeep, which matters where chunks are small.
fn kinds() -> [(&'static str, ConfigOptions, u64); 3] {
    let mut small = ConfigOptions::default();
    small.set_chunk_size = Some("64 KiB".parse().expect("a size"));
    small.set_chunk_min_size = Some("16 KiB".parse().expect("a size"));
    small.set_chunk_max_size = Some("256 KiB".parse().expect("a size"));
    let mut fixed = ConfigOptions::default().set_chunker(Chunker::FixedSize).set_compression(-7);
    fixed.set_chunk_size = Some("100 kB".parse().expect("a size"));
    fixed.set_datapack_size = Some("1 MB".parse().expect("a size"));
    [
        ("as it comes", ConfigOptions::default(), 20_000),
        ("small chunks", small, 1_000_000),
        ("chunks of one size", fixed, 20_000),
    ]
}

#[test]
fn repositories_of_rustic_are_opened_and_continued() {
    if !is_there("repositories_of_rustic_are_opened_and_continued", &["restic"]) {
        return;
    }
    for (kind, options, again) in kinds() {
        let place = Place::new();
        make(&place, &options);
        let first = save(&place, &SnapshotOptions::default());
        let repository = Repository::open(&place.local()).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let listed = repository.snapshots().expect("they are listed");
        assert_eq!(listed.len(), 1, "{kind}");
        let (seen, tags) = (&listed[0], vec!["upkeep:test".to_owned()]);
        assert_eq!((&seen.id, &seen.host[..], &seen.tags), (&hex(&first), "server", &tags), "{kind}");
        assert_eq!((seen.files, seen.bytes, &seen.paths), (Some(2), Some(3_000_007), &vec![place.text("data")]));
        comes_back(&place, &repository, "latest");

        // Nothing is read again that rustic has saved, and what is saved again is found to be there.
        let same = backup(&repository, &place.path("data"));
        assert_eq!((same.parent, same.files_unmodified), (Some(hex(&first)), 2), "{kind}");
        assert!(same.bytes_added < 10_000, "{kind}: {} bytes", same.bytes_added);
        fs::copy(place.path("data/large"), place.path("data/sub/copy")).expect("a copy");
        fs::write(place.path("data/sub/new"), noise(40_000, 5)).expect("a file");
        let second = backup(&repository, &place.path("data"));
        assert_eq!((second.files_new, second.files_unmodified), (2, 2), "{kind}");
        assert!((40_000..40_000 + again).contains(&second.bytes_added), "{kind}: {} bytes", second.bytes_added);
        comes_back(&place, &repository, &second.snapshot);

        // And the other way round.
        let third = save(&place, &SnapshotOptions::default());
        let summary = third.summary.clone().expect("rustic sums up");
        assert_eq!(
            (third.parent.map(|it| it.to_hex().as_str().to_owned()), summary.files_unmodified),
            (Some(second.snapshot), 4),
            "{kind}"
        );
        assert!(summary.data_added_packed < 10_000, "{kind}: {} bytes", summary.data_added_packed);
        is_whole(&place, &repository);
    }
}

#[test]
fn our_repositories_are_opened_and_continued_by_rustic() {
    if !is_there("our_repositories_are_opened_and_continued_by_rustic", &["restic"]) {
        return;
    }
    let place = Place::new();
    fs::write(place.path("data/large"), noise(12_000_000, 3)).expect("a file");
    let repository = Repository::open_or_make(&place.local()).expect("a repository is made");
    let first = backup(&repository, &place.path("data"));
    let second = save(&place, &SnapshotOptions::default());
    let summary = second.summary.clone().expect("rustic sums up");
    assert_eq!(
        (second.parent.map(|it| it.to_hex().as_str().to_owned()), summary.files_unmodified),
        (Some(first.snapshot), 2)
    );
    assert!(summary.data_added_packed < 10_000, "{} bytes", summary.data_added_packed);
    // A change in the middle: rustic cuts where we cut.
    let mut large = fs::read(place.path("data/large")).expect("a file");
    large.splice(6_000_000..6_000_000, *b"in between");
    fs::write(place.path("data/large"), large).expect("a file");
    let third = save(&place, &SnapshotOptions::default());
    let added = third.summary.clone().expect("rustic sums up").data_added_packed;
    assert!(added < 9_000_000, "{added} bytes");
    comes_back(&place, &repository, "latest");
    let fourth = backup(&Repository::open(&place.local()).expect("it opens"), &place.path("data"));
    assert_eq!((fourth.parent, fourth.files_unmodified), (Some(hex(&third)), 2));
    is_whole(&place, &repository);
    // A key that rustic adds opens it for us too.
    open(&place).add_key("another password", &KeyOptions::default()).expect("rustic adds a key");
    let grant = upkeep::config::grant::RepositoryGrant {
        password: place.secret("another", "another password"),
        ..place.local()
    };
    assert_eq!(Repository::open(&grant).expect("it opens").snapshots().expect("they are listed").len(), 4);
}

#[test]
fn what_rustic_removes_and_protects() {
    if !is_there("what_rustic_removes_and_protects", &["restic"]) {
        return;
    }
    let place = Place::new();
    make(&place, &ConfigOptions::default());
    fs::write(place.path("data/gone"), noise(2_000_000, 9)).expect("a file");
    let first = save(&place, &SnapshotOptions::default());
    fs::remove_file(place.path("data/gone")).expect("it was there");
    let kept = save(&place, &SnapshotOptions::default().delete_never(true));
    let rustic = open(&place);
    rustic.delete_snapshots(&[first.id]).expect("rustic forgets it");
    let prune = |options: &PruneOptions| {
        let rustic = open(&place);
        let plan = rustic.prune_plan(options).expect("rustic looks what can go");
        rustic.prune(options, plan).expect("rustic prunes");
    };
    // The pack is marked now and lies there still: whoever relies on it loses the file later.
    let mut options = PruneOptions::default();
    (options.max_repack, options.max_unused) = (LimitOption::Unlimited, LimitOption::Percentage(0));
    prune(&options);
    let repository = Repository::open(&place.local()).expect("it opens");
    let report = repository.check(&Reading::everything(), &CancellationToken::new(), Arc::new(|_, _| {}));
    assert_eq!(report.expect("it is checked").damages, vec![]);
    fs::write(place.path("data/gone"), noise(2_000_000, 9)).expect("a file");
    let again = backup(&repository, &place.path("data"));
    assert!(again.bytes_added > 1_900_000, "{} bytes", again.bytes_added);
    options.instant_delete = true;
    prune(&options);
    is_whole(&place, &repository);

    // A snapshot that rustic was told to keep stays, whatever the grant lets go.
    let cancel = CancellationToken::new();
    let forget = |id: &str| repository.forget(&[id.to_owned()], |_| Ok(()), &cancel);
    let refused = forget(&hex(&kept)).expect_err("it is protected");
    assert!(matches!(refused, RepositoryError::Removal(_)) && refused.to_string().contains("rustic"), "{refused}");
    let other = backup(&repository, &place.path("data"));
    forget(&other.snapshot).expect("this one may go");
    let how = Pruning { max_unused: Amount::Percent(0), max_repack: Amount::Unlimited, grace_seconds: 0 };
    repository.prune(&how, &cancel, Arc::new(|_, _| {})).expect("we prune");
    is_whole(&place, &repository);
}
