//! Composer: up to four numbers, a stability with numbers of its own, and `-dev` for what comes before that.

use std::cmp::Ordering;

use super::digits;

#[derive(Debug, Clone)]
pub(super) struct Composer {
    numbers: Vec<String>,
    stability: Stability,
    counts: Vec<String>,
    is_dev: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stability {
    Dev,
    Alpha,
    Beta,
    Rc,
    Stable,
    Patch,
}

/// Longer words before their beginnings.
const WORDS: [(&str, Stability); 9] = [
    ("stable", Stability::Stable),
    ("alpha", Stability::Alpha),
    ("patch", Stability::Patch),
    ("beta", Stability::Beta),
    ("rc", Stability::Rc),
    ("pl", Stability::Patch),
    ("a", Stability::Alpha),
    ("b", Stability::Beta),
    ("p", Stability::Patch),
];

/// What Composer takes for the `x` of a branch such as `2.x-dev`.
const ANY: &str = "9999999";

impl Composer {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let plain = lower.split_once('+').map_or(lower.as_str(), |(plain, _)| plain);
        let (mut numbers, mut rest) = numbers(plain.strip_prefix('v').unwrap_or(plain))?;
        if let Some(after) = [".x", ".*"].iter().find_map(|it| rest.strip_prefix(it)) {
            if after != "-dev" || numbers.len() > 3 {
                return None;
            }
            numbers.resize(4, ANY.to_owned());
            rest = after;
        }
        let bare = rest.strip_prefix(['.', '_', '-']).unwrap_or(rest);
        let found = WORDS.iter().find_map(|(word, stability)| Some((*stability, bare.strip_prefix(word)?)));
        let (stability, counts, rest) = match found {
            Some((stability, after)) => {
                let (counts, rest) = counts(after);
                (stability, counts, rest)
            }
            None => (Stability::Stable, Vec::new(), rest),
        };
        let is_dev = match rest.strip_prefix(['.', '-']).unwrap_or(rest) {
            "" if rest.is_empty() => false,
            "dev" => true,
            _ => return None,
        };
        let stability = if is_dev && found.is_none() { Stability::Dev } else { stability };
        Some(Self { numbers, stability, counts, is_dev })
    }

    /// What is not written is zero.
    fn number(&self, at: usize) -> &str {
        self.numbers.get(at).map_or("", String::as_str)
    }
}

/// The numbers in front. A date has more of them, and other signs between them.
fn numbers(text: &str) -> Option<(Vec<String>, &str)> {
    let (first, mut rest) = digits::split(text);
    let mut numbers = vec![Some(first.to_owned()).filter(|it| !it.is_empty())?];
    let is_date = first.len() >= 4;
    let signs: &[char] = if is_date { &['.', ':', '-'] } else { &['.'] };
    while let Some((number, after)) = rest.strip_prefix(signs).map(digits::split).filter(|it| !it.0.is_empty()) {
        numbers.push(number.to_owned());
        rest = after;
    }
    (numbers.len() <= if is_date { 9 } else { 4 }).then_some((numbers, rest))
}

fn counts(text: &str) -> (Vec<String>, &str) {
    let (mut counts, mut rest) = (Vec::new(), text);
    loop {
        let (number, after) = digits::split(rest.strip_prefix(['.', '-']).unwrap_or(rest));
        if number.is_empty() {
            return (counts, rest);
        }
        counts.push(number.to_owned());
        rest = after;
    }
}

impl Ord for Composer {
    fn cmp(&self, other: &Self) -> Ordering {
        let longest = self.numbers.len().max(other.numbers.len());
        let order = |at: usize| digits::compare(self.number(at), other.number(at));
        let by_numbers = (0..longest).map(order).find(|it| it.is_ne()).unwrap_or(Ordering::Equal);
        let by_counts = || {
            let mut orders = self.counts.iter().zip(&other.counts).map(|(one, other)| digits::compare(one, other));
            let by_value = orders.find(|it| it.is_ne()).unwrap_or(Ordering::Equal);
            by_value.then(self.counts.len().cmp(&other.counts.len()))
        };
        by_numbers.then(self.stability.cmp(&other.stability)).then_with(by_counts).then(other.is_dev.cmp(&self.is_dev))
    }
}

order!(Composer);
