//! Turns the bytes of access logs and event logs into entries.
//!
//! ```
//! use upkeep_accesslog::{Format, Parser};
//!
//! let mut parser = Parser::new(Format::new("combined")?);
//! let line = br#"203.0.113.9 - - [29/Nov/2026:22:55:24 +0000] "GET /shop?id=7 HTTP/1.1" 200 5120 "-" "curl/8.5.0""#;
//! let entry = parser.parse(line)?;
//! assert_eq!((entry.time, entry.status, entry.bytes), (1_795_992_924, 200, Some(5120)));
//! assert_eq!((entry.path(), entry.referrer), (Some(&b"/shop"[..]), None));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
pub mod agent;
mod entry;
mod escape;
mod event;
mod format;
mod json;
mod malformed;
mod number;
mod page;
mod referrer;
mod seek;
mod slot;
mod splitter;
mod template;
mod time;

pub use entry::Entry;
pub use escape::Escape;
pub use event::{EventEntry, EventFormat, EventKeys};
pub use format::{Format, FormatError, NAMES, Parser};
pub use json::access::JsonKeys;
pub use json::{MAX_DEPTH, Members, Value, members};
pub use malformed::{Malformed, Reason};
pub use page::{Pages, is_asset};
pub use referrer::{Referrer, Referrers};
pub use splitter::{Piece, Pieces, Splitter};
pub use time::{Clock, Moment, Unit};
