//! One peer, as bitswap sees it: its connections, what was counted, and the state of both sides. Shared by the tasks that
//! work for this peer. Must not know any other peer.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, Stream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::server::Server;
use super::wire::Block;
use crate::limits::{INBOX_COUNT_MAX, INTAKE_PER_PEER_BYTES_MAX, OPEN_TIMEOUT};

/// A request for a stream, and where it goes.
pub(crate) type Open = oneshot::Sender<Result<Stream, NoStream>>;
/// Where a connection takes such requests.
pub(crate) type Opener = mpsc::Sender<Open>;

/// Why there is no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoStream {
    #[error("it does not speak bitswap")]
    NotSpoken,
    #[error("it takes no stream")]
    Failed,
    #[error("it is not connected")]
    Gone,
}

/// One peer.
pub(crate) struct Link {
    pub peer: PeerId,
    pub client: Client,
    pub server: Server,
    /// Blocks on their way to being hashed.
    pub inbox: mpsc::Sender<Vec<Block>>,
    /// Bytes of messages that may be received at the same time.
    pub intake: Arc<Semaphore>,
    /// Ends all tasks of this peer.
    pub over: CancellationToken,
    pub sent_bytes: AtomicU64,
    pub received_bytes: AtomicU64,
    /// It answered that it does not speak bitswap.
    silent: AtomicBool,
    /// When the last byte of a message arrived, in milliseconds after `since`.
    heard_ms: AtomicU64,
    since: Instant,
    openers: Mutex<Vec<(ConnectionId, Opener)>>,
}

impl Link {
    /// The link, and the blocks that arrive on it.
    pub(crate) fn new(
        peer: PeerId,
        over: CancellationToken,
    ) -> (Arc<Self>, mpsc::Receiver<Vec<Block>>) {
        let (inbox, blocks) = mpsc::channel(INBOX_COUNT_MAX);
        let link = Link {
            peer,
            client: Client::new(),
            server: Server::new(),
            inbox,
            intake: Arc::new(Semaphore::new(INTAKE_PER_PEER_BYTES_MAX)),
            over,
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            silent: AtomicBool::new(false),
            heard_ms: AtomicU64::new(0),
            since: Instant::now(),
            openers: Mutex::new(Vec::new()),
        };
        (Arc::new(link), blocks)
    }

    pub(crate) fn add(&self, connection: ConnectionId, opener: Opener) {
        self.openers().push((connection, opener));
    }

    /// Forgets a connection; `true` if none is left.
    pub(crate) fn remove(&self, connection: ConnectionId) -> bool {
        let mut openers = self.openers();
        openers.retain(|(other, opener)| *other != connection && !opener.is_closed());
        openers.is_empty()
    }

    /// Whether bitswap is of any use with this peer.
    pub(crate) fn speaks(&self) -> bool {
        !self.silent.load(Ordering::Relaxed)
    }

    /// A new stream on the oldest connection that gives one.
    pub(crate) async fn open(&self) -> Result<Stream, NoStream> {
        let openers: Vec<Opener> = self
            .openers()
            .iter()
            .map(|(_, opener)| opener.clone())
            .collect();
        let mut why = NoStream::Gone;
        for opener in openers {
            let (answer, stream) = oneshot::channel();
            if opener.send(answer).await.is_err() {
                continue;
            }
            why = match tokio::time::timeout(OPEN_TIMEOUT, stream).await {
                Ok(Ok(Ok(stream))) => {
                    self.silent.store(false, Ordering::Relaxed);
                    return Ok(stream);
                }
                Ok(Ok(Err(why))) => why,
                // The connection ended meanwhile, or does nothing.
                Ok(Err(_)) | Err(_) => NoStream::Failed,
            };
        }
        if why == NoStream::NotSpoken {
            self.silent.store(true, Ordering::Relaxed);
        }
        Err(why)
    }

    /// Bytes of blocks sent and received.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (
            self.sent_bytes.load(Ordering::Relaxed),
            self.received_bytes.load(Ordering::Relaxed),
        )
    }

    /// Bytes arrived.
    pub(crate) fn heard(&self) {
        let now = self.since.elapsed().as_millis() as u64;
        self.heard_ms.store(now, Ordering::Relaxed);
    }

    /// For how long nothing has arrived.
    pub(crate) fn quiet_for(&self) -> Duration {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.since.elapsed().saturating_sub(heard)
    }

    fn openers(&self) -> MutexGuard<'_, Vec<(ConnectionId, Opener)>> {
        self.openers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
