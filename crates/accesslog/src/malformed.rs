//! Why a line is no entry.

/// Why a line is no entry, and where it stops to be one. Small, so that lines like this cost no more than others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {at}")]
pub struct Malformed {
    /// What is missing or wrong.
    pub reason: Reason,
    /// At which byte of the line, counted from 0.
    pub at: usize,
}

impl Malformed {
    #[cold]
    pub(crate) fn new(reason: Reason, at: usize) -> Self {
        Self { reason, at }
    }
}

/// What is missing or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// No time, or none in the calendar.
    #[error("no valid time")]
    Time,
    /// No status of three digits.
    #[error("no valid status")]
    Status,
    /// The size is no number.
    #[error("no valid number of bytes")]
    Bytes,
    /// The response time is no number.
    #[error("no valid response time")]
    Duration,
    /// No name of an event.
    #[error("no event")]
    Event,
    /// A field does not end as the format says.
    #[error("a field without its end")]
    Text,
    /// What stands between two fields, or before the first, is not what the format says.
    #[error("not the text of the format")]
    Literal,
    /// The line goes on where the format ends.
    #[error("more than the format has")]
    Rest,
    /// It is no JSON object, or not a whole one.
    #[error("no valid JSON object")]
    Json,
    /// JSON is nested too deep.
    #[error("JSON nested too deep")]
    Depth,
}
