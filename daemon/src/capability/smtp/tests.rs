use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::abi::smtp::Host as _;
use crate::capability::Call;
use crate::clock::Timestamp;
use crate::config::limits::Limits;
use crate::config::secret::Secret;
use crate::config::size::Size;
use crate::record::Trigger;
use crate::record::egress::Egress;
use crate::record::egress::EgressResult::{Answered, Denied, Failed};
use crate::store::{EgressFilter, Transition};

const PASSWORD: &str = "cänary/4f9b2c";

/// A mail server without TLS. To each command it says what the test wants, or what such a server says: a command `.` is the end of
/// a mail, and to say `close` is to close the connection.
struct Fake {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Fake {
    fn new(say: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, connections) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
        let (told, count, say) = (Arc::clone(&heard), Arc::clone(&connections), Arc::new(say));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let (told, say) = (Arc::clone(&told), Arc::clone(&say));
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                    let mut command = "connect".to_owned();
                    loop {
                        told.lock().unwrap().push(command.clone());
                        let usual = match command.split([' ', ':']).next().unwrap_or_default() {
                            "connect" => "220 fake",
                            "EHLO" => "250-fake\r\n250-8BITMIME\r\n250 AUTH PLAIN",
                            "AUTH" => "235 2.7.0 welcome",
                            "DATA" => "354 go on",
                            "QUIT" => "close",
                            _ => "250 2.0.0 ok",
                        };
                        let said = say(&command).unwrap_or_else(|| usual.to_owned());
                        if said == "close" || (&stream).write_all(format!("{said}\r\n").as_bytes()).is_err() {
                            return;
                        }
                        if said.starts_with("354") {
                            let mail: Vec<String> = lines.by_ref().take_while(|line| line != ".").collect();
                            told.lock().unwrap().push(mail.join("\n"));
                            command = ".".to_owned();
                            continue;
                        }
                        match lines.next() {
                            Some(line) => command = line,
                            None => return,
                        }
                    }
                });
            }
        });
        Self { port, heard, connections }
    }

    fn grant(&self) -> SmtpGrant {
        SmtpGrant {
            port: Some(self.port),
            tls: SmtpTls::None,
            timeout: Duration::from_secs(2),
            ..SmtpGrant::new(
                "127.0.0.1",
                vec!["upkeep@example.org".parse().unwrap()],
                vec!["*@example.org".parse().unwrap()],
            )
        }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn host(folder: &Path, grant: SmtpGrant) -> Host {
    let smtp = BTreeMap::from([("main".to_owned(), Arc::new(grant))]);
    let host = Host::of(folder, Grants { smtp, ..Grants::default() }, Limits::default()).await;
    let run = &host.run;
    let queued = crate::record::Run::queued(run.id.clone(), "task", Trigger::Startup, Timestamp(0), Timestamp(0));
    run.store.commit(vec![Transition::Queue(vec![queued])]).await.unwrap();
    host
}

/// A login with [`PASSWORD`].
fn with_login(folder: &Path, grant: SmtpGrant) -> SmtpGrant {
    let file = folder.join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    SmtpGrant { user: Some("upkeep".into()), password: Some(Secret::File(file)), ..grant }
}

fn mail(to: &[&str]) -> abi::Mail {
    abi::Mail {
        id: "a-1".into(),
        from: abi::Mailbox { name: None, address: "upkeep@example.org".into() },
        to: to.iter().map(|it| (*it).to_owned()).collect(),
        subject: "hello".into(),
        text: "how are you\n.\nfine".into(),
        html: None,
        together: false,
    }
}

async fn send(host: &mut Host, to: &[&str]) -> Result<abi::Answer, GuestError> {
    send_mail(host, mail(to)).await
}

async fn send_mail(host: &mut Host, mail: abi::Mail) -> Result<abi::Answer, GuestError> {
    match host.send("main".into(), vec![mail]).await {
        Ok(mut answers) => answers.pop().unwrap(),
        Err(HostError::Guest(error)) => Err(error),
        Err(HostError::Trap(error)) => panic!("{error}"),
    }
}

async fn ledger(host: &Host) -> Vec<Egress> {
    // Once settled, a ledger takes no more.
    for _ in 0..200 {
        let mut rows = host.run.store.read().egress(&EgressFilter::default(), 100).await.unwrap();
        if rows.iter().all(|row| row.took_ms.is_some()) {
            rows.reverse();
            return rows;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the ledger stays open")
}

#[tokio::test]
async fn what_is_granted_is_sent_and_written_down() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Fake::new(|_| None));
    let mut host = host(folder.path(), server.grant()).await;
    for _ in 0..3 {
        let answer = send(&mut host, &["ops@example.org", "root@EXAMPLE.org", "ops@example.org"]).await.unwrap();
        assert!(answer.accepted && answer.refused.is_empty());
        assert_eq!((answer.reply.code, answer.reply.enhanced.as_deref()), (250, Some("2.0.0")));
    }
    assert_eq!(server.connections(), 1, "it is kept");
    let heard = server.heard();
    let commands: Vec<&str> = heard.iter().take(7).map(|it| it.split('\n').next().unwrap()).collect();
    assert_eq!(
        commands[2..6],
        ["MAIL FROM:<upkeep@example.org>", "RCPT TO:<ops@example.org>", "RCPT TO:<root@example.org>", "DATA"]
    );
    assert!(commands[1].starts_with("EHLO "), "{commands:?}");
    // What looks like the end of the mail is a line of its text.
    assert!(heard[6].ends_with("\n\nhow are you\n..\nfine"), "{}", heard[6]);
    assert!(heard[6].contains("Message-ID: <a-1@example.org>") && heard[6].contains("Auto-Submitted: auto-generated"));
    let rows = ledger(&host).await;
    assert_eq!(rows.len(), 3);
    let Egress { method, url, result, status, reason, address, .. } = rows[0].clone();
    assert_eq!((method.as_str(), result, status, reason), ("MAIL", Answered, Some(250), None));
    assert_eq!(url, format!("smtp://127.0.0.1:{}/?recipients=2", server.port));
    assert_eq!(address, Some(format!("127.0.0.1:{}", server.port)));
    assert_eq!(rows[0].sent as usize, heard[6].replace('\n', "\r\n").len() - 1, "without what was stuffed");
    host.run.smtp.close().await;
    assert_eq!(server.heard().last().unwrap(), "QUIT");
}

#[tokio::test]
async fn what_is_not_granted_is_denied_and_written_down() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Fake::new(|_| None));
    let mut host = host(folder.path(), server.grant()).await;
    let root = abi::Mailbox { name: None, address: "root@example.org".into() };
    for (mail, why) in [
        (abi::Mail { from: root, ..mail(&["ops@example.org"]) }, "not from root@example.org (`grant.smtp.main.from`"),
        (mail(&["ops@example.org", "ops@evil.test"]), "not to ops@evil.test (`grant.smtp.main.to`"),
    ] {
        let denied = send_mail(&mut host, mail).await.unwrap_err();
        assert!(matches!(&denied, GuestError::Denied(told) if told.contains(why)), "{denied:?}");
        let row = ledger(&host).await.pop().unwrap();
        assert!(row.result == Denied && row.reason.unwrap().contains(why));
        assert!(host.run.denials().last().unwrap().contains(why));
    }
    let other = host.send("other".into(), vec![mail(&["ops@example.org"])]).await;
    host.expect_denied(other, "`grant.smtp.other`");
    for (grants, why) in [
        // A name that leads here, and is not the one that says so.
        (SmtpGrant { host: "LocalHost".into(), ..server.grant() }, "is no public address (`grant.smtp.main.networks`"),
        (SmtpGrant { host: "169.254.1.1".into(), to: Vec::new(), ..server.grant() }, "`grant.smtp.main.to`"),
    ] {
        let sub = tempfile::tempdir_in(folder.path()).unwrap();
        let mut host = self::host(sub.path(), grants).await;
        let denied = send(&mut host, &["ops@example.org"]).await.unwrap_err();
        assert!(matches!(&denied, GuestError::Denied(told) if told.contains(why)), "{denied:?}");
        assert_eq!(ledger(&host).await.pop().unwrap().result, Denied);
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn what_cannot_be_sent_reaches_nobody() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Fake::new(|_| None));
    let grant = SmtpGrant { max_message: Size(1_000), max_messages: 2, ..server.grant() };
    let mut host = host(folder.path(), grant).await;
    let ops = &["ops@example.org"];
    for (mail, why) in [
        (abi::Mail { subject: "a\r\nBcc: evil@evil.test".into(), ..mail(ops) }, "`subject`: a control character"),
        (abi::Mail { text: "x".repeat(1_001), ..mail(ops) }, "grant.smtp.main.max_message"),
        // Each character becomes four with its encoding.
        (abi::Mail { text: "磁".repeat(250), ..mail(ops) }, "grant.smtp.main.max_message"),
        // The server knows no SMTPUTF8.
        (mail(&["值班@example.org"]), "other characters than those of ASCII"),
    ] {
        let invalid = send_mail(&mut host, mail).await.unwrap_err();
        assert!(matches!(&invalid, GuestError::Invalid(told) if told.contains(why)), "{why}: {invalid:?}");
    }
    assert!(server.heard().iter().all(|it| !it.starts_with("MAIL")), "{:?}", server.heard());
    assert!(send(&mut host, ops).await.unwrap().accepted);
    let limit = send(&mut host, ops).await.unwrap_err();
    assert!(matches!(&limit, GuestError::Limit(told) if told.contains("grant.smtp.main.max_messages")), "{limit:?}");
    host.call = Call::Plan;
    let planning = send(&mut host, ops).await.unwrap_err();
    assert!(matches!(&planning, GuestError::Invalid(told) if told.contains("`smtp.send` is for a step")));
    assert!(host.run.denials().is_empty(), "it was granted");
}

