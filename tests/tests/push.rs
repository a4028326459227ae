//! Messages: by the command line and the API into the outbox, and out of it by a task that they start.

use std::io::Write;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use upkeep_tests::{Site, eventually, within};

/// A task that delivers what comes in for a channel, and the daemon's site.
fn site(config: &str) -> Site {
    let site = Site::new(&["outbox"]);
    let grant = "[grant.outbox]\naccess = [\"enqueue\", \"deliver\"]\n";
    site.task("deliver", &format!("plugin = \"outbox\"\nschedule.outbox = true\nconfig = {{ {config} }}\n{grant}"));
    site
}

fn state(site: &Site, id: &str) -> String {
    let message = site.api().get(&format!("/v1/push/{id}"));
    message["message"]["state"].as_str().unwrap_or_default().to_owned()
}

#[track_caller]
fn send(site: &Site, args: &[&str]) -> String {
    let sent = site.cli(&[&["push", "send", "--json"], args].concat());
    assert_eq!(sent.code, 0, "{sent:?}");
    sent.json()["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_message_starts_the_task_that_delivers_it() {
    let site = site("channel = \"mail\", claim = 10");
    let _daemon = site.start();
    sleep(Duration::from_millis(500));
    assert!(site.runs("deliver").is_empty(), "there was nothing to deliver");
    let id = send(&site, &["--channel", "mail", "hello"]);
    eventually("its delivery", || (state(&site, &id) == "sent").then_some(()));
    let run = eventually("the end of the run", || site.runs("deliver").pop().filter(|run| run["phase"] == "done"));
    assert_eq!((&run["trigger"], &run["outcome"]["outcome"]), (&"outbox".into(), &"succeeded".into()), "{run}");
    assert_eq!(site.runs("deliver").len(), 1);

    // One that waits starts it when its time has come, and not before.
    let later = send(&site, &["--channel", "mail", "--at", "2s", "good morning"]);
    sleep(Duration::from_millis(1_000));
    assert_eq!((state(&site, &later), site.runs("deliver").len()), ("waiting".to_owned(), 1));
    eventually("its delivery", || (state(&site, &later) == "sent").then_some(()));
    let shown = site.api().get(&format!("/v1/push/{later}"));
    let (due, sent) = (shown["message"]["not_before"].as_i64().unwrap(), shown["attempts"][0]["at"].as_i64().unwrap());
    assert!((0..1_500).contains(&(sent - due)), "{shown}");

    // What comes in while it runs does not start another beside it.
    for number in 0..30 {
        site.api().ask(
            "POST",
            "/v1/push",
            &json!({"channels": ["mail"], "content": {"text": format!("{number}")}}).to_string(),
        );
    }
    eventually("all of them", || {
        (site.api().get("/v1/push?state=sent&limit=1000")["messages"].as_array().unwrap().len() == 32).then_some(())
    });
    let runs = eventually("the end of the runs", || {
        Some(site.runs("deliver")).filter(|runs| runs.iter().all(|run| run["phase"] == "done"))
    });
    let mut spans: Vec<_> =
        runs.iter().map(|run| (run["started"].as_i64().unwrap(), run["ended"].as_i64().unwrap())).collect();
    spans.sort_unstable();
    assert!(spans.windows(2).all(|pair| pair[1].0 >= pair[0].1 - 50), "at most one at a time: {spans:?}");
}

#[test]
fn what_nobody_delivers_holds_up_nothing_and_wakes_nobody() {
    let site = site("channel = \"mail\", claim = 10");
    let _daemon = site.start();
    let stuck = send(&site, &["--channel", "nobody", "hello?"]);
    eventually("a run that finds nothing", || (!site.runs("deliver").is_empty()).then_some(()));
    sleep(Duration::from_secs(4));
    let idle = site.runs("deliver").len();
    assert!((2..=4).contains(&idle), "after 1, 2 and 4 seconds: {idle}");
    let id = send(&site, &["--channel", "mail", "hello"]);
    within(Duration::from_secs(2), "a delivery in time", || (state(&site, &id) == "sent").then_some(()));
    let later = send(&site, &["--channel", "mail", "--at", "1500ms", "hello"]);
    within(Duration::from_millis(3_500), "a delivery in time", || (state(&site, &later) == "sent").then_some(()));
    assert_eq!(state(&site, &stuck), "waiting");
    let expiring = send(&site, &["--channel", "nobody", "--expires", "1s", "too late"]);
    eventually("its end", || (state(&site, &expiring) == "expired").then_some(()));
}

#[test]
fn a_daemon_that_is_killed_while_it_delivers_loses_nothing() {
    let site = site("channel = \"mail\", claim = 20, lease_ms = 4000, sleep_ms = 300");
    let daemon = site.start();
    let ids: Vec<String> =
        (0..60).map(|number| site.api().push(&["mail"], &json!({"text": format!("{number}")}))).collect();
    eventually("some that are claimed", || {
        (site.journal().number("SELECT count(*) FROM outbox_message WHERE state = 'claimed'") > 0).then_some(())
    });
    daemon.kill();
    let claimed = site.journal().number("SELECT count(*) FROM outbox_message WHERE state = 'claimed'");
    let _daemon = site.start();
    within(Duration::from_secs(30), "all of them", || {
        (site.journal().number("SELECT count(*) FROM outbox_message WHERE state = 'sent'") == 60).then_some(())
    });
    let lost = site.journal().number("SELECT count(*) FROM outbox_attempt WHERE outcome = 'lost'");
    assert_eq!(lost, claimed, "each that was claimed was claimed again");
    assert!(ids.iter().all(|id| state(&site, id) == "sent"));
    assert_eq!(site.journal().number("SELECT count(*) FROM outbox_attempt WHERE outcome = 'sent'"), 60);
}

#[test]
fn people_see_what_became_of_messages() {
    let site = Site::new(&["noop"]);
    site.task("noop", "plugin = \"noop\"");
    let _daemon = site.start();
    let mut command =
        site.command(&["push", "send", "--channel", "wecom,mail", "--title", "web-1", "--key", "disk", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all("The **disk** is full\n".as_bytes()).unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.starts_with("Enqueued 01") && said.trim_end().ends_with("for wecom, then mail"), "{said}");
    let id = said.split(' ').nth(1).unwrap().to_owned();

    let again = site.cli(&[
        "push",
        "send",
        "--channel",
        "wecom,mail",
        "--title",
        "web-1",
        "--key",
        "disk",
        "The **disk** is full",
    ]);
    assert_eq!(again.stdout, format!("Known already, nothing was changed: {id}\n"), "{again:?}");
    let other = site.cli(&["push", "send", "--channel", "wecom,mail", "--key", "disk", "another"]);
    assert!(other.code == 2 && other.stderr.contains(&id), "{other:?}");
    let wrong = site.cli(&["push", "send", "--channel", "We Com", "x"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("cannot be the name of a channel"), "{wrong:?}");

    let list = site.cli(&["push", "list", "--channel", "wecom", "--state", "waiting"]);
    assert!(list.code == 0 && list.stdout.contains("web-1") && list.stdout.contains("wecom"), "{list:?}");
    assert_eq!(
        site.cli(&["push", "list", "--state", "dead"]).stdout.lines().next(),
        Some("There are no such messages.")
    );
    let json = site.cli(&["push", "list", "--json"]).json();
    assert_eq!((&json["messages"][0]["origin"], &json["channels"][0]["due"]), (&"cli".into(), &1.into()), "{json}");
    let show = site.cli(&["push", "show", &id]);
    assert!(show.code == 0 && show.stdout.contains("[wecom], mail") && show.stdout.contains("**disk**"), "{show:?}");
    let missing = site.cli(&["push", "show", "01ZZZZ"]);
    assert!(missing.code == 4 && missing.stderr.contains("upkeep push list"), "{missing:?}");
    let resend = site.cli(&["push", "resend", &id]);
    assert!(resend.code == 2 && resend.stderr.contains("is waiting"), "{resend:?}");
    assert_eq!(site.cli(&["push", "resend", "--dead"]).stdout, "There are no such messages.\n");

    rusqlite::Connection::open(site.state().join("upkeep.db"))
        .unwrap()
        .execute("UPDATE outbox_message SET state = 'dead', ended = 5, position = 1, channel = 'mail'", [])
        .unwrap();
    assert_eq!(site.cli(&["push", "resend", "--dead", "--channel", "wecom"]).stdout, "There are no such messages.\n");
    assert_eq!(site.cli(&["push", "resend", "--dead"]).stdout, "1 message waits again.\n");
    let shown: Value = site.cli(&["push", "show", "--json", &id]).json();
    assert_eq!((&shown["message"]["state"], &shown["message"]["position"]), (&"waiting".into(), &0.into()), "{shown}");
    let dropped = site.cli(&["push", "drop", &id]);
    assert_eq!(dropped.stdout, format!("Dropped: {id} web-1\n"), "{dropped:?}");
    assert_eq!(site.cli(&["push", "show", &id]).code, 4);
}
