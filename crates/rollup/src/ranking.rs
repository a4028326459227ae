//! Which names there are most of: exactly while there are at most as many names as the limit, and with exact totals always.
//!
//! What is beyond the limit goes into one measure, `other`. A name that went there and comes again begins anew, so with more
//! names than the limit a name's measure is a lower bound: what it lacks is in `other`, and is at most what `other` holds.
//! In memory twice the limit is kept, so that what is cut off has seldom been seen.

use std::cmp::Ordering;

use crate::codec::{Damaged, Reader, VERSION, put_bytes, put_uint};
use crate::distinct::Distinct;
use crate::durations::Coarse;
use crate::names::{Hash, Names, cut};

/// What is counted of a name.
pub trait Measure: Default + Clone + std::fmt::Debug {
    /// What names are ranked by.
    fn hits(&self) -> u64;
    /// Takes in that of another one.
    fn merge(&mut self, other: &Self);
    #[doc(hidden)]
    fn put(&self, out: &mut Vec<u8>);
    #[doc(hidden)]
    fn get(reader: &mut ReaderOf<'_>) -> Result<Self, Damaged>;
}

#[doc(hidden)]
pub struct ReaderOf<'a>(Reader<'a>);

/// How often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hits(pub u64);

impl Measure for Hits {
    fn hits(&self) -> u64 {
        self.0
    }

    fn merge(&mut self, other: &Self) {
        self.0 = self.0.saturating_add(other.0);
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.0);
    }

    fn get(reader: &mut ReaderOf<'_>) -> Result<Self, Damaged> {
        reader.0.uint().map(Self)
    }
}

/// What is known of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// How often it was viewed.
    pub hits: u64,
    /// What was sent.
    pub bytes: u64,
    /// How long it took.
    pub times: Coarse,
}

impl Measure for Page {
    fn hits(&self) -> u64 {
        self.hits
    }

    fn merge(&mut self, other: &Self) {
        self.hits = self.hits.saturating_add(other.hits);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.times.merge(&other.times);
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.hits);
        put_uint(out, self.bytes);
        self.times.put(out);
    }

    fn get(reader: &mut ReaderOf<'_>) -> Result<Self, Damaged> {
        Ok(Self { hits: reader.0.uint()?, bytes: reader.0.uint()?, times: Coarse::get(&mut reader.0)? })
    }
}

/// What is known of an event.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// How often it happened.
    pub count: u64,
    /// To how many users.
    pub users: Distinct,
}

impl Measure for Usage {
    fn hits(&self) -> u64 {
        self.count
    }

    fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.users.merge(&other.users);
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.count);
        self.users.put(out);
    }

    fn get(reader: &mut ReaderOf<'_>) -> Result<Self, Damaged> {
        Ok(Self { count: reader.0.uint()?, users: Distinct::get(&mut reader.0)? })
    }
}

/// Names and what is known of them.
#[derive(Debug, Clone)]
pub struct Ranking<M> {
    names: Names,
    measures: Vec<M>,
    other: M,
    limit: usize,
    hash: Hash,
}

impl<M: Measure> Default for Ranking<M> {
    /// Of a single name; the limit of one that is merged into it holds.
    fn default() -> Self {
        Self::new(1, Hash::new(0))
    }
}

impl<M: Measure> Ranking<M> {
    pub(crate) fn new(limit: usize, hash: Hash) -> Self {
        Self { names: Names::default(), measures: Vec::new(), other: M::default(), limit: limit.max(1), hash }
    }

    /// The measure of a name.
    #[inline]
    pub(crate) fn at(&mut self, name: &str) -> &mut M {
        let name = cut(name);
        self.at_hashed(self.hash.of(name), name)
    }

    #[inline]
    fn at_hashed(&mut self, hash: u32, name: &str) -> &mut M {
        let id = match self.names.find(hash, name) {
            Some(id) => id,
            None => self.add(hash, name),
        };
        &mut self.measures[id as usize]
    }

    fn add(&mut self, hash: u32, name: &str) -> u32 {
        if self.names.len() >= self.limit.saturating_mul(2) {
            self.cut_off();
        }
        self.measures.push(M::default());
        self.names.insert(hash, name)
    }

    /// Measure of what no name is kept for.
    pub(crate) fn other_mut(&mut self) -> &mut M {
        &mut self.other
    }

