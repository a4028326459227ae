//! The backup as an operator has it: the built program, a task file, the backup plugin, and Debian's restic beside it.
//!
//! It needs what `make build plugins` makes; the variables UPKEEP and PLUGINS name another program and folder.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

#[path = "backup/tree.rs"]
mod tree;

use tree::assert_same;

const PASSWORD: &str = "correct-horse-battery-staple";

/// A server of one application: its data, a configuration, a password, a place for the repository.
struct Server {
    folder: tempfile::TempDir,
    /// User to be, where the tests run as root.
    user: Option<u32>,
}

impl Server {
    fn new() -> Self {
        let server = Self { folder: tempfile::tempdir().expect("a folder"), user: None };
        for folder in ["srv/app", "etc/tasks.d", "state"] {
            fs::create_dir_all(server.path(folder)).expect("a folder");
        }
        server.set_password(PASSWORD);
        let plugins = plugins();
        server.write(
            "etc/upkeep.toml",
            &format!(
                "state_dir = \"{}\"\nsocket = \"{}\"\nplugin_dir = \"{}\"\n",
                server.shown("state"),
                server.shown("upkeep.sock"),
                plugins.display()
            ),
        );
        server
    }

    /// The real path: the folder for temporary files may be a link.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().expect("it is there").join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn set_password(&self, password: &str) {
        self.write("password", &format!("{password}\n"));
        fs::set_permissions(self.path("password"), fs::Permissions::from_mode(0o600)).expect("a mode");
    }

    /// Writes the task file `app`: the folder and, on demand, the database in it.
    fn task(&self, with_database: bool) {
        let (databases, dump) = match with_database {
            true => {
                ("databases = [\"app\"]", format!("[grant.dump.app]\nsqlite = \"{}\"", self.shown("srv/app/app.db")))
            }
            false => ("", String::new()),
        };
        self.write(
            "etc/tasks.d/app.toml",
            &format!(
                r#"
plugin = "backup"
[config]
repository = "main"
tags = ["nightly"]
{databases}
[[config.directories]]
root = "app"
exclude = ["/app.db*", "*.tmp"]
max_size = "100 MiB"
[grant]
state = true
metrics = true
[grant.files.app]
path = "{}"
{dump}
[grant.repository.main]
url = "{}"
password = {{ file = "{}" }}
"#,
                self.shown("srv/app"),
                self.shown("repository"),
                self.shown("password")
            ),
        );
    }

    /// The program; what it prints is looked through for the password.
    fn upkeep(&self, arguments: &[&str]) -> Output {
        let mut command = match self.user {
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]).arg(upkeep());
                command
            }
            None => Command::new(upkeep()),
        };
        let command = command.args(arguments).env("UPKEEP_CONFIG", self.path("etc")).env("UPKEEP_LOG", "debug");
        let output = command.stdin(Stdio::null()).output().expect("it can be started");
        for text in [&output.stdout, &output.stderr] {
            assert!(!has(text, PASSWORD.as_bytes()), "the password was printed by {arguments:?}");
        }
        output
    }

    /// Runs the task; gives the code and what `--json` tells.
    fn run(&self) -> (i32, Value) {
        let output = self.upkeep(&["run", "app", "--standalone", "--json"]);
        let told = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().expect("a code"), told)
    }

    /// Runs the task, which has to go well; gives the report.
    fn save(&self) -> Value {
        let (code, told) = self.run();
        assert_eq!(code, 0, "{told:#}");
        told["report"].clone()
    }

    fn restore(&self, target: &str) -> String {
        let output = self.upkeep(&["backup", "restore", "app", "--target", &self.shown(target)]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// restic on the repository; it has to go well.
    fn restic(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("restic")
            .args(["--no-cache", "-r", &self.shown("repository"), "--password-file", &self.shown("password")])
            .args(arguments)
            .output()
            .expect("restic can be started");
        assert!(output.status.success(), "restic {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Below `target`, where a restore puts the application's folder.
    fn restored(&self, target: &str) -> PathBuf {
        self.path(target).join(self.path("srv/app").strip_prefix("/").expect("absolute"))
    }

    /// Whatever a backup has to get right, and an SQLite database with a write-ahead log.
    fn fill(&self) {
        let app = self.path("srv/app");
        tree::fill(&app);
        sqlite(
            &app.join("app.db"),
            "PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT);",
        );
    }

    /// Nothing that upkeep keeps has the password in it.
    fn assert_password_is_nowhere(&self) {
        let mut folders = vec![self.path("state"), self.path("etc"), self.path("repository")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let kind = entry.file_type().expect("a kind");
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    let bytes = fs::read(entry.path()).expect("a file");
                    assert!(!has(&bytes, PASSWORD.as_bytes()), "{} holds the password", entry.path().display());
                }
            }
        }
    }
}

fn has(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// The program beside the folder of this test.
fn upkeep() -> PathBuf {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("upkeep"));
    let path = std::env::var_os("UPKEEP").map(PathBuf::from).or_else(beside).expect("a path");
    assert!(path.is_file(), "there is no {}: run `make build`, or set UPKEEP", path.display());
    path
}

/// The folder of the plugins.
fn plugins() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins");
    let path = std::env::var_os("PLUGINS").map(PathBuf::from).unwrap_or_else(built);
    assert!(path.join("backup.wasm").is_file(), "there is no {}/backup.wasm: run `make plugins`", path.display());
    path.canonicalize().expect("it is there")
}

