//! `~/.npm`: `_cacache` has entries in `index-v5`, each naming its content by checksum, content in `content-v2`, and downloads in
//! `tmp`. An entry whose content is gone makes the next `npm install` fail before npm forgets it. So a survey reads the
//! entries that stay, and what they name stays too; content that was written but is in no entry yet is young.

use std::collections::HashSet;
use std::io::Read;

use upkeep_plugin::files::Root;
use upkeep_plugin::{HostError, Result};

use crate::kind::cache::judge_used;
use crate::kind::{Now, Policy, Seen, Survey, Verdict};

const INDEX: &str = "_cacache/index-v5/";
const CONTENT: &str = "_cacache/content-v2/";

#[derive(Debug)]
pub(super) struct Npm {
    most: i64,
    /// Begins of the checksums of content that an entry needs.
    needed: HashSet<[u8; 16]>,
}

impl Npm {
    pub(super) fn new(most: i64) -> Self {
        Self { most, needed: HashSet::new() }
    }
}

impl Policy for Npm {
    fn survey(&self) -> Survey {
        Survey::All
    }

    fn look(&mut self, seen: &Seen<'_>, now: &Now, root: &Root) -> Result<()> {
        if !seen.path.starts_with(INDEX) || judge_used(seen, now, self.most).is_some() {
            return Ok(());
        }
        let mut text = Vec::new();
        match root.read(&seen.entry.path) {
            Ok(mut file) => file.read_to_end(&mut text)?,
            Err(HostError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.needed.extend(checksums(&text));
        Ok(())
    }

    fn judge(&self, seen: &Seen<'_>, now: &Now) -> Option<Verdict> {
        let goes = match seen.path.strip_prefix(CONTENT) {
            // `sha512/ab/cd/ef...`
            Some(content) => {
                let hex: String = content.split('/').skip(1).collect();
                begin_of_hex(&hex).is_some_and(|begin| !self.needed.contains(&begin))
            }
            None => [INDEX, "_cacache/tmp/", "_logs/"].iter().any(|it| seen.path.starts_with(it)),
        };
        if goes { judge_used(seen, now, self.most) } else { None }
    }
}

/// The checksums in an entry: `"integrity":"sha512-BASE64 sha1-BASE64"`.
fn checksums(entry: &[u8]) -> impl Iterator<Item = [u8; 16]> {
    let text = String::from_utf8_lossy(entry);
    let values = text.split("\"integrity\":\"").skip(1).filter_map(|it| it.split('"').next());
    let found: Vec<_> =
        values.flat_map(str::split_whitespace).filter_map(|it| begin_of_base64(it.split_once('-')?.1)).collect();
    found.into_iter()
}

fn begin_of_hex(hex: &str) -> Option<[u8; 16]> {
    let mut begin = [0; 16];
    for (at, byte) in begin.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(begin)
}

fn begin_of_base64(text: &str) -> Option<[u8; 16]> {
    let mut bytes = Vec::with_capacity(18);
    // JSON may write a slash as `\/`.
    let mut digits = text.bytes().filter(|it| *it != b'\\').map(|it| match it {
        b'A'..=b'Z' => Some(it - b'A'),
        b'a'..=b'z' => Some(it - b'a' + 26),
        b'0'..=b'9' => Some(it - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    });
    while bytes.len() < 16 {
        let mut word = 0_u32;
        for _ in 0..4 {
            word = word << 6 | u32::from(digits.next()??);
        }
        bytes.extend_from_slice(&word.to_be_bytes()[1..]);
    }
    bytes.truncate(16);
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_read_from_entries() {
        // The SHA-512 of nothing, as it stands in an entry and as the name of its content.
        let entry = b"\nab12\t{\"key\":\"x\",\"integrity\":\"sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==\",\"time\":1}";
        let hex = "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f";
        assert_eq!(checksums(entry).collect::<Vec<_>>(), [begin_of_hex(hex).unwrap()]);
        assert_eq!(checksums(b"{\"integrity\":\"sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk= sha512-!\"}").count(), 1);
        assert_eq!(checksums(b"{\"integrity\":null}").count(), 0);
        assert_eq!(begin_of_hex("cf83"), None);
    }
}
