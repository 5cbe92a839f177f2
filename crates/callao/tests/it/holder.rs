//! A peer for the tests: a node of its own on loopback that serves blocks by bitswap, and counts what it sent.

use std::sync::Arc;

use callao_content::Cid;
use callao_content::layout::Layout;
use callao_p2p::{Node, NodeKey, NodeOptions, Scope};
use callao_store::served::Served;
use callao_testkit::blocks::BlockSet;
use tokio::runtime::Runtime;

/// A running peer; ends when dropped.
pub(crate) struct Holder {
    node: Option<Node>,
    runtime: Runtime,
}

#[derive(Debug)]
struct Blocks(BlockSet);

impl Served for Blocks {
    fn length(&self, cid: &Cid) -> Option<u32> {
        let block = self.0.get(cid)?;
        Some(u32::try_from(block.len()).expect("a small block"))
    }

    fn read(&self, cid: &Cid, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        let block = self.0.get(cid);
        buffer.extend(block.iter().flatten());
        block.is_some()
    }
}

impl Holder {
    /// Serves these files.
    pub(crate) fn start(files: Vec<(Layout, Arc<[u8]>)>) -> Self {
        Holder::serving(files, Holder::options())
    }

    /// Serves these files, being told more.
    pub(crate) fn serving(files: Vec<(Layout, Arc<[u8]>)>, options: NodeOptions) -> Self {
        Holder::with(NodeOptions {
            served: Some(Arc::new(Blocks(BlockSet::new(files, Vec::new())))),
            ..options
        })
    }

    /// Listens on loopback, as any node does that is not told more.
    pub(crate) fn options() -> NodeOptions {
        NodeOptions {
            listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
            scope: Scope::Lan,
            ..NodeOptions::client(NodeKey::generate(), "callao/0.0.1".into())
        }
    }

    /// A node that is told more.
    pub(crate) fn with(options: NodeOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let node = runtime.block_on(Node::start(options)).expect("a node");
        Holder {
            node: Some(node),
            runtime,
        }
    }

    fn node(&self) -> &Node {
        self.node.as_ref().expect("it runs until it is dropped")
    }

    pub(crate) fn peer_id(&self) -> String {
        self.node().peer_id()
    }

    /// `/ip4/127.0.0.1/tcp/PORT/p2p/ID`.
    pub(crate) fn address(&self) -> String {
        let addresses = self.node().addresses();
        addresses.into_iter().next().expect("it listens")
    }

    /// Connects to a peer.
    pub(crate) fn connect(&self, address: &str) {
        let connected = self.runtime.block_on(self.node().connect(address));
        connected.expect("it can be reached");
    }

    /// Bytes of blocks that it sent.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.node().stats().sent_bytes
    }

    /// Peers that are connected now.
    pub(crate) fn connected(&self) -> usize {
        self.node().peers().len()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            self.runtime.block_on(node.shutdown());
        }
    }
}
