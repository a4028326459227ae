//! Each kind of rule on real files in the test host, whose removal keeps nothing back. What the real host keeps back is shown
//! in `tests/tests/cleanup.rs` of upkeep.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;
use upkeep_plugin::removal::{Action, Block, Candidate, Cause};
use upkeep_plugin::test::Host;
use upkeep_plugin::{Context, Report, Severity, Step, Task, task};

use crate::Work;
use crate::config::Cleanup;

mod caches;
mod folders;
mod journal;
mod logs;
mod order;
mod properties;
mod releases;
mod rows;
mod told;

/// 2026-11-24 10:00 UTC.
const NOW: u64 = 1_795_514_400;

/// A host with one root, `data`.
struct Site {
    host: Host,
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { host: Host::new().root("data", folder.path()), folder }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// A file of this age in hours; its folders are made.
    fn file(&self, path: &str, hours: i64, size: usize) {
        let file = self.path(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, vec![b'x'; size]).unwrap();
        self.touch(path, hours, hours);
    }

    /// Sets how many hours ago something was changed and read; less than none is the future.
    fn touch(&self, path: &str, modified: i64, accessed: i64) {
        let at = |hours: i64| {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
            let span = Duration::from_secs(hours.unsigned_abs() * 3_600);
            if hours < 0 { now + span } else { now - span }
        };
        let times = FileTimes::new().set_modified(at(modified)).set_accessed(at(accessed));
        File::open(self.path(path)).unwrap().set_times(times).unwrap();
    }

    fn context(&self) -> Context {
        let timezone = "Asia/Shanghai".to_owned();
        Context { now: NOW as i64 * 1_000, timezone, ..self.host.context() }
    }

    fn plan(&self, rules: &Value) -> upkeep_plugin::Result<Vec<Step<Work>>> {
        self.plan_all(&serde_json::from_str(&config(rules)).unwrap())
    }

    /// As `plan`, with all of `[config]`.
    fn plan_all(&self, config: &Value) -> upkeep_plugin::Result<Vec<Step<Work>>> {
        let config: Cleanup = serde_json::from_value(config.clone()).unwrap();
        config.plan(&self.context())
    }

    /// Plans in a host of its own, and gives what is proposed.
    fn proposed(&self, rules: &Value) -> Vec<Candidate> {
        let site = Host::new().root("data", self.folder.path());
        self.plan(rules).unwrap();
        site.proposed("data")
    }

    /// What goes, in order; what is compressed has `>` and its new ending behind it.
    fn going(&self, rules: &Value) -> Vec<String> {
        let told = |it: Candidate| match it.action {
            Action::Remove => it.path,
            Action::Gzip => it.path + " > gz",
            Action::Zstd => it.path + " > zst",
        };
        let mut going: Vec<_> = self.proposed(rules).into_iter().map(told).collect();
        going.sort();
        going
    }

    /// Each path that goes, with its rule and reason.
    fn reasons(&self, rules: &Value) -> Vec<String> {
        let told = |it: Candidate| format!("{}: {}: {}", it.path, it.rule, it.reason);
        self.proposed(rules).into_iter().map(told).collect()
    }

    fn run(&self, rules: &Value) -> Report {
        self.run_all(&serde_json::from_str(&config(rules)).unwrap())
    }

    /// As `run`, with all of `[config]`.
    fn run_all(&self, config: &Value) -> Report {
        self.host.run_in(&self.context(), task::<Cleanup>(), &config.to_string()).unwrap()
    }

    fn refused(&self, rules: &Value) -> String {
        self.plan(rules).unwrap_err().to_string()
    }

    /// Whatever stands beneath the root.
    fn left(&self) -> Vec<String> {
        let root = upkeep_plugin::files::Root::open("data").unwrap();
        root.walk().entries().unwrap().map(|it| it.unwrap().path).collect()
    }
}

/// Rules without a name or root get `rule N` and `data`.
fn config(rules: &Value) -> String {
    let mut rules = rules.clone();
    for (number, rule) in rules.as_array_mut().unwrap().iter_mut().enumerate() {
        let rule = rule.as_object_mut().unwrap();
        rule.entry("name").or_insert(json!(format!("rule {number}")));
        rule.entry("root").or_insert(json!("data"));
    }
    json!({ "rule": rules }).to_string()
}
