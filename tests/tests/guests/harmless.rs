//! What guests must come to that do what they should, or fail at it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use upkeep_tests::{Site, within};

use super::stage::*;

pub(super) fn noop() {
    assert_eq!(ends("noop", "")["outcome"], "succeeded");
}

pub(super) fn echo_steps() {
    let (site, _daemon) = site("echo-steps", "config = { steps = 20, sleep_ms = 5 }\ngrant.state = true\nparallel = 4");
    let run = run(&site, "echo-steps");
    assert_eq!(run["outcome"]["outcome"], "succeeded", "{run}");
    assert_eq!(run["report"]["summary"], "20 of 20 steps done, 0 of them not for the first time");
    assert_eq!(
        site.journal().number("SELECT count(*) FROM state WHERE task = 'echo-steps' AND CAST(value AS TEXT) = '1'"),
        20
    );
}

pub(super) fn spin() {
    let site = Site::new(&["spin", "noop"]);
    site.task("spin", "plugin = \"spin\"\ntimeout = \"3s\"\nschedule.overlap = \"allow\"");
    site.task("bystander", "plugin = \"noop\"");
    let _daemon = site.start();
    // More of them than there are threads for guests.
    let others: Vec<_> = (0..4).map(|_| site.api().run("spin")).collect();
    let last = run(&site, "spin");
    assert_eq!(last["outcome"]["outcome"], "timed-out", "{last}");
    let took = last["ended"].as_i64().unwrap() - last["started"].as_i64().unwrap();
    assert!((2_900..6_000).contains(&took), "3 s were allowed, it took {took} ms");
    assert!(site.runs("bystander")[0]["ended"].as_i64() < last["ended"].as_i64(), "others end meanwhile");
    others.iter().for_each(|run| assert_eq!(site.ended(run)["outcome"]["outcome"], "timed-out"));
}

pub(super) fn sleep() {
    let (site, _daemon) = site("sleep", "timeout = \"2s\"");
    let run = run(&site, "sleep");
    assert_eq!(run["outcome"]["outcome"], "timed-out", "{run}");
    let took = run["ended"].as_i64().unwrap() - run["started"].as_i64().unwrap();
    assert!((1_900..4_000).contains(&took), "2 s were allowed, it took {took} ms");
    assert!(site.runs("bystander")[0]["ended"].as_i64() < run["ended"].as_i64(), "others end meanwhile");
}

pub(super) fn grow_memory() {
    exceeds("grow-memory", "limits.memory = \"32 MiB\"", "memory");
}

pub(super) fn many_memories() {
    // One memory alone is within the limit.
    exceeds("many-memories", "limits.memory = \"64 MiB\"", "memory");
}

pub(super) fn recurse() {
    exceeds("recurse", "", "stack");
}

