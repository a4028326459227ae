//! Messages to users of a mini-program: from the outbox, by the plugin `push`, with the token that the daemon keeps, to the fake
//! WeChat and the fake robots.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use upkeep_tests::fake::{Fake, Fault, On, Template};
use upkeep_tests::{Daemon, Site, eventually};

const APP: &str = "wx0123456789abcdef";
const SECRET: &str = "appsecret-7Hq2vX9fLw83-of-the-shop";
const USER: &str = "oUser-0001-aaaaaaaaaaaaaaaaa";
const TEMPLATE: &str = "template-of-orders-0001";
const SUBSCRIBE: &str = "/cgi-bin/message/subscribe/send";
const CUSTOM: &str = "/cgi-bin/message/custom/send";
const DAY: i64 = 86_400_000;
const BEIJING: i64 = 8 * 3_600_000;

/// WeChat with an application, a user who wants so many messages, and a robot of WeCom.
fn fake(consents: usize) -> Fake {
    let fake = Fake::start();
    fake.wechat.app(APP, SECRET);
    let keys = ["thing1", "time2"].map(str::to_owned).to_vec();
    fake.wechat.template(APP, TEMPLATE, Template { title: "Order".into(), keys, listed: BTreeMap::new() });
    fake.wechat.ask_consent(APP);
    (0..consents).for_each(|_| fake.wechat.consent(APP, USER, TEMPLATE));
    fake.wecom.robot("robot-key-0001");
    fake
}

