//! The daily digest: when it is due, and on its way into the outbox.

use tokio::sync::oneshot;

use super::dispatcher::{Dispatcher, Note};
use crate::alert::digest::{self, gather, text};
use crate::clock::{self, Timestamp};
use crate::command::{CommandError, WrittenDigest};
use crate::record::outbox::{Content, MessageLevel, NewMessage, Priority};
use crate::run::execute::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::stats::Keeping;
use crate::store::{AlertRecord, SentDigest, StoreError};

/// A day, in milliseconds: what the first digest is about, and how long one can be delivered.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// What is known of digests.
#[derive(Debug, Default)]
pub(super) struct Digests {
    /// When the last one was sent.
    last: Option<Timestamp>,
    /// When the next one is due; none while one is being written.
    due: Option<Timestamp>,
}

impl Dispatcher {
    /// Takes up when the last one was sent. What was due while the daemon was not there is due now.
    pub(super) async fn take_up_digests(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.digests.last = self.runner.store.read().last_digest().await?;
        self.plan_digest(self.digests.last.unwrap_or(now));
        Ok(())
    }

    /// Sets when the next one is due after a moment.
    pub(super) fn plan_digest(&mut self, after: Timestamp) {
        let settings = &self.loaded.config.settings;
        // It was validated.
        let zone = settings.timezone.parse().unwrap_or(chrono_tz::UTC);
        self.digests.due = settings.alerts.digest.as_ref().and_then(|it| digest::next(it.at, zone, after));
    }

    /// When the next one is due.
    pub(super) fn digest_due(&self) -> Option<Timestamp> {
        self.digests.due
    }

    fn asked(&self, from: Timestamp, to: Timestamp) -> gather::Asked {
        let config = &self.loaded.config;
        let tasks = config.tasks.values();
        let with_repository = tasks.clone().filter(|task| !task.grants.repository.is_empty());
        gather::Asked {
            host: self.runner.host.to_string(),
            zone: config.settings.timezone.parse().unwrap_or(chrono_tz::UTC),
            from,
            to,
            tasks: config.tasks.keys().map(ToString::to_string).collect(),
            with_repository: with_repository.map(|task| task.name.to_string()).collect(),
            figures: tasks.map(|task| Keeping::of(task)).collect(),
            state_dir: self.runner.state_dir.clone(),
            journal_error: self.runner.store.trouble(),
        }
    }

    /// Sends the digest that is due.
    pub(super) fn send_digest(&mut self, now: Timestamp) {
        let alerts = &self.loaded.config.settings.alerts;
        let Some(settings) = &alerts.digest else { return };
        let channels = if settings.channels.is_empty() { alerts.channels.clone() } else { settings.channels.clone() };
        self.digests.due = None;
        let asked = self.asked(self.digests.last.unwrap_or(Timestamp(now.0 - DAY_MS)), now);
        let (store, notes) = (self.runner.store.clone(), self.notes.clone());
        tokio::spawn(async move {
            let (facts, kept) = gather::gather(store.read(), asked).await;
            let verdict = text::verdict(&facts);
            let is_well = verdict == text::ALL_WELL;
            let content = Content {
                title: format!("[{}] Digest: {verdict}", facts.host),
                text: text::text(&facts, Some(text::LARGEST)),
                level: if is_well { MessageLevel::Info } else { MessageLevel::Warn },
                group: Some("digest".to_owned()),
                ..Content::default()
            };
            // One for each time that it is due at, whatever is tried again.
            let due = now.utc().with_timezone(&facts.zone).format("%Y-%m-%dT%H:%M");
            let message = NewMessage {
                key: Some(format!("digest/{due}")),
                channels,
                priority: Priority::Normal,
                not_before: None,
                expires: Some(Timestamp(now.0.saturating_add(DAY_MS))),
                content,
            };
            let sent = SentDigest { at: now, facts: serde_json::to_string(&kept).unwrap_or_default() };
            let record = AlertRecord { messages: vec![message], digest: Some(sent), ..AlertRecord::default() };
            let mut pause = FIRST_PAUSE;
            while let Err(error) = store.tell(record.clone(), now).await {
                if pause == FIRST_PAUSE {
                    tracing::error!("the digest cannot be recorded; it is tried again until it can: {error}");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            // The dispatcher is gone only when the daemon stops.
            let _ = notes.send(Note::Digested(now));
        });
    }

    /// A digest is in the outbox.
    pub(super) fn digested(&mut self, at: Timestamp) {
        self.digests.last = Some(at);
        self.plan_digest(at);
    }

    /// Writes a digest of now, and sends it to nobody but who asks.
    pub(super) fn write_digest(
        &self,
        since_ms: Option<u64>,
        all: bool,
        reply: oneshot::Sender<Result<WrittenDigest, CommandError>>,
    ) {
        let now = clock::now();
        let since = since_ms.map(|ms| Timestamp(now.0.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX))));
        let from = since.or(self.digests.last).unwrap_or(Timestamp(now.0 - DAY_MS));
        let (asked, store) = (self.asked(from, now), self.runner.store.clone());
        tokio::spawn(async move {
            let (facts, _) = gather::gather(store.read(), asked).await;
            let text = text::text(&facts, (!all).then_some(text::LARGEST));
            let _ = reply.send(Ok(WrittenDigest { from, to: now, verdict: text::verdict(&facts), text }));
        });
    }
}
