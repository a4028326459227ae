mod secrets;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::Duration;

use http_body_util::{Empty, Full};

use super::*;
use crate::clock::Timestamp;
use crate::config::grant::Grants;
use crate::config::limits::Limits;
use crate::config::size::Size;
use crate::record::Trigger;
use crate::record::egress::Egress;
use crate::record::egress::EgressResult::{Answered, Denied, Failed};
use crate::store::{EgressFilter, Transition};

/// A web server. It answers with what the path says: `/302`, `/bytes/1000`, `/slow`, `/cut`, `/echo`.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&asked);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let mut reader = BufReader::new(&connection);
                let (mut head, mut line) = (String::new(), String::new());
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    head.push_str(&std::mem::take(&mut line));
                }
                let length = head.to_lowercase().split_once("content-length: ").map_or(0, |(_, rest)| {
                    rest.split("\r\n").next().and_then(|length| length.parse::<usize>().ok()).unwrap_or(0)
                });
                let mut body = vec![0; length];
                let _ = reader.read_exact(&mut body);
                told.lock().unwrap().push(head.clone());
                let path = head.split([' ', '?']).nth(1).unwrap_or_default();
                let (status, body) = match path {
                    "/302" => ("302 Found\r\nlocation: http://127.0.0.1/", Vec::new()),
                    "/slow" => {
                        std::thread::sleep(Duration::from_secs(3));
                        ("200 OK", Vec::new())
                    }
                    "/cut" => {
                        let _ = (&connection).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
                        continue;
                    }
                    "/echo" => ("200 OK", body),
                    path => {
                        let length = path.strip_prefix("/bytes/").and_then(|it| it.parse().ok()).unwrap_or(0);
                        ("200 OK", vec![b'x'; length])
                    }
                };
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                let _ = (&connection).write_all(&[head.as_bytes(), &body].concat());
            }
        });
        Self { port, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// A run that may ask what `allow` says, and connect to this machine if `networks` has it.
async fn run(folder: &std::path::Path, grant: Option<HttpGrant>) -> Arc<Run> {
    let grants = Grants { http: grant.map(Arc::new), ..Grants::default() };
    let run = Host::of(folder, grants, Limits::default()).await.run;
    let queued = crate::record::Run::queued(run.id.clone(), "task", Trigger::Startup, Timestamp(0), Timestamp(0));
    run.store.commit(vec![Transition::Queue(vec![queued])]).await.unwrap();
    run
}

fn grant(allow: &[&str], networks: &[&str]) -> HttpGrant {
    HttpGrant {
        networks: networks.iter().map(|it| it.parse().unwrap()).collect(),
        ..HttpGrant::new(allow.iter().map(|it| it.parse().unwrap()).collect())
    }
}

async fn ask(run: &Arc<Run>, url: &str, body: &str) -> Result<(u16, Vec<u8>), Error> {
    let body = match body {
        "" => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        body => Full::new(Bytes::from(body.to_owned())).map_err(|never| match never {}).boxed_unsync(),
    };
    let request = http::Request::builder().uri(url).body(body).unwrap();
    let response = send(Arc::clone(run), Call::Step(0), request, RequestOptions::default()).await?;
    let (status, mut body, mut whole) = (response.status().as_u16(), response.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        whole.extend_from_slice(&frame?.into_data().unwrap_or_default());
    }
    Ok((status, whole))
}

async fn ledger(run: &Arc<Run>) -> Vec<Egress> {
    run.ledger.settle().await;
    let mut requests = run.store.read().egress(&EgressFilter::default(), 100).await.unwrap();
    requests.reverse();
    requests
}

#[tokio::test]
async fn what_is_granted_is_asked_and_written_down() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::new());
    let run = run(folder.path(), Some(grant(&[&server.url("/")], &["127.0.0.1"]))).await;
    let (status, body) = ask(&run, &server.url("/echo?token=hush"), "seven b").await.unwrap();
    assert_eq!((status, body.as_slice()), (200, b"seven b".as_slice()));
    let [request] = &ledger(&run).await[..] else { panic!("one request") };
    assert_eq!((request.result, request.status, request.sent), (Answered, Some(200), 7));
    assert_eq!((request.url.as_str(), request.step), (server.url("/echo").as_str(), Some(0)));
    assert_eq!(request.address, Some(format!("127.0.0.1:{}", server.port)));
    assert!(request.took_ms.is_some() && request.reason.is_none());
    let head = server.asked.lock().unwrap()[0].clone();
    assert!(
        head.contains(&format!("host: 127.0.0.1:{}", server.port)) && head.contains("user-agent: upkeep/"),
        "{head}"
    );
}

/// Whether the guest is told that it was denied, and why.
fn assert_denied(error: &Error, why: &str) {
    let Error::InternalError(Some(text)) = error else { panic!("{error}") };
    assert!(text.starts_with(DENIED) && text.contains(why), "{text}");
}

