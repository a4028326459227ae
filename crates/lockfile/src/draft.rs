//! A lock file while it is read, and the graph that comes of it.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use crate::lines::clip;
use crate::lock_file::NONE;
use crate::{Format, Limits, LockFile, LockFileError, Note, NoteKind, Package, Source};

/// A lock file while it is read.
pub(crate) struct Draft<'l> {
    pub(crate) limits: &'l Limits,
    lock: LockFile,
    edges: Vec<Edge>,
    roots: Vec<Root>,
}

/// A package as a parser finds it.
#[derive(Default)]
pub(crate) struct Found<'t> {
    pub(crate) name: &'t str,
    pub(crate) version: &'t str,
    /// Left out when it is the name.
    pub(crate) alias: &'t str,
    pub(crate) source: Option<Source>,
    pub(crate) dev: Option<bool>,
    pub(crate) direct: Option<bool>,
    /// From 1; 0 when it is not known.
    pub(crate) line: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: u32,
    to: u32,
    /// Only development asks for it.
    dev: bool,
}

struct Root {
    package: u32,
    /// Whether only development asks for it, where the file tells.
    dev: Option<bool>,
}

impl<'l> Draft<'l> {
    pub(crate) fn new(format: Format, limits: &'l Limits) -> Self {
        let lock = LockFile {
            format,
            ecosystem: format.ecosystem(),
            packages: Vec::new(),
            notes: Vec::new(),
            notes_omitted: 0,
            edges: Vec::new(),
        };
        Self { limits, lock, edges: Vec::new(), roots: Vec::new() }
    }

    /// Takes a package in, and gives its index.
    pub(crate) fn add(&mut self, found: Found<'_>) -> Result<u32, LockFileError> {
        let Found { name, version, alias, source, dev, direct, line } = found;
        if name.is_empty() {
            return Err(LockFileError::syntax(line, "a package without a name"));
        }
        let index = self.lock.packages.len();
        // The index `NONE` is no package, whatever the limit.
        if index >= self.limits.packages.min(NONE as usize) {
            return Err(LockFileError::Packages { line, limit: self.limits.packages });
        }
        self.lock.packages.push(Package {
            name: name.into(),
            version: version.into(),
            alias: (!alias.is_empty() && alias != name).then(|| alias.into()),
            source: source.unwrap_or(Source::Registry),
            dev,
            direct,
            line: number(line),
            parent: NONE,
        });
        Ok(index as u32)
    }

    /// Says that something is no package.
    pub(crate) fn note(&mut self, line: usize, kind: NoteKind, subject: &str) {
        if self.lock.notes.len() < self.limits.notes {
            self.lock.notes.push(Note { line: number(line), kind, subject: clip(subject).into() });
        } else {
            self.lock.notes_omitted += 1;
        }
    }

    /// Says that one package asks for another.
    pub(crate) fn edge(&mut self, from: u32, to: u32, dev: bool) {
        self.edges.push(Edge { from, to, dev });
    }

    /// Says that the project asks for a package, or that it is the project.
    pub(crate) fn root(&mut self, package: u32, dev: Option<bool>) {
        self.roots.push(Root { package, dev });
    }

    /// A package taken in before.
    pub(crate) fn package(&mut self, index: u32) -> Option<&mut Package> {
        self.lock.packages.get_mut(index as usize)
    }

    /// All packages taken in before.
    pub(crate) fn packages(&self) -> &[Package] {
        &self.lock.packages
    }

    /// The lock file, when all was read.
    pub(crate) fn finish(mut self) -> LockFile {
        self.edges.sort_unstable();
        self.edges.dedup_by_key(|it| (it.from, it.to));
        let told = !self.roots.is_empty();
        if !told && !self.edges.is_empty() {
            self.guess_roots();
        }
        self.find_parents();
        if told {
            self.find_direct();
        }
        if self.roots.iter().any(|it| it.dev.is_some()) {
            self.find_dev();
        }
        self.lock.edges = self.edges.into_iter().map(|it| (it.from, it.to)).collect();
        self.lock.edges.shrink_to_fit();
        self.lock.packages.shrink_to_fit();
        self.lock
    }

    /// Where a file does not say what the project asks for, it is taken to be all that nothing else asks for.
    fn guess_roots(&mut self) {
        let mut required = vec![false; self.lock.packages.len()];
        for it in &self.edges {
            if let Some(place) = required.get_mut(it.to as usize) {
                *place = true;
            }
        }
        let free = (0..).zip(&required).filter(|(_, required)| !**required);
        self.roots = free.map(|(package, _)| Root { package, dev: None }).collect();
    }

    /// Who each package is there for, by a breadth-first search: so chains are shortest and cycles have an end.
    fn find_parents(&mut self) {
        let roots = self.roots.iter().map(|it| it.package);
        for (package, parent) in reach(&self.edges, roots, self.lock.packages.len(), |_| true) {
            if let Some(package) = self.lock.packages.get_mut(package as usize) {
                package.parent = parent;
            }
        }
    }

