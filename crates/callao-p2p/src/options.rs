//! What a node is started with. Must not know where the values come from.

use std::sync::Arc;

pub use callao_fetch::netfilter::Scope;
use callao_store::served::Served;

use crate::key::NodeKey;
use crate::limits::CONNECTIONS_COUNT_MAX;
use crate::upload::UploadLimits;

/// Everything that varies between nodes.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Who it is.
    pub key: NodeKey,
    /// Multiaddrs to listen on (`/ip4/0.0.0.0/tcp/4001`, `/ip4/0.0.0.0/udp/4001/quic-v1`; port 0: any). None: a client.
    pub listen: Vec<String>,
    /// Peers that the user named: multiaddrs that end in `/p2p/ID`. Connected to at once, and again when they are lost.
    pub peers: Vec<String>,
    /// What is served. `None`: every want is answered with "do not have".
    pub served: Option<Arc<dyn Served>>,
    /// HTTP gateways of this node that peers are told of: `/ip4/192.168.1.7/tcp/8080/http`; `/ip4/0.0.0.0/...`: on every
    /// interface, where whoever reads it finds this node.
    pub http: Vec<String>,
    /// Find peers on the local network, and be found.
    pub mdns: bool,
    /// Find providers on the public network.
    pub dht: Dht,
    /// Which addresses may be dialled that somebody else named. Peers that the user names are not filtered.
    pub scope: Scope,
    /// `callao/<version>`.
    pub agent: String,
    /// How much of the line others may use.
    pub upload: UploadLimits,
    /// Connections in all.
    pub connections_count_max: u32,
}

impl NodeOptions {
    /// A client that listens nowhere, serves nothing, and dials public addresses only.
    #[must_use]
    pub fn client(key: NodeKey, agent: String) -> Self {
        NodeOptions {
            key,
            listen: Vec::new(),
            peers: Vec::new(),
            served: None,
            http: Vec::new(),
            mdns: false,
            dht: Dht::Off,
            scope: Scope::Public,
            agent,
            upload: UploadLimits::default(),
            connections_count_max: CONNECTIONS_COUNT_MAX,
        }
    }
}

/// The public DHT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dht {
    /// Not asked.
    Off,
    /// Asked and told, never answering for others (client mode).
    Client {
        /// Multiaddrs that end in `/p2p/ID`.
        bootstrap: Vec<String>,
    },
}
