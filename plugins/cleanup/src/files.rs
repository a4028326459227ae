//! What is to go from one root, and by which rule.
//!
//! 1. Each rule that has to look first gets a walk of its own through its folder, in the order of the rules: what a rule
//!    before it takes, it does not see.
//! 2. One walk through the folders of all rules then asks them of each entry. What one takes is handed to the host at
//!    once, so that a million files take no more memory than a thousand.
//!
//! Folders that overlap are walked together, so that no file is in the plan twice. When the step is due, the host carries
//! the plan out.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use upkeep_plugin::files::{Entry, Kind, Root, Walk};
use upkeep_plugin::removal::{self, Outcome, Proposal, Taken, Total};
use upkeep_plugin::{HostError, Result, info, log, warn};

use crate::config::Rule;
use crate::kind::{Act, Idle, Now, Seen, Survey, Verdict};
use crate::pattern::{beneath, folder_of, of_root};

/// Where the host keeps what can be had back: no rule is about it.
const ASIDE: &str = "/.upkeep-undo";

/// How often progress is told, in entries.
const PROGRESS: u64 = 1 << 16;

/// Paths that could not be read and are told; the others are counted.
const MOST_PROBLEMS: usize = 20;

/// What is to go from a root. The step carries it to the report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Planned {
    pub(crate) root: String,
    pub(crate) rules: Vec<PlannedRule>,
    /// What the host does not let go, as `path: reason`; the first of them.
    pub(crate) refused: Vec<String>,
    /// How many that are.
    pub(crate) refusals: u64,
    /// What could not be looked into, as `path: reason`; the first of them.
    pub(crate) unreadable: Vec<String>,
    pub(crate) unreadables: u64,
    /// Why nothing of it would go as things were when it was planned.
    pub(crate) blocks: Vec<String>,
}

/// What is to go by one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedRule {
    pub(crate) name: String,
    pub(crate) tally: Tally,
    pub(crate) idle: Option<Idle>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) folders: u64,
    /// Files that are to be compressed.
    pub(crate) compressed: u64,
    pub(crate) compressed_bytes: u64,
}

impl From<&Taken> for Tally {
    fn from(taken: &Taken) -> Self {
        let Taken { files, folders, compressed } = *taken;
        Self {
            files: files.items,
            bytes: files.bytes,
            folders,
            compressed: compressed.items,
            compressed_bytes: compressed.bytes,
        }
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, it| Self {
            files: sum.files + it.files,
            bytes: sum.bytes + it.bytes,
            folders: sum.folders + it.folders,
            compressed: sum.compressed + it.compressed,
            compressed_bytes: sum.compressed_bytes + it.compressed_bytes,
        })
    }
}

impl Tally {
    pub(crate) fn items(&self) -> u64 {
        self.files + self.folders + self.compressed
    }
}

impl Planned {
    pub(crate) fn total(&self) -> Tally {
        self.rules.iter().map(|it| it.tally).sum()
    }
}

/// What was done in a root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) carried: Outcome,
    /// What earlier runs had moved aside and is gone for good now.
    pub(crate) expired: Total,
}

/// Has the host remove what was planned.
pub(crate) fn carry_out(planned: &Planned) -> Result<Done> {
    let root = planned.root.as_str();
    let carried = removal::carry_out(root)?;
    let expired = match &carried {
        Outcome::Done(done) => {
            info!(root = root, removed = done.removed.items, compressed = done.compressed.items, "removed");
            removal::expire(root)?
        }
        // Where nothing may go, what can be had back stays too.
        Outcome::Blocked(blocks) => {
            blocks.iter().for_each(|it| warn!(root = root, "nothing was removed: {}", it.message));
            Total::default()
        }
    };
    Ok(Done { carried, expired })
}

/// Proposes what is to go from the root of this name.
pub(crate) fn plan(name: &str, rules: Vec<Rule>, now: &Now) -> Result<Planned> {
    let root = Root::open(name)?;
    let mut planned = Planned { root: name.to_owned(), ..Planned::default() };
    let mut active = Vec::new();
    for mut rule in rules {
        let idle = prepare(&root, &mut rule, now)?;
        let (place, told) = (planned.rules.len(), idle.clone());
        planned.rules.push(PlannedRule { name: rule.name.clone(), tally: Tally::default(), idle });
        match told {
            Some(Idle::NotNow(why) | Idle::Wrong(why)) => {
                warn!(root = name, rule = rule.name, "the rule does nothing this time: {why}");
            }
            None => active.push(Active { rule, place }),
        }
    }
    for at in 0..active.len() {
        survey(&root, &mut active[..=at], now)?;
    }
    let mut sweep = Sweep {
        root: &root,
        now,
        kept: active.iter().map(|it| it.rule.path.clone()).collect(),
        tracks_folders: active.iter().any(|it| it.rule.policy.needs_all()),
        proposal: Proposal::new(name),
        planned,
        seen: 0,
    };
    for start in outermost(&active) {
        sweep.walk(&start, &mut active)?;
    }
    sweep.finish()
}

