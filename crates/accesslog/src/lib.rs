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
//!
//! Bytes of a file go through a [`Splitter`], which gives lines and says up to where a file is done with. A [`Format`] is compiled
//! once from a name, from a format of nginx or Apache, or from keys of JSON; a [`Parser`] reads lines with it, and knows the minute
//! of the last one. An [`Entry`] borrows all its texts from the line, with the escapes that they have there: so nothing is
//! allocated for a line, and a caller that keeps what it made of a text (a [page](Pages), a [referrer](Referrers), a
//! [user agent](agent)) finds it by the bytes of the line. What does not fit is [`Malformed`], with the reason and the place.
//! [`EventFormat`] does the same for events of applications.
//!
//! Flow within: `format` makes steps, `template` goes through them; `json` looks for keys; both put fields into the entry by
//! their `slot`. There are no regular expressions: a plugin would compile them anew for each step, and a field ends where the
//! text behind it stands. There are no threads, files or clocks, so that the crate runs in WebAssembly; there it should
//! be compiled with `simd128`, which memchr uses to find the ends of lines and fields.

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
