//! When people are told what upkeep itself reports, and when they are left alone.
//!
//! ```text
//!   a run ended, a slot passed, findings, holds, dead messages, reload
//!        │ Signal: this key is wrong, right, or gone
//!        ▼
//!   policy: alerts as they were + signals + now ──► alerts as they are, messages, when to look again
//!        │                                                    │
//!        ▼                                                    ▼
//!   one transaction: alerts and messages           upkeep.toml: channels, quiet hours, ...
//! ```
//!
//! The policy ([`policy::step`]) is pure: it takes the time, and gives all that changes. What it gives is one transaction of the
//! journal, so that a crash neither loses an alert nor tells it twice. An alert is a state and not an event: it is open as long as
//! something is wrong, whether or not anybody was told yet. That is why nothing has to be remembered of the hours in which nobody
//! is told (quiet hours, maintenance): what is still open afterwards is told then, and what is over has resolved itself.
//!
//! The messages go through the [outbox](crate::store) like all others; how they are delivered, and what happens when a channel does
//! not take them, is not decided here. Messages of upkeep itself that are dead never become alerts: that could go on for ever.
//!
//! | module      | holds                                                      |
//! |-------------|------------------------------------------------------------|
//! | [`policy`]  | who is told what, and when                                 |
//! | [`quiet`]   | hours in which alerts wait                                 |
//! | [`overdue`] | when tasks should have succeeded                           |
//! | [`signal`]  | what goes wrong, in words                                  |
//! | [`digest`]  | what happened in a day, in one message                     |
//! | [`message`] | how messages read                                          |

pub mod digest;
pub mod message;
pub mod overdue;
pub mod policy;
pub mod quiet;
pub mod signal;

#[cfg(test)]
mod tests;

/// Whom messages of upkeep itself come from.
pub const ORIGIN: &str = "upkeep";
