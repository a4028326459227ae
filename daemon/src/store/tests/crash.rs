//! A process that is killed while it commits loses nothing that was acknowledged.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::task::JoinSet;

use super::*;

/// Names the state directory to the child.
const STATE_DIR: &str = "UPKEEP_TEST_STATE_DIR";

/// The child: commits until it is killed, and prints what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(state_dir) = std::env::var_os(STATE_DIR).map(PathBuf::from) else {
        return;
    };
    let store = Store::open_dir(&state_dir).await.unwrap();
    let mut callers = JoinSet::new();
    for caller in 0..8 {
        let store = store.clone();
        callers.spawn(async move {
            for at in 0.. {
                let run = queued(at, &format!("caller-{caller}"));
                let id = run.id.clone();
                let plan = Transition::Plan { run: id.clone(), steps: (0..2).map(step).collect() };
                let acknowledge = |what: &str| writeln!(std::io::stdout().lock(), "acknowledged {id} {what}").unwrap();
                store.commit(vec![Transition::Queue(vec![run])]).await.unwrap();
                acknowledge("queued");
                store.commit(vec![start(&id, at), plan, start_step(&id, 0, at)]).await.unwrap();
                acknowledge("executing");
                store.commit(vec![finish_step(&id, 0, at, Some(1)), log(&id, at, "one")]).await.unwrap();
                acknowledge("one-step");
                store.log(vec![record(&id, at, "two")]);
                store.commit(vec![finish_step(&id, 1, at, None)]).await.unwrap();
                store.commit(vec![finish(&id, at, Outcome::Succeeded)]).await.unwrap();
                acknowledge("done");
            }
        });
    }
    callers.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_kill_9() {
    let mut dir = tempfile::tempdir().unwrap();
    let (mut total, mut known) = (0, 0);
    for round in 0..5 {
        let acknowledged = run_and_kill(&dir, 20 + round * 97);
        assert!(!acknowledged.is_empty());
        total += acknowledged.len();
        // The lock has ended with its process.
        let fixture = Fixture { store: Store::open_dir(dir.path()).await.unwrap(), dir };
        for (id, what) in acknowledged {
            check(&fixture, &RunId(id.into()), &what).await;
        }
        for run in fixture.store.read().unfinished().await.unwrap() {
            resume(&fixture, &run).await;
        }
        known = fixture.store.read().count_by_phase().await.unwrap()[&Phase::Done];
        fixture.store.close().await;
        dir = fixture.dir;
    }
    assert!(total > 100 && known > 20, "{total} acknowledged, {known} runs");
}

/// Starts the child, kills it after some lines, and returns all that it acknowledged before it died.
fn run_and_kill(dir: &TempDir, lines: usize) -> Vec<(String, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::crash::child", "--nocapture"])
        .env(STATE_DIR, dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let parse = |line: String| {
        let (id, what) = line.strip_prefix("acknowledged ")?.split_once(' ')?;
        Some((id.to_owned(), what.to_owned()))
    };
    let mut acknowledged: Vec<_> = output.by_ref().filter_map(parse).take(lines).collect();
    std::thread::sleep(Duration::from_micros(700 * lines as u64 % 5_000));
    child.kill().unwrap();
    child.wait().unwrap();
    acknowledged.extend(output.filter_map(parse));
    acknowledged
}

async fn check(fixture: &Fixture, id: &RunId, what: &str) {
    let run = fixture.store.read().run(id).await.unwrap().unwrap_or_else(|| panic!("run {id} ({what}) is lost"));
    let steps = fixture.steps(id).await;
    let done = steps.iter().filter(|step| step.phase == StepPhase::Done).count();
    match what {
        "queued" => {}
        "executing" => assert!(run.phase >= Phase::Executing && steps.len() == 2, "{run:?} {steps:?}"),
        "one-step" => assert!(done >= 1 && fixture.messages(id).await[0] == "one", "{run:?} {steps:?}"),
        "done" => {
            assert!(run.phase == Phase::Done && done == 2, "{run:?} {steps:?}");
            assert_eq!(fixture.messages(id).await, ["one", "two"], "the log goes before the end");
        }
        other => panic!("the child said `{other}`"),
    }
}

/// Carries a run on from what the journal says, as the daemon does: no step that is done may start again.
async fn resume(fixture: &Fixture, run: &Run) {
    let id = &run.id;
    if run.phase == Phase::Queued {
        fixture.store.commit(vec![start(id, 1), Transition::Plan { run: id.clone(), steps: vec![] }]).await.unwrap();
    } else {
        fixture.commit(Transition::Resume { run: id.clone(), at: Timestamp(1) }).await;
        assert_eq!(fixture.run(id).await.resumed, run.resumed + 1);
        for step in fixture.steps(id).await {
            match step.phase {
                StepPhase::Done => {
                    fixture.refusal(start_step(id, step.ordinal, 1)).await;
                }
                StepPhase::Running => panic!("no step runs after a resumption: {step:?}"),
                StepPhase::Pending => {
                    let ordinal = step.ordinal;
                    let transitions = vec![start_step(id, ordinal, 1), finish_step(id, ordinal, 1, None)];
                    fixture.store.commit(transitions).await.unwrap();
                }
            }
        }
    }
    assert_eq!(fixture.run(id).await.phase, Phase::Finishing);
    fixture.commit(finish(id, 1, Outcome::Succeeded)).await;
}
