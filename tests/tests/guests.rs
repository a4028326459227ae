//! Every guest under `tests/guests` comes to the outcome that it must have, and others go on meanwhile.
//!
//! `every_guest!` calls a function of [`outcome`] for each folder there: a guest without one does not compile, and one
//! without a guest is dead code, which is an error as well.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, inotify, renameat_with};
use serde_json::Value;
use upkeep_tests::{Daemon, Site, eventually, within};

macro_rules! one_test_each {
    ($($guest:ident)*) => { $( #[test] fn $guest() { outcome::$guest(); } )* };
}
upkeep_tests::every_guest!(one_test_each);

/// A site with a guest, and beside it a task that must not suffer from it.
fn site(guest: &str, task: &str) -> (Site, Daemon) {
    let site = Site::new(&[guest, "noop"]);
    site.task(guest, &format!("plugin = \"{guest}\"\n{task}"));
    site.task("bystander", "plugin = \"noop\"\nschedule.overlap = \"allow\"");
    let daemon = site.start();
    (site, daemon)
}

/// Runs the guest to its end, and the bystander meanwhile.
fn run(site: &Site, guest: &str) -> Value {
    let run = site.api().run(guest);
    let bystander = site.run("bystander");
    assert_eq!(bystander["outcome"]["outcome"], "succeeded", "{bystander}");
    let waited = bystander["ended"].as_i64().unwrap() - bystander["queued"].as_i64().unwrap();
    assert!(waited < 5_000, "another task took {waited} ms beside {guest}");
    site.ended(&run)
}

/// Runs a guest that is all there is to it.
fn ends(guest: &str, task: &str) -> Value {
    let (site, _daemon) = site(guest, task);
    run(&site, guest)["outcome"].take()
}

#[track_caller]
fn exceeds(guest: &str, task: &str, limit: &str) {
    let outcome = ends(guest, task);
    assert_eq!((&outcome["outcome"], &outcome["limit"]), (&"limit-exceeded".into(), &limit.into()), "{outcome}");
    // The operator is told the key, unless the limit is not theirs to set.
    let message = outcome["message"].as_str().unwrap();
    assert!(limit == "stack" || message.contains(&format!("limits.{limit}")), "{message}");
}

/// A granted root with something beside it that nobody may see.
fn root(site: &Site) {
    fs::create_dir_all(site.path("root/inside")).unwrap();
    fs::create_dir(site.path("canary")).unwrap();
    fs::write(site.path("root/harmless"), "harmless").unwrap();
    fs::write(site.path("secret"), CANARY).unwrap();
    fs::write(site.path("canary/secret"), CANARY).unwrap();
}

/// All that stands beneath a folder: inode, size and time of change; links are not followed.
fn listing(folder: &Path) -> BTreeMap<String, (u32, u64, u64, i64)> {
    let (mut all, mut waiting) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(above) = waiting.pop() {
        for entry in fs::read_dir(above).unwrap() {
            let path = entry.unwrap().path();
            let seen = path.symlink_metadata().unwrap();
            // A folder changes with what is in it.
            let own =
                if seen.is_dir() { (0, 0) } else { (seen.len(), seen.mtime() * 1_000_000_000 + seen.mtime_nsec()) };
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            all.insert(name, (seen.mode(), seen.ino(), own.0, own.1));
            if seen.is_dir() {
                waiting.push(path);
            }
        }
    }
    all
}

/// What the names of a hosts file lead to. It is written in its place: another file would not be seen through a mount.
fn resolves_to(hosts: &Path, address: &str) {
    let text = format!("127.0.0.1 localhost\n::1 localhost\n{address} moving.test\n127.0.0.1 here.test\n");
    fs::write(hosts, text).unwrap();
}

/// A web server on all addresses of this machine; gives its port. Before it answers it tells the request line, and afterwards
/// it closes the connection.
fn answering(tell: impl Fn(&str) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let mut lines = BufReader::new(&connection).lines().map_while(Result::ok);
            let line = lines.next().unwrap_or_default();
            let _ = lines.find(String::is_empty);
            tell(&line);
            let head = match line.split_once("?to=").and_then(|(_, to)| to.split_whitespace().next()) {
                Some(to) => format!("302 Found\r\nlocation: {to}"),
                None => "200 OK".to_owned(),
            };
            let body = if line.contains("secret") { CANARY } else { "public" };
            let length = body.len();
            let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = (&connection).write_all(answer.as_bytes());
        }
    });
    port
}

/// A mail server on this machine that takes whatever comes. Gives its port, and each line that it was told: `| ` stands in front of
/// those of a mail.
fn taking_mail() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(Vec::<String>::new()));
    let told = Arc::clone(&heard);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let told = Arc::clone(&told);
            std::thread::spawn(move || {
                let say = |reply: &str| (&connection).write_all(format!("{reply}\r\n").as_bytes());
                let (mut is_mail, _) = (false, say("220 here"));
                for line in BufReader::new(&connection).lines().map_while(Result::ok) {
                    let is_content = is_mail && line != ".";
                    told.lock().unwrap().push(if is_content { format!("| {line}") } else { line.clone() });
                    let reply = match line.as_str() {
                        "." => "250 taken",
                        _ if is_mail => continue,
                        "DATA" => "354 go on",
                        _ => "250 fine",
                    };
                    is_mail = line == "DATA";
                    let _ = say(reply);
                }
            });
        }
    });
    (port, heard)
}

