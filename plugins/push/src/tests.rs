//! Whole runs, against a provider that is a function.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use upkeep_plugin::consents;
use upkeep_plugin::http::{Request, Response};
use upkeep_plugin::outbox::{self, Message, Outcome};
use upkeep_plugin::test::{Host, OutboxEntry};
use upkeep_plugin::{Context, Error, HostError, HostResult, Report, clock, state, task};

use crate::config::Push;

const HOOK: &str = r#"{ "channels": { "hook": { "webhook": { "url": "https://hooks.example/in" } } } }"#;
const WECOM: &str = r#"{ "channels": { "ops": { "wecom": { "key": "robot" } } } }"#;

/// What was asked, in order.
type Asked = Rc<RefCell<Vec<Request>>>;

fn host(mut answer: impl FnMut(usize, &Request) -> HostResult<Response> + 'static) -> (Host, Asked) {
    let asked = Asked::default();
    let noted = Rc::clone(&asked);
    let host = Host::new().outbox().http(move |request| {
        let at = noted.borrow().len();
        noted.borrow_mut().push(request.clone());
        answer(at, request)
    });
    (host, asked)
}

fn always(status: u16, body: &'static str) -> impl FnMut(usize, &Request) -> HostResult<Response> {
    move |_, _| Ok(Response::new(status, body))
}

fn enqueue(count: usize, channels: &[&str]) {
    let message = |at| Message::to(channels.iter().copied()).title(format!("message {at}")).text("text");
    outbox::enqueue((0..count).map(message)).unwrap();
}

fn run(host: &Host, config: &str) -> Report {
    run_at(host, config, 0)
}

fn run_at(host: &Host, config: &str, now: i64) -> Report {
    host.run_in(&Context { now, ..host.context() }, task::<Push>(), config).unwrap()
}

fn states(host: &Host) -> Vec<&'static str> {
    host.messages().iter().map(|it| it.state).collect()
}

fn reason(entry: &OutboxEntry) -> &str {
    entry.attempts.last().and_then(|it| it.reason.as_deref()).unwrap_or_default()
}

#[test]
fn what_is_due_is_sent_with_its_key() {
    let (host, asked) = host(always(204, ""));
    enqueue(1_200, &["hook"]);
    outbox::enqueue([Message::to(["hook"]).title("tomorrow").not_before(86_400_000)]).unwrap();
    let report = run(&host, HOOK);
    assert_eq!(report.summary, "1200 messages sent");
    let messages = host.messages();
    assert!(messages[..1_200].iter().all(|it| it.state == "sent" && it.attempts.len() == 1));
    assert_eq!((messages[1_200].state, messages[1_200].attempts.len()), ("waiting", 0));
    for (request, message) in asked.borrow().iter().zip(&messages) {
        assert_eq!(request.header_value("idempotency-key"), Some(message.id.as_str()));
    }
    assert_eq!(asked.borrow().len(), 1_200);
    assert_eq!(run(&host, HOOK).summary, "nothing was due");
    let sent: Vec<_> = host.metrics().iter().map(|it| (it.name.clone(), it.value)).collect();
    assert_eq!(sent, [("messages".to_owned(), 1_200.0)]);
}

