use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::abi::Host as _;
use super::*;
use crate::abi::types::Error;
use crate::config::grant::Grants;
use crate::config::limits::Limits;
use crate::config::removal::{BackupRequirement, RemovalGrant};
use crate::config::safeguards::Safeguards;
use crate::outcome::{Failure, Outcome};
use crate::record::{self, RunId, Trigger};
use crate::removal::protect::Known;
use crate::store::Transition;

/// A host that executes a step, and one of the same run that plans. The folder `data` is granted as `data`.
struct Place {
    folder: tempfile::TempDir,
    plan: Host,
    step: Host,
}

const ALL: [FilesAccess; 3] = [FilesAccess::Read, FilesAccess::Write, FilesAccess::Remove];

impl Place {
    async fn new(removal: RemovalGrant) -> Self {
        Self::with(&ALL, removal, Limits::default(), |_| Safeguards::default()).await
    }

    async fn with(
        access: &[FilesAccess],
        removal: RemovalGrant,
        limits: Limits,
        safeguards: impl FnOnce(&Path) -> Safeguards,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        let mut grants = Grants::default();
        let grant = FilesGrant { removal, ..FilesGrant::new(folder.path().join("data"), access.to_vec()) };
        grants.files.insert("data".into(), grant);
        let mut host = Host::of(folder.path(), grants, limits).await;
        Arc::get_mut(&mut host.run).unwrap().safeguards = Arc::new(safeguards(&folder.path().join("data")));
        let plan = Host::new(Arc::clone(&host.run), Call::Plan);
        Self { folder, plan, step: host }
    }

    /// A place with so many files, `0` and so on, of ten bytes each.
    async fn filled(files: u32, removal: RemovalGrant) -> Self {
        let place = Self::new(removal).await;
        (0..files).for_each(|number| place.write(&number.to_string()));
        place
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("data").join(path)
    }