#[tokio::test]
async fn what_is_not_granted_is_denied_and_written_down() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::new());
    let port = server.port;
    let public = format!("http://127.0.0.1:{port}/public/");
    let names = [public.as_str(), &format!("http://localhost:{port}/"), &format!("http://[::1]:{port}/")];
    for (grants, url, why) in [
        (None, server.url("/"), "no `grant.http`"),
        (Some(grant(&names, &["127.0.0.1"])), server.url("/"), "`grant.http.allow`"),
        (Some(grant(&names, &["127.0.0.1"])), format!("https://127.0.0.1:{port}/public/"), "`grant.http.allow`"),
        (Some(grant(&names, &[])), format!("{public}x"), "127.0.0.1 is no public address"),
        (Some(grant(&names, &[])), format!("http://2130706433:{port}/public/"), "127.0.0.1 is no public address"),
        (Some(grant(&names, &["127.0.0.1"])), format!("http://[::1]:{port}/"), "::1 is no public address"),
        (Some(grant(&names, &["10.0.0.0/8"])), format!("http://localhost:{port}/"), "1 is no public address"),
        (Some(HttpGrant { max_requests: 0, ..grant(&names, &["127.0.0.1"]) }), public.clone(), "max_requests"),
    ] {
        let sub = tempfile::tempdir_in(folder.path()).unwrap();
        let run = run(sub.path(), grants).await;
        let denied = ask(&run, &url, "").await.unwrap_err();
        match why {
            // More can be done in another run.
            "max_requests" => assert!(matches!(denied, Error::ConnectionLimitReached), "{url}: {denied}"),
            _ => assert_denied(&denied, why),
        }
        let [request] = &ledger(&run).await[..] else { panic!("{url}: one request") };
        assert_eq!(request.result, Denied, "{url}");
        assert!(request.reason.as_ref().unwrap().contains(why), "{url}: {request:?}");
        assert!(run.denials()[0].contains(why), "{:?}", run.denials());
    }
    assert!(server.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn redirects_are_answers() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::new());
    let run = run(folder.path(), Some(grant(&[&server.url("/")], &["127.0.0.1"]))).await;
    assert_eq!(ask(&run, &server.url("/302"), "").await.unwrap().0, 302);
    assert_eq!(server.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn sizes_and_times_are_limited() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::new());
    let limited = HttpGrant {
        max_request: Size(10),
        max_response: Size(1_000),
        timeout: Duration::from_millis(400),
        ..grant(&[&server.url("/")], &["127.0.0.1"])
    };
    let run = run(folder.path(), Some(limited)).await;
    assert_eq!(ask(&run, &server.url("/bytes/1000"), "").await.unwrap().1.len(), 1_000);
    for (path, body, why) in [
        ("/bytes/1001", "", "grant.http.max_response"),
        ("/echo", "eleven byte", "grant.http.max_request"),
        ("/slow", "", "grant.http.timeout"),
        ("/cut", "", ""),
    ] {
        let failed = ask(&run, &server.url(path), body).await.unwrap_err().to_string();
        assert!(failed.contains(why), "{path}: {failed}");
        let request = ledger(&run).await.pop().unwrap();
        assert_eq!(request.result, Failed, "{path}");
        assert!(request.reason.unwrap().contains(why), "{path}");
    }
    assert!(run.denials().is_empty(), "it was granted");
    // Nobody listens there.
    let closed = grant(&["http://127.0.0.1:1/"], &["127.0.0.1"]);
    let sub = tempfile::tempdir_in(folder.path()).unwrap();
    let run = self::run(sub.path(), Some(closed)).await;
    let failed = ask(&run, "http://127.0.0.1:1/", "").await.unwrap_err().to_string();
    assert!(failed.contains("refused"), "{failed}");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_to_its_end_is_an_answer() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::new());
    let run = run(folder.path(), Some(grant(&[&server.url("/")], &["127.0.0.1"]))).await;
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = http::Request::builder().uri(server.url("/bytes/100000")).body(body).unwrap();
    drop(send(Arc::clone(&run), Call::Plan, request, RequestOptions::default()).await.unwrap());
    let [request] = &ledger(&run).await[..] else { panic!("one request") };
    assert_eq!((request.result, request.received, request.step), (Answered, 0, None));
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_is_written_down_too() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::new());
    let run = run(folder.path(), Some(grant(&[&server.url("/")], &["127.0.0.1"]))).await;
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = http::Request::builder().uri(server.url("/slow")).body(body).unwrap();
    let asked = send(Arc::clone(&run), Call::Plan, request, RequestOptions::default());
    assert!(tokio::time::timeout(Duration::from_millis(300), asked).await.is_err());
    let [request] = &ledger(&run).await[..] else { panic!("one request") };
    assert_eq!(request.result, Failed);
    let reason = request.reason.as_deref().unwrap();
    let waited =
        reason.strip_prefix("no answer within ").and_then(|it| it.strip_suffix("; the plugin did not wait any longer"));
    let waited = humantime::parse_duration(waited.unwrap_or_else(|| panic!("{reason}"))).unwrap();
    assert!(waited >= Duration::from_millis(300), "{reason}");
}
