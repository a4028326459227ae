//! How many messages a second go through the outbox. Run it alone, on the disk that is to be measured (`TMPDIR`):
//! `cargo nextest run --workspace -E 'test(messages_a_second)' --run-ignored only --no-capture`.

use std::time::{Duration, Instant};

use super::*;
use crate::record::outbox::{Content, NewMessage, Priority};
use crate::store::{DeliveryOutcome, Settlement};

const MESSAGES: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, for a minute or so"]
async fn messages_a_second() {
    let fixture = Fixture::new().await;
    let message = |number: usize| NewMessage {
        key: Some(format!("order-{number}")),
        priority: Priority::ALL[number % 4],
        ..NewMessage::new(
            "webhook",
            Content {
                title: format!("Order {number} was sent"),
                text: "It comes tomorrow between eight and twelve. Whoever takes it needs the number.".to_owned(),
                to: Some(format!("customer-{number}")),
                ..Content::default()
            },
        )
    };
    for batch in [1_000, 100] {
        let started = Instant::now();
        let mut at = 0;
        while at < MESSAGES {
            let messages = (at..at + batch).map(|number| message(number + batch * MESSAGES)).collect();
            fixture.store.outbox_enqueue("test", messages, Timestamp(1)).await.unwrap();
            at += batch;
        }
        tell(&format!("enqueue in batches of {batch}"), MESSAGES, started);
        let (mut done, mut slowest, mut first) = (0, 0, 0);
        let started = Instant::now();
        while done < MESSAGES {
            let asked = Instant::now();
            let most = u32::try_from(batch).unwrap();
            let claimed = fixture.store.outbox_claim("webhook", most, Timestamp(9_000), Timestamp(2)).await.unwrap();
            let took = asked.elapsed().as_micros();
            slowest = slowest.max(took);
            if done == 0 {
                first = took;
            }
            done += claimed.messages.len();
            let settle = |message: &crate::record::outbox::Message| Settlement {
                id: message.id.clone(),
                lease: claimed.lease.clone(),
                outcome: DeliveryOutcome::Sent { provider_id: Some("12".to_owned()) },
                code: Some("200".to_owned()),
                reason: None,
                took: Some(Duration::from_millis(3)),
            };
            let settled =
                fixture.store.outbox_settle(claimed.messages.iter().map(settle).collect(), Timestamp(3)).await;
            assert!(settled.unwrap().into_iter().all(|own| own));
        }
        tell(&format!("claim and settle in batches of {batch}"), MESSAGES, started);
        eprintln!("the first claim, with {MESSAGES} waiting, took {first} us, the slowest {slowest} us");
    }
}

fn tell(what: &str, count: usize, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "it is shown in whole numbers")]
    let rate = count as f64 / seconds;
    eprintln!("{what}: {rate:.0} a second ({seconds:.2} s)");
}
