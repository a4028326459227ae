//! What is sent keeps to the providers' limits, and says what it leaves out.

#![expect(clippy::unwrap_used, reason = "what fails here is a test")]

use proptest::prelude::*;
use serde_json::Value;
use upkeep_channel::{Level, Message, Recipients, Settings, digest, merged, request};
use upkeep_channel::{dingtalk, feishu, ntfy, part::Content, wechat, wecom};

const ROBOTS: [&str; 4] = [
    r#"{ "type": "wecom", "key": "k" }"#,
    r#"{ "type": "dingtalk", "access_token": "t", "signed_with": "s" }"#,
    r#"{ "type": "feishu", "hook": "h", "signed_with": "s" }"#,
    r#"{ "type": "ntfy", "topic": "t" }"#,
];

fn settings(text: &str) -> Settings {
    serde_json::from_str(text).unwrap()
}

/// The body with a signature of the length that HMAC-SHA256 in base64 has.
fn body(message: &Message, settings: &Settings) -> String {
    let parts = request(message, settings, 1_796_008_838_123).unwrap().body;
    parts.iter().map(|it| if let Content::Text(text) = it { text.clone() } else { "x".repeat(44) }).collect()
}

/// What the robot shows, and what it takes at most.
fn shown(message: &Message, settings: &Settings) -> (String, usize) {
    let body = body(message, settings);
    if let Settings::Ntfy(_) = settings {
        return (body, ntfy::MOST);
    }
    let document: Value = serde_json::from_str(&body).unwrap();
    let (text, most) = match settings {
        Settings::WeCom(_) if document["msgtype"] == "text" => (&document["text"]["content"], wecom::MOST_TEXT),
        Settings::WeCom(_) => (&document["markdown"]["content"], wecom::MOST_MARKDOWN),
        Settings::DingTalk(_) => (&document["markdown"]["text"], dingtalk::MOST),
        Settings::Feishu(_) => (&document["content"]["text"], feishu::MOST),
        _ => (&document["text"]["content"], wechat::service::MOST),
    };
    (text.as_str().unwrap().to_owned(), most)
}

const REMARK: &str = "characters are missing)";

#[test]
fn long_texts_are_cut_with_a_remark() {
    for text in ["日本語 \"quoted\" \\ \u{1f600} ".repeat(2000), "a\n".repeat(20_000), "```\ncode\n".repeat(9000)] {
        let message = Message { id: "m".into(), title: "T".into(), text, ..Message::default() };
        for robot in ROBOTS {
            let (shown, most) = shown(&message, &settings(robot));
            assert!(shown.len() <= most && shown.len() > most / 2, "{} of {most}: {robot}", shown.len());
            assert!(shown.ends_with(REMARK), "{robot}");
        }
    }
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[\\x00-\\x7f日\u{1f600}<@\"\\\\\n]{0,400}",
        ("[a-z日\"\\\\<@\n\u{1f600} ]{1,30}", 1_usize..3000).prop_map(|(text, times)| text.repeat(times)),
    ]
}

fn mentions() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("1[0-9]{10}", 0..3)
}

