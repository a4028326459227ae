//! Messages on their way out: the plugin `push` and the real daemon, toward real and strange servers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use upkeep_tests::fake::{Fake, Fault, On};
use upkeep_tests::{Nginx, Received, Receiver, Reply, Site, eventually, within};

/// A site whose task `push` delivers by these channels, to servers of this machine.
fn site(ports: &[u16], channels: &str, more: &str) -> Site {
    let site = Site::new(&[]);
    site.shipped("push");
    let allow: Vec<String> = ports.iter().map(|port| format!("\"http://127.0.0.1:{port}/\"")).collect();
    site.task(
        "push",
        &format!(
            "plugin = \"push\"\nschedule.outbox = true\n{channels}\n\
             [grant]\nstate = true\nmetrics = true\n\
             [grant.outbox]\naccess = [\"deliver\"]\n\
             [grant.http]\nallow = [{}]\nnetworks = [\"127.0.0.0/8\"]\nmax_requests = 1000000\n{more}",
            allow.join(", ")
        ),
    );
    site
}

fn webhook(name: &str, url: &str, more: &str) -> String {
    format!("[config.channels.{name}]\nwebhook = {{ url = \"{url}\" }}\n{more}\n")
}

/// Puts a message in, and gives its identifier.
#[track_caller]
fn send(site: &Site, channels: &[&str], title: &str) -> String {
    site.api().push(channels, &json!({ "title": title }))
}

/// A secret in a file, and what grants it.
fn secret(site: &Site, name: &str, value: &str, more: &str) -> String {
    let path = site.path(name);
    fs::write(&path, value).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    format!("[grant.secrets.{name}]\nfile = \"{}\"\n{more}\n", path.display())
}

#[test]
fn nginx_gets_each_message_with_its_key() {
    let nginx = Nginx::start("location / { return 204; }");
    let site = site(&[nginx.port()], &webhook("hook", &nginx.url("/in"), ""), "");
    let _daemon = site.start();
    let ids: BTreeSet<String> = (0..50).map(|at| send(&site, &["hook"], &format!("message {at}"))).collect();
    ids.iter().for_each(|id| drop(site.api().message_until(id, "sent")));
    let keys = eventually("the log of nginx", || {
        let lines = nginx.log();
        assert!(lines.iter().all(|[status, path, _]| status == "204" && path == "/in"), "{lines:?}");
        Some(lines.into_iter().map(|[_, _, key]| key).collect::<Vec<_>>()).filter(|keys| keys.len() >= 50)
    });
    assert_eq!(keys.iter().cloned().collect::<BTreeSet<_>>(), ids);
    assert_eq!(keys.len(), 50, "each once");
    let runs = eventually("the end of the runs", || {
        Some(site.runs("push")).filter(|runs| !runs.is_empty() && runs.iter().all(|run| run["phase"] == "done"))
    });
    assert!(runs.iter().all(|run| run["outcome"]["outcome"] == "succeeded"), "{runs:?}");
}

#[test]
fn a_chain_goes_on_where_a_channel_refuses_and_dead_letters_say_why() {
    let nginx = Nginx::start("location /in { return 204; } location /bad { return 422; }");
    let channels = webhook("bad", &nginx.url("/bad"), "") + &webhook("good", &nginx.url("/in"), "");
    let site = site(&[nginx.port()], &channels, "");
    let _daemon = site.start();
    let chained = send(&site, &["bad", "good"], "one");
    let sent = site.api().message_until(&chained, "sent");
    let tried: Vec<_> =
        sent["attempts"].as_array().unwrap().iter().map(|it| (&it["channel"], &it["outcome"])).collect();
    assert_eq!(tried, [(&json!("bad"), &json!("refused")), (&json!("good"), &json!("sent"))], "{sent}");
    let dead = send(&site, &["bad"], "two");
    let told = site.api().message_until(&dead, "dead");
    let reason = told["message"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("the server does not take this message") && reason.contains("(422)"), "{reason}");
    let unknown = send(&site, &["pager", "good"], "three");
    let told = site.api().message_until(&unknown, "sent");
    assert_eq!(told["attempts"][0]["reason"], "there is no channel `pager`; there is bad, good");

    // Whoever mends it sends it again.
    let mended = webhook("bad", &nginx.url("/in"), "") + &webhook("good", &nginx.url("/in"), "");
    let text = fs::read_to_string(site.task_file("push")).unwrap();
    site.task("push", &text.replace(&channels, &mended));
    eventually("the new configuration", || {
        let resent = site.cli(&["push", "resend", &dead]);
        let is_sent = within(Duration::from_secs(5), "another outcome", || {
            Some(site.api().message(&dead)["message"]["state"].clone()).filter(|it| it == "sent" || it == "dead")
        });
        assert!(resent.code == 0 || is_sent == "sent", "{resent:?}");
        (is_sent == "sent").then_some(())
    });
}

