//! Scratch servers: started for one restore, reached by a socket in their own folder and by nothing else, and gone with
//! all they hold when they are dropped.
//!
//! A server must not run as root, and most refuse to: for root it runs as the account that its package made, or as
//! `nobody`. Its settings give up all safety against power loss, since nobody needs its data afterwards.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

use crate::database::process::{Account, Running, Tool};
use crate::database::{DatabaseError, Engine, mariadb, postgresql, redis, sqlite};

/// How a scratch server is started.
#[derive(Debug, Clone)]
pub struct ScratchOptions {
    /// The folder in which it gets a folder of its own. It has to be large enough, and open to the server's account:
    /// `/var/tmp` is, `/var/lib/upkeep` is not.
    pub parent: PathBuf,
    /// The folder of the server's programs, as in the grant; left out: the usual places.
    pub tools: Option<PathBuf>,
    /// Ends whatever is under way.
    pub cancel: CancellationToken,
}

/// What a load did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The database that the file held; none for accounts and for Redis.
    pub database: Option<String>,
    /// What could not be done and does no harm to the data, such as a tablespace that only the old server had.
    pub remarks: Vec<String>,
}

/// The answer to a question.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rows {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows; a value is text, as the server shows it, or none for NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// Whether every row that refers to another one finds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForeignKeys {
    /// Foreign keys that there are.
    pub checked: u64,
    /// Those that are broken, each as a sentence.
    pub broken: Vec<String>,
    /// How it is known, as a sentence.
    pub how: &'static str,
}

/// What each kind of server does.
pub(super) trait Server: Send {
    fn load(&mut self, file: &str, content: &mut dyn Read) -> Result<Loaded, DatabaseError>;
    fn databases(&self) -> Result<Vec<String>, DatabaseError>;
    fn query(&self, database: &str, statement: &str) -> Result<Rows, DatabaseError>;
    fn foreign_keys(&self, database: &str) -> Result<ForeignKeys, DatabaseError>;
    /// The folder, its socket among it; for whoever wants to look.
    fn folder(&self) -> &Path;
}

/// A scratch server. Dropped, it is stopped and removed.
pub struct Scratch {
    engine: Engine,
    server: Box<dyn Server>,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").field("engine", &self.engine).field("folder", &self.folder()).finish_non_exhaustive()
    }
}

impl Scratch {
    /// Starts a server of this kind, with nothing in it. It answers when this returns.
    ///
    /// # Errors
    ///
    /// When a program is missing (the text names the Debian package), or the server does not start (the text has what it
    /// said).
    pub fn start(engine: Engine, options: &ScratchOptions) -> Result<Self, DatabaseError> {
        let server: Box<dyn Server> = match engine {
            Engine::Sqlite => Box::new(sqlite::Files::new(options)?),
            Engine::Postgresql => Box::new(postgresql::Cluster::start(options)?),
            Engine::Mariadb => Box::new(mariadb::Instance::start(options)?),
            Engine::Redis => Box::new(redis::Store::start(options)?),
        };
        Ok(Self { engine, server })
    }

    /// Its kind.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        self.server.folder()
    }

    /// Loads one file of a dump, read from `content`. `file` is its name in the snapshot (`app.pgdump`, `globals.sql`), which
    /// says what it is. Load `globals.sql` first: owners and grants of the others refer to it.
    ///
    /// # Errors
    ///
    /// When it cannot be loaded in full, with what the server said; [`DatabaseError::Content`] when `content` fails.
    pub fn load(&mut self, file: &str, content: &mut dyn Read) -> Result<Loaded, DatabaseError> {
        self.server.load(file, content)
    }

    /// The databases that were loaded.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub fn databases(&self) -> Result<Vec<String>, DatabaseError> {
        self.server.databases()
    }

    /// Runs one statement of SQL (of Redis: one command, its words apart by spaces) and gives its rows.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub fn query(&self, database: &str, statement: &str) -> Result<Rows, DatabaseError> {
        self.server.query(database, statement)
    }

    /// Looks whether every foreign key finds its row.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub fn foreign_keys(&self, database: &str) -> Result<ForeignKeys, DatabaseError> {
        self.server.foreign_keys(database)
    }
}

