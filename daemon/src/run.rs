//! Runs: what one is, and how it is carried from the queue to its outcome.

pub mod cancel;
pub mod execute;
mod planned;
