//! What a file names.

use std::fmt;
use std::num::NonZeroU32;

use crate::{Ecosystem, Format};

/// What a file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFile {
    /// What the file is.
    pub format: Format,
    /// Whose advisories speak about its packages. The files of distributions do not tell their release: set it from
    /// [`Ecosystem::from_os_release`].
    pub ecosystem: Ecosystem,
    /// Its packages in the order of the file. One that is installed at two places is there twice.
    pub packages: Vec<Package>,
    /// What is in the file without being a package of one version.
    pub notes: Vec<Note>,
    /// How many notes there were beyond the limit.
    pub notes_omitted: usize,
    /// Who requires whom, by index, sorted.
    pub(crate) edges: Vec<(u32, u32)>,
}

/// One package of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The name by which advisories know it.
    pub name: Box<str>,
    /// Its version as the file writes it, save that Go's have no `v`. Empty for folders that have none.
    pub version: Box<str>,
    /// The name by which it is known here, where that is another one: the alias of an npm package, the binary package
    /// of a distribution's source package.
    pub alias: Option<Box<str>>,
    /// Where its code comes from.
    pub source: Source,
    /// Whether it is for development only, where the file tells.
    pub dev: Option<bool>,
    /// Whether the project itself asks for it, where the file tells.
    pub direct: Option<bool>,
    /// The line where it stands, from 1, where that can be told.
    pub line: Option<NonZeroU32>,
    /// The package that it is there for, the next of the shortest chain to a root. [`NONE`] when it is a root itself.
    pub(crate) parent: u32,
}

/// No index.
pub(crate) const NONE: u32 = u32::MAX;

/// Where the code of a package comes from. Advisories of an ecosystem speak about its registry only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The registry of the ecosystem, or a mirror of it.
    Registry,
    /// A registry of its own, by the name that the ecosystem gives to such. It may still be a mirror.
    OtherRegistry,
    /// A commit of a repository.
    Git,
    /// An archive from anywhere.
    Url,
    /// A folder or a file beside the project, or the project itself.
    Path,
}

impl Source {
    /// Whether advisories of the ecosystem speak about what comes from there.
    pub fn is_registry(self) -> bool {
        self == Self::Registry
    }
}

/// Something in a file that is no package of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The line where it stands, from 1, where that can be told.
    pub line: Option<NonZeroU32>,
    /// Why it is none.
    pub kind: NoteKind,
    /// What it is, as the file writes it, cut at 200 bytes.
    pub subject: Box<str>,
}

/// Why something in a file is no package of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteKind {
    /// The file allows more than one version.
    Unpinned,
    /// Its version stands in another file.
    Unresolved,
    /// It is another file, which has to be looked at for itself.
    Include,
    /// It has no name or no version, or is not understood.
    Unclear,
}

impl fmt::Display for Note {
    /// What a person reads: line, subject, and what can be done.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        let why = match self.kind {
            NoteKind::Unpinned => "has no exact version here; pin it to have it checked",
            NoteKind::Unresolved => {
                "has its version in another file, which this one does not name; lock it to have it checked"
            }
            NoteKind::Include => "is another file and is checked only if it is found itself",
            NoteKind::Unclear => "is not understood and left out",
        };
        write!(f, "`{}` {why}", self.subject)
    }
}

impl LockFile {
    /// How a package got there: the names from what the project asks for to the package itself, by the shortest way. The
    /// chain begins with the folder of the project where the file lists such. Where the file does not tell who asks for
    /// what, there is only the package. Empty when there is no such package.
    pub fn chain(&self, index: usize) -> Vec<&str> {
        let mut names = Vec::new();
        let mut next = self.packages.get(index);
        // Parents come from a breadth-first search and are nearer to a root each time; the bound is for no cycle at all.
        while let Some(package) = next
            && names.len() < self.packages.len()
        {
            names.push(&*package.name);
            next = self.packages.get(package.parent as usize);
        }
        names.reverse();
        names
    }

    /// The indices of the packages that a package asks for, where the file tells.
    pub fn requires(&self, index: usize) -> impl Iterator<Item = usize> {
        let from = self.edges.partition_point(|&(it, _)| (it as usize) < index);
        let edges = self.edges.get(from..).unwrap_or(&[]);
        edges.iter().take_while(move |&&(it, _)| it as usize == index).map(|&(_, to)| to as usize)
    }
}
