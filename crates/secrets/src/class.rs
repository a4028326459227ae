//! The alphabets that keys are written in, and checks of what was read in one.

/// A set of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// `0-9a-f`
    Hex,
    /// `A-Z0-9`
    Upper,
    /// `0-9A-Za-z`
    Alnum,
    /// `0-9A-Za-z_-`, the alphabet of base64 for URLs
    Url64,
    /// `0-9A-Za-z+/=`
    Base64,
    /// `0-9a-f-`, as of UUIDs
    Uuid,
    /// `0-9A-Za-z_.-`
    Dotted,
    /// `0-9A-Za-z/_-`, parts of a path
    Path,
}

impl Class {
    pub(crate) fn holds(self, byte: u8) -> bool {
        match self {
            Self::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::Upper => byte.is_ascii_digit() || byte.is_ascii_uppercase(),
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Url64 => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='),
            Self::Uuid => matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'),
            Self::Path => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'/' | b'-'),
        }
    }

    pub(crate) fn holds_all(self, text: &[u8]) -> bool {
        text.iter().all(|byte| self.holds(*byte))
    }

    /// How many bytes at the beginning of `text` are of this class; looks at `limit + 1` of them at most.
    pub(crate) fn run(self, text: &[u8], limit: usize) -> usize {
        text.iter().take(limit + 1).take_while(|byte| self.holds(**byte)).count()
    }
}

/// 8-4-4-4-12 hexadecimal digits, in either case.
pub(crate) fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether the last six characters are the CRC-32 of those before them, in base 62. So end the tokens of GitHub since 2021
/// (<https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/>) and those of npm.
pub(crate) fn ends_in_crc(body: &[u8]) -> bool {
    let Some((random, checksum)) = body.split_last_chunk::<6>() else { return false };
    let mut rest = crc32fast::hash(random);
    checksum.iter().rev().all(|digit| {
        let expected = BASE62[(rest % 62) as usize];
        rest /= 62;
        *digit == expected
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums() {
        // The random part and checksum that are the usual example of the format.
        let body = [&b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ"[..], b"0mLq17"].concat();
        assert!(ends_in_crc(&body));
        assert!(!ends_in_crc(&body[1..]) && !ends_in_crc(b"") && !ends_in_crc(b"0mLq17"));
    }

    #[test]
    fn uuids() {
        assert!(is_uuid(b"0f8fad5b-D9cb-469f-a165-70867728950e"));
        assert!(!is_uuid(b"0f8fad5b-d9cb-469f-a165-70867728950") && !is_uuid(b"0f8fad5b0d9cb-469f-a165-70867728950e"));
    }

    #[test]
    fn runs_stop_at_the_limit() {
        assert_eq!(Class::Hex.run(b"abcg", 10), 3);
        assert_eq!(Class::Hex.run(b"abcdef", 3), 4);
    }
}
