//! A scanner for JSON that borrows all it finds.
//!
//! It reads what it is asked for and skips the rest, and checks what it skips only as far as needed to find its end: brackets
//! and quotes must match. Names and texts come as they stand, with their escapes.

pub(crate) mod access;
pub(crate) mod tree;

use crate::malformed::{Malformed, Reason};
use crate::seek::seek2;

/// How deep values may be nested.
pub const MAX_DEPTH: u32 = 64;

/// A value, as it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// What stands between the quotes.
    Text(&'a [u8]),
    /// The digits and all.
    Number(&'a [u8]),
    /// An object, from brace to brace.
    Object(&'a [u8]),
    /// An array, from bracket to bracket.
    Array(&'a [u8]),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

impl<'a> Value<'a> {
    /// What a text or a number says; none for all else.
    pub fn scalar(self) -> Option<&'a [u8]> {
        match self {
            Self::Text(it) | Self::Number(it) => Some(it),
            _ => None,
        }
    }
}

/// The members of an object, by name and value. After an error there are no more.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    scanner: Scanner<'a>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    Inside,
    Over,
}

/// The members of an object that is all of a text.
pub fn members(object: &[u8]) -> Members<'_> {
    Members { scanner: Scanner { bytes: object, at: 0 }, state: State::Begin }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<(&'a [u8], Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let scanner = &mut self.scanner;
        let name = match self.state {
            State::Over => return None,
            State::Begin => scanner.first_name(),
            State::Inside => scanner.next_name(),
        };
        self.state = State::Inside;
        let member = name.and_then(|name| match name {
            Some(name) => scanner.value().map(|it| Some((name, it))),
            None => scanner.finish().map(|()| None),
        });
        if !matches!(member, Ok(Some(_))) {
            self.state = State::Over;
        }
        member.transpose()
    }
}

/// Goes through a text.
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn error<T>(&self, reason: Reason) -> Result<T, Malformed> {
        Err(Malformed::new(reason, self.at))
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that is no space; stays before it.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        self.space();
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            self.error(Reason::Json)
        }
    }

    /// Goes into an object; the name of its first member, none for an empty one. The value comes next.
    #[inline]
    pub(crate) fn first_name(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        self.take(b'{')?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(None);
        }
        self.name().map(Some)
    }

    /// The name of the next member; none at the end of the object.
    #[inline]
    pub(crate) fn next_name(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.name().map(Some)
            }
            Some(b'}') => {
                self.at += 1;
                Ok(None)
            }
            _ => self.error(Reason::Json),
        }
    }

    #[inline]
    fn name(&mut self) -> Result<&'a [u8], Malformed> {
        self.space();
        let name = self.text()?;
        self.take(b':')?;
        Ok(name)
    }

    /// Nothing but spaces comes any more.
    pub(crate) fn finish(&mut self) -> Result<(), Malformed> {
        if self.peek().is_none() { Ok(()) } else { self.error(Reason::Rest) }
    }

    /// What stands between two quotes.
    #[inline]
    fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let begin = self.at + 1;
        if self.bytes.get(self.at) != Some(&b'"') {
            return self.error(Reason::Json);
        }
        let mut at = begin;
        loop {
            let Some(hit) = self.bytes.get(at..).and_then(|it| seek2(b'"', b'\\', it)) else {
                return self.error(Reason::Json);
            };
            at += hit;
            if self.bytes[at] == b'"' {
                self.at = at + 1;
                return Ok(&self.bytes[begin..at]);
            }
            at += 2;
        }
    }

    /// A value of any kind.
    pub(crate) fn value(&mut self) -> Result<Value<'a>, Malformed> {
        match self.peek() {
            Some(b'"') => self.text().map(Value::Text),
            Some(b'{') => self.nested().map(Value::Object),
            Some(b'[') => self.nested().map(Value::Array),
            Some(b'-' | b'0'..=b'9') => {
                let rest = &self.bytes[self.at..];
                let is_of_number = |it: &&u8| matches!(it, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let length = rest.iter().take_while(is_of_number).count();
                self.at += length;
                Ok(Value::Number(&rest[..length]))
            }
            Some(b't') => self.word(b"true", Value::Bool(true)),
            Some(b'f') => self.word(b"false", Value::Bool(false)),
            Some(b'n') => self.word(b"null", Value::Null),
            _ => self.error(Reason::Json),
        }
    }

    fn word(&mut self, word: &[u8], value: Value<'a>) -> Result<Value<'a>, Malformed> {
        if self.bytes[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(value)
        } else {
            self.error(Reason::Json)
        }
    }

    /// An object or an array. Which of them are open is a bit each.
    fn nested(&mut self) -> Result<&'a [u8], Malformed> {
        let begin = self.at;
        let (mut depth, mut objects) = (0u32, 0u64);
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.text()?;
                    continue;
                }
                b'{' | b'[' if depth == MAX_DEPTH => return self.error(Reason::Depth),
                b'{' | b'[' => {
                    objects = objects << 1 | u64::from(*byte == b'{');
                    depth += 1;
                }
                b'}' | b']' => {
                    if (objects & 1 == 1) != (*byte == b'}') {
                        return self.error(Reason::Json);
                    }
                    objects >>= 1;
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return Ok(&self.bytes[begin..self.at]);
                    }
                }
                _ => (),
            }
            self.at += 1;
        }
        self.error(Reason::Json)
    }

    /// The first value of an array, without going behind the array.
    pub(crate) fn first_of(array: &'a [u8]) -> Option<Value<'a>> {
        let mut scanner = Scanner { bytes: array, at: 1 };
        (scanner.peek() != Some(b']')).then(|| scanner.value().ok()).flatten()
    }
}
