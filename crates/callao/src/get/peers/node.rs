//! The libp2p node of this process, started for the time of a command or lent by the daemon, and the search for peers that
//! have one file. Decides nothing about who may be looked for.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use callao_content::cid;
use callao_content::digest::Algorithm;
use callao_fetch::source::Source;
use callao_fetch::source::lan::{self, Lan};
use callao_p2p::{Dht, Error, Node, NodeKey, NodeOptions, PeerInfo};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll};
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use url::Url;

use super::unreachable::Unreachable;
use super::{Around, Lent, Names, Told, Wish};
use crate::error::CommandError;
use crate::exit_code::ExitCode;

/// Threads of the node: one may secure a connection while the other hashes.
const THREADS_COUNT: usize = 2;
/// How long peers on the local network are waited for (the first answers come within a second, when the network loses
/// none of the questions, which are repeated after half a second, one, two).
const NETWORK_WINDOW: Duration = Duration::from_secs(5);
/// How long a peer that was found may take to be connected to and to say what it has.
const PEER_WINDOW: Duration = Duration::from_secs(10);
/// How long a named peer that is connected may take to say who it is.
const IDENTIFY_WINDOW: Duration = Duration::from_secs(2);
/// How long tasks of the node may take to end.
const END_WINDOW: Duration = Duration::from_secs(1);

/// The node: lent, or started when it is first needed.
pub(super) struct Shared {
    wish: Wish,
    lent: Option<Lent>,
    runtime: OnceLock<Runtime>,
    node: Arc<OnceCell<Option<Arc<Node>>>>,
    searches: Mutex<JoinSet<()>>,
}

impl Shared {
    pub(super) fn new(wish: &Wish) -> Self {
        Shared {
            wish: wish.clone(),
            lent: None,
            runtime: OnceLock::new(),
            node: Arc::default(),
            searches: Mutex::default(),
        }
    }

    pub(super) fn borrow(&mut self, lent: Lent) {
        self.lent = Some(lent);
    }

    pub(super) fn has_acquaintances(&self) -> bool {
        let lent = self.lent.as_ref();
        lent.is_some_and(|lent| lent.has_named || !lent.node.peers().is_empty())
    }

    /// Starts the search in the node's own threads.
    pub(super) fn search(
        &self,
        wish: Wish,
        around: Around,
        names: Names,
        mut told: mpsc::Receiver<Told>,
        found: mpsc::Sender<Arc<dyn Source>>,
    ) -> Result<(), CommandError> {
        let (cell, options) = (Arc::clone(&self.node), options(&self.wish));
        let lent = self.lent.as_ref().map(|lent| Arc::clone(&lent.node));
        let runtime = match &self.lent {
            Some(lent) => &lent.runtime,
            None => self.runtime()?.handle(),
        };
        let search = async move {
            if let Some(node) = lent {
                let mut search = Search::new(node, wish, around, names, found);
                // Those who are connected, or are being connected to, are asked before it gives up.
                search.wait(NETWORK_WINDOW);
                return search.run(None, told).await;
            }
            let mut first = None;
            if !wish.is_at_once() {
                // Only routers could name somebody: no node without need.
                first = told.recv().await;
                if first.is_none() {
                    return;
                }
            }
            let output = Arc::clone(&around.output);
            let start = async {
                let started = Node::start(options).await;
                let why = |error| output.warning(format!("peers are not asked: {error}"));
                started.map_err(why).ok().map(Arc::new)
            };
            if let Some(node) = cell.get_or_init(|| start).await.clone() {
                Search::new(node, wish, around, names, found)
                    .run(first, told)
                    .await;
            }
        };
        self.searches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn_on(search, runtime);
        Ok(())
    }

    fn runtime(&self) -> Result<&Runtime, CommandError> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS_COUNT)
            .thread_name("peers")
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| {
            CommandError::new(
                ExitCode::Unexpected,
                format!("failed to start threads for peers: {error}"),
            )
        })?;
        Ok(self.runtime.get_or_init(|| runtime))
    }
}

impl Drop for Shared {
    /// Says goodbye to all peers of a node of its own. Must not happen inside of a runtime; commands end outside of theirs.
    fn drop(&mut self) {
        let mut searches = std::mem::take(&mut self.searches)
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(lent) = self.lent.take() {
            // Whoever lent it shall be its only owner again.
            lent.runtime.block_on(searches.shutdown());
        }
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        runtime.block_on(searches.shutdown());
        let cell = Arc::into_inner(std::mem::take(&mut self.node));
        let node = cell.and_then(OnceCell::into_inner).flatten();
        if let Some(node) = node.and_then(Arc::into_inner) {
            runtime.block_on(node.shutdown());
        }
        runtime.shutdown_timeout(END_WINDOW);
    }
}

