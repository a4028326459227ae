//! A daemon as a process, with the service manager's side of the notification socket.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::within;

/// A daemon that runs. It is killed when this is dropped.
pub struct Daemon {
    child: Child,
    notices: UnixDatagram,
    heard: Vec<String>,
    started: Instant,
    ready: Option<Duration>,
}

impl Daemon {
    /// Starts `command`, which is told the socket at `notify`.
    pub(crate) fn spawn(command: &mut Command, notify: &Path) -> Self {
        // The one of the daemon before.
        let _ = std::fs::remove_file(notify);
        let notices = UnixDatagram::bind(notify).expect("the notification socket can be made");
        notices.set_read_timeout(Some(Duration::from_millis(1))).expect("sockets have timeouts");
        let started = Instant::now();
        let child = command.env("NOTIFY_SOCKET", notify).spawn().expect("the daemon can be started");
        Self { child, notices, heard: Vec::new(), started, ready: None }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How long it took from its start until it said that it was ready.
    #[track_caller]
    pub fn took(&self) -> Duration {
        self.ready.expect("it has become ready")
    }

    /// What the service manager was told since it was last asked, one entry per assignment.
    pub fn notices(&mut self) -> Vec<String> {
        self.receive();
        std::mem::take(&mut self.heard)
    }

    /// Waits until the service manager is told what begins so, and forgets what it was told up to there.
    #[track_caller]
    pub fn await_notice(&mut self, notice: &str) -> String {
        within(Duration::from_secs(60), &format!("the notice {notice}"), || {
            self.receive();
            if let Some(at) = self.heard.iter().position(|heard| heard.starts_with(notice)) {
                return self.heard.drain(..=at).next_back();
            }
            let ended = self.child.try_wait().expect("the process can be asked");
            assert!(ended.is_none(), "the daemon ended with {ended:?} before the notice {notice}");
            None
        })
    }

    fn receive(&mut self) {
        let mut message = [0; 4096];
        while let Ok(length) = self.notices.recv(&mut message) {
            let text = String::from_utf8_lossy(&message[..length]);
            if text.contains("READY=1") {
                self.ready.get_or_insert_with(|| self.started.elapsed());
            }
            self.heard.extend(text.lines().map(str::to_owned));
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a daemon that runs can be signalled");
    }

    /// Asks it to stop and waits until it has.
    #[track_caller]
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let Self { child, .. } = self;
        within(Duration::from_secs(60), "the end of the daemon", || child.try_wait().expect("the process can be asked"))
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("the process can be asked").is_some()
    }

    /// Ends it as a power cut does.
    pub fn kill(mut self) {
        self.child.kill().expect("a process of one's own can be killed");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
