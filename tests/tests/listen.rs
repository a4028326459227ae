//! What the daemon listens to over TCP: who may give messages, what else is there (nothing), and what slow, large and hostile
//! requests come to.

#[path = "listen/nginx.rs"]
mod nginx;
#[path = "listen/tcp.rs"]
mod tcp;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use upkeep_tests::{Site, eventually, within};

use self::tcp::{Answer, ask, connect, free_port, parse, raw};

const SHOP: &str = "shop-0123456789abcdef";
const BLOG: &str = "blog-0123456789abcdef";

/// Writes a secret, as an operator does.
fn secret(site: &Site, name: &str, value: &str) -> String {
    let file = site.path(name);
    std::fs::write(&file, format!("{value}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file.display().to_string()
}

/// Two clients, of which one may do little.
fn settings(site: &Site, port: u16) -> String {
    let (shop, blog) = (secret(site, "shop", SHOP), secret(site, "blog", BLOG));
    format!(
        "[listen]\naddress = \"127.0.0.1:{port}\"\n\
         [listen.client.shop]\ntoken = {{ file = \"{shop}\" }}\nchannels = [\"*\"]\npriority = \"urgent\"\n\
         [listen.client.blog]\ntoken = {{ file = \"{blog}\" }}\nchannels = [\"mail\"]\nrate = 5\nmax_message = \"1 KiB\"\n"
    )
}

/// A site whose daemon listens at a port.
fn site() -> (Site, u16) {
    let (site, port) = (Site::new(&[]), free_port());
    site.settings(&settings(&site, port));
    (site, port)
}

#[track_caller]
fn push(port: u16, token: &str, key: &str, body: &str) -> Answer {
    let key = if key.is_empty() { String::new() } else { format!("Idempotency-Key: {key}\r\n") };
    ask(port, "POST", "/v1/push", &format!("Authorization: Bearer {token}\r\n{key}"), body)
}

fn hello(channel: &str) -> String {
    json!({"channels": [channel], "content": {"text": "hello"}}).to_string()
}

#[track_caller]
fn show(port: u16, token: &str, id: &str) -> Answer {
    ask(port, "GET", &format!("/v1/push/{id}"), &format!("Authorization: Bearer {token}\r\n"), "")
}

#[test]
fn a_client_gives_messages_and_sees_its_own() {
    let (site, port) = site();
    let _daemon = site.start();
    let first = push(port, SHOP, "order-7", &hello("wecom"));
    assert_eq!((first.status, first.json()["outcome"].as_str()), (202, Some("new")), "{first:?}");
    let id = first.json()["id"].as_str().unwrap().to_owned();
    let again = push(port, SHOP, "order-7", &hello("wecom"));
    assert_eq!((again.status, &again.json()["id"]), (200, &first.json()["id"]), "{again:?}");
    let other = push(port, SHOP, "order-7", &hello("mail"));
    assert_eq!((other.status, other.error().as_str()), (409, "key-taken"), "{other:?}");

    // The same key of another client, of a program at the socket and of the command line is another key.
    let blog = push(port, BLOG, "order-7", &hello("mail"));
    assert_eq!(blog.status, 202, "{blog:?}");
    let cli = site.cli(&["push", "send", "--channel", "wecom", "--key", "order-7", "hello"]);
    assert!(cli.stdout.starts_with("Enqueued"), "{cli:?}");
    let origins = "SELECT origin FROM outbox_message WHERE key = 'order-7' ORDER BY origin";
    assert_eq!(site.journal().column(origins), ["api:blog", "api:shop", "cli"]);

    let shown = show(port, SHOP, &id);
    assert_eq!((shown.status, &shown.json()["message"]["state"]), (200, &json!("waiting")), "{shown:?}");
    let lower = show(port, SHOP, &id.to_lowercase());
    assert_eq!(lower.status, 200, "{lower:?}");
    for (token, id) in [(BLOG, id.as_str()), (SHOP, &id[..10]), (SHOP, "01KARY00012D5H8J4K6N9P3Q7R"), (SHOP, "%25%5f")]
    {
        let shown = show(port, token, id);
        assert_eq!((shown.status, shown.error().as_str()), (404, "no-message"), "{id}: {shown:?}");
    }
    assert!(site.log().contains("listening"), "{}", site.log());
}

#[test]
fn nothing_else_is_reached_over_tcp() {
    let (site, port) = site();
    let _daemon = site.start();
    let token = format!("Authorization: Bearer {SHOP}\r\n");
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/v1/status"),
        ("GET", "/v1/tasks"),
        ("POST", "/v1/tasks/x/run"),
        ("GET", "/v1/runs"),
        ("GET", "/v1/push"),
        ("DELETE", "/v1/push"),
        ("POST", "/v1/push/01KARY00012D5H8J4K6N9P3Q7R/drop"),
        ("POST", "/v1/push/resend"),
        ("POST", "/v1/push/resume"),
        ("POST", "/v1/reload"),
        ("GET", "/v1/push/"),
        ("GET", "/v1//push/x"),
        ("GET", "/v1/push/a/../../status"),
        ("GET", "/v1/egress"),
        ("POST", "/healthz"),
        ("GET", "/healthz/x"),
        ("PUT", "/v1/plans"),
    ] {
        let answer = ask(port, method, path, &token, "");
        assert_eq!((answer.status, answer.error().as_str()), (404, "no-path"), "{method} {path}: {answer:?}");
    }
    assert_eq!(ask(port, "GET", "/healthz", "", "").json(), json!({"status": "ok"}), "without a token");
    assert_eq!(ask(port, "GET", "/healthz", "", "").status, 200);
}

#[test]
fn a_client_may_what_it_was_allowed() {
    let (site, port) = site();
    let _daemon = site.start();
    let refused = |answer: Answer, status: u16, error: &str, words: &str| {
        let (found, message) = (answer.error(), answer.message());
        assert_eq!((answer.status, found.as_str()), (status, error), "{answer:?}");
        assert!(message.contains(words), "{answer:?}");
        assert!(!answer.text.contains(SHOP) && !answer.text.contains(BLOG), "{answer:?}");
    };
    refused(push(port, BLOG, "", &hello("wecom")), 403, "forbidden", "listen.client.blog.channels");
    let chain = json!({"channels": ["mail", "wecom"], "content": {"text": "x"}}).to_string();
    refused(push(port, BLOG, "", &chain), 403, "forbidden", "`wecom`");
    let urgent = json!({"channels": ["mail"], "priority": "high", "content": {"text": "x"}}).to_string();
    refused(push(port, BLOG, "", &urgent), 403, "forbidden", "listen.client.blog.priority");
    assert_eq!(push(port, SHOP, "", &urgent).status, 202);
    let cli = json!({"origin": "cli", "channels": ["mail"], "content": {"text": "x"}}).to_string();
    refused(push(port, SHOP, "", &cli), 403, "forbidden", "api:shop");
    let large = json!({"channels": ["mail"], "content": {"text": "x".repeat(1_100)}}).to_string();
    refused(push(port, BLOG, "", &large), 400, "bad-request", "1024 are allowed");
    let huge = json!({"channels": ["mail"], "content": {"text": "x".repeat(20_000)}}).to_string();
    refused(push(port, BLOG, "", &huge), 413, "too-large", "bytes");
    // A message within its limit is taken in however JSON writes it.
    let text = "\\ud83d\\ude00".repeat(11_000);
    let escaped = format!(r#"{{"channels": ["mail"], "content": {{"text": "{text}"}}}}"#);
    assert_eq!(push(port, SHOP, "", &escaped).status, 202);
    // Five a minute: those that were refused count.
    let fast = push(port, BLOG, "", &hello("mail"));
    refused(fast.clone(), 429, "too-many", "listen.client.blog.rate");
    let wait: u64 = fast.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=12).contains(&wait), "{fast:?}");
    assert_eq!(push(port, SHOP, "", &hello("mail")).status, 202, "the other one has a rate of its own");

    for (body, words) in [
        ("", "line 1 column 0"),
        ("{\n  \"channels\": [\"mail\"],\n  nonsense\n}", "line 3 column 3"),
        ("{\"channels\": [\"mail\"], \"content\": {\"text\": \"x\"}, \"prio\": 1}", "unknown field `prio`"),
        ("{\"channels\": [], \"content\": {\"text\": \"x\"}}", "0 channels are named"),
        ("{\"channels\": [\"mail\"], \"content\": {}}", "it says nothing"),
        ("[]", "line 1 column"),
        ("{\"channels\": [\"mail\"], \"content\": {\"text\": \"\u{fffd}", "line 1 column"),
    ] {
        refused(push(port, SHOP, "", body), 400, "bad-request", words);
    }
    let number = site.journal().number("SELECT count(*) FROM outbox_message");
    assert_eq!(number, 3, "what was refused is not there");
}

