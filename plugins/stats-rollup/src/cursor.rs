//! How far each file is counted, and which file is which.
//!
//! A log goes on under another name when it is rotated, in another file when it is copied and cut off, and in other bytes when
//! it is compressed. What stays is how it begins: a file is known by the digest of its first bytes ([`Head`]), after
//! decompression. Since a line of a log begins with the time or a client, two logs do not begin with the same kilobyte; a copy
//! does, and is the same file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use upkeep_plugin::files::Identity;

/// Bytes that a file is known by, when it has so many.
pub(crate) const HEAD: usize = 1_024;

/// What a file begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Bytes, at most [`HEAD`].
    pub(crate) length: usize,
    /// BLAKE3, 16 bytes in hexadecimal.
    pub(crate) digest: String,
}

impl Head {
    /// Of the first bytes of a file; none of an empty one.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let bytes = &bytes[..bytes.len().min(HEAD)];
        (!bytes.is_empty()).then(|| Self { length: bytes.len(), digest: digest(bytes) })
    }

    /// Whether a file that begins with `bytes` begins so.
    pub(crate) fn begins(&self, bytes: &[u8]) -> bool {
        bytes.get(..self.length).is_some_and(|bytes| digest(bytes) == self.digest)
    }
}

fn digest(bytes: &[u8]) -> String {
    let mut digest = blake3::hash(bytes).to_hex().to_string();
    digest.truncate(32);
    digest
}

/// What is known of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// The digest of the first head that was seen of it: stays the same while the head grows.
    pub(crate) id: String,
    pub(crate) head: Head,
    /// Bytes that are counted, after decompression: up to the end of a line.
    pub(crate) offset: u64,
    /// Where it was seen last, and what it was then.
    pub(crate) path: String,
    pub(crate) seen: Seen,
    pub(crate) state: State,
    /// When it was seen last, in Unix milliseconds, and by which task of which host.
    pub(crate) seen_ms: i64,
    pub(crate) by: String,
}

/// What may still come of a file. [`gone`](crate::gone) tells how that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// Lines, as far as anybody knows.
    Open = 0,
    /// Nothing: it is compressed, and counted to its end.
    Complete = 1,
    /// Nothing more is expected: it does not grow any more, or is gone.
    AtRest = 2,
}

impl From<i64> for State {
    fn from(number: i64) -> Self {
        match number {
            0 => Self::Open,
            1 => Self::Complete,
            _ => Self::AtRest,
        }
    }
}

/// What a file was when it was looked at; the same as long as nobody has written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) modified_ns: i64,
}

impl Seen {
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl From<Identity> for Seen {
    fn from(id: Identity) -> Self {
        Self { device: id.device, inode: id.inode, size: id.size, modified_ns: id.modified_ns }
    }
}

/// A file that is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) path: String,
    pub(crate) seen: Seen,
    pub(crate) compressed: bool,
    /// How it begins, after decompression; at most [`HEAD`] bytes.
    pub(crate) begin: Vec<u8>,
}

/// A file to read, and from where on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assigned<'a> {
    pub(crate) candidate: &'a Candidate,
    /// None when no line of it is counted yet.
    pub(crate) cursor: Option<&'a Cursor>,
}

/// Which candidate goes on where which cursor stands. Of several that are the same file, as while a copy is being made or
/// compressed, there is one: the uncompressed before the compressed, and the longest, since a copy may not be finished.
pub(crate) fn assign<'a>(cursors: &'a [Cursor], candidates: &'a [Candidate]) -> Vec<Assigned<'a>> {
    let mut known: BTreeMap<&str, Assigned<'a>> = BTreeMap::new();
    let mut new: Vec<Assigned<'a>> = Vec::new();
    for candidate in candidates.iter().filter(|it| !it.begin.is_empty()) {
        // The longest head says most; a file that began with few bytes may have a namesake.
        let fitting = cursors.iter().filter(|it| it.head.begins(&candidate.begin));
        let cursor = fitting.max_by_key(|it| (it.head.length, it.seen.is_same_file(&candidate.seen)));
        let assigned = Assigned { candidate, cursor };
        let rival = match cursor {
            Some(cursor) => known.get_mut(cursor.id.as_str()),
            None => new.iter_mut().find(|it| is_copy(&it.candidate.begin, &candidate.begin)),
        };
        match rival {
            Some(rival) if rank(candidate, cursor) > rank(rival.candidate, cursor) => *rival = assigned,
            Some(_) => {}
            None => match cursor {
                Some(cursor) => drop(known.insert(&cursor.id, assigned)),
                None => new.push(assigned),
            },
        }
    }
    known.into_values().chain(new).collect()
}

/// Whether two files without a cursor are one: one of them is as far as it goes a copy of the other.
fn is_copy(one: &[u8], other: &[u8]) -> bool {
    let length = one.len().min(other.len());
    one[..length] == other[..length]
}

