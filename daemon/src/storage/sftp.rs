//! A repository on an SFTP server, reached by the `ssh` of the system: its configuration, agent and known hosts count.
//!
//! One `ssh` runs for one repository and carries all requests side by side. When it ends, its last words say why, and the
//! next attempt starts another one. A file is written under another name, synced where the server can do that, and
//! renamed.

use std::collections::BTreeMap;
use std::io::SeekFrom;
use std::num::NonZeroUsize;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use openssh_sftp_client::error::{Error as SftpError, SftpErrorKind};
use openssh_sftp_client::file::{File, TokioCompatFile};
use openssh_sftp_client::{Sftp as Client, SftpOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::storage::address::SftpPlace;
use crate::storage::throttle::{Limits, PIECE, pay};
use crate::storage::wait::persist;
use crate::storage::{Entry, Fault, LOCKS, StorageError, Store};

/// How much is asked for in one request, at the most. A server may give less.
const REQUEST: u64 = 128 * 1024;
/// Requests of one read that are under way together, and folders that are listed together.
const TOGETHER: usize = 8;
/// What of a file is on its way unacknowledged, at the most.
const WINDOW: NonZeroUsize = NonZeroUsize::new(4 * 1024 * 1024).unwrap();
/// What is kept of the words of ssh, in bytes.
const WORDS: usize = 4 * 1024;
/// How long ssh may take to connect; it has a shorter patience of its own.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Debug)]
pub(super) struct Sftp {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SftpPlace,
    arguments: Vec<String>,
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
    limits: Limits,
}

/// One ssh that runs.
#[derive(Debug)]
struct Connection {
    client: Client,
    words: Words,
    /// Ends with it.
    _ssh: Child,
}

/// What ssh wrote to its standard error.
type Words = Arc<Mutex<String>>;

/// The arguments of ssh for a server.
fn arguments(server: &SftpPlace, options: &BTreeMap<String, String>) -> Vec<String> {
    let mut arguments: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(ToString::to_string));
    if let Some(config) = options.get("config") {
        add(&["-F", config]);
    }
    // Nobody is there to be asked, and a server that is gone is noticed within a minute.
    add(&[
        "-o",
        "BatchMode=yes",
        "-o",
        "ConnectTimeout=15",
        "-o",
        "ServerAliveInterval=15",
        "-o",
        "ServerAliveCountMax=3",
    ]);
    add(&["-o", "ClearAllForwardings=yes"]);
    if let Some(key) = options.get("key") {
        add(&["-i", key, "-o", "IdentitiesOnly=yes"]);
    }
    if let Some(known) = options.get("known_hosts") {
        // ssh splits the value at spaces.
        add(&["-o", &format!("UserKnownHostsFile=\"{known}\""), "-o", "GlobalKnownHostsFile=none"]);
        add(&["-o", "StrictHostKeyChecking=yes"]);
    }
    if let Some(user) = &server.user {
        add(&["-l", user]);
    }
    if let Some(port) = server.port {
        add(&["-p", &port.to_string()]);
    }
    add(&["-s", "--", &server.host, "sftp"]);
    arguments
}

impl Sftp {
    pub(super) fn new(server: SftpPlace, options: &BTreeMap<String, String>, limits: Limits) -> Self {
        let arguments = arguments(&server, options);
        Self { shared: Arc::new(Shared { server, arguments, connection: tokio::sync::Mutex::default(), limits }) }
    }

    /// Does something with a connection, once more when that breaks off.
    fn run<T: Send + 'static, F>(
        &self,
        bytes: u64,
        rate: Option<u64>,
        work: impl Fn(Arc<Shared>, Arc<Connection>) -> F + Clone + Send + Sync + 'static,
    ) -> Result<T, StorageError>
    where
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        persist(&self.shared.server.host, bytes, rate, || {
            let (shared, work) = (Arc::clone(&self.shared), work.clone());
            async move {
                let connection = shared.connect().await?;
                let done = work(Arc::clone(&shared), Arc::clone(&connection)).await;
                match done {
                    Err(error) if error.fault == Fault::Passing => {
                        shared.forget(&connection).await;
                        Err(connection.explain(error).await)
                    }
                    done => done,
                }
            }
        })
    }
}

