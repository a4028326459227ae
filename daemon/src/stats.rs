//! The figures that a task keeps of logs (the plugin `stats-rollup`), asked for a span of time.
//!
//! ```text
//!   from, to, by ──► span: which days or hours ──┐
//!                                                ▼
//!   private/TASK.sqlite ──► read: sections ──► merge: a row for each span, one for all, rankings ──► Stats
//!   (or a server)                │             events: the same of events, funnels, who came back ────▲
//!                                └── tables of funnels and retention ──────────▲
//! ```
//!
//! The figures are the plugin's, and so is the database ([`place`]): it is only read, in one transaction, so that what is told is of one
//! moment and the plugin never waits. Rows and totals are merged from the sections that the plugin stores (`upkeep-rollup`), not
//! added up from rows: a visitor of three days is one visitor of the span.

pub mod events;
#[cfg(test)]
pub(crate) mod keeper;
mod merge;
mod place;
mod read;
pub mod span;

use std::path::Path;

use chrono::NaiveDateTime;
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::events::EventStats;
pub use self::place::Keeping;
use self::read::{Database, Figured};
use self::span::{Span, SpanError};

/// Names of a ranking that are given; of events all, where they alone are asked for.
pub const NAMES: usize = 20;

/// What one row is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// An hour of the local clock.
    Hour,
    /// A local day.
    #[default]
    Day,
    /// A week, which begins on Monday.
    Week,
    /// A month.
    Month,
}

impl Level {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

/// A ranking, or what else can be asked for alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Top {
    /// Pages that people viewed.
    Pages,
    /// Pages that sessions began with.
    Entries,
    /// Pages that sessions ended with.
    Exits,
    /// Where people came from.
    Referrers,
    /// Countries that people viewed pages from.
    Countries,
    /// Programs that asked.
    Agents,
    /// Answers with a status of 400 and above.
    Errors,
    /// Pages by the time that 95 of 100 answers did not exceed.
    Slow,
    /// Of a log of events: what happened, and how often.
    Events,
    /// Of a log of events: how far users got.
    Funnels,
    /// Of a log of events: who came back.
    Retention,
}

impl Top {
    /// The rankings of an access log.
    pub const OF_REQUESTS: [Self; 8] = [
        Self::Pages,
        Self::Entries,
        Self::Exits,
        Self::Referrers,
        Self::Countries,
        Self::Agents,
        Self::Errors,
        Self::Slow,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Entries => "entries",
            Self::Exits => "exits",
            Self::Referrers => "referrers",
            Self::Countries => "countries",
            Self::Agents => "agents",
            Self::Errors => "errors",
            Self::Slow => "slow",
            Self::Events => "events",
            Self::Funnels => "funnels",
            Self::Retention => "retention",
        }
    }
}

/// What is asked for. The default is the last 14 days.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Only of this source.
    pub source: Option<String>,
    /// From this day or time on.
    pub from: Option<String>,
    /// To the end of this day, or to this time.
    pub to: Option<String>,
    /// What one row is of.
    pub by: Option<Level>,
    /// Only this ranking, or only funnels or retention.
    pub top: Option<Top>,
}

/// Answer to `GET /v1/stats/{task}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// The task.
    pub task: String,
    /// The time zone of its hours and days.
    pub timezone: String,
    /// What one row is of.
    pub by: Level,
    /// The first day, or the time at which it begins.
    pub from: String,
    /// The last day, or the time at which it ends.
    pub to: String,
    /// A log each.
    pub sources: Vec<SourceStats>,
}

/// The figures of one log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceStats {
    /// Its name.
    pub source: String,
    /// The first span that there are figures of at all, whatever was asked for; none if there are none. Of events it is a day
    /// where hours are asked for.
    pub first: Option<String>,
    /// The last one.
    pub last: Option<String>,
    /// Lines that were counted since the beginning, late ones too.
    pub lines: u64,
    /// Lines that came too late for their hour, since the beginning.
    pub late: u64,
    /// Lines that were not in the format of the log and are in no figure, since the beginning.
    pub malformed: u64,
    /// The rows, oldest first.
    pub spans: Vec<SpanFigures>,
    /// All rows together.
    pub total: Figures,
    /// The first names of each ranking of all days together; none where hours are asked for, of which there are no rankings.
    pub rankings: Vec<RankingStats>,
    /// What a log of events says, of which there is no traffic; none of an access log.
    pub events: Option<EventStats>,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpanFigures {
    /// When it begins: `2026-11-23`, of hours `2026-11-23 14:00+08:00`.
    pub start: String,
    /// What happened.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What happened in a span. Times are microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// Requests of whatever kind.
    pub requests: u64,
    /// Pages that people viewed.
    pub pages: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Statuses from 100 to 199.
    pub s1xx: u64,
    /// From 200 to 299.
    pub s2xx: u64,
    /// From 300 to 399.
    pub s3xx: u64,
    /// From 400 to 499.
    pub s4xx: u64,
    /// From 500 to 599.
    pub s5xx: u64,
    /// People, about; none where the days are not kept any more from which they would be merged.
    pub visitors: Option<u64>,
    /// Those who had never been here before; known of days.
    pub new_visitors: Option<u64>,
    /// Those who had been here on a day before, about; known of days.
    pub returning_visitors: Option<u64>,
    /// Sessions that began.
    pub sessions: u64,
    /// Those of a single page.
    pub bounces: u64,
    /// How long sessions lasted, in seconds, all together.
    pub session_seconds: u64,
    /// Pages of sessions, all together.
    pub session_pages: u64,
    /// Answers whose time is known.
    pub timed: u64,
    /// Their times, all together.
    pub time_us: u64,
    /// What half of the answers did not exceed; none where no time is known.
    pub p50_us: Option<u64>,
    /// Nine of ten.
    pub p90_us: Option<u64>,
    /// Nineteen of twenty.
    pub p95_us: Option<u64>,
    /// Ninety-nine of a hundred.
    pub p99_us: Option<u64>,
    /// The longest.
    pub max_us: Option<u64>,
    /// Requests of bots.
    pub bots: u64,
    /// Requests of tools.
    pub tools: u64,
    /// Lines that came too late to be counted as anything else.
    pub late: u64,
}

