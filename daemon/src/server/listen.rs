//! What is listened to over TCP: programs give messages to the outbox, each with a token of its own, and ask what became of those
//! that they gave; and WeChat tells of its users' consents. Nothing else of the control API is there.
//!
//! Flow: [`prepare`] reads the tokens and takes the address, before anything of the configuration in use is let go;
//! [`Listener::take_over`] puts both in place. From then on [`accept`] hands each connection to hyper, with limits on how many there
//! are and on how long and how large a request may be; [`routes`] asks [`access`] who is calling before a body is read. Requests under
//! way keep what they began with, so that a reload loses none.
//!
//! | module     | holds                                                  |
//! |------------|--------------------------------------------------------|
//! | `accept`   | connections, and when they end                         |
//! | `access`   | tokens, and who is behind a proxy                      |
//! | `attempts` | how often an address may come with a token that is wrong |
//! | `body`     | bodies, as large and as late as they may be            |
//! | `pace`     | how often a client may give messages                   |
//! | `routes`   | what can be asked                                      |
//! | `wechat`   | what WeChat tells by itself                            |

mod accept;
mod access;
mod attempts;
mod body;
mod pace;
mod routes;
mod wechat;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::access::Access;
use self::attempts::Attempts;
use self::pace::Pace;
use super::ServerState;
use crate::config::listen::{ListenAddress, ListenSettings};
use crate::config::secret::SecretError;

/// How long connections get to end when the daemon stops.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// Why nothing is listened to as the configuration wants it. Each names the file and the key.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error(
        "{}: listen.address: {address} is taken by another program, which `ss -ltnp 'sport = :{}'` names; stop it, or choose \
         another port", file.display(), address.0.port()
    )]
    Taken {
        /// The file.
        file: PathBuf,
        /// The address.
        address: ListenAddress,
    },
    /// The daemon itself listens at an address that is part of this one.
    #[error(
        "{}: listen.address: {address} cannot be had while upkeep itself listens at {before}; choose another port, or restart it \
         (systemctl restart upkeep)", file.display()
    )]
    Own {
        /// The file.
        file: PathBuf,
        /// The address.
        address: ListenAddress,
        /// The one in use.
        before: ListenAddress,
    },
    /// The system does not give the address.
    #[error("{}: listen.address: {address} cannot be listened to: {source}; `ip address` lists those of this machine", file.display())]
    Address {
        /// The file.
        file: PathBuf,
        /// The address.
        address: ListenAddress,
        /// What the system says.
        source: io::Error,
    },
    /// A secret cannot be had.
    #[error("{}: {key}: {source}", file.display())]
    Secret {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// Why not.
        source: SecretError,
    },
    /// A secret cannot be used.
    #[error("{}: {key}: {message}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// Why not, and what to do.
        message: String,
    },
}

/// What is to be listened to, read and taken, but not in place yet. Whoever drops it changes nothing.
#[derive(Debug)]
pub struct Prepared {
    access: Access,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Nowhere.
    Nowhere,
    /// Where it is listened to already.
    Same,
    /// Elsewhere.
    New(ListenAddress, std::net::TcpListener),
}

/// Reads the tokens and takes the address, unless it is `before`, which is listened to now. `config_dir` is for what it says. Blocks.
///
/// # Errors
///
/// When a token cannot be had or used, or the address cannot be had.
pub fn prepare(
    settings: Option<&ListenSettings>,
    config_dir: &Path,
    before: Option<ListenAddress>,
) -> Result<Prepared, ListenError> {
    let Some(settings) = settings else {
        return Ok(Prepared { access: Access::default(), place: Place::Nowhere });
    };
    let file = config_dir.join(crate::config::files::DAEMON_FILE);
    let access = Access::read(settings, &file)?;
    let address = settings.address;
    let place = if before == Some(address) { Place::Same } else { Place::New(address, take(address, &file, before)?) };
    Ok(Prepared { access, place })
}

fn take(
    address: ListenAddress,
    file: &Path,
    before: Option<ListenAddress>,
) -> Result<std::net::TcpListener, ListenError> {
    let file = file.to_owned();
    let failed = |source: io::Error| match (source.kind(), before) {
        (io::ErrorKind::AddrInUse, Some(before)) if before.0.port() == address.0.port() => {
            ListenError::Own { file: file.clone(), address, before }
        }
        (io::ErrorKind::AddrInUse, _) => ListenError::Taken { file: file.clone(), address },
        _ => ListenError::Address { file: file.clone(), address, source },
    };
    let listener = std::net::TcpListener::bind(address.0).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Listens as it was told last. One of it lives as long as the daemon.
#[derive(Debug)]
pub struct Listener {
    shared: Arc<Shared>,
    listening: Option<Listening>,
}

/// An address that is listened to.
#[derive(Debug)]
struct Listening {
    address: ListenAddress,
    stop: CancellationToken,
    /// Ends when the last connection has.
    accepting: JoinHandle<()>,
}

/// What all requests work with.
#[derive(Debug)]
struct Shared {
    state: ServerState,
    access: RwLock<Arc<Access>>,
    attempts: Mutex<Attempts>,
    /// By the name of the client; a reload forgets none of it.
    paces: Mutex<HashMap<String, Pace>>,
}

impl Shared {
    fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn attempts(&self) -> std::sync::MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one message of so many a minute.
    fn pace(&self, client: &str, rate: u32, now: Instant) -> Result<(), Duration> {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces.entry(client.to_owned()).or_default().take(rate, now)
    }
}

impl Listener {
    /// Listens to nothing yet.
    pub fn new(state: ServerState) -> Self {
        let shared = Shared { state, access: RwLock::default(), attempts: Mutex::default(), paces: Mutex::default() };
        Self { shared: Arc::new(shared), listening: None }
    }

    /// What is listened to.
    pub fn address(&self) -> Option<ListenAddress> {
        self.listening.as_ref().map(|listening| listening.address)
    }

    /// Listens to what was prepared from now on. Requests under way are answered; their connections end then, when the address
    /// is another one.
    ///
    /// # Errors
    ///
    /// When the runtime does not take the socket. What was listened to before is kept then.
    pub fn take_over(&mut self, prepared: Prepared) -> io::Result<()> {
        let Prepared { access, place } = prepared;
        let fresh = match place {
            Place::New(address, socket) => Some(self.listen(address, TcpListener::from_std(socket)?)),
            Place::Same => None,
            Place::Nowhere => {
                self.stop_accepting();
                None
            }
        };
        *self.shared.access.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
        if fresh.is_some() {
            self.stop_accepting();
            self.listening = fresh;
        }
        Ok(())
    }

    fn listen(&self, address: ListenAddress, socket: TcpListener) -> Listening {
        let stop = CancellationToken::new();
        let accepting = tokio::spawn(accept::accept(socket, Arc::clone(&self.shared), stop.clone()));
        tracing::info!(%address, "listening");
        Listening { address, stop, accepting }
    }

    fn stop_accepting(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.stop.cancel();
        }
    }

    /// Listens to nothing any more, and waits a moment for requests under way.
    pub async fn stop(mut self) {
        if let Some(listening) = self.listening.take() {
            listening.stop.cancel();
            let _ended = tokio::time::timeout(LAST_MOMENT, listening.accepting).await;
        }
    }
}
