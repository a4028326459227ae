//! Messages start the tasks that deliver them: as soon as something can be claimed, and again when a time comes for which
//! messages wait (not before, another try, the end of a lease or of a channel's pause).
//!
//! Flow: [`watch`] waits for commits that change the outbox, asks the journal when there is something to do, and notes it to the
//! dispatcher, which sleeps until then. One run of a task is enough, whatever arrives meanwhile: it is looked at again when the
//! run is over. A run that changed nothing (no channel of its own was due, or it failed) is followed by a pause that doubles,
//! until something changes or becomes due: what nobody delivers must not hold up the rest.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::dispatcher::{Dispatcher, Note};
use crate::clock::{self, Timestamp};
use crate::record::Trigger;
use crate::store::{Next, Store, StoreError};

/// Between two looks: what is enqueued one by one is looked at together.
const TOGETHER: Duration = Duration::from_millis(20);

/// After a journal that could not be read.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// The pause after a run that changed nothing.
const SHORTEST_PAUSE_MS: i64 = 1_000;

/// Where the pause ends to double.
const LONGEST_PAUSE_MS: i64 = 10 * 60 * 1_000;

/// How often old messages are forgotten, at most.
const PRUNE_EVERY_MS: i64 = 10 * 60 * 1_000;

/// What is known of the outbox.
#[derive(Default)]
pub(super) struct Outbox {
    next: Next,
    /// The number of changes at which that was so.
    changes: u64,
    /// Tells [`watch`] to look again, for a time has come.
    look: Arc<Notify>,
    /// By task.
    deliveries: HashMap<String, Delivery>,
    pruned: Option<Timestamp>,
}

/// The last run of a task that delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delivery {
    /// The number of changes when it was queued, and when it was over.
    changes: (u64, u64),
    /// When it was queued: what becomes due later, it may not have seen.
    queued: Timestamp,
    /// How long it is left alone, unless something changes.
    pause_ms: i64,
    until: Timestamp,
}

impl Delivery {
    /// A first run.
    fn new(changes: u64) -> Self {
        Self { changes: (changes, changes), queued: Timestamp(i64::MIN), pause_ms: 0, until: Timestamp(i64::MIN) }
    }

    /// The run is over. It did something when it succeeded, and the number of changes has grown.
    fn ended(&mut self, succeeded: bool, changes: u64, now: Timestamp) {
        let idle = !succeeded || self.changes.0 == changes;
        self.pause_ms = if idle { (self.pause_ms * 2).clamp(SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS) } else { 0 };
        self.until = Timestamp(now.0.saturating_add(self.pause_ms));
        self.changes.1 = changes;
    }

    /// From when on the next run may come.
    fn due(&self, next: Next, changes: u64) -> Option<Timestamp> {
        let claimable = next.claimable?;
        if changes != self.changes.1 || claimable > self.queued {
            return Some(claimable);
        }
        [Some(claimable.max(self.until)), next.later].into_iter().flatten().min()
    }
}

