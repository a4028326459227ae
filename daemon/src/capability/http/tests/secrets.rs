//! Secrets in requests and in answers.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config::secrets::{SecretGrant, SecretPlace};

/// Needs escaping wherever it is written.
const VALUE: &str = "cänary/\"4f9b\\2c&x=y";
/// The same in addresses.
const ENCODED: &str = "c%C3%A4nary%2F%224f9b%5C2c%26x%3Dy";

/// Whole requests as they came, and what is answered to each: all of the answer, as pieces that are written apart.
struct Raw {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Raw {
    fn answering(answer: impl Fn(&str) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&asked);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                connection.set_nodelay(true).unwrap();
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
                request.push_str(&String::from_utf8(body).unwrap());
                let pieces = answer(&request);
                told.lock().unwrap().push(request);
                for piece in pieces {
                    let _ = (&connection).write_all(&piece);
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        Self { port, asked }
    }

    fn new() -> Self {
        Self::answering(|_| vec![b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec()])
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Asked for once, and how.
    fn only(&self) -> String {
        let asked = self.asked.lock().unwrap();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked[0].clone()
    }
}

/// A run with the secret `token`, which is for these servers and places, and may ask all servers of this machine.
async fn run(folder: &std::path::Path, hosts: &[&str], places: &[SecretPlace], servers: &[u16]) -> Arc<Run> {
    let file = folder.join("token");
    std::fs::write(&file, VALUE).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
    let token = SecretGrant { places: places.to_vec(), ..SecretGrant::new(file, hosts) };
    let all = servers
        .iter()
        .flat_map(|port| ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{port}/").parse().unwrap()));
    let http = HttpGrant { networks: vec!["127.0.0.0/8".parse().unwrap()], ..HttpGrant::new(all.collect()) };
    let secrets = [("token".to_owned(), token)].into();
    let grants = Grants { http: Some(Arc::new(http)), secrets, ..Grants::default() };
    let run = Host::of(folder, grants, Limits::default()).await.run;
    let queued = crate::record::Run::queued(run.id.clone(), "task", Trigger::Startup, Timestamp(0), Timestamp(0));
    run.store.commit(vec![Transition::Queue(vec![queued])]).await.unwrap();
    run
}

type Heard = (http::response::Parts, String);

async fn ask(run: &Arc<Run>, url: &str, headers: &[(&str, &str)], body: &str) -> Result<Heard, Error> {
    let body = Full::new(Bytes::from(body.to_owned())).map_err(|never| match never {}).boxed_unsync();
    let mut request = http::Request::builder().method("POST").uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body).unwrap();
    let response = send(Arc::clone(run), Call::Step(0), request, RequestOptions::default()).await?;
    let (head, mut body) = response.into_parts();
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => whole.extend_from_slice(&data),
            Err(frame) => whole.extend_from_slice(format!("{:?}", frame.into_trailers().unwrap()).as_bytes()),
        }
    }
    Ok((head, String::from_utf8(whole).unwrap()))
}

const ALL: &[SecretPlace] = &[SecretPlace::Url, SecretPlace::Header, SecretPlace::Body];

