//! The plugin `cleanup` as an operator meets it: a look first, a plan in a file, carried out or refused, had back, stopped by
//! ceilings and missing backups, killed in the middle. Before and after, every file is listed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use upkeep_tests::{Site, eventually, now, within};

const DAY: u64 = 86_400;

/// Kind and mode, inode, size, and time of change in nanoseconds: what stays the same as long as a file is the same.
type Seen = (u32, u64, u64, i64);

/// All that stands beneath a folder. Of a folder itself only kind and mode count: the rest changes with what is in it.
fn listing(folder: &Path) -> BTreeMap<String, Seen> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            let seen = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            if seen.is_dir() {
                all.insert(name, (seen.mode(), 0, 0, 0));
                waiting.push(path);
            } else {
                let modified = seen.mtime() * 1_000_000_000 + seen.mtime_nsec();
                all.insert(name, (seen.mode(), seen.ino(), seen.size(), modified));
            }
        }
    }
    all
}

/// The same without what is kept to be had back.
fn shown(folder: &Path) -> BTreeMap<String, Seen> {
    listing(folder).into_iter().filter(|(path, _)| !path.starts_with(".upkeep-undo")).collect()
}

fn write(path: &Path, days: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("{} of {days}", path.display())).unwrap();
    age(path, days);
}

fn age(path: &Path, days: u64) {
    let then = UNIX_EPOCH + Duration::from_secs(now().unsigned_abs()) - Duration::from_secs(days * DAY);
    fs::File::options().append(true).open(path).unwrap().set_modified(then).unwrap();
}

/// A site with a folder `app`, in which `old` files of 40 days and `new` ones stand.
struct Server {
    site: Site,
}

impl Server {
    fn new(old: u32, new: u32, removal: &str) -> Self {
        let site = Site::new(&[]);
        site.shipped("cleanup");
        let server = Self { site };
        for number in 0..old {
            write(&server.app(&format!("uploads/{}/old 微信-{number}.jpg", number % 7)), 40);
        }
        for number in 0..new {
            write(&server.app(&format!("uploads/{}/new-{number}.jpg", number % 5)), 1);
        }
        fs::create_dir_all(server.app("")).unwrap();
        server.task(removal);
        server
    }

    fn app(&self, path: &str) -> std::path::PathBuf {
        self.site.path("app").join(path)
    }

    /// The task `cleanup`, with what `removal` says.
    fn task(&self, removal: &str) {
        let app = self.app("").display().to_string();
        let app = app.trim_end_matches('/');
        self.site.task(
            "cleanup",
            &format!(
                "plugin = \"cleanup\"\n\
                 [[config.rule]]\nname = \"old\"\nroot = \"app\"\npath = \"uploads\"\nage.older_than = \"30d\"\n\
                 [[config.rule]]\nname = \"empty\"\nroot = \"app\"\npath = \"uploads\"\nempty_folders = {{}}\n\
                 [grant]\nmetrics = true\n[grant.files.app]\npath = \"{app}\"\naccess = [\"read\", \"remove\"]\n\
                 [grant.files.app.removal]\n{removal}\n"
            ),
        );
    }

    fn listing(&self) -> BTreeMap<String, Seen> {
        shown(&self.app(""))
    }

    /// What is to be left of a listing.
    fn without_old(before: &BTreeMap<String, Seen>) -> BTreeMap<String, Seen> {
        let kept: BTreeMap<_, _> = before
            .iter()
            .filter(|(path, _)| !path.contains("old 微信"))
            .map(|(path, seen)| (path.clone(), *seen))
            .collect();
        let holds =
            |folder: &str| kept.keys().any(|path| path.starts_with(&format!("{folder}/")) && path.contains(".jpg"));
        let is_folder = |seen: &Seen| seen.0 & 0o170_000 == 0o040_000;
        kept.iter()
            .filter(|(path, seen)| !is_folder(seen) || *path == "uploads" || holds(path))
            .map(|(path, seen)| (path.clone(), *seen))
            .collect()
    }
}