#[test]
fn a_wrong_token_is_told_and_then_no_more() {
    let (site, port) = site();
    // What is behind a proxy has an address of its own.
    site.settings(&settings(&site, port).replace("[listen]\n", "[listen]\nproxies = [\"127.0.0.1\"]\n"));
    let _daemon = site.start();
    let from = |address: &str, token: &str| {
        let headers = format!("X-Forwarded-For: 203.0.113.1, {address}\r\nAuthorization: {token}\r\n");
        ask(port, "POST", "/v1/push", &headers, &hello("mail"))
    };
    let missing = ask(port, "POST", "/v1/push", "", &hello("mail"));
    assert_eq!((missing.status, missing.error().as_str()), (401, "unauthorized"), "{missing:?}");
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    let right = format!("Bearer {SHOP}");
    for wrong in [
        "Bearer nonsense",
        "Bearer shop-0123456789abcdeg",
        "Bearer shop-0123456789abcdef0",
        "Bearer ShOP-0123456789abcdef",
    ] {
        let answer = from("192.0.2.1", wrong);
        assert_eq!((answer.status, answer.error().as_str()), (401, "unauthorized"), "{answer:?}");
    }
    // What is no token at all is no attempt.
    assert!((0..20).all(|_| from("192.0.2.1", "Basic c2hvcDpzaG9w").status == 401));
    assert_eq!(from("192.0.2.1", &right).status, 202);
    assert!((0..6).all(|_| from("192.0.2.1", "Bearer nonsense").status == 401));
    let closed = from("192.0.2.1", &right);
    assert_eq!((closed.status, closed.error().as_str()), (429, "too-many"), "right or wrong: {closed:?}");
    assert!((1..=60).contains(&closed.header("retry-after").unwrap().parse::<u64>().unwrap()), "{closed:?}");
    assert_eq!(from("192.0.2.2", &right).status, 202, "another address");
    // This machine's own address is that of all its programs: a right token is heard.
    let here =
        |token| ask(port, "POST", "/v1/push", &format!("Authorization: Bearer {token}\r\n"), &hello("mail")).status;
    assert_eq!((0..11).map(|_| here("nonsense")).collect::<Vec<_>>()[9..], [401, 429]);
    assert_eq!(here(SHOP), 202);
    let (log, lines) = (site.log(), site.log().matches("token that nobody has").count());
    assert_eq!(lines, 4, "the first and the last of each address: {log}");
    assert!(!log.contains("nonsense") && !log.contains("0123456789abcdef"), "{log}");
}

