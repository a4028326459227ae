//! Whether a value can be a secret at all: what stands in for one, names, numbers, hashes, and code are none.

mod stand_in;

use crate::class::is_uuid;
use crate::name::Telling;
use crate::words::{entropy, is_wordy, pairs};
use stand_in::{contains, has_term, is_other, is_reference};

pub(crate) use stand_in::{is_sequence, is_stand_in};

/// Longest value that is looked at, in bytes.
pub(crate) const LONGEST: usize = 512;

/// Longest password, in bytes; what is longer is a token, if anything.
const LONGEST_PASSWORD: usize = 128;
/// A value and what is known of the place where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) is_quoted: bool,
    pub(crate) telling: Telling,
    /// Texts for people, minified code and the like: only what looks random counts.
    pub(crate) is_doubtful: bool,
}

impl Value<'_> {
    /// Whether it can be what its name says.
    pub(crate) fn is_plausible(self) -> bool {
        let text = self.text;
        let salt = self.telling != Telling::Password && text.len() >= 40 && entropy(text) >= 4.5 && symbols(text) >= 6;
        if salt
            && self.is_quoted
            && !is_wordy(text)
            && !contains(text, "${")
            && text.iter().all(|it| it.is_ascii_graphic() || *it == b' ')
        {
            return true;
        }
        let longest = if self.telling == Telling::Password { LONGEST_PASSWORD } else { LONGEST };
        (6..=longest).contains(&text.len())
            && text.iter().all(u8::is_ascii_graphic)
            && self.is_strong()
            && !is_sequence(text)
            && !is_other(text)
            && !is_uuid(text)
            && !is_stand_in(text)
            && !is_reference(text, self.is_quoted)
    }

    /// It has what people or generators put into a secret of that kind, and does not read like a name.
    fn is_strong(self) -> bool {
        let text = self.text;
        let count = |of: fn(&u8) -> bool| text.iter().filter(|it| of(it)).count();
        let (digits, lower, upper) =
            (count(u8::is_ascii_digit), count(u8::is_ascii_lowercase), count(u8::is_ascii_uppercase));
        let letters = lower + upper;
        let marks = symbols(text);
        if self.telling != Telling::Password || self.is_doubtful {
            let least = if self.telling == Telling::Secret && !self.is_doubtful { 12 } else { 16 };
            let bits = entropy(text);
            let random = if digits + letters == text.len() || marks * 6 <= text.len() { 2.9 } else { 3.3 };
            return text.len() >= least
                && bits >= random
                && letters > 0
                && !(is_wordy(text) && pairs(text).0 * 2 >= text.len())
                && (digits >= 2 || lower > 1 && upper > 1 && looks_random(text))
                && !is_dotted_name(text);
        }
        if has_term(text) && text.len() < 14 || self.reads_like_code() {
            return false;
        }
        match (digits > 0, marks > 0) {
            (true, _) if letters > 0 => {
                // `column2`, `step-10`: a name with a number. A password has more, or is one of the kind `woaini520`.
                let name_like = digits == 1 && marks == 0 && is_wordy(text) && text[text.len() - 1].is_ascii_digit();
                !name_like && (text.len() >= 8 || marks > 0 || digits >= 2) && !is_dotted_name(text)
            }
            (true, true) => text.len() >= 8,
            (false, true) => letters >= 4 && !is_dotted_name(text) && !text.ends_with(b":") && !text.ends_with(b"."),
            (false, false) => text.len() >= 8 && looks_random(text),
            _ => false,
        }
    }

    /// Brackets and operators that do not stand in what is typed as a password, or an expression without quotes.
    fn reads_like_code(self) -> bool {
        let text = self.text;
        let opens = |a: u8, b: u8| text.contains(&a) && text.contains(&b);
        if self.is_quoted {
            return opens(b'(', b')') && is_wordy(text) || opens(b'[', b']') && is_wordy(text) || opens(b'<', b'>');
        }
        text[0] == b'{' || opens(b'(', b')') || opens(b'[', b']') || text.ends_with(b"(") || text.ends_with(b"{")
    }
}

/// Parts of letters with dots, dashes or underlines between, and perhaps a number at an end.
fn is_dotted_name(text: &[u8]) -> bool {
    let separators = text.iter().filter(|it| matches!(it, b'.' | b'_' | b'-' | b':' | b'/')).count();
    let others = text.iter().filter(|it| !it.is_ascii_alphanumeric()).count() - separators;
    let digits = text.iter().filter(|it| it.is_ascii_digit()).count();
    separators > 0 && others == 0 && is_wordy(text) && digits * 5 <= text.len()
        || separators > 0 && others == 0 && digits == 0 && text.len() < 16
}

/// Letters in an order that words do not have.
fn looks_random(text: &[u8]) -> bool {
    let (all, common) = pairs(text);
    all >= 5 && common * 100 <= all * 58
}

fn symbols(text: &[u8]) -> usize {
    text.iter().filter(|it| it.is_ascii_punctuation()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(telling: Telling, text: &str) -> bool {
        Value { text: text.as_bytes(), is_quoted: true, telling, is_doubtful: false }.is_plausible()
    }

    #[test]
    fn passwords() {
        for yes in ["Mall@8842", "kq7Zp2vW", "woaini5210", "x!9fQ_pL", "Tr0ub4dor&3", "zkqvbxwpjh"] {
            assert!(is(Telling::Password, yes), "{yes}");
        }
        for no in [
            "password",
            "changeme",
            "${DB_PASS}",
            "{{ pass }}",
            "<password>",
            "process.env.PASS",
            "123456",
            "abcdefgh",
            "sha256",
            "column2",
            "Passwort",
            "密码",
            "user.password",
            "your-pass-1",
            "********",
            "$DB_PASS",
            "%(pass)s",
            "a@b.com",
            "2026-11-02",
            "127.0.0.1:80",
            "current-password",
            "get_password()",
            "^[a-z]+$",
            "new_password_field",
            "ENC(aGVsbG8x)",
            "0f8fad5b-d9cb-469f-a165-70867728950e",
            "/run/secrets/db1",
            "$2a$10$N9qo8uLOickgx2ZMRZoMye",
        ] {
            assert!(!is(Telling::Password, no), "{no}");
        }
    }

    #[test]
    fn keys_and_tokens() {
        for yes in ["9f86d081884c7d659a2feaa0c55ad015", "kJ8sPq2LmZx0vB3nWt6Y", "wJalrXUtnFEMIK7MDENGbPxRfiCY"] {
            assert!(is(Telling::Token, yes) && is(Telling::Key, yes) && is(Telling::Secret, yes), "{yes}");
        }
        for no in [
            "StringLiteralTokenKind",
            "0123456789abcdef0123456789abcdef",
            "refresh_token_v2",
            "kJ8sPq2Lm",
            "csrf-token-header-name-2",
        ] {
            assert!(!is(Telling::Token, no), "{no}");
        }
    }

    #[test]
    fn sequences() {
        for yes in ["0123456789abcdef", "aaaaaaaa", "abcdefg", "deadbeefdeadbeef", "ababab", "987654321"] {
            assert!(is_sequence(yes.as_bytes()), "{yes}");
        }
        assert!(!is_sequence(b"9f86d081884c7d65") && !is_sequence(b"woaini520"));
    }
}
