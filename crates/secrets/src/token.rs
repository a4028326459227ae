//! Secrets that carry a prefix of their issuer: the form is known, and nothing around them is needed.

mod table;

use crate::class::Class;
use crate::rule::Id;
use crate::value;

pub(crate) use table::TOKENS;

/// The form of a secret.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) id: Id,
    /// What it begins with. The case counts.
    pub(crate) prefix: &'static str,
    /// The prefix is the place where it is used, and no part of it.
    pub(crate) is_place: bool,
    /// What the bytes after the prefix are of.
    pub(crate) body: Class,
    /// Their least and largest number.
    pub(crate) length: (usize, usize),
    /// What holds for the body beside.
    pub(crate) check: fn(&[u8]) -> bool,
}

impl Token {
    /// Where the secret is, of which the prefix begins at `at`: start and end.
    pub(crate) fn find(&self, data: &[u8], at: usize) -> Option<(usize, usize)> {
        let rest = data.get(at..)?.strip_prefix(self.prefix.as_bytes())?;
        let joined = at.checked_sub(1).is_some_and(|before| data[before].is_ascii_alphanumeric());
        let (least, most) = self.length;
        let run = self.body.run(rest, most);
        // What ends a sentence, or a string in a string, is no part of a key.
        let run = rest[..run].iter().rposition(|byte| !matches!(byte, b'.' | b'-')).map_or(0, |last| last + 1);
        if joined && !self.is_place || !(least..=most).contains(&run) {
            return None;
        }
        let body = &rest[..run];
        let start = if self.is_place { at + self.prefix.len() } else { at };
        let stale = value::is_stand_in(body) || value::is_sequence(body);
        (!stale && (self.check)(body)).then_some((start, at + self.prefix.len() + run))
    }
}
