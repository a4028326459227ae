//! A program of a database, as a child of the daemon.
//!
//! It gets a fixed list of arguments, no shell, an environment of its own, and a secret only through a file that exists in
//! memory alone. What it says on stderr is kept, up to a bound and without the secret. It never outlives its purpose: it
//! is ended when the run is, when nobody waits for it any more, and by the kernel when the daemon dies.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio_util::sync::CancellationToken;

use crate::config::secret::SecretValue;
use crate::database::DatabaseError;

/// Bytes of stderr that are kept: its beginning, where the cause stands, and its end.
const KEPT: usize = 2_048;

/// Bytes that a program may answer with: a question that gives a whole table must not take the daemon's memory.
const LARGEST_ANSWER: u64 = 64 << 20;

/// A wait that need not be longer, since it begins anew.
const LONG: Duration = Duration::from_secs(3_600);

/// Longest time between two looks at whether the program is over.
const PAUSE: Duration = Duration::from_millis(20);

/// A program with all that it gets.
#[derive(Debug)]
pub(super) struct Tool {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    input: Input,
    /// What must not be shown.
    secret: Option<SecretValue>,
    account: Option<Account>,
    /// What the kernel sends it when the daemon dies.
    death: Signal,
}

/// Another user, in whose name a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

#[derive(Debug)]
enum Input {
    Nothing,
    /// A file in memory that only this user can open, as `/dev/stdin`.
    Memory(Vec<u8>),
    Piped,
}

