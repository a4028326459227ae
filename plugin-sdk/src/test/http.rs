//! `http` of the test host: a function of the test's answers.

use super::with;
use crate::host::{HostError, HostResult};
use crate::http::{Request, Response};

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
