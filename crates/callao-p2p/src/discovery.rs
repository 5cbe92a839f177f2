//! How peers are found and how we are found: [`network`] on the local network (mDNS), [`dht`] on the public one (as a
//! client). Must not know how anybody is dialled: it hands over peers, and says who named them.

use std::net::IpAddr;

use callao_content::Cid;
use libp2p::{Multiaddr, PeerId, kad, mdns};
use tokio::sync::mpsc;

use crate::behaviour::Behaviour;

pub(crate) mod dht;
pub(crate) mod network;

use dht::Dht;

/// What was heard.
pub(crate) enum Heard {
    Mdns(mdns::Event),
    Kad(Box<kad::Event>),
}

/// A peer that may be dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub peer: PeerId,
    pub by: By,
}

/// Who told of it, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    /// It spoke on the local network itself; the addresses are of this network.
    Network(Vec<Multiaddr>),
    /// A provider record; the DHT's behaviour knows where it is, if anybody does.
    Record,
    /// A search for its addresses.
    Search(Vec<Multiaddr>),
}

/// Both ways of finding, and the questions under way.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    dht: Dht,
    observed: dht::Observed,
}

impl Discovery {
    pub(crate) fn new(bootstrap: Vec<(PeerId, Multiaddr)>) -> Self {
        Discovery {
            dht: Dht::new(bootstrap),
            observed: dht::Observed::default(),
        }
    }

    /// Somebody at `observer` says where it sees us; gives the address once it is to be believed.
    pub(crate) fn observed(&mut self, observer: IpAddr, address: &Multiaddr) -> Option<Multiaddr> {
        self.observed.seen(observer, address)
    }

    /// Asks who has the root; the IDs of those who do come through `found`, which is closed when nobody is left to ask.
    pub(crate) fn ask(
        &mut self,
        behaviour: &mut Behaviour,
        root: &Cid,
        found: mpsc::Sender<String>,
    ) {
        if let Some(kad) = kad(behaviour) {
            self.dht.ask(kad, root, found);
        }
    }

    /// Asks where a peer is.
    pub(crate) fn locate(&mut self, behaviour: &mut Behaviour, peer: PeerId) {
        if let Some(kad) = kad(behaviour) {
            self.dht.locate(kad, peer);
        }
    }

    /// From now on these roots are announced, and no others.
    pub(crate) fn provide(&mut self, behaviour: &mut Behaviour, roots: &[Cid]) {
        if let Some(kad) = kad(behaviour) {
            self.dht.provide(kad, roots);
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, behaviour: &mut Behaviour) {
        if let Some(kad) = kad(behaviour) {
            self.dht.tick(kad);
        }
    }

    /// Takes up what was heard; tells whom to dial.
    pub(crate) fn heard(&mut self, behaviour: &mut Behaviour, heard: Heard) -> Vec<Found> {
        match heard {
            Heard::Mdns(event) => network::heard(event),
            Heard::Kad(event) => match kad(behaviour) {
                Some(kad) => self.dht.heard(kad, *event),
                None => Vec::new(),
            },
        }
    }
}

fn kad(behaviour: &mut Behaviour) -> Option<&mut dht::Inner> {
    behaviour.kad.as_mut().map(|kad| &mut kad.inner)
}
