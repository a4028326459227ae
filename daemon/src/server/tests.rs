//! The server against a real journal and a real socket. The loop that owns the daemon's state is played by a task that
//! answers commands with what is written here.

mod documented;
mod fixture;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use self::fixture::{Fixture, message_id, run_id};
use crate::api::{ErrorCode, PushRequest};
use crate::client::{ClientError, MessageQuery, RunQuery};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::outcome::Outcome;
use crate::record::outbox::{Content, EnqueueOutcome, MessageState, Priority};
use crate::record::{Level, LogRecord, Phase, RunId};
use crate::store::Transition;

/// Status and body of a request that is written by hand.
async fn raw(fixture: &Fixture, method: &str, path: &str, body: &str) -> (u16, String) {
    let socket = fixture.socket.clone();
    let request = format!("{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let exchange = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = exchange.await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ErrorCode {
    match result.unwrap_err() {
        ClientError::Refused(body) => body.error,
        other => panic!("refused, not {other}"),
    }
}

#[tokio::test]
async fn commands_reach_the_loop_with_the_name_of_who_asks() {
    let fixture = Fixture::start().await;
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(fixture.client.status().await.unwrap().pid, 4242);
    assert_eq!(fixture.client.tasks().await.unwrap().tasks[0].name, "backup-app", "sorted by name");
    assert_eq!(fixture.client.run("backup-app", true).await.unwrap(), run_id(9));
    assert_eq!(fixture.client.reload().await.unwrap().changed, ["backup-app"]);
    fixture.queue(1).await;
    assert_eq!(fixture.client.cancel(&run_id(1).0).await.unwrap(), run_id(1));
    assert_eq!(fixture.client.release("backup-app", Some("/srv/backup/main")).await.unwrap().holds.len(), 1);
    let heard = fixture.heard();
    assert!(heard[2].starts_with("release backup-app Some(\"/srv/backup/main\") by=uid"), "{heard:?}");
    assert!(heard[0].starts_with(&format!("run backup-app dry_run=true by=uid {uid}")), "{heard:?}");
    assert!(heard[1].starts_with(&format!("cancel {} by=uid {uid}", run_id(1))), "{heard:?}");
}

#[tokio::test]
async fn refusals_have_codes_and_remedies() {
    let fixture = Fixture::start().await;
    fixture.story().await;
    let client = &fixture.client;
    assert_eq!(code(client.run("no/such task?", false).await), ErrorCode::NoTask);
    assert_eq!(code(client.show("01ZZ").await), ErrorCode::NoRun);
    assert_eq!(code(client.show("01KARX").await), ErrorCode::AmbiguousRun);
    assert_eq!(code(client.cancel(&run_id(1).0).await), ErrorCode::RunOver);
    assert_eq!(code(client.logs("01ZZ", 0, true).await.map(|_| ())), ErrorCode::NoRun);
    let error = client.runs(&RunQuery { outcome: Some("bad".into()), ..RunQuery::default() }).await.unwrap_err();
    insta::assert_snapshot!(error, @"`bad` is no outcome; there are: succeeded, failed, trapped, timed-out, limit-exceeded, denied, cancelled, interrupted, skipped");
    for (method, path, body, status, error) in [
        ("GET", "/", "", 404, "no-path"),
        ("GET", "/v1/nothing", "", 404, "no-path"),
        ("DELETE", "/v1/runs", "", 405, "method"),
        ("GET", "/v1/runs?limit=many", "", 400, "bad-request"),
        ("GET", "/v1/runs?taks=x", "", 400, "bad-request"),
        ("POST", "/v1/tasks/backup-app/run", "{\"dryrun\":true}", 400, "bad-request"),
        ("POST", "/v1/tasks/backup-app/run", "{", 400, "bad-request"),
        ("GET", "/v1/runs/%FF", "", 400, "bad-request"),
    ] {
        let (got, answer) = raw(&fixture, method, path, body).await;
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
        assert_eq!((got, answer["error"].as_str()), (status, Some(error)), "{method} {path} {body}: {answer}");
    }
    let large = format!("{{\"dry_run\":{}}}", " ".repeat(super::LARGEST_BODY));
    assert_eq!(raw(&fixture, "POST", "/v1/tasks/backup-app/run", &large).await.0, 413);
    assert!(fixture.heard().is_empty(), "nothing of all this reached the loop");
}

#[tokio::test]
async fn a_daemon_that_stops_says_so() {
    let fixture = Fixture::start().await;
    fixture.stop_loop().await;
    assert_eq!(code(fixture.client.status().await), ErrorCode::Stopping);
}

#[tokio::test]
async fn runs_come_in_pages_newest_first() {
    let fixture = Fixture::start().await;
    for n in 1..=5 {
        fixture.queue(n).await;
    }
    let page = |before: Option<RunId>| {
        let query = RunQuery { limit: Some(2), before: before.map(|id| id.to_string()), ..RunQuery::default() };
        let client = fixture.client.clone();
        async move { client.runs(&query).await.unwrap() }
    };
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let runs = page(before).await;
        seen.extend(runs.runs.into_iter().map(|run| run.id));
        before = runs.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1].map(run_id));
    let none = RunQuery { task: Some("other".into()), ..RunQuery::default() };
    assert_eq!(fixture.client.runs(&none).await.unwrap().runs, []);
}

