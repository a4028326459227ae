//! Clean-ups while somebody exchanges folders for links to a canary, as fast as he can. The canary holds the same files under the
//! same names (hard links), so that nothing but the way to them tells them apart: were a link followed once, one of
//! them would be missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, renameat_with};
use tokio_util::sync::CancellationToken;
use upkeep::clock::Timestamp;
use upkeep::removal::aside::{Aside, undo};
use upkeep::removal::carry_out::{Done, Means, carry_out};
use upkeep::removal::plan::{Action, Item, Kind, Plan, Writer};
use upkeep::removal::protect::Protected;
use upkeep::root::exclude::Exclude;
use upkeep::root::walk::WalkOptions;
use upkeep::root::{Root, path};
use upkeep_tests::{Site, now};

/// Clean-ups by the library; the whole program does a few on top.
const CLEANUPS: u32 = 1_000;

/// Files that each of them has before it, half of them in a folder within.
const FILES: u32 = 8;

/// Path, and kind, inode, size and time of change.
type Listing = BTreeMap<PathBuf, (u32, u64, u64, i64)>;

/// All that stands beneath a folder, but for what is beneath `without`.
fn listing(folder: &Path, without: &[&Path]) -> Listing {
    let (mut all, mut waiting) = (Listing::new(), vec![folder.to_owned()]);
    while let Some(above) = waiting.pop() {
        for entry in fs::read_dir(above).unwrap() {
            let path = entry.unwrap().path();
            let seen = path.symlink_metadata().unwrap();
            let modified = seen.mtime() * 1_000_000_000 + seen.mtime_nsec();
            all.insert(path.clone(), (seen.mode(), seen.ino(), seen.size(), modified));
            if seen.is_dir() && !without.contains(&path.as_path()) {
                waiting.push(path);
            }
        }
    }
    all
}

/// A root with the folder `real` and a link `link` to the canary beside it, which change places all the time.
struct Track {
    folder: tempfile::TempDir,
    /// Whatever they are called at the moment: the folder, and the one within.
    real: [OwnedFd; 2],
    canary: [OwnedFd; 2],
}

fn open(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

impl Track {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["root/real/within", "canary/within", "beside"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for path in ["canary/own", "canary/within/own", "beside/file"] {
            fs::write(at(path), "nobody's business").unwrap();
        }
        symlink(at("canary"), at("root/link")).unwrap();
        let real = [open(&at("root/real")), open(&at("root/real/within"))];
        let canary = [open(&at("canary")), open(&at("canary/within"))];
        Self { real, canary, folder }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn root(&self) -> Root {
        Root::open(&self.at("root")).unwrap()
    }

    /// Everything but the root and what upkeep keeps for itself.
    fn outside(&self) -> Listing {
        let (root, state) = (self.at("root"), self.at("state"));
        let mut listing = listing(self.folder.path(), &[&root, &state]);
        listing.remove(&root);
        listing.remove(&state);
        listing
    }

    /// Makes the files that are missing, each with a second name in the canary; gives their inodes.
    fn fill(&self) -> BTreeSet<u64> {
        let mut inodes = BTreeSet::new();
        for number in 0..FILES {
            let (place, name) = ((number % 2) as usize, format!("old-{number}"));
            let (real, canary) = (&self.real[place], &self.canary[place]);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            match rustix::fs::openat(real, &name, flags, Mode::from_raw_mode(0o644)) {
                Ok(file) => {
                    rustix::io::write(&file, b"old enough").unwrap();
                    let _ = rustix::fs::unlinkat(canary, &name, AtFlags::empty());
                    rustix::fs::linkat(real, &name, canary, &name, AtFlags::empty()).unwrap();
                }
                Err(errno) => assert_eq!(errno, rustix::io::Errno::EXIST),
            }
            inodes.insert(rustix::fs::statat(real, &name, AtFlags::SYMLINK_NOFOLLOW).unwrap().st_ino);
        }
        inodes
    }

    /// The inodes of the files that are there.
    fn there(&self) -> BTreeSet<u64> {
        let of = |place: &OwnedFd, number: u32| {
            rustix::fs::statat(place, format!("old-{number}"), AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| stat.st_ino)
        };
        (0..FILES).filter_map(|number| of(&self.real[(number % 2) as usize], number)).collect()
    }
}

/// What a task would propose: all files, as a walk finds them.
fn planned(root: &Root) -> Vec<Item> {
    let options =
        WalkOptions { exclude: Exclude::new(&[]).unwrap(), max_depth: None, one_filesystem: true, together: 1 };
    let found = root.walk(Path::new(""), options).unwrap();
    let files = found.filter(|it| it.kind() == rustix::fs::FileType::RegularFile && !it.path.starts_with(b".upkeep"));
    files
        .map(|found| Item {
            path: path::escape(&found.path),
            kind: Kind::File,
            action: Action::Remove,
            size: found.stat.st_size.unsigned_abs(),
            modified_ns: upkeep::root::modified_ns(&found.stat),
            device: found.stat.st_dev,
            inode: found.stat.st_ino,
            unless_linked: None,
            rule: "old".into(),
            reason: String::new(),
        })
        .collect()
}

fn clean(root: &Root, run: &Path, items: &[Item], moves_aside: bool) -> Done {
    let mut writer = Writer::new(run, "data", root.path()).unwrap();
    items.iter().for_each(|item| writer.add(item).unwrap());
    writer.finish().unwrap();
    let plan = Plan::open(run, "data").unwrap().unwrap();
    let aside = moves_aside.then(|| Aside::open(root, run, "data", Timestamp(i64::MAX)).unwrap());
    let protected = Protected::new(root.path(), [], &[]).unwrap();
    let cancel = CancellationToken::new();
    carry_out(&plan, Means { root, protected: &protected, aside, cancel: &cancel, tell: &|| () }).unwrap()
}

/// Exchanges the two until it is over; gives how often.
fn race(one: &Path, other: &Path, over: &AtomicBool, swaps: &AtomicU64) {
    let mut turn = 0_u32;
    while !over.load(Ordering::Relaxed) {
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
        swaps.fetch_add(1, Ordering::Relaxed);
        turn = turn.wrapping_add(1);
        // Without a pause the kernel hardly lets anybody else find a path; with one each time, it is not as fast as it can be.
        if turn % 7 < 4 {
            std::thread::sleep(Duration::from_micros(u64::from(turn % 5) * 10));
        }
    }
}

/// Runs `work` while the folder and the link change places; gives how often they did.
fn while_racing(track: &Track, work: impl FnOnce(&AtomicU64)) -> u64 {
    let (over, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let racer = scope.spawn(|| race(&track.at("root/real"), &track.at("root/link"), &over, &swaps));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&swaps)));
        over.store(true, Ordering::Relaxed);
        racer.join().unwrap();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    swaps.into_inner()
}

