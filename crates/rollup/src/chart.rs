//! The rankings of a day.

use crate::names::Hash;
use crate::ranking::{Hits, Page, Ranking};

/// What a ranking is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chart {
    /// Pages that people viewed.
    Pages,
    /// Pages that sessions began with.
    Entries,
    /// Pages that sessions ended with.
    Exits,
    /// Where people came from.
    Referrers,
    /// Programs that asked: `kind`, family, version, platform and device, joined by [`SEPARATOR`].
    Agents,
    /// Answers with a status of 400 and above: status and path, joined by [`SEPARATOR`].
    Errors,
    /// Countries that people asked from.
    Countries,
}

/// Between the parts of a name. Log lines that hold it are cut there, if at all, in what is shown only.
pub const SEPARATOR: char = '\u{1f}';

impl Chart {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Pages, Self::Entries, Self::Exits, Self::Referrers, Self::Agents, Self::Errors, Self::Countries];

    /// As it is called in keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Entries => "entries",
            Self::Exits => "exits",
            Self::Referrers => "referrers",
            Self::Agents => "agents",
            Self::Errors => "errors",
            Self::Countries => "countries",
        }
    }
}

/// The rankings of a day, while it is counted.
#[derive(Debug)]
pub(crate) struct Charts {
    pub(crate) pages: Ranking<Page>,
    pub(crate) entries: Ranking<Hits>,
    pub(crate) exits: Ranking<Hits>,
    pub(crate) referrers: Ranking<Hits>,
    pub(crate) agents: Ranking<Hits>,
    pub(crate) errors: Ranking<Hits>,
    pub(crate) countries: Ranking<Hits>,
}

impl Charts {
    pub(crate) fn new(limit: usize, hash: &Hash) -> Self {
        let hits = || Ranking::new(limit, hash.clone());
        Self {
            pages: Ranking::new(limit, hash.clone()),
            entries: hits(),
            exits: hits(),
            referrers: hits(),
            agents: hits(),
            errors: hits(),
            countries: hits(),
        }
    }

    /// Those that hold anything, encoded.
    pub(crate) fn encode(self) -> impl Iterator<Item = (Chart, Vec<u8>)> {
        let Self { mut pages, entries, exits, referrers, agents, errors, countries } = self;
        let pages = (!pages.is_empty()).then(|| (Chart::Pages, pages.encode()));
        let rest = [
            (Chart::Entries, entries),
            (Chart::Exits, exits),
            (Chart::Referrers, referrers),
            (Chart::Agents, agents),
            (Chart::Errors, errors),
            (Chart::Countries, countries),
        ];
        let rest = rest.into_iter().filter(|(_, it)| !it.is_empty()).map(|(chart, mut it)| (chart, it.encode()));
        pages.into_iter().chain(rest)
    }
}
