//! A process that is killed while it delivers loses no message: what it had claimed is claimed again, and nothing that it was
//! told to be settled is.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;
use crate::record::outbox::{AttemptOutcome, Content, MessageState, NewMessage};
use crate::store::{DeliveryOutcome, MessageFilter, Settlement};

/// Names the state directory to the child.
const STATE_DIR: &str = "UPKEEP_TEST_OUTBOX_DIR";

/// How long the child has what it claims, milliseconds.
const LEASE: i64 = 300;

const MESSAGES: usize = 3_000;

/// The child: claims, hands over, settles, and prints each of them, until it is killed.
#[tokio::test]
async fn child() {
    let Some(state_dir) = std::env::var_os(STATE_DIR).map(PathBuf::from) else {
        return;
    };
    let store = Store::open_dir(&state_dir).await.unwrap();
    let say = |what: &str, id: &str| writeln!(std::io::stdout().lock(), "{what} {id}").unwrap();
    loop {
        let now = crate::clock::now();
        let claimed = store.outbox_claim("mail", 20, Timestamp(now.0 + LEASE), now).await.unwrap();
        if claimed.messages.is_empty() {
            say("empty", "-");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        claimed.messages.iter().for_each(|message| say("delivered", &message.id));
        let settlement = |id: &String| Settlement {
            id: id.clone(),
            lease: claimed.lease.clone(),
            outcome: DeliveryOutcome::Sent { provider_id: None },
            code: None,
            reason: None,
            took: None,
        };
        let ids: Vec<String> = claimed.messages.iter().map(|message| message.id.clone()).collect();
        let own = store.outbox_settle(ids.iter().map(settlement).collect(), crate::clock::now()).await.unwrap();
        ids.iter().zip(own).filter(|(_, own)| *own).for_each(|(id, _)| say("settled", id));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_had_claimed_is_delivered_by_the_next() {
    let mut dir = tempfile::tempdir().unwrap();
    let fixture = Fixture { store: Store::open_dir(dir.path()).await.unwrap(), dir };
    let content = |number: usize| Content { title: number.to_string(), ..Content::default() };
    let messages = (0..MESSAGES).map(|number| NewMessage::new("mail", content(number))).collect();
    let given = fixture.store.outbox_enqueue("test", messages, crate::clock::now()).await.unwrap();
    fixture.store.close().await;
    dir = fixture.dir;
    let (mut delivered, mut settled) = (Vec::new(), HashSet::new());
    for round in 0..4 {
        run_and_kill(&dir, 400 + round * 213, &mut delivered, &mut settled);
        // Between the claim and the settlement.
        assert!(delivered.len() > settled.len() || round < 3, "each was settled in time");
    }
    run_until_empty(&dir, &mut delivered, &mut settled);
    let fixture = Fixture { store: Store::open_dir(dir.path()).await.unwrap(), dir };
    let reader = fixture.store.read();
    let state = |state| MessageFilter { state: Some(state), ..MessageFilter::default() };
    assert_eq!(reader.messages(&state(MessageState::Sent), 10_000).await.unwrap().len(), MESSAGES);
    let distinct: HashSet<_> = delivered.iter().cloned().collect();
    assert_eq!(distinct, given.into_iter().map(|it| it.id).collect(), "each was handed over");
    let mut again = 0;
    for id in &distinct {
        let times = delivered.iter().filter(|it| *it == id).count();
        let attempts = reader.attempts(id).await.unwrap();
        let lost = attempts.iter().filter(|it| it.outcome == AttemptOutcome::Lost).count();
        // The last lines of a process that is killed may be missing, so a loss may be one that was not seen to be handed over.
        assert!(times <= lost + 1, "{id} was handed over {times} times, and {lost} attempts were lost: {attempts:?}");
        assert_eq!(attempts.last().unwrap().outcome, AttemptOutcome::Sent);
        again += times - 1;
    }
    assert!(again > 0 && again <= 4 * 20, "{again} were handed over again");
}

/// Starts the child on the messages.
fn start(dir: &TempDir) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::outbox_crash::child", "--nocapture"])
        .env(STATE_DIR, dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn take(line: &str, delivered: &mut Vec<String>, settled: &mut HashSet<String>) {
    match line.split_once(' ') {
        Some(("delivered", id)) => {
            assert!(!settled.contains(id), "{id} was settled, and handed over again");
            delivered.push(id.to_owned());
        }
        Some(("settled", id)) => drop(settled.insert(id.to_owned())),
        _ => {}
    }
}

/// Kills the child after some lines, and takes all that it said before it died.
fn run_and_kill(dir: &TempDir, lines: usize, delivered: &mut Vec<String>, settled: &mut HashSet<String>) {
    let mut child = start(dir);
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    output.by_ref().take(lines).for_each(|line| take(&line, delivered, settled));
    child.kill().unwrap();
    child.wait().unwrap();
    output.for_each(|line| take(&line, delivered, settled));
}

/// Lets the child deliver all that is left.
fn run_until_empty(dir: &TempDir, delivered: &mut Vec<String>, settled: &mut HashSet<String>) {
    let mut child = start(dir);
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // What others had is claimed when their lease is over.
    let mut empty = 0;
    while empty < 2 * LEASE / 20 {
        let line = output.next().unwrap();
        empty = if line.starts_with("empty") { empty + 1 } else { 0 };
        take(&line, delivered, settled);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
