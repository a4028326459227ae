//! Tells names and words from what a random generator wrote.
//!
//! Words are made of few of the 676 pairs of letters: the 270 pairs below are 93 of 100 in the identifiers and documents of
//! Python's standard library and some Rust crates, but only 40 of 100 in random letters.

/// For each first letter, the second ones of common pairs.
const PAIRS: [&[u8]; 26] = [
    b"bcdfgiklmnprstuvwy",
    b"aceilorsuy",
    b"acehiklorstuy",
    b"adeilorsu",
    b"abcdefgilmnopqrstvwxy",
    b"aefilorstu",
    b"aehilnorsu",
    b"aeiort",
    b"abcdefglmnoprstvxz",
    b"",
    b"aeis",
    b"adeilostuy",
    b"abeimopsu",
    b"acdefgiklnopstuv",
    b"abcdfgiklmnoprstuvwx",
    b"aehiloprstuy",
    b"u",
    b"acdefgiklmnoprstuy",
    b"acdehiklmopstuy",
    b"acdefhilmoprstuy",
    b"abcdefilmnprst",
    b"aei",
    b"aeinors",
    b"eiptx",
    b"npst",
    b"e",
];

/// [`PAIRS`] with a bit for each second letter.
const MASKS: [u32; 26] = {
    let mut masks = [0; 26];
    let mut first = 0;
    while first < 26 {
        let mut at = 0;
        while at < PAIRS[first].len() {
            masks[first] |= 1 << (PAIRS[first][at] - b'a');
            at += 1;
        }
        first += 1;
    }
    masks
};

/// Pairs of letters in a text, and how many of them are common in words. Case is ignored.
pub(crate) fn pairs(text: &[u8]) -> (usize, usize) {
    let letters = text.windows(2).filter(|pair| pair.iter().all(u8::is_ascii_alphabetic));
    letters.fold((0, 0), |(all, common), pair| (all + 1, common + usize::from(is_common(pair[0], pair[1]))))
}

/// Whether two letters often stand beside each other in words.
pub(crate) fn is_common(first: u8, second: u8) -> bool {
    let index = |letter: u8| usize::from((letter | 0x20).wrapping_sub(b'a'));
    MASKS.get(index(first)).is_some_and(|mask| index(second) < 26 && mask & (1 << index(second)) != 0)
}

/// Whether the letters of a text are those of words: in a random text of 16 letters that happens about once in 2,000.
pub(crate) fn is_wordy(text: &[u8]) -> bool {
    let (all, common) = pairs(text);
    all >= 3 && common * 100 >= all * 72
}

/// Bits per byte, after C. E. Shannon, "A mathematical theory of communication", 1948.
pub(crate) fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    text.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let length = text.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / length)
        .map(|share| -share * share.log2())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_others() {
        for words in ["correct-horse-battery", "StringLiteralToken", "connection_timeout", "password", "registration"] {
            assert!(is_wordy(words.as_bytes()), "{words}");
        }
        for random in ["xq7Kzp2vWmBd", "wJqlXUtnFQMIKx", "zkqvbxwpjh", "9f86d081884c7d65", "a1", ""] {
            assert!(!is_wordy(random.as_bytes()), "{random}");
        }
    }

    #[test]
    fn bits() {
        assert!((entropy(b"abcd") - 2.0).abs() < 1e-9 && entropy(b"aaaa").abs() < 1e-9 && entropy(b"").abs() < 1e-9);
    }
}
