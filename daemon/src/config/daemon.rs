//! `upkeep.toml`: what concerns the daemon as a whole.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::alerts::AlertSettings;
use crate::config::listen::ListenSettings;

/// `upkeep.toml`. Every key has a default; an empty file is valid. Paths that are relative start at the file's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DaemonSettings {
    /// Journal, task state, cache of compiled plugins.
    pub state_dir: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// Group that may use the control socket beside the daemon's own user.
    pub socket_group: Option<String>,
    /// Where plugins are: `NAME.wasm`.
    pub plugin_dir: PathBuf,
    /// IANA time zone of tasks that name none.
    pub timezone: String,
    /// Runs that may be under way at the same time; others wait in the queue.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_running: u32,
    /// Threads that guests run on; 0 for as many as there are cores.
    #[schemars(range(max = 1024))]
    pub workers: u32,
    /// Time that running tasks get to end when the daemon stops. Those that do not are resumed at the next start.
    #[serde(with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub stop_deadline: Duration,
    /// Runs and slots older than this are removed from the journal; the newest of each task stay.
    #[serde(with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub keep_history: Duration,
    /// Messages of the outbox that were sent, are dead or expired longer ago than this are forgotten, with their idempotency keys.
    #[serde(with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub keep_messages: Duration,
    /// So many of them are kept at the most, the newest; of those that are dead as many once more, so that others do not drive them
    /// out.
    #[schemars(range(min = 1_000, max = 100_000_000))]
    pub max_messages: u32,
    /// Users' consents to messages, by their openid, of whom nothing was heard for longer than this are forgotten.
    #[serde(with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub keep_consents: Duration,
    /// What is listened to over TCP; without it, nothing.
    pub listen: Option<ListenSettings>,
    /// Who is told what upkeep itself reports.
    pub alerts: AlertSettings,
}

impl Default for DaemonSettings {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/upkeep".into(),
            socket: "/run/upkeep/upkeep.sock".into(),
            socket_group: None,
            plugin_dir: "/usr/lib/upkeep/plugins".into(),
            timezone: "UTC".into(),
            max_running: 64,
            workers: 0,
            stop_deadline: Duration::from_secs(30),
            keep_history: Duration::from_secs(90 * 24 * 3600),
            keep_messages: Duration::from_secs(30 * 24 * 3600),
            max_messages: 200_000,
            keep_consents: Duration::from_secs(365 * 24 * 3600),
            listen: None,
            alerts: AlertSettings::default(),
        }
    }
}

impl DaemonSettings {
    /// The same, with relative paths made absolute against the folder of `upkeep.toml`.
    #[must_use]
    pub fn absolute(mut self, dir: &Path) -> Self {
        for path in [&mut self.state_dir, &mut self.socket, &mut self.plugin_dir] {
            *path = tidy(&dir.join(&*path));
        }
        self
    }
}

/// Without `.` and `..`, by the letters alone: the path may not exist yet.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                tidy.pop();
            }
            part => tidy.push(part),
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_start_at_the_folder_of_the_file() {
        let settings = DaemonSettings { state_dir: "../state".into(), socket: "./a.sock".into(), ..Default::default() };
        let settings = settings.absolute(Path::new("/etc/upkeep"));
        assert_eq!(settings.state_dir, Path::new("/etc/state"));
        assert_eq!(settings.socket, Path::new("/etc/upkeep/a.sock"));
        assert_eq!(settings.plugin_dir, Path::new("/usr/lib/upkeep/plugins"));
    }
}
