//! The anomaly gate as an operator meets it: a folder, real backups, and what happens to it. A task that is held keeps all
//! its snapshots until somebody says otherwise.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use upkeep_tests::Site;

/// Files of the folder when all is well.
const FILES: u64 = 120;

/// A site with a folder that is saved, and retention that keeps one snapshot.
struct Server {
    site: Site,
}

/// Bytes that do not compress, others for each seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length).collect()
}

fn text(number: u64, day: u64) -> String {
    let line = format!("order {number} of day {day}: two cups of tea, one bowl of rice, to be brought to the door\n");
    line.repeat(40 + usize::try_from(number % 50).unwrap())
}

impl Server {
    fn new() -> Self {
        let site = Site::new(&[]);
        site.shipped("backup");
        site.shipped("retention");
        fs::create_dir(site.path("app")).unwrap();
        fs::write(site.path("password"), "correct horse battery staple").unwrap();
        fs::set_permissions(site.path("password"), fs::Permissions::from_mode(0o600)).unwrap();
        let server = Self { site };
        server.site.task(
            "saver",
            &format!(
                "plugin = \"backup\"\n[config]\nrepository = \"main\"\ndirectories = [{{ root = \"app\" }}]\n\
                 [grant]\nstate = true\nmetrics = true\n[grant.files.app]\npath = \"{}\"\n{}",
                server.shown("app"),
                server.repository("append"),
            ),
        );
        server.site.task(
            "sweeper",
            &format!(
                "plugin = \"retention\"\n[config]\nrepository = \"main\"\nmax_removals = \"100 %\"\nkeep = {{ last = 1 }}\nprune = {{ grace = \"0h\" }}\n\
                 [grant]\nmetrics = true\n{}",
                server.repository("list\", \"prune"),
            ),
        );
        server
    }

    fn shown(&self, name: &str) -> String {
        self.site.path(name).canonicalize().unwrap_or_else(|_| self.site.path(name)).display().to_string()
    }

    fn repository(&self, access: &str) -> String {
        let (url, password) = (self.shown("repository"), self.shown("password"));
        format!(
            "[grant.repository.main]\nurl = \"{url}\"\npassword = {{ file = \"{password}\" }}\naccess = [\"{access}\"]\n"
        )
    }

    fn file(&self, number: u64) -> std::path::PathBuf {
        self.site.path(&format!("app/{number}.txt"))
    }

    /// A day like all others: a few files are changed, one comes.
    fn day(&self, day: u64) {
        let all = if day == 0 { FILES } else { 3 };
        for number in 0..all {
            let number = if day == 0 { number } else { (day * 7 + number) % FILES };
            fs::write(self.file(number), text(number, day)).unwrap();
        }
        fs::write(self.file(1_000 + day), text(1_000 + day, day)).unwrap();
    }

    /// Some days that are saved.
    fn live(&self, days: std::ops::Range<u64>) {
        for day in days {
            self.day(day);
            let saved = self.run("saver");
            assert_eq!((findings(&saved), outcome(&saved)), (vec![], "succeeded"), "day {day}: {saved:#}");
        }
    }

    /// Runs a task without a daemon.
    fn run(&self, task: &str) -> Value {
        self.site.cli(&["run", task, "--standalone", "--json"]).json()
    }

    fn snapshots(&self) -> usize {
        let listed = self.site.cli(&["backup", "list", "--json"]).json();
        listed["snapshots"].as_array().unwrap().len()
    }

    /// What one run said of a folder that something happened to: the finding, which has to be the only one.
    fn jump(&self) -> String {
        let saved = self.run("saver");
        assert_eq!(outcome(&saved), "succeeded", "the snapshot is kept: {saved:#}");
        let found = &saved["report"]["findings"][0];
        assert_eq!((&found["severity"], findings(&saved).len()), (&"high".into(), 1), "{saved:#}");
        found["detail"].as_str().unwrap().to_owned()
    }

