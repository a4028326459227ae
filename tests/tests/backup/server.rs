//! A server of one application with the built program, and what a test asks of it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::tree;

pub(crate) const PASSWORD: &str = "correct-horse-battery-staple";

/// A server of one application: its data, a configuration, a password, a place for the repository.
pub(crate) struct Server {
    pub(crate) folder: tempfile::TempDir,
    /// User to be, where the tests run as root.
    pub(crate) user: Option<u32>,
}

impl Server {
    pub(crate) fn new() -> Self {
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
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().expect("it is there").join(name)
    }

    pub(crate) fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    pub(crate) fn set_password(&self, password: &str) {
        self.write("password", &format!("{password}\n"));
        fs::set_permissions(self.path("password"), fs::Permissions::from_mode(0o600)).expect("a mode");
    }

    /// Writes the task file `app`: the folder and, on demand, the database in it.
    pub(crate) fn task(&self, with_database: bool) {
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
    pub(crate) fn upkeep(&self, arguments: &[&str]) -> Output {
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
    pub(crate) fn run(&self) -> (i32, Value) {
        let output = self.upkeep(&["run", "app", "--standalone", "--json"]);
        let told = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().expect("a code"), told)
    }

    /// Runs the task, which has to go well; gives the report.
    pub(crate) fn save(&self) -> Value {
        let (code, told) = self.run();
        assert_eq!(code, 0, "{told:#}");
        told["report"].clone()
    }

    pub(crate) fn restore(&self, target: &str) -> String {
        let output = self.upkeep(&["backup", "restore", "app", "--target", &self.shown(target)]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// restic on the repository; it has to go well.
    pub(crate) fn restic(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("restic")
            .args(["--no-cache", "-r", &self.shown("repository"), "--password-file", &self.shown("password")])
            .args(arguments)
            .output()
            .expect("restic can be started");
        assert!(output.status.success(), "restic {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Below `target`, where a restore puts the application's folder.
    pub(crate) fn restored(&self, target: &str) -> PathBuf {
        self.path(target).join(self.path("srv/app").strip_prefix("/").expect("absolute"))
    }

    /// Whatever a backup has to get right, and an SQLite database with a write-ahead log.
    pub(crate) fn fill(&self) {
        let app = self.path("srv/app");
        tree::fill(&app);
        sqlite(
            &app.join("app.db"),
            "PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT);",
        );
    }

    /// Nothing that upkeep keeps has the password in it.
    pub(crate) fn assert_password_is_nowhere(&self) {
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

pub(crate) fn has(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// The program beside the folder of this test.
pub(crate) fn upkeep() -> PathBuf {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("upkeep"));
    let path = std::env::var_os("UPKEEP").map(PathBuf::from).or_else(beside).expect("a path");
    assert!(path.is_file(), "there is no {}: run `make build`, or set UPKEEP", path.display());
    path
}

/// The folder of the plugins.
pub(crate) fn plugins() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins");
    let path = std::env::var_os("PLUGINS").map(PathBuf::from).unwrap_or_else(built);
    assert!(path.join("backup.wasm").is_file(), "there is no {}/backup.wasm: run `make plugins`", path.display());
    path.canonicalize().expect("it is there")
}

/// Whether a program is there; says loudly when it is not.
pub(crate) fn is_there(program: &str, test: &str) -> bool {
    let found = Command::new("which").arg(program).output().is_ok_and(|output| output.status.success());
    if !found {
        // Directly, since the test harness hides what a passing test prints.
        let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: there is no `{program}` (apt-get install {program})\n");
        assert!(std::env::var_os("CI").is_none(), "{program} is missing, and CI must not skip");
    }
    found
}

pub(crate) fn is_root(test: &str) -> bool {
    let root = rustix::process::getuid().is_root();
    if !root {
        let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: only root can do this\n");
    }
    root
}

pub(crate) fn sqlite(database: &Path, statement: &str) -> String {
    let output = Command::new("sqlite3").args(["-cmd", ".timeout 10000"]).arg(database).arg(statement).output();
    let output = output.expect("sqlite3 can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

pub(crate) fn orders(database: &Path) -> u64 {
    sqlite(database, "SELECT count(*) FROM orders").parse().expect("a number")
}

/// Does `work` while another program writes to the database.
pub(crate) fn while_written<T>(database: &Path, work: impl FnOnce() -> T) -> T {
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
pub(crate) fn cell(report: &Value, source: &str, column: &str) -> String {
    let table = &report["tables"][0];
    let place = table["columns"].as_array().expect("columns").iter().position(|it| it == column).expect("a column");
    let row = table["rows"].as_array().expect("rows").iter().find(|it| it[0] == source);
    row.unwrap_or_else(|| panic!("no {source}: {report:#}"))[place].as_str().expect("text").to_owned()
}

/// Keys and severities of the findings.
pub(crate) fn findings(report: &Value) -> Vec<(&str, &str)> {
    let all = report["findings"].as_array().expect("findings");
    all.iter().map(|it| (it["key"].as_str().expect("a key"), it["severity"].as_str().expect("one"))).collect()
}

/// A small disk, until it goes.
pub(crate) struct Disk(PathBuf);

impl Disk {
    pub(crate) fn mount(path: &Path) -> Self {
        fs::create_dir_all(path).expect("a folder");
        mount(&["-t", "tmpfs", "-o", "size=8m", "tmpfs"], path);
        Self(path.to_owned())
    }

    pub(crate) fn grow(&self) {
        mount(&["-o", "remount,size=64m"], &self.0);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

pub(crate) fn mount(arguments: &[&str], path: &Path) {
    let status = Command::new("mount").args(arguments).arg(path).status().expect("mount can be started");
    assert!(status.success(), "mount {arguments:?}");
}