/// Mails of others, to others, with headers of the guest's own, too many and too large: none of them leaves.
pub(super) fn smtp() {
    let site = Site::new(&["smtp", "noop"]);
    let (port, heard) = taking_mail();
    let mail = |server: &str, from: &str, to: &str, subject: &str, more: &str| {
        format!(
            "[[config.mails]]\nserver = \"{server}\"\nfrom = \"{from}\"\nto = [\"{to}\"]\nsubject = \"{subject}\"\n\
             text = \"text\"\n{more}\n"
        )
    };
    let (own, ops) = ("upkeep@example.org", "ops@example.org");
    let ends = "x\\r\\n.\\r\\nMAIL FROM:<evil@evil.test>";
    let mails = [
        (mail("main", own, ops, "fine", ""), "accepted: 250 taken"),
        (mail("other", own, ops, "evil", ""), "`grant.smtp.other`"),
        (mail("main", "root@example.org", ops, "evil", ""), "`grant.smtp.main.from`"),
        (mail("main", "upkeep@example.org.evil.test", ops, "evil", ""), "`grant.smtp.main.from`"),
        (mail("main", own, "evil@evil.test", "evil", ""), "`grant.smtp.main.to`"),
        (mail("main", own, "ops@example.org\", \"evil@evil.test", "evil", ""), "`grant.smtp.main.to`"),
        (mail("main", own, "ops@example.org, evil@evil.test", "evil", ""), "is no address"),
        (mail("main", own, "ops@example.org>\\r\\nRCPT TO:<evil@evil.test", "evil", ""), "is no address"),
        (mail("main", "upkeep@example.org> BODY=8BITMIME", ops, "evil", ""), "is no address"),
        (mail("main", own, ops, "evil\\r\\nBcc: evil@evil.test", ""), "`subject`: a control character"),
        (mail("main", own, ops, "evil\\nBcc: evil@evil.test", ""), "`subject`: a control character"),
        (mail("main", own, ops, "evil", "name = \"x\\r\\nBcc: evil@evil.test\""), "`from.name`: a control character"),
        (mail("main", own, ops, "evil", "more = 5000"), "grant.smtp.main.max_message"),
        (mail("main", own, ops, "fine", "").replace("\"text\"", &format!("\"{ends}\"")), "accepted: 250 taken"),
        (mail("main", own, ops, "fine", "times = 3"), "grant.smtp.main.max_messages"),
    ];
    let config: String = mails.iter().map(|(mail, _)| mail.as_str()).collect();
    let grant = format!(
        "[grant.smtp.main]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nfrom = [\"{own}\"]\n\
         to = [\"*@example.org\"]\nmax_message = \"4 KiB\"\nmax_messages = 4\n"
    );
    site.task("smtp", &format!("plugin = \"smtp\"\n{config}{grant}"));
    site.task("bystander", "plugin = \"noop\"");
    let _daemon = site.start();
    let run = run(&site, "smtp");
    assert_eq!(run["outcome"]["outcome"], "denied", "{run}");
    let traces = traces(&site, &run);
    for (at, (_, told)) in mails.iter().enumerate() {
        let line = traces.lines().find(|line| line.contains(&format!("attempt {at}: ")));
        assert!(line.is_some_and(|line| line.contains(told)), "{at} {told}: {line:?} {traces}");
    }
    let heard = heard.lock().unwrap().clone();
    let with = |start: &str| heard.iter().filter(|line| line.starts_with(start)).cloned().collect::<Vec<_>>();
    assert_eq!(with("MAIL"), vec![format!("MAIL FROM:<{own}>"); 4], "{heard:#?}");
    assert_eq!(with("RCPT"), vec![format!("RCPT TO:<{ops}>"); 4]);
    assert_eq!((with("EHLO").len(), with("DATA").len()), (with("QUIT").len(), 4));
    // What looks like the end of a mail is a line of it.
    assert!(heard.contains(&"| ..".to_owned()), "{heard:#?}");
    assert!(!heard.iter().any(|line| line.contains("Bcc")), "{heard:#?}");
    let rows = site.cli(&["egress", "smtp", "--json", "-n", "100"]).json();
    let rows = rows["requests"].as_array().unwrap();
    let with = |result: &str| rows.iter().filter(|it| it["result"] == result).count();
    assert_eq!((with("denied"), with("answered"), rows.len()), (4, 4, 8), "{rows:#?}");
    assert!(!serde_json::to_string(rows).unwrap().contains("fine"), "a subject is in the ledger");
}

pub(super) fn outbox() {
    let grant = "[grant.outbox]\naccess = [\"enqueue\", \"deliver\"]\n";
    let (site, _daemon) =
        site("outbox", &format!("config = {{ enqueue = 7, channel = \"mail\", claim = 5 }}\n{grant}"));
    let first = run(&site, "outbox");
    assert_eq!(first["report"]["summary"], "7 new, 7 sent", "{first}");
    let again = run(&site, "outbox");
    assert_eq!(again["report"]["summary"], "0 new, 0 sent", "the keys are known: {again}");
    let journal = site.journal();
    assert_eq!(journal.number("SELECT count(*) FROM outbox_message WHERE state = 'sent' AND origin = 'outbox'"), 7);
    assert_eq!(journal.number("SELECT count(*) FROM outbox_attempt WHERE outcome = 'sent'"), 7);
}

pub(super) fn consents() {
    let config = "config = { account = \"wx1\", template = \"paid\", user = \"oA1\", messages = [\"a\", \"b\"] }";
    let (site, _daemon) = site("consents", &format!("{config}\n[grant.consents]\naccounts = [\"wx1\"]\n"));
    let run = run(&site, "consents");
    assert_eq!(run["report"]["summary"], "a: Unknown; b: Unknown; unknown", "nobody tells of any: {run}");
}

