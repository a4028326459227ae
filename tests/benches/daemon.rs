//! What the daemon costs, and how quick it is, as a process: `cargo bench --profile dev -p upkeep-tests --bench daemon`.
//! Behind `--` come the sections that are wanted: start, idle, busy, runs, due. `docs/benchmarks.md` has the figures.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use upkeep_tests::{Daemon, Site, eventually, now, within};

type Section = (&'static str, fn());

fn main() {
    const SECTIONS: [Section; 5] = [("start", start), ("idle", idle), ("busy", busy), ("runs", runs), ("due", due)];
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    for (name, section) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|want| want == name) {
            let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
            println!("## {name} (load {})", load.split(' ').next().unwrap_or("?"));
            section();
        }
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// From the start of the process to READY, the plugins compiled before.
fn start() {
    let site = Site::new(&["noop", "spin", "echo-steps", "escape-dotdot"]);
    site.task("noop", "plugin = \"noop\"\nschedule.cron = \"0 3 * * *\"");
    site.task("spin", "plugin = \"spin\"\nschedule.cron = \"0 4 * * *\"");
    site.task("steps", "plugin = \"echo-steps\"\nconfig.steps = 3\ngrant.state = true\nschedule.every = \"12h\"");
    let cold = site.start();
    println!("from start to READY, 3 tasks of 3 plugins, to be compiled: {:.0?}", cold.took());
    cold.stop();
    let took = (0..10).map(|_| {
        let daemon = site.start();
        let took = daemon.took();
        daemon.stop();
        took
    });
    println!("the same, compiled before, 10 times: {}", spread(took.collect()));
}

/// What it holds and does when nothing is due.
fn idle() {
    let site = Site::new(&["noop"]);
    site.task("noop", "plugin = \"noop\"\nschedule = { cron = \"0 3 1 1 *\", overlap = \"allow\" }");
    let daemon = site.start();
    sleep(Duration::from_secs(2));
    println!("resident after the start: {}", resident(&daemon));
    site.run("noop");
    println!("resident after a run: {}", resident(&daemon));
    sleep(Duration::from_secs(2));
    let seconds = number("UPKEEP_IDLE", 60);
    let before = switches(&daemon);
    sleep(Duration::from_secs(seconds));
    let after = switches(&daemon);
    let woken: Vec<_> = after
        .iter()
        .filter_map(|(thread, (name, count))| {
            let more = count - before.get(thread).map_or(0, |(_, count)| *count);
            (more > 0).then(|| format!("{name}: {more}"))
        })
        .collect();
    let threads = after.len();
    println!("wake-ups of its {threads} threads in {seconds} s with nothing due: {} {}", woken.len(), woken.join(", "));
}

/// Asked, and due, while guests compute on all threads that guests have.
fn busy() {
    let site = Site::new(&["noop", "spin"]);
    site.task("spin", "plugin = \"spin\"\ntimeout = \"10m\"\nschedule.overlap = \"allow\"");
    site.task("each", "plugin = \"noop\"\nschedule.every = \"1s\"");
    let _daemon = site.start();
    let mut api = site.api();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let spinning = 4 * cores;
    for _ in 0..spinning {
        api.run("spin");
    }
    sleep(Duration::from_secs(2));
    let running = api.get("/v1/status")["running"].as_array().map_or(0, Vec::len);
    println!("{running} guests spin on {cores} cores");
    let first_slot = site.runs("each").len();
    let asked = |mut ask: Box<dyn FnMut() + '_>| {
        (0..300)
            .map(|_| {
                let start = Instant::now();
                ask();
                let took = start.elapsed();
                sleep(Duration::from_millis(20));
                took
            })
            .collect()
    };
    println!("GET /v1/status, 300 times: {}", spread(asked(Box::new(|| drop(api.get("/v1/status"))))));
    println!("`upkeep status`, 300 times: {}", spread(asked(Box::new(|| assert_eq!(site.cli(&["status"]).code, 0)))));
    let runs = site.runs("each").split_off(first_slot);
    let since_due = |key: &str| {
        let at = |run: &serde_json::Value, key: &str| run[key].as_i64();
        let delays = runs.iter().filter_map(|run| Some(at(run, key)? - at(run, "due")?));
        spread(delays.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))).collect())
    };
    println!("slots of a task that is due each second, from due to queued: {}", since_due("queued"));
    println!("from due to started: {}", since_due("started"));
    println!("from due to its end: {}", since_due("ended"));
}

/// A thousand runs that are queued at once, each whole and durable.
fn runs() {
    let most = number("UPKEEP_RUNS", 1_000);
    let site = Site::new(&["noop"]);
    site.task("noop", "plugin = \"noop\"\nschedule.overlap = \"allow\"");
    let daemon = site.start();
    site.run("noop");
    for round in 1..=3 {
        let truth = truth();
        for connections in [1, 16] {
            let before = site.journal().column("SELECT max(id) FROM runs").remove(0);
            let start = Instant::now();
            std::thread::scope(|scope| {
                for connection in 0..connections {
                    let share = most / connections + u64::from(connection < most % connections);
                    let mut api = site.api();
                    scope.spawn(move || (0..share).for_each(|_| drop(api.run("noop"))));
                }
            });
            let queued = start.elapsed();
            let of = format!("FROM runs WHERE id > {before}").replace('"', "'");
            let journal = site.journal();
            let ended = format!("SELECT count(*) {of} AND outcome = 'succeeded'");
            within(Duration::from_secs(120), "the end of all runs", || {
                (journal.number(&ended) == i64::try_from(most).unwrap_or(0)).then_some(())
            });
            let outside = start.elapsed() / u32::try_from(most).unwrap_or(1);
            let inside = journal.number(&format!("SELECT max(ended) - min(queued) {of}"));
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of a minute")]
            let inside = Duration::from_secs_f64(inside as f64 / 1e3 / most as f64);
            let ratio = inside.as_secs_f64() / truth.as_secs_f64();
            println!(
                "round {round}, {most} runs over {connections} connections: {inside:.3?} each from the first queued to the last ended \
                 by the journal ({outside:.3?} from outside, {:.3?} to queue), /bin/true {truth:.3?}: {ratio:.2}",
                queued / u32::try_from(most).unwrap_or(1)
            );
        }
    }
    println!("resident after that: {}", resident(&daemon));
}