/// Of files that are one, the one to read has the highest.
fn rank(candidate: &Candidate, cursor: Option<&Cursor>) -> (usize, bool, u64, bool) {
    let is_same = cursor.is_some_and(|it| it.seen.is_same_file(&candidate.seen));
    (candidate.begin.len(), !candidate.compressed, candidate.seen.size, is_same)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(path: &str, inode: u64, size: u64, begin: &str) -> Candidate {
        let seen = Seen { device: 1, inode, size, modified_ns: 0 };
        Candidate { path: path.into(), seen, compressed: path.ends_with(".gz"), begin: begin.into() }
    }

    fn cursor(begin: &str, inode: u64, offset: u64) -> Cursor {
        let head = Head::of(begin.as_bytes()).unwrap();
        let seen = Seen { device: 1, inode, size: offset, modified_ns: 0 };
        Cursor {
            id: head.digest.clone(),
            head,
            offset,
            path: "access.log".into(),
            seen,
            state: State::Open,
            seen_ms: 0,
            by: String::new(),
        }
    }

    /// `path inode<-offset` of each, in order.
    fn told(assigned: &[Assigned<'_>]) -> Vec<String> {
        let offset = |it: &Assigned<'_>| it.cursor.map_or("new".to_owned(), |cursor| cursor.offset.to_string());
        assigned.iter().map(|it| format!("{} {}", it.candidate.path, offset(it))).collect()
    }

    #[test]
    fn a_renamed_file_goes_on_and_the_one_after_it_is_new() {
        let cursors = [cursor("first line", 7, 10)];
        let there = [candidate("access.log", 8, 5, "later"), candidate("access.log.1", 7, 20, "first line and more")];
        assert_eq!(told(&assign(&cursors, &there)), ["access.log.1 10", "access.log new"]);
    }

    #[test]
    fn a_copy_goes_on_when_the_original_was_cut_off() {
        let cursors = [cursor("first line", 7, 10)];
        let there = [candidate("access.log", 7, 5, "later"), candidate("access.log.1", 9, 20, "first line and more")];
        assert_eq!(told(&assign(&cursors, &there)), ["access.log.1 10", "access.log new"]);
        // While the copy is being made, the original goes on, also when no line of it is counted yet.
        let there =
            [candidate("access.log", 7, 20, "first line and"), candidate("access.log.1", 9, 12, "first line a")];
        assert_eq!(told(&assign(&cursors, &there)), ["access.log 10"]);
        assert_eq!(told(&assign(&[], &there)), ["access.log new"]);
        // Cut off and not written to yet: there is the copy only.
        let there = [candidate("access.log", 7, 0, ""), candidate("access.log.1", 9, 20, "first line and more")];
        assert_eq!(told(&assign(&cursors, &there)), ["access.log.1 10"]);
    }

    #[test]
    fn while_a_file_is_compressed_there_is_one_of_it() {
        let cursors = [cursor("first line", 7, 10)];
        let there =
            [candidate("access.log.2.gz", 9, 900, "first line"), candidate("access.log.2", 7, 20, "first line")];
        assert_eq!(told(&assign(&cursors, &there)), ["access.log.2 10"]);
        assert_eq!(told(&assign(&cursors, &there[..1])), ["access.log.2.gz 10"]);
    }

    #[test]
    fn the_longest_head_decides() {
        let cursors = [cursor("GET", 1, 3), cursor("GET /b", 2, 6)];
        assert_eq!(told(&assign(&cursors, &[candidate("b", 2, 9, "GET /b\nxx")])), ["b 6"]);
        assert_eq!(told(&assign(&cursors, &[candidate("a", 1, 9, "GET /a\nxx")])), ["a 3"]);
    }

    proptest! {
        #[test]
        fn no_cursor_and_no_file_is_taken_twice(
            heads in prop::collection::vec("[ab]{0,4}", 0..6),
            files in prop::collection::vec(("[ab]{0,6}", 0..4_u64, 0..9_u64, any::<bool>()), 0..8),
        ) {
            let mut cursors: Vec<Cursor> = Vec::new();
            for (number, head) in heads.iter().enumerate().filter(|(_, it)| !it.is_empty()) {
                if cursors.iter().all(|it| it.head != Head::of(head.as_bytes()).unwrap()) {
                    cursors.push(cursor(head, number as u64, 2));
                }
            }
            let there: Vec<_> = files.iter().enumerate().map(|(number, (begin, inode, size, compressed))| {
                candidate(&format!("{number}{}", if *compressed { ".gz" } else { "" }), *inode, *size, begin)
            }).collect();
            let assigned = assign(&cursors, &there);
            for (index, one) in assigned.iter().enumerate() {
                for other in &assigned[..index] {
                    prop_assert_ne!(&one.candidate.path, &other.candidate.path);
                    prop_assert!(one.cursor.is_none() || one.cursor != other.cursor);
                    if one.cursor.is_none() && other.cursor.is_none() {
                        prop_assert!(!is_copy(&one.candidate.begin, &other.candidate.begin));
                    }
                }
                if let Some(cursor) = one.cursor {
                    prop_assert!(cursor.head.begins(&one.candidate.begin));
                }
            }
        }
    }
}
