//! What stands where a secret could: placeholders, references, and values of other kinds.

use crate::words::is_wordy;

/// Parts of what people write where a secret is to be put in. Long enough not to turn up in random texts.
const STAND_INS: &str = "example changeme change_me change-me changeit placeholder dummy sample xxxx **** .... ____ todo \
    fixme replace insert redact hidden masked foobar your_ your- yours yourp youra yourt password passwd \
    passphrase secret token apikey api_key api-key access_key private_key undefined default required \
    optional invalid unknown removed not_set not-set notset fake mock qwerty hunter2 credential never_ \
    not-a- username localhost encrypt 123456789 abcdef12 abc123 12345678 87654321 letmein no_pass nopass \
    helloworld hello-world";

/// Names with digits that stand where secrets are spoken about.
const TERMS: &str = "sha1 sha- sha224 sha256 sha384 sha512 md5 base32 base58 base62 base64 utf8 utf16 aes128 aes192 \
    aes256 hs256 hs384 hs512 rs256 rs512 es256 es384 ps256 oauth2 oauth1 http2 http1 pbkdf2 argon2 \
    ed25519 x25519 x509 pkcs1 pkcs7 pkcs8 pkcs11 pkcs12 p256 secp256 curve25519 crc32 gbk iso8859 latin1 \
    ripemd160 blake2 poly1305 chacha20 ipv4 ipv6 utf32 int32 int64 uint32 uint64 float64 tls1";

/// How a value begins that is kept elsewhere, or is no more than a hash.
const REFERENCES: &str = "enc( {cipher} vault: !vault arn: ref+ file: env: env. op:// {bcrypt} $2a$ $2b$ $2y$ $argon2 $1$ $5$ \
    $6$ pbkdf2_ process. os.environ system. sha256: sha512- sha1- sha384- data: %(";

/// What templates, expressions and patterns hold, and what people type does not.
const EXPRESSIONS: &str =
    "${ {{ }} #{ <% %> :// getenv => () && || -> :: \\d \\w (? [a-z [0-9 ], {} \\u \\x @@ !important";

/// Whether a text holds a part that is in lower case, in either case of letters.
pub(super) fn contains(text: &[u8], part: &str) -> bool {
    memchr::memmem::find(&text.to_ascii_lowercase(), part.as_bytes()).is_some()
}

/// A text that people put where a secret belongs.
pub(crate) fn is_stand_in(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    STAND_INS.split(' ').any(|part| memchr::memmem::find(&lower, part.as_bytes()).is_some())
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
pub(super) fn is_reference(value: &[u8], is_quoted: bool) -> bool {
    let lower = value.to_ascii_lowercase();
    let starts = |prefixes: &str| prefixes.split(' ').any(|it| lower.starts_with(it.as_bytes()));
    let inside = |parts: &str| parts.split(' ').any(|it| memchr::memmem::find(&lower, it.as_bytes()).is_some());
    let variable = value.len() > 1
        && value[0] == b'$'
        && (value[1].is_ascii_alphabetic() || matches!(value[1], b'_' | b'{' | b'('));
    variable && (value[1] != b'_' || !is_quoted) && !value[1..].iter().any(|it| matches!(it, b'$' | b'!' | b'@' | b'#'))
        || starts(REFERENCES)
        || inside(EXPRESSIONS)
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
pub(super) fn is_other(value: &[u8]) -> bool {
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

/// The name of an algorithm or a format is in it.
pub(super) fn has_term(text: &[u8]) -> bool {
    TERMS.split(' ').any(|it| contains(text, it))
}
