//! A small DHT on loopback: who announces something is found there, by whoever asks, where that is allowed.

use callao_content::cid;
use callao_p2p::{Dht, Node, NodeKey, NodeOptions, Scope};
use futures::StreamExt as _;
use libp2p::kad;
use libp2p::kad::store::MemoryStore;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, identify, noise, tcp, yamux};
use tokio::task::JoinHandle;

use crate::nodes::{TCP, address, options, start, until};

const VERSION_0: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";
const VERSION_1: &str = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";

/// A server of the DHT, as kubo is one; ends when dropped.
struct Server {
    peer: PeerId,
    address: Multiaddr,
    task: JoinHandle<()>,
}

#[derive(NetworkBehaviour)]
struct Serving {
    kad: kad::Behaviour<MemoryStore>,
    identify: identify::Behaviour,
}

impl Server {
    /// Starts one that knows `others`.
    async fn start(others: &[&Server]) -> Self {
        let mut swarm = serving();
        for other in others {
            let kad = &mut swarm.behaviour_mut().kad;
            kad.add_address(&other.peer, other.address.clone());
        }
        let listening = TCP.parse().expect("a multiaddr");
        swarm.listen_on(listening).expect("loopback");
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        for other in others {
            swarm.dial(other.address.clone()).expect("a dial");
        }
        let peer = *swarm.local_peer_id();
        let task = tokio::spawn(serve(swarm));
        Server {
            peer,
            address,
            task,
        }
    }

    fn place(&self) -> String {
        format!("{}/p2p/{}", self.address, self.peer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn serving() -> Swarm<Serving> {
    let behaviour = |key: &libp2p::identity::Keypair| {
        let peer = key.public().to_peer_id();
        let config = kad::Config::new(StreamProtocol::new("/ipfs/kad/1.0.0"));
        let mut kad = kad::Behaviour::with_config(peer, MemoryStore::new(peer), config);
        kad.set_mode(Some(kad::Mode::Server));
        let identify = identify::Config::new("ipfs/0.1.0".to_owned(), key.public());
        Serving {
            kad,
            identify: identify::Behaviour::new(identify),
        }
    };
    libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            noise::Config::new,
            yamux::Config::default,
        )
        .expect("a transport")
        .with_behaviour(behaviour)
        .expect("a behaviour")
        .with_swarm_config(|config| {
            config.with_idle_connection_timeout(std::time::Duration::from_secs(60))
        })
        .build()
}

async fn serve(mut swarm: Swarm<Serving>) {
    loop {
        let event = swarm.select_next_some().await;
        if let SwarmEvent::Behaviour(ServingEvent::Identify(identify::Event::Received {
            peer_id,
            info,
            ..
        })) = event
            && info
                .protocols
                .iter()
                .any(|one| one.as_ref().contains("/kad/"))
        {
            for address in info.listen_addrs {
                swarm.behaviour_mut().kad.add_address(&peer_id, address);
            }
        }
    }
}

/// A node that asks the DHT, beginning with these servers.
async fn client(scope: Scope, bootstrap: Vec<String>) -> Node {
    start(NodeOptions {
        scope,
        dht: Dht::Client { bootstrap },
        ..options()
    })
    .await
}

/// Asks until somebody is said to have the root.
async fn provider(node: &Node, root: &str) -> String {
    let root = cid::parse(root).expect("a CID");
    let search = async {
        loop {
            let mut found = node.providers(root).await.expect("the node runs");
            if let Some(peer) = found.recv().await {
                return peer;
            }
        }
    };
    tokio::time::timeout(crate::nodes::PATIENCE, search)
        .await
        .expect("a provider")
}

fn has(node: &Node, peer: &str) -> bool {
    node.peers().iter().any(|one| one.peer_id == peer)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_announces_a_root_is_found_and_connected_to_whatever_the_version_of_the_cid() {
    let first = Server::start(&[]).await;
    let second = Server::start(&[&first]).await;
    let third = Server::start(&[&first, &second]).await;
    let holder = client(Scope::Lan, vec![second.place()]).await;
    // At once, before anybody can have answered.
    let root = cid::parse(VERSION_0).expect("a CID");
    holder.provide(vec![root]).await.expect("the node runs");
    let asking = client(Scope::Lan, vec![third.place()]).await;
    assert_eq!(provider(&asking, VERSION_1).await, holder.peer_id());
    until("they are connected", || has(&asking, &holder.peer_id())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_cannot_make_us_dial_loopback() {
    let server = Server::start(&[]).await;
    let holder = client(Scope::Lan, vec![server.place()]).await;
    let root = cid::parse(VERSION_1).expect("a CID");
    holder.provide(vec![root]).await.expect("the node runs");
    // The server itself is named by the settings; what it says is not.
    let asking = client(Scope::Public, vec![server.place()]).await;
    assert_eq!(provider(&asking, VERSION_1).await, holder.peer_id());
    let mut more = asking.providers(root).await.expect("the node runs");
    while more.recv().await.is_some() {}
    let other = start(options()).await;
    asking
        .connect(&address(&other, "/tcp/"))
        .await
        .expect("what the user names is dialled");
    assert!(!has(&asking, &holder.peer_id()));
    assert!(
        holder
            .peers()
            .iter()
            .all(|one| one.peer_id != asking.peer_id())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_without_an_address_is_searched_for() {
    let known = Server::start(&[]).await;
    let holder = Server::start(&[&known]).await;
    let asking = client(Scope::Lan, vec![known.place()]).await;
    let id = holder.peer.to_string();
    // As a provider record has it that names no address.
    asking.found(&id, &[]).await.expect("the node runs");
    until("it is found and connected to", || has(&asking, &id)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_dht_ends_the_search() {
    let nobody = NodeKey::generate();
    let gone = start(NodeOptions {
        key: nobody,
        ..options()
    })
    .await;
    let place = address(&gone, "/tcp/");
    gone.shutdown().await;
    for bootstrap in [vec![place], Vec::new()] {
        let asking = client(Scope::Lan, bootstrap).await;
        let root = cid::parse(VERSION_1).expect("a CID");
        asking.provide(vec![root]).await.expect("the node runs");
        let mut found = asking.providers(root).await.expect("the node runs");
        assert_eq!(found.recv().await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_peer_needs_an_id() {
    let refused = Node::start(NodeOptions {
        dht: Dht::Client {
            bootstrap: vec!["/ip4/127.0.0.1/tcp/1".to_owned()],
        },
        ..options()
    })
    .await;
    assert_eq!(
        refused.expect_err("no ID").to_string(),
        "no peer ID at its end: `/ip4/127.0.0.1/tcp/1`"
    );
}
