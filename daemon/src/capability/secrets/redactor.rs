//! Takes the values of secrets out of what comes from outside, and puts their placeholders there instead.
//!
//! A server may give back what it was sent: as it was, or in one of the ways in which texts are written into other texts. How much of
//! a text such a way escapes, and with which digits, is different everywhere. So nobody guesses whole forms here: each character may
//! be written in each of its ways ([`escape`]), whatever the ones beside it are written in, in small letters or in capital ones. What
//! no character says alone, hexadecimal and base64, are forms of a value beside the value itself.
//!
//! A body comes in pieces, and a form may be split among any number of them: the end of what came so far is kept back while it is the
//! beginning of a form, and nothing else is. Whether a form begins at a place depends on nothing before it.
//!
//! The rule that the tests hold it to: what comes out holds no form of any secret, and how the text was split changes nothing.

mod escape;

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use self::escape::Escape;
use super::template::placeholder;

/// What is looked for. Shared by all answers of a run.
pub(crate) struct Redactor {
    /// In small letters, sorted, each once.
    forms: Vec<Form>,
    /// The forms that begin with a byte: from one place to another.
    begin: [(usize, usize); 256],
    /// Which two bytes, one for each row and one for each bit, a form may begin with, as it is or escaped.
    pairs: Box<[[u64; 4]; 256]>,
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

/// How far a form was followed: the forms that are still possible, and how many of their bytes were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    at: usize,
    low: usize,
    high: usize,
    depth: usize,
}

/// What begins at a place of a text.
#[derive(Debug, Default)]
struct Begun {
    /// Where the longest form ends, and its place among the forms.
    form: Option<(usize, usize)>,
    /// How far it goes where the text ends, when what comes next can make a form of it, or a longer one.
    open: Vec<Step>,
}

