//! Listening, connections and their bounds, and the end in good order. Knows no path and no format.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::buffers::Buffers;
use super::patience::Patient;
use super::{Backend, Body, Client, answer, route};

/// Connections that the system keeps until they are accepted: js clients open up to 200 at once.
const BACKLOG: u32 = 1024;
/// How long a connection may be idle, and how long it may take to send the head of a request. js clients keep connections
/// for 65 s and hang if one is closed earlier.
const IDLE_MAX: Duration = Duration::from_secs(75);
/// Head of one request.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_COUNT_MAX: usize = 100;
/// Connections from one address outside of this computer.
const CONNECTIONS_PER_GUEST_COUNT_MAX: u32 = 300;
/// Pause when nothing can be accepted (no more file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) backend: Arc<Backend>,
    pub(super) buffers: Arc<Buffers>,
    /// Answers to guests; see [`super::Options::lan_answers_max`].
    pub(super) guests: Arc<Semaphore>,
    /// Connections from this computer, and all others: a hundred strangers do not lock the owner out.
    local_connections: Arc<Semaphore>,
    guest_connections: Arc<Semaphore>,
    by_guest: Mutex<HashMap<IpAddr, u32>>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// A server that listens. Connections that come before [`Server::run`] wait.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    gateway: Arc<Gateway>,
}

impl Server {
    /// Listens on every address; port 0 takes a free one. Must be called inside of a runtime.
    ///
    /// # Errors
    /// [`BindError`] for the first address that cannot be had.
    pub fn bind(addresses: &[SocketAddr], backend: Arc<Backend>) -> Result<Self, BindError> {
        let listen = |address: &SocketAddr| {
            let failed = |source| BindError {
                address: *address,
                source,
            };
            bind_one(*address).map_err(failed)
        };
        let listeners = addresses.iter().map(listen).collect::<Result<_, _>>()?;
        Ok(Server {
            listeners,
            gateway: Gateway::new(backend),
        })
    }

    /// Where it listens, with the ports that were taken, in the order of the addresses.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let address = |listener: &TcpListener| listener.local_addr().ok();
        self.listeners.iter().filter_map(address).collect()
    }

    /// Serves until the shutdown is asked for; then it accepts nothing more, and lets answers under way end within
    /// [`super::Options::shutdown_grace`].
    pub async fn run(self, shutdown: CancellationToken) {
        let grace = self.gateway.backend.options.shutdown_grace;
        let loops = self
            .listeners
            .into_iter()
            .map(|listener| accept(listener, Arc::clone(&self.gateway), shutdown.clone()));
        let mut connections = JoinSet::new();
        for mut accepted in futures::future::join_all(loops).await {
            // The connections of all listeners end together.
            connections.spawn(async move { while accepted.join_next().await.is_some() {} });
        }
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            connections.shutdown().await;
        }
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Elsewhere this would let two daemons have one port.
    if cfg!(unix) {
        socket.set_reuseaddr(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until the shutdown; the connections that are still open then.
async fn accept(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    shutdown: CancellationToken,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return connections,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, address)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let port = stream.local_addr().map_or(0, |own| own.port());
        let client = Client { address, port };
        // Without it small answers are sent later, that is all.
        stream.set_nodelay(true).unwrap_or(());
        // Beyond the bounds the connection is closed at once.
        if let Some(seat) = Seat::take(&gateway, client) {
            let (gateway, shutdown) = (Arc::clone(&gateway), shutdown.clone());
            connections.spawn(connection(stream, client, gateway, seat, shutdown));
        }
    }
}

/// The place of one connection.
struct Seat {
    gateway: Arc<Gateway>,
    guest: Option<IpAddr>,
    _permit: OwnedSemaphorePermit,
}

impl Seat {
    fn take(gateway: &Arc<Gateway>, client: Client) -> Option<Self> {
        let all = if client.is_local() {
            &gateway.local_connections
        } else {
            &gateway.guest_connections
        };
        let permit = Arc::clone(all).try_acquire_owned().ok()?;
        let guest = (!client.is_local()).then(|| client.ip());
        if let Some(ip) = guest {
            let mut by_guest = gateway.by_guest();
            let count = by_guest.entry(ip).or_default();
            if *count >= CONNECTIONS_PER_GUEST_COUNT_MAX {
                return None;
            }
            *count += 1;
        }
        gateway.backend.counters.connected();
        Some(Seat {
            gateway: Arc::clone(gateway),
            guest,
            _permit: permit,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.gateway.backend.counters.disconnected();
        if let Some(ip) = self.guest {
            let mut by_guest = self.gateway.by_guest();
            let left = by_guest.get(&ip).copied().unwrap_or_default();
            if left <= 1 {
                by_guest.remove(&ip);
            } else {
                by_guest.insert(ip, left - 1);
            }
        }
    }
}

impl Gateway {
    fn new(backend: Arc<Backend>) -> Arc<Self> {
        let options = &backend.options;
        Arc::new(Gateway {
            buffers: Buffers::new(),
            guests: Arc::new(Semaphore::new(options.lan_answers_max)),
            local_connections: Arc::new(Semaphore::new(options.connections_max)),
            guest_connections: Arc::new(Semaphore::new(options.connections_max)),
            by_guest: Mutex::default(),
            backend,
        })
    }

    fn by_guest(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.by_guest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    client: Client,
    gateway: Arc<Gateway>,
    seat: Seat,
    shutdown: CancellationToken,
) {
    let service = service_fn(move |request| {
        let gateway = Arc::clone(&gateway);
        async move { Ok::<_, Infallible>(serve(&gateway, client, request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .max_headers(HEADERS_COUNT_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream)), service);
    let mut serving = pin!(serving);
    // How a connection ends is the client's matter: what it took is counted as it takes it.
    tokio::select! {
        _ = serving.as_mut() => {}
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            drop(serving.await);
        }
    }
    drop(seat);
}

/// One request: answered, and if it is no page of the daemon counted, and slowed down if need be.
async fn serve(
    gateway: &Arc<Gateway>,
    client: Client,
    request: Request<Incoming>,
) -> Response<Body> {
    let pages = gateway.backend.pages.as_ref();
    if pages.is_some_and(|pages| pages.has(request.method(), request.uri().path())) {
        // Looking at what is served is not being served.
        return route::answer(gateway, client, request).await;
    }
    let running = Running {
        gateway: Arc::clone(gateway),
        client,
        _answering: gateway.buffers.answering(),
    };
    gateway.backend.counters.began(client.ip());
    let answer = route::answer(gateway, client, request).await;
    gateway.backend.counters.answered(answer.status().as_u16());
    let (head, body) = answer.into_parts();
    if body.is_end_stream() {
        return Response::from_parts(head, body);
    }
    Response::from_parts(head, counted(body, running))
}

/// An answer that is under way.
struct Running {
    gateway: Arc<Gateway>,
    client: Client,
    _answering: super::buffers::Answering,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gateway.backend.counters.ended(self.client.ip());
    }
}

/// The body, counted; for guests not faster than bytes may leave.
fn counted(body: Body, running: Running) -> Body {
    let running = Arc::new(running);
    let pieces = body.into_data_stream().then(move |piece| {
        let running = Arc::clone(&running);
        async move {
            if let Ok(bytes) = &piece {
                let backend = &running.gateway.backend;
                let rate = backend.rate.as_ref().filter(|_| !running.client.is_local());
                let count = bytes.len() as u64;
                if let Some(rate) = rate {
                    rate.take(count).await;
                }
                backend.counters.sent_to(running.client.ip(), count);
            }
            piece
        }
    });
    answer::stream(pieces)
}

#[cfg(test)]
mod tests;