impl Shared {
    async fn connect(&self) -> Result<Arc<Connection>, StorageError> {
        let mut place = self.connection.lock().await;
        if let Some(connection) = &*place {
            return Ok(Arc::clone(connection));
        }
        let made = Arc::new(Connection::make(self).await?);
        *place = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Lets the next attempt make a new connection, unless another one did already.
    async fn forget(&self, broken: &Arc<Connection>) {
        let mut place = self.connection.lock().await;
        if place.as_ref().is_some_and(|current| Arc::ptr_eq(current, broken)) {
            *place = None;
        }
    }

    fn path(&self, path: &str) -> String {
        format!("{}/{path}", self.server.path)
    }
}

impl Connection {
    async fn make(shared: &Shared) -> Result<Self, StorageError> {
        let mut ssh = Command::new("ssh")
            .args(&shared.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C is for upkeep, which removes its lock through this connection.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let remedy = "; install it with `apt-get install openssh-client`";
                StorageError::new(Fault::Other, format!("`ssh` cannot be started: {error}{remedy}"))
            })?;
        let words = Words::default();
        let (Some(stdin), Some(stdout), Some(stderr)) = (ssh.stdin.take(), ssh.stdout.take(), ssh.stderr.take()) else {
            return Err(StorageError::new(Fault::Other, "`ssh` has no pipes"));
        };
        tokio::spawn(listen(stderr, Arc::clone(&words)));
        let options = SftpOptions::new().tokio_compat_file_write_limit(WINDOW);
        let client = tokio::time::timeout(PATIENCE, Client::new(stdin, stdout, options)).await;
        match client {
            Ok(Ok(client)) => Ok(Self { client, words, _ssh: ssh }),
            Ok(Err(error)) => Err(refusal(&mut ssh, &words, &error.to_string(), &shared.server).await),
            Err(_) => Err(refusal(&mut ssh, &words, "there was no answer", &shared.server).await),
        }
    }

    /// The failure of a connection that broke off, with what ssh said.
    async fn explain(&self, error: StorageError) -> StorageError {
        // The words come through another pipe.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let words = last_words(&self.words);
        if words.is_empty() { error } else { StorageError::new(error.fault, format!("{}: {words}", error.message)) }
    }
}

async fn listen(mut stderr: tokio::process::ChildStderr, words: Words) {
    let mut piece = [0; 1024];
    while let Ok(length @ 1..) = stderr.read(&mut piece).await {
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() < WORDS {
            words.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    }
}

/// What ssh said, as one line.
fn last_words(words: &Words) -> String {
    let words = words.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = words.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('@'));
    // The warning about a changed host key has a dozen lines; the first and the last ones tell.
    let lines: Vec<_> = lines.collect();
    let start = lines.len().saturating_sub(4);
    lines[start..].join(" ")
}

/// Why ssh did not connect, and what to do about it.
async fn refusal(ssh: &mut Child, words: &Words, error: &str, server: &SftpPlace) -> StorageError {
    let _ = tokio::time::timeout(Duration::from_millis(500), ssh.wait()).await;
    let said = last_words(words);
    let host = &server.host;
    let is = |text: &str| said.contains(text);
    let (fault, remedy) = if is("Permission denied") {
        (Fault::Refused, "the server does not accept the key; name it with `options.key` and add its public half to ~/.ssh/authorized_keys there".to_owned())
    } else if is("Host key verification failed") || is("host key is known") || is("IDENTIFICATION HAS CHANGED") {
        let port = server.port.map(|port| format!("-p {port} ")).unwrap_or_default();
        (
            Fault::Refused,
            format!(
                "compare the server's key with its operator, then add it: `ssh-keyscan {port}{host} >> KNOWN_HOSTS`, with the file of `options.known_hosts`"
            ),
        )
    } else if is("Could not resolve") {
        (Fault::Passing, "correct the name of the server, or its DNS".to_owned())
    } else if is("subsystem request failed") {
        (Fault::Other, "the server offers no SFTP; set `Subsystem sftp internal-sftp` in its sshd_config".to_owned())
    } else if is("UNPROTECTED PRIVATE KEY") || is("No such file or directory") || is("Bad configuration option") {
        (Fault::Other, "correct the file that it names".to_owned())
    } else {
        (Fault::Passing, "is the server on, and reachable from here?".to_owned())
    };
    let said = if said.is_empty() { error.to_owned() } else { said };
    StorageError::new(
        fault,
        format!("no connection to the SFTP server {host}: {}; {remedy}", said.trim_end_matches('.')),
    )
}