#[tokio::test]
async fn a_run_is_shown_by_the_beginning_of_its_identifier() {
    let fixture = Fixture::start().await;
    fixture.story().await;
    let detail = fixture.client.show(&run_id(1).0[..14].to_lowercase()).await.unwrap();
    assert_eq!(detail.run.id, run_id(1));
    assert_eq!(detail.run.outcome, Some(Outcome::Succeeded));
    assert_eq!(detail.steps.len(), 2);
    assert_eq!(detail.report.unwrap().summary, "2 files, 3 new");
    assert_eq!(detail.metrics.len(), 1);
}

fn record(n: u32) -> LogRecord {
    let message = format!("record {n}");
    LogRecord { run: run_id(1), at: Timestamp(0), step: None, level: Level::Info, message, fields: vec![] }
}

/// 40 readers come at different moments while 2,000 records are written with and without waiting, and each gets every
/// record once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_of_a_log_get_each_record_once() {
    const RECORDS: u32 = 2_000;
    let fixture = Fixture::start().await;
    fixture.queue(1).await;
    let writer = {
        let (store, events) = (fixture.store.clone(), fixture.events.clone());
        async move {
            for n in 0..RECORDS {
                // As a run does it: the event at once, the record soon.
                events.log(&record(n));
                store.log(vec![record(n)]);
                if n % 100 == 0 {
                    store.commit(vec![]).await.unwrap();
                }
                if n % 16 == 0 {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            }
            let at = Timestamp(1);
            let outcome = Outcome::Succeeded;
            let end =
                Transition::Finish { run: run_id(1), at, outcome: outcome.clone(), report: None, metrics: vec![] };
            store.commit(vec![end]).await.unwrap();
            events.send(Event::Ended { run: run_id(1), task: "backup-app".into(), outcome });
        }
    };
    let writer = tokio::spawn(writer);
    let mut readers = Vec::new();
    for n in 0..40_u64 {
        let client = fixture.client.clone();
        readers.push(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(n * 12)).await;
            let mut lines = client.logs(&run_id(1).0, 0, true).await.unwrap();
            let (mut messages, mut last) = (Vec::new(), 0);
            while let Some(line) = lines.next().await.unwrap() {
                assert!(line.id > last, "rows come in order");
                last = line.id;
                messages.push(line.record.message);
            }
            messages
        }));
    }
    writer.await.unwrap();
    let expected: Vec<String> = (0..RECORDS).map(|n| format!("record {n}")).collect();
    for reader in readers {
        let messages = tokio::time::timeout(Duration::from_secs(20), reader).await.unwrap().unwrap();
        assert_eq!(messages.len(), expected.len());
        assert!(messages == expected, "each once and in order");
    }
}

#[tokio::test]
async fn a_log_can_be_read_from_a_row_on() {
    let fixture = Fixture::start().await;
    fixture.story().await;
    let mut lines = fixture.client.logs(&run_id(1).0, 0, false).await.unwrap();
    let first = lines.next().await.unwrap().unwrap();
    let mut rest = fixture.client.logs(&run_id(1).0, first.id, true).await.unwrap();
    let second = rest.next().await.unwrap().unwrap();
    assert_eq!((first.record.message.as_str(), second.record.message.as_str()), ("2 steps", "cannot read"));
    assert!(rest.next().await.unwrap().is_none(), "the run is over, so following ends");
}

