//! The plan of one root: what is to go, as lines of JSON, compressed. It may name millions of files, so it is written while
//! it comes and read while it is carried out, and never is in memory as a whole.
//!
//! A plan without its [`Head`] was not finished, and is not carried out.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RemovalError, Total, file_name, replace, sync_folder};
use crate::root;

/// Bytes of lines that are compressed at once.
const BUFFER: usize = 1 << 16;

/// One thing that is to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Relative to the root; bytes that are not UTF-8 as `\xNN`, a backslash as `\\`.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// What becomes of it.
    #[serde(default, skip_serializing_if = "Action::is_remove")]
    pub action: Action,
    /// Bytes.
    pub size: u64,
    /// When it was modified, in nanoseconds since the Unix epoch.
    pub modified_ns: i64,
    /// Number of its filesystem's device.
    pub device: u64,
    /// Its number therein.
    pub inode: u64,
    /// Kept as long as this link, relative to the root, leads to it, beneath it, or to what holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless_linked: Option<String>,
    /// The rule that it falls under.
    pub rule: String,
    /// Why, for people.
    pub reason: String,
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder; it goes when it is empty by then.
    Folder,
    /// A symbolic link; what it leads to stays.
    Link,
}

impl Kind {
    /// The kind of what was found, unless it is a device, pipe or socket.
    pub fn of(stat: &Stat) -> Option<Self> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Some(Self::File),
            FileType::Directory => Some(Self::Folder),
            FileType::Symlink => Some(Self::Link),
            _ => None,
        }
    }
}

/// What becomes of an item.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It goes.
    #[default]
    Remove,
    /// `NAME.gz` stands for it.
    Gzip,
    /// `NAME.zst` stands for it.
    Zstd,
}

impl Action {
    fn is_remove(&self) -> bool {
        *self == Self::Remove
    }
}

impl Item {
    /// What is wrong with it, whatever stands at its path.
    pub fn problem(&self) -> Option<String> {
        let paths = std::iter::once(&self.path).chain(&self.unless_linked);
        let mut parsed = paths.map(|path| root::path::parse(path));
        match parsed.find_map(Result::err) {
            Some(error) => Some(error.to_string()),
            None if root::path::parse(&self.path).is_ok_and(|path| path.as_os_str().is_empty()) => {
                Some("the root itself stays".to_owned())
            }
            None if self.action != Action::Remove && self.kind != Kind::File => {
                Some("only a file can be compressed".to_owned())
            }
            None => None,
        }
    }

    /// Whether `stat` is what was seen. A folder changes with everything that is removed from it, so it is the same as long as
    /// it is the same folder.
    pub fn is_same(&self, stat: &Stat) -> bool {
        (stat.st_dev, stat.st_ino) == (self.device, self.inode)
            && Kind::of(stat) == Some(self.kind)
            && (self.kind == Kind::Folder
                || (u64::try_from(stat.st_size) == Ok(self.size) && root::modified_ns(stat) == self.modified_ns))
    }
}

/// What a plan amounts to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Name of the root.
    pub root: String,
    /// Its folder, without links.
    pub path: PathBuf,
    /// Files and links that go.
    pub files: Total,
    /// Folders that go.
    pub folders: u64,
    /// Files that are compressed.
    pub compressed: Total,
}

impl Head {
    fn new(root: &str, path: &Path) -> Self {
        let zero = Total::default();
        Self { root: root.to_owned(), path: path.to_owned(), files: zero, folders: 0, compressed: zero }
    }

    fn add(&mut self, item: &Item) {
        match (item.action, item.kind) {
            (Action::Remove, Kind::Folder) => self.folders += 1,
            (Action::Remove, _) => self.files.add(item.size),
            (Action::Gzip | Action::Zstd, _) => self.compressed.add(item.size),
        }
    }

    /// Number of items.
    pub fn items(&self) -> u64 {
        self.files.items + self.folders + self.compressed.items
    }
}

