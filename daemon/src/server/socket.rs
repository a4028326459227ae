//! The socket file. Who can open it controls the daemon, so it never exists with wider rights than it shall have: it is
//! made in a private folder beside its place, gets its mode and group there, and is then moved into place, which also
//! replaces the file that a killed daemon left behind.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use super::peer::{Peer, group_number};

/// The longest path that a socket can have, less what the private folder adds.
const LONGEST_PATH: usize = 90;

/// Why the socket cannot be listened to.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A daemon answers there.
    #[error(
        "another upkeep listens on {}; stop it first (systemctl stop upkeep), or set another `socket` in upkeep.toml",
        path.display()
    )]
    Live {
        /// The file.
        path: PathBuf,
    },
    /// Something else lies there.
    #[error("{} is there and is not a socket; move it away, or set another `socket` in upkeep.toml", path.display())]
    NotSocket {
        /// The file.
        path: PathBuf,
    },
    /// The path has no room.
    #[error("the socket path {} is longer than {LONGEST_PATH} bytes; set a shorter `socket` in upkeep.toml", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// No such group.
    #[error("there is no group `{group}` in /etc/group; set `socket_group` in upkeep.toml to one that exists")]
    NoGroup {
        /// What was asked for.
        group: String,
    },
    /// The system said no.
    #[error("failed to {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A socket that is listened to. When it is dropped, the file goes, unless another has taken its place.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Listens at `path`, which the owner and `group` may use.
    ///
    /// # Errors
    ///
    /// When another daemon listens there already, or the file cannot be made as it shall be.
    pub fn bind(path: &Path, group: Option<&str>) -> Result<Self, SocketError> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| SocketError::Io { what, path, source }
        };
        if path.as_os_str().len() > LONGEST_PATH {
            return Err(SocketError::TooLong { path: path.to_owned() });
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        make_folder(folder).map_err(failed("make the folder", folder))?;
        refuse_live(path)?;

        let private = tempfile::Builder::new()
            .prefix(".upkeep-")
            .tempdir_in(folder)
            .map_err(failed("make a folder in", folder))?;
        let fresh = private.path().join("s");
        let listener = UnixListener::bind(&fresh).map_err(failed("listen at", &fresh))?;
        if let Some(group) = group {
            let groups = fs::read_to_string("/etc/group").map_err(failed("read", Path::new("/etc/group")))?;
            let number =
                group_number(&groups, group).ok_or_else(|| SocketError::NoGroup { group: group.to_owned() })?;
            std::os::unix::fs::chown(&fresh, None, Some(number)).map_err(failed("give to `socket_group`", path))?;
        }
        fs::set_permissions(&fresh, Permissions::from_mode(0o660)).map_err(failed("set the mode of", path))?;
        let inode = fs::symlink_metadata(&fresh).map_err(failed("look at", &fresh))?.ino();
        fs::rename(&fresh, path).map_err(failed("move into place", path))?;
        Ok(Self { listener, path: path.to_owned(), inode })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!("the socket {} stays behind: {error}", self.path.display());
        }
    }
}

impl axum::serve::Listener for Socket {
    type Io = UnixStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (UnixStream, Peer) {
        let (stream, _) = axum::serve::Listener::accept(&mut self.listener).await;
        let peer = Peer::of(&stream);
        (stream, peer)
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// Makes the folder so that others may pass through it: the file itself says who may use it.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    // The umask may have taken from the mode.
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

fn refuse_live(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Ok(found) if !found.file_type().is_socket() => return Err(SocketError::NotSocket { path: path.to_owned() }),
        Ok(_) => {}
        Err(source) => return Err(SocketError::Io { what: "look at", path: path.to_owned(), source }),
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(SocketError::Live { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!("replacing the socket {} that an earlier daemon left", path.display());
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(SocketError::Io { what: "connect to", path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn is_made_with_its_mode_and_goes_when_dropped() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run/upkeep/upkeep.sock");
        let socket = Socket::bind(&path, Some("root")).unwrap();
        assert_eq!(mode(&path), 0o660);
        assert_eq!(mode(path.parent().unwrap()), 0o755);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing but the socket is left");
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn replaces_a_stale_file_and_refuses_a_live_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("upkeep.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves the file");
        let first = Socket::bind(&path, None).unwrap();
        assert!(matches!(Socket::bind(&path, None), Err(SocketError::Live { .. })));
        assert!(path.exists(), "refusing leaves the live socket alone");
        drop(first);
        fs::write(&path, "a file").unwrap();
        assert!(matches!(Socket::bind(&path, None), Err(SocketError::NotSocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
    }

    #[tokio::test]
    async fn leaves_alone_what_took_its_place() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("upkeep.sock");
        let socket = Socket::bind(&path, None).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn says_what_is_wrong_with_group_and_path() {
        let root = tempfile::tempdir().unwrap();
        let error = Socket::bind(&root.path().join("s"), Some("no-such-group")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no group `no-such-group` in /etc/group; set `socket_group` in upkeep.toml to one that exists"
        );
        let long = root.path().join("x".repeat(100));
        assert!(matches!(Socket::bind(&long, None), Err(SocketError::TooLong { .. })));
    }
}
