//! What each code of each provider means: the table of the contract, line by line.

#![expect(clippy::unwrap_used, reason = "what fails here is a test")]

use upkeep_channel::moment::{DAY, HOUR, MINUTE, SECOND};
use upkeep_channel::{Answer, Fault, Outcome, Reason, Settings, outcome};

/// 2026-11-30T03:20:38Z, 11:20:38 in Beijing.
const NOW: i64 = 1_796_008_838_000;
/// Midnight in Beijing.
const TOMORROW: i64 = 1_796_054_400_000;

const WECHAT: &str = r#"{ "type": "wechat-subscribe", "token": "wx", "templates": {} }"#;
const SERVICE: &str = r#"{ "type": "wechat-service", "token": "wx" }"#;
const WECOM: &str = r#"{ "type": "wecom", "key": "k" }"#;
const DINGTALK: &str = r#"{ "type": "dingtalk", "access_token": "t" }"#;
const FEISHU: &str = r#"{ "type": "feishu", "hook": "h" }"#;
const NTFY: &str = r#"{ "type": "ntfy", "topic": "t" }"#;
const WEBHOOK: &str = r#"{ "type": "webhook", "url": "https://a.example/" }"#;

/// What an outcome is, without its words.
#[derive(Debug, PartialEq)]
enum Kind {
    Accepted(Option<String>),
    Permanent(Fault),
    Transient(Option<i64>),
    Throttled(i64),
    Credential,
}

use Kind::{Accepted, Credential, Permanent, Throttled, Transient};

fn kind(outcome: &Outcome) -> Kind {
    match outcome {
        Outcome::Accepted { id } => Accepted(id.clone()),
        Outcome::Permanent { fault, .. } => Permanent(*fault),
        Outcome::Transient { wait, .. } => Transient(*wait),
        Outcome::Throttled { until, .. } => Throttled(*until),
        Outcome::Credential { .. } => Credential,
    }
}

fn answer(settings: &str, status: u16, headers: &[(&str, &str)], body: &str) -> Outcome {
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let settings: Settings = serde_json::from_str(settings).unwrap();
    outcome(&settings, &Answer { status, headers: &headers, body: body.as_bytes() }, NOW)
}

fn of(settings: &str, body: &str) -> Kind {
    kind(&answer(settings, 200, &[], body))
}

fn reason(settings: &str, body: &str) -> Reason {
    answer(settings, 200, &[], body).reason().unwrap().clone()
}