/// Notes when there is something to do, at each change of the outbox, for as long as somebody listens.
pub(super) fn watch(store: Store, look: Arc<Notify>, notes: mpsc::UnboundedSender<Note>) {
    tokio::spawn(async move {
        let mut changes = store.outbox_changes();
        let mut broken = false;
        loop {
            let seen = *changes.borrow_and_update();
            match ask(&store).await {
                Ok(next) => {
                    broken = false;
                    if notes.send(Note::Outbox(next, seen)).is_err() {
                        return;
                    }
                    tokio::time::sleep(TOGETHER).await;
                }
                Err(StoreError::Closed) => return,
                Err(error) => {
                    if !broken {
                        tracing::error!("the outbox cannot be looked at; it is tried again until it can: {error}");
                    }
                    broken = true;
                    tokio::time::sleep(TRY_AGAIN).await;
                    continue;
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = look.notified() => {}
            }
        }
    });
}

async fn ask(store: &Store) -> Result<Next, StoreError> {
    while store.read().outbox_has_expired(clock::now()).await? {
        store.outbox_expire(clock::now()).await?;
    }
    store.read().outbox_next(clock::now()).await
}

impl Dispatcher {
    pub(super) fn watch_outbox(&self) {
        watch(self.runner.store.clone(), Arc::clone(&self.outbox.look), self.notes.clone());
    }

    /// What the outbox holds has changed.
    pub(super) fn outbox_changed(&mut self, next: Next, changes: u64) {
        (self.outbox.next, self.outbox.changes) = (next, changes);
        self.deliver(clock::now());
    }

    /// When the outbox wants to be looked at.
    pub(super) fn outbox_due(&self) -> Option<Timestamp> {
        let tasks = self.deliverers().filter_map(|task| self.delivery_due(&task));
        tasks.chain(self.outbox.next.expiring).min()
    }

    /// Queues the tasks that deliver, when something can be claimed.
    pub(super) fn deliver(&mut self, now: Timestamp) {
        if self.outbox.next.expiring.is_some_and(|at| at <= now) {
            self.outbox.next.expiring = None;
            self.outbox.look.notify_one();
        }
        let is_due = |task: &Arc<str>| self.delivery_due(task).is_some_and(|due| due <= now);
        let due: Vec<_> = self.deliverers().filter(is_due).collect();
        for task in due {
            let changes = self.outbox.changes;
            let delivery = self.outbox.deliveries.entry(task.to_string()).or_insert_with(|| Delivery::new(changes));
            (delivery.changes, delivery.queued) = ((changes, changes), now);
            self.each(|it| it.name == task, &Trigger::Outbox);
        }
    }

    /// A run is over: whether there is more to deliver, and what is old, is looked at.
    pub(super) fn delivered(&mut self, task: &str, succeeded: bool, now: Timestamp) {
        let changes = self.runner.store.outbox_change_count();
        let Some(delivery) = self.outbox.deliveries.get_mut(task) else { return };
        delivery.ended(succeeded, changes, now);
        // What became due while it ran may have been too late for it.
        self.outbox.next = Next { claimable: None, later: None, ..self.outbox.next };
        self.outbox.look.notify_one();
        if self.outbox.pruned.is_none_or(|pruned| now.0 - pruned.0 > PRUNE_EVERY_MS) {
            self.prune_outbox(now);
        }
    }

    /// Forgets old messages.
    pub(super) fn prune_outbox(&mut self, now: Timestamp) {
        self.outbox.pruned = Some(now);
        let settings = &self.loaded.config.settings;
        let keep = i64::try_from(settings.keep_messages.as_millis()).unwrap_or(i64::MAX);
        let (store, most) = (self.runner.store.clone(), settings.max_messages);
        tokio::spawn(async move {
            if let Err(error) = store.outbox_prune(Timestamp(now.0.saturating_sub(keep)), most).await {
                tracing::warn!("old messages could not be removed from the journal: {error}");
            }
        });
    }

    /// The tasks that messages start, as long as no run of theirs is under way or waits.
    fn deliverers(&self) -> impl Iterator<Item = Arc<str>> {
        let tasks = self.loaded.eventful.iter().filter(|task| task.triggers.outbox).map(|task| &task.name);
        tasks.filter(|name| self.queue.waiting(name) == 0 && self.queue.running(name) == 0).cloned()
    }

    /// None when there is nothing, and while a note of what there is now is on its way.
    fn delivery_due(&self, task: &str) -> Option<Timestamp> {
        let Outbox { next, changes, deliveries, .. } = &self.outbox;
        if *changes != self.runner.store.outbox_change_count() {
            return None;
        }
        deliveries.get(task).map_or(next.claimable, |it| it.due(*next, *changes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_changes_nothing_is_followed_by_a_longer_pause_each_time() {
        let next = |claimable, later: Option<i64>| Next {
            claimable: Some(Timestamp(claimable)),
            later: later.map(Timestamp),
            expiring: None,
        };
        let mut delivery = Delivery { queued: Timestamp(0), ..Delivery::new(7) };
        let mut pauses = Vec::new();
        for _ in 0..12 {
            delivery.ended(true, 7, Timestamp(0));
            pauses.push(delivery.due(next(-5, None), 7).unwrap().0);
        }
        assert_eq!(pauses[..4], [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(pauses[11], LONGEST_PAUSE_MS);
        assert_eq!(delivery.due(next(-5, Some(90)), 7), Some(Timestamp(90)), "what becomes due does not wait for it");
        assert_eq!(delivery.due(next(-5, None), 8), Some(Timestamp(-5)), "a change ends it");
        delivery.changes.0 = 8;
        delivery.ended(true, 9, Timestamp(0));
        assert_eq!((delivery.due(next(-5, None), 9), delivery.pause_ms), (Some(Timestamp(0)), 0), "it did something");
        assert_eq!(delivery.due(next(5_000, None), 9), Some(Timestamp(5_000)), "never before its time");
        assert_eq!(delivery.due(Next::default(), 9), None);
        assert_eq!(delivery.due(next(1, None), 9), Some(Timestamp(1)), "nor is what it may not have seen held up");
        delivery.changes.0 = 9;
        delivery.ended(false, 12, Timestamp(0));
        assert_eq!(delivery.due(next(-5, None), 12), Some(Timestamp(1_000)), "it claimed messages, and failed");
    }
}
