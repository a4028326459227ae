//! The keys that are looked for in an object and in the objects within it.

use crate::json::{Scanner, Value};
use crate::malformed::{Malformed, Reason};

/// Keys, by level.
#[derive(Debug, Clone)]
pub(crate) struct Tree<T> {
    /// The first is the outermost.
    levels: Vec<Vec<Key<T>>>,
}

#[derive(Debug, Clone)]
struct Key<T> {
    name: Box<[u8]>,
    /// What the value is.
    leaf: Option<T>,
    /// Where the keys of the value are.
    level: Option<usize>,
}

impl<T: Copy> Tree<T> {
    pub(crate) fn new() -> Self {
        Self { levels: vec![Vec::new()] }
    }

    /// Looks for a key as well: `status`, or `request.uri` for the `uri` in `request`. The latter is also found as one key with
    /// a dot in its name. Of one key only one thing can be looked for, the first.
    pub(crate) fn insert(&mut self, path: &str, what: T) {
        let (mut level, mut rest) = (0, path);
        while let Some((name, tail)) = rest.split_once('.') {
            let next = self.levels.len();
            let key = self.key(level, name);
            level = *key.level.get_or_insert(next);
            if level == next {
                self.levels.push(Vec::new());
            }
            rest = tail;
        }
        self.key(level, rest).leaf.get_or_insert(what);
        self.key(0, path).leaf.get_or_insert(what);
    }

    fn key(&mut self, level: usize, name: &str) -> &mut Key<T> {
        let keys = &mut self.levels[level];
        let at = keys.iter().position(|it| *it.name == *name.as_bytes()).unwrap_or_else(|| {
            keys.push(Key { name: name.as_bytes().into(), leaf: None, level: None });
            keys.len() - 1
        });
        &mut keys[at]
    }

    /// Goes through an object that is all of a line, and hands over what was looked for, with the place behind it.
    pub(crate) fn walk<'a>(
        &self,
        line: &'a [u8],
        sink: &mut impl FnMut(T, Value<'a>, usize) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let mut scanner = Scanner { bytes: line, at: 0 };
        self.object(0, &mut scanner, sink)?;
        scanner.finish()
    }

    /// As deep as the keys, not as the line.
    fn object<'a>(
        &self,
        level: usize,
        scanner: &mut Scanner<'a>,
        sink: &mut impl FnMut(T, Value<'a>, usize) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let keys = &self.levels[level];
        // Most lines have their keys in the same order, and configurations name them in it.
        let mut next = 0;
        let mut name = scanner.first_name()?;
        while let Some(it) = name {
            let found = match keys.get(next) {
                Some(key) if *key.name == *it => Some(next),
                _ => keys.iter().position(|key| *key.name == *it),
            };
            match found.map(|at| &keys[at]) {
                Some(Key { level: Some(level), leaf: None, .. }) if scanner.peek() == Some(b'{') => {
                    self.object(*level, scanner, sink)?;
                }
                Some(Key { leaf: Some(leaf), level, .. }) => {
                    let begin = scanner.at;
                    let value = scanner.value()?;
                    if let (Some(level), Value::Object(_)) = (level, value) {
                        let mut inner = Scanner { bytes: &scanner.bytes[..scanner.at], at: begin };
                        self.object(*level, &mut inner, sink)?;
                    }
                    sink(*leaf, value, begin)?;
                }
                _ => {
                    scanner.value()?;
                }
            }
            next = found.map_or(next, |it| it + 1);
            name = scanner.next_name()?;
        }
        Ok(())
    }
}

/// What a value says: a text, a number, or the first of a list of these.
pub(crate) fn scalar<'a>(value: Value<'a>, at: usize) -> Result<Option<&'a [u8]>, Malformed> {
    match value {
        Value::Text(it) | Value::Number(it) => Ok(Some(it)),
        Value::Array(it) => Ok(Scanner::first_of(it).and_then(Value::scalar)),
        Value::Null => Ok(None),
        Value::Bool(_) | Value::Object(_) => Err(Malformed::new(Reason::Json, at)),
    }
}