    /// Leaves as many names as another limit.
    pub(crate) fn limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
        self.cut_off();
    }

    /// Which of two names comes first.
    fn rank(&self, a: u32, b: u32) -> Ordering {
        let hits = |id: u32| self.measures[id as usize].hits();
        hits(b).cmp(&hits(a)).then_with(|| self.names.name(a).cmp(self.names.name(b)))
    }

    /// The names, those of the first `most` places before the others; otherwise in no order.
    fn part(&self, most: usize) -> Vec<u32> {
        let mut ids: Vec<u32> = (0..self.names.len() as u32).collect();
        if most < ids.len() {
            ids.select_nth_unstable_by(most, |&a, &b| self.rank(a, b));
        }
        ids
    }

    /// Leaves as many names as the limit.
    fn cut_off(&mut self) {
        if self.names.len() <= self.limit {
            return;
        }
        let ids = self.part(self.limit);
        let (kept, rest) = ids.split_at(self.limit);
        let mut names = Names::default();
        let mut measures = Vec::with_capacity(self.limit);
        for &id in kept {
            let name = self.names.name(id);
            names.insert(self.hash.of(name), name);
            measures.push(std::mem::take(&mut self.measures[id as usize]));
        }
        for &id in rest {
            self.other.merge(&self.measures[id as usize]);
        }
        (self.names, self.measures) = (names, measures);
    }

    /// Takes in those of another one.
    pub fn merge(&mut self, other: &Self) {
        self.limit = self.limit.max(other.limit);
        self.other.merge(&other.other);
        for (id, measure) in other.measures.iter().enumerate() {
            let name = other.names.name(id as u32);
            let hash = self.hash.of(name);
            match self.names.find(hash, name) {
                Some(id) => self.measures[id as usize].merge(measure),
                None => {
                    self.names.insert(hash, name);
                    self.measures.push(measure.clone());
                }
            }
        }
        self.cut_off();
    }

    /// Names with their measures, those with most hits first.
    pub fn top(&self) -> impl Iterator<Item = (&str, &M)> {
        self.first(usize::MAX)
    }

    /// Those of the first `most` places.
    pub fn first(&self, most: usize) -> impl Iterator<Item = (&str, &M)> {
        let mut ids = self.part(most);
        ids.truncate(most);
        ids.sort_unstable_by(|&a, &b| self.rank(a, b));
        ids.into_iter().map(|id| (self.names.name(id), &self.measures[id as usize]))
    }

    /// What no name is kept for.
    pub fn other(&self) -> &M {
        &self.other
    }

    /// All together.
    pub fn total(&self) -> M {
        let mut total = self.other.clone();
        self.measures.iter().for_each(|it| total.merge(it));
        total
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.measures.is_empty() && self.other.hits() == 0
    }

    /// As bytes, with at most as many names as the limit.
    pub fn encode(&mut self) -> Vec<u8> {
        self.cut_off();
        let mut out = vec![VERSION];
        put_uint(&mut out, self.limit as u64);
        self.other.put(&mut out);
        let mut ids: Vec<u32> = (0..self.names.len() as u32).collect();
        ids.sort_unstable_by_key(|&it| self.names.name(it));
        put_uint(&mut out, ids.len() as u64);
        for id in ids {
            put_bytes(&mut out, self.names.name(id).as_bytes());
            self.measures[id as usize].put(&mut out);
        }
        out
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = ReaderOf(Reader::new(bytes)?);
        // The seed need not be secret: there are no more names than the limit.
        let mut this = Self::new(reader.0.narrow()?, Hash::new(0));
        this.other = M::get(&mut reader)?;
        for _ in 0..reader.0.count(2)? {
            let name = reader.0.text()?;
            let hash = this.hash.of(name);
            if this.names.find(hash, name).is_some() {
                return Err(Damaged::Invalid("a name comes twice"));
            }
            this.names.insert(hash, name);
            this.measures.push(M::get(&mut reader)?);
        }
        reader.0.end()?;
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(limit: usize, names: &[u8]) -> Ranking<Hits> {
        let mut ranking: Ranking<Hits> = Ranking::new(limit, Hash::new(1));
        names.iter().for_each(|it| ranking.at(&format!("/{it}")).0 += 1);
        ranking
    }

    proptest! {
        #[test]
        fn up_to_the_limit_merging_is_exact(left: Vec<u8>, right: Vec<u8>) {
            let mut merged = of(256, &left);
            merged.merge(&of(256, &right));
            let mut other = of(256, &right);
            other.merge(&of(256, &left));
            let bytes = merged.encode();
            prop_assert_eq!(&bytes, &other.encode());
            prop_assert_eq!(&bytes, &of(256, &[left, right].concat()).encode());
            prop_assert_eq!(bytes.clone(), Ranking::<Hits>::decode(&bytes).unwrap().encode());
        }

        #[test]
        fn beyond_the_limit_totals_are_exact_and_names_lack_at_most_the_rest(names: Vec<u8>, limit in 1..20usize, at: prop::sample::Index) {
            let (left, right) = names.split_at(at.index(names.len() + 1));
            let mut merged = of(limit, left);
            merged.merge(&of(limit, right));
            prop_assert_eq!(merged.total().0, names.len() as u64);
            prop_assert!(merged.top().count() <= limit);
            for (name, hits) in merged.top() {
                let true_hits = names.iter().filter(|it| format!("/{it}") == name).count() as u64;
                prop_assert!(hits.0 <= true_hits && true_hits <= hits.0 + merged.other().0);
            }
        }
    }

    #[test]
    fn the_most_frequent_stay() {
        let mut ranking = Ranking::<Hits>::new(3, Hash::new(1));
        for at in 0..100 {
            ranking.at(&format!("/{at}")).0 += 1;
            ranking.at("/a").0 += 1;
            ranking.at("/b").0 += 1;
        }
        ranking.cut_off();
        let top: Vec<_> = ranking.top().take(2).map(|(name, hits)| (name.to_owned(), hits.0)).collect();
        assert_eq!(top, [("/a".to_owned(), 100), ("/b".to_owned(), 100)]);
        assert_eq!((ranking.top().count(), ranking.other().0), (3, 99));
    }
}