impl Redactor {
    /// Looks for these secrets, by name and value. None when there are none.
    pub(crate) fn new<'s>(secrets: impl IntoIterator<Item = (&'s str, &'s str)>) -> Option<Self> {
        let mut forms = Vec::new();
        for (name, value) in secrets {
            let placeholder: Arc<[u8]> = placeholder(name).into_bytes().into();
            let form = |text| Form { text, placeholder: Arc::clone(&placeholder) };
            forms.extend(forms_of(value).into_iter().map(form));
        }
        Self::of(forms)
    }

    fn of(mut forms: Vec<Form>) -> Option<Self> {
        forms.iter_mut().for_each(|form| form.text.make_ascii_lowercase());
        forms.retain(|form| !form.text.is_empty());
        forms.sort_by(|one, other| one.text.cmp(&other.text));
        forms.dedup_by(|one, other| one.text == other.text);
        if forms.is_empty() {
            return None;
        }
        let mut begin = [(0, 0); 256];
        let mut pairs = Box::new([[0; 4]; 256]);
        let mut pair = |first: u8, second: u8| {
            pairs[usize::from(first)][usize::from(second >> 6)] |= 1_u64 << (second & 63);
        };
        for (at, form) in forms.iter().enumerate() {
            let first = form.text[0];
            let range = &mut begin[usize::from(first)];
            *range = (if range.1 == 0 { at } else { range.0 }, at + 1);
            for first in [first, first.to_ascii_uppercase()] {
                match form.text.get(1) {
                    Some(second) => {
                        let seconds = [*second, second.to_ascii_uppercase()];
                        seconds.into_iter().chain(escape::BEGIN).for_each(|second| pair(first, second));
                    }
                    None => (0..=u8::MAX).for_each(|second| pair(first, second)),
                }
            }
        }
        escape::BEGIN.iter().for_each(|first| (0..=u8::MAX).for_each(|second| pair(*first, second)));
        Some(Self { forms, begin, pairs })
    }

    /// Whether the text holds a form.
    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        (0..text.len()).any(|at| self.may_begin(text, at) && self.begun(text, at).form.is_some())
    }

    /// A whole text without the values.
    pub(crate) fn bytes(&self, text: &[u8]) -> Vec<u8> {
        let mut held = Held { text: text.to_vec(), ..Held::default() };
        held.let_go(self, true)
    }

    /// A whole text without the values.
    pub(crate) fn text(&self, text: &str) -> String {
        if self.is_in(text.as_bytes()) {
            String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
        } else {
            text.to_owned()
        }
    }

    /// Whether a form can begin at this place, as far as two bytes tell: mostly they tell enough.
    fn may_begin(&self, text: &[u8], at: usize) -> bool {
        let second = text.get(at + 1);
        second.is_none_or(|it| self.pairs[usize::from(text[at])][usize::from(it >> 6)] >> (it & 63) & 1 != 0)
    }

    /// What begins at this place.
    fn begun(&self, text: &[u8], at: usize) -> Begun {
        let step = Step { at, low: 0, high: self.forms.len(), depth: 0 };
        self.go_on(text, Begun { form: None, open: vec![step] })
    }

    /// What has begun, with all that has come since.
    fn go_on(&self, text: &[u8], begun: Begun) -> Begun {
        let Begun { mut form, open: mut steps } = begun;
        let mut open = Vec::new();
        // Where a character can be both itself and the beginning of an escape, and forms have either. That is rare.
        let mut known = BTreeSet::new();
        let mut next = steps.pop();
        while let Some(step) = next {
            if self.forms[step.low].text.len() == step.depth && form.is_none_or(|(end, _)| end < step.at) {
                form = Some((step.at, step.low));
            }
            let (plain, escaped) = match text.get(step.at) {
                None => {
                    open.extend(self.is_longer(step).then_some(step));
                    (None, None)
                }
                Some(byte) => {
                    let plain = self.follow(step, 1, &[*byte]);
                    let escaped = match escape::at(&text[step.at..]) {
                        Escape::None => None,
                        Escape::Open => {
                            open.extend(self.is_longer(step).then_some(step));
                            None
                        }
                        Escape::Of { bytes, count, length } => self.follow(step, length, &bytes[..count]),
                    };
                    (plain, escaped)
                }
            };
            if let (Some(_), Some(other)) = (plain, escaped)
                && known.insert(other)
            {
                steps.push(other);
            }
            next = plain.or(escaped).or_else(|| steps.pop());
        }
        open.sort_unstable();
        open.dedup();
        Begun { form, open }
    }

    /// Whether a form is longer than what was found of it.
    fn is_longer(&self, step: Step) -> bool {
        self.forms[step.high - 1].text.len() > step.depth
    }

    /// The forms that have these bytes next; none when there is none. They are written in `length` bytes of the text.
    fn follow(&self, step: Step, length: usize, bytes: &[u8]) -> Option<Step> {
        let mut next = Step { at: step.at + length, ..step };
        for byte in bytes.iter().map(u8::to_ascii_lowercase) {
            if next.depth == 0 {
                (next.low, next.high) = self.begin[usize::from(byte)];
                (next.low < next.high).then_some(())?;
                next.depth = 1;
                continue;
            }
            let forms = &self.forms[next.low..next.high];
            let has = |form: &Form| form.text.get(next.depth).copied();
            // Mostly there is one, or none.
            if let [form] = forms {
                (has(form) == Some(byte)).then_some(())?;
            } else {
                let below = forms.partition_point(|form| has(form) < Some(byte));
                let same = forms[below..].partition_point(|form| has(form) == Some(byte));
                (same > 0).then_some(())?;
                (next.low, next.high) = (next.low + below, next.low + below + same);
            }
            next.depth += 1;
        }
        Some(next)
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
        if !Arc::ptr_eq(&self.redactor, &redactor) {
            (self.redactor, self.held.begun) = (redactor, None);
        }
    }

    /// Takes a piece; gives what is certain not to belong to a value, and may be empty.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.text.extend_from_slice(piece);
        self.held.let_go(&self.redactor, false)
    }

    /// The rest, when nothing comes any more.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.held.let_go(&self.redactor, true)
    }
}

/// What was not let go yet.
#[derive(Default)]
struct Held {
    text: Vec<u8>,
    /// So much at its beginning belongs to a form whose placeholder was let go already.
    covered: usize,
    /// What begins with its first byte, as far as that was followed: so that a byte is looked at once, in however many pieces it all
    /// comes.
    begun: Option<Begun>,
}

/// It may hold values.
impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held({})", self.text.len())
    }
}

