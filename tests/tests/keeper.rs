//! WeChat's access tokens, kept by the daemon: against the fake WeChat, with whatever may go wrong.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use upkeep_tests::fake::{Fake, Fault, On};
use upkeep_tests::{Daemon, Nginx, Site, eventually};

const APP: &str = "wx0123456789abcdef";
const SECRET: &str = "appsecret-7Hq2vX9fLw83-of-the-shop";
const SUBSCRIBE: &str = "/cgi-bin/message/subscribe/send";
const STABLE: &str = "/cgi-bin/stable_token";

fn fake() -> Fake {
    let fake = Fake::start();
    fake.wechat.app(APP, SECRET);
    fake
}

/// A site with a task `name` that sends so many messages at the same time, one step each.
struct Shop {
    site: Site,
}

impl Shop {
    fn new() -> Self {
        let site = Site::new(&["asks"]);
        fs::create_dir(site.path("secrets")).unwrap();
        let shop = Self { site };
        shop.secret(SECRET);
        shop
    }

    fn secret(&self, secret: &str) {
        let path = self.site.path("secrets/shop");
        fs::write(&path, format!("{secret}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn grant(&self, fake: &Fake) -> String {
        let (api, file) = (fake.url(""), self.site.path("secrets/shop"));
        format!(
            "[grant.http]\nallow = [\"{api}/cgi-bin/message/\"]\nnetworks = [\"127.0.0.1\"]\ntimeout = \"2s\"\n\
             [grant.secrets.shop-token]\nwechat = {{ appid = \"{APP}\", file = {file:?}, api = \"{api}\" }}\n"
        )
    }

    fn task(&self, name: &str, fake: &Fake, messages: u32) {
        let url = fake.url(&format!("{SUBSCRIBE}?access_token={{{{secret:shop-token}}}}"));
        let message = json!({
            "touser": "oUser-NUMBER", "template_id": "t-1", "data": { "thing1": { "value": "hello" } },
        });
        let config = format!("url = \"{url}\"\nbody = '{message}'\nsteps = {messages}\n");
        let grant = self.grant(fake);
        self.site.task(name, &format!("plugin = \"asks\"\nparallel = {messages}\n[config]\n{config}{grant}"));
    }

    /// Runs a task to its end. Gives how often each code was answered, 0 for success and -999 for no answer, and the log.
    fn run(&self, name: &str) -> (BTreeMap<i64, usize>, String) {
        let run = self.site.run(name);
        let logs = self.site.logs(run["id"].as_str().unwrap());
        assert_eq!(run["outcome"]["outcome"], "succeeded", "{run} {logs}");
        let mut codes = BTreeMap::new();
        for line in logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let message = line["message"].as_str().unwrap_or_default();
            let code = match message.strip_prefix("answer 200 ") {
                Some(body) => serde_json::from_str::<Value>(body).unwrap()["errcode"].as_i64().unwrap(),
                None if message.starts_with("no answer: ") => -999,
                None => continue,
            };
            *codes.entry(code).or_default() += 1;
        }
        (codes, logs)
    }

    fn kept(&self) -> Value {
        self.site.api().get("/v1/tokens")["tokens"][0].clone()
    }

    /// Everything that the daemon has shown and written down.
    fn shown(&self) -> String {
        let mut shown = String::new();
        for command in [
            &["history", "--json"][..],
            &["egress", "--json", "-n", "1000"],
            &["push", "tokens"],
            &["push", "tokens", "--json"],
            &["status", "--json"],
        ] {
            let ran = self.site.cli(command);
            assert_eq!(ran.code, 0, "{command:?}: {ran:?}");
            shown.push_str(&ran.stdout);
        }
        shown
    }

    /// Neither the secret nor any token is anywhere.
    fn is_clean(&self, fake: &Fake, logs: &str) {
        let mut values = fake.wechat.tokens(APP);
        values.push(SECRET.to_owned());
        let shown = format!("{}{logs}{}", self.shown(), self.site.log());
        for value in &values {
            assert!(!shown.contains(value.as_str()), "{value} is shown: {shown}");
        }
        let found = holding(&self.site.state(), &values);
        assert!(found.is_empty(), "a token is in {found:?}");
    }
}

/// The files beneath a folder in which one of these texts is.
fn holding(folder: &Path, texts: &[String]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, texts));
        } else if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            if texts.iter().any(|it| text.contains(it.as_str())) {
                found.push(path);
            }
        }
    }
    found
}

fn only(code: i64, count: usize) -> BTreeMap<i64, usize> {
    BTreeMap::from([(code, count)])
}

