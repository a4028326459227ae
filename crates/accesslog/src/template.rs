//! Lines of fields with fixed text between them, as formats of nginx and Apache describe them.
//!
//! A format is compiled to steps: a field, and the text that ends it. The steps are gone through once, from left to right, with
//! no way back: what ends a field is the first place where the text after it stands. So the time is linear in the line.

use crate::entry::Entry;
use crate::escape::Escape;
use crate::malformed::{Malformed, Reason};
use crate::seek::seek;
use crate::slot::{self, Slot};
use crate::time::{Clock, LOCAL};

/// Text of the format. Its first eight bytes can be compared at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Literal {
    bytes: Box<[u8]>,
    head: u64,
    mask: u64,
}

impl Literal {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut head = [0; 8];
        let mut mask = [0; 8];
        for (at, byte) in bytes.iter().take(8).enumerate() {
            (head[at], mask[at]) = (*byte, 0xff);
        }
        Self { bytes: bytes.into(), head: u64::from_le_bytes(head), mask: u64::from_le_bytes(mask) }
    }

    #[inline]
    fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it stands at a place of a line.
    #[inline]
    fn stands(&self, line: &[u8], at: usize) -> bool {
        let Some(rest) = line.get(at..) else { return false };
        match rest.first_chunk::<8>() {
            Some(chunk) => {
                u64::from_le_bytes(*chunk) & self.mask == self.head
                    && (self.bytes.len() <= 8 || rest.get(8..self.bytes.len()) == self.bytes.get(8..))
            }
            None => rest.starts_with(&self.bytes),
        }
    }
}

/// A field and what ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) slot: Slot,
    /// The text after the field; empty at the end of the line.
    pub(crate) until: Literal,
    /// The next field begins with this text.
    pub(crate) is_peek: bool,
    /// The field has a value for each upstream that was asked, with commas, colons and spaces between them.
    pub(crate) is_list: bool,
    /// The field is a whole request that ends at a space, without quotes.
    pub(crate) is_bare: bool,
}

/// A compiled format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) lead: Literal,
    pub(crate) steps: Box<[Step]>,
    pub(crate) escape: Escape,
}

impl Template {
    /// Reads a line, without its end.
    #[inline]
    pub(crate) fn parse<'a>(&self, line: &'a [u8], clock: &mut Clock) -> Result<Entry<'a>, Malformed> {
        let mut entry = Entry::empty(self.escape);
        if !self.lead.stands(line, 0) {
            return Err(Malformed::new(Reason::Literal, 0));
        }
        let mut at = self.lead.len();
        for step in &self.steps {
            let end = self.step(step, line, at, clock, &mut entry)?;
            at = if step.is_peek { end } else { end + step.until.len() };
        }
        if at != line.len() {
            return Err(Malformed::new(Reason::Rest, at));
        }
        Ok(entry)
    }

    /// Reads one field and tells where it ends.
    #[inline]
    fn step<'a>(
        &self,
        step: &Step,
        line: &'a [u8],
        at: usize,
        clock: &mut Clock,
        entry: &mut Entry<'a>,
    ) -> Result<usize, Malformed> {
        let ends = |at: usize| if step.until.len() == 0 { at == line.len() } else { step.until.stands(line, at) };
        match step.slot {
            // These tell by themselves where they end.
            Slot::LocalTime => {
                if let Some(field) = line.get(at..).and_then(|it| it.first_chunk::<LOCAL>())
                    && ends(at + LOCAL)
                {
                    entry.time = clock.local(field).ok_or(Malformed::new(Reason::Time, at))?;
                    return Ok(at + LOCAL);
                }
            }
            Slot::Status => {
                if let Some(field) = line.get(at..at + 3)
                    && ends(at + 3)
                {
                    entry.status = slot::status(field).ok_or(Malformed::new(Reason::Status, at))?;
                    return Ok(at + 3);
                }
            }
            Slot::Bytes => {
                let rest = line.get(at..).unwrap_or_default();
                let mut sum = 0;
                let mut length = 0;
                while let Some(it @ b'0'..=b'9') = rest.get(length)
                    && length < 19
                {
                    sum = sum * 10 + u64::from(it - b'0');
                    length += 1;
                }
                if length > 0 && ends(at + length) {
                    entry.bytes = Some(sum);
                    return Ok(at + length);
                }
            }
            Slot::IsoTime | Slot::EpochTime(_) | Slot::AnyTime(_) => (),
            _ => {
                if line.get(at) == Some(&b'-') && !step.is_list && ends(at + 1) {
                    return Ok(at + 1);
                }
            }
        }
        let end = self.end(step, line, at).ok_or(Malformed::new(Reason::Text, at))?;
        slot::set(entry, clock, step.slot, &line[at..end], at)?;
        Ok(end)
    }

    /// Where the field ends that begins at a place.
    #[inline]
    fn end(&self, step: &Step, line: &[u8], from: usize) -> Option<usize> {
        let Some(first) = step.until.bytes.first() else { return Some(line.len()) };
        let mut at = from;
        if step.is_bare {
            // The spaces of a request are those before its protocol.
            at += line.get(from..).and_then(|it| memchr::memmem::find(it, b" HTTP/")).map_or(0, |it| it + 1);
        }
        loop {
            let hit = at + seek(*first, line.get(at..)?)?;
            if step.until.stands(line, hit) && !self.is_inside(step, line, from, hit) {
                return Some(hit);
            }
            at = hit + 1;
        }
    }

    /// Whether the text that ends a field is part of it here.
    #[inline]
    fn is_inside(&self, step: &Step, line: &[u8], from: usize, hit: usize) -> bool {
        let field = &line[from..hit];
        if self.escape.has_quotes() && line[hit] == b'"' && field.last() == Some(&b'\\') {
            return field.iter().rev().take_while(|it| **it == b'\\').count() % 2 == 1;
        }
        step.is_list
            && line[hit] == b' '
            && (field.ends_with(b",") || field.ends_with(b" :") || line[hit..].starts_with(b" : "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_literal_stands_where_it_begins(text in "[ab]{0,12}", line in "[ab]{0,24}") {
            let literal = Literal::new(text.as_bytes());
            for at in 0..=line.len() {
                prop_assert_eq!(literal.stands(line.as_bytes(), at), line[at..].starts_with(&text));
            }
            prop_assert!(!literal.stands(line.as_bytes(), line.len() + 1));
        }
    }
}
