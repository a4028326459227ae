//! The ledger of consents: counting, telling again, taking at the same time, and dying in between.

use proptest::prelude::*;

use super::*;
use crate::record::consent::{Consent, ConsentAsk, ConsentEvent, ConsentNews, Delivery, Taking};
use crate::store::ConsentFilter;

const APP: &str = "wx1";

fn news(id: &str, template: &str, user: &str, event: ConsentEvent) -> ConsentNews {
    let (id, template, user) = (id.into(), template.into(), user.into());
    ConsentNews { id, template, user, event, long_term: false, delivery: None }
}

fn ask(message: &str, template: &str, user: &str) -> ConsentAsk {
    ConsentAsk { message: message.into(), account: APP.into(), template: template.into(), user: user.into() }
}

impl Fixture {
    async fn tell(&self, news: ConsentNews) -> u64 {
        self.store.consent_news(APP, vec![news], Timestamp(5)).await.unwrap()
    }

    async fn take(&self, message: &str) -> Taking {
        self.store.consent_take(vec![ask(message, "t", "u")], Timestamp(6)).await.unwrap()[0]
    }

    async fn give_back(&self, message: &str) {
        self.store.consent_give_back(vec![message.into()], vec![APP.into()], Timestamp(7)).await.unwrap();
    }

    /// The user's consents to the template `t`.
    async fn consent(&self) -> Option<Consent> {
        self.store.read().consent(APP, "t", "u").await.unwrap()
    }

    async fn left(&self) -> u32 {
        self.consent().await.unwrap().remaining
    }
}

#[tokio::test]
async fn each_event_counts_once() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.take("m").await, Taking::Unknown, "nothing was ever told");
    assert_eq!(fixture.consent().await, None);
    assert_eq!(fixture.tell(news("1", "t", "u", ConsentEvent::Accepted)).await, 1);
    for _ in 0..2 {
        assert_eq!(fixture.tell(news("1", "t", "u", ConsentEvent::Accepted)).await, 0, "told again");
    }
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.tell(news("1", "t", "u", ConsentEvent::Accepted)).await, 0, "told again, to the next daemon");
    fixture.tell(news("2", "t", "u", ConsentEvent::Accepted)).await;
    fixture.tell(news("3", "t", "u", ConsentEvent::Declined)).await;
    fixture.tell(news("4", "t", "other", ConsentEvent::Accepted)).await;
    fixture.tell(news("5", "t2", "u", ConsentEvent::Accepted)).await;
    let consent = fixture.consent().await.unwrap();
    assert_eq!((consent.remaining, consent.refused, consent.event), (2, false, ConsentEvent::Declined));

    fixture.tell(news("6", "t", "u", ConsentEvent::TurnedOff)).await;
    let consent = fixture.consent().await.unwrap();
    assert_eq!((consent.remaining, consent.refused), (0, true));
    fixture.tell(news("7", "t", "u", ConsentEvent::TurnedOn)).await;
    let consent = fixture.consent().await.unwrap();
    assert_eq!((consent.remaining, consent.refused), (0, false), "what was consented to before is gone");
    fixture.tell(news("8", "t", "u", ConsentEvent::TurnedOff)).await;
    fixture.tell(news("9", "t", "u", ConsentEvent::Accepted)).await;
    let consent = fixture.consent().await.unwrap();
    assert_eq!((consent.remaining, consent.refused), (1, false));

    let all = fixture.store.read().consents(&ConsentFilter::default(), 10).await.unwrap();
    assert_eq!(all.len(), 3);
    let templates = fixture.store.read().consent_templates(&ConsentFilter::default()).await.unwrap();
    let seen: Vec<_> = templates.iter().map(|it| (it.template.as_str(), it.users, it.remaining)).collect();
    assert_eq!(seen, [("t", 2, 2), ("t2", 1, 1)]);
}

