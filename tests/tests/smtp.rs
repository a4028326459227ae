//! Mails by a real server (Exim): what arrives, what it refuses, and what is not sent to it.

#[path = "smtp/exim.rs"]
mod exim;
#[path = "storage/servers.rs"]
#[expect(dead_code, reason = "the servers of repositories serve here too, not all of them")]
mod servers;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use upkeep_tests::{Daemon, Site, eventually};

use self::exim::{Exim, Options, PASSWORD, PROGRAMS, USER, parsed};
use self::servers::{Certificate, is_there};

/// A server, and the authority that its certificate is from.
struct Post {
    folder: tempfile::TempDir,
    authority: Certificate,
    exim: Exim,
}

impl Post {
    fn new() -> Self {
        Self::with(0)
    }

    fn with(thinks: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Certificate::authority(folder.path(), "authority");
        let certificate = Certificate::server(folder.path(), "server", "IP:127.0.0.1", Some(&authority));
        let exim = Exim::start(folder.path(), &Options { certificate: Some(certificate), thinks });
        Self { folder, authority, exim }
    }

    /// A grant for it, and what else belongs into it.
    fn grant(&self, port: u16, more: &str) -> String {
        let ca = format!("ca = {:?}\n", self.authority.text());
        grant(&secret(self.folder.path(), PASSWORD), port, &format!("{ca}{more}"))
    }
}

/// A file with a password.
fn secret(folder: &Path, password: &str) -> PathBuf {
    let file = folder.join("password");
    fs::write(&file, password).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    file
}

fn grant(password: &Path, port: u16, more: &str) -> String {
    format!(
        "[grant.smtp.main]\nhost = \"127.0.0.1\"\nport = {port}\nuser = \"{USER}\"\npassword = {{ file = {password:?} }}\n\
         from = [\"upkeep@example.org\"]\nto = [\"*@example.org\", \"*@例子.公司\"]\n{more}"
    )
}

/// A task that sends these mails: what stands in their tables beside server and sender.
fn task(site: &Site, mails: &[&str], grant: &str) {
    let mails: String = mails
        .iter()
        .map(|mail| format!("[[config.mails]]\nserver = \"main\"\nfrom = \"upkeep@example.org\"\n{mail}\n"))
        .collect();
    site.task("smtp", &format!("plugin = \"smtp\"\n{mails}{grant}"));
}

fn start(mails: &[&str], grant: &str) -> (Site, Daemon) {
    let site = Site::new(&["smtp"]);
    task(&site, mails, grant);
    let daemon = site.start();
    (site, daemon)
}

/// Runs the task; gives the run and its log.
fn run(site: &Site) -> (Value, String) {
    let run = site.run("smtp");
    let log = site.logs(run["id"].as_str().expect("an identifier"));
    (run, log)
}

fn ledger(site: &Site) -> Vec<Value> {
    let mut rows = site.cli(&["egress", "--json", "-n", "1000"]).json()["requests"].take();
    let mut rows: Vec<Value> = serde_json::from_value(rows.take()).expect("a list");
    rows.reverse();
    rows
}

/// All files beneath the folder that hold the text.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let found = Command::new("grep").args(["-rlaF", text]).arg(folder).output().expect("grep runs");
    String::from_utf8_lossy(&found.stdout).lines().map(PathBuf::from).collect()
}