#[test]
fn slow_and_large_requests_end() {
    let (site, port) = site();
    let _daemon = site.start();
    // Heads that never end, and one that is idle: each is closed, and others are answered meanwhile.
    let started = Instant::now();
    let mut slow: Vec<_> = (0..40).map(|_| connect(port)).collect();
    for stream in &mut slow {
        stream.write_all(b"POST /v1/push HTTP/1.1\r\nHost: x\r\nX-A: ").unwrap();
    }
    let idle = connect(port);
    let mut waiting = connect(port);
    let head =
        format!("POST /v1/push HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SHOP}\r\nContent-Length: 100\r\n\r\n{{");
    waiting.write_all(head.as_bytes()).unwrap();
    assert_eq!(push(port, SHOP, "", &hello("mail")).status, 202, "others are answered");
    let mut said = String::new();
    waiting.read_to_string(&mut said).unwrap();
    let answer = parse(&said);
    assert_eq!((answer.status, answer.error().as_str()), (408, "timeout"), "{answer:?}");
    for stream in slow.iter_mut().chain([&mut { idle }]) {
        let mut said = Vec::new();
        // It may say that it was too slow; what counts is that it ends.
        let _ = stream.read_to_end(&mut said);
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&said));
    }
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());

    let long = raw(port, format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: {}\r\n\r\n", "a".repeat(20_000)).as_bytes());
    assert_eq!(parse(&long).status, 431, "{long}");
    let many = raw(port, format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-A: b\r\n".repeat(100)).as_bytes());
    assert_eq!(parse(&many).status, 431, "{many}");
    let claimed = format!(
        "POST /v1/push HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SHOP}\r\nContent-Length: 99999999\r\n\r\n"
    );
    assert_eq!(parse(&raw(port, claimed.as_bytes())).status, 413);
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "a".repeat(60_000));
    let chunked = format!(
        "POST /v1/push HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SHOP}\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        chunk.repeat(6)
    );
    assert_eq!(parse(&raw(port, chunked.as_bytes())).status, 413);
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
    ] {
        let said = raw(port, nonsense);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.1 505"), "{said:?}");
    }
    assert_eq!(push(port, SHOP, "", &hello("mail")).status, 202);
}