impl Held {
    /// Lets go of all that is no beginning of a form, or of all when nothing comes any more. Forms that overlap are replaced as one.
    fn let_go(&mut self, redactor: &Redactor, is_whole: bool) -> Vec<u8> {
        let text = &self.text;
        let mut clean = Vec::new();
        let (mut done, mut most) = (self.covered, text.len());
        for start in 0..text.len() {
            let before = if start == 0 { self.begun.take() } else { None };
            let begun = match before {
                Some(before) => redactor.go_on(text, before),
                None if redactor.may_begin(text, start) => redactor.begun(text, start),
                None => continue,
            };
            if !begun.open.is_empty() && !is_whole {
                (most, self.begun) = (start, Some(begun));
                break;
            }
            if let Some((end, form)) = begun.form {
                if start >= done {
                    clean.extend_from_slice(&text[done..start]);
                    clean.extend_from_slice(&redactor.forms[form].placeholder);
                }
                done = done.max(end);
            }
        }
        if done < most {
            clean.extend_from_slice(&text[done..most]);
        }
        self.covered = done.saturating_sub(most);
        self.text.drain(..most);
        if let Some(begun) = &mut self.begun {
            begun.form.iter_mut().for_each(|(end, _)| *end -= most);
            begun.open.iter_mut().for_each(|step| step.at -= most);
        }
        clean
    }
}

/// How often a value may have begun again at one place, on average over any of its beginnings: 64 times one character, or 128 times two.
const MOST_REPEATED: usize = 32;

/// Whether a value begins again and again within itself, so that looking for it would take long: a text of the same kind has to be
/// followed from each of its places, until it is known where the value ends.
pub(crate) fn repeats_itself(value: &str) -> bool {
    let value = value.to_ascii_lowercase().into_bytes();
    // For each beginning of the value the longest end of it that the value begins with, as Knuth, Morris and Pratt have it, and how
    // many such ends there are. So often has it begun again, and is not known to be another text.
    let (mut ends, mut counts, mut sum) = (vec![0_usize], vec![0_usize], 0);
    for length in 1..value.len() {
        let mut end = ends[length - 1];
        while end > 0 && value[end] != value[length] {
            end = ends[end - 1];
        }
        end += usize::from(value[end] == value[length]);
        let count = if end == 0 { 0 } else { counts[end - 1] + 1 };
        ends.push(end);
        counts.push(count);
        sum += count;
        if sum > MOST_REPEATED * (length + 1) {
            return true;
        }
    }
    false
}