    /// Retention removes nothing, and says why.
    fn assert_held(&self, because: &str) {
        let before = self.snapshots();
        let swept = self.run("sweeper");
        assert_eq!(outcome(&swept), "failed", "{swept:#}");
        let report = swept["report"].to_string();
        for word in ["held/main/saver", "failed/main/prune", "upkeep backup release saver", because] {
            assert!(report.contains(word), "{word}: {report}");
        }
        assert_eq!(self.snapshots(), before, "nothing was removed");
        let listed = self.site.cli(&["backup", "list"]).stdout;
        assert!(listed.contains("HELD since") && listed.contains(because), "{listed}");
    }
}

fn outcome(run: &Value) -> &str {
    run["outcome"]["outcome"].as_str().unwrap()
}

fn findings(run: &Value) -> Vec<&str> {
    let found = run["report"]["findings"].as_array().unwrap_or_else(|| panic!("{run:#}"));
    found.iter().map(|it| it["key"].as_str().unwrap()).collect()
}

fn restic(server: &Server, arguments: &[&str]) -> Option<Output> {
    if Command::new("restic").arg("version").output().is_err() {
        let _ = writeln!(std::io::stderr(), "\nSKIPPED a part: there is no `restic` (apt-get install restic)\n");
        assert!(std::env::var_os("CI").is_none(), "restic is missing, and CI must not skip");
        return None;
    }
    let place = ["--no-cache", "-r", &server.shown("repository"), "--password-file", &server.shown("password")];
    let output = Command::new("restic").args(place).args(arguments).output().unwrap();
    assert!(output.status.success(), "restic {arguments:?}: {output:?}");
    Some(output)
}

#[test]
fn ransomware_is_held_until_it_is_released() {
    let server = Server::new();
    server.live(0..5);
    let good: Vec<_> = (0..FILES).map(|number| fs::read(server.file(number)).unwrap()).collect();
    // Every file is encrypted and gets another name.
    for entry in fs::read_dir(server.site.path("app")).unwrap() {
        let path = entry.unwrap().path();
        let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        let locked = path.with_extension("txt.locked");
        fs::rename(&path, &locked).unwrap();
        fs::write(&locked, noise(length as u64, length)).unwrap();
    }
    let told = server.jump();
    assert!(told.contains("125 of 125 files are gone (100 %; usually up to 0 %)"), "{told}");
    assert!(told.contains("125 of 125 new and changed files look encrypted (100 %; usually up to 0 %)"), "{told}");
    server.assert_held("look encrypted");

    // The night after it is held all the same, and what was good comes back.
    assert_eq!(outcome(&server.run("saver")), "succeeded");
    server.assert_held("look encrypted");
    let listed = server.site.cli(&["backup", "list", "saver", "--json"]).json();
    let before = listed["snapshots"][4]["id"].as_str().unwrap();
    let restored = server.site.cli(&["backup", "restore", "saver", before, "--target", &server.shown("restored")]);
    assert_eq!(restored.code, 0, "{restored:?}");
    for (number, good) in good.iter().enumerate() {
        let path = format!("restored{}/{number}.txt", server.shown("app"));
        assert_eq!(&fs::read(server.site.path(&path)).unwrap(), good);
    }

    let unknown = server.site.cli(&["backup", "release", "sweeper"]);
    assert_eq!(unknown.code, 4, "{unknown:?}");
    let released = server.site.cli(&["backup", "release", "saver"]);
    assert_eq!(released.code, 0, "{released:?}");
    assert!(released.stdout.contains("look encrypted"), "{released:?}");
    let swept = server.run("sweeper");
    assert_eq!((outcome(&swept), server.snapshots()), ("succeeded", 1), "{swept:#}");
    restic(&server, &["check", "--read-data"]);
}

