//! Canaries: every kind of secret that upkeep holds for the delivery of messages, toward servers that say back whatever they were told,
//! in each kind of failure. Afterwards no canary is in anything that upkeep keeps, shows or logs, nor in what a crash leaves.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::json;
use upkeep_tests::fake::callback::{Shape, Teller};
use upkeep_tests::{Received, Receiver, Reply, Site, eventually};

/// Secrets by the name of their file. Characters that URLs, JSON and mail write in other ways are in some of them.
const CANARIES: [(&str, &str); 14] = [
    ("wecom", "canary-wecom/7Qx+z=&k"),
    ("dingtalk-token", "canary-dingtalk-0001"),
    ("dingtalk-sign", "SECcanary-dingtalk-0002"),
    ("feishu", "canary-feishu-0003"),
    ("feishu-sign", "canary-feishu-\"sign\"-0004"),
    ("topic", "canary-topic-0005"),
    ("login", "upkeep:canary \"login\"\\0006"),
    ("hook", "whsec_Y2FuYXJ5LWhvb2stc2lnbmF0dXJlLTAwMDc="),
    ("bearer", "canary bearer/+0008"),
    ("appsecret", "canary-appsecret-0009"),
    ("mail", "canary-mail-pass\\word-0010"),
    ("client", "canary-client-token-0011-0123456789"),
    ("callback", "canary-callback-token-0014"),
    ("aes-key", "canaryEncodingAESKey00150123456789abcdefghi"),
];

/// What signs, of the secret of the webhook.
const HOOK_KEY: &str = "canary-hook-signature-0007";

/// The access token that the strange WeChat gives.
const TOKEN: &str = "canary-access-token-0012";

/// A password that a stranger tries at the door.
const WRONG: &str = "canary-wrong-token-0013";

/// A server that says back all that it was told, in the body and a header, and fails in a different way each time.
fn parrot() -> Receiver {
    let (count, tokens) = (AtomicU32::new(0), AtomicU32::new(0));
    Receiver::start(move |asked: &Received| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let headers: Vec<String> = asked.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        let all = format!("{} {} | {} | {body}", asked.method, asked.path, headers.join(" | "));
        if asked.path.starts_with("/cgi-bin/stable_token") {
            // The second time it refuses, and tells the application's secret to everybody.
            let is_first = tokens.fetch_add(1, Ordering::Relaxed) == 0;
            let refused = json!({ "errcode": 40164, "errmsg": format!("invalid ip 1.2.3.4, not in whitelist: {all}") });
            let given = json!({ "access_token": TOKEN, "expires_in": 7200, "errmsg": all });
            return Reply::new(200, if is_first { given } else { refused }.to_string());
        }
        let told = |code: i64| json!({ "errcode": code, "code": code, "errmsg": all, "msg": all }).to_string();
        if asked.path.starts_with("/cgi-bin/message") {
            return Reply::new(200, told(40_001));
        }
        let reply = match number % 8 {
            0 => Reply::new(500, &*all),
            1 => Reply::new(200, told(93_000)),
            2 => Reply::new(422, &*all),
            3 => Reply::new(200, told(45_009)),
            4 => Reply::new(200, told(40_001)),
            5 => Reply::new(302, &*all).header("location", format!("/elsewhere?{}", asked.path.replace('/', "%2F"))),
            6 => Reply::new(200, told(-1)),
            _ => Reply::new(401, STANDARD.encode(&all)),
        };
        reply.header("x-told", all.replace(|it: char| it.is_control(), " "))
    })
}

/// A mail server that refuses every password, and says which it was.
fn mail_parrot() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drop(talk(&stream)));
        }
    });
    port
}