/// A client: listens nowhere, serves nothing, and has a name only for this once.
fn options(wish: &Wish) -> NodeOptions {
    let agent = format!("callao/{}", env!("CARGO_PKG_VERSION"));
    let dht = match wish.bootstrap.is_empty() {
        true => Dht::Off,
        false => Dht::Client {
            bootstrap: wish.bootstrap.clone(),
        },
    };
    NodeOptions {
        mdns: wish.mdns,
        dht,
        ..NodeOptions::client(NodeKey::generate(), agent)
    }
}

/// What a named peer's address led to.
type Connected = (String, Result<String, String>);

/// One search.
struct Search {
    node: Arc<Node>,
    wish: Wish,
    around: Around,
    names: Names,
    found: mpsc::Sender<Arc<dyn Source>>,
    /// Named peers that are connected and have not said yet who they are.
    unknown: Vec<String>,
    /// IDs of those that were handed over.
    given: HashSet<String>,
    /// When it ends if nothing more happens.
    until: Instant,
}

impl Search {
    fn new(
        node: Arc<Node>,
        wish: Wish,
        around: Around,
        names: Names,
        found: mpsc::Sender<Arc<dyn Source>>,
    ) -> Self {
        let window = if wish.mdns {
            NETWORK_WINDOW
        } else {
            Duration::ZERO
        };
        Search {
            node,
            wish,
            around,
            names,
            found,
            unknown: Vec::new(),
            given: HashSet::new(),
            until: Instant::now() + window,
        }
    }

    async fn run(mut self, first: Option<Told>, mut told: mpsc::Receiver<Told>) {
        let mut connecting: FuturesUnordered<_> = self
            .wish
            .named
            .iter()
            .map(|one| self.connect(one))
            .collect();
        let mut records = self.records().await;
        let mut holders = match self.names.root.filter(|_| self.wish.bitswap) {
            Some(root) => self.node.sources(root),
            None => mpsc::channel(1).1,
        };
        let mut changes = self.node.changes();
        if let Some(first) = first {
            self.told(first).await;
        }
        let (mut records_open, mut told_open, mut holders_open) = (true, true, true);
        self.look_around();
        while !self.found.is_closed() {
            let is_quiet = connecting.is_empty() && !records_open && !told_open;
            tokio::select! {
                () = self.found.closed() => return,
                Some(connected) = connecting.next() => self.connected(connected),
                record = records.next(), if records_open => match record {
                    Some(_) => self.wait(PEER_WINDOW),
                    None => records_open = false,
                },
                one = told.recv(), if told_open => match one {
                    Some(one) => self.told(one).await,
                    None => told_open = false,
                },
                holder = holders.recv(), if holders_open => match holder {
                    Some(source) => self.holder(source),
                    None => holders_open = false,
                },
                changed = changes.changed() => match changed {
                    Ok(()) => self.look_around(),
                    Err(_) => return,
                },
                () = sleep_until(self.until), if is_quiet => break,
            }
        }
        self.give_unknown();
    }

