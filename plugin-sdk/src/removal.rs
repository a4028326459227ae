//! Removing files, in two phases: the plan says what is to go, the host lets it go later.
//!
//! While the task plans, it names what is to be removed and why ([`Proposal`]). The host writes it down; a dry run ends
//! there and shows it. Each root that something goes from is then one step that calls [`carry_out`]: the host removes
//! what is as it was seen. Protected paths, ceilings, the backup that has to be there, and the time for which things can
//! be had back stand in the task file, and the host heeds them whatever the plugin does.
//!
//! ```
//! use upkeep_plugin::files::{Kind, Root};
//! use upkeep_plugin::removal::{self, Outcome, Proposal};
//! use upkeep_plugin::test::Host;
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! # let folder = tempfile::tempdir()?;
//! # std::fs::write(folder.path().join("a.tmp"), "x")?;
//! # let _host = Host::new().root("uploads", folder.path());
//! // In `plan`:
//! let mut proposal = Proposal::new("uploads");
//! for entry in Root::open("uploads")?.walk().entries()? {
//!     let entry = entry?;
//!     if entry.kind == Kind::File && entry.path.ends_with(".tmp") {
//!         proposal.add(&entry, "temporary", "it is of an upload that broke off")?;
//!     }
//! }
//! let proposed = proposal.finish()?;
//! assert_eq!((proposed.taken.items, proposed.refused.len()), (1, 0));
//!
//! // In `execute`:
//! let Outcome::Done(done) = removal::carry_out("uploads")? else { panic!("blocked") };
//! assert_eq!(done.removed.items, 1);
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;

use crate::files::{Entry, Kind};
use crate::host::{HostResult, removal as host};

pub use crate::bindings::upkeep::plugin::removal::{Action, Block, Candidate, Cause, Done, Outcome, Total};

/// Candidates handed over at once: a call of the host costs more than a candidate.
const BATCH: usize = 4096;

/// Refusals that are kept; further ones are counted.
const MOST_REFUSALS: usize = 100;

/// What is to go from one root. Only while the task plans.
#[derive(Debug)]
#[must_use = "nothing is complete before `finish`"]
pub struct Proposal {
    root: String,
    waiting: Vec<Candidate>,
    proposed: Proposed,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `NAME.gz`.
    Gzip,
    /// `NAME.zst`.
    Zstd,
}

fn candidate(entry: &Entry, action: Action, rule: &str, reason: impl Into<String>) -> Candidate {
    let (path, rule, reason) = (entry.path.clone(), rule.to_owned(), reason.into());
    Candidate { path, kind: entry.kind, id: entry.id, action, unless_linked: None, rule, reason }
}

/// What the host took of a proposal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proposed {
    /// To be removed or compressed.
    pub taken: Total,
    /// The same by rules.
    pub by_rule: BTreeMap<String, Taken>,
    /// What the host does not let go, with its reason; the first hundred.
    pub refused: Vec<(String, String)>,
    /// How many more it does not let go.
    pub untold: u64,
}

/// What the host took by one rule. Folders have no size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Files and links to be removed.
    pub files: Total,
    /// Folders to be removed.
    pub folders: u64,
    /// Files to be compressed.
    pub compressed: Total,
}

impl Proposed {
    fn take(&mut self, candidate: Candidate) {
        let is_folder = candidate.kind == Kind::Directory;
        let one = Total { items: 1, bytes: if is_folder { 0 } else { candidate.id.size } };
        let add = |total: &mut Total| {
            total.items += one.items;
            total.bytes += one.bytes;
        };
        add(&mut self.taken);
        let rule = match self.by_rule.get_mut(&candidate.rule) {
            Some(rule) => rule,
            None => self.by_rule.entry(candidate.rule).or_default(),
        };
        match candidate.action {
            Action::Remove if is_folder => rule.folders += 1,
            Action::Remove => add(&mut rule.files),
            Action::Gzip | Action::Zstd => add(&mut rule.compressed),
        }
    }
}

#[expect(clippy::derivable_impls, reason = "the type is generated from the WIT")]
impl Default for Total {
    fn default() -> Self {
        Self { items: 0, bytes: 0 }
    }
}

impl Eq for Total {}

impl Proposal {
    /// An empty one, for the root of this name.
    pub fn new(root: &str) -> Self {
        Self { root: root.to_owned(), waiting: Vec::new(), proposed: Proposed::default() }
    }

    /// Adds what a walk gave, to be removed. Folders go after everything else, the deepest first, and only when they are
    /// empty by then.
    ///
    /// # Errors
    /// [`HostError::Denied`](crate::HostError::Denied) without the right to remove.
    pub fn add(&mut self, entry: &Entry, rule: &str, reason: impl Into<String>) -> HostResult<()> {
        self.push(candidate(entry, Action::Remove, rule, reason))
    }

    /// As [`Proposal::add`], for what is to be kept as long as the link at `link` leads to it, to something beneath it, or
    /// to a folder that holds it.
    ///
    /// # Errors
    /// As for [`Proposal::add`].
    pub fn add_unless_linked(
        &mut self,
        entry: &Entry,
        link: &str,
        rule: &str,
        reason: impl Into<String>,
    ) -> HostResult<()> {
        let candidate = candidate(entry, Action::Remove, rule, reason);
        self.push(Candidate { unless_linked: Some(link.to_owned()), ..candidate })
    }

    /// Adds a file to be compressed instead.
    ///
    /// # Errors
    /// As for [`Proposal::add`].
    pub fn compress(
        &mut self,
        entry: &Entry,
        compression: Compression,
        rule: &str,
        reason: impl Into<String>,
    ) -> HostResult<()> {
        let action = match compression {
            Compression::Gzip => Action::Gzip,
            Compression::Zstd => Action::Zstd,
        };
        self.push(candidate(entry, action, rule, reason))
    }

    fn push(&mut self, candidate: Candidate) -> HostResult<()> {
        self.waiting.push(candidate);
        if self.waiting.len() >= BATCH { self.hand_over() } else { Ok(()) }
    }

    /// Hands over the rest, and says what the host took.
    ///
    /// # Errors
    /// As for [`Proposal::add`].
    pub fn finish(mut self) -> HostResult<Proposed> {
        self.hand_over()?;
        Ok(self.proposed)
    }

    fn hand_over(&mut self) -> HostResult<()> {
        let candidates = std::mem::take(&mut self.waiting);
        if candidates.is_empty() {
            return Ok(());
        }
        let answers = host::propose(&self.root, &candidates)?;
        for (candidate, answer) in candidates.into_iter().zip(answers) {
            match answer {
                None => self.proposed.take(candidate),
                Some(reason) if self.proposed.refused.len() < MOST_REFUSALS => {
                    self.proposed.refused.push((candidate.path, reason));
                }
                Some(_) => self.proposed.untold += 1,
            }
        }
        Ok(())
    }
}

/// Why the plan of this root would not be carried out as things are; empty when nothing stands in the way.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) without the right to remove.
pub fn blocks(root: &str) -> HostResult<Vec<Block>> {
    host::blocks(root)
}

/// Removes what was planned for this root, as far as it is what was seen. Only while a step executes.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) without the right to remove.
pub fn carry_out(root: &str) -> HostResult<Outcome> {
    host::carry_out(root)
}

/// Removes for good what was moved aside longer ago than the task file says. Only while a step executes.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) without the right to remove.
pub fn expire(root: &str) -> HostResult<Total> {
    host::expire(root)
}
