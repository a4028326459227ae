//! What a log says of a site: traffic by hour and day, rankings, sessions, and who is new, as values that can be merged.
//!
//! ```
//! use upkeep_rollup::{Agent, Day, Hit, Key, Kind, Options, Piece, Section};
//!
//! let mut piece = Piece::new(Options { zone: "Europe/Berlin".to_owned(), ..Options::default() })?;
//! piece.add(&Hit {
//!     time: 1_764_400_812,
//!     kind: Kind::Person,
//!     visitor: Some(0x5ead_beef_0000_0001),
//!     page: Some("/"),
//!     path: "/",
//!     status: 200,
//!     bytes: 5120,
//!     micros: Some(1830),
//!     referrer: None,
//!     agent: Agent { family: "Firefox", version: "145", platform: "Linux", device: "desktop" },
//!     country: None,
//! });
//! let sections = piece.into_sections();
//! let keys: Vec<_> = sections.iter().map(|it| it.key.to_string()).collect();
//! assert_eq!(keys, ["hour/1764399600", "day/20421", "chart/20421/pages", "chart/20421/agents", "sessions/23", "seen/20393/23"]);
//! let figures = sections[1].figures()?.ok_or("a day has figures")?;
//! assert_eq!((figures.requests, figures.visitors, figures.max), (1, 1, 1830));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A log is cut into pieces, which are read side by side. Each [`Piece`] counts lines and gives [`Section`]s: bytes under a
//! [`Key`]. [`ledger::merge`] takes the sections of all pieces into what is stored:
//!
//! ```text
//!   lines ──► Piece ──► hour/…  day/…  chart/… ──────────────────────────► merged with what is stored
//!                       seen/…     ──► visitors/… take it in ──► new and returning of days ──┐
//!                       sessions/… ──► joined; those that are over ──► sessions of hours ────┴──► merged as well
//! ```
//!
//! Merging is commutative and associative: how lines were cut, in which order pieces come and in how many runs changes no
//! figure. What that takes, and what it does not hold for:
//!
//! | what | how | how exact |
//! |---|---|---|
//! | requests, pages, bytes, statuses, bots ([`Traffic`]) | counts | exact |
//! | response times ([`durations`]) | count, sum, maximum; a DDSketch of integers | quantiles are off by at most 0.4 % |
//! | visitors, returning visitors ([`distinct`]) | HyperLogLog, 2^17 registers | standard error 0.29 %; small numbers almost exact |
//! | new visitors ([`visitor`]) | the first day of each visitor | exact, within a period of the key |
//! | sessions ([`session`]) | intervals that are joined | exact for lines that come before the watermark |
//! | rankings ([`ranking`]) | the most frequent names | totals exact; names exact up to the limit of names |
//!
//! Logs of an application's own events give an [`EventPiece`] in the same way: how often and to how many users each event
//! happened by day, how far users get in funnels ([`funnel`]), and who comes back ([`retention`]). [`ledger::merge_events`]
//! merges those.
//!
//! A piece numbers the first 65,536 pages it meets and counts the rest as "other"; otherwise it takes memory for what it
//! holds: 16 bytes for each request of a visitor, a few hundred for a page and a day. Days and hours are told apart by the
//! [`calendar`] of a time zone; weeks and months are merged days ([`Day::week`], [`Day::month`]).
//!
//! There are no threads, files, clocks or random numbers, so that the crate runs in WebAssembly.

pub mod calendar;
pub mod chart;
mod codec;
pub mod distinct;
pub mod durations;
pub mod event;
pub mod funnel;
pub mod ledger;
mod names;
pub mod piece;
pub mod ranking;
pub mod retention;
pub mod section;
pub mod session;
pub mod traffic;
pub mod visitor;

pub use calendar::{Calendar, Day, Hour, UnknownZone};
pub use chart::{Chart, SEPARATOR};
pub use codec::Damaged;
pub use event::{Event, EventPiece};
pub use funnel::{Attempts, Funnel, FunnelError, Steps};
pub use names::is_same;
pub use piece::{Agent, AgentNumber, Hit, Kind, Numbered, Options, PageNumber, Piece};
pub use ranking::{Hits, Measure, Page, Ranking, Usage};
pub use retention::{Cohort, Users};
pub use section::{Key, Section, UnknownKey};
pub use session::OpenSessions;
pub use traffic::{Figures, SessionTotals, Traffic};
pub use visitor::{PARTITIONS, Partition, Rotation, Seen, Visitors, partition};
