//! What happened in an hour or a day. Days are merged from hours, and weeks, months and servers from days.

use crate::codec::{Damaged, Reader, VERSION, put_int, put_uint};
use crate::distinct::Distinct;
use crate::durations::Exact;

/// Sessions that began in a span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionTotals {
    /// How many.
    pub count: u64,
    /// Those of a single page.
    pub bounces: u64,
    /// From first to last request, all together.
    pub seconds: u64,
    /// Pages viewed, all together.
    pub pages: u64,
}

/// What happened in a span of time.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Requests of whatever kind.
    pub requests: u64,
    /// Pages that people viewed.
    pub pages: u64,
    /// What was sent.
    pub bytes: u64,
    /// Requests of bots.
    pub bots: u64,
    /// Requests of tools.
    pub tools: u64,
    /// Lines that came too late to be counted as anything else.
    pub late: u64,
    /// Requests by status, in the order in which they came.
    statuses: Vec<(u16, u64)>,
    /// How long answers took.
    pub times: Exact,
    /// People.
    pub visitors: Distinct,
    /// People who had been here on a day before. Of days only; of several days, those who had on one of them.
    pub returning: Distinct,
    /// People who had never been here before. Of days only; below zero in what only corrects another one.
    pub new: i64,
    /// Sessions that began here.
    pub sessions: SessionTotals,
}

/// A span in plain figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests of whatever kind.
    pub requests: u64,
    /// Pages that people viewed.
    pub pages: u64,
    /// What was sent.
    pub bytes: u64,
    /// Requests with a status of 100 to 199.
    pub s1xx: u64,
    /// Requests with a status of 200 to 299.
    pub s2xx: u64,
    /// Requests with a status of 300 to 399.
    pub s3xx: u64,
    /// Requests with a status of 400 to 499.
    pub s4xx: u64,
    /// Requests with a status of 500 to 599.
    pub s5xx: u64,
    /// Answers whose time is known.
    pub timed: u64,
    /// Their times in microseconds, all together.
    pub time_sum: u64,
    /// What half of the answers did not exceed, in microseconds. 0 if no time is known, as for the next ones.
    pub p50: u64,
    /// Nine of ten.
    pub p90: u64,
    /// Nineteen of twenty.
    pub p95: u64,
    /// Ninety-nine of a hundred.
    pub p99: u64,
    /// The longest.
    pub max: u64,
    /// People, about.
    pub visitors: u64,
    /// People who had never been here before.
    pub new: u64,
    /// People who had been here on a day before, about.
    pub returning: u64,
    /// Sessions that began here.
    pub sessions: u64,
    /// Sessions of a single page.
    pub bounces: u64,
    /// How long the sessions lasted, all together.
    pub session_seconds: u64,
    /// Pages of the sessions, all together.
    pub session_pages: u64,
    /// Requests of bots.
    pub bots: u64,
    /// Requests of tools.
    pub tools: u64,
    /// Lines that came too late to be counted as anything else.
    pub late: u64,
}

impl Traffic {
    /// Requests by status, the lowest first.
    pub fn statuses(&self) -> Vec<(u16, u64)> {
        let mut statuses = self.statuses.clone();
        statuses.sort_unstable();
        statuses
    }

    #[inline]
    pub(crate) fn status(&mut self, status: u16, count: u64) {
        match self.statuses.iter_mut().find(|it| it.0 == status) {
            Some(it) => it.1 = it.1.saturating_add(count),
            None => self.statuses.push((status, count)),
        }
    }

    fn counts(&self) -> [u64; 10] {
        let Self { requests, pages, bytes, bots, tools, late, sessions, .. } = *self;
        let SessionTotals { count, bounces, seconds, pages: session_pages } = sessions;
        [requests, pages, bytes, bots, tools, late, count, bounces, seconds, session_pages]
    }

    fn counts_mut(&mut self) -> [&mut u64; 10] {
        let Self { requests, pages, bytes, bots, tools, late, sessions, .. } = self;
        let SessionTotals { count, bounces, seconds, pages: session_pages } = sessions;
        [requests, pages, bytes, bots, tools, late, count, bounces, seconds, session_pages]
    }

    /// Takes in that of another span, or of another server.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts_mut().into_iter().zip(other.counts()) {
            *mine = mine.saturating_add(theirs);
        }
        self.new = self.new.saturating_add(other.new);
        for &(status, count) in &other.statuses {
            self.status(status, count);
        }
        self.times.merge(&other.times);
        self.visitors.merge(&other.visitors);
        self.returning.merge(&other.returning);
    }

    /// In plain figures.
    pub fn figures(&self) -> Figures {
        let class = |class: u16| self.statuses.iter().filter(|it| it.0 / 100 == class).map(|it| it.1).sum();
        let quantile = |share| self.times.quantile(share).unwrap_or_default();
        Figures {
            requests: self.requests,
            pages: self.pages,
            bytes: self.bytes,
            s1xx: class(1),
            s2xx: class(2),
            s3xx: class(3),
            s4xx: class(4),
            s5xx: class(5),
            timed: self.times.count(),
            time_sum: self.times.sum(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p95: quantile(0.95),
            p99: quantile(0.99),
            max: self.times.max(),
            visitors: self.visitors.estimate(),
            new: u64::try_from(self.new).unwrap_or(0),
            returning: self.returning.estimate(),
            sessions: self.sessions.count,
            bounces: self.sessions.bounces,
            session_seconds: self.sessions.seconds,
            session_pages: self.sessions.pages,
            bots: self.bots,
            tools: self.tools,
            late: self.late,
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with(Distinct::put)
    }

    /// As bytes that are longer, but quicker to write and to read.
    pub(crate) fn encode_plain(&self) -> Vec<u8> {
        self.encode_with(Distinct::put_plain)
    }

    fn encode_with(&self, put: impl Fn(&Distinct, &mut Vec<u8>)) -> Vec<u8> {
        let mut out = vec![VERSION];
        for value in self.counts() {
            put_uint(&mut out, value);
        }
        put_int(&mut out, self.new);
        let statuses = self.statuses();
        put_uint(&mut out, statuses.len() as u64);
        for (status, count) in statuses {
            put_uint(&mut out, status.into());
            put_uint(&mut out, count);
        }
        self.times.put(&mut out);
        put(&self.visitors, &mut out);
        put(&self.returning, &mut out);
        out
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes)?;
        let mut this = Self::default();
        for count in this.counts_mut() {
            *count = reader.uint()?;
        }
        this.new = reader.int()?;
        for _ in 0..reader.count(2)? {
            let (status, count) = (reader.narrow()?, reader.uint()?);
            this.statuses.push((status, count));
        }
        this.times = Exact::get(&mut reader)?;
        this.visitors = Distinct::get(&mut reader)?;
        this.returning = Distinct::get(&mut reader)?;
        reader.end()?;
        Ok(this)
    }
}