/// What the server says of a path.
fn failure(action: &str, path: &str, error: SftpError) -> StorageError {
    let message = |reason: &str| format!("{path} on the SFTP server cannot be {action}: {reason}");
    match &error {
        SftpError::SftpError(SftpErrorKind::NoSuchFile, _) => {
            StorageError::new(Fault::Missing, message("it is not there"))
        }
        SftpError::SftpError(SftpErrorKind::PermDenied, _) => {
            StorageError::new(Fault::Refused, message("permission denied; correct its owner or its rights"))
        }
        // The third version of the protocol has no word for a full disk.
        SftpError::SftpError(SftpErrorKind::Failure, _) => {
            StorageError::new(Fault::Other, message("the server says only that it failed; is its disk full?"))
        }
        SftpError::SftpError(_, said) => StorageError::new(Fault::Other, message(&said.to_string())),
        _ => StorageError::new(Fault::Passing, message(&format!("the connection broke off ({error})"))),
    }
}

/// As [`failure`], where the library hides the error of the server in another one.
fn io_failure(action: &str, path: &str, error: std::io::Error) -> StorageError {
    match error.downcast::<SftpError>() {
        Ok(error) => failure(action, path, error),
        Err(error) => {
            StorageError::new(Fault::Passing, format!("{path} on the SFTP server cannot be {action}: {error}"))
        }
    }
}

/// Makes a folder and those above it. That one is there already is no error.
async fn make_folder(connection: &Connection, path: &str) -> Result<(), StorageError> {
    let mut fs = connection.client.fs();
    if fs.metadata(path).await.is_ok() {
        return Ok(());
    }
    for (end, _) in path.match_indices('/').skip_while(|(end, _)| *end == 0).chain([(path.len(), "")]) {
        let part = &path[..end];
        if fs.metadata(part).await.is_ok() {
            continue;
        }
        let made = fs.create_dir(part).await;
        if made.is_err() && fs.metadata(part).await.is_err() {
            return made.map_err(|error| failure("made", part, error));
        }
    }
    Ok(())
}

async fn list_folder(connection: Arc<Connection>, path: String) -> Result<(Vec<Entry>, Vec<String>), StorageError> {
    let (mut entries, mut folders) = (Vec::new(), Vec::new());
    let opened = match connection.client.fs().open_dir(&path).await {
        Err(SftpError::SftpError(SftpErrorKind::NoSuchFile, _)) => return Ok((entries, folders)),
        opened => opened.map_err(|error| failure("listed", &path, error))?,
    };
    let mut read = std::pin::pin!(opened.read_dir());
    while let Some(entry) = read.try_next().await.map_err(|error| failure("listed", &path, error))? {
        let Some(name) = entry.filename().to_str() else { continue };
        match entry.file_type() {
            Some(kind) if kind.is_dir() => {
                if name != "." && name != ".." {
                    folders.push(format!("{path}/{name}"));
                }
            }
            _ => entries.push(Entry { name: name.to_owned(), size: entry.metadata().len().unwrap_or(0) }),
        }
    }
    Ok((entries, folders))
}

async fn read_piece(mut file: File, offset: u64, length: u64) -> Result<BytesMut, SftpError> {
    let wanted = usize::try_from(length).unwrap_or(usize::MAX);
    let mut piece = BytesMut::with_capacity(wanted);
    while piece.len() < wanted {
        // The library counts what was asked for, not what came.
        file.seek(SeekFrom::Start(offset + piece.len() as u64)).await?;
        let rest = u32::try_from(wanted - piece.len()).unwrap_or(u32::MAX);
        match file.read(rest, BytesMut::new()).await? {
            Some(read) if !read.is_empty() => piece.extend_from_slice(&read),
            _ => {
                let message = format!("the file ends after {} bytes", offset + piece.len() as u64);
                return Err(SftpError::IOError(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, message)));
            }
        }
    }
    Ok(piece)
}

async fn read_file(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    path: String,
    range: Option<(u64, u64)>,
) -> Result<Bytes, StorageError> {
    let failed = |error| failure("read", &path, error);
    let mut file = connection.client.open(&path).await.map_err(failed)?;
    let (offset, length) = match range {
        Some(range) => range,
        None => (0, file.metadata().await.map_err(failed)?.len().unwrap_or(0)),
    };
    let starts = (offset..offset + length).step_by(usize::try_from(REQUEST).unwrap_or(usize::MAX));
    let pieces = futures_util::stream::iter(starts).map(|start| {
        let (file, length, shared) = (file.clone(), REQUEST.min(offset + length - start), Arc::clone(&shared));
        async move {
            pay(shared.limits.download.as_deref(), usize::try_from(length).unwrap_or(usize::MAX)).await;
            read_piece(file, start, length).await
        }
    });
    let mut pieces: Vec<BytesMut> = pieces.buffered(TOGETHER).try_collect().await.map_err(failed)?;
    if pieces.len() == 1 {
        return Ok(pieces.remove(0).freeze());
    }
    Ok(pieces.concat().into())
}

