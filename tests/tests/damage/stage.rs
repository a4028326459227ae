//! A server with two folders, a backup task and a repository that gets broken on purpose.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const PASSWORD: &str = "correct-horse-battery-staple";

pub(crate) struct Stage(tempfile::TempDir);

impl Stage {
    /// A configuration without tasks, and nothing saved.
    pub(crate) fn empty() -> Self {
        let stage = Self(tempfile::tempdir().expect("a folder"));
        for folder in ["srv/app/photos", "srv/app/notes", "srv/logs", "etc/tasks.d", "state", "aside"] {
            fs::create_dir_all(stage.path(folder)).expect("a folder");
        }
        stage.write("password", &format!("{PASSWORD}\n"));
        fs::set_permissions(stage.path("password"), fs::Permissions::from_mode(0o600)).expect("a mode");
        stage.write(
            "etc/upkeep.toml",
            &format!(
                "state_dir = \"{}\"\nsocket = \"{}\"\nplugin_dir = \"{}\"\n",
                stage.shown("state"),
                stage.shown("upkeep.sock"),
                plugins().display()
            ),
        );
        stage
    }

    /// Two folders, saved twice; each has packs of its own.
    pub(crate) fn new() -> Self {
        let stage = Self::empty();
        stage.task("app");
        stage.task("logs");
        stage.write("srv/app/notes/first.txt", "the first");
        fs::write(stage.path("srv/app/photos/big.jpg"), noise(1, 3_000_000)).expect("a file");
        stage.save("app");
        stage.write("srv/app/notes/second.txt", "the second");
        fs::write(stage.path("srv/app/photos/new.jpg"), noise(2, 2_000_000)).expect("a file");
        stage.save("app");
        fs::write(stage.path("srv/logs/access.log"), noise(3, 600_000)).expect("a file");
        stage.save("logs");
        stage
    }

    pub(crate) fn task(&self, name: &str) {
        self.write(
            &format!("etc/tasks.d/{name}.toml"),
            &format!(
                "plugin = \"backup\"\n[config]\nrepository = \"main\"\n[[config.directories]]\nroot = \"{name}\"\n\
                 [grant]\nstate = true\nmetrics = true\n[grant.files.{name}]\npath = \"{}\"\n\
                 [grant.repository.main]\nurl = \"{}\"\npassword = {{ file = \"{}\" }}\n",
                self.shown(&format!("srv/{name}")),
                self.shown("repository"),
                self.shown("password"),
            ),
        );
    }

    /// Writes the task file `check`: the plugin that looks for damage, with these lines of config.
    pub(crate) fn check_task(&self, config: &str) {
        self.write(
            "etc/tasks.d/check.toml",
            &format!(
                "plugin = \"repository-check\"\n[config]\nrepository = \"main\"\n{config}\n[grant]\nstate = true\nmetrics = true\n\
                 [grant.repository.main]\nurl = \"{}\"\npassword = {{ file = \"{}\" }}\naccess = [\"check\"]\n",
                self.shown("repository"),
                self.shown("password"),
            ),
        );
    }