/// Whether a program is there; says loudly when it is not.
fn is_there(program: &str, test: &str) -> bool {
    let found = Command::new("which").arg(program).output().is_ok_and(|output| output.status.success());
    if !found {
        // Directly, since the test harness hides what a passing test prints.
        let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: there is no `{program}` (apt-get install {program})\n");
        assert!(std::env::var_os("CI").is_none(), "{program} is missing, and CI must not skip");
    }
    found
}

fn is_root(test: &str) -> bool {
    let root = rustix::process::getuid().is_root();
    if !root {
        let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: only root can do this\n");
    }
    root
}

fn sqlite(database: &Path, statement: &str) -> String {
    let output = Command::new("sqlite3").args(["-cmd", ".timeout 10000"]).arg(database).arg(statement).output();
    let output = output.expect("sqlite3 can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn orders(database: &Path) -> u64 {
    sqlite(database, "SELECT count(*) FROM orders").parse().expect("a number")
}

/// Does `work` while another program writes to the database.
fn while_written<T>(database: &Path, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let writer = Command::new("sqlite3")
                .args(["-cmd", ".timeout 10000"])
                .arg(database)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn();
            let mut writer = writer.expect("sqlite3 can be started");
            let mut statements = writer.stdin.take().expect("it is piped");
            while !done.load(Ordering::Relaxed) {
                let _ = statements.write_all(b"INSERT INTO orders (note) VALUES (hex(randomblob(200)));\n");
                let _ = statements.flush();
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            drop(statements);
            writer.wait().expect("it ends");
        });
        // What is written before the backup begins is in it.
        while orders(database) < 20 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let worked = work();
        done.store(true, Ordering::Relaxed);
        worked
    })
}

/// What the table of the report says of a source in a column.
fn cell(report: &Value, source: &str, column: &str) -> String {
    let table = &report["tables"][0];
    let place = table["columns"].as_array().expect("columns").iter().position(|it| it == column).expect("a column");
    let row = table["rows"].as_array().expect("rows").iter().find(|it| it[0] == source);
    row.unwrap_or_else(|| panic!("no {source}: {report:#}"))[place].as_str().expect("text").to_owned()
}

/// Keys and severities of the findings.
fn findings(report: &Value) -> Vec<(&str, &str)> {
    let all = report["findings"].as_array().expect("findings");
    all.iter().map(|it| (it["key"].as_str().expect("a key"), it["severity"].as_str().expect("one"))).collect()
}

