//! The DHT's behaviour, told only what the public may know of us and dialling only what it may. Must not know what is
//! asked or announced.
//!
//! The library announces what the swarm calls external: here that is where we listen, as far as the scope allows, and
//! where others see us; never an HTTP gateway of the local network.

use std::net::IpAddr;
use std::task::{Context, Poll};

use callao_fetch::netfilter::Scope;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::kad;
use libp2p::kad::store::MemoryStore;
use libp2p::swarm::behaviour::{ExternalAddrConfirmed, ExternalAddrExpired, FromSwarm};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::address;
use crate::limits::{OBSERVED_ADDRESSES_COUNT_MAX, OBSERVERS_COUNT_MIN};

type Inner = kad::Behaviour<MemoryStore>;

/// The behaviour.
pub(crate) struct Kad {
    pub(crate) inner: Inner,
    scope: Scope,
    /// Named by the settings, wherever they are.
    bootstrap: Vec<Multiaddr>,
}

impl Kad {
    pub(crate) fn new(inner: Inner, scope: Scope, bootstrap: Vec<Multiaddr>) -> Self {
        Kad {
            inner,
            scope,
            bootstrap,
        }
    }

    fn may_be_dialled(&self, address: &Multiaddr) -> bool {
        let is_named = |named: &Multiaddr| named.iter().zip(address).all(|(a, b)| a == b);
        address::dialable(address, self.scope).is_some() || self.bootstrap.iter().any(is_named)
    }
}

impl NetworkBehaviour for Kad {
    type ConnectionHandler = <Inner as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = kad::Event;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner
            .handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let all = self
            .inner
            .handle_pending_outbound_connection(connection, peer, addresses, role)?;
        let allowed = all
            .into_iter()
            .filter(|address| self.may_be_dialled(address));
        Ok(allowed.collect())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_outbound_connection(connection, peer, remote, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        let may_be_told = |addr: &Multiaddr| address::dialable(addr, self.scope).is_some();
        match &event {
            FromSwarm::NewListenAddr(listening) if may_be_told(listening.addr) => {
                let addr = listening.addr;
                self.inner.on_swarm_event(FromSwarm::ExternalAddrConfirmed(
                    ExternalAddrConfirmed { addr },
                ));
            }
            FromSwarm::ExpiredListenAddr(gone) => {
                let addr = gone.addr;
                self.inner
                    .on_swarm_event(FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }));
            }
            FromSwarm::ExternalAddrConfirmed(confirmed) if !may_be_told(confirmed.addr) => return,
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner
            .on_connection_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}

/// Where others say that they see us: believed when several of them, at different addresses, say the same.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    seen: Vec<(Multiaddr, Vec<IpAddr>)>,
}

impl Observed {
    /// Somebody at `observer` sees us at `address`; gives it the moment it is to be believed.
    pub(crate) fn seen(&mut self, observer: IpAddr, address: &Multiaddr) -> Option<Multiaddr> {
        // Nobody on our own network can know where we are on the public one.
        if !Scope::Public.allows(observer) {
            return None;
        }
        let plain = address::dialable(address, Scope::Public)?;
        if let Some((_, observers)) = self.seen.iter_mut().find(|(one, _)| *one == plain) {
            if observers.len() >= OBSERVERS_COUNT_MIN || observers.contains(&observer) {
                return None;
            }
            observers.push(observer);
            return (observers.len() == OBSERVERS_COUNT_MIN).then_some(plain);
        }
        if self.seen.len() < OBSERVED_ADDRESSES_COUNT_MAX {
            self.seen.push((plain, vec![observer]));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a multiaddr")
    }

    #[test]
    fn several_strangers_have_to_agree_where_we_are() {
        let mut observed = Observed::default();
        let here = address("/ip4/1.2.3.4/tcp/4001");
        let stranger = |last: u8| IpAddr::from([8, 8, 8, last]);
        for last in 1..OBSERVERS_COUNT_MIN {
            let last = u8::try_from(last).expect("few");
            assert_eq!(observed.seen(stranger(last), &here), None);
            assert_eq!(observed.seen(stranger(last), &here), None, "said twice");
        }
        assert_eq!(observed.seen(IpAddr::from([10, 0, 0, 1]), &here), None);
        assert_eq!(observed.seen(stranger(100), &here), Some(here.clone()));
        assert_eq!(observed.seen(stranger(101), &here), None, "known already");
        for private in ["/ip4/192.168.1.7/tcp/4001", "/ip4/1.2.3.4/tcp/80/http"] {
            for last in 1..=10 {
                assert_eq!(observed.seen(stranger(last), &address(private)), None);
            }
        }
    }

    #[test]
    fn what_is_remembered_of_observers_is_bounded() {
        let mut observed = Observed::default();
        for port in 1..1000 {
            let seen = address(&format!("/ip4/1.2.3.4/tcp/{port}"));
            observed.seen(IpAddr::from([8, 8, 8, 8]), &seen);
        }
        assert_eq!(observed.seen.len(), OBSERVED_ADDRESSES_COUNT_MAX);
    }

    #[test]
    fn records_and_settings_decide_what_is_dialled() {
        let own = PeerId::random();
        let inner = Inner::with_config(
            own,
            MemoryStore::new(own),
            kad::Config::new(super::super::PROTOCOL),
        );
        let named = vec![
            address("/ip4/127.0.0.1/tcp/4001"),
            address("/dnsaddr/bootstrap.example"),
        ];
        let kad = Kad::new(inner, Scope::Public, named);
        let peer = "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        let table = [
            ("/ip4/1.1.1.1/tcp/4001", true),
            ("/ip4/127.0.0.1/tcp/4001", true),
            ("/ip4/127.0.0.1/tcp/4002", false),
            ("/ip4/10.0.0.1/udp/1/quic-v1", false),
            ("/dnsaddr/bootstrap.example", true),
            ("/dnsaddr/other.example", false),
            ("/dns4/peer.example/tcp/4001", false),
        ];
        for (text, wanted) in table {
            for ending in ["", peer] {
                let address = address(&format!("{text}{ending}"));
                assert_eq!(kad.may_be_dialled(&address), wanted, "{address}");
            }
        }
    }
}
