//! Files by their name alone.

use crate::kind::{Now, Policy, Seen, Verdict};

/// Whatever `match` names, whatever its age.
#[derive(Debug)]
pub(crate) struct All;

impl Policy for All {
    fn judge(&self, _: &Seen<'_>, _: &Now) -> Option<Verdict> {
        Some(Verdict::remove("its name matches"))
    }
}
