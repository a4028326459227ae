//! What WeChat tells of its users' consents, from the request over TCP to the ledger, and out of it by a task that takes them.

#[path = "listen/tcp.rs"]
mod tcp;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use upkeep_tests::fake::callback::{Shape, Teller};
use upkeep_tests::fake::{Fake, Fault, On};
use upkeep_tests::{Site, eventually, now};

use self::tcp::{Answer, ask, free_port};

const APPID: &str = "wxba5fad812f8e6fb9";
const TOKEN: &str = "AAAAA";
const USER: &str = "o9AgO5Kd5ggOC-bXrbNODIiE3bGY";
const PAID: &str = "paid-7QfGbKn0";

/// An application as its console has it, told by whoever has its token and key.
struct Application {
    port: u16,
    path: &'static str,
    teller: Teller,
}

impl Application {
    fn new(port: u16, path: &'static str) -> Self {
        Self { port, path, teller: Teller::new(TOKEN, &"A".repeat(43), APPID) }
    }

    /// The same, with other words in the console.
    fn other(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = Self { port: self.port, path: self.path, teller: self.teller.clone() };
        change(&mut other);
        other
    }

    /// Tells a message, signed at this time.
    #[track_caller]
    fn tells(&self, message: &Value, at: i64) -> Answer {
        let told = self.teller.told(message, at, 415_670_741);
        let kind = format!("Content-Type: {}\r\n", told.content_type);
        ask(self.port, "POST", &format!("{}?{}", self.path, told.query), &kind, &told.body)
    }

    /// Tells a message, and is thanked.
    #[track_caller]
    fn event(&self, message: &Value) {
        let answer = self.tells(message, now());
        assert_eq!((answer.status, answer.text.as_str()), (200, "success"), "{answer:?}");
    }

    /// A user was asked about one template.
    #[track_caller]
    fn popup(&self, user: &str, created: i64, accepts: bool) {
        self.event(&self.teller.popup(user, created, &[(PAID, accepts)], Shape::Array));
    }
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

/// The official vector, which was signed years ago.
const V1: &str = "signature=f464b24fc39322e44b38aa78f5edd27bd1441696&echostr=4375120948345356249&timestamp=1714036504&nonce=1514711492";

#[test]
fn the_address_is_checked_by_wechat() {
    let (site, application) = site(&[]);
    let _daemon = site.start();
    let port = application.port;
    let greeting = |at| application.teller.greeting("4375120948345356249", at, 1_514_711_492).query;
    assert!(
        greeting(1_714_036_504).contains("f464b24fc39322e44b38aa78f5edd27bd1441696"),
        "it is the official signature"
    );
    for path in ["/wechat/shop", "/push/old"] {
        let answer = ask(port, "GET", &format!("{path}?{}", greeting(now())), "", "");
        assert_eq!((answer.status, answer.text.as_str()), (200, "4375120948345356249"), "{answer:?}");
        assert!(answer.header("content-type").unwrap().starts_with("text/plain"), "{answer:?}");
        let stale = ask(port, "GET", &format!("{path}?{V1}"), "", "");
        assert_eq!((stale.status, stale.error().as_str()), (403, "forbidden"), "{stale:?}");
        assert!(stale.message().contains("seconds away"), "{stale:?}");
        let wrong = greeting(now()).replace("signature=", "signature=0");
        let wrong = ask(port, "GET", &format!("{path}?{wrong}"), "", "");
        assert_eq!(wrong.status, 403, "{wrong:?}");
        assert!(wrong.message().contains("the token differs"), "{wrong:?}");
    }
    for path in ["/wechat/old", "/wechat", "/wechat/shop/", "/push"] {
        assert_eq!(ask(port, "GET", &format!("{path}?{}", greeting(now())), "", "").status, 404, "{path}");
    }
    assert_eq!(ask(port, "PUT", &format!("/wechat/shop?{}", greeting(now())), "", "x").status, 404);
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
        application.popup(USER, 1_714_112_445, true);
    }
    assert_eq!(left(&site, PAID), 1);
    // One that is no list; and XML, in both shapes.
    application.event(&application.teller.popup(USER, 1_714_112_446, &[(PAID, true)], Shape::Object));
    let xml = application.other(|it| it.teller.is_xml = true);
    for created in [1_714_112_447, 1_714_112_447, 1_714_112_446] {
        xml.event(&xml.teller.popup(USER, created, &[(PAID, true)], Shape::Object));
    }
    assert_eq!(left(&site, PAID), 3);
    let three = [(PAID, true), ("device-status", true), ("refund-1", false)];
    xml.event(&xml.teller.popup(USER, 1_714_112_448, &three, Shape::Array));
    assert_eq!([PAID, "device-status", "refund-1"].map(|it| left(&site, it)), [4, 1, 0]);
    application.popup(USER, 1_714_112_449, false);
    assert_eq!(left(&site, PAID), 4, "who declines has what was accepted before");

