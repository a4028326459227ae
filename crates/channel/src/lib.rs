//! What is asked of chat robots, webhooks and mail servers to tell somebody something, and what their answers mean.
//!
//! There are no threads, files, sockets or clocks, so that the crate runs in WebAssembly and tests are exact. Times are
//! milliseconds since 1970 unless it says otherwise.

mod answer;
mod cut;
mod fill;
pub mod markdown;
mod message;
pub mod moment;
mod outcome;
pub mod part;
mod rate;
mod refused;
mod request;
mod retry;

pub use answer::Answer;
pub use fill::{Denied, FillError, Filled, Vault, fill, sign};
pub use message::{EVERYBODY, Message, Recipients, Severity, Template};
pub use outcome::{Fault, Outcome, Reason};
pub use rate::{Bucket, Limit, MARGIN, Rate};
pub use refused::Refused;
pub use request::{Method, Origin, Request};
pub use retry::Retry;
