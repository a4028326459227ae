//! Any answer means something, and what it says fits into one line of a log.
//!
//! The first byte chooses the channel, the next two are the status; then, up to the first line feed, `Retry-After`; then the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upkeep_channel::{Answer, Outcome, outcome};

const CHANNELS: [&str; 7] = [
    r#"{"type":"wechat-subscribe","token":"wx","templates":{}}"#,
    r#"{"type":"wechat-service","token":"wx"}"#,
    r#"{"type":"wecom","key":"k"}"#,
    r#"{"type":"dingtalk","access_token":"t"}"#,
    r#"{"type":"feishu","hook":"h"}"#,
    r#"{"type":"ntfy","topic":"t"}"#,
    r#"{"type":"webhook","url":"https://a.example/"}"#,
];
const NOW: i64 = 1_796_008_838_000;
const DAY: i64 = 86_400_000;

fuzz_target!(|data: &[u8]| {
    let [channel, high, low, rest @ ..] = data else { return };
    let Ok(settings) = serde_json::from_str(CHANNELS[usize::from(*channel) % CHANNELS.len()]) else { return };
    let mut parts = rest.splitn(2, |it| *it == b'\n');
    let header = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let body = parts.next().unwrap_or_default();
    let headers = ["retry-after", "x-ogw-ratelimit-reset", "location"].map(|it| (it.to_owned(), header.clone()));
    let status = u16::from_be_bytes([*high, *low]);
    let outcome = outcome(&settings, &Answer { status, headers: &headers, body }, NOW);
    match &outcome {
        Outcome::Accepted { .. } => assert!((200..300).contains(&status)),
        Outcome::Transient { wait, .. } => assert!(wait.is_none_or(|it| (0..=DAY).contains(&it))),
        Outcome::Throttled { until, .. } => assert!((NOW..=NOW + DAY).contains(until)),
        Outcome::Permanent { .. } | Outcome::Credential { .. } => {}
    }
    if let Some(reason) = outcome.reason() {
        assert!(!reason.to_string().chars().any(char::is_control));
        assert!(reason.text.chars().count() <= 400);
    }
});
