//! Digests of which one message is not taken: the others arrive, and it ends.

use super::*;

fn says(request: &Request, text: &str) -> bool {
    String::from_utf8_lossy(request.body()).contains(text)
}

/// Runs on until nothing is open, for no longer than so many runs. Gives how many there were.
fn run_out(host: &Host, config: &str, pause: i64, most: i64) -> i64 {
    for at in 0..most {
        run_at(host, config, at * pause);
        if host.messages().iter().all(|it| matches!(it.state, "sent" | "dead")) {
            return at + 1;
        }
    }
    panic!("it does not end: {:?}", host.messages());
}

#[test]
fn one_that_is_refused_costs_the_others_no_more_than_a_try() {
    for (count, bad) in [(4, 0), (4, 3), (30, 7)] {
        let told = [format!("message {bad}\\n"), format!("message {bad}: text")];
        let (host, asked) = host(move |_, request| {
            let code = if told.iter().any(|it| says(request, it)) { 40058 } else { 0 };
            Ok(Response::new(200, format!(r#"{{"errcode": {code}}}"#)))
        });
        enqueue(count, &["ops"]);
        let config = r#"{ "channels": { "ops": {
            "wecom": { "key": "robot" }, "rate": [{ "count": 1, "per": "2s" }], "retry": { "first": "2s", "tries": 3 } } } }"#;
        run_out(&host, config, 5_000, 2 * count as i64);
        assert_eq!(asked.borrow().len(), count + 1, "the digest, and each by itself");
        let messages = host.messages();
        assert_eq!(messages.iter().filter(|it| it.state == "sent").count(), count - 1);
        assert_eq!((messages[bad].state, messages[bad].attempts.len()), ("dead", 2));
        assert!(state::keys("apart/").unwrap().is_empty(), "there is nothing to remember any more");
    }
}

#[test]
fn what_comes_after_a_refused_digest_is_merged_and_does_not_wait_for_all_of_it() {
    let (host, asked) = host(|at, request| {
        let code = if at == 0 || says(request, "message 0\\n") { 40058 } else { 0 };
        Ok(Response::new(200, format!(r#"{{"errcode": {code}}}"#)))
    });
    enqueue(40, &["ops"]);
    let config = r#"{ "channels": { "ops": { "wecom": { "key": "robot" }, "rate": [{ "count": 1, "per": "1m" }] } } }"#;
    run_at(&host, config, 0);
    run_at(&host, config, 70_000);
    enqueue(3, &["ops"]);
    run_at(&host, config, 140_000);
    run_at(&host, config, 210_000);
    run_at(&host, config, 280_000);
    assert_eq!(asked.borrow().len(), 5);
    assert!(says(&asked.borrow()[3], "3 messages") || says(&asked.borrow()[4], "3 messages"));
    assert!(host.messages()[40..].iter().all(|it| it.state == "sent"), "{:?}", states(&host));
}

#[test]
fn what_cannot_be_sent_spoils_no_digest() {
    let (host, asked) = host(always(204, ""));
    enqueue(3, &["hook"]);
    outbox::enqueue([Message::to(["hook"]).title("hello").recipient("Wang Xiaoming")]).unwrap();
    enqueue(1, &["hook"]);
    let config = r#"{ "channels": { "hook": { "webhook": { "url": "https://hooks.example/in" },
        "digest": true, "rate": [{ "count": 1, "per": "1m" }] } } }"#;
    assert_eq!(run(&host, config).summary, "4 messages sent, 1 refused");
    assert_eq!((asked.borrow().len(), states(&host)[3]), (1, "dead"));
    assert!(says(&asked.borrow()[0], "4 messages: 4 info"));
    assert!(reason(&host.messages()[3]).starts_with("to must be one user"), "{}", reason(&host.messages()[3]));
}

#[test]
fn one_that_is_not_let_in_keeps_out_no_others_for_good() {
    let (host, asked) = host(|_, request| {
        // As a firewall in front of a server does by what it finds in a body.
        Ok(Response::new(if says(request, "message 2") { 403 } else { 204 }, ""))
    });
    outbox::enqueue((0..5).map(|at| Message::to(["hook"]).title(format!("message {at}")))).unwrap();
    let config = r#"{ "channels": { "hook": { "webhook": { "url": "https://hooks.example/in" },
        "digest": true, "rate": [{ "count": 1, "per": "2s" }] } } }"#;
    run_out(&host, config, 600_000, 20);
    assert_eq!(states(&host), ["sent", "sent", "dead", "sent", "sent"]);
    assert!(asked.borrow().len() <= 7, "{}", asked.borrow().len());
}