fn level() -> impl Strategy<Value = Level> {
    prop_oneof![Just(Level::Info), Just(Level::Warn), Just(Level::Error), Just(Level::Critical)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn nothing_exceeds_what_a_provider_takes(
        title in "[a-z日\"\\\\<@*]{1,300}", text in texts(), mention in mentions(), level in level(), linked in any::<bool>(),
    ) {
        let to = Recipients { openid: Some("o1".into()), mention, ..Recipients::default() };
        let link = linked.then(|| "https://ops.example/x".to_owned());
        let message = Message { id: "m".into(), title, text, to, level, link, ..Message::default() };
        for robot in ROBOTS.into_iter().chain([r#"{ "type": "wechat-service", "token": "wx" }"#]) {
            let settings = settings(robot);
            let (shown, most) = shown(&message, &settings);
            prop_assert!(shown.len() <= most, "{} of {most}: {robot}", shown.len());
            if let Settings::Feishu(_) = settings {
                prop_assert!(body(&message, &settings).len() <= feishu::MOST);
            }
        }
    }

    #[test]
    fn a_digest_counts_all(
        messages in prop::collection::vec(("[a-c]{1,2}", "[a-z日\"*\\\\<@ ]{0,200}", level(), mentions()), 2..60),
        room in 0_usize..3000,
    ) {
        let messages: Vec<Message> = messages.into_iter().enumerate().map(|(at, (key, title, level, mention))| {
            let to = Recipients { mention, ..Recipients::default() };
            Message { id: format!("m-{at}"), group: key, title: format!("t{title}"), level, to, ..Message::default() }
        }).collect();
        let said = digest(&messages, room);
        prop_assert_eq!(counted(&said.text), messages.len(), "{}", said.text);
        let head = format!("{} messages: ", messages.len());
        prop_assert!(said.title.starts_with(&head), "{}", said.title);
        prop_assert!(said.text.len() <= room.max(60), "{} of {room}", said.text.len());
        prop_assert_eq!(said.level, messages.iter().map(|it| it.level).max().unwrap());

        for robot in ROBOTS {
            let settings = settings(robot);
            let said = merged(&messages, &settings).unwrap();
            prop_assert_eq!(counted(&said.text), messages.len(), "{}", said.text);
            let (shown, most) = shown(&said, &settings);
            prop_assert!(shown.len() <= most && !shown.contains(REMARK), "{} of {most}: {robot}", shown.len());
        }
    }
}

/// The sum of the numbers that heads and the remark at the end have.
fn counted(text: &str) -> usize {
    let number = |it: &str| it.split(' ').next().and_then(|it| it.parse::<usize>().ok());
    let of_line = |line: &str| match (line.strip_prefix("… and "), line.strip_prefix("**")) {
        (Some(rest), _) => number(rest),
        (_, Some(rest)) => number(rest.split_once("**: ")?.1),
        _ => None,
    };
    text.lines().filter_map(of_line).sum()
}

fn message(at: usize, group: &str, level: Level, title: &str) -> Message {
    Message {
        id: format!("m-{at}"),
        group: group.into(),
        level,
        title: title.into(),
        at: i64::try_from(at).unwrap(),
        ..Message::default()
    }
}

#[test]
fn a_digest_is_readable() {
    let mut messages = vec![
        message(0, "backup/web", Level::Info, "Backup took long"),
        message(1, "disk/var", Level::Critical, "Disk /var is full"),
        message(2, "backup/web", Level::Error, "Backup failed"),
    ];
    messages.extend((3..10).map(|it| message(it, "scan", Level::Warn, &format!("Finding {it}"))));
    let said = digest(&messages, 4000);
    assert_eq!(said.title, "10 messages: 1 critical, 1 error, 7 warn, 1 info");
    assert_eq!(
        said.text,
        "**disk/var**: 1 (1 critical)\n- Disk /var is full\n\n**backup/web**: 2 (1 error, 1 info)\n- Backup failed\n- Backup took long\n\n\
         **scan**: 7 (7 warn)\n- Finding 3\n- Finding 4\n- Finding 5\n- Finding 6\n- Finding 7\n- Finding 8\n- Finding 9"
    );
    assert_eq!((said.level, said.group.as_str(), said.at), (Level::Critical, "digest", 9));
    assert_eq!(
        digest(&messages, 130).text,
        "**disk/var**: 1 (1 critical)\n- Disk /var is full\n\n**backup/web**: 2 (1 error, 1 info)\n\n**scan**: 7 (7 warn)",
        "lines go before heads do"
    );
    assert_eq!(
        digest(&messages, 80).text,
        "**disk/var**: 1 (1 critical)\n- Disk /var is full\n\n… and 9 more of 2 groups"
    );
    let fewer = said.text.replace("- Backup took long", "- … and 1 more");
    assert_eq!(
        digest(&messages, said.text.len() - 5).text,
        fewer.replace("- Finding 8\n- Finding 9", "- … and 2 more"),
        "the least important have none, and are counted"
    );
    assert_eq!(digest(&messages, 0).text, "… and 10 more of 3 groups");

    let mut turned = messages.clone();
    turned.reverse();
    assert_eq!(digest(&turned, 4000).id, said.id, "the same messages are the same digest");
    assert_ne!(digest(&messages[1..], 4000).id, said.id);
    assert_eq!(digest(&messages[..1], 4000), messages[0], "one message needs no digest");
}

#[test]
fn a_digest_has_a_line_for_each_as_far_as_the_channel_takes_it() {
    let long = "x".repeat(150);
    let messages: Vec<Message> = (0..60)
        .map(|it| {
            let level = if it % 20 == 0 { Level::Critical } else { Level::Info };
            message(it, if it < 30 { "one" } else { "other" }, level, &format!("{it} {long}"))
        })
        .collect();
    for robot in ROBOTS {
        let settings = settings(robot);
        let lines = |messages: &[Message]| {
            let text = merged(messages, &settings).unwrap().text;
            (text.matches("\n- ").count() - text.matches("\n- … and ").count(), text)
        };
        let (count, text) = lines(&messages[..20]);
        assert!(count == 20 && !text.contains("more"), "{robot}: {text}");
        let (count, text) = lines(&messages);
        let all = matches!(settings, Settings::DingTalk(_) | Settings::Feishu(_));
        assert!(if all { count == 60 } else { (20..30).contains(&count) }, "{count} lines: {robot}");
        assert!([0, 20, 40].iter().all(|it| text.contains(&format!("\n- {it} x"))), "{robot}: {text}");
        assert_eq!(text.contains(" more"), !all, "{robot}: {text}");
    }
}

#[test]
fn a_digest_has_the_words_where_there_is_room() {
    let messages = [("Disk full", "of **web-1**:\n\n- /var"), ("", "nothing but words"), ("Done", "")];
    let messages = messages
        .iter()
        .enumerate()
        .map(|(at, (title, text))| Message { text: (*text).to_owned(), ..message(at, "a", Level::Info, title) });
    let messages: Vec<Message> = messages.collect();
    let head = "**a**: 3 (3 info)";
    assert_eq!(
        digest(&messages, 900).text,
        format!("{head}\n- Disk full: of web-1: - /var\n- nothing but words\n- Done")
    );
    assert_eq!(digest(&messages, 62).text, format!("{head}\n- Disk full\n- nothing but words\n- Done"));
}

#[test]
fn a_link_that_is_none_is_left_out_unless_the_look_needs_it() {
    let to = Recipients { openid: Some("o1".into()), ..Recipients::default() };
    let bad = Message { link: Some("see the wiki".into()), to, ..message(0, "a", Level::Info, "x") };
    let none = Message { link: None, ..bad.clone() };
    let others =
        [r#"{ "type": "webhook", "url": "https://a.example/" }"#, r#"{ "type": "wechat-service", "token": "wx" }"#];
    for text in ROBOTS.iter().chain(&others) {
        let settings = settings(text);
        let (with, without) = (request(&bad, &settings, 7).unwrap(), request(&none, &settings, 7).unwrap());
        assert_eq!(with.headers, without.headers, "{text}");
        assert_eq!(with.body, without.body, "{text}");
    }
    let mail = |message: &Message| {
        let to = vec!["ops@example.org".to_owned()];
        upkeep_channel::mail::mail(message, &upkeep_channel::mail::MailSettings { to, ..Default::default() }).unwrap()
    };
    assert_eq!(mail(&bad), mail(&none));
    let card = settings(
        r#"{ "type": "wechat-service", "token": "wx", "look": { "link": { "thumb_url": "https://a.example/x" } } }"#,
    );
    let refused = request(&bad, &card, 7).unwrap_err().to_string();
    assert!(refused.starts_with("link must be a URL"), "{refused}");
    assert!(request(&none, &card, 7).is_ok(), "without one it is a text");
}

#[test]
fn a_hundred_thousand_messages_are_one() {
    let messages: Vec<Message> = (0..100_000)
        .map(|it| message(it, &format!("key-{}", it % 5000), Level::Error, "日本語 \"quoted\" <@ `code`"))
        .collect();
    for robot in ROBOTS {
        let settings = settings(robot);
        let said = merged(&messages, &settings).unwrap();
        assert_eq!(counted(&said.text), 100_000);
        let (shown, most) = shown(&said, &settings);
        assert!(
            shown.len() <= most && shown.len() > most / 3 && !shown.contains(REMARK),
            "{} of {most}: {robot}",
            shown.len()
        );
    }
}

#[test]
fn who_is_called_is_called_by_the_digest() {
    let calling = |at: usize, name: &str| {
        let to = Recipients { mention: vec![name.to_owned()], ..Recipients::default() };
        Message { to, ..message(at, "a", Level::Info, "x") }
    };
    let few = [calling(0, "13800138001"), calling(1, "13800138000"), calling(2, "13800138001")];
    assert_eq!(digest(&few, 900).to.mention, ["13800138000", "13800138001"]);
    let many: Vec<Message> = (0..101).map(|it| calling(it, &format!("1380013{it:04}"))).collect();
    assert_eq!(digest(&many, 900).to.mention, ["@all"]);
    for robot in ROBOTS {
        let settings = settings(robot);
        for messages in [&many[..], &many[..100]] {
            let (shown, most) = shown(&merged(messages, &settings).unwrap(), &settings);
            assert!(shown.len() <= most && !shown.contains(REMARK), "{} of {most}: {robot}", shown.len());
        }
    }
}

#[test]
fn messages_to_single_users_are_not_merged() {
    let messages = [message(0, "a", Level::Info, "x"), message(1, "a", Level::Info, "y")];
    for text in [
        r#"{ "type": "wechat-subscribe", "token": "wx", "templates": {} }"#,
        r#"{ "type": "wechat-service", "token": "wx" }"#,
    ] {
        assert_eq!(merged(&messages, &settings(text)), None);
    }
}