/// A server whose task delivers subscribe messages by `shop`, answers by `service`, and to the operators by `ops`.
fn shop(fake: &Fake) -> (Site, Daemon) {
    let site = Site::new(&[]);
    site.shipped("push");
    let api = fake.url("");
    let secret = |name: &str, value: &str| {
        let path = site.path(name);
        fs::write(&path, value).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let (app, robot) = (secret("appsecret", SECRET), secret("robot", "robot-key-0001"));
    site.task(
        "push",
        &format!(
            "plugin = \"push\"\nschedule.outbox = true\n\
             [config.channels.shop]\nretry = {{ first = \"1s\" }}\n\
             [config.channels.shop.wechat_subscribe]\ntoken = \"shop-token\"\nbase = \"{api}\"\n\
             templates = {{ order = {{ id = \"{TEMPLATE}\" }} }}\n\
             [config.channels.service.wechat_service]\ntoken = \"shop-token\"\nbase = \"{api}\"\n\
             [config.channels.ops.wecom]\nkey = \"robot\"\nbase = \"{api}\"\n\
             [grant]\nstate = true\nmetrics = true\n[grant.outbox]\naccess = [\"deliver\"]\n\
             [grant.http]\nallow = [\"{api}/cgi-bin/\"]\nnetworks = [\"127.0.0.1\"]\ntimeout = \"5s\"\n\
             [grant.secrets.shop-token]\nwechat = {{ appid = \"{APP}\", file = \"{app}\", api = \"{api}\" }}\n\
             [grant.secrets.robot]\nfile = \"{robot}\"\nhosts = [\"{api}\"]\n"
        ),
    );
    let daemon = site.start();
    (site, daemon)
}

/// Puts a message to the user in, and gives its identifier.
#[track_caller]
fn send(site: &Site, channels: &[&str], thing: &str) -> String {
    let content = json!({
        "to": USER, "title": "Your order", "text": thing, "template": "order",
        "fields": { "thing1": thing, "time2": "2026-11-24 15:01" },
    });
    site.api().push(channels, &content)
}

/// Channel and outcome of each attempt.
fn tried(message: &Value) -> Vec<(String, String)> {
    let attempts = message["attempts"].as_array().unwrap().iter();
    attempts.map(|it| (it["channel"].as_str().unwrap().into(), it["outcome"].as_str().unwrap().into())).collect()
}

fn pair(channel: &str, outcome: &str) -> (String, String) {
    (channel.to_owned(), outcome.to_owned())
}

/// What waits in a channel, and until when it is paused.
fn channel(site: &Site, name: &str) -> Option<Value> {
    let all = site.api().get("/v1/push");
    all["channels"].as_array().unwrap().iter().find(|it| it["channel"] == name).cloned()
}

#[test]
fn a_message_arrives_and_uses_up_a_consent() {
    let fake = fake(3);
    let (site, _daemon) = shop(&fake);
    let sent = site.api().message_until(&send(&site, &["shop"], "tea"), "sent");
    assert_eq!(tried(&sent), [pair("shop", "sent")], "{sent}");
    let accepted = fake.wechat.accepted(APP);
    let data = json!({ "thing1": { "value": "tea" }, "time2": { "value": "2026-11-24 15:01" } });
    assert_eq!((accepted.len(), &accepted[0].data, accepted[0].openid.as_str()), (1, &data, USER));
    assert_eq!(fake.wechat.consents(APP, USER, TEMPLATE), 2);

    // In the middle of it another server takes the token away: it is renewed, and the message sent once more, once.
    fake.wechat.supersede(APP);
    let sent = site.api().message_until(&send(&site, &["shop"], "rice"), "sent");
    assert_eq!(tried(&sent), [pair("shop", "sent")], "the task did not notice: {sent}");
    assert_eq!((fake.wechat.accepted(APP).len(), fake.wechat.renewals(APP)), (2, (2, 0)));
    assert_eq!(fake.wechat.tally().count().refused, BTreeMap::from([(40001, 1)]));
    let shown = format!("{sent}{}{}", site.cli(&["egress", "--json", "-n", "100"]).stdout, site.log());
    for value in fake.wechat.tokens(APP).iter().map(String::as_str).chain([SECRET]) {
        assert!(!shown.contains(value), "{value}: {shown}");
    }
}

#[test]
fn who_wants_no_message_is_reached_by_the_next_channel() {
    let fake = fake(1);
    let (site, _daemon) = shop(&fake);
    site.api().message_until(&send(&site, &["shop"], "tea"), "sent");
    // 43101: the consent is used up. Nobody tries that again.
    let sent = site.api().message_until(&send(&site, &["shop", "ops"], "rice"), "sent");
    assert_eq!(tried(&sent), [pair("shop", "refused"), pair("ops", "sent")], "{sent}");
    assert_eq!(
        (&sent["attempts"][0]["code"], fake.wecom.robot("robot-key-0001").count().accepted),
        (&"43101".into(), 1)
    );
    // Who has written can be answered, five times.
    let service = send(&site, &["service", "ops"], "too early");
    assert_eq!(tried(&site.api().message_until(&service, "sent")), [pair("service", "refused"), pair("ops", "sent")]);
    fake.wechat.wrote(APP, USER);
    let ids: Vec<String> = (0..6).map(|number| send(&site, &["service", "ops"], &format!("answer {number}"))).collect();
    let ends: Vec<String> =
        ids.iter().map(|id| tried(&site.api().message_until(id, "sent")).pop().unwrap().0).collect();
    assert_eq!(ends.iter().filter(|it| *it == "service").count(), 5, "{ends:?}");
    assert_eq!(fake.wechat.accepted(APP).iter().filter(|it| it.template.is_none()).count(), 5);
}

#[test]
fn a_quota_pauses_the_channel_until_the_next_day_in_beijing() {
    let fake = fake(10);
    fake.wechat.quota(APP, SUBSCRIBE, 2);
    let (site, _daemon) = shop(&fake);
    for thing in ["one", "two"] {
        site.api().message_until(&send(&site, &["shop"], thing), "sent");
    }
    let waiting = send(&site, &["shop"], "three");
    let paused = eventually("the pause", || channel(&site, "shop").filter(|it| it["paused_until"].is_i64()));
    let until_ms = paused["paused_until"].as_i64().unwrap();
    let now = upkeep_tests::now() * 1_000;
    assert_eq!((until_ms + BEIJING) % DAY, 0, "midnight there: {paused}");
    assert!((0..=DAY).contains(&(until_ms - now)), "{paused}");
    assert!(paused["reason"].as_str().unwrap().contains("45009"), "{paused}");
    // Nothing of the channel is tried any more, and other channels do not notice.
    send(&site, &["shop"], "four");
    site.api().message_until(&send(&site, &["ops"], "five"), "sent");
    let refused = fake.wechat.tally().count().refused;
    assert_eq!(refused, BTreeMap::from([(45009, 1)]));
    assert_eq!(site.api().message(&waiting)["message"]["state"], "waiting");
    assert_eq!(fake.wechat.accepted(APP).len(), 2);
}

#[test]
fn a_value_that_wechat_does_not_take_is_named() {
    let fake = fake(5);
    let (site, _daemon) = shop(&fake);
    // What is known beforehand is not even sent.
    let dead = site.api().message_until(&send(&site, &["shop"], &"long".repeat(6)), "dead");
    assert!(dead["message"]["reason"].as_str().unwrap().contains("thing1"), "{dead}");
    assert_eq!(fake.wechat.tally().count().asked, 0);
    // What only WeChat knows it says.
    fake.script.add(On::path(SUBSCRIBE).first(1), Fault::Code(47003));
    let dead = site.api().message_until(&send(&site, &["shop"], "tea"), "dead");
    let reason = dead["message"]["reason"].as_str().unwrap();
    assert!(reason.contains("47003") && reason.contains("data.thing1.value") && reason.contains("rid "), "{reason}");
    assert_eq!(fake.wechat.consents(APP, USER, TEMPLATE), 5);
}

#[test]
fn trouble_that_passes_is_tried_again() {
    let fake = fake(20);
    let (site, _daemon) = shop(&fake);
    for fault in
        [Fault::Code(-1), Fault::Code(43108), Fault::Status(502, None), Fault::Reset, Fault::Body(String::new())]
    {
        fake.script.clear();
        fake.script.add(On::path(SUBSCRIBE).first(1), fault);
        let before = fake.wechat.accepted(APP).len();
        let sent = site.api().message_until(&send(&site, &["shop"], "tea"), "sent");
        assert_eq!(tried(&sent), [pair("shop", "retry"), pair("shop", "sent")], "{sent}");
        assert_eq!(fake.wechat.accepted(APP).len(), before + 1);
    }
    fake.script.clear();
    fake.wechat.wrote(APP, USER);
    fake.script.add(On::path(CUSTOM).first(1), Fault::Code(-1));
    let sent = site.api().message_until(&send(&site, &["service"], "an answer"), "sent");
    assert_eq!(tried(&sent).last(), Some(&pair("service", "sent")), "{sent}");
}

#[test]
fn without_a_token_the_next_channel_tells_and_nobody_asks_again() {
    let fake = fake(5);
    fake.wechat.allow(APP, &["10.0.0.1".parse().unwrap()]);
    let (site, _daemon) = shop(&fake);
    let sent = site.api().message_until(&send(&site, &["shop", "ops"], "tea"), "sent");
    assert_eq!(tried(&sent).last(), Some(&pair("ops", "sent")), "{sent}");
    assert_eq!(sent["attempts"][0]["code"], "40164", "{sent}");
    let reason = sent["attempts"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("127.0.0.1: add it to the allow-list"), "{reason}");
    // Nothing of the channel is tried until somebody may have put it right, and nobody asks for a token.
    let paused = eventually("the pause", || channel(&site, "shop").filter(|it| it["paused_until"].is_i64()));
    assert!(paused["reason"].as_str().unwrap().contains("40164"), "{paused}");
    let waits = send(&site, &["shop"], "rice");
    let sent = site.api().message_until(&send(&site, &["shop", "ops"], "rice"), "sent");
    assert_eq!(tried(&sent), [pair("shop", "passed"), pair("ops", "sent")], "{sent}");
    assert_eq!(fake.wechat.tally().count().refused, BTreeMap::from([(40164, 1)]));
    assert_eq!(site.api().message(&waits)["message"]["state"], "waiting");
    // Who has put it right says so, and waits no longer.
    fake.wechat.allow(APP, &["127.0.0.1".parse().unwrap()]);
    assert_eq!(site.cli(&["push", "resume", "shop"]).stdout, "The pause of shop is over.\n");
    assert!(site.cli(&["push", "resume", "shop"]).stdout.starts_with("shop is not paused"));
    site.api().message_until(&waits, "sent");
}