/// What a value may come back as, before it is escaped.
fn forms_of(value: &str) -> BTreeSet<Vec<u8>> {
    let hexadecimal = value.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    // Of letters beyond ASCII the capital ones are others.
    let mut forms: BTreeSet<Vec<u8>> =
        [value.to_owned(), value.to_lowercase(), value.to_uppercase(), hexadecimal].map(String::into_bytes).into();
    for before in 0..3 {
        forms.extend(base64_forms(value, before));
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
        Redactor::of(texts.iter().enumerate().map(form).collect()).unwrap()
    }

    fn in_pieces(redactor: Redactor, text: &[u8], mut length: impl FnMut() -> usize) -> Vec<u8> {
        let longest = redactor.forms.iter().map(|form| form.text.len() * escape::LONGEST).max().unwrap();
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
        let redactor = Redactor::new([("token", value)]).unwrap();
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
            // Gson, System.Text.Json, JavaScript, and html/template of Go.
            r#"s/ü+k \u003c\"\u0026\u0027%\\\u003e\n~*key"#.to_owned(),
            r#"s/\u00FC\u002Bk \u003C\u0022\u0026\u0027%\\\u003E\n~*key"#.to_owned(),
            r#"s\/\xfc\x2bk\x20<\"&\'%\\>\n~*key"#.replace(r"\xfc", "ü"),
            "s/ü&#43;k &lt;&#34;&amp;&#39;%\\&gt;\n~*key".to_owned(),
            "s&sol;ü&plus;k &lt;&quot;&amp;&apos;&percnt;&bsol;&gt;&NewLine;~&ast;key".to_owned(),
            // All of it.
            value.bytes().map(|byte| format!("%{byte:02x}")).collect(),
            value.chars().map(|it| format!("\\u{:04X}", u32::from(it))).collect(),
            value.chars().map(|it| format!("&#{};", u32::from(it))).collect(),
            value.chars().map(|it| format!("&#x{:X};", u32::from(it))).collect(),
            // As if it were no secret but a word.
            value.to_uppercase(),
            value.to_lowercase(),
            url::form_urlencoded::byte_serialize(value.to_uppercase().as_bytes()).collect(),
            "732FC3BC2B6B203C222627255C3E0A7E2A6B6579".to_owned(),
        ];
        for user in ["", "u", "me", "you", "user:"] {
            let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}{value}"));
            written.push(url::form_urlencoded::byte_serialize(encoded.as_bytes()).collect());
            written.push(encoded.replace('/', r"\/").replace('+', r"\u002B"));
            written.push(encoded);
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

    /// What is looked for stays a small multiple of the value.
    #[test]
    fn a_long_secret_is_no_burden() {
        let value: String = (0..4_096_u32).map(|it| char::from(33 + (it * 7919 % 94) as u8)).collect();
        let redactor = Redactor::new([("x", value.as_str())]).unwrap();
        assert!(redactor.forms.iter().map(|form| form.text.len()).sum::<usize>() < 12 * value.len());
        let encoded: String = value.bytes().map(|byte| format!("&#x{byte:x};")).collect();
        assert_eq!(redactor.text(&encoded.repeat(3)), "{{secret:x}}".repeat(3));
        // Where an escape can be read in two ways all the time, it is not read in all ways there are.
        let slashes = Redactor::new([("x", "\\".repeat(64).as_str())]).unwrap();
        assert_eq!(slashes.text(&"\\".repeat(127)), "{{secret:x}}");
    }

    #[test]
    fn what_repeats_itself_is_told_from_what_does_not() {
        let random: String = (0..4_096_u32).map(|it| char::from(33 + (it * 7919 % 94) as u8)).collect();
        for value in ["aaaaaaaa", &"0".repeat(64), &"-".repeat(64), &random, &random[..94], &"changeme".repeat(64)] {
            assert!(!repeats_itself(value), "{value}");
        }
        for value in ["a".repeat(70), "Ab".repeat(140), "\\".repeat(4_096), "-".repeat(128) + &random] {
            assert!(repeats_itself(&value), "{value}");
        }
    }

    /// As long as what is slowest of what may be a secret.
    #[test]
    fn what_may_be_a_secret_is_found_in_bounded_time() {
        let value = "a".repeat(65);
        assert!(!repeats_itself(&value));
        let redactor = Redactor::new([("x", value.as_str())]).unwrap();
        assert_eq!(redactor.text(&"a".repeat(256 * 1024)), "{{secret:x}}");
    }

    /// A character as texts of other kinds have it.
    fn written(character: char, way: usize) -> String {
        let number = u32::from(character);
        let percent = |digit: &dyn Fn(u8) -> String| character.to_string().bytes().map(digit).collect::<String>();
        match way {
            0 => percent(&|byte| format!("%{byte:02x}")),
            1 => percent(&|byte| format!("%{byte:02X}")),
            2 => character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            3 => character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04X}")).collect(),
            4 => format!("&#{number};"),
            5 => format!("&#x{number:x};"),
            6 if character.is_ascii_punctuation() => format!("\\{character}"),
            7 => character.to_ascii_uppercase().to_string(),
            _ => character.to_string(),
        }
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
            let redactor = Redactor::new([("x", value.as_str())]).unwrap();
            let text = format!("{before}{value}{after}");
            let clean = in_pieces(redactor, text.as_bytes(), || length);
            let clean = String::from_utf8(clean).unwrap();
            prop_assert!(clean.contains("{{secret:x}}"));
            prop_assert!(!clean.replace("{{secret:x}}", "").contains(&value) || value.contains("secret"));
        }

        /// However each of its characters is written.
        #[test]
        fn no_value_gets_through_escaped(
            value in "[a-zA-Z0-9+/=&%\\\\<>\"' ü😀]{8,20}",
            ways in prop::collection::vec(0_usize..9, 1..20),
            lengths in prop::collection::vec(1_usize..9, 1..20),
        ) {
            let written: String = value.chars().zip(ways.iter().cycle()).map(|(it, way)| written(it, *way)).collect();
            let redactor = Redactor::new([("x", value.as_str())]).unwrap();
            let mut lengths = lengths.iter().cycle();
            let clean = in_pieces(redactor, format!("<{written}>").as_bytes(), || *lengths.next().unwrap());
            prop_assert_eq!(String::from_utf8(clean).unwrap(), "<{{secret:x}}>");
        }
    }
}
