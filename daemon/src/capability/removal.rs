//! Removing in two phases. Here stand the right, the phases and what the task file says; the work itself is
//! [`crate::removal`].
//!
//! While the run plans, what the guest proposes is refused or written down. Then the plan is sealed, and no guest can
//! change it any more: a step can only have it carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::abi::files::Kind as GuestKind;
use crate::abi::removal as abi;
use crate::capability::{Call, Host, HostError, blocking, files};
use crate::clock::{self, Timestamp};
use crate::config::grant::{FilesAccess, FilesGrant};
use crate::config::size::Size;
use crate::event::Event;
use crate::record::Level;
use crate::removal::aside::{self, Aside};
use crate::removal::carry_out::{Done, Means, carry_out};
use crate::removal::ceiling::Ceilings;
use crate::removal::plan::{Action, Head, Item, Kind, Plan, Writer};
use crate::removal::protect::Protected;
use crate::removal::{self, RemovalError, Total};
use crate::repository::Counter;
use crate::root::{Root, RootError, path};

pub(super) mod backup;

/// The removals of one run.
#[derive(Debug, Default)]
pub struct Removals {
    /// Where its plans and ledgers are; none where there is no state directory.
    folder: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Plans that are being made, by the names of their roots.
    writing: BTreeMap<String, Arc<Mutex<Writing>>>,
    /// Roots that a step is at work with.
    busy: BTreeSet<String>,
}

/// A plan that is being made.
#[derive(Debug)]
struct Writing {
    device: u64,
    protected: Protected,
    /// None when the plan is complete.
    writer: Option<Writer>,
    /// Bytes that it may have.
    most: Size,
}

impl Removals {
    /// Those of the run with this identifier.
    pub fn new(state_dir: &std::path::Path, run: &str) -> Self {
        Self { folder: Some(removal::folder(state_dir).join(run)), state: Mutex::default() }
    }

    /// Where its plans and ledgers are.
    pub fn folder(&self) -> Option<&std::path::Path> {
        self.folder.as_deref()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stored(&self) -> Result<PathBuf, HostError> {
        self.folder.clone().ok_or_else(|| HostError::unavailable("there is no state directory to keep the plan in"))
    }

    /// Completes the plans, durably: from now on nothing can be added.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn seal(&self) -> Result<(), RemovalError> {
        let writing = std::mem::take(&mut self.state().writing);
        for plan in writing.into_values() {
            let plan = plan.lock().unwrap_or_else(PoisonError::into_inner).writer.take();
            // Each is completed once, since `writing` is empty now.
            plan.map_or(Ok(()), |plan| plan.finish().map(drop))?;
        }
        Ok(())
    }

    /// Drops what an attempt to plan left behind that was cut off.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn start_over(&self) -> Result<(), RemovalError> {
        for plan in self.folder.as_deref().map(Plan::all).transpose()?.into_iter().flatten() {
            plan.remove()?;
        }
        Ok(())
    }
}

/// Says in the end that a step is no longer at work with a root.
struct Busy<'a> {
    removals: &'a Removals,
    root: String,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.removals.state().busy.remove(&self.root);
    }
}

impl From<RemovalError> for HostError {
    fn from(error: RemovalError) -> Self {
        match error {
            RemovalError::Stale(_) => Self::conflict(error.to_string()),
            RemovalError::State { .. }
            | RemovalError::Broken { .. }
            | RemovalError::Busy { .. }
            | RemovalError::Root(_)
            | RemovalError::Cancelled => Self::unavailable(error.to_string()),
        }
    }
}

impl From<Total> for abi::Total {
    fn from(Total { items, bytes }: Total) -> Self {
        Self { items, bytes }
    }
}

impl From<Done> for abi::Done {
    fn from(done: Done) -> Self {
        Self {
            removed: done.removed.into(),
            aside: done.aside,
            compressed: done.compressed.into(),
            changed: done.changed.into(),
            in_use: done.in_use.into(),
            filled: done.filled,
            gone: done.gone,
            failed: done.failed.into(),
            problems: done.problems,
        }
    }
}

