//! Nodes for the tests: loopback only, nothing discovered.

use std::time::{Duration, Instant};

use callao_p2p::{Node, NodeKey, NodeOptions, Scope};

/// The deadline of everything that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// Listens on loopback, by TCP and QUIC.
pub(crate) fn options() -> NodeOptions {
    NodeOptions {
        listen: vec![TCP.to_owned(), QUIC.to_owned()],
        scope: Scope::Lan,
        ..NodeOptions::client(NodeKey::generate(), "callao/0.0.1".to_owned())
    }
}

pub(crate) async fn start(options: NodeOptions) -> Node {
    Node::start(options).await.expect("the node starts")
}

/// The address of the kind that `part` tells (`/tcp/`, `/quic-v1`).
pub(crate) fn address(node: &Node, part: &str) -> String {
    let addresses = node.addresses();
    let found = addresses.into_iter().find(|address| address.contains(part));
    found.expect("it listens there")
}

/// Waits until `done` says so.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
