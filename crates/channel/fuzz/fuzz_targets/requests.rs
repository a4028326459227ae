//! Any message is refused, or becomes a request within the provider's limits whose body is JSON, and which names no secrets but
//! those of the settings.
//!
//! The first byte chooses the channel; the rest is title, text, link and who is called, each up to a zero.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upkeep_channel::{Message, Recipients, Settings, mail, merged, request};

const CHANNELS: [&str; 6] = [
    r#"{"type":"wechat-service","token":"wx"}"#,
    r#"{"type":"wecom","key":"robot"}"#,
    r#"{"type":"dingtalk","access_token":"robot","signed_with":"sign"}"#,
    r#"{"type":"feishu","hook":"robot","signed_with":"sign"}"#,
    r#"{"type":"ntfy","topic":{"secret":"topic"}}"#,
    r#"{"type":"webhook","url":"https://a.example/","signed_with":"sign"}"#,
];

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut chars = text.chars();
    let Some(channel) = chars.next() else { return };
    let mut parts = chars.as_str().split('\0').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    let channel = usize::try_from(u32::from(channel)).unwrap_or(0) % CHANNELS.len();
    let Ok(settings) = serde_json::from_str::<Settings>(CHANNELS[channel]) else { return };
    let mut message =
        Message { id: "m-1".into(), title: next(), text: next(), link: Some(next()), ..Message::default() };
    message.link = message.link.filter(|it| !it.is_empty());
    let called = next();
    message.to = Recipients {
        openid: Some("o1".into()),
        mail: vec!["ops@example.org".into()],
        mention: if called.is_empty() { Vec::new() } else { vec![called] },
    };
    let Ok(asked) = request(&message, &settings, 1_796_008_838_123) else { return };
    let written = asked.write(|_, _| Ok::<_, ()>(vec![0xff; 32]));
    let Ok(written) = written else { panic!("{}", asked.shown()) };
    assert!(written.url.starts_with(&asked.origin.to_string()));
    // The settings name one secret for an address, and none for a header.
    assert!(written.url.matches("{{").count() <= 1 && !written.url.to_ascii_lowercase().contains("%7b"));
    assert!(!written.headers.iter().any(|(_, value)| value.contains("{{")));
    if !matches!(settings, Settings::Ntfy(_)) {
        assert!(serde_json::from_slice::<serde_json::Value>(&written.body).is_ok());
    }
    if !matches!(settings, Settings::Webhook(_)) {
        assert!(written.body.len() <= 130_000, "{}", written.body.len());
    }
    if message.to.mention.iter().all(|it| it == "@all") && matches!(settings, Settings::Feishu(_)) {
        assert!(written.body.len() <= 20_000, "{}", written.body.len());
    }
    if let Ok(mail) = mail::mail(&message, &mail::MailSettings::default()) {
        assert!(!mail.subject.chars().any(char::is_control));
        assert!(!mail.html.contains("<script"));
    }
    let both = [message.clone(), Message { id: "m-2".into(), ..message }];
    if let Some(digest) = merged(&both, &settings) {
        assert!(digest.title.starts_with("2 messages: "));
        assert!(request(&digest, &settings, 0).is_ok());
    }
});
