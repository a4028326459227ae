//! What upkeep itself reports, with the real daemon: told once, told when it is over, and not lost by a kill.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use upkeep_tests::{Site, eventually};

const FAILS: &str = "plugin = \"fail\"\nconfig = { kind = \"permanent\" }\n";
const SUCCEEDS: &str = "plugin = \"noop\"\n";

/// A site on which alerts wait for others for half a second, with more of `[alerts]`.
fn site(more: &str) -> Site {
    let site = Site::new(&["fail", "noop", "sleep", "outbox"]);
    alerts(&site, more);
    site.task("job", FAILS);
    site
}

fn alerts(site: &Site, more: &str) {
    site.settings(&format!("[alerts]\nchannels = [\"wecom\", \"mail\"]\ngroup = \"500ms\"\n{more}"));
}

/// The messages of upkeep itself, oldest first.
fn told(site: &Site) -> Vec<Value> {
    let mut answer = site.api().get("/v1/push?limit=1000");
    let mut messages: Vec<Value> = serde_json::from_value(answer["messages"].take()).unwrap();
    messages.retain(|message| message["origin"] == "upkeep");
    messages.reverse();
    messages
}

/// Their titles, without the name of the machine.
fn titles(site: &Site) -> Vec<String> {
    let title = |message: &Value| message["content"]["title"].as_str().unwrap().split_once("] ").unwrap().1.to_owned();
    told(site).iter().map(title).collect()
}

#[track_caller]
fn told_so_many(site: &Site, many: usize) -> Vec<String> {
    eventually(&format!("{many} messages"), || Some(titles(site)).filter(|titles| titles.len() >= many))
}

fn reload(site: &Site) {
    let reloaded = site.cli(&["reload"]);
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
}

#[test]
fn a_task_that_fails_is_told_once_and_when_it_succeeds_again() {
    let site = site("");
    let _daemon = site.start();
    let failed = site.run("job");
    told_so_many(&site, 1);
    let message = &told(&site)[0];
    assert_eq!(message["channels"], serde_json::json!(["wecom", "mail"]));
    assert_eq!((&message["content"]["level"], &message["priority"]), (&"error".into(), &"high".into()), "{message}");
    let key = message["key"].as_str().unwrap();
    assert!(key.starts_with("task/job@") && key.ends_with("/opened/wecom,mail"), "{key}");
    let text = message["content"]["text"].as_str().unwrap();
    let run = failed["id"].as_str().unwrap();
    assert!(text.contains("failing as told") && text.contains(run) && text.contains("`upkeep ack task/job`"), "{text}");

    let list = site.cli(&["alerts"]);
    assert!(list.stdout.contains("Task job failed") && list.stdout.contains("task/job"), "{list:?}");
    site.run("job");
    site.run("job");
    sleep(Duration::from_millis(1_500));
    assert_eq!(titles(&site), ["Task job failed"], "a second failure is not told");
    assert_eq!(site.cli(&["alerts", "--json"]).json()["alerts"][0]["times"], 3);

    site.task("job", SUCCEEDS);
    reload(&site);
    site.run("job");
    let titles = told_so_many(&site, 2);
    assert!(titles[1].starts_with("Resolved: Task job failed, after "), "{titles:?}");
    assert_eq!(site.cli(&["alerts"]).stdout, "No alert is open.\n");

    // A dry run and a run that a person ends say nothing.
    site.task("job", "plugin = \"sleep\"\n");
    reload(&site);
    let run = site.api().run("job");
    eventually("a run", || (site.cli(&["cancel", &run]).code == 0).then_some(()));
    site.ended(&run);
    sleep(Duration::from_secs(1));
    assert_eq!(told(&site).len(), 2);
}

#[test]
fn a_kill_neither_loses_an_alert_nor_tells_it_twice() {
    let site = site("");
    for round in 0..6 {
        let daemon = site.start();
        let run = site.api().run("job");
        site.ended(&run);
        // From before the alert is recorded until after it was told.
        sleep(Duration::from_millis(150 * round));
        daemon.kill();
    }
    let daemon = site.start();
    told_so_many(&site, 1);
    sleep(Duration::from_millis(1_500));
    assert_eq!(titles(&site), ["Task job failed"]);
    site.task("job", SUCCEEDS);
    reload(&site);
    let run = site.api().run("job");
    site.ended(&run);
    daemon.kill();
    let _daemon = site.start();
    let titles = told_so_many(&site, 2);
    assert!(titles.len() == 2 && titles[1].starts_with("Resolved: "), "{titles:?}");
}