#[tokio::test]
async fn a_message_takes_one_however_often_it_asks() {
    let fixture = Fixture::new().await;
    fixture.tell(news("1", "t", "u", ConsentEvent::Accepted)).await;
    fixture.tell(news("2", "t", "u", ConsentEvent::Accepted)).await;
    assert_eq!(fixture.take("a").await, Taking::Taken);
    assert_eq!(fixture.take("a").await, Taking::Taken);
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.take("a").await, Taking::Taken, "the next daemon tries it again");
    assert_eq!(fixture.left().await, 1);
    fixture.give_back("a").await;
    fixture.give_back("a").await;
    assert_eq!(fixture.left().await, 2, "it is given back once");
    assert_eq!((fixture.take("a").await, fixture.take("b").await), (Taking::Taken, Taking::Taken));
    assert_eq!(fixture.take("c").await, Taking::Nothing);
    fixture.store.consent_give_back(vec!["a".into()], vec!["wx2".into()], Timestamp(7)).await.unwrap();
    assert_eq!(fixture.left().await, 0, "another account's are not touched");
    fixture.give_back("b").await;
    assert_eq!((fixture.take("c").await, fixture.left().await), (Taking::Taken, 0));

    // A user who turned messages off has none back.
    fixture.tell(news("3", "t", "u", ConsentEvent::TurnedOff)).await;
    fixture.give_back("c").await;
    assert_eq!(fixture.left().await, 0);
    assert_eq!(
        fixture.store.consent_take(vec![ask("d", "t", "nobody")], Timestamp(6)).await.unwrap(),
        [Taking::Nothing]
    );
}

#[tokio::test]
async fn what_the_provider_says_is_right() {
    let fixture = Fixture::new().await;
    let used_up = |message| fixture.store.consent_used_up(vec![ask(message, "t", "u")], Timestamp(8));
    used_up("x").await.unwrap();
    assert_eq!(fixture.consent().await, None, "where there are no events, nothing would ever make it more again");
    for id in ["1", "2", "3"] {
        fixture.tell(news(id, "t", "u", ConsentEvent::Accepted)).await;
    }
    fixture.take("a").await;
    used_up("a").await.unwrap();
    let consent = fixture.consent().await.unwrap();
    assert_eq!((consent.remaining, consent.event, consent.changed), (0, ConsentEvent::UsedUp, Timestamp(8)));
    fixture.give_back("a").await;
    assert_eq!(fixture.left().await, 0, "there is nothing to give back");
    fixture.tell(news("4", "t", "u", ConsentEvent::Accepted)).await;
    assert_eq!(fixture.left().await, 1);
}

#[tokio::test]
async fn a_long_term_consent_is_not_used_up() {
    let fixture = Fixture::new().await;
    let long = |id: &str, event| ConsentNews { long_term: true, ..news(id, "t", "u", event) };
    fixture.tell(long("1", ConsentEvent::Accepted)).await;
    fixture.tell(long("2", ConsentEvent::Accepted)).await;
    for message in ["a", "b", "a"] {
        assert_eq!(fixture.take(message).await, Taking::LongTerm);
        fixture.give_back(message).await;
    }
    assert_eq!(fixture.left().await, 1);
    fixture.tell(long("3", ConsentEvent::TurnedOff)).await;
    assert_eq!(fixture.take("c").await, Taking::Nothing);
    fixture.tell(long("4", ConsentEvent::TurnedOn)).await;
    assert_eq!(fixture.take("c").await, Taking::LongTerm);
    fixture.store.consent_used_up(vec![ask("c", "t", "u")], Timestamp(8)).await.unwrap();
    assert_eq!(fixture.take("d").await, Taking::Nothing);
}

