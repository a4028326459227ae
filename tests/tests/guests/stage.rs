//! How a guest is run, and folders, mounts and servers around it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use upkeep_tests::{Daemon, Site};

/// A site with a guest, and beside it a task that must not suffer from it.
pub(super) fn site(guest: &str, task: &str) -> (Site, Daemon) {
    let site = Site::new(&[guest, "noop"]);
    site.task(guest, &format!("plugin = \"{guest}\"\n{task}"));
    site.task("bystander", "plugin = \"noop\"\nschedule.overlap = \"allow\"");
    let daemon = site.start();
    (site, daemon)
}

/// Runs the guest to its end, and the bystander meanwhile.
pub(super) fn run(site: &Site, guest: &str) -> Value {
    let run = site.api().run(guest);
    let bystander = site.run("bystander");
    assert_eq!(bystander["outcome"]["outcome"], "succeeded", "{bystander}");
    let waited = bystander["ended"].as_i64().unwrap() - bystander["queued"].as_i64().unwrap();
    assert!(waited < 5_000, "another task took {waited} ms beside {guest}");
    site.ended(&run)
}

/// Runs a guest that is all there is to it.
pub(super) fn ends(guest: &str, task: &str) -> Value {
    let (site, _daemon) = site(guest, task);
    run(&site, guest)["outcome"].take()
}

#[track_caller]
pub(super) fn exceeds(guest: &str, task: &str, limit: &str) {
    let outcome = ends(guest, task);
    assert_eq!((&outcome["outcome"], &outcome["limit"]), (&"limit-exceeded".into(), &limit.into()), "{outcome}");
    // The operator is told the key, unless the limit is not theirs to set.
    let message = outcome["message"].as_str().unwrap();
    assert!(limit == "stack" || message.contains(&format!("limits.{limit}")), "{message}");
}

/// A granted root with something beside it that nobody may see.
pub(super) fn root(site: &Site) {
    fs::create_dir_all(site.path("root/inside")).unwrap();
    fs::create_dir(site.path("canary")).unwrap();
    fs::write(site.path("root/harmless"), "harmless").unwrap();
    fs::write(site.path("secret"), CANARY).unwrap();
    fs::write(site.path("canary/secret"), CANARY).unwrap();
}

/// All that stands beneath a folder: inode, size and time of change; links are not followed.
pub(super) fn listing(folder: &Path) -> BTreeMap<String, (u32, u64, u64, i64)> {
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
pub(super) fn resolves_to(hosts: &Path, address: &str) {
    let text = format!("127.0.0.1 localhost\n::1 localhost\n{address} moving.test\n127.0.0.1 here.test\n");
    fs::write(hosts, text).unwrap();
}

/// A web server on all addresses of this machine; gives its port. Before it answers it tells the request line, and afterwards
/// it closes the connection.
pub(super) fn answering(tell: impl Fn(&str) + Send + 'static) -> u16 {
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
pub(super) fn taking_mail() -> (u16, Arc<Mutex<Vec<String>>>) {
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
pub(super) fn giving_back() -> (u16, Arc<Mutex<Vec<String>>>) {
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
pub(super) fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |bytes: &[u8]| {
        let bits = bytes.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))
    };
    text.as_bytes().chunks_exact(3).flat_map(group).collect()
}

/// The files beneath a folder in which one of these texts is.
pub(super) fn holding(folder: &Path, texts: &[&str]) -> Vec<PathBuf> {
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
pub(super) fn own_names(site: &Site, hosts: &Path) -> Option<Daemon> {
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
pub(super) struct Mount(pub(super) PathBuf);

impl Mount {
    /// None, said loudly, where nothing can be mounted.
    pub(super) fn on(folder: &Path) -> Option<Self> {
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

pub(super) const CANARY: &str = "the canary sings";

pub(super) fn grant(site: &Site, access: &str) -> String {
    format!("[grant.files.data]\npath = \"{}\"\naccess = {access}\n", site.path("root").display())
}

/// What a run left for people to read.
pub(super) fn traces(site: &Site, run: &Value) -> String {
    format!("{run} {}", site.logs(run["id"].as_str().unwrap()))
}

/// A guest that tries to get out of its root is denied, sees nothing and leaves nothing.
pub(super) fn stays_inside(guest: &str, config: impl Fn(&Site) -> String) {
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
