//! Sessions: requests of one visitor that follow each other within a gap, 30 minutes by default.
//!
//! A session is an interval, and a request is one without length. Two of the same visitor that come within the gap of each
//! other are one; this can be done in any order and gives what it gives for requests sorted by time. So a piece only collects,
//! and joins at its end.
//!
//! A session that begins and ends further from the borders of its piece than the gap (and some slack, since lines are a little
//! out of order) cannot be extended by the pieces before and after it, and is counted at once. The others are [`OpenSessions`]
//! until a watermark has passed them. So of files that one source writes side by side, sessions that go back and forth
//! between them are joined at the borders of pieces only.
//!
//! Entry is the first page and exit the last; of several in the same second, the first and the last by name.

use crate::codec::{Damaged, Reader, VERSION, put_bytes, put_uint};
use crate::names::{Hash, Names};
use crate::piece::Piece;
use crate::visitor::{Partition, partition};

/// Names of pages in a piece, those that come first; all others are [`UNNAMED`].
pub(crate) const NAMES: usize = 1 << 16;
/// Of a page without a name, whose name is empty and comes first.
pub(crate) const UNNAMED: u32 = 0;

/// An interval in which requests of a visitor follow each other. Times are in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) visitor: u64,
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// Pages viewed. If there are none, the next four mean nothing and are 0.
    pub(crate) pages: u32,
    /// When the first page was viewed.
    pub(crate) entered: u32,
    /// When the last page was viewed.
    pub(crate) left: u32,
    pub(crate) entry: u32,
    pub(crate) exit: u32,
}

impl Session {
    /// A single request.
    fn request(visitor: u64, time: u32, page: Option<u32>) -> Self {
        let (pages, at, page) = page.map_or((0, 0, 0), |page| (1, time, page));
        Self { visitor, first: time, last: time, pages, entered: at, left: at, entry: page, exit: page }
    }

    /// Takes in another one of the same visitor.
    #[inline]
    pub(crate) fn join(&mut self, other: &Self, names: &Names) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        if other.pages == 0 {
            return;
        }
        let before = |a: u32, b: u32| a != b && names.name(a) < names.name(b);
        if self.pages == 0
            || other.entered < self.entered
            || other.entered == self.entered && before(other.entry, self.entry)
        {
            (self.entered, self.entry) = (other.entered, other.entry);
        }
        if self.pages == 0 || other.left > self.left || other.left == self.left && before(self.exit, other.exit) {
            (self.left, self.exit) = (other.left, other.exit);
        }
        self.pages = self.pages.saturating_add(other.pages);
    }

    /// Whether another one of the same visitor belongs to it.
    #[inline]
    pub(crate) fn reaches(&self, other: &Self, gap: u32) -> bool {
        self.visitor == other.visitor
            && other.first <= self.last.saturating_add(gap)
            && self.first <= other.last.saturating_add(gap)
    }
}

/// A request of a visitor, and the page if it is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) visitor: u64,
    pub(crate) time: u32,
    page: u32,
}

impl Request {
    /// Of what is no page.
    const NONE: u32 = u32::MAX;

    pub(crate) fn new(visitor: u64, time: u32, page: Option<u32>) -> Self {
        Self { visitor, time, page: page.unwrap_or(Self::NONE) }
    }

    fn session(&self) -> Session {
        Session::request(self.visitor, self.time, Some(self.page).filter(|it| *it != Self::NONE))
    }
}

/// The sessions of requests, sorted by visitor and time.
pub(crate) fn sessions(mut requests: Vec<Request>, gap: u32, names: &Names) -> Vec<Session> {
    requests.sort_unstable_by_key(|it| it.visitor);
    let mut sessions: Vec<Session> = Vec::new();
    for requests in requests.chunk_by_mut(|a, b| a.visitor == b.visitor) {
        if requests.len() > 1 {
            requests.sort_unstable_by_key(|it| it.time);
        }
        for request in requests {
            let request = request.session();
            match sessions.last_mut() {
                Some(it) if it.reaches(&request, gap) => it.join(&request, names),
                _ => sessions.push(request),
            }
        }
    }
    sessions
}

/// Joins what belongs together of sessions that are sorted by visitor.
fn join_sorted(sessions: &mut Vec<Session>, gap: u32, names: &Names) {
    for visitor in sessions.chunk_by_mut(|a, b| a.visitor == b.visitor) {
        if visitor.len() > 1 {
            visitor.sort_unstable_by_key(|it| it.first);
        }
    }
    sessions.dedup_by(|next, session| {
        let joined = session.reaches(next, gap);
        if joined {
            session.join(next, names);
        }
        joined
    });
}

/// Sessions of a partition of visitors that more requests may belong to.
#[derive(Debug, Clone)]
pub struct OpenSessions {
    gap: u32,
    names: Names,
    hash: Hash,
    sessions: Vec<Session>,
}

