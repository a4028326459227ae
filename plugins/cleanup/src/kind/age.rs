//! Files by age.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::config::Span;

use crate::kind::{By, Now, Policy, Seen, Verdict, positive};

/// Files that are older go.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgeSettings {
    /// From this age on.
    older_than: Span,
    /// Which time counts.
    #[serde(default)]
    by: By,
}

#[derive(Debug)]
struct Age {
    most: i64,
    by: By,
}

impl AgeSettings {
    pub(crate) fn policy(&self) -> Result<Box<dyn Policy>, String> {
        Ok(Box::new(Age { most: positive("age.older_than", self.older_than)?, by: self.by }))
    }
}

impl Policy for Age {
    fn judge(&self, seen: &Seen<'_>, now: &Now) -> Option<Verdict> {
        let age = now.since(self.by.time(seen, now)?);
        (age >= self.most).then(|| Verdict::remove(self.by.age(age)))
    }
}
