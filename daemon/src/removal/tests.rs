use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rustix::fs::{CWD, FileType, Mode};
use tokio_util::sync::CancellationToken;

use super::aside::Aside;
use super::carry_out::{Done, Means, carry_out};
use super::plan::{Action, Item, Kind, Plan, Writer};
use super::protect::Protected;
use super::*;
use crate::clock::Timestamp;
use crate::root::{self, NO_FOLLOW, Root, path};

mod aside;
mod files;
mod property;
mod stored;

/// When the tests' things can be had back until.
const UNTIL: Timestamp = Timestamp(1_000_000);

/// A root, and a state directory beside it.
struct Place {
    folder: tempfile::TempDir,
    runs: Cell<u32>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        Self { folder, runs: Cell::new(0) }
    }

    /// A place with these files, of ten bytes each.
    fn with(files: &[&str]) -> Self {
        let place = Self::new();
        files.iter().for_each(|file| place.write(file, "0123456789"));
        place
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path)
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn root(&self) -> Root {
        Root::open(&self.at("")).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.at(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// What a walk would give of it.
    fn item(&self, path: &str) -> Item {
        self.item_at(Path::new(path))
    }

    fn item_at(&self, path: &Path) -> Item {
        let stat = rustix::fs::statat(CWD, self.folder.path().join("root").join(path), NO_FOLLOW).unwrap();
        Item {
            path: path::escape(path.as_os_str().as_encoded_bytes()),
            kind: Kind::of(&stat).unwrap_or(Kind::File),
            action: Action::Remove,
            size: u64::try_from(stat.st_size).unwrap(),
            modified_ns: root::modified_ns(&stat),
            device: stat.st_dev,
            inode: stat.st_ino,
            unless_linked: None,
            rule: "old".to_owned(),
            reason: "because".to_owned(),
        }
    }

    /// The folder of a new run.
    fn run(&self) -> PathBuf {
        self.runs.set(self.runs.get() + 1);
        folder(&self.state()).join(format!("RUN{}", self.runs.get()))
    }

    fn plan_in(&self, run: &Path, items: &[Item]) -> Plan {
        let mut writer = Writer::new(run, "data", self.root().path()).unwrap();
        items.iter().for_each(|item| writer.add(item).unwrap());
        writer.finish().unwrap();
        Plan::open(run, "data").unwrap().unwrap()
    }

    fn plan(&self, paths: &[&str]) -> Plan {
        let items: Vec<_> = paths.iter().map(|path| self.item(path)).collect();
        self.plan_in(&self.run(), &items)
    }

    fn aside(&self, run: &Path) -> Result<Aside, RemovalError> {
        Aside::open(&self.root(), run, "data", UNTIL)
    }

    fn carry_out_with(
        &self,
        plan: &Plan,
        aside: Option<Aside>,
        protected: &[&str],
        tell: &(dyn Fn(&CancellationToken) + Sync),
    ) -> Result<Done, RemovalError> {
        let root = self.root();
        let patterns: Vec<_> = protected.iter().map(ToString::to_string).collect();
        let protected = Protected::new(root.path(), [], &patterns).unwrap();
        let cancel = CancellationToken::new();
        let tell = || tell(&cancel);
        carry_out(plan, Means { root: &root, protected: &protected, aside, cancel: &cancel, tell: &tell })
    }

    /// For good.
    fn carry_out(&self, plan: &Plan) -> Done {
        self.carry_out_with(plan, None, &[], &|_| {}).unwrap()
    }

    /// Moves these aside; gives the run's folder.
    fn move_aside(&self, paths: &[&str]) -> (PathBuf, Done) {
        let items: Vec<_> = paths.iter().map(|path| self.item(path)).collect();
        self.move_items_aside(&items)
    }

    fn move_items_aside(&self, items: &[Item]) -> (PathBuf, Done) {
        let run = self.run();
        let plan = self.plan_in(&run, items);
        let aside = self.aside(&run).unwrap();
        let done = self.carry_out_with(&plan, Some(aside), &[], &|_| {}).unwrap();
        (run, done)
    }

    /// All that stands in the root, but for what is aside.
    fn tree(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        let mut waiting = vec![self.at("")];
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name().unwrap() == ASIDE {
                    continue;
                }
                if path.symlink_metadata().unwrap().is_dir() {
                    waiting.push(path.clone());
                }
                seen.push(Seen::of(&path));
            }
        }
        seen.sort();
        seen
    }

    fn names(&self) -> Vec<String> {
        let root = self.at("");
        self.tree().into_iter().map(|seen| seen.path.strip_prefix(&root).unwrap().display().to_string()).collect()
    }
}

/// All of a file, link or folder that can be had back. A folder that was made again is another one, and a folder changes with
/// what is in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    path: PathBuf,
    mode: u32,
    owner: (u32, u32),
    file: Option<(u64, u64, i64, i64)>,
    link: Option<PathBuf>,
}

impl Seen {
    fn of(path: &Path) -> Self {
        let seen = path.symlink_metadata().unwrap();
        let file = (seen.ino(), seen.size(), seen.mtime(), seen.mtime_nsec());
        Self {
            path: path.to_owned(),
            mode: seen.mode(),
            owner: (seen.uid(), seen.gid()),
            file: (!seen.is_dir()).then_some(file),
            link: fs::read_link(path).ok(),
        }
    }
}
