//! The command line: cancel, dry run, following, exit codes.

use std::os::unix::net::UnixListener;

use upkeep_tests::{Site, eventually};

#[test]
fn runs_are_cancelled_while_they_wait_and_while_they_run() {
    let site = Site::new(&["sleep", "spin"]);
    site.task("nap", "plugin = \"sleep\"\nconfig.ms = 60000");
    site.task("spin", "plugin = \"spin\"");
    let _daemon = site.start();
    let mut api = site.api();
    let (running, waiting, spinning) = (api.run("nap"), api.run("nap"), api.run("spin"));
    eventually("both", || (api.get("/v1/status")["running"].as_array().unwrap().len() == 2).then_some(()));
    for run in [&waiting, &running, &spinning] {
        let cancel = site.cli(&["cancel", run]);
        assert_eq!(cancel.code, 0, "{cancel:?}");
        let over = site.ended(run);
        assert_eq!(over["outcome"]["outcome"], "cancelled", "{over}");
        assert_eq!(over["started"].is_null(), run == &waiting, "{over}");
        assert!(over["outcome"]["by"].as_str().unwrap().starts_with("uid "), "it is known who it was: {over}");
        let again = site.cli(&["cancel", run]);
        assert!(again.code == 4 && again.stderr.contains("cancelled"), "{again:?}");
    }
}

#[test]
fn a_dry_run_only_makes_the_plan() {
    let site = Site::new(&["echo-steps"]);
    site.task("steps", "plugin = \"echo-steps\"\ngrant.state = true\nconfig.steps = 3");
    let _daemon = site.start();
    let run = site.cli(&["run", "steps", "--dry-run", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let run = run.json();
    assert_eq!((&run["dry_run"], run["steps"].as_array().unwrap().len()), (&true.into(), 3), "{run}");
    assert!(run["steps"].as_array().unwrap().iter().all(|step| step["phase"] == "pending"), "{run}");
    assert_eq!(site.journal().number("SELECT count(*) FROM state"), 0, "nothing was done");
    let shown = site.cli(&["run", "steps", "--dry-run"]);
    assert!(shown.code == 0 && shown.stdout.contains("000002"), "{shown:?}");
    assert_eq!(site.journal().number("SELECT count(*) FROM state"), 0);
}

#[test]
fn exit_codes_say_what_happened() {
    let site = Site::new(&["noop", "fail", "sleep"]);
    site.task("noop", "plugin = \"noop\"");
    site.task("fail", "plugin = \"fail\"\nconfig.kind = \"permanent\"");
    let expect = |args: &[&str], code: i32, said: &str| {
        let ran = site.cli(args);
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        assert!(format!("{}{}", ran.stdout, ran.stderr).contains(said), "{args:?} does not say `{said}`: {ran:?}");
    };
    for args in
        [&["status"][..], &["list"], &["run", "noop"], &["history"], &["logs", "01"], &["reload"], &["cancel", "01"]]
    {
        expect(args, 3, "systemctl status upkeep");
    }
    expect(&["run", "noop", "--standalone"], 0, "succeeded");
    expect(&["run", "fail", "--standalone"], 1, "failing as told");
    expect(&["run", "none", "--standalone"], 4, "upkeep check");
    expect(&["check"], 0, "");

    let daemon = site.start();
    expect(&["run", "noop"], 0, "succeeded");
    expect(&["run", "noop", "--detach"], 0, "is queued");
    expect(&["run", "fail"], 1, "failing as told");
    expect(&["history", "fail", "--outcome", "failed"], 0, "failing as told");
    expect(&["history", "--outcome", "fine"], 2, "succeeded");
    expect(&["run", "none"], 4, "upkeep list");
    expect(&["show", "01ZZZZZZZZ"], 4, "upkeep history");
    expect(&["logs", "01ZZZZZZZZ"], 4, "upkeep history");
    expect(&["run", "noop", "--standalone"], 5, &daemon.pid().to_string());
    let last = site.run("noop");
    expect(&["logs", last["id"].as_str().unwrap()], 0, "nothing to do");
    expect(&["logs", last["id"].as_str().unwrap(), "--follow"], 0, "nothing to do");
    expect(&["show", last["id"].as_str().unwrap()], 0, "succeeded");
    expect(&["list", "--json"], 0, "\"plugin\": \"fail\"");
    daemon.stop();

    // Something that is no daemon listens there.
    let _listener = UnixListener::bind(site.path("upkeep.sock")).map(|listener| {
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                use std::io::{Read, Write};
                let mut stream: std::os::unix::net::UnixStream = stream;
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n42");
            }
        })
    });
    expect(&["status"], 5, "same version");
}

#[test]
fn whoever_waits_for_a_run_learns_that_the_daemon_stopped() {
    let site = Site::new(&["sleep"]);
    site.settings("stop_deadline = \"200ms\"");
    site.task("nap", "plugin = \"sleep\"\nconfig.ms = 60000");
    let daemon = site.start();
    let waiting = site.command(&["run", "nap"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    eventually("the nap", || (site.api().get("/v1/status")["running"].as_array().unwrap().len() == 1).then_some(()));
    daemon.stop();
    let output = waiting.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code == 1 || code == 3), "{output:?}");
    assert!(
        said.contains("resumed at the next start") || said.contains("goes on"),
        "it says what becomes of the run: {said}"
    );
}
