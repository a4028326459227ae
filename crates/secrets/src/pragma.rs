//! Comments that allow the secret on their line: ours, and those of gitleaks and detect-secrets.

use memchr::memmem;

use crate::view::View;

/// Bytes on either side of a secret in which its comment is sought, on the same line.
const REACH: usize = 512;

const HERE: [&str; 4] =
    ["upkeep: allow-secret", "gitleaks:allow", "pragma: allowlist secret", "pragma: whitelist secret"];
const NEXT: &str = "pragma: allowlist nextline secret";

/// Whether the secret between two positions is allowed by its line, or by the one before.
pub(crate) fn allows(view: &View<'_>, start: usize, end: usize) -> bool {
    let before = view.line_before(start);
    // A private key has lines of its own: the first one is looked at.
    let after = view.line_after(start, end - start + REACH);
    let has = |line: &[u8], pragma: &str| memmem::find(line, pragma.as_bytes()).is_some();
    let above = view.data[..start - before.len()].strip_suffix(b"\n").map(|rest| {
        let from = rest.len().saturating_sub(REACH);
        memchr::memrchr(b'\n', &rest[from..]).map_or(&rest[from..], |at| &rest[from + at + 1..])
    });
    HERE.iter().any(|pragma| has(before, pragma) || has(after, pragma)) || above.is_some_and(|line| has(line, NEXT))
}