fn started(shop: &Shop) -> Daemon {
    shop.site.start()
}

#[test]
fn a_hundred_requests_that_are_refused_cause_one_renewal() {
    let (fake, shop) = (fake(), Shop::new());
    shop.task("first", &fake, 1);
    shop.task("many", &fake, 100);
    shop.task("again", &fake, 100);
    let _daemon = started(&shop);
    // A hundred at the same time that want the first token.
    let slow = || fake.script.add(On::path(SUBSCRIBE), Fault::Slow(500));
    let (codes, first) = shop.run("many");
    assert_eq!((codes, fake.wechat.renewals(APP)), (only(0, 100), (1, 0)), "{first}");
    assert_eq!(fake.wechat.accepted(APP).len(), 100);

    // Another server has taken the token away: all hundred have left before the first is refused.
    fake.wechat.supersede(APP);
    slow();
    let (codes, logs) = shop.run("again");
    assert_eq!((codes, fake.wechat.renewals(APP)), (only(0, 100), (2, 0)), "{logs}");
    let accepted = fake.wechat.accepted(APP);
    assert_eq!(accepted.len(), 200, "each message was sent once more, and taken once");
    assert_eq!(fake.wechat.tally().count().refused[&40001], 100);
    let kept = shop.kept();
    assert_eq!((&kept["appid"], &kept["tokens"], &kept["trouble"]), (&APP.into(), &2.into(), &Value::Null), "{kept}");

    // The ledger has each request, and the keeper's own.
    let ledger = shop.site.cli(&["egress", "--json", "-n", "1000"]).json();
    let requests = ledger["requests"].as_array().unwrap();
    let of = |path: &str| requests.iter().filter(|it| it["url"].as_str().unwrap().ends_with(path)).count();
    assert_eq!((of(SUBSCRIBE), of(STABLE)), (300, 2), "{ledger:#}");
    let reasons = requests.iter().filter(|it| it["reason"].as_str().is_some_and(|it| it.contains("40001"))).count();
    assert_eq!(reasons, 100);

    // The very token that was refused comes back: then one is forced, once.
    fake.script.clear();
    fake.script.add(On::path(SUBSCRIBE).first(1), Fault::Code(42001));
    let (codes, _) = shop.run("first");
    assert_eq!((codes, fake.wechat.renewals(APP)), (only(0, 1), (4, 1)));
    assert_eq!(shop.kept()["forced_today"], 1);
    // Again within half a minute: nobody forces another, and the guest is told what WeChat said.
    fake.script.clear();
    fake.script.add(On::path(SUBSCRIBE).first(1), Fault::Code(40014));
    let (codes, _) = shop.run("first");
    assert_eq!((codes, fake.wechat.renewals(APP).1), (only(40014, 1), 1));
    fake.script.clear();
    assert_eq!(shop.run("first").0, only(0, 1));
    shop.is_clean(&fake, &format!("{first}{logs}"));
}

#[test]
fn servers_that_share_an_application_take_nothing_from_each_other() {
    let fake = fake();
    let shops = [Shop::new(), Shop::new()];
    let _daemons: Vec<Daemon> = shops
        .iter()
        .map(|shop| {
            shop.task("send", &fake, 5);
            started(shop)
        })
        .collect();
    let plain = || {
        let target = format!("/cgi-bin/token?grant_type=client_credential&appid={APP}&secret={SECRET}");
        fake.client().get(&target).json()["access_token"].as_str().unwrap().to_owned()
    };
    // Two daemons, and a program of old that supersedes its own token each time.
    for _ in 0..3 {
        plain();
        for shop in &shops {
            assert_eq!(shop.run("send").0, only(0, 5));
        }
    }
    assert_eq!(fake.wechat.renewals(APP), (2, 0), "each has asked once");
    assert_eq!(fake.wechat.tally().count().refused, BTreeMap::new());
    // One of them forces a new one: the other notices, and takes the same.
    fake.wechat.supersede(APP);
    for shop in shops.iter().chain(&shops) {
        assert_eq!(shop.run("send").0, only(0, 5));
    }
    assert_eq!(fake.wechat.renewals(APP), (4, 0));
    assert_eq!(fake.wechat.accepted(APP).len(), 50);
}

