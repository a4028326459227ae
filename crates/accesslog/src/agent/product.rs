//! Words of user agents, and what they tell.

mod table;

use table::TABLE;

use super::number;

/// Which word tells more. Later ones go before earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// What an engine makes all its browsers say.
    Engine,
    /// A browser that others are made of.
    Family,
    /// A browser that is made of another one.
    Brand,
    /// A library or a program.
    Tool,
    /// An app.
    App,
    /// An app that is made of another app.
    Suite,
    /// Developer tools.
    Devtools,
    /// Something that looks whether the server is alive.
    Monitor,
    /// A crawler.
    Bot,
}

/// What a word tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Product {
    pub(super) rank: Rank,
    pub(super) name: &'static str,
}

/// What the words of a user agent tell.
#[derive(Debug, Default)]
pub(super) struct Found<'a> {
    /// The product with the highest rank, the first of these, and its version.
    pub(super) best: Option<(Product, Option<&'a [u8]>)>,
    /// What `Version/` says.
    pub(super) version: Option<&'a [u8]>,
    /// What `MicroMessenger/` says.
    pub(super) wechat: Option<&'a [u8]>,
    /// A bot that is not in the table, but is named like one, or tells where to read about it.
    pub(super) is_other_bot: bool,
}

/// Longer words than the longest of the table say nothing.
const LONGEST: usize = 48;

pub(super) fn find(text: &[u8]) -> Found<'_> {
    let mut found = Found::default();
    let (mut at, mut is_ali) = (0, false);
    while at < text.len() {
        let length = text[at..].iter().take_while(|it| is_of_word(**it)).count();
        let (word, rest) = text[at..].split_at(length);
        at += length + 1;
        if word.is_empty() || length > LONGEST {
            continue;
        }
        let version = || match rest {
            [b'/', b'v', rest @ ..] | [b'/' | b' ', rest @ ..] => number(rest),
            _ => None,
        };
        let mut buffer = [0; LONGEST + 8];
        // `AliApp(TB/10.1)`: short names that say nothing by themselves.
        let prefix: &[u8] = if is_ali { b"aliapp-" } else { b"" };
        let length = prefix.len() + length;
        buffer[..prefix.len()].copy_from_slice(prefix);
        buffer[prefix.len()..length].copy_from_slice(word);
        buffer[..length].make_ascii_lowercase();
        let lower = &buffer[..length];
        is_ali = lower == b"aliapp" && rest.first() == Some(&b'(');
        let is_named = rest.first() == Some(&b'/');
        match lower {
            b"version" if is_named => found.version = version(),
            b"micromessenger" => found.wechat = version(),
            // A brand of telephones.
            b"cubot" => (),
            _ => found.is_other_bot |= [&b"bot"[..], b"spider", b"crawler"].iter().any(|it| lower.ends_with(it)),
        }
        let product = look_up(lower, is_named).or_else(|| look_up(lower.strip_prefix(b"aliapp-")?, is_named));
        if let Some((product, cut)) = product {
            // `aweme_28.5.0`.
            let version = version().or_else(|| version_of_word(word, cut.saturating_sub(prefix.len())));
            let is_better = found.best.is_none_or(|(best, known)| {
                best.rank < product.rank || (best == product && known.is_none() && version.is_some())
            });
            if is_better {
                found.best = Some((product, version));
            }
        }
    }
    // What calls itself a bot is no browser and no tool, whatever it is made of. Where to read about it is also told by tools.
    let bound = if found.is_other_bot { Rank::Tool } else { Rank::Brand };
    found.is_other_bot |= super::has(text, "+http");
    if found.is_other_bot && found.best.is_some_and(|(best, _)| best.rank <= bound) {
        found.best = None;
    }
    found
}

/// What stands behind the part of a word that was found.
fn version_of_word(word: &[u8], cut: usize) -> Option<&[u8]> {
    word.get(cut..).and_then(|it| it.strip_prefix(b"_")).and_then(number)
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// A word, or what stands before its last hyphen, point or underscore: `Baiduspider-render`, `aweme_27.5.0`. With how many bytes
/// of it were found.
fn look_up(mut word: &[u8], mut is_named: bool) -> Option<(Product, usize)> {
    loop {
        let first = usize::from(*word.first()?);
        let rows = TABLE.get(usize::from(BEGINS[first])..usize::from(BEGINS[first + 1]))?;
        let find = |suffix: &[u8]| {
            let is_it = |it: &&(&'static str, Rank, &'static str)| {
                it.0.len() == word.len() + suffix.len()
                    && it.0.as_bytes().starts_with(word)
                    && it.0.as_bytes().ends_with(suffix)
            };
            rows.iter().find(is_it).map(|(_, rank, name)| Product { rank: *rank, name })
        };
        if let Some(product) = is_named.then(|| find(b"/")).flatten().or_else(|| find(b"")) {
            return Some((product, word.len()));
        }
        let cut = word.iter().rposition(|it| matches!(it, b'-' | b'_' | b'.'))?;
        (word, is_named) = (&word[..cut], false);
    }
}

/// For each byte, where the words that begin with it begin in the table.
static BEGINS: [u16; 257] = {
    let mut begins = [0; 257];
    let (mut byte, mut row) = (0, 0);
    while byte < 257 {
        while row < TABLE.len() && (TABLE[row].0.as_bytes()[0] as usize) < byte {
            row += 1;
        }
        begins[byte] = row as u16;
        byte += 1;
    }
    begins
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(TABLE.is_sorted_by(|one, next| one.0 < next.0));
        assert!(TABLE.iter().all(|(word, _, _)| word.len() <= LONGEST && *word == word.to_ascii_lowercase()));
    }

    #[test]
    fn every_word_is_found() {
        for (word, rank, name) in TABLE {
            let plain = word.strip_suffix('/').unwrap_or(word);
            assert_eq!(look_up(plain.as_bytes(), true), Some((Product { rank, name }, plain.len())), "{word}");
        }
    }

    #[test]
    fn words() {
        let name = |word: &str, is_named| look_up(word.as_bytes(), is_named).map(|it| it.0.name);
        assert_eq!(name("baiduspider-render", true), Some("Baiduspider"));
        assert_eq!(name("aweme_27.5.0", false), Some("Douyin"));
        assert_eq!(name("qq", true), Some("QQ"));
        assert_eq!(name("qq", false), None);
        assert_eq!(name("", true), None);
    }
}