#[test]
fn wechat() {
    let expected = [
        (-1, Transient(None)),
        (40001, Credential),
        (40014, Credential),
        (42001, Credential),
        (41001, Permanent(Fault::Channel)),
        (43002, Permanent(Fault::Message)),
        (44002, Permanent(Fault::Message)),
        (45009, Throttled(TOMORROW)),
        (45011, Throttled(NOW + 22 * SECOND)),
        (47001, Permanent(Fault::Message)),
        (48001, Permanent(Fault::Channel)),
        (40164, Permanent(Fault::Channel)),
        // Of tokens.
        (40002, Permanent(Fault::Channel)),
        (40013, Permanent(Fault::Channel)),
        (40125, Permanent(Fault::Channel)),
        (40243, Permanent(Fault::Channel)),
        (50004, Permanent(Fault::Channel)),
        (50007, Permanent(Fault::Channel)),
        (89503, Throttled(NOW + HOUR)),
        (89506, Throttled(NOW + DAY)),
        (89507, Throttled(NOW + HOUR)),
        // Of subscribe messages.
        (40003, Permanent(Fault::Recipient)),
        (40037, Permanent(Fault::Message)),
        (43101, Permanent(Fault::Recipient)),
        (43107, Permanent(Fault::Channel)),
        (43108, Transient(Some(SECOND))),
        (45168, Permanent(Fault::Message)),
        (47003, Permanent(Fault::Message)),
        // Of customer-service messages.
        (45015, Permanent(Fault::Recipient)),
        (45047, Permanent(Fault::Recipient)),
        // None that is known.
        (99999, Permanent(Fault::Message)),
    ];
    for (code, kind) in expected {
        for settings in [WECHAT, SERVICE] {
            let body = format!(r#"{{"errcode":{code},"errmsg":"no rid: 5f0a7e2b-1c2d3e4f-00112233"}}"#);
            assert_eq!(of(settings, &body), kind, "{code}");
            let reason = reason(settings, &body);
            assert_eq!((reason.code, reason.rid.as_deref()), (Some(code), Some("5f0a7e2b-1c2d3e4f-00112233")));
            assert!(reason.text.ends_with(": no"), "{}", reason.text);
            if let Permanent(_) = kind {
                assert!(reason.remedy.is_some(), "{code} has no remedy");
            }
        }
    }
}

#[test]
fn wechat_accepts_in_several_ways() {
    assert_eq!(of(WECHAT, r#"{"errcode":0,"errmsg":"ok"}"#), Accepted(None));
    assert_eq!(
        of(WECHAT, r#"{"errcode":"0","errmsg":"ok","msgid":1234567890123}"#),
        Accepted(Some("1234567890123".into()))
    );
    assert_eq!(of(WECHAT, r#"{}"#), Accepted(None), "a code that is absent means 0");
}

#[test]
fn wechat_names_the_address_that_is_not_allowed() {
    let said = "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 5f0a7e2b-1c2d3e4f-00112233";
    let reason = reason(WECHAT, &format!(r#"{{"errcode":40164,"errmsg":"{said}"}}"#));
    assert_eq!(
        reason.to_string(),
        "this machine's address 203.0.113.9 is not in WeChat's allow-list: invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in \
         whitelist (40164), rid 5f0a7e2b-1c2d3e4f-00112233: 203.0.113.9: add it to the allow-list in the mini-program's console \
         (Development, IP allow-list), or send by a machine that has a fixed address"
    );
}

#[test]
fn wechat_keeps_the_words_of_a_bad_value() {
    let said = "argument invalid! data.thing3.value is emtpy rid: 5f0a7e2b-1c2d3e4f-00112233";
    let reason = reason(WECHAT, &format!(r#"{{"errcode":47003,"errmsg":"{said}"}}"#));
    assert_eq!(
        reason.to_string(),
        "a value is not as the template wants it: argument invalid! data.thing3.value is emtpy (47003), \
         rid 5f0a7e2b-1c2d3e4f-00112233: correct the field that is named"
    );
}

#[test]
fn wecom() {
    assert_eq!(of(WECOM, r#"{"errcode":0,"errmsg":"ok"}"#), Accepted(None));
    assert_eq!(of(WECOM, r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#), Permanent(Fault::Channel));
    assert_eq!(of(WECOM, r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#), Throttled(NOW + MINUTE));
    assert_eq!(of(WECOM, r#"{"errcode":-1,"errmsg":"system busy"}"#), Transient(None));
    assert_eq!(of(WECOM, r#"{"errcode":40058,"errmsg":"content exceed max length"}"#), Permanent(Fault::Message));
}

#[test]
fn dingtalk() {
    assert_eq!(of(DINGTALK, r#"{"errcode":0,"errmsg":"ok"}"#), Accepted(None));
    assert_eq!(
        of(DINGTALK, r#"{"errcode":130101,"errmsg":"send too fast, exceed 20 times per minute"}"#),
        Throttled(NOW + 10 * MINUTE)
    );
    assert_eq!(of(DINGTALK, r#"{"errcode":310000,"errmsg":"sign not match"}"#), Permanent(Fault::Channel));
    let words = r#"{"errcode":310000,"errmsg":"keywords not in content, more: [https://example]"}"#;
    assert_eq!(of(DINGTALK, words), Permanent(Fault::Message));
    assert_eq!(of(DINGTALK, r#"{"errcode":300001,"errmsg":"token is not exist"}"#), Permanent(Fault::Channel));
    assert_eq!(of(DINGTALK, r#"{"errcode":-1,"errmsg":"busy"}"#), Transient(None));
    assert_eq!(of(DINGTALK, r#"{"errcode":40035,"errmsg":"bad parameter"}"#), Permanent(Fault::Message));
}

#[test]
fn feishu() {
    assert_eq!(of(FEISHU, r#"{"code":0,"msg":"success","data":{}}"#), Accepted(None));
    assert_eq!(of(FEISHU, r#"{"Extra":null,"StatusCode":0,"StatusMessage":"success"}"#), Accepted(None));
    assert_eq!(of(FEISHU, r#"{"code":11232,"msg":"frequency limited"}"#), Throttled(NOW + MINUTE));
    for (code, words) in [(19021, "sign match fail"), (19022, "Ip Not Allowed"), (19001, "param invalid")] {
        assert_eq!(of(FEISHU, &format!(r#"{{"code":{code},"msg":"{words}"}}"#)), Permanent(Fault::Channel));
    }
    assert_eq!(of(FEISHU, r#"{"code":19002,"msg":"params error"}"#), Permanent(Fault::Message));
    assert_eq!(of(FEISHU, r#"{"code":19024,"msg":"Key Words Not Found"}"#), Permanent(Fault::Message));
    let too_many = r#"{"code":9499,"msg":"too many request","data":{}}"#;
    assert_eq!(kind(&answer(FEISHU, 400, &[], too_many)), Throttled(NOW + MINUTE));
    let reset = [("X-Ogw-Ratelimit-Reset", "7")];
    assert_eq!(kind(&answer(FEISHU, 400, &reset, too_many)), Throttled(NOW + 7 * SECOND));
    assert_eq!(
        kind(&answer(FEISHU, 400, &[], r#"{"code":9499,"msg":"Bad Request","data":{}}"#)),
        Transient(Some(MINUTE))
    );
}

#[test]
fn ntfy() {
    assert_eq!(of(NTFY, r#"{"id":"hwQ2YpKdmg","event":"message","topic":"t"}"#), Accepted(Some("hwQ2YpKdmg".into())));
    let limited =
        r#"{"code":42901,"http":429,"error":"limit reached: too many requests","link":"https://ntfy.sh/docs"}"#;
    let outcome = answer(NTFY, 429, &[("Retry-After", "3")], limited);
    assert_eq!(kind(&outcome), Throttled(NOW + 3 * SECOND));
    assert_eq!(
        outcome.reason().unwrap().to_string(),
        "ntfy does not take the message: limit reached: too many requests (42901)"
    );
    assert_eq!(kind(&answer(NTFY, 403, &[], r#"{"code":40301,"error":"forbidden"}"#)), Permanent(Fault::Channel));
    assert_eq!(kind(&answer(NTFY, 400, &[], r#"{"code":40057,"error":"title too long"}"#)), Permanent(Fault::Message));
}

#[test]
fn webhooks_and_every_status() {
    for status in [200, 201, 202, 204] {
        assert_eq!(kind(&answer(WEBHOOK, status, &[], "")), Accepted(None), "{status}");
    }
    assert_eq!(of(WEBHOOK, r#"{"id":"x-1"}"#), Accepted(Some("x-1".into())));
    let expected = [
        (301, Permanent(Fault::Channel)),
        (400, Permanent(Fault::Message)),
        (401, Permanent(Fault::Channel)),
        (403, Permanent(Fault::Channel)),
        (404, Permanent(Fault::Channel)),
        (408, Transient(None)),
        (409, Transient(None)),
        (413, Permanent(Fault::Message)),
        (422, Permanent(Fault::Message)),
        (425, Transient(None)),
        (429, Throttled(NOW + MINUTE)),
        (500, Transient(None)),
        (501, Permanent(Fault::Channel)),
        (502, Transient(None)),
        (503, Transient(None)),
        (504, Transient(None)),
        (0, Transient(None)),
    ];
    for (status, kind) in expected {
        assert_eq!(self::kind(&answer(WEBHOOK, status, &[], "")), kind, "{status}");
    }
    for (status, kind) in [(503, Transient(Some(90 * SECOND))), (429, Throttled(NOW + 90 * SECOND))] {
        assert_eq!(self::kind(&answer(WEBHOOK, status, &[("retry-after", "90")], "")), kind, "{status}");
        let date = [("Retry-After", "Mon, 30 Nov 2026 03:22:08 GMT")];
        assert_eq!(self::kind(&answer(WEBHOOK, status, &date, "")), kind, "{status}");
    }
    assert_eq!(kind(&answer(WEBHOOK, 429, &[("retry-after", "999999999999999")], "")), Throttled(NOW + DAY));
}

#[test]
fn mail() {
    use upkeep_channel::mail::{Stage, outcome};
    let of = |stage, code, text: &str| kind(&outcome(stage, code, text));
    assert_eq!(of(Stage::Content, 250, "2.0.0 queued"), Accepted(None));
    assert_eq!(of(Stage::Recipients, 450, "4.2.0 greylisted"), Transient(Some(5 * MINUTE)));
    assert_eq!(of(Stage::Sender, 421, "4.3.2 shutting down"), Transient(None));
    assert_eq!(of(Stage::Login, 454, "4.7.0 no database"), Transient(None));
    assert_eq!(of(Stage::Recipients, 550, "5.1.1 no such user"), Permanent(Fault::Recipient));
    assert_eq!(of(Stage::Recipients, 554, "5.1.1 no such user"), Permanent(Fault::Recipient));
    let rejected = "5.7.1 <li@example.org>: Recipient address rejected: Access denied";
    assert_eq!(of(Stage::Recipients, 554, rejected), Permanent(Fault::Recipient));
    for (code, of_machine) in [
        (554, "5.7.1 relay denied"),
        (550, "relay not permitted"),
        (554, "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org"),
        (553, "5.7.1 <upkeep@example.org>: Sender address rejected: not owned by user me"),
        (554, "no"),
    ] {
        assert_eq!(of(Stage::Recipients, code, of_machine), Permanent(Fault::Channel), "{of_machine}");
    }
    assert_eq!(of(Stage::Recipients, 530, "5.7.0 log in first"), Permanent(Fault::Channel));
    assert_eq!(of(Stage::Connection, 554, "5.7.1 blocked"), Permanent(Fault::Channel));
    assert_eq!(of(Stage::Login, 535, "5.7.8 bad credentials"), Permanent(Fault::Channel));
    assert_eq!(of(Stage::Sender, 550, "5.7.1 not yours"), Permanent(Fault::Channel));
    assert_eq!(of(Stage::Content, 552, "5.3.4 too large"), Permanent(Fault::Message));
    assert_eq!(of(Stage::Content, 554, "5.7.1 spam"), Permanent(Fault::Message));
    assert_eq!(of(Stage::Connection, 42, ""), Transient(None));
    let wrong = outcome(Stage::Login, 535, "5.7.8 bad credentials");
    let remedy = wrong.reason().and_then(|it| it.remedy.as_deref());
    assert!(remedy.is_some_and(|it| it.contains("`user` and `password`")), "{wrong:?}");
}
