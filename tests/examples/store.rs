//! How fast the journal records: `cargo run -p upkeep-tests --example store [DIRECTORY]`.
//!
//! Every figure is with full durability, on the disk of DIRECTORY (default: the current one).

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use upkeep::clock::{self, Timestamp};
use upkeep::outcome::Outcome;
use upkeep::record::{Level, LogRecord, Run, RunId, Slot, SlotDecision, Step, StepPhase, Trigger};
use upkeep::store::{Retention, Store, Transition};

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result {
    let base = std::env::args_os().nth(1).unwrap_or_else(|| ".".into());
    let dir = tempfile::tempdir_in(Path::new(&base))?;
    let opening = Instant::now();
    let store = Store::open_dir(dir.path()).await?;
    println!("open a new journal                    {:>8.1} ms", millis(opening.elapsed()));

    for (callers, commits) in [(1, 300), (64, 6_400), (1_000, 20_000)] {
        small_commits(&store, callers, commits).await?;
    }
    queue(&store, 10_000).await?;
    for callers in [8, 64, 1_000] {
        runs(&store, callers, 1_000).await?;
    }
    logs(&store, 10_000).await?;
    questions(&store).await?;
    prune(&store).await?;
    idle().await?;
    store.close().await;
    let opening = Instant::now();
    let store = Store::open_dir(dir.path()).await?;
    println!("open it again                         {:>8.1} ms", millis(opening.elapsed()));
    store.close().await;
    Ok(())
}

/// Callers that each commit one small transition after the other.
async fn small_commits(store: &Store, callers: u32, commits: u32) -> Result {
    let measure = Measure::start();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let store = store.clone();
        tasks.spawn(async move {
            for round in 0..commits / callers {
                let tasks = vec![format!("caller-{caller}")];
                store.commit(vec![Transition::Observe { tasks, at: Timestamp(i64::from(round)) }]).await?;
            }
            Result::Ok(())
        });
    }
    all(tasks).await?;
    let (elapsed, cpu) = measure.end();
    let rate = f64::from(commits) / elapsed.as_secs_f64();
    println!(
        "{commits:>6} commits, {callers:>4} callers          {:>8.1} ms, cpu {:>6.1} ms: {rate:.0}/s",
        millis(elapsed),
        millis(cpu)
    );
    Ok(())
}

/// Many slots that are due in the same second.
async fn queue(store: &Store, count: u32) -> Result {
    let now = clock::now();
    let queued: Vec<Run> = (0..count).map(|number| run(now, format!("task-{number}"))).collect();
    let slots = queued
        .iter()
        .map(|run| Slot {
            task: run.task.clone(),
            due: run.due,
            decision: SlotDecision::Ran,
            reason: "due".into(),
            run: Some(run.id.clone()),
        })
        .collect();
    let measure = Measure::start();
    store.commit(vec![Transition::Queue(queued)]).await?;
    let (elapsed, cpu) = measure.end();
    println!("queue {count} runs in one commit       {:>8.1} ms, cpu {:>6.1} ms", millis(elapsed), millis(cpu));
    let measure = Measure::start();
    store.commit(vec![Transition::Decide(slots)]).await?;
    let (elapsed, cpu) = measure.end();
    println!("decide {count} slots in one commit     {:>8.1} ms, cpu {:>6.1} ms", millis(elapsed), millis(cpu));
    Ok(())
}

/// Whole runs, each in five commits that wait for each other.
async fn runs(store: &Store, callers: u32, count: u32) -> Result {
    let measure = Measure::start();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..count / callers {
                whole_run(&store, format!("caller-{caller}")).await?;
            }
            Result::Ok(())
        });
    }
    all(tasks).await?;
    let (elapsed, cpu) = measure.end();
    println!(
        "{count:>6} runs of 5 commits, {callers:>4} callers {:>6.1} ms, cpu {:>6.1} ms",
        millis(elapsed),
        millis(cpu)
    );
    Ok(())
}

async fn whole_run(store: &Store, task: String) -> Result {
    let at = clock::now();
    let queued = run(at, task);
    let run = queued.id.clone();
    let step = Step {
        ordinal: 0,
        id: "only".into(),
        title: "Nothing".into(),
        weight: 1,
        input: "{}".into(),
        phase: StepPhase::Running,
        started: Some(at),
        ended: None,
        output: None,
        error: None,
    };
    store.commit(vec![Transition::Queue(vec![queued])]).await?;
    store.commit(vec![Transition::Start { run: run.clone(), at, fingerprint: "0".repeat(64) }]).await?;
    store.commit(vec![Transition::Plan { run: run.clone(), steps: vec![step] }]).await?;
    let result = Ok("{}".into());
    store.commit(vec![Transition::FinishStep { run: run.clone(), ordinal: 0, at, result, next: None }]).await?;
    let (outcome, metrics) = (Outcome::Succeeded, Vec::new());
    store.commit(vec![Transition::Finish { run, at, outcome, report: None, metrics }]).await?;
    Ok(())
}

async fn logs(store: &Store, count: u32) -> Result {
    let at = clock::now();
    let queued = run(at, "talker".into());
    let run = queued.id.clone();
    store.commit(vec![Transition::Queue(vec![queued])]).await?;
    let record = |number: u32| LogRecord {
        run: run.clone(),
        at,
        step: Some(0),
        level: Level::Info,
        message: format!("copied file number {number}"),
        fields: vec![("bytes".into(), number.to_string())],
    };
    let records: Vec<LogRecord> = (0..count).map(record).collect();
    let measure = Measure::start();
    store.log(records);
    store.commit(Vec::new()).await?;
    let (elapsed, cpu) = measure.end();
    println!("{count} log records in one commit      {:>8.1} ms, cpu {:>6.1} ms", millis(elapsed), millis(cpu));
    Ok(())
}

async fn questions(store: &Store) -> Result {
    let measure = Measure::start();
    let tasks = store.read().last_run_per_task().await?.len();
    println!("last run of each of {tasks} tasks      {:>8.1} ms", millis(measure.end().0));
    let measure = Measure::start();
    let open = store.read().unfinished().await?.len();
    println!("{open} unfinished runs                 {:>8.1} ms", millis(measure.end().0));
    Ok(())
}

async fn prune(store: &Store) -> Result {
    let measure = Measure::start();
    let later = Timestamp(clock::now().0 + 1_000);
    let pruned = store.prune(later, &Retention { keep: Duration::ZERO, keep_runs: 1 }).await?;
    let (elapsed, cpu) = measure.end();
    println!(
        "prune {} runs, {} slots            {:>8.1} ms, cpu {:>6.1} ms",
        pruned.runs,
        pruned.slots,
        millis(elapsed),
        millis(cpu)
    );
    Ok(())
}

/// How often any thread of the process was woken while there was nothing to do but this sleep.
async fn idle() -> Result {
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = switches()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("wake-ups in 3 s without work, this timer among them: {}", switches()? - before);
    Ok(())
}

fn switches() -> Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        let count = |line: &str| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok();
        sum += status.lines().filter_map(count).sum::<u64>();
    }
    Ok(sum)
}

fn run(at: Timestamp, task: String) -> Run {
    Run::queued(RunId::new(at), task, Trigger::Schedule, at, at)
}

async fn all(mut tasks: JoinSet<Result>) -> Result {
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Wall time, and processor time of the whole process.
struct Measure {
    wall: Instant,
    cpu: Duration,
}

impl Measure {
    fn start() -> Self {
        Self { wall: Instant::now(), cpu: cpu() }
    }

    fn end(self) -> (Duration, Duration) {
        (self.wall.elapsed(), cpu() - self.cpu)
    }
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