/// How a server answers `command` in one word.
fn says(command: &'static str, reply: &'static str) -> impl Fn(&str) -> Option<String> + Send + Sync {
    move |heard| heard.starts_with(command).then(|| reply.to_owned())
}

#[tokio::test]
async fn what_a_server_refuses_is_told_with_its_code() {
    let folder = tempfile::tempdir().unwrap();
    for (command, reply, stage, code, enhanced) in [
        ("connect", "554 5.7.1 go away", abi::Stage::Connection, 554, Some("5.7.1")),
        ("connect", "421 too many connections", abi::Stage::Connection, 421, None),
        ("AUTH", "535 5.7.8 who are you", abi::Stage::Login, 535, Some("5.7.8")),
        ("AUTH", "454 4.7.0 later", abi::Stage::Login, 454, Some("4.7.0")),
        ("MAIL", "553 5.1.8 no such sender", abi::Stage::Sender, 553, Some("5.1.8")),
        ("MAIL", "421 busy", abi::Stage::Sender, 421, None),
        ("RCPT", "451 4.7.1 come again", abi::Stage::Recipients, 451, Some("4.7.1")),
        ("RCPT", "550-5.1.1 no such\r\n550 5.1.1 user", abi::Stage::Recipients, 550, Some("5.1.1")),
        ("DATA", "554 no valid recipients", abi::Stage::Content, 554, None),
        (".", "552 5.3.4 too large", abi::Stage::Content, 552, Some("5.3.4")),
        (".", "452 4.2.2 full", abi::Stage::Content, 452, Some("4.2.2")),
    ] {
        let (sub, server) = (tempfile::tempdir_in(folder.path()).unwrap(), Fake::new(says(command, reply)));
        let mut host = host(sub.path(), with_login(sub.path(), server.grant())).await;
        let answer = send(&mut host, &["ops@example.org"]).await.unwrap();
        assert!(!answer.accepted);
        let told = (answer.stage, answer.reply.code, answer.reply.enhanced.as_deref());
        assert_eq!(told, (stage, code, enhanced), "{reply}");
        assert!(!answer.reply.text.contains('\n'), "{}", answer.reply.text);
        let row = ledger(&host).await.pop().unwrap();
        assert_eq!((row.result, row.status), (Answered, Some(code)), "{reply}");
        let reason = row.reason.unwrap();
        assert!(reason.contains(&code.to_string()) && !reason.contains("such"), "{reason}");
    }
}