fn findings(run: &Value) -> Vec<(&str, &str)> {
    let findings = run["report"]["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    findings.iter().map(|it| (it["key"].as_str().unwrap(), it["detail"].as_str().unwrap())).collect()
}

fn outcome(run: &Value) -> &str {
    run["outcome"]["outcome"].as_str().unwrap_or_default()
}

#[test]
fn a_plan_is_carried_out_as_it_was_read_or_not_at_all() {
    let server = Server::new(150, 300, "");
    let site = &server.site;
    let before = server.listing();
    let plan = site.path("plan.json");
    let plan = plan.to_str().unwrap();
    let look = site.cli(&["run", "cleanup", "--standalone", "--dry-run", "--out", plan]);
    assert_eq!(look.code, 0, "{look:?}");
    assert!(look.stdout.contains("150 files") && look.stdout.contains("40 days old"), "{}", look.stdout);
    assert_eq!(server.listing(), before, "a dry run changes nothing");

    let written: Value = serde_json::from_slice(&fs::read(plan).unwrap()).unwrap();
    let items = written["roots"][0]["items"].as_array().unwrap();
    let planned: Vec<_> = items.iter().map(|item| item["path"].as_str().unwrap()).collect();
    let expected = Server::without_old(&before);
    let gone: Vec<_> = before.keys().filter(|path| !expected.contains_key(*path)).collect();
    let mut sorted = planned.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, gone, "the plan names what is to go and nothing else");

    // One file is used again: the plan is of yesterday.
    let used = planned.iter().find(|path| path.contains("old")).unwrap();
    fs::write(server.app(used), "used again").unwrap();
    let changed = server.listing();
    let refused = site.cli(&["apply", plan, "--standalone"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stdout.contains("stale") && refused.stdout.contains(used), "{}", refused.stdout);
    assert_eq!(server.listing(), changed, "all of it, or nothing");

    // A new look, with a daemon; and what comes after it is not in it.
    let daemon = site.start();
    let look = site.cli(&["run", "cleanup", "--dry-run", "--out", plan]);
    assert!(look.code == 0 && look.stdout.contains("149 files"), "{look:?}");
    write(&server.app("uploads/3/old 微信 that came later.jpg"), 50);
    let before = server.listing();
    let applied = site.cli(&["apply", plan, "--json"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    let after = server.listing();
    let gone: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).collect();
    assert_eq!(gone.iter().filter(|path| path.contains("old")).count(), 149);
    assert!(after.contains_key("uploads/3/old 微信 that came later.jpg") && after.contains_key(*used));
    assert!(before.iter().all(|(path, seen)| after.get(path).is_none_or(|now| now == seen)), "what stays is as it was");

    // A second time there is nothing left of it, and another task is another plan.
    let again = site.cli(&["apply", plan]);
    assert!(again.code == 1 && again.stdout.contains("stale"), "{again:?}");
    let look = site.cli(&["run", "cleanup", "--dry-run", "--out", plan]);
    assert_eq!(look.code, 0, "{look:?}");
    server.task("max_files = 10");
    assert_eq!(site.cli(&["reload"]).code, 0);
    let other = site.cli(&["apply", plan]);
    assert!(other.code == 1 && other.stdout.contains("are not what they were"), "{other:?}");
    fs::write(plan, "{\"upkeep_plan\": 1, \"roots\": [{\"items\": [").unwrap();
    let broken = site.cli(&["apply", plan]);
    assert!(
        broken.code == 2 && broken.stderr.contains("no plan that `upkeep run --dry-run --out` wrote"),
        "{broken:?}"
    );
    assert!(daemon.stop().success());
    assert!(
        !fs::read_dir(site.state().join("removal"))
            .unwrap()
            .any(|it| { it.unwrap().file_name().to_string_lossy().starts_with("incoming-") })
    );
}

#[test]
fn what_a_run_took_comes_back_as_it_was() {
    let server = Server::new(40, 20, "undo = \"7d\"");
    let site = &server.site;
    let odd = server.app("uploads/6/deep");
    fs::create_dir_all(&odd).unwrap();
    write(&odd.join("old 微信 of somebody.jpg"), 90);
    fs::hard_link(odd.join("old 微信 of somebody.jpg"), odd.join("old 微信 of somebody, again.jpg")).unwrap();
    fs::set_permissions(odd.join("old 微信 of somebody.jpg"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(&odd, fs::Permissions::from_mode(0o2775)).unwrap();
    std::os::unix::fs::chown(&odd, Some(1), Some(2)).ok();
    let before = server.listing();
    let daemon = site.start();
    let run = site.run("cleanup");
    assert_eq!(outcome(&run), "succeeded", "{run}");
    let id = run["id"].as_str().unwrap();
    assert_eq!(server.listing(), Server::without_old(&before));
    let owner = |path: &Path| fs::metadata(path).map(|it| (it.uid(), it.gid(), it.mtime())).ok();

    // Whoever needs one of them now makes a new one, which stays.
    fs::create_dir_all(server.app("uploads/6/deep")).unwrap();
    write(&server.app("uploads/6/deep/old 微信 of somebody.jpg"), 0);
    let undone = site.cli(&["undo", id]);
    assert_eq!(undone.code, 1, "{undone:?}");
    assert!(undone.stdout.contains("something else stands there now"), "{}", undone.stdout);
    fs::remove_file(server.app("uploads/6/deep/old 微信 of somebody.jpg")).unwrap();
    let undone = site.cli(&["undo", &id[..14]]);
    assert!(undone.code == 0 && undone.stdout.contains("Put back 1 file"), "{undone:?}");
    let after = server.listing();
    let files = |all: &BTreeMap<String, Seen>| {
        all.iter()
            .filter(|(path, _)| path.ends_with(".jpg"))
            .map(|(path, seen)| (path.clone(), *seen))
            .collect::<Vec<_>>()
    };
    assert_eq!(files(&after), files(&before), "the same files, with mode and time");
    assert!(!server.app(".upkeep-undo").exists(), "nothing is left aside");
    let nothing = site.cli(&["undo", id]);
    assert!(nothing.code == 4 && nothing.stderr.contains("nothing that run"), "{nothing:?}");

    // Folders that went come back with what they were.
    fs::set_permissions(&odd, fs::Permissions::from_mode(0o2775)).unwrap();
    std::os::unix::fs::chown(&odd, Some(1), Some(2)).ok();
    let (before, of_odd) = (server.listing(), owner(&odd));
    let run = site.run("cleanup");
    assert!(!odd.exists());
    let undone = site.cli(&["undo", run["id"].as_str().unwrap(), "--json"]);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!((server.listing(), owner(&odd)), (before, of_odd));
    assert!(daemon.stop().success());
}

#[test]
fn what_was_moved_aside_goes_when_its_time_is_over() {
    let server = Server::new(10, 2, "undo = \"2s\"");
    let site = &server.site;
    let daemon = site.start();
    let first = site.run("cleanup");
    assert!(server.app(".upkeep-undo").exists());
    std::thread::sleep(Duration::from_millis(2_100));
    let second = site.run("cleanup");
    assert_eq!((outcome(&first), outcome(&second)), ("succeeded", "succeeded"), "{second}");
    assert!(!server.app(".upkeep-undo").exists(), "{second}");
    let late = site.cli(&["undo", first["id"].as_str().unwrap()]);
    assert!(late.code == 4 && late.stderr.contains("its time has passed"), "{late:?}");
    assert!(daemon.stop().success());
}

#[test]
fn above_a_ceiling_and_without_a_backup_nothing_goes() {
    let server = Server::new(200, 100, "");
    let site = &server.site;
    let before = server.listing();
    let mut daemon = site.start();
    let run = site.run("cleanup");
    assert_eq!(outcome(&run), "succeeded", "{run}");
    let [(key, detail)] = findings(&run)[..] else { panic!("{run}") };
    assert_eq!(key, "ceiling/app");
    assert!(detail.contains("200 of 300 files") && detail.contains("grant.files.app.removal.max_share"), "{detail}");
    for ceiling in ["max_share = \"100%\"\nmax_files = 199", "max_share = \"100%\"\nmax_bytes = \"1 KiB\""] {
        server.task(ceiling);
        site.cli(&["reload"]);
        daemon.notices();
        let run = site.run("cleanup");
        assert!(findings(&run)[0].1.contains("grant.files.app.removal.max_"), "{run}");
    }
    assert_eq!(server.listing(), before, "all or nothing");

    // A backup that is there, fresh, and verified: first none of it holds.
    ["backup", "repository-check"].iter().for_each(|plugin| site.shipped(plugin));
    fs::write(site.path("password"), "correct horse").unwrap();
    fs::set_permissions(site.path("password"), fs::Permissions::from_mode(0o600)).unwrap();
    let repository = |access: &str| {
        let place = site.dir().display();
        format!(
            "[grant.repository.main]\nurl = \"{place}/repository\"\npassword = {{ file = \"{place}/password\" }}\naccess = [{access}]\n"
        )
    };
    let saver = format!(
        "plugin = \"backup\"\n[config]\nrepository = \"main\"\ndirectories = [{{ root = \"app\" }}]\n[grant]\nstate = true\nmetrics = true\n\
         [grant.files.app]\npath = \"{}\"\n{}",
        site.path("app").display(),
        repository("\"append\"")
    );
    site.task("save", &saver);
    server.task("max_share = \"100%\"\nrequire_backup = { task = \"save\", max_age = \"1h\" }");
    let refused = site.cli(&["reload"]);
    assert!(refused.code == 2 && refused.stderr.contains("no task verifies what"), "{refused:?}");
    let checker = format!(
        "plugin = \"repository-check\"\n[config]\nrepository = \"main\"\n[grant]\nstate = true\nmetrics = true\n{}",
        repository("\"check\"")
    );
    site.task("check", &checker);
    assert_eq!(site.cli(&["reload"]).code, 0);
    // As systemd takes them: they would pile up until the daemon waits.
    daemon.notices();
    let blocked = |why: &str| {
        let run = site.run("cleanup");
        let found = findings(&run);
        assert!(found.iter().any(|(key, detail)| *key == "backup/app" && detail.contains(why)), "{why}: {run}");
        assert_eq!(server.listing(), before);
    };
    blocked("`save` has never succeeded");
    assert_eq!(outcome(&site.run("save")), "succeeded");
    blocked("has been verified since");
    assert_eq!(outcome(&site.run("check")), "succeeded");
    server.task("max_share = \"100%\"\nrequire_backup = { task = \"save\", max_age = \"1ms\" }");
    site.cli(&["reload"]);
    daemon.notices();
    blocked("is 0s old");
    server.task("max_share = \"100%\"\nrequire_backup = { task = \"save\", max_age = \"1h\" }");
    site.cli(&["reload"]);
    daemon.notices();
    let run = site.run("cleanup");
    assert!(findings(&run).is_empty(), "{run}");
    assert_eq!(server.listing(), Server::without_old(&before));
    assert!(daemon.stop().success());
}

#[test]
fn what_is_in_use_or_protected_or_only_linked_to_stays() {
    let server = Server::new(5, 0, "protect = [\"/uploads/keep\"]");
    let site = &server.site;
    let outside = site.path("outside");
    write(&outside.join("old 微信.jpg"), 90);
    symlink(&outside, server.app("uploads/link")).unwrap();
    write(&server.app("uploads/keep/old 微信.jpg"), 90);
    write(&server.app("uploads/.ssh/old 微信"), 90);
    let written = server.app("uploads/old 微信 in use.jpg");
    write(&written, 90);
    let mut writer = Command::new("sh")
        .arg("-c")
        .arg("exec 3>>\"$0\"; exec sleep 60")
        .arg(&written)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let fds = format!("/proc/{}/fd/3", writer.id());
    eventually("the writer", || fs::read_link(&fds).ok());
    let before = listing(&outside);
    let daemon = site.start();
    let run = site.run("cleanup");
    assert_eq!(outcome(&run), "succeeded", "{run}");
    let report = run["report"].to_string();
    assert!(report.contains(&format!("sleep (process {}) writes to it", writer.id())), "{report}");
    let left: Vec<_> = server.listing().into_keys().filter(|path| path.contains("微信")).collect();
    assert_eq!(left, ["uploads/.ssh/old 微信", "uploads/keep/old 微信.jpg", "uploads/old 微信 in use.jpg"]);
    assert_eq!(listing(&outside), before);
    writer.kill().unwrap();
    writer.wait().unwrap();
    site.run("cleanup");
    assert!(!written.exists());
    assert!(daemon.stop().success());
}

#[test]
fn a_run_that_was_killed_goes_on_and_takes_nothing_else() {
    let server = Server::new(6_000, 4_000, "max_share = \"60%\"\nundo = \"1h\"");
    let site = &server.site;
    let before = server.listing();
    let expected = Server::without_old(&before);
    let old = |all: &BTreeMap<String, Seen>| all.keys().filter(|path| path.contains("old 微信")).count();
    let daemon = site.start();
    let run = site.api().run("cleanup");
    // As soon as something has gone.
    within(Duration::from_secs(60), "the first file to go", || {
        let shards = server.app(".upkeep-undo").read_dir().ok()?.flatten().filter_map(|it| it.path().read_dir().ok());
        shards.flatten().flatten().filter_map(|it| it.path().read_dir().ok()).flatten().next().map(|_| ())
    });
    daemon.kill();
    let then = server.listing();
    assert!(then.iter().all(|(path, seen)| before.get(path) == Some(seen)), "nothing came, nothing changed");
    let daemon = site.start();
    let ended = site.ended(&run);
    assert_eq!(outcome(&ended), "succeeded", "{ended}");
    println!("killed with {} of 6,000 files left; resumed {} times", old(&then), ended["resumed"]);
    assert_eq!(server.listing(), expected);
    let undone = site.cli(&["undo", &run]);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(server.listing(), before, "all of it comes back, whatever the kill");
    assert!(daemon.stop().success());
}
