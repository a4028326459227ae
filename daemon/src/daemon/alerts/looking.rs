//! What is only known by looking: findings, holds, dead messages, room on the disk.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use crate::alert::signal::{Condition, DISK, LOOKED_AT, Signal, finding_key};
use crate::clock::Timestamp;
use crate::daemon::dispatcher::{Dispatcher, Note};
use crate::record::Severity;
use crate::record::alert::Alert;
use crate::record::finding::{FindingState, Life};
use crate::store::{Dead, Hold, Store, StoreError};

/// Between two looks: what changes one by one is looked at together.
const TOGETHER: Duration = Duration::from_secs(1);

/// Room on the disk of the state, in bytes, below which it is almost full, and above which it is not any more.
const ROOM: (u64, u64) = (256 << 20, 512 << 20);

/// The same in hundredths of the disk; both have to be short.
const SHARE: (u64, u64) = (5, 7);

/// What was seen by looking.
#[derive(Debug)]
pub(in crate::daemon) struct Looked {
    lives: Vec<Life>,
    holds: Vec<Hold>,
    dead: Vec<Dead>,
    /// What is left and all there is of the disk of the state, in bytes.
    disk: Option<(u64, u64)>,
}

/// Notes what there is to see, after runs and changes of the outbox, for as long as somebody listens.
pub(super) fn watch_for(
    store: Store,
    state_dir: Arc<std::path::Path>,
    look: Arc<Notify>,
    mut wanted: watch::Receiver<Option<Severity>>,
    notes: mpsc::UnboundedSender<Note>,
) {
    tokio::spawn(async move {
        let mut outbox = store.outbox_changes();
        loop {
            let least = *wanted.borrow_and_update();
            outbox.borrow_and_update();
            if let Some(least) = least {
                match look_at(&store, &state_dir, least).await {
                    Ok(looked) => {
                        if notes.send(Note::Looked(Box::new(looked))).is_err() {
                            return;
                        }
                    }
                    Err(StoreError::Closed) => return,
                    Err(error) => tracing::warn!("what alerts are about cannot be looked at: {error}"),
                }
                tokio::time::sleep(TOGETHER).await;
            }
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                changed = outbox.changed(), if least.is_some() => if changed.is_err() { return },
                () = look.notified(), if least.is_some() => {}
            }
        }
    });
}

async fn look_at(store: &Store, state_dir: &std::path::Path, least: Severity) -> Result<Looked, StoreError> {
    let (journal, state_dir) = (store.read(), state_dir.to_owned());
    // A disk that hangs must hold up nothing but this.
    let disk = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&state_dir).ok()).await.ok().flatten();
    Ok(Looked {
        lives: journal.grave_lives(least).await?,
        holds: journal.holds(None).await?,
        dead: journal.dead_messages().await?,
        disk: disk.map(|it| (it.f_bavail * it.f_frsize, it.f_blocks * it.f_frsize)),
    })
}

impl Dispatcher {
    /// What was seen by looking.
    pub(in crate::daemon) fn looked(&mut self, looked: &Looked, now: Timestamp) {
        if self.alerts.rules.is_none() {
            return;
        }
        if self.alerts.recording {
            self.alerts.stale = true;
        }
        let Looked { lives, holds, dead, disk } = looked;
        let is_there = |life: &&Life| {
            let finding = &life.finding;
            let counts = finding.state != Some(FindingState::Fixed) && finding.ignored.is_none();
            counts && self.loaded.task(&life.task).is_some()
        };
        let mut wrong: Vec<Condition> = lives.iter().filter(is_there).map(Condition::of_finding).collect();
        wrong.extend(holds.iter().map(Condition::of_hold));
        let of_dead = |it: &Dead| Condition::of_dead(&it.channel, it.level, it.messages, it.reason.as_deref());
        wrong.extend(dead.iter().map(of_dead));
        let was_full = self.alerts.known.get(DISK).is_some_and(Alert::is_open);
        if let Some((available, total)) = *disk
            && is_full(available, total, was_full)
        {
            wrong.push(Condition::of_disk(&self.runner.state_dir.display().to_string(), available, total));
        }
        let keys: BTreeSet<&str> = wrong.iter().map(|condition| condition.key.as_str()).collect();
        let fixed = |life: &&Life| life.finding.state == Some(FindingState::Fixed);
        let fixed: BTreeSet<String> =
            lives.iter().filter(fixed).map(|life| finding_key(&life.task, &life.finding.id)).collect();
        let over = self.alerts.known.values().filter(|alert| {
            let is_looked_at = LOOKED_AT.iter().any(|start| alert.key.starts_with(start));
            alert.is_open() && is_looked_at && !keys.contains(alert.key.as_str())
        });
        let over = over.map(|alert| match alert.key.starts_with("finding/") && !fixed.contains(&alert.key) {
            true => Signal::Gone(alert.key.clone()),
            false => Signal::Right(alert.key.clone()),
        });
        let over: Vec<Signal> = over.collect();
        let is_news = |condition: &Condition| {
            let known = self.alerts.known.get(&condition.key).filter(|alert| alert.is_open());
            known.is_none_or(|alert| alert.level != condition.level || alert.title != condition.title)
        };
        let wrong: Vec<Signal> = wrong.into_iter().filter(is_news).map(Signal::Wrong).collect();
        self.alerts.signals.extend(over.into_iter().chain(wrong));
        if !self.alerts.signals.is_empty() {
            self.alert(now);
        }
    }
}

/// Whether a disk is almost full. One that was has to have more room before it is not.
fn is_full(available: u64, total: u64, was: bool) -> bool {
    let (room, share) = if was { (ROOM.1, SHARE.1) } else { (ROOM.0, SHARE.0) };
    available < room && available < total / 100 * share
}