#[tokio::test]
async fn one_of_two_recipients_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let two = &["a@example.org", "b@example.org"];
    for (refusal, together, accepted) in [
        ("451 4.7.1 come again", false, true),
        ("451 4.7.1 come again", true, false),
        ("550 5.1.1 no such user", false, true),
        ("550 5.1.1 no such user", true, true),
    ] {
        let sub = tempfile::tempdir_in(folder.path()).unwrap();
        let server = Fake::new(says("RCPT TO:<b@", refusal));
        let mut host = host(sub.path(), server.grant()).await;
        let answer = send_mail(&mut host, abi::Mail { together, ..mail(two) }).await.unwrap();
        assert_eq!((answer.accepted, answer.refused.len()), (accepted, 1), "{refusal} {together}");
        assert_eq!(answer.refused[0].recipient, "b@example.org");
        assert_eq!(answer.refused[0].reply.code.to_string(), refusal[..3]);
        let was_sent = server.heard().iter().any(|it| it == ".");
        assert_eq!(was_sent, accepted);
        if accepted {
            let reason = ledger(&host).await.pop().unwrap().reason.unwrap();
            assert!(reason.starts_with("1 of 2 recipients refused: "), "{reason}");
        }
        // The connection is good for another mail.
        assert!(send(&mut host, &two[..1]).await.unwrap().accepted);
        assert_eq!(server.connections(), 1);
    }
    // All are: the reply that may be different later decides.
    let server = Fake::new(|heard| match heard {
        it if it.starts_with("RCPT TO:<a@") => Some("550 5.1.1 no such user".to_owned()),
        it if it.starts_with("RCPT TO:<b@") => Some("451 4.7.1 come again".to_owned()),
        _ => None,
    });
    let mut host = host(folder.path(), server.grant()).await;
    let answer = send(&mut host, two).await.unwrap();
    assert_eq!((answer.accepted, answer.reply.code, answer.refused.len()), (false, 451, 2));
}

