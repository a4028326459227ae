//! Schedule, overlap, groups, events, retries, catching up.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use upkeep_tests::{Site, eventually, now, within};

/// The spans of time in which runs were under way, in order.
fn spans(runs: &[Value]) -> Vec<(i64, i64)> {
    let mut spans: Vec<_> =
        runs.iter().filter_map(|run| Some((run["started"].as_i64()?, run["ended"].as_i64()?))).collect();
    spans.sort_unstable();
    spans
}

fn beside_each_other(runs: &[Value]) -> bool {
    // Times are whole milliseconds, and the end is recorded a moment after the permit went to the next.
    spans(runs).windows(2).any(|pair| pair[1].0 < pair[0].1 - 50)
}

fn outcomes(runs: &[Value]) -> BTreeSet<&str> {
    runs.iter().filter_map(|run| run["outcome"]["outcome"].as_str()).collect()
}

#[test]
fn slots_that_come_too_early_do_as_the_task_says_and_leave_a_trace() {
    let site = Site::new(&["sleep"]);
    let policies = ["skip", "queue", "cancel-running", "allow"];
    for policy in policies {
        let schedule = format!("schedule = {{ every = \"1s\", overlap = \"{policy}\" }}");
        site.task(policy, &format!("plugin = \"sleep\"\nconfig.ms = 2300\n{schedule}"));
    }
    let daemon = site.start();
    sleep(Duration::from_secs(9));
    policies.iter().for_each(|policy| fs::remove_file(site.task_file(policy)).unwrap());
    eventually("the end of all runs", || {
        let status = site.api().get("/v1/status");
        (status["tasks"] == 0 && status["running"] == Value::Array(vec![]) && status["queue_length"] == 0).then_some(())
    });
    // A slot may fall on the moment at which the file goes.
    let runs = |task| -> Vec<Value> {
        let runs = site.runs(task).into_iter();
        runs.filter(|run| run["outcome"]["reason"] != "the task was removed").collect()
    };
    let (skip, queue, cancel, allow) = (runs("skip"), runs("queue"), runs("cancel-running"), runs("allow"));
    assert_eq!(daemon.stop().code(), Some(0));

    let journal = site.journal();
    for policy in policies {
        let slots =
            journal.rows(&format!("SELECT due, decision, reason, run FROM slots WHERE task = '{policy}' ORDER BY due"));
        assert!(slots.len() >= 8, "{policy}: {slots:?}");
        for pair in slots.windows(2) {
            let distance = pair[1]["due"].as_i64().unwrap() - pair[0]["due"].as_i64().unwrap();
            assert_eq!(distance, 1000, "{policy}: a slot vanished: {slots:?}");
        }
        for slot in &slots {
            match slot["decision"].as_str().unwrap() {
                "ran" => assert!(slot["run"].is_string(), "{policy}: {slot:?}"),
                "skipped" => assert!(slot["reason"].as_str().unwrap().contains(policy), "{policy}: {slot:?}"),
                other => panic!("{policy}: {other}"),
            }
        }
        let skipped = slots.iter().filter(|slot| slot["decision"] == "skipped").count();
        assert_eq!(skipped == 0, policy == "allow" || policy == "cancel-running", "{policy}: {slots:?}");
    }
    assert!(!beside_each_other(&skip) && outcomes(&skip) == ["succeeded"].into(), "{skip:?}");
    let pauses: Vec<_> = spans(&skip).windows(2).map(|pair| pair[1].0 - pair[0].1).collect();
    assert!(
        pauses.iter().all(|pause| *pause > 100),
        "after a run that was skipped over comes the next slot: {pauses:?}"
    );

    assert!(!beside_each_other(&queue), "{queue:?}");
    let pauses: Vec<_> = spans(&queue).windows(2).map(|pair| pair[1].0 - pair[0].1).collect();
    assert!(pauses.iter().any(|pause| *pause < 500), "one that waited comes at once: {pauses:?}");

    assert!(!beside_each_other(&cancel) && outcomes(&cancel).contains("cancelled"), "{cancel:?}");
    assert!(cancel[0]["outcome"]["by"].as_str().unwrap().contains("cancel-running"), "{:?}", cancel[0]);
    assert!(beside_each_other(&allow) && outcomes(&allow) == ["succeeded"].into(), "{allow:?}");
}

#[test]
fn slots_come_on_time() {
    let site = Site::new(&["noop"]);
    site.task("each", "plugin = \"noop\"\nschedule.every = \"1s\"");
    let _daemon = site.start();
    let runs = eventually("five runs", || Some(site.runs("each")).filter(|runs| runs.len() >= 5));
    for run in &runs {
        let (due, queued) = (run["due"].as_i64().unwrap(), run["queued"].as_i64().unwrap());
        assert_eq!(due % 1000, 0, "`every` counts from the epoch: {run}");
        assert!((0..1_000).contains(&(queued - due)), "{run}");
    }
}