#[test]
fn a_permanent_failure_goes_down_the_chain_and_holds_up_nobody() {
    let (host, _) = host(|at, request| match (at, request.url().contains("hooks.example")) {
        (1, _) => Ok(Response::new(422, "no such order")),
        (_, true) => Ok(Response::new(200, r#"{"id": "theirs-7"}"#)),
        _ => Ok(Response::new(200, r#"{"errcode": 0}"#)),
    });
    enqueue(3, &["hook", "ops"]);
    let config = r#"{ "channels": { "hook": { "webhook": { "url": "https://hooks.example/in" } },
                                    "ops": { "wecom": { "key": "robot" } } } }"#;
    let report = run(&host, config);
    assert_eq!(report.summary, "3 messages sent, 1 refused");
    let messages = host.messages();
    assert_eq!(messages[0].attempts[0].outcome, Outcome::Sent(Some("theirs-7".into())));
    let tried: Vec<_> = messages[1].attempts.iter().map(|it| (it.code.as_deref(), it.outcome.clone())).collect();
    assert_eq!(tried, [(Some("422"), Outcome::Refused), (None, Outcome::Sent(None))]);
    assert_eq!(
        messages[1].attempts[0].reason.as_deref(),
        Some("the server does not take this message: no such order (422)")
    );
    assert_eq!(states(&host), ["sent"; 3]);
}

#[test]
fn a_message_that_no_channel_takes_is_dead_with_the_reason() {
    let (host, _) = host(always(400, "bad"));
    enqueue(2, &["hook"]);
    assert_eq!(run(&host, HOOK).summary, "0 messages sent, 2 refused");
    assert_eq!(states(&host), ["dead"; 2]);
    assert_eq!(reason(&host.messages()[0]), "the server does not take this message: bad (400)");
}

#[test]
fn what_passes_is_tried_again_later_each_time_and_given_up_in_the_end() {
    let (host, _) = host(|at, _| match at {
        0 => Ok(Response::new(500, "").with_header("retry-after", "120")),
        1 => Err(HostError::Unavailable("connection refused".into())),
        _ => Ok(Response::new(500, "")),
    });
    enqueue(1, &["hook"]);
    let config = r#"{ "channels": { "hook": {
        "webhook": { "url": "https://hooks.example/in" }, "retry": { "first": "10s", "tries": 3 } } } }"#;
    assert_eq!(run(&host, config).summary, "0 messages sent, 1 to be tried again");
    let due = |host: &Host| host.messages()[0].due;
    assert!((120_000..=132_000).contains(&due(&host)), "{}", due(&host));
    assert_eq!(run_at(&host, config, 119_999).summary, "nothing was due");
    let second = due(&host);
    run_at(&host, config, second);
    assert!((10_000..=20_000).contains(&(due(&host) - second)), "{}", due(&host) - second);
    assert_eq!(reason(&host.messages()[0]), "connection refused");
    let third = due(&host);
    assert_eq!(run_at(&host, config, third).summary, "0 messages sent, 1 refused");
    assert_eq!(reason(&host.messages()[0]), "given up after 3 tries: the server has trouble (500)");
    assert_eq!(states(&host), ["dead"]);
}

/// However long ago it came, and whatever it waited for.
#[test]
fn tries_count_from_the_first_one() {
    const DAY: i64 = 86_400_000;
    let (host, _) = host(|at, _| match at {
        0..3 => Ok(Response::new(503, "")),
        3 => Ok(Response::new(429, "").with_header("retry-after", "86400")),
        _ => Ok(Response::new(500, "")),
    });
    outbox::enqueue([Message::to(["hook"]).title("later").not_before(3 * DAY)]).unwrap();
    let due = |host: &Host| host.messages()[0].due;
    for tries in 1..=3 {
        assert_eq!(run_at(&host, HOOK, due(&host)).summary, "0 messages sent, 1 to be tried again", "{tries}");
    }
    assert!((3 * DAY..3 * DAY + 60_000).contains(&due(&host)));
    let summary = "0 messages sent, 1 to be tried again, paused: hook";
    assert_eq!(run_at(&host, HOOK, due(&host)).summary, summary);
    assert_eq!(run_at(&host, HOOK, due(&host)).summary, "0 messages sent, 1 refused");
    assert_eq!(reason(&host.messages()[0]), "given up after 4 tries: the server has trouble (500)");
}

#[test]
fn a_server_that_says_when_it_is_back_is_asked_then() {
    let (host, asked) = host(|at, _| match at {
        0 => Ok(Response::new(503, "").with_header("retry-after", "300")),
        _ => Ok(Response::new(204, "")),
    });
    enqueue(50, &["hook"]);
    assert_eq!(run(&host, HOOK).summary, "0 messages sent, 1 to be tried again, paused: hook");
    assert_eq!(run_at(&host, HOOK, 299_999).summary, "nothing was due");
    assert_eq!(run_at(&host, HOOK, 330_000).summary, "50 messages sent");
    assert_eq!(asked.borrow().len(), 51);
}

