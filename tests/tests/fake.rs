//! The fake providers do what the real ones do, as far as that is known, and what the script wants.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use upkeep_channel::wechat::callback::{Callback, Choice, Event, Query, Sent, Status};
use upkeep_tests::fake::callback::{Shape, Teller};
use upkeep_tests::fake::{Client, Fake, Fault, Heard, On, RetryAfter, Setup, Template, When};

const APP: &str = "wx0123456789abcdef";
const SECRET: &str = "the secret of the application";
const USER: &str = "oUser-0001-aaaaaaaaaaaaaaaaa";
const SUBSCRIBE: &str = "/cgi-bin/message/subscribe/send";
const CUSTOM: &str = "/cgi-bin/message/custom/send";

fn wechat() -> Fake {
    let fake = Fake::start();
    fake.wechat.app(APP, SECRET);
    fake
}

fn code(heard: &Heard) -> i64 {
    assert_eq!(heard.status, 200);
    let told = heard.json();
    let code = told.get("errcode").map_or(0, |code| code.as_i64().unwrap());
    // Each error names the request.
    let words = told["errmsg"].as_str().unwrap_or_default();
    let rid = words.rsplit_once(" rid: ").map_or("", |(_, rid)| rid);
    let lengths: Vec<usize> = rid.split('-').map(str::len).collect();
    assert_eq!(code != 0, lengths == [8, 8, 8], "{told}");
    code
}

fn plain(fake: &Fake) -> String {
    let target = format!("/cgi-bin/token?grant_type=client_credential&appid={APP}&secret={}", SECRET.replace(' ', "+"));
    fake.client().get(&target).json()["access_token"].as_str().unwrap().to_owned()
}

fn ask_stable(fake: &Fake, force: bool) -> Heard {
    let body = json!({ "grant_type": "client_credential", "appid": APP, "secret": SECRET, "force_refresh": force });
    fake.client().post("/cgi-bin/stable_token", &body)
}