    fn connect(&self, address: &str) -> BoxFuture<'static, Connected> {
        let (node, address) = (Arc::clone(&self.node), address.to_owned());
        Box::pin(async move {
            let connected = node.connect(&address).await;
            let why = |error| match error {
                Error::Connect { reason, .. } => format!("cannot be reached: {reason}"),
                other => other.to_string(),
            };
            (address, connected.map_err(why))
        })
    }

    /// Asks the DHT for the root, and for the digest, which is the CID of the whole file as a single block.
    async fn records(&self) -> BoxStream<'static, String> {
        let mut all = SelectAll::new();
        if self.wish.bootstrap.is_empty() {
            return all.boxed();
        }
        let digest = self.names.digest.as_ref();
        let digest = digest.filter(|digest| digest.algorithm() == Algorithm::Sha256);
        let whole = digest.and_then(|digest| digest.as_bytes().try_into().ok());
        let keys = self
            .names
            .root
            .into_iter()
            .chain(whole.map(cid::raw_sha256));
        for key in keys {
            // An error means that the node has stopped.
            if let Ok(providers) = self.node.providers(key).await {
                let next = async |mut providers: mpsc::Receiver<String>| {
                    providers.recv().await.map(|peer| (peer, providers))
                };
                all.push(futures::stream::unfold(providers, next).boxed());
            }
        }
        all.boxed()
    }

    fn connected(&mut self, (address, result): Connected) {
        match result {
            Ok(peer) => {
                self.detail(format!("Peer {address} is connected"));
                self.unknown.push(peer);
                self.wait(IDENTIFY_WINDOW);
                self.look_around();
            }
            Err(why) => {
                self.around
                    .output
                    .warning(format!("peer `{address}`: {why}"));
                self.give(Arc::new(Unreachable::new(&address, why)));
            }
        }
    }

    /// Dials a peer that a router named.
    async fn told(&mut self, told: Told) {
        self.wait(PEER_WINDOW);
        if let Err(error) = self.node.found(&told.peer, &told.addresses).await {
            self.detail(format!(
                "A router named a peer that cannot be dialled: {error}"
            ));
        }
    }

    /// A peer that says that it has the root.
    fn holder(&mut self, source: Arc<dyn Source>) {
        let peers = self.node.peers();
        let mut same = peers
            .iter()
            .filter(|peer| peer.peer_id == source.id().place);
        // A callao gives more by HTTP, and is asked that way.
        let is_host = same.any(|peer| self.has_gateway(peer));
        let is_needless = is_host || self.is_ourselves(&source.id().place);
        if !is_needless && self.given.insert(source.id().place.clone()) {
            self.give(source);
        }
    }

    /// Takes the callaos among the connected peers, and named peers that have said who they are.
    fn look_around(&mut self) {
        let peers = self.node.peers();
        let hosts: Vec<&PeerInfo> = peers.iter().filter(|peer| self.has_gateway(peer)).collect();
        hosts.into_iter().for_each(|peer| self.host(peer));
        for id in std::mem::take(&mut self.unknown) {
            match peers.iter().find(|peer| peer.peer_id == id) {
                Some(peer) if self.has_gateway(peer) => {}
                Some(peer) if !peer.agent.is_empty() || !self.wish.lan => self.give_peer(&id),
                _ => self.unknown.push(id),
            }
        }
    }

    /// Plain HTTP is for the local network.
    fn has_gateway(&self, peer: &PeerInfo) -> bool {
        self.wish.lan && peer.lan && peer.http.is_some()
    }

    /// A callao with a gateway.
    fn host(&mut self, peer: &PeerInfo) {
        if self.is_ourselves(&peer.peer_id) {
            return;
        }
        let Some(base) = peer.http.as_ref().and_then(|base| Url::parse(base).ok()) else {
            return;
        };
        if !self.given.contains(&peer.peer_id) {
            self.detail(format!(
                "Peer {} ({}) is a callao at {base}",
                peer.peer_id, peer.agent
            ));
            self.given.insert(peer.peer_id.clone());
            let names = lan::Names {
                root: self.names.root,
                digest: self.names.digest,
            };
            let (client, waits) = (self.around.client.clone(), self.around.waits);
            let host = peer.peer_id.clone();
            self.give(Arc::new(Lan::new(client, base, host, names, waits)));
        }
    }

    fn give_unknown(&mut self) {
        for id in std::mem::take(&mut self.unknown) {
            self.give_peer(&id);
        }
    }

    /// Our own daemon serves what this fetch brings, and would be one more host of the swarm.
    fn is_ourselves(&self, id: &str) -> bool {
        self.around.ourselves.as_deref() == Some(id)
    }

    fn give_peer(&mut self, id: &str) {
        if !self.wish.bitswap || self.names.root.is_none() {
            self.detail(format!(
                "Peer {id} has no gateway, and is asked for nothing else"
            ));
            return;
        }
        match self.node.source(id) {
            Ok(source) if self.given.insert(id.to_owned()) => self.give(source),
            // It has said already that it has the root.
            Ok(_) => {}
            Err(error) => self.detail(format!("Peer {id} is not asked: {error}")),
        }
    }

    fn give(&self, source: Arc<dyn Source>) {
        // Full or closed: there are more than enough, or nobody wants any more.
        self.found.try_send(source).unwrap_or(());
    }

    fn wait(&mut self, window: Duration) {
        self.until = self.until.max(Instant::now() + window);
    }

    fn detail(&self, line: String) {
        self.around.output.detail(line);
    }
}
