//! A server that stays down, and messages that have another channel.

use super::*;

const BOTH: &str = r#"{ "channels": { "hook": { "webhook": { "url": "https://hooks.example/in" } },
                                      "ops": { "wecom": { "key": "robot" }, "rate": [] } } }"#;

fn down() -> (Host, Asked) {
    host(|_, request| match request.url().contains("hooks.example") {
        true => Err(HostError::Unavailable("connection refused".into())),
        false => Ok(Response::new(200, r#"{"errcode": 0}"#)),
    })
}

#[test]
fn a_message_with_another_channel_is_tried_less_often() {
    for (config, tries) in
        [(BOTH.to_owned(), 8), (BOTH.replace(r#"in" } }"#, r#"in" }, "retry": { "before_next": 3 } }"#), 3)]
    {
        let (host, _) = down();
        enqueue(1, &["hook", "ops"]);
        enqueue(1, &["hook"]);
        let mut now = 0;
        while states(&host)[0] != "sent" {
            run_at(&host, &config, now);
            now = host.messages()[0].due.max(now + 1);
        }
        let messages = host.messages();
        assert_eq!(messages[0].attempts.len(), tries + 1);
        let given_up = format!("given up after {tries} tries: connection refused");
        assert_eq!(messages[0].attempts[tries - 1].reason.as_deref(), Some(given_up.as_str()));
        assert!(now < 660_000, "{now}");
        assert_eq!(messages[1].state, "waiting", "what has no other channel is tried on");
    }
}

#[test]
fn after_ten_minutes_nobody_who_has_another_channel_waits_for_a_server_that_is_down() {
    let (host, asked) = down();
    enqueue(20, &["hook", "ops"]);
    enqueue(1, &["hook"]);
    assert_eq!(run(&host, BOTH).summary, "0 messages sent, 10 to be tried again, paused: hook");
    assert_eq!(asked.borrow().len(), 10);
    // While it is known to be down, one request shows that it still is.
    assert_eq!(run_at(&host, BOTH, 30_000).summary, "0 messages sent, 1 to be tried again, paused: hook");
    assert_eq!((asked.borrow().len(), host.messages().iter().filter(|it| it.state == "sent").count()), (11, 0));
    enqueue(5, &["hook", "ops"]);
    assert_eq!(run_at(&host, BOTH, 599_999).summary, "0 messages sent, 1 to be tried again, paused: hook");
    let report = run_at(&host, BOTH, 630_000);
    assert!(report.summary.ends_with("1 to be tried again, paused: hook"), "{}", report.summary);
    let sent = host.messages().iter().filter(|it| it.state == "sent").count();
    assert!(sent >= 20, "{sent} of 25, and the others have shown that it is down");
    // What comes while it lasts is not even tried there.
    enqueue(3, &["hook", "ops"]);
    assert_eq!(run_at(&host, BOTH, 631_000).summary, "3 messages sent");
}

#[test]
fn a_server_that_works_again_is_waited_for_again() {
    let (host, _) = host(|at, _| match at {
        0..10 | 11.. => Err(HostError::Unavailable("connection refused".into())),
        10 => Ok(Response::new(204, "")),
    });
    enqueue(11, &["hook"]);
    run(&host, HOOK);
    assert_eq!(state::keys("down/").unwrap(), ["down/hook"]);
    let single = HOOK.replace("in\" }", "in\" }, \"batch\": 1");
    assert!(run_at(&host, &single, 700_000).summary.starts_with("1 message sent"));
    assert_eq!(state::get::<i64>("down/hook").unwrap(), Some(700_000), "ten in a row, anew");
}
