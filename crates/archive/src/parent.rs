//! What the snapshot before this one had: files that are as they were then are not read again.

use rustic_core::Id;
use rustic_core::jiff::Timestamp;
use rustic_core::repofile::Node;
use serde::{Deserialize, Deserializer};

use crate::id::Sha;
use crate::open::Cipher;
use crate::store::Store;

/// What the parent has in place of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Before<T> {
    /// The same.
    Same(T),
    /// Something else.
    Other,
    /// Nothing.
    Nothing,
}

/// The fields of an entry that a comparison needs: to read only these is several times faster.
#[derive(Debug, Deserialize)]
struct Old {
    name: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    size: u64,
    #[serde(default, deserialize_with = "time")]
    mtime: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    ctime: Option<Timestamp>,
    #[serde(default)]
    content: Option<Vec<Sha>>,
    #[serde(default)]
    subtree: Option<Sha>,
    #[serde(default)]
    linktarget: Option<String>,
}

/// A time that cannot be read matches none.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    Ok(text.and_then(|it| it.parse().ok()))
}

#[derive(Debug, Deserialize)]
struct OldTree {
    #[serde(default)]
    nodes: Option<Vec<Old>>,
}

/// A folder of the parent, gone through from its first name to its last.
type Folder = std::iter::Peekable<std::vec::IntoIter<(Vec<u8>, Old)>>;

/// The folders of the parent that stand where the walk is.
pub(crate) struct Parent<'a> {
    store: &'a Store,
    cipher: Cipher,
    stack: Vec<Folder>,
}

impl<'a> Parent<'a> {
    /// The snapshot with this tree, or none.
    pub(crate) fn new(store: &'a Store, cipher: Cipher, tree: Option<Sha>) -> Self {
        let mut parent = Self { store, cipher, stack: Vec::new() };
        let top = parent.read(tree);
        parent.stack.push(top);
        parent
    }

    /// A tree that cannot be read only costs time: what it holds is read anew.
    fn read(&self, id: Option<Sha>) -> Folder {
        let nodes = id.and_then(|id| {
            let place = self.store.known.tree(&id)?;
            let sealed = self.store.read_part(place.pack, place.offset, place.length).ok()?;
            let plain = self.cipher.open_blob(&sealed, place.uncompressed_length, &Id::from(id)).ok()?;
            let tree: OldTree = serde_json::from_slice(&plain).ok()?;
            let mut nodes: Vec<_> = tree.nodes?.into_iter().map(|it| (raw(&it.name), it)).collect();
            nodes.sort_by(|one, other| one.0.cmp(&other.0));
            Some(nodes)
        });
        nodes.unwrap_or_default().into_iter().peekable()
    }

    /// The entry of this name. Names have to be asked for in order.
    fn find(&mut self, name: &[u8]) -> Option<Old> {
        let nodes = self.stack.last_mut()?;
        while nodes.next_if(|(found, _)| found.as_slice() < name).is_some() {}
        nodes.next_if(|(found, _)| found == name).map(|(_, old)| old)
    }

    /// Compares a folder and goes down into it.
    pub(crate) fn enter(&mut self, name: &[u8], node: &Node) -> Before<Option<Sha>> {
        let old = self.find(name);
        let subtree = old.as_ref().and_then(|old| old.subtree);
        let folder = self.read(subtree);
        self.stack.push(folder);
        match old {
            None => Before::Nothing,
            Some(old) if is_same(&old, node) => Before::Same(subtree),
            Some(_) => Before::Other,
        }
    }

    /// Goes up again.
    pub(crate) fn leave(&mut self) {
        self.stack.pop();
    }

    /// Compares what is no folder. The same file has the same content, all of which has to be there.
    pub(crate) fn compare(&mut self, name: &[u8], node: &Node) -> Before<Vec<Sha>> {
        match self.find(name) {
            None => Before::Nothing,
            Some(old) if !is_same(&old, node) => Before::Other,
            Some(old) => {
                let content = old.content.unwrap_or_default();
                let is_whole = content.iter().all(|id| self.store.known.has_data(id));
                if is_whole { Before::Same(content) } else { Before::Nothing }
            }
        }
    }
}

/// The time of the last change of the inode is the one that no program can set: who writes and sets the other time back
/// is found out by it.
fn is_same(old: &Old, node: &Node) -> bool {
    use rustic_core::repofile::NodeType;
    let (kind, target) = match &node.node_type {
        NodeType::File => ("file", None),
        NodeType::Dir => ("dir", None),
        NodeType::Symlink { linktarget, .. } => ("symlink", Some(linktarget)),
        NodeType::Dev { .. } => ("dev", None),
        NodeType::Chardev { .. } => ("chardev", None),
        NodeType::Fifo => ("fifo", None),
        NodeType::Socket => ("socket", None),
    };
    let is_same_time = |old: Option<Timestamp>, new: Option<Timestamp>| old == new;
    old.kind == kind
        && old.size == node.meta.size
        && target == old.linktarget.as_ref()
        && is_same_time(old.mtime, node.meta.mtime)
        && (old.ctime.is_none() || node.meta.ctime.is_none() || is_same_time(old.ctime, node.meta.ctime))
}

/// The bytes of a name: restic writes names as Go writes strings, with escapes for what is not UTF-8.
fn raw(name: &str) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    if !name.contains('\\') {
        return name.as_bytes().to_vec();
    }
    let node = Node { name: name.to_owned(), ..Node::default() };
    node.name().as_bytes().to_vec()
}
