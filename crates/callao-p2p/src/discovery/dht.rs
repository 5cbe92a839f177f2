//! The public DHT (`/ipfs/kad/1.0.0`) as a client: it asks and is never asked. The key of a record is the multihash of a
//! CID, so version and codec do not matter.
//!
//! Announcements wait until somebody has answered (before that they would go nowhere), a few are made at a time, and all
//! are made again before they expire: kubo keeps a provider record for 48 hours and makes its own every 22.

use std::collections::{HashMap, HashSet, VecDeque};

use callao_content::Cid;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::kad::{self, QueryId, QueryResult, RecordKey};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{By, Found};
use crate::address;
use crate::error::Error;
use crate::limits::{
    ANNOUNCE_INTERVAL, ANNOUNCEMENTS_AT_ONCE_COUNT_MAX, ANNOUNCEMENTS_COUNT_MAX, DHT_QUERY_TIMEOUT,
    DHT_RETRY_INTERVAL, LOCATES_COUNT_MAX, PROVIDERS_COUNT_MAX,
};
use crate::options::{self, NodeOptions};

/// The protocol of the public DHT.
const PROTOCOL: StreamProtocol = StreamProtocol::new("/ipfs/kad/1.0.0");

mod own;

pub(crate) use own::{Kad, Observed};

/// The library's behaviour.
pub(crate) type Inner = kad::Behaviour<MemoryStore>;

/// The DHT, if it is wanted, knowing the peers to begin with; and these peers.
pub(crate) fn behaviour(options: &NodeOptions, own: PeerId) -> Result<Option<Kad>, Error> {
    if options.dht == options::Dht::Off {
        return Ok(None);
    }
    let mut config = kad::Config::new(PROTOCOL);
    // Announcing again is this file's work, and a client keeps no table fresh for others.
    config
        .set_query_timeout(DHT_QUERY_TIMEOUT)
        .set_provider_publication_interval(None)
        .set_periodic_bootstrap_interval(None);
    let store = MemoryStoreConfig {
        max_provided_keys: ANNOUNCEMENTS_COUNT_MAX,
        ..MemoryStoreConfig::default()
    };
    let store = MemoryStore::with_config(own, store);
    let mut behaviour = Inner::with_config(own, store, config);
    behaviour.set_mode(Some(kad::Mode::Client));
    let bootstrap = bootstrap(options)?;
    for (peer, address) in &bootstrap {
        behaviour.add_address(peer, address.clone());
    }
    let named = bootstrap.into_iter().map(|(_, address)| address).collect();
    Ok(Some(Kad::new(behaviour, options.scope, named)))
}

/// The peers to begin with.
pub(crate) fn bootstrap(options: &NodeOptions) -> Result<Vec<(PeerId, Multiaddr)>, Error> {
    let options::Dht::Client { bootstrap } = &options.dht else {
        return Ok(Vec::new());
    };
    let read = |text: &String| {
        let (address, peer) = address::parse(text)?;
        let peer = peer.ok_or_else(|| Error::Address {
            address: text.clone(),
            reason: "no peer ID at its end".into(),
        })?;
        Ok((peer, address))
    };
    bootstrap.iter().map(read).collect()
}

/// The questions under way, and what is announced.
#[derive(Debug, Default)]
pub(crate) struct Dht {
    bootstrap: Vec<(PeerId, Multiaddr)>,
    asked: HashMap<QueryId, Question>,
    located: HashSet<PeerId>,
    locating: HashMap<QueryId, PeerId>,
    /// Somebody has answered since the last announcement that nobody took.
    reached: bool,
    provided: HashSet<RecordKey>,
    waiting: VecDeque<RecordKey>,
    announcing: HashMap<QueryId, RecordKey>,
    next_round: Option<Instant>,
    next_try: Option<Instant>,
}

/// Who wants to know who has something.
#[derive(Debug)]
struct Question {
    found: mpsc::Sender<String>,
    told: HashSet<PeerId>,
}

impl Dht {
    pub(crate) fn new(bootstrap: Vec<(PeerId, Multiaddr)>) -> Self {
        Dht {
            bootstrap,
            ..Dht::default()
        }
    }

    pub(crate) fn ask(&mut self, kad: &mut Inner, root: &Cid, found: mpsc::Sender<String>) {
        let question = Question {
            found,
            told: HashSet::new(),
        };
        self.asked.insert(kad.get_providers(key(root)), question);
    }

    pub(crate) fn locate(&mut self, kad: &mut Inner, peer: PeerId) {
        // Once is enough, and strangers must not make us search for ever.
        if self.located.len() < LOCATES_COUNT_MAX && self.located.insert(peer) {
            self.locating.insert(kad.get_closest_peers(peer), peer);
        }
    }

