//! What snapshots need, and which of their files and folders a damage takes with it.
//!
//! All snapshots together hold each folder mostly many times, so the walk visits each tree once, and remembers only who
//! is whose parent. Names are asked for a second time, and only along the ways that lead to something lost: a whole
//! repository is checked in the memory of its trees' identifiers, and a damaged one needs little more.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustic_core::{FileType, Id, ReadBackend, WriteBackend};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use upkeep_archive::Cipher;

use crate::repository::check::inventory::{Inventory, PackNumber};

/// Trees that are read side by side: on a storage far away, each has to be waited for.
const MOST_AT_ONCE: usize = 8;

/// Paths that are named for one cause; further ones are counted.
const MOST_PATHS: usize = 1_000;

/// Why something cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Cause {
    /// It was in this pack.
    Pack(PackNumber),
    /// It is in a pack that no index has: not lost, but not found either.
    Unlisted,
    /// No pack has it.
    Nowhere,
}

/// A listing of a folder, as much of it as is needed here: one may have a million entries.
#[derive(Deserialize)]
struct Tree {
    nodes: Option<Vec<Node>>,
}

#[derive(Deserialize)]
struct Node {
    /// As it is written, which is fit to be shown: what is not text in it is escaped.
    name: String,
    content: Option<Vec<Id>>,
    subtree: Option<Id>,
}

/// Number of a tree in [`Trees`].
type TreeNumber = u32;

/// All trees that the snapshots reach.
#[derive(Debug, Default)]
pub(super) struct Trees {
    numbers: HashMap<Id, TreeNumber>,
    /// Who holds whom, as (child, parent).
    edges: Vec<(TreeNumber, TreeNumber)>,
    /// Trees that cannot be had.
    lost: HashMap<TreeNumber, Cause>,
    /// Trees that hold a file or folder that cannot be had.
    marked: HashSet<TreeNumber>,
    /// Trees that could not be read although their pack is said to be whole.
    pub(super) suspicious: HashSet<PackNumber>,
}

/// What is missing for one cause.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Losses {
    /// Each with the numbers of the snapshots that lack it; a folder ends with `/`.
    pub(super) paths: BTreeMap<PathBuf, Vec<usize>>,
    /// Further ones.
    pub(super) more: u64,
}

/// Follows snapshots.
pub(super) struct Walker<'a> {
    pub(super) backend: &'a Arc<dyn WriteBackend>,
    pub(super) cipher: &'a Cipher,
    pub(super) inventory: &'a Inventory,
    /// Blobs that were read and are not what they were.
    pub(super) bad: &'a HashSet<(PackNumber, Id)>,
    pub(super) cancel: &'a CancellationToken,
}

/// What one tree showed.
struct Visit {
    tree: TreeNumber,
    found: Result<(Vec<Id>, bool), Cause>,
    suspicious: Option<PackNumber>,
}