    // It is on the disk before WeChat is thanked.
    application.popup(USER, 1_714_112_450, true);
    daemon.kill();
    daemon = site.start();
    application.popup(USER, 1_714_112_450, true);
    assert_eq!(left(&site, PAID), 5);

    let teller = &application.teller;
    application.event(&teller.sent(USER, 1_714_112_451, PAID, "1700827132819554304", 0, Shape::Object));
    application.event(&teller.sent(USER, 1_714_112_451, PAID, "17", 20, Shape::Array));
    assert_eq!(left(&site, PAID), 5, "a message was taken from the ledger when it was sent");
    let deliveries = site.journal().rows("SELECT message, code, status FROM consent_delivery ORDER BY message");
    let deliveries: Vec<Value> = deliveries.into_iter().map(Value::Object).collect();
    let expected = [
        json!({"message": "17", "code": 20, "status": "failed"}),
        json!({"message": "1700827132819554304", "code": 0, "status": "success"}),
    ];
    assert_eq!(deliveries, expected);

    application.event(&teller.change(USER, 1_714_112_453, &[(PAID, false), ("device-status", false)], Shape::Array));
    let shown = site.cli(&["push", "consents", "--user", USER]);
    assert!(shown.stdout.contains("refused") && shown.stdout.contains("turned-off"), "{shown:?}");
    assert_eq!([PAID, "device-status"].map(|it| left(&site, it)), [0, 0]);
    application.event(&teller.change(USER, 1_714_112_454, &[(PAID, true), ("device-status", true)], Shape::Array));
    assert_eq!([PAID, "device-status"].map(|it| left(&site, it)), [0, 1], "what is long-term is there again");
    // What concerns no consents is taken as well.
    application.event(&teller.wrote(USER, 1, 2, "hello"));
    application.event(&json!({"ToUserName": "gh_1", "FromUserName": USER, "CreateTime": 1, "MsgType": "event", "Event": "debug_demo"}));
    assert!(site.cli(&["push", "consents", "--user", "nobody"]).stdout.starts_with("There are no such users."));
    let known = site.cli(&["push", "consents", "--json"]).json();
    assert_eq!(
        (known["templates"].as_array().unwrap().len(), &known["templates"][1]["users"]),
        (3, &0.into()),
        "{known}"
    );
    assert!(daemon.stop().success());
    assert!(!site.log().contains(USER), "openids are not logged: {}", site.log());
}

