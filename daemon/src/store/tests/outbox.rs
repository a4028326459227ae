//! The outbox: what is put in comes out once, in order, and ends in one state.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::record::outbox::{
    AttemptOutcome, Content, EnqueueOutcome, Enqueued, Meanwhile, Message, MessageState, NewMessage, Priority,
};
use crate::store::{Claimed, DeliveryOutcome, MessageFilter, Next, Resend, Settlement};

fn content(title: &str) -> Content {
    Content { title: title.to_owned(), ..Content::default() }
}

fn message(title: &str) -> NewMessage {
    NewMessage::new("mail", content(title))
}

fn settlement(message: &Message, lease: &str, outcome: DeliveryOutcome) -> Settlement {
    let reason = (!matches!(outcome, DeliveryOutcome::Sent { .. })).then(|| "no".to_owned());
    Settlement {
        id: message.id.clone(),
        lease: lease.to_owned(),
        outcome,
        code: Some("550".to_owned()),
        reason,
        took: Some(Duration::from_millis(4)),
    }
}

const SENT: DeliveryOutcome = DeliveryOutcome::Sent { provider_id: None };

impl Fixture {
    async fn enqueue(&self, messages: Vec<NewMessage>, at: i64) -> Vec<Enqueued> {
        self.store.outbox_enqueue("task", messages, Timestamp(at)).await.unwrap()
    }

    async fn claim(&self, channel: &str, at: i64, until: i64) -> Claimed {
        self.store.outbox_claim(channel, 100, Timestamp(until), Timestamp(at)).await.unwrap()
    }

    /// What is claimed, by title.
    async fn titles(&self, channel: &str, at: i64, until: i64) -> Vec<String> {
        self.claim(channel, at, until).await.messages.into_iter().map(|it| it.content.title).collect()
    }

    /// Settles all that was claimed in the same way.
    async fn settle(&self, claimed: &Claimed, outcome: &DeliveryOutcome, at: i64) -> Vec<bool> {
        let all = claimed.messages.iter().map(|it| settlement(it, &claimed.lease, outcome.clone())).collect();
        self.store.outbox_settle(all, Timestamp(at)).await.unwrap()
    }

    async fn message(&self, id: &str) -> Message {
        self.store.read().message(id).await.unwrap().unwrap()
    }

    async fn next(&self, at: i64) -> Next {
        self.store.read().outbox_next(Timestamp(at)).await.unwrap()
    }
}

#[tokio::test]
async fn a_key_is_taken_once_for_each_origin() {
    let mut fixture = Fixture::new().await;
    let keyed = |title: &str, key: &str| NewMessage { key: Some(key.to_owned()), ..message(title) };
    let batch = vec![keyed("a", "1"), keyed("a", "1"), keyed("b", "1"), message("c"), message("c"), keyed("d", "2")];
    let first = fixture.enqueue(batch, 10).await;
    let outcomes: Vec<_> = first.iter().map(|it| it.outcome).collect();
    use EnqueueOutcome::{Different, Known, New};
    assert_eq!(outcomes, [New, Known, Different, New, New, New]);
    assert!(first[1].id == first[0].id && first[2].id == first[0].id && first[3].id != first[4].id);
    fixture = fixture.reopen().await;
    let later = NewMessage { expires: Some(Timestamp(99)), priority: Priority::Low, ..keyed("a", "1") };
    let other_chain = NewMessage { channels: vec!["mail".into(), "sms".into()], ..keyed("a", "1") };
    let again = fixture.enqueue(vec![later, other_chain], 20).await;
    assert_eq!((again[0].outcome, &again[0].id), (Known, &first[0].id), "when it is delivered is not what it says");
    assert_eq!((again[1].outcome, &again[1].id), (Different, &first[0].id));
    let other = fixture.store.outbox_enqueue("api", vec![keyed("z", "1")], Timestamp(20)).await.unwrap();
    assert_eq!(other[0].outcome, New);
    let all = fixture.store.read().messages(&MessageFilter::default(), 100).await.unwrap();
    assert_eq!(all.iter().map(|it| it.content.title.as_str()).collect::<Vec<_>>(), ["z", "d", "c", "c", "a"]);
    assert_eq!((all[4].created, all[4].expires), (Timestamp(10), None), "nothing of the first was changed");
}