pub(super) fn open_handles() {
    let site = Site::new(&["open-handles", "noop"]);
    root(&site);
    let grant = grant(&site, r#"["read"]"#);
    site.task("open-handles", &format!("plugin = \"open-handles\"\nconfig.root = \"data\"\n{grant}"));
    site.task("bystander", "plugin = \"noop\"");
    let _daemon = site.start();
    let outcome = run(&site, "open-handles")["outcome"].take();
    assert_eq!((&outcome["outcome"], &outcome["limit"]), (&"limit-exceeded".into(), &"handles".into()), "{outcome}");
}

pub(super) fn flood_log() {
    let (site, _daemon) = site("flood-log", "limits.log = \"1 MiB\"\nconfig = { records = 100000, bytes = 1000 }");
    let run = run(&site, "flood-log");
    assert_eq!(run["outcome"]["outcome"], "succeeded", "{run}");
    let journal = site.journal();
    let of = format!("FROM logs WHERE run = '{}'", run["id"].as_str().unwrap());
    let kept = journal.number(&format!("SELECT count(*) {of} AND message LIKE 'xxx%'"));
    let bytes = journal.number(&format!("SELECT sum(length(message)) {of} AND message LIKE 'xxx%'"));
    assert!(kept > 0 && bytes <= 1 << 20, "{kept} records with {bytes} bytes");
    let said = format!("{} log records were dropped", 100_000 - kept);
    assert_eq!(journal.number(&format!("SELECT count(*) {of} AND message LIKE '{said}%'")), 1, "{said}");
}

pub(super) fn panic() {
    let (site, _daemon) = site("panic", "");
    let run = run(&site, "panic");
    assert_eq!(run["outcome"]["outcome"], "trapped", "{run}");
    let logs = site.logs(run["id"].as_str().unwrap());
    assert!(logs.contains("the task panic lost its head"), "{logs}");
}

pub(super) fn fail() {
    let plugin = "plugin = \"fail\"\nretry = { attempts = 2, backoff = \"200ms\" }";
    let site = Site::new(&["fail"]);
    for call in ["plan", "execute", "finish"] {
        for kind in ["config", "transient", "permanent"] {
            let name = format!("{kind}-{call}");
            site.task(&name, &format!("{plugin}\nconfig = {{ kind = \"{kind}\", at = \"{call}\" }}"));
        }
    }
    site.task("recovers", &format!("{plugin}\nconfig = {{ kind = \"transient\", succeed_at = 3 }}"));
    let _daemon = site.start();
    for call in ["plan", "execute", "finish"] {
        for (kind, attempts) in [("config", 1), ("permanent", 1), ("transient", 3)] {
            let task = format!("{kind}-{call}");
            let first = site.run(&task);
            assert_eq!(first["outcome"]["outcome"], "failed", "{first}");
            assert_eq!(first["outcome"]["failure"], kind, "{first}");
            assert!(first["outcome"]["message"].as_str().unwrap().ends_with("failing as told, attempt 1"), "{first}");
            let all = within(Duration::from_secs(10), "the last attempt", || {
                let runs = site.runs(&task);
                (runs.len() == attempts && runs.iter().all(|run| run["phase"] == "done")).then_some(runs)
            });
            for (run, attempt) in all.iter().zip(1..) {
                assert_eq!((&run["attempt"], &run["outcome"]["failure"]), (&attempt.into(), &kind.into()), "{run}");
            }
        }
    }
    site.run("recovers");
    let last = within(Duration::from_secs(10), "an attempt that succeeds", || {
        site.runs("recovers").pop().filter(|run| run["outcome"]["outcome"] == "succeeded")
    });
    assert_eq!(last["attempt"], 3);
}

pub(super) fn asks() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let port = answering(move |line| seen.lock().unwrap().push(line.to_owned()));
    let grant = format!("[grant.http]\nallow = [\"http://127.0.0.1:{port}/\"]\nnetworks = [\"127.0.0.1\"]\n");
    let config = format!("config = {{ url = \"http://127.0.0.1:{port}/x\", steps = 3, times = 2 }}\n");
    let run = ends("asks", &format!("{config}{grant}"));
    assert_eq!(run["outcome"], "succeeded", "{run}");
    assert_eq!(*asked.lock().unwrap(), ["GET /x HTTP/1.1"; 6]);
}

pub(super) fn ungranted() {
    let site = Site::new(&["ungranted", "noop"]);
    root(&site);
    site.task("ungranted", "plugin = \"ungranted\"\nconfig.root = \"other\"");
    let refused = site.cli(&["check"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let said = format!("{}{}", refused.stdout, refused.stderr);
    for word in ["tasks.d/ungranted.toml", "grant.files", "a test of the host's borders"] {
        assert!(said.contains(word), "`{word}` is missing: {said}");
    }

    // What the config names is not what is granted: that is known only when the guest asks.
    let grant = grant(&site, r#"["read"]"#);
    site.task("ungranted", &format!("plugin = \"ungranted\"\nconfig.root = \"other\"\n{grant}"));
    site.task("bystander", "plugin = \"noop\"");
    let _daemon = site.start();
    let run = run(&site, "ungranted");
    assert_eq!(run["outcome"]["outcome"], "denied", "{run}");
    assert!(run["outcome"]["message"].as_str().unwrap().contains("grant.files.other"), "{run}");
}