#[test]
fn a_folder_and_a_database_in_use_come_back() {
    let test = "a_folder_and_a_database_in_use_come_back";
    if !is_there("restic", test) || !is_there("sqlite3", test) {
        return;
    }
    let server = Server::new();
    server.fill();
    server.task(true);
    let (app, database) = (server.path("srv/app"), server.path("srv/app/app.db"));

    let checked = server.upkeep(&["check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let planned = server.upkeep(&["run", "app", "--standalone", "--dry-run"]);
    assert!(String::from_utf8_lossy(&planned.stdout).contains("save the database app"));
    assert!(!server.path("repository").exists(), "a dry run makes nothing");

    let (before, first, after) = while_written(&database, || {
        let before = orders(&database);
        let report = server.save();
        (before, report, orders(&database))
    });
    assert_eq!(findings(&first), []);
    assert_eq!(cell(&first, "app", "NEW"), cell(&first, "app", "FILES"));

    // The second has little to add, and is what comes back.
    fs::write(app.join("uploads/new.txt"), "new").expect("a file");
    let second = server.save();
    let changes = ["NEW", "CHANGED"].map(|column| cell(&second, "app", column));
    assert_eq!(changes, ["1", "0"], "{second:#}");
    let added = cell(&second, "app", "ADDED");
    assert!(added.ends_with(" B") || added.ends_with(" KiB"), "{added}");

    server.restic(&["check", "--read-data"]);
    let listed: Value = serde_json::from_slice(&server.restic(&["snapshots", "--json"])).expect("JSON");
    assert_eq!(listed.as_array().expect("snapshots").len(), 4);
    assert_eq!(listed[0]["tags"], serde_json::json!(["nightly", "upkeep:app"]));

    // upkeep gives back the newest of both; restic one after the other.
    let told = server.restore("ours");
    assert!(told.contains("read again and equal to what was saved"), "{told}");
    for source in [&app, &database] {
        let (path, target) = (source.to_str().expect("text"), server.shown("theirs"));
        server.restic(&["restore", "latest", "--path", path, "--target", &target]);
    }
    for target in ["ours", "theirs"] {
        let restored = server.restored(target).join("app.db");
        assert_eq!(sqlite(&restored, "PRAGMA integrity_check"), "ok");
        assert_eq!(orders(&restored), orders(&database), "{target}");
        assert_eq!(fs::metadata(&restored).expect("a file").mode(), fs::metadata(&database).expect("a file").mode());
        assert_same(&app, &server.restored(target));
    }

    // The dump that was made while the database was written to is whole as well.
    let dump =
        listed.as_array().expect("snapshots").iter().find(|it| it["paths"][0] == database.to_str().expect("text"));
    server.restic(&[
        "restore",
        dump.expect("a dump")["id"].as_str().expect("text"),
        "--target",
        &server.shown("first"),
    ]);
    let restored = server.restored("first").join("app.db");
    assert_eq!(sqlite(&restored, "PRAGMA integrity_check"), "ok");
    assert!((before..=after).contains(&orders(&restored)), "{before} <= {} <= {after}", orders(&restored));
    server.assert_password_is_nowhere();
}

#[test]
fn a_password_that_is_wrong_or_not_there_is_told_and_not_shown() {
    let server = Server::new();
    tree::fill(&server.path("srv/app"));
    server.task(false);
    server.save();

    server.set_password("another");
    let (code, told) = server.run();
    assert_eq!(code, 1);
    let text = told.to_string();
    assert!(text.contains("the password does not open the repository"), "{told:#}");
    let listed = server.upkeep(&["backup", "list"]);
    assert_eq!(listed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&listed.stderr).contains("the password does not open the repository"));

    fs::remove_file(server.path("password")).expect("it was there");
    let output = server.upkeep(&["run", "app", "--standalone"]);
    assert_eq!(output.status.code(), Some(2), "it is refused before anything runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("app.toml") && text.contains("password"), "{text}");

    server.set_password(PASSWORD);
    fs::set_permissions(server.path("password"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let output = server.upkeep(&["run", "app", "--standalone"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 600"));
    server.set_password(PASSWORD);
    server.assert_password_is_nowhere();
}

#[test]
fn a_repository_on_a_full_disk_keeps_its_snapshots() {
    let test = "a_repository_on_a_full_disk_keeps_its_snapshots";
    if !is_root(test) || !is_there("restic", test) {
        return;
    }
    let server = Server::new();
    let disk = Disk::mount(&server.path("repository"));
    tree::fill(&server.path("srv/app"));
    server.task(false);
    server.save();

    fs::write(server.path("srv/app/large"), tree::noise(20_000_000)).expect("a file");
    let (code, told) = server.run();
    assert_eq!(code, 1, "{told:#}");
    assert!(told.to_string().contains("No space left on device"), "{told:#}");
    assert_eq!(findings(&told["report"]), [("failed/directory/app", "high")]);

    // What was there before is whole, and when there is room it goes on.
    server.restic(&["--no-lock", "check", "--read-data"]);
    fs::remove_file(server.path("srv/app/large")).expect("it was there");
    disk.grow();
    server.save();
    server.restic(&["check", "--read-data"]);
    server.restore("target");
    assert_same(&server.path("srv/app"), &server.restored("target"));
}

/// A small disk, until it goes.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: &Path) -> Self {
        fs::create_dir_all(path).expect("a folder");
        mount(&["-t", "tmpfs", "-o", "size=8m", "tmpfs"], path);
        Self(path.to_owned())
    }

    fn grow(&self) {
        mount(&["-o", "remount,size=64m"], &self.0);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], path: &Path) {
    let status = Command::new("mount").args(arguments).arg(path).status().expect("mount can be started");
    assert!(status.success(), "mount {arguments:?}");
}

#[test]
fn what_cannot_be_read_is_a_finding_and_the_rest_is_saved() {
    let mut server = Server::new();
    let app = server.path("srv/app");
    fs::write(app.join("open.txt"), "open").expect("a file");
    fs::write(app.join("closed.txt"), "closed").expect("a file");
    fs::create_dir(app.join("closed")).expect("a folder");
    fs::write(app.join("closed/in.txt"), "in").expect("a file");
    for name in ["closed.txt", "closed"] {
        fs::set_permissions(app.join(name), fs::Permissions::from_mode(0o000)).expect("a mode");
    }
    server.task(false);
    if rustix::process::getuid().is_root() {
        // The file system does not keep root out.
        server.user = Some(65_534);
        let everything = Command::new("chown").args(["-R", "65534:65534"]).arg(server.folder.path()).status();
        assert!(everything.expect("chown can be started").success());
    }
    let report = server.save();
    assert_eq!(findings(&report), [("unreadable/directory/app", "medium")]);
    let detail = report["findings"][0]["detail"].as_str().expect("text");
    assert!(detail.contains("closed.txt: ") && detail.contains("closed: "), "{detail}");
    server.restore("target");
    assert_eq!(fs::read_to_string(server.restored("target").join("open.txt")).expect("a file"), "open");
    // So that the folder can be removed.
    let _ = fs::set_permissions(app.join("closed"), fs::Permissions::from_mode(0o700));
}

#[test]
fn files_that_come_and_go_meanwhile_do_no_harm() {
    if !is_there("restic", "files_that_come_and_go_meanwhile_do_no_harm") {
        return;
    }
    let server = Server::new();
    let app = server.path("srv/app");
    for number in 0..3_000 {
        fs::write(app.join(format!("{number:04}")), vec![b'x'; 2_000]).expect("a file");
    }
    fs::create_dir(app.join("stays")).expect("a folder");
    fs::write(app.join("stays/file"), "stays").expect("a file");
    server.task(false);
    let done = AtomicBool::new(false);
    let (code, told) = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in (0..3_000).cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let path = app.join(format!("{number:04}"));
                match number % 3 {
                    0 => drop(fs::remove_file(&path)),
                    1 => drop(fs::write(&path, "short")),
                    _ => drop(fs::write(app.join(format!("new-{number}")), vec![b'y'; 500])),
                }
            }
        });
        let ran = server.run();
        done.store(true, Ordering::Relaxed);
        ran
    });
    assert_eq!(code, 0, "{told:#}");
    server.restic(&["check", "--read-data"]);
    server.restore("target");
    assert_eq!(fs::read_to_string(server.restored("target").join("stays/file")).expect("a file"), "stays");
}