/// Longest path of a socket: 108 bytes with a zero at the end, and the server adds a name.
const LONGEST_SOCKET: usize = 107;

/// A folder of its own, and who may use it.
#[derive(Debug)]
pub(super) struct Place {
    folder: tempfile::TempDir,
    pub(super) account: Option<Account>,
}

impl Place {
    /// Makes the folder in `parent`, for the first of these accounts that the system knows. Root gives it away; anyone else
    /// keeps it.
    pub(super) fn new(parent: &Path, accounts: &[&str], socket: &str) -> Result<Self, DatabaseError> {
        let failed = |source| DatabaseError::Disk { path: parent.to_owned(), source };
        let folder = tempfile::Builder::new().prefix("upkeep-").tempdir_in(parent).map_err(failed)?;
        let place = Self { folder, account: account(accounts) };
        if place.path(socket).as_os_str().as_bytes().len() > LONGEST_SOCKET {
            let message = "its path is too long for the socket of a server; name a shorter one, such as /var/tmp";
            return Err(failed(std::io::Error::other(message)));
        }
        if let Some(Account { uid, gid }) = place.account {
            std::fs::set_permissions(place.folder.path(), std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
            std::os::unix::fs::chown(place.folder.path(), Some(uid), Some(gid)).map_err(failed)?;
            let closed = parent.ancestors().find(|folder| !may_enter(folder, uid, gid));
            if let Some(closed) = closed {
                let message = format!(
                    "the server runs as another user, who may not enter {}; name another folder, such as /var/tmp",
                    closed.display()
                );
                return Err(failed(std::io::Error::other(message)));
            }
        }
        Ok(place)
    }

    pub(super) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn account(names: &[&str]) -> Option<Account> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let user = names.iter().find_map(|name| nix::unistd::User::from_name(name).ok().flatten());
    // `nobody` and its group, where the system has no names at all.
    Some(user.map_or(Account { uid: 65_534, gid: 65_534 }, |user| Account {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
    }))
}

fn may_enter(folder: &Path, uid: u32, gid: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(metadata) = std::fs::metadata(folder) else { return true };
    let shift = match () {
        () if metadata.uid() == uid => 6,
        () if metadata.gid() == gid => 3,
        () => 0,
    };
    metadata.mode() >> shift & 1 == 1
}

/// How long a server may take to start.
const START: Duration = Duration::from_secs(60);

/// How long it may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(10);

/// A server's process. Dropped, it is stopped.
#[derive(Debug)]
pub(super) struct Daemon {
    running: Running,
    stop: Signal,
}

impl Daemon {
    /// Starts it and waits until `answers` says that it does.
    pub(super) fn start(
        tool: Tool,
        stop: Signal,
        cancel: &CancellationToken,
        answers: impl Fn() -> bool,
    ) -> Result<Self, DatabaseError> {
        let mut running = tool.death(stop).start(cancel)?;
        // Some say there what is wrong; and a full pipe would hold it up.
        running.listen();
        let mut daemon = Self { running, stop };
        let until = Instant::now() + START;
        while !answers() {
            if cancel.is_cancelled() {
                return Err(DatabaseError::Cancelled);
            }
            if daemon.running.wait_for(Duration::from_millis(50)) {
                daemon.running.wait(cancel)?;
                return Err(daemon.running.failed("ended at once"));
            }
            if Instant::now() > until {
                return Err(daemon.running.failed("did not answer within a minute"));
            }
        }
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.running.signal(self.stop);
        // After that, the drop of `running` kills it.
        self.running.wait_for(STOP);
    }
}