#[tokio::test]
async fn what_became_of_a_message_is_kept_by_its_number() {
    let fixture = Fixture::new().await;
    let delivery = |code, status: &str| Some(Delivery { message: "17".into(), code, status: status.into() });
    fixture.tell(news("1", "t", "u", ConsentEvent::Accepted)).await;
    fixture.take("a").await;
    let sent = ConsentNews { delivery: delivery(Some(0), "success"), ..news("2", "t", "u", ConsentEvent::Delivered) };
    assert_eq!((fixture.tell(sent.clone()).await, fixture.tell(sent).await), (1, 0));
    let consent = fixture.consent().await.unwrap();
    assert_eq!((consent.remaining, consent.event), (0, ConsentEvent::Delivered));
    assert_eq!(fixture.store.sql("DELETE FROM consent_delivery WHERE message = '17' AND code = 0").await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_at_the_same_time_one_gets_it() {
    let fixture = Fixture::new().await;
    for id in 0..50 {
        fixture.tell(news(&id.to_string(), "t", "u", ConsentEvent::Accepted)).await;
    }
    let taking: Vec<_> = (0..200)
        .map(|number| {
            let store = fixture.store.clone();
            tokio::spawn(async move {
                let asks = vec![ask(&format!("m{}", number / 2), "t", "u")];
                (number / 2, store.consent_take(asks, Timestamp(6)).await.unwrap()[0])
            })
        })
        .collect();
    let mut got = std::collections::BTreeSet::new();
    for taking in taking {
        let (message, taken) = taking.await.unwrap();
        if taken == Taking::Taken {
            got.insert(message);
        }
    }
    assert_eq!((got.len(), fixture.left().await), (50, 0));
}

#[tokio::test]
async fn users_are_forgotten_when_nothing_is_heard_of_them() {
    let fixture = Fixture::new().await;
    fixture.tell(news("1", "t", "u", ConsentEvent::Accepted)).await;
    fixture.store.consent_news(APP, vec![news("2", "t", "v", ConsentEvent::Accepted)], Timestamp(50)).await.unwrap();
    fixture.store.consent_take(vec![ask("a", "t", "u")], Timestamp(5)).await.unwrap();
    fixture.store.consent_prune(Timestamp(40), Timestamp(60)).await.unwrap();
    assert_eq!(fixture.tell(news("1", "t", "u", ConsentEvent::Accepted)).await, 0, "what may be told again is known");
    assert_eq!(fixture.consent().await, None);
    assert_eq!(fixture.store.read().consents(&ConsentFilter::default(), 10).await.unwrap()[0].user, "v");
    assert_eq!(fixture.store.sql("DELETE FROM consent_taken").await.unwrap(), 0);
    assert_eq!(fixture.take("b").await, Taking::Nothing, "of the template something is known");
    fixture.store.consent_prune(Timestamp(40), Timestamp(3 * 86_400_000)).await.unwrap();
    assert_eq!(fixture.store.sql("DELETE FROM consent_event").await.unwrap(), 0);
}

/// What can happen to one user and one template.
#[derive(Debug, Clone)]
enum Happens {
    Accepts,
    Declines,
    TurnsOff,
    Takes(u8),
    GivesBack(u8),
    UsesUp(u8),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => Just(Happens::Accepts),
        1 => Just(Happens::Declines),
        1 => Just(Happens::TurnsOff),
        6 => (0_u8..8).prop_map(Happens::Takes),
        3 => (0_u8..8).prop_map(Happens::GivesBack),
        1 => (0_u8..8).prop_map(Happens::UsesUp),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Against a model that counts in memory.
    #[test]
    fn counts_as_a_model_does(all in prop::collection::vec(happens(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new().await;
            fixture.tell(news("first", "t", "u", ConsentEvent::Declined)).await;
            let (mut left, mut off, mut own) = (0_u32, false, std::collections::BTreeSet::new());
            for (at, happens) in all.iter().enumerate() {
                let id = at.to_string();
                match happens {
                    Happens::Accepts => {
                        fixture.tell(news(&id, "t", "u", ConsentEvent::Accepted)).await;
                        (left, off) = (left + 1, false);
                    }
                    Happens::Declines => drop(fixture.tell(news(&id, "t", "u", ConsentEvent::Declined)).await),
                    Happens::TurnsOff => {
                        fixture.tell(news(&id, "t", "u", ConsentEvent::TurnedOff)).await;
                        (left, off) = (0, true);
                    }
                    Happens::Takes(message) => {
                        let taken = fixture.take(&message.to_string()).await;
                        let may = own.contains(message) || left > 0;
                        assert_eq!(taken == Taking::Taken, may, "{at}: {all:?}");
                        if may && own.insert(*message) {
                            left -= 1;
                        }
                    }
                    Happens::GivesBack(message) => {
                        fixture.give_back(&message.to_string()).await;
                        if own.remove(message) && !off {
                            left += 1;
                        }
                    }
                    Happens::UsesUp(message) => {
                        let asks = vec![ask(&message.to_string(), "t", "u")];
                        fixture.store.consent_used_up(asks, Timestamp(8)).await.unwrap();
                        own.remove(message);
                        left = 0;
                    }
                }
                assert_eq!(fixture.left().await, left, "{at}: {all:?}");
            }
        });
    }
}