#[tokio::test]
async fn the_urgent_go_first_and_then_those_that_have_waited_longest() {
    let fixture = Fixture::new().await;
    let with = |title: &str, priority, not_before: Option<i64>| NewMessage {
        priority,
        not_before: not_before.map(Timestamp),
        ..message(title)
    };
    let batch = vec![
        with("normal 1", Priority::Normal, None),
        with("low", Priority::Low, None),
        with("normal later", Priority::Normal, Some(500)),
        with("normal 2", Priority::Normal, None),
        with("urgent later", Priority::Urgent, Some(300)),
        with("high", Priority::High, None),
    ];
    fixture.enqueue(batch, 100).await;
    fixture.enqueue(vec![with("urgent", Priority::Urgent, Some(50))], 101).await;
    assert_eq!(fixture.titles("sms", 102, 200).await, [""; 0]);
    let first = fixture.store.outbox_claim("mail", 2, Timestamp(200), Timestamp(102)).await.unwrap();
    assert_eq!(first.messages.iter().map(|it| it.content.title.as_str()).collect::<Vec<_>>(), ["urgent", "high"]);
    assert_eq!(fixture.titles("mail", 102, 900).await, ["normal 1", "normal 2", "low"]);
    // The lease of the first two is over, and so is the waiting of another: in the order of their priorities.
    assert_eq!(fixture.titles("mail", 300, 900).await, ["urgent", "urgent later", "high"]);
    assert_eq!(fixture.titles("mail", 500, 900).await, ["normal later"]);
    assert_eq!(fixture.titles("mail", 899, 2_000).await, [""; 0]);
    assert_eq!(fixture.titles("mail", 900, 2_000).await.len(), 7);
}

#[tokio::test]
async fn what_was_not_tried_leaves_no_trace() {
    let fixture = Fixture::new().await;
    let id = fixture.enqueue(vec![message("a")], 10).await.remove(0).id;
    let claimed = fixture.claim("mail", 20, 100).await;
    assert_eq!(fixture.settle(&claimed, &DeliveryOutcome::Untried(Timestamp(50)), 30).await, [true]);
    let waits = fixture.message(&id).await;
    assert_eq!((waits.state, waits.due, waits.attempts), (MessageState::Waiting, Timestamp(50), 0));
    assert!(fixture.store.read().attempts(&id).await.unwrap().is_empty());
    assert_eq!(fixture.titles("mail", 49, 100).await, [""; 0]);
    let again = fixture.claim("mail", 50, 100).await;
    assert_eq!(again.messages.len(), 1);
    assert_eq!(fixture.settle(&claimed, &DeliveryOutcome::Untried(Timestamp(0)), 60).await, [false], "it is another's");
    assert_eq!(fixture.message(&id).await.state, MessageState::Claimed);
}

#[tokio::test]
async fn leases_end_with_whoever_had_them() {
    let fixture = Fixture::new().await;
    fixture.enqueue(vec![message("a")], 10).await;
    let first = fixture.claim("mail", 20, 9_000).await;
    fixture.enqueue(vec![message("b")], 11).await;
    let second = fixture.claim("mail", 20, 9_000).await;
    let release =
        async |leases: Option<Vec<String>>| fixture.store.outbox_release(leases, Timestamp(30)).await.unwrap();
    assert_eq!(release(Some(vec!["nobody's".into()])).await, 0);
    assert_eq!(release(Some(vec![first.lease.clone()])).await, 1);
    assert_eq!(fixture.titles("mail", 30, 8_000).await, ["a"]);
    assert_eq!(fixture.message(&first.messages[0].id).await.attempts, 1, "the first claim is lost");
    assert_eq!(release(None).await, 2);
    assert_eq!(fixture.titles("mail", 30, 8_000).await, ["a", "b"]);
    assert_eq!(fixture.settle(&second, &SENT, 40).await, [false]);
    assert_eq!(fixture.message(&second.messages[0].id).await.state, MessageState::Sent, "it has arrived all the same");
}

#[tokio::test]
async fn tries_are_those_of_one_channel_since_it_was_sent_again() {
    let fixture = Fixture::new().await;
    let chain = NewMessage { channels: vec!["mail".into(), "sms".into()], ..message("a") };
    let id = fixture.enqueue(vec![chain], 10).await.remove(0).id;
    let tries = async |channel: &str, at: i64| {
        let claimed = fixture.claim(channel, at, at + 50).await;
        (claimed.messages[0].tries, claimed.messages[0].attempts, claimed.messages[0].since, claimed)
    };
    let (none, _, since, claimed) = tries("mail", 100).await;
    assert_eq!((none, since), (0, Timestamp(10)));
    fixture.settle(&claimed, &DeliveryOutcome::Retry(Timestamp(200)), 110).await;
    let (one, _, _, claimed) = tries("mail", 200).await;
    assert_eq!(one, 1);
    fixture.settle(&claimed, &DeliveryOutcome::Refused, 210).await;
    let (none, attempts, _, claimed) = tries("sms", 300).await;
    assert_eq!((none, attempts), (0, 2));
    fixture.settle(&claimed, &DeliveryOutcome::Dead, 310).await;
    assert_eq!(fixture.store.outbox_resend(Resend::One(id), Timestamp(400)).await.unwrap(), 1);
    let (none, attempts, since, _) = tries("mail", 400).await;
    assert_eq!((none, attempts, since), (0, 3, Timestamp(400)));
    let (lost, ..) = tries("mail", 500).await;
    assert_eq!(lost, 1, "a lease that ran out is a try");
}