/// A ranking of the whole span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RankingStats {
    /// Which.
    pub top: Top,
    /// The first names.
    pub names: Vec<Place>,
    /// Hits of all names, also of those that are not here.
    pub hits: u64,
}

/// A name of a ranking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// The name.
    pub name: String,
    /// How often.
    pub hits: u64,
    /// To how many users, about; of events.
    pub users: Option<u64>,
    /// Bytes sent; of pages.
    pub bytes: Option<u64>,
    /// How long all answers took, in microseconds; of pages whose time is known.
    pub time_us: Option<u64>,
    /// What 95 of 100 answers did not exceed, in microseconds; of pages whose time is known.
    pub p95_us: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// What was asked has no meaning.
    #[error(transparent)]
    Span(#[from] SpanError),
    /// The task keeps none.
    #[error("the task `{task}` keeps no figures; {}", those_that_do(.with))]
    None {
        /// The task.
        task: String,
        /// Those that do.
        with: Vec<String>,
    },
    /// None was named, and there is not just one.
    #[error("{}", match .0.is_empty() {
        true => "no task keeps figures; docs/stats.md tells how to set one up".to_owned(),
        false => format!("several tasks keep figures; name one: {}", .0.join(", ")),
    })]
    Which(
        /// Those that do.
        Vec<String>,
    ),
    /// The source is not there.
    #[error("the task `{task}` has no source `{source_name}`; it has {}", match .has.is_empty() {
        true => "none yet".to_owned(),
        false => .has.join(", "),
    })]
    NoSource {
        /// The task.
        task: String,
        /// What was asked for.
        source_name: String,
        /// What there is.
        has: Vec<String>,
    },
    /// The database cannot be read.
    #[error("the figures of `{task}` cannot be read: {why}; docs/stats.md tells what to do")]
    Unreadable {
        /// The task.
        task: String,
        /// Why.
        why: String,
    },
}

fn those_that_do(with: &[String]) -> String {
    match with {
        [] => "no task does: docs/stats.md tells how to set one up".to_owned(),
        some => format!("those that do: {}", some.join(", ")),
    }
}

/// Which of the tasks keep figures in a database of their own or a file. A server is asked only for a task that is named.
fn keeping(state_dir: &Path, tasks: &[Keeping]) -> Vec<String> {
    let keeps = |it: &&Keeping| match &it.place {
        None => false,
        Some(place) => match place.file(state_dir, &it.task) {
            Some(file) => Database::file(&file, &place.prefix).is_ok_and(|it| it.is_some()),
            None => true,
        },
    };
    tasks.iter().filter(keeps).map(|it| it.task.clone()).collect()
}

/// The figures of a task, or of the only one that keeps any. `tasks` are all there are, and `now` is the local time of a zone.
/// Reads files and asks servers: for a thread made for waiting, within a runtime if there are servers.
///
/// # Errors
///
/// When the question has no meaning, and when there are no figures that can be read.
pub fn answer(
    state_dir: &Path,
    tasks: &[Keeping],
    task: Option<&str>,
    question: &Question,
    now: impl Fn(Tz) -> NaiveDateTime,
) -> Result<Stats, StatsError> {
    let only = || match <[String; 1]>::try_from(keeping(state_dir, tasks)) {
        Ok([only]) => Ok(only),
        Err(with) => Err(StatsError::Which(with)),
    };
    let task = task.map_or_else(only, |it| Ok(it.to_owned()))?;
    let none = || StatsError::None { task: task.clone(), with: keeping(state_dir, tasks) };
    let Keeping { zone, place, .. } = tasks.iter().find(|it| it.task == task).ok_or_else(none)?;
    let place = place.as_ref().ok_or_else(none)?;
    let span = Span::new(question, *zone, now(*zone))?;
    let unreadable = |error: Figured| StatsError::Unreadable { task: task.clone(), why: error.to_string() };
    let database = Database::open(place, state_dir, &task).map_err(unreadable)?.ok_or_else(none)?;
    let mut known = database.sources().map_err(unreadable)?;
    if let Some(name) = &question.source {
        let has = known.iter().map(|it| it.name.clone()).collect();
        known.retain(|it| it.name == *name);
        if known.is_empty() {
            return Err(StatsError::NoSource { task, source_name: name.clone(), has });
        }
    }
    let sources = known.into_iter().map(|it| merge::source(&database, it, &span, question.top));
    let sources = sources.collect::<Result<_, _>>().map_err(unreadable)?;
    let (from, to) = (span.first(), span.last());
    Ok(Stats { task, timezone: zone.name().to_owned(), by: span.by, from, to, sources })
}

#[cfg(test)]
mod tests;
