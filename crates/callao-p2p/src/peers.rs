//! Who is connected, and what is known of them. Written by the node's task and the bitswap tasks, read by everybody.
//! Must not know how anything is sent.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::watch;

use crate::address;
use crate::limits::{AGENT_CHARS_MAX, PROTOCOLS_COUNT_MAX};

/// A connected peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// `12D3Koo...`
    pub peer_id: String,
    /// The address of its first connection, without its ID.
    pub address: String,
    /// What it says it is, shortened; empty until it has said so.
    pub agent: String,
    /// The protocols that it speaks; empty until it has said so.
    pub protocols: Vec<String>,
    /// It is on this machine or its network.
    pub lan: bool,
    /// The shortest round trip seen.
    pub rtt: Option<Duration>,
    /// Bytes of blocks sent to it.
    pub sent_bytes: u64,
    /// Bytes of blocks received from it.
    pub received_bytes: u64,
    /// Wants that it has registered here.
    pub wants: usize,
    /// Base URL of its HTTP gateway, if it is a callao that has one at the address it is connected from.
    pub http: Option<String>,
}

/// What identify told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub agent: String,
    pub protocols: Vec<String>,
    pub addresses: Vec<Multiaddr>,
}

/// One peer.
#[derive(Debug, Default)]
struct Entry {
    connections: Vec<(ConnectionId, Multiaddr)>,
    agent: String,
    protocols: Vec<String>,
    rtt: Option<Duration>,
    http: Option<String>,
}

/// All connected peers.
#[derive(Debug)]
pub(crate) struct Book {
    entries: Mutex<HashMap<PeerId, Entry>>,
    changed: watch::Sender<u64>,
}

impl Book {
    pub(crate) fn new() -> Self {
        Book {
            entries: Mutex::new(HashMap::new()),
            changed: watch::Sender::new(0),
        }
    }