#[tokio::test]
async fn a_lease_that_ran_out_leaves_its_trace_and_its_holder_comes_too_late() {
    let fixture = Fixture::new().await;
    let id = fixture.enqueue(vec![message("a")], 10).await.remove(0).id;
    let slow = fixture.claim("mail", 20, 30).await;
    assert_eq!(fixture.message(&id).await.state, MessageState::Claimed);
    let second = fixture.claim("mail", 30, 40).await;
    assert_eq!((second.messages.len(), second.messages[0].attempts), (1, 1));
    assert_eq!(fixture.settle(&slow, &DeliveryOutcome::Dead, 31).await, [false], "another has it");
    assert_eq!(fixture.message(&id).await.state, MessageState::Claimed);
    assert_eq!(fixture.settle(&slow, &SENT, 32).await, [false]);
    assert_eq!(fixture.message(&id).await.state, MessageState::Sent, "what has arrived has arrived");
    assert_eq!(fixture.settle(&second, &DeliveryOutcome::Retry(Timestamp(90)), 33).await, [false]);
    let sent = fixture.message(&id).await;
    assert_eq!((sent.state, sent.ended, sent.attempts), (MessageState::Sent, Some(Timestamp(32)), 4));
    let attempts = fixture.store.read().attempts(&id).await.unwrap();
    let outcomes: Vec<_> = attempts.iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [AttemptOutcome::Lost, AttemptOutcome::Refused, AttemptOutcome::Sent, AttemptOutcome::Retry]);
    assert_eq!((attempts[0].at, attempts[2].at), (Timestamp(20), Timestamp(28)), "when each began");
    assert!(fixture.claim("mail", 1_000, 2_000).await.messages.is_empty());
}

#[tokio::test]
async fn a_message_goes_along_its_chain_and_can_be_sent_again() {
    let fixture = Fixture::new().await;
    let chained = NewMessage { channels: vec!["wecom".into(), "mail".into()], ..message("a") };
    let id = fixture.enqueue(vec![chained, message("other")], 10).await.remove(0).id;
    let claimed = fixture.claim("wecom", 10, 20).await;
    assert_eq!(fixture.settle(&claimed, &DeliveryOutcome::Retry(Timestamp(15)), 12).await, [true]);
    assert!(fixture.claim("wecom", 14, 20).await.messages.is_empty());
    let claimed = fixture.claim("wecom", 15, 20).await;
    assert_eq!(fixture.settle(&claimed, &DeliveryOutcome::Refused, 16).await, [true]);
    let waits = fixture.message(&id).await;
    assert_eq!((waits.channel(), waits.state, waits.reason.as_deref()), ("mail", MessageState::Waiting, Some("no")));
    let claimed = fixture.claim("mail", 17, 30).await;
    assert_eq!(fixture.settle(&claimed, &DeliveryOutcome::Refused, 18).await, [true, true]);
    let dead = fixture.message(&id).await;
    assert_eq!((dead.state, dead.ended, dead.channel()), (MessageState::Dead, Some(Timestamp(18)), "mail"));
    let store = &fixture.store;
    let resend = |which, at| async move { store.outbox_resend(which, Timestamp(at)).await.unwrap() };
    assert_eq!(resend(Resend::Dead(Some("wecom".into())), 20).await, 0);
    assert_eq!(resend(Resend::One(id.clone()), 20).await, 1);
    assert_eq!(resend(Resend::One(id.clone()), 20).await, 0, "it waits already");
    let again = fixture.message(&id).await;
    assert_eq!((again.state, again.channel(), again.ended), (MessageState::Waiting, "wecom", None));
    assert_eq!(resend(Resend::Dead(None), 21).await, 1, "the other");
    let claimed = fixture.claim("wecom", 21, 30).await;
    assert!(!fixture.store.outbox_drop(&id, Timestamp(22)).await.unwrap(), "it is being delivered");
    fixture.settle(&claimed, &DeliveryOutcome::Dead, 23).await;
    assert_eq!(fixture.store.read().attempts(&id).await.unwrap().len(), 4, "nothing of before is forgotten");
    assert!(fixture.store.outbox_drop(&id, Timestamp(24)).await.unwrap());
    assert_eq!(fixture.store.sql("DELETE FROM outbox_attempt").await.unwrap(), 1, "only that of the other is left");
}