/// A web server on all addresses of this machine that gives back what it is sent, as the path says. Gives its port, and all the
/// requests that came.
fn giving_back() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::<String>::new()));
    let told = Arc::clone(&asked);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let _ = connection.set_nodelay(true);
            let mut reader = BufReader::new(&connection);
            let (mut request, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                    break;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
                request.push_str(&line);
            }
            let mut body = vec![0; length];
            let _ = reader.read_exact(&mut body);
            request.push_str(&String::from_utf8_lossy(&body));
            let mut before = told.lock().unwrap();
            let path = request.split([' ', '?']).nth(1).unwrap_or_default();
            let last = before.last().cloned().unwrap_or_default();
            let parameter = |name: &str| {
                let behind = request.split_once(&format!("{name}=")).map(|(_, behind)| behind);
                behind.and_then(|it| it.split(['&', ' ']).next()).unwrap_or_default()
            };
            let key = parameter("key");
            let refused = |words: &str| serde_json::json!({ "errcode": 40001, "errmsg": words }).to_string();
            let (status, headers, body) = match path {
                // A token for the application, another one each time; and whoever comes with it is refused.
                "/cgi-bin/stable_token" => {
                    let number = before.iter().filter(|it| it.contains("stable_token")).count();
                    let token = format!("wechat-7Hq2vX9fLw83-token-{number}");
                    let told = serde_json::json!({ "access_token": token, "expires_in": 7_200, "heard": request });
                    ("200 OK", String::new(), told.to_string())
                }
                "/stale" => ("200 OK", String::new(), refused(&request)),
                // WeChat tells whoever has a token what was sent to it, tokens and secrets included.
                "/rid" => {
                    let all: Vec<&String> = before.iter().filter(|it| it.contains("stable_token")).collect();
                    ("200 OK", String::new(), serde_json::json!({ "request_body": all, "own": request }).to_string())
                }
                "/header" => {
                    ("200 OK", format!("x-echo: <{key}>\r\n{key}: name\r\netag: \"{key}\"\r\n"), String::new())
                }
                "/json" => ("200 OK", String::new(), serde_json::to_string(&request).unwrap()),
                "/base64" => ("200 OK", String::new(), base64(&request)),
                "/last" => ("200 OK", String::new(), last),
                "/gzip" => ("200 OK", "content-encoding: gzip\r\n".to_owned(), request.clone()),
                "/broken" => ("500 Oh", "content-length: 100000\r\n".to_owned(), request.clone()),
                "/garbled" => (key, key.to_owned(), request.clone()),
                "/redirect" => ("302 Found", format!("location: {}?key={key}\r\n", parameter("to")), String::new()),
                _ => ("200 OK", String::new(), request.clone()),
            };
            let size = if path == "/pieces" { 5 } else { body.len().max(1) };
            before.push(request.clone());
            drop(before);
            let _ =
                (&connection).write_all(format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\n\r\n").as_bytes());
            for piece in body.as_bytes().chunks(size) {
                let _ = (&connection).write_all(piece);
                std::thread::sleep(Duration::from_micros(if size == 5 { 500 } else { 0 }));
            }
        }
    });
    (port, asked)
}

/// RFC 4648, without the end.
fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |bytes: &[u8]| {
        let bits = bytes.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))
    };
    text.as_bytes().chunks_exact(3).flat_map(group).collect()
}

/// The files beneath a folder in which one of these texts is.
fn holding(folder: &Path, texts: &[&str]) -> Vec<PathBuf> {
    let (mut found, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(above) = waiting.pop() {
        for entry in fs::read_dir(above).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_dir() {
                waiting.push(path);
            } else if kind.is_file() {
                let bytes = fs::read(&path).unwrap();
                let bytes = String::from_utf8_lossy(&bytes);
                if texts.iter().any(|text| bytes.contains(text)) {
                    found.push(path);
                }
            }
        }
    }
    found
}

/// The daemon, for which names resolve as `hosts` says. None, said loudly, where nothing can be mounted.
fn own_names(site: &Site, hosts: &Path) -> Option<Daemon> {
    let command = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(hosts);
        command.arg(program);
        command
    };
    if !command("true").status().is_ok_and(|status| status.success()) {
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: nothing can be mounted here (that takes root)\n");
        return None;
    }
    let program = upkeep_tests::program();
    let mut command = command(&program.display().to_string());
    command.env("UPKEEP_CONFIG", site.config()).env("TZ", "UTC").arg("daemon");
    Some(site.spawn_with(&mut command))
}

/// A filesystem of its own, as long as this lasts.
struct Mount(PathBuf);

impl Mount {
    /// None, said loudly, where nothing can be mounted.
    fn on(folder: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "upkeep-test"]).arg(folder).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder.to_owned()));
        }
        // Directly, since the test harness hides what a passing test prints.
        let _ = writeln!(
            std::io::stderr(),
            "\nSKIPPED in part: no other filesystem can be mounted here (that takes root)\n"
        );
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

const CANARY: &str = "the canary sings";

fn grant(site: &Site, access: &str) -> String {
    format!("[grant.files.data]\npath = \"{}\"\naccess = {access}\n", site.path("root").display())
}

/// What a run left for people to read.
fn traces(site: &Site, run: &Value) -> String {
    format!("{run} {}", site.logs(run["id"].as_str().unwrap()))
}