/// It would be asked for that without end.
#[test]
fn a_provider_that_has_had_enough_is_left_alone_even_if_it_says_for_no_time() {
    let (host, asked) = host(|_, _| Ok(Response::new(429, "").with_header("retry-after", "0")));
    enqueue(3, &["hook"]);
    assert_eq!(run(&host, HOOK).summary, "0 messages sent, 1 to be tried again, paused: hook");
    assert_eq!(run_at(&host, HOOK, 4_999).summary, "nothing was due");
    run_at(&host, HOOK, 5_000);
    assert_eq!(asked.borrow().len(), 2);
    let tried = &host.messages()[0].attempts;
    assert!(tried.iter().all(|it| matches!(it.outcome, Outcome::Throttled(_))), "{tried:?}");
}

#[test]
fn what_is_throttled_is_no_try_and_what_is_throttled_for_long_has_another_channel() {
    let (host, _) = host(|at, request| match (request.url().contains("hooks.example"), at) {
        (true, 0..30) => Ok(Response::new(429, "").with_header("retry-after", "60")),
        (true, 30) => Ok(Response::new(502, "")),
        (true, _) => Ok(Response::new(429, "").with_header("retry-after", "601")),
        (false, _) => Ok(Response::new(200, r#"{"errcode": 0}"#)),
    });
    enqueue(1, &["hook", "ops"]);
    let config = r#"{ "channels": { "hook": { "webhook": { "url": "https://hooks.example/in" } },
                                    "ops": { "wecom": { "key": "robot" } } } }"#;
    for minute in 0..30 {
        let summary = "0 messages sent, 1 to be tried again, paused: hook";
        assert_eq!(run_at(&host, config, minute * 60_000).summary, summary, "{minute}");
    }
    assert_eq!(run_at(&host, config, 1_800_000).summary, "0 messages sent, 1 to be tried again");
    assert_eq!(run_at(&host, config, 1_860_000).summary, "1 message sent, 1 to be tried again, paused: hook");
    assert_eq!(states(&host), ["sent"]);
}

/// As where a firewall looks into messages.
#[test]
fn one_message_that_is_not_let_in_holds_up_no_other() {
    let (host, _) = host(|_, request| {
        let is_bad = String::from_utf8_lossy(request.body()).contains("message 7\"");
        Ok(if is_bad { Response::new(403, "<title>Blocked</title>") } else { Response::new(204, "") })
    });
    enqueue(20, &["hook"]);
    assert_eq!(run(&host, HOOK).summary, "19 messages sent, 1 to be tried again");
    // Others get through then, too.
    enqueue(5, &["hook"]);
    let priority = Message::to(["hook"]).title("first").priority(outbox::Priority::Urgent);
    outbox::enqueue([priority]).unwrap();
    assert_eq!(run_at(&host, HOOK, 5_000).summary, "6 messages sent, 1 refused");
    assert_eq!(host.messages()[7].state, "dead");
    // Also where each message has a run of its own.
    outbox::enqueue([Message::to(["hook"]).title("message 7").text("text")]).unwrap();
    assert_eq!(run_at(&host, HOOK, 60_000).summary, "0 messages sent, 1 to be tried again");
    assert_eq!(run_at(&host, HOOK, 65_000).summary, "0 messages sent, 1 refused");
    enqueue(1, &["hook"]);
    assert_eq!(run_at(&host, HOOK, 66_000).summary, "1 message sent");
}

#[test]
fn a_channel_that_stops_working_costs_one_message() {
    let (host, asked) = host(|at, _| Ok(Response::new(if at < 5 { 204 } else { 401 }, "")));
    enqueue(20, &["hook"]);
    let config = HOOK.replace("in\" }", "in\" }, \"concurrency\": 1");
    let report = run(&host, &config);
    assert_eq!(report.summary, "5 messages sent, 2 to be tried again, paused: hook");
    assert_eq!(asked.borrow().len(), 7);
}

