//! What an operator reads: an alert in the night and the digest in the morning, all the way from real tasks through the outbox and the
//! plugin `push` to the robot of a chat.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use upkeep_tests::fake::Fake;
use upkeep_tests::{Site, eventually};

fn secret(site: &Site, name: &str, value: &str) -> PathBuf {
    let path = site.path(name);
    fs::write(&path, value).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A site that backs up, scans, counts and delivers, and has a task that fails.
fn site(fake: &Fake) -> Site {
    let site = Site::new(&["fail"]);
    ["push", "backup", "security-scan", "stats-rollup"].iter().for_each(|plugin| site.shipped(plugin));
    site.settings(
        "timezone = \"UTC\"\n[alerts]\nchannels = [\"ops\"]\ngroup = \"500ms\"\n\
         [alerts.digest]\nat = \"00:00\"\nchannels = [\"ops\"]\n",
    );
    let base = fake.url("");
    let (robot, password) = (secret(&site, "robot", "wecom-693a91f6"), secret(&site, "password", "a long password"));
    site.task(
        "push",
        &format!(
            "plugin = \"push\"\nschedule.outbox = true\n[config.channels.ops]\nwecom = {{ key = \"robot\", base = \"{base}\" }}\n\
             [grant]\nstate = true\nmetrics = true\n[grant.outbox]\naccess = [\"deliver\"]\n\
             [grant.http]\nallow = [\"{base}/\"]\nnetworks = [\"127.0.0.0/8\"]\n\
             [grant.secrets.robot]\nfile = {robot:?}\nhosts = [\"{base}\"]\n"
        ),
    );
    fs::create_dir_all(site.path("app/config")).unwrap();
    fs::create_dir_all(site.path("logs")).unwrap();
    fs::write(site.path("app/order"), "coffee").unwrap();
    // In parts, so that nobody who scans this finds it.
    let leaked = ["Mall", "@88", "42kq", "Zt"].concat();
    fs::write(site.path("app/config/application.properties"), format!("spring.datasource.password={leaked}\n"))
        .unwrap();
    site.task(
        "save",
        &format!(
            "plugin = \"backup\"\n[config]\nrepository = \"main\"\ndirectories = [{{ root = \"app\" }}]\n\
             [grant]\nstate = true\nmetrics = true\n[grant.files.app]\npath = {:?}\n\
             [grant.repository.main]\nurl = {:?}\npassword = {{ file = {password:?} }}\n",
            site.path("app"),
            site.path("repository")
        ),
    );
    site.task(
        "scan",
        &format!(
            "plugin = \"security-scan\"\n[[config.secrets.folders]]\nroot = \"app\"\n\
             [grant]\nmetrics = true\n[grant.files.app]\npath = {:?}\n",
            site.path("app")
        ),
    );
    site.task(
        "count",
        &format!(
            "plugin = \"stats-rollup\"\n[[config.sources]]\nname = \"shop\"\nroot = \"logs\"\nformat = \"json\"\n\
             [grant]\nmetrics = true\n[grant.sql.private]\naccess = [\"write\"]\n[grant.files.logs]\npath = {:?}\n",
            site.path("logs")
        ),
    );
    site.task("job", "plugin = \"fail\"\nconfig = { kind = \"permanent\" }\n");
    site
}

/// A day, as `date` writes it.
fn day(which: &str) -> String {
    let date = Command::new("date").args(["-u", "-d", which, "+%F"]).output().expect("date is there");
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

fn log(requests: usize) -> String {
    let (mut lines, yesterday) = (String::new(), day("yesterday"));
    for number in 0..requests {
        let status = if number % 50 == 0 { 502 } else { 200 };
        writeln!(
            lines,
            "{{\"time\":\"{yesterday}T12:00:{:02}+00:00\",\"remote_addr\":\"198.51.100.{}\",\"request\":\"GET /order HTTP/1.1\",\
             \"status\":\"{status}\",\"body_bytes_sent\":\"12\",\"request_time\":\"0.020\",\
             \"http_user_agent\":\"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\"}}",
            number % 60,
            number % 7
        )
        .unwrap();
    }
    lines
}

#[test]
fn an_alert_in_the_night_and_a_digest_in_the_morning() {
    let fake = Fake::start();
    let robot = fake.wecom.robot("wecom-693a91f6");
    let site = site(&fake);
    fs::write(site.path("logs/access.log"), log(200)).unwrap();
    let daemon = site.start();
    for (task, expected) in [("save", "succeeded"), ("scan", "succeeded"), ("count", "succeeded"), ("job", "failed")] {
        let run = site.run(task);
        assert_eq!(run["outcome"]["outcome"], expected, "{run}");
    }
    let told = |what: &str| {
        eventually(what, || robot.keys().into_keys().find(|text| text.contains(what)));
    };
    told("Task job failed");
    told("application.properties");
    daemon.kill();

    // The day before had its digest; this one comes as soon as somebody can send it.
    let yesterday = (upkeep_tests::now() - 26 * 3_600) * 1_000;
    let journal = rusqlite::Connection::open(site.state().join("upkeep.db")).unwrap();
    journal.execute("INSERT INTO digests (at, facts) VALUES (?1, '{}')", [yesterday]).unwrap();
    drop(journal);
    let _daemon = site.start();
    told("things need a look");
    let digest = robot.keys().into_keys().find(|text| text.contains("things need a look")).unwrap();
    println!("{digest}");
    for part in [
        "Task job failed",
        "**Runs** ",
        "- job: 1 failed",
        "**Backups**\n- save: saved ",
        "2 files, ",
        "**Disks**\n- ",
        "**Findings** ",
        &format!("**Traffic** of {}", day("yesterday")),
        "- shop: 200 requests, 7 visitors, 4 errors (5xx), p95 ",
    ] {
        assert!(digest.contains(part), "{part} is not in {digest}");
    }
}
