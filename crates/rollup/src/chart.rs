//! The rankings of a day.

use crate::names::{Hash, Names};
use crate::ranking::{Hits, Measure, Page, Ranking};
use crate::session::UNNAMED;

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
    /// Countries that people viewed pages from.
    Countries,
}

/// Between the parts of a name. Only the last part of a name can hold it as well.
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

/// What is counted of a piece's pages or agents, by their number in the piece.
#[derive(Debug, Default)]
pub(crate) struct Counts<T> {
    /// One more than the place of a number, 0 if it has none.
    places: Vec<u32>,
    counts: Vec<(u32, T)>,
}

impl<T: Default> Counts<T> {
    #[inline]
    pub(crate) fn at(&mut self, id: u32) -> &mut T {
        let id_at = id as usize;
        if id_at >= self.places.len() {
            self.places.resize((id_at + 1).next_power_of_two(), 0);
        }
        let place = &mut self.places[id_at];
        if *place == 0 {
            self.counts.push((id, T::default()));
            *place = self.counts.len() as u32;
        }
        &mut self.counts[*place as usize - 1].1
    }

    fn ranked<M: Measure + From<T>>(self, names: &Names, limit: usize, hash: &Hash) -> Ranking<M> {
        let mut ranking = Ranking::new(limit.max(self.counts.len()), hash.clone());
        for (id, count) in self.counts {
            match id {
                UNNAMED => *ranking.other_mut() = count.into(),
                id => *ranking.at(names.name(id)) = count.into(),
            }
        }
        ranking.limit(limit);
        ranking
    }
}

/// Views of a page, while they are counted. Some durations wait beside the counts: the bins are seldom in the cache, and are
/// touched for all of them at once.
#[derive(Debug, Default)]
pub(crate) struct Views {
    page: Page,
    waiting: [u32; 12],
    count: u32,
}

impl Views {
    #[inline]
    pub(crate) fn add(&mut self, bytes: u64, micros: Option<u64>) {
        self.page.hits += 1;
        self.page.bytes = self.page.bytes.saturating_add(bytes);
        match micros.map(u32::try_from) {
            None => (),
            Some(Ok(micros)) => {
                self.waiting[self.count as usize] = micros;
                self.count += 1;
                if self.count as usize == self.waiting.len() {
                    self.settle();
                }
            }
            Some(Err(_)) => self.page.times.add(micros.unwrap_or_default()),
        }
    }

    fn settle(&mut self) {
        for &micros in &self.waiting[..self.count as usize] {
            self.page.times.add(micros.into());
        }
        self.count = 0;
    }
}

impl From<Views> for Page {
    fn from(mut views: Views) -> Self {
        views.settle();
        views.page
    }
}

/// The rankings of a day, while it is counted.
#[derive(Debug)]
pub(crate) struct Charts {
    pub(crate) pages: Counts<Views>,
    pub(crate) entries: Counts<Hits>,
    pub(crate) exits: Counts<Hits>,
    pub(crate) referrers: Ranking<Hits>,
    pub(crate) agents: Counts<Hits>,
    pub(crate) errors: Ranking<Hits>,
    pub(crate) countries: Ranking<Hits>,
}

impl Charts {
    pub(crate) fn new(limit: usize, hash: &Hash) -> Self {
        let hits = || Ranking::new(limit, hash.clone());
        Self {
            pages: Counts::default(),
            entries: Counts::default(),
            exits: Counts::default(),
            referrers: hits(),
            agents: Counts::default(),
            errors: hits(),
            countries: hits(),
        }
    }

    /// Those that hold anything, encoded. `names` and `agents` are those of the piece's pages and agents.
    pub(crate) fn encode(
        self,
        names: &Names,
        agents: &Names,
        limit: usize,
        hash: &Hash,
    ) -> impl Iterator<Item = (Chart, Vec<u8>)> {
        let mut pages: Ranking<Page> = self.pages.ranked(names, limit, hash);
        let pages = (!pages.is_empty()).then(|| (Chart::Pages, pages.encode()));
        let rest = [
            (Chart::Entries, self.entries.ranked(names, limit, hash)),
            (Chart::Exits, self.exits.ranked(names, limit, hash)),
            (Chart::Referrers, self.referrers),
            (Chart::Agents, self.agents.ranked(agents, limit, hash)),
            (Chart::Errors, self.errors),
            (Chart::Countries, self.countries),
        ];
        let rest = rest.into_iter().filter(|(_, it)| !it.is_empty()).map(|(chart, mut it)| (chart, it.encode()));
        pages.into_iter().chain(rest)
    }
}
