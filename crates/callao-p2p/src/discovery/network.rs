//! Peers on the local network, by mDNS (`_p2p._udp.local`): the service that kubo and Helia announce too. A node that
//! listens nowhere asks and announces nothing. Must not know who gets dialled in the end.

use std::collections::HashMap;

use libp2p::{Multiaddr, PeerId, mdns};

use super::{By, Found};
use crate::address;
use crate::limits::NETWORK_PEERS_COUNT_MAX;
use crate::options::NodeOptions;

/// mDNS, if it is wanted and the system has it. A computer without a network does without.
pub(crate) fn behaviour(options: &NodeOptions, own: PeerId) -> Option<mdns::tokio::Behaviour> {
    if !options.mdns {
        return None;
    }
    match mdns::tokio::Behaviour::new(mdns::Config::default(), own) {
        Ok(behaviour) => Some(behaviour),
        Err(error) => {
            tracing::warn!(%error, "peers on the local network are not looked for");
            None
        }
    }
}

/// Peers that spoke up. What they say counts for this network only: anybody on it can claim anything.
pub(crate) fn heard(event: mdns::Event) -> Vec<Found> {
    let mdns::Event::Discovered(all) = event else {
        return Vec::new();
    };
    let mut peers: HashMap<PeerId, Vec<Multiaddr>> = HashMap::new();
    for (peer, address) in all {
        if !address::is_local(&address) {
            tracing::debug!(%peer, %address, "not of this network");
        } else if peers.contains_key(&peer) || peers.len() < NETWORK_PEERS_COUNT_MAX {
            peers.entry(peer).or_default().push(address);
        }
    }
    let found = |(peer, addresses)| Found {
        peer,
        by: By::Network(addresses),
    };
    peers.into_iter().map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_network_count() {
        let peer = PeerId::random();
        let address = |text: &str| text.parse::<Multiaddr>().expect("a multiaddr");
        let said = [
            "/ip4/192.168.1.7/tcp/4001",
            "/ip4/1.1.1.1/tcp/4001",
            "/ip6/fe80::1/udp/4001/quic-v1",
            "/ip4/169.254.169.254/tcp/80",
            "/dns4/peer.example/tcp/4001",
        ];
        let all = said.map(|text| (peer, address(text))).to_vec();
        let local = vec![address(said[0]), address(said[2])];
        let by = By::Network(local);
        assert_eq!(
            heard(mdns::Event::Discovered(all.clone())),
            [Found { peer, by }]
        );
        assert_eq!(heard(mdns::Event::Expired(all)), []);
    }

    #[test]
    fn a_flood_of_peers_is_cut() {
        let one = |_| {
            let address = "/ip4/10.0.0.1/tcp/1".parse().expect("a multiaddr");
            (PeerId::random(), address)
        };
        let all = (0..NETWORK_PEERS_COUNT_MAX + 7).map(one).collect();
        let found = heard(mdns::Event::Discovered(all));
        assert_eq!(found.len(), NETWORK_PEERS_COUNT_MAX);
    }
}