#[test]
fn a_folder_that_has_become_empty_is_noticed() {
    let server = Server::new();
    let app = server.path("srv/app");
    fs::write(app.join("file"), "content").expect("a file");
    server.task(false);
    assert_eq!(findings(&server.save()), []);
    fs::remove_file(app.join("file")).expect("it was there");
    let report = server.save();
    assert_eq!(findings(&report), [("empty/directory/app", "high")]);
    assert_eq!(report["findings"][0]["title"], "app has become empty");
}

#[test]
fn a_task_that_cannot_run_any_more_can_be_restored_from() {
    let server = Server::new();
    let app = server.path("srv/app");
    fs::write(app.join("file"), "content").expect("a file");
    symlink("file", app.join("link")).expect("a link");
    server.task(false);
    server.save();
    fs::remove_dir_all(&app).expect("it was there");
    assert_eq!(server.upkeep(&["check"]).status.code(), Some(2));
    server.restore("target");
    assert_eq!(fs::read_to_string(server.restored("target").join("link")).expect("a file"), "content");
    // Back in its place: below the root of the file system is the place.
    let output = server.upkeep(&[
        "backup",
        "restore",
        "app",
        "--target",
        "/",
        "--path",
        &server.shown("srv/app"),
        "--overwrite",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_same(&server.restored("target"), &app);
}
