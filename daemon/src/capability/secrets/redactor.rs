//! Takes the values of secrets out of what comes from outside, and puts their placeholders there instead.
//!
//! A server may give back what it was sent: as it was, or in one of the ways in which texts are written into other texts. All of
//! these forms of all secrets are looked for at the same time. A body comes in pieces, and a form may be split among any number
//! of them: the end of what came so far is kept back while it is the beginning of a form, and nothing else is.
//!
//! The rule that the tests hold it to: what comes out holds no form of any secret, and how the text was split changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::template::{is_unreserved, json, percent, placeholder};

/// What is looked for. Shared by all answers of a run.
pub(crate) struct Redactor {
    automaton: AhoCorasick,
    forms: Vec<Form>,
    longest: usize,
    /// Which bytes a form begins with.
    first: [bool; 256],
}

struct Form {
    text: Vec<u8>,
    placeholder: Arc<[u8]>,
}

/// It holds the values.
impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor(…)")
    }
}

impl Redactor {
    /// Looks for these secrets, by name and value. None when there are none.
    ///
    /// # Errors
    /// When they are more than can be looked for.
    pub(crate) fn new<'s>(
        secrets: impl IntoIterator<Item = (&'s str, &'s str)>,
    ) -> Result<Option<Self>, aho_corasick::BuildError> {
        let mut forms = Vec::new();
        for (name, value) in secrets {
            let placeholder: Arc<[u8]> = placeholder(name).into_bytes().into();
            let form = |text| Form { text, placeholder: Arc::clone(&placeholder) };
            forms.extend(forms_of(value).into_iter().map(form));
        }
        Self::of(forms)
    }

    fn of(forms: Vec<Form>) -> Result<Option<Self>, aho_corasick::BuildError> {
        let Some(longest) = forms.iter().map(|form| form.text.len()).max() else { return Ok(None) };
        let mut first = [false; 256];
        forms.iter().filter_map(|form| form.text.first()).for_each(|byte| first[usize::from(*byte)] = true);
        let texts = forms.iter().map(|form| &form.text);
        let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).build(texts)?;
        Ok(Some(Self { automaton, forms, longest, first }))
    }

    /// Whether the text holds a form.
    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        self.automaton.is_match(text)
    }

    /// Whether the name of a header, which is in small letters, holds a form.
    pub(crate) fn is_in_name(&self, name: &str) -> bool {
        let holds = |form: &[u8]| name.as_bytes().windows(form.len()).any(|part| part.eq_ignore_ascii_case(form));
        self.forms.iter().any(|form| holds(&form.text))
    }

    /// A whole text without the values.
    pub(crate) fn bytes(&self, text: &[u8]) -> Vec<u8> {
        let mut clean = Vec::with_capacity(text.len());
        let mut held = Held { text: text.to_vec(), covered: 0 };
        held.let_go(self, text.len(), &mut clean);
        clean
    }

    /// A whole text without the values.
    pub(crate) fn text(&self, text: &str) -> String {
        if self.is_in(text.as_bytes()) {
            String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
        } else {
            text.to_owned()
        }
    }

    /// Where the end of the text may be the beginning of a form; its length when it is none.
    fn open_end(&self, text: &[u8]) -> usize {
        let from = text.len().saturating_sub(self.longest - 1);
        let opens = |at: usize| {
            let end = &text[at..];
            self.first[usize::from(text[at])]
                && self.forms.iter().any(|form| form.text.len() > end.len() && form.text.starts_with(end))
        };
        (from..text.len()).find(|at| opens(*at)).unwrap_or(text.len())
    }
}

/// One body on its way.
#[derive(Debug)]
pub(crate) struct Stream {
    redactor: Arc<Redactor>,
    held: Held,
}

impl Stream {
    /// A body of which nothing has come yet.
    pub(crate) fn new(redactor: Arc<Redactor>) -> Self {
        Self { redactor, held: Held::default() }
    }