#[test]
fn a_token_is_renewed_before_its_time_and_after_it() {
    let (fake, shop) = (fake(), Shop::new());
    // It is renewed 300 seconds before its end.
    fake.wechat.lifetime(APP, Duration::from_secs(302), Duration::ZERO);
    shop.task("send", &fake, 3);
    let _daemon = started(&shop);
    assert_eq!(shop.run("send").0, only(0, 3));
    assert_eq!((shop.run("send").0, fake.wechat.renewals(APP)), (only(0, 3), (1, 0)));
    sleep(Duration::from_millis(2_500));
    // Nobody waits for the new one while the old one works.
    assert_eq!(shop.run("send").0, only(0, 3));
    eventually("the second token", || (fake.wechat.renewals(APP) == (2, 0)).then_some(()));
    eventually("that it is kept", || (shop.kept()["tokens"] == 2).then_some(()));
    assert!(fake.wechat.tally().count().refused.is_empty());
    // The clock of this machine stands still, and WeChat's does not.
    fake.wechat.lifetime(APP, Duration::from_secs(7_200), Duration::ZERO);
    fake.clock.advance(Duration::from_secs(400));
    assert_eq!(shop.run("send").0, only(0, 3));
    assert!(fake.wechat.tally().count().refused[&42001] >= 1);
    assert_eq!(fake.wechat.renewals(APP), (3, 0));
}

#[test]
fn an_address_that_is_not_in_the_allow_list_is_shown_with_what_helps() {
    let (fake, shop) = (fake(), Shop::new());
    fake.wechat.allow(APP, &["10.0.0.1".parse().unwrap()]);
    shop.task("send", &fake, 20);
    let _daemon = started(&shop);
    let (codes, logs) = shop.run("send");
    // The guest is told what WeChat said, as if it had been the API.
    assert_eq!((codes, fake.wechat.renewals(APP).0), (only(40164, 20), 0), "{logs}");
    assert_eq!(fake.wechat.tally().count().refused, BTreeMap::from([(40164, 1)]), "it was asked once");
    assert!(
        logs.contains("WeChat gives no access token") && logs.contains("127.0.0.1: add it to the allow-list"),
        "{logs}"
    );
    let kept = shop.kept();
    assert_eq!((&kept["trouble"]["code"], &kept["got"]), (&40164.into(), &Value::Null), "{kept}");
    let shown = shop.site.cli(&["push", "tokens"]).stdout;
    assert!(shown.contains(APP) && shown.contains("127.0.0.1: add it to the allow-list"), "{shown}");
    shop.is_clean(&fake, &logs);
}

#[test]
fn a_dead_secret_does_not_use_up_the_quota() {
    let (fake, shop) = (fake(), Shop::new());
    shop.task("send", &fake, 10);
    let _daemon = started(&shop);
    fake.wechat.secret(APP, None);
    let mut logs = String::new();
    for _ in 0..3 {
        let (codes, more) = shop.run("send");
        assert_eq!(codes, only(40243, 10));
        logs.push_str(&more);
    }
    assert_eq!(fake.wechat.tally().count().refused, BTreeMap::from([(40243, 1)]));
    // Another secret, in WeChat's console and in the file, is tried at once.
    let another = "another-secret-7Hq2vX9fLw83-of-the-shop";
    fake.wechat.secret(APP, Some(another));
    shop.secret(another);
    let (codes, more) = shop.run("send");
    assert_eq!(codes, only(0, 10), "{more}");
    logs.push_str(&more);
    assert!(!logs.contains(another) && !shop.shown().contains(another) && !shop.site.log().contains(another));
    // The quota of asking for tokens has its own end.
    fake.script.add(On::path(STABLE), Fault::Code(45009));
    fake.wechat.supersede(APP);
    assert_eq!(shop.run("send").0, only(45009, 10));
    let until = shop.kept()["trouble"]["until"].as_i64().unwrap();
    assert_eq!((until + 8 * 3_600_000) % 86_400_000, 0, "midnight in Beijing");
    shop.is_clean(&fake, &logs);
}

#[test]
fn a_token_that_does_not_come_is_not_waited_for() {
    let (fake, shop) = (fake(), Shop::new());
    shop.task("send", &fake, 30);
    let _daemon = started(&shop);
    for (fault, why) in [(Fault::Hang, "no answer within 2s"), (Fault::Reset, "onnection")] {
        fake.script.clear();
        fake.script.add(On::path(STABLE), fault);
        let began = Instant::now();
        let (codes, logs) = shop.run("send");
        assert_eq!(codes, only(-999, 30), "{logs}");
        assert!(logs.contains(why) && logs.contains("no access token"), "{logs}");
        // Those who came while it was asked share what came of it.
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        sleep(Duration::from_millis(4_500));
    }
    // What stands between here and WeChat answers something else.
    for fault in [Fault::Status(502, None), Fault::Body("<html>who are you?</html>".into()), Fault::Body(String::new())]
    {
        fake.script.clear();
        fake.script.add(On::path(STABLE), fault);
        let run = shop.site.run("send");
        assert_eq!(run["outcome"]["outcome"], "succeeded");
        assert_eq!(shop.kept()["got"], Value::Null);
    }
    fake.script.clear();
    eventually("that it is asked again", || (shop.run("send").0 == only(0, 30)).then_some(()));
    assert!(shop.kept()["trouble"].is_null());
}

