//! The libp2p node of the daemon: what it is started with, and what it knows, in the words of the daemon; fetches of the
//! daemon borrow it. Decides by settings who may find it; knows nothing of files.

use std::sync::Arc;
use std::time::Duration;

use callao_content::Cid;
use callao_fetch::source::Source;
use callao_p2p::{Dht, NodeOptions, PeerInfo, Scope, UploadLimits};
use callao_store::served::Served;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::{key, status};
use crate::app::App;
use crate::cli::Discovery;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::gateway;
use crate::get::peers::Lent;

/// Peers that are named for one CID.
const PROVIDERS_COUNT_MAX: usize = 20;
/// How long connected peers are asked whether they have something.
const ASK_MAX: Duration = Duration::from_secs(1);
/// How long the DHT is asked.
const DHT_MAX: Duration = Duration::from_secs(5);

/// What the node is started with.
pub(super) struct Wish {
    /// Multiaddrs.
    pub(super) listen: Vec<String>,
    /// Multiaddrs of peers to be connected to always.
    pub(super) peers: Vec<String>,
    /// Gateways that other callaos are told of.
    pub(super) http: Vec<String>,
    /// `None`: others get nothing.
    pub(super) served: Option<Arc<dyn Served>>,
}

/// A running node.
#[derive(Debug)]
pub(super) struct Node {
    node: Arc<callao_p2p::Node>,
    runtime: Handle,
    has_dht: bool,
    has_named: bool,
}

impl Node {
    /// Starts it on the current runtime; `None` where callao is built without peers.
    ///
    /// # Errors
    /// Usage: an address that is none, a key that is none. Network: an address that cannot be listened on. Disk: the key.
    pub(super) async fn start(app: &App, wish: Wish) -> Result<Option<Self>, CommandError> {
        let settings = &app.settings;
        let (peers, serve) = (&settings.peers, &settings.serve);
        let is_public = settings.discovery == Discovery::Public;
        let dht = match is_public && !peers.bootstrap.is_empty() {
            true => Dht::Client {
                bootstrap: peers.bootstrap.clone(),
            },
            false => Dht::Off,
        };
        let has_dht = dht != Dht::Off;
        let agent = format!("callao/{}", env!("CARGO_PKG_VERSION"));
        let named: Vec<String> = wish
            .peers
            .into_iter()
            .chain(peers.connect.clone())
            .collect();
        let has_named = !named.is_empty();
        let options = NodeOptions {
            listen: wish.listen,
            peers: named,
            served: wish.served,
            http: wish.http,
            mdns: peers.mdns && settings.discovery != Discovery::None,
            dht,
            scope: match settings.discovery {
                Discovery::Lan => Scope::Lan,
                Discovery::Public | Discovery::None => Scope::Public,
            },
            upload: UploadLimits {
                rate_bytes_s_max: serve.upload_rate_max,
                slots_count_max: serve.upload_slots,
            },
            ..NodeOptions::client(key::load(&app.host)?, agent)
        };
        let node = callao_p2p::Node::start(options)
            .await
            .map_err(not_started)?;
        Ok(Some(Node {
            node: Arc::new(node),
            runtime: Handle::current(),
            has_dht,
            has_named,
        }))
    }

    /// For a fetch: its connections, and whom it finds.
    pub(super) fn lend(&self) -> Option<Lent> {
        Some(Lent {
            node: Arc::clone(&self.node),
            runtime: self.runtime.clone(),
            has_named: self.has_named,
        })
    }

    pub(super) fn peer_id(&self) -> String {
        self.node.peer_id()
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        self.node.addresses()
    }

    pub(super) fn peers(&self) -> Vec<status::Peer> {
        self.node.peers().into_iter().map(told).collect()
    }

    pub(super) fn totals(&self) -> status::Totals {
        let stats = self.node.stats();
        status::Totals {
            sent_bytes: stats.sent_bytes,
            received_bytes: stats.received_bytes,
        }
    }

    /// Announces these from now on, and nothing else.
    pub(super) async fn provide(&self, roots: Vec<Cid>) {
        if self.has_dht && self.node.provide(roots).await.is_err() {
            tracing::warn!("nothing can be announced: the node has stopped");
        }
    }

    /// Peers that have this block: those that are connected and say so, and those that the DHT names.
    pub(super) async fn providers(&self, cid: Cid) -> Vec<gateway::Peer> {
        let mut ids: Vec<String> = Vec::new();
        let mut holders = self.holders(cid);
        let until = Instant::now() + ASK_MAX;
        while ids.len() < PROVIDERS_COUNT_MAX
            && let Ok(Some(holder)) = timeout_at(until, holders.recv()).await
        {
            ids.push(holder.id().place.clone());
        }
        if self.has_dht
            && let Ok(mut named) = self.node.providers(cid).await
        {
            let until = Instant::now() + DHT_MAX;
            while ids.len() < PROVIDERS_COUNT_MAX
                && let Ok(Some(id)) = timeout_at(until, named.recv()).await
            {
                ids.push(id);
            }
        }
        ids.sort();
        ids.dedup();
        let peers = self.peers();
        let record = |id: String| {
            let known = peers.iter().find(|peer| peer.peer_id == id);
            gateway::Peer {
                addrs: known.map(|peer| peer.address.clone()).into_iter().collect(),
                protocols: vec!["transport-bitswap".into()],
                id,
            }
        };
        ids.into_iter().map(record).collect()
    }

    /// Connected peers that have this block, as they say so; it ends with the node.
    pub(super) fn holders(&self, cid: Cid) -> mpsc::Receiver<Arc<dyn Source>> {
        self.node.sources(cid)
    }

    /// There is something new: peers that wait for it get it.
    pub(super) fn offer(&self) {
        self.node.offer();
    }

    /// Says goodbye to all peers.
    pub(super) async fn shutdown(self) {
        match Arc::into_inner(self.node) {
            Some(node) => node.shutdown().await,
            None => tracing::warn!("a fetch still uses the node: peers are not told that it ends"),
        }
    }
}

fn told(peer: PeerInfo) -> status::Peer {
    status::Peer {
        peer_id: peer.peer_id,
        address: peer.address,
        agent: peer.agent,
        lan: peer.lan,
        rtt_ms: peer.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
        sent_bytes: peer.sent_bytes,
        received_bytes: peer.received_bytes,
        http: peer.http,
    }
}

fn not_started(error: callao_p2p::Error) -> CommandError {
    let (kind, hint) = match &error {
        callao_p2p::Error::Address { .. } => (
            ExitCode::Usage,
            "an address is a multiaddr, such as /ip4/0.0.0.0/tcp/22553 or /ip4/192.168.1.7/tcp/4001/p2p/12D3Koo...",
        ),
        callao_p2p::Error::Listen { .. } => (
            ExitCode::Network,
            "name another one with --listen, or in the settings (serve.listen)",
        ),
        _ => return CommandError::new(ExitCode::Unexpected, error.to_string()),
    };
    CommandError::new(kind, error.to_string()).hint(hint)
}