    /// Looks for more from now on, also in what was kept back. What comes instead has to look for all that was looked for before.
    pub(crate) fn look_for(&mut self, redactor: Arc<Redactor>) {
        self.redactor = redactor;
    }

    /// Takes a piece; gives what is certain not to belong to a value, and may be empty.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.text.extend_from_slice(piece);
        let most = self.redactor.open_end(&self.held.text);
        let mut clean = Vec::with_capacity(most);
        self.held.let_go(&self.redactor, most, &mut clean);
        clean
    }

    /// The rest, when nothing comes any more.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut clean = Vec::new();
        self.held.let_go(&self.redactor, self.held.text.len(), &mut clean);
        clean
    }
}

/// What was not let go yet.
#[derive(Default)]
struct Held {
    text: Vec<u8>,
    /// So much at its beginning belongs to a form whose placeholder was let go already.
    covered: usize,
}

/// It may hold values.
impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held({})", self.text.len())
    }
}

impl Held {
    /// Lets go of all that begins before `most`. Forms that overlap are replaced as one.
    fn let_go(&mut self, redactor: &Redactor, most: usize, into: &mut Vec<u8>) {
        let mut found = Vec::new();
        // The first search is the fast one, and mostly the only one.
        if redactor.is_in(&self.text) {
            let all = redactor.automaton.find_overlapping_iter(&self.text);
            found.extend(all.filter(|form| form.start() < most).map(|form| (form.start(), form.end(), form.pattern())));
            found.sort_unstable_by_key(|(start, end, _)| (*start, std::cmp::Reverse(*end)));
        }
        let mut done = self.covered;
        for (start, end, form) in found {
            if start >= done {
                into.extend_from_slice(&self.text[done..start]);
                into.extend_from_slice(&redactor.forms[form].placeholder);
            }
            done = done.max(end);
        }
        if done < most {
            into.extend_from_slice(&self.text[done..most]);
        }
        self.covered = done.saturating_sub(most);
        self.text.drain(..most);
    }
}

/// The ways in which a value may come back.
fn forms_of(value: &str) -> BTreeSet<Vec<u8>> {
    const UPPER: &str = "0123456789ABCDEF";
    const LOWER: &str = "0123456789abcdef";
    let mut forms = BTreeSet::from([value.as_bytes().to_vec()]);
    for digits in [UPPER, LOWER] {
        // What browsers and libraries keep: nothing more than needed, what has no meaning in a component, in an address, in a form.
        forms.insert(percent(value, is_unreserved, digits));
        forms.insert(percent(value, |it| is_unreserved(it) || b"!'()*".contains(&it), digits));
        forms.insert(percent(value, |it| is_unreserved(it) || b"!'()*;/?:@&=+$,#".contains(&it), digits));
        let form = percent(value, |it| it == b' ' || (is_unreserved(it) && it != b'~') || it == b'*', digits);
        forms.insert(form.into_iter().map(|it| if it == b' ' { b'+' } else { it }).collect());
        forms.insert(
            value.bytes().flat_map(|it| [it >> 4, it & 15]).map(|it| digits.as_bytes()[usize::from(it)]).collect(),
        );
    }
    forms.extend(json_forms(value));
    for (quote, apostrophe) in [("&quot;", "&#39;"), ("&quot;", "&#x27;"), ("&#34;", "&#39;"), ("&quot;", "'")] {
        let text = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        forms.insert(text.replace('"', quote).replace('\'', apostrophe).into_bytes());
    }
    for before in 0..3 {
        forms.extend(base64_forms(value, before));
    }
    forms
}

