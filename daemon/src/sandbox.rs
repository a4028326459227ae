//! The sandbox that plugins run in.

pub mod limiter;