fn stable(fake: &Fake, force: bool) -> String {
    let told = ask_stable(fake, force).json();
    told["access_token"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned()
}

fn message(openid: &str, text: &str) -> Value {
    json!({ "touser": openid, "template_id": "t-1", "data": { "thing1": { "value": text } } })
}

fn send(client: &mut Client, token: &str, body: &Value) -> i64 {
    code(&client.post(&format!("{SUBSCRIBE}?access_token={token}"), body))
}

#[test]
fn tokens_supersede_each_other_in_two_stores() {
    let fake = wechat();
    let mut client = fake.client();
    let mut works = |token: &str| send(&mut client, token, &message(USER, "x"));
    let (first, kept) = (plain(&fake), stable(&fake, false));
    let second = plain(&fake);
    assert_ne!(first, second);
    // The grace of five minutes, and the other store.
    assert_eq!([&first, &second, &kept].map(|token| works(token)), [0, 0, 0]);
    fake.clock.advance(Duration::from_secs(301));
    assert_eq!([&first, &second, &kept].map(|token| works(token)), [40001, 0, 0]);

    fake.wechat.lifetime(APP, Duration::from_secs(7_200), Duration::ZERO);
    let third = plain(&fake);
    assert_eq!([&second, &third].map(|token| works(token)), [40001, 0]);

    // The stable one repeats itself until 300 seconds remain; then both last for those.
    let told = ask_stable(&fake, false).json();
    let left = told["expires_in"].as_i64().unwrap();
    assert!(told["access_token"] == *kept && (6_890..=6_899).contains(&left), "{told}");
    fake.clock.advance(Duration::from_secs(7_200 - 301 - 299));
    let next = stable(&fake, false);
    assert_ne!(kept, next);
    assert_eq!([&kept, &next].map(|token| works(token)), [0, 0]);
    fake.clock.advance(Duration::from_secs(300));
    assert_eq!([&kept, &next].map(|token| works(token)), [42001, 0]);

    // By force: the one before is worth nothing, and within 30 seconds nothing is forced.
    let forced = stable(&fake, true);
    assert_eq!([&next, &forced].map(|token| works(token)), [40001, 0]);
    assert_eq!(stable(&fake, true), forced);
    for _ in 1..20 {
        fake.clock.advance(Duration::from_secs(31));
        assert_ne!(stable(&fake, true), forced);
    }
    fake.clock.advance(Duration::from_secs(31));
    assert_eq!(code(&ask_stable(&fake, true)), 45009);
    assert_eq!(code(&ask_stable(&fake, false)), 0);
    fake.clock.advance(Duration::from_secs(86_400));
    assert_eq!(code(&ask_stable(&fake, true)), 0);
    assert_eq!(fake.wechat.renewals(APP).1, 21);

    let current = stable(&fake, false);
    fake.wechat.supersede(APP);
    assert_eq!([&current, &stable(&fake, false)].map(|token| works(token)), [40001, 0]);
    assert_eq!(works("x"), 40014);
    assert_eq!(works(&"x".repeat(100)), 40001);
    assert_eq!(code(&fake.client().post(SUBSCRIBE, &message(USER, "x"))), 41001);
    assert!(fake.wechat.tokens(APP).contains(&current));
}

#[test]
fn whoever_may_not_call_is_told_why() {
    let fake = wechat();
    let ask = |appid: &str, secret: &str| {
        let body = json!({ "grant_type": "client_credential", "appid": appid, "secret": secret });
        fake.client().post("/cgi-bin/stable_token", &body)
    };
    assert_eq!(code(&ask("wx-other", SECRET)), 40013);
    assert_eq!(code(&ask(APP, "wrong")), 40125);
    assert_eq!(code(&fake.client().get(&format!("/cgi-bin/token?appid={APP}"))), 40002);
    let token = stable(&fake, false);
    fake.wechat.secret(APP, None);
    assert_eq!(code(&ask(APP, SECRET)), 40243);
    fake.wechat.secret(APP, Some("another"));
    assert_eq!(code(&ask(APP, "another")), 0);
    fake.wechat.allow(APP, &["10.0.0.1".parse().unwrap()]);
    let refused = ask(APP, "another");
    assert_eq!(code(&refused), 40164);
    let words = refused.json()["errmsg"].as_str().unwrap().to_owned();
    assert!(words.starts_with("invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist rid: "), "{words}");
    assert_eq!(send(&mut fake.client(), &token, &message(USER, "x")), 40164);
    fake.wechat.allow(APP, &["127.0.0.1".parse().unwrap()]);
    assert_eq!(send(&mut fake.client(), &token, &message(USER, "x")), 0);
    let mut client = fake.client();
    assert_eq!(code(&client.get(&format!("{SUBSCRIBE}?access_token={token}"))), 43002);
    let empty = client.ask("POST", &format!("{SUBSCRIBE}?access_token={token}"), &[], b"").unwrap();
    assert_eq!(code(&empty), 44002);
    let broken = client.ask("POST", &format!("{SUBSCRIBE}?access_token={token}"), &[], b"[").unwrap();
    assert_eq!(code(&broken), 47001);
}

#[test]
fn messages_use_up_consents_and_fit_their_templates() {
    let fake = wechat();
    let listed = [("const3".to_owned(), vec!["shipped".to_owned()])].into();
    let keys = ["thing1", "time2", "const3"].map(str::to_owned).to_vec();
    fake.wechat.template(APP, "t-1", Template { title: "Order".into(), keys, listed });
    fake.wechat.consent(APP, USER, "t-1");
    fake.wechat.consent(APP, USER, "t-1");
    let (token, mut client) = (stable(&fake, false), fake.client());
    let target = format!("{SUBSCRIBE}?access_token={token}");
    let right = json!({
        "touser": USER, "template_id": "t-1", "miniprogram_state": "formal", "lang": "zh_CN",
        "data": { "thing1": { "value": "茶" }, "time2": { "value": "15:01" }, "const3": { "value": "shipped" } },
    });
    let with = |pointer: &str, value: Value| {
        let mut body = right.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    for (pointer, value, expected) in [
        ("/touser", json!("nobody"), 40003),
        ("/template_id", json!("t-2"), 40037),
        ("/data", json!("{}"), 47003),
        ("/data/thing1/value", json!(""), 47003),
        ("/data/thing1/value", json!("x".repeat(21)), 47003),
        ("/data/time2/value", json!("25:00"), 47003),
        ("/data/const3/value", json!("lost"), 47003),
        ("/lang", json!("de_DE"), 47003),
    ] {
        assert_eq!(code(&client.post(&target, &with(pointer, value.clone()))), expected, "{pointer} {value}");
    }
    let empty = client.post(&target, &with("/data/thing1/value", json!(""))).json()["errmsg"].to_string();
    assert!(empty.contains("argument invalid! data.thing1.value is emtpy rid: "), "{empty}");
    let mut more = right.clone();
    more["data"]["thing9"] = json!({ "value": "x" });
    assert_eq!(code(&client.post(&target, &more)), 47003);
    // What was refused has used up nothing.
    assert_eq!(fake.wechat.consents(APP, USER, "t-1"), 2);
    let codes = [(); 3].map(|()| code(&client.post(&target, &right)));
    assert_eq!(codes, [0, 0, 43101]);
    let accepted = fake.wechat.accepted(APP);
    assert_eq!((accepted.len(), &accepted[0].data, accepted[0].openid.as_str()), (2, &right["data"], USER));
    let templates = client.get(&format!("/wxaapi/newtmpl/gettemplate?access_token={token}")).json();
    assert_eq!(templates["data"][0]["keywordEnumValueList"][0]["enumValueList"], json!(["shipped"]), "{templates}");

    let custom = format!("{CUSTOM}?access_token={token}");
    let text = json!({ "touser": USER, "msgtype": "text", "text": { "content": "hello" } });
    assert_eq!(code(&client.post(&custom, &text)), 45015);
    fake.wechat.wrote(APP, USER);
    let codes: Vec<i64> = (0..6).map(|_| code(&client.post(&custom, &text))).collect();
    assert_eq!(codes, [0, 0, 0, 0, 0, 45047]);
    fake.clock.advance(Duration::from_secs(48 * 3_600));
    let token = stable(&fake, false);
    assert_eq!(code(&client.post(&format!("{CUSTOM}?access_token={token}"), &text)), 45015);
}

#[test]
fn quotas_last_for_a_day_of_beijing() {
    let fake = wechat();
    // 2023-11-14, six in the morning there.
    fake.clock.set(1_699_912_800_000);
    fake.wechat.quota(APP, SUBSCRIBE, 2);
    let (token, mut client) = (stable(&fake, false), fake.client());
    let codes = [(); 3].map(|()| send(&mut client, &token, &message(USER, "x")));
    assert_eq!(codes, [0, 0, 45009]);
    let left =
        client.post(&format!("/cgi-bin/openapi/quota/get?access_token={token}"), &json!({ "cgi_path": SUBSCRIBE }));
    assert_eq!(left.json()["quota"], json!({ "daily_limit": 2, "used": 2, "remain": 0 }));
    fake.clock.advance(Duration::from_secs(18 * 3_600 - 60));
    let token = stable(&fake, false);
    assert_eq!(send(&mut client, &token, &message(USER, "x")), 45009);
    fake.clock.advance(Duration::from_secs(61));
    assert_eq!(send(&mut client, &token, &message(USER, "x")), 0);

    // Figures of the day before are there from eight o'clock on.
    let mut figures = |begin: &str, end: &str, report: &str| {
        let target = format!("/datacube/getweanalysisappid{report}?access_token={token}");
        client.post(&target, &json!({ "begin_date": begin, "end_date": end }))
    };
    assert_eq!(code(&figures("20231114", "20231114", "dailysummarytrend")), 61503);
    assert_eq!(code(&figures("2023-11-14", "20231114", "dailysummarytrend")), 61500);
    assert_eq!(code(&figures("20231113", "20231114", "dailysummarytrend")), 61501);
    let week = figures("20231106", "20231112", "weeklyvisittrend").json();
    assert_eq!(week["list"][0]["ref_date"], "20231106-20231112", "{week}");
    assert_eq!(code(&figures("20231107", "20231113", "weeklyvisittrend")), 61501);
    assert_eq!(figures("20231001", "20231031", "monthlyvisittrend").json()["list"][0]["ref_date"], "202310");
    fake.script.add(On::path("/datacube/").nth(1), Fault::Body(r#"{"list":[]}"#.into()));
    assert_eq!(figures("20231113", "20231113", "dailysummarytrend").json(), json!({ "list": [] }));
    assert!(figures("20231113", "20231113", "dailysummarytrend").json()["list"][0]["visit_total"].is_u64());
}

/// Whatever the script can do, it does.
#[test]
fn each_fault_happens_to_the_requests_that_it_is_for() {
    let fake = wechat();
    let token = stable(&fake, false);
    let mut client = fake.client();
    for wanted in [-1, 40001, 40014, 42001, 40164, 45009, 45011, 43101, 43108, 47003, 61503] {
        fake.script.clear();
        let rule = fake.script.add(On::path(SUBSCRIBE).nth(2), Fault::Code(wanted));
        let codes = [(); 3].map(|()| send(&mut client, &token, &message(USER, "x")));
        assert_eq!((codes, fake.script.struck(rule)), ([0, wanted, 0], 1));
    }
    fake.script.clear();
    fake.script.add(On::path(SUBSCRIBE).of("oOther").when(When::First(1)), Fault::Code(43101));
    let openids = [USER, "oOther-002", "oOther-002"];
    assert_eq!(openids.map(|openid| send(&mut client, &token, &message(openid, "x"))), [0, 43101, 0]);
    fake.script.clear();
    fake.script.add(On::path(SUBSCRIBE).when(When::Every(3)), Fault::Code(-1));
    let codes: Vec<i64> = (0..7).map(|_| send(&mut client, &token, &message(USER, "x"))).collect();
    assert_eq!(codes, [0, 0, -1, 0, 0, -1, 0]);

    // A share is drawn by a seed, and so is a share of the messages, where what comes again has the same luck.
    let hooks = fake.webhook.careless("x");
    let mut luck = |when: When| {
        fake.script.clear();
        fake.script.add(On::path("/webhook/x").when(when), Fault::Status(500, None));
        let mut sent = |number: i32| client.post("/webhook/x", &json!(number % 500)).status == 500;
        (0..1_000).map(&mut sent).collect::<Vec<bool>>()
    };
    for (seed, of_keys) in [(7, false), (8, false), (7, true)] {
        let when = if of_keys { When::ShareOfKeys(0.1, seed) } else { When::Share(0.1, seed) };
        let (once, again) = (luck(when), luck(when));
        assert_eq!(once, again);
        let failed = once.iter().filter(|it| **it).count();
        assert!((40..160).contains(&failed), "{failed}");
        assert_eq!(once[..500] == once[500..], of_keys);
    }
    assert_eq!(hooks.count().asked, 6_000);

    fake.script.clear();
    for (fault, status, retry, body) in [
        (Fault::Status(500, None), 500, None, "the server has trouble"),
        (Fault::Status(502, None), 502, None, "the server has trouble"),
        (Fault::Status(503, Some(RetryAfter::Seconds(7))), 503, Some("7"), "the server has trouble"),
        (Fault::Body(String::new()), 200, None, ""),
        (Fault::Body("<html>".into()), 200, None, "<html>"),
    ] {
        fake.script.clear();
        fake.script.add(On::path(SUBSCRIBE), fault);
        let heard = client.post(SUBSCRIBE, &json!({}));
        assert_eq!((heard.status, heard.header("retry-after"), &*heard.body), (status, retry, body.as_bytes()));
    }
    fake.script.clear();
    fake.clock.set(784_111_777_000);
    fake.script.add(On::path(SUBSCRIBE), Fault::Status(429, Some(RetryAfter::Date(60))));
    let heard = client.post(SUBSCRIBE, &json!({}));
    assert_eq!((heard.status, heard.header("retry-after")), (429, Some("Sun, 06 Nov 1994 08:50:37 GMT")));
}

#[test]
fn connections_hang_and_break_before_and_after_a_message_was_taken() {
    let fake = Fake::start();
    let tally = fake.webhook.receiver("x", None);
    let ask = |key: &str, patience: u64| {
        let mut client = fake.client();
        client.patience(Duration::from_millis(patience));
        client.ask("POST", "/webhook/x", &[("idempotency-key", key)], b"{}").map(|heard| heard.status)
    };
    for (key, on, fault, error) in [
        ("hangs", On::path("/webhook/"), Fault::Hang, ErrorKind::WouldBlock),
        ("hangs-taken", On::path("/webhook/").taken(), Fault::Hang, ErrorKind::WouldBlock),
        ("breaks", On::path("/webhook/"), Fault::Reset, ErrorKind::ConnectionReset),
        ("breaks-taken", On::path("/webhook/").taken(), Fault::Reset, ErrorKind::ConnectionReset),
    ] {
        fake.script.clear();
        fake.script.add(on.of(key).nth(1), fault);
        assert_eq!(ask(key, 300).unwrap_err().kind(), error, "{key}");
        let taken = u32::from(key.ends_with("taken"));
        assert_eq!(tally.of(key), taken, "{key}");
        // Who comes again is not counted twice.
        assert_eq!((ask(key, 5_000).unwrap(), tally.of(key)), (200, 1), "{key}");
    }
    let count = tally.count();
    assert_eq!((count.asked, count.accepted, count.again), (8, 4, 2));

    fake.script.clear();
    fake.script.add(On::path("/webhook/"), Fault::Slow(300));
    let began = Instant::now();
    assert_eq!(ask("slow", 5_000).unwrap(), 200);
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(ask("slower", 100).is_err());
}

#[test]
fn a_webhook_knows_who_signs_and_what_it_has_taken() {
    let fake = Fake::start();
    // The example of the specification of Standard Webhooks.
    fake.clock.set(1_614_265_330_000);
    let tally = fake.webhook.receiver("x", Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    let body = br#"{"test": 2432232314}"#;
    let signed = |signature: &str, time: &str, body: &[u8]| {
        let headers = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", time),
            ("webhook-signature", signature),
            ("idempotency-key", "k"),
        ];
        fake.client().ask("POST", "/webhook/x", &headers, body).unwrap().status
    };
    let right = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    assert_eq!(signed(right, "1614265330", body), 200);
    assert_eq!(signed(&format!("v1,AAAA {right}"), "1614265330", body), 200);
    assert_eq!(signed("v1,AAAA", "1614265330", body), 401);
    assert_eq!(signed(right, "1614265331", body), 401);
    assert_eq!(signed(right, "1614265330", b"{}"), 401);
    fake.clock.advance(Duration::from_secs(301));
    assert_eq!(signed(right, "1614265330", body), 401);
    let count = tally.count();
    assert_eq!((count.accepted, count.again, count.refused[&401]), (1, 1, 4));

    let open = fake.webhook.receiver("open", None);
    let mut client = fake.client();
    let mut post =
        |key: &str, body: &[u8]| client.ask("POST", "/webhook/open", &[("idempotency-key", key)], body).unwrap().status;
    assert_eq!([post("a", b"1"), post("a", b"1"), post("a", b"2"), post("b", b"2")], [200, 200, 422, 200]);
    assert_eq!((open.of("a"), open.of("b"), open.keys().len()), (1, 1, 2));
    let careless = fake.webhook.careless("careless");
    let mut post = || client.ask("POST", "/webhook/careless", &[("idempotency-key", "a")], b"1").unwrap().status;
    assert_eq!((post(), post(), careless.of("a")), (200, 200, 2));
    assert_eq!(fake.client().post("/webhook/nobody", &json!({})).status, 404);
}

#[test]
fn robots_of_wecom_take_twenty_a_minute() {
    let fake = Fake::start();
    let tally = fake.wecom.robot("key-1");
    let mut client = fake.client();
    let mut post = |key: &str, body: Value| {
        let told = client.post(&format!("/cgi-bin/webhook/send?key={key}"), &body).json();
        told["errcode"].as_i64().unwrap()
    };
    let text = |length: usize| json!({ "msgtype": "text", "text": { "content": "x".repeat(length) } });
    let markdown = |length: usize| json!({ "msgtype": "markdown", "markdown": { "content": "x".repeat(length) } });
    assert_eq!(post("other", text(1)), 93000);
    assert_eq!([post("key-1", text(2_048)), post("key-1", text(2_049)), post("key-1", text(0))], [0, 40058, 44004]);
    assert_eq!([post("key-1", markdown(4_096)), post("key-1", markdown(4_097))], [0, 40058]);
    assert_eq!(post("key-1", json!({ "msgtype": "card" })), 40008);
    fake.clock.advance(Duration::from_secs(60));
    let codes: Vec<i64> = (0..21).map(|_| post("key-1", text(1))).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 20);
    assert_eq!((codes[20], tally.most(60_000), tally.count().accepted), (45009, 21, 22));
    fake.clock.advance(Duration::from_secs(60));
    assert_eq!(post("key-1", text(1)), 0);
    fake.script.add(On::path("/cgi-bin/webhook/"), Fault::Code(45009));
    assert_eq!(post("key-1", text(1)), 45009);
}

#[test]
fn robots_of_dingtalk_punish_who_comes_too_often() {
    let fake = Fake::start();
    let signed =
        "/robot/send?access_token=t-2&timestamp=1577262236757&sign=hmPWwU%2B7lVdm3ZZz0r9tSfx0L4Q26jWOZr9%2BGs6EZQM%3D";
    fake.clock.set(1_577_262_236_757);
    let open = fake.dingtalk.robot("t-1", None);
    let closed = fake.dingtalk.robot("t-2", Some("this is secret"));
    let mut client = fake.client();
    let body = json!({ "msgtype": "markdown", "markdown": { "title": "T", "text": "x" } });
    let mut post = |target: &str, body: &Value| client.post(target, body).json()["errcode"].as_i64().unwrap();
    assert_eq!(post(signed, &body), 0);
    assert_eq!(post(&signed.replace("757&", "758&"), &body), 310_000);
    assert_eq!(post("/robot/send?access_token=t-2", &body), 310_000);
    assert_eq!(post("/robot/send?access_token=t-3", &body), 300_001);
    fake.clock.advance(Duration::from_secs(3_601));
    assert_eq!(post(signed, &body), 310_000);
    assert_eq!((closed.count().accepted, closed.count().refused[&310_000]), (1, 3));

    let long = json!({ "msgtype": "markdown", "markdown": { "title": "T", "text": "x".repeat(20_000) } });
    assert_eq!(post("/robot/send?access_token=t-1", &long), 460_101);
    let codes: Vec<i64> = (0..20).map(|_| post("/robot/send?access_token=t-1", &body)).collect();
    assert_eq!((codes.iter().sum::<i64>(), codes[19]), (130_101, 130_101));
    // Ten minutes nothing, however quiet it was meanwhile.
    fake.clock.advance(Duration::from_secs(599));
    assert_eq!(post("/robot/send?access_token=t-1", &body), 130_101);
    fake.clock.advance(Duration::from_secs(2));
    assert_eq!(post("/robot/send?access_token=t-1", &body), 0);
    assert_eq!((open.count().accepted, open.most(60_000)), (20, 21));
}

#[test]
fn robots_of_feishu_take_five_a_second() {
    let fake = Fake::start();
    fake.clock.set(1_599_360_473_000);
    let signing = fake.feishu.robot("h-1", Some("demo"));
    fake.feishu.robot_for("h-2", "ops");
    let mut client = fake.client();
    let mut post = |hook: &str, body: &Value| {
        let heard = client.post(&format!("/open-apis/bot/v2/hook/{hook}"), body);
        (heard.status, heard.json()["code"].as_i64().unwrap())
    };
    let text = |text: &str| json!({ "msg_type": "text", "content": { "text": text } });
    let mut signed = text("x");
    signed["timestamp"] = "1599360473".into();
    signed["sign"] = "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=".into();
    assert_eq!(post("h-1", &signed), (200, 0));
    assert_eq!(post("h-1", &text("x")), (200, 19021));
    assert_eq!(post("h-3", &text("x")), (200, 19001));
    assert_eq!((post("h-2", &text("x")), post("h-2", &text("ops: x"))), ((200, 19024), (200, 0)));
    assert_eq!(post("h-2", &json!({ "msg_type": "card" })), (400, 9499));
    assert_eq!(post("h-2", &text(&"ops".repeat(7_000))), (400, 9499));
    assert_eq!((post("h-2", &text("ops")), post("h-2", &text("ops"))), ((200, 0), (200, 11232)));
    fake.clock.advance(Duration::from_secs(1));
    assert_eq!(post("h-2", &text("ops")), (200, 0));
    fake.clock.advance(Duration::from_secs(3_601));
    assert_eq!(post("h-1", &signed), (200, 19021));
    let many = fake.feishu.robot("h-4", None);
    let codes = (0..101).map(|_| {
        fake.clock.advance(Duration::from_millis(250));
        post("h-4", &text("x")).1
    });
    assert_eq!(codes.collect::<Vec<_>>()[99..], [0, 11232]);
    assert_eq!((many.count().accepted, many.most(1_000) <= 5, many.most(60_000)), (100, true, 101));
    assert_eq!(signing.count().accepted, 1);
}

#[test]
fn topics_of_ntfy_have_sixty_at_once() {
    let fake = Fake::start();
    let tally = fake.ntfy.topic("ops");
    let token = fake.ntfy.topic_with_token("closed", "tk_1");
    let login = fake.ntfy.topic_with_login("login", "me", "password");
    let mut client = fake.client();
    let ask = |client: &mut Client, topic: &str, login: &str| {
        let body = json!({ "topic": topic, "message": "x", "priority": 3 }).to_string();
        let heard = client.ask("POST", "/", &[("authorization", login)], body.as_bytes()).unwrap();
        (heard.status, heard.json()["code"].as_i64().unwrap_or(0))
    };
    assert_eq!(ask(&mut client, "closed", "Bearer tk_2"), (403, 40301));
    assert_eq!(ask(&mut client, "closed", "Bearer tk_1"), (200, 0));
    assert_eq!(ask(&mut client, "login", "Basic bWU6cGFzc3dvcmQ="), (200, 0));
    assert_eq!(ask(&mut client, "other", ""), (403, 40301));
    assert_eq!((token.count().accepted, login.count().accepted), (1, 1));
    assert_eq!(client.post("/", &json!([])).status, 403);
    assert_eq!(client.ask("PUT", "/ops", &[], b"hello").unwrap().json()["message"], "hello");
    assert_eq!(tally.of("hello"), 1);
    fake.clock.advance(Duration::from_secs(300));
    let answers: Vec<(u16, i64)> = (0..61).map(|_| ask(&mut client, "ops", "")).collect();
    assert_eq!((answers[59], answers[60]), ((200, 0), (429, 42901)));
    fake.clock.advance(Duration::from_secs(5));
    assert_eq!([ask(&mut client, "ops", ""), ask(&mut client, "ops", "")], [(200, 0), (429, 42901)]);
    assert_eq!(tally.most(300_000), 63);
}

#[test]
fn a_script_says_it_all_in_json() {
    let fake = Fake::start();
    let setup = r#"{
        "apps": { "wx0123456789abcdef": { "secret": "the secret of the application",
            "consents": [["oUser-0001-aaaaaaaaaaaaaaaaa", "t-1"]], "wrote": ["oUser-0001-aaaaaaaaaaaaaaaaa"],
            "quotas": { "/cgi-bin/message/custom/send": 1 },
            "templates": { "t-1": { "title": "Order", "keys": ["thing1"] } } } },
        "wecom": ["key-1"], "dingtalk": { "t-1": null }, "feishu": { "h-1": "demo" }, "ntfy": ["ops"],
        "webhooks": { "orders": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }, "time": 2,
        "script": [
            { "on": { "path": "/cgi-bin/message/", "when": { "nth": 2 } }, "fault": { "code": 40001 } },
            { "on": { "path": "/webhook/", "of": "order-9", "taken": true }, "fault": "reset" },
            { "on": { "path": "/webhook/", "when": { "share": [1.0, 7] } }, "fault": { "status": [503, { "date": 1 }] } }
        ]
    }"#;
    fake.set_up(serde_json::from_str::<Setup>(setup).unwrap());
    let (token, mut client) = (stable(&fake, false), fake.client());
    assert_eq!([(); 3].map(|()| send(&mut client, &token, &message(USER, "x"))), [0, 40001, 43101]);
    assert_eq!(client.post("/webhook/orders", &json!({})).status, 503);
    let added = r#"[{ "on": { "path": "/robot/send" }, "fault": { "body": "" } }]"#;
    assert_eq!(client.ask("POST", "/fake/script", &[], added.as_bytes()).unwrap().status, 200);
    assert_eq!(client.ask("POST", "/fake/script", &[], b"[{}]").unwrap().status, 400);
    assert!(client.post("/robot/send?access_token=t-1", &json!({})).body.is_empty());
    let counts = client.get("/fake/counts").json();
    let names: Vec<&String> = counts.as_object().unwrap().keys().collect();
    let all = ["dingtalk/t-1", "feishu/h-1", "ntfy/ops", "webhook/orders", "wechat", "wecom/key-1"];
    assert_eq!(names, all);
    assert_eq!(counts["webhook/orders"]["asked"], 1, "{counts}");
    let began = fake.clock.now();
    std::thread::sleep(Duration::from_millis(200));
    assert!(fake.clock.now() - began >= 400, "time runs twice as fast");
}

/// As the receiver of a torture it must not be what is slow; here the senders cost as much as it does.
#[test]
fn a_webhook_counts_what_comes_by_many_connections() {
    let fake = Fake::start();
    let tally = fake.webhook.receiver("x", None);
    let (senders, each) = (8, 2_500);
    let body = json!({ "title": "Order 1", "text": "x".repeat(200) }).to_string();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for sender in 0..senders {
            let (body, mut client) = (&body, fake.client());
            scope.spawn(move || {
                for number in 0..each {
                    let key = format!("{sender}-{number}");
                    let heard =
                        client.ask("POST", "/webhook/x", &[("idempotency-key", &key)], body.as_bytes()).unwrap();
                    assert_eq!(heard.status, 200);
                }
            });
        }
    });
    let rate = f64::from(senders * each) / began.elapsed().as_secs_f64();
    println!("{rate:.0} messages a second");
    let count = tally.count();
    assert_eq!((count.accepted, tally.keys().len()), (20_000, 20_000));
}

