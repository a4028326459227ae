//! New, broken and mended configurations.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use upkeep_tests::{Site, eventually};

const NOOP: &str = "plugin = \"noop\"\n";

fn tasks(site: &Site) -> Vec<String> {
    let tasks = site.api().get("/v1/tasks");
    tasks["tasks"].as_array().unwrap().iter().map(|task| task["name"].as_str().unwrap().to_owned()).collect()
}

fn awaits(site: &Site, names: &[&str]) {
    eventually(&format!("the tasks {names:?}"), || (tasks(site) == names).then_some(()));
}

fn config_error(site: &Site) -> Value {
    site.api().get("/v1/status")["config_error"].take()
}

#[test]
fn task_files_come_change_and_go() {
    let site = Site::new(&["noop"]);
    site.task("first", NOOP);
    let mut daemon = site.start();
    awaits(&site, &["first"]);
    site.task("second", NOOP);
    daemon.await_notice("RELOADING=1");
    daemon.await_notice("READY=1");
    awaits(&site, &["first", "second"]);
    assert_eq!(site.run("second")["outcome"]["outcome"], "succeeded");

    // Written in place, in two pieces, as `cat >` does it.
    fs::write(site.task_file("second"), "plugin = \"noop\"\ndescription = \"").unwrap();
    fs::write(site.task_file("second"), "plugin = \"noop\"\ndescription = \"changed\"\n").unwrap();
    eventually("the change", || (site.api().get("/v1/tasks")["tasks"][1]["description"] == "changed").then_some(()));
    fs::remove_file(site.task_file("first")).unwrap();
    awaits(&site, &["second"]);
    assert_eq!(config_error(&site), Value::Null);
}

#[test]
fn a_broken_configuration_leaves_the_old_one_in_use() {
    let site = Site::new(&["noop"]);
    site.task("sound", NOOP);
    let _daemon = site.start();

    site.task("broken", "plugin = \"nop\"\nschedule.cron = \"99 * * * *\"\n");
    let error = eventually("the error", || config_error(&site).as_str().map(str::to_owned));
    assert!(error.contains("tasks.d/broken.toml:1") && error.contains("schedule.cron"), "{error}");
    awaits(&site, &["sound"]);
    assert_eq!(site.run("sound")["outcome"]["outcome"], "succeeded", "the old one goes on");
    let status = site.cli(&["status"]);
    assert!(
        status.code == 0 && status.stdout.contains("not in use") && status.stdout.contains("broken.toml"),
        "{status:?}"
    );
    let reload = site.cli(&["reload"]);
    assert!(reload.code == 2 && reload.stderr.contains("broken.toml"), "{reload:?}");

    site.task("broken", NOOP);
    awaits(&site, &["broken", "sound"]);
    assert_eq!(config_error(&site), Value::Null);
}

#[test]
fn a_broken_upkeep_toml_leaves_the_old_one_in_use() {
    let site = Site::new(&["noop"]);
    site.task("sound", NOOP);
    let _daemon = site.start();
    site.settings("max_runing = 3");
    let error = eventually("the error", || config_error(&site).as_str().map(str::to_owned));
    assert!(error.contains("upkeep.toml") && error.contains("max_running"), "it names the key that was meant: {error}");
    site.settings("max_running = 3");
    eventually("the mended file", || config_error(&site).is_null().then_some(()));
}

#[test]
fn it_does_not_start_with_a_broken_configuration() {
    let site = Site::new(&["noop"]);
    site.task("broken", "plugin = \"noop\"\nschedul.every = \"1s\"\n");
    let refused = site.cli(&["daemon"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("broken.toml") && refused.stderr.contains("`schedule`"), "{refused:?}");
    assert!(!site.path("upkeep.sock").exists());
}

#[test]
fn a_signal_and_a_command_reload_as_well() {
    let site = Site::new(&["noop"]);
    let mut daemon = site.start();
    // Beside the folder that is watched: only who asks sees it.
    fs::write(site.path("later.toml"), NOOP).unwrap();
    std::os::unix::fs::symlink(site.path("later.toml"), site.task_file("linked")).unwrap();
    awaits(&site, &["linked"]);
    daemon.notices();
    fs::write(site.path("later.toml"), format!("{NOOP}description = \"by signal\"")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.await_notice("READY=1");
    let described = || site.api().get("/v1/tasks")["tasks"][0]["description"].as_str().unwrap().to_owned();
    assert_eq!(described(), "by signal");
    fs::write(site.path("later.toml"), format!("{NOOP}description = \"by command\"")).unwrap();
    let reload = site.cli(&["reload", "--json"]);
    assert_eq!((reload.code, &reload.json()["changed"][0]), (0, &"linked".into()), "{reload:?}");
    assert_eq!(described(), "by command");
}

#[test]
fn a_plugin_that_is_replaced_is_used_at_once() {
    let site = Site::new(&["noop", "fail"]);
    site.task("it", "plugin = \"it\"\n");
    let install = |guest: &str| {
        let beside = site.path("plugins/it.new");
        fs::copy(site.path(&format!("plugins/{guest}.wasm")), &beside).unwrap();
        fs::rename(beside, site.path("plugins/it.wasm")).unwrap();
    };
    install("noop");
    let mut daemon = site.start();
    assert_eq!(site.run("it")["outcome"]["outcome"], "succeeded");

    // The schema of its config wants a key that is not there.
    install("fail");
    daemon.await_notice("READY=1");
    let error = eventually("the error", || config_error(&site).as_str().map(str::to_owned));
    assert!(error.contains("it.toml") && error.contains("kind"), "{error}");
    assert_eq!(site.run("it")["outcome"]["outcome"], "succeeded", "the plugin before goes on");
    site.task("it", "plugin = \"it\"\nconfig.kind = \"permanent\"\n");
    eventually("the mended configuration", || config_error(&site).is_null().then_some(()));
    assert_eq!(site.run("it")["outcome"]["outcome"], "failed");
}

#[test]
fn what_runs_ends_as_it_began() {
    let site = Site::new(&["sleep"]);
    site.task("nap", "plugin = \"sleep\"\nconfig.ms = 2000");
    let mut daemon = site.start();
    let run = site.api().run("nap");
    eventually("the nap", || (site.api().get("/v1/status")["running"].as_array().unwrap().len() == 1).then_some(()));
    site.task("nap", "plugin = \"sleep\"\nconfig.ms = 60000\ntimeout = \"1ms\"");
    daemon.await_notice("READY=1");
    let ended = site.ended(&run);
    assert_eq!(
        (&ended["outcome"]["outcome"], &ended["report"]["summary"]),
        (&"succeeded".into(), &"slept 2000 ms".into())
    );
    assert_eq!(site.run("nap")["outcome"]["outcome"], "timed-out");
}
