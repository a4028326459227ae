//! A server of its own in a temporary folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::api::Api;
use crate::daemon::Daemon;
use crate::journal::Journal;
use crate::wait::within;

/// The target folder in which this test was built.
fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its program");
    let profile = test.ancestors().find(|dir| dir.join("deps").is_dir() && dir.join("build").is_dir());
    profile.expect("tests run in cargo's target folder").to_owned()
}

/// The program under test: `UPKEEP_BIN`, or the one in the target folder of this test.
pub fn program() -> PathBuf {
    let program = std::env::var_os("UPKEEP_BIN").map_or_else(|| target().join("upkeep"), PathBuf::from);
    assert!(program.exists(), "{} is missing: run `cargo build --workspace` first", program.display());
    program
}

/// The guests: `UPKEEP_GUESTS`, or where `make guests` puts them.
fn guests() -> PathBuf {
    let made = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/guests");
    std::env::var_os("UPKEEP_GUESTS").map_or_else(|| made.into(), PathBuf::from)
}

/// The plugins that come with upkeep: `UPKEEP_PLUGINS`, or where `make plugins` puts them.
pub fn plugins() -> PathBuf {
    let made = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/plugins");
    std::env::var_os("UPKEEP_PLUGINS").map_or_else(|| made.into(), PathBuf::from)
}

/// What a command of the program came to.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("this is no JSON ({error}): {self:?}"))
    }
}

/// A folder with `etc`, `plugins`, `state` and `upkeep.sock`.
pub struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    /// A site with these guests as its plugins, and no task yet.
    pub fn new(guests: &[&str]) -> Self {
        let site = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        for folder in ["etc/tasks.d", "plugins"] {
            fs::create_dir_all(site.path(folder)).expect("a folder can be made");
        }
        // Whatever the umask: the folder is nobody else's.
        fs::set_permissions(site.dir(), fs::Permissions::from_mode(0o700)).expect("a mode can be set");
        guests.iter().for_each(|guest| site.plugin(guest));
        site.settings("");
        site
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// The configuration folder.
    pub fn config(&self) -> PathBuf {
        self.path("etc")
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Installs a guest as a plugin.
    pub fn plugin(&self, guest: &str) {
        self.install(&guests(), guest, "guests");
    }

    /// Installs a plugin that comes with upkeep.
    pub fn shipped(&self, plugin: &str) {
        self.install(&plugins(), plugin, "plugins");
    }

    fn install(&self, folder: &Path, name: &str, made_by: &str) {
        let file = format!("{name}.wasm");
        let from = folder.join(&file);
        assert!(from.exists(), "{} is missing: run `make {made_by}` first", from.display());
        fs::copy(from, self.path("plugins").join(file)).expect("a plugin can be copied");
    }

    /// Writes `upkeep.toml`: where things are, and what is given.
    pub fn settings(&self, more: &str) {
        let places = "state_dir = \"../state\"\nsocket = \"../upkeep.sock\"\nplugin_dir = \"../plugins\"";
        fs::write(self.config().join("upkeep.toml"), format!("{places}\n{more}\n"))
            .expect("upkeep.toml can be written");
    }

    /// Writes a task file, as an editor does: beside, then moved into its place.
    pub fn task(&self, name: &str, text: &str) {
        let beside = self.path(&format!("{name}.new"));
        fs::write(&beside, text).expect("a task file can be written");
        fs::rename(beside, self.task_file(name)).expect("a task file can be moved");
    }

    /// A task file.
    pub fn task_file(&self, name: &str) -> PathBuf {
        self.config().join("tasks.d").join(format!("{name}.toml"))
    }

    /// Starts the daemon and waits until it is ready.
    #[track_caller]
    pub fn start(&self) -> Daemon {
        let mut daemon = self.spawn();
        daemon.await_notice("READY=1");
        daemon
    }

    /// Starts the daemon.
    pub fn spawn(&self) -> Daemon {
        self.spawn_with(&mut self.command(&["daemon"]))
    }

    /// Starts a command that is, or becomes, the daemon.
    pub fn spawn_with(&self, command: &mut Command) -> Daemon {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("daemon.log"));
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("the log can be written"));
        Daemon::spawn(command, &self.path("notify.sock"))
    }

    /// The program with arguments, in an environment of its own.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.env_clear().env("UPKEEP_CONFIG", self.config()).env("TZ", "UTC").args(args);
        command
    }

    /// Runs a command of the program to its end.
    pub fn cli(&self, args: &[&str]) -> Ran {
        let output = self.command(args).stdin(Stdio::null()).output().expect("the program can be run");
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        let code = output.status.code().unwrap_or_else(|| panic!("{args:?} ended by a signal: {output:?}"));
        Ran { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// A connection to the daemon.
    #[track_caller]
    pub fn api(&self) -> Api {
        Api::connect(&self.path("upkeep.sock")).expect("the daemon listens")
    }

    /// The journal.
    pub fn journal(&self) -> Journal {
        Journal::open(&self.state())
    }

    /// All that the daemons of this site have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    /// Waits until a run is over, and gives all that is known of it.
    #[track_caller]
    pub fn ended(&self, run: &str) -> Value {
        let mut api = self.api();
        let path = format!("/v1/runs/{run}");
        let what = format!("the end of run {run}");
        // Some count or save a lot, on machines that are busy.
        within(Duration::from_secs(180), &what, || Some(api.get(&path)).filter(|run| run["phase"] == "done"))
    }

    /// Runs a task to its end, and gives all that is known of the run.
    #[track_caller]
    pub fn run(&self, task: &str) -> Value {
        let run = self.api().run(task);
        self.ended(&run)
    }

    /// The runs of a task, oldest first.
    #[track_caller]
    pub fn runs(&self, task: &str) -> Vec<Value> {
        let mut answer = self.api().get(&format!("/v1/runs?task={task}&limit=1000"));
        let mut runs: Vec<Value> = serde_json::from_value(answer["runs"].take()).expect("runs are a list");
        runs.reverse();
        runs
    }

    /// The log of a run that is over, as one text.
    #[track_caller]
    pub fn logs(&self, run: &str) -> String {
        let logs = self.api().get(&format!("/v1/runs/{run}/logs"));
        match &logs {
            Value::Array(lines) => lines.iter().map(|line| format!("{line}\n")).collect(),
            one => format!("{one}\n"),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the daemon in {}:\n{}---", self.dir().display(), self.log());
        }
    }
}