#[test]
fn an_acknowledgement_ends_the_escalation() {
    let escalate = "[[alerts.escalate]]\nafter = \"5s\"\nchannels = [\"phone\"]\n";
    let site = site(escalate);
    site.task("other", FAILS);
    let _daemon = site.start();
    site.run("job");
    site.run("other");
    told_so_many(&site, 1);
    let ack = site.cli(&["ack", "task/job", "--note", "on it"]);
    assert_eq!((ack.code, &*ack.stdout), (0, "Acknowledged until it is over: Task job failed (task/job)\n"), "{ack:?}");
    let escalated = eventually("the other one at the phone", || {
        told(&site).into_iter().find(|message| message["channels"] == serde_json::json!(["phone"]))
    });
    assert!(escalated["content"]["title"].as_str().unwrap().ends_with(": Task other failed"), "{escalated}");
    let list = site.cli(&["alerts"]);
    assert!(list.stdout.contains("by uid ") && list.stdout.contains("on it"), "{list:?}");

    let missing = site.cli(&["ack", "task/none"]);
    assert!(missing.code == 4 && missing.stderr.contains("upkeep alerts"), "{missing:?}");
    let several = site.cli(&["ack", "task/"]);
    assert!(several.code == 2 && several.stderr.contains("task/job, task/other"), "{several:?}");
    assert!(site.cli(&["ack", "--all", "--for", "4h"]).stdout.contains("for 4h: Task other failed (task/other)"));
    // When it is over, those hear it who heard of it.
    site.task("other", SUCCEEDS);
    reload(&site);
    site.run("other");
    eventually("the phone to be told", || {
        let phone = |message: &Value| message["channels"] == serde_json::json!(["phone"]);
        (told(&site).iter().filter(|message| phone(message)).count() == 2).then_some(())
    });

    let test = site.cli(&["alerts", "test"]);
    let lines: Vec<&str> = test.stdout.lines().collect();
    assert!(
        lines.len() == 4 && lines[0].ends_with(" for wecom, then mail") && lines[2].ends_with(" for phone"),
        "{test:?}"
    );
    assert!(test.code == 1 && lines[1].starts_with("  waits: no task delivers messages"), "{test:?}");
}

#[test]
fn maintenance_is_silent_and_what_is_still_wrong_is_told_afterwards() {
    let site = site("silence = [\"deploy\"]\nsilence_grace = \"1s\"");
    site.task("deploy", "plugin = \"sleep\"\nconfig = { ms = 3000 }\n");
    site.task("passes", FAILS);
    let _daemon = site.start();
    let deploy = site.api().run("deploy");
    eventually("the beginning of the deployment", || {
        (site.api().get(&format!("/v1/runs/{deploy}"))["phase"] == "executing").then_some(())
    });
    site.run("job");
    site.run("passes");
    site.task("passes", SUCCEEDS);
    reload(&site);
    site.run("passes");
    sleep(Duration::from_millis(1_200));
    assert!(told(&site).is_empty());
    let shown = site.cli(&["alerts"]);
    let why = "Nobody is told anything while this maintenance runs: deploy\n";
    assert!(shown.stdout.starts_with(why) && shown.stdout.contains("task/job"), "{shown:?}");
    let ended = site.ended(&deploy)["ended"].as_i64().unwrap();
    let titles = told_so_many(&site, 1);
    assert_eq!(titles, ["Task job failed"]);
    let after = told(&site)[0]["created"].as_i64().unwrap() - ended;
    assert!((900..3_000).contains(&after), "{after} ms after the end");
}

#[test]
fn a_configuration_that_cannot_be_used_and_a_task_that_does_not_come_are_told() {
    let site = site("");
    site.task("job", "plugin = \"noop\"\n[alerts]\noverdue = \"1m\"\nlevel = \"critical\"\nchannels = [\"dba\"]\n");
    let _daemon = site.start();
    site.task("broken", "plugin = \"nothing\"\n");
    let titles = told_so_many(&site, 1);
    assert!(titles[0].starts_with("The configuration is not valid"), "{titles:?}");
    let text = told(&site)[0]["content"]["text"].to_string();
    assert!(text.contains("nothing") && text.contains("upkeep check"), "{text}");
    std::fs::remove_file(site.task_file("broken")).unwrap();
    let titles = told_so_many(&site, 2);
    assert!(titles[1].starts_with("Resolved: The configuration"), "{titles:?}");

    let titles = upkeep_tests::within(Duration::from_secs(90), "the task to be missed", || {
        Some(self::titles(&site)).filter(|titles| titles.len() > 2)
    });
    assert_eq!(titles[2], "Task job is overdue");
    let message = &told(&site)[2];
    assert_eq!((&message["channels"][0], &message["priority"]), (&"dba".into(), &"urgent".into()), "{message}");
    site.run("job");
    assert!(told_so_many(&site, 4)[3].starts_with("Resolved: Task job is overdue"));
}