#[tokio::test]
async fn events_tell_what_was_and_what_comes() {
    let fixture = Fixture::start().await;
    fixture.begin(1).await;
    let mut lines = fixture.client.events(&run_id(1).0).await.unwrap();
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(lines.next().await.unwrap().unwrap());
    }
    assert!(matches!(&told[0], Event::Phase { phase: Phase::Executing, .. }));
    assert!(matches!(&told[1], Event::Planned { steps: 2, weight: 30, .. }));
    assert!(matches!(&told[2], Event::StepStarted { ordinal: 0, .. }));

    let run = || run_id(1);
    let other = Event::Ended { run: run_id(2), task: "other".into(), outcome: Outcome::Succeeded };
    fixture.events.send(other);
    // What the journal told of already, heard once more.
    fixture.events.send(Event::Planned { run: run(), steps: 2, weight: 30 });
    let ended_step = Event::StepEnded { run: run(), ordinal: 0, weight: 10, error: None };
    fixture.events.send(ended_step.clone());
    let ended = Event::Ended { run: run(), task: "backup-app".into(), outcome: Outcome::Succeeded };
    fixture.events.send(ended.clone());
    assert_eq!(lines.next().await.unwrap(), Some(ended_step));
    assert_eq!(lines.next().await.unwrap(), Some(ended));
    assert_eq!(lines.next().await.unwrap(), None);
}

/// More events at once than the channel holds: the reader still learns of the end, from the journal.
#[tokio::test]
async fn a_reader_that_missed_events_learns_from_the_journal() {
    let fixture = Fixture::start().await;
    fixture.begin(1).await;
    let mut lines = fixture.client.events(&run_id(1).0).await.unwrap();
    lines.next().await.unwrap().unwrap();
    let finish = |report| Transition::Finish {
        run: run_id(1),
        at: Timestamp(9),
        outcome: Outcome::Succeeded,
        report,
        metrics: vec![],
    };
    fixture.store.commit(vec![finish(None)]).await.unwrap();
    fixture.events.send(Event::Ended { run: run_id(1), task: "backup-app".into(), outcome: Outcome::Succeeded });
    for done in 0..10_000 {
        let (run, unit) = (run_id(7), "files".to_owned());
        fixture.events.send(Event::Progress { run, ordinal: 0, done, total: None, unit });
    }
    let mut last = None;
    while let Some(event) = lines.next().await.unwrap() {
        last = Some(event);
    }
    assert!(matches!(last, Some(Event::Ended { .. })), "{last:?}");
}