#[test]
fn an_emptied_folder_is_held_and_the_daemon_releases_it() {
    let server = Server::new();
    server.live(0..2);
    for entry in fs::read_dir(server.site.path("app")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let saved = server.run("saver");
    // Empty it is called too, as it always was.
    assert_eq!(findings(&saved), ["empty/directory/app", "anomaly/directory/app"], "{saved:#}");
    server.assert_held("nothing is left of 122 files");

    let daemon = server.site.start();
    let swept = server.site.run("sweeper");
    assert_eq!(outcome(&swept), "failed", "{swept:#}");
    let listed = server.site.cli(&["backup", "list"]).stdout;
    assert!(listed.contains("HELD since"), "{listed}");
    let other = server.site.cli(&["backup", "release", "saver", "--repository", "other"]);
    assert_eq!(other.code, 4, "{other:?}");
    let released = server.site.cli(&["backup", "release", "saver", "--repository", "main"]);
    assert_eq!(released.code, 0, "{released:?}");
    assert!(server.site.log().contains("a hold was released"), "{}", server.site.log());
    assert_eq!(outcome(&server.site.run("sweeper")), "succeeded");
    assert!(daemon.stop().success());
    assert_eq!(server.snapshots(), 1);
    // It stays empty, which is told, and no longer held.
    let saved = server.run("saver");
    assert_eq!(findings(&saved), ["empty/directory/app"], "{saved:#}");
}

#[test]
fn a_wrong_mount_is_held() {
    let server = Server::new();
    server.live(0..5);
    fs::rename(server.site.path("app"), server.site.path("unmounted")).unwrap();
    fs::create_dir(server.site.path("app")).unwrap();
    (0..30)
        .for_each(|number| fs::write(server.site.path(&format!("app/other-{number}.log")), text(number, 9)).unwrap());
    let told = server.jump();
    assert!(told.contains("125 of 125 files are gone"), "{told}");
    server.assert_held("files are gone");

    // The disk is back, and everything comes: that is no anomaly, but the hold is the operator's to end.
    fs::remove_dir_all(server.site.path("app")).unwrap();
    fs::rename(server.site.path("unmounted"), server.site.path("app")).unwrap();
    server.run("saver");
    server.assert_held("files are gone");
    assert_eq!(server.site.cli(&["backup", "release", "saver"]).code, 0);
    assert_eq!(outcome(&server.run("sweeper")), "succeeded");
}

#[test]
fn what_is_large_and_well_is_not_held() {
    let server = Server::new();
    server.live(0..4);
    // Twice as many files as there were, most of them pictures.
    let upload = |folder: &str, count: u64| {
        let folder = server.site.path("app").join(folder);
        fs::create_dir(&folder).unwrap();
        for number in 0..count {
            let picture = [&b"\xff\xd8\xff\xe0\x00\x10JFIF"[..], &noise(number + 1, 30_000)].concat();
            fs::write(folder.join(format!("{number}.jpg")), picture).unwrap();
        }
    };
    upload("2026", 250);
    server.live(4..6);
    // A third of them is tidied up, a few at a time is not needed.
    (0..25).for_each(|number| fs::remove_file(Path::new(&server.file(number))).unwrap());
    server.live(6..7);
    upload("2027", 100);
    server.live(7..9);
    let swept = server.run("sweeper");
    assert_eq!((outcome(&swept), server.snapshots()), ("succeeded", 1), "{swept:#}");
}

#[test]
fn the_gate_can_be_set_and_turned_off() {
    let server = Server::new();
    server.live(0..4);
    let file = fs::read_to_string(server.site.task_file("saver")).unwrap();
    let strict = "[config]\nanomaly = { removed = \"5 %\", min_files = 2 }\n";
    server.site.task("saver", &file.replace("[config]\n", strict));
    (0..10).for_each(|number| fs::remove_file(server.file(number)).unwrap());
    let told = server.jump();
    assert!(told.contains("10 of 124 files are gone (8.1 %; usually up to 0 %)"), "{told}");

    let off = "[config]\nanomaly = { removed = \"5 %\" }\nanomaly_of.\"directory/app\" = { enabled = false }\n";
    server.site.task("saver", &file.replace("[config]\n", off));
    (10..100).for_each(|number| fs::remove_file(server.file(number)).unwrap());
    assert_eq!(findings(&server.run("saver")), [""; 0]);
}
