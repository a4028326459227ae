//! A ledger in memory.

use std::collections::{BTreeMap, BTreeSet};

use upkeep_rollup::ledger::Ledger;
use upkeep_rollup::{Damaged, Key, Section};

/// What is stored, and what new pieces say.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) stored: BTreeMap<Key, Vec<u8>>,
    pub(crate) pieces: BTreeMap<Key, Vec<Vec<u8>>>,
}

impl Memory {
    /// Adds the sections of a piece, and says which keys there are.
    pub(crate) fn offer(&mut self, sections: impl IntoIterator<Item = Section>) -> BTreeSet<Key> {
        for section in sections {
            self.pieces.entry(section.key).or_default().push(section.bytes);
        }
        self.pieces.keys().copied().collect()
    }
}

impl Ledger for Memory {
    type Error = Damaged;

    fn load(&mut self, key: Key) -> Result<Option<Vec<u8>>, Damaged> {
        Ok(self.stored.get(&key).cloned())
    }

    fn save(&mut self, section: Section) -> Result<(), Damaged> {
        self.stored.insert(section.key, section.bytes);
        Ok(())
    }

    fn remove(&mut self, key: Key) -> Result<(), Damaged> {
        self.stored.remove(&key);
        Ok(())
    }

    fn pieces(&mut self, key: Key) -> Result<Vec<Vec<u8>>, Damaged> {
        Ok(self.pieces.remove(&key).unwrap_or_default())
    }
}
