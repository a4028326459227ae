//! `kill -9` at random moments: the daemon comes back each time, every run ends or is marked as interrupted, no step that
//! was finished runs a second time, and a repository that was being written to is whole.
//!
//! `UPKEEP_CRASHES` says how often (10 when it is not set), `UPKEEP_SEED` repeats a sequence of moments.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
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

impl Moments {
    /// Those of `UPKEEP_SEED`, or others each time.
    fn seeded() -> Self {
        let other = || u64::from(std::process::id()).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let seed = number("UPKEEP_SEED").unwrap_or_else(other);
        println!("UPKEEP_SEED={seed}");
        Self(seed)
    }

    /// Bytes that do not compress.
    fn noise(&mut self, length: usize) -> Vec<u8> {
        (0..length.div_ceil(8))
            .flat_map(|_| {
                self.below(u64::MAX);
                self.0.to_le_bytes()
            })
            .collect()
    }
}

/// How often to kill.
fn crashes() -> u64 {
    number("UPKEEP_CRASHES").unwrap_or(10)
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
    let (crashes, mut moments) = (crashes(), Moments::seeded());
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

/// A folder that changes all the time is backed up, old snapshots are forgotten and their data pruned, and the daemon is killed
/// meanwhile, also while it makes the repository. The newest snapshots are never lost, and hold what they saved.
#[test]
fn a_repository_is_whole_after_each_crash() {
    if Command::new("restic").arg("version").output().is_err() {
        return eprintln!("SKIPPED: there is no restic (apt-get install restic)");
    }
    let (crashes, mut moments) = (crashes(), Moments::seeded());
    let saved = Saved::new();
    let site = &saved.site;
    let mut known = Known::new();
    for crash in 0..crashes {
        for file in 0..6 {
            let length = usize::try_from(moments.below(3 << 20)).unwrap();
            std::fs::write(site.path(&format!("app/{}", (crash + file * 7) % 40)), moments.noise(length)).unwrap();
        }
        let daemon = site.start();
        let mut tasks = ["saver", "sweeper"];
        if moments.below(2) == 0 {
            tasks.reverse();
        }
        tasks.iter().for_each(|task| drop(site.api().run(task)));
        std::thread::sleep(Duration::from_micros(moments.below(4_000_000)));
        daemon.kill();
        assert_sound(&Journal::copy(&site.state()));
        saved.look(&mut known, &format!("after crash {crash}"));
        if crash % 10 == 9 && !known.is_empty() {
            // The lock of the daemon that is dead: upkeep removes it by itself, restic wants to be told.
            saved.restic(&["unlock"]);
            saved.restic(&["check", "--read-data"]);
        }
    }

    let daemon = site.start();
    // All that was asked for and not done yet, each with its key to derive; on a busy machine that is a while.
    within(Duration::from_secs(900), "the end of all runs", || {
        (site.journal().number("SELECT count(*) FROM runs WHERE phase <> 'done'") == 0).then_some(())
    });
    for task in ["saver", "sweeper"] {
        let run = site.run(task);
        assert_eq!(run["outcome"]["outcome"], "succeeded", "{run:#}");
    }
    assert!(Daemon::stop(daemon).success());
    let left = saved.look(&mut known, "at the end");
    saved.restic(&["check", "--read-data"]);
    assert_eq!(left.len(), KEPT, "{left:?}");
    for id in &left {
        saved.assert_restores(id, &known[id].1);
    }
    let ends = site.journal().rows(
        "SELECT task, outcome, json_extract(detail, '$.message') AS why, count(*) AS count FROM runs GROUP BY 1, 2, 3",
    );
    let lost = ends.iter().filter(|row| {
        // Before the first backup there is nothing to sweep, and retention says so.
        let is_early = row["why"].as_str().is_some_and(|why| why.contains("the first backup makes it"));
        !is_early && !["succeeded", "interrupted"].contains(&row["outcome"].as_str().unwrap())
    });
    assert_eq!(lost.count(), 0, "{ends:#?}");
    println!(
        "{crashes} crashes, {} snapshots seen, {} forgotten; restic finds no error, and the last {KEPT} hold what they \
         saved; runs: {ends:?}",
        known.len(),
        known.len() - left.len(),
    );
}

/// Snapshots that retention keeps.
const KEPT: usize = 3;

/// What was in the folder: name, length and hash.
type Content = BTreeMap<String, (usize, u64)>;

/// Every snapshot that was ever seen: when it was made, and what it holds.
type Known = BTreeMap<String, (jiff::Timestamp, Content)>;

/// A site with a folder, a task that saves it and one that keeps the last three.
struct Saved {
    site: Site,
}

impl Saved {
    fn new() -> Self {
        let site = Site::new(&[]);
        site.shipped("backup");
        site.shipped("retention");
        std::fs::create_dir(site.path("app")).unwrap();
        std::fs::write(site.path("password"), "correct horse battery staple").unwrap();
        std::fs::set_permissions(site.path("password"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let path = |name| site.path(name).display().to_string();
        let repository = format!(
            "[grant.repository.main]\nurl = \"{}\"\npassword = {{ file = \"{}\" }}\n",
            path("repository"),
            path("password")
        );
        site.task(
            "saver",
            &format!(
                "plugin = \"backup\"\nschedule.overlap = \"queue\"\n\
                 [config]\nrepository = \"main\"\ndirectories = [{{ root = \"app\" }}]\n\
                 [grant]\nstate = true\nmetrics = true\n[grant.files.app]\npath = \"{}\"\n{repository}",
                path("app"),
            ),
        );
        site.task(
            "sweeper",
            &format!(
                "plugin = \"retention\"\nschedule.overlap = \"queue\"\n\
                 [config]\nrepository = \"main\"\nmax_removals = \"100 %\"\nkeep = {{ last = {KEPT} }}\n\
                 prune = {{ grace = \"0h\", max_unused = \"0 %\", max_repack = \"unlimited\" }}\n\
                 [grant]\nmetrics = true\n{repository}access = [\"list\", \"prune\"]\n",
            ),
        );
        Self { site }
    }

    fn restic(&self, arguments: &[&str]) -> Vec<u8> {
        let path = |name| self.site.path(name).display().to_string();
        let place = ["--no-cache", "-r", &path("repository"), "--password-file", &path("password")].map(str::to_owned);
        let ran = Command::new("restic").args(place).args(arguments).output().unwrap();
        assert!(ran.status.success(), "restic {arguments:?}: {ran:?}");
        ran.stdout
    }

    fn content(&self, folder: &str) -> Content {
        let entries = std::fs::read_dir(self.site.path(folder)).unwrap().flatten();
        entries
            .map(|it| {
                let (name, bytes) = (it.file_name().into_string().unwrap(), std::fs::read(it.path()).unwrap());
                (name, (bytes.len(), BuildHasherDefault::<DefaultHasher>::default().hash_one(&bytes)))
            })
            .collect()
    }

    /// Notes the snapshots that are new, and demands that the newest of all that were ever seen are there. Gives those that
    /// are there.
    fn look(&self, known: &mut Known, when: &str) -> Vec<String> {
        let files = std::fs::read_dir(self.site.path("repository/snapshots"));
        let there: Vec<String> =
            files.into_iter().flatten().flatten().map(|it| it.file_name().into_string().unwrap()).collect();
        // A file that is being written has another name than its content.
        let there: Vec<_> = there.into_iter().filter(|it| it.len() == 64).collect();
        if there.iter().any(|id| !known.contains_key(id)) {
            let listed: Value = serde_json::from_slice(&self.restic(&["snapshots", "--json", "--no-lock"])).unwrap();
            for snapshot in listed.as_array().unwrap() {
                let text = |key: &str| snapshot[key].as_str().unwrap().to_owned();
                known.entry(text("id")).or_insert_with(|| (text("time").parse().unwrap(), self.content("app")));
            }
        }
        let mut newest: Vec<_> = known.iter().map(|(id, (time, _))| (time, id)).collect();
        newest.sort();
        for (time, id) in newest.iter().rev().take(KEPT) {
            assert!(there.contains(id), "{when}: the snapshot {id} of {time} is lost");
        }
        there
    }

    fn assert_restores(&self, id: &str, content: &Content) {
        let target = format!("restored-{}", &id[..8]);
        self.restic(&["restore", id, "--target", &self.site.path(&target).display().to_string()]);
        let restored = self.content(&format!("{target}{}", self.site.path("app").display()));
        let names = |content: &Content| content.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&restored), names(content), "{id}");
        for (name, was) in content {
            assert_eq!(restored[name], *was, "{name} in {id} is not as it was");
        }
    }
}
