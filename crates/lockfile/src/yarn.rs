//! `yarn.lock`: [`classic`] of yarn 1, [`berry`] of yarn 2 and later. Each entry says which requests it answers, such as
//! `a@^1.0.0`, and what it requests itself.

mod berry;
mod classic;

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::draft::Draft;
use crate::wishes::Wishes;
use crate::{Limits, LockFile, LockFileError};

pub(crate) fn parse(text: &str, draft: Draft<'_>) -> Result<LockFile, LockFileError> {
    if text.starts_with("__metadata:") || text.contains("\n__metadata:") {
        berry::parse(text, draft)
    } else {
        classic::parse(text, draft)
    }
}

/// Which package answers which request.
struct Requests<'t> {
    answers: BTreeMap<Cow<'t, str>, u32>,
    open: Wishes,
}

impl<'t> Requests<'t> {
    fn new(limits: &Limits) -> Self {
        Self { answers: BTreeMap::new(), open: Wishes::new(limits.requests) }
    }

    fn answer(&mut self, request: Cow<'t, str>, package: u32) {
        self.answers.insert(request, package);
    }

    fn ask(&mut self, name: &str, range: &str, from: u32) -> Result<(), LockFileError> {
        self.open.ask(from, name, range, false)
    }

    /// Finds who answers whom, when all answers are known. Yarn 2 and 3 leave `npm:` away in requests.
    fn finish(self, mut draft: Draft<'_>) -> LockFile {
        self.open.each(|from, name, range, _| {
            let plain = self.answers.get(&*format!("{name}@{range}"));
            if let Some(to) = plain.or_else(|| self.answers.get(&*format!("{name}@npm:{range}"))) {
                draft.edge(from, *to, false);
            }
        });
        draft.finish()
    }
}

/// The name and the range of a request, where a name may begin with `@`.
fn split(request: &str) -> Option<(&str, &str)> {
    let at = request.get(1..)?.find('@')? + 1;
    Some((request.get(..at)?, request.get(at + 1..)?))
}