/// A rule that does something, and its place in the report.
struct Active {
    rule: Rule,
    place: usize,
}

/// Finds the folder of a rule.
fn prepare(root: &Root, rule: &mut Rule, now: &Now) -> Result<Option<Idle>> {
    if !rule.path.is_empty() {
        // Rules that come to the same folder by a link and without have to know it.
        let found = root.resolve(&rule.path).and_then(|path| Ok((root.stat(&path)?.kind, path)));
        match found {
            Ok((Kind::Directory, path)) => rule.path = path,
            Ok(_) => return Ok(Some(Idle::Wrong(format!("`path`: `{}` is no folder", rule.path)))),
            Err(HostError::NotFound(_)) => {
                return Ok(Some(Idle::Wrong(format!("`path`: the folder `{}` is not there", rule.path))));
            }
            Err(error) => return Err(error.into()),
        }
    }
    rule.policy.prepare(root, &rule.path, now)
}

/// Lets the last of the rules look at what those before it leave.
fn survey(root: &Root, rules: &mut [Active], now: &Now) -> Result<()> {
    let Some((Active { rule, .. }, before)) = rules.split_last_mut() else { return Ok(()) };
    let depth = rule.policy.survey();
    if depth == Survey::None {
        return Ok(());
    }
    loop {
        before.iter_mut().for_each(|it| it.start(&rule.path));
        rule.filter.start("");
        let mut walk = walk(root, &rule.path);
        if depth == Survey::Top {
            walk = walk.max_depth(1);
        }
        walk = of_root(&rule.exclude, &rule.path).into_iter().flatten().fold(walk, |walk, it| walk.exclude(it));
        for entry in walk.entries()? {
            let entry = entry?;
            let Some(path) = beneath(&entry.path, &rule.path) else { continue };
            let taken = judge(before, &entry, now).verdict.is_some();
            let admitted = rule.filter.admits(path, entry.kind == Kind::Directory);
            if admitted && !taken && rule.policy.concerns(entry.kind) {
                rule.policy.look(&Seen { entry: &entry, path }, now, root)?;
            }
        }
        if !rule.policy.surveyed(now) {
            return Ok(());
        }
    }
}

/// A walk beneath a folder.
fn walk<'a>(root: &'a Root, start: &str) -> Walk<'a> {
    root.walk().path(start).one_filesystem().exclude(ASIDE)
}

impl Active {
    /// Before a walk that starts at `start`, relative to the root.
    fn start(&mut self, start: &str) {
        self.rule.filter.start(beneath(start, &self.rule.path).unwrap_or_default());
    }
}

/// What the rules say of an entry, each with the place of the first that does.
#[derive(Default)]
struct Judged {
    verdict: Option<(usize, Verdict)>,
    /// Of a folder: when nothing is left in it.
    when_empty: Option<(usize, Cow<'static, str>)>,
}

fn judge(rules: &mut [Active], entry: &Entry, now: &Now) -> Judged {
    let is_folder = entry.kind == Kind::Directory;
    let mut judged = Judged::default();
    for Active { rule, place } in rules {
        let Some(path) = beneath(&entry.path, &rule.path) else { continue };
        // Each filter has to know of each folder.
        let admitted = rule.filter.admits(path, is_folder) || rule.policy.filters_survey_only();
        if judged.verdict.is_some() || !admitted || !rule.policy.concerns(entry.kind) {
            continue;
        }
        let seen = Seen { entry, path };
        judged.verdict = rule.policy.judge(&seen, now).map(|it| (*place, it));
        if is_folder && judged.when_empty.is_none() {
            judged.when_empty = rule.policy.judge_empty(&seen, now).map(|it| (*place, it));
        }
        if judged.verdict.is_some() && !is_folder {
            break;
        }
    }
    judged
}

/// The folders of the rules without those that stand in another one.
fn outermost(rules: &[Active]) -> Vec<String> {
    let mut paths: Vec<&str> = rules.iter().map(|it| it.rule.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    let stands_in_another = |path: &str| paths.iter().any(|other| *other != path && beneath(path, other).is_some());
    paths.iter().filter(|it| !stands_in_another(it)).map(|it| (*it).to_owned()).collect()
}

/// The walks that decide.
struct Sweep<'a> {
    root: &'a Root,
    now: &'a Now,
    /// The folders of the rules: they stay when they are empty.
    kept: Vec<String>,
    tracks_folders: bool,
    proposal: Proposal,
    planned: Planned,
    seen: u64,
}

/// A folder that the walk is in.
struct Folder {
    entry: Entry,
    /// What stays in it.
    left: u64,
    /// The rule that takes it when that is nothing, and why.
    taker: Option<(usize, Cow<'static, str>)>,
    /// It goes in any case.
    is_taken: bool,
}

impl Sweep<'_> {
    fn walk(&mut self, start: &str, rules: &mut [Active]) -> Result<()> {
        rules.iter_mut().for_each(|it| it.start(start));
        let device = self.root.stat(start)?.id.device;
        let mut walk = walk(self.root, start);
        if let Some(exclude) = common_exclude(start, rules) {
            walk = exclude.into_iter().fold(walk, |walk, it| walk.exclude(it));
        }
        let mut entries = walk.entries()?;
        let mut folders = Vec::new();
        for entry in entries.by_ref() {
            let entry = entry?;
            self.seen += 1;
            if self.seen.is_multiple_of(PROGRESS) {
                log::progress(self.seen, None, "entries");
            }
            let judged = judge(rules, &entry, self.now);
            if let Some((place, verdict)) = &judged.verdict {
                self.propose(&entry, *place, verdict)?;
            }
            if self.tracks_folders {
                self.track(entry, judged, device, &mut folders)?;
            }
        }
        while let Some(folder) = folders.pop() {
            self.close(folder, folders.last_mut())?;
        }
        let problems = entries.problems();
        self.planned.unreadables += problems.len() as u64;
        let room = MOST_PROBLEMS.saturating_sub(self.planned.unreadable.len());
        self.planned.unreadable.extend(problems.into_iter().take(room));
        Ok(())
    }

