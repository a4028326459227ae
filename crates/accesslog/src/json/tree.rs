//! The keys that are looked for in an object and in the objects within it.

use crate::json::{Scanner, Value};
use crate::malformed::{Malformed, Reason};

/// Keys, by level.
#[derive(Debug, Clone)]
pub(crate) struct Tree<T> {
    /// The first is the outermost.
    levels: Vec<Level<T>>,
}

/// The keys of one object.
#[derive(Debug, Clone)]
struct Level<T> {
    keys: Vec<Key<T>>,
    /// For each hash of a name, the first key that has it. Keys of a log are few, so mostly there is one or none.
    buckets: [Option<u32>; BUCKETS],
}

const BUCKETS: usize = 128;

/// Length and ends of a name tell nearly all names apart that logs have.
#[inline]
fn hash(name: &[u8]) -> usize {
    match name {
        [] => 0,
        [first, .., last] => (name.len() * 37 + usize::from(*first) * 5 + usize::from(*last) * 11) % BUCKETS,
        [only] => usize::from(*only) % BUCKETS,
    }
}

impl<T> Level<T> {
    fn new() -> Self {
        Self { keys: Vec::new(), buckets: [None; BUCKETS] }
    }

    #[inline]
    fn find(&self, name: &[u8]) -> Option<&Key<T>> {
        let mut next = self.buckets[hash(name)];
        while let Some(at) = next {
            let key = self.keys.get(at as usize)?;
            if *key.name == *name {
                return Some(key);
            }
            next = key.next;
        }
        None
    }
}

#[derive(Debug, Clone)]
struct Key<T> {
    name: Box<[u8]>,
    /// What the value is.
    leaf: Option<T>,
    /// Where the keys of the value are.
    level: Option<usize>,
    /// The next key with the same hash.
    next: Option<u32>,
}

impl<T: Copy> Tree<T> {
    pub(crate) fn new() -> Self {
        Self { levels: vec![Level::new()] }
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
                self.levels.push(Level::new());
            }
            rest = tail;
        }
        self.key(level, rest).leaf.get_or_insert(what);
        self.key(0, path).leaf.get_or_insert(what);
    }

    fn key(&mut self, level: usize, name: &str) -> &mut Key<T> {
        let Level { keys, buckets } = &mut self.levels[level];
        let at = keys.iter().position(|it| *it.name == *name.as_bytes()).unwrap_or_else(|| {
            let at = u32::try_from(keys.len()).unwrap_or(u32::MAX);
            let next = buckets[hash(name.as_bytes())].replace(at);
            keys.push(Key { name: name.as_bytes().into(), leaf: None, level: None, next });
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
        let mut name = scanner.first_name()?;
        while let Some(it) = name {
            match keys.find(it) {
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