#[test]
fn a_thousand_cleanups_remove_nothing_outside() {
    let track = Track::new();
    let begun = Instant::now();
    let (mut removed, mut kept, mut restored, mut left) = (0, 0, 0, 0);
    let mut ways = BTreeMap::new();
    let swaps = while_racing(&track, |swaps| {
        for cleanup in 0..CLEANUPS {
            let moves_aside = cleanup % 2 == 0;
            let made = track.fill();
            let outside = track.outside();
            let run = track.at(&format!("state/removal/RUN{cleanup}"));
            let (root, swapped) = (track.root(), swaps.load(Ordering::Relaxed));
            let items = planned(&root);
            for item in &items {
                *ways.entry(item.path.split('/').next().unwrap().to_owned()).or_insert(0) += 1;
            }
            // Let it turn around a few times between the plan and its end.
            while swaps.load(Ordering::Relaxed) < swapped + u64::from(cleanup % 3) {
                std::hint::spin_loop();
            }
            let done = clean(&root, &run, &items, moves_aside);
            assert_eq!(track.outside(), outside, "clean-up {cleanup}: {done:?}");
            let there = track.there();
            let gone: BTreeSet<_> = made.difference(&there).copied().collect();
            let named: BTreeSet<_> = items.iter().map(|item| item.inode).collect();
            assert!(gone.is_subset(&named), "clean-up {cleanup} removed what was not in the plan");
            assert_eq!(done.removed.items, gone.len() as u64, "clean-up {cleanup}: {done:?}");
            assert_eq!(done.failed.items, 0, "{done:?}");
            removed += done.removed.items;
            kept += done.changed.items + done.gone;
            if moves_aside {
                let undone = undo(&run).unwrap().unwrap();
                assert_eq!(track.outside(), outside, "undo {cleanup}: {undone:?}");
                restored += undone.restored.items;
                left += undone.left;
            }
            fs::remove_file(run.join("data.plan")).unwrap();
        }
    });
    // What could not be put back for the link that stood in the way comes back when it is quiet.
    let mut late = 0;
    for run in fs::read_dir(track.at("state/removal")).unwrap() {
        late += undo(&run.unwrap().path()).unwrap().map_or(0, |undone| undone.restored.items);
    }
    println!(
        "{CLEANUPS} clean-ups, {swaps} swaps in {:?}: {removed} removed, {kept} kept, {restored} put back, {left} later ({late}); \
         found by {ways:?}",
        begun.elapsed()
    );
    assert!(swaps > 2 * u64::from(CLEANUPS), "there was a race: {swaps} swaps");
    assert!(removed > 500 && kept > 100 && restored > 100, "both sides won: {removed}, {kept}, {restored}");
    assert!(ways.contains_key("real") && ways.contains_key("link"), "{ways:?}");
}