/// A plan that is being written.
pub struct Writer {
    head: Head,
    file: PathBuf,
    lines: BufWriter<zstd::stream::write::Encoder<'static, File>>,
    line: Vec<u8>,
    /// Bytes of all lines.
    size: u64,
    /// A line could not be written as a whole.
    is_torn: bool,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Writer {
    /// Begins the plan of the root `root`, which is the folder `path`, among those of a run; one that stood there goes.
    ///
    /// # Errors
    ///
    /// When the file cannot be made.
    pub fn new(run_folder: &Path, root: &str, path: &Path) -> Result<Self, RemovalError> {
        std::fs::create_dir_all(run_folder).map_err(RemovalError::state(run_folder))?;
        let file = run_folder.join(file_name(root, "plan"));
        let failed = RemovalError::state(&file);
        unseal(&file)?;
        let made = File::create(&file).map_err(&failed)?;
        let mut compressed = zstd::stream::write::Encoder::new(made, 1).map_err(&failed)?;
        compressed.include_checksum(true).map_err(&failed)?;
        let lines = BufWriter::with_capacity(BUFFER, compressed);
        let head = Head::new(root, path);
        Ok(Self { head, file: file.clone(), lines, line: Vec::new(), size: 0, is_torn: false })
    }

    /// What there is so far.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Bytes of all items as text.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// One more item.
    ///
    /// # Errors
    ///
    /// When it cannot be written; the plan can then not be completed either.
    pub fn add(&mut self, item: &Item) -> Result<(), RemovalError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, item).map_err(|error| RemovalError::broken(&self.file, error))?;
        self.line.push(b'\n');
        self.is_whole()?;
        self.lines.write_all(&self.line).map_err(|error| {
            self.is_torn = true;
            RemovalError::state(&self.file)(error)
        })?;
        self.size += self.line.len() as u64;
        self.head.add(item);
        Ok(())
    }

    fn is_whole(&self) -> Result<(), RemovalError> {
        match self.is_torn {
            true => Err(RemovalError::broken(&self.file, "it could not be written as a whole; plan anew")),
            false => Ok(()),
        }
    }

    /// Completes the plan under another name, and for another folder, than it was begun with.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn finish_as(mut self, root: &str, path: &Path) -> Result<Head, RemovalError> {
        let run_folder = self.file.parent().unwrap_or(Path::new("")).to_owned();
        self.head.root = root.to_owned();
        self.head.path = path.to_owned();
        let file = run_folder.join(file_name(root, "plan"));
        unseal(&file)?;
        std::fs::rename(&self.file, &file).map_err(RemovalError::state(&file))?;
        self.file = file;
        self.finish()
    }

    /// Completes the plan, durably.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn finish(self) -> Result<Head, RemovalError> {
        self.is_whole()?;
        let failed = RemovalError::state(&self.file);
        let compressed = self.lines.into_inner().map_err(|error| failed(error.into_error()))?;
        let written = compressed.finish().map_err(&failed)?;
        written.sync_all().map_err(&failed)?;
        let head = serde_json::to_vec(&self.head).map_err(|error| RemovalError::broken(&self.file, error))?;
        replace(&self.file.with_extension("head"), &head)?;
        Ok(self.head)
    }
}

/// Makes a plan one that is not complete, and was not begun to be carried out.
fn unseal(plan: &Path) -> Result<(), RemovalError> {
    let mut was_there = false;
    for file in [plan.with_extension("head"), plan.with_extension("begun")] {
        match std::fs::remove_file(&file) {
            Ok(()) => was_there = true,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(RemovalError::state(&file)(error)),
        }
    }
    // Else, after a power cut, an old head could stand before a new plan.
    if was_there { sync_folder(plan) } else { Ok(()) }
}

/// A plan that is complete.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it amounts to.
    pub head: Head,
    file: PathBuf,
}

impl Plan {
    /// The plan of the root `root` among those of a run; none when there is none, or it was not finished.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn open(run_folder: &Path, root: &str) -> Result<Option<Self>, RemovalError> {
        Self::read(&run_folder.join(file_name(root, "head")))
    }

    /// All plans of a run, by the names of their roots.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn all(run_folder: &Path) -> Result<Vec<Self>, RemovalError> {
        let failed = RemovalError::state(run_folder);
        let entries = match std::fs::read_dir(run_folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(&failed)?,
        };
        let mut plans = Vec::new();
        for entry in entries {
            let file = entry.map_err(&failed)?.path();
            if file.extension().is_some_and(|it| it == "head")
                && let Some(plan) = Self::read(&file)?
            {
                plans.push(plan);
            }
        }
        plans.sort_by(|one, other| one.head.root.cmp(&other.head.root));
        Ok(plans)
    }

    fn read(head: &Path) -> Result<Option<Self>, RemovalError> {
        match std::fs::read(head) {
            Ok(bytes) => {
                let file = head.with_extension("plan");
                let head = serde_json::from_slice(&bytes).map_err(|error| RemovalError::broken(head, error))?;
                Ok(Some(Self { head, file }))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RemovalError::state(head)(error)),
        }
    }

    /// Whether it was begun to be carried out.
    pub fn is_begun(&self) -> bool {
        self.file.with_extension("begun").exists()
    }

    /// Remembers, durably, that it is being carried out.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn begin(&self) -> Result<(), RemovalError> {
        if self.is_begun() { Ok(()) } else { replace(&self.file.with_extension("begun"), b"") }
    }

    /// Removes it.
    ///
    /// # Errors
    ///
    /// When a file cannot be removed.
    pub fn remove(&self) -> Result<(), RemovalError> {
        unseal(&self.file)?;
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(RemovalError::state(&self.file)(error)),
            _ => Ok(()),
        }
    }

    /// Its items, in the order in which they came.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened; each item may fail as well.
    pub fn items(&self) -> Result<Items, RemovalError> {
        let failed = RemovalError::state(&self.file);
        let file = File::open(&self.file).map_err(&failed)?;
        let lines = BufReader::with_capacity(BUFFER, zstd::stream::read::Decoder::new(file).map_err(&failed)?);
        Ok(Items { lines, line: String::new(), file: self.file.clone() })
    }
}

/// The items of a plan.
pub struct Items {
    lines: BufReader<zstd::stream::read::Decoder<'static, BufReader<File>>>,
    line: String,
    file: PathBuf,
}

impl Iterator for Items {
    type Item = Result<Item, RemovalError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line.clear();
        match self.lines.read_line(&mut self.line) {
            Ok(0) => None,
            Ok(_) => {
                let item = serde_json::from_str(&self.line);
                Some(item.map_err(|error| RemovalError::broken(&self.file, error)))
            }
            Err(error) => Some(Err(RemovalError::state(&self.file)(error))),
        }
    }
}