impl Writing {
    fn new(
        root: Root,
        name: &str,
        folder: &std::path::Path,
        protected: Protected,
        most: Size,
    ) -> Result<Self, HostError> {
        let failed =
            |errno: rustix::io::Errno| HostError::unavailable(format!("`{name}`: {}", std::io::Error::from(errno)));
        let device = rustix::fs::fstat(root.folder()).map_err(failed)?.st_dev;
        let writer = Writer::new(folder, name, root.path())?;
        Ok(Self { device, protected, writer: Some(writer), most })
    }

    /// Takes candidates, or says of each why not. Where one has a path without a meaning, none is taken.
    fn take_all(&mut self, candidates: Vec<abi::Candidate>) -> Result<Vec<Option<String>>, Refused> {
        for candidate in &candidates {
            for path in std::iter::once(&candidate.path).chain(&candidate.unless_linked) {
                path::parse(path).map_err(Refused::Path)?;
            }
        }
        candidates.into_iter().map(|candidate| self.take(candidate)).collect()
    }

    /// Takes a candidate, or says why not.
    fn take(&mut self, candidate: abi::Candidate) -> Result<Option<String>, Refused> {
        let abi::Candidate { path: text, kind, id, action, unless_linked, rule, reason } = candidate;
        let path = path::parse(&text).map_err(Refused::Path)?;
        let kind = match kind {
            GuestKind::File => Kind::File,
            GuestKind::Directory => Kind::Folder,
            GuestKind::Link => Kind::Link,
            GuestKind::Other => return Ok(Some("devices, pipes and sockets are left alone".to_owned())),
        };
        let action = match action {
            abi::Action::Remove => Action::Remove,
            abi::Action::Gzip => Action::Gzip,
            abi::Action::Zstd => Action::Zstd,
        };
        if path.as_os_str().is_empty() {
            return Ok(Some("the root itself stays".to_owned()));
        }
        if action != Action::Remove && kind != Kind::File {
            return Ok(Some("only a file can be compressed".to_owned()));
        }
        if id.device != self.device {
            return Ok(Some("it is on another filesystem".to_owned()));
        }
        if let Some(reason) = self.protected.refuses(&path, kind == Kind::Folder) {
            return Ok(Some(reason));
        }
        // As the host writes it, so that it is said once how.
        let text = path::escape(path.as_os_str().as_encoded_bytes());
        let abi::Identity { device, inode, size, modified_ns } = id;
        let item = Item { path: text, kind, action, size, modified_ns, device, inode, unless_linked, rule, reason };
        let complete = || Refused::Plan(RemovalError::Stale("the plan is complete by now".to_owned()));
        let writer = self.writer.as_mut().ok_or_else(complete)?;
        writer.add(&item).map_err(Refused::Plan)?;
        if writer.size() > self.most.0 { Err(Refused::Size) } else { Ok(None) }
    }
}

/// Why a whole call is refused.
enum Refused {
    Path(RootError),
    Plan(RemovalError),
    Size,
}

impl Host {
    /// What the task file grants of the folder `name`, if that holds the right to remove.
    fn removal_grant(&self, name: &str) -> Result<FilesGrant, HostError> {
        match self.run.grants.files.get(name) {
            Some(grant) if grant.access.contains(&FilesAccess::Remove) => Ok(grant.clone()),
            Some(_) => self
                .deny(format!("remove in the folder `{name}` (`grant.files.{name}.access` does not hold \"remove\")")),
            None => self.deny(format!("the folder `{name}` (the task file has no `grant.files.{name}`)")),
        }
    }

    fn protected(&self, root: &Root, grant: &FilesGrant) -> Result<Protected, HostError> {
        let known = &self.run.safeguards.known;
        Protected::new(root.path(), known, &grant.removal.protect).map_err(HostError::invalid)
    }

