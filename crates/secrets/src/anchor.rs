//! The first look at each byte: where could a secret be?
//!
//! Every rule has anchors, short texts without which nothing it looks for can be there. All of them are sought in one pass,
//! in either case of letters. An anchor has four bytes or more, so one of every two neighbouring positions in the data
//! begins three bytes that an anchor holds at one of two chosen, neighbouring places. It is enough to look at every other
//! position, to hash the three bytes there, and to ask a table of bits that fits the first cache. Only what passes is compared.
//!
//! Each look is independent of the last one, which makes this faster than an automaton, and it needs no vectors, so that
//! it is as fast in WebAssembly.

use crate::words::is_common;

/// log2 of the bits in the table.
const BITS: u32 = 16;
/// log2 of the chains of what is to be compared.
const CHAINS: u32 = 10;
/// Positions that are looked at for one branch.
const BLOCK: usize = 8;

/// A text to seek, in lower case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Anchor<T> {
    /// Four bytes or more, or three with something in `follow`.
    pub(crate) text: &'static [u8],
    /// The bytes of which one has to come after `text`; empty for any.
    pub(crate) follow: &'static [u8],
    /// What the one who seeks knows it by.
    pub(crate) tag: T,
}

/// Something that begins at one of the chosen places of an anchor.
#[derive(Debug, Clone, Copy)]
struct Link {
    trigram: u32,
    anchor: u16,
    /// Bytes before the trigram in the anchor.
    before: u16,
    /// The next link of the chain plus one, or zero.
    next: u16,
}

/// The anchors, made ready.
#[derive(Debug)]
pub(crate) struct Anchors<T> {
    anchors: Vec<Anchor<T>>,
    bits: Box<[u64]>,
    chains: Box<[u16]>,
    links: Vec<Link>,
}

/// Lower case, for letters; other bytes may fall together, which the comparison sorts out.
const FOLD: u32 = 0x20_2020;

fn trigram(bytes: [u8; 3]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]) | FOLD
}

fn hash(trigram: u32, bits: u32) -> usize {
    (trigram.wrapping_mul(0x9E37_79B1) >> (32 - bits)) as usize
}

/// How often three bytes are met in texts, roughly: 0 for rare.
fn commonness(bytes: &[u8]) -> u32 {
    let pair = |a: u8, b: u8| match (a.is_ascii_alphabetic(), b.is_ascii_alphabetic()) {
        (true, true) => 1 + u32::from(is_common(a, b)),
        _ => u32::from(a == b'/' || b == b'/' || b == b':'),
    };
    pair(bytes[0], bytes[1]) + pair(bytes[1], bytes[2])
}

impl<T: Copy> Anchors<T> {
    /// At most 65,535 anchors.
    pub(crate) fn new(anchors: Vec<Anchor<T>>) -> Self {
        let mut it = Self {
            bits: vec![0; 1 << (BITS - 6)].into(),
            chains: vec![0; 1 << CHAINS].into(),
            links: Vec::with_capacity(anchors.len() * 3),
            anchors: Vec::new(),
        };
        for (number, anchor) in (0..).zip(&anchors) {
            let text = anchor.text;
            if let [a, b, c] = *text {
                it.link(trigram([a, b, c]), number, 0);
                anchor.follow.iter().for_each(|follow| it.link(trigram([b, c, *follow]), number, 1));
            } else if let Some(best) = (0..text.len().saturating_sub(3))
                .min_by_key(|at| commonness(&text[*at..]) + commonness(&text[at + 1..]))
            {
                for before in [best, best + 1] {
                    #[expect(clippy::cast_possible_truncation, reason = "anchors are short")]
                    it.link(trigram([text[before], text[before + 1], text[before + 2]]), number, before as u16);
                }
            }
        }
        it.anchors = anchors;
        it
    }

    fn link(&mut self, trigram: u32, anchor: u16, before: u16) {
        let bit = hash(trigram, BITS);
        self.bits[bit / 64] |= 1 << (bit % 64);
        let chain = &mut self.chains[hash(trigram, CHAINS)];
        self.links.push(Link { trigram, anchor, before, next: *chain });
        #[expect(clippy::cast_possible_truncation, reason = "as many as there are rules, times forty")]
        let number = self.links.len() as u16;
        *chain = number;
    }

    fn passes(&self, trigram: u32) -> bool {
        let bit = hash(trigram, BITS);
        self.bits[bit / 64] & (1 << (bit % 64)) != 0
    }