#[tokio::test]
async fn placeholders_are_filled_in_where_the_secret_is_bound_to() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Raw::new());
    let run = run(folder.path(), &[&server.url("")], ALL, &[server.port]).await;
    let url = server.url("/hook/{{secret:token}}/x?key={{secret:token}}&b=%7B%7Bsecret%3Atoken%7D%7D&c={d}");
    let headers = [("authorization", "Bearer {{secret:token}}"), ("content-type", "application/json"), ("x", "{{y}}")];
    ask(&run, &url, &headers, r#"{"secret":"{{secret:token}}"}"#).await.unwrap();
    let asked = server.only();
    let line = format!("POST /hook/{ENCODED}/x?key={ENCODED}&b={ENCODED}&c={{d}} HTTP/1.1");
    assert_eq!(asked.lines().next().unwrap(), line);
    for line in [&format!("authorization: Bearer {VALUE}"), "accept-encoding: identity", "x: {{y}}"] {
        assert!(asked.contains(line), "{line}: {asked}");
    }
    let body: serde_json::Value = serde_json::from_str(asked.rsplit('\n').next().unwrap()).unwrap();
    assert_eq!(body, serde_json::json!({ "secret": VALUE }));

    let [request] = &ledger(&run).await[..] else { panic!("one request") };
    assert_eq!(request.url, server.url("/hook/{{secret:token}}/x"));
    assert_eq!((request.result, request.sent), (Answered, serde_json::to_string(&body).unwrap().len() as u64));
    assert!(!format!("{request:?}").contains("nary"), "{request:?}");

    ask(&run, &server.url("/"), &[("content-type", "application/x-www-form-urlencoded")], "a=1&b={{secret:token}}")
        .await
        .unwrap();
    assert!(server.asked.lock().unwrap()[1].ends_with(&format!("a=1&b={ENCODED}")));
    ask(&run, &server.url("/"), &[("content-type", "text/xml")], "<b>{{secret:token}}</b>").await.unwrap();
    assert!(server.asked.lock().unwrap()[2].ends_with(&format!("<b>{VALUE}</b>")));
}

#[tokio::test]
async fn nothing_leaves_toward_anybody_else() {
    let (folder, server, other) = (tempfile::tempdir().unwrap(), Raw::new(), Raw::new());
    let (bound, ports) = (server.url(""), [server.port, other.port]);
    let (header, url) = (("x", "{{secret:token}}"), server.url("/"));
    let placed = |places: &'static [SecretPlace]| (bound.clone(), places);
    let by_name = format!("http://localhost:{}/", server.port);
    let in_body = "a {{secret:token}}";
    for ((host, places), url, headers, body, why) in [
        (placed(ALL), other.url("/"), &[header][..], "", "grant.secrets.token.hosts"),
        (placed(ALL), other.url("/?a={{secret:token}}"), &[], "", "grant.secrets.token.hosts"),
        (placed(ALL), other.url("/%7B{secret%3atoken}%7d"), &[], "", "grant.secrets.token.hosts"),
        (placed(ALL), other.url("/"), &[], in_body, "grant.secrets.token.hosts"),
        // Another name of the same server.
        (placed(ALL), by_name, &[header], "", "grant.secrets.token.hosts"),
        (("https://127.0.0.1".to_owned(), ALL), url.clone(), &[header], "", "grant.secrets.token.hosts"),
        (placed(ALL), url.clone(), &[("x", "{{secret:other}}")], "", "no `grant.secrets.other`"),
        (placed(ALL), url.clone(), &[], "{{secret:other}}", "no `grant.secrets.other`"),
        (placed(&[SecretPlace::Url]), url.clone(), &[header], "", "grant.secrets.token.places"),
        (placed(&[SecretPlace::Header]), server.url("/{{secret:token}}"), &[], "", "grant.secrets.token.places"),
        (placed(ALL), url.clone(), &[("range", "bytes=0-3")], "", "a header `range`"),
    ] {
        let sub = tempfile::tempdir_in(folder.path()).unwrap();
        let run = run(sub.path(), &[&host], places, &ports).await;
        let denied = ask(&run, &url, headers, body).await.unwrap_err();
        assert_denied(&denied, why);
        assert!(!denied.to_string().contains("nary"), "{denied}");
        let [request] = &ledger(&run).await[..] else { panic!("{url}: one request") };
        assert_eq!(request.result, Denied, "{url}");
        assert!(request.reason.as_ref().unwrap().contains(why), "{url}: {request:?}");
        assert!(run.denials()[0].contains(why), "{:?}", run.denials());
        assert!(!format!("{request:?} {:?}", run.denials()).contains("nary"), "{request:?}");
    }
    assert!(server.asked.lock().unwrap().is_empty() && other.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_without_secrets_is_anybodys_text() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Raw::new());
    let run = run(folder.path(), &[&server.url("")], &[SecretPlace::Header], &[server.port]).await;
    let text = r#"{"text": "I wonder what {{secret:token}} is, and {{secret:other}}"}"#;
    ask(&run, &server.url("/"), &[("x", "{{secret:token}}")], text).await.unwrap();
    assert!(server.only().ends_with(text) && server.only().contains(VALUE));
    assert!(run.denials().is_empty());
}

