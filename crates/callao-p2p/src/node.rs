//! The handle of a node: what others may ask of it. Everything here is a message to the node's task ([`actor`]) or a
//! look at what it wrote down. Must not know how the answer comes about.

use std::sync::Arc;

use callao_content::Cid;
use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::address;
use crate::error::Error;
use crate::limits::{CONNECT_TIMEOUT, SHUTDOWN_TIMEOUT};
use crate::options::NodeOptions;
use crate::peers::{Book, PeerInfo};

mod actor;

use actor::Actor;

/// A running libp2p node. It ends when it is shut down or dropped.
#[derive(Debug)]
pub struct Node {
    peer: PeerId,
    book: Arc<Book>,
    addresses: Arc<Addresses>,
    commands: mpsc::Sender<Command>,
    stop: CancellationToken,
    task: JoinHandle<()>,
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
        let (mut actor, commands) = Actor::new(
            &options,
            Arc::clone(&book),
            Arc::clone(&addresses),
            stop.clone(),
        )?;
        actor.listen(&options.listen).await?;
        let task = tokio::spawn(actor.run());
        Ok(Node {
            peer,
            book,
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
        self.book.list().into_iter().map(|(_, info)| info).collect()
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
        let (found, providers) = mpsc::channel(crate::limits::COMMANDS_COUNT_MAX);
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

    /// Ends all connections and tasks, and waits for them.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, &mut self.task)
            .await
            .is_err()
        {
            self.task.abort();
        }
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