/// Each file that stands there has its number as its content.
fn version(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok().map(|text| text.parse().unwrap())
}

#[test]
fn a_file_that_is_replaced_meanwhile_is_never_lost_where_things_are_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir_all(at("root/data")).unwrap();
    fs::create_dir(at("new")).unwrap();
    let (mut moved, mut changed, mut beside) = (0, 0, 0);
    // What a clean-up takes here.
    let mut took = Duration::from_millis(1);
    for round in 0..400_u64 {
        let first = round * 1_000_000;
        let file = at("root/data/file");
        fs::write(&file, first.to_string()).unwrap();
        let root = Root::open(&at("root")).unwrap();
        let items = planned(&root);
        let run = at(&format!("state/removal/RUN{round}"));
        let over = AtomicBool::new(false);
        // In turns the writer begins early, in the middle, and when the file is gone already.
        let delay = took * u32::try_from(round % 40).unwrap() / 30;
        let last = std::thread::scope(|scope| {
            // As programs save their files: written beside, and moved over the old one.
            let writer = scope.spawn(|| {
                let mut last = first;
                std::thread::sleep(delay);
                while !over.load(Ordering::Relaxed) {
                    let next = at("new/file");
                    fs::write(&next, (last + 1).to_string()).unwrap();
                    fs::rename(&next, &file).unwrap();
                    last += 1;
                }
                last
            });
            let began = Instant::now();
            let done = clean(&root, &run, &items, true);
            took = began.elapsed();
            over.store(true, Ordering::Relaxed);
            moved += done.removed.items;
            changed += done.changed.items;
            beside += done.failed.items;
            writer.join().unwrap()
        });
        // The last one stands there, unless it is the one that was planned.
        assert!(version(&file) == Some(last) || last == first, "version {last} of round {round} is lost");
        for entry in fs::read_dir(at("root/data")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let undone = undo(&run).unwrap().unwrap();
        assert!(undone.restored.items <= 1);
        if undone.restored.items == 1 {
            assert_eq!(version(&file), Some(first), "aside is what was planned and nothing else");
        }
    }
    println!("{moved} moved aside, {changed} kept, {beside} put beside");
    assert!(moved > 10 && changed > 10, "both won: {moved}, {changed}");
}

#[test]
fn whole_runs_remove_nothing_outside_either() {
    let track = Track::new();
    let site = Site::new(&[]);
    site.shipped("cleanup");
    let task = |removal: &str| {
        site.task(
            "cleanup",
            &format!(
                "plugin = \"cleanup\"\n[[config.rule]]\nname = \"old\"\nroot = \"app\"\nage.older_than = \"1d\"\n\
                 [grant]\nmetrics = true\n[grant.files.app]\npath = \"{}\"\naccess = [\"read\", \"remove\"]\n\
                 [grant.files.app.removal]\n{removal}\n",
                track.at("root").display()
            ),
        );
    };
    let (mut removed, mut runs) = (0, 0);
    let swaps = while_racing(&track, |_| {
        for run in 0..6 {
            task(if run % 2 == 0 { "undo = \"7d\"" } else { "" });
            let made = track.fill();
            let old = UNIX_EPOCH + Duration::from_secs(now().unsigned_abs()) - Duration::from_secs(3 * 86_400);
            for (number, place) in (0..FILES).zip(track.real.iter().cycle()) {
                let file = rustix::fs::openat(place, format!("old-{number}"), OFlags::WRONLY, Mode::empty()).unwrap();
                fs::File::from(file).set_modified(old).unwrap();
            }
            let outside = track.outside();
            let ran = site.cli(&["run", "cleanup", "--standalone"]);
            assert!(ran.code == 0 || ran.code == 1, "{ran:?}");
            assert_eq!(track.outside(), outside, "{ran:?}");
            removed += made.difference(&track.there()).count();
            runs += 1;
        }
    });
    println!("{runs} runs, {swaps} swaps, {removed} removed");
    assert!(swaps > 100 && removed > 0, "{swaps} swaps, {removed} removed");
    for place in track.canary.iter().chain(&track.real) {
        assert!(rustix::fs::fstat(place.as_fd()).is_ok());
    }
}