#[test]
fn retry_after_is_honoured() {
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let noted = Arc::clone(&times);
    let receiver = Receiver::start(move |_| {
        let mut times = noted.lock().unwrap();
        times.push(Instant::now());
        if times.len() == 1 {
            Reply::new(503, "later").header("retry-after", 3)
        } else {
            Reply::new(200, r#"{"id":"r-1"}"#)
        }
    });
    let site = site(&[receiver.port()], &webhook("hook", &receiver.url("/"), "retry = { first = \"1s\" }"), "");
    let _daemon = site.start();
    let id = send(&site, &["hook"], "patience");
    let sent = site.api().message_until(&id, "sent");
    let times = times.lock().unwrap();
    let waited = times[1] - times[0];
    assert!(times.len() == 2 && (Duration::from_secs(3)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
    assert_eq!((&sent["attempts"][0]["code"], &sent["attempts"][1]["provider_id"]), (&"503".into(), &"r-1".into()));
}

#[test]
fn what_was_under_way_when_the_daemon_was_killed_comes_again_with_the_same_key() {
    let keys: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&keys);
    let receiver = Receiver::start(move |request: &Received| {
        let mut keys = noted.lock().unwrap();
        keys.push(request.header("idempotency-key").unwrap_or_default().to_owned());
        let is_first = keys.len() == 1;
        drop(keys);
        if is_first {
            std::thread::sleep(Duration::from_secs(30));
        }
        Reply::new(204, "")
    });
    let site = site(&[receiver.port()], &webhook("hook", &receiver.url("/"), ""), "");
    let daemon = site.start();
    let id = send(&site, &["hook"], "twice");
    eventually("the request", || (!keys.lock().unwrap().is_empty()).then_some(()));
    daemon.kill();
    let _daemon = site.start();
    let sent = within(Duration::from_secs(10), "the second request", || {
        Some(site.api().message(&id)).filter(|it| it["message"]["state"] == "sent")
    });
    assert_eq!(*keys.lock().unwrap(), [id.clone(), id]);
    assert_eq!((&sent["attempts"][0]["outcome"], &sent["attempts"][1]["outcome"]), (&"lost".into(), &"sent".into()));
}

#[test]
fn a_slow_channel_holds_up_no_other() {
    let receiver = Receiver::start(|request: &Received| {
        if request.path == "/slow" {
            std::thread::sleep(Duration::from_secs(4));
        }
        Reply::new(204, "")
    });
    let channels = webhook("slow", &receiver.url("/slow"), "") + &webhook("quick", &receiver.url("/"), "");
    let site = site(&[receiver.port()], &channels, "");
    let _daemon = site.start();
    let slow = send(&site, &["slow"], "slow");
    std::thread::sleep(Duration::from_millis(500));
    // The run that waits for the slow one looks for more.
    let quick = send(&site, &["quick"], "quick");
    within(Duration::from_secs(3), "the quick one", || {
        Some(site.api().message(&quick)).filter(|it| it["message"]["state"] == "sent")
    });
    assert_eq!(site.api().message(&slow)["message"]["state"], "claimed");
    site.api().message_until(&slow, "sent");
}

/// Each kind of channel with what its provider wants: keys in addresses, logins and tokens in headers, signatures.
#[test]
fn every_kind_of_channel_reaches_its_provider() {
    const HOOK: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let fake = Fake::start();
    let token = {
        fake.wechat.app("wx0123456789abcdef", "the secret of the shop");
        let body = json!({ "grant_type": "client_credential", "appid": "wx0123456789abcdef", "secret": "the secret of the shop" });
        fake.client().post("/cgi-bin/stable_token", &body).json()["access_token"].as_str().unwrap().to_owned()
    };
    fake.wechat.wrote("wx0123456789abcdef", "o7esq5OI1Uej6Xixw1lA2H7XDVbc");
    let tallies = [
        ("wecom", fake.wecom.robot("wecom-693a91f6")),
        ("dingtalk", fake.dingtalk.robot("dingtalk-566cc69d", Some("SECcafe0123456789"))),
        ("feishu", fake.feishu.robot("feishu-xxxx-0123", Some("feishu-secret-0123"))),
        ("ntfy", fake.ntfy.topic_with_login("alerts-0123456789", "upkeep", "hush hush")),
        ("hook", fake.webhook.receiver("orders", Some(HOOK))),
    ];
    let base = fake.url("");
    let channels = format!(
        "[config.channels.wecom]\nwecom = {{ key = \"wecom-key\", base = \"{base}\" }}\n\
         [config.channels.dingtalk]\n\
         dingtalk = {{ access_token = \"dingtalk-token\", signed_with = \"dingtalk-sign\", base = \"{base}\" }}\n\
         [config.channels.feishu]\nfeishu = {{ hook = \"feishu-hook\", signed_with = \"feishu-sign\", base = \"{base}\" }}\n\
         [config.channels.ntfy]\nntfy = {{ topic = {{ secret = \"topic\" }}, login = \"login\", base = \"{base}\" }}\n\
         [config.channels.hook]\nwebhook = {{ url = \"{base}/webhook/orders\", signed_with = \"hook-key\" }}\n\
         [config.channels.wechat]\nwechat_service = {{ token = \"shop-token\", base = \"{base}\" }}\n"
    );
    let site = site(&[fake.address().port()], &channels, "");
    let hosts = format!("hosts = [\"{base}\"]");
    let sent: Vec<(&str, &str)> = vec![
        ("wecom-key", "wecom-693a91f6"),
        ("dingtalk-token", "dingtalk-566cc69d"),
        ("feishu-hook", "feishu-xxxx-0123"),
        ("topic", "alerts-0123456789"),
        ("login", "upkeep:hush hush"),
        ("shop-token", &token),
    ];
    let signing = [("dingtalk-sign", "SECcafe0123456789"), ("feishu-sign", "feishu-secret-0123"), ("hook-key", HOOK)];
    let mut text = fs::read_to_string(site.task_file("push")).unwrap();
    for (name, value) in &sent {
        text += &secret(&site, name, value, &hosts);
    }
    for (name, value) in &signing {
        text += &secret(&site, name, value, "access = [\"sign\"]");
    }
    site.task("push", &text);
    let _daemon = site.start();
    for (channel, tally) in &tallies {
        let id = send(&site, &[channel], "The disk of web-1 is full");
        let sent = site.api().message_until(&id, "sent");
        assert_eq!((tally.count().accepted, tally.count().asked), (1, 1), "{channel}: {sent} {:?}", tally.count());
    }
    let content = json!({ "title": "Your order is on its way", "to": "o7esq5OI1Uej6Xixw1lA2H7XDVbc, ops@example.org" });
    let body = json!({ "channels": ["wechat", "hook"], "content": content }).to_string();
    let id = site.api().ask("POST", "/v1/push", &body).body["id"].as_str().unwrap().to_owned();
    let told = site.api().message_until(&id, "sent");
    assert_eq!(told["attempts"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(fake.wechat.accepted("wx0123456789abcdef").len(), 1);

    // None of all that is in what upkeep keeps, shows or logs.
    let shown: String = [&["egress", "--json", "-n", "100"][..], &["push", "list", "--json"], &["history", "--json"]]
        .map(|command| site.cli(command).stdout)
        .concat();
    for (name, value) in sent.iter().chain(&signing) {
        assert!(!shown.contains(value), "{name}: {shown}");
        for file in walk(&site.state()).into_iter().chain([site.path("daemon.log")]) {
            let bytes = fs::read(&file).unwrap_or_default();
            assert!(!bytes.windows(value.len()).any(|it| it == value.as_bytes()), "{name} is in {}", file.display());
        }
    }
}

#[test]
fn a_robot_is_not_asked_more_often_than_it_allows_and_the_rest_comes_as_one() {
    let fake = Fake::start();
    let robot = fake.wecom.robot("wecom-693a91f6");
    let base = fake.url("");
    let channel = format!("[config.channels.ops]\nwecom = {{ key = \"robot\", base = \"{base}\" }}\n");
    let site = site(&[fake.address().port()], &channel, "");
    let grant = secret(&site, "robot", "wecom-693a91f6", &format!("hosts = [\"{base}\"]"));
    let text = fs::read_to_string(site.task_file("push")).unwrap();
    site.task("push", &format!("{text}\n{grant}"));
    // All of them wait before anything is delivered.
    let daemon = site.start();
    let (at, mut api) = ((upkeep_tests::now() + 5) * 1_000, site.api());
    let ids: Vec<String> = (0..100)
        .map(|number| {
            let content = json!({ "title": format!("message {number}"), "group": "orders" });
            let body = json!({ "channels": ["ops"], "not_before": at, "content": content }).to_string();
            api.ask("POST", "/v1/push", &body).body["id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(upkeep_tests::now() * 1_000 < at, "they were due before all of them were there");
    ids.iter().for_each(|id| drop(site.api().message_until(id, "sent")));
    let told = robot.keys();
    assert!(robot.most(60_000) <= 20 && robot.count().refused.is_empty(), "{:?}", robot.count());
    assert!(told.keys().any(|it| it.contains("81 messages: 81 info") && it.contains("**orders**: 81")), "{told:?}");
    // The rate holds beyond the daemon's end.
    daemon.kill();
    let _daemon = site.start();
    let late = send(&site, &["ops"], "late");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((robot.most(60_000), robot.count().asked), (20, 20));
    assert_eq!(site.api().message(&late)["message"]["state"], "waiting");
    let paused = site.cli(&["push", "list", "--json"]).json();
    assert_eq!(paused["channels"][0]["reason"], "as often used as may be, for now", "{paused}");
}

/// Robots of DingTalk and Feishu, as the one of WeCom above.
fn robots(fake: &Fake) -> Site {
    let base = fake.url("");
    let channels = format!(
        "[config.channels.dingtalk]\ndingtalk = {{ access_token = \"token\", base = \"{base}\" }}\n\
         [config.channels.feishu]\nfeishu = {{ hook = \"hook\", base = \"{base}\" }}\n"
    );
    let site = site(&[fake.address().port()], &channels, "");
    let hosts = format!("hosts = [\"{base}\"]");
    let mut text = fs::read_to_string(site.task_file("push")).unwrap();
    for (name, value) in [("token", "dingtalk-566cc69d"), ("hook", "feishu-xxxx-0123")] {
        text += &secret(&site, name, value, &hosts);
    }
    site.task("push", &text);
    site
}

/// DingTalk punishes the twenty-first message of a minute, and Feishu refuses the sixth of a second: neither ever sees one, whenever the
/// daemon ends.
#[test]
fn the_limits_of_robots_hold_beyond_a_kill() {
    let fake = Fake::start();
    let dingtalk = fake.dingtalk.robot("dingtalk-566cc69d", None);
    let feishu = fake.feishu.robot("feishu-xxxx-0123", None);
    let site = robots(&fake);
    let mut sent = Vec::new();
    let mut daemon = site.start();
    for wave in 0..24 {
        for number in 0..6 {
            for channel in ["dingtalk", "feishu"] {
                sent.push(send(&site, &[channel], &format!("{channel} {wave}-{number}")));
            }
        }
        std::thread::sleep(Duration::from_millis(250));
        if wave % 8 == 7 {
            daemon.kill();
            daemon = site.start();
        }
    }
    let of = |channel: &str, state: &str| {
        let sql = format!("SELECT count(*) FROM outbox_message WHERE channel = '{channel}' AND state = '{state}'");
        site.journal().number(&sql)
    };
    within(Duration::from_secs(60), "Feishu to have all", || (of("feishu", "sent") == 144).then_some(()));
    let (of_second, of_minute) = (feishu.most(1_000), feishu.most(60_000));
    assert!(of_second <= 5 && of_minute <= 100 && feishu.count().refused.is_empty(), "{:?}", feishu.count());
    let asked = dingtalk.count();
    assert!(dingtalk.most(60_000) <= 20 && asked.asked >= 20 && asked.refused.is_empty(), "{asked:?}");
    assert_eq!(of("dingtalk", "dead"), 0);
    println!("Feishu: {of_second} in a second, {of_minute} in a minute; DingTalk: {asked:?}");
}

#[test]
fn a_robot_that_punishes_is_left_alone_for_ten_minutes() {
    let fake = Fake::start();
    let robot = fake.dingtalk.robot("dingtalk-566cc69d", None);
    fake.script.add(On::path("/robot/send").first(1), Fault::Code(130_101));
    let site = robots(&fake);
    let _daemon = site.start();
    let began = upkeep_tests::now() * 1_000;
    let id = send(&site, &["dingtalk"], "hello");
    let of = |name: &str| {
        let told = site.api().get("/v1/push");
        told["channels"].as_array().unwrap().iter().find(|it| it["channel"] == name).cloned()
    };
    let paused = eventually("the pause", || of("dingtalk").filter(|it| it["paused_until"].is_i64()));
    let span = paused["paused_until"].as_i64().unwrap() - began;
    assert!((600_000..630_000).contains(&span), "{paused}");
    // What comes meanwhile waits, unasked; other robots do not notice.
    let feishu = fake.feishu.robot("feishu-xxxx-0123", None);
    let late = send(&site, &["dingtalk"], "late");
    site.api().message_until(&send(&site, &["feishu"], "hello"), "sent");
    assert_eq!((robot.count().asked, feishu.count().accepted), (1, 1));
    let told = site.api().message(&id);
    assert_eq!((&told["message"]["state"], &told["attempts"][0]["outcome"]), (&"waiting".into(), &"throttled".into()));
    assert_eq!(
        (&told["message"]["tries"], &site.api().message(&late)["message"]["state"]),
        (&0.into(), &"waiting".into())
    );
}

/// All files beneath a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

/// What the receiver of the torture saw of a message.
#[derive(Debug, Default, Clone)]
struct Seen {
    accepted: u32,
    repeated: u32,
    refused: u32,
    failed: u32,
}

/// Delivers so many messages, of which one in a hundred is refused and one in ten tried again, while the daemon is killed so
/// often; and compares what the receiver saw with what upkeep says.
fn torture(count: usize, kills: usize, rate: Option<usize>) {
    let seen: Arc<Mutex<BTreeMap<String, Seen>>> = Arc::default();
    let arrivals: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let (noted, times) = (Arc::clone(&seen), Arc::clone(&arrivals));
    let receiver = Receiver::start(move |request: &Received| {
        times.lock().unwrap().push(Instant::now());
        let key = request.header("idempotency-key").unwrap_or_default().to_owned();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let number: usize = body["title"].as_str().and_then(|it| it.parse().ok()).unwrap_or(0);
        let mut seen = noted.lock().unwrap();
        let it = seen.entry(key).or_default();
        if number % 100 == 7 {
            it.refused += 1;
            return Reply::new(422, "never");
        }
        if number % 10 == 3 && it.failed == 0 {
            it.failed += 1;
            return Reply::new(503, "not now");
        }
        // What it has already, it does not take a second time.
        if it.accepted > 0 {
            it.repeated += 1;
        } else {
            it.accepted = 1;
        }
        Reply::new(204, "")
    });
    let limit = rate.map(|count| format!("rate = [{{ count = {count}, per = \"1s\" }}]\n")).unwrap_or_default();
    let more = format!("retry = {{ first = \"1s\", longest = \"2s\" }}\n{limit}");
    let site =
        site(&[receiver.port()], &webhook("hook", &receiver.url("/in"), &more), "[limits]\nmemory = \"256 MiB\"\n");
    // All of them wait before any is delivered, so that each kill is in the middle of it.
    let task = fs::read_to_string(site.task_file("push")).unwrap();
    site.task("push", &format!("enabled = false\n{task}"));
    let mut daemon = Some(site.start());
    enqueue(&site, count);
    assert_eq!(seen.lock().unwrap().len(), 0);
    site.task("push", &task);
    let began = Instant::now();
    for kill in 1..=kills {
        let goal = count * kill / (kills + 2);
        within(Duration::from_secs(600), "progress", || (seen.lock().unwrap().len() >= goal).then_some(()));
        daemon.take().unwrap().kill();
        daemon = Some(site.start());
    }
    let open = "SELECT count(*) FROM outbox_message WHERE ended IS NULL";
    within(Duration::from_secs(900), "all of them", || (site.journal().number(open) == 0).then_some(()));
    let took = began.elapsed();
    drop(daemon);

    let seen = seen.lock().unwrap();
    let dead = site
        .journal()
        .rows("SELECT id, content ->> 'title' AS number, reason FROM outbox_message WHERE state = 'dead'");
    assert_eq!(dead.len(), count / 100, "one in a hundred");
    for row in &dead {
        let number: usize = row["number"].as_str().unwrap().parse().unwrap();
        assert!(number % 100 == 7 && row["reason"].as_str().unwrap().contains("(422)"), "{row:?}");
        assert!(seen[row["id"].as_str().unwrap()].accepted == 0);
    }
    assert_eq!(
        site.journal().number("SELECT count(*) FROM outbox_message WHERE state = 'sent'"),
        (count - count / 100) as i64
    );
    assert_eq!(seen.len(), count, "each came, under one key");
    assert_eq!(seen.values().filter(|it| it.accepted == 1).count(), count - count / 100, "and was taken once");
    if let Some(rate) = rate {
        let arrivals = arrivals.lock().unwrap();
        let mut first = 0;
        let most = arrivals.iter().enumerate().map(|(last, at)| {
            while *at - arrivals[first] >= Duration::from_secs(1) {
                first += 1;
            }
            last + 1 - first
        });
        let most = most.max().unwrap_or(0);
        assert!(most <= rate, "{most} within a second");
        println!("at most {most} within a second");
    }
    println!(
        "{count} messages, {kills} kills, {:.1} s: {} requests, {} taken again, {} refused; {} attempts lost; {} connections",
        took.as_secs_f64(),
        arrivals.lock().unwrap().len(),
        seen.values().map(|it| it.repeated).sum::<u32>(),
        seen.values().map(|it| it.refused).sum::<u32>(),
        site.journal().number("SELECT count(*) FROM outbox_attempt WHERE outcome = 'lost'"),
        receiver.connections(),
    );
}

/// Puts messages in that are called by their numbers.
fn enqueue(site: &Site, count: usize) {
    let threads = 8;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let mut api = site.api();
                for number in (thread..count).step_by(threads) {
                    let content = json!({ "title": number.to_string(), "text": "Your order is on its way." });
                    let answer =
                        api.ask("POST", "/v1/push", &json!({ "channels": ["hook"], "content": content }).to_string());
                    assert_eq!(answer.status, 202, "{answer:?}");
                }
            });
        }
    });
}

#[test]
fn a_daemon_that_is_killed_again_and_again_delivers_each_message_once_per_key() {
    torture(3_000, 3, None);
}

#[test]
fn no_limit_is_exceeded_while_the_daemon_is_killed() {
    torture(600, 3, Some(100));
}

/// `cargo test -p upkeep-tests --test push_delivery -- --ignored --nocapture`
#[test]
#[ignore = "it takes minutes"]
fn a_hundred_thousand_messages_and_twenty_kills() {
    torture(100_000, 20, Some(2_000));
}
