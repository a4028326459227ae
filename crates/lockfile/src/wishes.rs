//! What packages ask for by name, until all names are known.

use crate::draft::Draft;
use crate::lock_file::NONE;
use crate::{LockFile, LockFileError, Package};

/// Requests by name. They are kept in one string, as a file has many more of them than packages.
pub(crate) struct Wishes {
    limit: usize,
    text: String,
    list: Vec<Wish>,
}

struct Wish {
    from: u32,
    dev: bool,
    /// Where its name ends in the text; it begins where the wish before ends.
    name: usize,
    /// Where its version ends, which begins where the name ends.
    version: usize,
}

impl Wishes {
    /// Room for so many.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, text: String::new(), list: Vec::new() }
    }

    /// Says that one asks for another by name, and by version where that is not empty.
    pub(crate) fn ask(&mut self, from: u32, name: &str, version: &str, dev: bool) -> Result<(), LockFileError> {
        if self.list.len() >= self.limit {
            return Err(LockFileError::Requests { limit: self.limit });
        }
        self.text.push_str(name);
        let name = self.text.len();
        self.text.push_str(version);
        self.list.push(Wish { from, dev, name, version: self.text.len() });
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Says who asked for all from the given one on.
    pub(crate) fn belong(&mut self, first: usize, from: u32) {
        self.list.iter_mut().skip(first).for_each(|it| it.from = from);
    }

    /// Forgets all from the given one on.
    pub(crate) fn truncate(&mut self, first: usize) {
        self.list.truncate(first);
        self.text.truncate(self.list.last().map_or(0, |it| it.version));
    }

    /// Gives all: who asks, the name, the version, and whether only development does.
    pub(crate) fn each(&self, mut take: impl FnMut(u32, &str, &str, bool)) {
        let mut start = 0;
        for &Wish { from, dev, name, version } in &self.list {
            let wanted = self.text.get(start..name).unwrap_or_default();
            take(from, wanted, self.text.get(name..version).unwrap_or_default(), dev);
            start = version;
        }
    }

    /// Finds who asks for whom, when all packages are known. `key` is the name by which they ask.
    pub(crate) fn finish(self, mut draft: Draft<'_>, key: fn(&Package) -> &str) -> LockFile {
        let names = Names::new(draft.packages(), key);
        self.each(|from, name, version, dev| {
            let to = names.find(draft.packages(), name, version);
            if to != NONE {
                draft.edge(from, to, dev);
            }
        });
        draft.finish()
    }
}

/// Packages in the order of their names and versions.
struct Names {
    order: Vec<u32>,
    key: fn(&Package) -> &str,
}

impl Names {
    fn new(packages: &[Package], key: fn(&Package) -> &str) -> Self {
        let mut order: Vec<u32> = (0..).take(packages.len()).collect();
        order.sort_by_key(|it| packages.get(*it as usize).map(|it| (key(it), &*it.version)));
        Self { order, key }
    }

    /// The first package of a name, and of a version unless that is empty; [`NONE`] when there is none.
    fn find(&self, packages: &[Package], name: &str, version: &str) -> u32 {
        let of = |it: &u32| packages.get(*it as usize).map(|it| ((self.key)(it), &*it.version));
        let first = self.order.partition_point(|it| of(it) < Some((name, version)));
        let fits = |it: &(&str, &str)| it.0 == name && (version.is_empty() || it.1 == version);
        self.order.get(first).filter(|it| of(it).as_ref().is_some_and(fits)).map_or(NONE, |it| *it)
    }
}
