//! A disk without room: the daemon says so, loses nothing, and goes on when there is room.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use upkeep_tests::{Site, eventually, within};

/// A small file system, unmounted when it is dropped.
struct Small {
    at: PathBuf,
}

impl Small {
    fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m,mode=0700", "upkeep-test"]).arg(&at).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self { at })
    }

    /// Fills it to the last byte.
    fn fill(&self) -> PathBuf {
        let ballast = self.at.join("ballast");
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&ballast).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        ballast
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // The daemon was ended before; `--lazy` for a test that panics.
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

#[test]
fn nothing_is_lost_on_a_full_disk() {
    let site = Site::new(&["noop", "sleep"]);
    let Some(small) = Small::mount(site.state()) else {
        println!("SKIPPED: nothing_is_lost_on_a_full_disk needs the right to mount a file system (run it as root)");
        return;
    };
    site.task("each", "plugin = \"noop\"\nschedule = { every = \"1s\", overlap = \"allow\" }");
    site.task("nap", "plugin = \"sleep\"\nconfig.ms = 1000\nschedule.overlap = \"allow\"");
    site.task("noop", "plugin = \"noop\"");
    let daemon = site.start();
    eventually("a slot", || (!site.runs("each").is_empty()).then_some(()));
    let nap = site.api().run("nap");
    eventually("the nap", || (site.api().get(&format!("/v1/runs/{nap}"))["phase"] == "executing").then_some(()));

    let ballast = small.fill();
    let mut api = site.api();
    let refused = eventually("a commit that has no room", || {
        // The write-ahead log has some room of its own.
        Some(api.ask("POST", "/v1/tasks/noop/run", "")).filter(|answer| answer.status != 202)
    });
    assert_eq!((refused.status, &refused.body["error"]), (500, &"journal".into()), "{refused:?}");
    assert!(refused.body["message"].as_str().unwrap().contains("free some space"), "{refused:?}");
    let command = site.cli(&["run", "noop"]);
    assert!(command.code == 5 && command.stderr.contains("free some space"), "{command:?}");
    eventually("the log says so", || site.log().contains("due runs cannot be recorded").then_some(()));
    eventually("the run waits", || site.log().contains("a run waits for room").then_some(()));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(site.cli(&["status"]).code, 0, "it answers all the same");
    assert_eq!(site.cli(&["history"]).code, 0, "what was recorded can be read");

    fs::remove_file(ballast).unwrap();
    let over = within(Duration::from_secs(30), "the end of the run", || {
        Some(api.get(&format!("/v1/runs/{nap}"))).filter(|run| run["phase"] == "done")
    });
    assert_eq!(over["outcome"]["outcome"], "succeeded", "{over}");
    assert_eq!(site.run("noop")["outcome"]["outcome"], "succeeded");
    let gaps = || {
        let slots = site.journal().column("SELECT due FROM slots WHERE task = 'each' ORDER BY due");
        let dues: Vec<i64> = slots.iter().filter_map(Value::as_i64).collect();
        dues.windows(2).filter(|pair| pair[1] - pair[0] != 1_000).count()
    };
    within(Duration::from_secs(30), "all slots of the time without room", || (gaps() == 0).then_some(()));
    within(Duration::from_secs(30), "all their runs", || {
        let lost = "SELECT count(*) FROM slots LEFT JOIN runs ON runs.id = slots.run WHERE slots.task = 'each' AND runs.outcome IS NOT 'succeeded' AND slots.due < (SELECT max(due) FROM slots) - 2000";
        (site.journal().number(lost) == 0).then_some(())
    });
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(site.journal().column("PRAGMA integrity_check"), ["ok"]);
}

#[test]
fn a_run_without_a_daemon_says_that_it_waits_for_room() {
    let site = Site::new(&["sleep"]);
    let Some(small) = Small::mount(site.state()) else {
        println!("SKIPPED: a_run_without_a_daemon_says_... needs the right to mount a file system (run it as root)");
        return;
    };
    site.task("nap", "plugin = \"sleep\"\nconfig.ms = 2000");
    let mut running =
        site.command(&["run", "nap", "--standalone"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(running.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.starts_with("planned:")), "it begins");
    let ballast = small.fill();
    let waits = said.find(|line| line.contains("waits for room")).expect("it says why nothing happens");
    assert!(waits.contains("free some space"), "{waits}");
    fs::remove_file(ballast).unwrap();
    let freed = Instant::now();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(freed.elapsed() < Duration::from_secs(30), "it went on after {:?}", freed.elapsed());
    assert_eq!(site.journal().column("SELECT outcome FROM runs"), ["succeeded"]);
    assert_eq!(site.journal().column("PRAGMA integrity_check"), ["ok"]);
}
