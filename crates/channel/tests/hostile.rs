//! Answers that are not the provider's: pages of proxies, cut off, huge, or made to mislead.

#![expect(clippy::unwrap_used, reason = "what fails here is a test")]

use proptest::prelude::*;
use upkeep_channel::{Answer, Outcome, Settings, outcome};

const ALL: [&str; 7] = [
    r#"{ "type": "wechat-subscribe", "token": "wx", "templates": {} }"#,
    r#"{ "type": "wechat-service", "token": "wx" }"#,
    r#"{ "type": "wecom", "key": "k" }"#,
    r#"{ "type": "dingtalk", "access_token": "t" }"#,
    r#"{ "type": "feishu", "hook": "h" }"#,
    r#"{ "type": "ntfy", "topic": "t" }"#,
    r#"{ "type": "webhook", "url": "https://a.example/" }"#,
];

/// Those that say in the body whether they accepted, all but the webhook.
fn providers() -> impl Iterator<Item = Settings> {
    ALL[..6].iter().map(|it| serde_json::from_str(it).unwrap())
}

fn read(settings: &Settings, status: u16, body: &[u8]) -> Outcome {
    outcome(settings, &Answer { status, headers: &[], body }, 1_796_008_838_000)
}

#[test]
fn a_page_of_success_is_no_success() {
    let page = b"<!DOCTYPE html><html><head><title>Please log in to the network</title></head></html>";
    for settings in providers() {
        let Outcome::Transient { reason, .. } = read(&settings, 200, page) else { panic!("{settings:?}") };
        assert_eq!(
            reason.to_string(),
            "the answer is not this provider's, a proxy may stand in between: a page titled \"Please log in to the network\" (200)"
        );
    }
}

#[test]
fn a_gateway_without_backend_is_transient() {
    let page = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body></html>";
    for settings in ALL {
        let outcome = read(&serde_json::from_str(settings).unwrap(), 502, page);
        let Outcome::Transient { reason, .. } = outcome else { panic!("{settings}") };
        assert_eq!(reason.to_string(), "the server has trouble: a page titled \"502 Bad Gateway\" (502)");
    }
    for (status, body) in [(503, "The server has trouble."), (429, "Too Many Requests")] {
        let outcome = read(&serde_json::from_str(ALL[0]).unwrap(), status, body.as_bytes());
        let said = outcome.reason().unwrap().to_string().to_lowercase();
        assert_eq!(said, format!("{} ({status})", body.trim_end_matches('.').to_lowercase()), "it is said once");
    }
}

#[test]
fn what_cannot_be_read_is_tried_again() {
    let huge = format!("{{\"errcode\":0,\"code\":0,\"id\":\"1\",\"errmsg\":\"{}\"}}", "x".repeat(100_000));
    let deep = format!("{{\"errcode\":{}0{}}}", "[".repeat(200), "]".repeat(200));
    let bodies: [&[u8]; 9] =
        [b"", b"ok", b"[]", b"null", b"{\"errcode\":", b"0", b"\xff\xfe", huge.as_bytes(), deep.as_bytes()];
    for settings in providers() {
        for body in bodies {
            let outcome = read(&settings, 200, body);
            assert!(
                matches!(outcome, Outcome::Transient { .. }),
                "{outcome:?} of {:.60}",
                String::from_utf8_lossy(body)
            );
        }
    }
}

#[test]
fn a_code_that_is_no_number_is_no_success() {
    for settings in providers() {
        for code in ["{}", "[0]", "true", "\"\"", "\"zero\"", "0.5", "1e999"] {
            let body = format!(r#"{{"errcode":{code},"code":{code}}}"#);
            let outcome = read(&settings, 200, body.as_bytes());
            assert!(matches!(outcome, Outcome::Transient { .. }), "{outcome:?} of {body}");
        }
    }
}

#[test]
fn a_code_as_a_text_is_read() {
    for (settings, body) in [
        (ALL[0], r#"{"errcode":"40001","errmsg":"invalid credential"}"#),
        (ALL[1], r#"{"errcode":" 42001 ","errmsg":["not","a","text"]}"#),
    ] {
        let outcome = read(&serde_json::from_str(settings).unwrap(), 200, body.as_bytes());
        assert!(matches!(outcome, Outcome::Credential { .. }), "{outcome:?}");
    }
    for (settings, body) in
        [(ALL[2], r#"{"errcode":"45009"}"#), (ALL[3], r#"{"errcode":"130101"}"#), (ALL[4], r#"{"code":"11232"}"#)]
    {
        let outcome = read(&serde_json::from_str(settings).unwrap(), 200, body.as_bytes());
        assert!(matches!(outcome, Outcome::Throttled { .. }), "{outcome:?}");
    }
}

#[test]
fn a_success_with_a_status_of_failure_is_none() {
    let body = br#"{"errcode":0,"code":0,"id":"1"}"#;
    for settings in ALL {
        let outcome = read(&serde_json::from_str(settings).unwrap(), 500, body);
        assert!(matches!(outcome, Outcome::Transient { .. }), "{outcome:?}");
    }
}

#[test]
fn words_stay_in_one_short_line() {
    let words = format!("a\\r\\n\\u001b[31mINFO forged line\\u2028{}", "x".repeat(10_000));
    for settings in ALL {
        for (status, body) in
            [(200, format!(r#"{{"errcode":7,"code":7,"errmsg":"{words}","msg":"{words}"}}"#)), (503, words.clone())]
        {
            let outcome = read(&serde_json::from_str(settings).unwrap(), status, body.as_bytes());
            let Some(reason) = outcome.reason() else { continue };
            assert!(reason.text.chars().count() <= 400, "{}", reason.text.len());
            assert!(!reason.to_string().chars().any(|it| it.is_control() || it == '\u{2028}'), "{reason}");
        }
    }
}

proptest! {
    #[test]
    fn no_answer_panics(
        status in any::<u16>(),
        headers in prop::collection::vec(("(?i)retry-after|x-ogw-ratelimit-reset|location", ".{0,40}"), 0..3),
        body in prop::collection::vec(any::<u8>(), 0..200),
        code in any::<i64>(),
        words in ".{0,60}",
        now in any::<i64>(),
    ) {
        let said = serde_json::json!({ "errcode": code, "code": code, "errmsg": words, "msg": words }).to_string();
        for settings in ALL {
            let settings = serde_json::from_str(settings).unwrap();
            for body in [body.as_slice(), said.as_bytes()] {
                let outcome = outcome(&settings, &Answer { status, headers: &headers, body }, now);
                if let Outcome::Transient { wait: Some(wait), .. } = outcome {
                    prop_assert!((0..=86_400_000).contains(&wait), "{wait}");
                }
            }
        }
    }
}