    pub(crate) fn provide(&mut self, kad: &mut Inner, roots: &[Cid]) {
        let wanted: HashSet<RecordKey> = roots
            .iter()
            .take(ANNOUNCEMENTS_COUNT_MAX)
            .map(key)
            .collect();
        if roots.len() > wanted.len() {
            tracing::debug!(asked = roots.len(), "not all are announced");
        }
        for gone in self.provided.difference(&wanted) {
            kad.stop_providing(gone);
        }
        self.waiting.retain(|key| wanted.contains(key));
        let new: Vec<RecordKey> = wanted.difference(&self.provided).cloned().collect();
        self.waiting.extend(new);
        self.provided = wanted;
        if self.next_round.is_none() && !self.provided.is_empty() {
            self.next_round = Some(Instant::now() + ANNOUNCE_INTERVAL);
        }
        self.announce(kad);
    }

    pub(crate) fn tick(&mut self, kad: &mut Inner) {
        let now = Instant::now();
        if self.next_round.is_some_and(|round| round <= now) {
            self.next_round = Some(now + ANNOUNCE_INTERVAL);
            self.waiting = self.provided.iter().cloned().collect();
            // After so long nobody in the table needs to be there any more.
            self.reached = false;
        }
        let is_due = self.next_try.is_none_or(|next| next <= now);
        if !self.reached && !self.waiting.is_empty() && is_due {
            self.next_try = Some(now + DHT_RETRY_INTERVAL);
            for (peer, address) in &self.bootstrap {
                kad.add_address(peer, address.clone());
            }
            if let Err(error) = kad.bootstrap() {
                tracing::debug!(%error, "nothing can be announced");
            }
        }
        self.announce(kad);
    }

    fn announce(&mut self, kad: &mut Inner) {
        while self.reached && self.announcing.len() < ANNOUNCEMENTS_AT_ONCE_COUNT_MAX {
            let Some(key) = self.waiting.pop_front() else {
                return;
            };
            match kad.start_providing(key.clone()) {
                Ok(query) => drop(self.announcing.insert(query, key)),
                Err(error) => tracing::warn!(%error, "not announced"),
            }
        }
    }

    /// Takes up what was heard; tells whom to dial.
    pub(crate) fn heard(&mut self, kad: &mut Inner, event: kad::Event) -> Vec<Found> {
        let kad::Event::OutboundQueryProgressed {
            id,
            result,
            stats,
            step,
        } = event
        else {
            return Vec::new();
        };
        let somebody_answered = stats.num_successes() > 0;
        self.reached |= somebody_answered;
        let found = match result {
            QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders {
                providers,
                ..
            })) => self.providers(id, providers),
            QueryResult::GetClosestPeers(result) => {
                let peers = match result {
                    Ok(closest) => closest.peers,
                    Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                self.place(id, peers).into_iter().collect()
            }
            QueryResult::StartProviding(_) => {
                self.announced(id, somebody_answered);
                Vec::new()
            }
            _ => Vec::new(),
        };
        if step.last {
            self.asked.remove(&id);
            self.locating.remove(&id);
        }
        self.announce(kad);
        found
    }

    /// Those who are said to have what was asked for.
    fn providers(&mut self, id: QueryId, providers: HashSet<PeerId>) -> Vec<Found> {
        let Some(question) = self.asked.get_mut(&id) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for peer in providers {
            if question.told.len() < PROVIDERS_COUNT_MAX && question.told.insert(peer) {
                // A listener that is full or gone does without.
                question.found.try_send(peer.to_string()).unwrap_or(());
                found.push(Found {
                    peer,
                    by: By::Record,
                });
            }
        }
        found
    }

    /// Where a peer that was searched for is.
    fn place(&mut self, id: QueryId, peers: Vec<kad::PeerInfo>) -> Option<Found> {
        let peer = *self.locating.get(&id)?;
        let known = peers.into_iter().find(|known| known.peer_id == peer);
        let addresses = known.map(|known| known.addrs).unwrap_or_default();
        if addresses.is_empty() {
            tracing::debug!(%peer, "nobody knows where it is");
            return None;
        }
        Some(Found {
            peer,
            by: By::Search(addresses),
        })
    }

    /// An announcement has ended. One that nobody took is made again when somebody answers.
    fn announced(&mut self, id: QueryId, somebody_took_it: bool) {
        let Some(key) = self.announcing.remove(&id) else {
            return;
        };
        if somebody_took_it {
            tracing::debug!(?key, "announced");
        } else {
            self.reached = false;
            self.waiting.push_back(key);
        }
    }
}

fn key(root: &Cid) -> RecordKey {
    RecordKey::new(&root.hash().to_bytes())
}
