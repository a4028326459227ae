//! Channels of mail, against a server that is a function.

use upkeep_plugin::smtp::{Answer, Mail, Refusal, Reply, Stage};

use super::*;

const MAIL: &str = r#"{ "channels": { "mail": { "mail": {
    "server": "main", "from": "upkeep@example.org", "name": "web-1", "to": ["ops@example.org"], "prefix": "[web-1]" } } } }"#;

fn post(answer: impl FnMut(&Mail) -> HostResult<Answer> + 'static) -> Host {
    Host::new().outbox().smtp("main", answer)
}

fn to(recipient: &str) -> Message {
    Message::to(["mail"]).title("hello").recipient(recipient)
}

#[test]
fn what_is_due_is_sent_as_mail() {
    let host = post(|_| Ok(Answer::accepted()));
    enqueue(40, &["mail"]);
    outbox::enqueue([to("root@example.org, duty@example.org").text("**磁盘**快满了").link("https://ops.example/7")])
        .unwrap();
    assert_eq!(run(&host, MAIL).summary, "41 messages sent");
    assert_eq!(states(&host), ["sent"; 41]);
    let mails = host.mails();
    let (first, last) = (&mails[0], &mails[40]);
    assert_eq!((first.id(), first.sender()), (host.messages()[0].id.as_str(), "upkeep@example.org"));
    assert_eq!((first.subject_line(), first.recipients()), ("[web-1] message 0", &["ops@example.org".to_owned()][..]));
    assert_eq!(last.recipients(), ["root@example.org", "duty@example.org"]);
    assert_eq!(last.bodies().0, "磁盘快满了\n\nhttps://ops.example/7\n");
    assert!(last.bodies().1.is_some_and(|html| html.contains("<strong>磁盘</strong>快满了")), "{last:?}");
    assert_eq!(run(&host, MAIL).summary, "nothing was due");
}

#[test]
fn refusals_go_down_the_chain_and_what_passes_is_tried_again() {
    let host = post(|mail| {
        Ok(match mail.recipients()[0].split('@').next() {
            Some("nobody") => Answer::refused(Stage::Recipients, 550, "5.1.1 no such user"),
            Some("later") => Answer::refused(Stage::Recipients, 451, "4.7.1 greylisted"),
            _ => Answer::accepted(),
        })
    });
    outbox::enqueue([to("nobody@example.org"), to("later@example.org"), to("ops@example.org"), to("not an address")])
        .unwrap();
    assert_eq!(run(&host, MAIL).summary, "1 message sent, 2 refused, 1 to be tried again");
    assert_eq!(states(&host), ["dead", "waiting", "sent", "dead"]);
    let messages = host.messages();
    assert_eq!(
        reason(&messages[0]),
        "the mail server does not take mail for the address: 5.1.1 no such user (550): correct the address"
    );
    assert_eq!(messages[0].attempts[0].code.as_deref(), Some("550"));
    // Greylisting wants five minutes.
    assert!(messages[1].due >= 300_000, "{}", messages[1].due);
    assert!(!reason(&messages[3]).is_empty());
}

#[test]
fn one_of_two_recipients_is_waited_for_and_then_left_out() {
    let host = post(|mail| {
        let reply = Reply { code: 452, enhanced: Some("4.2.2".into()), text: "4.2.2 full".into() };
        let refused = vec![Refusal { recipient: "full@example.org".into(), reply: reply.clone() }];
        Ok(if mail.is_together() {
            Answer { refused, ..Answer::refused(Stage::Recipients, 452, "4.2.2 full") }
        } else {
            Answer { refused, ..Answer::accepted() }
        })
    });
    outbox::enqueue([to("ops@example.org full@example.org")]).unwrap();
    let mut tries = 0;
    while states(&host) != ["sent"] {
        tries += 1;
        assert!(tries < 10 && host.mails().is_empty());
        run_at(&host, MAIL, host.messages()[0].due);
    }
    assert_eq!((tries, host.mails().len()), (4, 1));
    assert_eq!(reason(&host.messages()[0]), "not to full@example.org: 452 4.2.2 full");
}

