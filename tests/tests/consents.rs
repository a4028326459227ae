//! What WeChat tells of its users' consents, from the request over TCP to the ledger, and out of it by a task that takes them.

#[path = "listen/tcp.rs"]
mod tcp;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use upkeep_channel::wechat::callback::Callback;
use upkeep_tests::{Site, now};

use self::tcp::{Answer, ask, free_port};

const APPID: &str = "wxba5fad812f8e6fb9";
const TOKEN: &str = "AAAAA";
const USER: &str = "o9AgO5Kd5ggOC-bXrbNODIiE3bGY";
const PAID: &str = "paid-7QfGbKn0";

/// An application as its console has it, told by whoever has its token and key.
struct Application {
    port: u16,
    path: &'static str,
    callback: Callback,
}

impl Application {
    fn new(port: u16, path: &'static str) -> Self {
        Self { port, path, callback: Callback::new(TOKEN, Some(&"A".repeat(43)), APPID).unwrap() }
    }

    /// Tells a document, encrypted, as JSON or as XML.
    #[track_caller]
    fn tells(&self, document: &str, xml: bool, at: i64) -> Answer {
        let sealed = self.callback.seal(document.as_bytes(), at, 415_670_741, [7; 16]).unwrap();
        let (timestamp, nonce, signature) = (sealed.timestamp, sealed.nonce, &sealed.signature);
        let query = format!(
            "signature=0000&timestamp={timestamp}&nonce={nonce}&openid={USER}&encrypt_type=aes&msg_signature={signature}"
        );
        let body = if xml { sealed.xml() } else { sealed.json() };
        ask(self.port, "POST", &format!("{}?{query}", self.path), "Content-Type: text/xml\r\n", &body)
    }

    /// Tells an event, and is thanked.
    #[track_caller]
    fn event(&self, document: &Value) {
        let answer = self.tells(&document.to_string(), false, now());
        assert_eq!((answer.status, answer.text.as_str()), (200, "success"), "{answer:?}");
    }
}

fn event(name: &str, created: i64, list: Value) -> Value {
    json!({"ToUserName": "gh_97417a04a28d", "FromUserName": USER, "CreateTime": created, "MsgType": "event", "Event": name, "List": list})
}

fn popup(created: i64, status: &str) -> Value {
    let entry = json!({"TemplateId": PAID, "SubscribeStatusString": status, "PopupScene": "0"});
    event("subscribe_msg_popup_event", created, json!([entry]))
}