fn talk(stream: &TcpStream) -> std::io::Result<()> {
    let mut writer = stream;
    writer.write_all(b"220 parrot ESMTP\r\n")?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let reply = match line.split(' ').next().unwrap_or_default() {
            "EHLO" => "250-parrot\r\n250 AUTH PLAIN LOGIN\r\n".to_owned(),
            "AUTH" => {
                let sent = line.rsplit(' ').next().unwrap_or_default();
                let plain = STANDARD.decode(sent).unwrap_or_default();
                let plain = String::from_utf8_lossy(&plain).replace('\0', " ");
                format!("535 5.7.8 {line} that is {plain}, no\r\n")
            }
            "QUIT" => "221 bye\r\n".to_owned(),
            _ => format!("550 5.0.0 {line}\r\n"),
        };
        writer.write_all(reply.as_bytes())?;
    }
    Ok(())
}

fn secret(site: &Site, name: &str, value: &str) -> PathBuf {
    let path = site.path("secrets").join(name);
    fs::write(&path, value).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What a secret looks like in whatever way somebody may have written it down.
fn spellings(value: &str) -> Vec<String> {
    let percent = |keep: &str| -> String {
        let each = |byte: u8| match byte {
            byte if byte.is_ascii_alphanumeric() || keep.as_bytes().contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        value.bytes().map(each).collect()
    };
    let quoted = json!(value).to_string();
    let hexadecimal: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut all = vec![
        value.to_owned(),
        quoted[1..quoted.len() - 1].to_owned(),
        percent("-_.~"),
        percent("-_.~/=&+:"),
        hexadecimal,
        STANDARD.encode(value),
    ];
    all.sort();
    all.dedup();
    all
}

/// All files beneath a folder, but for those in which the operator keeps the secrets.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !path.ends_with("secrets") => files(&path, found),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
}

fn configure(site: &Site, port: u16, mail: u16, listen: u16) {
    fs::create_dir(site.path("secrets")).unwrap();
    let paths: Vec<(&str, PathBuf)> = CANARIES.iter().map(|(name, value)| (*name, secret(site, name, value))).collect();
    let path = |name: &str| paths.iter().find(|it| it.0 == name).unwrap().1.display().to_string();
    let base = format!("http://127.0.0.1:{port}");
    let mut task = format!(
        "plugin = \"push\"\nschedule.outbox = true\n\
         [config.channels.wecom]\nwecom = {{ key = \"wecom\", base = \"{base}\" }}\n\
         [config.channels.dingtalk]\n\
         dingtalk = {{ access_token = \"dingtalk-token\", signed_with = \"dingtalk-sign\", base = \"{base}\" }}\n\
         [config.channels.feishu]\nfeishu = {{ hook = \"feishu\", signed_with = \"feishu-sign\", base = \"{base}\" }}\n\
         [config.channels.ntfy]\nntfy = {{ topic = {{ secret = \"topic\" }}, login = \"login\", base = \"{base}\" }}\n\
         [config.channels.hook]\nwebhook = {{ url = \"{base}/hook\", signed_with = \"hook\", bearer = \"bearer\" }}\n\
         [config.channels.shop]\nwechat_service = {{ token = \"shop-token\", base = \"{base}\" }}\n\
         [config.channels.news]\n\
         wechat_subscribe = {{ token = \"shop-token\", base = \"{base}\", templates = {{ paid = {{ id = \"P1\" }} }} }}\n\
         [config.channels.mail]\nmail = {{ server = \"main\", from = \"upkeep@example.org\", to = [\"ops@example.org\"] }}\n\
         [grant]\nstate = true\nmetrics = true\n[grant.outbox]\naccess = [\"deliver\"]\n\
         [grant.http]\nallow = [\"{base}/\"]\nnetworks = [\"127.0.0.0/8\"]\ntimeout = \"5s\"\n\
         [grant.smtp.main]\nhost = \"127.0.0.1\"\nport = {mail}\ntls = \"none\"\nuser = \"upkeep\"\npassword = {{ file = \"{}\" }}\n\
         from = [\"upkeep@example.org\"]\nto = [\"ops@example.org\"]\n\
         [grant.secrets.shop-token]\nwechat = {{ appid = \"wx0123456789abcdef\", file = \"{}\", api = \"{base}\" }}\n",
        path("mail"),
        path("appsecret")
    );
    for name in ["wecom", "dingtalk-token", "feishu", "topic", "login", "bearer"] {
        task += &format!("[grant.secrets.{name}]\nfile = \"{}\"\nhosts = [\"{base}\"]\n", path(name));
    }
    for name in ["dingtalk-sign", "feishu-sign", "hook"] {
        task += &format!("[grant.secrets.{name}]\nfile = \"{}\"\naccess = [\"sign\"]\n", path(name));
    }
    site.settings(&format!(
        "[listen]\naddress = \"127.0.0.1:{listen}\"\n[listen.client.shop]\ntoken = {{ file = \"{}\" }}\nchannels = [\"*\"]\n\
         [listen.wechat.shop]\nappid = \"wx0123456789abcdef\"\ntoken = {{ file = \"{}\" }}\nencoding_aes_key = {{ file = \"{}\" }}\n",
        path("client"),
        path("callback"),
        path("aes-key")
    ));
    site.task("push", &task);
}

/// Gives a message over TCP; the status.
fn give(listen: u16, token: &str, channel: &str, number: u32) -> String {
    let mut content = json!({ "title": format!("{channel} {number}"), "to": "oUser-0001-aaaaaaaaaaaaaaaaa" });
    if channel == "news" {
        (content["template"], content["fields"]) = (json!("paid"), json!({ "thing1": "coffee" }));
    }
    let body = json!({ "channels": [channel], "content": content }).to_string();
    ask(listen, "/v1/push", &format!("authorization: Bearer {token}\r\n"), &body)
}

/// Tells of a consent as WeChat does, who may have keys that are not ours; the status.
fn tell(listen: u16, teller: &Teller, number: u32) -> String {
    let now = upkeep_tests::now();
    let event = teller.popup("oUser-0001-aaaaaaaaaaaaaaaaa", now, &[("P1", true)], Shape::Array);
    let told = teller.told(&event, now, u64::from(number));
    ask(
        listen,
        &format!("/wechat/shop?{}", told.query),
        &format!("content-type: {}\r\n", told.content_type),
        &told.body,
    )
}

/// Posts something over TCP; the status.
fn ask(listen: u16, path: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", listen)).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).unwrap();
    status
}

#[test]
fn no_secret_is_in_anything_that_is_kept_shown_or_logged() {
    let site = Site::new(&[]);
    site.shipped("push");
    let (parrot, mail, listen) = (parrot(), mail_parrot(), free_port());
    configure(&site, parrot.port(), mail, listen);
    // Wherever the operator allows core files, upkeep leaves none.
    let program = site.command(&["daemon"]);
    let mut shell = Command::new("sh");
    shell.env_clear().args(["-c", "ulimit -c unlimited; cd \"$0\" && exec \"$@\""]).arg(site.dir());
    shell.arg(program.get_program()).args(program.get_args()).env("UPKEEP_LOG", "trace");
    program.get_envs().for_each(|(name, value)| {
        shell.env(name, value.unwrap_or_default());
    });
    let mut daemon = site.spawn_with(&mut shell);
    eventually("the listener", || TcpStream::connect(("127.0.0.1", listen)).ok());

    // Where core files go elsewhere, no test finds them there.
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core: Vec<&str> =
        limits.lines().find(|it| it.starts_with("Max core file size")).unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "{core:?}");

    let (callback, key) = (CANARIES[12].1, CANARIES[13].1);
    let ours = Teller::new(callback, key, "wx0123456789abcdef");
    let others =
        [Teller::new(callback, &"A".repeat(43), "wx0123456789abcdef"), Teller::new(WRONG, key, "wx0123456789abcdef")];
    let mut asked = 0;
    for round in 0..6 {
        for channel in ["wecom", "dingtalk", "feishu", "ntfy", "hook", "shop", "news", "mail"] {
            assert!(give(listen, CANARIES[11].1, channel, round).contains(" 202 "), "{channel}");
            asked += 1;
        }
        assert!(give(listen, WRONG, "mail", round).contains(" 401 "));
        assert!(tell(listen, &ours, round).contains(" 200 "));
        // Who is wrong too often is not heard any more.
        for other in others.iter().filter(|_| round == 0) {
            let status = tell(listen, other, round);
            assert!(status.contains(" 400 ") || status.contains(" 403 "), "{status}");
        }
        let attempts = "SELECT count(*) FROM outbox_attempt";
        let enough = i64::from(asked) * 2 / 3;
        eventually("attempts", || (site.journal().number(attempts) >= enough.min(20)).then_some(()));
        // Channels that were paused because of their failures are tried again.
        let resumed = site.cli(&["push", "resend", "--dead"]);
        assert_eq!(resumed.code, 0, "{resumed:?}");
    }
    let told = site.journal().column("SELECT DISTINCT channel FROM outbox_attempt ORDER BY 1");
    assert_eq!(told, ["dingtalk", "feishu", "hook", "mail", "news", "ntfy", "shop", "wecom"], "all were tried");

    let mut shown = vec![("the log".to_owned(), site.log())];
    for command in [
        &["check"][..],
        &["status"],
        &["history", "--json"],
        &["history"],
        &["push", "list", "--json"],
        &["push", "list"],
        &["push", "consents"],
        &["push", "tokens"],
        &["push", "tokens", "--json"],
        &["egress", "--json", "-n", "1000"],
        &["egress", "-n", "1000"],
        &["list"],
        &["findings"],
        &["plan", "push"],
    ] {
        let ran = site.cli(command);
        shown.push((format!("upkeep {}", command.join(" ")), ran.stdout + &ran.stderr));
    }
    for run in site.runs("push") {
        let id = run["id"].as_str().unwrap();
        shown.push((format!("upkeep logs {id}"), site.cli(&["logs", id]).stdout));
        shown.push((format!("upkeep show {id}"), site.cli(&["show", id, "--json"]).stdout));
    }
    for message in site.journal().column("SELECT id FROM outbox_message") {
        let id = message.as_str().unwrap().to_owned();
        shown.push((format!("upkeep push show {id}"), site.cli(&["push", "show", &id, "--json"]).stdout));
    }
    assert!(shown.iter().any(|(_, text)| text.contains("user or password refused")), "the mail server was heard");
    assert!(shown.iter().any(|(_, text)| text.contains("1.2.3.4")), "WeChat was heard");

    daemon.signal(Signal::ABORT);
    assert!(!daemon.wait().success());
    let mut kept = Vec::new();
    files(site.dir(), &mut kept);
    assert!(kept.iter().any(|path| path.ends_with("upkeep.db")), "{kept:?}");
    let cores =
        kept.iter().filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("core")));
    assert_eq!(cores.count(), 0, "a crash leaves no core file");

    let mut searched = 0;
    let more = [("access token", TOKEN), ("wrong token", WRONG), ("the key of the webhook", HOOK_KEY)];
    for (name, value) in CANARIES.iter().copied().chain(more) {
        for spelling in spellings(value) {
            for (place, text) in &shown {
                assert!(!text.contains(&spelling), "{name} ({spelling}) is in {place}");
                searched += 1;
            }
            for path in &kept {
                let bytes = fs::read(path).unwrap_or_default();
                let found = memchr::memmem::find(&bytes, spelling.as_bytes());
                assert!(found.is_none(), "{name} ({spelling}) is in {}", path.display());
                searched += 1;
            }
        }
    }
    println!(
        "{searched} searches in {} texts and {} files; {} connections",
        shown.len(),
        kept.len(),
        parrot.connections()
    );
}
