//! The body of an answer as it comes, of which the beginning may have been looked at already.

use std::collections::VecDeque;
use std::error::Error as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

/// See the module.
#[derive(Default)]
pub(super) struct Source {
    /// What came already, in its order.
    ahead: VecDeque<Result<Frame<Bytes>, String>>,
    /// What comes after that; none when that was all.
    rest: Option<reqwest::Body>,
}

impl Source {
    /// A body that comes.
    pub(super) fn new(body: reqwest::Body) -> Self {
        Self { ahead: VecDeque::new(), rest: Some(body) }
    }

    /// A body that is there.
    pub(super) fn of(body: Bytes) -> Self {
        Self { ahead: [Ok(Frame::data(body))].into(), rest: None }
    }

    /// The whole body, when it is no longer than this and there in time. It is still to be read afterwards, as is what came of
    /// one that is longer.
    pub(super) async fn small(&mut self, most: usize, patience: Duration) -> Option<Bytes> {
        let deadline = Instant::now() + patience;
        loop {
            let length: usize = self.ahead.iter().flatten().filter_map(Frame::data_ref).map(Bytes::len).sum();
            if length > most || self.ahead.iter().any(Result::is_err) {
                return None;
            }
            let Some(rest) = &mut self.rest else { break };
            match timeout_at(deadline, rest.frame()).await.ok()? {
                Some(frame) => self.ahead.push_back(frame.map_err(|error| cause(&error))),
                None => self.rest = None,
            }
        }
        let mut whole = BytesMut::new();
        self.ahead.iter().flatten().filter_map(Frame::data_ref).for_each(|data| whole.extend_from_slice(data));
        Some(whole.freeze())
    }
}

/// What is behind an error of the client.
fn cause(error: &reqwest::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

impl Body for Source {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        if let Some(frame) = self.ahead.pop_front() {
            return Poll::Ready(Some(frame));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(rest).poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map_err(|error| cause(&error))))
    }

    fn size_hint(&self) -> SizeHint {
        let ahead: usize = self.ahead.iter().flatten().filter_map(Frame::data_ref).map(Bytes::len).sum();
        match &self.rest {
            None => SizeHint::with_exact(ahead as u64),
            Some(rest) if ahead == 0 => rest.size_hint(),
            Some(_) => SizeHint::default(),
        }
    }
}