#[test]
fn more_connections_than_there_may_be_are_turned_away() {
    let (site, port) = site();
    let _daemon = site.start();
    let mut held: Vec<_> = (0..256).map(|_| connect(port)).collect();
    let turned_away = within(Duration::from_secs(10), "a connection that is turned away", || {
        let said = raw(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        said.starts_with("HTTP/1.1 503").then_some(said)
    });
    assert!(turned_away.contains("Retry-After: 1"), "{turned_away}");
    held.truncate(255);
    eventually("an answer", || (ask(port, "GET", "/healthz", "", "").status == 200).then_some(()));
}

#[test]
fn a_reload_changes_tokens_and_loses_nothing() {
    let (site, port) = site();
    let mut daemon = site.start();
    // A request whose body comes after the reload, with a token that is gone by then.
    let body = hello("mail");
    let mut slow = connect(port);
    let head = format!(
        "POST /v1/push HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {BLOG}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).unwrap();
    sleep(Duration::from_millis(300));
    daemon.notices();
    secret(&site, "blog", "blog-fedcba9876543210");
    let reload = site.cli(&["reload"]);
    assert_eq!(reload.code, 0, "{reload:?}");
    slow.write_all(body.as_bytes()).unwrap();
    let mut said = String::new();
    slow.read_to_string(&mut said).unwrap();
    assert_eq!(parse(&said).status, 202, "{said}");
    assert_eq!(push(port, BLOG, "", &body).status, 401, "the old token");
    assert_eq!(push(port, "blog-fedcba9876543210", "", &body).status, 202, "the new one");

    // Many requests during reloads: each is answered.
    let gone = std::thread::scope(|scope| {
        let asking = scope.spawn(|| (0..200).filter(|_| push(port, SHOP, "", &body).status != 202).count());
        for _ in 0..5 {
            assert_eq!(site.cli(&["reload"]).code, 0);
            // Nobody else reads what the service manager is told.
            daemon.notices();
        }
        asking.join().unwrap()
    });
    assert_eq!(gone, 0);

    // An address that is taken: an error that names it, and everything stays.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    sleep(Duration::from_millis(500));
    site.settings(&settings(&site, address.port()));
    let reload = site.cli(&["reload"]);
    assert_eq!(reload.code, 2, "{reload:?}");
    let text = reload.stderr.replace('\n', " ");
    assert!(text.contains(&format!("{address} is taken")) && text.contains("listen.address"), "{reload:?}");
    assert_eq!(push(port, SHOP, "", &body).status, 202, "the one before stays in use");
    let status = site.api().get("/v1/status");
    assert!(status["config_error"].as_str().unwrap().contains("is taken"), "{status}");

    daemon.notices();
    // One that becomes free is taken, and the one before is let go.
    drop(taken);
    assert_eq!(site.cli(&["reload"]).code, 0);
    assert_eq!(push(address.port(), SHOP, "", &body).status, 202);
    eventually("the end of the one before", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_err().then_some(())
    });

    // A part of its own address cannot be had; nothing is nothing.
    let wider = settings(&site, address.port())
        .replace("127.0.0.1:", "0.0.0.0:")
        .replace("[listen]\n", "[listen]\ninsecure = true\n");
    site.settings(&wider);
    let reload = site.cli(&["reload"]);
    assert!(reload.code == 2 && reload.stderr.replace('\n', " ").contains("upkeep itself listens"), "{reload:?}");
    site.settings("");
    assert_eq!(site.cli(&["reload"]).code, 0);
    eventually("the end of listening", || {
        std::net::TcpStream::connect(("127.0.0.1", address.port())).is_err().then_some(())
    });
    assert!(daemon.stop().success());
}

#[test]
fn a_daemon_without_its_address_or_its_tokens_does_not_come_up() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::new(&[]);
    site.settings(&settings(&site, taken.local_addr().unwrap().port()));
    assert!(!site.spawn().wait().success(), "{}", site.log());
    assert!(site.log().contains("is taken by another program"), "{}", site.log());
    let port = free_port();
    for (name, token, words) in [
        ("blog", "short", "shorter than 16 bytes"),
        ("blog", SHOP, "the client `blog` has the same token"),
        ("blog", "with spaces in it, which no header takes", "spaces or characters beyond ASCII"),
    ] {
        site.settings(&settings(&site, port));
        secret(&site, name, token);
        let mut daemon = site.spawn();
        assert!(!daemon.wait().success(), "{}", site.log());
        assert!(site.log().replace('\n', " ").contains(words), "{words}: {}", site.log());
        assert!(!site.log().contains(SHOP), "{}", site.log());
    }
}