impl Tool {
    pub(super) fn new(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            input: Input::Nothing,
            secret: None,
            account: None,
            death: Signal::KILL,
        }
    }

    pub(super) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub(super) fn args<T: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|it| it.as_ref().to_owned()));
        self
    }

    pub(super) fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name, value.as_ref().to_owned()));
        self
    }

    /// Hands it these bytes as `/dev/stdin`, which can be opened as a file.
    pub(super) fn memory(mut self, bytes: Vec<u8>) -> Self {
        self.input = Input::Memory(bytes);
        self
    }

    /// Lets its input be written.
    pub(super) fn piped(mut self) -> Self {
        self.input = Input::Piped;
        self
    }

    pub(super) fn hiding(mut self, secret: Option<SecretValue>) -> Self {
        self.secret = secret;
        self
    }

    pub(super) fn account(mut self, account: Option<Account>) -> Self {
        self.account = account;
        self
    }

    pub(super) fn death(mut self, signal: Signal) -> Self {
        self.death = signal;
        self
    }

    fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn command(&self) -> std::io::Result<Command> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            // Nobody's .my.cnf or .psqlrc changes what is done.
            .env("HOME", "/nonexistent")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.stdin(match &self.input {
            Input::Nothing => Stdio::null(),
            Input::Piped => Stdio::piped(),
            Input::Memory(bytes) => in_memory(bytes)?.into(),
        });
        if let Some(Account { uid, gid }) = self.account {
            command.gid(gid).uid(uid);
        }
        let (death, daemon) = (self.death, rustix::process::getpid());
        let tie = move || {
            rustix::process::set_parent_process_death_signal(Some(death))?;
            // It may have died before the tie was made.
            if rustix::process::getppid() != Some(daemon) {
                return Err(std::io::Error::other("the daemon is gone"));
            }
            Ok(())
        };
        #[expect(unsafe_code, reason = "between fork and exec it makes two system calls and allocates nothing")]
        unsafe {
            command.pre_exec(tie);
        }
        Ok(command)
    }

    /// Starts it.
    pub(super) fn start(self, cancel: &CancellationToken) -> Result<Running, DatabaseError> {
        let name = self.name();
        let failed = |source| DatabaseError::Start { program: self.program.clone(), source };
        let mut command = self.command().map_err(failed)?;
        let shared = Arc::new(Shared::default());
        let (ready, started) = mpsc::channel();
        let (watched, cancel) = (Arc::clone(&shared), cancel.clone());
        // The kernel ties a child to the thread that made it: this one lives as long as the child.
        let watcher = std::thread::Builder::new().name("database".into()).spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let pid = Pid::from_child(&child);
            let said = child.stderr.take().map(|stderr| listen(stderr, Arc::clone(&watched)));
            // Nobody may wait any more; then the drop of Running has asked for the end already.
            let _ = ready.send(Ok((pid, child.stdout.take(), child.stdin.take())));
            let mut pause = Duration::from_millis(1);
            let status = loop {
                match child.try_wait() {
                    Ok(None) => {}
                    Ok(Some(status)) => break Ok(status),
                    Err(error) => break Err(error),
                }
                if cancel.is_cancelled() || watched.ending.load(Ordering::Relaxed) {
                    // It may be over already.
                    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
                    break child.wait();
                }
                watched.sleep(pause);
                pause = (pause * 2).min(PAUSE);
            };
            if let Some(said) = said {
                // Something that it started may still hold the pipe.
                let _ = said.recv_timeout(Duration::from_secs(1));
            }
            watched.end(status);
        });
        let watcher = watcher.map_err(failed)?;
        match started.recv() {
            Ok(Ok((pid, output, input))) => {
                Ok(Running { name, pid, output, input, shared, watcher: Some(watcher), secret: self.secret })
            }
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(failed(std::io::Error::other("it could not be watched"))),
        }
    }

    /// Runs it to its end and gives what it wrote.
    pub(super) fn output(self, cancel: &CancellationToken) -> Result<Vec<u8>, DatabaseError> {
        let mut running = self.start(cancel)?;
        let mut all = Vec::new();
        if let Some(mut output) = running.output.take() {
            output
                .by_ref()
                .take(LARGEST_ANSWER)
                .read_to_end(&mut all)
                .map_err(|source| running.failed(&format!("broke off: {source}")))?;
            if all.len() as u64 == LARGEST_ANSWER {
                let most = LARGEST_ANSWER >> 20;
                let message =
                    format!("the answer is larger than {most} MiB; ask for less, for example with LIMIT or count(*)");
                return Err(DatabaseError::Invalid(message));
            }
        }
        running.wait(cancel)?;
        Ok(all)
    }

    /// Runs it to its end with this as its input.
    pub(super) fn feed(self, content: &mut dyn Read, cancel: &CancellationToken) -> Result<(), DatabaseError> {
        self.feed_heard(content, cancel).map(drop)
    }

    /// The same, and gives what it said on stderr.
    pub(super) fn feed_heard(
        self,
        content: &mut dyn Read,
        cancel: &CancellationToken,
    ) -> Result<String, DatabaseError> {
        let mut running = self.piped().start(cancel)?;
        if let Some(mut output) = running.output.take() {
            // Nobody needs it, and a full pipe would hold the program up.
            std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        }
        let mut source_failed = None;
        if let Some(mut input) = running.input.take() {
            let mut buffer = vec![0; 1 << 18];
            loop {
                match content.read(&mut buffer) {
                    Ok(0) => break,
                    // When it does not take more, its exit status tells why.
                    Ok(count) if input.write_all(&buffer[..count]).is_err() => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        source_failed = Some(error);
                        break;
                    }
                }
            }
        }
        if let Some(source) = source_failed {
            return Err(DatabaseError::Content { source });
        }
        running.wait(cancel)?;
        Ok(running.said())
    }
}

/// A file that is in no folder, for its owner alone.
fn in_memory(bytes: &[u8]) -> std::io::Result<File> {
    let mut file: File = rustix::fs::memfd_create("upkeep", rustix::fs::MemfdFlags::CLOEXEC)?.into();
    // The programs refuse secrets that others could read.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

#[derive(Debug, Default)]
struct Shared {
    status: Mutex<Option<std::io::Result<ExitStatus>>>,
    changed: Condvar,
    ending: AtomicBool,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    first: Vec<u8>,
    last: std::collections::VecDeque<u8>,
    is_cut: bool,
}

impl Shared {
    fn sleep(&self, pause: Duration) {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        // Either way the loop looks again.
        let _ = self.changed.wait_timeout(status, pause);
    }

    fn end(&self, status: std::io::Result<ExitStatus>) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        self.changed.notify_all();
    }
}

