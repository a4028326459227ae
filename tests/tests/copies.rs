//! The program with a second repository on an SFTP server: copies, failures of the copy alone, and what `kill -9` leaves.
//!
//! It needs what `make build plugins` makes; the variables UPKEEP_BIN and UPKEEP_PLUGINS name another program and folder.

#[path = "storage/servers.rs"]
#[expect(dead_code, reason = "the other servers are for the other tests")]
mod servers;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use self::servers::{Sshd, is_there, within};

/// A server with a folder to save, a repository of its own and one elsewhere.
struct Server(tempfile::TempDir);

impl Server {
    fn new() -> Self {
        let server = Self(tempfile::tempdir().expect("a folder"));
        for folder in ["srv/app", "etc/tasks.d", "state"] {
            fs::create_dir_all(server.path(folder)).expect("a folder");
        }
        fs::write(server.path("password"), "secret").expect("a file");
        fs::set_permissions(server.path("password"), fs::Permissions::from_mode(0o600)).expect("its mode");
        fs::write(server.path("srv/app/file"), "content").expect("a file");
        let daemon = format!(
            "state_dir = \"{}\"\nsocket = \"{}\"\nplugin_dir = \"{}\"\n",
            server.shown("state"),
            server.shown("upkeep.sock"),
            upkeep_tests::plugins().display()
        );
        fs::write(server.path("etc/upkeep.toml"), daemon).expect("a file");
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().expect("it is there").join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn task(&self, sshd: &Sshd, upload: &str) {
        let options: Vec<_> = sshd.options().iter().map(|(name, value)| format!("{name} = \"{value}\"")).collect();
        let task = format!(
            r#"
plugin = "backup"
[config]
repository = "main"
copies = ["offsite"]
directories = [{{ root = "app" }}]
[limits]
nice = 12
ionice = "idle"
read = "500 MiB/s"
[grant]
state = true
metrics = true
[grant.files.app]
path = "{}"
[grant.repository.main]
url = "{}"
password = {{ file = "{password}" }}
upload = "{upload}"
[grant.repository.offsite]
url = "{}"
password = {{ file = "{password}" }}
options = {{ {} }}
"#,
            self.shown("srv/app"),
            self.shown("repository"),
            sshd.url(&self.shown("offsite")),
            options.join(", "),
            password = self.shown("password"),
        );
        fs::write(self.path("etc/tasks.d/app.toml"), task).expect("a file");
    }

    fn upkeep(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(upkeep_tests::program());
        command.args(arguments).env("UPKEEP_CONFIG", self.path("etc")).stdin(Stdio::null());
        command
    }

    /// Runs the task; whether it went well, what `--json` tells, and the log.
    fn run(&self) -> (bool, Value, String) {
        let output = self.upkeep(&["run", "app", "--standalone", "--json"]).output().expect("it can be started");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {log}"));
        (output.status.success(), told, log)
    }

    fn restic(&self, repository: &str, arguments: &[&str]) -> Output {
        Command::new("restic")
            .args(["--no-cache", "-r", &self.shown(repository), "--password-file", &self.shown("password")])
            .args(arguments)
            .output()
            .expect("restic can be started")
    }

    fn snapshots(&self, repository: &str) -> usize {
        let listed = self.restic(repository, &["snapshots", "--json"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        listed.as_array().map_or(0, Vec::len)
    }

    fn assert_whole(&self, repository: &str) {
        let checked = self.restic(repository, &["check", "--read-data"]);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn a_snapshot_is_copied_and_a_failed_copy_costs_nothing_else() {
    if !is_there("a_snapshot_is_copied_and_a_failed_copy_costs_nothing_else", &["/usr/sbin/sshd", "ssh", "restic"]) {
        return;
    }
    let server = Server::new();
    let sshd = Sshd::start(&server.path("sshd"));
    server.task(&sshd, "100 MiB/s");
    let (good, told, log) = server.run();
    assert!(good, "{told:#}\n{log}");
    assert_eq!((server.snapshots("repository"), server.snapshots("offsite")), (1, 1));

    // The vault is off.
    drop(sshd);
    fs::write(server.path("srv/app/more"), "more").expect("a file");
    let (good, told, log) = server.run();
    assert!(!good, "{told:#}\n{log}");
    let finding = &told["report"]["findings"][0];
    assert_eq!(finding["key"], "uncopied/directory/app", "{told:#}");
    let detail = finding["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("`offsite`") && detail.contains("Connection refused"), "{detail}");
    assert_eq!((server.snapshots("repository"), server.snapshots("offsite")), (2, 1));

    let sshd = Sshd::start(&server.path("sshd"));
    server.task(&sshd, "100 MiB/s");
    let (good, told, log) = server.run();
    assert!(good, "{told:#}\n{log}");
    assert_eq!((server.snapshots("repository"), server.snapshots("offsite")), (3, 2));
    server.assert_whole("repository");
    server.assert_whole("offsite");
}

#[test]
fn what_kill_leaves_is_recognised_and_removed() {
    if !is_there("what_kill_leaves_is_recognised_and_removed", &["/usr/sbin/sshd", "ssh", "restic"]) {
        return;
    }
    let server = Server::new();
    let sshd = Sshd::start(&server.path("sshd"));
    server.task(&sshd, "100 KiB/s");
    // What cannot be compressed, so that it takes a minute at the rate above.
    let mut noise = vec![0; 6_000_000];
    fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut noise)).expect("noise");
    fs::write(server.path("srv/app/noise"), noise).expect("a file");
    let mut running = server.upkeep(&["run", "app", "--standalone"]).stderr(Stdio::null()).spawn().expect("it starts");
    let locks = || fs::read_dir(server.path("repository/locks")).into_iter().flatten().count();
    within(Duration::from_secs(60), "a pack is being written under a lock", || {
        let found = Command::new("find").arg(server.path("repository/data")).args(["-name", "*-tmp-*"]).output();
        let found = found.is_ok_and(|output| !output.stdout.is_empty());
        (found && locks() == 1).then_some(())
    });
    // restic respects it while the process lives.
    let refused = server.restic("repository", &["prune"]);
    running.kill().expect("it runs");
    running.wait().expect("it ended");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(&format!("PID {}", running.id())), "{said}");
    assert_eq!((locks(), server.snapshots("repository")), (1, 0));

    server.task(&sshd, "100 MiB/s");
    let (good, told, log) = server.run();
    assert!(good, "{told:#}\n{log}");
    // A shared lock keeps nobody out, but the next one sees that it is dead.
    assert!(log.contains("removing the lock of the process"), "{log}");
    assert_eq!((locks(), server.snapshots("repository")), (0, 1));
    server.assert_whole("repository");
}