#[test]
fn dead_messages_that_matter_are_told_and_those_of_upkeep_itself_are_not() {
    let site = site("");
    let _daemon = site.start();
    for (level, key) in [("info", "a"), ("error", "b")] {
        let sent = site.cli(&["push", "send", "--channel", "sms", "--level", level, "--key", key, "hello"]);
        assert_eq!(sent.code, 0, "{sent:?}");
    }
    let kill = |origin: &str| {
        let journal = rusqlite::Connection::open(site.state().join("upkeep.db")).unwrap();
        journal.busy_timeout(Duration::from_secs(10)).unwrap();
        let sql = "UPDATE outbox_message SET state = 'dead', ended = 5, reason = 'no such number' WHERE origin = ?1";
        assert!(journal.execute(sql, [origin]).unwrap() > 0);
    };
    kill("cli");
    // The daemon learns of what is dead when the outbox changes.
    assert_eq!(site.cli(&["push", "send", "--channel", "sms", "--at", "1h", "later"]).code, 0);
    let titles = told_so_many(&site, 1);
    assert_eq!(titles, ["1 message could not be delivered, sms was tried last"]);
    assert!(told(&site)[0]["content"]["text"].to_string().contains("no such number"));
    // That this very message is dead, too, is told to nobody: it could go on for ever.
    kill("upkeep");
    assert_eq!(site.cli(&["push", "send", "--channel", "sms", "--at", "1h", "later still"]).code, 0);
    sleep(Duration::from_secs(3));
    assert_eq!(told(&site).len(), 1);
    assert_eq!(site.cli(&["alerts", "--json"]).json()["alerts"].as_array().unwrap().len(), 1);
    assert_eq!(site.cli(&["push", "resend", "--dead"]).code, 0);
    let titles = eventually("the end of it", || Some(self::titles(&site)).filter(|titles| titles.len() >= 2));
    assert!(titles[1].starts_with("Resolved: 1 message could not be delivered"), "{titles:?}");
}

#[test]
fn nobody_is_told_anything_unless_it_is_configured() {
    let site = site("");
    site.settings("");
    let _daemon = site.start();
    site.run("job");
    sleep(Duration::from_secs(1));
    assert!(told(&site).is_empty());
    let list = site.cli(&["alerts"]);
    assert!(list.code == 0 && list.stdout.starts_with("Nobody is told of alerts"), "{list:?}");
    // From then on it is, also what was wrong before.
    alerts(&site, "");
    reload(&site);
    assert_eq!(told_so_many(&site, 1), ["Task job failed"]);
}

#[test]
fn once_a_day_it_is_told_how_things_are() {
    let site = site("resolved = false\n[alerts.digest]\nat = \"00:00\"\nchannels = [\"ops\"]\n");
    site.task("other", SUCCEEDS);
    let daemon = site.start();
    site.run("job");
    (0..3).for_each(|_| drop(site.run("other")));
    told_so_many(&site, 1);
    let digest = site.cli(&["digest", "--all"]);
    let lines: Vec<&str> = digest.stdout.lines().collect();
    assert!(digest.code == 0 && lines[0].starts_with("**1 thing needs a look** on "), "{digest:?}");
    assert!(lines[2].starts_with("- Task job failed, since "), "{digest:?}");
    assert!(lines.contains(&"**Runs** 3 succeeded, 1 failed") && lines.contains(&"- job: 1 failed"), "{digest:?}");
    assert!(lines.iter().any(|line| line.starts_with("- other: 3 succeeded, ")), "{digest:?}");
    let json = site.cli(&["digest", "--since", "1ms", "--json"]).json();
    assert_eq!(json["verdict"], "1 thing needs a look");
    daemon.kill();

    // The daemon was not there when it was due: it is sent when it is back, and once.
    let yesterday = (upkeep_tests::now() - 26 * 3_600) * 1_000;
    let journal = rusqlite::Connection::open(site.state().join("upkeep.db")).unwrap();
    journal.execute("INSERT INTO digests (at, facts) VALUES (?1, '{}')", [yesterday]).unwrap();
    drop(journal);
    for _ in 0..3 {
        let daemon = site.start();
        eventually("the digest", || told(&site).into_iter().find(|message| message["channels"][0] == "ops"));
        sleep(Duration::from_millis(700));
        daemon.kill();
    }
    let _daemon = site.start();
    let digests: Vec<Value> = told(&site).into_iter().filter(|message| message["channels"][0] == "ops").collect();
    assert_eq!(digests.len(), 1, "{digests:?}");
    assert!(digests[0]["key"].as_str().unwrap().starts_with("digest/20"), "{digests:?}");
    let title = digests[0]["content"]["title"].as_str().unwrap();
    assert!(title.ends_with("] Digest: 1 thing needs a look"), "{title}");
    assert_eq!(site.journal().number("SELECT count(*) FROM digests"), 2);
}