fn secret(site: &Site, name: &str, value: &str) -> String {
    let file = site.path(name);
    std::fs::write(&file, format!("{value}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file.display().to_string()
}

/// A site whose daemon is told by an application in safe mode, and by one in plain mode.
fn site(guests: &[&str]) -> (Site, Application) {
    let (site, port) = (Site::new(guests), free_port());
    let (token, key) = (secret(&site, "token", TOKEN), secret(&site, "key", &"A".repeat(43)));
    site.settings(&format!(
        "[listen]\naddress = \"127.0.0.1:{port}\"\n\
         [listen.wechat.shop]\nappid = \"{APPID}\"\ntoken = {{ file = \"{token}\" }}\n\
         encoding_aes_key = {{ file = \"{key}\" }}\nlong_term = [\"device-status\"]\n\
         [listen.wechat.old]\nappid = \"wx0000000000000001\"\ntoken = {{ file = \"{token}\" }}\nplain = true\n\
         path = \"/push/old\"\n"
    ));
    (site, Application::new(port, "/wechat/shop"))
}

/// How many messages a user accepts, as the command line says.
#[track_caller]
fn left(site: &Site, template: &str) -> i64 {
    let shown = site.cli(&["push", "consents", "--json", "--account", APPID, "--user", USER, "--template", template]);
    assert_eq!(shown.code, 0, "{shown:?}");
    shown.json()["consents"][0]["remaining"].as_i64().unwrap_or(-1)
}

/// The time and the nonce of the official vector, signed with its token.
const V1: &str = "signature=f464b24fc39322e44b38aa78f5edd27bd1441696&echostr=4375120948345356249&timestamp=1714036504&nonce=1514711492";

#[test]
fn the_address_is_checked_by_wechat() {
    let (site, application) = site(&[]);
    let _daemon = site.start();
    let port = application.port;
    let sign = |timestamp: i64| {
        let mut parts = [TOKEN.to_owned(), timestamp.to_string(), "1514711492".to_owned()];
        parts.sort_unstable();
        let digest = std::process::Command::new("sh")
            .args(["-c", &format!("printf %s '{}' | sha1sum | cut -d ' ' -f 1", parts.concat())])
            .output()
            .unwrap();
        let signature = String::from_utf8(digest.stdout).unwrap();
        format!("signature={}&timestamp={timestamp}&nonce=1514711492&echostr=4375120948345356249", signature.trim())
    };
    assert!(sign(1_714_036_504).contains("f464b24fc39322e44b38aa78f5edd27bd1441696"), "it is the official signature");
    for path in ["/wechat/shop", "/push/old"] {
        let answer = ask(port, "GET", &format!("{path}?{}", sign(now())), "", "");
        assert_eq!((answer.status, answer.text.as_str()), (200, "4375120948345356249"), "{answer:?}");
        assert!(answer.header("content-type").unwrap().starts_with("text/plain"), "{answer:?}");
        let stale = ask(port, "GET", &format!("{path}?{V1}"), "", "");
        assert_eq!((stale.status, stale.error().as_str()), (403, "forbidden"), "{stale:?}");
        assert!(stale.message().contains("seconds away"), "{stale:?}");
        let wrong = ask(port, "GET", &format!("{path}?{}", sign(now()).replace("signature=", "signature=0")), "", "");
        assert_eq!(wrong.status, 403, "{wrong:?}");
        assert!(wrong.message().contains("the token differs"), "{wrong:?}");
    }
    for path in ["/wechat/old", "/wechat", "/wechat/shop/", "/push"] {
        assert_eq!(ask(port, "GET", &format!("{path}?{}", sign(now())), "", "").status, 404, "{path}");
    }
    assert_eq!(ask(port, "PUT", &format!("/wechat/shop?{}", sign(now())), "", "x").status, 404);
    assert_eq!(ask(port, "POST", "/v1/push", "", "{}").status, 401, "nobody else may do anything");
}

#[test]
fn events_are_counted_once_in_all_shapes() {
    let (site, application) = site(&[]);
    let mut daemon = site.start();
    let none = site.cli(&["push", "consents"]);
    assert!(none.stdout.starts_with("Nothing is known of consents"), "{none:?}");
    // WeChat tells up to three times.
    for _ in 0..3 {
        application.event(&popup(1_714_112_445, "accept"));
    }
    assert_eq!(left(&site, PAID), 1);
    // One that is no list, with numbers as texts; and one in XML.
    let one = json!({"TemplateId": PAID, "SubscribeStatusString": "accept", "PopupScene": 0});
    let mut object = event("subscribe_msg_popup_event", 1_714_112_446, one);
    object["CreateTime"] = "1714112446".into();
    application.event(&object);
    let xml = format!(
        "<xml><ToUserName><![CDATA[gh_97417a04a28d]]></ToUserName><FromUserName><![CDATA[{USER}]]></FromUserName>\
         <CreateTime>1714112447</CreateTime><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[subscribe_msg_popup_event]]></Event>\
         <SubscribeMsgPopupEvent><List><TemplateId><![CDATA[{PAID}]]></TemplateId>\
         <SubscribeStatusString><![CDATA[accept]]></SubscribeStatusString><PopupScene>1</PopupScene></List></SubscribeMsgPopupEvent></xml>"
    );
    for _ in 0..2 {
        assert_eq!(application.tells(&xml, true, now()).text, "success");
    }
    assert_eq!(left(&site, PAID), 3);
    application.event(&popup(1_714_112_448, "reject"));
    application.event(&popup(1_714_112_449, "ban"));
    assert_eq!(left(&site, PAID), 3, "who declines has what was accepted before");

    // It is on the disk before WeChat is thanked.
    application.event(&popup(1_714_112_450, "accept"));
    daemon.kill();
    daemon = site.start();
    application.event(&popup(1_714_112_450, "accept"));
    assert_eq!(left(&site, PAID), 4);

    let sent = json!({"TemplateId": PAID, "MsgID": "1700827132819554304", "ErrorCode": "0", "ErrorStatus": "success"});
    application.event(&event("subscribe_msg_sent_event", 1_714_112_451, sent));
    let failed = json!([{"TemplateId": PAID, "MsgID": 17, "ErrorCode": 20, "ErrorStatus": "user refuse"}]);
    application.event(&event("subscribe_msg_sent_event", 1_714_112_452, failed));
    assert_eq!(left(&site, PAID), 4, "a message was taken from the ledger when it was sent");
    let deliveries = site.journal().rows("SELECT message, code, status FROM consent_delivery ORDER BY message");
    let deliveries: Vec<Value> = deliveries.into_iter().map(Value::Object).collect();
    let expected = [
        json!({"message": "17", "code": 20, "status": "user refuse"}),
        json!({"message": "1700827132819554304", "code": 0, "status": "success"}),
    ];
    assert_eq!(deliveries, expected);

    let change = |created, status| {
        event("subscribe_msg_change_event", created, json!([{"TemplateId": PAID, "SubscribeStatusString": status}]))
    };
    application.event(&change(1_714_112_453, "reject"));
    let shown = site.cli(&["push", "consents", "--user", USER]);
    assert!(shown.stdout.contains("refused") && shown.stdout.contains("turned-off"), "{shown:?}");
    assert_eq!(left(&site, PAID), 0);
    application.event(&change(1_714_112_454, "accept"));
    assert_eq!(left(&site, PAID), 0);
    // What concerns no consents is taken as well.
    for document in [
        json!({"ToUserName": "gh_1", "FromUserName": USER, "CreateTime": 1, "MsgType": "text", "Content": "hello", "MsgId": 2}),
        json!({"ToUserName": "gh_1", "FromUserName": USER, "CreateTime": 1, "MsgType": "event", "Event": "debug_demo"}),
    ] {
        application.event(&document);
    }
    assert!(site.cli(&["push", "consents", "--user", "nobody"]).stdout.starts_with("There are no such users."));
    let known = site.cli(&["push", "consents", "--json"]).json();
    assert_eq!((known["templates"].as_array().unwrap().len(), &known["templates"][0]["users"]), (1, &0.into()), "{known}");
    assert!(daemon.stop().success());
    assert!(!site.log().contains(USER), "openids are not logged: {}", site.log());
}

#[test]
fn what_is_not_wechats_is_refused() {
    let (site, application) = site(&[]);
    let _daemon = site.start();
    let document = popup(1_714_112_445, "accept").to_string();
    let stale = application.tells(&document, false, now() - 11 * 60);
    assert_eq!((stale.status, stale.error().as_str()), (403, "forbidden"), "{stale:?}");
    let others = Application { callback: Callback::new("BBBBB", Some(&"A".repeat(43)), APPID).unwrap(), ..application };
    assert_eq!(others.tells(&document, false, now()).status, 403, "another token");
    let port = others.port;
    let with = |key: &str, appid: &str| Application {
        port,
        path: "/wechat/shop",
        callback: Callback::new(TOKEN, Some(&key.repeat(43)), appid).unwrap(),
    };
    let key = with("B", APPID).tells(&document, false, now());
    assert!(key.status == 400 && key.message().contains("the EncodingAESKey differs"), "{key:?}");
    let appid = with("A", "wx0000000000000009").tells(&document, false, now());
    assert!(appid.status == 400 && appid.message().contains("wx0000000000000009"), "{appid:?}");
    let nonsense = with("A", APPID).tells("{}", false, now());
    assert!(nonsense.status == 400 && nonsense.message().contains("FromUserName"), "{nonsense:?}");
    // What is signed in plain mode is nothing to an application with a key, and the other way round.
    let encrypted = Application { path: "/push/old", ..with("A", APPID) }.tells(&document, false, now());
    assert_eq!(encrypted.status, 403, "the plain signature is another: {encrypted:?}");
    let large = ask(port, "POST", "/wechat/shop", "", &"x".repeat(100_000));
    assert_eq!(large.status, 413, "{large:?}");
    assert_eq!(site.journal().number("SELECT count(*) FROM consent_event"), 0);
    let log = site.log();
    assert!(log.contains("an event was not taken") && !log.contains(USER), "{log}");
}

#[test]
fn an_answer_comes_before_wechat_gives_up() {
    let (site, application) = site(&[]);
    let _daemon = site.start();
    application.event(&popup(1, "accept"));
    // A disk that hangs: somebody else writes to the journal.
    let other = rusqlite::Connection::open(site.state().join("upkeep.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let started = Instant::now();
    let answer = application.tells(&popup(2, "accept").to_string(), false, now());
    assert!(started.elapsed() < Duration::from_millis(4_900), "{:?}", started.elapsed());
    assert_eq!((answer.status, answer.error().as_str()), (503, "busy"), "{answer:?}");
    other.execute_batch("ROLLBACK").unwrap();
    for _ in 0..2 {
        application.event(&popup(2, "accept"));
    }
    assert_eq!(left(&site, PAID), 2);
}

fn task(messages: &[&str], more: &str) -> String {
    format!(
        "plugin = \"consents\"\nconfig = {{ account = \"{APPID}\", template = \"{PAID}\", user = \"{USER}\", messages = {messages:?}{more} }}\n\
         [grant.consents]\naccounts = [\"{APPID}\"]\n"
    )
}

#[test]
fn a_task_takes_what_was_told() {
    let (site, application) = site(&["consents"]);
    site.task("take", &task(&["a", "b", "c", "d", "e", "f"], ""));
    let _daemon = site.start();
    let summary = |site: &Site| {
        let run = site.run("take");
        assert_eq!(run["outcome"]["outcome"], "succeeded", "{run}");
        run["report"]["summary"].as_str().unwrap().to_owned()
    };
    assert!(summary(&site).ends_with("; unknown"), "nothing was ever told");
    for created in 0..3 {
        application.event(&popup(created, "accept"));
    }
    // Steps side by side, each with a message of its own.
    let first = summary(&site);
    assert_eq!((first.matches("Taken").count(), first.matches("Nothing").count()), (3, 3), "{first}");
    assert!(first.ends_with("; 0 left"), "{first}");
    assert_eq!(summary(&site), first, "the same messages, once more: each has its own");
    // Those that were not sent give theirs back.
    let own: Vec<&str> = first.split("; ").filter(|it| it.ends_with("Taken")).map(|it| &it[..1]).collect();
    site.task("take", &task(&own, &format!(", give_back = {own:?}")));
    assert_eq!(site.cli(&["reload"]).code, 0);
    assert!(summary(&site).ends_with("; 3 left"));
    assert_eq!(left(&site, PAID), 3);
    site.task("take", &task(&["g"], ", used_up = [\"g\"]"));
    assert_eq!(site.cli(&["reload"]).code, 0);
    assert!(summary(&site).ends_with("; 0 left"));
    assert_eq!(left(&site, PAID), 0, "the provider knows better");
}
