//! Start, ready, one per state directory, stop, resumption.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::Signal;
use upkeep_tests::{Site, eventually};

const SLOW: &str = "plugin = \"echo-steps\"\ngrant.state = true\nparallel = 1\n";

#[test]
fn the_service_manager_is_told() {
    let site = Site::new(&[]);
    let mut daemon = site.spawn_with(site.command(&["daemon"]).env("WATCHDOG_USEC", "400000"));
    daemon.await_notice("READY=1");
    assert_eq!(site.cli(&["status"]).code, 0, "it answers when it says that it is ready");
    daemon.await_notice("WATCHDOG=1");
    daemon.await_notice("WATCHDOG=1");

    daemon.signal(Signal::HUP);
    daemon.await_notice("RELOADING=1");
    daemon.await_notice("MONOTONIC_USEC=");
    daemon.await_notice("READY=1");

    daemon.signal(Signal::TERM);
    daemon.await_notice("STOPPING=1");
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(!site.path("upkeep.sock").exists(), "the socket goes with the daemon");
    assert_eq!(site.cli(&["status"]).code, 3);
}

#[test]
fn one_daemon_per_state_directory() {
    let site = Site::new(&[]);
    let daemon = site.start();
    let socket = site.path("other.sock");
    let second = site.cli(&["daemon", "--socket", socket.to_str().unwrap()]);
    assert_eq!(second.code, 5, "{second:?}");
    assert!(second.stderr.contains(&daemon.pid().to_string()), "it names the other: {second:?}");

    // Another state directory, but the same socket.
    let text = std::fs::read_to_string(site.config().join("upkeep.toml")).unwrap();
    std::fs::write(site.config().join("upkeep.toml"), text.replace("../state", "../state-2")).unwrap();
    let second = site.cli(&["daemon"]);
    assert_eq!(second.code, 5, "{second:?}");
    assert!(second.stderr.contains("another upkeep listens on"), "{second:?}");
    assert_eq!(site.cli(&["status"]).code, 0, "the first goes on");
}

#[test]
fn what_a_killed_daemon_left_is_no_obstacle() {
    let site = Site::new(&[]);
    let first = site.start();
    let pid = first.pid();
    first.kill();
    assert!(site.path("upkeep.sock").exists());
    assert!(UnixStream::connect(site.path("upkeep.sock")).is_err());
    assert_eq!(site.cli(&["status"]).code, 3);
    let second = site.start();
    assert_eq!(site.api().get("/v1/status")["pid"], second.pid());
    assert_ne!(pid, second.pid());
}

#[test]
fn runs_end_before_the_daemon_does() {
    let site = Site::new(&["sleep", "noop"]);
    site.task("nap", "plugin = \"sleep\"\nconfig.ms = 1500");
    site.task("late", "plugin = \"noop\"");
    let mut daemon = site.start();
    let mut api = site.api();
    let run = api.run("nap");
    eventually("the nap", || (api.get("/v1/status")["running"].as_array().unwrap().len() == 1).then_some(()));
    daemon.signal(Signal::TERM);
    daemon.await_notice("STOPPING=1");
    let refused = api.ask("POST", "/v1/tasks/late/run", "");
    assert_eq!((refused.status, &refused.body["error"]), (503, &"stopping".into()), "{refused:?}");
    drop(api);
    assert_eq!(daemon.wait().code(), Some(0));

    let row = &site.journal().rows("SELECT id, outcome, resumed FROM runs")[0];
    assert_eq!((&row["id"], &row["outcome"], &row["resumed"]), (&run.into(), &"succeeded".into(), &0.into()));
}

#[test]
fn what_does_not_end_in_time_goes_on_at_the_next_start() {
    let site = Site::new(&["echo-steps"]);
    site.settings("stop_deadline = \"300ms\"");
    site.task("slow", &format!("{SLOW}config = {{ steps = 8, sleep_ms = 400 }}"));
    let daemon = site.start();
    let run = site.api().run("slow");
    let done = || site.journal().number("SELECT count(*) FROM steps WHERE phase = 'done'");
    eventually("two steps", || (done() >= 2).then_some(()));
    let asked = std::time::Instant::now();
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(3), "it took {:?} to stop", asked.elapsed());

    let steps = "SELECT ordinal, started, ended, output FROM steps WHERE phase = 'done' ORDER BY ordinal";
    let before = site.journal().rows(steps);
    assert!(before.len() < 8 && site.journal().number("SELECT count(*) FROM runs WHERE ended IS NULL") == 1);
    let _daemon = site.start();
    let over = site.ended(&run);
    assert_eq!((&over["outcome"]["outcome"], &over["resumed"]), (&"succeeded".into(), &1.into()), "{over}");
    let after = site.journal().rows(steps);
    assert_eq!((after.len(), &after[..before.len()]), (8, &before[..]), "what was done stays as it was");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let site = Site::new(&["sleep"]);
    site.task("nap", "plugin = \"sleep\"\nconfig.ms = 60000");
    let mut daemon = site.start();
    let mut api = site.api();
    let run = api.run("nap");
    eventually("the nap", || (api.get("/v1/status")["running"].as_array().unwrap().len() == 1).then_some(()));
    daemon.signal(Signal::TERM);
    daemon.await_notice("STOPPING=1");
    let asked = std::time::Instant::now();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(8), "30 s are allowed, but not after the second signal");
    // It goes on, and is then told to end.
    let _daemon = site.start();
    assert_eq!(site.cli(&["cancel", &run]).code, 0);
    assert_eq!(site.ended(&run)["outcome"]["outcome"], "cancelled");
}

#[test]
fn a_run_whose_task_has_changed_is_interrupted_and_not_resumed() {
    let site = Site::new(&["echo-steps"]);
    for task in ["changed", "gone"] {
        site.task(task, &format!("{SLOW}config = {{ steps = 50, sleep_ms = 100 }}"));
    }
    let daemon = site.start();
    let (changed, gone) = (site.api().run("changed"), site.api().run("gone"));
    let started = || site.journal().number("SELECT count(DISTINCT run) FROM steps WHERE phase = 'done'");
    eventually("steps of both", || (started() == 2).then_some(()));
    daemon.kill();
    site.task("changed", &format!("{SLOW}config = {{ steps = 2, sleep_ms = 0 }}"));
    std::fs::remove_file(site.task_file("gone")).unwrap();
    let _daemon = site.start();
    for run in [changed, gone] {
        let run = site.ended(&run);
        assert_eq!(run["outcome"]["outcome"], "interrupted", "{run}");
    }
}
