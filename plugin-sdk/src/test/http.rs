//! `http` of the test host: a function of the test's answers.

use std::time::Duration;

use super::{clock, with};
use crate::host::{HostError, HostResult};
use crate::http::{Answer, Request, Response};

/// What answers requests.
pub(super) type Answerer = Box<dyn FnMut(&Request) -> HostResult<Response>>;

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn read(&mut self, most: usize) -> HostResult<Vec<u8>> {
        let rest = self.0.split_off(self.0.len().min(most));
        Ok(std::mem::replace(&mut self.0, rest))
    }
}

pub(crate) fn send(request: Request) -> HostResult<Response> {
    let Some(mut answerer) = with(|world| world.http.take()) else {
        let message = format!("the test host lets nothing out, not `{}`: `Host::new().http(...)` answers", request.url);
        return Err(HostError::Denied(message));
    };
    let answer = answerer(&request);
    with(|world| world.http = Some(answerer));
    answer
}

/// A request, which is answered at once.
#[derive(Debug)]
pub(crate) struct Flight(Option<HostResult<Answer>>);

impl Flight {
    pub(crate) fn start(request: Request, most: usize) -> Self {
        Self(Some(send(request).map(|response| response.whole(most))))
    }

    pub(crate) fn advance(&mut self) -> Option<HostResult<Answer>> {
        self.0.take()
    }
}

/// With nothing under way, it is a sleep. Gives places in order, each once.
pub(crate) fn wait(flights: &[&Flight], patience: Duration) -> Vec<usize> {
    if flights.is_empty() {
        clock::sleep(patience);
    }
    (0..flights.len()).collect()
}