    /// Calls `found` with position and tag of all anchors in `data` that begin at `from` or later. They come nearly in
    /// order; in which one depends on `data` from the even position before `from` on, and on nothing else.
    pub(crate) fn seek(&self, data: &[u8], from: usize, mut found: impl FnMut(usize, usize, T)) {
        let mut at = from & !1;
        // Three bytes from each of the positions, and one that is loaded with the last of them.
        while let Some(block) = data.get(at..).and_then(|rest| rest.first_chunk::<{ 2 * BLOCK + 2 }>()) {
            let mut any = 0_u64;
            for step in 0..BLOCK {
                let word = u32::from_le_bytes([
                    block[2 * step],
                    block[2 * step + 1],
                    block[2 * step + 2],
                    block[2 * step + 3],
                ]);
                let bit = hash((word & 0xff_ffff) | FOLD, BITS);
                any |= (self.bits[bit / 64] >> (bit % 64) & 1) << step;
            }
            while any != 0 {
                let step = any.trailing_zeros() as usize;
                any &= any - 1;
                self.compare(data, at + 2 * step, from, &mut found);
            }
            at += 2 * BLOCK;
        }
        while let Some(bytes) = data.get(at..).and_then(|rest| rest.first_chunk::<3>()) {
            if self.passes(trigram(*bytes)) {
                self.compare(data, at, from, &mut found);
            }
            at += 2;
        }
    }

    fn compare(&self, data: &[u8], at: usize, from: usize, found: &mut impl FnMut(usize, usize, T)) {
        let seen = trigram([data[at], data[at + 1], data[at + 2]]);
        let mut next = self.chains[hash(seen, CHAINS)];
        while let Some(link) = usize::from(next).checked_sub(1).map(|it| self.links[it]) {
            next = link.next;
            if link.trigram != seen {
                continue;
            }
            let anchor = &self.anchors[usize::from(link.anchor)];
            let Some(start) = at.checked_sub(usize::from(link.before)).filter(|start| *start >= from) else { continue };
            let end = start + anchor.text.len();
            let follows = |byte: &u8| anchor.follow.contains(&byte.to_ascii_lowercase());
            if data.get(start..end).is_some_and(|text| text.eq_ignore_ascii_case(anchor.text))
                && (anchor.follow.is_empty() || data.get(end).is_some_and(follows))
            {
                found(start, end, anchor.tag);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn anchors() -> Anchors<u8> {
        let texts: [&[u8]; 5] = [b"pass", b"secret", b"akia", b"password", "密码".as_bytes()];
        let mut all: Vec<_> = (0..).zip(texts).map(|(tag, text)| Anchor { text, follow: b"", tag }).collect();
        all.push(Anchor { text: b"sk-", follow: b"abc123", tag: 9 });
        Anchors::new(all)
    }

    fn found(data: &[u8], from: usize) -> Vec<(usize, u8)> {
        let mut all = Vec::new();
        anchors().seek(data, from, |start, _, tag| all.push((start, tag)));
        all.sort_unstable();
        all
    }

    #[test]
    fn in_either_case_and_at_every_position() {
        for before in 0..40 {
            let data = format!("{}PassWord sk-A sk-x AKIA 密码", ".".repeat(before));
            let at = |it: usize| before + it;
            assert_eq!(found(data.as_bytes(), 0), [(at(0), 0), (at(0), 3), (at(9), 9), (at(19), 2), (at(24), 4)]);
            assert_eq!(found(data.as_bytes(), at(1)).len(), 3);
        }
    }

    proptest! {
        #[test]
        fn as_a_search_for_each(data in "(pass|word|sk-|[sk1-]|akia|SECRET|.){0,60}", from in 0..20_usize) {
            let lower = data.to_ascii_lowercase();
            let mut expected = Vec::new();
            for (text, tag) in [("pass", 0), ("secret", 1), ("akia", 2), ("password", 3), ("密码", 4), ("sk-", 9)] {
                for start in (0..lower.len()).filter(|at| lower.as_bytes()[*at..].starts_with(text.as_bytes())) {
                    let follows = lower.as_bytes().get(start + 3).is_some_and(|it| b"abc123".contains(it));
                    if start >= from && (tag != 9 || follows) {
                        expected.push((start, tag));
                    }
                }
            }
            expected.sort_unstable();
            prop_assert_eq!(found(data.as_bytes(), from), expected);
        }
    }
}
