//! RubyGems: numbers and words in any sequence.

use std::cmp::Ordering;

use super::digits;

#[derive(Debug, Clone)]
pub(super) struct Gem {
    parts: Vec<String>,
}

impl Gem {
    pub(super) fn parse(text: &str) -> Option<Self> {
        // The text before the first hyphen is the version, what follows says that it is a pre-release.
        let text = text.replace('-', ".pre.");
        if !text.starts_with(|it: char| it.is_ascii_digit()) {
            return None;
        }
        let mut parts = Vec::new();
        for part in text.split('.') {
            if part.is_empty() || !part.bytes().all(|it| it.is_ascii_alphanumeric()) {
                return None;
            }
            let mut rest = part;
            while !rest.is_empty() {
                let (number, after) = digits::split(rest);
                let (word, after) = after.split_at(after.bytes().take_while(u8::is_ascii_alphabetic).count());
                parts.extend([number, word].into_iter().filter(|it| !it.is_empty()).map(str::to_owned));
                rest = after;
            }
        }
        // Zeros before the first word say nothing: `1.0.rc` is `1.rc`.
        let word = parts.iter().position(|it| !digits::is_number(it)).unwrap_or(parts.len());
        let number = parts[..word].iter().rposition(|it| it.contains(|it| it != '0')).map_or(0, |it| it + 1);
        parts.drain(number..word);
        Some(Self { parts })
    }

    /// A version goes on with zeros for ever.
    fn part(&self, at: usize) -> &str {
        self.parts.get(at).map_or("0", String::as_str)
    }
}

impl Ord for Gem {
    fn cmp(&self, other: &Self) -> Ordering {
        let length = self.parts.len().max(other.parts.len());
        let mut orders = (0..length).map(|at| order(self.part(at), other.part(at)));
        orders.find(|it| it.is_ne()).unwrap_or(Ordering::Equal)
    }
}

/// Words come before numbers.
fn order(one: &str, other: &str) -> Ordering {
    match (digits::is_number(one), digits::is_number(other)) {
        (true, true) => digits::compare(one, other),
        (false, false) => one.cmp(other),
        (is_number, is_other) => is_number.cmp(&is_other),
    }
}

order!(Gem);