    fn write(&self, path: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), "0123456789").unwrap();
    }

    /// What a walk would give of it.
    fn candidate(&self, path: &str) -> abi::Candidate {
        use std::os::unix::fs::MetadataExt;
        let seen = self.at(path).symlink_metadata().unwrap();
        let kind = match seen.file_type() {
            it if it.is_file() => GuestKind::File,
            it if it.is_dir() => GuestKind::Directory,
            it if it.is_symlink() => GuestKind::Link,
            _ => GuestKind::Other,
        };
        let modified_ns = seen.mtime() * 1_000_000_000 + seen.mtime_nsec();
        abi::Candidate {
            path: path::escape(path.as_bytes()),
            kind,
            id: abi::Identity { device: seen.dev(), inode: seen.ino(), size: seen.len(), modified_ns },
            action: abi::Action::Remove,
            unless_linked: None,
            rule: "old".into(),
            reason: "because".into(),
        }
    }

    async fn propose(&mut self, paths: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Option<String>> {
        let candidates = paths.into_iter().map(|path| self.candidate(path.as_ref())).collect();
        self.plan.propose("data".into(), candidates).await.unwrap()
    }

    /// Proposes all of these and completes the plan.
    async fn planned(&mut self, paths: impl IntoIterator<Item = impl AsRef<str>>) {
        assert!(self.propose(paths).await.iter().all(Option::is_none));
        self.step.run.removals.seal().unwrap();
    }

    async fn carry_out(&mut self) -> abi::Outcome {
        self.step.carry_out("data".into()).await.unwrap()
    }

    async fn done(&mut self) -> abi::Done {
        match self.carry_out().await {
            abi::Outcome::Done(done) => done,
            abi::Outcome::Blocked(blocks) => panic!("{blocks:?}"),
        }
    }

    /// Why nothing goes; and nothing has gone.
    async fn blocked(&mut self) -> Vec<(abi::Cause, String)> {
        let before = self.names();
        let blocks = match self.carry_out().await {
            abi::Outcome::Blocked(blocks) => blocks,
            abi::Outcome::Done(done) => panic!("{done:?}"),
        };
        assert_eq!(self.names(), before);
        blocks.into_iter().map(|block| (block.cause, block.message)).collect()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.at("")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A run of another task that is over.
    async fn ran(&self, task: &str, started: i64, ended: i64, outcome: Outcome, dry_run: bool) {
        let (id, at) = (RunId::new(Timestamp(started)), Timestamp(started));
        let run = record::Run { dry_run, ..record::Run::queued(id.clone(), task, Trigger::Schedule, at, at) };
        let start = Transition::Start { run: id.clone(), at, fingerprint: String::new() };
        let finish = Transition::Finish { run: id, at: Timestamp(ended), outcome, report: None, metrics: Vec::new() };
        self.step.run.store.commit(vec![Transition::Queue(vec![run]), start, finish]).await.unwrap();
    }
}

fn range(count: u32) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

fn told(result: Result<impl Sized, HostError>) -> Error {
    match result {
        Err(HostError::Guest(error)) => error,
        Err(HostError::Trap(error)) => panic!("{error:?}"),
        Ok(_) => panic!("it was done"),
    }
}

#[tokio::test]
async fn each_phase_has_its_calls() {
    let mut place = Place::filled(1, RemovalGrant::default()).await;
    let mut finish = Host::new(Arc::clone(&place.step.run), Call::Finish);
    let candidates = vec![place.candidate("0")];
    for host in [&mut place.step, &mut finish] {
        let error = told(host.propose("data".into(), vec![]).await);
        assert!(matches!(&error, Error::Invalid(why) if why.contains("for the plan")), "{error:?}");
    }
    for host in [&mut place.plan, &mut finish] {
        for error in [told(host.carry_out("data".into()).await), told(host.expire("data".into()).await)] {
            assert!(matches!(&error, Error::Invalid(why) if why.contains("for a step")), "{error:?}");
        }
        assert!(host.blocks("data".into()).await.unwrap().is_empty());
    }
    assert_eq!(place.plan.propose("data".into(), candidates).await.unwrap(), [None]);
    assert!(place.at("0").exists(), "a proposal changes nothing");
    // Also before the plan is complete.
    assert_eq!(place.done().await.removed.items, 0);
    assert!(place.at("0").exists());
    assert!(place.step.run.denials().is_empty());
}

#[tokio::test]
async fn without_the_right_nothing_is_heard() {
    let access = [FilesAccess::Read, FilesAccess::Write];
    let mut place = Place::with(&access, RemovalGrant::default(), Limits::default(), |_| Safeguards::default()).await;
    for (name, key) in [("data", "grant.files.data.access"), ("other", "grant.files.other"), ("/", "grant.files./")] {
        let denied = place.plan.propose(name.into(), vec![]).await;
        place.plan.expect_denied(denied, key);
        let denied = place.step.blocks(name.into()).await;
        place.step.expect_denied(denied, key);
        let denied = place.step.carry_out(name.into()).await;
        place.step.expect_denied(denied, key);
        let denied = place.step.expire(name.into()).await;
        place.step.expect_denied(denied, key);
    }
}

#[tokio::test]
async fn a_path_that_leads_out_is_denied_and_nothing_beside_it_is_taken() {
    let mut place = Place::filled(2, RemovalGrant::default()).await;
    for path in ["..", "../secret", "/etc/passwd", r"\x2e\x2e/secret", r"a/\x2e./..", "0/../../secret", "/", r"\x2fetc"]
    {
        let bad = abi::Candidate { path: path.into(), ..place.candidate("0") };
        let link = abi::Candidate { unless_linked: Some(path.into()), ..place.candidate("0") };
        for bad in [bad, link] {
            let candidates = vec![place.candidate("1"), bad, place.candidate("0")];
            let denied = place.plan.propose("data".into(), candidates).await;
            place.plan.expect_denied(denied, "grant.files.data");
        }
    }
    let bad = abi::Candidate { path: r"a\x00b".into(), ..place.candidate("0") };
    let error = told(place.plan.propose("data".into(), vec![bad]).await);
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    place.step.run.removals.seal().unwrap();
    let done = place.done().await;
    assert_eq!((done.removed.items, done.changed.items, done.gone), (0, 0, 0), "nothing was planned: {done:?}");
    assert_eq!(place.names(), ["0", "1"]);
}

#[tokio::test]
async fn what_never_goes_is_refused_with_its_reason() {
    let removal = RemovalGrant { protect: vec!["/keep".into(), "*.pem".into()], ..RemovalGrant::default() };
    let known = |data: &Path| Safeguards {
        known: vec![Known { path: data.join("app.db"), what: "the database" }],
        ..Safeguards::default()
    };
    let mut place = Place::with(&ALL, removal, Limits::default(), known).await;
    for path in ["keep/deep/a", "x.pem", "sub/.ssh/id", "lost+found/y", "free", "folder/inside", "app.db", "app.db-wal"]
    {
        place.write(path);
    }
    symlink("free", place.at("link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.at("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let of = |place: &Place, path: &str| place.candidate(path);
    let root = abi::Candidate { path: "./".into(), ..of(&place, "") };
    let far = {
        let mut far = of(&place, "free");
        far.id.device += 1;
        far
    };
    let gzip = |path: &str| abi::Candidate { action: abi::Action::Gzip, ..of(&place, path) };
    let cases = [
        (root, "the root itself stays"),
        (abi::Candidate { path: String::new(), ..of(&place, "") }, "the root itself stays"),
        (far, "it is on another filesystem"),
        (of(&place, "pipe"), "devices, pipes and sockets are left alone"),
        (of(&place, "keep/deep/a"), "`protect` in the task file"),
        (of(&place, "keep"), "`protect` in the task file"),
        (of(&place, "x.pem"), "`protect` in the task file"),
        (of(&place, "sub/.ssh/id"), "what is in a `.ssh` is protected"),
        (of(&place, "lost+found/y"), "what is in a `lost+found` is protected"),
        (of(&place, "app.db"), "the database"),
        (of(&place, "app.db-wal"), "it belongs to the database"),
        (gzip("folder"), "only a file can be compressed"),
        (gzip("link"), "only a file can be compressed"),
    ];
    let (candidates, reasons): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let mut candidates = candidates;
    candidates.push(place.candidate("free"));
    let answers = place.plan.propose("data".into(), candidates).await.unwrap();
    for (answer, reason) in answers.iter().zip(&reasons) {
        assert!(answer.as_ref().is_some_and(|it| it.contains(reason)), "{reason}: {answer:?}");
    }
    assert_eq!(answers.last(), Some(&None));
    assert!(place.plan.run.denials().is_empty(), "a rule that names what is protected is no attack");
}

#[tokio::test]
async fn what_was_planned_goes_and_is_counted() {
    let mut place = Place::new(RemovalGrant::default()).await;
    for path in ["old/a", "old/b", "full/new", "full/old", "changed", "stays"] {
        place.write(path);
    }
    symlink("../secret", place.at("link")).unwrap();
    place.planned(["old", "old/a", "old/b", "full", "full/old", "changed", "link"]).await;
    fs::write(place.at("changed"), "longer than it was").unwrap();
    let done = place.done().await;
    assert_eq!((done.removed.items, done.removed.bytes), (5, 30 + "../secret".len() as u64), "{done:?}");
    assert_eq!((done.changed.items, done.filled, done.gone, done.aside), (1, 1, 0, false));
    assert_eq!(place.names(), ["changed", "full", "stays"]);
    assert!(place.folder.path().join("secret").exists());
    // A step that is done twice does no harm.
    let again = place.done().await;
    assert_eq!((again.removed.items, again.gone, again.changed.items, again.filled), (0, 5, 1, 1), "{again:?}");
}

#[tokio::test]
async fn a_plan_for_another_folder_is_a_conflict() {
    let mut place = Place::filled(1, RemovalGrant::default()).await;
    place.planned(["0"]).await;
    let (data, other) = (place.at(""), place.folder.path().join("other"));
    fs::create_dir(&other).unwrap();
    fs::rename(&data, place.folder.path().join("moved")).unwrap();
    symlink(&other, data.to_str().unwrap().trim_end_matches('/')).unwrap();
    let error = told(place.step.carry_out("data".into()).await);
    assert!(matches!(&error, Error::Conflict(why) if why.contains("other")), "{error:?}");
    assert!(place.folder.path().join("moved/0").exists());
}

#[tokio::test]
async fn two_steps_do_not_remove_from_one_root_at_once() {
    let mut place = Place::filled(1, RemovalGrant::default()).await;
    place.planned(["0"]).await;
    let run = Arc::clone(&place.step.run);
    let busy = place.step.busy(&run.removals, "data").unwrap_or_else(|_| panic!("nobody is at work"));
    let mut other = Host::new(Arc::clone(&run), Call::Step(1));
    for error in [told(other.carry_out("data".into()).await), told(other.expire("data".into()).await)] {
        assert!(matches!(&error, Error::Conflict(why) if why.contains("another step")), "{error:?}");
    }
    assert!(place.at("0").exists());
    drop(busy);
    let abi::Outcome::Done(done) = other.carry_out("data".into()).await.unwrap() else { panic!("blocked") };
    assert_eq!(done.removed.items, 1);
}

#[tokio::test]
async fn a_plan_that_is_too_long_ends_the_run() {
    let limits = Limits { plan: Size(10_000), ..Limits::default() };
    let mut place = Place::with(&ALL, RemovalGrant::default(), limits, |_| Safeguards::default()).await;
    place.write("0");
    let candidate = place.candidate("0");
    let error = loop {
        let many = std::iter::repeat_n(candidate.clone(), 10).collect();
        if let Err(HostError::Guest(error)) = place.plan.propose("data".into(), many).await {
            break error;
        }
    };
    assert!(matches!(&error, Error::Limit(why) if why.contains("limits.plan")), "{error:?}");
    assert_eq!(place.plan.limiter.exceeded().map(|(limit, _)| *limit), Some("plan"));
}

#[tokio::test]
async fn above_each_ceiling_nothing_goes() {
    let all = |change: fn(&mut RemovalGrant)| {
        let mut removal = RemovalGrant { max_share: crate::config::percent::Percent(100), ..RemovalGrant::default() };
        change(&mut removal);
        removal
    };
    for (removal, key) in [
        (RemovalGrant::default(), "max_share"),
        (all(|it| it.max_share.0 = 66), "max_share"),
        (all(|it| it.max_files = Some(133)), "max_files"),
        (all(|it| it.max_bytes = Some(Size(1_339))), "max_bytes"),
    ] {
        let mut place = Place::filled(200, removal).await;
        assert_eq!(place.propose(range(134)).await.len(), 134);
        let early: Vec<_> = place.plan.blocks("data".into()).await.unwrap();
        place.step.run.removals.seal().unwrap();
        let blocks = place.blocked().await;
        let [(abi::Cause::Ceiling, message)] = &blocks[..] else { panic!("{key}: {blocks:?}") };
        assert!(message.contains(&format!("grant.files.data.removal.{key}")), "{message}");
        assert_eq!(early.into_iter().map(|it| it.message).collect::<Vec<_>>(), [message.as_str()], "the plan knew");
    }
    for removal in
        [all(|it| it.max_share.0 = 67), all(|it| it.max_files = Some(134)), all(|it| it.max_bytes = Some(Size(1_340)))]
    {
        let mut place = Place::filled(200, removal).await;
        place.planned(range(134)).await;
        assert_eq!(place.done().await.removed.items, 134);
    }
    // All of them at once.
    let mut place =
        Place::filled(200, RemovalGrant { max_files: Some(1), max_bytes: Some(Size(1)), ..RemovalGrant::default() })
            .await;
    place.planned(range(134)).await;
    assert_eq!(place.blocked().await.len(), 3);
}

#[tokio::test]
async fn what_a_crash_left_of_a_plan_goes_on_although_it_is_a_larger_share() {
    let mut place = Place::filled(200, RemovalGrant::default()).await;
    place.planned(range(100)).await;
    let folder = place.step.run.removals.folder().unwrap().to_owned();
    // What had gone when the daemon was killed.
    range(60).iter().for_each(|name| fs::remove_file(place.at(name)).unwrap());
    assert_eq!(place.blocked().await[0].0, abi::Cause::Ceiling, "100 of 140 are too many for a plan of its own");
    Plan::open(&folder, "data").unwrap().unwrap().begin().unwrap();
    let done = place.done().await;
    assert_eq!((done.removed.items, done.gone), (40, 60));
}

#[tokio::test]
async fn what_is_moved_aside_is_told_and_expires() {
    let removal = RemovalGrant { undo: Some(std::time::Duration::ZERO), ..RemovalGrant::default() };
    let mut place = Place::filled(3, removal).await;
    place.planned(range(2)).await;
    let done = place.done().await;
    assert!(done.aside && done.removed.items == 2, "{done:?}");
    assert_eq!(place.names(), [".upkeep-undo", "2"]);
    for expected in [(2, 20), (0, 0)] {
        let expired = place.step.expire("data".into()).await.unwrap();
        assert_eq!((expired.items, expired.bytes), expected);
        assert_eq!(place.names(), ["2"]);
    }
}

#[tokio::test]
async fn a_run_that_was_ended_is_told_and_removes_no_more() {
    let mut place = Place::filled(3, RemovalGrant::default()).await;
    place.planned(range(3)).await;
    place.step.run.cancel.cancel();
    let error = told(place.step.carry_out("data".into()).await);
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert_eq!(place.names().len(), 3);
}

/// A state directory that is somebody else's file, as good as a full disk.
#[tokio::test]
async fn without_a_place_for_the_plan_or_the_ledger_nothing_goes() {
    let removal = RemovalGrant { undo: Some(std::time::Duration::from_secs(60)), ..RemovalGrant::default() };
    let mut place = Place::filled(2, removal).await;
    let folder = place.step.run.removals.folder().unwrap().to_owned();
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    fs::write(&folder, "").unwrap();
    let candidates = vec![place.candidate("0")];
    let error = told(place.plan.propose("data".into(), candidates).await);
    assert!(matches!(&error, Error::Unavailable(why) if why.contains("removal")), "{error:?}");
    fs::remove_file(&folder).unwrap();
    place.planned(["0", "1"]).await;
    // A folder in the place of the file: first of the mark that it began, then of the ledger.
    for (taken, file) in [("data.begun.new", "data.begun"), ("data.ledger", "data.ledger")] {
        fs::create_dir(folder.join(taken)).unwrap();
        let error = told(place.step.carry_out("data".into()).await);
        assert!(matches!(&error, Error::Unavailable(why) if why.contains(file)), "{error:?}");
        fs::remove_dir(folder.join(taken)).unwrap();
    }
    assert_eq!(place.names().iter().filter(|name| *name != ".upkeep-undo").count(), 2);
    assert_eq!(place.done().await.removed.items, 2);
}

#[tokio::test]
async fn without_the_backup_that_is_wanted_nothing_goes() {
    const HOUR: i64 = 3_600_000;
    let now = clock::now().0;
    let ok = Outcome::Succeeded;
    let failed = || Outcome::Failed { failure: Failure::Permanent, message: "no".into() };
    let wanted = |verified| RemovalGrant {
        require_backup: Some(BackupRequirement {
            task: "save".into(),
            max_age: std::time::Duration::from_secs(26 * 3_600),
            verified,
        }),
        ..RemovalGrant::default()
    };
    let verifiers = [("save".into(), vec!["check".into(), "drill".into()])].into_iter().collect();
    let safeguards =
        |_: &Path| Safeguards { verifiers: std::collections::BTreeMap::clone(&verifiers), ..Safeguards::default() };
    let make = async |verified| {
        let mut place = Place::with(&ALL, wanted(verified), Limits::default(), safeguards).await;
        place.write("0");
        place.planned(["0"]).await;
        place
    };
    let why = async |place: &mut Place, expected: &str| {
        let blocks = place.blocked().await;
        let [(abi::Cause::Backup, message)] = &blocks[..] else { panic!("{expected}: {blocks:?}") };
        assert!(message.contains(expected) && message.contains("removal.require_backup"), "{expected}: {message}");
        assert!(message.contains("upkeep run "), "it says what to do: {message}");
    };

    let mut place = make(true).await;
    why(&mut place, "`save` has never succeeded").await;
    // Others do not count: another task's, one that failed, one that only planned, one by a clock that was wrong.
    place.ran("other", now - HOUR, now - HOUR + 1, ok.clone(), false).await;
    place.ran("save", now - HOUR, now - HOUR + 1, failed(), false).await;
    place.ran("save", now - HOUR, now - HOUR + 1, ok.clone(), true).await;
    place.ran("save", now + 24 * HOUR, now + 25 * HOUR, ok.clone(), false).await;
    place.ran("check", now - 60_000, now - 50_000, ok.clone(), false).await;
    why(&mut place, "`save` has never succeeded").await;
    // It counts from its beginning: what was saved is as old as that.
    place.ran("save", now - 27 * HOUR, now - HOUR, ok.clone(), false).await;
    why(&mut place, "is 1d 3h old, 1d 2h is the most").await;
    place.ran("save", now - 2 * HOUR, now - HOUR, ok.clone(), false).await;
    // The check was under way already when the backup ended: so it does not prove this one.
    let mut place = make(true).await;
    place.ran("save", now - 2 * HOUR, now - HOUR, ok.clone(), false).await;
    place.ran("check", now - HOUR - 1, now - 1_000, ok.clone(), false).await;
    place.ran("drill", now - 30_000, now - 20_000, failed(), false).await;
    why(&mut place, "`upkeep run check` or `upkeep run drill`").await;
    place.ran("drill", now - 10_000, now - 5_000, ok.clone(), false).await;
    // A newer one that nobody has looked at does not spoil it.
    place.ran("save", now - 4_000, now - 3_000, ok.clone(), false).await;
    assert_eq!(place.done().await.removed.items, 1);

    // Without a proof, and what was begun before the backup grew too old.
    let mut place = make(false).await;
    place.ran("save", now - 27 * HOUR, now - 27 * HOUR + 1, ok.clone(), false).await;
    let folder = place.step.run.removals.folder().unwrap().to_owned();
    Plan::open(&folder, "data").unwrap().unwrap().begin().unwrap();
    why(&mut place, "is the most").await;
    place.ran("save", now - HOUR, now - HOUR + 1, ok, false).await;
    assert_eq!(place.done().await.removed.items, 1);

    // Compressing loses nothing.
    let mut place = Place::with(&ALL, wanted(true), Limits::default(), safeguards).await;
    place.write("0");
    let gzip = abi::Candidate { action: abi::Action::Gzip, ..place.candidate("0") };
    place.plan.propose("data".into(), vec![gzip]).await.unwrap();
    place.step.run.removals.seal().unwrap();
    assert_eq!(place.done().await.compressed.items, 1);
    assert!(Path::new(&place.at("0.gz")).exists());
}