#[test]
fn a_mail_arrives_whole() {
    if !is_there("a_mail_arrives_whole", &PROGRAMS) {
        return;
    }
    let post = Post::new();
    let mail = "name = \"维护 (web-1)\"\nto = [\"ops@example.org\", \"duty@例子.公司\"]\n\
                subject = \"磁盘快满了：/var 只剩 3 %，请尽快处理，否则今晚的备份会失败 [web-1] – “urgent”\"\n\
                text = \"磁盘快满了\\n\\n.\\n.. From here\\nFrom there\\ntrailing space \\n=20 = 3D\\n\"\n\
                html = \"<!DOCTYPE html>\\n<html><body><p>磁盘 <b>快满了</b></p></body></html>\\n\"";
    for (port, tls) in [(post.exim.port, ""), (post.exim.implicit, "tls = \"implicit\"\n")] {
        let (site, _daemon) = start(&[mail], &post.grant(port, tls));
        let (run, log) = run(&site);
        assert_eq!(run["report"]["summary"], "1 accepted, 0 refused", "{run} {log} {}", post.exim.log());
        for recipient in ["ops@example.org", "duty@xn--fsqu00a.xn--55qx5d"] {
            let mail = parsed(&post.exim.mail_to(recipient));
            let headers = &mail["headers"];
            assert_eq!(headers["From"], "\"维护 (web-1)\" <upkeep@example.org>");
            assert_eq!(headers["To"], "ops@example.org, duty@xn--fsqu00a.xn--55qx5d");
            let subject = headers["Subject"].as_str().expect("a subject");
            assert!(
                subject.starts_with("磁盘快满了：/var 只剩 3 %，") && subject.ends_with("[web-1] – “urgent”"),
                "{subject}"
            );
            assert_eq!(headers["Auto-Submitted"], "auto-generated");
            assert_eq!(headers["Return-path"], "<upkeep@example.org>");
            assert_eq!(mail["type"], "multipart/alternative");
            assert_eq!(mail["text"], "磁盘快满了\n\n.\n.. From here\nFrom there\ntrailing space \n=20 = 3D\n");
            assert_eq!(mail["html"], "<!DOCTYPE html>\n<html><body><p>磁盘 <b>快满了</b></p></body></html>\n");
            let id = format!("<{}.0.0@example.org>", run["id"].as_str().expect("an identifier"));
            assert_eq!(headers["Message-ID"], id.as_str());
            let dated = mail["dated"].as_f64().expect("a date");
            assert!((dated - upkeep_tests::now() as f64).abs() < 120.0, "{dated}");
        }
        let rows = ledger(&site);
        let row = &rows[0];
        assert_eq!((&row["method"], &row["status"], &row["result"]), (&"MAIL".into(), &250.into(), &"answered".into()));
        let scheme = if tls.is_empty() { "smtp" } else { "smtps" };
        assert_eq!(row["url"], format!("{scheme}://127.0.0.1:{port}/?recipients=2"));
        assert_eq!(row["address"], format!("127.0.0.1:{port}"));
        assert!(row["sent"].as_u64().expect("a size") > 500 && row["reason"].is_null(), "{row}");
        // The journal has the mail in the task's configuration alone, and the password nowhere.
        drop(_daemon);
        assert_eq!(holding(site.dir(), PASSWORD), Vec::<PathBuf>::new());
        for file in fs::read_dir(post.folder.path().join("mail/new")).expect("a folder").flatten() {
            fs::remove_file(file.path()).expect("it goes");
        }
    }
    assert!(post.exim.log().contains("A=plain:upkeep"), "{}", post.exim.log());
}

#[test]
fn what_the_server_refuses_is_told() {
    if !is_there("what_the_server_refuses_is_told", &PROGRAMS) {
        return;
    }
    let post = Post::new();
    let to = |to: &str, more: &str| format!("to = {to}\nsubject = \"hello\"\ntext = \"hello\"\n{more}");
    let mails = [
        to("[\"later@example.org\"]", ""),
        to("[\"nobody@example.org\"]", ""),
        to("[\"full@example.org\", \"nobody@example.org\"]", ""),
        to("[\"one@example.org\", \"nobody@example.org\"]", ""),
        to("[\"two@example.org\", \"later@example.org\"]", ""),
        to("[\"three@example.org\", \"later@example.org\"]", "together = true"),
        to("[\"four@example.org\", \"nobody@example.org\"]", "together = true"),
        to("[\"ops@example.org\"]", "").replace("\"hello\"\ntext", "\"refuse me\"\ntext"),
        to("[\"ops@example.org\"]", "more = 1100000"),
        to("[\"last@example.org\"]", ""),
    ];
    let mails: Vec<&str> = mails.iter().map(String::as_str).collect();
    let (site, _daemon) = start(&mails, &post.grant(post.exim.port, "max_message = \"2 MiB\"\n"));
    let (run, log) = run(&site);
    assert_eq!(run["report"]["summary"], "4 accepted, 6 refused", "{run} {log}");
    for (attempt, told) in [
        (0, "refused (Stage::Recipients): 451 4.7.1 greylisted, come back in a while, not later@example.org: 451"),
        (1, "refused (Stage::Recipients): 550 5.1.1 there is no such user, not nobody@example.org: 550 5.1.1"),
        (2, "refused (Stage::Recipients): 452 4.2.2 the mailbox is full, not full@example.org: 452"),
        (3, "accepted: 250 OK id="),
        (4, "accepted: 250 OK id="),
        (5, "refused (Stage::Recipients): 451 4.7.1 greylisted"),
        (6, "accepted: 250 OK id="),
        (7, "refused (Stage::Content): 554 5.7.1 this is not wanted"),
        (8, "refused (Stage::Content): 552 "),
        (9, "accepted: 250 OK id="),
    ] {
        assert!(log.contains(&format!("attempt {attempt}: {told}")), "{attempt} {told}: {log}");
    }
    assert!(log.contains(", not nobody@example.org: 550 5.1.1 there is no such user"), "{log}");
    let mails = post.exim.mails(4);
    for recipient in ["one", "two", "four", "last"] {
        assert!(mails.iter().any(|mail| mail.contains(&format!("Envelope-to: {recipient}@example.org"))));
    }
    let rows = ledger(&site);
    let noted = |at: usize| (rows[at]["status"].as_u64(), rows[at]["reason"].as_str().unwrap_or_default());
    assert_eq!(noted(0), (Some(451), "the recipients refused: 451 4.7.1"));
    assert_eq!(noted(3), (Some(250), "1 of 2 recipients refused: 550 5.1.1"));
    assert_eq!(noted(7), (Some(554), "the mail refused: 554 5.7.1"));
    assert_eq!(noted(9), (Some(250), ""));
    let shown = site.cli(&["egress", "smtp", "-n", "3"]);
    assert!(shown.stdout.contains("MAIL smtp://127.0.0.1:") && shown.stdout.contains("554"), "{}", shown.stdout);
}