    /// The real path: the folder for temporary files may be a link.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().expect("it is there").join(name)
    }

    pub(crate) fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    pub(crate) fn upkeep(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(upkeep());
        command.args(arguments).env("UPKEEP_CONFIG", self.path("etc")).env("TZ", "UTC");
        command.stdin(Stdio::null()).output().expect("it can be started")
    }

    /// Runs a task; gives the code and what `--json` tells.
    pub(crate) fn run(&self, task: &str) -> (i32, Value) {
        let output = self.upkeep(&["run", task, "--standalone", "--json"]);
        let told = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().expect("a code"), told)
    }

    pub(crate) fn save(&self, task: &str) {
        let (code, told) = self.run(task);
        assert_eq!(code, 0, "{told:#}");
    }

    /// What `upkeep backup check` prints, and whether it found nothing.
    pub(crate) fn check(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.upkeep(&[&["backup", "check", "app"], arguments].concat());
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).expect("text"))
    }

    /// What is found by reading everything, as `(kind, file)`.
    pub(crate) fn found(&self) -> Vec<(String, String)> {
        let output = self.upkeep(&["backup", "check", "app", "--read-data", "--json"]);
        let told: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let damages = told["damages"].as_array().expect("a list");
        damages.iter().map(|damage| (text(&damage["kind"]), text(&damage["file"]))).collect()
    }

    pub(crate) fn restic_may_fail(&self, arguments: &[&str]) -> Output {
        Command::new("restic")
            .args(["--no-cache", "-r", &self.shown("repository"), "--password-file", &self.shown("password")])
            .args(arguments)
            .output()
            .expect("restic can be started")
    }

    /// restic on the repository; it has to go well.
    pub(crate) fn restic(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.restic_may_fail(arguments);
        assert!(output.status.success(), "restic {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    pub(crate) fn assert_restic_finds_nothing(&self) {
        self.restic(&["check", "--read-data"]);
    }

    /// The files of a kind, `data`, `index`, `snapshots` or `keys`, by their paths below the repository.
    pub(crate) fn files(&self, kind: &str) -> Vec<String> {
        let top = self.path("repository");
        let (mut found, mut folders) = (Vec::new(), vec![top.join(kind)]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                match entry.file_type().expect("a kind").is_dir() {
                    true => folders.push(entry.path()),
                    false => found.push(entry.path()),
                }
            }
        }
        let mut found: Vec<_> =
            found.iter().map(|path| path.strip_prefix(&top).expect("below").display().to_string()).collect();
        found.sort();
        found
    }

    /// The pack that holds the first piece of the file `path` of the newest snapshot that has it.
    pub(crate) fn pack_of(&self, path: &str) -> String {
        let found = self.restic(&["find", "--json", &self.shown(path)]);
        let found: Value = serde_json::from_slice(&found).expect("JSON");
        let snapshot = found[0]["snapshot"].as_str().expect("a snapshot").to_owned();
        let folder = Path::new(path).parent().expect("a folder");
        let name = Path::new(path).file_name().expect("a name").to_str().expect("text");
        let tree = self.tree(&snapshot, &self.path(folder.to_str().expect("text")));
        let node = tree["nodes"].as_array().expect("nodes").iter().find(|node| node["name"] == name).expect("a file");
        self.pack_of_blob(node["content"][0].as_str().expect("a piece"))
    }

    /// The pack that holds the listing of a folder of the newest snapshot that has it.
    pub(crate) fn pack_of_folder(&self, path: &str) -> String {
        let found = self.restic(&["find", "--json", &self.shown(path)]);
        let found: Value = serde_json::from_slice(&found).expect("JSON");
        let snapshot = found[0]["snapshot"].as_str().expect("a snapshot").to_owned();
        let parent = self.path(path).parent().expect("a folder").to_owned();
        let name = Path::new(path).file_name().expect("a name").to_str().expect("text").to_owned();
        let tree = self.tree(&snapshot, &parent);
        let node =
            tree["nodes"].as_array().expect("nodes").iter().find(|node| node["name"] == *name).expect("a folder");
        self.pack_of_blob(node["subtree"].as_str().expect("a tree"))
    }

    fn tree(&self, snapshot: &str, folder: &Path) -> Value {
        let file: Value = serde_json::from_slice(&self.restic(&["cat", "snapshot", snapshot])).expect("JSON");
        let mut id = file["tree"].as_str().expect("a tree").to_owned();
        for part in folder.iter().skip(1) {
            let tree: Value = serde_json::from_slice(&self.restic(&["cat", "blob", &id])).expect("JSON");
            let nodes = tree["nodes"].as_array().expect("nodes");
            let node = nodes.iter().find(|node| node["name"] == *part.to_str().expect("text")).expect("a folder");
            id = node["subtree"].as_str().expect("a tree").to_owned();
        }
        serde_json::from_slice(&self.restic(&["cat", "blob", &id])).expect("JSON")
    }

    fn pack_of_blob(&self, blob: &str) -> String {
        for index in self.files("index") {
            let index: Value = serde_json::from_slice(&self.restic(&["cat", "index", &index[6..]])).expect("JSON");
            for pack in index["packs"].as_array().expect("packs") {
                if pack["blobs"].as_array().expect("blobs").iter().any(|it| it["id"] == *blob) {
                    let id = pack["id"].as_str().expect("a name");
                    return format!("data/{}/{id}", &id[..2]);
                }
            }
        }
        panic!("no pack holds {blob}");
    }

    /// Turns one bit of a file of the repository.
    pub(crate) fn flip(&self, file: &str, at: usize) {
        self.change(file, |bytes| bytes[at] ^= 0x10);
    }

    pub(crate) fn change(&self, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.path("repository").join(file);
        let mut bytes = fs::read(&path).expect("a file");
        change(&mut bytes);
        // restic and rustic make their files read-only; root does not mind, others would.
        let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o600));
        fs::write(&path, bytes).expect("a file");
    }

    pub(crate) fn remove(&self, file: &str) {
        fs::remove_file(self.path("repository").join(file)).expect("it was there");
    }

    /// Does the commands that a check told, as an operator would: those of restic and the shell with what is in front
    /// of the explanation in brackets.
    pub(crate) fn follow(&self, told: &str) {
        let mut seen = Vec::new();
        for line in told.lines().map(str::trim) {
            let command = line.split("   (").next().expect("a part").replace("/root/", &self.shown("aside/"));
            let is_command = ["rm ", "mv ", "restic ", "upkeep run "].iter().any(|start| command.starts_with(start));
            // restic 0.14 does not have it; the lines after it do without.
            if !is_command || command.contains("repair packs") || seen.contains(&command) {
                continue;
            }
            // Only what the check still names, it says; these are told apart by the test.
            if command.contains(" forget ") {
                continue;
            }
            let standalone = if command.starts_with("upkeep run ") { " --standalone" } else { "" };
            let full =
                command.replacen("upkeep ", &format!("{} ", upkeep().display()), usize::from(!standalone.is_empty()));
            let output = Command::new("sh")
                .args(["-c", &format!("{full}{standalone}")])
                .env("UPKEEP_CONFIG", self.path("etc"))
                .env("RESTIC_PASSWORD_FILE", self.path("password"))
                .env("RESTIC_CACHE_DIR", self.path("cache"))
                .output()
                .expect("a shell");
            let text = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "`{command}`: {}", String::from_utf8_lossy(&text));
            seen.push(command);
        }
        assert!(!seen.is_empty(), "no command in:\n{told}");
    }

    /// The content of a file, restored from the newest snapshot of a task.
    pub(crate) fn restored(&self, task: &str, file: &str) -> Vec<u8> {
        let target = tempfile::tempdir_in(self.path("")).expect("a folder");
        let output =
            self.upkeep(&["backup", "restore", task, "--target", &target.path().join("to").display().to_string()]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stdout));
        let path = self.path(file);
        fs::read(target.path().join("to").join(path.strip_prefix("/").expect("absolute"))).expect("it is restored")
    }

    /// What was printed, without what differs from run to run.
    pub(crate) fn settled(&self, text: &str) -> String {
        let mut text = text.replace(&self.shown(""), "/DIR/");
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        // Names are hashes of random content; times are those of now.
        for (length, name) in [(64, "[NAME]"), (16, "[START]"), (8, "[SHORT]")] {
            let mut settled = String::new();
            let mut rest = text.as_str();
            while let Some(from) = rest.find(hex) {
                let end = rest[from..].find(|c| !hex(c)).map_or(rest.len(), |end| from + end);
                settled += &rest[..from];
                let word = &rest[from..end];
                let before = settled.chars().last().is_some_and(|c| c.is_alphanumeric());
                let after = rest[end..].chars().next().is_some_and(|c| c.is_alphanumeric());
                settled += if word.len() == length && !before && !after { name } else { word };
                rest = &rest[end..];
            }
            text = settled + rest;
        }
        let mut lines = Vec::new();
        for line in text.lines() {
            let line = match line.find("/[NAME]") {
                Some(at) if at >= 2 && line[..at].ends_with(|c: char| hex(c)) => {
                    format!("{}XX{}", &line[..at - 2], &line[at..])
                }
                _ => line.to_owned(),
            };
            lines.push(match line.split_once(" of 20") {
                Some((before, after)) if after.contains("UTC") => {
                    format!("{before} of TIME{}", &after[after.rfind("UTC").map_or(0, |at| at + 3)..])
                }
                _ => line,
            });
        }
        lines.join("\n")
    }
}

pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect()
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

/// Whether restic is there; says loudly when it is not.
pub(crate) fn has_restic(test: &str) -> bool {
    let found = Command::new("restic").arg("version").output().is_ok_and(|output| output.status.success());
    if !found {
        // Directly, since the test harness hides what a passing test prints.
        let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: there is no `restic` (apt-get install restic)\n");
        assert!(std::env::var_os("CI").is_none(), "restic is missing, and CI must not skip");
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