#[test]
fn what_is_not_wechats_is_refused() {
    let (site, application) = site(&[]);
    let _daemon = site.start();
    let message = application.teller.popup(USER, 1_714_112_445, &[(PAID, true)], Shape::Array);
    let stale = application.tells(&message, now() - 11 * 60);
    assert_eq!((stale.status, stale.error().as_str()), (403, "forbidden"), "{stale:?}");
    let other = |change: fn(&mut Teller)| application.other(|it| change(&mut it.teller)).tells(&message, now());
    assert_eq!(other(|it| it.token = "BBBBB".into()).status, 403, "another token");
    let key = other(|it| it.key = Some("B".repeat(43)));
    assert!(key.status == 400 && key.message().contains("the EncodingAESKey differs"), "{key:?}");
    let appid = other(|it| it.appid = "wx0000000000000009".into());
    assert!(appid.status == 400 && appid.message().contains("wx0000000000000009"), "{appid:?}");
    let plain = other(|it| it.key = None);
    assert!(plain.status == 400 && plain.message().contains("not encrypted"), "{plain:?}");
    let nonsense = application.tells(&json!({}), now());
    assert!(nonsense.status == 400 && nonsense.message().contains("FromUserName"), "{nonsense:?}");
    // Nor is what is encrypted where there is no key.
    let encrypted = application.other(|it| it.path = "/push/old").tells(&message, now());
    assert!(encrypted.status == 400 && encrypted.message().contains("set the EncodingAESKey"), "{encrypted:?}");
    let large = ask(application.port, "POST", "/wechat/shop", "", &"x".repeat(100_000));
    assert_eq!(large.status, 413, "{large:?}");
    assert_eq!(site.journal().number("SELECT count(*) FROM consent_event"), 0);
    let log = site.log();
    assert!(log.contains("an event was not taken") && !log.contains(USER), "{log}");

    // In plain mode, where it is allowed.
    let old = application.other(|it| (it.path, it.teller.key) = ("/push/old", None));
    old.popup(USER, 1_714_112_445, true);
    assert_eq!(site.journal().column("SELECT account FROM consent"), ["wx0000000000000001"]);
}

