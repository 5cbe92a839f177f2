//! Bitswap 1.2.0, client and server: how blocks travel between IPFS nodes.
//!
//! ```text
//!   handler   one per connection: opens streams when asked, starts a reader for each that comes in
//!   reader    one task per inbound stream: messages -> wants to the ledger, answers to the client
//!   sorter    one task per peer: hashes blocks, several at once, and finds who wanted them
//!   client    one task per peer: writes wants, asks again what stays away
//!   server    one task per outbound stream with replies: reads blocks and writes them
//! ```
//! [`wants`] and [`ledger`] hold the rules, without tasks or clocks; [`hub`] knows all peers. Blocks never pass through the
//! swarm's task. Must not know files or layouts: only blocks and their CIDs. Why it is our own: docs/design/bitswap.md.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::FromSwarm;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

pub(crate) mod client;
mod handler;
pub(crate) mod hub;
mod intake;
mod ledger;
pub(crate) mod link;
mod reader;
mod server;
pub(crate) mod wants;
pub(crate) mod wire;

use handler::Handler;
use hub::Hub;
use link::Opener;

/// Makes a handler for each connection, and tells the hub when it opens and closes.
#[derive(Debug)]
pub(crate) struct Behaviour {
    hub: Arc<Hub>,
    /// Connections that are not established yet: another behaviour may still refuse them.
    pending: HashMap<ConnectionId, Opener>,
}

impl Behaviour {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Behaviour {
            hub,
            pending: HashMap::new(),
        }
    }

    fn handler(&mut self, connection: ConnectionId, peer: PeerId) -> Handler {
        let (handler, opener) = Handler::new(Arc::clone(&self.hub), peer);
        self.pending.retain(|_, opener| !opener.is_closed());
        self.pending.insert(connection, opener);
        handler
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection, peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection, peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(new) => {
                if let Some(opener) = self.pending.remove(&new.connection_id) {
                    self.hub.connected(new.peer_id, new.connection_id, opener);
                }
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.hub.closed(&closed.peer_id, closed.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
