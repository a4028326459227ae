//! Folders as a snapshot has them: the entries of a folder, in order, as one blob of JSON.
//!
//! What is known of an entry is written into the JSON at once and forgotten: a folder of a million files then takes as much
//! memory as its tree has bytes.

use rustic_core::TreeId;
use rustic_core::repofile::{BlobType, Node, SnapshotSummary};

use crate::ArchiveError;
use crate::id::Sha;
use crate::parent::Before;
use crate::seal::Sealer;
use crate::store::{Store, unwritable};

/// A folder whose entries are being gathered.
struct Folder {
    /// None for the top of the snapshot.
    node: Option<(Node, Before<Option<Sha>>)>,
    json: Vec<u8>,
}

impl Folder {
    fn new(node: Option<(Node, Before<Option<Sha>>)>) -> Self {
        Self { node, json: b"{\"nodes\":[".to_vec() }
    }

    fn add(&mut self, node: &Node) -> Result<(), ArchiveError> {
        if !self.json.ends_with(b"[") {
            self.json.push(b',');
        }
        serde_json::to_writer(&mut self.json, node).map_err(unwritable)
    }
}

/// The trees of a snapshot, from the top down to the folder at which the walk is.
pub(crate) struct Trees<'a> {
    store: &'a Store,
    sealer: Sealer,
    stack: Vec<Folder>,
    pub(crate) summary: SnapshotSummary,
}

impl<'a> Trees<'a> {
    pub(crate) fn new(store: &'a Store, sealer: Sealer, summary: SnapshotSummary) -> Self {
        Self { store, sealer, stack: vec![Folder::new(None)], summary }
    }

    /// Goes down into a folder.
    pub(crate) fn enter(&mut self, node: Node, before: Before<Option<Sha>>) {
        self.stack.push(Folder::new(Some((node, before))));
    }

    /// Ends a folder: its tree is saved, and it becomes an entry of the one above.
    pub(crate) fn leave(&mut self) -> Result<(), ArchiveError> {
        let above = || ArchiveError::Defect("a folder ended that had not begun".to_owned());
        let Folder { node, json } = self.stack.pop().ok_or_else(above)?;
        let (mut node, before) = node.ok_or_else(above)?;
        node.subtree = Some(TreeId::from(rustic_core::Id::from(self.save(json, &before)?)));
        self.stack.last_mut().ok_or_else(above)?.add(&node)
    }

    /// Adds what is no folder, of `size` bytes.
    pub(crate) fn add<T>(&mut self, node: &Node, before: &Before<T>, size: u64) -> Result<(), ArchiveError> {
        match before {
            Before::Same(_) => self.summary.files_unmodified += 1,
            Before::Other => self.summary.files_changed += 1,
            Before::Nothing => self.summary.files_new += 1,
        }
        self.summary.total_files_processed += 1;
        self.summary.total_bytes_processed += size;
        let defect = || ArchiveError::Defect("an entry came after the last folder".to_owned());
        self.stack.last_mut().ok_or_else(defect)?.add(node)
    }

    /// Ends all folders, and says which tree is at the top. `before` is that of the parent.
    pub(crate) fn finish(&mut self, before: Option<Sha>) -> Result<Sha, ArchiveError> {
        while self.stack.len() > 1 {
            self.leave()?;
        }
        let top = self.stack.pop().map(|top| top.json).unwrap_or_default();
        self.save(top, &before.map_or(Before::Nothing, |id| Before::Same(Some(id))))
    }

    pub(crate) fn sealer(&mut self) -> &mut Sealer {
        &mut self.sealer
    }

    fn save(&mut self, mut json: Vec<u8>, before: &Before<Option<Sha>>) -> Result<Sha, ArchiveError> {
        // As restic ends it, so that the same folder is the same blob to both.
        json.extend_from_slice(b"]}\n");
        let id = Sha::of(&json);
        self.summary.total_dirs_processed += 1;
        self.summary.total_dirsize_processed += json.len() as u64;
        match before {
            Before::Same(Some(before)) if *before == id => self.summary.dirs_unmodified += 1,
            Before::Nothing => self.summary.dirs_new += 1,
            _ => self.summary.dirs_changed += 1,
        }
        if self.store.known.claim(BlobType::Tree, id) {
            self.store.add(&mut self.sealer, BlobType::Tree, id, &json)?;
        }
        Ok(id)
    }
}