#[test]
fn a_login_that_is_wrong_leaves_the_channel_alone() {
    let host = post(|_| Ok(Answer::refused(Stage::Login, 535, "5.7.8 who are you")));
    enqueue(5, &["mail"]);
    assert_eq!(run(&host, MAIL).summary, "0 messages sent, 1 to be tried again, paused: mail");
    let messages = host.messages();
    assert_eq!(messages.iter().filter(|it| it.state == "waiting").count(), 5);
    let told = "the mail server does not accept user or password: 5.7.8 who are you (535): correct `user` and";
    assert!(reason(&messages[0]).starts_with(told), "{}", reason(&messages[0]));
}

#[test]
fn what_is_not_granted_is_the_message_s_fault_or_the_channel_s() {
    let host = post(|mail| match mail.recipients()[0].as_str() {
        "evil@evil.test" => Err(HostError::Denied("not to evil@evil.test (`grant.smtp.main.to`)".into())),
        _ => Ok(Answer::accepted()),
    });
    outbox::enqueue([to("evil@evil.test"), to("ops@example.org")]).unwrap();
    assert_eq!(run(&host, MAIL).summary, "1 message sent, 1 refused");
    assert!(reason(&host.messages()[0]).contains("`grant.smtp.main.to`"));
    // A password that cannot be used is not the fault of a message, whomever that is for.
    let host =
        post(|_| Err(HostError::Denied("the password of `grant.smtp.main` cannot be used: the secret file".into())));
    outbox::enqueue([to("ops@example.org"), to("ops@example.org"), to("ops@example.org")]).unwrap();
    assert_eq!(run(&host, MAIL).summary, "0 messages sent, 1 to be tried again, paused: mail");
    assert!(host.messages().iter().all(|it| it.state == "waiting"), "{:?}", host.messages());
    // A server that is not granted.
    let host = Host::new().outbox();
    enqueue(3, &["mail"]);
    assert_eq!(run(&host, MAIL).summary, "0 messages sent, 1 to be tried again, paused: mail");
}

#[test]
fn a_run_that_may_send_no_more_leaves_the_rest_to_the_next() {
    let mut left = 2;
    let host = post(move |_| {
        left -= 1;
        if left < 0 { Err(HostError::Limit("grant.smtp.main.max_messages".into())) } else { Ok(Answer::accepted()) }
    });
    enqueue(5, &["mail"]);
    assert_eq!(run(&host, MAIL).summary, "2 messages sent");
    let waiting = host.messages().into_iter().filter(|it| it.state == "waiting" && it.attempts.is_empty());
    assert_eq!(waiting.count(), 3);
}

#[test]
fn what_is_beyond_the_rate_waits_or_is_one_mail() {
    let rate = MAIL.replace("} } } }", "}, \"rate\": [{ \"count\": 3, \"per\": \"1m\" }] } } }");
    let host = post(|_| Ok(Answer::accepted()));
    enqueue(5, &["mail"]);
    assert_eq!(run(&host, &rate).summary, "3 messages sent, paused: mail");
    let digest = rate.replace("\"rate\"", "\"digest\": true, \"rate\"");
    let host = post(|_| Ok(Answer::accepted()));
    enqueue(9, &["mail"]);
    outbox::enqueue([to("root@example.org")]).unwrap();
    assert_eq!(run(&host, &digest).summary, "10 messages sent");
    let mails = host.mails();
    assert_eq!(mails.len(), 3);
    assert!(mails.iter().any(|it| it.recipients() == ["root@example.org"] && it.subject_line() == "[web-1] hello"));
    assert!(mails[2].subject_line().starts_with("[web-1] 8 messages"), "{}", mails[2].subject_line());
}

#[test]
fn what_is_refused_in_a_digest_of_mail_goes_by_itself() {
    let host = post(|mail| {
        let is_bad = mail.bodies().0.contains("message 2") || mail.subject_line().contains("message 2");
        Ok(if is_bad { Answer::refused(Stage::Content, 554, "5.7.1 spam") } else { Answer::accepted() })
    });
    enqueue(5, &["mail"]);
    outbox::enqueue([Message::to(["mail"]).title("")]).unwrap();
    let digest = MAIL.replace("} } } }", "}, \"digest\": true, \"rate\": [{ \"count\": 1, \"per\": \"10s\" }] } } }");
    for at in 0..10 {
        run_at(&host, &digest, at * 20_000);
    }
    assert_eq!(states(&host), ["sent", "sent", "dead", "sent", "sent", "dead"]);
    assert_eq!(reason(&host.messages()[5]), "title is empty: write something into it");
    assert_eq!(host.mails().len(), 4);
}