    /// The plan of this root that is being made; begun when there is none.
    async fn writing(&mut self, name: &str, grant: &FilesGrant) -> Result<Arc<Mutex<Writing>>, HostError> {
        if let Some(writing) = self.run.removals.state().writing.get(name) {
            return Ok(Arc::clone(writing));
        }
        let (_, root) = files::open(self, name).await?;
        let protected = self.protected(&root, grant)?;
        let (folder, owned, most) = (self.run.removals.stored()?, name.to_owned(), self.run.limits.plan);
        let writing = blocking(move || Writing::new(root, &owned, &folder, protected, most)).await??;
        let writing = Arc::new(Mutex::new(writing));
        self.run.removals.state().writing.insert(name.to_owned(), Arc::clone(&writing));
        Ok(writing)
    }

    /// What stands in the way of a plan. One that was begun and cut off had passed the ceilings, and has made what is left a
    /// larger share of what is there; the backup may have become too old meanwhile.
    async fn blocked(
        &mut self,
        root: Arc<Root>,
        grant: &FilesGrant,
        head: Head,
        is_begun: bool,
    ) -> Result<Vec<abi::Block>, HostError> {
        let run = Arc::clone(&self.run);
        let limits = &grant.removal;
        let ceilings =
            Ceilings { share: limits.max_share.0, files: limits.max_files, bytes: limits.max_bytes.map(|size| size.0) };
        let name = head.root.clone();
        let nothing_goes = head.files.items == 0;
        let above = blocking(move || if is_begun { Ok(Vec::new()) } else { ceilings.above(&root, &head) }).await?;
        let above = above.map_err(|error| HostError::unavailable(error.to_string()))?;
        let mut blocks: Vec<_> =
            above.into_iter().map(|message| abi::Block { cause: abi::Cause::Ceiling, message }).collect();
        if !nothing_goes
            && let Some(wanted) = &limits.require_backup
            && let Some(missing) = backup::missing(&run, wanted, clock::now()).await?
        {
            let message =
                format!("nothing goes from `{name}`: {missing} (`grant.files.{name}.removal.require_backup`)");
            blocks.push(abi::Block { cause: abi::Cause::Backup, message });
        }
        Ok(blocks)
    }

    fn step_only(&self, function: &str) -> Result<u32, HostError> {
        let message = || HostError::invalid(format!("`{function}` is for a step that executes"));
        self.call.step().ok_or_else(message)
    }

    /// Lets one call at a time work with a root.
    fn busy<'a>(&self, removals: &'a Removals, name: &str) -> Result<Busy<'a>, HostError> {
        if removals.state().busy.insert(name.to_owned()) {
            return Ok(Busy { removals, root: name.to_owned() });
        }
        Err(HostError::conflict(format!("another step removes from `{name}` already")))
    }

    /// Tells how far a step is, a few times a second.
    fn counter(&self, step: u32, total: u64) -> Counter {
        let (events, run) = (self.run.events.clone(), self.run.id.clone());
        let tell = move |done, total| {
            let (run, unit) = (run.clone(), "files".to_owned());
            events.send(Event::Progress { run, ordinal: step, done, total, unit });
        };
        Counter::new(Arc::new(tell), total)
    }
}

impl abi::Host for Host {
    async fn propose(
        &mut self,
        name: String,
        candidates: Vec<abi::Candidate>,
    ) -> Result<Vec<Option<String>>, HostError> {
        let grant = self.removal_grant(&name)?;
        if self.call != Call::Plan {
            return Err(HostError::invalid("`propose` is for the plan: what is to go stands before it goes"));
        }
        let writing = self.writing(&name, &grant).await?;
        let answers = blocking(move || writing.lock().unwrap_or_else(PoisonError::into_inner).take_all(candidates));
        match answers.await? {
            Ok(answers) => Ok(answers),
            Err(Refused::Path(error)) => self.refuse(&name, error),
            Err(Refused::Plan(error)) => Err(error.into()),
            Err(Refused::Size) => {
                let most = self.run.limits.plan;
                self.exceed("plan", format!("the plan of `{name}` has more than {most} (limits.plan)"))
            }
        }
    }

