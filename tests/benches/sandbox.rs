//! How long a fresh instance of a small guest takes: instantiate, one call with one host call, drop. Beside it, in turn, what
//! starting `/bin/true` takes, as cron does for every job.
//!
//! `cargo bench -p upkeep-tests --profile dev --bench sandbox`

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use upkeep::capability::Run;
use upkeep::clock::Timestamp;
use upkeep::config::{grant::Grants, limits::Limits};
use upkeep::event::Events;
use upkeep::record::{RunId, Step, StepPhase};
use upkeep::sandbox::Sandbox;
use upkeep::sandbox::call::Context;
use upkeep::store::Store;

fn main() {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let sandbox = Sandbox::new(&dir.path().join("cache"), 1).unwrap();
    let plugin = Arc::new(sandbox.load(&plugins.join("noop.wasm")).unwrap());
    let store = runtime.block_on(Store::open_dir(&state)).unwrap();
    let run = Arc::new(Run::new(
        RunId::new(Timestamp(0)),
        "noop".into(),
        Arc::new(Grants::default()),
        Arc::new(Limits { log_rate: 0, ..Limits::default() }),
        store,
        dir.path().join("scratch"),
        tokio_util::sync::CancellationToken::new(),
        Events::default(),
    ));
    let context = Context {
        run: "bench".into(),
        task: "noop".into(),
        host: "host".into(),
        timezone: "UTC".into(),
        due: 0,
        now: 0,
        attempt: 1,
        dry_run: false,
    };
    let step = Step {
        ordinal: 0,
        id: "noop".into(),
        title: String::new(),
        weight: 1,
        input: "null".into(),
        phase: StepPhase::Running,
        started: None,
        ended: None,
        output: None,
        error: None,
    };
    let (mut guests, mut trues) = (Vec::new(), Vec::new());
    for round in 0..12 {
        let (sandbox, plugin, run, context, step) =
            (sandbox.clone(), Arc::clone(&plugin), Arc::clone(&run), context.clone(), step.clone());
        let handle = sandbox.handle().clone();
        let guest = runtime.block_on(handle.spawn(async move {
            let start = Instant::now();
            for _ in 0..2000 {
                sandbox.execute(&plugin, &run, &context, "null", &step).await.unwrap();
            }
            start.elapsed() / 2000
        }));
        let start = Instant::now();
        for _ in 0..200 {
            assert!(Command::new("/bin/true").status().unwrap().success());
        }
        if round > 1 {
            guests.push(guest.unwrap());
            trues.push(start.elapsed() / 200);
        }
    }
    let (guest, process) = (median(&mut guests), median(&mut trues));
    println!("instantiate, call, drop: {:.1} us", micros(guest));
    println!("/bin/true:               {:.1} us", micros(process));
    println!("ratio:                   {:.4} (target: at most 0.04)", micros(guest) / micros(process));
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