/// What the fake tells by itself is what the reader of such messages understands, who knows the official examples.
#[test]
fn what_wechat_tells_can_be_read_in_each_of_its_shapes() {
    let key = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
    let at = 1_714_112_445;
    let choice = |id: &str, status| Choice { template: id.to_owned(), status };
    let mut nonce = 0;
    for (is_safe, is_xml) in [(false, false), (false, true), (true, false), (true, true)] {
        let key = is_safe.then_some(key);
        let teller = Teller { is_xml, key: key.map(str::to_owned), ..Teller::new("token-of-push", "", APP) };
        let endpoint = Callback::new("token-of-push", key, APP).unwrap();
        let now = at * 1_000;
        let greeting = teller.greeting("4375120948345356249", at, 7);
        assert_eq!(endpoint.greet(&Query::parse(&greeting.query), now).as_deref(), Ok("4375120948345356249"));
        for shape in [Shape::Array, Shape::Object] {
            for (message, event) in [
                (teller.popup(USER, at, &[("t-1", true)], shape), Event::Popup(vec![choice("t-1", Status::Accept)])),
                (
                    teller.popup(USER, at, &[("t-1", true), ("t-2", false)], shape),
                    Event::Popup(vec![choice("t-1", Status::Accept), choice("t-2", Status::Reject)]),
                ),
                (teller.change(USER, at, &[("t-1", false)], shape), Event::Change(vec![choice("t-1", Status::Reject)])),
                (
                    teller.sent(USER, at, "t-1", "1700", 0, shape),
                    Event::Sent(vec![Sent {
                        template: "t-1".into(),
                        message: "1700".into(),
                        code: Some(0),
                        status: "success".into(),
                    }]),
                ),
                (teller.wrote(USER, at, 23, "hello"), Event::Wrote { id: Some("23".to_owned()) }),
            ] {
                nonce += 1;
                let told = teller.told(&message, at, nonce);
                let push = endpoint.open(&Query::parse(&told.query), told.body.as_bytes(), now);
                let push = push.unwrap_or_else(|error| panic!("{error}: {told:?}"));
                assert_eq!((push.openid.as_str(), push.created, push.event), (USER, at, event), "{told:?}");
            }
        }
    }
    let told = Teller::new("token-of-push", key, APP).told(&json!({ "FromUserName": USER }), at, 1);
    let other = Callback::new("token-of-push", Some(key), "wx-other").unwrap();
    assert!(other.open(&Query::parse(&told.query), told.body.as_bytes(), at * 1_000).is_err());
}