#[test]
fn tasks_of_a_group_do_not_run_beside_each_other() {
    let site = Site::new(&["sleep"]);
    for task in ["one", "two", "three"] {
        site.task(task, "plugin = \"sleep\"\nconfig.ms = 400\ngroup = \"disk\"");
    }
    site.task("free", "plugin = \"sleep\"\nconfig.ms = 400");
    let _daemon = site.start();
    let runs = ["one", "two", "three", "free"].map(|task| site.api().run(task));
    let runs = runs.map(|run| site.ended(&run));
    assert_eq!(outcomes(&runs), ["succeeded"].into());
    assert!(!beside_each_other(&runs[..3]), "{runs:?}");
    assert!(beside_each_other(&runs), "one that is not of the group waits for nobody: {runs:?}");
}

#[test]
fn permits_are_as_many_as_are_set() {
    let site = Site::new(&["sleep"]);
    site.settings("max_running = 2");
    site.task("nap", "plugin = \"sleep\"\nconfig.ms = 300\nschedule.overlap = \"allow\"");
    let _daemon = site.start();
    let mut api = site.api();
    let runs: Vec<_> = (0..6).map(|_| api.run("nap")).collect();
    let status = api.get("/v1/status");
    assert!(status["running"].as_array().unwrap().len() <= 2, "{status}");
    let runs: Vec<_> = runs.iter().map(|run| site.ended(run)).collect();
    let spans = spans(&runs);
    let most = spans.iter().map(|at| spans.iter().filter(|it| it.0 <= at.0 && at.0 < it.1 - 50).count()).max();
    assert_eq!(most, Some(2), "{spans:?}");
}

#[test]
fn events_start_tasks() {
    let site = Site::new(&["noop", "fail"]);
    fs::create_dir_all(site.path("watched/below")).unwrap();
    let watched = site.path("watched");
    site.task("first", "plugin = \"noop\"\nschedule.startup = true");
    site.task("second", "plugin = \"noop\"\nschedule.after = [{ task = \"first\" }]");
    site.task("third", "plugin = \"fail\"\nconfig.kind = \"permanent\"\nschedule.after = [{ task = \"second\" }]");
    site.task("never", "plugin = \"noop\"\nschedule.after = [{ task = \"third\" }]");
    site.task("mourner", "plugin = \"noop\"\nschedule.after = [{ task = \"third\", on = \"failure\" }]");
    site.task("any", "plugin = \"noop\"\nschedule.after = [{ task = \"third\", on = \"any\" }, { task = \"second\", on = \"failure\" }]");
    site.task("disabled", "plugin = \"noop\"\nenabled = false\nschedule.startup = true");
    site.task("watcher", &format!("plugin = \"noop\"\nschedule.watch = [\"{}\"]", watched.display()));
    let _daemon = site.start();
    let run = |task: &str| eventually(task, || site.runs(task).pop().filter(|run| run["phase"] == "done"));
    let first = run("first");
    assert_eq!(first["trigger"], "startup");
    let second = run("second");
    assert_eq!((&second["trigger"], &second["run"]), (&"after".into(), &first["id"]), "{second}");
    for task in ["mourner", "any"] {
        assert_eq!(run(task)["run"], run("third")["id"], "{task}");
    }
    assert!(site.runs("never").is_empty() && site.runs("disabled").is_empty() && site.runs("watcher").is_empty());

    fs::write(watched.join("below/file"), "new").unwrap();
    let watcher = run("watcher");
    assert_eq!(
        (&watcher["trigger"], &watcher["path"]),
        (&"watch".into(), &watched.to_str().unwrap().into()),
        "{watcher}"
    );
    // Many changes in a moment are one.
    for number in 0..200 {
        fs::write(watched.join(format!("below/{number}")), "new").unwrap();
    }
    eventually("a second run", || (site.runs("watcher").len() == 2).then_some(()));
    sleep(Duration::from_secs(1));
    assert_eq!(site.runs("watcher").len(), 2);
    // A folder that came later.
    fs::create_dir(watched.join("fresh")).unwrap();
    eventually("a third run", || (site.runs("watcher").len() == 3).then_some(()));
    sleep(Duration::from_millis(500));
    fs::write(watched.join("fresh/file"), "new").unwrap();
    eventually("a fourth run", || (site.runs("watcher").len() == 4).then_some(()));
}