#[tokio::test]
async fn what_waits_too_long_expires_and_what_is_on_its_way_does_not() {
    let fixture = Fixture::new().await;
    let until = |title: &str, expires| NewMessage { expires: Some(Timestamp(expires)), ..message(title) };
    let ids = fixture.enqueue(vec![until("waits", 50), until("on its way", 50), until("later", 90)], 10).await;
    fixture.store.outbox_claim("mail", 1, Timestamp(20), Timestamp(10)).await.unwrap();
    let claimed = fixture.claim("mail", 19, 70).await;
    assert_eq!(claimed.messages.len(), 2);
    assert_eq!(fixture.next(20).await.expiring, Some(Timestamp(50)));
    let reader = fixture.store.read();
    assert!(!reader.outbox_has_expired(Timestamp(49)).await.unwrap());
    assert!(reader.outbox_has_expired(Timestamp(50)).await.unwrap());
    assert_eq!(fixture.store.outbox_expire(Timestamp(50)).await.unwrap(), 1);
    let expired = fixture.message(&ids[0].id).await;
    assert_eq!((expired.state, expired.ended), (MessageState::Expired, Some(Timestamp(50))));
    assert_eq!(expired.attempts, 1, "its lease had run out before");
    assert_eq!(fixture.message(&ids[1].id).await.state, MessageState::Claimed);
    assert_eq!(fixture.titles("mail", 70, 80).await, ["later"]);
    assert_eq!(fixture.message(&ids[1].id).await.state, MessageState::Expired, "its lease is over, and so is its time");
    assert_eq!(fixture.store.outbox_resend(Resend::One(ids[1].id.clone()), Timestamp(100)).await.unwrap(), 1);
    assert_eq!(fixture.message(&ids[1].id).await.expires, None, "or it would expire at once");
    assert_eq!(fixture.titles("mail", 100, 200).await, ["on its way"]);
}

#[tokio::test]
async fn a_channel_that_is_paused_holds_up_nobody_else() {
    let mut fixture = Fixture::new().await;
    fixture.enqueue(vec![NewMessage::new("wecom", content("a")), message("b")], 10).await;
    assert_eq!(fixture.next(10).await.claimable, Some(Timestamp(10)));
    fixture.store.outbox_pause("wecom", Timestamp(500), "45009", Meanwhile::Wait, Timestamp(11)).await.unwrap();
    fixture = fixture.reopen().await;
    assert_eq!(fixture.titles("wecom", 499, 600).await, [""; 0]);
    assert_eq!(fixture.titles("mail", 20, 700).await, ["b"]);
    let next = fixture.next(20).await;
    assert_eq!((next.claimable, next.later), (Some(Timestamp(500)), Some(Timestamp(500))), "when the pause is over");
    let counts = fixture.store.read().outbox_counts(Timestamp(20)).await.unwrap();
    let counts: Vec<_> =
        counts.iter().map(|it| (it.channel.as_str(), it.due, it.claimed, it.reason.as_deref())).collect();
    assert_eq!(counts, [("mail", 0, 1, None), ("wecom", 1, 0, Some("45009"))]);
    fixture.store.outbox_pause("wecom", Timestamp(0), "", Meanwhile::Wait, Timestamp(21)).await.unwrap();
    assert_eq!(fixture.titles("wecom", 22, 600).await, ["a"]);
    assert_eq!(fixture.next(22).await.claimable, Some(Timestamp(600)), "when the lease is over");
    let next = fixture.next(650).await;
    assert_eq!((next.claimable, next.later), (Some(Timestamp(600)), Some(Timestamp(700))));
}

#[tokio::test]
async fn a_channel_that_takes_nothing_lets_messages_pass() {
    let mut fixture = Fixture::new().await;
    let chain = |channels: &[&str], title: &str| NewMessage {
        channels: channels.iter().map(|it| (*it).to_owned()).collect(),
        ..message(title)
    };
    let later = NewMessage { not_before: Some(Timestamp(400)), ..chain(&["wecom", "mail"], "later") };
    let tomorrow = NewMessage { not_before: Some(Timestamp(501)), ..chain(&["wecom", "mail"], "tomorrow") };
    let there = vec![chain(&["wecom", "mail"], "there"), chain(&["wecom"], "only"), later, tomorrow];
    let there = fixture.enqueue(there, 10).await;
    let pause = |channel, meanwhile| {
        let store = fixture.store.clone();
        async move { store.outbox_pause(channel, Timestamp(500), "93000", meanwhile, Timestamp(20)).await.unwrap() }
    };
    pause("wecom", Meanwhile::PassOn).await;
    pause("sms", Meanwhile::PassOn).await;
    let new = vec![
        chain(&["sms", "wecom", "mail"], "far"),
        chain(&["sms", "wecom"], "last"),
        chain(&["mail", "sms"], "back"),
    ];
    let new = fixture.enqueue(new, 30).await;
    fixture = fixture.reopen().await;

    assert_eq!(
        fixture.titles("mail", 40, 50).await,
        ["there", "far", "back"],
        "and neither who waits nor who has no other"
    );
    assert_eq!(fixture.next(40).await.later, Some(Timestamp(50)));
    let first = fixture.message(&there[0].id).await;
    assert_eq!((first.position, first.attempts, first.tries), (1, 1, 0));
    assert_eq!(first.reason.as_deref(), Some("wecom is paused: 93000"));
    let attempts = fixture.store.read().attempts(&new[0].id).await.unwrap();
    let attempts: Vec<_> = attempts.iter().map(|it| (it.attempt, it.channel.as_str(), it.outcome)).collect();
    assert_eq!(attempts, [(1, "sms", AttemptOutcome::Passed), (2, "wecom", AttemptOutcome::Passed)]);
    let channels = |ids: Vec<String>| async {
        let mut all = Vec::new();
        for id in ids {
            let message = fixture.message(&id).await;
            all.push((message.channel().to_owned(), message.due.0));
        }
        all
    };
    let waiting =
        channels(vec![there[1].id.clone(), there[2].id.clone(), there[3].id.clone(), new[1].id.clone()]).await;
    let waits = |channel: &str, due| (channel.to_owned(), due);
    assert_eq!(waiting, [waits("wecom", 10), waits("mail", 400), waits("wecom", 501), waits("wecom", 30)]);

    // One that comes back to a channel that is paused does not stay there either.
    let claimed = fixture.claim("mail", 60, 70).await;
    let back = claimed.messages.iter().find(|it| it.id == new[2].id).unwrap();
    let refused = settlement(back, &claimed.lease, DeliveryOutcome::Refused);
    fixture.store.outbox_settle(vec![refused], Timestamp(61)).await.unwrap();
    assert_eq!(fixture.message(&new[2].id).await.channel(), "sms", "its last one");

    // Put right before its time: what waited is due, what was to wait anyway is not.
    assert!(fixture.store.outbox_resume("wecom", Timestamp(100)).await.unwrap());
    assert!(!fixture.store.outbox_resume("wecom", Timestamp(100)).await.unwrap());
    assert_eq!(fixture.titles("wecom", 100, 200).await, ["only", "last"]);
    assert_eq!(fixture.message(&there[3].id).await.due, Timestamp(501));
    let again = fixture.enqueue(vec![chain(&["wecom", "mail"], "again")], 110).await;
    assert_eq!(fixture.message(&again[0].id).await.channel(), "wecom");
}