#[tokio::test]
async fn followers_are_limited_and_leave_room_when_they_go() {
    let fixture = Fixture::start().await;
    fixture.queue(1).await;
    let mut open = Vec::new();
    for _ in 0..super::FOLLOWERS {
        open.push(fixture.client.events(&run_id(1).0).await.unwrap());
    }
    assert_eq!(code(fixture.client.events(&run_id(1).0).await.map(|_| ())), ErrorCode::TooManyFollowers);
    assert_eq!(fixture.client.status().await.unwrap().pid, 4242, "questions are still answered");
    open.clear();
    // The server learns that they have gone a moment later.
    for _ in 0..100 {
        if fixture.client.events(&run_id(1).0).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the followers that went away still count");
}

#[tokio::test]
async fn stopping_ends_the_streams_and_takes_the_file_away() {
    let fixture = Fixture::start().await;
    fixture.queue(1).await;
    let mut lines = fixture.client.logs(&run_id(1).0, 0, true).await.unwrap();
    let socket = fixture.socket.clone();
    tokio::time::timeout(Duration::from_secs(5), fixture.stop()).await.unwrap();
    assert_eq!(lines.next().await.unwrap(), None);
    assert!(!socket.exists());
}

fn push(title: &str) -> PushRequest {
    let content = Content { title: title.into(), ..Content::default() };
    PushRequest { channels: vec!["wecom".into()], priority: Priority::High, content, ..PushRequest::default() }
}

#[tokio::test]
async fn a_message_with_its_key_is_taken_in_once() {
    let fixture = Fixture::start().await;
    let client = &fixture.client;
    let first = client.push(&push("paid"), Some("order-1")).await.unwrap();
    assert_eq!((first.outcome, &first.id), (EnqueueOutcome::New, &message_id(9)));
    assert_eq!(client.push(&push("paid"), Some("order-1")).await.unwrap().outcome, EnqueueOutcome::Known);
    assert_eq!(client.push(&push("paid"), None).await.unwrap().outcome, EnqueueOutcome::New);
    let taken = client.push(&push("sent"), Some("order-1")).await.unwrap_err();
    assert!(taken.to_string().contains("upkeep push show"), "{taken}");
    assert_eq!(code(Err::<(), _>(taken)), ErrorCode::KeyTaken);
    let heard = fixture.heard();
    assert!(heard[0].starts_with("enqueue wecom paid key=order-1 origin=api by=uid "), "{heard:?}");
    assert_eq!(heard.len(), 4);
    for (body, says) in [
        ("{\"channels\": [], \"content\": {\"text\": \"x\"}}", "0 channels"),
        ("{\"channels\": [\"mail\"], \"content\": {}}", "says nothing"),
        ("{\"channels\": [\"mail\"], \"content\": {\"text\": \"x\", \"titel\": \"y\"}}", "titel"),
        ("{\"channels\": [\"mail\"], \"content\": {\"text\": \"x\"}, \"expires\": 1}", "expire before"),
        ("{\"channels\": [\"mail\"], \"content\": {\"text\": \"x\"}, \"priority\": \"soon\"}", "urgent"),
        ("", "channels"),
    ] {
        let (status, answer) = raw(&fixture, "POST", "/v1/push", body).await;
        assert!(status == 400 && answer.contains(says), "{body}: {status} {answer}");
    }
    let message = |text: String| format!("{{\"channels\": [\"mail\"], \"content\": {{\"text\": \"{text}\"}}}}");
    for (path, body, expected, says) in [
        ("/v1/push", message("x".repeat(100_000)), 400, "49152 are allowed; shorten it, or send a link"),
        (
            "/v1/push",
            message("x".repeat(400_000)),
            413,
            "303104 bytes, and a message may have 49152 with all its texts",
        ),
        ("/v1/push/resend", message("x".repeat(100_000)), 413, "the body has more than 65536 bytes"),
    ] {
        let (status, answer) = raw(&fixture, "POST", path, &body).await;
        assert!(status == expected && answer.contains(says), "{path}: {status} {answer}");
    }
    assert_eq!(fixture.heard().len(), 4, "nothing of this reached the loop");
    // However JSON writes it.
    assert_eq!(raw(&fixture, "POST", "/v1/push", &message("\\ud83d\\ude00".repeat(11_000))).await.0, 202);
}

#[tokio::test]
async fn messages_are_found_and_refused_by_what_they_are() {
    let fixture = Fixture::start().await;
    fixture.story().await;
    let client = &fixture.client;
    let all = client.messages(&MessageQuery { limit: Some(1), ..MessageQuery::default() }).await.unwrap();
    assert_eq!((all.messages[0].id.clone(), all.next.clone()), (message_id(2), Some(message_id(2))));
    assert_eq!((all.channels[0].channel.as_str(), all.channels[0].later), ("wecom", 1));
    let older = MessageQuery { before: all.next, ..MessageQuery::default() };
    let older = client.messages(&older).await.unwrap();
    assert_eq!((older.messages.len(), older.messages[0].state, older.next), (1, MessageState::Dead, None));
    let by_mail = MessageQuery { channel: Some("mail".into()), ..MessageQuery::default() };
    assert_eq!(client.messages(&by_mail).await.unwrap().messages, older.messages);
    assert_eq!(client.message("01kary0001").await.unwrap().attempts.len(), 2);
    assert_eq!(code(client.message("01KARY").await), ErrorCode::AmbiguousMessage);
    assert_eq!(code(client.message("01KZ").await), ErrorCode::NoMessage);
    assert_eq!(code(client.resend("01KZ").await), ErrorCode::NoMessage);
    assert_eq!(code(client.resend(&message_id(2)).await), ErrorCode::MessageState);
    assert_eq!(code(client.drop_message(&message_id(2)).await), ErrorCode::MessageState);
    assert_eq!(client.resend_dead(Some("mail")).await.unwrap().messages, 1);
    assert!(client.resume_channel("wecom").await.unwrap().was_paused);
    assert!(!client.resume_channel("mail").await.unwrap().was_paused);
    assert_eq!(code(client.resume_channel("Mail").await), ErrorCode::BadRequest);
    assert_eq!(raw(&fixture, "GET", "/v1/push?state=gone", "").await.0, 400);
    assert!(fixture.heard().iter().any(|it| it.starts_with("resend Dead(Some(\"mail\"))")), "{:?}", fixture.heard());
}
