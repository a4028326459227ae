//! Databases of servers through the whole: the program, a task file, the plugin `backup`, and a real PostgreSQL.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use upkeep_tests::Site;

use crate::live::Live;

#[path = "databases/live.rs"]
#[expect(dead_code, reason = "the servers of the other tests serve here too, not all of them")]
mod live;

/// A site with the task `shop`, which saves what `databases` says of the server.
fn site(live: &Live, databases: &str) -> Site {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new(&[]);
    site.shipped("backup");
    std::fs::write(site.path("password"), "of the repository").unwrap();
    std::fs::set_permissions(site.path("password"), std::fs::Permissions::from_mode(0o600)).unwrap();
    write_task(&site, live, databases);
    site
}

fn write_task(site: &Site, live: &Live, databases: &str) {
    let task = format!(
        "plugin = \"backup\"\n[config]\nrepository = \"main\"\ndatabases = [\"shop\"]\n[grant]\nstate = true\nmetrics = true\n\
         [grant.dump.shop.postgresql]\nsocket = {:?}\nport = {}\nuser = \"boss\"\n{databases}\n\
         [grant.repository.main]\nurl = {:?}\npassword = {{ file = {:?} }}\n",
        live.folder.path(),
        live.port,
        site.path("repository"),
        site.path("password")
    );
    site.task("shop", &task);
}

/// Runs the task without a daemon, and gives the report.
fn run(site: &Site) -> (i32, Value) {
    let ran = site.cli(&["run", "shop", "--standalone", "--json"]);
    let report = ran.json();
    (ran.code, report)
}

fn findings(run: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let report = if run["report"].is_object() { &run["report"] } else { &run["run"]["report"] };
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    findings.iter().map(|it| (text(&it["key"]), text(&it["title"]), text(&it["detail"]))).collect()
}