#[tokio::test]
async fn what_waits_for_the_end_of_a_pause_is_due_when_it_is_resumed() {
    let fixture = Fixture::new().await;
    fixture.enqueue(vec![message("put back"), message("tried"), message("far")], 10).await;
    let claimed = fixture.claim("mail", 20, 90).await;
    let became = [
        DeliveryOutcome::Untried(Timestamp(500)),
        DeliveryOutcome::Retry(Timestamp(400)),
        DeliveryOutcome::Retry(Timestamp(900)),
    ];
    let settled = claimed.messages.iter().zip(became).map(|(it, became)| settlement(it, &claimed.lease, became));
    fixture.store.outbox_settle(settled.collect(), Timestamp(30)).await.unwrap();
    fixture.store.outbox_pause("mail", Timestamp(500), "down", Meanwhile::Wait, Timestamp(30)).await.unwrap();
    assert_eq!(fixture.next(40).await.claimable, Some(Timestamp(500)));
    assert!(fixture.store.outbox_resume("mail", Timestamp(50)).await.unwrap());
    assert_eq!(
        fixture.next(50).await,
        Next { claimable: Some(Timestamp(50)), later: Some(Timestamp(900)), expiring: None }
    );
    assert_eq!(fixture.titles("mail", 50, 90).await, ["put back", "tried"]);
}

#[tokio::test]
async fn changes_are_told() {
    let fixture = Fixture::new().await;
    let changes = || fixture.store.outbox_change_count();
    let mut told = fixture.store.outbox_changes();
    assert_eq!(changes(), 0);
    fixture.enqueue(vec![message("a")], 10).await;
    told.changed().await.unwrap();
    assert_eq!(changes(), 1);
    fixture.claim("sms", 10, 20).await;
    fixture.store.outbox_expire(Timestamp(11)).await.unwrap();
    fixture.enqueue(vec![], 10).await;
    fixture.over(1, "other").await;
    assert_eq!(changes(), 1, "nothing of this changed anything");
    let claimed = fixture.claim("mail", 10, 20).await;
    fixture.settle(&claimed, &SENT, 11).await;
    assert_eq!(changes(), 3);
}