/// As strings of JSON: with as few escapes as may be, with all but ASCII escaped, with what has a meaning in HTML escaped, and
/// with `/` escaped.
fn json_forms(value: &str) -> Vec<Vec<u8>> {
    let plain = String::from_utf8_lossy(&json(value)).into_owned();
    let mut forms = Vec::new();
    for (ascii, html, slash) in (0..8).map(|it| (it & 1 != 0, it & 2 != 0, it & 4 != 0)) {
        let mut text = String::new();
        for character in plain.chars() {
            let escape = (ascii && !character.is_ascii()) || (html && matches!(character, '<' | '>' | '&' | '\''));
            match character {
                '/' if slash => text.push_str("\\/"),
                _ if escape => {
                    let mut units = [0; 2];
                    character.encode_utf16(&mut units).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
                }
                _ => text.push(character),
            }
        }
        forms.push(text.into_bytes());
    }
    forms
}

/// As a part of something that is written in base64, behind `before` other bytes (modulo 3): those characters that the value
/// alone decides.
fn base64_forms(value: &str, before: usize) -> [Vec<u8>; 2] {
    let bytes = [&[0; 2][..before], value.as_bytes()].concat();
    // The first characters that have only bits of the value, and the end of the last such one.
    let (start, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)].map(|text| text.as_bytes()[start..end].to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Looks for these texts alone, in no other form.
    fn plain(texts: &[&str]) -> Redactor {
        let form = |(number, text): (usize, &&str)| Form {
            text: text.as_bytes().to_vec(),
            placeholder: format!("<{number}>").into_bytes().into(),
        };
        Redactor::of(texts.iter().enumerate().map(form).collect()).unwrap().unwrap()
    }

    fn in_pieces(redactor: Redactor, text: &[u8], mut length: impl FnMut() -> usize) -> Vec<u8> {
        let longest = redactor.longest;
        let (mut stream, mut rest, mut clean) = (Stream::new(Arc::new(redactor)), text, Vec::new());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(length().clamp(1, rest.len()));
            clean.extend(stream.push(piece));
            assert!(stream.held.text.len() < longest, "more is kept back than a form is long");
            rest = after;
        }
        clean.extend(stream.finish());
        clean
    }

    #[test]
    fn values_are_replaced_wherever_they_are_split() {
        for (texts, text, clean) in [
            (&["12345678"][..], "a12345678b1234567", "a<0>b1234567"),
            (&["12345678"], "1234567812345678", "<0><0>"),
            // One is the beginning of the other.
            (&["12345678", "12345678901"], "12345678901|12345678|1234567890", "<1>|<0>|<0>90"),
            // They overlap: nothing of either is left.
            (&["abcdefgh", "efghijkl"], "-abcdefghijkl-", "-<0>-"),
            (&["abababab"], "ababababab-abababa", "<0>-abababa"),
            (&["cdef", "abcdefgh"], "abcdef-abcdefgh", "ab<0>-<1>"),
        ] {
            assert_eq!(String::from_utf8(plain(texts).bytes(text.as_bytes())).unwrap(), clean, "{text}");
            for length in 1..=text.len() {
                let found = in_pieces(plain(texts), text.as_bytes(), || length);
                assert_eq!(String::from_utf8(found).unwrap(), clean, "{text} by {length}");
            }
        }
    }

    #[test]
    fn a_value_that_becomes_known_on_the_way_is_replaced() {
        let mut stream = Stream::new(Arc::new(plain(&["other"])));
        assert_eq!(stream.push(b"12345678 "), b"12345678 ");
        stream.look_for(Arc::new(plain(&["other", "12345678"])));
        assert_eq!(stream.push(b"12345678 123"), b"<1> ");
        stream.look_for(Arc::new(plain(&["other", "12345678", "123abc"])));
        assert_eq!(stream.push(b"abc 12345678"), b"<2> <1>");
        assert_eq!(stream.finish(), b"");
    }

    #[test]
    fn values_are_found_in_the_ways_in_which_texts_are_written() {
        let value = "s/ü+k <\"&'%\\>\n~*key";
        let redactor = Redactor::new([("token", value)]).unwrap().unwrap();
        let mut written = vec![
            value.to_owned(),
            serde_json::to_string(value).unwrap(),
            url::form_urlencoded::byte_serialize(value.as_bytes()).collect(),
            "s%2F%C3%BC%2Bk%20%3C%22%26%27%25%5C%3E%0A~%2Akey".to_owned(),
            "s%2f%c3%bc%2bk%20%3c%22%26%27%25%5c%3e%0a~%2akey".to_owned(),
            // encodeURIComponent and encodeURI.
            "s%2F%C3%BC%2Bk%20%3C%22%26'%25%5C%3E%0A~*key".to_owned(),
            "s/%C3%BC+k%20%3C%22&'%25%5C%3E%0A~*key".to_owned(),
            // PHP, Python and Go.
            r#"s\/\u00fc+k <\"&'%\\>\n~*key"#.to_owned(),
            r#"s/\u00fc+k <\"&'%\\>\n~*key"#.to_owned(),
            r#"s/ü+k \u003c\"\u0026\u0027%\\\u003e\n~*key"#.to_owned(),
            "s/ü+k &lt;&quot;&amp;&#39;%\\&gt;\n~*key".to_owned(),
            "732fc3bc2b6b203c222627255c3e0a7e2a6b6579".to_owned(),
        ];
        for user in ["", "u", "me", "you", "user:"] {
            written.push(base64::engine::general_purpose::STANDARD.encode(format!("{user}{value}")));
            written.push(base64::engine::general_purpose::URL_SAFE.encode(format!("{user}{value}{user}")));
        }
        for text in written {
            let clean = redactor.text(&format!("before {text} after"));
            assert!(clean.contains("{{secret:token}}"), "{text}: {clean}");
            // Of base64 what stands beside the value is left, and up to two characters that hold a few bits of both.
            let rest = clean.replace("{{secret:token}}", "").replace(['"', '='], "");
            assert!(rest.len() <= "before  after".len() + 16, "{text}: {clean}");
        }
        assert_eq!(redactor.text("nothing is here"), "nothing is here");
        assert!(!format!("{redactor:?}").contains("key"));
    }

    proptest! {
        /// A small alphabet, so that beginnings of forms are everywhere.
        #[test]
        fn how_a_text_is_split_changes_nothing(
            texts in prop::collection::vec("[ab]{4,8}", 1..4),
            text in "[abc]{0,80}",
            lengths in prop::collection::vec(1_usize..9, 1..40),
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let whole = String::from_utf8(plain(&texts).bytes(text.as_bytes())).unwrap();
            let mut lengths = lengths.iter().cycle();
            let pieces = in_pieces(plain(&texts), text.as_bytes(), || *lengths.next().unwrap());
            prop_assert_eq!(&String::from_utf8(pieces).unwrap(), &whole);
            for part in whole.split(['<', '>']) {
                prop_assert!(!texts.iter().any(|it| part.contains(it)), "{} leaves {}", text, whole);
            }
            // What belongs to no form is there, in its order.
            let mut covered = vec![false; text.len()];
            for at in 0..text.len() {
                for form in texts.iter().filter(|form| text[at..].starts_with(*form)) {
                    covered[at..at + form.len()].fill(true);
                }
            }
            let kept: String = text.chars().zip(covered).filter(|(_, covered)| !covered).map(|(it, _)| it).collect();
            let left: String = whole.chars().filter(char::is_ascii_alphabetic).collect();
            prop_assert_eq!(left, kept);
        }

        /// Whatever the value is, and wherever it stands.
        #[test]
        fn no_value_gets_through(
            value in "\\PC{8,40}",
            before in "\\PC{0,20}",
            after in "\\PC{0,20}",
            length in 1_usize..50,
        ) {
            let redactor = Redactor::new([("x", value.as_str())]).unwrap().unwrap();
            let text = format!("{before}{value}{after}");
            let clean = in_pieces(redactor, text.as_bytes(), || length);
            let clean = String::from_utf8(clean).unwrap();
            prop_assert!(clean.contains("{{secret:x}}"));
            prop_assert!(!clean.replace("{{secret:x}}", "").contains(&value) || value.contains("secret"));
        }
    }
}