#[test]
fn a_server_is_saved_and_what_is_empty_or_gone_is_a_finding() {
    if !live::have("a_server_is_saved_and_what_is_empty_or_gone_is_a_finding", live::POSTGRESQL) {
        return;
    }
    let live = Live::postgresql();
    live.psql("postgres", "CREATE DATABASE orders");
    live.psql("postgres", "CREATE DATABASE users");
    live.psql("orders", "CREATE TABLE o AS SELECT generate_series(1, 1000) AS n");
    live.psql("users", "CREATE TABLE u AS SELECT generate_series(1, 1000) AS n");
    let site = site(&live, "databases = [\"orders\", \"users\"]");
    let (code, report) = run(&site);
    assert_eq!((code, findings(&report)), (0, vec![]), "{report}");
    let listed = site.cli(&["backup", "list", "--json"]).stdout;
    assert!(listed.contains("/upkeep-dump/shop"), "{listed}");

    // The application lost its data.
    live.psql("users", "DROP TABLE u");
    let (code, report) = run(&site);
    let found = findings(&report);
    assert_eq!((code, found.len()), (0, 1), "{report}");
    assert_eq!((&found[0].0[..], &found[0].1[..]), ("empty/database/shop", "users of shop has become empty"));

    live.psql("postgres", "DROP DATABASE users");
    let (code, report) = run(&site);
    let found = findings(&report);
    assert_ne!(code, 0);
    assert_eq!((found.len(), &found[0].0[..]), (1, "failed/database/shop"), "{report}");
    assert!(found[0].2.contains("no database `users`") && found[0].2.contains("grant.dump.shop"), "{}", found[0].2);

    let restored = site.path("restored");
    let ran = site.cli(&["backup", "restore", "shop", "--target", restored.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for file in ["globals.sql", "orders.pgdump", "users.pgdump"] {
        assert!(restored.join("upkeep-dump/shop").join(file).is_file(), "{file}");
    }
}

/// Programs that dump from this server.
fn dumping(folder: &Path) -> Vec<u32> {
    let named = live::processes_naming(folder);
    let comm = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    named.into_iter().filter(|pid| comm(pid).trim() == "pg_dump").collect()
}

#[test]
fn what_dumps_dies_with_the_daemon() {
    if !live::have("what_dumps_dies_with_the_daemon", live::POSTGRESQL) {
        return;
    }
    let live = Live::postgresql();
    live.psql("postgres", "CREATE DATABASE orders");
    live.psql("orders", "CREATE TABLE o (x int)");
    // pg_dump waits for the lock, and writes nothing: no pipe that breaks would end it.
    let folder = live.folder.path().to_owned();
    let site = site(&live, "databases = [\"orders\"]");
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| {
            // It is ended below.
            live.try_psql("orders", "BEGIN; LOCK TABLE o IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600); COMMIT")
        });
        std::thread::sleep(Duration::from_millis(500));
        let mut command = site.command(&["run", "shop", "--standalone"]);
        let mut program = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = |what: &str, seconds: u64, wanted: &dyn Fn() -> bool| {
            let started = Instant::now();
            while !wanted() {
                assert!(started.elapsed() < Duration::from_secs(seconds), "{what}");
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        until("pg_dump did not start", 120, &|| !dumping(&folder).is_empty());
        program.kill().unwrap();
        program.wait().unwrap();
        until("pg_dump outlives the daemon", 5, &|| dumping(&folder).is_empty());
        live.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
        assert!(holder.join().unwrap().is_err(), "it held the lock until the end");
    });
    let (code, report) = run(&site);
    assert_eq!((code, findings(&report)), (0, vec![]), "{report}");
    let listed = site.cli(&["backup", "list", "--json"]).json();
    assert_eq!(listed.to_string().matches("/upkeep-dump/shop").count(), 1, "{listed}");
}

/// A folder of PostgreSQL's programs in which pg_dump is of another version.
fn old_tools(site: &Site, version: &str) {
    use std::os::unix::fs::PermissionsExt;
    let folder = site.path("tools");
    std::fs::create_dir(&folder).unwrap();
    let versions = std::fs::read_dir("/usr/lib/postgresql").unwrap().flatten();
    let real = versions.map(|it| it.path().join("bin")).find(|bin| bin.join("postgres").is_file()).unwrap();
    for program in ["psql", "pg_dumpall"] {
        std::os::unix::fs::symlink(real.join(program), folder.join(program)).unwrap();
    }
    // As pg_dump itself has it.
    let script = format!(
        "#!/bin/sh\ntest \"$1\" = --version && exec echo 'pg_dump (PostgreSQL) {version} (Debian {version}-1)'\n\
         echo 'pg_dump: error: aborting because of server version mismatch' >&2\nexit 1\n"
    );
    std::fs::write(folder.join("pg_dump"), script).unwrap();
    std::fs::set_permissions(folder.join("pg_dump"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_server_that_is_newer_than_its_programs_is_told_with_the_remedy() {
    if !live::have("a_server_that_is_newer_than_its_programs_is_told_with_the_remedy", live::POSTGRESQL) {
        return;
    }
    let live = Live::postgresql();
    live.psql("postgres", "CREATE DATABASE orders");
    live.psql("orders", "CREATE TABLE o (x int)");
    let server = live.psql("postgres", "SELECT current_setting('server_version_num')::int / 10000");
    let server: u32 = server.trim().parse().unwrap();
    let site = site(&live, "");
    old_tools(&site, &format!("{}.4", server - 1));
    write_task(&site, &live, &format!("databases = [\"orders\"]\ntools = {:?}", site.path("tools")));
    let (code, report) = run(&site);
    let found = findings(&report);
    assert!(code != 0 && found.len() == 1 && found[0].0 == "failed/database/shop", "{report}");
    let told = &found[0].2;
    for part in [
        &format!("the server is PostgreSQL {server}"),
        &format!("{} is of version {}", site.path("tools/pg_dump").display(), server - 1),
        &format!("apt-get install postgresql-client-{server}"),
        "`tools`",
    ] {
        assert!(told.contains(part), "{part} in: {told}");
    }
}
