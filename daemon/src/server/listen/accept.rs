//! Connections: how many there may be, and when each has to end, so that nobody can hold all of them by being slow. A head has ten
//! seconds, from the one before on; a body has its own; and a connection that is five minutes old ends with the request under way.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Shared, routes};

/// Connections at the same time.
const MOST: usize = 256;

/// Of these, those of one address, unless it is this machine's or a proxy's.
const MOST_OF_ONE: usize = 64;

/// How long the head of a request may take, and how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(10);

/// The largest head, in bytes, and its most headers.
const LARGEST_HEAD: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;

/// How old a connection gets, and how long the request that is under way then may still take.
const AGE: Duration = Duration::from_secs(300);
const LAST_REQUEST: Duration = Duration::from_secs(60);

/// After a connection could not be accepted: there may be no descriptor left.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// How long it is not said again that connections are turned away.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// What is said to who comes when there are as many as there may be.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";

/// Whom a request came from, as the kernel says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remote(pub(super) SocketAddr);

/// Accepts connections until `stop`, and then waits for those there are.
pub(super) async fn accept(socket: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let router = routes::router(Arc::clone(&shared));
    let (connections, tracker) = (Connections::default(), TaskTracker::new());
    let (mut told, mut turned_away) = (false, None);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = socket.accept() => accepted,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!("connections cannot be accepted; it is tried again until they can: {error}");
                }
                tokio::time::sleep(TRY_AGAIN).await;
                continue;
            }
        };
        told = false;
        let address = remote.ip().to_canonical();
        let trusted = address.is_loopback() || shared.access().is_proxy(address);
        match connections.place(address, if trusted { MOST } else { MOST_OF_ONE }) {
            Some(place) => {
                let (router, stop) = (router.clone(), stop.clone());
                tracker.spawn(async move {
                    serve(stream, remote, router, stop).await;
                    drop(place);
                });
            }
            None => {
                if turned_away.is_none_or(|last: Instant| last.elapsed() > TOLD_AGAIN) {
                    turned_away = Some(Instant::now());
                    tracing::warn!(%remote, "connections are turned away: there are as many as there may be, {MOST}, {MOST_OF_ONE} of one address");
                }
                // Whoever cannot even take this is told nothing.
                let _said = stream.try_write(FULL);
            }
        }
    }
    drop(socket);
    tracker.close();
    tracker.wait().await;
}

/// Answers the requests of one connection.
async fn serve(stream: TcpStream, remote: SocketAddr, router: Router, stop: CancellationToken) {
    // Answers are small, and nobody should wait for more of them.
    let _delayed = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Remote(remote));
        let answer = router.call(request);
        async move {
            let answer: Response<Body> = answer.await?;
            Ok::<_, Infallible>(answer)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(LARGEST_HEAD).max_headers(MOST_HEADERS);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut end = Instant::now() + AGE;
    let mut ending = false;
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%remote, "a connection broke off: {error}");
                }
                return;
            }
            () = stop.cancelled(), if !ending => {}
            () = tokio::time::sleep_until(end) => {}
        }
        if ending {
            tracing::debug!(%remote, "a connection was cut: its last request took too long");
            return;
        }
        ending = true;
        end = Instant::now() + LAST_REQUEST;
        connection.as_mut().graceful_shutdown();
    }
}

/// How many connections there are.
#[derive(Debug, Clone, Default)]
struct Connections(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Connections {
    /// A place for one more, unless there are `most` of this address, or as many as there may be at all.
    fn place(&self, address: IpAddr, most: usize) -> Option<Place> {
        let mut of = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if of.values().sum::<usize>() >= MOST || of.get(&address).is_some_and(|count| *count >= most) {
            return None;
        }
        *of.entry(address).or_default() += 1;
        Some(Place { address, connections: self.clone() })
    }
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
struct Place {
    address: IpAddr,
    connections: Connections,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of = self.connections.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = of.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                of.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_takes_all_places() {
        let connections = Connections::default();
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let mut places: Vec<Place> = std::iter::from_fn(|| connections.place(address(1), MOST_OF_ONE)).collect();
        assert_eq!(places.len(), MOST_OF_ONE);
        places.extend(std::iter::from_fn(|| connections.place(address(2), MOST)));
        assert_eq!(places.len(), MOST);
        assert!(connections.place(address(3), MOST_OF_ONE).is_none());
        places.remove(0);
        assert!(connections.place(address(3), MOST_OF_ONE).is_some());
        drop(places);
        assert!(connections.0.lock().unwrap().is_empty());
    }
}