#[tokio::test]
async fn what_is_over_is_forgotten_by_age_and_by_number() {
    let fixture = Fixture::new().await;
    fixture.enqueue((0..10).map(|number| message(&number.to_string())).collect(), 0).await;
    for at in 1..=8 {
        let claimed = fixture.store.outbox_claim("mail", 1, Timestamp(9_000), Timestamp(at)).await.unwrap();
        fixture.settle(&claimed, if at % 2 == 0 { &SENT } else { &DeliveryOutcome::Dead }, at * 10).await;
    }
    let left = async || -> Vec<String> {
        let all = fixture.store.read().messages(&MessageFilter::default(), 100).await.unwrap();
        all.into_iter().map(|it| it.content.title).collect()
    };
    assert_eq!(fixture.store.outbox_prune(Timestamp(30), 100).await.unwrap(), 2);
    assert_eq!(left().await, ["9", "8", "7", "6", "5", "4", "3", "2"]);
    assert_eq!(fixture.store.outbox_prune(Timestamp(0), 2).await.unwrap(), 2);
    assert_eq!(left().await, ["9", "8", "7", "6", "5", "4"], "the newest two of each kind, and what is not over");
    assert_eq!(fixture.store.sql("DELETE FROM outbox_attempt").await.unwrap(), 4, "attempts go with their message");
    let dead = MessageFilter { state: Some(MessageState::Dead), ..MessageFilter::default() };
    assert_eq!(fixture.store.read().messages(&dead, 100).await.unwrap().len(), 2);
    let waiting = MessageFilter { state: Some(MessageState::Waiting), ..MessageFilter::default() };
    let page = fixture.store.read().messages(&waiting, 1).await.unwrap();
    let rest = MessageFilter { before: Some(page[0].id.clone()), ..waiting };
    assert_eq!(fixture.store.read().messages(&rest, 100).await.unwrap()[0].content.title, "8");
}

/// They would be gone within a minute of fast traffic, unseen.
#[tokio::test]
async fn dead_messages_are_counted_by_themselves() {
    let fixture = Fixture::new().await;
    fixture.enqueue(vec![message("dead 1"), message("dead 2")], 10).await;
    let claimed = fixture.claim("mail", 10, 20).await;
    fixture.settle(&claimed, &DeliveryOutcome::Dead, 11).await;
    fixture.enqueue((0..9).map(|at| message(&format!("{at}"))).collect(), 20).await;
    let claimed = fixture.claim("mail", 20, 30).await;
    fixture.settle(&claimed, &SENT, 21).await;
    fixture.enqueue(vec![message("last")], 30).await;
    let claimed = fixture.claim("mail", 30, 40).await;
    fixture.settle(&claimed, &SENT, 31).await;
    let left = async || {
        let all = fixture.store.read().messages(&MessageFilter::default(), 100).await.unwrap();
        all.into_iter().map(|it| it.content.title).collect::<Vec<_>>()
    };
    assert_eq!(fixture.store.outbox_prune(Timestamp(0), 2).await.unwrap(), 9);
    assert_eq!(left().await, ["last", "dead 2", "dead 1"]);
    assert_eq!(fixture.store.outbox_prune(Timestamp(12), 2).await.unwrap(), 2, "they become too old, too");
    assert_eq!(left().await, ["last"]);
}

#[tokio::test]
async fn what_is_throttled_is_written_down_and_is_no_try() {
    let fixture = Fixture::new().await;
    let later = NewMessage { not_before: Some(Timestamp(400)), ..message("a") };
    let id = fixture.enqueue(vec![later], 10).await.remove(0).id;
    let claimed = fixture.claim("mail", 500, 600).await;
    assert_eq!(claimed.messages[0].since, Timestamp(400), "it could not be tried before");
    fixture.settle(&claimed, &DeliveryOutcome::Throttled(Timestamp(700)), 510).await;
    let claimed = fixture.claim("mail", 700, 800).await;
    let it = &claimed.messages[0];
    assert_eq!((it.attempts, it.tries, it.since), (1, 0, Timestamp(400)));
    fixture.settle(&claimed, &DeliveryOutcome::Retry(Timestamp(900)), 710).await;
    let claimed = fixture.claim("mail", 900, 1_000).await;
    let it = &claimed.messages[0];
    assert_eq!((it.attempts, it.tries, it.since), (2, 1, Timestamp(706)), "when the first try began");
    let attempts = fixture.store.read().attempts(&id).await.unwrap();
    let outcomes: Vec<_> = attempts.iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [AttemptOutcome::Throttled, AttemptOutcome::Retry]);
}

#[tokio::test]
async fn a_claim_is_no_larger_than_a_guest_bears() {
    let fixture = Fixture::new().await;
    let large = |title: &str, size| NewMessage::new("mail", Content { text: "x".repeat(size), ..content(title) });
    let messages = vec![large("1", 3 << 20), large("2", 2 << 20), large("3", 9 << 20), large("4", 10)];
    fixture.enqueue(messages, 10).await;
    for expected in [&["1"][..], &["2"], &["3"], &["4"]] {
        assert_eq!(fixture.titles("mail", 10, 90).await, expected);
    }
    assert_eq!(fixture.titles("mail", 10, 90).await, [""; 0]);
}

