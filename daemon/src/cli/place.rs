//! Where the configuration and the socket are.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::Args;

use super::failure::{Exit, Failure};
use crate::client::Client;
use crate::config::daemon::DaemonSettings;

/// Options of every command.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// Folder of upkeep.toml and tasks.d [default: $UPKEEP_CONFIG, else /etc/upkeep]
    #[arg(long, global = true, value_name = "DIR")]
    config: Option<PathBuf>,
    /// The daemon's socket [default: `socket` of upkeep.toml]
    #[arg(long, global = true, value_name = "FILE")]
    socket: Option<PathBuf>,
}

impl Place {
    /// The configuration folder.
    pub(super) fn config_dir(&self) -> PathBuf {
        let named = || std::env::var_os("UPKEEP_CONFIG").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        self.config.clone().or_else(named).unwrap_or_else(|| "/etc/upkeep".into())
    }

    /// The socket that the command line names, which goes before that of the configuration.
    pub(super) fn own_socket(&self) -> Option<PathBuf> {
        self.socket.clone()
    }

    /// The daemon's time zone, as far as it can be read.
    pub(super) fn timezone(&self) -> chrono_tz::Tz {
        let text = std::fs::read_to_string(self.config_dir().join("upkeep.toml")).unwrap_or_default();
        let settings: toml::Table = text.parse().unwrap_or_default();
        settings.get("timezone").and_then(|zone| zone.as_str()?.parse().ok()).unwrap_or(chrono_tz::UTC)
    }

    /// The state directory, as far as it can be read.
    pub(super) fn state_dir(&self) -> PathBuf {
        let dir = self.config_dir();
        let text = std::fs::read_to_string(dir.join("upkeep.toml")).unwrap_or_default();
        let settings: toml::Table = text.parse().unwrap_or_default();
        match settings.get("state_dir").and_then(toml::Value::as_str) {
            Some(state_dir) => dir.join(state_dir),
            None => DaemonSettings::default().state_dir,
        }
    }

    /// A client of the daemon.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(self.socket()?))
    }

    /// The socket: as given, or from `upkeep.toml`. Of that file only the one key is read, so that a daemon that runs
    /// can be asked although its configuration has been broken since. Who may not read it gets the default: the group
    /// that may use the socket need not see the configuration.
    pub(super) fn socket(&self) -> Result<PathBuf, Failure> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let dir = self.config_dir();
        let file = dir.join("upkeep.toml");
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => String::new(),
            Err(error) => {
                let message = format!("failed to read {}: {error}", file.display());
                return Err(Failure::new(Exit::Usage, message, "give the socket with --socket"));
            }
        };
        let settings: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let message = format!("{} is not valid: {}", file.display(), error.message());
            Failure::new(Exit::Usage, message, "`upkeep check` shows the place; --socket does without the file")
        })?;
        match settings.get("socket") {
            None => Ok(DaemonSettings::default().socket),
            Some(toml::Value::String(socket)) => Ok(dir.join(socket)),
            Some(_) => {
                let message = format!("`socket` in {} is not a string", file.display());
                Err(Failure::new(Exit::Usage, message, "write it as `socket = \"/run/upkeep/upkeep.sock\"`"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_comes_from_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { config: Some(dir.path().to_owned()), socket: None };
        assert_eq!(place.socket(), Ok("/run/upkeep/upkeep.sock".into()), "no file");
        std::fs::write(dir.path().join("upkeep.toml"), "socket = \"own.sock\"\nunknown = 1").unwrap();
        assert_eq!(place.socket(), Ok(dir.path().join("own.sock")));
        assert_eq!(place.timezone(), chrono_tz::UTC);
        std::fs::write(dir.path().join("upkeep.toml"), "timezone = \"Asia/Shanghai\"").unwrap();
        assert_eq!(place.timezone(), chrono_tz::Asia::Shanghai);
        std::fs::write(dir.path().join("upkeep.toml"), "socket = 1").unwrap();
        assert_eq!(place.socket().unwrap_err().exit, Exit::Usage);
        std::fs::write(dir.path().join("upkeep.toml"), "socket =").unwrap();
        assert!(place.socket().unwrap_err().message.contains("is not valid"));
        let given = Place { socket: Some("/tmp/s".into()), ..place };
        assert_eq!(given.socket(), Ok("/tmp/s".into()), "the file is not looked at");
    }
}