impl OpenSessions {
    /// None.
    pub fn new() -> Self {
        Self { gap: 0, names: Names::default(), hash: Hash::new(0), sessions: Vec::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Takes in those of other pieces and joins what belongs together. If the gaps differ, the longest one holds. All pieces at
    /// once take less time than one after the other.
    pub fn merge(&mut self, others: &[Self]) {
        for other in others {
            self.gap = self.gap.max(other.gap);
            let ids: Vec<u32> = (0..other.names.len() as u32)
                .map(|id| {
                    let name = other.names.name(id);
                    self.names.find_or_insert(self.hash.of(name), name)
                })
                .collect();
            let id = |session: &Session, id: u32| if session.pages == 0 { 0 } else { ids[id as usize] };
            let theirs =
                other.sessions.iter().map(|it| Session { entry: id(it, it.entry), exit: id(it, it.exit), ..*it });
            self.sessions.extend(theirs);
        }
        // Sorted runs: what this sort sees, and only merges.
        self.sessions.sort_by_key(|it| it.visitor);
        join_sorted(&mut self.sessions, self.gap, &self.names);
    }

    /// Counts in `piece`, and forgets, those that no request from `watermark` (Unix seconds) on belongs to. Returns how many
    /// there were. A request that comes from before the watermark after all begins a new session.
    pub fn close(&mut self, watermark: i64, piece: &mut Piece) -> usize {
        let before = self.sessions.len();
        let (gap, names) = (i64::from(self.gap), &self.names);
        let mut ids = vec![None; names.len()];
        let mut id = |id: u32, piece: &mut Piece| *ids[id as usize].get_or_insert_with(|| piece.page(names.name(id)).0);
        self.sessions.retain(|session| {
            let open = i64::from(session.last) + gap >= watermark;
            if !open && session.pages > 0 {
                let (entry, exit) = (id(session.entry, piece), id(session.exit, piece));
                piece.count_session(&Session { entry, exit, ..*session });
            }
            open
        });
        before - self.sessions.len()
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        Self::encode_all(self.gap, &self.names, &self.sessions)
    }

    /// Sessions of one partition that have been joined.
    pub(crate) fn encode_all(gap: u32, names: &Names, sessions: &[Session]) -> Vec<u8> {
        let mut used: Vec<u32> = sessions.iter().filter(|it| it.pages > 0).flat_map(|it| [it.entry, it.exit]).collect();
        used.sort_unstable();
        used.dedup();
        used.sort_unstable_by_key(|&id| names.name(id));
        let mut place = vec![0; names.len()];
        let mut out = vec![VERSION];
        put_uint(&mut out, gap.into());
        put_uint(&mut out, used.len() as u64);
        for (at, id) in used.into_iter().enumerate() {
            put_bytes(&mut out, names.name(id).as_bytes());
            place[id as usize] = at as u64;
        }
        put_uint(&mut out, sessions.len() as u64);
        let base = sessions.iter().map(|it| it.first).min().unwrap_or(0);
        put_uint(&mut out, base.into());
        let mut before = 0;
        for it in sessions {
            put_uint(&mut out, it.visitor - before);
            before = it.visitor;
            for value in [it.first - base, it.last - it.first, it.pages] {
                put_uint(&mut out, value.into());
            }
            if it.pages > 0 {
                for value in [it.entered - it.first, it.left - it.entered] {
                    put_uint(&mut out, value.into());
                }
                put_uint(&mut out, place[it.entry as usize]);
                put_uint(&mut out, place[it.exit as usize]);
            }
        }
        out
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes)?;
        let mut this = Self { gap: reader.narrow()?, ..Self::new() };
        for _ in 0..reader.count(1)? {
            let name = reader.text()?;
            let hash = this.hash.of(name);
            if this.names.find(hash, name).is_some() {
                return Err(Damaged::Invalid("a name comes twice"));
            }
            this.names.insert(hash, name);
        }
        let count = reader.count(4)?;
        let base: u32 = reader.narrow()?;
        let mut visitor = 0u64;
        let mut section: Option<Partition> = None;
        let late = |a: u32, b: u32| a.checked_add(b).ok_or(Damaged::Invalid("a time is out of range"));
        for _ in 0..count {
            visitor = visitor.checked_add(reader.uint()?).ok_or(Damaged::Invalid("a visitor is out of range"))?;
            if *section.get_or_insert(partition(visitor)) != partition(visitor) {
                return Err(Damaged::Invalid("visitors of several partitions"));
            }
            let first = late(base, reader.narrow()?)?;
            let last = late(first, reader.narrow()?)?;
            let mut it = Session { last, pages: reader.narrow()?, ..Session::request(visitor, first, None) };
            if it.pages > 0 {
                it.entered = late(first, reader.narrow()?)?;
                it.left = late(it.entered, reader.narrow()?)?;
                it.entry = reader.narrow()?;
                it.exit = reader.narrow()?;
                if it.left > it.last || it.entry.max(it.exit) as usize >= this.names.len() {
                    return Err(Damaged::Invalid("a session has a page that it cannot have"));
                }
            }
            this.sessions.push(it);
        }
        reader.end()?;
        Ok(this)
    }
}

impl Default for OpenSessions {
    fn default() -> Self {
        Self::new()
    }
}