impl Walker<'_> {
    /// Why a blob cannot be had; none when it can.
    fn fate(&self, id: &Id, is_tree: bool) -> Option<Cause> {
        let places = self.inventory.places(id, is_tree);
        let mut cause = Cause::Nowhere;
        for place in places {
            let pack = self.inventory.pack(place.pack);
            let is_whole = pack.length.is_some() && !self.bad.contains(&(place.pack, *id));
            match (is_whole, pack.is_indexed()) {
                (true, true) => return None,
                (true, false) => cause = Cause::Unlisted,
                (false, _) if cause == Cause::Nowhere => cause = Cause::Pack(place.pack),
                (false, _) => {}
            }
        }
        Some(cause)
    }

    /// Reads a tree from the first of its places that gives it. What no index has is followed as well: it shows what
    /// there will be when the index is made anew.
    fn tree(&self, id: &Id) -> Result<Vec<Node>, Option<PackNumber>> {
        let mut suspicious = None;
        for place in self.inventory.places(id, true) {
            let pack = self.inventory.pack(place.pack);
            if pack.length.is_none() || self.bad.contains(&(place.pack, *id)) {
                continue;
            }
            let (offset, length) = (place.entry.offset, place.entry.length);
            let read = self.backend.read_partial(FileType::Pack, &pack.id, false, offset, length);
            let content = read.ok().and_then(|bytes| self.cipher.open_blob(&bytes, place.entry.raw, id).ok());
            match content.and_then(|content| serde_json::from_slice::<Tree>(&content).ok()) {
                Some(tree) => return Ok(tree.nodes.unwrap_or_default()),
                None => suspicious = Some(place.pack),
            }
        }
        Err(suspicious)
    }

    /// Visits each tree once, from the roots of the snapshots on.
    pub(super) fn walk(&self, roots: impl Iterator<Item = Id>) -> Trees {
        let mut trees = Trees::default();
        let mut frontier: Vec<(Id, TreeNumber)> = Vec::new();
        for root in roots {
            trees.number(root, &mut frontier);
        }
        while !frontier.is_empty() && !self.cancel.is_cancelled() {
            // Bounded, so that a tree with a million folders does not have them all in hand at once.
            let batch = frontier.split_off(frontier.len().saturating_sub(1_024));
            for visit in self.visit_all(&batch) {
                trees.suspicious.extend(visit.suspicious);
                match visit.found {
                    Ok((children, is_marked)) => {
                        if is_marked {
                            trees.marked.insert(visit.tree);
                        }
                        for child in children {
                            let child = trees.number(child, &mut frontier);
                            trees.edges.push((child, visit.tree));
                        }
                    }
                    Err(cause) => drop(trees.lost.insert(visit.tree, cause)),
                }
            }
        }
        trees.spread();
        trees
    }

    fn visit_all(&self, batch: &[(Id, TreeNumber)]) -> Vec<Visit> {
        let share = batch.len().div_ceil(MOST_AT_ONCE).max(16);
        std::thread::scope(|scope| {
            let parts: Vec<_> = batch
                .chunks(share)
                .map(|part| {
                    scope.spawn(move || part.iter().map(|(id, tree)| self.visit(id, *tree)).collect::<Vec<_>>())
                })
                .collect();
            let join = |part: std::thread::ScopedJoinHandle<'_, Vec<Visit>>| match part.join() {
                Ok(visits) => visits,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            parts.into_iter().flat_map(join).collect()
        })
    }

    fn visit(&self, id: &Id, tree: TreeNumber) -> Visit {
        match self.tree(id) {
            Ok(nodes) => {
                let is_bad = |data: &Id| self.fate(data, false).is_some();
                let is_marked = nodes.iter().flat_map(|node| node.content.iter().flatten()).any(is_bad);
                let is_unlisted = self.fate(id, true).is_some();
                let children = nodes.iter().filter_map(|node| node.subtree).collect();
                Visit { tree, found: Ok((children, is_marked || is_unlisted)), suspicious: None }
            }
            Err(suspicious) => {
                let cause = self.fate(id, true).or(suspicious.map(Cause::Pack)).unwrap_or(Cause::Nowhere);
                Visit { tree, found: Err(cause), suspicious }
            }
        }
    }

    /// The names of what is lost, by cause. `roots` are those of the snapshots, in their order.
    pub(super) fn name(&self, trees: &Trees, roots: &[Id]) -> BTreeMap<Cause, Losses> {
        let mut losses = BTreeMap::new();
        for (snapshot, root) in roots.iter().enumerate() {
            self.name_in(trees, root, Path::new("/"), snapshot, &mut losses);
        }
        losses
    }

    fn name_in(&self, trees: &Trees, id: &Id, path: &Path, snapshot: usize, losses: &mut BTreeMap<Cause, Losses>) {
        if self.cancel.is_cancelled() || !trees.is_marked(id) {
            return;
        }
        let mut lose = |cause: Cause, path: PathBuf| losses.entry(cause).or_default().add(path, snapshot);
        if let Some(cause) = trees.numbers.get(id).and_then(|tree| trees.lost.get(tree)) {
            return lose(*cause, path.join(""));
        }
        // Read before; what the storage does not give a second time is lost all the same.
        let Ok(nodes) = self.tree(id) else { return lose(Cause::Nowhere, path.join("")) };
        if let Some(cause) = self.fate(id, true) {
            lose(cause, path.join(""));
        }
        for node in &nodes {
            let path = path.join(&node.name);
            let cause = node.content.iter().flatten().find_map(|data| self.fate(data, false));
            if let Some(cause) = cause {
                losses.entry(cause).or_default().add(path.clone(), snapshot);
            }
            if let Some(child) = &node.subtree {
                self.name_in(trees, child, &path, snapshot, losses);
            }
        }
    }
}

impl Trees {
    fn number(&mut self, id: Id, frontier: &mut Vec<(Id, TreeNumber)>) -> TreeNumber {
        let next = TreeNumber::try_from(self.numbers.len()).unwrap_or(TreeNumber::MAX);
        *self.numbers.entry(id).or_insert_with(|| {
            frontier.push((id, next));
            next
        })
    }

    /// Marks whatever holds something marked.
    fn spread(&mut self) {
        self.marked.extend(self.lost.keys());
        if self.marked.is_empty() {
            return;
        }
        self.edges.sort_unstable();
        let mut new: Vec<TreeNumber> = self.marked.iter().copied().collect();
        while let Some(child) = new.pop() {
            let from = self.edges.partition_point(|(it, _)| *it < child);
            for (_, parent) in self.edges[from..].iter().take_while(|(it, _)| *it == child) {
                if self.marked.insert(*parent) {
                    new.push(*parent);
                }
            }
        }
    }

    fn is_marked(&self, id: &Id) -> bool {
        self.numbers.get(id).is_some_and(|tree| self.marked.contains(tree))
    }

    pub(super) fn count(&self) -> u64 {
        self.numbers.len() as u64
    }
}

impl Losses {
    fn add(&mut self, path: PathBuf, snapshot: usize) {
        if let Some(snapshots) = self.paths.get_mut(&path) {
            if snapshots.last() != Some(&snapshot) {
                snapshots.push(snapshot);
            }
        } else if self.paths.len() < MOST_PATHS {
            self.paths.insert(path, vec![snapshot]);
        } else {
            self.more += 1;
        }
    }
}
