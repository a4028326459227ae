//! The harness of the end-to-end tests: a [`Site`] is a server of its own in a temporary folder, on which the real
//! `upkeep` program runs as a [`Daemon`] and is asked as operators and programs ask it: by the command line ([`Site::cli`])
//! and by the control API ([`Api`]). What was recorded is read from the [`Journal`].
//!
//! What it talks to is real too ([`Nginx`]), or a server that answers what the test says ([`Receiver`]).
//!
//! Nothing here links the library of upkeep: a test that only drives the program is quick to build. Whatever does not go
//! as a test needs it panics with what was found; when a test panics, the daemon's log is shown.

mod api;
mod daemon;
pub mod fake;
mod journal;
mod nginx;
mod receiver;
mod site;
mod wait;

pub use api::{Answer, Api};
pub use daemon::Daemon;
pub use journal::Journal;
pub use nginx::Nginx;
pub use receiver::{Received, Receiver, Reply};
pub use site::{Ran, Site, plugins, program};
pub use wait::{eventually, now, within};

/// Declares what each guest under `tests/guests` must come to: `every_guest!(name)` calls the macro `name` with the list
/// of all guests. See `build.rs`.
pub mod guests {
    include!(concat!(env!("OUT_DIR"), "/guests.rs"));
}
