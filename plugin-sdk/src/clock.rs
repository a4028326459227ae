//! What time it is, and waiting.
//!
//! ```
//! use std::time::Duration;
//! use upkeep_plugin::clock;
//! # let _host = upkeep_plugin::test::Host::new();
//!
//! let began = clock::now();
//! clock::sleep(Duration::from_millis(20));
//! assert!(clock::now() >= began + 20);
//! ```
//!
//! In a test nobody waits: its clock is that of the context, and goes on by what is slept.

use std::time::Duration;

use crate::host::clock as host;

/// Milliseconds since the Unix epoch. Somebody may set the clock back meanwhile.
pub fn now() -> i64 {
    host::now()
}

/// Waits. What is under way with the host goes on.
pub fn sleep(duration: Duration) {
    host::sleep(duration);
}
