//! Who may connect: liars stay out, and one address gets only so many connections. A behaviour without a protocol.
//! Must not know why somebody was banned.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use callao_fetch::netfilter::Scope;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::FromSwarm;
use libp2p::swarm::dummy::ConnectionHandler;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::address;
use crate::limits::{BAN_TIME, BANS_COUNT_MAX, CONNECTIONS_PER_ADDRESS_COUNT_MAX};

/// Why a connection is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the peer sent false bytes before")]
    Banned,
    #[error("too many connections from its address")]
    Crowded,
}

/// The behaviour.
#[derive(Debug)]
pub(crate) struct Gate {
    bans: Bans,
    inbound: HashMap<ConnectionId, IpAddr>,
    started: Instant,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Gate {
            bans: Bans::default(),
            inbound: HashMap::new(),
            started: Instant::now(),
        }
    }

    /// Keeps a peer out, and everybody at its addresses where those are public: an address at home may be a router or
    /// this machine.
    pub(crate) fn ban(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        let ips = addresses.iter().filter_map(address::ip);
        let public = ips.filter(|ip| Scope::Public.allows(*ip)).collect();
        self.bans.add(peer, public, self.started.elapsed());
    }

    /// Whether the peer is kept out.
    pub(crate) fn is_banned(&self, peer: &PeerId) -> bool {
        self.bans.has_peer(peer, self.started.elapsed())
    }

    fn check_peer(&self, peer: &PeerId) -> Result<(), ConnectionDenied> {
        if self.is_banned(peer) {
            return Err(ConnectionDenied::new(Refused::Banned));
        }
        Ok(())
    }

    fn check_address(&self, address: &Multiaddr) -> Result<(), ConnectionDenied> {
        let banned = address::ip(address)
            .is_some_and(|ip| self.bans.has_address(ip, self.started.elapsed()));
        if banned {
            return Err(ConnectionDenied::new(Refused::Banned));
        }
        Ok(())
    }
}

/// Who is out, and until when. Pure: time is handed in.
#[derive(Debug, Default)]
struct Bans {
    peers: HashMap<PeerId, Duration>,
    addresses: HashMap<IpAddr, Duration>,
    order: VecDeque<(PeerId, Vec<IpAddr>)>,
}

impl Bans {
    fn add(&mut self, peer: PeerId, ips: Vec<IpAddr>, now: Duration) {
        let until = now + BAN_TIME;
        self.peers.insert(peer, until);
        for ip in &ips {
            self.addresses.insert(*ip, until);
        }
        self.order.push_back((peer, ips));
        while self.order.len() > BANS_COUNT_MAX {
            if let Some((peer, ips)) = self.order.pop_front() {
                self.peers.remove(&peer);
                for ip in ips {
                    self.addresses.remove(&ip);
                }
            }
        }
    }

    fn has_peer(&self, peer: &PeerId, now: Duration) -> bool {
        self.peers.get(peer).is_some_and(|until| now < *until)
    }

    fn has_address(&self, ip: IpAddr, now: Duration) -> bool {
        self.addresses.get(&ip).is_some_and(|until| now < *until)
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.check_address(remote)?;
        if let Some(ip) = address::ip(remote) {
            let same = self.inbound.values().filter(|other| **other == ip).count();
            if same >= CONNECTIONS_PER_ADDRESS_COUNT_MAX {
                return Err(ConnectionDenied::new(Refused::Crowded));
            }
            self.inbound.insert(connection, ip);
        }
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(&peer)?;
        Ok(ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if let Some(peer) = peer {
            self.check_peer(&peer)?;
        }
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(&peer)?;
        self.check_address(remote)?;
        Ok(ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionClosed(closed) => {
                self.inbound.remove(&closed.connection_id);
            }
            FromSwarm::ListenFailure(failed) => {
                self.inbound.remove(&failed.connection_id);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_ends_and_the_oldest_is_forgotten() {
        let (mut bans, at) = (Bans::default(), Duration::from_secs(10));
        let (liar, ip) = (PeerId::random(), IpAddr::from([1, 1, 1, 1]));
        bans.add(liar, vec![ip], at);
        assert!(bans.has_peer(&liar, at) && bans.has_address(ip, at));
        assert!(!bans.has_peer(&liar, at + BAN_TIME) && !bans.has_address(ip, at + BAN_TIME));
        for _ in 0..BANS_COUNT_MAX {
            bans.add(PeerId::random(), Vec::new(), at);
        }
        assert!(!bans.has_peer(&liar, at) && !bans.has_address(ip, at));
        assert_eq!(bans.peers.len(), BANS_COUNT_MAX);
    }

    #[test]
    fn only_public_addresses_are_banned_with_their_peer() {
        let mut gate = Gate::new();
        let liar = PeerId::random();
        let home: Multiaddr = "/ip4/192.168.1.7/tcp/4001".parse().expect("a multiaddr");
        let public: Multiaddr = "/ip4/1.1.1.1/tcp/4001".parse().expect("a multiaddr");
        gate.ban(liar, &[home.clone(), public.clone()]);
        assert!(gate.is_banned(&liar));
        assert!(gate.check_address(&home).is_ok());
        assert!(gate.check_address(&public).is_err());
    }

    #[test]
    fn one_address_gets_only_so_many_connections() {
        let mut gate = Gate::new();
        let (here, there): (Multiaddr, Multiaddr) = (
            "/ip4/10.0.0.1/tcp/4001".parse().expect("a multiaddr"),
            "/ip4/10.0.0.2/tcp/55555".parse().expect("a multiaddr"),
        );
        let mut come = |id| {
            gate.handle_pending_inbound_connection(ConnectionId::new_unchecked(id), &here, &there)
        };
        for id in 0..CONNECTIONS_PER_ADDRESS_COUNT_MAX {
            assert!(come(id).is_ok());
        }
        assert!(come(usize::MAX).is_err());
    }
}
