//! How peers are found and how we are found: mDNS on the local network, the DHT (as a client) on the public one.
//! Must not know how anybody is dialled: it hands over peers and the addresses that were named.

use std::collections::HashMap;

use callao_content::Cid;
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, QueryId, RecordKey};
use libp2p::{Multiaddr, PeerId, StreamProtocol, mdns};
use tokio::sync::mpsc;

use crate::address;
use crate::behaviour::Behaviour;
use crate::error::Error;
use crate::options::{Dht, NodeOptions};

/// The protocol of the public DHT.
const DHT_PROTOCOL: StreamProtocol = StreamProtocol::new("/ipfs/kad/1.0.0");

/// mDNS, if it is wanted.
pub(crate) fn mdns(
    options: &NodeOptions,
    own: PeerId,
) -> Result<Option<mdns::tokio::Behaviour>, Error> {
    if !options.mdns {
        return Ok(None);
    }
    let behaviour = mdns::tokio::Behaviour::new(mdns::Config::default(), own);
    behaviour.map(Some).map_err(|error| Error::Start {
        reason: format!("mDNS: {error}"),
    })
}

/// The DHT, if it is wanted, knowing the peers to begin with.
pub(crate) fn kad(
    options: &NodeOptions,
    own: PeerId,
) -> Result<Option<kad::Behaviour<MemoryStore>>, Error> {
    let Dht::Client { bootstrap } = &options.dht else {
        return Ok(None);
    };
    let config = kad::Config::new(DHT_PROTOCOL);
    let mut behaviour = kad::Behaviour::with_config(own, MemoryStore::new(own), config);
    behaviour.set_mode(Some(kad::Mode::Client));
    for text in bootstrap {
        let (address, peer) = address::parse(text)?;
        let peer = peer.ok_or_else(|| Error::Address {
            address: text.clone(),
            reason: "no peer ID at its end".into(),
        })?;
        behaviour.add_address(&peer, address);
    }
    Ok(Some(behaviour))
}

/// What was heard.
pub(crate) enum Heard {
    Mdns(mdns::Event),
    Kad(Box<kad::Event>),
}

/// The questions under way.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    asked: HashMap<QueryId, mpsc::Sender<String>>,
}

impl Discovery {
    /// Asks who has the root.
    pub(crate) fn ask(
        &mut self,
        behaviour: &mut Behaviour,
        root: &Cid,
        found: mpsc::Sender<String>,
    ) {
        if let Some(kad) = behaviour.kad.as_mut() {
            let query = kad.get_providers(RecordKey::new(&root.hash().to_bytes()));
            self.asked.insert(query, found);
        }
    }

    /// Tells that these roots are here.
    pub(crate) fn provide(&mut self, behaviour: &mut Behaviour, roots: Vec<Cid>) {
        let Some(kad) = behaviour.kad.as_mut() else {
            return;
        };
        for root in roots {
            if let Err(error) = kad.start_providing(RecordKey::new(&root.hash().to_bytes())) {
                tracing::warn!(root = %callao_content::cid::text(&root), %error, "not announced");
            }
        }
    }

    /// Takes up what was heard; tells whom to dial, and where.
    pub(crate) fn heard(
        &mut self,
        behaviour: &mut Behaviour,
        heard: Heard,
    ) -> Vec<(PeerId, Vec<Multiaddr>)> {
        match heard {
            Heard::Mdns(mdns::Event::Discovered(found)) => {
                let mut peers: HashMap<PeerId, Vec<Multiaddr>> = HashMap::new();
                for (peer, address) in found {
                    peers.entry(peer).or_default().push(address);
                }
                peers.into_iter().collect()
            }
            Heard::Mdns(mdns::Event::Expired(_)) => Vec::new(),
            Heard::Kad(event) => self.heard_kad(behaviour, *event),
        }
    }

    fn heard_kad(&mut self, _: &mut Behaviour, event: kad::Event) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let kad::Event::OutboundQueryProgressed {
            id, result, step, ..
        } = event
        else {
            return Vec::new();
        };
        let mut peers = Vec::new();
        if let kad::QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders {
            providers,
            ..
        })) = result
        {
            for peer in providers {
                if let Some(found) = self.asked.get(&id) {
                    // A listener that is full or gone does without.
                    found.try_send(peer.to_string()).unwrap_or(());
                }
                peers.push((peer, Vec::new()));
            }
        }
        if step.last {
            self.asked.remove(&id);
        }
        peers
    }
}
