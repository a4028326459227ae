//! Whether a value can be a secret at all: what stands in for one, names, numbers, hashes, and code are none.

use crate::class::is_uuid;
use crate::name::Telling;
use crate::words::{entropy, is_wordy, pairs};

/// Longest value that is looked at, in bytes.
pub(crate) const LONGEST: usize = 512;

/// Longest password, in bytes; what is longer is a token, if anything.
const LONGEST_PASSWORD: usize = 128;

/// Parts of what people write where a secret is to be put in. Long enough not to turn up in random texts.
const STAND_INS: &[&str] = &[
    "example",
    "changeme",
    "change_me",
    "change-me",
    "changeit",
    "placeholder",
    "dummy",
    "sample",
    "xxxx",
    "****",
    "....",
    "____",
    "todo",
    "fixme",
    "replace",
    "insert",
    "redact",
    "hidden",
    "masked",
    "foobar",
    "your_",
    "your-",
    "yours",
    "yourp",
    "youra",
    "yourt",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "access_key",
    "private_key",
    "undefined",
    "default",
    "required",
    "optional",
    "invalid",
    "unknown",
    "removed",
    "not_set",
    "not-set",
    "notset",
    "fake",
    "mock",
    "qwerty",
    "hunter2",
    "credential",
    "never_",
    "not-a-",
    "username",
    "localhost",
    "encrypt",
    "123456789",
    "abcdef12",
    "abc123",
    "12345678",
    "87654321",
    "letmein",
    "no_pass",
    "nopass",
    "helloworld",
    "hello-world",
];

/// Names with digits that stand where secrets are spoken about.
const TERMS: &[&str] = &[
    "sha1",
    "sha-",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "md5",
    "base32",
    "base58",
    "base62",
    "base64",
    "utf8",
    "utf16",
    "aes128",
    "aes192",
    "aes256",
    "hs256",
    "hs384",
    "hs512",
    "rs256",
    "rs512",
    "es256",
    "es384",
    "ps256",
    "oauth2",
    "oauth1",
    "http2",
    "http1",
    "pbkdf2",
    "argon2",
    "ed25519",
    "x25519",
    "x509",
    "pkcs1",
    "pkcs7",
    "pkcs8",
    "pkcs11",
    "pkcs12",
    "p256",
    "secp256",
    "curve25519",
    "crc32",
    "gbk",
    "iso8859",
    "latin1",
    "ripemd160",
    "blake2",
    "poly1305",
    "chacha20",
    "ipv4",
    "ipv6",
    "utf32",
    "int32",
    "int64",
    "uint32",
    "uint64",
    "float64",
    "tls1",
];

fn contains(text: &[u8], part: &str) -> bool {
    memchr::memmem::find(&text.to_ascii_lowercase(), part.as_bytes()).is_some()
}

/// A text that people put where a secret belongs.
pub(crate) fn is_stand_in(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    STAND_INS.iter().any(|part| memchr::memmem::find(&lower, part.as_bytes()).is_some())
}

/// Digits or letters that go on by one step, or stay: `123456`, `abcdef`, `aaaa`; or few different ones.
pub(crate) fn is_sequence(value: &[u8]) -> bool {
    let steps = value.windows(2).filter(|pair| {
        let step = i16::from(pair[1]) - i16::from(pair[0]);
        (-1..=1).contains(&step) || pair == b"90" || pair == b"9a" || pair == b"9A"
    });
    let mut seen = [false; 256];
    value.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    let different = seen.iter().filter(|it| **it).count();
    let repeats = |length: usize| value.len() >= 2 * length && value[length..] == value[..value.len() - length];
    steps.count() * 10 >= value.len().saturating_sub(1) * 6
        || different <= 3
        || value.len() >= 16 && different <= 5
        || [4, 8, 10, 16].into_iter().any(repeats)
}

/// The value is had elsewhere, at run time: a variable, a template, a call, a reference.
fn is_reference(value: &[u8], is_quoted: bool) -> bool {
    let starts = |prefixes: &[&str]| {
        prefixes.iter().any(|it| value.len() >= it.len() && value[..it.len()].eq_ignore_ascii_case(it.as_bytes()))
    };
    let lower = value.to_ascii_lowercase();
    let inside = |parts: &[&str]| parts.iter().any(|it| memchr::memmem::find(&lower, it.as_bytes()).is_some());
    let variable = value.len() > 1
        && value[0] == b'$'
        && (value[1].is_ascii_alphabetic() || matches!(value[1], b'_' | b'{' | b'('));
    variable && (value[1] != b'_' || !is_quoted) && !value[1..].iter().any(|it| matches!(it, b'$' | b'!' | b'@' | b'#'))
        || starts(&[
            "enc(",
            "{cipher}",
            "vault:",
            "!vault",
            "arn:",
            "ref+",
            "file:",
            "env:",
            "env.",
            "op://",
            "{bcrypt}",
            "$2a$",
            "$2b$",
            "$2y$",
            "$argon2",
            "$1$",
            "$5$",
            "$6$",
            "pbkdf2_",
            "process.",
            "os.environ",
            "system.",
            "sha256:",
            "sha512-",
            "sha1-",
            "sha384-",
            "data:",
            "%(",
        ])
        || inside(&[
            "${",
            "{{",
            "}}",
            "#{",
            "<%",
            "%>",
            "://",
            "getenv",
            "=>",
            "()",
            "&&",
            "||",
            "->",
            "::",
            "\\d",
            "\\w",
            "(?",
            "[a-z",
            "[0-9",
            "],",
            "{}",
            "\\u",
            "\\x",
            "@@",
            "!important",
        ])
        || [&b"=="[..], b"%s", b"%d", b"%v"].iter().any(|it| inside_text(value, it))
        || value.first() == Some(&b'<') && value.last() == Some(&b'>')
        || value.first() == Some(&b'{') && value.last() == Some(&b'}')
        || value.first() == Some(&b'[') && value.last() == Some(&b']')
        || value.first() == Some(&b'%') && value.last() == Some(&b'%')
        || value.first() == Some(&b'_') && value.last() == Some(&b'_')
}

/// It holds `part` before its end, where base64 has padding.
fn inside_text(value: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(value, part).is_some_and(|at| at + part.len() < value.len())
}

/// A path, an address, a number, a version, a date, a regular expression or a selector.
fn is_other(value: &[u8]) -> bool {
    let only = |bytes: &[u8]| value.iter().all(|it| it.is_ascii_digit() || bytes.contains(it));
    let slashes = value.iter().filter(|it| **it == b'/').count();
    let at = value.iter().position(|it| *it == b'@');
    let is_domain = |rest: &[u8]| {
        [".com", ".cn", ".net", ".org", ".io", ".local", ".invalid"].iter().any(|it| rest.ends_with(it.as_bytes()))
    };
    only(b".,:/-+_ ()xX")
        || value.starts_with(b"*.")
        || matches!(value, [b'^', .., b'$'])
        || matches!(value[0], b'/' | b'~' | b'.') && (slashes > 1 || is_wordy(value))
        || value.starts_with(b"./")
        || value.starts_with(b"../")
        || at.is_some_and(|at| is_domain(&value[at..]))
        || value.starts_with(b"0x") && value[2..].iter().all(u8::is_ascii_hexdigit) && value.len() <= 18
        || is_wechat_app(value)
}

/// The public identifier of an application of WeChat.
pub(crate) fn is_wechat_app(value: &[u8]) -> bool {
    value.len() == 18 && value.starts_with(b"wx") && value[2..].iter().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

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
        let term = TERMS.iter().any(|it| contains(text, it));
        if term && text.len() < 14 || self.reads_like_code() {
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
