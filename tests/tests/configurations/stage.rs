//! A small server to validate configurations on: folders, a database, secrets, and plugins whose files are their
//! manifests, so that no WebAssembly is needed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use upkeep::clock::Timestamp;
use upkeep::config::check::Surroundings;
use upkeep::config::load::{Examined, examine};
use upkeep::plugin::manifest::Manifest;

/// 2026-01-05 12:00 UTC, a Monday.
pub(crate) const NOW: Timestamp = Timestamp(1_767_614_400_000);

/// What a right task for the plugin `backup` grants.
pub(crate) const GRANTS: &str = r#"
[grant.files.app]
path = "{root}/srv/app"

[grant.repository.main]
url = "{root}/backup/main"
password = { file = "{root}/secrets/main" }
"#;

const PLUGINS: [(&str, &str); 13] = [
    (
        "backup",
        r#"{"format": 1, "name": "backup", "version": "0.1.0", "summary": "Saves folders", "author": "upkeep", "license": "MIT",
            "api": "0.1",
            "capabilities": {
                "files": {"reason": "read the folders that are to be saved", "access": ["read"]},
                "repository": {"reason": "add a snapshot to the backup repository", "access": ["append"]},
                "dump": {"reason": "save SQLite databases as of one moment", "optional": true},
                "metrics": {"reason": "say how much was saved", "optional": true}},
            "config_schema": {
                "type": "object",
                "properties": {
                    "folders": {"type": "array", "items": {"type": "string"}, "minItems": 1,
                                "description": "Names of the granted folders to save."},
                    "keep": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "Snapshots to keep."},
                    "compression": {"enum": ["off", "fast", "best"], "description": "How hard to compress."},
                    "mark": {"type": "string", "pattern": "^[a-z]+$", "description": "A tag for the snapshots."}},
                "required": ["folders"],
                "additionalProperties": false}}"#,
    ),
    (
        "noop",
        r#"{"format": 1, "name": "noop", "version": "0.1.0", "summary": "Does nothing", "author": "upkeep", "license": "MIT",
            "api": "0.1", "capabilities": {}}"#,
    ),
    (
        "facts",
        r#"{"format": 1, "name": "facts", "version": "0.1.0", "summary": "Reports", "author": "upkeep", "license": "MIT",
            "api": "0.1", "capabilities": {
                "system": {"reason": "warn before a disk is full.", "access": ["os", "disks"]},
                "state": {"reason": "compare with the day before"},
                "sql": {"reason": "keep a history", "access": ["read", "write"], "optional": true}}}"#,
    ),
    (
        "purger",
        r#"{"format": 1, "name": "purger", "version": "0.1.0", "summary": "Removes rows", "author": "upkeep", "license": "MIT",
            "api": "0.1", "capabilities": {
                "sql": {"reason": "remove rows that are old", "access": ["remove", "maintain"]}}}"#,
    ),
    (
        "future",
        r#"{"format": 1, "name": "future", "version": "2.0.0", "summary": "From later", "author": "upkeep", "license": "MIT",
            "api": "9.1", "capabilities": {}}"#,
    ),
    (
        "courier",
        r#"{"format": 1, "name": "courier", "version": "0.1.0", "summary": "Sends", "author": "upkeep", "license": "MIT",
            "api": "0.1", "capabilities": {"pigeon": {"reason": "send the report"}}}"#,
    ),
    (
        "asker",
        r#"{"format": 1, "name": "asker", "version": "0.1.0", "summary": "Asks", "author": "upkeep", "license": "MIT",
            "api": "0.1", "capabilities": {"http": {"reason": "ask a server how it is"}}}"#,
    ),
    (
        "caller",
        r#"{"format": 1, "name": "caller", "version": "0.1.0", "summary": "Calls", "author": "upkeep", "license": "MIT",
            "api": "0.1", "capabilities": {
                "http": {"reason": "tell a server what has happened"},
                "files": {"reason": "read what has happened", "access": ["read"], "optional": true},
                "secrets": {"reason": "prove who is calling", "access": ["fill", "sign"], "optional": true}}}"#,
    ),
    (
        "postman",
        r#"{"format": 1, "name": "postman", "version": "0.1.0", "summary": "Writes", "author": "upkeep", "license": "MIT",
            "api": "0.1", "capabilities": {"smtp": {"reason": "tell people what has happened"}}}"#,
    ),
    (
        "muddled",
        r#"{"format": 1, "name": "muddled", "version": "0.1.0", "summary": "Broken", "author": "upkeep", "license": "MIT",
            "api": "0.1", "capabilities": {}, "config_schema": {"type": "strin"}}"#,
    ),
    (
        "teller",
        r#"{"format": 1, "name": "teller", "version": "0.1.0", "summary": "Tells", "author": "upkeep", "license": "MIT",
            "api": "0.1", "capabilities": {
                "outbox": {"reason": "tell what has happened", "access": ["enqueue"]},
                "consents": {"reason": "see who wants to hear it", "optional": true}}}"#,
    ),
    (
        "carrier",
        r##"{"format": 1, "name": "carrier", "version": "0.1.0", "summary": "Delivers", "author": "upkeep", "license": "MIT",
            "api": "0.1", "capabilities": {
                "outbox": {"reason": "deliver what is told", "access": ["deliver"]},
                "http": {"reason": "ask robots to tell it", "optional": true},
                "smtp": {"reason": "tell it by mail", "optional": true},
                "secrets": {"reason": "prove who is calling", "access": ["fill", "sign"], "optional": true}},
            "config_schema": {
                "type": "object",
                "$defs": {"hook": {"type": "object", "properties": {
                    "url": {"type": "string", "format": "upkeep-requested"},
                    "base": {"type": "string", "format": "upkeep-requested", "default": "https://api.robot.example"}}}},
                "properties": {
                    "hooks": {"type": "object", "additionalProperties": {"anyOf": [{"$ref": "#/$defs/hook"}, {"type": "null"}]}},
                    "mail": {"type": "string", "format": "upkeep-mail-server"},
                    "key": {"type": "string", "format": "upkeep-secret", "description": "The name of the robot's secret."},
                    "channels": {"type": "object"},
                    "signed_with": {"type": "string", "format": "upkeep-secret-to-sign"}},
                "additionalProperties": false}}"##,
    ),
    ("text", "not a component"),
];