#[tokio::test]
async fn a_connection_that_broke_off_is_told_or_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let ops = &["ops@example.org"];
    for (command, said, why) in [
        ("connect", "close", ""),
        ("connect", "HTTP/1.1 400 Bad Request", ""),
        ("MAIL", "close", "the connection broke off"),
        ("RCPT", "close", "the connection broke off"),
        (".", "close", "whether the server took the mail is not known"),
    ] {
        let (sub, server) = (tempfile::tempdir_in(folder.path()).unwrap(), Fake::new(says(command, said)));
        let mut host = host(sub.path(), server.grant()).await;
        let broken = send(&mut host, ops).await.unwrap_err();
        assert!(matches!(&broken, GuestError::Unavailable(told) if told.contains(why)), "{command}: {broken:?}");
        let row = ledger(&host).await.pop().unwrap();
        assert!(row.result == Failed && row.reason.unwrap().contains(why), "{command}");
    }
    // Closed after each mail: nothing of the next one was sent by then, so it goes by a new connection.
    for last_words in ["close", "421 4.4.2 idle for too long"] {
        let mails = AtomicUsize::new(0);
        let server = Fake::new(move |heard| {
            let is_second = heard.starts_with("MAIL") && mails.fetch_add(1, Ordering::Relaxed) % 2 == 1;
            is_second.then(|| last_words.to_owned())
        });
        let sub = tempfile::tempdir_in(folder.path()).unwrap();
        let mut host = host(sub.path(), server.grant()).await;
        for _ in 0..2 {
            assert!(send(&mut host, ops).await.unwrap().accepted, "{last_words}");
        }
        assert_eq!(server.connections(), 2, "{last_words}");
    }
    // Nobody is there.
    let grant = SmtpGrant { port: Some(1), ..Fake::new(|_| None).grant() };
    let sub = tempfile::tempdir_in(folder.path()).unwrap();
    let mut host = self::host(sub.path(), grant).await;
    let nobody = send(&mut host, ops).await.unwrap_err();
    assert!(matches!(&nobody, GuestError::Unavailable(told) if told.contains("refused")), "{nobody:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["connect", "EHLO", "RCPT", "."] {
        let server = Fake::new(move |heard| {
            if heard.starts_with(command) {
                std::thread::sleep(Duration::from_secs(5));
            }
            None
        });
        let sub = tempfile::tempdir_in(folder.path()).unwrap();
        let grant = SmtpGrant { timeout: Duration::from_millis(200), ..server.grant() };
        let mut host = host(sub.path(), grant).await;
        let began = std::time::Instant::now();
        let silent = send(&mut host, &["ops@example.org"]).await.unwrap_err();
        assert!(matches!(&silent, GuestError::Unavailable(told) if told.contains("no answer")), "{silent:?}");
        assert!(began.elapsed() < Duration::from_secs(3), "{command}: {:?}", began.elapsed());
        host.run.smtp.close().await;
    }
}