#[test]
fn answers_that_say_nothing_of_tokens_are_left_alone() {
    let (fake, shop) = (fake(), Shop::new());
    shop.task("send", &fake, 1);
    let _daemon = started(&shop);
    let large = format!("{{\"errcode\":40001,\"padding\":\"{}\"}}", "x".repeat(5_000));
    for (fault, status, body) in [
        (Fault::Body(large.clone()), 200, large.as_str()),
        (Fault::Body("40001".into()), 200, "40001"),
        (Fault::Body(r#"{"errcode":"x"}"#.into()), 200, r#"{"errcode":"x"}"#),
        (Fault::Body(String::new()), 200, ""),
        (Fault::Status(500, None), 500, "the server has trouble"),
    ] {
        fake.script.clear();
        fake.script.add(On::path(SUBSCRIBE), fault);
        let run = shop.site.run("send");
        let logs = shop.site.logs(run["id"].as_str().unwrap());
        let expected = format!("answer {status} {body}");
        assert!(logs.contains(&serde_json::to_string(&expected).unwrap()), "{expected}: {logs}");
    }
    assert_eq!((fake.wechat.renewals(APP), fake.wechat.tally().count().asked), ((1, 0), 6));
}

#[test]
fn tasks_that_disagree_on_an_application_are_told() {
    let (fake, shop) = (fake(), Shop::new());
    shop.task("a", &fake, 1);
    shop.task("b", &fake, 1);
    let ran = shop.site.cli(&["check"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let other = Fake::start();
    shop.task("b", &other, 1);
    let ran = shop.site.cli(&["check"]);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, 2, "{said}");
    for word in ["tasks.d/b.toml", "grant.secrets.shop-token.wechat", "the task a", APP, "name the same API"] {
        assert!(said.contains(word), "`{word}` is missing: {said}");
    }
}

/// An authority, and a certificate of it for `localhost` with its key.
fn certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let ran = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
        let ran = ran.expect("openssl can be started: apt-get install openssl");
        assert!(ran.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&ran.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(&format!("req -x509 {key} -subj /CN=authority -keyout authority.key -out authority.pem"));
    let names = "-addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    openssl(&format!(
        "req -x509 {key} -subj /CN=server {names} -CA authority.pem -CAkey authority.key -keyout server.key -out server.pem"
    ));
}

/// The keeper's own requests go through the gates of the task: its authority, and the addresses that it may connect to.
#[test]
fn a_token_comes_by_the_tasks_own_gates() {
    let (fake, shop) = (fake(), Shop::new());
    let folder = shop.site.path("tls");
    fs::create_dir(&folder).unwrap();
    certificates(&folder);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = folder.display();
    let _nginx = Nginx::start(&format!(
        "listen 127.0.0.1:{port} ssl; ssl_certificate {at}/server.pem; ssl_certificate_key {at}/server.key;\n\
         location / {{ proxy_pass {}; }}",
        fake.url("")
    ));
    let task = |name: &str, more: &str| {
        shop.task(name, &fake, 1);
        let text = fs::read_to_string(shop.site.task_file(name)).unwrap();
        let text = text.replace(&fake.url(""), &format!("https://localhost:{port}"));
        let (before, after) = text.split_once("networks = [\"127.0.0.1\"]").unwrap();
        shop.site.task(name, &format!("{before}{more}{after}"));
    };
    let own = "networks = [\"127.0.0.1\", \"::1\"]";
    task("trusting", &format!("{own}\nca = \"{at}/authority.pem\""));
    task("strange", own);
    task("private", &format!("ca = \"{at}/authority.pem\""));
    let _daemon = started(&shop);
    let (codes, logs) = shop.run("strange");
    assert!(codes == only(-999, 1) && logs.contains("UnknownIssuer"), "{codes:?} {logs}");
    sleep(Duration::from_millis(1_500));
    let (codes, logs) = shop.run("private");
    assert!(codes == only(-999, 1) && logs.contains("is no public address"), "{codes:?} {logs}");
    assert_eq!(fake.wechat.tally().count().asked, 0, "nothing was sent");
    sleep(Duration::from_millis(2_500));
    assert_eq!((shop.run("trusting").0, fake.wechat.renewals(APP)), (only(0, 1), (1, 0)));
}
