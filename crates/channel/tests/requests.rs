//! What is asked of each provider, as its documentation has it.

#![expect(clippy::unwrap_used, reason = "what fails here is a test")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use upkeep_channel::{Level, Message, Recipients, Refused, Settings, Template, Written, mail, request};

const NOW: i64 = 1_796_008_838_123;

fn message() -> Message {
    Message {
        id: "m-1".into(),
        group: "backup/web".into(),
        level: Level::Error,
        title: "Backup failed".into(),
        text: "The folder `/srv` is **gone**.".into(),
        link: Some("https://ops.example/runs/7".into()),
        at: NOW,
        ..Message::default()
    }
}

fn calling(names: &[&str]) -> Message {
    Message {
        to: Recipients { mention: names.iter().map(|it| (*it).into()).collect(), ..Recipients::default() },
        ..message()
    }
}

fn to_user(template: Option<Template>) -> Message {
    Message {
        to: Recipients { openid: Some("o7esq5OI1Uej6Xixw1lA2H7XDVbc".into()), ..Recipients::default() },
        template,
        ..message()
    }
}

fn template(name: &str, fields: &[(&str, &str)]) -> Template {
    let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Template { name: name.into(), fields, page: None }
}

fn asked(message: &Message, settings: Value) -> Result<Written, Refused> {
    let settings: Settings = serde_json::from_value(settings).unwrap();
    Ok(request(message, &settings, NOW)?.write(|_, _| Err("nobody signs")).unwrap())
}

fn body(written: &Written) -> Value {
    serde_json::from_slice(&written.body).unwrap()
}

fn subscribe() -> Value {
    json!({
        "type": "wechat-subscribe", "token": "shop", "state": "trial", "language": "zh_CN",
        "templates": { "order": { "id": "T1", "page": "pages/order?id=7", "fields": ["thing1", "amount2"] } },
    })
}

#[test]
fn wechat_subscribe() {
    let fields = [("thing1", "咖啡"), ("amount2", "￥12.50")];
    let written = asked(&to_user(Some(template("order", &fields))), subscribe()).unwrap();
    assert_eq!(written.url, "https://api.weixin.qq.com/cgi-bin/message/subscribe/send?access_token={{secret:shop}}");
    assert_eq!(
        body(&written),
        json!({
            "touser": "o7esq5OI1Uej6Xixw1lA2H7XDVbc", "template_id": "T1", "page": "pages/order?id=7",
            "miniprogram_state": "trial", "lang": "zh_CN",
            "data": { "thing1": { "value": "咖啡" }, "amount2": { "value": "￥12.50" } },
        })
    );
}

#[test]
fn wechat_subscribe_refuses_what_would_be_lost() {
    let error = |message: &Message| asked(message, subscribe()).unwrap_err().to_string();
    let with = |fields: &[(&str, &str)]| error(&to_user(Some(template("order", fields))));
    let needed =
        "a WeChat subscribe message is a template that is filled in: name one (`--template`), the channel has order";
    assert_eq!(error(&to_user(None)), needed);
    assert_eq!(error(&to_user(Some(template("", &[("thing1", "x")])))), needed);
    assert_eq!(with(&[("thing1", "x")]), "amount2 is empty: write something into it");
    assert_eq!(
        with(&[("thing1", "x"), ("amount2", "1"), ("thing9", "x")]),
        "thing9 must be left out: the template has thing1, amount2"
    );
    assert_eq!(
        with(&[("thing1", &"x".repeat(21)), ("amount2", "1")]),
        "thing1 is too long: 21 characters, and the limit is 20; shorten it"
    );
    assert_eq!(
        error(&to_user(Some(template("other", &[])))),
        "there is no template \"other\" in the channel's settings, only order; add it or use one of these"
    );
    let nobody = Message { template: Some(template("order", &[])), ..message() };
    assert_eq!(
        error(&nobody),
        "a WeChat subscribe message needs the openid of a user: name it in the message's recipients"
    );
    let mut odd = to_user(Some(template("order", &[])));
    odd.to.openid = Some("o1\",\"x\":\"".into());
    assert_eq!(error(&odd), "openid must be letters, digits, - and _");
}