    fn propose(&mut self, entry: &Entry, place: usize, verdict: &Verdict) -> Result<()> {
        let rule = &self.planned.rules[place];
        let reason = verdict.reason.as_ref();
        match &verdict.act {
            Act::Remove => self.proposal.add(entry, &rule.name, reason)?,
            Act::RemoveUnlessLinked(link) => self.proposal.add_unless_linked(entry, link, &rule.name, reason)?,
            Act::Compress(compression) => self.proposal.compress(entry, *compression, &rule.name, reason)?,
        }
        Ok(())
    }

    /// Keeps count of what stays in the folders that the walk is in, and closes those that it has left.
    fn track(&mut self, entry: Entry, judged: Judged, device: u64, folders: &mut Vec<Folder>) -> Result<()> {
        let parent = folder_of(&entry.path);
        let is_left = |it: &mut Folder| it.entry.path != parent && beneath(parent, &it.entry.path).is_none();
        while let Some(folder) = folders.pop_if(is_left) {
            self.close(folder, folders.last_mut())?;
        }
        let is_taken = judged.verdict.is_some_and(|(_, verdict)| !matches!(verdict.act, Act::Compress(_)));
        if entry.kind != Kind::Directory {
            if let Some(parent) = folders.last_mut() {
                parent.left += u64::from(!is_taken);
            }
            return Ok(());
        }
        let is_kept = self.kept.iter().any(|it| *it == entry.path || beneath(it, &entry.path).is_some());
        // What is mounted there is not walked, so it is not known what it holds.
        let is_mount = entry.id.device != device;
        let taker = judged.when_empty.filter(|_| !is_kept && !is_mount);
        folders.push(Folder { entry, left: 0, taker, is_taken });
        Ok(())
    }

    fn close(&mut self, folder: Folder, parent: Option<&mut Folder>) -> Result<()> {
        match folder.taker {
            _ if folder.is_taken => {}
            Some((place, reason)) if folder.left == 0 => {
                self.propose(&folder.entry, place, &Verdict { act: Act::Remove, reason })?;
            }
            _ => parent.into_iter().for_each(|it| it.left += 1),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Planned> {
        let proposed = self.proposal.finish()?;
        for rule in &mut self.planned.rules {
            rule.tally = proposed.by_rule.get(&rule.name).map(Tally::from).unwrap_or_default();
        }
        let refused = proposed.refused.into_iter();
        self.planned.refusals = refused.len() as u64 + proposed.untold;
        self.planned.refused = refused.take(MOST_PROBLEMS).map(|(path, why)| format!("{path}: {why}")).collect();
        self.planned.blocks = removal::blocks(&self.planned.root)?.into_iter().map(|it| it.message).collect();
        Ok(self.planned)
    }
}

/// What the host may leave out of a walk, since all rules do.
fn common_exclude(start: &str, rules: &[Active]) -> Option<Vec<String>> {
    let mut walked =
        rules.iter().map(|it| &it.rule).filter(|it| it.path == start || beneath(&it.path, start).is_some());
    let first = walked.next()?;
    let is_alike = |it: &Rule| it.path == start && it.exclude == first.exclude && !it.policy.needs_all();
    if is_alike(first) && walked.all(is_alike) { of_root(&first.exclude, start) } else { None }
}