fn listen(mut stderr: impl Read + Send + 'static, shared: Arc<Shared>) -> mpsc::Receiver<()> {
    let (over, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok(count @ 1..) = stderr.read(&mut buffer) {
            let mut said = shared.said.lock().unwrap_or_else(PoisonError::into_inner);
            for byte in &buffer[..count] {
                if said.first.len() < KEPT {
                    said.first.push(*byte);
                } else {
                    if said.last.len() == KEPT {
                        said.last.pop_front();
                        said.is_cut = true;
                    }
                    said.last.push_back(*byte);
                }
            }
        }
        // Nobody may wait any more.
        let _ = over.send(());
    });
    ended
}

/// A program that runs. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Running {
    name: String,
    pid: Pid,
    pub(super) output: Option<ChildStdout>,
    pub(super) input: Option<ChildStdin>,
    shared: Arc<Shared>,
    watcher: Option<std::thread::JoinHandle<()>>,
    secret: Option<SecretValue>,
}

impl Running {
    /// Waits until it is over.
    ///
    /// # Errors
    ///
    /// When it did not succeed: with what it said.
    pub(super) fn wait(&mut self, cancel: &CancellationToken) -> Result<(), DatabaseError> {
        let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        while status.is_none() {
            status = self.shared.changed.wait(status).unwrap_or_else(PoisonError::into_inner);
        }
        let outcome = match &*status {
            Some(Ok(status)) if status.success() => return Ok(()),
            Some(Ok(status)) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("ended with exit code {code}"),
                (None, Some(signal)) => format!("was ended by signal {signal}"),
                _ => "ended".to_owned(),
            },
            Some(Err(error)) => format!("could not be waited for: {error}"),
            None => "ended".to_owned(),
        };
        drop(status);
        if cancel.is_cancelled() {
            return Err(DatabaseError::Cancelled);
        }
        Err(DatabaseError::Failed { program: self.name.clone(), outcome, said: self.said() })
    }

    /// Waits until it is over, or until `limit` has passed; whether it is over.
    pub(super) fn wait_for(&self, limit: Duration) -> bool {
        let started = Instant::now();
        let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        while status.is_none() {
            let left = limit.saturating_sub(started.elapsed());
            if left.is_zero() {
                return false;
            }
            status = self.shared.changed.wait_timeout(status, left.min(LONG)).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Sends it a signal, unless it is over.
    pub(super) fn signal(&self, signal: Signal) {
        let status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        if status.is_none() {
            // Its number is not given to another process before the watcher has waited for it.
            let _ = rustix::process::kill_process(self.pid, signal);
        }
    }

    /// What it said on stderr, as one text without the secret.
    pub(super) fn said(&self) -> String {
        let said = self.shared.said.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Vec<u8> = said.last.iter().copied().collect();
        let between = if said.is_cut { "\n…\n" } else { "" };
        let mut text = format!("{}{between}{}", String::from_utf8_lossy(&said.first), String::from_utf8_lossy(&last));
        if let Some(secret) = &self.secret {
            text = text.replace(secret.reveal(), "***");
        }
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Takes what it writes to stdout for what it says.
    pub(super) fn listen(&mut self) {
        if let Some(output) = self.output.take() {
            listen(output, Arc::clone(&self.shared));
        }
    }

    pub(super) fn failed(&self, outcome: &str) -> DatabaseError {
        DatabaseError::Failed { program: self.name.clone(), outcome: outcome.to_owned(), said: self.said() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        if let Some(watcher) = self.watcher.take() {
            // It panics nowhere; and if it did, there is nothing more to do.
            let _ = watcher.join();
        }
    }
}