#[tokio::test]
async fn a_password_is_told_to_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("\0upkeep\0{PASSWORD}"));
    // A server that gives it back, in each way in which it came or could be written.
    for (command, said) in [
        ("AUTH", format!("535 5.7.8 {PASSWORD} is wrong, {base64} is")),
        ("AUTH", format!("not SMTP {PASSWORD} {base64}")),
        ("RCPT", format!("550 5.1.1 {PASSWORD} {base64}")),
    ] {
        let sub = tempfile::tempdir_in(folder.path()).unwrap();
        let server = Fake::new(move |heard| heard.starts_with(command).then(|| said.clone()));
        let mut host = host(sub.path(), with_login(sub.path(), server.grant())).await;
        let answer = format!("{:?}", send(&mut host, &["ops@example.org"]).await);
        let all = format!("{answer} {:?} {:?}", ledger(&host).await, host.run.denials());
        assert!(!all.contains("4f9b2c") && !all.contains(&base64[12..]), "{all}");
        assert!(server.heard().contains(&format!("AUTH PLAIN {base64}")), "{:?}", server.heard());
        if answer.contains("is wrong") {
            assert!(answer.contains("{{secret:smtp.main}} is wrong"), "{answer}");
        }
    }
    // Who has no TLS does not get it, and neither does who is in between.
    for (command, said) in [("none", ""), ("STARTTLS", "220 go on\r\n250-fake\r\n250 AUTH PLAIN\r\n235 welcome")] {
        let sub = tempfile::tempdir_in(folder.path()).unwrap();
        let server = Fake::new(move |heard| match heard {
            it if it.starts_with(command) => Some(said.to_owned()),
            it if it.starts_with("EHLO") && command == "STARTTLS" => {
                Some("250-fake\r\n250-STARTTLS\r\n250 AUTH PLAIN".to_owned())
            }
            _ => None,
        });
        let grant = SmtpGrant { tls: SmtpTls::Starttls, ..with_login(sub.path(), server.grant()) };
        let mut host = host(sub.path(), grant).await;
        let refused = send(&mut host, &["ops@example.org"]).await.unwrap_err();
        assert!(matches!(&refused, GuestError::Unavailable(told) if told.contains("TLS")), "{refused:?}");
        let heard = server.heard();
        assert!(!heard.iter().any(|it| it.starts_with("AUTH") || it.starts_with("MAIL")), "{heard:?}");
    }
    // Without the password there is no mail, and the reason says how it is set right.
    let server = Fake::new(|_| None);
    let password = Some(Secret::File(folder.path().join("none")));
    let mut host = host(folder.path(), SmtpGrant { user: Some("me".into()), password, ..server.grant() }).await;
    let missing = send(&mut host, &["ops@example.org"]).await.unwrap_err();
    let told = "the password of `grant.smtp.main` cannot be used: the secret file ";
    assert!(
        matches!(&missing, GuestError::Denied(it) if it.starts_with(told) && it.contains("install -m 600")),
        "{missing:?}"
    );
    assert!(host.run.denials().is_empty(), "the plugin did nothing wrong");
    assert_eq!(ledger(&host).await.last().unwrap().result, Failed);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn mails_go_side_by_side_over_few_connections() {
    let (folder, server) =
        (tempfile::tempdir().unwrap(), Fake::new(says("RCPT TO:<nobody@", "550 5.1.1 no such user")));
    let mut host = host(folder.path(), server.grant()).await;
    let to = |it| if it % 50 == 7 { "nobody@example.org" } else { "ops@example.org" };
    let answers = host.send("main".into(), (0..200).map(|it| mail(&[to(it)])).collect()).await.unwrap();
    for (at, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.unwrap().accepted, at % 50 != 7, "{at}: in the order given");
    }
    assert!(server.connections() <= MOST_CONNECTIONS, "{}", server.connections());
    assert_eq!(server.heard().iter().filter(|it| *it == ".").count(), 196);
    assert_eq!(ledger(&host).await.len(), 100, "the most that is read at once");
    let many = host.send("main".into(), (0..1_001).map(|_| mail(&["ops@example.org"])).collect()).await;
    assert!(matches!(many, Err(HostError::Guest(GuestError::Invalid(_)))));
}