/// Many tasks, all of them due in the same second.
fn due() {
    let tasks = number("UPKEEP_TASKS", 10_000);
    let alone = {
        let site = Site::new(&["noop"]);
        site.task("noop", "plugin = \"noop\"\nschedule.cron = \"0 0 3 1 1 *\"");
        let daemon = site.start();
        sleep(Duration::from_secs(1));
        kilobytes(&daemon, "RssAnon")
    };
    let site = Site::new(&["noop"]);
    let began = Instant::now();
    let write = |second: u64| {
        let (hour, minute) = (second / 3600 % 24, second / 60 % 60);
        let text = format!("plugin = \"noop\"\nschedule.cron = \"{} {minute} {hour} * * *\"\n", second % 60);
        for task in 0..tasks {
            fs::write(site.task_file(&format!("task-{task:06}")), &text).expect("a task file can be written");
        }
    };
    write(0);
    let cold = site.start();
    println!("{tasks} tasks: ready after {:.1?}", cold.took());
    let took = cold.took();
    sleep(Duration::from_secs(1));
    let bytes = (kilobytes(&cold, "RssAnon").saturating_sub(alone)) * 1024 / tasks;
    println!("resident {}, {bytes} bytes for each task over a daemon with one", resident(&cold));
    cold.kill();

    // Late enough for the daemon to be ready before it.
    let now = u64::try_from(now()).unwrap_or(0);
    let second = now + took.as_secs() * 2 + began.elapsed().as_secs() + 10;
    write(second);
    let daemon = site.start();
    let due = i64::try_from(second * 1000).unwrap_or(0);
    let count = format!("SELECT count(*) FROM runs WHERE due = {due}");
    let all = i64::try_from(tasks).unwrap_or(0);
    let patience = Duration::from_secs(second.saturating_sub(now) + 60 + tasks / 50);
    within(patience, "all of them", || {
        let journal = site.journal();
        sleep(Duration::from_millis(200));
        (journal.number(&format!("{count} AND outcome = 'succeeded'")) == all).then_some(())
    });
    let journal = site.journal();
    for column in ["queued", "started", "ended"] {
        let sql = format!("SELECT {column} - due FROM runs WHERE due = {due}");
        let delays =
            journal.column(&sql).iter().filter_map(serde_json::Value::as_u64).map(Duration::from_millis).collect();
        println!("{tasks} due in the same second, from due to {column}: {}", spread(delays));
    }
    let ended = journal.number(&format!("SELECT max(ended) - due FROM runs WHERE due = {due}"));
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a minute")]
    let each = Duration::from_secs_f64(ended as f64 / 1e3 / tasks as f64);
    let truth = truth();
    let ratio = each.as_secs_f64() / truth.as_secs_f64();
    println!("{each:.3?} each from due to the last ended, /bin/true {truth:.3?}: {ratio:.2}");
    println!("resident after that: {}", resident(&daemon));
    eventually("the daemon answers", || (site.cli(&["status"]).code == 0).then_some(()));
}

/// What starting `/bin/true` and waiting for it takes now.
fn truth() -> Duration {
    const TIMES: u32 = 1_000;
    let start = Instant::now();
    for _ in 0..TIMES {
        assert!(Command::new("/bin/true").status().is_ok_and(|status| status.success()));
    }
    start.elapsed() / TIMES
}

fn spread(mut took: Vec<Duration>) -> String {
    took.sort();
    let at = |share: f64| {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let index = ((took.len() as f64 * share).ceil() as usize).clamp(1, took.len().max(1)) - 1;
        took.get(index).copied().unwrap_or_default()
    };
    format!("median {:.1?}, p99 {:.1?}, most {:.1?} ({} values)", at(0.5), at(0.99), at(1.0), took.len())
}

/// A line of `/proc/PID/status`.
fn kilobytes(daemon: &Daemon, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "a few megabytes")]
fn resident(daemon: &Daemon) -> String {
    let [all, own] = ["VmRSS", "RssAnon"].map(|name| kilobytes(daemon, name) as f64 * 1024.0 / 1e6);
    format!("{all:.1} MB, {own:.1} MB of it memory of its own and the rest pages of mapped files")
}

/// How often each thread was put on a processor, by thread: its name and the count.
fn switches(daemon: &Daemon) -> HashMap<String, (String, u64)> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).into_iter().flatten().flatten();
    tasks
        .map(|task| {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let field =
                |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim().to_owned();
            let count = |name: &str| field(name).parse::<u64>().unwrap_or(0);
            let switches = count("voluntary_ctxt_switches:") + count("nonvoluntary_ctxt_switches:");
            (task.file_name().to_string_lossy().into_owned(), (field("Name:"), switches))
        })
        .collect()
}