#[test]
fn a_channel_that_does_not_work_is_left_alone_and_costs_one_message_when_that_is_over() {
    let (host, asked) = host(always(200, r#"{"errcode": 93000, "errmsg": "invalid webhook url"}"#));
    enqueue(15, &["ops"]);
    let report = run(&host, WECOM);
    assert_eq!(report.summary, "0 messages sent, 1 to be tried again, paused: ops");
    assert_eq!(asked.borrow().len(), 1);
    let messages = host.messages();
    assert!(messages.iter().all(|it| it.state == "waiting") && messages[1..].iter().all(|it| it.attempts.is_empty()));
    assert!(reason(&messages[0]).starts_with("WeCom knows no robot of this key: invalid webhook url (93000): set the"));
    assert_eq!(run_at(&host, WECOM, 599_999).summary, "nothing was due");
    assert_eq!(run_at(&host, WECOM, 600_000).summary, "0 messages sent, 1 refused, paused: ops");
}

#[test]
fn a_channel_that_does_not_work_holds_up_no_message_that_has_another() {
    let (host, asked) = host(|_, request| match request.url().contains("hooks.example") {
        true => Ok(Response::new(401, "no")),
        false => Ok(Response::new(200, r#"{"errcode": 0}"#)),
    });
    enqueue(15, &["hook", "ops"]);
    enqueue(2, &["hook"]);
    let config = r#"{ "channels": { "hook": { "webhook": { "url": "https://hooks.example/in" } },
                                    "ops": { "wecom": { "key": "robot" }, "rate": [] } } }"#;
    assert_eq!(run(&host, config).summary, "15 messages sent, 1 refused, paused: hook");
    let of = |host: &Host, state| host.messages().iter().filter(|it| it.state == state).count();
    assert_eq!((of(&host, "sent"), of(&host, "waiting")), (15, 2), "those without another channel wait");
    assert_eq!(asked.borrow().len(), 16, "one request has shown it");
    // What comes while it lasts is not even tried there.
    enqueue(3, &["hook", "ops"]);
    assert_eq!(run_at(&host, config, 1_000).summary, "3 messages sent");
    assert_eq!((of(&host, "sent"), asked.borrow().len()), (18, 19));
}

#[test]
fn a_request_that_is_not_let_out_is_the_channels_fault() {
    let (host, _) = host(|_, _| Err(HostError::Denied("grant.http".into())));
    enqueue(5, &["hook"]);
    assert_eq!(run(&host, HOOK).summary, "0 messages sent, 1 to be tried again, paused: hook");
}

#[test]
fn a_server_that_is_down_is_not_asked_by_each_message() {
    let (host, asked) = host(|_, _| Err(HostError::Unavailable("connection refused".into())));
    enqueue(300, &["hook"]);
    assert_eq!(run(&host, HOOK).summary, "0 messages sent, 10 to be tried again, paused: hook");
    assert_eq!(asked.borrow().len(), 10);
}

#[test]
fn a_provider_that_is_asked_too_often_is_left_alone_until_it_says() {
    let (host, asked) = host(always(200, r#"{"errcode": 45009, "errmsg": "api freq out of limit"}"#));
    enqueue(3, &["ops"]);
    assert_eq!(run(&host, WECOM).summary, "0 messages sent, 1 to be tried again, paused: ops");
    assert_eq!((asked.borrow().len(), host.messages()[0].due), (1, 60_000));
    assert_eq!(run_at(&host, WECOM, 59_000).summary, "nothing was due");
}

#[test]
fn what_is_beyond_the_rate_goes_in_one_digest() {
    let (host, asked) = host(always(200, r#"{"errcode": 0}"#));
    enqueue(100, &["ops"]);
    assert_eq!(run(&host, WECOM).summary, "100 messages sent");
    assert_eq!(asked.borrow().len(), 20, "as many as WeCom takes in a minute");
    let last = String::from_utf8(asked.borrow()[19].body().to_vec()).unwrap();
    assert!(last.contains("81 messages: 81 info"), "{last}");
    let messages = host.messages();
    let digest = &messages[99].attempts[0].outcome;
    assert!(matches!(digest, Outcome::Sent(Some(id)) if id.starts_with("digest-")), "{digest:?}");
    assert!(messages[19..].iter().all(|it| it.state == "sent" && it.attempts[0].outcome == *digest));
    // Whatever comes within the minute waits for its end, in this run and in all others.
    enqueue(5, &["ops"]);
    assert_eq!(run_at(&host, WECOM, 30_000).summary, "0 messages sent, paused: ops");
    assert_eq!(asked.borrow().len(), 20);
    assert_eq!(run_at(&host, WECOM, 62_000).summary, "5 messages sent");
    assert_eq!(asked.borrow().len(), 25);
}

#[test]
fn without_a_digest_what_is_beyond_the_rate_waits() {
    let (host, asked) = host(always(204, ""));
    enqueue(7, &["hook"]);
    let config = r#"{ "channels": { "hook": { "webhook": { "url": "https://hooks.example/in" },
                                              "rate": [{ "count": 3, "per": "1m" }] } } }"#;
    assert_eq!(run(&host, config).summary, "3 messages sent, paused: hook");
    assert!(host.messages()[3..].iter().all(|it| it.attempts.is_empty() && it.state == "waiting"));
    assert_eq!(run_at(&host, config, 62_000).summary, "3 messages sent, paused: hook");
    assert_eq!(run_at(&host, config, 124_000).summary, "1 message sent");
    assert_eq!(asked.borrow().len(), 7);
}

#[test]
fn a_short_wait_for_the_rate_is_waited() {
    let (host, asked) = host(always(204, ""));
    enqueue(9, &["hook"]);
    let config = r#"{ "channels": { "hook": { "webhook": { "url": "https://hooks.example/in" },
                                              "rate": [{ "count": 3, "per": "1s" }] } } }"#;
    assert_eq!(run(&host, config).summary, "9 messages sent");
    assert_eq!(asked.borrow().len(), 9);
}

