//! Alerts change together with the messages that tell them.

use super::{Fixture, finish, queued, start};
use crate::alert::ORIGIN;
use crate::alert::policy::{Alerts, Moment, Rules, Silence, step};
use crate::alert::signal::Signal;
use crate::clock::Timestamp;
use crate::config::alerts::{AlertSettings, TaskAlerts};
use crate::outcome::{Failure, Outcome};
use crate::record::outbox::{Content, MessageLevel, MessageState, NewMessage};
use crate::store::{AlertRecord, DeliveryOutcome, MessageFilter, SentDigest, Settlement, Transition};

fn failed() -> Outcome {
    Outcome::Failed { failure: Failure::Permanent, message: "no space left".into() }
}

#[tokio::test]
async fn what_is_told_is_recorded_with_the_message_and_taken_in_once() {
    let fixture = Fixture::new().await;
    let settings =
        AlertSettings { channels: vec!["mail".into()], group: std::time::Duration::ZERO, ..Default::default() };
    let rules = Rules::new(&settings, "web-1", chrono_tz::UTC).unwrap();
    let signal = Signal::of_run(&queued(1, "backup"), &failed(), &TaskAlerts::default()).unwrap();
    let moment = Moment { now: Timestamp(5_000), silence: Silence::None };
    let stepped = step(&rules, &moment, &Alerts::new(), [signal]);
    let record =
        AlertRecord { changed: stepped.changed.clone(), messages: stepped.messages.clone(), ..Default::default() };
    let changes = fixture.store.outbox_change_count();
    // What is tried again after a commit of which nobody heard.
    fixture.store.tell(record.clone(), Timestamp(5_000)).await.unwrap();
    fixture.store.tell(record, Timestamp(5_000)).await.unwrap();
    assert!(fixture.store.outbox_change_count() > changes, "who delivers is woken");
    let fixture = fixture.reopen().await;
    let journal = fixture.store.read();
    assert_eq!(journal.alerts().await.unwrap(), stepped.changed);
    let messages = journal.messages(&MessageFilter::default(), 10).await.unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!((&*messages[0].origin, messages[0].key.as_deref()), (ORIGIN, Some("task/backup@5000/opened/mail")));

    let forgotten = vec!["task/backup".to_owned(), "task/other".to_owned()];
    fixture.store.tell(AlertRecord { forgotten, ..Default::default() }, Timestamp(6_000)).await.unwrap();
    assert_eq!(fixture.store.read().alerts().await.unwrap(), []);
}

#[tokio::test]
async fn the_last_end_is_the_one_that_says_something() {
    let fixture = Fixture::new().await;
    let end = async |at: i64, task: &str, outcome: Outcome| {
        let run = queued(at, task);
        let id = run.id.clone();
        let ends = vec![Transition::Queue(vec![run]), start(&id, at), finish(&id, at + 10, outcome)];
        fixture.store.commit(ends).await.unwrap();
        id
    };
    end(1_000, "backup", Outcome::Succeeded).await;
    let failure = end(2_000, "backup", failed()).await;
    end(3_000, "backup", Outcome::Cancelled { by: "uid 0".into() }).await;
    fixture.commit(Transition::Queue(vec![queued(4_000, "backup")])).await;
    end(1_000, "scan", Outcome::Succeeded).await;
    let ends = fixture.store.read().last_ends(&["scan", "none", "backup"]).await.unwrap();
    let shown: Vec<_> = ends
        .iter()
        .map(|(run, good)| {
            (run.as_ref().map(|run| (&*run.task, run.outcome.as_ref().unwrap().name())), good.map(|at| at.0))
        })
        .collect();
    assert_eq!(
        shown,
        [(Some(("scan", "succeeded")), Some(1_010)), (None, None), (Some(("backup", "failed")), Some(1_010))]
    );
    assert_eq!(ends[2].0.as_ref().unwrap().id, failure);
    let runs = fixture.store.read().runs_between(Timestamp(1_500), Timestamp(9_000)).await.unwrap();
    assert_eq!(runs["backup"].outcomes, [("cancelled".to_owned(), 1), ("failed".to_owned(), 1)].into());
    assert!(!runs.contains_key("scan"));
    let before = fixture.store.read().runs_between(Timestamp(0), Timestamp(1_500)).await.unwrap();
    assert_eq!(before["backup"].took_ms, Some(10.0));
}

#[tokio::test]
async fn dead_messages_count_by_channel_when_they_matter() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    for (origin, channel, level) in [
        ("cli", "sms", MessageLevel::Warn),
        ("backup", "sms", MessageLevel::Error),
        ("backup", "sms", MessageLevel::Info),
        ("backup", "mail", MessageLevel::Info),
        (ORIGIN, "mail", MessageLevel::Critical),
    ] {
        let content = Content { text: origin.to_owned(), level, ..Content::default() };
        store.outbox_enqueue(origin, vec![NewMessage::new(channel, content)], Timestamp(1)).await.unwrap();
    }
    assert_eq!(store.read().dead_messages().await.unwrap(), []);
    for channel in ["sms", "mail"] {
        let claimed = store.outbox_claim(channel, 10, Timestamp(100), Timestamp(2)).await.unwrap();
        for (at, message) in (10..).zip(claimed.messages) {
            let settlement = Settlement {
                id: message.id,
                lease: claimed.lease.clone(),
                outcome: DeliveryOutcome::Dead,
                code: None,
                reason: Some(format!("refused at {at}")),
                took: None,
            };
            store.outbox_settle(vec![settlement], Timestamp(at)).await.unwrap();
        }
    }
    let dead = store.read().dead_messages().await.unwrap();
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert_eq!((&*dead[0].channel, dead[0].messages, dead[0].level), ("sms", 2, MessageLevel::Error));
    assert!(dead[0].reason.as_ref().is_some_and(|reason| reason.starts_with("refused at")));
    let since = store.read().messages_since(Timestamp(0)).await.unwrap();
    assert_eq!(since, [(MessageState::Dead, 5)].into());
}

#[tokio::test]
async fn digests_are_known_for_two_months() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.store.read().last_digest().await.unwrap(), None);
    let day = 24 * 3_600_000;
    for at in [day, 2 * day, 62 * day] {
        let digest = Some(SentDigest { at: Timestamp(at), facts: "{}".into() });
        fixture.store.tell(AlertRecord { digest, ..Default::default() }, Timestamp(at)).await.unwrap();
    }
    let known = fixture.store.read().digests(Timestamp(0)).await.unwrap();
    assert_eq!(known.iter().map(|digest| digest.at.0 / day).collect::<Vec<_>>(), [2, 62]);
    assert_eq!(fixture.store.read().last_digest().await.unwrap(), Some(Timestamp(62 * day)));
}