/// The example of docs/api.md, in real nginx, as somebody far away sees it.
#[test]
fn the_documented_nginx_stands_in_front() {
    let Some(server) = nginx::Server::installed() else { return };
    let (site, port) = site();
    site.settings(&settings(&site, port).replace("[listen]\n", "[listen]\nproxies = [\"127.0.0.1\"]\n"));
    let _daemon = site.start();
    let server = server.start(&site, port);
    let key = ["-H", "Idempotency-Key: order-7"];
    let body = hello("mail");
    let given = server
        .curl("/v1/push", &[&key[..], &["-H", &format!("Authorization: Bearer {SHOP}"), "--data", &body]].concat());
    assert_eq!(given.0, 202, "{given:?}");
    let id = serde_json::from_str::<serde_json::Value>(&given.1).unwrap()["id"].as_str().unwrap().to_owned();
    let shown = server.curl(&format!("/v1/push/{id}"), &["-H", &format!("Authorization: Bearer {SHOP}")]);
    assert_eq!(shown.0, 200, "{shown:?}");
    for path in ["/healthz", "/v1/status", "/", "/v1/push/../status", "/v1/pushx"] {
        assert_eq!(server.curl(path, &["--path-as-is"]).0, 404, "{path}");
    }
    // What the outside claims to be is not believed.
    let wrong = ["-H", "X-Forwarded-For: 192.0.2.99", "-H", "Authorization: Bearer nonsense", "--data", "{}"];
    assert_eq!(server.curl("/v1/push", &wrong).0, 401);
    eventually("a line in the log", || site.log().contains("token that nobody has").then_some(()));
    assert!(site.log().contains("address=127.0.0.1") && !site.log().contains("192.0.2.99"), "{}", site.log());
    let large = site.path("large");
    std::fs::write(&large, "x".repeat(1_100_000)).unwrap();
    let large = format!("@{}", large.display());
    assert_eq!(server.curl("/v1/push", &["-H", &format!("Authorization: Bearer {SHOP}"), "--data", &large]).0, 413);
}