/// The server.
pub(crate) struct Stage {
    root: TempDir,
}

impl Stage {
    /// A server with nothing wrong and no task.
    pub(crate) fn new() -> Self {
        // The name always has the same length, so that lines wrap at the same words.
        let root =
            tempfile::Builder::new().prefix("upkeep-").rand_bytes(6).tempdir_in("/tmp").expect("/tmp is writable");
        let stage = Self { root };
        for folder in ["etc/tasks.d", "plugins", "state", "srv/app", "srv/empty", "backup", "secrets", "tools"] {
            std::fs::create_dir_all(stage.path(folder)).expect("a folder");
        }
        stage.write("etc/upkeep.toml", "plugin_dir = \"../plugins\"\nstate_dir = \"{root}/state\"\n");
        stage.write("srv/app/index.html", "hello");
        for tool in ["pg_dump", "pg_dumpall", "psql", "mariadb-dump", "mariadb", "redis-cli"] {
            stage.write(&format!("tools/{tool}"), "");
        }
        stage.write("srv/shop.db", "SQLite format 3\0 and more");
        for (secret, content, mode) in [
            ("main", "s", 0o600),
            ("open", "s", 0o644),
            ("empty", "", 0o600),
            ("lines", "s\nt\n", 0o600),
            ("blank", "\n", 0o600),
            ("token", "0123456789abcdef", 0o600),
            ("short", "0123456789", 0o600),
        ] {
            let file = stage.write(&format!("secrets/{secret}"), content);
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("a mode");
        }
        for (name, manifest) in PLUGINS {
            stage.write(&format!("plugins/{name}.wasm"), manifest);
        }
        stage
    }

    /// The folder of the configuration.
    pub(crate) fn dir(&self) -> PathBuf {
        self.path("etc")
    }

    /// A path on this server.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Writes a file; `{root}` and `{grants}` stand for the server's folder and for [`GRANTS`].
    pub(crate) fn write(&self, path: &str, text: &str) -> PathBuf {
        let text = text.replace("{grants}", GRANTS.trim()).replace("{root}", &self.root());
        let file = self.path(path);
        std::fs::write(&file, text).expect("a file");
        file
    }

    /// Looks at the configuration as the daemon does.
    pub(crate) fn examine(&self) -> Examined {
        self.examine_as(true)
    }

    /// Looks at the configuration as the daemon or as `upkeep check` does.
    pub(crate) fn examine_as(&self, daemon: bool) -> Examined {
        let variable = |name: &str| (name == "UPKEEP_SET").then(|| "value".to_owned());
        let surroundings = Surroundings { read_manifest: &read_manifest, variable: &variable, daemon, now: NOW };
        examine(&self.dir(), &surroundings)
    }

    /// A text without the part of the path that changes from run to run.
    pub(crate) fn steady(&self, text: &str) -> String {
        text.replace(&self.root(), "/tmp/upkeep-000000")
    }

    fn root(&self) -> String {
        self.root.path().display().to_string()
    }
}

/// What begins as JSON is the manifest itself; anything else has to be a component.
pub(crate) fn read_manifest(bytes: &[u8], file: &Path) -> Result<Manifest, String> {
    match bytes {
        [b'{', ..] => Manifest::from_json(bytes, file).map_err(|error| error.to_string()),
        component => upkeep::config::plugin::read_manifest(component, file),
    }
}
