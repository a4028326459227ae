//! Names as numbers: a name that is known costs a hash and a comparison, and no allocation.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Bytes of a name that are kept; what is longer is cut.
const LONGEST: usize = 512;

/// How names are hashed. Whoever writes the log does not know the seed, and cannot make names that all collide.
#[derive(Debug, Clone)]
pub(crate) struct Hash(FixedState);

impl Hash {
    pub(crate) fn new(seed: u64) -> Self {
        Self(FixedState::with_seed(seed))
    }

    #[inline]
    pub(crate) fn of(&self, name: &str) -> u32 {
        let mut hasher = self.0.build_hasher();
        hasher.write(name.as_bytes());
        (hasher.finish() >> 32) as u32
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    id: u32,
    start: u32,
    end: u32,
}

/// The table takes its first bits from one end and its last from the other.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// Names in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    text: String,
    ends: Vec<u32>,
    table: HashTable<Slot>,
}

/// The beginning of a name that is kept.
#[inline]
pub(crate) fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(LONGEST)]
}

/// Whether two texts are the same. WebAssembly's own comparison looks at one byte after the other.
#[inline]
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let ((one, end), (other, other_end)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let words = |it: &[u8; 8]| u64::from_ne_bytes(*it);
    one.len() == other.len()
        && end.len() == other_end.len()
        && one.iter().map(words).eq(other.iter().map(words))
        && end.iter().zip(other_end).all(|(one, other)| one == other)
}

impl Names {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn name(&self, id: u32) -> &str {
        let at = id as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.text[start as usize..self.ends[at] as usize]
    }

    /// The number of a name that has been cut.
    #[inline]
    pub(crate) fn find(&self, hash: u32, name: &str) -> Option<u32> {
        let text = self.text.as_bytes();
        let same = |it: &Slot| it.hash == hash && is_same(&text[it.start as usize..it.end as usize], name.as_bytes());
        self.table.find(spread(hash), same).map(|it| it.id)
    }

    /// Gives a new name, which has been cut, its number.
    pub(crate) fn insert(&mut self, hash: u32, name: &str) -> u32 {
        let id = self.ends.len() as u32;
        let start = self.text.len() as u32;
        self.text.push_str(name);
        let end = self.text.len() as u32;
        self.ends.push(end);
        self.table.insert_unique(spread(hash), Slot { hash, id, start, end }, |it| spread(it.hash));
        id
    }

    #[inline]
    pub(crate) fn find_or_insert(&mut self, hash: u32, name: &str) -> u32 {
        self.find(hash, name).unwrap_or_else(|| self.insert(hash, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_same_when_all_their_bytes_are() {
        let text: Vec<u8> = (0..40).collect();
        for length in 0..40 {
            assert!(is_same(&text[..length], &text.clone()[..length]));
            assert!(!is_same(&text[..length], &text[..=length]));
            for at in 0..length {
                let mut other = text[..length].to_vec();
                other[at] ^= 1;
                assert!(!is_same(&text[..length], &other), "{at} of {length}");
            }
        }
    }

    #[test]
    fn a_name_has_one_number() {
        let hash = Hash::new(7);
        let mut names = Names::default();
        for round in 0..2 {
            for at in 0..1000u32 {
                let name = format!("/page/{at}");
                assert_eq!(names.find_or_insert(hash.of(&name), &name), at, "{round}");
            }
        }
        // Names whose hash is the same are still two.
        assert_eq!([names.insert(1, ""), names.insert(1, "b")], [1000, 1001]);
        assert_eq!([names.find(1, ""), names.find(1, "b"), names.find(1, "c")], [Some(1000), Some(1001), None]);
        assert_eq!((names.name(999), names.name(1000), names.name(1001)), ("/page/999", "", "b"));
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let name = "ü".repeat(300) + "x";
        assert_eq!(cut(&name).len(), 512);
        assert_eq!(cut(&("x".to_owned() + &name)).len(), 511);
        assert_eq!(cut("short"), "short");
    }
}