    /// What the project asks for: roots, and what the folders ask for that are roots.
    fn find_direct(&mut self) {
        let mut direct = vec![false; self.lock.packages.len()];
        let mut mark = |index: u32| {
            if let Some(place) = direct.get_mut(index as usize) {
                *place = true;
            }
        };
        for root in &self.roots {
            let folder = self.lock.packages.get(root.package as usize).is_some_and(|it| it.source == Source::Path);
            mark(root.package);
            if folder {
                of(&self.edges, root.package).iter().for_each(|it| mark(it.to));
            }
        }
        for (package, direct) in self.lock.packages.iter_mut().zip(direct) {
            package.direct = package.direct.or(Some(direct));
        }
    }

    /// What only development asks for: what is reached, but not without its edges.
    fn find_dev(&mut self) {
        let count = self.lock.packages.len();
        let mut dev = vec![None; count];
        let mut mark = |index: u32, value: bool| {
            if let Some(place) = dev.get_mut(index as usize) {
                *place = Some(value);
            }
        };
        let all = self.roots.iter().map(|it| it.package);
        reach(&self.edges, all, count, |_| true).for_each(|(package, _)| mark(package, true));
        let main = self.roots.iter().filter(|it| it.dev != Some(true)).map(|it| it.package);
        reach(&self.edges, main, count, |edge| !edge.dev).for_each(|(package, _)| mark(package, false));
        for (package, dev) in self.lock.packages.iter_mut().zip(dev) {
            package.dev = package.dev.or(dev);
        }
    }
}

fn number(line: usize) -> Option<NonZeroU32> {
    u32::try_from(line).ok().and_then(NonZeroU32::new)
}

/// The edges of a package; they are sorted.
fn of(edges: &[Edge], from: u32) -> &[Edge] {
    let start = edges.partition_point(|it| it.from < from);
    let edges = edges.get(start..).unwrap_or(&[]);
    edges.get(..edges.partition_point(|it| it.from == from)).unwrap_or(&[])
}

/// All packages that can be reached, each once with the package before it, nearest first.
fn reach(
    edges: &[Edge],
    roots: impl Iterator<Item = u32>,
    count: usize,
    follow: impl Fn(&Edge) -> bool,
) -> impl Iterator<Item = (u32, u32)> {
    let mut seen = vec![false; count];
    let mut first = |index: u32| seen.get_mut(index as usize).is_some_and(|it| !std::mem::replace(it, true));
    let mut queue: VecDeque<_> = roots.filter(|it| first(*it)).map(|it| (it, NONE)).collect();
    std::iter::from_fn(move || {
        let (package, parent) = queue.pop_front()?;
        for it in of(edges, package) {
            if follow(it) && seen.get_mut(it.to as usize).is_some_and(|it| !std::mem::replace(it, true)) {
                queue.push_back((it.to, package));
            }
        }
        Some((package, parent))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(limits: &Limits, names: &[&'static str]) -> Draft<'static> {
        let limits: &'static Limits = Box::leak(Box::new(limits.clone()));
        let mut draft = Draft::new(Format::Cargo, limits);
        for name in names {
            draft.add(Found { name, version: "1", ..Found::default() }).unwrap();
        }
        draft
    }

    #[test]
    fn chains_are_shortest_and_cycles_end() {
        let mut draft = draft(&Limits::default(), &["a", "b", "c", "d", "lone", "wolf"]);
        for (from, to) in [(0, 1), (1, 2), (2, 3), (0, 2), (3, 0), (4, 5), (5, 4)] {
            draft.edge(from, to, false);
        }
        draft.root(0, None);
        let lock = draft.finish();
        assert_eq!(lock.chain(3), ["a", "c", "d"]);
        assert_eq!(lock.chain(0), ["a"]);
        assert_eq!(lock.chain(5), ["wolf"]);
        assert_eq!(lock.chain(9), Vec::<&str>::new());
        assert_eq!(lock.requires(0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(lock.packages[0].direct, Some(true));
        assert_eq!(lock.packages[1].direct, Some(false));
    }

    #[test]
    fn roots_are_guessed_where_none_are_told() {
        let mut draft = draft(&Limits::default(), &["a", "b"]);
        draft.edge(0, 1, false);
        let lock = draft.finish();
        assert_eq!(lock.chain(1), ["a", "b"]);
        assert_eq!(lock.packages[0].direct, None);
    }

    #[test]
    fn what_development_alone_asks_for_is_dev() {
        let mut draft = draft(&Limits::default(), &["app", "both", "test", "test-only"]);
        draft.edge(0, 1, false);
        draft.edge(0, 2, true);
        draft.edge(2, 1, false);
        draft.edge(2, 3, false);
        draft.root(0, Some(false));
        let dev: Vec<_> = draft.finish().packages.iter().map(|it| it.dev).collect();
        assert_eq!(dev, [Some(false), Some(false), Some(true), Some(true)]);
    }

    #[test]
    fn packages_and_notes_have_limits() {
        let mut draft = draft(&Limits { packages: 1, notes: 1, ..Limits::default() }, &["a"]);
        let error = draft.add(Found { name: "b", line: 7, ..Found::default() });
        assert_eq!(error, Err(LockFileError::Packages { line: 7, limit: 1 }));
        assert!(matches!(draft.add(Found { line: 7, ..Found::default() }), Err(LockFileError::Syntax { line: 7, .. })));
        draft.note(1, NoteKind::Unpinned, "a");
        draft.note(2, NoteKind::Unpinned, "b");
        let lock = draft.finish();
        assert_eq!((lock.notes.len(), lock.notes_omitted), (1, 1));
    }
}