async fn write_file(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    path: String,
    content: Arc<Vec<Bytes>>,
) -> Result<(), StorageError> {
    let unfinished = format!("{path}-tmp-{}", ulid::Ulid::generate());
    let mut fs = connection.client.fs();
    let written = async {
        let mut options = connection.client.options();
        options.write(true).create_new(true);
        let create = || options.open(&unfinished);
        let file = match create().await {
            Err(SftpError::SftpError(SftpErrorKind::NoSuchFile, _)) => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                make_folder(&connection, folder).await?;
                create().await
            }
            created => created,
        };
        let file = file.map_err(|error| failure("written", &path, error))?;
        let mut file = Box::pin(TokioCompatFile::new(file));
        let io_failed = |error| io_failure("written", &path, error);
        for piece in content.iter().flat_map(|bytes| bytes.chunks(PIECE)) {
            pay(shared.limits.upload.as_deref(), piece.len()).await;
            file.write_all(piece).await.map_err(io_failed)?;
        }
        file.flush().await.map_err(io_failed)?;
        if connection.client.support_fsync() {
            file.as_mut().as_mut_file().sync_all().await.map_err(|error| failure("synced", &path, error))?;
        }
        drop(file);
        fs.rename(&unfinished, &path).await.map_err(|error| failure("written", &path, error))
    };
    let written = written.await;
    if written.is_err() {
        let _ = connection.client.fs().remove_file(&unfinished).await;
    }
    written
}

impl Store for Sftp {
    fn make(&self) -> Result<(), StorageError> {
        self.run(0, None, |shared, connection| async move {
            for part in ["data", "index", "keys", "snapshots", LOCKS] {
                make_folder(&connection, &shared.path(part)).await?;
            }
            Ok(())
        })
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>, StorageError> {
        let folder = self.shared.path(folder);
        self.run(0, None, move |_, connection| {
            let folder = folder.clone();
            async move {
                let (mut entries, folders) = list_folder(Arc::clone(&connection), folder).await?;
                let lists = futures_util::stream::iter(folders).map(|it| list_folder(Arc::clone(&connection), it));
                let lists: Vec<_> = lists.buffer_unordered(TOGETHER).try_collect().await?;
                entries.extend(lists.into_iter().flat_map(|(entries, _)| entries));
                Ok(entries)
            }
        })
    }

    fn size(&self, path: &str) -> Result<Option<u64>, StorageError> {
        let path = self.shared.path(path);
        self.run(0, None, move |_, connection| {
            let path = path.clone();
            async move {
                match connection.client.fs().metadata(&path).await {
                    Ok(metadata) => Ok(Some(metadata.len().unwrap_or(0))),
                    Err(SftpError::SftpError(SftpErrorKind::NoSuchFile, _)) => Ok(None),
                    Err(error) => Err(failure("read", &path, error)),
                }
            }
        })
    }

    fn read(&self, path: &str, range: Option<(u64, u64)>) -> Result<Bytes, StorageError> {
        let path = self.shared.path(path);
        let rate = self.shared.limits.download.as_ref().map(|bucket| bucket.rate());
        let length = range.map_or(0, |(_, length)| length);
        self.run(length, rate, move |shared, connection| read_file(shared, connection, path.clone(), range))
    }

    fn write(&self, path: &str, content: Vec<Bytes>) -> Result<(), StorageError> {
        let (path, content) = (self.shared.path(path), Arc::new(content));
        let rate = self.shared.limits.upload.as_ref().map(|bucket| bucket.rate());
        let length = content.iter().map(|bytes| bytes.len() as u64).sum();
        self.run(length, rate, move |shared, connection| {
            write_file(shared, connection, path.clone(), Arc::clone(&content))
        })
    }

    fn remove(&self, path: &str) -> Result<(), StorageError> {
        let path = self.shared.path(path);
        self.run(0, None, move |_, connection| {
            let path = path.clone();
            async move {
                connection.client.fs().remove_file(&path).await.map_err(|error| failure("removed", &path, error))
            }
        })
    }
}
