//! `1.2.3a_rc4~c0ffee-r5`, ordered as apk does.
//!
//! Versions are sequences of parts. At the first difference the kinds of the parts decide, then their values; a version
//! that ends is after one that goes on with the suffix of a pre-release, and before any other.

use std::cmp::Ordering;

use super::digits;

#[derive(Debug, Clone)]
pub(super) struct Alpine {
    parts: Vec<Part>,
}

/// In the order of their kinds.
#[derive(Debug, Clone)]
enum Part {
    /// `_alpha`, `_beta`, `_pre`, `_rc`: which of them.
    Before(usize),
    /// The last of all parts.
    End,
    /// `-r` and a number.
    Revision(String),
    /// `~` and the identifier of a commit.
    Commit(String),
    /// The number of a suffix.
    Count(String),
    /// `_cvs`, `_svn`, `_git`, `_hg`, `_p`: which of them.
    After(usize),
    /// A single letter.
    Letter(u8),
    /// A number after a dot.
    Number(String),
    /// The first number.
    First(String),
}

const BEFORE: [&str; 4] = ["alpha", "beta", "pre", "rc"];
const AFTER: [&str; 5] = ["cvs", "svn", "git", "hg", "p"];

impl Alpine {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = number(text, &mut parts, Part::First)?;
        while let Some(after) = rest.strip_prefix('.') {
            rest = number(after, &mut parts, Part::Number)?;
        }
        if let Some(letter) = rest.bytes().next().filter(u8::is_ascii_lowercase) {
            parts.push(Part::Letter(letter));
            rest = &rest[1..];
        }
        while let Some(after) = rest.strip_prefix('_') {
            let (name, after) = after.split_at(after.bytes().take_while(u8::is_ascii_lowercase).count());
            let place = |names: &[&str]| names.iter().position(|it| *it == name);
            let suffix = place(&BEFORE).map(Part::Before).or_else(|| place(&AFTER).map(Part::After));
            parts.push(suffix?);
            rest = if after.starts_with(|it: char| it.is_ascii_digit()) {
                number(after, &mut parts, Part::Count)?
            } else {
                after
            };
        }
        if let Some(after) = rest.strip_prefix('~') {
            let is_hex = |it: &u8| it.is_ascii_digit() || (b'a'..=b'f').contains(it);
            let (commit, after) = after.split_at(after.bytes().take_while(is_hex).count());
            parts.push(Part::Commit(Some(commit.to_owned()).filter(|it| !it.is_empty())?));
            rest = after;
        }
        if let Some(after) = rest.strip_prefix("-r") {
            rest = number(after, &mut parts, Part::Revision)?;
        }
        parts.push(Part::End);
        rest.is_empty().then_some(Self { parts })
    }
}

/// Takes a number, gives what follows.
fn number<'a>(text: &'a str, parts: &mut Vec<Part>, kind: fn(String) -> Part) -> Option<&'a str> {
    let (number, rest) = digits::split(text);
    parts.push(kind(Some(number.to_owned()).filter(|it| !it.is_empty())?));
    Some(rest)
}

impl Part {
    fn kind(&self) -> u8 {
        match self {
            Self::Before(_) => 0,
            Self::End => 1,
            Self::Revision(_) => 2,
            Self::Commit(_) => 3,
            Self::Count(_) => 4,
            Self::After(_) => 5,
            Self::Letter(_) => 6,
            Self::Number(_) => 7,
            Self::First(_) => 8,
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Before(one), Self::Before(other)) | (Self::After(one), Self::After(other)) => one.cmp(other),
            (Self::Letter(one), Self::Letter(other)) => one.cmp(other),
            (Self::Commit(one), Self::Commit(other)) => one.cmp(other),
            // A zero in front makes it a fraction.
            (Self::Number(one), Self::Number(other)) if one.starts_with('0') || other.starts_with('0') => {
                one.cmp(other)
            }
            (Self::First(one), Self::First(other))
            | (Self::Number(one), Self::Number(other))
            | (Self::Count(one), Self::Count(other))
            | (Self::Revision(one), Self::Revision(other)) => digits::compare(one, other),
            _ => self.kind().cmp(&other.kind()),
        }
    }
}

impl Ord for Alpine {
    fn cmp(&self, other: &Self) -> Ordering {
        let mut orders = self.parts.iter().zip(&other.parts).map(|(one, other)| one.order(other));
        // The end is a part like others: without a difference both have ended.
        orders.find(|it| it.is_ne()).unwrap_or(Ordering::Equal)
    }
}

order!(Alpine);
