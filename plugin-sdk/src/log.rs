//! The log of the run, and its progress. Every task has it; the host limits size and rate.
//!
//! The macros take a message as `format!` does, and before it any number of fields:
//!
//! ```
//! use upkeep_plugin::{info, log, warn};
//!
//! let (name, size) = ("avatar.png", 120_000);
//! info!("looking at {name}");
//! warn!(path = name, bytes = size, "too large");
//! log::progress(3, Some(10), "files");
//! ```

pub use crate::bindings::upkeep::plugin::log::Level;
use crate::host::log as host;

/// Writes one record; the macros are shorter.
pub fn write(level: Level, message: std::fmt::Arguments<'_>, fields: &[(String, String)]) {
    match message.as_str() {
        Some(text) => host::write(level, text, fields),
        None => host::write(level, &message.to_string(), fields),
    }
}

/// Says how much of this step is done: `done` of `total` where that is known, in the unit that `unit` names (`bytes`,
/// `files`). The host derives rate and time left.
pub fn progress(done: u64, total: Option<u64>, unit: &str) {
    host::progress(done, total, unit);
}

/// Writes one record of the given [`Level`]: `log!(Level::Info, key = value, "text {}", argument)`.
#[macro_export]
macro_rules! log {
    ($level:expr, $($key:ident = $value:expr,)* $format:literal $($arguments:tt)*) => {
        $crate::log::write(
            $level,
            ::std::format_args!($format $($arguments)*),
            &[$((::std::string::String::from(::std::stringify!($key)), ::std::string::ToString::to_string(&$value))),*],
        )
    };
}

/// Something failed. See [`log`](mod@crate::log).
#[macro_export]
macro_rules! error { ($($it:tt)*) => { $crate::log!($crate::log::Level::Error, $($it)*) }; }

/// Something is not as it should be. See [`log`](mod@crate::log).
#[macro_export]
macro_rules! warn { ($($it:tt)*) => { $crate::log!($crate::log::Level::Warn, $($it)*) }; }

/// Something that an operator wants to know. See [`log`](mod@crate::log).
#[macro_export]
macro_rules! info { ($($it:tt)*) => { $crate::log!($crate::log::Level::Info, $($it)*) }; }

/// Something for whoever looks for a fault. See [`log`](mod@crate::log).
#[macro_export]
macro_rules! debug { ($($it:tt)*) => { $crate::log!($crate::log::Level::Debug, $($it)*) }; }

/// Every detail. See [`log`](mod@crate::log).
#[macro_export]
macro_rules! trace { ($($it:tt)*) => { $crate::log!($crate::log::Level::Trace, $($it)*) }; }