#[tokio::test]
async fn a_claim_does_not_look_at_what_it_does_not_give() {
    let fixture = Fixture::new().await;
    let plan = async |sql: &'static str| -> String {
        let rows = sqlx::query(sql).fetch_all(&mut open_again(&fixture).await).await.unwrap();
        rows.iter().map(|row| sqlx::Row::get::<String, _>(row, 3)).collect::<Vec<_>>().join("; ")
    };
    let claim = plan(
        "EXPLAIN QUERY PLAN SELECT number FROM outbox_message WHERE ended IS NULL AND channel = 'a' AND priority = 1 \
         AND due <= 5 AND (expires IS NULL OR expires > 5) ORDER BY due, state, number LIMIT 9",
    );
    let claim = claim.await;
    assert!(
        claim.contains("outbox_open (channel=? AND priority=? AND ended=? AND due<?)") && !claim.contains("TEMP"),
        "{claim}"
    );
    let next = plan(
        "EXPLAIN QUERY PLAN SELECT min(due) FROM outbox_message WHERE ended IS NULL AND channel = 'a' AND priority = 1",
    );
    assert!(next.await.contains("COVERING INDEX outbox_open"));
    let dead = plan("EXPLAIN QUERY PLAN SELECT id FROM outbox_message WHERE state = 'dead' ORDER BY id DESC LIMIT 9");
    assert!(dead.await.contains("outbox_dead"));
}

#[tokio::test]
async fn a_commit_looks_only_at_what_passes() {
    let fixture = Fixture::new().await;
    let mut connection = open_again(&fixture).await;
    for sql in crate::store::outbox::PASS {
        let sql = format!("EXPLAIN QUERY PLAN {sql}");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| sqlx::Row::get(row, 3)).collect();
        assert_eq!(plan[..1], ["SEARCH outbox_message USING INDEX outbox_passing (channel=? AND due<?)"], "{plan:?}");
    }
}

async fn open_again(fixture: &Fixture) -> sqlx::SqliteConnection {
    use sqlx::Connection;
    let path = super::super::path(fixture.dir.path());
    sqlx::SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap()
}

/// A step of a history. Times only grow.
#[derive(Debug, Clone)]
enum Act {
    Enqueue(Vec<(u8, u8, u8, u8)>),
    Claim {
        channel: u8,
        most: u32,
        lease: i64,
    },
    /// Settles what the claim before the last `back` got.
    Settle {
        back: usize,
        outcomes: Vec<u8>,
    },
    Pause {
        channel: u8,
        time: i64,
        passes: bool,
    },
    Resume(u8),
    Wait(i64),
    ResendDead,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => prop::collection::vec((0u8..3, 0u8..4, 0u8..3, 0u8..3), 1..6).prop_map(Act::Enqueue),
        4 => (0u8..2, 1u32..5, 1i64..40).prop_map(|(channel, most, lease)| Act::Claim { channel, most, lease }),
        4 => (0usize..3, prop::collection::vec(0u8..4, 5)).prop_map(|(back, outcomes)| Act::Settle { back, outcomes }),
        1 => (0u8..2, 0i64..30, any::<bool>()).prop_map(|(channel, time, passes)| Act::Pause { channel, time, passes }),
        1 => (0u8..2).prop_map(Act::Resume),
        2 => (1i64..30).prop_map(Act::Wait),
        1 => Just(Act::ResendDead),
    ]
}

const CHANNELS: [&str; 2] = ["wecom", "mail"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Over any history: nobody claims what another has, not before its time, not after it, not from a paused channel, and in
    /// order; in the end, all is delivered or over, and what was sent was not changed any more.
    #[test]
    fn every_message_ends_in_one_state(history in prop::collection::vec(act(), 1..40)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(follow(history));
    }
}