    /// Wakes when a peer came, went, or told something new.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn connected(&self, peer: PeerId, connection: ConnectionId, address: Multiaddr) {
        let mut entries = self.lock();
        let entry = entries.entry(peer).or_default();
        entry.connections.push((connection, address));
        drop(entries);
        self.tell();
    }

    pub(crate) fn closed(&self, peer: &PeerId, connection: ConnectionId) {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(peer) {
            entry.connections.retain(|(other, _)| *other != connection);
            if entry.connections.is_empty() {
                entries.remove(peer);
            }
        }
        drop(entries);
        self.tell();
    }

    /// Takes down what identify told. A gateway counts only where the peer is connected from.
    pub(crate) fn said(&self, peer: &PeerId, said: Said) {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(peer) else {
            return;
        };
        let readable = said.agent.chars().filter(|c| !c.is_control());
        entry.agent = readable.take(AGENT_CHARS_MAX).collect();
        entry.protocols = said.protocols;
        entry.protocols.truncate(PROTOCOLS_COUNT_MAX);
        let from: Vec<IpAddr> = entry
            .connections
            .iter()
            .filter_map(|(_, address)| address::ip(address))
            .collect();
        entry.http = said
            .addresses
            .iter()
            .find_map(|address| from.iter().find_map(|ip| address::http_base(address, *ip)))
            .filter(|_| is_callao(&entry.agent));
        drop(entries);
        self.tell();
    }

    pub(crate) fn measured(&self, peer: &PeerId, rtt: Duration) {
        if let Some(entry) = self.lock().get_mut(peer) {
            entry.rtt = Some(entry.rtt.map_or(rtt, |known| known.min(rtt)));
        }
    }

    /// The shortest round trip seen: under load a ping waits behind what is being sent.
    pub(crate) fn rtt(&self, peer: &PeerId) -> Option<Duration> {
        self.lock().get(peer)?.rtt
    }

    /// Whether it says that it is a callao.
    pub(crate) fn is_callao(&self, peer: &PeerId) -> bool {
        self.lock()
            .get(peer)
            .is_some_and(|entry| is_callao(&entry.agent))
    }

    /// What a peer says that it is.
    pub(crate) fn agent(&self, peer: &PeerId) -> Option<String> {
        let entries = self.lock();
        let agent = entries.get(peer).map(|entry| entry.agent.clone());
        agent.filter(|agent| !agent.is_empty())
    }

    /// Whether somebody is connected at this very address.
    pub(crate) fn has_address(&self, address: &Multiaddr) -> bool {
        let entries = self.lock();
        let mut connections = entries.values().flat_map(|entry| &entry.connections);
        connections.any(|(_, other)| other == address)
    }

    /// Where a peer is connected from or to.
    pub(crate) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let entries = self.lock();
        let connections = entries.get(peer).map(|entry| entry.connections.as_slice());
        let addresses = connections.unwrap_or_default().iter();
        addresses.map(|(_, address)| address.clone()).collect()
    }

    /// Everybody, with nothing counted yet.
    pub(crate) fn list(&self) -> Vec<(PeerId, PeerInfo)> {
        let entries = self.lock();
        let info = |(peer, entry): (&PeerId, &Entry)| {
            let first = entry.connections.first().map(|(_, address)| address);
            let info = PeerInfo {
                peer_id: peer.to_string(),
                address: first.map(ToString::to_string).unwrap_or_default(),
                agent: entry.agent.clone(),
                protocols: entry.protocols.clone(),
                lan: first.is_some_and(address::is_local),
                rtt: entry.rtt,
                sent_bytes: 0,
                received_bytes: 0,
                wants: 0,
                http: entry.http.clone(),
            };
            (*peer, info)
        };
        entries.iter().map(info).collect()
    }

    fn tell(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_callao(agent: &str) -> bool {
    agent.starts_with("callao/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(agent: &str, addresses: &[&str]) -> Said {
        let addresses = addresses
            .iter()
            .map(|text| text.parse().expect("a multiaddr"));
        Said {
            agent: agent.to_owned(),
            protocols: vec!["/ipfs/bitswap/1.2.0".to_owned()],
            addresses: addresses.collect(),
        }
    }

    #[test]
    fn a_gateway_is_believed_of_a_callao_at_its_own_address_only() {
        let (book, peer) = (Book::new(), PeerId::random());
        let address: Multiaddr = "/ip4/192.168.1.7/tcp/50000".parse().expect("a multiaddr");
        book.connected(peer, ConnectionId::new_unchecked(1), address);
        let http = |told: Said| {
            book.said(&peer, told);
            book.list()[0].1.http.clone()
        };
        let own = "/ip4/192.168.1.7/tcp/8080/http";
        assert_eq!(
            http(said("callao/0.1.0", &["/ip4/10.0.0.1/tcp/80/http", own])).as_deref(),
            Some("http://192.168.1.7:8080")
        );
        assert_eq!(
            http(said("callao/0.1.0", &["/ip4/10.0.0.1/tcp/80/http"])),
            None
        );
        assert_eq!(http(said("kubo/0.43.1", &[own])), None);
    }

    #[test]
    fn a_peer_is_known_as_long_as_it_has_a_connection() {
        let (book, peer) = (Book::new(), PeerId::random());
        let changes = book.changes();
        for id in [1, 2] {
            let address = format!("/ip4/127.0.0.1/tcp/{id}")
                .parse()
                .expect("a multiaddr");
            book.connected(peer, ConnectionId::new_unchecked(id), address);
        }
        book.said(&peer, said("kubo/0.43.1\n\u{1b}[31m", &[]));
        book.measured(&peer, Duration::from_millis(60));
        book.measured(&peer, Duration::from_millis(90));
        book.closed(&peer, ConnectionId::new_unchecked(1));
        let known = &book.list()[0].1;
        assert_eq!(known.agent, "kubo/0.43.1[31m");
        assert_eq!(known.address, "/ip4/127.0.0.1/tcp/2");
        assert_eq!(known.rtt, Some(Duration::from_millis(60)));
        assert!(known.lan);
        book.closed(&peer, ConnectionId::new_unchecked(2));
        assert!(book.list().is_empty());
        assert!(changes.has_changed().expect("the book is there"));
    }
}
