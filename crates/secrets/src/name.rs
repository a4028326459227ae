//! Names that tell that the value beside them is a secret.

/// What a name says that its value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    Password,
    Secret,
    Token,
    Key,
}

/// Longest name that is looked at, in bytes.
pub(crate) const LONGEST: usize = 96;

/// What may come after the telling word and does not change what the value is.
const TAILS: &[&str] = &[
    "value",
    "str",
    "string",
    "text",
    "plain",
    "plaintext",
    "raw",
    "base64",
    "base",
    "hex",
    "prod",
    "production",
    "dev",
    "test",
    "staging",
    "online",
    "default",
    "live",
    "bytes",
    "new",
    "old",
    "root",
    "admin",
    "master",
    "here",
];

/// Words before `key` that make it one to keep.
const KEYS: &[&str] = &[
    "api",
    "access",
    "secret",
    "private",
    "auth",
    "aes",
    "des",
    "rsa",
    "sign",
    "signing",
    "signature",
    "encrypt",
    "encryption",
    "decrypt",
    "decryption",
    "crypto",
    "cipher",
    "mch",
    "mchv3",
    "merchant",
    "partner",
    "pay",
    "v2",
    "v3",
    "apiv2",
    "apiv3",
    "app",
    "master",
    "account",
    "map",
    "secure",
    "nonce",
    "loggedin",
    "jwt",
    "hmac",
    "session",
    "cookie",
    "storage",
    "license",
    "service",
    "webhook",
    "admin",
    "shared",
    "hash",
    "priv",
    "subscription",
];

/// Words that end like a telling one.
const OTHERS: &[&str] = &[
    "bypass",
    "compass",
    "surpass",
    "encompass",
    "trespass",
    "underpass",
    "overpass",
    "onepass",
    "multipass",
    "firstpass",
    "renderpass",
    "singlepass",
    "publickey",
    "monkey",
];

/// Bytes of which names are made.
pub(crate) fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// A name in lower case, without what separates its words.
pub(crate) fn flatten(name: &[u8]) -> String {
    name.iter().filter(|it| it.is_ascii_alphanumeric()).map(|it| char::from(it.to_ascii_lowercase())).collect()
}

/// What a name tells; none for most names. `flat` is as [`flatten`] gives it.
pub(crate) fn telling(flat: &str) -> Option<Telling> {
    let mut rest = flat;
    loop {
        let before = rest;
        rest = rest.trim_end_matches(|it: char| it.is_ascii_digit());
        if let Some(found) = telling_end(rest) {
            return Some(found);
        }
        rest = ending(rest, TAILS).unwrap_or(rest);
        if rest == before || rest.is_empty() {
            return None;
        }
    }
}

fn telling_end(flat: &str) -> Option<Telling> {
    const PASSWORDS: &[&str] =
        &["password", "passwd", "pwd", "pass", "passphrase", "masterauth", "passcode", "passwort", "kennwort"];
    let ends = |words| ending(flat, words).is_some();
    let telling = if ends(PASSWORDS) {
        Telling::Password
    } else if ends(&["secret", "salt", "secretkeybase"]) {
        Telling::Secret
    } else if ends(&["token", "credential", "credentials"]) {
        Telling::Token
    } else {
        ending(flat.strip_suffix("key")?, KEYS).map(|_| Telling::Key)?
    };
    (!ends(OTHERS)).then_some(telling)
}

/// What stands before the first of these words that the text ends with. Nearly all texts end with none of them, which the last
/// byte tells: this is asked for each name of each file.
fn ending<'t>(text: &'t str, words: &[&str]) -> Option<&'t str> {
    let last = text.as_bytes().last()?;
    words.iter().filter(|it| it.as_bytes().last() == Some(last)).find_map(|it| text.strip_suffix(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let tells = |name: &str| telling(&flatten(name.as_bytes()));
        for (name, expected) in [
            ("spring.datasource.password", Some(Telling::Password)),
            ("DB_PASS", Some(Telling::Password)),
            ("rootPwd", Some(Telling::Password)),
            ("password2", Some(Telling::Password)),
            ("appSecret", Some(Telling::Secret)),
            ("jwt-secret", Some(Telling::Secret)),
            ("accessToken", Some(Telling::Token)),
            ("API_KEY_PROD", Some(Telling::Key)),
            ("secretAccessKey", Some(Telling::Key)),
            ("SECRET_KEY_BASE", Some(Telling::Secret)),
            ("public_key", None),
            ("primaryKey", None),
            ("token_type", None),
            ("password_hash", None),
            ("passwordField", None),
            ("secret_name", None),
            ("access_key_id", None),
            ("bypass", None),
            ("tokenizer", None),
            ("base", None),
            ("", None),
        ] {
            assert_eq!(tells(name), expected, "{name}");
        }
    }
}