#[test]
fn a_digest_that_is_refused_is_taken_apart() {
    let (host, _) =
        host(|at, _| Ok(Response::new(200, if at == 1 { r#"{"errcode": 40058}"# } else { r#"{"errcode": 0}"# })));
    enqueue(4, &["ops"]);
    let config = r#"{ "channels": { "ops": { "wecom": { "key": "robot" }, "rate": [{ "count": 2, "per": "1m" }] } } }"#;
    assert_eq!(run(&host, config).summary, "1 message sent, 3 to be tried again");
    assert!(reason(&host.messages()[3]).starts_with("one of 3 messages in a digest: WeCom does not take"));
    run_at(&host, config, 62_000);
    run_at(&host, config, 124_000);
    assert_eq!(host.messages().iter().filter(|it| it.state == "sent").count(), 4);
}

/// The host has renewed it, and asked once more.
#[test]
fn a_token_that_stays_wrong_is_tried_later() {
    let (host, asked) = host(always(200, r#"{"errcode": 40001}"#));
    outbox::enqueue([Message::to(["wechat"]).title("x").recipient("o1")]).unwrap();
    let config = r#"{ "channels": { "wechat": { "wechat_service": { "token": "shop-token" } } } }"#;
    assert_eq!(run(&host, config).summary, "0 messages sent, 1 to be tried again");
    assert_eq!(asked.borrow().len(), 1);
    assert!(asked.borrow()[0].url().ends_with("?access_token={{secret:shop-token}}"));
}

#[test]
fn a_channel_that_there_is_not_is_named_with_those_that_there_are() {
    let (host, _) = host(always(204, ""));
    enqueue(2, &["pager", "hook"]);
    enqueue(1, &["pager"]);
    assert_eq!(run(&host, HOOK).summary, "2 messages sent");
    assert_eq!(states(&host), ["sent", "sent", "dead"]);
    assert_eq!(reason(&host.messages()[2]), "there is no channel `pager`; there is hook");
}

#[test]
fn a_message_for_a_channel_that_was_added_since_is_left_to_the_next_run() {
    let (host, asked) = host(|at, _| {
        if at == 0 {
            // Meanwhile the configuration is read again.
            clock::sleep(Duration::from_millis(20));
            outbox::enqueue([Message::to(["newone"]).title("hello")]).unwrap();
        }
        Ok(Response::new(204, ""))
    });
    enqueue(3, &["hook"]);
    enqueue(1, &["pager"]);
    assert_eq!(run(&host, HOOK).summary, "3 messages sent");
    assert_eq!(states(&host), ["sent", "sent", "sent", "dead", "waiting"]);
    let left = &host.messages()[4];
    assert_eq!((left.attempts.len(), left.due), (0, 20), "it keeps its place");
    assert_eq!(run_at(&host, &HOOK.replace("\"hook\"", "\"newone\""), 30).summary, "1 message sent");
    assert_eq!(asked.borrow().len(), 4);
    outbox::enqueue([Message::to(["newone"]).title("hello")]).unwrap();
    run_at(&host, HOOK, 60);
    assert_eq!(reason(&host.messages()[5]), "there is no channel `newone`; there is hook");
}

#[test]
fn what_a_provider_would_refuse_is_not_sent() {
    let (host, asked) = host(always(200, r#"{"errcode": 0}"#));
    let config = r#"{ "channels": { "wechat": { "wechat_subscribe": {
        "token": "shop-token", "templates": { "order": { "id": "T1", "fields": ["thing1"] } } } } } }"#;
    let to = |value: &str| Message::to(["wechat"]).recipient("o1").template("order").field("thing1", value);
    outbox::enqueue([to("coffee"), to(&"x".repeat(21))]).unwrap();
    assert_eq!(run(&host, config).summary, "1 message sent, 1 refused");
    assert_eq!(reason(&host.messages()[1]), "thing1 is too long: 21 characters, and the limit is 20; shorten it");
    assert_eq!(asked.borrow().len(), 1);
}

#[test]
fn requests_are_signed_by_the_host() {
    let (host, asked) = host(always(204, ""));
    let host = host.secret("signing", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    enqueue(1, &["hook"]);
    let config =
        r#"{ "channels": { "hook": { "webhook": { "url": "https://hooks.example/in", "signed_with": "signing" } } } }"#;
    assert_eq!(run(&host, config).summary, "1 message sent");
    let asked = asked.borrow();
    let signature = asked[0].header_value("webhook-signature").unwrap();
    assert!(signature.starts_with("v1,") && signature.len() == 3 + 44, "{signature}");
}

#[test]
fn a_run_that_may_sign_no_more_leaves_the_rest_to_the_next_one() {
    let (host, asked) = host(always(204, ""));
    let host = host.secret("signing", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").most_signed(3);
    enqueue(5, &["hook"]);
    let config =
        r#"{ "channels": { "hook": { "webhook": { "url": "https://hooks.example/in", "signed_with": "signing" } } } }"#;
    assert_eq!(run(&host, config).summary, "3 messages sent");
    assert_eq!(states(&host), ["sent", "sent", "sent", "waiting", "waiting"]);
    assert!(host.messages()[3..].iter().all(|it| it.attempts.is_empty()) && asked.borrow().len() == 3);
}

#[test]
fn why_nothing_is_signed_is_said_in_words() {
    let (host, _) = host(always(204, ""));
    enqueue(1, &["hook"]);
    let config =
        r#"{ "channels": { "hook": { "webhook": { "url": "https://hooks.example/in", "signed_with": "signing" } } } }"#;
    assert_eq!(run(&host, config).summary, "0 messages sent, 1 to be tried again, paused: hook");
    let messages = host.messages();
    assert!(reason(&messages[0]).starts_with("the test host has no secret `signing`"), "{}", reason(&messages[0]));
}

#[test]
fn a_text_without_a_template_names_those_that_there_are() {
    let (host, _) = host(always(200, r#"{"errcode": 0}"#));
    outbox::enqueue([Message::to(["shop"]).title("hello").recipient("ann")]).unwrap();
    run(&host, &SHOP.replace(r#""consents": "require", "account": "wx1""#, r#""consents": "off""#));
    let told =
        "a WeChat subscribe message is a template that is filled in: name one (`--template`), the channel has paid";
    assert_eq!(reason(&host.messages()[0]), told);
}

#[test]
fn a_link_that_is_none_is_left_out() {
    let (host, asked) = host(always(200, r#"{"errcode": 0}"#));
    outbox::enqueue([Message::to(["ops"]).title("hello").link("see the wiki")]).unwrap();
    assert_eq!(run(&host, WECOM).summary, "1 message sent");
    assert!(!String::from_utf8_lossy(asked.borrow()[0].body()).contains("wiki"));
}

#[test]
fn a_run_that_may_make_no_more_requests_leaves_the_rest() {
    let (host, _) = host(|at, _| match at {
        0..4 => Ok(Response::new(204, "")),
        _ => Err(HostError::Limit("grant.http.max_requests".into())),
    });
    enqueue(20, &["hook"]);
    assert_eq!(run(&host, HOOK).summary, "4 messages sent");
    assert!(host.messages()[4..].iter().all(|it| it.state == "waiting" && it.attempts.is_empty()));
}

#[test]
fn wrong_configurations_say_what_is_right() {
    let host = Host::new().outbox();
    let error = |config: &str| match host.run(task::<Push>(), config) {
        Err(Error::Config(why)) => why,
        other => panic!("{config}: {other:?}"),
    };
    assert_eq!(
        error(r#"{ "channels": { "ops": {} } }"#),
        "channel `ops`: it has to have exactly one of `wecom`, `dingtalk`, `feishu`, `ntfy`, `webhook`, `wechat_subscribe`, \
         `wechat_service`, `mail`"
    );
    assert_eq!(
        error(r#"{ "channels": { "Ops": { "wecom": { "key": "k" } } } }"#),
        "channel `Ops`: a name has 1 to 64 small letters, digits, `-` and `_`"
    );
    assert_eq!(
        error(r#"{ "channels": { "x": { "wechat_service": { "token": "t" }, "digest": true } } }"#),
        "channel `x`: `digest` has no meaning for messages that go to one user each"
    );
    assert_eq!(
        error(r#"{ "channels": { "x": { "wecom": { "key": "k" }, "rate": [{ "count": 0, "per": "1m" }] } } }"#),
        "channel `x`: `rate` is at least one message, and per a second or more, not 0 per 1m"
    );
    assert_eq!(
        error(
            r#"{ "channels": { "a": { "wecom": { "key": "k" } }, "b": { "feishu": { "hook": "k" } }, "c": { "wecom": { "key": "k" } } } }"#
        ),
        "channels `a` and `c` are the same robot, which takes only so many messages of both: let it be one channel"
    );
    let shop = SHOP.replace("shop-token", "t");
    assert_eq!(
        error(&shop.replace(r#", "account": "wx1""#, "")),
        "channel `shop`: `consents` needs an `account`: the appid, as in `grant.consents.accounts`"
    );
    assert_eq!(
        error(&shop.replace(r#""consents": "require", "#, "")),
        "channel `shop`: `account` has a meaning with `consents` alone"
    );
    assert_eq!(
        error(r#"{ "channels": { "x": { "wecom": { "key": "k" }, "consents": "advise", "account": "wx1" } } }"#),
        "channel `x`: `consents` has a meaning for `wechat_subscribe` alone"
    );
    assert!(error(r#"{ "channels": { "x": { "wecom": { "kee": "k" } } } }"#).contains("unknown field `kee`"));
}

const SHOP: &str = r#"{ "channels": { "shop": { "wechat_subscribe": {
    "token": "shop-token", "templates": { "paid": { "id": "paid-7Q" } } }, "consents": "require", "account": "wx1" } } }"#;

/// Messages to users, each with what WeChat says of it.
fn paid(users: &[&str]) {
    let message = |user: &&str| Message::to(["shop"]).recipient(*user).template("paid").field("thing1", "a shirt");
    outbox::enqueue(users.iter().map(message)).unwrap();
}

fn left(user: &str) -> Option<u32> {
    consents::remaining("wx1", "paid-7Q", user).unwrap()
}

#[test]
fn what_a_user_accepts_is_sent_and_no_more() {
    let (host, asked) = host(always(200, r#"{"errcode": 0, "errmsg": "ok"}"#));
    let host = host.consents("wx1", "paid-7Q", "ann", 2).consents("wx1", "paid-7Q", "bob", 0);
    paid(&["ann", "ann", "ann", "bob", "eve"]);
    assert_eq!(run(&host, SHOP).summary, "2 messages sent, 3 refused");
    assert_eq!((asked.borrow().len(), left("ann")), (2, Some(0)));
    assert_eq!(states(&host), ["sent", "sent", "dead", "dead", "dead"]);
    assert_eq!(reason(&host.messages()[2]), "user ann has no consent left for template paid (paid-7Q)");
    // With `advise`, WeChat decides, and it is counted all the same.
    let advise = SHOP.replace("require", "advise");
    let host = host.consents("wx1", "paid-7Q", "ann", 1);
    paid(&["ann", "ann"]);
    assert_eq!((run(&host, &advise).summary.as_str(), left("ann")), ("2 messages sent", Some(0)));
    let host = host.consents("wx1", "paid-7Q", "ann", 1);
    paid(&["ann"]);
    run(&host, &SHOP.replace(r#""consents": "require", "account": "wx1""#, r#""consents": "off""#));
    assert_eq!(left("ann"), Some(1));
}

#[test]
fn a_template_of_which_nothing_is_known_is_not_sent_where_consents_are_required() {
    let (host, asked) = host(always(200, r#"{"errcode": 0}"#));
    let host = host.consents("wx1", "other", "ann", 1);
    paid(&["ann"]);
    assert_eq!(run(&host, SHOP).summary, "0 messages sent, 1 refused");
    let why = "nothing is known of consents for template paid (paid-7Q): WeChat has told nothing of it yet";
    assert_eq!((reason(&host.messages()[0]), asked.borrow().len()), (why, 0));
    paid(&["ann"]);
    assert_eq!(run(&host, &SHOP.replace("require", "advise")).summary, "1 message sent");
}

#[test]
fn a_consent_is_given_back_when_nothing_was_sent() {
    let answers = [
        r#"{"errcode": 40037, "errmsg": "invalid template_id"}"#,
        r#"{"errcode": 43101, "errmsg": "user refuse to accept the msg"}"#,
        r#"{"errcode": -1, "errmsg": "system error"}"#,
    ];
    let (host, _) = host(move |at, _| Ok(Response::new(200, answers[at.min(2)])));
    let host = host.consents("wx1", "paid-7Q", "ann", 3).consents("wx1", "paid-7Q", "bob", 3);
    paid(&["ann"]);
    run(&host, SHOP);
    assert_eq!(left("ann"), Some(3), "the template was wrong");
    paid(&["ann"]);
    run(&host, SHOP);
    assert_eq!(left("ann"), Some(0), "WeChat says that there is none");
    // Whether it was sent is not known: the message keeps its consent for the next try, which takes no other.
    paid(&["bob"]);
    run(&host, SHOP);
    assert_eq!(left("bob"), Some(2));
    let due = host.messages()[2].due;
    run_at(&host, SHOP, due);
    assert_eq!((left("bob"), host.messages()[2].attempts.len()), (Some(2), 2));
}

#[test]
fn a_days_quota_ends_at_midnight_in_beijing_and_a_minutes_with_the_minute() {
    // 2026-11-30 08:00 in Beijing.
    const NOW: i64 = 1_795_996_800_000;
    for (code, until) in [("45009", NOW + 16 * 3_600_000), ("45011", NOW + 60_000)] {
        let answer =
            format!(r#"{{"errcode": {code}, "errmsg": "reach max api quota limit rid: 5f3c5f3c-5f3c5f3c-5f3c5f3c"}}"#);
        let (host, asked) = host(move |_, _| Ok(Response::new(200, answer.clone())));
        let host = host.consents("wx1", "paid-7Q", "ann", 9);
        paid(&["ann", "ann", "ann"]);
        assert_eq!(run_at(&host, SHOP, NOW).summary, "0 messages sent, 1 to be tried again, paused: shop", "{code}");
        assert_eq!((asked.borrow().len(), left("ann")), (1, Some(9)), "{code}: nothing was sent, nothing is used up");
        assert_eq!(run_at(&host, SHOP, until - 1).summary, "nothing was due", "{code}");
        assert_eq!(run_at(&host, SHOP, until).summary, "0 messages sent, 1 to be tried again, paused: shop", "{code}");
    }
}

#[test]
fn without_the_grant_the_channel_is_left_alone() {
    let (host, asked) = host(always(200, r#"{"errcode": 0}"#));
    paid(&["ann", "bob"]);
    assert_eq!(run(&host, SHOP).summary, "0 messages sent, 1 to be tried again, paused: shop");
    assert_eq!(asked.borrow().len(), 0);
    assert!(reason(&host.messages()[0]).contains("no consents"), "{}", reason(&host.messages()[0]));
}

mod digests;
mod mails;
mod outages;