    async fn blocks(&mut self, name: String) -> Result<Vec<abi::Block>, HostError> {
        let grant = self.removal_grant(&name)?;
        let writing = self.run.removals.state().writing.get(&name).map(Arc::clone);
        let written = writing.and_then(|writing| {
            let writing = writing.lock().unwrap_or_else(PoisonError::into_inner);
            writing.writer.as_ref().map(|writer| writer.head().clone())
        });
        let head = match written {
            Some(head) => Some(head),
            None => {
                let (folder, owned) = (self.run.removals.stored()?, name.clone());
                blocking(move || Plan::open(&folder, &owned)).await??.map(|plan| plan.head)
            }
        };
        let Some(head) = head else { return Ok(Vec::new()) };
        let (_, root) = files::open(self, &name).await?;
        self.blocked(Arc::new(root), &grant, head, false).await
    }

    async fn carry_out(&mut self, name: String) -> Result<abi::Outcome, HostError> {
        let grant = self.removal_grant(&name)?;
        let step = self.step_only("carry-out")?;
        let run = Arc::clone(&self.run);
        let _busy = self.busy(&run.removals, &name)?;
        let folder = run.removals.stored()?;
        let (_, root) = files::open(self, &name).await?;
        let root = Arc::new(root);
        let plan = {
            let (folder, name) = (folder.clone(), name.clone());
            blocking(move || Plan::open(&folder, &name)).await??
        };
        let Some(plan) = plan else { return Ok(abi::Outcome::Done(Done::default().into())) };
        if plan.head.path != root.path() {
            let (planned, now) = (plan.head.path.display(), root.path().display());
            return Err(HostError::conflict(format!("the plan of `{name}` is for {planned}, which is {now} now")));
        }
        let blocks = self.blocked(Arc::clone(&root), &grant, plan.head.clone(), plan.is_begun()).await?;
        if !blocks.is_empty() {
            for block in &blocks {
                run.say(clock::now(), Level::Warn, block.message.clone());
            }
            return Ok(abi::Outcome::Blocked(blocks));
        }
        let protected = self.protected(&root, &grant)?;
        let (counter, cancel, undo) = (self.counter(step, plan.head.items()), run.cancel.clone(), grant.removal.undo);
        let done = blocking(move || {
            plan.begin()?;
            let until = |undo: std::time::Duration| {
                Timestamp(clock::now().0.saturating_add(i64::try_from(undo.as_millis()).unwrap_or(i64::MAX)))
            };
            let aside = undo.map(|undo| Aside::open(&root, &folder, &name, until(undo))).transpose()?;
            let tell = || counter.add(1);
            let done =
                carry_out(&plan, Means { root: &root, protected: &protected, aside, cancel: &cancel, tell: &tell });
            counter.finish();
            done
        });
        let done = done.await??;
        if done.unseen > 0 {
            let message = format!(
                "the open files of {} processes of other users could not be looked at; what they write to is not known. Run \
                 upkeep as root, or give it CAP_SYS_PTRACE",
                done.unseen
            );
            run.say(clock::now(), Level::Warn, message);
        }
        Ok(abi::Outcome::Done(done.into()))
    }

    async fn expire(&mut self, name: String) -> Result<abi::Total, HostError> {
        self.removal_grant(&name)?;
        self.step_only("expire")?;
        let run = Arc::clone(&self.run);
        let _busy = self.busy(&run.removals, &name)?;
        let Some(state) = run.removals.stored()?.parent().and_then(|it| it.parent()).map(PathBuf::from) else {
            return Ok(Total::default().into());
        };
        let (_, root) = files::open(self, &name).await?;
        let cancel = run.cancel.clone();
        let expired = blocking(move || aside::expire(&state, &root, clock::now(), || !cancel.is_cancelled()));
        Ok(expired.await??.into())
    }
}

#[cfg(test)]
mod tests;