#[test]
fn nothing_is_sent_to_who_is_not_the_server() {
    if !is_there("nothing_is_sent_to_who_is_not_the_server", &PROGRAMS) {
        return;
    }
    let post = Post::new();
    let mail = "to = [\"ops@example.org\"]\nsubject = \"hello\"\ntext = \"hello\"";
    let plain_folder = tempfile::tempdir().expect("a folder");
    let plain = Exim::start(plain_folder.path(), &Options::default());
    let password = secret(post.folder.path(), PASSWORD);
    let other = Certificate::authority(post.folder.path(), "other").text();
    let empty = post.folder.path().join("empty.pem");
    fs::write(&empty, "").expect("a file");
    let own = post.grant(post.exim.port, "");
    let without_ca = grant(&password, post.exim.port, "");
    for (grant, told) in [
        // Nobody whom the machine trusts.
        (without_ca.clone(), &["UnknownIssuer", "`grant.smtp.main.ca`"][..]),
        (grant(&password, post.exim.port, &format!("ca = {other:?}\n")), &["UnknownIssuer", "`grant.smtp.main.ca`"]),
        // Another name than that of the certificate.
        (own.replace("\"127.0.0.1\"", "\"localhost\""), &["not valid for name", "`grant.smtp.main.host`"]),
        // A server without TLS, or with it elsewhere.
        (grant(&password, plain.port, ""), &["offers no STARTTLS", "nothing is sent", "`grant.smtp.main.port`"]),
        (grant(&password, plain.port, "tls = \"implicit\"\n"), &["does not speak TLS there"]),
        (post.grant(post.exim.implicit, "timeout = \"2s\"\n"), &["`grant.smtp.main.timeout`"]),
        (
            grant(&password, post.exim.port, &format!("ca = {empty:?}\n")),
            &["there is none in it", "`grant.smtp.main.ca`"],
        ),
    ] {
        let (site, _daemon) = start(&[mail], &grant);
        let (run, log) = run(&site);
        assert_eq!(run["outcome"]["outcome"], "failed", "{run}");
        for part in told {
            assert!(log.contains(part), "{part}: {log}");
        }
        assert_eq!(ledger(&site)[0]["result"], "failed");
    }
    for (exim, name) in [(&post.exim, "with TLS"), (&plain, "without")] {
        let log = exim.log();
        assert!(!log.contains("A=") && !log.contains("authenticator failed") && !log.contains("<="), "{name}: {log}");
    }
    // The system's own authorities are asked where the task file names none.
    let site = Site::new(&["smtp"]);
    task(&site, &[mail], &without_ca);
    let mut command = site.command(&["daemon"]);
    command.env("SSL_CERT_FILE", &post.authority.file);
    let mut daemon = site.spawn_with(&mut command);
    daemon.await_notice("READY=1");
    let (told, log) = run(&site);
    assert_eq!(told["report"]["summary"], "1 accepted, 0 refused", "{log}");
    // Without TLS, this machine is trusted.
    let (site, _daemon) = start(&[mail], &grant(&password, plain.port, "tls = \"none\"\n"));
    let (told, log) = run(&site);
    assert_eq!(told["report"]["summary"], "1 accepted, 0 refused", "{log}");
    plain.mail_to("ops@example.org");
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    if !is_there("a_wrong_password_is_told_and_not_shown", &PROGRAMS) {
        return;
    }
    let post = Post::new();
    let wrong = tempfile::tempdir().expect("a folder");
    let file = secret(wrong.path(), "cänary staple");
    let ca = format!("ca = {:?}\n", post.authority.text());
    let mail = "to = [\"ops@example.org\"]\nsubject = \"hello\"\ntext = \"hello\"";
    let (site, daemon) = start(&[mail], &grant(&file, post.exim.port, &ca));
    let (told, log) = run(&site);
    assert_eq!(told["report"]["summary"], "0 accepted, 1 refused", "{log}");
    assert!(log.contains("attempt 0: refused (Stage::Login): 535 Incorrect authentication data"), "{log}");
    assert_eq!(ledger(&site)[0]["reason"], "user or password refused: 535");
    // It is read again in the next run.
    secret(wrong.path(), PASSWORD);
    assert_eq!(run(&site).0["report"]["summary"], "1 accepted, 0 refused");
    drop(daemon);
    for text in ["cänary", PASSWORD] {
        assert_eq!(holding(site.dir(), text), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_server_that_dies_in_the_middle() {
    if !is_there("a_server_that_dies_in_the_middle", &PROGRAMS) {
        return;
    }
    let post = Post::with(60);
    let mail = "to = [\"ops@example.org\"]\nsubject = \"hello\"\ntext = \"hello\"";
    let (site, _daemon) = start(&[mail], &post.grant(post.exim.port, ""));
    let started = site.api().run("smtp");
    // It has all of the mail, and thinks about it.
    let open = || ledger(&site).first().is_some_and(|row| row["result"] == "open").then_some(());
    eventually("a mail on its way", open);
    eventually("all of it", || {
        let waiting = fs::read_dir(post.folder.path().join("spool/input")).ok()?;
        waiting.flatten().next().map(drop)
    });
    let Post { folder, exim, .. } = post;
    drop(exim);
    let ended = site.ended(&started);
    assert_eq!(ended["outcome"]["outcome"], "failed", "{ended}");
    let log = site.logs(&started);
    assert!(log.contains("whether the server took the mail is not known"), "{log}");
    assert_eq!(ledger(&site)[0]["result"], "failed");
    drop(folder);
}

/// A site whose task `push` delivers by mail.
fn push(post: &Post, channel: &str, more: &str) -> Site {
    let site = Site::new(&[]);
    site.shipped("push");
    let channel = format!("[config.channels.mail.mail]\nserver = \"main\"\nfrom = \"upkeep@example.org\"\n{channel}");
    site.task(
        "push",
        &format!(
            "plugin = \"push\"\nschedule.outbox = true\n{channel}\n[grant]\nstate = true\nmetrics = true\n\
             [grant.outbox]\naccess = [\"deliver\"]\n{}",
            post.grant(post.exim.port, more)
        ),
    );
    site
}

/// Puts a message in by the command line, and gives its identifier.
#[track_caller]
fn enqueue(site: &Site, args: &[&str]) -> String {
    let sent = site.cli(&[&["push", "send", "--json", "--channel", "mail"], args].concat());
    assert_eq!(sent.code, 0, "{sent:?}");
    sent.json()["id"].as_str().expect("an identifier").to_owned()
}

#[track_caller]
fn until(site: &Site, id: &str, state: &str) -> Value {
    eventually(&format!("the message to be {state}"), || {
        Some(site.api().get(&format!("/v1/push/{id}"))).filter(|it| it["message"]["state"] == state)
    })
}

#[test]
fn a_message_goes_by_mail() {
    if !is_there("a_message_goes_by_mail", &PROGRAMS) {
        return;
    }
    let post = Post::new();
    let site = push(&post, "name = \"web-1\"\nto = [\"duty@example.org\"]\nprefix = \"[web-1]\"\n", "");
    let daemon = site.start();
    let text = "**备份失败**：`/srv/app`\n\n- 仓库已锁定\n- 请检查";
    let more = [
        "--to",
        "ops@example.org",
        "--title",
        "备份失败 of app",
        "--level",
        "error",
        "--link",
        "https://ops.example/7",
    ];
    let id = enqueue(&site, &[&more[..], &[text]].concat());
    let sent = until(&site, &id, "sent");
    assert_eq!(
        (&sent["attempts"][0]["outcome"], &sent["attempts"][0]["code"]),
        (&"sent".into(), &"250".into()),
        "{sent}"
    );
    let mail = parsed(&post.exim.mail_to("ops@example.org"));
    assert_eq!(mail["headers"]["From"], "web-1 <upkeep@example.org>");
    assert_eq!(mail["headers"]["Subject"], "[web-1] [error] 备份失败 of app");
    assert_eq!(mail["headers"]["Message-ID"], format!("<{id}@example.org>"));
    let (plain, html) = (mail["text"].as_str().expect("a text"), mail["html"].as_str().expect("HTML"));
    assert!(plain.contains("备份失败：/srv/app") && plain.ends_with("https://ops.example/7\n"), "{plain}");
    assert!(html.contains("<strong>备份失败</strong>") && html.contains("<li>仓库已锁定</li>"), "{html}");
    // Who names nobody reaches those of the channel.
    let id = enqueue(&site, &["hello"]);
    until(&site, &id, "sent");
    post.exim.mail_to("duty@example.org");

    // What the server refuses for good is dead, with its words; what it refuses for now is tried again.
    let dead = enqueue(&site, &["--to", "nobody@example.org", "hello"]);
    let told = until(&site, &dead, "dead");
    let reason = told["message"]["reason"].as_str().expect("a reason");
    assert_eq!(
        reason,
        "the mail server does not take mail for the address: 5.1.1 there is no such user (550): correct the address"
    );
    let later = enqueue(&site, &["--to", "later@example.org", "hello"]);
    eventually("an attempt", || {
        let it = site.api().get(&format!("/v1/push/{later}"));
        (it["message"]["state"] == "waiting" && it["attempts"][0]["code"] == "451").then_some(())
    });
    // A recipient that the task file does not allow is the fault of the message alone.
    let evil = enqueue(&site, &["--to", "evil@evil.test", "hello"]);
    let told = until(&site, &evil, "dead");
    assert!(told["message"]["reason"].as_str().is_some_and(|it| it.contains("`grant.smtp.main.to`")), "{told}");
    let both = enqueue(&site, &["--to", "one@example.org,nobody@example.org", "hello"]);
    let sent = until(&site, &both, "sent");
    assert_eq!(sent["attempts"][0]["reason"], "not to nobody@example.org: 550 5.1.1 there is no such user");
    let shown = site.cli(&["push", "show", &both]);
    assert!(shown.stdout.contains("sent") && shown.stdout.contains("not to nobody@example.org"), "{}", shown.stdout);
    let rows = ledger(&site);
    assert!(rows.iter().all(|row| row["method"] == "MAIL" && row["task"] == "push"), "{rows:?}");
    drop(daemon);
    assert_eq!(holding(site.dir(), PASSWORD), Vec::<PathBuf>::new());
}

#[test]
fn a_channel_whose_password_is_wrong_waits_and_says_why() {
    if !is_there("a_channel_whose_password_is_wrong_waits_and_says_why", &PROGRAMS) {
        return;
    }
    let post = Post::new();
    let site = push(&post, "to = [\"ops@example.org\"]\n", "");
    secret(post.folder.path(), "cänary staple");
    let _daemon = site.start();
    let first = enqueue(&site, &["one"]);
    let told = eventually("an attempt", || {
        let it = site.api().get(&format!("/v1/push/{first}"));
        it["message"]["reason"].is_string().then_some(it)
    });
    let reason = told["message"]["reason"].as_str().expect("a reason");
    let remedy = "correct `user` and `password` of the server in the task file (`grant.smtp`)";
    assert!(reason.contains("does not accept user or password") && reason.ends_with(remedy), "{reason}");
    // Neither is it lost, nor are those that follow, and whoever has mended it need not wait.
    let second = enqueue(&site, &["two"]);
    let counts = site.api().get("/v1/push")["channels"][0].take();
    assert!(counts["paused_until"].is_number(), "{counts}");
    assert_eq!(site.api().get(&format!("/v1/push/{second}"))["message"]["state"], "waiting");
    secret(post.folder.path(), PASSWORD);
    assert_eq!(site.cli(&["push", "resume", "mail"]).code, 0);
    [first, second].iter().for_each(|id| drop(until(&site, id, "sent")));
}

/// Figures: `cargo test -p upkeep-tests --test smtp many -- --nocapture`.
#[test]
fn many_mails_go_by_few_connections() {
    if !is_there("many_mails_go_by_few_connections", &PROGRAMS) {
        return;
    }
    let post = Post::new();
    let mail = "to = [\"ops@example.org\"]\nsubject = \"hello\"\ntext = \"hello\"\ntimes = 300";
    for (port, tls) in [(post.exim.port, ""), (post.exim.implicit, "tls = \"implicit\"\n")] {
        let (site, _daemon) = start(&[mail], &post.grant(port, tls));
        let began = Instant::now();
        let (told, log) = run(&site);
        let took = began.elapsed();
        assert_eq!(told["report"]["summary"], "300 accepted, 0 refused", "{log}");
        eprintln!("300 mails by port {port}: {took:?}, {:.0} a second", 300.0 / took.as_secs_f64());
        assert!(took < Duration::from_secs(60), "{took:?}");
    }
    post.exim.mails(600);
}
