//! Semantic Versioning, and how npm, Go and NuGet write it.

use std::cmp::Ordering;

use semver::Prerelease;

use super::digits;

/// Without build metadata, which says nothing of the order.
#[derive(Debug, Clone)]
pub(super) struct Semantic {
    /// The fourth is NuGet's.
    numbers: [u64; 4],
    pre: Prerelease,
}

impl Semantic {
    pub(super) fn strict(text: &str) -> Option<Self> {
        let semver::Version { major, minor, patch, pre, .. } = semver::Version::parse(text).ok()?;
        Some(Self { numbers: [major, minor, patch, 0], pre })
    }

    pub(super) fn npm(text: &str) -> Option<Self> {
        let bare = text.trim_start_matches(|it: char| it == 'v' || it == '=' || it.is_ascii_whitespace());
        Self::strict(bare).or_else(|| Self::loose(bare, 3..=3))
    }

    pub(super) fn go(text: &str) -> Option<Self> {
        if let Some(toolchain) = text.strip_prefix("go") {
            // As in go1.22rc1, which the Go vulnerability database writes 1.22.0-rc.1.
            let (numbers, rest) = numbers(toolchain, 1..=3)?;
            let (word, count) = rest.split_at(rest.bytes().take_while(u8::is_ascii_lowercase).count());
            let pre = match word {
                "" if rest.is_empty() => Prerelease::EMPTY,
                "rc" | "beta" if digits::is_number(count) => Prerelease::new(&format!("{word}.{count}")).ok()?,
                _ => return None,
            };
            return Some(Self { numbers, pre });
        }
        let bare = text.strip_prefix('v').unwrap_or(text);
        Self::strict(bare).or_else(|| Self::loose(bare, 1..=3).filter(|_| !bare.contains(['-', '+'])))
    }

    pub(super) fn nuget(text: &str) -> Option<Self> {
        Self::loose(&text.to_ascii_lowercase(), 1..=4)
    }

    /// So many numbers, zeros in front of any, then a pre-release, then build metadata.
    fn loose(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<Self> {
        let (numbers, rest) = numbers(text, count)?;
        let (pre, build) = rest.split_once('+').unwrap_or((rest, "0"));
        let is_fine = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
        if !build.split('.').all(is_fine) || pre.starts_with('.') {
            return None;
        }
        let pre = match pre.strip_prefix('-').unwrap_or(pre) {
            "" if !pre.is_empty() => return None,
            "" => Prerelease::EMPTY,
            pre => Prerelease::new(&pre.split('.').map(without_zeros).collect::<Vec<_>>().join(".")).ok()?,
        };
        Some(Self { numbers, pre })
    }
}

/// A number without zeros in front, or what is none as it is.
fn without_zeros(text: &str) -> &str {
    match text.trim_start_matches('0') {
        _ if !digits::is_number(text) => text,
        "" => "0",
        number => number,
    }
}

/// Numbers with dots between them, and what follows.
fn numbers(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<([u64; 4], &str)> {
    let mut numbers = [0; 4];
    let mut rest = text;
    for at in 0..*count.end() {
        let after = if at == 0 { Some(rest) } else { rest.strip_prefix('.') };
        match after.map(digits::split) {
            Some((number, after)) if !number.is_empty() => {
                *numbers.get_mut(at)? = number.parse().ok()?;
                rest = after;
            }
            _ if at < *count.start() => return None,
            _ => break,
        }
    }
    Some((numbers, rest))
}

impl Ord for Semantic {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| self.pre.cmp(&other.pre))
    }
}

order!(Semantic);