#[test]
fn wechat_service() {
    let written = asked(&to_user(None), json!({ "type": "wechat-service", "token": "shop" })).unwrap();
    assert_eq!(written.url, "https://api.weixin.qq.com/cgi-bin/message/custom/send?access_token={{secret:shop}}");
    let content = "[error] Backup failed\n\nThe folder /srv is gone.\n\nhttps://ops.example/runs/7";
    assert_eq!(
        body(&written),
        json!({ "touser": "o7esq5OI1Uej6Xixw1lA2H7XDVbc", "msgtype": "text", "text": { "content": content } })
    );

    let look = json!({ "link": { "thumb_url": "https://ops.example/t.png" } });
    let written = asked(&to_user(None), json!({ "type": "wechat-service", "token": "shop", "look": look })).unwrap();
    assert_eq!(
        body(&written)["link"],
        json!({
            "title": "[error] Backup failed", "description": "The folder /srv is gone.",
            "url": "https://ops.example/runs/7", "thumb_url": "https://ops.example/t.png",
        })
    );

    let look = json!({ "page": { "page": "pages/index", "thumb_media_id": "M1" } });
    let written = asked(&to_user(None), json!({ "type": "wechat-service", "token": "shop", "look": look })).unwrap();
    assert_eq!(body(&written)["msgtype"], "miniprogrampage");
    assert_eq!(
        body(&written)["miniprogrampage"],
        json!({ "title": "[error] Backup failed", "pagepath": "pages/index", "thumb_media_id": "M1" })
    );
}

#[test]
fn wecom() {
    let settings = json!({ "type": "wecom", "key": "robot" });
    let written = asked(&message(), settings.clone()).unwrap();
    assert_eq!(written.url, "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={{secret:robot}}");
    let content = "### [error] Backup failed\n\nThe folder `/srv` is **gone**.\n\n[https://ops.example/runs/7](https://ops.example/runs/7)";
    assert_eq!(body(&written), json!({ "msgtype": "markdown", "markdown": { "content": content } }));

    let written = asked(&calling(&["@all", "13800138000", "zhangsan"]), settings).unwrap();
    let text = &body(&written)["text"];
    assert_eq!(text["content"], "[error] Backup failed\n\nThe folder /srv is gone.\n\nhttps://ops.example/runs/7");
    assert_eq!(
        (&text["mentioned_list"], &text["mentioned_mobile_list"]),
        (&json!(["zhangsan"]), &json!(["@all", "13800138000"]))
    );
}

#[test]
fn dingtalk() {
    let settings = json!({ "type": "dingtalk", "access_token": "robot" });
    let written = asked(&calling(&["@all", "13800138000"]), settings.clone()).unwrap();
    assert_eq!(written.url, "https://oapi.dingtalk.com/robot/send?access_token={{secret:robot}}");
    let said = body(&written);
    assert_eq!(said["msgtype"], "markdown");
    assert_eq!(said["markdown"]["title"], "[error] Backup failed");
    assert!(
        said["markdown"]["text"].as_str().unwrap().ends_with("(https://ops.example/runs/7) @13800138000"),
        "{said}"
    );
    assert_eq!(said["at"], json!({ "atMobiles": ["13800138000"], "isAtAll": true }));
    assert_eq!(
        asked(&calling(&["zhangsan"]), settings).unwrap_err().to_string(),
        "mention must be phone numbers for DingTalk, or @all"
    );
}

#[test]
fn feishu() {
    let settings = json!({ "type": "feishu", "hook": "robot", "base": "https://open.larksuite.com" });
    let written = asked(&calling(&["@all", "ou_1"]), settings.clone()).unwrap();
    assert_eq!(written.url, "https://open.larksuite.com/open-apis/bot/v2/hook/{{secret:robot}}");
    let text = "[error] Backup failed\n\nThe folder /srv is gone.\n\nhttps://ops.example/runs/7 \
                <at user_id=\"all\"></at> <at user_id=\"ou_1\"></at>";
    assert_eq!(body(&written), json!({ "msg_type": "text", "content": { "text": text } }));
    assert!(asked(&calling(&["\"></at>"]), settings).is_err());
}