#[tokio::test]
async fn no_answer_holds_a_value() {
    for size in [1, 3, 7, 1_000] {
        let folder = tempfile::tempdir().unwrap();
        let server = Raw::answering(move |_| {
            let body = format!("it was {VALUE}, {ENCODED}, {} and {VALUE}", serde_json::to_string(VALUE).unwrap());
            let head = format!(
                "HTTP/1.1 404 {VALUE}\r\nx-echo: <{VALUE}>\r\nlocation: http://127.0.0.2/?{ENCODED}\r\n\
                 transfer-encoding: chunked\r\ntrailer: x-end\r\nconnection: close\r\n\r\n"
            );
            let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            let chunks = body.as_bytes().chunks(size).map(chunk);
            let end = format!("0\r\nx-end: {VALUE}\r\n\r\n").into_bytes();
            std::iter::once(head.into_bytes()).chain(chunks).chain([end]).collect()
        });
        let run = run(folder.path(), &[&server.url("")], ALL, &[server.port]).await;
        // Also when it was not sent this time.
        for headers in [&[("x", "{{secret:token}}")][..], &[]] {
            let (head, body) = ask(&run, &server.url("/"), headers, "").await.unwrap();
            let token = "{{secret:token}}";
            assert!(body.starts_with(&format!("it was {token}, {token}, \"{token}\" and {token}")), "{body}");
            assert_eq!(head.headers["x-echo"], format!("<{token}>"));
            assert_eq!(head.headers["location"], format!("http://127.0.0.2/?{token}"));
            assert!(!format!("{head:?}{body}").contains("nary"), "{head:?} {body}");
            assert!(!head.headers.contains_key("content-length"));
        }
        let ledger = ledger(&run).await;
        assert!(ledger.iter().all(|request| request.result == Answered), "{ledger:?}");
    }
}

#[tokio::test]
async fn answers_in_which_nothing_can_be_found_are_refused() {
    for header in ["content-encoding: gzip", "content-encoding: identity, br", "transfer-encoding: gzip, chunked"] {
        let folder = tempfile::tempdir().unwrap();
        let server = Raw::answering(move |_| {
            vec![format!("HTTP/1.1 200 OK\r\n{header}\r\nconnection: close\r\n\r\n0\r\n\r\n").into_bytes()]
        });
        let run = run(folder.path(), &[&server.url("")], ALL, &[server.port]).await;
        let refused = ask(&run, &server.url("/"), &[("accept-encoding", "gzip")], "").await.unwrap_err().to_string();
        assert!(refused.contains("the answer is encoded"), "{header}: {refused}");
        assert!(server.only().contains("accept-encoding: identity"));
        assert_eq!(ledger(&run).await[0].result, Failed);
        // Who never knew it may answer as he likes.
        let sub = tempfile::tempdir_in(folder.path()).unwrap();
        let run = self::run(sub.path(), &["http://127.0.0.1:1"], ALL, &[server.port, 1]).await;
        if header.starts_with("content") {
            assert!(ask(&run, &server.url("/"), &[], "").await.is_ok(), "{header}");
        }
    }
}

