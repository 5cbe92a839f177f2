//! The handle of a node: what others may ask of it. Everything here is a message to the node's task (`actor`) or a
//! look at what it wrote down. Must not know how the answer comes about.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use callao_content::Cid;
use callao_fetch::limits::SOURCES_COUNT_MAX;
use callao_fetch::source::Source;
use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::address;
use crate::bitswap::hub::Hub;
use crate::error::Error;
use crate::limits::{COMMANDS_COUNT_MAX, CONNECT_TIMEOUT, SHUTDOWN_TIMEOUT};
use crate::options::NodeOptions;
use crate::peers::{Book, PeerInfo};
use crate::source::{self, PeerSource};

mod actor;

use actor::Actor;

/// A running libp2p node. It ends when it is shut down or dropped.
#[derive(Debug)]
pub struct Node {
    peer: PeerId,
    book: Arc<Book>,
    hub: Arc<Hub>,
    addresses: Arc<Addresses>,
    commands: mpsc::Sender<Command>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Counts of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Peers that are connected.
    pub peers: usize,
    /// Bytes of blocks sent since the start.
    pub sent_bytes: u64,
    /// Bytes of blocks received since the start.
    pub received_bytes: u64,
}

/// Where the node can be reached, as its task writes it down.
pub(crate) type Addresses = std::sync::Mutex<Vec<libp2p::Multiaddr>>;

/// What the node's task is asked.
#[derive(Debug)]
pub(crate) enum Command {
    /// Connect to an address that the user named.
    Connect {
        address: libp2p::Multiaddr,
        peer: Option<PeerId>,
        answer: oneshot::Sender<Result<PeerId, String>>,
    },
    /// Connect to a peer that somebody else named.
    Found {
        peer: PeerId,
        addresses: Vec<libp2p::Multiaddr>,
    },
    /// Keep a liar out.
    Ban { peer: PeerId },
    /// End the connections to a peer.
    Disconnect { peer: PeerId },
    /// Ask who has the root; peers are dialled as they are found.
    Providers {
        root: Cid,
        found: mpsc::Sender<String>,
    },
    /// Tell the DHT that these are here.
    Provide { roots: Vec<Cid> },
}

impl Node {
    /// Starts a node on the current tokio runtime. Listens when it returns; connects to the named peers by itself.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Listen`], [`Error::Start`].
    pub async fn start(options: NodeOptions) -> Result<Node, Error> {
        let peer = options.key.pair().public().to_peer_id();
        let book = Arc::new(Book::new());
        let addresses = Arc::new(Addresses::default());
        let stop = CancellationToken::new();
        let (commands, inbox) = mpsc::channel(COMMANDS_COUNT_MAX);
        let hub = Hub::new(&options, Arc::clone(&book), commands.clone(), stop.clone());
        let shared = (Arc::clone(&book), Arc::clone(&addresses), Arc::clone(&hub));
        let mut actor = Actor::new(&options, shared, inbox, stop.clone())?;
        actor.listen(&options.listen).await?;
        let task = tokio::spawn(actor.run());
        Ok(Node {
            peer,
            book,
            hub,
            addresses,
            commands,
            stop,
            task,
        })
    }

    /// `12D3Koo...`
    #[must_use]
    pub fn peer_id(&self) -> String {
        self.peer.to_string()
    }