#[test]
fn nobody_is_called_by_what_a_text_contains() {
    let text = "`<@everyone>` <at user_id=\"all\"></at> <a href=\"https://evil.example\">win</a>";
    let bad = |it: Message| Message { text: text.into(), ..it };
    for (settings, message) in [
        (json!({ "type": "wecom", "key": "kk" }), bad(message())),
        (json!({ "type": "feishu", "hook": "kk" }), bad(message())),
        (json!({ "type": "wechat-service", "token": "shop" }), bad(to_user(None))),
    ] {
        let mark = match settings["type"].as_str().unwrap() {
            "wecom" => "<@",
            "feishu" => "<at",
            _ => "<a",
        };
        let said = String::from_utf8(asked(&message, settings).unwrap().body).unwrap();
        assert!(!said.contains(mark) && said.contains("all"), "{said}");
    }
}

#[test]
fn ntfy() {
    let settings =
        json!({ "type": "ntfy", "topic": { "secret": "topic" }, "token": "tk", "base": "https://ntfy.example/sub" });
    let written = asked(&message(), settings).unwrap();
    assert_eq!(written.url, "https://ntfy.example/sub/{{secret:topic}}");
    assert_eq!(written.body, "The folder `/srv` is **gone**.".as_bytes());
    assert_eq!(
        written.headers,
        [
            ("content-type", "text/plain; charset=utf-8"),
            // Backup failed
            ("x-title", "=?UTF-8?B?QmFja3VwIGZhaWxlZA==?="),
            ("x-markdown", "1"),
            ("x-priority", "4"),
            ("x-tags", "warning"),
            // https://ops.example/runs/7
            ("x-click", "=?UTF-8?B?aHR0cHM6Ly9vcHMuZXhhbXBsZS9ydW5zLzc=?="),
            ("x-sequence-id", "m-1"),
            ("authorization", "Bearer {{secret:tk}}"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    let odd = asked(&message(), json!({ "type": "ntfy", "topic": "a/b" }));
    assert_eq!(odd.unwrap_err().to_string(), "topic must be up to 64 letters, digits, - and _");
    let login = asked(&message(), json!({ "type": "ntfy", "topic": "t", "login": "pp" })).unwrap();
    assert!(login.headers.contains(&("authorization".into(), "Basic {{basic:pp}}".into())), "{:?}", login.headers);
    let both = asked(&message(), json!({ "type": "ntfy", "topic": "t", "login": "pp", "token": "tk" }));
    assert_eq!(both.unwrap_err().to_string(), "login must be left out where there is `token`");
}

/// A message that says what looks like a placeholder has it where nobody looks for one.
#[test]
fn what_a_message_says_is_no_placeholder() {
    let text = "{{secret:key}} %7B%7Bsecret:key%7D%7D {{basic:key}}";
    let message = Message {
        id: "m-1".into(),
        group: text.into(),
        title: text.into(),
        text: text.into(),
        template: Some(template(text, &[(text, text)])),
        ..Message::default()
    };
    for settings in [
        json!({ "type": "wecom", "key": "key" }),
        json!({ "type": "dingtalk", "access_token": "key" }),
        json!({ "type": "feishu", "hook": "key" }),
        json!({ "type": "ntfy", "topic": { "secret": "key" }, "login": "key" }),
        json!({ "type": "webhook", "url": "https://a.example/", "secret_path": "key", "bearer": "key" }),
    ] {
        let mut written = asked(&message, settings).unwrap();
        written.headers.retain(|(name, _)| name != "authorization");
        assert!(!written.headers.iter().any(|(_, value)| value.contains("{{")), "{:?}", written.headers);
        assert!(written.url.matches("{{").count() <= 1 && !written.url.contains("%7B"), "{}", written.url);
        assert!(String::from_utf8_lossy(&written.body).contains("{{secret:key}}"), "it is said all the same");
    }
}

#[test]
fn webhook() {
    let settings = json!({
        "type": "webhook", "url": "https://hooks.example/services/?v=1&w", "method": "PUT", "bearer": "bb",
        "headers": { "X-Team": "ops", "X-Key": { "secret": "kk" } },
    });
    let written = asked(&message(), settings.clone()).unwrap();
    assert_eq!((written.method, written.url.as_str()), ("PUT", "https://hooks.example/services/?v=1&w"));
    assert_eq!(
        written.headers,
        [
            ("content-type", "application/json; charset=utf-8"),
            ("idempotency-key", "m-1"),
            ("webhook-id", "m-1"),
            ("webhook-timestamp", "1796008838"),
            ("authorization", "Bearer {{secret:bb}}"),
            ("x-key", "{{secret:kk}}"),
            ("x-team", "ops"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    let read: Message = serde_json::from_slice(&written.body).unwrap();
    assert_eq!(read, message(), "the body is the message");

    let slack = json!({ "type": "webhook", "url": "https://hooks.example/services/T0/B0/", "secret_path": "slack" });
    assert_eq!(asked(&message(), slack).unwrap().url, "https://hooks.example/services/T0/B0/{{secret:slack}}");
    for name in ["host", "Content-Length", "Webhook-Id", "Idempotency-Key"] {
        let mut settings = settings.clone();
        settings["headers"] = json!(BTreeMap::from([(name, "x")]));
        assert!(asked(&message(), settings).is_err(), "{name}");
    }
    let dotted = asked(&Message { id: "a.1%".into(), ..message() }, settings).unwrap();
    assert!(dotted.headers.contains(&("webhook-id".into(), "a%2E1%25".into())), "{:?}", dotted.headers);
    assert!(dotted.headers.contains(&("idempotency-key".into(), "a.1%".into())), "{:?}", dotted.headers);
}

#[test]
fn what_has_a_form_alone_is_shown_elsewhere_too() {
    let form = template("order", &[("amount2", "￥12.50"), ("thing1", "咖啡")]);
    let message = Message { id: "m".into(), template: Some(form), ..Message::default() };
    let said = |settings: Value| body(&asked(&message, settings).unwrap());
    let text = "amount2: ￥12.50\n- thing1: 咖啡";
    let wecom = said(json!({ "type": "wecom", "key": "robot" }));
    assert_eq!(wecom["markdown"]["content"], format!("### order\n\n- {text}"));
    let ntfy = asked(&message, json!({ "type": "ntfy", "topic": "t" })).unwrap();
    assert_eq!(String::from_utf8(ntfy.body).unwrap(), format!("- {text}\n"));
    let feishu = said(json!({ "type": "feishu", "hook": "robot" }));
    assert_eq!(feishu["content"]["text"], format!("order\n\n- {text}"));
}

#[test]
fn settings_have_no_keys_that_nobody_reads() {
    for settings in [
        json!({ "type": "wecom", "key": "k", "kee": 1 }),
        json!({ "type": "webhook", "url": "https://a/", "secret": "x" }),
        json!({ "type": "ntfy", "topic": { "secret": "x", "more": 1 } }),
        json!({ "type": "pager" }),
    ] {
        assert!(serde_json::from_value::<Settings>(settings.clone()).is_err(), "{settings}");
    }
}

#[test]
fn mail_has_text_and_html() {
    let settings = mail::MailSettings { to: vec!["ops@example.org".into()], prefix: "[web-1]".into() };
    let mail = mail::mail(&message(), &settings).unwrap();
    assert_eq!((mail.id.as_str(), mail.to.as_slice()), ("m-1", &["ops@example.org".to_owned()][..]));
    assert_eq!(mail.subject, "[web-1] [error] Backup failed");
    assert_eq!(mail.text, "The folder /srv is gone.\n\nhttps://ops.example/runs/7\n");
    assert_eq!(
        mail.html,
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head>\n<body style=\"font-family: sans-serif\">\n\
         <p>The folder <code>/srv</code> is <strong>gone</strong>.</p>\n\
         <p><a href=\"https://ops.example/runs/7\">https://ops.example/runs/7</a></p>\n</body></html>\n"
    );
    let split = Message { title: "a\r\nBcc: evil@example.org".into(), ..message() };
    assert_eq!(mail::mail(&split, &settings).unwrap().subject, "[web-1] [error] a Bcc: evil@example.org");
    for bad in [
        "",
        "a",
        "a@",
        "@b",
        "a@b@c",
        "a b@c.de",
        "Ops <a@b.de>",
        "a@b.de\r\nRCPT TO:<c@d.de>",
        "a..b@c.de",
        "a@-b.de",
        "a@b.de,c@d.de",
    ] {
        let to = Recipients { mail: vec![bad.into()], ..Recipients::default() };
        assert!(mail::mail(&Message { to, ..message() }, &settings).is_err(), "{bad:?}");
    }
    assert_eq!(
        mail::mail(&message(), &mail::MailSettings::default()).unwrap_err().to_string(),
        "a mail needs an address: name it in the message's recipients"
    );
}