#[tokio::test]
async fn failures_tell_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let server = Raw::answering(|_| {
        vec![format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{}", &VALUE[..10]).into_bytes()]
    });
    let garbled = Raw::answering(|_| vec![format!("{VALUE} {ENCODED}\r\n\r\n").into_bytes()]);
    let hosts = [server.url(""), garbled.url(""), "http://127.0.0.1:1".to_owned()];
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let run = run(folder.path(), &hosts, ALL, &[server.port, garbled.port, 1]).await;
    for url in [server.url("/{{secret:token}}?a={{secret:token}}"), garbled.url("/?a={{secret:token}}")] {
        let failed = ask(&run, &url, &[], "").await.unwrap_err();
        assert!(!format!("{failed} {failed:?}").contains("nary"), "{failed:?}");
    }
    let failed = ask(&run, "http://127.0.0.1:1/{{secret:token}}?a={{secret:token}}", &[], "").await.unwrap_err();
    assert!(format!("{failed}").contains("refused") && !format!("{failed:?}").contains("nary"), "{failed:?}");
    let ledger = ledger(&run).await;
    assert_eq!(ledger.len(), 3);
    assert!(
        ledger.iter().all(|request| request.result == Failed && !format!("{request:?}").contains("nary")),
        "{ledger:?}"
    );
    // One that cannot be read is asked for in vain, and the remedy is told.
    std::fs::remove_file(folder.path().join("token")).unwrap();
    let sub = tempfile::tempdir_in(folder.path()).unwrap();
    let again = self::run(sub.path(), &hosts, ALL, &[server.port]).await;
    std::fs::remove_file(sub.path().join("token")).unwrap();
    let file = sub.path().join("token");
    let why = format!("the secret `token` cannot be used: the secret file {} cannot be read", file.display());
    for _ in 0..2 {
        let failed = ask(&again, &server.url("/{{secret:token}}"), &[], "").await.unwrap_err();
        assert_denied(&failed, &why);
        // Nothing is wrong with the address.
        assert!(failed.to_string().contains("install -m 600") && !failed.to_string().contains("http"), "{failed}");
    }
    assert_eq!(super::ledger(&again).await[0].result, Failed);
    // Nobody asked for what is not granted; and it is told once.
    assert!(again.denials().is_empty());
    // Lines are durable with the next commit.
    let next = crate::record::RunId::new(Timestamp(1));
    let next = crate::record::Run::queued(next, "task", Trigger::Startup, Timestamp(1), Timestamp(1));
    again.store.commit(vec![Transition::Queue(vec![next])]).await.unwrap();
    let lines = again.store.read().logs(&again.id, 0, 100).await.unwrap();
    let told = lines.iter().filter(|(_, line)| line.message.starts_with(&why)).count();
    assert_eq!(told, 1, "{lines:?}");
}

#[tokio::test]
async fn a_password_comes_back_as_little_as_the_login_that_it_is_of() {
    for (value, told) in [
        ("user:correct-horse-battery", "wrong password correct-horse-battery"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let server = Raw::answering(move |_| {
            let length = told.len();
            let head = format!("HTTP/1.1 401 no\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{told}");
            vec![head.into_bytes()]
        });
        let run = run(folder.path(), &[&server.url("")], ALL, &[server.port]).await;
        std::fs::write(folder.path().join("token"), value).unwrap();
        let (_, body) = ask(&run, &server.url("/"), &[("x", "{{secret:token}}")], "").await.unwrap();
        assert!(body.ends_with("{{secret:token}}") && !body.contains(&value[6..]), "{body}");
    }
}

#[tokio::test]
async fn a_header_takes_no_secret_of_many_lines() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Raw::new());
    for (value, why) in [
        ("first line\r\nx-injected: yes", "has more than one line"),
        ("first part\x01x-injected: yes", "has a character that no header can hold (here `x-key`)"),
    ] {
        let sub = tempfile::tempdir_in(folder.path()).unwrap();
        let run = self::run(sub.path(), &[&server.url("")], ALL, &[server.port]).await;
        let file = sub.path().join("token");
        std::fs::write(&file, value).unwrap();
        let failed = ask(&run, &server.url("/"), &[("x-key", "{{secret:token}}")], "").await.unwrap_err();
        assert_denied(&failed, why);
        let text = failed.to_string();
        assert!(text.contains("`token`") && text.contains(&file.display().to_string()), "{text}");
        assert!(!text.contains("injected"), "{text}");
    }
    assert!(server.asked.lock().unwrap().is_empty());
}
