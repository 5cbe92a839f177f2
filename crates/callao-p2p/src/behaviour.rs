//! The protocols of the node, put together. Must not know what any of them is used for.

use std::sync::Arc;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{identify, mdns, ping};

use crate::bitswap;
use crate::bitswap::hub::Hub;
use crate::discovery;
use crate::error::Error;
use crate::gate::Gate;
use crate::limits::{
    CONNECTIONS_PENDING_COUNT_MAX, CONNECTIONS_PER_PEER_COUNT_MAX, IDENTIFY_INTERVAL,
    PING_INTERVAL, PING_TIMEOUT,
};
use crate::options::NodeOptions;

/// What identify tells of the protocol family, as every IPFS node does.
const PROTOCOL_VERSION: &str = "ipfs/0.1.0";

/// Those that refuse connections come first.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub gate: Gate,
    pub limits: connection_limits::Behaviour,
    pub identify: identify::Behaviour,
    pub ping: ping::Behaviour,
    pub mdns: Toggle<mdns::tokio::Behaviour>,
    pub kad: Toggle<discovery::dht::Kad>,
    pub bitswap: bitswap::Behaviour,
}

impl Behaviour {
    pub(crate) fn new(options: &NodeOptions, hub: Arc<Hub>) -> Result<Self, Error> {
        let peer = options.key.pair().public().to_peer_id();
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(CONNECTIONS_PENDING_COUNT_MAX))
            .with_max_pending_outgoing(Some(CONNECTIONS_PENDING_COUNT_MAX))
            .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_COUNT_MAX))
            .with_max_established(Some(options.connections_count_max));
        let identify =
            identify::Config::new(PROTOCOL_VERSION.to_owned(), options.key.pair().public())
                .with_agent_version(options.agent.clone())
                .with_interval(IDENTIFY_INTERVAL)
                .with_push_listen_addr_updates(true)
                .with_cache_size(0);
        Ok(Behaviour {
            gate: Gate::new(),
            limits: connection_limits::Behaviour::new(limits),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(
                ping::Config::new()
                    .with_interval(PING_INTERVAL)
                    .with_timeout(PING_TIMEOUT),
            ),
            mdns: discovery::network::behaviour(options, peer).into(),
            kad: discovery::dht::behaviour(options, peer)?.into(),
            bitswap: bitswap::Behaviour::new(hub),
        })
    }
}
