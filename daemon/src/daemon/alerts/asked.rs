//! What people ask for: which alerts are open, to take one on, to try whether they arrive.

use tokio::sync::oneshot;

use crate::alert::ORIGIN;
use crate::alert::policy::{self, Silence};
use crate::alert::signal::Signal;
use crate::clock;
use crate::command::{Acknowledged, AlertStatus, CommandError, NextTelling, OpenAlerts, Silenced, Tested};
use crate::daemon::dispatcher::Dispatcher;
use crate::record::alert::{Acknowledgement, Alert};
use crate::record::outbox::{Content, MessageLevel, NewMessage, Priority};

impl Dispatcher {
    /// Alerts that are open, the ones first that matter most.
    pub(in crate::daemon) fn open_alerts(&self) -> OpenAlerts {
        let moment = self.moment(clock::now());
        let rules = self.alerts.rules.as_ref();
        let next = |alert: &Alert| {
            let (at, what) = policy::next_telling(rules?, &moment, alert)?;
            Some(NextTelling { at, what: what.to_owned() })
        };
        let open = self.alerts.known.values().filter(|alert| alert.is_open() || alert.over_untold);
        let mut alerts: Vec<AlertStatus> =
            open.map(|alert| AlertStatus { next: next(alert), alert: alert.clone() }).collect();
        alerts.sort_by(|a, b| (b.alert.level, a.alert.opened).cmp(&(a.alert.level, b.alert.opened)));
        let silenced = match moment.silence {
            Silence::None => None,
            Silence::Lasts => Some(Silenced { tasks: self.silencing().map(str::to_owned).collect(), until: None }),
            Silence::Until(end) => Some(Silenced { tasks: Vec::new(), until: Some(end) }),
        };
        OpenAlerts { told: rules.is_some(), journal_error: self.runner.store.trouble(), silenced, alerts }
    }

    /// Somebody takes on an alert, or all that are open.
    pub(in crate::daemon) fn acknowledge(
        &mut self,
        key: Option<&str>,
        acknowledgement: &Acknowledgement,
        reply: oneshot::Sender<Result<Acknowledged, CommandError>>,
    ) {
        let open: Vec<&Alert> = self.alerts.known.values().filter(|alert| alert.is_open()).collect();
        let chosen: Vec<String> = match key {
            None => open.iter().map(|alert| alert.key.clone()).collect(),
            Some(key) if open.iter().any(|alert| alert.key == key) => vec![key.to_owned()],
            Some(key) => {
                let found: Vec<&&Alert> = open.iter().filter(|alert| alert.key.starts_with(key)).collect();
                match found.as_slice() {
                    [one] => vec![one.key.clone()],
                    _ => {
                        let keys = found.iter().map(|alert| alert.key.clone()).collect();
                        // Whoever asked may have gone.
                        let _ = reply.send(Err(CommandError::NoAlert { key: key.to_owned(), keys }));
                        return;
                    }
                }
            }
        };
        let alerts: Vec<Alert> = open.into_iter().filter(|alert| chosen.contains(&alert.key)).cloned().collect();
        if alerts.is_empty() || self.alerts.rules.is_none() {
            let _ = reply.send(Ok(Acknowledged { alerts: Vec::new() }));
            return;
        }
        for key in chosen {
            tracing::info!(alert = %key, by = %acknowledgement.by, "an alert is acknowledged");
            self.alerts.signals.push(Signal::Acknowledged(key, acknowledgement.clone()));
        }
        let (durable, done) = oneshot::channel();
        self.alerts.waiting.push(durable);
        tokio::spawn(async move {
            let answer = match done.await {
                Ok(done) => done.map(|()| Acknowledged { alerts }),
                Err(_) => Err(CommandError::Stopping),
            };
            let _ = reply.send(answer);
        });
        self.alert(clock::now());
    }

    /// Sends a message to all who would be told of an alert, one after the other.
    pub(in crate::daemon) fn test_alert(&self, by: &str, reply: oneshot::Sender<Result<Vec<Tested>, CommandError>>) {
        let settings = &self.loaded.config.settings.alerts;
        let now = clock::now();
        let first = (settings.channels.clone(), "It went to those who are told first.".to_owned());
        let others = settings.escalate.iter().map(|step| {
            let after = crate::config::duration::format(step.after);
            let text = format!("These are told when nobody has acknowledged an alert for {after}.");
            (step.channels.clone(), text)
        });
        let all = std::iter::once(first).chain(others).filter(|(channels, _)| !channels.is_empty());
        let (chains, messages): (Vec<Vec<String>>, Vec<NewMessage>) = all
            .map(|(channels, who)| {
                let content = Content {
                    title: format!("[{}] A test of upkeep's alerts", self.runner.host),
                    text: format!("Nothing is wrong. {by} wanted to know whether alerts arrive. {who}"),
                    level: MessageLevel::Info,
                    group: Some("test".to_owned()),
                    ..Content::default()
                };
                let (priority, key) = (Priority::High, None);
                let message =
                    NewMessage { key, channels: channels.clone(), priority, not_before: None, expires: None, content };
                (channels, message)
            })
            .unzip();
        let store = self.runner.store.clone();
        tokio::spawn(async move {
            let enqueued = store.outbox_enqueue(ORIGIN, messages, now).await;
            let tested = enqueued.map(|all| {
                all.into_iter()
                    .zip(chains)
                    .map(|(message, channels)| Tested { message: message.id, channels })
                    .collect()
            });
            let tested = tested.map_err(|error| CommandError::Journal { message: error.to_string() });
            let _ = reply.send(tested);
        });
    }
}