#[test]
fn an_answer_comes_before_wechat_gives_up() {
    let (site, application) = site(&[]);
    let _daemon = site.start();
    application.popup(USER, 1, true);
    // A disk that hangs: somebody else writes to the journal.
    let other = rusqlite::Connection::open(site.state().join("upkeep.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let started = Instant::now();
    let answer = application.tells(&application.teller.popup(USER, 2, &[(PAID, true)], Shape::Array), now());
    assert!(started.elapsed() < Duration::from_millis(4_900), "{:?}", started.elapsed());
    assert_eq!((answer.status, answer.error().as_str()), (503, "busy"), "{answer:?}");
    other.execute_batch("ROLLBACK").unwrap();
    for _ in 0..2 {
        application.popup(USER, 2, true);
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
        application.popup(USER, created, true);
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

/// The plugin `push` between what WeChat tells and what WeChat takes.
#[test]
fn push_sends_what_users_accept() {
    let fake = Fake::start();
    fake.wechat.app(APPID, "the secret of the application");
    fake.wechat.ask_consent(APPID);
    let (site, application) = site(&[]);
    site.shipped("push");
    let asked = json!({"grant_type": "client_credential", "appid": APPID, "secret": "the secret of the application"});
    let token = fake.client().post("/cgi-bin/stable_token", &asked).json()["access_token"].as_str().unwrap().to_owned();
    let (token, base) = (secret(&site, "access-token", &token), fake.url(""));
    site.task(
        "push",
        &format!(
            "plugin = \"push\"\nschedule.outbox = true\n\
             [config.channels.wechat]\nconsents = \"require\"\nretry = {{ first = \"1s\" }}\naccount = \"{APPID}\"\n\
             wechat_subscribe = {{ token = \"shop\", base = \"{base}\", templates = {{ paid = {{ id = \"{PAID}\" }} }} }}\n\
             [grant]\nstate = true\nmetrics = true\n[grant.outbox]\naccess = [\"deliver\"]\n\
             [grant.consents]\naccounts = [\"{APPID}\"]\n\
             [grant.http]\nallow = [\"{base}/\"]\nnetworks = [\"127.0.0.0/8\"]\n\
             [grant.secrets.shop]\nfile = \"{token}\"\nhosts = [\"{base}\"]\n"
        ),
    );
    let _daemon = site.start();
    let send = |user: &str| {
        let content = json!({"template": "paid", "to": user, "fields": {"thing1": "a shirt"}});
        site.api().push(&["wechat"], &content)
    };
    let over = |id: &str| {
        eventually("the end of the message", || {
            let message = site.api().get(&format!("/v1/push/{id}"))["message"].take();
            Some(message).filter(|it| it["state"] == "sent" || it["state"] == "dead")
        })
    };
    let reason = |id: &str| over(id)["reason"].as_str().unwrap_or_default().to_owned();

    // Nothing is known yet.
    assert!(reason(&send(USER)).starts_with("nothing is known of consents for template paid"));
    // Ann accepts twice, and WeChat knows it; Bob did, and somebody else has used it up.
    for created in 0..2 {
        application.popup(USER, created, true);
        fake.wechat.consent(APPID, USER, PAID);
    }
    application.popup("oBob-0001", 0, true);
    let ids: Vec<String> = (0..3).map(|_| send(USER)).collect();
    let mut states: Vec<String> = ids.iter().map(|id| over(id)["state"].as_str().unwrap().to_owned()).collect();
    states.sort_unstable();
    assert_eq!(states, ["dead", "sent", "sent"]);
    let dead = ids.iter().find(|id| over(id)["state"] == "dead").unwrap();
    assert_eq!(reason(dead), format!("user {USER} has no consent left for template paid ({PAID})"));
    assert_eq!((fake.wechat.accepted(APPID).len(), fake.wechat.consents(APPID, USER, PAID)), (2, 0));
    // What WeChat tells later of one that it took is shown with it.
    let sent = ids.iter().find(|id| over(id)["state"] == "sent").unwrap();
    let attempt = || site.api().get(&format!("/v1/push/{sent}"))["attempts"][0].take();
    let taken_as = attempt()["provider_id"].as_str().unwrap().to_owned();
    assert!(attempt()["report"].is_null());
    application.event(&application.teller.sent(USER, 1_714_112_451, PAID, &taken_as, 0, Shape::Object));
    assert_eq!((&attempt()["report"]["code"], &attempt()["report"]["status"]), (&0.into(), &"success".into()));
    let shown = site.cli(&["push", "show", sent]).stdout;
    assert!(shown.contains("success (0)"), "{shown}");
    let told = reason(&send("oBob-0001"));
    assert!(told.contains("43101"), "{told}");
    assert_eq!(left(&site, PAID), 0);
    let bob = site.cli(&["push", "consents", "--json", "--user", "oBob-0001"]).json();
    assert_eq!(
        (&bob["consents"][0]["remaining"], &bob["consents"][0]["event"]),
        (&0.into(), &"used-up".into()),
        "{bob}"
    );

    // What fails for a reason that passes keeps its consent, and takes no other.
    application.popup(USER, 10, true);
    application.popup(USER, 11, true);
    (0..2).for_each(|_| fake.wechat.consent(APPID, USER, PAID));
    fake.script.add(On::path("/cgi-bin/message/subscribe/send").first(1), Fault::Code(-1));
    let tried = send(USER);
    assert_eq!(over(&tried)["state"], "sent");
    assert!(site.api().get(&format!("/v1/push/{tried}"))["attempts"].as_array().unwrap().len() > 1);
    assert_eq!((left(&site, PAID), fake.wechat.consents(APPID, USER, PAID)), (1, 1));

    // A day's quota that is used up pauses the channel until it is midnight in Beijing, and uses up nothing.
    fake.script.add(On::path("/cgi-bin/message/subscribe/send").first(1), Fault::Code(45009));
    let waiting = send(USER);
    let counts = eventually("a pause", || {
        let channels = site.api().get("/v1/push?limit=1")["channels"].take();
        channels[0]["paused_until"].as_i64().map(|until| (until, channels.clone()))
    });
    let day = 86_400_000;
    assert_eq!((counts.0 + 8 * 3_600_000) % day, 0, "midnight in Beijing: {counts:?}");
    assert!((0..=day).contains(&(counts.0 - now() * 1_000)), "{counts:?}");
    // The outcome is written down right after the pause.
    eventually("the message to wait", || {
        (site.api().get(&format!("/v1/push/{waiting}"))["message"]["state"] == "waiting").then_some(())
    });
    eventually("the consent to be given back", || (left(&site, PAID) == 1).then_some(()));
}