/// A guest that tries to get out of its root is denied, sees nothing and leaves nothing.
fn stays_inside(guest: &str, config: impl Fn(&Site) -> String) {
    let site = Site::new(&[guest, "noop"]);
    root(&site);
    if guest == "escape-symlink" {
        symlink(site.path("canary"), site.path("root/folder")).unwrap();
        symlink("folder", site.path("root/chain")).unwrap();
        symlink(site.path("canary/secret"), site.path("root/file")).unwrap();
    }
    let grant = grant(&site, r#"["read", "write"]"#);
    site.task(guest, &format!("plugin = \"{guest}\"\n[config]\nroot = \"data\"\n{}\n{grant}", config(&site)));
    site.task("bystander", "plugin = \"noop\"");
    let _daemon = site.start();

    let run = run(&site, guest);
    assert_eq!(run["outcome"]["outcome"], "denied", "{}", traces(&site, &run));
    assert!(!traces(&site, &run).contains(CANARY));
    for (file, holds) in [("secret", CANARY), ("canary/secret", CANARY), ("root/harmless", "harmless")] {
        assert_eq!(fs::read_to_string(site.path(file)).unwrap(), holds, "{file} is as it was");
    }
    assert!(!site.path("canary/new").exists());
}

#[deny(dead_code, reason = "an expected outcome without a guest under tests/guests")]
mod outcome {
    use super::*;

    pub(super) fn noop() {
        assert_eq!(ends("noop", "")["outcome"], "succeeded");
    }

    pub(super) fn echo_steps() {
        let (site, _daemon) =
            site("echo-steps", "config = { steps = 20, sleep_ms = 5 }\ngrant.state = true\nparallel = 4");
        let run = run(&site, "echo-steps");
        assert_eq!(run["outcome"]["outcome"], "succeeded", "{run}");
        assert_eq!(run["report"]["summary"], "20 of 20 steps done, 0 of them not for the first time");
        assert_eq!(
            site.journal().number("SELECT count(*) FROM state WHERE task = 'echo-steps' AND CAST(value AS TEXT) = '1'"),
            20
        );
    }

    pub(super) fn spin() {
        let site = Site::new(&["spin", "noop"]);
        site.task("spin", "plugin = \"spin\"\ntimeout = \"3s\"\nschedule.overlap = \"allow\"");
        site.task("bystander", "plugin = \"noop\"");
        let _daemon = site.start();
        // More of them than there are threads for guests.
        let others: Vec<_> = (0..4).map(|_| site.api().run("spin")).collect();
        let last = run(&site, "spin");
        assert_eq!(last["outcome"]["outcome"], "timed-out", "{last}");
        let took = last["ended"].as_i64().unwrap() - last["started"].as_i64().unwrap();
        assert!((2_900..6_000).contains(&took), "3 s were allowed, it took {took} ms");
        assert!(site.runs("bystander")[0]["ended"].as_i64() < last["ended"].as_i64(), "others end meanwhile");
        others.iter().for_each(|run| assert_eq!(site.ended(run)["outcome"]["outcome"], "timed-out"));
    }

    pub(super) fn sleep() {
        let (site, _daemon) = site("sleep", "timeout = \"2s\"");
        let run = run(&site, "sleep");
        assert_eq!(run["outcome"]["outcome"], "timed-out", "{run}");
        let took = run["ended"].as_i64().unwrap() - run["started"].as_i64().unwrap();
        assert!((1_900..4_000).contains(&took), "2 s were allowed, it took {took} ms");
        assert!(site.runs("bystander")[0]["ended"].as_i64() < run["ended"].as_i64(), "others end meanwhile");
    }

    pub(super) fn grow_memory() {
        exceeds("grow-memory", "limits.memory = \"32 MiB\"", "memory");
    }

    pub(super) fn many_memories() {
        // One memory alone is within the limit.
        exceeds("many-memories", "limits.memory = \"64 MiB\"", "memory");
    }

    pub(super) fn recurse() {
        exceeds("recurse", "", "stack");
    }

    /// Mails of others, to others, with headers of the guest's own, too many and too large: none of them leaves.
    pub(super) fn smtp() {
        let site = Site::new(&["smtp", "noop"]);
        let (port, heard) = taking_mail();
        let mail = |server: &str, from: &str, to: &str, subject: &str, more: &str| {
            format!(
                "[[config.mails]]\nserver = \"{server}\"\nfrom = \"{from}\"\nto = [\"{to}\"]\nsubject = \"{subject}\"\n\
                 text = \"text\"\n{more}\n"
            )
        };
        let (own, ops) = ("upkeep@example.org", "ops@example.org");
        let ends = "x\\r\\n.\\r\\nMAIL FROM:<evil@evil.test>";
        let mails = [
            (mail("main", own, ops, "fine", ""), "accepted: 250 taken"),
            (mail("other", own, ops, "evil", ""), "`grant.smtp.other`"),
            (mail("main", "root@example.org", ops, "evil", ""), "`grant.smtp.main.from`"),
            (mail("main", "upkeep@example.org.evil.test", ops, "evil", ""), "`grant.smtp.main.from`"),
            (mail("main", own, "evil@evil.test", "evil", ""), "`grant.smtp.main.to`"),
            (mail("main", own, "ops@example.org\", \"evil@evil.test", "evil", ""), "`grant.smtp.main.to`"),
            (mail("main", own, "ops@example.org, evil@evil.test", "evil", ""), "is no address"),
            (mail("main", own, "ops@example.org>\\r\\nRCPT TO:<evil@evil.test", "evil", ""), "is no address"),
            (mail("main", "upkeep@example.org> BODY=8BITMIME", ops, "evil", ""), "is no address"),
            (mail("main", own, ops, "evil\\r\\nBcc: evil@evil.test", ""), "`subject`: a control character"),
            (mail("main", own, ops, "evil\\nBcc: evil@evil.test", ""), "`subject`: a control character"),
            (
                mail("main", own, ops, "evil", "name = \"x\\r\\nBcc: evil@evil.test\""),
                "`from.name`: a control character",
            ),
            (mail("main", own, ops, "evil", "more = 5000"), "grant.smtp.main.max_message"),
            (mail("main", own, ops, "fine", "").replace("\"text\"", &format!("\"{ends}\"")), "accepted: 250 taken"),
            (mail("main", own, ops, "fine", "times = 3"), "grant.smtp.main.max_messages"),
        ];
        let config: String = mails.iter().map(|(mail, _)| mail.as_str()).collect();
        let grant = format!(
            "[grant.smtp.main]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nfrom = [\"{own}\"]\n\
             to = [\"*@example.org\"]\nmax_message = \"4 KiB\"\nmax_messages = 4\n"
        );
        site.task("smtp", &format!("plugin = \"smtp\"\n{config}{grant}"));
        site.task("bystander", "plugin = \"noop\"");
        let _daemon = site.start();
        let run = run(&site, "smtp");
        assert_eq!(run["outcome"]["outcome"], "denied", "{run}");
        let traces = traces(&site, &run);
        for (at, (_, told)) in mails.iter().enumerate() {
            let line = traces.lines().find(|line| line.contains(&format!("attempt {at}: ")));
            assert!(line.is_some_and(|line| line.contains(told)), "{at} {told}: {line:?} {traces}");
        }
        let heard = heard.lock().unwrap().clone();
        let with = |start: &str| heard.iter().filter(|line| line.starts_with(start)).cloned().collect::<Vec<_>>();
        assert_eq!(with("MAIL"), vec![format!("MAIL FROM:<{own}>"); 4], "{heard:#?}");
        assert_eq!(with("RCPT"), vec![format!("RCPT TO:<{ops}>"); 4]);
        assert_eq!((with("EHLO").len(), with("DATA").len()), (with("QUIT").len(), 4));
        // What looks like the end of a mail is a line of it.
        assert!(heard.contains(&"| ..".to_owned()), "{heard:#?}");
        assert!(!heard.iter().any(|line| line.contains("Bcc")), "{heard:#?}");
        let rows = site.cli(&["egress", "smtp", "--json", "-n", "100"]).json();
        let rows = rows["requests"].as_array().unwrap();
        let with = |result: &str| rows.iter().filter(|it| it["result"] == result).count();
        assert_eq!((with("denied"), with("answered"), rows.len()), (4, 4, 8), "{rows:#?}");
        assert!(!serde_json::to_string(rows).unwrap().contains("fine"), "a subject is in the ledger");
    }

    pub(super) fn outbox() {
        let grant = "[grant.outbox]\naccess = [\"enqueue\", \"deliver\"]\n";
        let (site, _daemon) =
            site("outbox", &format!("config = {{ enqueue = 7, channel = \"mail\", claim = 5 }}\n{grant}"));
        let first = run(&site, "outbox");
        assert_eq!(first["report"]["summary"], "7 new, 7 sent", "{first}");
        let again = run(&site, "outbox");
        assert_eq!(again["report"]["summary"], "0 new, 0 sent", "the keys are known: {again}");
        let journal = site.journal();
        assert_eq!(journal.number("SELECT count(*) FROM outbox_message WHERE state = 'sent' AND origin = 'outbox'"), 7);
        assert_eq!(journal.number("SELECT count(*) FROM outbox_attempt WHERE outcome = 'sent'"), 7);
    }

    pub(super) fn consents() {
        let config = "config = { account = \"wx1\", template = \"paid\", user = \"oA1\", messages = [\"a\", \"b\"] }";
        let (site, _daemon) = site("consents", &format!("{config}\n[grant.consents]\naccounts = [\"wx1\"]\n"));
        let run = run(&site, "consents");
        assert_eq!(run["report"]["summary"], "a: Unknown; b: Unknown; unknown", "nobody tells of any: {run}");
    }

    pub(super) fn open_handles() {
        let site = Site::new(&["open-handles", "noop"]);
        root(&site);
        let grant = grant(&site, r#"["read"]"#);
        site.task("open-handles", &format!("plugin = \"open-handles\"\nconfig.root = \"data\"\n{grant}"));
        site.task("bystander", "plugin = \"noop\"");
        let _daemon = site.start();
        let outcome = run(&site, "open-handles")["outcome"].take();
        assert_eq!(
            (&outcome["outcome"], &outcome["limit"]),
            (&"limit-exceeded".into(), &"handles".into()),
            "{outcome}"
        );
    }

    pub(super) fn flood_log() {
        let (site, _daemon) = site("flood-log", "limits.log = \"1 MiB\"\nconfig = { records = 100000, bytes = 1000 }");
        let run = run(&site, "flood-log");
        assert_eq!(run["outcome"]["outcome"], "succeeded", "{run}");
        let journal = site.journal();
        let of = format!("FROM logs WHERE run = '{}'", run["id"].as_str().unwrap());
        let kept = journal.number(&format!("SELECT count(*) {of} AND message LIKE 'xxx%'"));
        let bytes = journal.number(&format!("SELECT sum(length(message)) {of} AND message LIKE 'xxx%'"));
        assert!(kept > 0 && bytes <= 1 << 20, "{kept} records with {bytes} bytes");
        let said = format!("{} log records were dropped", 100_000 - kept);
        assert_eq!(journal.number(&format!("SELECT count(*) {of} AND message LIKE '{said}%'")), 1, "{said}");
    }

    pub(super) fn panic() {
        let (site, _daemon) = site("panic", "");
        let run = run(&site, "panic");
        assert_eq!(run["outcome"]["outcome"], "trapped", "{run}");
        let logs = site.logs(run["id"].as_str().unwrap());
        assert!(logs.contains("the task panic lost its head"), "{logs}");
    }

    pub(super) fn fail() {
        let plugin = "plugin = \"fail\"\nretry = { attempts = 2, backoff = \"200ms\" }";
        let site = Site::new(&["fail"]);
        for call in ["plan", "execute", "finish"] {
            for kind in ["config", "transient", "permanent"] {
                let name = format!("{kind}-{call}");
                site.task(&name, &format!("{plugin}\nconfig = {{ kind = \"{kind}\", at = \"{call}\" }}"));
            }
        }
        site.task("recovers", &format!("{plugin}\nconfig = {{ kind = \"transient\", succeed_at = 3 }}"));
        let _daemon = site.start();
        for call in ["plan", "execute", "finish"] {
            for (kind, attempts) in [("config", 1), ("permanent", 1), ("transient", 3)] {
                let task = format!("{kind}-{call}");
                let first = site.run(&task);
                assert_eq!(first["outcome"]["outcome"], "failed", "{first}");
                assert_eq!(first["outcome"]["failure"], kind, "{first}");
                assert!(
                    first["outcome"]["message"].as_str().unwrap().ends_with("failing as told, attempt 1"),
                    "{first}"
                );
                let all = within(Duration::from_secs(10), "the last attempt", || {
                    let runs = site.runs(&task);
                    (runs.len() == attempts && runs.iter().all(|run| run["phase"] == "done")).then_some(runs)
                });
                for (run, attempt) in all.iter().zip(1..) {
                    assert_eq!((&run["attempt"], &run["outcome"]["failure"]), (&attempt.into(), &kind.into()), "{run}");
                }
            }
        }
        site.run("recovers");
        let last = within(Duration::from_secs(10), "an attempt that succeeds", || {
            site.runs("recovers").pop().filter(|run| run["outcome"]["outcome"] == "succeeded")
        });
        assert_eq!(last["attempt"], 3);
    }

    pub(super) fn escape_dotdot() {
        stays_inside("escape-dotdot", |_| String::new());
    }

    pub(super) fn escape_absolute() {
        stays_inside("escape-absolute", |site| format!("outside = \"{}\"", site.path("secret").display()));
    }

    pub(super) fn escape_symlink() {
        stays_inside("escape-symlink", |_| String::new());
    }

    pub(super) fn escape_swap() {
        let site = Site::new(&["escape-swap", "noop"]);
        // Every file of the root has the same content, so that the guest knows any other.
        fs::create_dir_all(site.path("root/swap")).unwrap();
        fs::create_dir(site.path("canary")).unwrap();
        fs::write(site.path("root/swap/content"), "inside").unwrap();
        fs::write(site.path("canary/content"), CANARY).unwrap();
        symlink(site.path("canary"), site.path("link")).unwrap();
        let grant = grant(&site, r#"["read"]"#);
        site.task(
            "escape-swap",
            &format!("plugin = \"escape-swap\"\nconfig = {{ root = \"data\", rounds = 500 }}\n{grant}"),
        );
        site.task("bystander", "plugin = \"noop\"");
        let _daemon = site.start();

        // The kernel reports whoever opens the canary.
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        let opened = inotify::WatchFlags::OPEN | inotify::WatchFlags::ACCESS;
        inotify::add_watch(&watch, site.path("canary/content"), opened).unwrap();

        let over = std::sync::atomic::AtomicBool::new(false);
        let (run, swaps) = std::thread::scope(|scope| {
            let racer = scope.spawn(|| {
                let (inside, outside) = (site.path("root/swap"), site.path("link"));
                let mut swaps = 0_u64;
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    renameat_with(CWD, &inside, CWD, &outside, RenameFlags::EXCHANGE).unwrap();
                    swaps += 1;
                    // Without a pause the kernel hardly lets anybody else find a path.
                    std::thread::sleep(Duration::from_micros(20));
                }
                swaps
            });
            let run = run(&site, "escape-swap");
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            (run, racer.join().unwrap())
        });
        let summary = run["report"]["summary"].as_str().unwrap_or_else(|| panic!("{run}"));
        let numbers: Vec<u64> = summary.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
        let [inside, refused, leaked] = numbers[..] else { panic!("{summary}") };
        assert_eq!(leaked, 0, "{summary}");
        assert!(inside > 0 && refused > 0 && swaps > 1_000, "there was a race: {summary}, {swaps} swaps");
        assert!(!traces(&site, &run).contains(CANARY));
        let mut events = [std::mem::MaybeUninit::uninit(); 1024];
        let mut seen = inotify::Reader::new(&watch, &mut events);
        assert_eq!(seen.next().err(), Some(rustix::io::Errno::WOULDBLOCK), "somebody opened the canary");
    }

    pub(super) fn purge_rows() {
        let site = Site::new(&["purge-rows", "noop"]);
        let database = rusqlite::Connection::open(site.path("app.db")).unwrap();
        database
            .execute_batch(
                "CREATE TABLE t (at INTEGER); INSERT INTO t VALUES (1700000000), (1700000001), (1800000000), (0)",
            )
            .unwrap();
        let config = "database = \"app\"\ntable = \"t\"\ncolumn = \"at\"\nclock = \"s\"\nbefore = 1700000001000";
        let grant = format!(
            "[grant.sql.app]\nsqlite = {:?}\naccess = [\"remove\", \"maintain\"]\nremoval = {{ tables = [\"t\"] }}",
            site.path("app.db")
        );
        site.task("purge-rows", &format!("plugin = \"purge-rows\"\n[config]\n{config}\n{grant}"));
        site.task("bystander", "plugin = \"noop\"");
        let _daemon = site.start();
        let run = run(&site, "purge-rows");
        assert_eq!(run["outcome"]["outcome"], "succeeded", "{run}");
        assert!(run["report"]["text"].as_str().unwrap().contains("\"removed\":1,"), "{run}");
        let left: i64 =
            database.query_row("SELECT count(*) FROM t WHERE at <> 1700000000", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 3);
    }

    /// Whoever may append and list can neither remove nor free nor read anything, and is told which right is missing.
    pub(super) fn hostile_backup() {
        let site = Site::new(&["hostile-backup", "noop"]);
        root(&site);
        fs::write(site.path("password"), "correct horse battery staple").unwrap();
        fs::set_permissions(site.path("password"), fs::Permissions::from_mode(0o600)).unwrap();
        let folder = site.path("repository").display().to_string();
        let repository = format!(
            "[grant.repository.main]\nurl = \"{folder}\"\npassword = {{ file = \"{}\" }}\naccess = [\"append\", \"list\"]\n",
            site.path("password").display()
        );
        let grant = grant(&site, r#"["read"]"#);
        let config = format!("config = {{ repository = \"main\", root = \"data\", folder = \"{folder}\" }}");
        let task = format!("plugin = \"hostile-backup\"\n{config}\n{grant}\n{repository}");
        // A right that the plugin does not even ask for cannot be had by a grant either.
        site.task("hostile-backup", &task.replace("\"list\"]", "\"list\", \"prune\"]"));
        let refused = site.cli(&["check"]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stdout.contains("ask for the right `prune` of `repository`"), "{refused:?}");

        site.task("hostile-backup", &task);
        site.task("bystander", "plugin = \"noop\"");
        let _daemon = site.start();
        let run = run(&site, "hostile-backup");
        assert_eq!(run["outcome"]["outcome"], "denied", "{}", traces(&site, &run));
        let traces = traces(&site, &run);
        for (attempt, missing) in [
            ("forget-all", "prune in the repository `main` (`grant.repository.main.access` does not hold"),
            ("forget-own", "prune in the repository `main` (`grant.repository.main.access` does not hold"),
            ("forget-none", "prune in the repository `main` (`grant.repository.main.access` does not hold"),
            ("forget-nonsense", "prune in the repository `main` (`grant.repository.main.access` does not hold"),
            ("prune", "prune in the repository `main` (`grant.repository.main.access` does not hold"),
            ("prune-marking", "prune in the repository `main` (`grant.repository.main.access` does not hold"),
            ("other-repository", "no `grant.repository.other`"),
            ("repository-by-path", "no `grant.repository."),
            ("folder-by-path", "no `grant.files."),
            ("save-the-repository", "no `grant.files."),
            ("read-the-repository", ""),
            ("save-again", "2 snapshots"),
        ] {
            let told =
                traces.split(&format!("attempt {attempt}: ")).nth(1).unwrap_or_else(|| panic!("{attempt}: {traces}"));
            let told = told.split("attempt ").next().unwrap();
            assert!(!told.starts_with("it was done") && told.contains(missing), "{attempt}: {told}");
        }
        assert!(!traces.contains("correct horse"), "the password is nowhere");
        assert_eq!(fs::read_dir(site.path("repository/snapshots")).unwrap().count(), 2);
    }

    /// Whatever it asks for: of all that it proposes, the one file goes that may go, and each refusal says why.
    pub(super) fn hostile_cleanup() {
        let site = Site::new(&["hostile-cleanup", "noop"]);
        root(&site);
        let inside = |path: &str| site.path("root").join(path);
        for folder in ["swap", "keep", "deep/.ssh", "folder", "mounted"] {
            fs::create_dir_all(inside(folder)).unwrap();
        }
        for file in
            ["swap/mine", "keep/file", "deep/.ssh/id", "lied", "changed", "exchanged", "folder/own", "fair", "later"]
        {
            fs::write(inside(file), "0123456789").unwrap();
        }
        rustix::fs::mknodat(CWD, inside("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        symlink("../canary/secret", inside("link")).unwrap();
        symlink(site.path("canary"), inside("way")).unwrap();
        symlink(".upkeep-undo", inside("into")).unwrap();
        fs::create_dir_all(inside(".upkeep-undo/RUN/0")).unwrap();
        fs::write(inside(".upkeep-undo/RUN/0/0-x"), "kept").unwrap();
        fs::set_permissions(inside(".upkeep-undo"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(site.path("other")).unwrap();
        fs::write(site.path("other/own"), "0123456789").unwrap();
        let mount = Mount::on(&inside("mounted"));
        if let Some(mount) = &mount {
            fs::write(mount.0.join("file"), "0123456789").unwrap();
        }
        let secret = fs::metadata(site.path("canary/secret")).unwrap();
        let config = format!(
            "[config]\nroot = \"data\"\noutside = \"{}\"\nknown = {{ device = {}, inode = {}, size = {}, modified_ns = {} }}",
            site.path("canary/secret").display(),
            secret.dev(),
            secret.ino(),
            secret.len(),
            secret.mtime() * 1_000_000_000 + secret.mtime_nsec()
        );
        let grant = grant(&site, r#"["read", "write", "remove"]"#);
        site.task(
            "hostile-cleanup",
            &format!("plugin = \"hostile-cleanup\"\n{config}\n{grant}removal = {{ protect = [\"/keep\"] }}\n"),
        );
        site.task("bystander", "plugin = \"noop\"");
        let outside = || [listing(&site.path("canary")), listing(&site.path("other")), listing(&site.path("etc"))];
        let _daemon = site.start();
        let (before, whole) = (outside(), listing(&site.path("root")));

        let run = std::thread::scope(|scope| {
            let run = scope.spawn(|| run(&site, "hostile-cleanup"));
            eventually("the plan", || inside("planned").exists().then_some(()));
            // What was planned as a folder is a link to the canary now, and what was a file is another one.
            for (folder, to) in [("swap", "canary"), ("folder", "other")] {
                fs::rename(inside(folder), inside(&format!("{folder} as it was"))).unwrap();
                symlink(site.path(to), inside(folder)).unwrap();
            }
            fs::write(inside("changed"), "longer than it was").unwrap();
            let modified = fs::metadata(inside("exchanged")).unwrap().modified().unwrap();
            fs::rename(inside("exchanged"), inside("the old one")).unwrap();
            fs::write(inside("exchanged"), "9876543210").unwrap();
            fs::File::options().append(true).open(inside("exchanged")).unwrap().set_modified(modified).unwrap();
            fs::write(inside("go"), "").unwrap();
            run.join().unwrap()
        });
        assert_eq!(run["outcome"]["outcome"], "denied", "{}", traces(&site, &run));
        let traces = traces(&site, &run);
        assert_eq!(outside(), before, "nothing outside has changed");
        assert!(!traces.contains(CANARY));
        if let Some(mount) = &mount {
            assert_eq!(fs::read_to_string(mount.0.join("file")).unwrap(), "0123456789");
        }

        let leads_out = "leads out of the folder `data`";
        let mut told = vec![
            ("slash", leads_out),
            ("dotdot", leads_out),
            ("dotdot-file", leads_out),
            ("dotdot-within", leads_out),
            ("dotdot-escaped", leads_out),
            ("slash-escaped", leads_out),
            ("absolute", leads_out),
            ("passwd", leads_out),
            ("root-itself", "refused, the root itself stays"),
            ("root-by-dot", "refused, the root itself stays"),
            ("pipe", "refused, devices, pipes and sockets"),
            ("protected", "refused, it is protected"),
            ("key", "refused, what is in a `.ssh`"),
            ("kept", "refused, what is in a `.upkeep-undo`"),
            ("compress-folder", "only a file can be compressed"),
            ("fair", "taken"),
            ("propose-late", "for the plan"),
            ("carry-out `other`", "grant.files.other"),
            ("carry-out `/`", "grant.files./"),
            ("carry-out `..`", "grant.files..."),
            ("expire `other`", "grant.files.other"),
            ("write .upkeep-undo/x", "upkeep keeps for itself"),
            ("write .upkeep-undo", "upkeep keeps for itself"),
            ("write into/x", "upkeep keeps for itself"),
            ("make into/x", "upkeep keeps for itself"),
            ("read what is kept", "upkeep keeps for itself"),
            ("root `other`", "grant.files.other"),
            ("root ``", "grant.files."),
        ];
        let mut kept =
            vec!["link", "way/secret", "swap/secret", "swap", "pipe", "lied", "changed", "exchanged", "folder/own"];
        if mount.is_some() {
            told.push(("device", "refused, it is on another filesystem"));
            kept.extend(["mounted/file", "mounted"]);
        }
        for (attempt, answer) in told {
            let line = traces.lines().find(|line| line.contains(&format!("attempt {attempt}: ")));
            assert!(line.is_some_and(|line| line.contains(answer)), "{attempt}: {line:?}\n{traces}");
        }
        for path in kept {
            assert!(traces.contains(&format!("first kept {path}: ")), "{path} in {traces}");
        }
        assert!(!traces.contains("it was done"), "{traces}");
        assert!(traces.contains("first: removed 1, kept "), "{traces}");
        // Inside, too, all is as it was, but for what the test and the guest wrote and the one file that may go.
        let after = listing(&site.path("root"));
        let gone: Vec<_> = whole.iter().filter(|(path, seen)| after.get(*path) != Some(*seen)).map(|it| it.0).collect();
        assert_eq!(gone, ["changed", "exchanged", "fair", "folder", "folder/own", "swap", "swap/mine"]);
        assert_eq!(listing(&inside("swap as it was")).len() + listing(&inside("folder as it was")).len(), 2);
    }

    /// Of all that it asks for it gets what is granted and nothing else, by whatever spelling, name or redirect, and each
    /// attempt is in the ledger.
    pub(super) fn hostile_http() {
        let site = Site::new(&["hostile-http", "noop"]);
        let hosts = site.path("hosts");
        resolves_to(&hosts, "127.0.0.2");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, names) = (Arc::clone(&asked), hosts.clone());
        let port = answering(move |line| {
            if line.contains("/public/move") {
                resolves_to(&names, "127.0.0.1");
            }
            seen.lock().unwrap().push(line.to_owned());
        });
        let denied = [
            format!("http://127.0.0.1:{port}/secret"),
            format!("http://2130706433:{port}/secret"),
            format!("http://0x7f.1:{port}/secret"),
            format!("http://0177.0.0.1:{port}/secret"),
            format!("http://[::1]:{port}/secret"),
            format!("http://[::ffff:127.0.0.1]:{port}/secret"),
            format!("http://[::ffff:7f00:1]:{port}/secret"),
            format!("http://[64:ff9b::7f00:1]:{port}/secret"),
            format!("http://localhost:{port}/secret"),
            format!("http://here.test:{port}/secret"),
            "http://169.254.169.254/latest/meta-data/".to_owned(),
            format!("http://127.0.0.2:{port}/else/where"),
            format!("http://127.0.0.2:{port}/public/%2e%2e%2fsecret"),
            format!("http://127.0.0.2:{port}@127.0.0.1:{port}/secret"),
            format!("http://127.0.0.2:{port}/public/redirect?to=http://127.0.0.1:{port}/else"),
        ];
        let reached = format!("http://127.0.0.2:{port}/public/fine?token=hush");
        // The same name again and again: the server moves it to 127.0.0.1 as soon as it was asked.
        let moving = format!("http://moving.test:{port}/public/move");
        let mut urls: Vec<&str> = denied.iter().map(String::as_str).collect();
        urls.insert(0, &reached);
        urls.extend([moving.as_str(), &moving]);
        let allow: Vec<String> =
            ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "localhost", "here.test"]
                .iter()
                .map(|host| format!("http://{host}:{port}/"))
                .chain(["http://169.254.169.254/".to_owned()])
                .chain(["127.0.0.2", "moving.test"].iter().map(|host| format!("http://{host}:{port}/public/")))
                .collect();
        site.task(
            "hostile-http",
            &format!(
                "plugin = \"hostile-http\"\nconfig.urls = {urls:?}\n[grant.http]\nallow = {allow:?}\nnetworks = [\"127.0.0.2\"]\n"
            ),
        );
        site.task("bystander", "plugin = \"noop\"");
        let Some(mut daemon) = own_names(&site, &hosts) else { return };
        daemon.await_notice("READY=1");
        let run = run(&site, "hostile-http");
        let asked = asked.lock().unwrap().clone();
        assert!(!asked.iter().any(|line| line.contains("secret")), "{asked:?}");
        assert_eq!(run["outcome"]["outcome"], "denied", "{}", traces(&site, &run));
        let traces = traces(&site, &run);
        assert!(traces.contains(&format!("attempt {reached}: reached, 200 public")), "{traces}");
        assert_eq!(traces.matches(&format!("attempt {moving}: reached")).count(), 1, "{traces}");
        for url in &denied {
            let told = traces.lines().find(|line| line.contains(&format!("attempt {url}: ")));
            assert!(told.is_some_and(|line| line.contains("is not let out")), "{url}: {told:?} {traces}");
        }

        let ledger = site.cli(&["egress", "hostile-http", "--json", "-n", "100"]).json();
        let requests = ledger["requests"].as_array().unwrap();
        let with = |result: &str| requests.iter().filter(|it| it["result"] == result).count();
        assert_eq!((with("denied"), with("answered"), with("open")), (denied.len() + 1, 3, 0), "{ledger:#}");
        assert_eq!(requests.len(), denied.len() + 4);
        assert!(requests.iter().all(|it| it["result"] != "denied" || it["reason"].is_string()));
        let first = requests.last().unwrap();
        assert_eq!((&first["status"], &first["received"]), (&200.into(), &6.into()), "{first}");
        assert_eq!(first["address"], format!("127.0.0.2:{port}"));
        assert_eq!(first["url"], format!("http://127.0.0.2:{port}/public/fine"), "no query, no secret");
        assert!(!ledger.to_string().contains("hush"));
        let told = site.cli(&["egress", "hostile-http"]);
        assert!(told.stdout.contains("denied") && told.stdout.contains("is no public address"), "{}", told.stdout);
    }

    /// Secrets go where they belong, and are found nowhere else: not in what the guest got to see, not in anything that the daemon
    /// wrote, however a run ended, and not in what is left when the daemon crashes.
    pub(super) fn hostile_secrets() {
        let (site, elsewhere) = (Site::new(&["hostile-secrets", "noop"]), tempfile::tempdir().unwrap());
        for folder in ["out", "cores", "control"] {
            fs::create_dir(site.path(folder)).unwrap();
        }
        let names = ["token", "env", "systemd", "robot", "appsecret"];
        let values = names.map(|name| (name, format!("{name}-7Hq2vX9fLw83-value")));
        let login = [("login", "login:7Hq2vX9fLw83-value".to_owned())];
        for (name, value) in values.iter().chain(&login) {
            fs::write(elsewhere.path().join(name), format!("{value}\n")).unwrap();
            fs::set_permissions(elsewhere.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let (bound, asked) = giving_back();
        let (other, other_asked) = giving_back();
        let others = [
            format!("http://127.0.0.1:{other}/"),
            format!("http://localhost:{bound}/"),
            format!("http://127.0.0.2:{bound}/"),
            format!("http://[::1]:{bound}/"),
            "http://api.example.com/".to_owned(),
            "https://api.example.com:8443/".to_owned(),
            "https://api.example.com.evil.test/".to_owned(),
            "https://api.example.com.example.com/".to_owned(),
            "https://evil-api.example.com/".to_owned(),
            "https://x.api.example.com/".to_owned(),
        ];
        let allow: Vec<String> = others
            .iter()
            .cloned()
            .chain([format!("http://127.0.0.1:{bound}/"), "https://api.example.com/".into()])
            .collect();
        let hosts = format!("hosts = [\"http://127.0.0.1:{bound}\", \"https://api.example.com\"]");
        let secret = |name: &str| elsewhere.path().join(name).display().to_string();
        let grants = format!(
            "[grant]\nstate = true\nmetrics = true\n[grant.files.out]\npath = {:?}\naccess = [\"write\"]\n\
             [grant.http]\nallow = {allow:?}\nnetworks = [\"127.0.0.0/8\", \"::1\"]\n\
             [grant.secrets.token]\nfile = {:?}\n{hosts}\nplaces = [\"url\", \"header\", \"body\"]\n\
             [grant.secrets.env]\nenv = \"UPKEEP_TEST_SECRET\"\n{hosts}\nplaces = [\"url\", \"header\", \"body\"]\n\
             [grant.secrets.systemd]\ncredential = \"systemd\"\n{hosts}\nplaces = [\"url\", \"header\", \"body\"]\n\
             [grant.secrets.login]\nfile = {:?}\n{hosts}\nplaces = [\"url\", \"header\", \"body\"]\n\
             [grant.secrets.robot]\nfile = {:?}\naccess = [\"sign\"]\n\
             [grant.secrets.wechat]\n\
             wechat = {{ appid = \"wx0123456789abcdef\", file = {:?}, api = \"http://127.0.0.1:{bound}\" }}\n",
            site.path("out"),
            secret("token"),
            secret("login"),
            secret("robot"),
            secret("appsecret"),
        );
        let ends = ["report", "failure", "panic"];
        for end in ends {
            let config = format!(
                "[config]\nend = \"{end}\"\nbound = \"http://127.0.0.1:{bound}\"\nothers = {others:?}\n\
                 secrets = [\"token\", \"env\", \"systemd\"]\nsigning = \"robot\"\nlogin = \"login\"\ntoken = \"wechat\"\n"
            );
            let limits = "[limits]\nlog = \"64 MiB\"\n";
            site.task(&format!("secrets-{end}"), &format!("plugin = \"hostile-secrets\"\n{config}{limits}{grants}"));
        }
        site.task("bystander", "plugin = \"noop\"");
        // Whatever a library says of itself is in the log too, and a crash may leave as much as it likes.
        let unlimited = "ulimit -c unlimited && cd \"$0\" && exec \"$@\"";
        let mut command = Command::new("sh");
        command.env_clear().args(["-c", unlimited]).arg(site.path("cores")).arg(upkeep_tests::program()).arg("daemon");
        command.env("UPKEEP_CONFIG", site.config()).env("TZ", "UTC").env("UPKEEP_LOG", "trace");
        command.env("UPKEEP_TEST_SECRET", &values[1].1).env("CREDENTIALS_DIRECTORY", elsewhere.path());
        let mut daemon = site.spawn_with(&mut command);
        daemon.await_notice("READY=1");

        let mut shown = String::new();
        for end in ends {
            let run = run(&site, &format!("secrets-{end}"));
            let id = run["id"].as_str().unwrap();
            let traces = traces(&site, &run);
            let outcome = &run["outcome"]["outcome"];
            let expected = if end == "report" { "succeeded" } else { "denied" };
            assert_eq!(outcome, expected, "{traces}");
            for command in [
                &["show", id][..],
                &["show", id, "--json"],
                &["logs", id],
                &["history", "--json"],
                &["findings", "--json"],
                &["egress", "--json", "-n", "1000"],
                &["push", "tokens", "--json"],
            ] {
                let ran = site.cli(command);
                assert_eq!(ran.code, 0, "{command:?}: {ran:?}");
                shown.push_str(&ran.stdout);
            }
            if end != "report" {
                continue;
            }
            let told = |attempt: &str| {
                let line = traces.lines().find(|line| line.contains(&format!("attempt {attempt}: ")));
                line.unwrap_or_else(|| panic!("{attempt}: {traces}")).to_owned()
            };
            for name in ["token", "env", "systemd"] {
                for way in ["echo", "pieces", "header", "json", "base64"] {
                    let line = told(&format!("{way} {name}"));
                    assert!(
                        line.contains("reached, 200") && line.contains(&format!("{{{{secret:{name}}}}}")),
                        "{line}"
                    );
                }
                assert!(told(&format!("last {name}")).contains(&format!("{{{{secret:{name}}}}}")));
                assert!(told(&format!("gzip {name}")).contains("the answer is encoded"));
                for attempt in ["range", "userinfo", "sign"] {
                    assert!(!told(&format!("{attempt} {name}")).contains("reached"), "{attempt}: {traces}");
                }
                for url in &others {
                    for place in ["header", "query", "path", "encoded", "body"] {
                        let line = told(&format!("other {url} {place} {name}"));
                        assert!(line.contains("is not let out"), "{line}");
                    }
                }
                let followed = format!("attempt redirect {name} to http://127.0.0.1:{other}/");
                assert!(traces.lines().any(|it| it.contains(&followed) && it.contains("is not let out")), "{traces}");
            }
            // The token of WeChat: in the URL, toward the API, and nowhere else; and nothing of it comes back.
            for way in ["echo", "pieces", "json", "base64", "header", "stale", "rid"] {
                let line = told(&format!("token {way}"));
                assert!(line.contains("reached, 200") && line.contains("{{secret:wechat}}"), "{way}: {line}");
            }
            for attempt in ["in header", "in body", "sign"] {
                assert!(!told(&format!("token {attempt}")).contains("reached"), "{attempt}: {traces}");
            }
            for url in &others {
                assert!(told(&format!("token other {url}")).contains("is not let out"), "{traces}");
            }
            assert!(told("unknown").contains("is not let out") && told("send what signs").contains("is not let out"));
            assert!(told("sign").contains("reached, ") && !told("sign nothing").contains("reached"));
            assert!(traces.contains("is not for this server: `grant.secrets.token.hosts`"), "{traces}");
            let basic = told("basic");
            assert!(basic.contains("reached, 200") && basic.contains("Basic {{secret:login}}"), "{basic}");
            for attempt in ["basic in a query", "basic in a body", "basic elsewhere"] {
                assert!(told(attempt).contains("is not let out"), "{attempt}: {traces}");
            }
            assert!(told("basic of no login").contains("the secret `token` is no login"), "{traces}");
            assert!(!told("sign decoded").contains("reached"), "{traces}");
            assert!(told("sign no base64").contains("the secret `robot` is no base64"), "{traces}");
        }

        // It arrived, in each place where it was put.
        let asked = asked.lock().unwrap().join("\n");
        for (name, value) in &values[..3] {
            let line = format!("POST /echo?key={value} HTTP/1.1");
            let (header, body) = (format!("authorization: Bearer {value}"), format!("{{\"secret\": \"{value}\"}}"));
            for part in [&line, &header, &body] {
                assert!(asked.contains(part), "{name}: {part} is missing: {asked}");
            }
        }
        // login:7Hq2vX9fLw83-value
        assert!(asked.contains("authorization: Basic bG9naW46N0hxMnZYOWZMdzgzLXZhbHVl"), "{asked}");
        // What only signs left nowhere; the application's secret went where tokens are given out, and those came.
        assert!(!asked.contains(&values[3].1) && !asked.contains("{{"), "{asked}");
        assert!(asked.contains(&format!("\"secret\":\"{}\"", values[4].1)), "{asked}");
        for number in ["0", "1"] {
            assert!(asked.contains(&format!("GET /stale?key=wechat-7Hq2vX9fLw83-token-{number} HTTP/1.1")), "{asked}");
        }
        assert!(!other_asked.lock().unwrap().iter().any(|request| request.contains("7Hq2")));
        // Those of the redirects, which were denied, are not among them either.
        assert!(other_asked.lock().unwrap().is_empty(), "{other_asked:?}");

        assert!(!shown.contains("7Hq2vX9f") && shown.contains("{{secret:token}}"));
        daemon.signal(rustix::process::Signal::ABORT);
        daemon.wait();
        let files = holding(site.dir(), &["7Hq2vX9f", "N0hxMnZYOWZ", "dIcTJ2WDlm", "3SHEydlg5Z"]);
        assert!(files.is_empty(), "a secret is in {files:?}");
        // And yet all of this was looked at: what the guest heard is there.
        let heard = holding(site.dir(), &["{{secret:token}}"]);
        for place in ["state/upkeep.db", "out/heard-"] {
            assert!(heard.iter().any(|file| file.display().to_string().contains(place)), "{place}: {heard:?}");
        }
        let aborted = Command::new("sh")
            .args(["-c", "ulimit -c unlimited && cd \"$0\" && kill -ABRT $$"])
            .arg(site.path("control"))
            .status();
        if !aborted.is_ok_and(|_| fs::read_dir(site.path("control")).unwrap().next().is_some()) {
            let _ = writeln!(
                std::io::stderr(),
                "\nSKIPPED in part: nobody leaves a core file here (kernel.core_pattern)\n"
            );
        }
        assert_eq!(fs::read_dir(site.path("cores")).unwrap().count(), 0, "the daemon left a core file");
    }

    pub(super) fn asks() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let port = answering(move |line| seen.lock().unwrap().push(line.to_owned()));
        let grant = format!("[grant.http]\nallow = [\"http://127.0.0.1:{port}/\"]\nnetworks = [\"127.0.0.1\"]\n");
        let config = format!("config = {{ url = \"http://127.0.0.1:{port}/x\", steps = 3, times = 2 }}\n");
        let run = ends("asks", &format!("{config}{grant}"));
        assert_eq!(run["outcome"], "succeeded", "{run}");
        assert_eq!(*asked.lock().unwrap(), ["GET /x HTTP/1.1"; 6]);
    }

    pub(super) fn ungranted() {
        let site = Site::new(&["ungranted", "noop"]);
        root(&site);
        site.task("ungranted", "plugin = \"ungranted\"\nconfig.root = \"other\"");
        let refused = site.cli(&["check"]);
        assert_eq!(refused.code, 2, "{refused:?}");
        let said = format!("{}{}", refused.stdout, refused.stderr);
        for word in ["tasks.d/ungranted.toml", "grant.files", "a test of the host's borders"] {
            assert!(said.contains(word), "`{word}` is missing: {said}");
        }

        // What the config names is not what is granted: that is known only when the guest asks.
        let grant = grant(&site, r#"["read"]"#);
        site.task("ungranted", &format!("plugin = \"ungranted\"\nconfig.root = \"other\"\n{grant}"));
        site.task("bystander", "plugin = \"noop\"");
        let _daemon = site.start();
        let run = run(&site, "ungranted");
        assert_eq!(run["outcome"]["outcome"], "denied", "{run}");
        assert!(run["outcome"]["message"].as_str().unwrap().contains("grant.files.other"), "{run}");
    }
}
