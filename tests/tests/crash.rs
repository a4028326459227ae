//! `kill -9` at random moments: the daemon comes back each time, every run ends or is marked as interrupted, and no step
//! that was finished runs a second time.
//!
//! `UPKEEP_CRASHES` says how often (10 when it is not set), `UPKEEP_SEED` repeats a sequence of moments.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use upkeep_tests::{Daemon, Journal, Site, within};

/// Tasks that are under way at the same time.
const BESIDE: usize = 3;

/// A sequence of numbers that looks random: xorshift64.
struct Moments(u64);

impl Moments {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// What was finished, by run and step, as it must stay: the row, and how often the step was executed by the account of the
/// plugin itself.
type Finished = BTreeMap<(String, i64), (Map<String, Value>, Value)>;

fn finished(journal: &Journal) -> Finished {
    // Each run is of a task of its own, so the counter of the step in the task's state is that of the run.
    let rows = journal.rows(
        "SELECT steps.run, steps.ordinal, steps.started, steps.ended, steps.output, steps.outcome, CAST(state.value AS TEXT) AS count
         FROM steps JOIN runs ON runs.id = steps.run
         LEFT JOIN state ON state.task = runs.task AND state.key = 'step/' || steps.id
         WHERE steps.phase = 'done'",
    );
    let key = |row: &Map<String, Value>| (row["run"].as_str().unwrap().to_owned(), row["ordinal"].as_i64().unwrap());
    rows.into_iter()
        .map(|mut row| (key(&row), (row.remove("count").unwrap(), row)))
        .map(|(key, (count, row))| (key, (row, count)))
        .collect()
}

fn assert_kept(before: &Finished, now: &Finished, when: &str) {
    for (step, was) in before {
        assert_eq!(now.get(step), Some(was), "{when}: the finished step {step:?} is not as it was");
    }
}

fn assert_sound(journal: &Journal) {
    assert_eq!(journal.column("PRAGMA integrity_check"), ["ok"]);
    assert!(journal.rows("PRAGMA foreign_key_check").is_empty());
}

#[test]
fn a_finished_step_never_runs_again() {
    let crashes = number("UPKEEP_CRASHES").unwrap_or(10);
    let seed =
        number("UPKEEP_SEED").unwrap_or_else(|| u64::from(std::process::id()).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    println!("UPKEEP_SEED={seed} UPKEEP_CRASHES={crashes}");
    let mut moments = Moments(seed);
    let site = Site::new(&["echo-steps", "noop"]);
    site.task("each", "plugin = \"noop\"\nschedule = { every = \"1s\", overlap = \"queue\" }");
    let mut known = Finished::new();
    let mut asked = Vec::new();
    let mut slowest = Duration::ZERO;
    let mut stages: BTreeMap<String, u64> = BTreeMap::new();

    for crash in 0..crashes {
        for beside in 0..BESIDE {
            let (steps, pause) = (10 + moments.below(30), moments.below(12));
            let task = format!(
                "plugin = \"echo-steps\"\ngrant.state = true\nparallel = {}\nconfig = {{ steps = {steps}, sleep_ms = {pause} }}",
                beside + 1
            );
            site.task(&format!("t{crash}-{beside}"), &task);
        }
        let began = Instant::now();
        let daemon = site.start();
        slowest = slowest.max(began.elapsed());
        let mut api = site.api();
        let mut tasks: Vec<_> = (0..BESIDE).map(|beside| format!("t{crash}-{beside}")).collect();
        // Some kills come while runs are being queued.
        let at_once = moments.below(4) > 0;
        if at_once {
            asked.extend(tasks.drain(..).map(|task| api.run(&task)));
        }
        std::thread::sleep(Duration::from_micros(moments.below(400_000)));
        asked.extend(tasks.drain(..).map(|task| api.run(&task)));
        daemon.kill();

        let journal = Journal::copy(&site.state());
        assert_sound(&journal);
        let now = finished(&journal);
        assert_kept(&known, &now, &format!("after crash {crash}"));
        known = now;
        for row in journal
            .rows("SELECT phase, count(*) AS count FROM runs WHERE task LIKE 't%' AND phase <> 'done' GROUP BY phase")
        {
            *stages.entry(row["phase"].as_str().unwrap().to_owned()).or_default() += row["count"].as_u64().unwrap();
        }
    }

    let daemon = site.start();
    let open = "SELECT count(*) FROM runs WHERE phase <> 'done' AND task LIKE 't%'";
    within(Duration::from_secs(120), "the end of all runs", || (site.journal().number(open) == 0).then_some(()));
    assert!(Daemon::stop(daemon).success());

    let journal = site.journal();
    assert_sound(&journal);
    let now = finished(&journal);
    assert_kept(&known, &now, "at the end");
    // Who was told that a run is queued finds it.
    for run in &asked {
        assert_eq!(
            journal.number(&format!("SELECT count(*) FROM runs WHERE id = '{run}'")),
            1,
            "run {run} was promised"
        );
    }
    let outcomes = journal.rows(
        "SELECT outcome, json_extract(detail, '$.message') AS why, count(*) AS count FROM runs WHERE task LIKE 't%' GROUP BY 1, 2",
    );
    assert!(
        outcomes.iter().all(|row| row["outcome"] == "succeeded" || row["outcome"] == "interrupted"),
        "{outcomes:?}"
    );
    let torn = "SELECT count(*) FROM runs JOIN steps ON steps.run = runs.id WHERE runs.outcome = 'succeeded' AND steps.phase <> 'done'";
    assert_eq!(journal.number(torn), 0, "a run that succeeded has all its steps");
    let twice =
        journal.number("SELECT count(*) FROM runs WHERE task LIKE 't%' AND ended IS NOT NULL AND phase <> 'done'");
    assert_eq!(twice, 0);
    let again = now.values().filter(|(_, count)| count.as_str().is_some_and(|count| count != "1")).count();
    println!(
        "{crashes} crashes, {} runs {outcomes:?}, resumed {} times, killed in {stages:?}; {} steps, {again} of them begun again \
         because the crash came before their end was recorded; slowest start to ready {slowest:?}",
        asked.len(),
        journal.number("SELECT sum(resumed) FROM runs"),
        now.len(),
    );
}