#[test]
fn retries_wait_twice_as_long_each_time_and_outlive_the_daemon() {
    let site = Site::new(&["fail"]);
    site.task("soon", "plugin = \"fail\"\nconfig.kind = \"transient\"\nretry = { attempts = 3, backoff = \"200ms\", max_backoff = \"500ms\" }");
    site.task("later", "plugin = \"fail\"\nconfig = { kind = \"transient\", succeed_at = 2 }\nretry = { attempts = 1, backoff = \"3s\" }");
    let daemon = site.start();
    site.run("later");
    site.run("soon");
    let all = eventually("the last attempt", || {
        Some(site.runs("soon")).filter(|runs| runs.len() == 4 && runs[3]["phase"] == "done")
    });
    for (run, wait) in all.windows(2).zip([200, 400, 500]) {
        let waited = run[1]["due"].as_i64().unwrap() - run[0]["ended"].as_i64().unwrap();
        assert!((wait - 20..wait + 500).contains(&waited), "{waited} ms instead of {wait}: {run:?}");
        assert_eq!((&run[1]["trigger"], &run[1]["run"]), (&"retry".into(), &run[0]["id"]));
    }
    daemon.kill();
    let _daemon = site.start();
    let last = within(Duration::from_secs(20), "the attempt that was planned before", || {
        site.runs("later").pop().filter(|run| run["phase"] == "done" && run["attempt"] == 2)
    });
    assert_eq!(last["outcome"]["outcome"], "succeeded");
    assert!(last["started"].as_i64() >= last["due"].as_i64(), "not before its time: {last}");
    assert_eq!(site.runs("later").len(), 2);
}

/// An hour is too long for a test, so the cursor is put back instead: that is all that a daemon knows of its absence.
fn was_away(site: &Site, ms: i64) {
    let journal = rusqlite::Connection::open(site.state().join("upkeep.db")).unwrap();
    journal.execute("UPDATE cursors SET at = at - ?1", [ms]).unwrap();
}

#[test]
fn slots_of_the_time_of_its_absence_do_as_the_task_says() {
    let site = Site::new(&["noop"]);
    // Half an hour from now, so that none of the slots is of the last minute.
    let minute = (now() / 60 + 30) % 60;
    for (task, policy) in [("none", "\"none\""), ("last", "\"last\""), ("three", "{ all = 3 }")] {
        let schedule =
            format!("schedule = {{ cron = \"{minute} * * * *\", catch_up = {policy}, overlap = \"queue\" }}");
        site.task(task, &format!("plugin = \"noop\"\n{schedule}"));
    }
    assert_eq!(site.start().stop().code(), Some(0));
    was_away(&site, 6 * 3_600_000);
    let _daemon = site.start();
    eventually("the runs", || {
        let ended = |task| site.runs(task).iter().filter(|run| run["phase"] == "done").count();
        (ended("last") == 1 && ended("three") == 3).then_some(())
    });
    assert!(site.runs("none").is_empty());
    let journal = site.journal();
    for (task, ran, missed) in [("none", 0, 6), ("last", 1, 5), ("three", 3, 3)] {
        let slots =
            journal.rows(&format!("SELECT due, decision, reason FROM slots WHERE task = '{task}' ORDER BY due"));
        let caught_up: Vec<_> = slots.iter().filter(|slot| slot["decision"] == "ran").collect();
        assert_eq!(caught_up.len(), ran, "{task}: {slots:?}");
        assert!(caught_up.iter().all(|slot| slot["reason"].as_str().unwrap().starts_with("caught up")), "{slots:?}");
        let stretch = slots.iter().find(|slot| slot["decision"] == "missed").unwrap();
        assert!(
            stretch["reason"].as_str().unwrap().starts_with(&format!("{missed} slots from ")),
            "{task}: {stretch:?}"
        );
    }
    let dues: Vec<_> = site.runs("three").iter().map(|run| run["due"].as_i64().unwrap() / 3_600_000).collect();
    assert_eq!(dues, [dues[0], dues[0] + 1, dues[0] + 2], "oldest first");
    assert!(site.runs("three").iter().all(|run| run["trigger"] == "catch-up"));
}

#[test]
fn slots_of_a_short_absence_are_not_lost() {
    let site = Site::new(&["noop"]);
    site.task(
        "each",
        "plugin = \"noop\"\nschedule = { every = \"2s\", overlap = \"allow\", catch_up = { all = 100 } }",
    );
    let daemon = site.start();
    eventually("a run", || (!site.runs("each").is_empty()).then_some(()));
    daemon.stop();
    sleep(Duration::from_secs(5));
    let _daemon = site.start();
    sleep(Duration::from_secs(3));
    let dues: Vec<_> = site.runs("each").iter().map(|run| run["due"].as_i64().unwrap()).collect();
    let whole: Vec<_> = (0..dues.len() as i64).map(|number| dues[0] + number * 2_000).collect();
    assert_eq!(dues, whole, "no slot is missing, none is there twice");
}
