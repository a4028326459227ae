//! `[epoch:]upstream[-revision]`, ordered as dpkg does.

use std::cmp::Ordering;

use super::digits;

#[derive(Debug, Clone)]
pub(super) struct Debian {
    epoch: u32,
    upstream: String,
    revision: String,
}

impl Debian {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) if digits::is_number(epoch) => (epoch.parse().ok().filter(|it| *it <= MOST)?, rest),
            Some(_) => return None,
            None => (0, text),
        };
        let (upstream, revision) = match rest.rsplit_once('-') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (rest, ""),
        };
        let is_fine = |it: u8| it.is_ascii_alphanumeric() || b".+~".contains(&it);
        let is_whole = !upstream.is_empty()
            && upstream.bytes().all(|it| is_fine(it) || b"-:".contains(&it))
            && revision.bytes().all(is_fine);
        is_whole.then(|| Self { epoch, upstream: upstream.to_owned(), revision: revision.to_owned() })
    }
}

/// dpkg holds an epoch in a C `int`.
const MOST: u32 = i32::MAX as u32;

/// Alternately compares what is no digit, letters before all else and `~` before even the end, and numbers.
fn compare(mut one: &str, mut other: &str) -> Ordering {
    while !(one.is_empty() && other.is_empty()) {
        let (first, rest) = words(one);
        let (second, remaining) = words(other);
        let rank = |of: &str, at: usize| of.as_bytes().get(at).map_or(0, |it| weight(*it));
        let mut orders = (0..first.len().max(second.len())).map(|at| rank(first, at).cmp(&rank(second, at)));
        if let Some(order) = orders.find(|it| it.is_ne()) {
            return order;
        }
        (one, other) = (rest, remaining);
        let (first, rest) = digits::split(one);
        let (second, remaining) = digits::split(other);
        let order = digits::compare(first, second);
        if order.is_ne() {
            return order;
        }
        (one, other) = (rest, remaining);
    }
    Ordering::Equal
}

/// Splits off what is before the first digit.
fn words(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(|it| !it.is_ascii_digit()).count())
}

fn weight(it: u8) -> i32 {
    match it {
        b'~' => -1,
        it if it.is_ascii_alphabetic() => i32::from(it),
        it => i32::from(it) + 256,
    }
}

impl Ord for Debian {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_upstream = || compare(&self.upstream, &other.upstream);
        self.epoch.cmp(&other.epoch).then_with(by_upstream).then_with(|| compare(&self.revision, &other.revision))
    }
}

order!(Debian);