async fn follow(history: Vec<Act>) {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    let mut now = 1_000;
    let mut given = 0;
    let mut leases: HashMap<String, (String, i64)> = HashMap::new();
    let mut claims: Vec<Claimed> = Vec::new();
    let mut paused: HashMap<&str, i64> = HashMap::new();
    let mut passing: Vec<&str> = Vec::new();
    let mut sent: HashSet<String> = HashSet::new();
    for act in history {
        now += 1;
        match act {
            Act::Enqueue(messages) => {
                let all = messages.into_iter().map(|(chain, priority, wait, life)| NewMessage {
                    key: None,
                    channels: match chain {
                        0 => vec!["wecom".into()],
                        1 => vec!["mail".into()],
                        _ => vec!["wecom".into(), "mail".into()],
                    },
                    priority: Priority::ALL[usize::from(priority)],
                    not_before: (wait > 0).then(|| Timestamp(now + i64::from(wait) * 7)),
                    expires: (life > 0).then(|| Timestamp(now + i64::from(life) * 40)),
                    content: content("x"),
                });
                given += fixture.enqueue(all.collect(), now).await.len();
            }
            Act::Claim { channel, most, lease } => {
                let channel = CHANNELS[usize::from(channel)];
                let claimed = store.outbox_claim(channel, most, Timestamp(now + lease), Timestamp(now)).await.unwrap();
                assert!(claimed.messages.len() <= most as usize);
                assert!(claimed.messages.is_empty() || paused.get(channel).is_none_or(|until| *until <= now));
                let order: Vec<_> = claimed.messages.iter().map(|it| it.priority).collect();
                assert!(order.is_sorted(), "{order:?}");
                for message in &claimed.messages {
                    assert_eq!(message.channel(), channel);
                    assert!(message.not_before.is_none_or(|at| at.0 <= now), "{message:?}");
                    assert!(message.expires.is_none_or(|at| at.0 > now), "{message:?}");
                    assert!(!sent.contains(&message.id), "{message:?} was sent");
                    let before = leases.insert(message.id.clone(), (claimed.lease.clone(), now + lease));
                    assert!(before.is_none_or(|(_, until)| until <= now), "{message:?} is another's");
                }
                claims.push(claimed);
            }
            Act::Settle { back, outcomes } => {
                let Some(claimed) = claims.iter().rev().nth(back) else { continue };
                let outcome = |number| match number {
                    0 => SENT,
                    1 => DeliveryOutcome::Retry(Timestamp(now + 5)),
                    2 => DeliveryOutcome::Refused,
                    _ => DeliveryOutcome::Dead,
                };
                let chosen: Vec<_> =
                    claimed.messages.iter().zip(outcomes).map(|(it, number)| (it, outcome(number))).collect();
                let all = chosen.iter().map(|(it, outcome)| settlement(it, &claimed.lease, outcome.clone()));
                let own = store.outbox_settle(all.collect(), Timestamp(now)).await.unwrap();
                for ((message, outcome), own) in chosen.into_iter().zip(own) {
                    let ours = leases.get(&message.id).is_some_and(|(lease, _)| *lease == claimed.lease);
                    // A lease that ran out is good as long as nobody else has claimed, and nothing has expired.
                    assert!(ours || !own, "{message:?} was another's");
                    if own {
                        leases.remove(&message.id);
                    }
                    if outcome == SENT {
                        leases.remove(&message.id);
                        sent.insert(message.id.clone());
                    }
                }
            }
            Act::Pause { channel, time, passes } => {
                let channel = CHANNELS[usize::from(channel)];
                let meanwhile = if passes { Meanwhile::PassOn } else { Meanwhile::Wait };
                store
                    .outbox_pause(channel, Timestamp(now + time), "slow down", meanwhile, Timestamp(now))
                    .await
                    .unwrap();
                paused.insert(channel, now + time);
                passing.retain(|it| *it != channel);
                passing.extend(passes.then_some(channel));
            }
            Act::Resume(channel) => {
                let channel = CHANNELS[usize::from(channel)];
                let was_paused = paused.remove(channel).is_some_and(|until| until > now);
                assert_eq!(store.outbox_resume(channel, Timestamp(now)).await.unwrap(), was_paused);
            }
            Act::Wait(time) => now += time,
            Act::ResendDead => drop(store.outbox_resend(Resend::Dead(None), Timestamp(now)).await.unwrap()),
        }
    }
    let next = fixture.next(now).await;
    let open = [MessageState::Waiting, MessageState::Claimed];
    let state = |state| MessageFilter { state: Some(state), ..MessageFilter::default() };
    let mut first: Option<i64> = None;
    for message in store.read().messages(&MessageFilter::default(), 1_000).await.unwrap() {
        if open.contains(&message.state) {
            let until = paused.get(message.channel()).copied().filter(|until| *until > now);
            let is_last = message.position as usize + 1 == message.channels.len();
            let stays = message.state == MessageState::Claimed || is_last || !passing.contains(&message.channel());
            assert!(
                until.is_none_or(|until| stays || message.due.0 > until),
                "{message:?} waits for a channel that takes nothing"
            );
            let due = message.due.0.max(paused.get(message.channel()).copied().unwrap_or(0));
            first = Some(first.map_or(due, |first| first.min(due)));
        }
    }
    // A pause that has passed may still be written down.
    assert_eq!(next.claimable.map(|at| at.0 <= now), first.map(|at| at <= now), "{next:?} {first:?}");
    // All is delivered in the end, whatever happened before.
    now += 10_000;
    for channel in ["wecom", "mail"] {
        let claimed = fixture.claim(channel, now, now + 10).await;
        fixture.settle(&claimed, &SENT, now + 1).await;
        sent.extend(claimed.messages.into_iter().map(|it| it.id));
    }
    store.outbox_expire(Timestamp(now)).await.unwrap();
    let mut ended = BTreeMap::new();
    for name in MessageState::ALL {
        let there = store.read().messages(&state(name), 1_000).await.unwrap();
        assert!(there.iter().all(|it| it.ended.is_some() != open.contains(&name)), "{there:?}");
        if name == MessageState::Sent {
            assert_eq!(there.iter().map(|it| it.id.clone()).collect::<HashSet<_>>(), sent);
        }
        for message in &there {
            let attempts = store.read().attempts(&message.id).await.unwrap();
            assert_eq!(attempts.len(), message.attempts as usize, "{message:?} {attempts:?}");
        }
        ended.insert(name, there.len());
    }
    assert_eq!(ended.values().sum::<usize>(), given, "{ended:?}");
    assert_eq!((ended[&MessageState::Waiting], ended[&MessageState::Claimed]), (0, 0), "{ended:?}");
}