    /// The addresses it listens on, each with `/p2p/ID`.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let addresses = self
            .addresses
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let own = addresses
            .iter()
            .map(|address| format!("{address}/p2p/{}", self.peer));
        own.collect()
    }

    /// Connects to a multiaddr that the user named, wherever it is, and tells who is there.
    ///
    /// # Errors
    /// [`Error::Address`]; [`Error::Connect`] if nobody answers there, or somebody else does; [`Error::Stopped`].
    pub async fn connect(&self, address: &str) -> Result<String, Error> {
        let (parsed, peer) = address::parse(address)?;
        let (answer, connected) = oneshot::channel();
        let command = Command::Connect {
            address: parsed,
            peer,
            answer,
        };
        self.send(command).await?;
        let refuse = |reason: String| Error::Connect {
            address: address.to_owned(),
            reason,
        };
        // A name may have several addresses, each with its own time.
        match tokio::time::timeout(CONNECT_TIMEOUT * 2, connected).await {
            Ok(Ok(Ok(peer))) => Ok(peer.to_string()),
            Ok(Ok(Err(reason))) => Err(refuse(reason)),
            Ok(Err(_)) => Err(Error::Stopped),
            Err(_) => Err(refuse("no answer in time".into())),
        }
    }

    /// Tells of a peer that somebody else named (a router, a record): it is connected to if one of its addresses may be
    /// dialled. Without an address it is searched for in the DHT, if that is on.
    ///
    /// # Errors
    /// [`Error::Address`] if the peer ID is none; [`Error::Stopped`].
    pub async fn found(&self, peer: &str, addresses: &[String]) -> Result<(), Error> {
        let peer = address::parse_peer(peer)?;
        let addresses = addresses.iter().filter_map(|text| text.parse().ok());
        let addresses = addresses.collect();
        self.send(Command::Found { peer, addresses }).await
    }

    /// Wakes when a peer came, went, or told something new. Its number means nothing.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.book.changes()
    }

    /// Everybody who is connected.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        let count = |(peer, mut info): (PeerId, PeerInfo)| {
            if let Some(link) = self.hub.link(&peer) {
                info.sent_bytes = link.sent_bytes.load(Ordering::Relaxed);
                info.received_bytes = link.received_bytes.load(Ordering::Relaxed);
                info.wants = link.server.wants();
            }
            info
        };
        self.book.list().into_iter().map(count).collect()
    }

    /// Keeps a peer out for an hour, and everybody at its public addresses.
    ///
    /// # Errors
    /// [`Error::Address`] if the peer ID is none; [`Error::Stopped`].
    pub async fn ban(&self, peer: &str) -> Result<(), Error> {
        let peer = address::parse_peer(peer)?;
        self.send(Command::Ban { peer }).await
    }

    /// Peer IDs of those who are said to have the root, as they are found. They are connected to meanwhile. Ends when
    /// nobody is left to ask; at once if the DHT is off.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn providers(&self, root: Cid) -> Result<mpsc::Receiver<String>, Error> {
        let (found, providers) = mpsc::channel(COMMANDS_COUNT_MAX);
        self.send(Command::Providers { root, found }).await?;
        Ok(providers)
    }

    /// Announces these roots to the DHT, if it is on; again until another list is given.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn provide(&self, roots: Vec<Cid>) -> Result<(), Error> {
        self.send(Command::Provide { roots }).await
    }

    /// A peer as a source for the file with this root. It need not be connected yet.
    ///
    /// # Errors
    /// [`Error::Address`] if the peer ID is none.
    pub fn source(&self, peer: &str) -> Result<Arc<dyn Source>, Error> {
        let peer = address::parse_peer(peer)?;
        Ok(Arc::new(PeerSource::new(Arc::clone(&self.hub), peer)))
    }

    /// Every connected peer that says that it has this block, each once, as they come; those that connect later too. Ends
    /// with the node, or when the receiver is dropped.
    #[must_use]
    pub fn sources(&self, root: Cid) -> mpsc::Receiver<Arc<dyn Source>> {
        let (found, sources) = mpsc::channel(SOURCES_COUNT_MAX);
        let hub = Arc::clone(&self.hub);
        self.hub
            .spawn(source::watch(hub, root, self.book.changes(), found));
        sources
    }

    /// Blocks may be there now that were not before: peers that wait for them get them. Noticed within a second anyway.
    pub fn offer(&self) {
        self.hub.offer();
    }

    /// What was sent and received since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (sent_bytes, received_bytes) = self.hub.totals();
        Stats {
            peers: self.book.list().len(),
            sent_bytes,
            received_bytes,
        }
    }

    /// Ends all connections and tasks, and waits for them.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, &mut self.task)
            .await
            .is_err()
        {
            self.task.abort();
        }
        // They end as soon as they are told to; those that hash or read, after that block.
        drop(tokio::time::timeout(SHUTDOWN_TIMEOUT, self.hub.ended()).await);
    }

    async fn send(&self, command: Command) -> Result<(), Error> {
        self.commands
            .send(command)
            .await
            .map_err(|_| Error::Stopped)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
